"""A split -> per-image statistics -> scores, the same numbers for any batches and any number of processes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks.metric import ExpensiveMetric, Metric
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms.geometry import Placement, restore
from mtlbench.harness.data.loading import Scored, evaluation_batches, normalise
from mtlbench.harness.scoring.per_image import Row, tables
from mtlbench.harness.scoring.protocol import Conditions, protocol
from mtlbench.results.records.record import Score

Predict = Callable[[Tensor], Mapping[str, Tensor]]  # normalised images [B, 3, H, W] -> task -> [B, C, H, W]


Keep = Callable[[str, int, str, np.ndarray], None]  # task, number and id of an image, its condensed prediction

Save = Callable[[int, Mapping[str, Tensor]], None]  # number of an image, task -> prediction [C, H, W] at network size


@torch.no_grad()
def collect(
    predict: Predict,
    samples: Sequence[Sample],
    tasks: Mapping[str, Task],
    size: tuple[int, int],
    placement: Placement,
    *,
    native: bool,
    device: torch.device,
    batch: int,
    indices: Sequence[int] | None = None,
    loaders: int = 0,
    keep: Keep | None = None,
    save: Save | None = None,
) -> list[Row]:
    """The statistics of the images at `indices` (default: all), for the tasks that have a metric.

    native: predictions are brought to each stored image's size, as the published scores are (logits before their
    argmax, fields as they are, bilinear); else labels are brought to the network's. See `collect_from` for the rest.

    Raises ValueError naming the image of a label that is no class.
    """
    indices = range(len(samples)) if indices is None else indices
    scored = {name: task for name, task in tasks.items() if task.metric is not None}
    batches = evaluation_batches(
        samples, scored, size, placement, indices, batch, native=native, loaders=loaders, pin=device.type == "cuda"
    )
    return collect_from(predict, batches, indices, tasks, placement, native=native, device=device, keep=keep, save=save)


@torch.no_grad()
def collect_from(
    predict: Predict,
    batches: Iterable[Scored],
    numbers: Iterable[int],
    tasks: Mapping[str, Task],
    placement: Placement,
    *,
    native: bool,
    device: torch.device,
    keep: Keep | None = None,
    save: Save | None = None,
) -> list[Row]:
    """The statistics of the images of `batches`, whose places in the split are `numbers`.

    An image without a label for a task has no row. Statistics stay on the device until the end.

    keep: takes what an expensive metric will be computed from, and the task has no row; without it, it is computed
    here. save: takes every prediction.
    """
    scored = {name: task for name, task in tasks.items() if task.metric is not None}
    keys: dict[str, list[tuple[int, str]]] = {name: [] for name in scored}
    parts: dict[str, list[Tensor]] = {name: [] for name in scored}
    remaining = iter(numbers)
    for images, ids, stored in batches:
        here = list(itertools.islice(remaining, len(ids)))
        predictions = predict(normalise(images.to(device, non_blocking=True)))
        if save is not None:
            for position, number in enumerate(here):
                save(number, {name: predictions[name][position] for name in tasks})
        for name, task in scored.items():
            metric = task.metric
            assert metric is not None
            for positions, host_labels in stored.get(name, []):
                labels = host_labels.to(device, non_blocking=True)
                whole = len(positions) == len(ids)  # a list as index would make the host wait
                prediction = predictions[name] if whole else torch.stack([predictions[name][i] for i in positions])
                prediction = prediction.float()
                if native:
                    prediction = restore(prediction, (labels.shape[-2], labels.shape[-1]), placement)
                if keep is not None and metric.expensive:
                    assert isinstance(metric, ExpensiveMetric)
                    condensed = metric.condense(prediction, labels).cpu().numpy()
                    for i, image in zip(positions, condensed, strict=True):
                        keep(name, here[i], ids[i], image)
                    continue
                parts[name].append(metric.statistics(prediction, labels))
                keys[name] += [(here[i], ids[i]) for i in positions]
    rows = []
    for name in scored:
        table = torch.cat(parts[name]).cpu().numpy() if parts[name] else np.empty((0, 0))
        rows += [Row(name, number, image, line) for (number, image), line in zip(keys[name], table, strict=True)]
    return rows


def scores(rows: Iterable[Row], tasks: Mapping[str, Task], taken: Conditions) -> tuple[Score, ...]:
    """Rows of any number of processes -> scores. Sums run in the order of the images, so equal rows give equal bits.

    A task without a metric, and a score without a valid pixel, are there with the value None.
    """
    result = []
    for name, (task, table) in tables(rows, tasks).items():
        if task.metric is None:
            result.append(Score(name, "undefined", None, higher_is_better=True, primary=True))
            continue
        metric = task.metric
        definition, fingerprint = f"{metric.definition} {taken.sentence}", protocol(task, taken)
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
