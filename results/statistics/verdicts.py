"""Verdicts: which methods differ, judged for all pairs at once by one additive model of method and seed.

Plain functions over values [m, n], where a row is a method and a column is a seed; higher is better. A value is NaN
where the method has no run with that seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Verdict = Literal["better", "worse", "equivalent", "undecided"]
Array = NDArray[np.float64]


class Contrast(NamedTuple):
    """Method `first` minus method `second` (row numbers), with a simultaneous interval."""

    first: int
    second: int
    difference: float
    low: float
    high: float
    verdict: Verdict  # of first against second


class Additive(NamedTuple):
    """The model value = method + seed + noise, fitted by least squares to the existing runs."""

    means: Array  # [m], the mean of every method as if it had every seed
    covariance: Array  # [m, m] of the means over the variance of one run; use it for differences of methods only
    variance: float  # of one run around the model
    df: int


def judged(values: ArrayLike) -> list[int]:
    """Numbers of the rows that can be compared: methods with at least two runs, linked to each other by shared seeds.

    Where there are several groups of linked methods, the largest group is returned (the first of equally large ones).
    Returns [] where the group has fewer than two methods or leaves no degree of freedom.
    """
    array = _matrix(values)
    runs = np.isfinite(array)
    rows = np.flatnonzero(runs.sum(1) >= 2)
    if len(rows) < 2:
        return []
    method, seed = np.nonzero(runs[rows])
    size = len(rows) + array.shape[1]
    graph = coo_array((np.ones(len(method)), (method, len(rows) + seed)), shape=(size, size))
    group = connected_components(graph, directed=False)[1][: len(rows)]
    largest = rows[group == max(group.tolist(), key=group.tolist().count)]
    num_runs, num_seeds = int(runs[largest].sum()), int(runs[largest].any(0).sum())
    freedom = num_runs - len(largest) - num_seeds + 1
    return [int(row) for row in largest] if len(largest) > 1 and freedom > 0 else []


def additive(values: ArrayLike) -> Additive:
    """The model of `values`. Raises ValueError unless all rows of `values` are `judged`."""
    array = _matrix(values)
    if judged(array) != list(range(len(array))):
        raise ValueError(f"every row needs two runs and seeds that link it to the other rows, got {array!r}")
    array = array[:, np.isfinite(array).any(0)]
    num_methods, num_seeds = array.shape
    method, seed = np.nonzero(np.isfinite(array))
    design = np.zeros((len(method), num_methods + num_seeds))
    design[np.arange(len(method)), method] = 1
    design[np.arange(len(method)), num_methods + seed] = 1
    centre = np.nanmean(array)  # subtracted, so that deltas far from 0 lose no digits
    inverse = np.linalg.pinv(design.T @ design, hermitian=True)
    runs = array[method, seed] - centre
    effects = inverse @ design.T @ runs
    to_means = np.hstack([np.eye(num_methods), np.full((num_methods, num_seeds), 1 / num_seeds)])
    df = len(method) - num_methods - num_seeds + 1
    variance = float(((runs - design @ effects) ** 2).sum()) / df
    return Additive(centre + to_means @ effects, to_means @ inverse @ to_means.T, variance, df)


def contrasts(values: ArrayLike, *, margin: float = 0.5, level: float = 0.95) -> list[Contrast]:
    """All pairs of the rows that are `judged`, under one simultaneous error rate: Tukey's studentised range.

    Where runs are missing, the intervals are those of Tukey and Kramer, which may be too wide but not too narrow.
    margin has the unit of the values. A verdict is better or worse where the interval excludes 0, equivalent where the
    interval lies inside +-margin, and undecided otherwise. Returns [] where nothing can be said, as for one method or
    one seed.
    """
    array = _matrix(values)
    rows = judged(array)
    if not rows:
        return []
    fit = additive(array[rows])
    critical = _studentised_range(level, len(rows), fit.df) / math.sqrt(2)
    rounding = 1e-12 * float(np.nanmax(np.abs(array[rows])))  # so that rounding does not tell equal rows apart
    found = []
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            difference = float(fit.means[i] - fit.means[j])
            unit = fit.covariance[i, i] + fit.covariance[j, j] - 2 * fit.covariance[i, j]
            half = max(critical * math.sqrt(fit.variance * float(unit)), rounding)
            low, high = difference - half, difference + half
            found.append(Contrast(rows[i], rows[j], difference, low, high, _verdict(low, high, margin)))
    return found


def not_worse_than_best(values: ArrayLike, level: float = 0.95) -> list[bool]:
    """For each row: whether the row is `judged` and no other row is shown to be better.

    All are False where nothing can be said.
    """
    array = _matrix(values)
    pairs = contrasts(array, level=level)
    worse = {pair.second for pair in pairs if pair.low > 0} | {pair.first for pair in pairs if pair.high < 0}
    rows = {row for pair in pairs for row in (pair.first, pair.second)} - worse
    return [row in rows for row in range(len(array))]


@lru_cache(maxsize=256)
def _studentised_range(level: float, num_methods: int, df: int) -> float:
    return float(stats.studentized_range.ppf(level, num_methods, df))


def _verdict(low: float, high: float, margin: float) -> Verdict:
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "equivalent" if -margin < low and high < margin else "undecided"


def _matrix(values: ArrayLike | Sequence[Sequence[float]]) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.size == 0 or np.isinf(array).any():
        raise ValueError(
            f"values: expected a row per method and a column per seed, NaN where there is no run, got {array!r}"
        )
    return array
