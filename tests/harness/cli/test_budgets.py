"""Commands that only look take little memory and little time, also where torch would take more than both."""

import json
import subprocess
import sys

import pytest

from paths import ROOT

STORE = ROOT / "results" / "rooms_verdict" / "store"
MTLBENCH = [sys.executable, "-m", "mtlbench"]
MEMORY = 300  # MB
MEASURED = """
import json, resource, subprocess, sys
ended = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([ended, used.ru_maxrss / 1000, used.ru_utime + used.ru_stime]))
"""
SECONDS = 3.0  # of CPU time; three times as many on a machine that does other things beside it


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "rooms_verdict"],
        ["show", "sca", "seed", "0", "--matrix", "rooms_verdict"],
        ["gc"],
    ],
    ids=" ".join,
)
def test_a_command_that_only_looks_fits_a_login_node(arguments, tmp_path):
    fits([*arguments, "--store", str(STORE)], tmp_path)


@pytest.mark.slow
def test_what_can_be_chosen_is_found_once_and_then_listed_without_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    first = subprocess.run([*MTLBENCH, "list"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "loading PyTorch" in first.stderr
    assert fits(["list"], tmp_path) == first.stdout


def fits(arguments, folder):
    """Run a command, which must take no more than a login node gives. Returns what it says."""
    # By a small process: what a child takes counts from the memory of the process that starts it.
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *MTLBENCH, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    *said, measured = done.stdout.splitlines(keepends=True)
    ended, memory, seconds = json.loads(measured)
    assert ended == 0, done.stdout + done.stderr
    assert memory < MEMORY
    assert seconds < 3 * SECONDS
    return "".join(said)
