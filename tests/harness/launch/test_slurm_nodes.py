"""The batch script starts a real Ray on two nodes, each a network namespace, and a second start goes on.

All of it runs in a process namespace of its own, because `ray stop` ends every Ray that it can see.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cells import matrix_file
from mtlbench.harness.launch import job as job_module
from mtlbench.harness.launch.job import Job, Nodes
from mtlbench.harness.launch.slurm import Slurm, script
from mtlbench.harness.store.store import Store
from nodes import HEAD, SPACE, possible
from nodes import Nodes as Spaces
from paths import PYTHONPATH

pytestmark = [
    pytest.mark.drill,  # it starts Ray on two nodes, twice
    pytest.mark.usefixtures("in_turn"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not possible() or shutil.which("unshare") is None,
        reason="network and process namespaces need root and the commands ip and unshare",
    ),
]

OWN_PROCESSES = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")

# `srun` runs its command on the node that is named, or on both; the first of them is where the batch script runs.
SRUN = f"""#!/bin/bash
only=
while [[ $1 == --* ]]; do [[ $1 == --nodelist=* ]] && only=1; shift; done
if [[ $only ]]; then exec ip netns exec {SPACE}-2 "$@"; fi
RAY_TMPDIR="$NOTES/2" ip netns exec {SPACE}-2 {" ".join(OWN_PROCESSES)} "$@" > "$NOTES/second.log" 2>&1 &
"$@"
status=$?
wait
exit $status
"""

SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then printf 'n1\\nn2\\n'; else echo "$*" > "$NOTES/requeued"; fi
"""

GETENT = f"""#!/bin/bash
echo "{HEAD} STREAM n1"
"""


def begun(folder):
    return any(folder.glob("cells/*/checkpoints/*"))


def test_two_nodes_train_stop_before_the_time_limit_and_go_on(commands, tmp_path, monkeypatch):
    monkeypatch.setattr(job_module, "OF_ONE_NODE", ())  # the nodes of this test share the folder of tests
    marker, short = tmp_path / "go on", Path("/tmp") / f"mtlb-{os.getpid()}"  # Ray's sockets need a short path
    methods = [{"name": "plugin:Waits", "label": "One", "options": {"marker": str(marker)}}]
    train = {"epochs": 2, "batch": 2}
    file = matrix_file(tmp_path, "two", methods=methods, baseline="One", train=train, resources={"workers": 2})
    store = tmp_path / "two"
    store.mkdir()
    shutil.copy(commands.database, store / "mlflow.db")
    (tmp_path / "batch").write_text(script(Job(str(file), str(store), Nodes(2, 1, 0)), Slurm("1:00:00")))
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "getent": GETENT}.items():
        (short / "bin").mkdir(parents=True, exist_ok=True)
        (short / "bin" / name).write_text(text)
        (short / "bin" / name).chmod(0o755)
    for node in "12":
        (short / node).mkdir()
    environment = {
        **os.environ,
        "PATH": f"{short / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": PYTHONPATH, "MTLBENCH_CACHE": str(commands.cache), "HOME": str(tmp_path), "NOTES": str(short),
        "RAY_TMPDIR": str(short / "1"),
        "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]",
    }  # fmt: skip

    def start():
        command = [*Spaces.on(1), *OWN_PROCESSES, "bash", str(tmp_path / "batch")]
        return subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    running = []
    try:
        with Spaces(tmp_path, 2):
            running.append(start())
            end = time.monotonic() + 240
            while not begun(store):
                assert running[0].poll() is None, running[0].communicate()[0]
                assert time.monotonic() < end, "no cell has begun"
                time.sleep(0.5)
            (batch,) = psutil.Process(running[0].pid).children()
            batch.send_signal(signal.SIGUSR1)
            said, _ = running[0].communicate(timeout=150)
            assert running[0].returncode == 143, said
            assert "stopped; the same command goes on from the last checkpoints" in said, said
            assert (short / "requeued").read_text() == "requeue 7\n"

            marker.touch()
            running.append(start())
            said, _ = running[1].communicate(timeout=300)
            assert running[1].returncode == 0, said
        (cell_id,) = Store(store).cells()
        assert Store(store).record(cell_id).provenance["processes"] == 2
    finally:
        for process in running:
            process.kill()
        shutil.rmtree(short, ignore_errors=True)
