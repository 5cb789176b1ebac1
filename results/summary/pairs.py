"""Every pair of rows on Delta_m, judged by one procedure, and Delta_m against each single run of the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mtlbench.results.statistics import verdicts
from mtlbench.results.statistics.delta import delta_m
from mtlbench.results.statistics.intervals import mean_and_sd
from mtlbench.results.statistics.planner import seeds_needed
from mtlbench.results.statistics.verdicts import Additive, Contrast
from mtlbench.results.summary.columns import Column, by_seed, mean_score
from mtlbench.results.summary.gains import DeltaSummary, runs_of_baseline, usable
from mtlbench.results.summary.runs import Comparison

MARGIN = 0.5  # points of Delta_m inside which two methods count as equivalent
PLANNED = (0.5, 1.0, 2.0)  # points


@dataclass(frozen=True)
class Block:
    """Delta_m by row and seed, against the mean of the baseline's runs, for the comparison of rows.

    Against this mean, the baseline is a row like every other row, and has its own noise. Against its own runs, the
    baseline would have zeros only.
    """

    values: Mapping[str, Mapping[int, float]]  # by label and seed; the rows that are judged
    left_out: Mapping[str, str]  # rows that have a Delta_m and are in no verdict, and why

    @property
    def model(self) -> Additive | None:
        return verdicts.additive(by_seed(self.values)) if self.values else None

    def contrasts(self) -> list[tuple[str, str, Contrast]]:
        names = list(self.values)
        pairs = verdicts.contrasts(by_seed(self.values), margin=MARGIN) if names else []
        return [(names[pair.first], names[pair.second], pair) for pair in pairs]

    def best(self) -> set[str]:
        if not self.values:
            return set()
        found = verdicts.not_worse_than_best(by_seed(self.values))
        return {label for label, best in zip(self.values, found, strict=True) if best}

    def uneven(self) -> tuple[str, float] | None:
        """The row that varies most, and the ratio of its standard deviation to the median row's.

        Returns None unless this ratio is over 3. Only rows with three runs or more are looked at.
        """
        values = {label: list(by_seed.values()) for label, by_seed in self.values.items() if len(by_seed) > 2}
        spread = {label: mean_and_sd(of_row)[1] for label, of_row in values.items()}
        if len(spread) < 3:
            return None
        label, median = max(spread, key=lambda name: spread[name]), float(np.median(list(spread.values())))
        return (label, spread[label] / median) if spread[label] > 3 * median > 0 else None

    def planned(self) -> list[tuple[float, int]]:
        """Pairs (points, number of seeds that find such a difference between two of these rows, 80 times of 100)."""
        model = self.model
        if model is None or model.variance == 0:
            return []
        paired = math.sqrt(2 * model.variance)
        return [(points, seeds_needed(points, paired)) for points in PLANNED if paired < 30 * points]


def block(comparison: Comparison, columns: Mapping[str, Column], deltas: Mapping[str, DeltaSummary]) -> Block:
    """The block of the rows that have a Delta_m, and at least two seeds that link the rows to each other."""
    baseline = comparison.rows.get(comparison.baseline)
    if baseline is None or deltas[comparison.baseline].problem:
        return Block({}, {})
    centre = {task: mean_score(runs.values()) for task, runs in runs_of_baseline(baseline, columns).items()}
    found = {
        label: {seed: delta_m(scores, centre) for seed, scores in usable(row, columns)[0].items()}
        for label, row in comparison.rows.items()
        if not deltas[label].problem
    }
    judged = [list(found)[row] for row in verdicts.judged(by_seed(found))]
    left_out = {
        label: "one seed" if len(values) < 2 else "too few seeds in common with the others"
        for label, values in found.items()
        if label not in judged
    }
    return Block({label: found[label] for label in judged}, left_out)


def rebased(
    comparison: Comparison, columns: Mapping[str, Column], deltas: Mapping[str, DeltaSummary]
) -> dict[str, dict[int, float]]:
    """label -> seed of the baseline -> mean Delta_m against that single run. The baseline has a row here too."""
    baseline = comparison.rows.get(comparison.baseline)
    if baseline is None:
        return {}
    return {
        label: {
            seed: float(np.mean([delta_m(scores, run) for scores in usable(row, columns)[0].values()]))
            for seed, run in usable(baseline, columns)[0].items()
        }
        for label, row in comparison.rows.items()
        if not deltas[label].problem
    }
