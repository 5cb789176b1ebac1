"""A copy of a benchmark opens its splits, and divides train the same way for everybody."""

from pathlib import Path

import pytest
import torch

from fixtures import nyud
from mtlbench.benchmarks.tasks.kinds import Scalar
from mtlbench.benchmarks.transforms.augmentation import Augmentation, Crop
from mtlbench.harness.data.copy import copy_of
from mtlbench.harness.data.loading import Evaluation, evaluation_batches, in_order, onto
from mtlbench.harness.data.view import View, view_of
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell, TrainConfig

ROOMS = BenchmarkConfig(name="rooms", size=(32, 64), options={"train": 6, "val": 1, "test": 2})


def cell(config, holdout=0.0, tasks=("depth",)):
    return Cell(
        method="multi_task", tasks=tasks, benchmark=config, train=TrainConfig(epochs=1, batch=1, holdout=holdout)
    )


def ids(samples):
    return None if samples is None else [sample.id for sample in samples]


def test_what_is_held_out_of_train_takes_the_place_of_a_val_split(rooms):
    copy = copy_of(ROOMS, rooms)
    whole, halved = copy.splits(cell(ROOMS)), copy.splits(cell(ROOMS, holdout=0.5))
    assert ids(whole.val) == ["val-00000"] and len(whole.train) == 6
    assert sorted(ids(halved.train) + ids(halved.val)) == ids(whole.train) and len(halved.val) == 3
    assert ids(halved.test) == ids(whole.test)
    train, held = copy.train(["depth"], 0.5)
    assert (ids(train), ids(held)) == (ids(halved.train), ids(halved.val))
    assert copy.train(["depth"], 0.0)[1] is None


def test_a_copy_without_a_val_split_has_none_until_a_part_is_held_out(tmp_path):
    nyud(tmp_path)
    copy = copy_of(config := BenchmarkConfig(name="nyud"), tmp_path)
    assert copy.splits(cell(config)).val is None
    assert ids(copy.splits(cell(config, holdout=0.5)).val) in (["0001"], ["0003"])


@pytest.mark.parametrize(("protocol", "labels"), [("mtl", {"depth"}), ("atrc", {"depth", "semseg"})])
def test_train_alone_has_the_labels_that_crops_are_drawn_by(tmp_path, protocol, labels):
    nyud(tmp_path)
    config = BenchmarkConfig(name="nyud", protocol=protocol)
    splits = copy_of(config, tmp_path).splits(cell(config))
    assert set(splits.train[0].labels) == labels and set(splits.test[0].labels) == {"depth"}


def test_a_record_says_of_a_copy_its_fingerprint_and_how_it_is_read(tmp_path, monkeypatch):
    nyud(tmp_path)
    copy = copy_of(BenchmarkConfig(name="nyud"), tmp_path)
    assert copy.identity == {"fingerprint": copy.fingerprint, **copy.benchmark.reading(tmp_path)}
    monkeypatch.setattr(type(copy.benchmark), "fingerprint", None)  # the files were looked at once
    assert copy.identity["fingerprint"]


def test_two_configurations_of_a_copy_have_two_views():
    mtl, atrc = (BenchmarkConfig(name="nyud", size=(32, 64), protocol=name) for name in ("mtl", "atrc"))
    other = mtl.model_copy(update={"evaluate": "network", "borders": "ignore", "normals_zoom": "consistent"})
    views = [view_of(config, copy_of(config, Path("nowhere")).benchmark) for config in (mtl, atrc, other)]
    assert [view.placement for view in views] == ["stretch", "pad", "stretch"]
    assert [view.native for view in views] == [True, True, False]
    assert {(view.size, view.balance) for view in views} == {((32, 64), "semseg")}
    drawn = views[2].augmentation
    assert (drawn.borders, drawn.normals_zoom, drawn.flip) == ("ignore", "consistent", views[0].augmentation.flip)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(crop=Crop())])
def test_a_view_restores_what_it_resized(augmentation):
    image = torch.full((3, 20, 50), 7, dtype=torch.uint8)
    view = View((32, 64), augmentation)
    placed = view.resize(image)
    assert placed.shape == (3, 32, 64) and bool((placed == 7).all()) == (view.placement == "stretch")
    torch.testing.assert_close(view.restore(placed[None].float(), (20, 50), Scalar())[0], image.float())


def test_evaluation_batches_say_where_in_the_split_their_images_are(rooms):
    copy = copy_of(ROOMS, rooms)
    samples, view = copy.split("train", ["depth"]), view_of(ROOMS, copy.benchmark)
    batches = evaluation_batches(Evaluation(samples, copy.benchmark.tasks, view), in_order(range(1, 6, 2), 2))
    moved = list(onto(torch.device("cpu"), batches))
    assert [batch.numbers for batch in moved] == [[1, 3], [5]]
    assert [batch.ids for batch in moved] == [["train-00001", "train-00003"], ["train-00005"]]
    for batch, again in zip(moved, batches, strict=True):
        ((positions, depth),) = batch.labels["depth"]
        assert positions == list(range(len(batch.ids)))
        assert torch.equal(batch.image, again.image) and torch.equal(depth, again.labels["depth"][0].labels)
        assert torch.equal(depth, torch.stack([samples[number].labels["depth"] for number in batch.numbers]))
