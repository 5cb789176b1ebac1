"""A training of three processes of which one is killed, and which others resume, ends with the bits of one without.

With two processes the order of a sum cannot differ. With three it can: where a gradient lies in a message of the group
decides who adds first.
"""

import os
import signal
from itertools import count

import pytest
from test_distributed import start
from torch.multiprocessing import ProcessExitedException

from cells import small_cell, train_cell
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.store.store import Store
from mtlbench.harness.training import optimizers
from mtlbench.results.records import files

PROCESSES = 3
ROOMS = BenchmarkConfig(name="rooms", size=(32, 64), options={"train": 6, "val": 1, "test": 3})
CELL = small_cell(train={"epochs": 3, "batch": 3}, benchmark=ROOMS)


def _whole_and_killed(rank, folder, root):
    train_cell(CELL, f"{folder}/whole", root)
    rates, calls = optimizers.set_learning_rates, count(1)  # called by each process before each step

    def die(own, recipe, progress):
        if rank == 1 and next(calls) == 4:  # the second step of the second epoch, which the other processes make too
            os.kill(os.getpid(), signal.SIGKILL)
        return rates(own, recipe, progress)

    optimizers.set_learning_rates = die
    train_cell(CELL, f"{folder}/resumed", root)


def _resume(rank, folder, root):
    train_cell(CELL, f"{folder}/resumed", root)


@pytest.mark.slow
def test_three_processes_that_resume_after_one_was_killed_end_with_the_bits_of_a_training_without_a_kill(tmp_path):
    make_benchmark(ROOMS).make(tmp_path / "rooms", lambda done, total: None)
    whole, resumed = (Store(tmp_path / name) for name in ("whole", "resumed"))
    for store in (whole, resumed):
        store.put_cell(CELL)
    with pytest.raises(ProcessExitedException, match="process 1 terminated with signal SIGKILL"):
        start(_whole_and_killed, tmp_path, str(tmp_path), tmp_path / "rooms", processes=PROCESSES)
    assert whole.state(CELL.id) == "finished"
    assert resumed.state(CELL.id) == "started" and resumed.names(files.checkpoints(CELL.id)) == ["000001"]
    (tmp_path / "group").unlink(missing_ok=True)
    start(_resume, tmp_path, str(tmp_path), tmp_path / "rooms", processes=PROCESSES)
    assert resumed.record(CELL.id).scores == whole.record(CELL.id).scores
    assert resumed.record(CELL.id).cost["steps"] == whole.record(CELL.id).cost["steps"] == 6
    assert resumed.get(files.weights(CELL.id)) == whole.get(files.weights(CELL.id))
