"""How wide a text is in LaTeX, so that a table is made to fit before LaTeX sees it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.ft2font import FT2Font

from mtlbench.results.report.display import MINUS

# Kerning and rounding are no part of a measure, so 2 % are added.
SPARE = 1.02
OTHER = 1.0  # of a size; a letter that the font lacks
SIGNS, ARROWS, ARROW = f"±+{MINUS}=<>Δ", "↑↓", 0.67  # an arrow, of a sign


class Letters(NamedTuple):
    """A size of LaTeX, in a text of 10 points."""

    name: str  # of the command
    points: float
    times: bool  # Times, which the templates are set in, and not Computer Modern
    wider: float  # of Computer Modern, whose small letters are wider for their height
    sign: float  # of a size; plus, minus and their like, which are Computer Modern in the templates too

    @property
    def tiny(self) -> Letters:
        """Of the spread beside a number."""
        return letters("tiny", times=self.times)


SIZES = {
    "small": (9.0, 1.03, 0.80),
    "footnotesize": (8.0, 1.065, 0.83),
    "scriptsize": (7.0, 1.14, 0.90),
    "tiny": (5.0, 1.37, 1.03),
}


def letters(name: str, *, times: bool) -> Letters:
    points, wider, sign = SIZES[name]
    return Letters(name, points, times, 1.0 if times else wider, sign)


@cache
def _advance(character: str, times: bool, bold: bool) -> float:
    """Of a character, in sizes."""
    if character in "_{}\\|":  # drawn by a rule, or from another font
        return 0.6
    font = _font(times, bold)
    if not font.get_char_index(ord(character)):
        return OTHER
    return float(font.load_char(ord(character)).linearHoriAdvance) / 65536 / 10


@cache
def _font(times: bool, bold: bool) -> FT2Font:
    """STIX has the widths of Times."""
    name = ("STIXGeneralBol" if bold else "STIXGeneral") if times else "cmr10"
    font = FT2Font(Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf")
    font.set_size(10, 72)
    return font


def width(text: str, size: Letters, *, bold: bool = False) -> float:
    """Of a text without markup, in points."""
    total = 0.0
    for character in text:
        if character == " ":
            total += 1 / 4 if size.times else 1 / 3
        elif character in SIGNS:
            total += size.sign
        elif character in ARROWS:
            total += ARROW * size.sign
        else:
            total += size.wider * _advance(character, size.times, bold and size.times)
    return SPARE * size.points * total * (1.15 if bold and not size.times else 1.0)
