"""`evaluate: published` gives the numbers of the published evaluations, written out here pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.transforms.augmentation import Augmentation
from mtlbench.harness.data.loading import Evaluation, evaluation_batches, in_order
from mtlbench.harness.data.view import View
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.scoring import statistics
from mtlbench.harness.scoring.protocol import conditions_of, protocol_of

CLASSES, SIZE = 6, (32, 64)
SIZES = [(40, 70), (23, 45), (32, 64), (61, 37)]
TASKS = {
    task.name: task
    for task in (
        factories.semseg(CLASSES), factories.human_parts(4), factories.depth(0.7, 10.0),
        factories.normals(), factories.saliency(),
    )
}  # fmt: skip


def sample(index):
    rng = np.random.default_rng(index)
    rows, columns = SIZES[index]
    semseg = rng.integers(0, CLASSES - 1, (rows, columns))  # the last class is nowhere
    semseg[rng.random((rows, columns)) < 0.2] = 255
    parts = rng.integers(0, 4, (rows, columns)) if index else np.full((rows, columns), 255)
    depth = (rng.random((1, rows, columns)) * 4 + 0.5) * (rng.random((1, rows, columns)) < 0.9)
    normals = rng.normal(size=(3, rows, columns))
    normals = normals / np.linalg.norm(normals, axis=0) * (rng.random((rows, columns)) < 0.8)
    labels = {
        "semseg": torch.from_numpy(semseg.astype(np.uint8)),
        "human_parts": torch.from_numpy(parts.astype(np.uint8)),
        "depth": torch.from_numpy(depth.astype(np.float32)),
        "normals": torch.from_numpy(normals.astype(np.float32)),
        "saliency": torch.from_numpy(rng.integers(0, 2, (rows, columns)).astype(np.uint8)),
    }
    return Sample(f"i{index}", torch.zeros(3, rows, columns, dtype=torch.uint8), labels)


SAMPLES = [sample(index) for index in range(len(SIZES))]
_rng = np.random.default_rng(99)
OUTPUTS = [  # what a network says of each image: five logits that never choose the last class, depths below 0, ...
    {
        "semseg": np.concatenate([_rng.normal(size=(CLASSES - 1, *SIZE)), np.full((1, *SIZE), -9)]),
        "human_parts": _rng.normal(size=(4, *SIZE)),
        "depth": _rng.normal(2.0, 2.0, size=(1, *SIZE)),
        "normals": _rng.normal(size=(3, *SIZE)) * 3,
        "saliency": _rng.normal(size=(1, *SIZE)),
    }
    for _ in SAMPLES
]


def scores(evaluate):
    tasks = {name: task.published() for name, task in TASKS.items()} if evaluate == "published" else TASKS
    outputs = iter(OUTPUTS)

    def predict(image):
        return {name: torch.from_numpy(value)[None].float() for name, value in next(outputs).items()}

    view = View(SIZE, Augmentation(), evaluate)
    batches = evaluation_batches(Evaluation(SAMPLES, tasks, view), in_order(range(len(SAMPLES)), 1))
    rows = statistics.collect(predict, batches, tasks, view)
    config = BenchmarkConfig(name="nyud", evaluate=evaluate)
    found = statistics.scores(rows, tasks, conditions_of(config, make_benchmark(config), len(SAMPLES)))
    return {(score.task, score.metric): score for score in found}


def nearest(values, size):
    """[H, W] at another size: the pixel in which each pixel begins, as OpenCV takes it."""
    rows = [int(i * values.shape[0] / size[0]) for i in range(size[0])]
    columns = [int(j * values.shape[1] / size[1]) for j in range(size[1])]
    return values[np.ix_(rows, columns)]


def linear(values, size):
    """[..., H, W] at another size: between the centres of pixels, without antialiasing."""

    def along(values, axis, out):
        length = values.shape[axis]
        place = np.clip((np.arange(out) + 0.5) * length / out - 0.5, 0, length - 1)
        low = np.floor(place).astype(int)
        high, share = np.minimum(low + 1, length - 1), place - low
        shape = [1] * values.ndim
        shape[axis] = out
        share = share.reshape(shape)
        return np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share

    return along(along(values, -2, size[0]), -1, size[1])


def published_miou(task, classes):
    """Classes are written at the network's size and resized by nearest neighbour; a class found nowhere counts as 0."""
    true, false, missed = np.zeros(classes), np.zeros(classes), np.zeros(classes)
    for output, one in zip(OUTPUTS, SAMPLES, strict=True):
        label = one.labels[task].numpy()
        answer = nearest(output[task].argmax(0), label.shape)
        for c in range(classes):
            valid = label != 255
            true[c] += ((answer == c) & (label == c) & valid).sum()
            false[c] += ((answer == c) & (label != c) & valid).sum()
            missed[c] += ((answer != c) & (label == c) & valid).sum()
    return 100 * (true / np.maximum(true + false + missed, 1e-8)).mean()


def test_class_maps_are_resized_after_the_argmax_and_an_absent_class_counts_as_nothing():
    found = scores("published")
    assert found["semseg", "miou"].value == pytest.approx(published_miou("semseg", CLASSES), rel=1e-6)
    assert found["human_parts", "miou"].value == pytest.approx(published_miou("human_parts", 4), rel=1e-6)
    assert found["semseg", f"iou/{CLASSES - 1}"].value == 0
    assert found["semseg", "miou"].value != pytest.approx(scores("native")["semseg", "miou"].value, rel=1e-2)
    assert scores("native")["semseg", f"iou/{CLASSES - 1}"].value is None


def test_depths_below_zero_are_clamped():
    squared, logarithm, count = 0.0, 0.0, 0
    for output, one in zip(OUTPUTS, SAMPLES, strict=True):
        label = one.labels["depth"].numpy()[0].astype(float)
        depth = linear(output["depth"].astype(np.float32).astype(float), label.shape)[0]
        depth[depth <= 0] = 1e-9
        valid = label != 0
        squared += ((label - depth)[valid] ** 2).sum()
        logarithm += ((np.log(label[valid]) - np.log(depth[valid])) ** 2).sum()
        count += valid.sum()
    found = scores("published")
    assert found["depth", "rmse"].value == pytest.approx(math.sqrt(squared / count), rel=1e-6)
    assert found["depth", "rmse_log"].value == pytest.approx(math.sqrt(logarithm / count), rel=1e-3)
    assert found["depth", "rmse"].value < scores("native")["depth", "rmse"].value
    assert "all of predictions of at least 1e-9" in found["depth", "rmse"].definition
    assert "negative ones included" in scores("native")["depth", "rmse"].definition


def test_normals_have_unit_length_before_they_are_resized():
    angles = []
    for output, one in zip(OUTPUTS, SAMPLES, strict=True):
        label = one.labels["normals"].numpy().astype(float)
        unit = output["normals"] / np.linalg.norm(output["normals"], axis=0)
        unit = linear(unit, label.shape[1:])
        unit = unit / np.linalg.norm(unit, axis=0)
        valid = (label != 0).any(0)
        angles.append(np.degrees(np.arccos(np.clip((unit * label).sum(0)[valid], -1, 1))))
    found = scores("published")["normals", "mean_angle"]
    assert found.value == pytest.approx(np.concatenate(angles).mean(), rel=1e-5)
    assert "without their rounding to 8 bits" in found.definition


def test_probabilities_are_resized_and_not_logits():
    best = 0.0
    for threshold in np.linspace(0.2, 0.9, 15):
        each = []
        for output, one in zip(OUTPUTS, SAMPLES, strict=True):
            label = one.labels["saliency"].numpy() == 1
            positive = linear(1 / (1 + np.exp(-output["saliency"])), label.shape)[0] > threshold
            each.append((positive & label).sum() / (positive | label).sum())
        best = max(best, np.mean(each))
    assert scores("published")["saliency", "max_miou"].value == pytest.approx(100 * best, rel=1e-3)


def test_each_rule_of_evaluation_has_a_protocol_of_its_own():
    rules = ("native", "network", "published")
    configs = [BenchmarkConfig(name="pascal_context", evaluate=rule) for rule in rules]
    made = [make_benchmark(config) for config in configs]
    for task in made[0].tasks:
        hashes = {
            protocol_of(its.tasks[task], conditions_of(config, its, 7))
            for config, its in zip(configs, made, strict=True)
        }
        assert len(hashes) == len(rules), task
