"""A score belongs to a network and a split: no batch, process or resolution of another image moves it."""

import math

import pytest
import torch
from torch.nn import functional

from benchmarks import tasks as t
from benchmarks.benchmark import Sample
from harness import constant, evaluate
from harness.loading import IMAGENET_MEAN, IMAGENET_STD, normalise
from results.record import Record, Score

TASKS = {"semseg": t.semseg(5), "depth": t.depth(0.7, 10.0), "edge": t.edge(0.9)}
SIZE = (32, 64)
CPU = torch.device("cpu")


def sample(index):
    """Odd sizes, both orientations; some labels are missing, some void."""
    generator = torch.Generator().manual_seed(index)
    rows, columns = [(40, 70), (70, 40), (33, 64), (32, 64)][index % 4]
    semseg = torch.randint(0, 5, (rows, columns), dtype=torch.uint8, generator=generator)
    semseg[torch.rand(rows, columns, generator=generator) < 0.2] = 255
    depth = torch.rand(1, rows, columns, generator=generator) + 1
    labels = {"semseg": semseg, "depth": depth} if index % 5 else {"depth": depth}
    return Sample(
        f"i{index}", torch.randint(0, 256, (3, rows, columns), dtype=torch.uint8, generator=generator), labels
    )


SAMPLES = [sample(index) for index in range(11)]


def predict(image):
    logits = torch.stack([image[:, c % 3] * (c + 1) for c in range(5)], dim=1)
    return {"semseg": logits, "depth": image[:, :1].abs() + 1, "edge": image[:, :1]}


def rows(native=True, batch=3, indices=None):
    return evaluate.collect(
        predict, SAMPLES, TASKS, SIZE, "stretch", native=native, device=CPU, batch=batch, indices=indices
    )


def values(found):
    return {(s.task, s.metric): s.value for s in evaluate.scores(found, TASKS, "the stored size")}


@pytest.mark.parametrize("native", [True, False])
def test_no_batch_size_changes_a_score(native):
    assert values(rows(native, 1)) == values(rows(native, 4)) == values(rows(native, 64))


@pytest.mark.parametrize("processes", [2, 3, 8, 16])
def test_no_number_of_processes_changes_a_score_and_each_image_counts_once(processes):
    parts = [rows(indices=range(rank, len(SAMPLES), processes)) for rank in range(processes)]
    gathered = [row for part in reversed(parts) for row in part]
    assert values(gathered) == values(rows())
    assert values([*gathered, *parts[0]]) == values(rows())  # counted again, as by a padded sampler
    assert evaluate.per_image(gathered, TASKS) == evaluate.per_image(rows(), TASKS)


def test_native_scores_are_those_of_predictions_resized_to_each_image():
    error, count = 0.0, 0
    for one in SAMPLES:
        image = functional.interpolate(
            torch.from_numpy(resized(one.image))[None].float(), size=SIZE, mode="nearest"
        ).byte()  # already at that size
        prediction = predict(normalise(image))["depth"]
        depth = functional.interpolate(prediction, size=one.image.shape[-2:], mode="bilinear")[0]
        valid = one.labels["depth"] > 0
        error += (depth - one.labels["depth"])[valid].double().square().sum().item()
        count += int(valid.sum())
    assert values(rows())["depth", "rmse"] == pytest.approx(math.sqrt(error / count), rel=1e-6)


def resized(image):
    from benchmarks import transforms

    return transforms.resize(image, SIZE).numpy()


def test_an_image_without_a_label_has_no_row():
    found = rows()
    assert len([row for row in found if row.task == "semseg"]) == len([s for s in SAMPLES if "semseg" in s.labels])
    assert len([row for row in found if row.task == "depth"]) == len(SAMPLES)


def test_a_task_without_a_metric_and_a_split_without_a_label_are_undefined_and_not_zero():
    blank = [s._replace(labels={"semseg": torch.full_like(s.image[0], 255)}) for s in SAMPLES[:2]]
    found = evaluate.collect(predict, blank, TASKS, SIZE, "stretch", native=True, device=CPU, batch=2)
    scores = {(s.task, s.primary): s for s in evaluate.scores(found, TASKS, "x")}
    assert scores["edge", True].value is None and scores["edge", True].metric == "undefined"
    assert scores["semseg", True].value is None
    assert scores["depth", True].value is None


def test_images_are_normalised_as_imagenets():
    image = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [(v / 255 - m) / s for v, m, s in zip((0, 128, 255), IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    assert normalise(image).flatten().tolist() == pytest.approx(expected)


def test_the_constant_is_the_best_that_does_not_look():
    constants = constant.fit(SAMPLES, TASKS)
    labels = torch.cat([s.labels["semseg"].flatten() for s in SAMPLES if "semseg" in s.labels])
    assert constants["semseg"].argmax() == labels[labels != 255].mode().values
    depths = torch.cat([s.labels["depth"].flatten() for s in SAMPLES])
    assert constants["depth"].item() == pytest.approx(depths.mean().item())
    assert constants["edge"].tolist() == [0.0]


def test_a_score_that_ties_with_the_constant_does_not_beat_it():
    def record(value):
        return Record("c", {}, (Score("depth", "rmse", value, False, True),), {}, {})

    assert constant.not_beaten(record(1.0).scores, record(1.0))
    assert constant.not_beaten(record(1.1).scores, record(1.0))
    assert not constant.not_beaten(record(0.9).scores, record(1.0))
    assert not constant.not_beaten(record(None).scores, record(1.0))
