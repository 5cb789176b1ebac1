"""The test images that are shown are those whose predictions every cell keeps."""

import io

import numpy as np

from cells import ROOMS
from mtlbench.harness.data.copy import copy_of
from mtlbench.harness.data.shown import SHOWN, places, truth
from mtlbench.results.records import files


def test_the_places_are_spread_over_the_split_and_each_is_taken_once():
    assert places(3) == [0, 1, 2]
    assert places(200) == [0, 28, 57, 85, 114, 142, 171, 199]
    assert len(places(10**4)) == SHOWN


def test_the_truth_holds_images_labels_and_what_they_are(rooms):
    copy = copy_of(ROOMS, rooms)
    copy.benchmark.make(rooms, lambda *_: None)
    held = np.load(io.BytesIO(truth(copy, ["semseg", "depth", "normals"])))
    split = copy.split("test", ["semseg", "depth", "normals"])
    for place in places(len(split)):
        sample = split[place]
        assert (held[f"{sample.id}/{files.PIXELS}"] == sample.image.permute(1, 2, 0).numpy()).all()
        for task, label in sample.labels.items():
            found, valid = held[f"{sample.id}/{task}"], copy.benchmark.tasks[task].kind.valid(label).numpy()
            valid = np.broadcast_to(valid, found.shape)
            assert (found[valid] == label.numpy()[valid]).all() and np.isnan(found[~valid]).all()
    assert str(held[files.CLASSES]).startswith('{"semseg": ["') and '"depth": []' in str(held[files.CLASSES])
