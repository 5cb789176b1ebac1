"""Tune asks for cells many times a second: what that costs does not grow with the cells that wait."""

from ray.tune.search import Searcher

from cells import small_cell, small_matrix
from mtlbench.harness.cluster.schedule import Cells
from mtlbench.harness.cluster.stages import UNFIT
from mtlbench.harness.driver.standing import recorded
from mtlbench.harness.driver.work import Work
from mtlbench.harness.store.store import Store


class Ready:
    """The cells that are ready. It counts how often it is asked."""

    def __init__(self, *cells):
        self.cells, self.asked = list(cells), 0

    def __call__(self):
        self.asked += 1
        return self.cells


def test_what_is_ready_is_asked_at_first_and_after_each_cell_that_ends_alone(tmp_path):
    one, other, after = (small_cell(seed=seed) for seed in range(3))
    ready = Ready(one, other)
    cells = Cells(ready, Store(tmp_path))
    assert [cells.suggest(name)["cell"] for name in "ab"] == [one.id, other.id]
    assert [cells.suggest("c") for _ in range(100)] == [None] * 100 and ready.asked == 1
    ready.cells.append(after)  # as the record of a cell leads to another
    cells.on_trial_complete("a")
    assert cells.suggest("c")["cell"] == after.id and ready.asked == 2
    cells.on_trial_complete("b", {UNFIT: "node"})
    assert cells.suggest("d")["cell"] == other.id and ready.asked == 3
    for name in "cd":
        cells.on_trial_complete(name)
    assert cells.suggest("e") == Searcher.FINISHED


def test_after_tune_has_failed_a_cell_is_handed_out_again_unless_it_failed(
    tmp_path,
):
    one, other = (small_cell(seed=seed) for seed in range(2))
    cells = Cells(Ready(one, other), Store(tmp_path))
    assert [cells.suggest(name)["cell"] for name in "ab"] == [one.id, other.id]
    assert cells.interrupted({one.id}) == [one.id]
    cells.fail(one.id, "why", "text")
    assert cells.waiting() == [other.id] and cells.suggest("c")["cell"] == other.id


def test_which_cells_are_ready_is_known_without_the_store(tmp_path, monkeypatch):
    rows = [{"name": "cross_stitch", "label": "After"}, {"name": "single_task", "label": "Single task"}]
    tasks = {"name": "rooms", "tasks": ["semseg", "depth"], "options": {"train": 6, "val": 2, "test": 4}}
    store = Store(tmp_path)
    matrix = small_matrix(methods=rows, benchmark=tasks, backbone="test_resnet")
    work = Work(matrix, store, (), recorded(store, {}), {}, "", "")
    for name in ("exists", "get", "get_those_there", "names"):
        monkeypatch.delattr(Store, name)
    before = work.ready()
    assert {cell.method for cell in before} == {"single_task"} and not work.found()
    work.finished.update(cell.id for cell in before[1:])
    assert work.ready() == before
    work.finished.add(before[0].id)
    assert {cell.method for cell in work.ready()} == {"single_task", "cross_stitch"}
