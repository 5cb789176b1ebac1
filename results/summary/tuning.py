"""What tuning is worth: the expected best of k trials on validation images, for every k up to the budget.

A trial number stands for one draw of hyperparameters. Where the networks of a row chose a number together, the number
is as good as all of its trials are, one for each network. Where each network chose for itself, a number has one trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtlbench.results.records.record import Record, Score
from mtlbench.results.statistics.intervals import expected_best

Curve: TypeAlias = NDArray[np.float64]
Trained: TypeAlias = Mapping[
    str, Mapping[int, Sequence[Record]]
]  # the cells of a row's finished runs, by label and seed


class Choice(NamedTuple):
    """Cells of one run that are trained with what one trial number had, and the trials from which it was chosen."""

    cells: tuple[Record, ...]
    numbered: tuple[tuple[Record, ...], ...]  # by number; each has a trial for each of the cells

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task for cell in self.cells for task in cell.cell["tasks"])

    @property
    def failed(self) -> int:
        """How many numbers had a trial that diverged or found nothing."""
        return sum(goodness(*same) == -math.inf for same in self.numbered)

    def chosen(self) -> dict[str, float]:
        """Name -> value of the hyperparameters that the cells were trained with, such as "lr" or "weights.depth".

        Only the hyperparameters in which the trials of the first cell differ are returned.
        """
        tried = [_numbers(same[0]) for same in self.numbered]
        names = [name for name in tried[0] if len({numbers.get(name) for numbers in tried}) > 1]
        own = _numbers(self.cells[0])
        return {name: own[name] for name in names}


def goodness(*records: Record) -> float:
    """sum_t sigma_t ln M_t of the scores of one trial, with sigma_t = -1 for errors. Higher is better.

    The sum is over the tasks of all records, and it needs no baseline. It is -inf where a score is undefined, as after
    a training that diverged, or where a higher-is-better score is 0. Of trials that are all -inf none is the best.
    """
    total = 0.0
    for score in (score for record in records for score in record.primary().values()):
        if score.metric == "undefined":  # no metric judges this task, in any trial
            continue
        if score.value is None or not _has_logarithm(score):
            return -math.inf
        size = math.log(score.value) if score.value else -math.inf  # an error of 0
        total += size * (1 if score.higher_is_better else -1)
    return total


def _has_logarithm(score: Score) -> bool:
    """Whether a score is defined and has a logarithm, or is an error of 0."""
    return score.value is not None and (0 < score.value < math.inf or (score.value == 0 and not score.higher_is_better))


def unjudged(numbered: Sequence[Sequence[Record]]) -> str:
    """Why no trial number is the best; "" where one of them is. numbered: the records of each number."""
    if any(goodness(*same) > -math.inf for same in numbered):
        return ""
    spoilt = [
        {
            task
            for record in same
            for task, score in record.primary().items()
            if score.metric != "undefined" and not _has_logarithm(score)
        }
        for same in numbered
    ]
    tasks = set.intersection(*spoilt)
    return f"none of its {len(numbered)} trials has a score above 0 for " + (
        ", ".join(sorted(tasks)) if tasks else "every task"
    )


def curve(choices: Sequence[Sequence[Sequence[Record]]]) -> Curve | None:
    """The expected goodness of the best of k = 1..n numbers, [n], summed over the choices of a run.

    choices: of each choice, the records of each number. A number that diverged counts as much as the worst one that
    did not diverge. Returns None where all numbers of a choice diverged.
    """
    total: Curve | None = None
    for numbered in choices:
        values = np.array([goodness(*same) for same in numbered])
        finite = values[np.isfinite(values)]
        if not len(finite):
            return None
        expected = expected_best(np.where(np.isfinite(values), values, finite.min()))
        total = expected if total is None else total + expected
    return total


def choices(cells: Sequence[Record], records: Mapping[str, Record]) -> list[Choice]:
    """What the cells of a run were tuned by; [] where a cell was not tuned.

    Cells that name the same trials have chosen together. A number is left out where one of its records is missing.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for cell in cells:
        groups.setdefault(_tried(cell, records), []).append(cell)
    found = []
    for ids, group in groups.items():
        count = len(ids) // len(group)  # the trials of the first cell come first
        numbered = [ids[number::count] for number in range(count)]
        there = [tuple(records[i] for i in same) for same in numbered if all(i in records for i in same)]
        found.append(Choice(tuple(group), tuple(there)))
    return found if all(choice.numbered for choice in found) else []


def _tried(record: Record, records: Mapping[str, Record]) -> tuple[str, ...]:
    """Ids of the trials that a cell, or the search before it, was tuned by; () for a cell that was not tuned."""
    parents = [records[cell_id] for cell_id in record.derived_from if cell_id in records]
    if any(is_trial(parent) for parent in parents):
        return record.derived_from
    return next((found for parent in parents if (found := _tried(parent, records))), ())


def searches(trained: Trained, records: Mapping[str, Record]) -> dict[str, dict[int, list[Choice]]]:
    """label -> seed -> what was chosen by each search of the row, under the first seed that the search served.

    A row has one seed where one search served all of its seeds. Rows that were not tuned are left out.
    """
    found: dict[str, dict[int, list[Choice]]] = {}
    for label, by_seed in trained.items():
        known = set()
        for seed, cells in sorted(by_seed.items()):
            made = choices(cells, records)
            trials = tuple(trial.id for choice in made for same in choice.numbered for trial in same)
            if made and trials not in known:
                known.add(trials)
                found.setdefault(label, {})[seed] = made
    return found


def by_row(searched: Mapping[str, Mapping[int, Sequence[Choice]]]) -> dict[str, Curve]:
    """label -> the curve of its row, the mean over the searches of the row; see `searches`."""
    found = {}
    for label, by_seed in searched.items():
        curves = [curve([choice.numbered for choice in made]) for made in by_seed.values()]
        defined = [values for values in curves if values is not None]
        if defined:
            length = min(map(len, defined))  # searches have as many numbers, but for records that are missing
            found[label] = np.mean([values[:length] for values in defined], axis=0)
    return found


def _numbers(record: Record) -> dict[str, float]:
    recipe = {name: value for name, value in record.cell["train"].items() if isinstance(value, int | float)}
    return recipe | {f"weights.{task}": weight for task, weight in record.cell["train"]["weights"].items()}


def is_trial(record: Record) -> bool:
    """Whether a record belongs to a trial. The scores of a trial are on validation images."""
    return bool(record.cell.get("trial", False))
