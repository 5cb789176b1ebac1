"""The time that is left comes from how long whole cells took, their start and their scoring included."""

import io

import pytest
from rich.console import Console

from cells import small_cell
from mtlbench.harness.driver.progress import Watch
from mtlbench.harness.store.store import Store


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def watched(tmp_path):
    """(watch, clock, ids of six cells of one kind, store, what was said); two run at once."""
    cells = [small_cell(seed=seed) for seed in range(6)]
    store, clock, said = Store(tmp_path), Clock(), io.StringIO()
    lines = {cell.id: (cell, f"cell {cell.seed}") for cell in cells}
    watch = Watch(lines, store, 2, console=Console(file=said, width=200), clock=clock)
    return watch, clock, [cell.id for cell in cells], store, said


def progress(step, seconds):
    return {"epoch": step / 10, "epochs": 10, "loss": 1.0, "seconds": seconds, "step": step, "steps": 100}


def finish(watch, store, cell_id):
    store.put(f"cells/{cell_id}/record.json", "{}")
    watch.ended(cell_id)


def test_nothing_is_promised_before_anything_is_known(watched):
    watch, _, (first, *_), _, said = watched
    watch.started(first)
    assert watch.remaining() is None and "left" not in said.getvalue()
    assert watch.lines[first].state == "starting"


def test_before_a_cell_has_finished_its_pace_is_that_of_all(watched):
    watch, clock, (first, *_), *_ = watched
    watch.started(first)
    clock.now = 10.0
    watch.progressed(first, progress(step=20, seconds=4.0))  # 20 s a cell, of which 10 s have gone
    assert watch.remaining() == pytest.approx((6 * 20 - 10) / 2)


def test_whole_cells_count_and_not_their_steps_alone(watched):
    watch, clock, (first, second, *_), store, _ = watched
    watch.started(first)
    watch.started(second)
    clock.now = 60.0
    watch.progressed(first, progress(step=100, seconds=10.0))  # most of a cell is no training
    finish(watch, store, first)
    assert watch.remaining() == pytest.approx((5 * 60 - 60) / 2)
    clock.now = 90.0  # the second takes longer than the first did
    assert watch.remaining() == pytest.approx(4 * 60 / 2)


def test_a_cell_that_was_put_back_waits_and_the_reason_is_said(watched):
    watch, _, (first, *_), _, said = watched
    watch.started(first)
    watch.put_back(first, "node x gets no cells: no store")
    assert watch.lines[first].state == "waiting"
    assert "warning: node x gets no cells: no store" in said.getvalue()
