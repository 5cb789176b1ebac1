"""The score of every row on every class, as a map of colours with the numbers in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import matplotlib as mpl

from mtlbench.results.questions.classes import ByClass, OfClass, by_class
from mtlbench.results.records.reading import totals
from mtlbench.results.records.record import in_words
from mtlbench.results.report import captions
from mtlbench.results.report.display import fixed, with_unit
from mtlbench.results.report.drawing import keys
from mtlbench.results.report.drawing.looks import Looks, Picture
from mtlbench.results.report.drawing.painting import NO_LABEL
from mtlbench.results.report.drawing.sheet import Box, Sheet
from mtlbench.results.summary.summary import Summary

COLORS = "Blues"
CELL = 0.95  # inches, on a screen
GAP, BETWEEN = 0.06, 0.01  # inches; between cells
TALL = 24  # classes; more of them have no room for two lines each
TALLEST = 8.0  # inches of a page that a figure may take
ROOM, LESS = 0.2, 0.05  # of a line, above and below the letters of a cell; where a figure is too tall
DARK = 0.45  # of the brightness of a colour, below which letters on it are white


class Form(NamedTuple):
    """What is written in a cell."""

    lines: int
    number: bool
    interval: bool


# In the order of choice: the first that fits all cells is taken.
FORMS = (Form(1, True, True), Form(2, True, True), Form(1, True, False), Form(1, False, False))


def classes(summary: Summary, store: str, colors: Looks) -> Picture | None:
    """The mean over seeds of each row's score on each class, with half of its 95 % interval where that fits.

    Classes that no pixel of the test split has are left out. Returns None where no metric scores single classes.
    """
    found = by_class(summary, partial(totals, store))
    if not found:
        return None
    with mpl.rc_context(colors.style):
        sheet, height = _maps(found, colors, FORMS, ROOM)
        if colors.width is not None and height > TALLEST:
            sheet, height = _maps(found, colors, [form for form in FORMS if form.lines == 1], LESS)
        figure = sheet.drawn(height)
    return Picture(figure, " ".join(_caption(found)))


def _maps(found: Sequence[ByClass], colors: Looks, choice: Sequence[Form], room: float) -> tuple[Sheet, float]:
    """The maps of all tasks below each other, and their height.

    choice: of forms; the last one always fits. room: above and below the letters of a cell, of a line.
    """
    most = max(len(of_task.rows) for of_task in found)
    names = [name for of_task in found for name in of_task.classes]
    width = 1.4 + CELL * most if colors.width is None else colors.width
    sheet = Sheet(width, colors.small)
    beside = min(max(sheet.width_of(name) for name in names), 0.3 * width) + 2 * GAP
    forms, top = [], GAP
    above: list[str] = []
    for of_task in found:
        labels = list(of_task.rows)
        cell = (width - beside - GAP) / len(labels)
        title = f"{in_words(of_task.task)}: {_title(of_task)} by class"
        sheet.text(with_unit(title, of_task.score.unit), Box(GAP, top, width))
        top += sheet.line() + GAP
        if labels != above:
            top = sheet.headings(labels, [beside + place * cell for place in range(len(labels))], cell, top)
        above = labels
        form = next(form for form in choice if _fits(sheet, of_task, form, cell))
        top = _map(sheet, of_task, form, Box(beside, top, cell), room) + GAP
        forms.append(form)
    note = sheet.wrapped(_note(found, forms), width - 2 * GAP)
    sheet.text(note, Box(GAP, top, width))
    return sheet, top + sheet.line() * (note.count("\n") + 1) + GAP


def _map(sheet: Sheet, found: ByClass, form: Form, first: Box, room: float) -> float:
    """Draw the cells of a task, and their scale. first: the place of the first cell. Returns where the scale ends."""
    low, high = _ends(found)
    top, cell = first.top, first.width
    for name in found.classes:
        text = sheet.wrapped(name, first.left - 2 * GAP)
        lines = text.count("\n") + 1
        height = (max(form.lines, lines) + room) * sheet.line()
        for across, row in enumerate(found.rows.values()):
            box = Box(first.left + across * cell, top, cell - BETWEEN, height - BETWEEN)
            if (score := row.get(name)) is None:
                sheet.swatch(NO_LABEL, box)
                continue
            red, green, blue, _ = mpl.colormaps[COLORS]((score.mean - low) / (high - low))
            sheet.swatch((red, green, blue), box)
            color = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < DARK else "black"
            middle = top + (height - BETWEEN - form.lines * sheet.line()) / 2
            sheet.text(_text(score, found, form), box._replace(top=middle), "center", color=color)
        sheet.text(text, Box(GAP, top + (height - lines * sheet.line()) / 2, first.left - 2 * GAP), "right")
        top += height
    below = Box(first.left, top + GAP, sheet.width - first.left - GAP)
    return keys.scale(sheet, COLORS, (low, high), found.score.unit, below)


def _ends(found: ByClass) -> tuple[float, float]:
    """The values of the lightest and the darkest colour."""
    means = [score.mean for row in found.rows.values() for score in row.values()]
    if found.score.unit == "%":
        return 0.0, 100.0
    return min(means), max(*means, min(means) + 1e-9)


def _fits(sheet: Sheet, found: ByClass, form: Form, cell: float) -> bool:
    if not form.number:
        return True
    if form.lines > 1 and len(found.classes) > TALL:
        return False
    texts = [_text(score, found, form) for row in found.rows.values() for score in row.values()]
    return max(sheet.width_of(text) for text in texts) <= cell - 0.04


def _text(score: OfClass, found: ByClass, form: Form) -> str:
    if not form.number:
        return ""
    decimals = max(found.score.decimals - 1, 0)
    mean, interval = fixed(score.mean, decimals), score.interval
    if interval is None or not form.interval:
        return mean
    return f"{mean}{' ' if form.lines == 1 else chr(10)}±{fixed(interval.half, decimals)}"


def _title(found: ByClass) -> str:
    return found.score.title.partition(" of ")[0] or found.metric


def _several(found: Sequence[ByClass]) -> bool:
    return any(score.interval for of_task in found for row in of_task.rows.values() for score in row.values())


def _note(found: Sequence[ByClass], forms: Sequence[Form]) -> str:
    if not _several(found):
        return "One seed a row."
    if any(form.interval for form in forms):
        return "Means over seeds, ± half of their 95 % intervals."
    return "Means over seeds; their intervals are in classes.csv."


def _caption(found: Sequence[ByClass]) -> Iterator[str]:
    if _several(found):
        yield (
            "Means over seeds of the scores of single classes, ± half of the 95 % t interval over seeds, each of which "
            "stands for itself: of many intervals, some miss. All numbers are in classes.csv."
        )
    else:
        yield f"Scores of single classes. {captions.ALONE} All numbers are in classes.csv."
    if any(of_task.pixels is not None for of_task in found):
        yield "Classes with more labelled pixels in the test split stand above."
    for of_task in found:
        where = f" of {of_task.task}" if len(found) > 1 else ""
        if of_task.absent:
            why = "no pixel of the test split has them" if of_task.pixels is not None else "no run has a score of them"
            yield f"Classes{where} left out, since {why}: {', '.join(of_task.absent)}."
        if of_task.strange:
            yield f"Rows{where} left out, since they are scored in another way: {', '.join(of_task.strange)}."
