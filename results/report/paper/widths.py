"""The width that a paper gives to a table or a figure."""

from __future__ import annotations

import re
from typing import NamedTuple

INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}  # TeX's points
TEMPLATES = {
    "neurips": "5.5in",  # one column
    "cvpr": "3.25in",  # one of two columns, as the author kit says; 6.875in across both
    "ieee": "252pt",  # one of two columns of IEEEtran; 516pt across both
}
NARROWEST, WIDEST = 2.0, 12.0  # inches


class Paper(NamedTuple):
    """A width as it is written in LaTeX, such as 5.5in, and in inches."""

    text: str
    inches: float
    times: bool = False  # letters are those of Times, as in all templates; otherwise they may be as wide as LaTeX's own


def paper(asked: str) -> Paper:
    """Of a template's name or a width. Raises ValueError in one line for anything else."""
    text = TEMPLATES.get(asked, asked)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(in|cm|mm|pt)", text)
    if found is None:
        raise ValueError(f"{asked!r} is neither {', '.join(TEMPLATES)} nor a width such as 5.5in, 84mm or 241pt")
    number, unit = found.groups()
    inches = float(number) * INCHES[unit]
    if not NARROWEST <= inches <= WIDEST:
        raise ValueError(f"{asked!r} is {inches:.3g} inches; a paper's width is from {NARROWEST:g}in to {WIDEST:g}in")
    return Paper(f"{number}{unit}", inches, asked in TEMPLATES)
