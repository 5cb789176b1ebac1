"""The width that a paper gives to a table or a figure."""

from __future__ import annotations

import re
from typing import NamedTuple

INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}  # TeX's points
TEMPLATES = {
    "neurips": "5.5in",  # one column
    "cvpr": "3.25in",  # one of two columns, as the author kit says
    "ieee": "252pt",  # one of two columns of IEEEtran
}
ACROSS = {"cvpr": 6.875, "ieee": 516 * INCHES["pt"]}  # both columns and what is between them
COLUMN = 3.75  # inches; a text that is no wider is taken for one of two columns
NARROWEST, WIDEST = 2.0, 12.0  # inches


class Paper(NamedTuple):
    """A width as it is written in LaTeX, such as 5.5in, and in inches."""

    text: str
    inches: float
    times: bool = False  # letters are those of Times, as in all templates; otherwise they may be as wide as LaTeX's own
    across: float | None = None  # inches that a figure across both columns has; None where there is one column


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
    twice = 2 * inches if inches <= COLUMN else None  # what is between the columns is not known
    return Paper(f"{number}{unit}", inches, asked in TEMPLATES, ACROSS.get(asked, twice))
