"""Verdicts: which methods differ, judged for all pairs at once, where the runs of methods may vary unequally.

Plain functions over values [m, n], where a row is a method and a column is a seed; higher is better. A value is NaN
where the method has no run with that seed.

A pair is compared over the seeds that both methods have. The interval of a pair is the wider one of two:

1. The moderated interval. Its variance lies between the variance of this pair's own differences and the variance that
   all methods share. How far it leans to the shared one depends on how alike the methods vary (empirical Bayes, Smyth
   2004). Its quantile is Tukey's studentised range. Where all methods vary alike, this is Tukey's interval.
2. The pair's own t interval at a level of 97 % (95 % for two methods).

Tukey's range alone covers all pairs of six rows in only 83-91 % of tables where the methods vary unequally. Each of
the two intervals alone covers too little as well. The rule covers at least 93 % in all cases that
`tests/results/statistics/test_coverage.py` simulates. Where all vary alike, it finds 0.78 to 0.90 of what Tukey's range
finds at five seeds, and about a half at three seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mtlbench.results.statistics.ranges import studentised_range

Verdict = Literal["better", "worse", "equivalent", "undecided"]
Array = NDArray[np.float64]

OWN = 0.6  # of the error rate of all pairs: the error rate of a pair's own t interval, among three methods or more


class Contrast(NamedTuple):
    """Method `first` minus method `second` (row numbers), with a simultaneous interval."""

    first: int
    second: int
    difference: float  # mean over the seeds that both have
    low: float
    high: float
    verdict: Verdict  # of first against second


class Additive(NamedTuple):
    """The model value = method + seed + noise, fitted by least squares to the existing runs.

    For `half_widths`, variance [..., 1] and residuals [..., m] may be those of several tables.
    """

    means: Array  # [m], the mean of every method as if it had every seed
    covariance: Array  # [m, m] of the means over the variance of one run; use it for differences of methods only
    variance: float | Array  # of one run around the model, with one variance for all methods
    df: int
    residuals: Array  # [m], the sum of squares of each method's runs around the model
    freedom: Array  # [m], the degrees of freedom of `residuals`, whose sum is df


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
    squares = np.bincount(method, (runs - design @ effects) ** 2, num_methods)
    freedom = np.bincount(method, 1 - ((design @ inverse) * design).sum(1), num_methods)
    variance = float(squares.sum()) / df
    covariance = to_means @ inverse @ to_means.T
    return Additive(
        centre + to_means @ effects, covariance, variance, df, np.asarray(squares, float), np.asarray(freedom, float)
    )


def contrasts(
    values: ArrayLike, *, losses: Sequence[float] = (), margin: float = 0.5, level: float = 0.95
) -> list[Contrast]:
    """All pairs of the rows that are `judged` and share two seeds, under one simultaneous error rate.

    The rule is described above. margin has the unit of the values. A verdict is better or worse where the interval
    excludes 0, equivalent where the interval lies inside +-margin, and undecided otherwise. Returns [] where nothing
    can be said, as for one method or one seed.

    losses: the share of its seeds that each method lost, as by a training that diverged. The runs that are left are
    those that went well. So a method is never better than a method that lost less, nor equivalent to it.
    """
    array = _matrix(values)
    rows = judged(array)
    if not rows:
        return []
    array = array[rows]
    fit = additive(array)
    first, second = np.triu_indices(len(rows), 1)
    differences = array[first] - array[second]
    shared = np.isfinite(differences).sum(1)
    kept = shared > 1
    first, second, shared = first[kept], second[kept], shared[kept]
    mean, own = np.nanmean(differences[kept], axis=1), np.nanvar(differences[kept], axis=1, ddof=1)
    half = half_widths(own, shared, fit, level)
    half = np.maximum(half, 1e-12 * np.nanmax(np.abs(array)))  # so that rounding does not tell equal rows apart
    found = []
    for i, j, centre, wide in zip(first.tolist(), second.tolist(), mean.tolist(), half.tolist(), strict=True):
        verdict = of_interval(centre - wide, centre + wide, margin)
        more = losses[rows[i]] - losses[rows[j]] if losses else 0.0
        if (more > 0 and verdict != "worse") or (more < 0 and verdict != "better"):
            verdict = "undecided"
        found.append(Contrast(rows[i], rows[j], centre, centre - wide, centre + wide, verdict))
    return found


def half_widths(own: Array, shared: NDArray[np.int64], fit: Additive, level: float = 0.95) -> Array:
    """Half the width of each pair's interval, from the variance of its differences over the seeds that it shares.

    own [..., pairs], shared [pairs] -> [..., pairs].
    """
    df, num_methods = shared - 1, fit.residuals.shape[-1]
    prior = np.minimum(alikeness(fit), 1e9)
    moderated = (prior * 2 * fit.variance + df * own) / (prior + df)
    freedom = np.minimum(prior + df, fit.df)  # never more than Tukey's
    wide = studentised_range(level, num_methods, freedom) / math.sqrt(2)
    error = 1 - level if num_methods == 2 else OWN * (1 - level)
    alone = np.asarray(stats.t.isf(error / 2, df))
    return np.asarray(np.maximum(wide * np.sqrt(moderated), alone * np.sqrt(own)) / np.sqrt(shared))


def alikeness(fit: Additive) -> Array:
    """How many degrees of freedom the shared variance is worth to a method: inf where all vary alike, 0 where none do.

    The log variances of the methods scatter by more than their own noise where the methods vary unequally. This is the
    estimate of Smyth (2004, section 6.2). The last axis of the result has one element.
    """
    known = fit.freedom > 1e-6  # the runs of a method may all be spent on its mean and on the seeds
    num_methods = len(known)
    if known.sum() < 2:
        return np.zeros(1)
    own, freedom = fit.residuals[..., known] / fit.freedom[known], fit.freedom[known]
    largest = own.max(-1, keepdims=True)
    own = np.maximum(own, np.where(largest > 0, 1e-5 * largest, 1.0))  # an estimate of 0 has no logarithm
    half = freedom * num_methods / (num_methods - 1) / 2  # of n runs, (n - 1)(m - 1)/m degrees of freedom are left
    logs = np.log(own) - special.digamma(half) + np.log(half)
    excess = logs.var(-1, ddof=1, keepdims=True) - special.polygamma(1, half).mean()
    return np.where(excess > 0, 2 * _inverse_trigamma(np.maximum(excess, 1e-6)), np.inf)


def _inverse_trigamma(values: Array) -> Array:
    """The y with trigamma(y) = value > 0, by Newton's steps on 1 / trigamma, which is convex (Smyth 2004)."""
    found = 0.5 + 1 / values
    for _ in range(30):
        trigamma = special.polygamma(1, found)
        found = found + trigamma * (1 - trigamma / values) / special.polygamma(2, found)
    return found


def not_worse_than_best(pairs: Sequence[Contrast], losses: Sequence[float] = ()) -> set[int]:
    """The rows of `pairs` that no other row is shown to be better than, and that lost no more seeds than another."""
    worse = {pair.second for pair in pairs if pair.verdict == "better"}
    worse |= {pair.first for pair in pairs if pair.verdict == "worse"}
    rows = {row for pair in pairs for row in (pair.first, pair.second)}
    fewest = min((losses[row] for row in rows), default=0.0) if losses else 0.0
    return {row for row in rows - worse if not losses or losses[row] <= fewest}


def of_interval(low: float, high: float, margin: float) -> Verdict:
    """What an interval says of a difference of which more is better."""
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
