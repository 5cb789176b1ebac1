"""A score belongs to a network and a split: no batch, process or resolution of another image moves it."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks import factories, saliency
from mtlbench.benchmarks.tasks.depth_errors import DepthErrors
from mtlbench.benchmarks.tasks.edges import EdgeODS
from mtlbench.benchmarks.tasks.normal_errors import NormalErrors
from mtlbench.benchmarks.tasks.saliency import Saliency
from mtlbench.benchmarks.transforms.augmentation import Augmentation, Crop
from mtlbench.harness.data.loading import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Evaluation,
    evaluation_batches,
    in_order,
    normalise,
)
from mtlbench.harness.data.view import View
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell, TrainConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.scoring import constant, per_image, statistics
from mtlbench.harness.scoring.protocol import Conditions, conditions_of, conditions_of_cell, origin, protocol_of
from mtlbench.results.records.record import Record, Score

TASKS = {"semseg": factories.semseg(5), "depth": factories.depth(0.7, 10.0), "edge": factories.edge(0.9)}
SIZE = (32, 64)
VIEW = View(SIZE, Augmentation())
PADDED = View(SIZE, Augmentation(crop=Crop()))
TAKEN = Conditions("the stored size", "stretch", 11)


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


def collect(predict, samples, tasks=TASKS, view=VIEW, batch=2, indices=None, **takers):
    """The rows of the samples at `indices`, all by default."""
    keys = in_order(range(len(samples)) if indices is None else indices, batch)
    batches = evaluation_batches(Evaluation(samples, tasks, view), keys)
    return statistics.collect(predict, batches, tasks, view, **takers)


def rows(evaluate="native", batch=3, indices=None):
    return collect(predict, SAMPLES, TASKS, replace(VIEW, evaluate=evaluate), batch, indices)


def values(found):
    return {(s.task, s.metric): s.value for s in statistics.scores(found, TASKS, TAKEN)}


@pytest.mark.parametrize("evaluate", ["native", "network", "published"])
def test_no_batch_size_changes_a_score(evaluate):
    assert values(rows(evaluate, 1)) == values(rows(evaluate, 4)) == values(rows(evaluate, 64))


@pytest.mark.parametrize("processes", [2, 3, 8, 16])
def test_no_number_of_processes_changes_a_score_and_each_image_counts_once(processes):
    parts = [rows(indices=range(rank, len(SAMPLES), processes)) for rank in range(processes)]
    gathered = [row for part in reversed(parts) for row in part]
    assert values(gathered) == values(rows())
    assert values([*gathered, *parts[0]]) == values(rows())  # counted again, as by a padded sampler
    assert per_image.encode(gathered, TASKS, TAKEN) == per_image.encode(rows(), TASKS, TAKEN)


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
    from mtlbench.benchmarks.transforms import geometry

    return geometry.resize(image, SIZE).numpy()


def test_an_image_without_a_label_has_no_row():
    found = rows()
    assert len([row for row in found if row.task == "semseg"]) == len([s for s in SAMPLES if "semseg" in s.labels])
    assert len([row for row in found if row.task == "depth"]) == len(SAMPLES)


def test_a_task_without_a_metric_and_a_split_without_a_label_are_undefined_and_not_zero():
    blank = [s._replace(labels={"semseg": torch.full_like(s.image[0], 255)}) for s in SAMPLES[:2]]
    found = collect(predict, blank)
    scores = {(s.task, s.primary): s for s in statistics.scores(found, TASKS, TAKEN)}
    assert scores["edge", True].value is None and scores["edge", True].metric == "undefined"
    assert scores["semseg", True].value is None
    assert scores["depth", True].value is None


def test_a_label_that_is_no_class_is_refused_by_the_name_of_its_image():
    stray = SAMPLES[1]._replace(labels={"semseg": torch.full_like(SAMPLES[1].image[0], 5)})
    with pytest.raises(ValueError, match=r"semseg of i1: label 5 is neither a class in 0..4 nor 255"):
        collect(predict, [stray])


def test_rows_read_back_from_a_file_give_the_same_scores_and_the_same_file():
    found = rows()
    read = per_image.read_rows(per_image.encode(found, TASKS, TAKEN), "a file")
    assert [(row.task, row.image) for row in read] == [
        (name, row.image) for name in TASKS for row in sorted(found, key=lambda row: row.number) if row.task == name
    ]
    assert per_image.read_origins(per_image.encode(found, TASKS, TAKEN), "a file") == {
        name: origin(TASKS[name], TAKEN) for name in ("semseg", "depth")
    }
    assert statistics.scores(read, TASKS, TAKEN) == statistics.scores(found, TASKS, TAKEN)
    assert per_image.encode(read, TASKS, TAKEN) == per_image.encode(found, TASKS, TAKEN)


def pascal(index):
    """A thumbnail of PASCAL's shapes: most are 500 x 375 or 375 x 500, and hundreds of other sizes occur."""
    rows, columns = [(30, 40), (40, 30), (27, 40), (40, 40), (12, 40), (40, 11)][index % 6]
    semseg = torch.full((rows, columns), index % 4, dtype=torch.uint8)
    semseg[0] = 255
    return Sample(f"{index:06d}", torch.full((3, rows, columns), index % 256, dtype=torch.uint8), {"semseg": semseg})


@pytest.mark.parametrize(("images", "batch"), [(654, 8), (5105, 8), (1, 8), (7, 3)])
def test_three_processes_count_every_image_once_and_the_incomplete_batch_too(images, batch):
    task = {"semseg": factories.semseg(4)}
    split = [pascal(index) for index in range(images)]

    def always_two(image):
        return {"semseg": torch.tensor([0.0, 0, 1, 0]).view(1, 4, 1, 1).expand(len(image), 4, 32, 32)}

    found = []
    for rank in range(3):
        found += collect(always_two, split, task, replace(VIEW, size=(32, 32)), batch, range(rank, images, 3))
    assert sorted(row.number for row in found) == list(range(images))
    assert {row.number: row.image for row in found} == {index: f"{index:06d}" for index in range(images)}
    labelled = [(one.labels["semseg"] != 255).sum().item() for one in split]
    total = sum(row.statistics for row in found)
    assert total[4:8].tolist() == [0, 0, sum(labelled), 0]  # predicted, at the stored sizes
    assert total[8:].tolist() == [sum(labelled[c::4]) for c in range(4)]


@pytest.mark.parametrize("placement", ["stretch", "pad"])
def test_a_perfect_prediction_is_perfect_at_every_size_and_orientation(placement):
    """Where the image itself tells the class, and edges between classes lie where no resize blurs them."""
    split = [pascal(index) for index in range(24)]

    def from_colour(image):  # uniform images: a pixel's value mod 4 is its class; padding is cut off again
        value = image * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
        kind = (value[:, 0] * 255).round().long() % 4
        return {"semseg": functional.one_hot(kind, 4).permute(0, 3, 1, 2).float()}

    view = replace(PADDED, size=(64, 64)) if placement == "pad" else VIEW
    assert view.placement == placement
    found = collect(from_colour, split, {"semseg": factories.semseg(4)}, view, batch=5)
    scores = {s.metric: s.value for s in statistics.scores(found, {"semseg": factories.semseg(4)}, TAKEN)}
    assert scores["miou"] == 100


@pytest.mark.parametrize("evaluate", ["native", "network", "published"])
def test_an_image_that_a_padded_input_cannot_hold_is_refused_by_name(evaluate):
    with pytest.raises(ValueError, match=r"i0: an image of \(40, 70\) does not fit into a padded input of \(32, 64\)"):
        collect(predict, SAMPLES, TASKS, replace(PADDED, evaluate=evaluate))


def test_what_is_kept_for_an_expensive_metric_and_saved_of_predictions_covers_each_image_once():
    edge = factories.edge(0.9, max_distance=0.02)
    labelled = [
        one._replace(labels={**one.labels, "edge": torch.zeros_like(one.image[0])}) if index % 3 else one
        for index, one in enumerate(SAMPLES)
    ]
    kept, saved = {}, {}
    found = collect(
        predict, labelled, {**TASKS, "edge": edge}, batch=4,
        keep=lambda task, number, image, condensed: kept.setdefault((task, number, image), condensed),
        save=lambda number, predictions: saved.setdefault(number, predictions),
    )  # fmt: skip
    assert set(kept) == {("edge", index, f"i{index}") for index in range(11) if index % 3}
    assert {key: value.shape[1:] for key, value in kept.items()} == {
        key: tuple(labelled[key[1]].image.shape[1:]) for key in kept
    }
    assert not [row for row in found if row.task == "edge"]
    assert sorted(saved) == list(range(11))
    assert {name: tuple(value.shape) for name, value in saved[3].items()} == {
        "semseg": (5, *SIZE), "depth": (1, *SIZE), "edge": (1, *SIZE)
    }  # fmt: skip


def changed(**conditions):
    return protocol_of(TASKS["depth"], TAKEN._replace(**conditions))


def test_a_protocol_changes_with_everything_that_fixes_a_score_and_with_nothing_else():
    hashes = [
        changed(), changed(resolution="480x640"), changed(placement="pad"), changed(images=10), changed(split="val"),
        changed(holdout=0.1), changed(checkpoint="best"), changed(restored="published"), changed(resampling="cubic"),
        protocol_of(TASKS["depth"].published(), TAKEN), protocol_of(factories.semseg(5).published(), TAKEN),
        protocol_of(factories.semseg(5), TAKEN),
        protocol_of(factories.semseg(6), TAKEN), protocol_of(factories.semseg(5, class_names="abcde"), TAKEN),
        protocol_of(factories.edge(0.9, max_distance=0.01), TAKEN),
        protocol_of(factories.edge(0.9, max_distance=0.0100001), TAKEN),  # the sentence rounds it, the hash does not
    ]  # fmt: skip
    assert len(set(hashes)) == len(hashes)
    assert changed() == "4dd914f6c3b9"
    assert protocol_of(factories.depth(0.5, 20.0, weight=3.0), TAKEN) == changed()  # bins and weight are training's
    (first, *rest) = [score.protocol for score in statistics.scores(rows(), TASKS, TAKEN) if score.task == "depth"]
    assert first == changed() and set(rest) == {first}


@pytest.mark.parametrize(
    ("task", "place", "name", "value", "statistics_too"),
    [
        (factories.saliency(), Saliency, "_F_STEPS", (1, 18), True),
        (factories.saliency(), Saliency, "_IOU_STEPS", (1, 19), True),
        (factories.saliency(), saliency, "BETA2", 1.0, False),
        (factories.normals(), NormalErrors, "_BINS", 181, True),
        (factories.edge(0.9, max_distance=0.01), EdgeODS, "_NUM_THRESHOLDS", 9, True),
    ],
)
def test_a_protocol_changes_with_the_constants_of_a_metric(monkeypatch, task, place, name, value, statistics_too):
    before = protocol_of(task, TAKEN), origin(task, TAKEN)
    monkeypatch.setattr(place, name, value)
    assert protocol_of(task, TAKEN) != before[0]
    assert (origin(task, TAKEN) != before[1]) == statistics_too  # else they may be scored anew


def test_how_a_score_is_printed_travels_with_it_and_fixes_nothing_of_it(monkeypatch):
    protocol, before = changed(), origin(TASKS["depth"], TAKEN)
    found = {score.metric: score for score in statistics.scores(rows(), TASKS, TAKEN) if score.task == "depth"}
    assert (found["rmse"].title, found["rmse"].unit, found["rmse"].decimals) == ("RMSE", "m", 3)
    assert (found["delta1"].unit, found["delta1"].decimals, found["delta1"].primary) == ("%", 2, False)
    of_rmse = DepthErrors.score_types["rmse"]
    for changes, fixed in (
        ({"title": "error", "unit": "cm", "decimals": 1}, True),
        ({"higher_is_better": True}, False),
    ):
        types = {**DepthErrors.score_types, "rmse": of_rmse._replace(**changes)}
        monkeypatch.setattr(DepthErrors, "score_types", types)
        assert origin(TASKS["depth"], TAKEN) == before
        assert (changed() == protocol) == fixed


def test_rooms_of_two_sizes_are_scored_by_two_protocols():
    configs = [BenchmarkConfig(name="rooms", size=size) for size in ((64, 96), (96, 128))]
    made = [make_benchmark(config) for config in configs]
    taken = [conditions_of(config, its, 5) for config, its in zip(configs, made, strict=True)]
    hashes = [protocol_of(its.tasks["depth"], one) for its, one in zip(made, taken, strict=True)]
    assert hashes[0] != hashes[1] and "stored size, 64x96," in taken[0].sentence


def test_stored_images_have_one_protocol_whatever_the_network_s_size():
    configs = [BenchmarkConfig(name="nyud", size=size) for size in ((64, 96), (96, 128))]
    assert len({conditions_of(config, make_benchmark(config), 5) for config in configs}) == 1


def test_a_trial_is_scored_on_val_and_any_other_cell_on_test():
    cell = Cell(
        method="multi_task",
        tasks=("depth",),
        benchmark=BenchmarkConfig(name="rooms", evaluate="network"),
        train=TrainConfig(epochs=1, holdout=0.25),
    )
    benchmark = make_benchmark(cell.benchmark)
    taken = [conditions_of_cell(cell.model_copy(update={"trial": trial}), benchmark, 4) for trial in (False, True)]
    assert [one.split for one in taken] == ["test", "val"] and taken[0]._replace(split="val") == taken[1]
    assert taken[0] == conditions_of(cell.benchmark, benchmark, 4, holdout=0.25)


def test_the_sentence_of_a_score_says_its_conditions():
    conditions = TAKEN._replace(holdout=0.1, resolution="480x640", placement="pad")
    (score, *_) = statistics.scores(rows(), TASKS, conditions)
    assert score.definition.endswith(
        "Scored at 480x640, images padded for the network; test split of 11 images; last checkpoint, "
        "without 10.0% of train."
    )


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


def test_a_training_label_that_is_no_class_is_named_before_it_moves_the_constant():
    wrong = SAMPLES[0]._replace(labels={"semseg": torch.full_like(SAMPLES[0].image[0], 5)})
    with pytest.raises(ValueError, match=r"semseg of i0: label 5 is neither a class in 0..4 nor 255"):
        constant.fit([*SAMPLES[1:], wrong], TASKS)


def test_a_score_that_ties_with_the_constant_does_not_beat_it():
    def record(value):
        return Record("c", {}, (Score("depth", "rmse", value, False, True),), {}, {})

    assert constant.not_beaten(record(1.0).scores, record(1.0))
    assert constant.not_beaten(record(1.1).scores, record(1.0))
    assert not constant.not_beaten(record(0.9).scores, record(1.0))
    assert not constant.not_beaten(record(None).scores, record(1.0))
