"""The scores of classes: means and intervals over the seeds of a column, and which classes the test split has."""

import io
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from make_records import Store, score
from mtlbench.benchmarks.tasks.miou import MeanIoU, PublishedMeanIoU
from mtlbench.harness.scoring.statistics import undefined_score
from mtlbench.results.questions.classes import by_class
from mtlbench.results.records import files
from mtlbench.results.records.reading import totals
from mtlbench.results.records.record import CorruptRecord
from tables_of import summaries

NAMES = ("wall", "floor", "lamp", "sofa", "ghost")
# Pixels of each class in two test images: in label and prediction, in the prediction, in the label.
COUNTS = np.array(
    [[[10, 40, 0, 1, 0], [20, 50, 3, 9, 0], [15, 80, 0, 6, 0]], [[5, 0, 0, 0, 0], [6, 2, 1, 0, 0], [9, 0, 0, 2, 0]]]
)
METRICS = {"native": MeanIoU(5, NAMES), "published": PublishedMeanIoU(5, NAMES)}


def scores_of(counts, metric):
    """The scores that a record has of these counts [images, 3, C]."""
    found = metric.scores(torch.from_numpy(counts.reshape(len(counts), -1).sum(0)).double())
    values = {name: float(value) for name, value in found.items()}
    return tuple(
        replace(
            undefined_score("semseg", metric, name),
            value=None if np.isnan(value) else value,
            definition=metric.definition,
        )
        for name, value in values.items()
    )


def write(store, cell, counts):
    rows = [
        {"image": str(i), "task": "semseg", "statistics": c.ravel().astype(float), "influence": 0.0}
        for i, c in enumerate(counts)
    ]
    buffer = io.BytesIO()
    pd.DataFrame(rows).to_parquet(buffer)
    (store.root / files.per_image(cell)).write_bytes(buffer.getvalue())


def made(tmp_path, metric=METRICS["native"], labels=("Single task", "PAD-Net"), seeds=(0, 1, 2), change=0):
    """A store whose rows gain a wall pixel with each seed, and PAD-Net two floor pixels more."""
    store = Store(tmp_path)
    for label in labels:
        for seed in seeds:
            counts = COUNTS.copy()
            counts[0, 0, 0] += seed
            counts[0, 0, 1] += 2 * (label == "PAD-Net")
            cell = store.run(label, ("semseg",), seed, scores=scores_of(counts, metric))
            counts[0, 2] += change
            write(store, cell, counts)
    return store


def found(store):
    path = store.close()
    return by_class(summaries(path)[0][0], partial(totals, path))


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_classes_that_no_pixel_of_the_test_split_has_are_left_out(tmp_path, metric):
    """A lamp is predicted and never there: its IoU is 0, as that of a class that is never found. A ghost is nowhere."""
    (of_semseg,) = found(made(tmp_path, metric))
    assert of_semseg.absent == ("lamp", "ghost")
    assert of_semseg.pixels == {"wall": 24, "floor": 80, "lamp": 0, "sofa": 8, "ghost": 0}
    assert of_semseg.classes == ("floor", "wall", "sofa")  # the most pixels first


def test_values_means_and_intervals_are_those_of_the_seeds(tmp_path):
    (of_semseg,) = found(made(tmp_path))
    wall = of_semseg.rows["PAD-Net"]["wall"]
    values = [100 * (15 + seed) / (26 + 24 - 15 - seed) for seed in range(3)]
    assert list(wall.values.values()) == pytest.approx(values)
    assert wall.mean == pytest.approx(np.mean(values))
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (wall.interval.low, wall.interval.high) == pytest.approx((low, high))
    floors = [of_semseg.rows[label]["floor"].mean for label in ("Single task", "PAD-Net")]
    assert floors == pytest.approx([100 * 40 / 92, 100 * 42 / 90])


def test_one_seed_has_no_interval(tmp_path):
    (of_semseg,) = found(made(tmp_path, seeds=(0,)))
    assert of_semseg.rows["Single task"]["sofa"].interval is None


@pytest.mark.parametrize("case", ["without statistics", "other statistics", "garbage"])
def test_where_pixels_are_not_known_only_classes_without_a_score_are_left_out(tmp_path, case):
    """Statistics that do not give the recorded scores are those of another metric."""
    store = made(tmp_path, change=1 if case == "other statistics" else 0)
    for file in tmp_path.glob(f"cells/*/{files.PER_IMAGE}"):
        if case == "without statistics":
            file.unlink()
        if case == "garbage":
            file.write_bytes(b"PAR1")
    (of_semseg,) = found(store)
    assert of_semseg.pixels is None and of_semseg.absent == ("ghost",)
    assert of_semseg.classes == ("wall", "floor", "lamp", "sofa")


def test_rows_that_are_scored_in_another_way_are_named_and_left_out(tmp_path):
    store = made(tmp_path, labels=("Single task",))
    store.run("PAD-Net", ("semseg",), 0, scores=scores_of(COUNTS, METRICS["published"]))
    store.run("MTI-Net", ("semseg",), 0, status="failed")
    (of_semseg,) = found(store)
    assert (list(of_semseg.rows), of_semseg.strange) == (["Single task"], ("PAD-Net",))


def test_tasks_without_scores_of_classes_are_none(tmp_path):
    store = Store(tmp_path)
    store.run("Single task", ("semseg", "depth"), 0, scores=(score("semseg", 40.0), score("depth", 0.6)))
    assert found(store) == []


def test_statistics_of_unequal_length_are_named(tmp_path):
    store = made(tmp_path, seeds=(0,), labels=("Single task",))
    cell = store.entries[0].id
    write(store, cell, [COUNTS[0], COUNTS[1, :2]])
    with pytest.raises(CorruptRecord, match=rf"{files.PER_IMAGE}: the statistics of a task differ in length"):
        totals(store.close(), cell)
