"""What each row scores on each class of a task: the recorded scores METRIC/CLASS, over the seeds of its column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mtlbench.results.records.record import CorruptRecord, Score
from mtlbench.results.statistics.intervals import Array, Interval, mean_and_sd, mean_interval
from mtlbench.results.summary.runs import Run
from mtlbench.results.summary.summary import Summary

Totals = Callable[[str], Mapping[str, Array] | None]  # from a cell id; see records.reading.totals


@dataclass(frozen=True)
class OfClass:
    """A row's score on one class, by seed."""

    values: Mapping[int, float]

    @cached_property
    def mean(self) -> float:
        return mean_and_sd(list(self.values.values()))[0]

    @cached_property
    def interval(self) -> Interval | None:
        """Of the mean over seeds, for this class of this row alone; None for one seed."""
        return mean_interval(list(self.values.values()))


@dataclass(frozen=True)
class ByClass:
    """The scores of a task by class."""

    task: str
    metric: str  # "iou"
    score: Score  # of one class, which says the unit and the decimals
    rows: Mapping[str, Mapping[str, OfClass]]  # label -> class -> scores; rows without any are left out
    classes: tuple[str, ...]  # those that are shown: the most labelled pixels first, or as in the records
    pixels: Mapping[str, int] | None  # by class: how many pixels of the test split it has; None where nobody knows
    absent: tuple[str, ...]  # classes that no pixel of the test split has or, without `pixels`, that have no score
    strange: tuple[str, ...]  # labels that are left out, since they are scored in another way than their column


def by_class(summary: Summary, totals: Totals) -> list[ByClass]:
    """The scores by class of every task that has them, in the order of the tasks."""
    found = []
    for task in summary.comparison.tasks:
        entries = summary.columns[task].entries
        strange = tuple(label for label, entry in entries.items() if entry.strange)
        scores = {
            label: {seed: _of_classes(summary.rows[label].row.runs[seed], task) for seed in entry.values}
            for label, entry in entries.items()
            if label not in strange
        }
        every = [score for by_seed in scores.values() for of_run in by_seed.values() for score in of_run.values()]
        for metric in dict.fromkeys(score.metric.partition("/")[0] for score in every):
            named = {score.metric: score for score in every if score.metric.startswith(f"{metric}/")}
            rows = {label: _row(by_seed, metric) for label, by_seed in scores.items()}
            rows = {label: row for label, row in rows.items() if row}
            if rows:
                pixels = _pixels(summary, task, list(named), totals)
                shown, absent = _shown([name.partition("/")[2] for name in named], rows, pixels)
                first = next(iter(named.values()))
                found.append(ByClass(task, metric, first, rows, shown, pixels, absent, strange))
    return found


def _of_classes(run: Run, task: str) -> dict[str, Score]:
    """Metric -> score, of the scores of single classes."""
    return {score.metric: score for score in run.all_scores() if score.task == task and "/" in score.metric}


def _row(by_seed: Mapping[int, Mapping[str, Score]], metric: str) -> dict[str, OfClass]:
    values: dict[str, dict[int, float]] = {}
    for seed, scores in by_seed.items():
        for name, score in scores.items():
            of, _, class_name = name.partition("/")
            if of == metric and score.value is not None:
                values.setdefault(class_name, {})[seed] = score.value
    return {class_name: OfClass(of_class) for class_name, of_class in values.items()}


def _shown(
    classes: list[str], rows: Mapping[str, Mapping[str, OfClass]], pixels: Mapping[str, int] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes that are shown, in their order, and those that are not."""
    if pixels is None:
        kept = [name for name in classes if any(name in row for row in rows.values())]
    else:
        kept = sorted((name for name in classes if pixels[name]), key=lambda name: -pixels[name])
    return tuple(kept), tuple(name for name in classes if name not in kept)


def _of_cell(totals: Totals, cell_id: str) -> Mapping[str, Array]:
    """The totals of a cell, none where its file is damaged: they only say which classes are shown, and no number."""
    try:
        return totals(cell_id) or {}
    except CorruptRecord:
        return {}


def _pixels(summary: Summary, task: str, metrics: list[str], totals: Totals) -> dict[str, int] | None:
    """Class -> its labelled pixels in the test split, from the statistics of any run; None where no run has them.

    Only the statistics of an intersection over union say it: the pixels of each class in label and prediction, in the
    prediction, and in the label. They are taken for that where they give the recorded scores.
    """
    for row in summary.rows.values():
        for run in row.row.runs.values():
            scores = _of_classes(run, task)
            owner = next((entry.id for entry in run.entries if task in entry.tasks and entry.id in run.records), None)
            if owner is None or list(scores) != metrics:
                continue
            total = _of_cell(totals, owner).get(task)
            if total is None or len(total) != 3 * len(metrics):
                continue
            both, predicted, labelled = total.reshape(3, -1)
            union = predicted + labelled - both
            recorded = np.array(
                [np.nan if scores[name].value is None else scores[name].value for name in metrics], float
            )
            known = union > 0
            if known.any() and np.allclose(100 * both[known] / union[known], recorded[known]):
                return {name.partition("/")[2]: int(count) for name, count in zip(metrics, labelled, strict=True)}
    return None
