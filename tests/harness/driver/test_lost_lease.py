"""A run whose store another driver has taken stops, says so in one line, and writes nothing more."""

import time

import pytest

from cells import small_cell, small_matrix
from drivers import QUICK
from in_process import InTurn
from mtlbench.harness.cluster.attempt import attempt
from mtlbench.harness.driver import run as driver
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.store import lease
from mtlbench.harness.store.claim import Claim, Claims
from mtlbench.harness.store.process import Process
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.environment import Environment

pytestmark = pytest.mark.usefixtures("undrawn")


class Taken(InTurn):
    """Before anything is trained, another driver takes the store."""

    trains = False

    def run(self, ready, environment, board):
        store = Store(environment.store)
        assert store.names("lease") == [f"{environment.lease}.json"]
        owner = Process("elsewhere", 7)
        Claims(store).write(Claim("0" * 32, owner, "matrix m", store.url, holds=True, buried=(environment.lease,)))
        store.remove(f"lease/{environment.lease}.json")
        time.sleep(5 * QUICK.beat)
        if self.trains:
            super().run(ready, environment, board)
        else:
            time.sleep(60)


class TakenAndTrains(Taken):
    """The same, and this driver goes on as if nothing had happened."""

    trains = True


@pytest.mark.parametrize("scheduler", [Taken, TakenAndTrains])
def test_a_run_that_has_lost_the_store_stops_and_writes_no_more(go, scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "LOCAL", QUICK)
    with pytest.raises(
        driver.Stopped, match=r"^lost the lease of .* to process 7 on elsewhere \(matrix m\): "
    ) as stopped:
        go(small_matrix(), scheduler=scheduler)
    assert "\n" not in str(stopped.value)
    store = Store(tmp_path / "s")
    assert store.names("lease") == [f"{'0' * 32}.json"]
    assert {store.state(cell_id) for cell_id in store.cells()} <= {"new"}
    assert not (tmp_path / "out").exists()


def test_a_cell_writes_no_more_once_its_driver_has_lost_the_store(tmp_path, rooms):
    cell, store = small_cell(), Store(tmp_path / "s")
    environment = Environment(store.url, {"rooms": rooms}, Resources(), lease="0" * 32)
    with pytest.raises(lease.LeaseLost, match="has ended or has lost its lease, and this process with it"):
        attempt(cell, environment, lambda progress: None)
    assert store.names(store.folder(cell.id)) == ["log.txt"]
    Claims(store).write(Claim("0" * 32, Process("elsewhere", 7), "matrix m", store.url, holds=True))
    assert attempt(cell, environment, lambda progress: None) and store.state(cell.id) == "finished"
