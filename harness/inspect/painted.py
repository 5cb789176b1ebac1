"""The sheet that shows an image, and beside it what a network predicts for it, each task with its key.

Where an image has labels, each task has a line of its label, its prediction and its error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data.shown import class_names
from mtlbench.results.report.drawing import keys
from mtlbench.results.report.drawing.looks import STYLE
from mtlbench.results.report.drawing.painting import Reading, Worst, darkest, error, occurring, painted, reading, shaded
from mtlbench.results.report.drawing.sheet import Box, Sheet

TILE, TALLEST = 3.0, 4.0  # inches: how wide and how high a picture is at most
GAP = 0.12  # inches
MOST = 4  # pictures beside each other
LETTERS, TITLE = 9.0, 11.0  # points


class Tile(NamedTuple):
    """A picture of the sheet."""

    title: str
    pixels: np.ndarray
    name: str
    key: Callable[[Sheet, Box], float] | None = None  # draws below the top of a box, and returns where it ends


def sheet(
    image: np.ndarray,
    values: Mapping[str, np.ndarray],
    tasks: Mapping[str, Task],
    labels: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """image uint8 [H, W, 3]; values: of the tasks, as `Kind.values` gives them for this image.

    labels: of the tasks, as `shown.marked` gives them; None where nobody knows them.
    """
    height, width = image.shape[:2]
    scale = min(TILE / width, TALLEST / height)
    size = (scale * width, scale * height)
    column = max(size[0], TILE)  # the key of a narrow picture needs its room
    tiles: list[Tile | None] = [Tile("image", image, "image")]
    with mpl.rc_context(STYLE):
        if labels is None:
            tiles += [_predicted(name, values[name], meaning_of(tasks[name], values[name])) for name in values]
            columns = math.ceil(len(tiles) / math.ceil(len(tiles) / MOST))
        else:
            for place, name in enumerate(values):
                tiles += [*([None] if place else []), *_compared(name, values[name], labels[name], tasks[name])]
            columns = MOST
        made, top = Sheet(columns * (column + GAP) + GAP, LETTERS), GAP
        for start in range(0, len(tiles), columns):
            bottoms = [
                _draw(made, tile, Box(GAP + place * (column + GAP), top, column), size)
                for place, tile in enumerate(tiles[start : start + columns])
                if tile is not None
            ]
            top = max(bottoms) + GAP
        return made.drawn(top)


def _draw(made: Sheet, tile: Tile, box: Box, size: tuple[float, float]) -> float:
    """Draw a title, a picture of a size and a key. Returns where they end."""
    made.text(made.wrapped(tile.title, box.width), box, size=TITLE)
    below = box.top + made.line(TITLE) + GAP / 2
    made.picture(tile.pixels, Box(box.left, below, *size), tile.name, smooth=tile.key is None)
    end = below + size[1] + GAP
    return end if tile.key is None else tile.key(made, box._replace(top=end))


def _predicted(name: str, found: np.ndarray, meaning: Reading) -> Tile:
    numbers = occurring([found]) if meaning.classes else []
    return Tile(name, painted(found, meaning), name, lambda made, box: keys.key(made, meaning, numbers, box))


def _compared(name: str, found: np.ndarray, label: np.ndarray, task: Task) -> Iterator[Tile]:
    """The label, the prediction in the colours of the label, and the error."""
    meaning = meaning_of(task, label)
    wrong = error(found.astype(float), label, bool(meaning.classes))
    worst = Worst(1.0, exceeded=False) if task.kind.discrete else darkest([wrong])
    numbers = occurring([label]) if meaning.classes else []

    def key_of_label(made: Sheet, box: Box) -> float:
        end = keys.key(made, meaning, numbers, box)
        return end if np.isfinite(label).all() else keys.no_label(made, box._replace(top=end))

    yield Tile(f"{name}, label", painted(label, meaning), f"{name}, label", key_of_label)
    yield _predicted(name, found, meaning)._replace(title=f"{name}, prediction")
    yield Tile(
        f"{name}, error", shaded(wrong, worst.value), f"{name}, error",
        lambda made, box: keys.errors(made, worst.value, worst.exceeded, meaning, box),
    )  # fmt: skip


def meaning_of(task: Task, values: np.ndarray) -> Reading:
    """What the colours of a prediction mean. Probabilities go from 0 to 1, values from least to greatest."""
    metric = task.metric
    unit = "" if metric is None else metric.score_types[metric.primary].unit
    found = reading([values], class_names(task), unit)
    return found._replace(low=0.0, high=1.0, unit="probability") if task.kind.discrete else found
