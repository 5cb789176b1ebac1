"""Commands that only look take little memory and little time, also where torch would take more than both."""

import os
import subprocess
import sys

import pytest

from paths import ROOT

STORE = ["--store", str(ROOT / "results" / "rooms_verdict" / "store")]
MEMORY = 300  # MB
SECONDS = 3.0  # of CPU time; three times as many on a machine that does other things beside it


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["status", *STORE], 0),
        (["status", "rooms_verdict", *STORE], 0),
        (["show", "sca", "seed", "0", "--matrix", "rooms_verdict", *STORE], 0),
        (["gc", *STORE], 0),
        (["run", "smoke", "--set", "train.epochss=3", "--dry-run"], 2),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_that_only_looks_fits_a_login_node(arguments, status, tmp_path):
    command = [sys.executable, "-m", "mtlbench", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read()
    _, ended, used = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(ended) == status, said
    assert used.ru_maxrss / 1000 < MEMORY
    assert used.ru_utime + used.ru_stime < 3 * SECONDS
