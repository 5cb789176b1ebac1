"""Cells that start from other cells' weights, from the matrix to the record: in order, held, blocked, accounted for."""

import pytest
import torch
from safetensors.torch import load

from cells import small_matrix
from in_process import running
from mtlbench.harness.data.places import NotReady
from mtlbench.harness.driver.work import standing_of
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.store import cleanup
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.harness.training.network import build, chosen_tasks, load_starts
from mtlbench.results.records import files
from mtlbench.results.records.reading import read
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise

pytestmark = pytest.mark.usefixtures("undrawn")

ROWS = [
    {"name": "cross_stitch", "label": "Cross-stitch", "options": {"alpha": 1.0, "beta": 0.0, "unit_lr": 1.0}},
    {"name": "single_task", "label": "Single task"},
]
TWO = {"name": "rooms", "tasks": ["semseg", "depth"], "options": {"train": 6, "val": 2, "test": 4}}


def matrix(rows=ROWS, **changes):
    return small_matrix(**{"benchmark": TWO, "methods": rows, "backbone": "test_resnet", **changes})


@pytest.fixture
def run(monkeypatch, tmp_path, rooms):
    return running(monkeypatch, tmp_path, rooms)


def cells_of(store):
    """method -> the cells of a store."""
    found = {}
    for cell_id in store.cells():
        cell = store.cell(cell_id)
        found.setdefault(cell.method, []).append(cell)
    return found


def test_a_cell_starts_from_the_weights_of_the_cells_before_it_and_its_record_says_so(run, tmp_path):
    outcome, said = run(matrix())
    store = Store(tmp_path / "s")
    assert outcome.finished == 3 and outcome.undecided == []
    assert said.index("Single task · depth · seed 0: ") < said.index("Cross-stitch · semseg+depth · seed 0: ")
    found = cells_of(store)
    (cell,) = found["cross_stitch"]
    record = store.record(cell.id)
    assert set(record.derived_from) == {single.id for single in found["single_task"]}
    initial = record.provenance["initial_weights"]
    assert {task: entry["cell"] for task, entry in initial.items()} == cell.starts
    assert "weights" not in record.provenance

    # Before the first step, with units that pass maps through, it predicts what the single-task networks predict.
    tasks = chosen_tasks(make_benchmark(cell.benchmark), cell)
    network = build(cell, tasks).eval()
    load_starts(network, cell, store)
    image = torch.randn(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    for single in found["single_task"]:
        (task,) = single.tasks
        before = build(single, {task: tasks[task]}).eval()
        before.load_state_dict(load(store.get(files.weights(single.id))))
        with torch.no_grad():
            assert torch.equal(network(image).final[task], before(image).final[task])

    # The training time of the row includes that of the networks before it.
    (comparison,) = comparisons(read(str(tmp_path / "s"), "m"))
    cost = summarise(comparison, str(tmp_path / "s")).rows["Cross-stitch"].cost["train_seconds"]
    seconds = [store.record(each.id).cost["train_seconds"] for each in (cell, *found["single_task"])]
    assert cost == pytest.approx(sum(seconds))
    assert not [
        left for left in cleanup.find(store, orphans=True) if "weights" in left.name or left.name.endswith(cell.id)
    ]

    # A user's own copy of the weights is not taken in silence where the store's is gone.
    store.remove(files.weights(found["single_task"][0].id))
    with pytest.raises(StoreError, match=r"is not there, and rooms-cross_stitch-.* starts from it; train that cell"):
        load_starts(network, cell, store)


@pytest.mark.slow
def test_only_of_a_row_trains_the_rows_that_it_starts_from_too(run):
    multi = {"name": "multi_task", "label": "Multi-task"}
    outcome, _ = run(matrix([*ROWS, multi]), only=("Cross-stitch",))
    assert outcome.finished == 3


@pytest.mark.slow
def test_a_driver_that_ended_between_the_cells_before_and_the_start_goes_on(run):
    outcome, _ = run(matrix(), only=("Single task",))
    assert outcome.finished == 2 and outcome.missing == []
    outcome, said = run(matrix())
    assert outcome.finished == 3 and "1 of 3 cells to run" in said


@pytest.mark.slow
def test_a_row_that_starts_anew_keeps_the_trained_networks_that_it_starts_from(run, tmp_path):
    run(matrix())
    store = Store(tmp_path / "s")
    finished = {cell_id: store.record(cell_id).provenance["finished"] for cell_id in store.cells()}
    _, said = run(matrix(), only=("Cross-stitch",), rerun="all")
    assert "1 of 3 cells to run" in said
    singles = [cell_id for cell_id in finished if "single_task" in cell_id]
    assert all(store.record(cell_id).provenance["finished"] == finished[cell_id] for cell_id in singles)
    _, said = run(matrix(), rerun="all")
    assert "3 of 3 cells to run" in said


def test_a_cell_before_that_failed_blocks_those_after_it_and_no_other(run, tmp_path):
    rows = [
        {"name": "single_task", "label": "Single task"},
        {"name": "plugin:AlwaysFails", "label": "First"},
        {"name": "multi_task", "label": "Second", "starts": "First"},
        {"name": "multi_task", "label": "Third", "starts": "Second"},
    ]
    whole = matrix(rows)
    outcome, _ = run(whole)
    assert outcome.finished == 2 and len(outcome.failures) == 1 and len(outcome.missing) == 3
    place = "semseg+depth · seed 0"
    blocked = [
        f"Second · {place}: blocked, since it starts from First · {place}, which failed",
        f"Third · {place}: blocked, since it starts from Second · {place}, which is blocked",
    ]
    assert outcome.undecided == blocked
    assert standing_of(whole, Store(tmp_path / "s")).waiting[-2:] == blocked


@pytest.mark.slow
def test_a_fine_tuning_is_a_line(run, tmp_path):
    rows = [
        {"name": "single_task", "label": "Single task"},
        {"name": "multi_task", "label": "Multi-task"},
        {"name": "multi_task", "label": "Tuned", "starts": "Multi-task", "train": {"lr": 1e-9}},
        {"name": "pad_net", "label": "PAD-Net", "starts": "Multi-task"},
    ]
    outcome, _ = run(matrix(rows, backbone="test_efficientnet"))
    assert outcome.finished == 5
    store = Store(tmp_path / "s")
    found = cells_of(store)
    first, tuned = sorted(found["multi_task"], key=lambda cell: len(cell.starts))
    whole, barely = (load(store.get(files.weights(cell.id))) for cell in (first, tuned))
    parameters = [name for name in whole if "running" not in name and "num_batches" not in name]
    assert all(torch.allclose(whole[name], barely[name], atol=1e-6) for name in parameters)  # the head too
    (pad,) = found["pad_net"]
    network = build(pad, chosen_tasks(make_benchmark(pad.benchmark), pad))
    load_starts(network, pad, store)
    own = network.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in whole.items() if name.startswith("backbone."))


def test_a_row_that_cannot_take_over_the_weights_of_the_row_before_it_is_named_before_anything_trains(run, tmp_path):
    rows = [*ROWS, {"name": "multi_task", "label": "Tuned", "starts": "Cross-stitch"}]
    with pytest.raises(NotReady) as refused:
        run(matrix(rows))
    (line,) = refused.value.problems
    assert line.startswith("methods: multi_task cannot start from cross_stitch (semseg+depth): ")
    assert line.endswith("name a row whose network has the same parameters, or the same backbone")
    assert not list(Store(tmp_path / "s").cells())
