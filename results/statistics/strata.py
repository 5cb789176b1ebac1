"""The stratified bootstrap: an interval of a mean over tables of the means over their runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

DRAWS = 20_000


def stratified_interval(
    tables: Sequence[ArrayLike], *, level: float = 0.95, draws: int = DRAWS
) -> tuple[float, float] | None:
    """tables: the values of each table's runs -> the ends of an interval of the mean over tables of their means.

    The runs of each table are drawn with replacement (Agarwal et al., "Deep RL at the edge of the statistical
    precipice", NeurIPS 2021). Of n runs, n - 1 are drawn (Rao and Wu, 1988), because n draws make an interval over 3
    runs too short by a fifth. In simulations of 3 and 5 tables with 3 runs, n draws cover the mean rank of one of six
    equal rows in 82 to 84 % of cases, and n - 1 draws in 91 to 92 %.

    The tables themselves are not drawn, so the interval says nothing of other tables. The draws have a fixed seed.
    Returns None where a table has one run.
    """
    runs = [np.asarray(values, dtype=np.float64) for values in tables]
    if not runs or any(len(values) < 2 for values in runs):
        return None
    rng = np.random.default_rng(0)
    means = np.zeros(draws)
    for values in runs:
        drawn = len(values) - 1
        means += rng.multinomial(drawn, np.full(len(values), 1 / len(values)), size=draws) @ values / drawn
    low, high = np.quantile(means / len(runs), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
