"""A split -> per-image statistics -> scores, the same numbers for any batches and any number of processes."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from benchmarks.benchmark import Sample
from benchmarks.tasks import Task
from benchmarks.transforms import Fit, restore
from harness.loading import evaluation_batches, normalise
from results.record import Score

Predict = Callable[[Tensor], Mapping[str, Tensor]]  # normalised images [B, 3, H, W] -> task -> [B, C, H, W]


class Row(NamedTuple):
    """What one image adds to a task's score. Rows are keyed by (task, number), so an image counts once."""

    task: str
    number: int  # the image's place in the split
    image: str
    statistics: np.ndarray  # float64 [S]


@torch.no_grad()
def collect(
    predict: Predict,
    samples: Sequence[Sample],
    tasks: Mapping[str, Task],
    size: tuple[int, int],
    fit: Fit,
    *,
    native: bool,
    device: torch.device,
    batch: int,
    indices: Sequence[int] | None = None,
    loaders: int = 0,
) -> list[Row]:
    """The statistics of the images at `indices` (default: all), for the tasks that have a metric.

    native: predictions are brought to each stored image's size, as the published scores are (logits before their
    argmax, fields as they are, bilinear); else labels are brought to the network's. An image without a label for a task
    has no row. Statistics stay on the device until the end.
    """
    indices = range(len(samples)) if indices is None else indices
    scored = {name: task for name, task in tasks.items() if task.metric is not None}
    kinds = None if native else {name: task.kind for name, task in tasks.items()}
    keys: dict[str, list[tuple[int, str]]] = {name: [] for name in scored}
    parts: dict[str, list[Tensor]] = {name: [] for name in scored}
    remaining = iter(indices)
    for images, stored in evaluation_batches(samples, size, fit, indices, batch, kinds=kinds, loaders=loaders):
        numbers = list(itertools.islice(remaining, len(stored)))
        predictions = predict(normalise(images.to(device, non_blocking=True)))
        for name, task in scored.items():
            assert task.metric is not None
            for group in _same_size([i for i, sample in enumerate(stored) if name in sample.labels], stored, name):
                labels = torch.stack([stored[i].labels[name] for i in group]).to(device, non_blocking=True)
                prediction = predictions[name][group].float()
                if native:
                    prediction = restore(prediction, (labels.shape[-2], labels.shape[-1]), fit)
                parts[name].append(task.metric.statistics(prediction, labels))
                keys[name] += [(numbers[i], stored[i].id) for i in group]
    rows = []
    for name in scored:
        table = torch.cat(parts[name]).cpu().numpy() if parts[name] else np.empty((0, 0))
        rows += [Row(name, index, image, line) for (index, image), line in zip(keys[name], table, strict=True)]
    return rows


def _same_size(members: Iterable[int], samples: Sequence[Sample], task: str) -> list[list[int]]:
    groups: dict[torch.Size, list[int]] = {}
    for member in members:
        groups.setdefault(samples[member].labels[task].shape[-2:], []).append(member)
    return list(groups.values())


def scores(rows: Iterable[Row], tasks: Mapping[str, Task], resolution: str) -> tuple[Score, ...]:
    """Rows of any number of processes -> scores. Sums run in the order of the images, so equal rows give equal bits.

    A task without a metric, and a score without a valid pixel, are there with the value None.
    """
    result = []
    for name, (task, table) in _tables(rows, tasks).items():
        if task.metric is None:
            result.append(Score(name, "undefined", None, higher_is_better=True, primary=True))
            continue
        metric = task.metric
        definition = f"{metric.definition}; scored at {resolution}"
        values = metric.scores(torch.from_numpy(table.sum(axis=0))) if len(table) else {}
        for score, higher in metric.higher_is_better.items():
            value = float(values.get(score, math.nan))
            result.append(
                Score(name, score, value if math.isfinite(value) else None, higher, score == metric.primary, definition)
            )
    return tuple(result)


def per_image(rows: Iterable[Row], tasks: Mapping[str, Task]) -> bytes:
    """per_image.parquet: image, task, statistics, and the influence of the image on the task's primary score.

    influence = N grad(score) . statistics: the mean of squared influences over N is the variance that the choice of
    the N images gives the score, to first order.
    """
    columns: dict[str, list[object]] = {"task": [], "image": [], "statistics": [], "influence": []}
    lookup = list(rows)
    for name, (task, table) in _tables(lookup, tasks).items():
        if task.metric is None or not len(table):
            continue
        total = torch.from_numpy(table.sum(axis=0)).requires_grad_()
        score = task.metric.scores(total)[task.metric.primary]
        gradient = torch.autograd.grad(score, total)[0].numpy() if score.requires_grad else np.full(len(total), np.nan)
        influence = len(table) * (table @ gradient)
        images = [row.image for row in sorted((r for r in lookup if r.task == name), key=lambda row: row.number)]
        columns["task"] += [name] * len(table)
        columns["image"] += images
        columns["statistics"] += table.tolist()
        columns["influence"] += [value if math.isfinite(value) else None for value in influence.tolist()]
    schema = pa.schema(
        [
            ("task", pa.string()),
            ("image", pa.string()),
            ("statistics", pa.list_(pa.float64())),
            ("influence", pa.float64()),
        ]
    )
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), buffer)
    return buffer.getvalue()


def _tables(rows: Iterable[Row], tasks: Mapping[str, Task]) -> dict[str, tuple[Task, np.ndarray]]:
    """task -> its rows as [N, S], in the order of the images, each image once."""
    by_task: dict[str, dict[int, np.ndarray]] = {name: {} for name in tasks}
    for row in rows:
        by_task[row.task][row.number] = row.statistics
    return {
        name: (tasks[name], np.stack([found[index] for index in sorted(found)]) if found else np.empty((0, 0)))
        for name, found in by_task.items()
    }
