"""How scores and numbers are printed: names, signs, intervals, times."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mtlbench.results.records.record import Score, in_words

UNDEFINED = "—"
MINUS = "\N{MINUS SIGN}"  # as wide as a plus, so that columns line up


def titled(score: Score) -> str:
    """The name of a score for readers."""
    return score.heading


def task_set(tasks: Sequence[str]) -> str:
    """A text like "semseg + human parts"."""
    return " + ".join(map(in_words, tasks))


def with_unit(title: str, unit: str) -> str:
    """A title with its unit, as in "mIoU [%]"."""
    return f"{title} [{unit}]" if unit else title


def fixed(value: float, decimals: int) -> str:
    """A number with fixed decimals: a dash for NaN, and never a negative 0."""
    if math.isnan(value):
        return UNDEFINED
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        return text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float) -> str:
    """A number with two decimals and a sign: a dash for NaN."""
    text = fixed(value, 2)
    if math.isnan(value):
        return text
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def in_points(value: float) -> str:
    """A text like "1 point", "0.5 points" or "2 points"."""
    return f"{value:g} point{'' if value == 1 else 's'}"


def interval_text(low: float, high: float) -> str:
    return f"[{signed(low)}, {signed(high)}]"


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit in which times up to `seconds` are printed, and the number of seconds in this unit."""
    if math.isnan(seconds) or seconds < 120:
        return "s", 1.0
    return ("min", 60.0) if seconds < 7200 else ("h", 3600.0)
