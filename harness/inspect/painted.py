"""The sheet that shows an image, and beside it what a network predicts for it, each task with its key."""

from __future__ import annotations

import math
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data.shown import class_names
from mtlbench.results.report.drawing import keys
from mtlbench.results.report.drawing.looks import STYLE
from mtlbench.results.report.drawing.painting import Reading, occurring, painted, reading
from mtlbench.results.report.drawing.sheet import Box, Sheet

TILE, TALLEST = 3.0, 4.0  # inches: how wide and how high a picture is at most
GAP = 0.12  # inches
MOST = 4  # pictures beside each other
LETTERS, TITLE = 9.0, 11.0  # points


def sheet(image: np.ndarray, values: Mapping[str, np.ndarray], tasks: Mapping[str, Task]) -> Figure:
    """image uint8 [H, W, 3]; values: of the tasks, as `Kind.values` gives them for this image."""
    height, width = image.shape[:2]
    scale = min(TILE / width, TALLEST / height)
    size = (scale * width, scale * height)
    column = max(size[0], TILE)  # the key of a narrow picture needs its room
    columns = math.ceil((len(values) + 1) / math.ceil((len(values) + 1) / MOST))
    with mpl.rc_context(STYLE):
        made = Sheet(columns * (column + GAP) + GAP, LETTERS)
        top, entries = GAP, ["", *values]
        for start in range(0, len(entries), columns):
            bottoms = []
            for place, name in enumerate(entries[start : start + columns]):
                left = GAP + place * (column + GAP)
                below = top + made.line(TITLE) + GAP / 2
                made.text(made.wrapped(name or "image", column), Box(left, top, column), size=TITLE)
                end = below + size[1] + GAP
                if not name:
                    made.picture(image, Box(left, below, *size), "image", smooth=True)
                else:
                    meaning = meaning_of(tasks[name], values[name])
                    made.picture(painted(values[name], meaning), Box(left, below, *size), name)
                    numbers = occurring([values[name]]) if meaning.classes else []
                    end = keys.key(made, meaning, numbers, Box(left, end, column))
                bottoms.append(end)
            top = max(bottoms) + GAP
        return made.drawn(top)


def meaning_of(task: Task, values: np.ndarray) -> Reading:
    """What the colours of a prediction mean. Probabilities go from 0 to 1, values from least to greatest."""
    metric = task.metric
    unit = "" if metric is None else metric.score_types[metric.primary].unit
    found = reading([values], class_names(task), unit)
    return found._replace(low=0.0, high=1.0, unit="probability") if task.kind.discrete else found
