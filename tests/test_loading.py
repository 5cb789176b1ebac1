"""What a network sees of a sample in training."""

import numpy as np
import pytest
import torch

from benchmarks import tasks as t
from benchmarks.benchmark import Sample
from benchmarks.transforms import Augmentation, Crop
from harness.loading import training_batches

SIZE = (32, 32)
TASKS = {"semseg": t.semseg(3), "human_parts": t.human_parts(), "saliency": t.saliency()}


def sample(people):
    """64 x 64 with a person in its upper left, or nobody."""
    parts = torch.zeros(64, 64, dtype=torch.uint8)
    if people:
        parts[:16, :20] = 3
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    return Sample("a", image, {"semseg": torch.zeros_like(parts), "human_parts": parts, "saliency": parts * 0})


def crops(one, count=40):
    keys = iter([[(epoch, 0)] for epoch in range(count)])
    augmentation = Augmentation(crop=Crop(tries=1))
    for batch in training_batches([one], TASKS, SIZE, augmentation, 0, keys):
        yield {name: label[0] for name, label in batch.labels.items()}


def test_a_crop_without_a_person_has_no_label_for_parts_and_keeps_its_other_labels():
    seen = {True: 0, False: 0}
    for labels in crops(sample(people=True)):
        parts = labels["human_parts"]
        person = bool((parts == 3).any())
        seen[person] += 1
        assert set(parts.unique().tolist()) == (
            {0, 3} if person and bool((parts == 0).any()) else {3} if person else {255}
        )
        assert not labels["semseg"].any() and not labels["saliency"].any()
    assert seen[True] > 3 and seen[False] > 3


def test_void_pixels_are_no_person():
    one = sample(people=False)
    one.labels["human_parts"][::2] = 255
    assert all(bool((labels["human_parts"] == 255).all()) for labels in crops(one, 3))


@pytest.mark.parametrize("task", [t.semseg(3), t.edge(0.9), t.saliency(), t.depth(1, 2), t.normals()])
def test_background_alone_is_a_label_of_every_other_task(task):
    assert not task.background_alone_is_void and t.human_parts().background_alone_is_void


def test_a_missing_label_is_one_without_a_valid_pixel():
    one = sample(people=False)._replace(labels={})
    for labels in crops(one, 2):
        assert {name: np.unique(label).tolist() for name, label in labels.items()} == {name: [255] for name in TASKS}
