"""Training images without a label of any trained task are left out, counted, and looked for once."""

import json

import pytest
import torch

from cells import BACKBONE, small_cell, small_matrix, train_cell
from in_process import running
from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.tasks.kinds import IGNORE
from mtlbench.harness.data import unlabelled as module
from mtlbench.harness.data.copy import copy_of, hold_out, without
from mtlbench.harness.data.unlabelled import unlabelled
from mtlbench.harness.driver.forecast import _steps
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.store.store import Store, StoreError

pytestmark = pytest.mark.usefixtures("undrawn")

ROOMS = BenchmarkConfig(name="rooms", size=(32, 64), options={"train": 12, "val": 1, "test": 2})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def cell(*tasks, **changes):
    train = changes.pop("train", {})
    return small_cell(tasks=tasks, benchmark=ROOMS.model_copy(update=changes), train={"steps": 1, **train})


def empty_rooms(rooms):
    """The places of the training images in which nobody is to be seen."""
    split = copy_of(ROOMS, rooms).split("train", ("human_parts",))
    return {place for place, one in enumerate(split) if set(one.labels["human_parts"].unique().tolist()) <= {0, IGNORE}}


def test_images_without_people_are_left_out_where_parts_are_the_only_task(store, rooms):
    found = unlabelled(store, copy_of(ROOMS, rooms), cell("human_parts"))
    assert found == empty_rooms(rooms) and 0 < len(found) < 12
    assert unlabelled(store, copy_of(ROOMS, rooms), cell("semseg", "human_parts")) == set()
    assert unlabelled(store, copy_of(ROOMS, rooms), cell("human_parts", "depth")) == set()


def test_a_record_counts_what_was_trained_on_and_what_was_left_out(store, rooms):
    empty = len(empty_rooms(rooms))
    data = train_cell(cell("human_parts"), store.url, rooms).provenance["data"]
    assert (data["images"], data["unlabelled"]) == ([12 - empty, 2], empty)
    data = train_cell(cell("human_parts", unlabelled="keep"), store.url, rooms).provenance["data"]
    assert (data["images"], data["unlabelled"]) == ([12, 2], 0)


def test_the_share_that_is_held_out_is_drawn_before(store, rooms):
    a_cell, copy = cell("human_parts", train={"holdout": 0.25}), copy_of(ROOMS, rooms)
    splits = copy.splits(a_cell, unlabelled(store, copy, a_cell))
    train, val = hold_out(copy.split("train", ("human_parts",)), 0.25)
    assert splits.val.indices == val.indices and len(val) == 3
    assert splits.train.indices == [place for place in train.indices if place not in empty_rooms(rooms)]
    assert splits.unlabelled == len(train) - len(splits.train)
    assert without(train, ()) is train


def test_labels_are_read_once_a_store(store, rooms, monkeypatch):
    copy, ticks = copy_of(ROOMS, rooms), []
    assert unlabelled(store, copy, cell("human_parts"), read=False) == set()
    first = unlabelled(store, copy, cell("human_parts"), lambda done, images: ticks.append((done, images)))
    assert ticks[-1] == (12, 12)
    monkeypatch.setattr(module, "_has_label", None)  # whoever reads again fails
    assert unlabelled(store, copy, cell("human_parts")) == first
    assert unlabelled(store, copy, cell("human_parts"), read=False) == first
    (name,) = store.names("without_label")
    for content in ("cut", "[]", '{"images": 12, "unlabelled": "12"}', '{"images": 12, "unlabelled": [12]}'):
        store.put(f"without_label/{name}", content)
        with pytest.raises(StoreError, match=f"{name}: does not say which images have no label.*remove it"):
            unlabelled(store, copy, cell("human_parts"))


def test_what_a_label_is_depends_on_its_task():
    parts, semseg, depth = factories.human_parts(), factories.semseg(5), factories.depth(1, 2)
    background = torch.zeros(4, 4, dtype=torch.uint8)
    assert semseg.labels(background) and not parts.labels(background)
    assert parts.labels(background + 3) and not parts.labels(background + IGNORE)
    assert not depth.labels(torch.zeros(1, 4, 4)) and depth.labels(torch.ones(1, 4, 4))


def test_tasks_without_any_label_are_refused_and_one_of_several_is_not(store, rooms, monkeypatch):
    monkeypatch.setattr(module, "_has_label", lambda task, sample: task.name == "depth")
    copy = copy_of(ROOMS, rooms)
    with pytest.raises(ValueError, match="none of 12 training images has a label of human_parts"):
        unlabelled(store, copy, cell("human_parts"))
    with pytest.raises(ValueError, match="has a label of semseg or human_parts"):
        unlabelled(store, copy, cell("semseg", "human_parts"))
    assert unlabelled(store, copy, cell("semseg", "depth")) == set()


def test_a_run_says_how_many_images_are_left_out_and_refuses_too_few(rooms, tmp_path, monkeypatch):
    from mtlbench.harness.data.places import NotReady

    run = running(monkeypatch, tmp_path, rooms)
    options = {"name": "rooms", "tasks": ["human_parts"], "options": ROOMS.options}
    matrix = {"benchmark": options, "methods": ["single_task"], "backbone": BACKBONE}
    _, said = run(small_matrix(**matrix))
    empty = len(empty_rooms(rooms))
    line = f"rooms, human_parts: {empty} of 12 training images have no label and are left out"
    assert line in said
    record = next(iter(Store(tmp_path / "s").cells()))
    assert json.loads(Store(tmp_path / "s").get(f"cells/{record}/record.json"))["provenance"]["data"]["unlabelled"]
    with pytest.raises(NotReady, match=f"rooms has {12 - empty} training images and train.batch is 12"):
        run(small_matrix(**matrix, train={"steps": 1, "batch": 12}))
    kept, _ = hold_out(range(12), 0.25)
    left = len(set(kept.indices) - empty_rooms(rooms))
    assert left < 12 - empty  # some of the held-out images have a label
    with pytest.raises(NotReady, match=f"rooms has {left} training images and train.batch is {left + 1}"):
        run(small_matrix(**matrix, train={"steps": 1, "batch": left + 1, "holdout": 0.25}))
    share = _holding_out_all(set(range(12)) - empty_rooms(rooms))
    with pytest.raises(NotReady, match="rooms: all training images with a label of human_parts are held out; give ano"):
        run(small_matrix(**matrix, train={"steps": 1, "batch": 1, "holdout": share}))


def _holding_out_all(labelled):
    """The least share of 12 images that holds out all of the `labelled` ones."""
    return next(n / 12 for n in range(1, 12) if labelled <= set(hold_out(range(12), n / 12)[1].indices))


def test_a_dry_run_counts_the_steps_on_what_is_neither_held_out_nor_left_out(store, rooms):
    a_cell = cell("human_parts", train={"steps": None, "epochs": 2, "batch": 1, "holdout": 0.25})
    copy = copy_of(ROOMS, rooms)
    assert _steps(a_cell, {"rooms": rooms}, store) == 2 * 9  # before the labels have been read
    splits = copy.splits(a_cell, unlabelled(store, copy, a_cell))
    assert _steps(a_cell, {"rooms": rooms}, store) == 2 * len(splits.train) < 2 * 9
    assert _steps(a_cell, {"rooms": rooms / "elsewhere"}, store) == 2 * len(splits.train)
    assert not (rooms / "elsewhere").exists()  # nothing is rendered
