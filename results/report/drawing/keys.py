"""The keys of painted tasks: the colours of classes by name, the scale of values, and the ball of directions.

Each function draws below the top of a box, as wide as the box, and returns where the next key may begin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np

from mtlbench.results.report.drawing.painting import ERROR, FIELD, NO_LABEL, Color, Reading, ball, class_colors
from mtlbench.results.report.drawing.sheet import Box, Sheet

SWATCH, GAP, BETWEEN = 0.14, 0.05, 0.12  # inches: a colour, then a gap and its name, and what is between two names
BALL = 0.34  # inches
COLUMNS = range(1, 9)  # how many columns of names a key may have
DIRECTIONS = "colour of a surface: that of the ball where the ball faces the same way"


def key(sheet: Sheet, meaning: Reading, numbers: Sequence[int], box: Box) -> float:
    """What the colours of a task say. numbers: of the classes that occur, which are the only ones shown."""
    if meaning.classes:
        colors = class_colors(len(meaning.classes))
        return names(sheet, [(colors[number], meaning.classes[number]) for number in numbers], box)
    if meaning.directions:
        return directions(sheet, box)
    return scale(sheet, FIELD, (meaning.low, meaning.high), meaning.unit, box)


def names(sheet: Sheet, entries: Sequence[tuple[Color, str]], box: Box) -> float:
    """Colours with their names, in as many columns as fit. A name that is too long is broken into lines."""
    beside = SWATCH + GAP + BETWEEN
    texts, lines = min((_lined(sheet, entries, box.width, beside, columns) for columns in COLUMNS), key=_height)
    column = max((sheet.width_of(text) for text in texts), default=0.0) + beside
    top = box.top
    for start in range(lines):
        of_line = range(start, len(texts), lines)  # read downwards
        for place, entry in enumerate(of_line):
            left = box.left + place * column
            sheet.swatch(entries[entry][0], Box(left, top + 0.22 * sheet.line(), SWATCH, 0.58 * sheet.line()))
            sheet.text(texts[entry], Box(left + SWATCH + GAP, top, column))
        top += max(texts[entry].count("\n") + 1 for entry in of_line) * sheet.line()
    return top


def _lined(
    sheet: Sheet, entries: Sequence[tuple[Color, str]], width: float, beside: float, columns: int
) -> tuple[list[str], int]:
    """The names in so many columns, and in how many lines. Words are broken in a single column alone."""
    words = max((sheet.width_of(word) for _, name in entries for word in sheet.words(name)), default=0.0)
    if columns > 1 and words > width / columns - beside:  # a word would be broken
        columns = 1
    texts = [sheet.wrapped(name, width / columns - beside) for _, name in entries]
    return texts, math.ceil(len(texts) / columns)


def _height(lined: tuple[list[str], int]) -> int:
    """In lines of letters."""
    texts, lines = lined
    return sum(max(text.count("\n") + 1 for text in texts[start::lines]) for start in range(lines))


def scale(sheet: Sheet, colors: str, ends: tuple[float, float], unit: str, box: Box, sign: str = "") -> float:
    """A colour map between the values at its ends. sign: before the last value."""
    first, last = f"{ends[0]:.3g}", f"{sign}{ends[1]:.3g}{unit if unit in ('', '°') else f' {unit}'}"
    before, after = (sheet.width_of(text) + GAP for text in (first, last))
    shades = np.asarray(mpl.colormaps[colors](np.linspace(0, 1, 128)))[None, :, :3]
    sheet.text(first, box)
    width = max(0.2, min(box.width - before - after, 1.4))
    sheet.picture(shades, Box(box.left + before, box.top + 0.1 * sheet.line(), width, 0.75 * sheet.line()), "scale")
    sheet.text(last, Box(box.left + before + width + GAP, box.top, after))
    return box.top + sheet.line()


def errors(sheet: Sheet, worst: float, exceeded: bool, meaning: Reading, box: Box) -> float:
    """The colours of errors up to `worst`. A class is right or wrong. exceeded: whether there are greater errors."""
    if meaning.classes:
        red, green, blue, _ = mpl.colormaps[ERROR](1.0)
        return names(sheet, [((red, green, blue), "wrong")], box)
    return scale(sheet, ERROR, (0.0, worst), meaning.unit, box, "\N{GREATER-THAN OR EQUAL TO} " if exceeded else "")


def directions(sheet: Sheet, box: Box) -> float:
    """A ball, with a sentence beside it or, where the box is narrow, below it."""
    sheet.picture(ball(96), Box(box.left, box.top, BALL, BALL), "ball", smooth=True)
    text = sheet.wrapped(DIRECTIONS, box.width - BALL - 2 * GAP)
    sheet.text(text, Box(box.left + BALL + 2 * GAP, box.top, box.width))
    return box.top + max(BALL, (text.count("\n") + 1) * sheet.line())


def no_label(sheet: Sheet, box: Box) -> float:
    return names(sheet, [(NO_LABEL, "no label")], box)
