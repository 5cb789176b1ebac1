"""Plans: how many seeds a question needs, before any GPU is used, by the rule that makes the verdicts of a table.

A plan takes rows that vary alike. Where they vary unequally, the rows that vary most need more seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import stats

from mtlbench.results.statistics.ranges import studentised_range
from mtlbench.results.statistics.verdicts import Additive, Array, half_widths

MOST = 10_000  # seeds; nobody trains more, and without a limit the count would go on for ever
MANY = 60  # seeds from which on the rule is Tukey's range, where all rows vary alike
DRAWS = 1000


class BadPlan(ValueError):
    """A question that no number of seeds answers. The message names the question."""


def seeds_needed(difference: float, sd: float, *, rows: int = 2, power: float = 0.8) -> int:
    """How many seeds find a true paired `difference` between two of `rows` rows with at least the probability `power`.

    sd: the standard deviation of one paired difference. The count starts at ((q + z_{power}) sd / difference)^2, which
    is enough for a known sd, and goes up until `power_of` is enough. q is the quantile of the verdicts for a known sd.
    Raises BadPlan where the start is over `MOST`.
    """
    _check(difference, sd, rows, power)
    start = (_known(rows) + stats.norm.ppf(power)) * sd / difference
    what = f"a difference of {difference:g} at an sd of {sd:g}"
    return _first(lambda seeds: power_of(seeds, difference, sd, rows=rows), start**2, power, what)


def seeds_for_equivalence(margin: float, sd: float, *, rows: int = 2, power: float = 0.8) -> int:
    """How many seeds call two equal rows among `rows` equivalent with at least the probability `power`.

    Their interval has to lie inside +-margin. Raises BadPlan where the count starts over `MOST`.
    """
    _check(margin, sd, rows, power)
    start = (_known(rows) + stats.norm.ppf((1 + power) / 2)) * sd / margin

    def chance(seeds: int) -> float:
        room = np.maximum(margin / sd - _halves(seeds, rows), 0) if sd else math.inf
        return float(np.mean(2 * stats.norm.cdf(room * math.sqrt(seeds)) - 1))

    return _first(chance, start**2, power, f"a margin of {margin:g} at an sd of {sd:g}")


def sentence(difference: float, sd: float, *, rows: int = 2, power: float = 0.8) -> str:
    """The plan as a sentence. It says too what one seed fewer would find."""
    num_seeds = seeds_needed(difference, sd, rows=rows, power=power)
    found = 100 * power_of(num_seeds, difference, sd, rows=rows)
    judged = "two rows" if rows == 2 else f"{rows} rows, all pairs at once"
    text = (
        f"{num_seeds} seeds find a true difference of {difference:g} with a probability of {found:.1f} %, by the "
        f"verdict of a table of {judged}, over runs paired by seed whose differences have a standard deviation of "
        f"{sd:g}"
    )
    if num_seeds > 2:
        text += f"; {num_seeds - 1} with {100 * power_of(num_seeds - 1, difference, sd, rows=rows):.1f} %"
    return text + "."


def power_of(num_seeds: int, difference: float, sd: float, *, rows: int = 2) -> float:
    """Probability that a verdict over `num_seeds` complete seeds of `rows` rows finds a true `difference`.

    For two rows, the verdict is a paired t test, and the probability comes from the non-central t. For more rows, it is
    a mean over `DRAWS` simulated tables from a fixed seed.
    """
    if num_seeds < 2 or not sd >= 0:
        raise BadPlan(f"num_seeds {num_seeds} must be at least 2 and sd {sd} not negative")
    if difference * math.sqrt(num_seeds) > 1000 * sd:
        return 1.0  # exact to the last digit; the distribution function gives NaN here
    shift = difference / sd * math.sqrt(num_seeds)
    if rows == 2:
        critical = stats.t.isf(0.025, num_seeds - 1)
        wrong = float(stats.nct.cdf(-critical, num_seeds - 1, shift))  # NaN where it is below 1e-20
        return float(stats.nct.sf(critical, num_seeds - 1, shift)) + (0.0 if math.isnan(wrong) else wrong)
    half = _halves(num_seeds, rows) * math.sqrt(num_seeds)
    return float(np.mean(stats.norm.sf(half - shift) + stats.norm.cdf(-half - shift)))


@lru_cache(maxsize=512)
def _halves(num_seeds: int, rows: int) -> Array:
    """[DRAWS]: half the width of a pair's interval in simulated tables. The sd of a paired difference is 1."""
    rng = np.random.default_rng(0)
    df = (rows - 1) * (num_seeds - 1)
    if num_seeds > MANY:
        shared = rng.chisquare(df, DRAWS) / df
        return np.asarray(studentised_range(0.95, rows, 1e4) / math.sqrt(2) * np.sqrt(shared / num_seeds))
    runs = rng.normal(0, math.sqrt(0.5), (DRAWS, rows, num_seeds))
    around = runs - runs.mean(2, keepdims=True) - runs.mean(1, keepdims=True) + runs.mean((1, 2), keepdims=True)
    squares = (around**2).sum(2)
    fit = Additive(
        np.zeros(rows), np.eye(rows), squares.sum(1, keepdims=True) / df, df, squares, np.full(rows, df / rows)
    )
    own = (runs[:, 0] - runs[:, 1]).var(1, ddof=1, keepdims=True)
    return half_widths(own, np.array([num_seeds]), fit)[:, 0]


def _known(rows: int) -> float:
    return float(studentised_range(0.95, rows, 1e4)) / math.sqrt(2)


def _first(chance: Callable[[int], float], start: float, power: float, what: str) -> int:
    if start > MOST:
        raise BadPlan(f"{what} takes more than {MOST} seeds")
    num_seeds = max(2, math.floor(start))
    while chance(num_seeds) < power:
        num_seeds += 1
    return num_seeds


def _check(difference: float, sd: float, rows: int, power: float) -> None:
    if not 0 < difference < math.inf:
        raise BadPlan(f"difference {difference:g}: give a positive number of points")
    if not 0 <= sd < math.inf:
        raise BadPlan(f"sd {sd:g}: give 0 or a positive number of points")
    if not 0 < power < 1:
        raise BadPlan(f"power {power} must lie between 0 and 1")
    if rows < 2:
        raise BadPlan(f"rows {rows} must be at least 2, the row and the row that it is compared with")
