"""The batch script, which runs here with commands of the batch system and of Ray that only look like them."""

import json
import os
import signal
import subprocess
import time

import pytest

from mtlbench.harness.launch.job import Job, Nodes
from mtlbench.harness.launch.slurm import Slurm, script
from paths import SHELLCHECK

# `srun` drops its options and runs the rest, or answers which address another node sees.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""

GETENT = """#!/bin/bash
echo "10.0.0.1 STREAM $2"
"""

# `scontrol show hostnames` lists the nodes, and `scontrol requeue` is noted.
SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then tr ' ' '\\n' <<< "$NODES"; else echo "$*" > "$NOTES/requeued"; fi
"""

# `ray symmetric-run` runs what follows after `--`.
RAY = """#!/bin/bash
echo "$*" > "$NOTES/ray"
[[ -z ${NO_RAY:-} ]] || exit 0
[[ -z ${SLOW_RAY:-} ]] || exec sleep 30
while [[ $1 != -- ]]; do shift; done
shift
"$@"
"""

# `mtlbench` notes how it was called, and with `WAIT` goes on until SIGTERM.
MTLBENCH = """#!/usr/bin/env python3
import json, os, signal, stat, sys, time
path = os.environ["RAY_AUTH_TOKEN_PATH"]
notes = {"words": sys.argv, "token": open(path).read(), "mode": stat.S_IMODE(os.stat(path).st_mode)}
names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "NCCL_SOCKET_IFNAME", "RAY_worker_niceness")
notes["environment"] = {name: os.environ.get(name) for name in names}
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with open(os.environ["NOTES"] + "/partial", "w") as file:
    json.dump(notes, file)
os.rename(os.environ["NOTES"] + "/partial", os.environ["NOTES"] + "/called")
if "WAIT" in os.environ:
    time.sleep(30)
sys.exit(int(os.environ.get("STATUS", 0)))
"""

COMMANDS = {"srun": SRUN, "scontrol": SCONTROL, "ray": RAY, "mtlbench": MTLBENCH, "getent": GETENT}
OPTIONS = Slurm("1:00:00", "gpu", "group", setup=["source ~/venv/bin/activate"])
JOB = Job("rooms", "/shared/runs", Nodes(2, 8, 4), ["nyud=/shared/it's here"], ["train.epochs=3"], "http://host:5000")


@pytest.fixture
def batch(tmp_path):
    """Starts a script, and returns the process."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in COMMANDS.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    started = []

    def start(text, nodes="n1", **variables):
        (tmp_path / "script").write_text(text)
        environment = {
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "HOME": str(tmp_path / "home"),
            "NOTES": str(tmp_path),
            "NODES": nodes,
            "SLURM_JOB_ID": "123456",
            "SLURM_JOB_NODELIST": "n[1-2]",
            "RAY_AUTH_TOKEN": "of another cluster",
            **variables,
        }
        command = ["bash", str(tmp_path / "script")]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def called(folder):
    """How mtlbench was called, as soon as it was."""
    end = time.monotonic() + 20
    while not (folder / "called").exists():
        assert time.monotonic() < end, "mtlbench was not called"
        time.sleep(0.02)
    return json.loads((folder / "called").read_text())


def slurm(**options):
    return script(JOB, Slurm("1:00:00", **options))


def test_the_command_reaches_mtlbench_word_for_word(batch, tmp_path):
    done = batch(slurm())
    said, _ = done.communicate(timeout=30)
    assert done.returncode == 0, said
    words = called(tmp_path)["words"]
    assert words[1:] == JOB.command("auto")[1:]
    assert words[-2:] == ["--address", "auto"] and "nyud=/shared/it's here" in words


def test_the_token_is_new_readable_to_its_owner_alone_and_gone_after_the_job(batch, tmp_path):
    tokens = set()
    for _ in range(2):
        batch(slurm()).communicate(timeout=30)
        notes = called(tmp_path)
        tokens.add(notes["token"])
        assert len(notes["token"]) == 64 and notes["mode"] == 0o600
        found = notes["environment"]
        assert (found["RAY_AUTH_MODE"], found["RAY_AUTH_TOKEN"], found["NCCL_SOCKET_IFNAME"]) == ("token", None, None)
        assert list((tmp_path / "home" / ".mtlbench").iterdir()) == []
    assert len(tokens) == 2


def test_ray_is_told_of_the_nodes_and_of_what_each_has(batch, tmp_path):
    batch(slurm(), nodes="n1 n2").communicate(timeout=30)
    assert (
        (tmp_path / "ray")
        .read_text()
        .startswith(
            "symmetric-run --address 10.0.0.1:23456 --min-nodes 2 --num-cpus 8 --num-gpus 4 --disable-usage-stats -- "
        )
    )


def test_workers_give_way_to_nobody_unless_that_is_asked_for(batch, tmp_path):
    batch(slurm()).communicate(timeout=30)
    assert called(tmp_path)["environment"]["RAY_worker_niceness"] == "0"
    batch(slurm(), RAY_worker_niceness="5").communicate(timeout=30)
    assert called(tmp_path)["environment"]["RAY_worker_niceness"] == "5"


def test_the_network_interface_is_left_to_mtlbench_unless_it_is_given(batch, tmp_path):
    assert "IFNAME" not in slurm()
    batch(slurm(interface="ib0")).communicate(timeout=30)
    assert called(tmp_path)["environment"]["NCCL_SOCKET_IFNAME"] == "ib0"


@pytest.mark.parametrize(("sent", "queued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_before_the_time_limit_mtlbench_ends_and_the_job_is_queued_again_but_not_when_it_is_cancelled(
    batch, tmp_path, sent, queued
):
    running = batch(slurm(), WAIT="1")
    called(tmp_path)
    running.send_signal(sent)
    said, _ = running.communicate(timeout=20)
    assert running.returncode == 143, said
    assert (tmp_path / "requeued").exists() == queued
    if queued:
        assert (tmp_path / "requeued").read_text() == "requeue 123456\n"


def test_the_status_of_mtlbench_is_that_of_the_job(batch):
    running = batch(slurm(), STATUS="1")
    running.communicate(timeout=30)
    assert running.returncode == 1


def test_a_ray_that_did_not_start_is_no_success(batch):
    running = batch(slurm(), NO_RAY="1")
    said, _ = running.communicate(timeout=30)
    assert running.returncode == 1
    assert "Ray did not start" in said


def test_a_job_that_is_over_before_ray_has_started_is_queued_again(batch, tmp_path):
    running = batch(slurm(), SLOW_RAY="1")
    end = time.monotonic() + 20
    while not (tmp_path / "ray").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    running.send_signal(signal.SIGUSR1)
    said, _ = running.communicate(timeout=20)
    assert running.returncode == 1, said
    assert (tmp_path / "requeued").exists()


@pytest.mark.skipif(not SHELLCHECK.exists(), reason="shellcheck is not installed")
@pytest.mark.parametrize("options", [OPTIONS, Slurm("10", scratch="/shared/my folder", interface="ib0")])
def test_the_script_is_clean_under_shellcheck(tmp_path, options):
    (tmp_path / "script").write_text(script(JOB, options))
    done = subprocess.run([SHELLCHECK, tmp_path / "script"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
