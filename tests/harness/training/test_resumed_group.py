"""A training of three processes that is stopped and resumed by others ends with the bits of one without a stop.

With two processes the order of a sum cannot differ. With three it can: where a gradient lies in a message of the group
decides who adds first.
"""

import pytest
from test_distributed import start

from cells import small_cell, train_cell
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files

PROCESSES = 3
ROOMS = BenchmarkConfig(name="rooms", size=(32, 64), options={"train": 6, "val": 1, "test": 3})
CELL = small_cell(train={"epochs": 3, "batch": 3}, benchmark=ROOMS)


class Stopped(Exception):
    """Stands in for a kill."""


def _stop(progress):
    if progress.epoch > 1:
        raise Stopped


def _whole_and_stopped(rank, folder, root):
    train_cell(CELL, f"{folder}/whole", root)
    with pytest.raises(Stopped):
        train_cell(CELL, f"{folder}/resumed", root, _stop)


def _resume(rank, folder, root):
    train_cell(CELL, f"{folder}/resumed", root)


@pytest.mark.slow
def test_three_processes_that_resume_end_with_the_bits_of_a_training_without_a_stop(tmp_path):
    make_benchmark(ROOMS).make(tmp_path / "rooms", lambda done, total: None)
    whole, resumed = (Store(tmp_path / name) for name in ("whole", "resumed"))
    for store in (whole, resumed):
        store.put_cell(CELL)
    start(_whole_and_stopped, tmp_path, str(tmp_path), tmp_path / "rooms", processes=PROCESSES)
    assert resumed.state(CELL.id) == "started" and resumed.names(files.checkpoints(CELL.id)) == ["000001"]
    (tmp_path / "group").unlink(missing_ok=True)
    start(_resume, tmp_path, str(tmp_path), tmp_path / "rooms", processes=PROCESSES)
    assert resumed.record(CELL.id).scores == whole.record(CELL.id).scores
    assert resumed.record(CELL.id).cost["steps"] == whole.record(CELL.id).cost["steps"] == 6
    assert resumed.get(files.weights(CELL.id)) == whole.get(files.weights(CELL.id))
