"""Delta_m of a row against the baseline, for each run and with its interval over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from mtlbench.results.records.record import Score, in_words
from mtlbench.results.statistics.delta import delta_m, log_delta, relative_gain
from mtlbench.results.statistics.intervals import Interval, delta_interval, mean_and_sd
from mtlbench.results.summary.columns import Column, lost, mean_score, value_of
from mtlbench.results.summary.runs import UNFINISHED, Comparison, Row

Scores = Mapping[str, Score]  # by task


@dataclass(frozen=True)
class DeltaSummary:
    """Delta_m of a row against the baseline, in percent; positive is better."""

    mean: float  # NaN where undefined
    values: Mapping[int, float]  # by seed of the row; {} for the baseline
    log: float  # the log delta of the same runs
    gains: Mapping[str, Mapping[int, float]]  # task -> seed -> its term of Eq. (6)
    seeds: Interval | None = None  # 95 % over seeds, for all pairs of rows at once
    images: Interval | None = None  # 95 %, over seeds and test images
    no_images: str = ""  # why `images` is None, where the row has an interval over seeds
    share: float = math.nan  # the share of the variance of the mean that comes from the baseline's runs
    against: tuple[int, ...] = ()  # the baseline's seeds that the row is compared with
    paired: bool = True  # by seed; otherwise the row is against the mean of the baseline's runs
    left_out: Mapping[int, str] | None = None  # finished seeds of the row without a Delta_m, and why
    lost: Mapping[int, str] = field(default_factory=dict)  # by seed; see `columns.lost`
    problem: str = ""  # why Delta_m is undefined
    best: bool = False

    @property
    def improved(self) -> int:
        """Runs that are better than the baseline. Of `compared` runs, those that broke are not among them."""
        return sum(value > 0 for value in self.values.values())

    @property
    def compared(self) -> int:
        return len(self.values) + len(self.broken)

    @property
    def broken(self) -> list[int]:
        """The lost seeds that failed or diverged. A record that was damaged later says nothing of its run."""
        return [seed for seed, why in self.lost.items() if why != "corrupt"]

    @property
    def sd(self) -> float:
        return mean_and_sd(list(self.values.values()))[1] if self.values else math.nan


class Pair(NamedTuple):
    """A run against the baseline's run of the same seed."""

    delta: float
    log: float
    gains: Mapping[str, float]  # by task: its term of Eq. (6)


def complete_pairs(row: Row, baseline: Row, columns: Mapping[str, Column]) -> dict[int, Pair]:
    """seed -> the pair, for the seeds with which both rows have a comparable score of every task.

    Both the report and MLflow take their deltas from here.
    """
    mine, theirs = usable(row, columns)[0], usable(baseline, columns)[0]
    return {seed: _pair(scores, theirs[seed]) for seed, scores in mine.items() if seed in theirs}


def _pair(scores: Scores, base: Scores) -> Pair:
    gains = {task: relative_gain(score, base[task]) for task, score in scores.items()}
    return Pair(delta_m(scores, base), log_delta(scores, base), gains)


def gains_of(row: Row, comparison: Comparison, columns: Mapping[str, Column]) -> DeltaSummary:
    """Delta_m of a row, still without the interval of its pairs, the interval over images and the verdict."""
    entries = {task: column.entries[row.label] for task, column in columns.items()}
    return replace(_gains_of(row, comparison, columns), lost=lost(row, entries))


def _gains_of(row: Row, comparison: Comparison, columns: Mapping[str, Column]) -> DeltaSummary:
    baseline = comparison.rows.get(comparison.baseline)
    if baseline is None:
        return _nothing("the matrix names no baseline")
    mine, left_out = usable(row, columns)
    theirs = runs_of_baseline(baseline, columns)
    problem = _problem(row, mine, left_out, baseline, theirs, columns)
    if problem:
        return _nothing(problem)
    if row.label == baseline.label:
        return DeltaSummary(0.0, {}, 0.0, {}, against=tuple(sorted(mine)), left_out=left_out)
    centre = {task: mean_score(scores.values()) for task, scores in theirs.items()}
    unpaired = delta_interval(
        [[value_of(scores[task]) for task in columns] for scores in mine.values()],
        [[value_of(score) for score in theirs[task].values()] for task in columns],
        [centre[task].higher_is_better for task in columns],
        independent_tasks=separate(baseline),
        level=1 - 0.05 / (len(comparison.rows) - 1),
    )
    pairs = complete_pairs(row, baseline, columns)
    paired = bool(pairs)
    if paired:
        reason = f"{baseline.label} has no whole run with this seed"
        left_out |= {seed: reason for seed in mine if seed not in pairs}
    else:
        pairs = {seed: _pair(scores, centre) for seed, scores in mine.items()}
    return DeltaSummary(
        float(np.mean([pair.delta for pair in pairs.values()])),
        {seed: pair.delta for seed, pair in pairs.items()},
        float(np.mean([pair.log for pair in pairs.values()])),
        {task: {seed: pair.gains[task] for seed, pair in pairs.items()} for task in columns},
        None if paired or unpaired is None else unpaired.interval,
        share=math.nan if unpaired is None else unpaired.share,
        against=tuple(sorted(pairs if paired else {seed for scores in theirs.values() for seed in scores})),
        paired=paired,
        left_out=dict(sorted(left_out.items())),
    )


def usable(row: Row, columns: Mapping[str, Column]) -> tuple[dict[int, Scores], dict[int, str]]:
    """Two mappings: seed -> the scores that enter Delta_m, and seed -> why a finished run has no Delta_m.

    A run that was scored in another way has no Delta_m, and a run with an undefined score has none. The other runs of
    the row still have a Delta_m.
    """
    kept: dict[int, Scores] = {}
    left_out: dict[int, str] = {}
    for seed, scores in row.finished().items():
        problems = []
        for task, column in columns.items():
            entry = column.entries[row.label]
            if seed in entry.values and entry.strange:
                problems.append(f"{in_words(task)}: {'; '.join(entry.strange)}")
            elif seed not in entry.values:
                reason = (entry.left_out or {}).get(seed) or entry.problem
                problems.append(reason if in_words(task) in reason else f"{in_words(task)}: {reason}")
        if problems:
            left_out[seed] = problems[0]
        else:
            kept[seed] = {task: scores[task] for task in columns}
    return kept, left_out


def separate(baseline: Row) -> bool:
    """Whether each task of the baseline comes from its own cell, so that the noise of the tasks is independent."""
    return any(len(run.entries) > 1 for run in baseline.runs.values())


def runs_of_baseline(baseline: Row, columns: Mapping[str, Column]) -> dict[str, dict[int, Score]]:
    """task -> seed -> score of the baseline.

    Where each task has a cell of its own, every finished cell counts. Where one cell trains all tasks, only the runs
    count that have a score of every task.
    """
    if separate(baseline):
        entries = {task: column.entries[baseline.label] for task, column in columns.items()}
        return {task: {} if entry.strange else dict(entry.scores) for task, entry in entries.items()}
    whole, _ = usable(baseline, columns)
    return {task: {seed: scores[task] for seed, scores in whole.items()} for task in columns}


def _nothing(problem: str) -> DeltaSummary:
    return DeltaSummary(math.nan, {}, math.nan, {}, problem=problem)


def _problem(
    row: Row,
    mine: Mapping[int, Scores],
    left_out: Mapping[int, str],
    baseline: Row,
    theirs: Mapping[str, Mapping[int, Score]],
    columns: Mapping[str, Column],
) -> str:
    """Why Delta_m is undefined for this row; "" where it is defined."""
    if not mine and not left_out:
        statuses = {run.status for run in row.runs.values()}
        return next(status for status in UNFINISHED if status in statuses)
    if not mine:
        return next(iter(left_out.values()))
    for task, scores in theirs.items():
        if not scores:
            entry = columns[task].entries[baseline.label]
            if entry.problem and entry.problem not in UNFINISHED:
                return f"the baseline {baseline.label}: {entry.problem}"
            return f"the baseline {baseline.label} has no finished run of {in_words(task)}"
        zero = [seed for seed, score in scores.items() if score.value == 0]
        if zero:
            return (
                f"{in_words(task)}: the baseline's {scores[zero[0]].heading} is 0 in seed {', '.join(map(str, zero))}"
            )
    return ""
