"""Test images with their labels, what each row predicts for them, and where it errs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from mtlbench.results.records.files import PIXELS, Shown
from mtlbench.results.records.reading import samples, shown
from mtlbench.results.records.record import in_words
from mtlbench.results.report.drawing import keys
from mtlbench.results.report.drawing.looks import Looks
from mtlbench.results.report.drawing.painting import (
    Array,
    Reading,
    Worst,
    darkest,
    error,
    occurring,
    painted,
    reading,
    shaded,
)
from mtlbench.results.report.drawing.sheet import Box, Sheet
from mtlbench.results.summary.summary import Summary

MOST_LINES, OF_PAPER = 12, 8  # of pictures below each other on a sheet, and on one of a paper
TILE, SEEN = 1.15, 0.6  # inches, on a screen; of a picture in a column of a paper, if it is not to go across both
TALLEST = 6.6  # inches of a page that the pictures of a sheet and their keys may take
GAP, APART = 0.035, 0.1  # inches between pictures, and between images
LEAST, MEDIAN, GREATEST, DRAWN = "the least error", "the median error", "the greatest error", "drawn at random"
SHEETS = 4  # that the images need where a sheet holds one


class Page(NamedTuple):
    """What is drawn, and how it is read."""

    chosen: Mapping[str, str]  # image -> by which rule it was chosen
    readings: Mapping[str, Reading]  # by task
    worst: Mapping[str, Worst]  # by task
    looks: Looks


class Shots(NamedTuple):
    """What is drawn: truth and predictions of the same images at one seed."""

    truth: Shown
    predicted: dict[str, dict[str, dict[str, Array]]]  # label -> image -> task -> values
    images: list[str]
    seed: int


def panels(summary: Summary, store: str, looks: Looks, sheet: int = 0) -> tuple[Figure, str] | None:
    """A sheet of the figure and its caption. sheet: from 0.

    None where the store has no images, or no cell's predictions of them, or where all images are on sheets before.
    """
    tasks = summary.comparison.tasks
    lines = MOST_LINES if looks.width is None else OF_PAPER
    shots = _shots(summary, store) if sheet < _sheets(SHEETS, len(tasks), lines) else None
    if shots is None:
        return None
    errors = {task: {image: _errors(shots, image, task) for image in shots.images} for task in tasks}
    chosen = _chosen(errors, shots.images, summary.comparison.benchmark)
    sheets = _sheets(len(chosen), len(tasks), lines)
    if sheet >= sheets:
        return None
    worst = {task: darkest([e for image in chosen for e in errors[task][image].values()]) for task in tasks}
    readings = {task: _reading(summary, shots, list(chosen), task) for task in tasks}
    each = math.ceil(len(chosen) / sheets)
    of_sheet = dict(list(chosen.items())[sheet * each : (sheet + 1) * each])
    figure = _drawn(shots, errors, Page(of_sheet, readings, worst, looks))
    number = f"Sheet {sheet + 1} of {sheets}. " if sheets > 1 else ""
    return figure, number + _caption(shots, worst)


def _sheets(images: int, tasks: int, lines: int) -> int:
    return math.ceil(images / max(1, lines // (2 * tasks)))


def _caption(shots: Shots, worst: Mapping[str, Worst]) -> str:
    beyond = [task for task, of_task in worst.items() if of_task.exceeded]
    sign = "\N{GREATER-THAN OR EQUAL TO}"
    clipped = (
        f" Of {', '.join(map(in_words, beyond))}, all errors from the last value of the key on ({sign}) are darkest."
    )
    return (
        f"Seed {shots.seed}. Of {len(shots.images)} test images that are evenly spaced over the split, those with the "
        "least, the median and the greatest mean error over rows and tasks, each task's error divided by its mean, and "
        "one more that is drawn at random, by a generator whose seed is the name of the benchmark. Below each "
        "prediction is its error: wrong pixels of classes, and the size of the error of other tasks, from white to "
        "dark."
        f"{clipped if beyond else ''} Gray: no label. A task has the same colours in all pictures."
    )


def _shots(summary: Summary, store: str) -> Shots | None:
    truth = shown(store, summary.comparison.benchmark)
    rows = {label: row.row for label, row in summary.rows.items() if row.row.finished()}
    common = set.intersection(*(set(row.finished()) for row in rows.values())) if rows else set[int]()
    if truth is None or not common:
        return None
    seed, predicted = min(common), dict[str, dict[str, dict[str, Array]]]()
    for label, row in rows.items():
        for entry in row.runs[seed].entries:
            found = samples(store, entry.id)
            for image, values in ({} if found is None else found.arrays).items():
                predicted.setdefault(label, {}).setdefault(image, {}).update(values)
    needed = set(summary.comparison.tasks)
    predicted = {label: of for label, of in predicted.items() if all(needed <= values.keys() for values in of.values())}
    images = [image for image in truth.arrays if predicted and all(image in of for of in predicted.values())]
    return Shots(truth, predicted, images, seed) if images else None


def _errors(shots: Shots, image: str, task: str) -> dict[str, Array]:
    """label -> the error at each pixel, NaN where it has no label."""
    label, classes = shots.truth.arrays[image][task], bool(shots.truth.classes[task])
    return {row: error(of[image][task].astype(float), label, classes) for row, of in shots.predicted.items()}


def _mean(values: Array) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _chosen(
    errors: Mapping[str, Mapping[str, Mapping[str, Array]]], images: Sequence[str], benchmark: str
) -> dict[str, str]:
    """The images with the least, the median and the greatest mean error, and one drawn whatever its error is.

    Returned with what each was chosen as. An image that is drawn and was chosen already gives way to the next draw.
    """
    means = np.array([[np.mean([_mean(e) for e in of[image].values()]) for image in images] for of in errors.values()])
    centres = np.array([[_mean(of_images)] for of_images in means])
    relative = np.nan_to_num(means / centres, nan=1.0).mean(0)  # an image without a label of a task counts as its mean
    order = [images[place] for place in np.argsort(relative, kind="stable")]
    chosen: dict[str, str] = {}
    for image, title in ((order[0], LEAST), (order[len(order) // 2], MEDIAN), (order[-1], GREATEST)):
        chosen.setdefault(image, title)
    drawn = np.random.default_rng(list(benchmark.encode())).permutation(len(images))
    rest = (images[place] for place in drawn if images[place] not in chosen)
    return chosen | {image: DRAWN for image in [next(rest, "")] if image}


def _reading(summary: Summary, shots: Shots, chosen: Sequence[str], task: str) -> Reading:
    """What the colours of a task mean: those of its labels, in all pictures."""
    reference = summary.columns[task].reference
    labels = [shots.truth.arrays[image][task] for image in chosen]
    return reading(labels, shots.truth.classes[task], "" if reference is None else reference.unit)


def _drawn(shots: Shots, errors: Mapping[str, Mapping[str, Mapping[str, Array]]], page: Page) -> Figure:
    rows, looks = list(shots.predicted), page.looks
    columns = len(rows) + 2
    sheet = Sheet(_width(looks, columns), looks.small)
    tile = (sheet.width - GAP * (columns + 1)) / columns
    if looks.width is not None:
        tile = min(tile, _tallest(shots, page, TALLEST - _legend(Sheet(sheet.width, sheet.letters), shots, page, 0.0)))
    first = (sheet.width - columns * (tile + GAP) + GAP) / 2
    lefts = [first + place * (tile + GAP) for place in range(columns)]
    top = sheet.headings(["image", "label", *rows], lefts, tile, GAP)
    for image, title in page.chosen.items():
        sheet.text(_heading(title, len(shots.images)), Box(first, top, sheet.width))
        top += sheet.line() + GAP
        truth = shots.truth.arrays[image]
        rise, whole = truth[PIXELS].shape[:2]
        size = (tile, tile * rise / whole)
        sheet.picture(truth[PIXELS], Box(lefts[0], top, *size), "image", smooth=True)
        for task, meaning in page.readings.items():
            below = top + size[1] + GAP
            sheet.picture(painted(truth[task], meaning), Box(lefts[1], top, *size), f"{task}, label")
            text = sheet.wrapped(f"\N{UPWARDS ARROW} {in_words(task)}", 2 * tile) + "\nerror \N{RIGHTWARDS ARROW}"
            sheet.text(text, Box(lefts[1], below, tile), "right")
            for left, row in zip(lefts[2:], rows, strict=True):
                predicted = painted(shots.predicted[row][image][task], meaning)
                wrong = shaded(errors[task][image][row], page.worst[task].value)
                sheet.picture(predicted, Box(left, top, *size), f"{task}, {row}")
                sheet.picture(wrong, Box(left, below, *size), f"{task}, error of {row}")
            top = below + max(size[1], (text.count("\n") + 1) * sheet.line()) + GAP
        top += APART
    return sheet.drawn(_legend(sheet, shots, page, top))


def _heading(title: str, images: int) -> str:
    """Above an image: as what it was chosen, and from how many. A cell keeps predictions of few images only."""
    return f"{title} {'from' if title == DRAWN else 'of'} {images} test image{'' if images == 1 else 's'}"


def _width(looks: Looks, columns: int) -> float:
    """Of a sheet with so many pictures beside each other: both columns of a paper, where one makes them too small."""
    if looks.width is None:
        return TILE * columns
    small = looks.width < SEEN * columns
    return looks.across if small and looks.across is not None else looks.width


def _tallest(shots: Shots, page: Page, height: float) -> float:
    """The width of a picture with which all pictures below each other fill a height."""
    lines = 2 * len(page.readings) * len(page.chosen)
    sizes = [shots.truth.arrays[image][PIXELS].shape for image in page.chosen]
    return (height / lines - GAP) / max(float(rise / whole) for rise, whole, *_ in sizes)


def _legend(sheet: Sheet, shots: Shots, page: Page, top: float) -> float:
    """What the colours of each task and of its errors mean. Returns where it ends."""
    wide = sheet.width - 2 * GAP
    indent = max(sheet.width_of(in_words(task)) for task in page.readings) + 0.12
    for task, meaning in page.readings.items():
        sheet.text(in_words(task), Box(GAP, top, indent))
        shown = [shots.truth.arrays[image][task] for image in page.chosen]
        shown += [of[image][task] for of in shots.predicted.values() for image in page.chosen]
        numbers = occurring(shown) if meaning.classes else []
        top = keys.key(sheet, meaning, numbers, Box(GAP + indent, top, wide - indent)) + GAP
        if not meaning.classes:
            sheet.text("error", Box(GAP, top, indent))
            top = keys.errors(sheet, *page.worst[task], meaning, Box(GAP + indent, top, wide - indent)) + GAP
    return keys.no_label(sheet, Box(GAP, top, wide)) + GAP
