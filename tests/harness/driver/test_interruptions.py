"""A driver that is killed or told to end leaves a store that the same command goes on with."""

import signal
import time
from dataclasses import replace

import pytest

from cells import matrix_file
from mtlbench.harness.store.store import Store

pytestmark = pytest.mark.usefixtures("in_turn")


@pytest.fixture
def waiting(commands, tmp_path):
    """The file of a matrix whose second cell trains to its middle and waits there until `go_on` exists."""
    methods = [
        {"name": "single_task", "label": "Single task"},
        {"name": "plugin:Waits", "label": "waits", "options": {"marker": str(tmp_path / "go_on")}},
    ]
    return matrix_file(tmp_path, methods=methods, train={"epochs": 4, "batch": 2})


@pytest.mark.slow
def test_a_killed_driver_leaves_a_store_that_the_same_command_finishes(commands, waiting, tmp_path):
    driver = commands.start("run", waiting, "--store", "s")
    store = Store(tmp_path / "s")
    deadline = time.monotonic() + 400
    while not any(
        store.names(f"{store.folder(cell_id)}/checkpoints") for cell_id in store.cells() if "Waits" in cell_id
    ):
        assert time.monotonic() < deadline and driver.poll() is None
        time.sleep(0.2)
    second = commands.run("run", waiting, "--store", "s")
    assert second.returncode == 2 and f"driven by process {driver.pid}" in second.stderr
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    (tmp_path / "go_on").touch()
    done = commands.run("run", waiting, "--store", "s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "waits · depth · seed 0: goes on after epoch " in done.stdout
    again = commands.run("run", waiting, "--store", "s")
    assert again.returncode == 0
    assert "starting Ray" not in again.stdout


LOSES = """
import threading, time
from mtlbench.harness.store import lease
from mtlbench.harness.store.claim import Claim, Claims
from mtlbench.harness.store.process import Process
from mtlbench.harness.store.store import Store

lease.LOCAL = lease.Pace(beat=1.0)

def take_over():
    store = Store("s")
    while not any("Waits" in each and store.names(f"{store.folder(each)}/checkpoints") for each in store.cells()):
        time.sleep(0.2)
    (claim,) = store.names("lease")
    Claims(store).write(Claim("0" * 32, Process("elsewhere", 7), "matrix m", "s", holds=True, buried=(claim[:32],)))
    store.remove(f"lease/{claim}")

threading.Thread(target=take_over, daemon=True).start()
"""


@pytest.mark.drill  # without Ray: tests/harness/store/test_lease.py
def test_a_driver_that_has_lost_the_store_to_another_one_stops_and_writes_no_more(commands, waiting, tmp_path):
    done = replace(commands, first=LOSES).run("run", waiting, "--store", "s")
    said = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1, done.stdout + done.stderr
    assert said.startswith(f"mtlbench: lost the lease of {tmp_path / 's'} to process 7 on elsewhere (matrix m): ")
    assert "Traceback" not in done.stdout + done.stderr
    store = Store(tmp_path / "s")
    assert store.names("lease") == [f"{'0' * 32}.json"]
    assert not store.exists("report")
    (waits,) = (cell_id for cell_id in store.cells() if "Waits" in cell_id)
    assert store.state(waits) == "started" and store.failure(waits) is None


@pytest.mark.slow
def test_a_driver_that_is_told_to_end_does_so_as_by_an_interrupt(commands, waiting, tmp_path):
    driver = commands.start("run", waiting, "--store", "s")
    assert any(": started" in line for line in driver.stdout)
    driver.send_signal(signal.SIGTERM)
    said, _ = driver.communicate(timeout=120)
    assert driver.returncode == 128 + signal.SIGTERM
    assert said.strip().splitlines()[-1] == "stopped; the same command goes on from the last checkpoints"
    assert "SIGTERM" not in said
    assert not list((tmp_path / "s" / "lease").iterdir())
