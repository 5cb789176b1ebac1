"""How wide a text is in LaTeX, so that a table is made to fit before LaTeX sees it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib.ft2font import FT2Font

from mtlbench.results.report.display import MINUS

# Computer Modern is wider than the Times of the templates, so what fits in it fits there too. Its small sizes are wider
# for their height, and its bold letters are wider.
SIZES = {"small": (9.0, 1.03), "footnotesize": (8.0, 1.065), "scriptsize": (7.0, 1.14)}  # in points, in a text of 10
# Kerning and rounding are no part of a measure, so 2 % are added.
BOLD = 1.15
SIGN = 0.778  # of a size; plus, minus and their like are of this width in Computer Modern
OTHER = 1.0  # of a size; a letter that the font lacks


@cache
def _advance(character: str) -> float:
    """Of a character of Computer Modern, in sizes."""
    if character in f"±+{MINUS}=<>Δ":
        return SIGN + (0.44 if character == "±" else 0.0)  # in a formula, it stands apart from both numbers
    if character in "_{}\\|":  # drawn by a rule, or from another font
        return 0.6
    font = _font()
    if not font.get_char_index(ord(character)):
        return OTHER
    return float(font.load_char(ord(character)).linearHoriAdvance) / 65536 / 10


@cache
def _font() -> FT2Font:
    font = FT2Font(Path(mpl.get_data_path()) / "fonts" / "ttf" / "cmr10.ttf")
    font.set_size(10, 72)
    return font


def width(text: str, size: str, *, bold: bool = False) -> float:
    """Of a text without markup, in points."""
    points, wider = SIZES[size]
    spaces = 1 / 3 * text.count(" ")
    letters = sum(_advance(character) for character in text if character != " ")
    return 1.02 * points * wider * (letters + spaces) * (BOLD if bold else 1.0)
