"""How stable the order of the rows is: over seeds, tasks, weights of the tasks, and runs of the baseline.

Only the rows that are judged are looked at (see `pairs.Block`). Each task's gain over the mean baseline is estimated by
least squares, so that a missing seed favours no row. There are m rows and T tasks. Gains are in percent, and higher is
better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from mtlbench.results.statistics.delta import relative_gain
from mtlbench.results.statistics.intervals import mean_and_sd
from mtlbench.results.statistics.verdicts import Additive, additive
from mtlbench.results.summary.columns import Column, by_seed, mean_score, value_of
from mtlbench.results.summary.gains import runs_of_baseline, usable
from mtlbench.results.summary.pairs import Block
from mtlbench.results.summary.runs import Comparison

DRAWS = 20_000
Array = NDArray[np.float64]


def rank_probabilities(model: Additive, draws: int = DRAWS) -> Array:
    """[m, m]: the probability that row i has rank j, when the means vary with their own noise.

    The probabilities come from random draws with a fixed seed.
    """
    rng = np.random.default_rng(0)
    num_rows = len(model.means)
    root = (
        np.linalg.cholesky(model.covariance * float(model.variance))
        if float(model.variance) > 0
        else np.zeros((num_rows,) * 2)
    )
    scale = np.sqrt(rng.chisquare(model.df, draws) / model.df)
    sampled = model.means[:, None] + root @ rng.standard_normal((num_rows, draws)) / scale
    ranks = (-sampled).argsort(0, kind="stable").argsort(0, kind="stable")  # [m, draws]
    return np.stack([(ranks == rank).mean(1) for rank in range(num_rows)], axis=1)


def taus(block: Block) -> list[float]:
    """Kendall's tau-b between the orders of two seeds, for each pair of seeds that share at least three rows."""
    if not block.values:
        return []
    values = np.array(by_seed(block.values))  # [rows, seeds]
    there = np.isfinite(values)
    one, other = np.triu_indices(len(values), 1)
    both = (there[one] & there[other]).T  # [seeds, pairs of rows]
    order = np.where(both, np.sign(values[one] - values[other]).T, 0.0)
    # Whole numbers, [seeds, seeds]: concordant minus discordant pairs of rows, and those that the first tells apart.
    agreement, apart = order @ order.T, np.abs(order) @ both.T.astype(np.float64)
    shared = there.T.astype(np.int64) @ there
    first, second = np.triu_indices(values.shape[1], 1)
    kept = (shared[first, second] >= 3) & (apart[first, second] > 0) & (apart[second, first] > 0)
    first, second = first[kept], second[kept]
    found = agreement[first, second] / np.sqrt(apart[first, second]) / np.sqrt(apart[second, first])
    return [float(tau) for tau in np.clip(found, -1.0, 1.0)]


@dataclass(frozen=True)
class TaskGains:
    """What each judged row gains on each task over the mean baseline."""

    labels: tuple[str, ...]
    tasks: tuple[str, ...]
    gains: Array  # [m, T]
    signs: tuple[float, ...]  # +1 where higher is better
    spread: tuple[float, ...]  # by task: sd of one run of the baseline over its mean; NaN for a single run

    def ranks(self, without: str = "") -> list[int]:
        """Each row's rank by the mean gain over all tasks except the task `without`."""
        kept = [task != without for task in self.tasks]
        order = (-self.gains[:, kept].mean(1)).argsort(kind="stable")
        return [int(rank) + 1 for rank in order.argsort()]

    def wins(self) -> list[float]:
        """For each row: the share of the weights of the tasks under which the row is the best.

        All weights are equally likely.
        """
        weights = np.random.default_rng(0).dirichlet(np.ones(len(self.tasks)), DRAWS)
        counts = np.bincount((weights @ self.gains.T).argmax(1), minlength=len(self.labels))
        return [float(share) for share in counts / DRAWS]

    def winners(self) -> list[tuple[float, str]]:
        """For two tasks: pairs (weight of the first task from which on a row is the best, label), ascending from 0."""
        crossings = {0.0, 1.0}
        for (one, other), (one_too, other_too) in combinations(self.gains.tolist(), 2):
            slope = (one - one_too) - (other - other_too)  # of the rows' difference, by the weight of the first task
            if slope != 0 and 0 < (other_too - other) / slope < 1:
                crossings.add((other_too - other) / slope)
        edges = sorted(crossings)
        found: list[tuple[float, str]] = []
        for low, high in pairwise(edges):
            weight = (low + high) / 2
            best = self.labels[int((self.gains @ [weight, 1 - weight]).argmax())]
            if not found or found[-1][1] != best:
                found.append((low, best))
        return found

    def flip(self, first: str, second: str, baseline: str) -> tuple[float, str] | None:
        """How far the baseline's score of one task must move for the order of two rows to turn, and in which task.

        The distance is in standard deviations of one run of the baseline, and the task is the one with the smallest
        distance. Returns None where no positive score turns the order, or where the baseline has a single run.

        Let d_u be the difference of the two rows' gains on task u. Where the score of the baseline in task t is
        multiplied by x, the difference of their Delta_m is (d_t / x + sum_{u != t} d_u) / T. The baseline's own row
        moves together with the baseline.
        """
        one, other = (self.gains[self.labels.index(label)] for label in (first, second))
        found = []
        for t, task in enumerate(self.tasks):
            rest = float(np.delete(one - other, t).sum())
            if baseline in (first, second):
                sign = self.signs[t] / 100 if second == baseline else -self.signs[t] / 100
                above, below = 1 + sign * (one[t] - other[t]), 1 - sign * rest
            else:
                above, below = -(one[t] - other[t]), rest
            factor = above / below if below else math.nan
            distance = abs(factor - 1) / self.spread[t] if self.spread[t] > 0 else math.nan
            if factor > 0 and math.isfinite(distance):
                found.append((float(distance), task))
        return min(found, default=None)


def task_gains(comparison: Comparison, columns: Mapping[str, Column], block: Block) -> TaskGains | None:
    """The gains of the judged rows on each task; None where no rows are judged."""
    if not block.values:
        return None
    theirs = runs_of_baseline(comparison.rows[comparison.baseline], columns)
    gains, spread, signs = [], [], []
    for task, runs in theirs.items():
        centre = mean_score(runs.values())
        found = {
            label: {
                seed: relative_gain(scores[task], centre)
                for seed, scores in usable(comparison.rows[label], columns)[0].items()
            }
            for label in block.values
        }
        gains.append(additive(by_seed(found)).means)
        mean, sd = mean_and_sd([value_of(score) for score in runs.values()])
        spread.append(sd / abs(mean))
        signs.append(1.0 if centre.higher_is_better else -1.0)
    return TaskGains(tuple(block.values), tuple(theirs), np.stack(gains, axis=1), tuple(signs), tuple(spread))
