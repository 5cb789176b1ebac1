"""What tasks learn from training labels is learnt once a store, the same by anybody, and without what is held out."""

import json

import numpy as np
import pytest
import torch

from cells import ROOMS, small_benchmark, small_cell, train_cell
from mtlbench.benchmarks.benchmark import Sample
from mtlbench.harness.data import learning
from mtlbench.harness.data.copy import Copy, copy_of, hold_out
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.harness.training.network import chosen_tasks

TASKS = ("semseg", "normals")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def learn(store, root, tasks=TASKS, holdout=0.0, benchmark=None):
    return learning.learn(store, Copy(benchmark or small_benchmark(), root), tasks, holdout)


def test_only_the_tasks_that_learn_something_are_in_it(store, rooms):
    assert learn(store, rooms, ("semseg", "depth")) == {}
    assert store.names("fits") == []
    assert list(learn(store, rooms)) == ["normals"]


def test_a_second_cell_reads_what_the_first_has_learnt(store, rooms, monkeypatch):
    first = learn(store, rooms)
    monkeypatch.setattr(learning, "fit", None)  # whoever learns again fails
    assert learn(store, rooms, ("normals",)) == first
    copy = copy_of(ROOMS, rooms)
    assert learning.missing(store, copy, ["normals"], 0.0) == []
    monkeypatch.setattr(Copy, "fingerprint", "another copy")
    assert learning.missing(store, copy_of(ROOMS, rooms), ["semseg", "normals"], 0.0) == ["normals"]


def test_two_stores_learn_the_same(tmp_path, rooms):
    one, other = (learn(Store(tmp_path / name), rooms) for name in "ab")
    assert one == other
    assert learning.digest(one) == learning.digest(other)


class Few:
    """A benchmark whose training images are known by their normals: each image has one region of its own."""

    name = "few"

    def __init__(self, labelled=True):
        self.tasks, self.labelled = small_benchmark().tasks, labelled

    def fingerprint(self, root):
        return "f"

    def open(self, root, split, tasks):
        assert (split, tasks) == ("train", ["normals"])
        return [self.sample(index) for index in range(10)]

    def sample(self, index):
        generator = torch.Generator().manual_seed(index)
        label = torch.randn(3, 20, 20, generator=generator) * 0.1
        label[index % 3] += 1 if index < 5 else -1
        label = torch.nn.functional.normalize(label, dim=0) * self.labelled
        return Sample(str(index), torch.zeros(3, 20, 20, dtype=torch.uint8), {"normals": label})


def test_images_that_are_held_out_teach_nothing(store, tmp_path):
    whole = learn(store, tmp_path, ("normals",), benchmark=Few())
    part = learn(store, tmp_path, ("normals",), holdout=0.5, benchmark=Few())
    assert len(store.names("fits")) == 2
    assert whole != part
    kept, _ = hold_out(Few().open(None, "train", ["normals"]), 0.5)
    seen = torch.cat([sample.labels["normals"].flatten(1).T for sample in kept])
    centroids = torch.tensor(part["normals"]["centroids"])
    assert torch.cdist(centroids, seen).min(1).values.max() < 0.1


def test_labels_that_do_not_suffice_are_an_error_that_names_the_task(store, tmp_path):
    with pytest.raises(ValueError, match=r"normals: .* 0 different"):
        learn(store, tmp_path, ("normals",), benchmark=Few(labelled=False))
    assert store.names("fits") == []


def test_a_damaged_file_is_named_with_the_way_out(store, rooms):
    learn(store, rooms)
    (name,) = store.names("fits")
    store.put(f"fits/{name}", "{}")
    with pytest.raises(StoreError, match=rf"{name}.*remove it"):
        learn(store, rooms)


def test_a_cell_trained_without_a_driver_learns_and_says_so_in_its_record(store, rooms):
    a_cell = small_cell("atrc", ("normals",))
    record = train_cell(a_cell, store.url, rooms)
    (name,) = store.names("fits")
    findings = json.loads(store.get(f"fits/{name}"))["findings"]
    assert record.provenance["data"]["learnt"] == learning.digest(findings)
    task = chosen_tasks(small_benchmark(), a_cell, findings)["normals"]
    np.testing.assert_allclose(task.label_loss.centroids, findings["normals"]["centroids"])


def test_a_cell_whose_tasks_learn_nothing_has_nothing_to_say(store, rooms):
    record = train_cell(small_cell(tasks=("depth",)), store.url, rooms)
    assert "learnt" not in record.provenance["data"]
