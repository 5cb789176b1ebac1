"""Train against test: whether a row that scores worse than the baseline also fits the training images worse."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mtlbench.results.records.files import Events
from mtlbench.results.records.record import Record
from mtlbench.results.summary.runs import Row, Run
from mtlbench.results.summary.summary import Summary

LAST = 0.1  # the share of the steps, at the end of training, over which a loss is averaged

# Methods whose network has no other output than the final predictions. Histories that are older than the names
# train/final/TASK hold train/loss/TASK alone, the sum over all outputs of a task, which is the final loss only here.
FINAL_ALONE = frozenset({"single_task", "multi_task", "cross_stitch", "nddr_cnn", "mtan"})

# What training images and their labels depend on, with the values that older records leave out.
IMAGES: Mapping[str, object] = {
    **dict.fromkeys(("name", "size", "resampling", "borders", "normals_zoom")),
    **{"protocol": "mtl", "unlabelled": "drop", "options": {}},
}

SUMMED = "their histories hold only the sum of the losses of all outputs of a task, final and intermediate"
BROKEN = "their histories do not hold the end of training"
OTHER_IMAGES = "they were trained on images that were made or chosen in another way than the baseline's"
NOT_POSITIVE = "the baseline's loss is not positive"

Histories = Callable[[str], Events]  # by cell id


class Pair(NamedTuple):
    """A run and the baseline's run of the same seed, on one task. Positive is better than the baseline, in percent."""

    loss: float  # of the row's run
    fit: float  # how much lower the training loss is
    test: float  # the task's term of Delta_m


@dataclass(frozen=True)
class Fitting:
    """The final training losses of a table's rows, where they can be compared with the baseline's."""

    pairs: Mapping[tuple[str, str], Mapping[int, Pair]]  # by label and task, then by seed; never empty
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # reason -> labels of rows with such a run


class _NoLoss(Exception):
    """Why a run has no loss that can be compared."""


def fitting(summary: Summary, histories: Histories) -> Fitting:
    """Of every row with runs that are paired with the baseline's, by task and seed."""
    comparison = summary.comparison
    found: dict[tuple[str, str], dict[int, Pair]] = {}
    left_out: dict[str, list[str]] = {}
    baseline = comparison.rows.get(comparison.baseline)
    for label, row in summary.rows.items():
        if baseline is None or not row.delta.paired:
            continue
        for task, gains in row.delta.gains.items():
            for seed, gain in gains.items():
                whose = comparison.baseline
                try:
                    base, theirs = _loss(baseline, seed, task, histories)
                    whose = label
                    loss, mine = _loss(row.row, seed, task, histories)
                    if images_of(mine) != images_of(theirs):
                        raise _NoLoss(OTHER_IMAGES)
                    if not base > 0:
                        raise _NoLoss(NOT_POSITIVE)
                except _NoLoss as reason:
                    left_out.setdefault(str(reason), []).append(whose)
                    continue
                found.setdefault((label, task), {})[seed] = Pair(loss, 100 * (base - loss) / base, gain)
    return Fitting(found, {reason: tuple(dict.fromkeys(labels)) for reason, labels in left_out.items()})


def _loss(row: Row, seed: int, task: str, histories: Histories) -> tuple[float, Record]:
    """The final training loss of a task, and the record of the cell that trained it."""
    cell_id = _cell(row.runs[seed], task)
    record, events = row.runs[seed].records[cell_id], histories(cell_id)
    if events.unreadable:
        raise _NoLoss(BROKEN)
    steps = record.cost.get("steps", 0.0)
    loss = final_loss(events, f"train/final/{task}", steps)
    of_all = final_loss(events, f"train/loss/{task}", steps)
    if loss is None and row.method in FINAL_ALONE:
        loss = of_all
    if loss is None:
        raise _NoLoss(BROKEN if of_all is None else SUMMED)
    return loss, record


def _cell(run: Run, task: str) -> str:
    return next(entry.id for entry in run.entries if task in entry.tasks)


def final_loss(events: Events, name: str, steps: float = 0.0) -> float | None:
    """The mean of the values called `name` that were logged in the last tenth of the steps.

    A value is a mean over the steps since the value before it, and counts as many times. None where there is no such
    value, where one is not a number, or where the last one was logged before `steps`.
    """
    values = {int(row["step"]): row["value"] for row in events.rows if row["name"] == name}
    last = max(values, default=0)
    if last <= 0 or last < steps:
        return None
    total, count, before = 0.0, 0, 0
    for step in sorted(values):
        if step > (1 - LAST) * last:
            value = values[step]
            if not isinstance(value, int | float) or not math.isfinite(value):
                return None
            total, count = total + (step - before) * value, count + step - before
        before = step
    return total / count


def images_of(record: Record) -> object:
    """What the training images and their labels depend on. How predictions are scored is no part of it."""
    benchmark = record.cell.get("benchmark", {})
    held_out = record.cell.get("train", {}).get("holdout", 0.0)
    return {name: benchmark.get(name, usual) for name, usual in IMAGES.items()}, held_out
