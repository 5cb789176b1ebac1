"""Negative transfer: on which tasks a row gains, and on which tasks it loses."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mtlbench.results.statistics.intervals import Interval, paired_interval
from mtlbench.results.summary.gains import DeltaSummary

DRAWS = 20_000


class TaskGain(NamedTuple):
    """A task's term of Delta_m over the runs of a row, in percent."""

    mean: float
    interval: Interval | None  # 95 %, over seeds; None for one run, or where runs are not paired
    harmed: int  # runs that score worse than the baseline, and those that failed or diverged
    runs: int  # with those that failed or diverged


def by_task(delta: DeltaSummary) -> dict[str, TaskGain]:
    """task -> its gain; {} where Delta_m is undefined or the row is the baseline."""
    found = {}
    for task, by_seed in delta.gains.items():
        values = list(by_seed.values())
        interval = paired_interval(values) if delta.paired else None
        harmed, broken = sum(value < 0 for value in values), len(delta.broken)
        found[task] = TaskGain(float(np.mean(values)), interval, harmed + broken, len(values) + broken)
    return found


def any_harmed(delta: DeltaSummary) -> float:
    """Probability that the mean gain of at least one task is below 0; NaN for one run, or where runs are not paired.

    The means of n runs follow Student's t with n - 1 degrees of freedom and the covariance of the runs over tasks. The
    probability is a share of 20,000 draws from a fixed seed.
    """
    gains = np.array([list(by_seed.values()) for by_seed in delta.gains.values()], dtype=float)  # [T, n]
    if not delta.paired or gains.ndim != 2 or gains.shape[1] < 2:
        return math.nan
    num_runs = gains.shape[1]
    deviations = gains - gains.mean(1, keepdims=True)
    rng = np.random.default_rng(0)
    scale = np.sqrt(rng.chisquare(num_runs - 1, DRAWS) / (num_runs - 1))
    # Sums of the deviations with normal weights have the covariance of the runs; no factorisation is needed.
    noise = deviations @ rng.standard_normal((num_runs, DRAWS)) / math.sqrt(num_runs * (num_runs - 1))
    return float((gains.mean(1, keepdims=True) + noise / scale < 0).any(0).mean())
