"""Quantiles of Tukey's studentised range. SciPy has them too, and takes a quarter of a second for each.

A report asks for dozens of quantiles, and a plan for hundreds. The tests compare these quantiles with SciPy's.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import interpolate, optimize, special, stats

Array = NDArray[np.float64]

KNOTS = 400  # of the quadrature over the standard deviation
WIDEST = 16.0  # a range of normal numbers that no table reaches


def studentised_range(level: float, rows: int, df: ArrayLike) -> Array:
    """The value that the range of `rows` means over their estimated standard deviation exceeds with 1 - level."""
    given, places = np.unique(np.asarray(df, dtype=np.float64), return_inverse=True)
    if len(given) > 50:  # interpolated, since the quantile is a smooth function of 1 / df
        knots = 1 / np.linspace(1 / given[0], 1 / given[-1], 50)
        found = interpolate.CubicSpline(-1 / knots, [_at(level, rows, float(knot)) for knot in knots])(-1 / given)
    else:
        found = np.array([_at(level, rows, freedom) for freedom in given.tolist()])
    return np.asarray(found[places].reshape(np.shape(df)))


@lru_cache(maxsize=4096)
def _at(level: float, rows: int, df: float) -> float:
    low, high = np.sqrt(stats.chi2.ppf([1e-14, 1 - 1e-14], df) / df)  # of the estimated standard deviation
    nodes, weights = _quadrature()
    sd = low + (high - low) * (nodes + 1) / 2
    density = 2 * df * sd * stats.chi2.pdf(df * sd**2, df) * weights * (high - low) / 2

    def excess(bound: float) -> float:
        return float((density * _of_normals(rows, bound * sd)).sum()) - level

    return float(optimize.brentq(excess, 1e-3, 1e4, xtol=1e-9))


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(KNOTS)


def _of_normals(rows: int, width: Array) -> Array:
    """The probability that `rows` standard normal numbers lie within a range of `width`."""
    return np.where(width < WIDEST, _spline(rows)(np.minimum(width, WIDEST)), 1.0)


@lru_cache(maxsize=64)
def _spline(rows: int) -> interpolate.CubicSpline:
    widths = np.linspace(0, WIDEST, 801)
    lowest, step = np.linspace(-9, 9, 721, retstep=True)  # the trapezoid rule is exact to rounding for such integrands
    inside = special.ndtr(lowest[:, None] + widths) - special.ndtr(lowest[:, None])
    density = rows * stats.norm.pdf(lowest)[:, None] * inside ** (rows - 1) * step
    return interpolate.CubicSpline(widths, density.sum(0))
