"""Labels beside the points of a chart, without overlaps, and the line of the points that no other point beats.

Of our own, since the libraries that place labels stop after a time, so that equal records would give other bytes.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

DIRECTIONS = (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200, 65, 295, 115, 245)  # degrees, best first
GAP, FARTHEST, STEP = 2.5, 150.0, 3.0  # points between a marker and its label
WIDEST = (0.4, 0.27)  # of the width of the axes; a longer label is broken into lines, and into more where this helps
HELPS = 20.0  # points by which a label must come nearer for it
CROSSED = 60.0  # square points that a label covers are as bad as a line that crosses another label
EDGE = 3.0  # points between a label and the axes
LEADER = 7.0  # points; a label that is farther off gets a line to its marker


class Point(NamedTuple):
    """A point of a chart, with the ends of its whisker."""

    x: float
    y: float
    low: float
    high: float


def frontier(points: Mapping[str, Point]) -> list[str]:
    """The labels of the points that no other point beats: none is as far left and higher. From left to right."""
    found: list[str] = []
    for label in sorted(points, key=lambda label: (points[label].x, -points[label].y)):
        if not found or points[label].y > points[found[-1]].y:
            found.append(label)
    return found


def draw_frontier(axis: Axes, points: Mapping[str, Point]) -> list[tuple[float, float]]:
    """Draw the best y that is had up to an x, as stairs. Returns the corners."""
    best = [points[label] for label in frontier(points)]
    corners: list[tuple[float, float]] = []
    for point in best:
        if corners:
            corners.append((point.x, corners[-1][1]))
        corners.append((point.x, point.y))
    corners.append((axis.get_xlim()[1], best[-1].y))
    axis.plot(*zip(*corners, strict=True), color="0.55", lw=1.0, ls=(0, (3, 2)), zorder=1, label="_frontier")
    return corners


def label_points(
    figure: Figure,
    charts: Sequence[tuple[Axes, Mapping[str, Point], Sequence[tuple[float, float]]]],
    size: float,
    letters: float,
    spacing: float = 1.2,
) -> bool:
    """Write each point's label beside it. The layout of the figure is fixed first, and must not change afterwards.

    charts: of each panel the axes, the points, and corners of a line that no label may cross. size: of the markers, in
    points. letters: size of the labels, likewise. spacing: of their lines, as in Matplotlib. Returns whether each label
    found a place where it covers nothing and its line crosses nothing.
    """
    for _ in range(2):  # the first layout changes the ticks, and so the room that their labels take
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return all([_label(figure, axis, points, corners, (size, letters, spacing)) for axis, points, corners in charts])


def _label(
    figure: Figure,
    axis: Axes,
    points: Mapping[str, Point],
    corners: Sequence[tuple[float, float]],
    sizes: tuple[float, float, float],
) -> bool:
    (size, letters, spacing), pixels, clean = sizes, figure.dpi, True
    to_points = axis.transData + figure.dpi_scale_trans.inverted()
    place = {label: 72 * to_points.transform((point.x, point.y)) for label, point in points.items()}
    boxes = {
        of: Bbox.from_extents(x - size / 2, y - size / 2, x + size / 2, y + size / 2) for of, (x, y) in place.items()
    }
    taken, solid = list(boxes.values()), dict(boxes)  # solid: what the line between a point and its label avoids
    for point in points.values():
        (x, low), (_, high) = 72 * to_points.transform([(point.x, point.low), (point.x, point.high)])
        taken.append(Bbox.from_extents(x - 2, low - 1, x + 2, high + 1))
    ends = 72 * to_points.transform(corners)
    (left, zero), (right, _) = 72 * to_points.transform([(axis.get_xlim()[0], 0), (axis.get_xlim()[1], 0)])
    taken.append(Bbox.from_extents(left, zero - 0.5, right, zero + 0.5))  # the line at 0
    taken += [
        Bbox.from_extents(min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1)
        for (a, b), (c, d) in pairwise(ends)
    ]
    frame = Bbox(axis.get_window_extent().get_points() * 72 / pixels).padded(-EDGE)
    for label in sorted(points, key=lambda label: -place[label][0]):  # the right edge leaves the least choice
        text = axis.text(0, 0, label, fontsize=letters, color="0.1", linespacing=spacing)
        whole = _measured(text, 72 / pixels)[0]
        x, y = place[label]
        others = [box for of, box in solid.items() if of != label]
        ways = []
        for part in WIDEST:
            wide = whole / (part * frame.width)
            if wide > 1:
                text.set_text(textwrap.fill(label, max(8, int(len(label) / wide)), break_long_words=False))
            extent = _measured(text, 72 / pixels)
            ways.append((*_free((x, y), extent, size / 2 + GAP, frame, (taken, others)), text.get_text()))
        text.remove()
        found, distance, free, written = min(ways, key=lambda way: (not way[2], way[1] + HELPS * (way is not ways[0])))
        clean, far = clean and free, distance > size / 2 + GAP + LEADER
        middle = "center" if "\n" in written else "center_baseline"
        line = {"arrowstyle": "-", "color": "0.5", "lw": 0.5, "shrinkA": 0, "shrinkB": size / 2, "relpos": (0.5, 0.5)}
        axis.annotate(
            written, (points[label].x, points[label].y), (found.x0 - x, (found.y0 + found.y1) / 2 - y),
            textcoords="offset points", ha="left", va=middle, fontsize=letters, color="0.1", linespacing=spacing,
            arrowprops=line if far else None, zorder=5,
        )  # fmt: skip
        taken += [found, *(_line((x, y), found) if far else [])]
        solid[f"label of {label}"] = found
    return clean


def _measured(text: Text, scale: float) -> tuple[float, float]:
    """Width and height in points, with a margin: the same letters are a little wider in another format."""
    box = text.get_window_extent()
    return box.width * scale + 3, box.height * scale + 1


def _free(
    point: tuple[float, float],
    extent: tuple[float, float],
    nearest: float,
    frame: Bbox,
    avoided: tuple[Sequence[Bbox], Sequence[Bbox]],
) -> tuple[Bbox, float, bool]:
    """The first free place for a label of this extent, its distance, and whether it is free.

    avoided: what the label covers nothing of, and what its line does not cross.
    """
    taken, solid = (np.array([box.extents for box in boxes]).reshape(-1, 4) for boxes in avoided)
    fallback: tuple[float, Bbox, float] | None = None
    for box, distance in _places(*point, extent, nearest):
        if not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1):
            continue
        bad = _overlap(box, taken)
        if fallback is not None and bad >= fallback[0]:
            continue
        if distance > nearest + LEADER and _crosses(point, box, solid):
            bad += CROSSED
        if bad == 0:
            return box, distance, True
        if fallback is None or bad < fallback[0]:
            fallback = (bad, box, distance)
    if fallback is None:  # wider than the axes
        return Bbox.from_bounds(point[0] + nearest, point[1] - extent[1] / 2, *extent), nearest, False
    return fallback[1], fallback[2], False


def _line(point: tuple[float, float], box: Bbox) -> list[Bbox]:
    """Small boxes along the line from a point to the middle of a box, so that no label covers it."""
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    steps = [(point[0] + step / 20 * (x - point[0]), point[1] + step / 20 * (y - point[1])) for step in range(21)]
    return [Bbox.from_extents(across - 1, up - 1, across + 1, up + 1) for across, up in steps]


def _crosses(point: tuple[float, float], box: Bbox, solid: NDArray[np.float64]) -> bool:
    """Whether a line from a point to the middle of a box crosses one of others [N, 4] before it reaches the box."""
    middle = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
    steps = np.array(point) + np.linspace(0, 1, 41)[:, None] * (middle - point)
    outside = steps[~_inside(steps, np.array([box.extents]))[:, 0]]  # the line is straight, so it enters the box once
    return bool(_inside(outside, solid).any())


def _inside(points: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """points [P, 2] and boxes [N, 4] -> [P, N]."""
    x, y = points[:, :1], points[:, 1:]
    return (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])


def _places(x: float, y: float, extent: tuple[float, float], nearest: float) -> Iterator[tuple[Bbox, float]]:
    """Boxes of this extent around a point, nearest first, with their distance."""
    width, height = extent
    distance = nearest
    while distance < FARTHEST:
        for angle in DIRECTIONS:
            across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            left = x + distance * across + (across - 1) * width / 2
            below = y + distance * up + (up - 1) * height / 2
            yield Bbox.from_bounds(left, below, width, height), distance
        distance += STEP


def _overlap(one: Bbox, others: NDArray[np.float64]) -> float:
    """The area that a box shares with others [N, 4]: x0, y0, x1, y1."""
    across = np.minimum(one.x1, others[:, 2]) - np.maximum(one.x0, others[:, 0])
    up = np.minimum(one.y1, others[:, 3]) - np.maximum(one.y0, others[:, 1])
    return float((across.clip(0) * up.clip(0)).sum())
