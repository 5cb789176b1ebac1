"""Every pair of rows on Delta_m, judged by one procedure, and Delta_m against each single run of the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mtlbench.results.statistics import verdicts
from mtlbench.results.statistics.delta import all_deltas, delta_m
from mtlbench.results.statistics.intervals import Interval
from mtlbench.results.statistics.planner import BadPlan, seeds_for_equivalence, seeds_needed
from mtlbench.results.statistics.verdicts import Additive, Contrast, Verdict
from mtlbench.results.summary.columns import Column, by_seed, mean_score
from mtlbench.results.summary.gains import DeltaSummary, runs_of_baseline, usable
from mtlbench.results.summary.runs import Comparison

PLANNED = (0.5, 1.0, 2.0)  # points
TURNED: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}  # where the two rows of a pair change places


@dataclass(frozen=True)
class Block:
    """Delta_m by row and seed, for the comparison of rows.

    With each seed, all rows are against one reference: the baseline's run with this seed, or the mean of the baseline's
    runs where the baseline has no such run. So the baseline has zeros, and its noise is a shift of the seed that all
    rows share. A difference of two rows does not contain this shift.
    """

    values: Mapping[str, Mapping[int, float]]  # by label and seed; the rows that are judged
    left_out: Mapping[str, str]  # rows that have a Delta_m and are in no verdict, and why
    margin: float = 0.5  # points of Delta_m inside which two rows count as equivalent
    losses: Mapping[str, float] = field(default_factory=dict)  # by label: the share of its seeds that a row lost
    apart: Mapping[str, Mapping[int, float]] = field(default_factory=dict)  # as `values`, against the mean baseline

    @cached_property
    def model(self) -> Additive | None:
        return verdicts.additive(by_seed(self.values)) if self.values else None

    @cached_property
    def _pairs(self) -> list[Contrast]:
        losses = [self.losses.get(label, 0.0) for label in self.values]
        return verdicts.contrasts(by_seed(self.values), losses=losses, margin=self.margin) if self.values else []

    def contrasts(self) -> list[tuple[str, str, Contrast]]:
        names = list(self.values)
        return [(names[pair.first], names[pair.second], pair) for pair in self._pairs]

    def against(self, baseline: str) -> dict[str, Interval]:
        """label -> the interval of the row's pair with the baseline, which is simultaneous over all pairs."""
        found = {}
        for first, second, pair in self.contrasts():
            if baseline in (first, second):
                label, sign = (first, 1.0) if second == baseline else (second, -1.0)
                shared = len(set(self.values[first]) & set(self.values[second]))
                found[label] = Interval(sign * pair.difference, (pair.high - pair.low) / 2, shared - 1)
        return found

    def verdicts(self, label: str) -> dict[str, Verdict]:
        """Each row that `label` is compared with -> the verdict on `label` against it."""
        found: dict[str, Verdict] = {}
        for first, second, pair in self.contrasts():
            if first == label:
                found[second] = pair.verdict
            elif second == label:
                found[first] = TURNED.get(pair.verdict, pair.verdict)
        return found

    def best(self) -> set[str]:
        names = list(self.values)
        losses = [self.losses.get(label, 0.0) for label in names]
        return {names[row] for row in verdicts.not_worse_than_best(self._pairs, losses)}

    @property
    def half_width(self) -> float:
        """Half the width of a pair's interval, in points: the median over the pairs; NaN where there is no pair."""
        return float(np.median([(pair.high - pair.low) / 2 for pair in self._pairs])) if self._pairs else math.nan

    def planned(self) -> list[tuple[float, int]]:
        """Pairs (points, number of seeds that find such a difference between two of these rows, 80 times of 100)."""
        sd = self.paired_sd
        if not sd:
            return []
        return [(points, seeds_needed(points, sd, rows=len(self.values))) for points in PLANNED if sd < 30 * points]

    def equivalent_from(self) -> int | None:
        """How many seeds call two equal rows equivalent, 80 times of 100; None where too many to count."""
        try:
            sd = self.paired_sd
            return seeds_for_equivalence(self.margin, sd, rows=len(self.values)) if sd else None
        except BadPlan:
            return None

    @property
    def paired_sd(self) -> float:
        """The standard deviation of the difference of two runs of one seed, with one variance for all rows."""
        return 0.0 if self.model is None else math.sqrt(2 * float(self.model.variance))

    def correlation(self) -> float:
        """The mean correlation of two rows over seeds, against the mean baseline; NaN below three complete seeds.

        This is the mean covariance of two rows over the mean variance of a row. Pairing by seed lives on it.
        """
        values = np.array(by_seed(self.apart)) if self.apart else np.empty((0, 0))
        values = values[:, np.isfinite(values).all(0)] if values.size else values
        if values.shape[0] < 2 or values.shape[1] < 3:
            return math.nan
        covariance = np.cov(values)
        variance = float(np.diag(covariance).mean())
        between = (covariance.sum() - np.trace(covariance)) / (len(values) * (len(values) - 1))
        return float(between) / variance if variance > 0 else math.nan


def block(comparison: Comparison, columns: Mapping[str, Column], deltas: Mapping[str, DeltaSummary]) -> Block:
    """The block of the rows that have a Delta_m, and at least two seeds that link the rows to each other."""
    baseline = comparison.rows.get(comparison.baseline)
    if baseline is None or deltas[comparison.baseline].problem:
        return Block({}, {})
    centre = {task: mean_score(runs.values()) for task, runs in runs_of_baseline(baseline, columns).items()}
    whole = usable(baseline, columns)[0]
    runs = {label: usable(row, columns)[0] for label, row in comparison.rows.items() if not deltas[label].problem}
    found = {
        label: {seed: delta_m(scores, whole.get(seed, centre)) for seed, scores in of_row.items()}
        for label, of_row in runs.items()
    }
    judged = [list(found)[row] for row in verdicts.judged(by_seed(found))]
    left_out = {
        label: "one seed" if len(values) < 2 else "too few seeds in common with the others"
        for label, values in found.items()
        if label not in judged
    }
    return Block(
        {label: found[label] for label in judged},
        left_out,
        comparison.margin,
        {label: len(deltas[label].lost) / len(comparison.rows[label].runs) for label in judged},
        {label: {seed: delta_m(scores, centre) for seed, scores in runs[label].items()} for label in judged},
    )


def rebased(
    comparison: Comparison, columns: Mapping[str, Column], deltas: Mapping[str, DeltaSummary]
) -> dict[str, dict[int, float]]:
    """label -> seed of the baseline -> mean Delta_m against that single run. The baseline has a row here too."""
    baseline = comparison.rows.get(comparison.baseline)
    if baseline is None:
        return {}
    runs = usable(baseline, columns)[0]
    found = {}
    for label, row in comparison.rows.items():
        if not deltas[label].problem:
            against = all_deltas(list(usable(row, columns)[0].values()), list(runs.values()))
            found[label] = {seed: float(np.mean(of_run)) for seed, of_run in zip(runs, against, strict=True)}
    return found
