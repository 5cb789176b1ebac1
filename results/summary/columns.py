"""A column of scores: which scores of a task may stand together, their values over the seeds, and the best rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from mtlbench.results.records.record import Record, Score, differences, in_words
from mtlbench.results.statistics import verdicts
from mtlbench.results.statistics.intervals import mean_and_sd
from mtlbench.results.summary.runs import UNFINISHED, Comparison, Row

NOT_FINITE = "since predictions were not finite"
BOLD = 0.01  # the share of tables of equal rows in which any column of scores denies a row its bold, at most


@dataclass(frozen=True)
class ScoreSummary:
    """A task's primary score over the seeds of a row."""

    scores: Mapping[int, Score]  # by seed; all scores are defined, and share one definition and protocol
    score: Score | None  # one of `scores`, or an undefined score; it says metric, direction, definition and protocol
    problem: str  # why there is no value: one of UNFINISHED, or a sentence; "" where there is a value
    strange: tuple[str, ...] = ()  # how the row differs from its column's reference; such a row is not compared
    left_out: Mapping[int, str] | None = None  # finished seeds without a value here, and why
    best: bool = False  # no row of the column is shown to be better; False where nothing is judged

    @cached_property
    def values(self) -> dict[int, float]:
        return {seed: value_of(score) for seed, score in self.scores.items()}

    @property
    def mean(self) -> float:
        return mean_and_sd(list(self.values.values()))[0] if self.values else math.nan

    @property
    def sd(self) -> float:
        """Sample standard deviation over seeds; NaN for one seed."""
        return mean_and_sd(list(self.values.values()))[1] if self.values else math.nan


@dataclass(frozen=True)
class Column:
    """A task's scores by label, with the reference score that says what the column means."""

    task: str
    reference: Score | None  # the baseline's score, or else the first one; it says too how the column is printed
    entries: Mapping[str, ScoreSummary]
    constant: ScoreSummary | None  # the constant predictor's

    def printed_as(self, entry: ScoreSummary) -> Score | None:
        """The score whose title, unit and decimals an entry is printed with.

        This is the column's reference, or the entry's own score where the entry is strange.
        """
        return entry.score if entry.strange or self.reference is None else self.reference


def column(comparison: Comparison, task: str) -> Column:
    rows = comparison.rows
    found = {
        label: {seed: run.scores()[task] for seed, run in row.runs.items() if task in run.scores()}
        for label, row in rows.items()
    }
    constant = None if comparison.constant is None else comparison.constant.primary().get(task)
    first = found.get(comparison.baseline, {}).values()
    every = [*first, *(score for scores in found.values() for score in scores.values())]
    every += [constant] if constant else []
    defined = [score for score in every if score.value is not None]
    reference = _described(next(iter([*defined, *every]), None), every)
    entries = {label: _entry(row, task, found[label], reference, bool(defined)) for label, row in rows.items()}
    rates = {label: len(lost(row, {task: entries[label]})) / len(row.runs) for label, row in rows.items()}
    for label in _best(entries, rates, 1 - BOLD / len(comparison.tasks)):
        entries[label] = replace(entries[label], best=True)
    of_constant = None
    if comparison.constant is not None:
        of_constant = _constant(comparison.constant, task, reference, bool(defined))
    return Column(task, reference, entries, of_constant)


def _described(reference: Score | None, scores: Iterable[Score]) -> Score | None:
    """The reference. Where its old record does not say how it is printed, another score of its column says it."""
    if reference is None or reference.title:
        return reference
    same = (score for score in scores if score.title and not distance(score, reference))
    other = next(same, reference)
    return replace(reference, title=other.title, unit=other.unit, decimals=other.decimals)


def distance(score: Score, reference: Score | None) -> tuple[str, ...]:
    """Phrases that say what keeps a score out of its column; () where the score belongs there."""
    if reference is None:
        return ()
    return tuple(f"{name} is “{ours}” instead of “{theirs}”" for name, ours, theirs in differences(score, reference))


def _entry(row: Row, task: str, found: Mapping[int, Score], reference: Score | None, labelled: bool) -> ScoreSummary:
    """The scores of a row over the seeds that can be compared with the reference.

    Where no seed can be compared with it, the row's own first score takes the place of the reference.
    """
    if not found:
        statuses = {run.status_of(task) for run in row.runs.values()}
        if "finished" in statuses:
            return ScoreSummary({}, None, f"the record has no primary score of {in_words(task)}")
        return ScoreSummary({}, None, next(status for status in UNFINISHED if status in statuses))
    defined = {seed: score for seed, score in found.items() if score.value is not None}
    strange: tuple[str, ...] = ()
    own = reference
    if defined and all(distance(score, reference) for score in defined.values()):
        own = next(iter(defined.values()))
        strange = distance(own, reference)
    kept = {seed: score for seed, score in defined.items() if not distance(score, own)}
    left_out = {
        seed: undefined(score, labelled) if score.value is None else "; ".join(distance(score, own))
        for seed, score in found.items()
        if seed not in kept
    }
    for seed, run in row.runs.items():
        if run.status_of(task) == "finished" and seed not in found:
            left_out[seed] = f"the record has no primary score of {in_words(task)}"
    if kept:
        return ScoreSummary(kept, next(iter(kept.values())), "", strange, left_out)
    score = next(iter(found.values()))
    return ScoreSummary({}, score, undefined(score, labelled), left_out=left_out)


def undefined(score: Score, labelled: bool) -> str:
    """Why a score has no value. labelled: another score of the task on this test split has a value."""
    if score.metric == "undefined":
        return f"{in_words(score.task)} is trained but has no metric"
    if labelled:
        return f"{in_words(score.task)}: {score.heading} is undefined, {NOT_FINITE}"
    return f"{in_words(score.task)}: {score.heading} is undefined, since no pixel of the test split has a label"


def lost(row: Row, entries: Mapping[str, ScoreSummary]) -> dict[int, str]:
    """seed -> "failed", "diverged" or "corrupt", for the runs without a result that counts.

    Diverged: predictions were not finite. Corrupt: a record cannot be read.
    """
    found: dict[int, str] = {
        seed: "diverged" if run.diverged else run.status
        for seed, run in row.runs.items()
        if run.status in ("failed", "corrupt")
    }
    for entry in entries.values():
        reasons = entry.left_out or {}
        found |= {seed: "diverged" for seed, reason in reasons.items() if reason.endswith(NOT_FINITE)}
    return dict(sorted(found.items()))


def _best(entries: Mapping[str, ScoreSummary], rates: Mapping[str, float], level: float) -> list[str]:
    """The labels of the rows that no other row is shown to beat, among the rows that compare with the reference.

    rates: label -> the share of its seeds that a row lost. Rows that lost more than others cannot be the best.
    """
    whole = {label: entry for label, entry in entries.items() if entry.values and not entry.strange}
    if not whole:
        return []
    sign = 1.0 if next(score for entry in whole.values() for score in entry.scores.values()).higher_is_better else -1.0
    values = by_seed({label: {s: sign * v for s, v in entry.values.items()} for label, entry in whole.items()})
    losses = [rates[label] for label in whole]
    found = verdicts.not_worse_than_best(verdicts.contrasts(values, losses=losses, level=level), losses)
    return [label for row, label in enumerate(whole) if row in found]


def by_seed(rows: Mapping[str, Mapping[int, float]]) -> list[list[float]]:
    """Values [rows, seeds] for `verdicts`, the seeds in ascending order; NaN where a row has no run."""
    seeds = sorted({seed for values in rows.values() for seed in values})
    return [[values.get(seed, math.nan) for seed in seeds] for values in rows.values()]


def _constant(record: Record, task: str, reference: Score | None, labelled: bool) -> ScoreSummary:
    score = record.primary().get(task)
    if score is None:
        return ScoreSummary({}, None, f"the constant predictor's record has no score of {in_words(task)}")
    if score.value is None:
        return ScoreSummary({}, score, undefined(score, labelled))
    return ScoreSummary({0: score}, score, "", distance(score, reference))


def mean_score(scores: Iterable[Score]) -> Score:
    """The first of several comparable scores, with the mean of their values as its value."""
    found = list(scores)
    return replace(found[0], value=mean_and_sd([value_of(score) for score in found])[0])


def value_of(score: Score) -> float:
    assert score.value is not None
    return score.value
