"""What tuning is worth: the expected best of k trials on validation images, for every k up to the budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mtlbench.results.records.record import Record, Score
from mtlbench.results.statistics.intervals import expected_best

Curve = NDArray[np.float64]


def goodness(record: Record) -> float:
    """sum_t sigma_t ln M_t of a trial's scores, with sigma_t = -1 for errors. Higher is better; no baseline is needed.

    The result is -inf where a score is undefined, as after a training that diverged, or where a higher-is-better score
    is 0. Of trials that are all -inf none is the best.
    """
    total = 0.0
    for score in record.primary().values():
        if score.metric == "undefined":  # no metric judges this task, in any trial
            continue
        if score.value is None or not _has_logarithm(score):
            return -math.inf
        if not score.value:
            return math.inf  # no error at all
        total += math.log(score.value) * (1 if score.higher_is_better else -1)
    return total


def _has_logarithm(score: Score) -> bool:
    """Whether a score is defined and has a logarithm, or is an error of 0."""
    return score.value is not None and (0 < score.value < math.inf or (score.value == 0 and not score.higher_is_better))


def unjudged(trials: Sequence[Record]) -> str:
    """Why none of the trials is the best; "" where one of them is."""
    if any(goodness(trial) > -math.inf for trial in trials):
        return ""
    spoilt = [
        {task for task, score in trial.primary().items() if score.metric != "undefined" and not _has_logarithm(score)}
        for trial in trials
    ]
    tasks = set.intersection(*spoilt)
    return f"none of its {len(trials)} trials has a score above 0" + (
        f" for {', '.join(sorted(tasks))}" if tasks else ""
    )


def curve(trials: Sequence[Sequence[Record]]) -> Curve | None:
    """The expected goodness of the best of k = 1..n trials, [n], summed over the cells of a row. Each cell has trials.

    A single-task row has one cell for each task, and each cell chooses for itself. A trial that diverged counts as much
    as the worst trial that did not diverge. Returns None where all trials of a cell diverged.
    """
    total: Curve | None = None
    for tried in trials:
        values = np.array([goodness(record) for record in tried])
        finite = values[np.isfinite(values)]
        if not len(finite):
            return None
        expected = expected_best(np.where(np.isfinite(values), values, finite.min()))
        total = expected if total is None else total + expected
    return total


def trials_of(record: Record, records: Mapping[str, Record]) -> list[Record]:
    """The trials that a cell was tuned by; [] for a cell that was not tuned."""
    parents = [records[cell_id] for cell_id in record.derived_from if cell_id in records]
    return [parent for parent in parents if is_trial(parent)]


def by_row(records: Mapping[str, Record], shown: Mapping[str, Sequence[str]]) -> dict[str, Curve]:
    """label -> the curve of its row. shown: label -> ids of the cells of one seed. Rows without trials are left out."""
    found = {}
    for label, cells in shown.items():
        trials = [trials_of(records[cell], records) for cell in cells if cell in records]
        if trials and all(trials) and (values := curve(trials)) is not None:
            found[label] = values
    return found


def chosen(record: Record, trials: Sequence[Record]) -> dict[str, float]:
    """Name -> value of the hyperparameters that a cell was trained with, such as "lr" or "weights.depth".

    Only the hyperparameters in which the trials of the cell differ are returned.
    """
    tried = [_numbers(trial) for trial in trials]
    names = [name for name in tried[0] if len({numbers.get(name) for numbers in tried}) > 1]
    own = _numbers(record)
    return {name: own[name] for name in names}


def _numbers(record: Record) -> dict[str, float]:
    recipe = {name: value for name, value in record.cell["train"].items() if isinstance(value, int | float)}
    return recipe | {f"weights.{task}": weight for task, weight in record.cell["train"]["weights"].items()}


def is_trial(record: Record) -> bool:
    """Whether a record belongs to a trial. The scores of a trial are on validation images."""
    return bool(record.cell.get("trial", False))
