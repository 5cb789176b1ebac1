"""From a split to per-image statistics to scores: the same numbers for any batches and any number of processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mtlbench.benchmarks.tasks.metric import ExpensiveMetric, Metric
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data.loading import Scored, normalise
from mtlbench.harness.data.view import View
from mtlbench.harness.scoring.per_image import Row, tables
from mtlbench.harness.scoring.protocol import Conditions, protocol_of
from mtlbench.results.records.record import Score

Predict = Callable[[Tensor], Mapping[str, Tensor]]  # normalised images [B, 3, H, W] -> task -> [B, C, H, W]


Keep = Callable[[str, int, str, np.ndarray], None]  # task, number and id of an image, its condensed prediction

Save = Callable[[int, Mapping[str, Tensor]], None]  # number of an image, task -> prediction [C, H, W] at network size


@torch.no_grad()
def collect(
    predict: Predict,
    batches: Iterable[Scored],
    tasks: Mapping[str, Task],
    view: View,
    *,
    keep: Keep | None = None,
    save: Save | None = None,
) -> list[Row]:
    """The statistics of the images of `batches`, which lie on the device of `predict`, for the tasks with a metric.

    Where labels are as they are stored, predictions are brought to their sizes. The native rule resizes what the
    network gives, bilinear: logits before their argmax, and fields as they are. The published rule resizes what the
    published evaluations write into files: class maps by nearest neighbour, normals of unit length and probabilities
    bilinear. An image without a label for a task has no row. Statistics stay on the device until the end.

    keep: is given the data from which an expensive metric will be computed, and the task has no row; without `keep` the
    metric is computed here. save: is given every prediction.
    """
    scored = {name: task for name, task in tasks.items() if task.metric is not None}
    keys: dict[str, list[tuple[int, str]]] = {name: [] for name in scored}
    parts: dict[str, list[Tensor]] = {name: [] for name in scored}
    for images, ids, numbers, stored in batches:
        predictions = predict(normalise(images))
        if save is not None:
            for position, number in enumerate(numbers):
                save(number, {name: predictions[name][position] for name in tasks})
        for name, task in scored.items():
            metric = task.metric
            assert metric is not None
            for positions, labels in stored.get(name, []):
                whole = len(positions) == len(ids)  # indexing by a list would make the host wait
                prediction = predictions[name] if whole else torch.stack([predictions[name][i] for i in positions])
                prediction = prediction.float()
                if view.native:
                    prediction = view.restore(prediction, (labels.shape[-2], labels.shape[-1]), task.kind)
                if keep is not None and metric.expensive:
                    if not isinstance(metric, ExpensiveMetric):
                        raise ValueError(
                            f"{name}: the metric {type(metric).__name__} is expensive and lacks condense or "
                            "statistics_of; define both, or set expensive to False"
                        )
                    condensed = metric.condense(prediction, labels).cpu().numpy()
                    for i, image in zip(positions, condensed, strict=True):
                        keep(name, numbers[i], ids[i], image)
                    continue
                parts[name].append(metric.statistics(prediction, labels))
                keys[name] += [(numbers[i], ids[i]) for i in positions]
    rows = []
    for name in scored:
        table = torch.cat(parts[name]).cpu().numpy() if parts[name] else np.empty((0, 0))
        rows += [Row(name, number, image, line) for (number, image), line in zip(keys[name], table, strict=True)]
    return rows


def scores(rows: Iterable[Row], tasks: Mapping[str, Task], taken: Conditions) -> tuple[Score, ...]:
    """The scores of rows from any number of processes. Sums run in the order of the images: equal rows give equal bits.

    A task without a metric, and a score without a valid pixel, have the value None.
    """
    result = []
    for name, (task, table) in tables(rows, tasks).items():
        if task.metric is None:
            result.append(Score(name, "undefined", None, higher_is_better=True, primary=True))
            continue
        metric = task.metric
        definition, fingerprint = f"{metric.definition} {taken.sentence}", protocol_of(task, taken)
        values = metric.scores(torch.from_numpy(table.sum(axis=0))) if len(table) else {}
        for score in metric.score_types:
            found = float(values.get(score, math.nan))
            value = found if math.isfinite(found) else None
            described = undefined_score(name, metric, score)
            result.append(replace(described, value=value, definition=definition, protocol=fingerprint))
    return tuple(result)


def undefined_score(task: str, metric: Metric, score: str) -> Score:
    """A score of a task's metric before it has a value: all that the metric says of it."""
    higher_is_better, title, unit, decimals = metric.score_types[score]
    primary = score == metric.primary
    return Score(task, score, None, higher_is_better, primary, title=title, unit=unit, decimals=decimals)
