"""Labels beside the points of a chart, without overlaps, and the line of the points that no other point beats.

Of our own, since the libraries that place labels stop after a time, so that equal records would give other bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

DIRECTIONS = (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200, 65, 295, 115, 245)  # degrees, best first
GAP, FARTHEST, STEP = 2.5, 150.0, 3.0  # points between a marker and its label
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
) -> None:
    """Write each point's label beside it. The layout of the figure is fixed first, and must not change afterwards.

    charts: of each panel the axes, the points, and corners of a line that no label may cross. size: of the markers, in
    points. letters: size of the labels, likewise.
    """
    for _ in range(2):  # the first layout changes the ticks, and so the room that their labels take
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis, points, corners in charts:
        _label(figure, axis, points, corners, (size, letters))


def _label(
    figure: Figure,
    axis: Axes,
    points: Mapping[str, Point],
    corners: Sequence[tuple[float, float]],
    sizes: tuple[float, float],
) -> None:
    (size, letters), pixels = sizes, figure.dpi
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
    frame = Bbox(axis.get_window_extent().get_points() * 72 / pixels)
    for label in sorted(points, key=lambda label: -place[label][0]):  # the right edge leaves the least choice
        text = axis.text(0, 0, label, fontsize=letters, color="0.1")
        extent = _measured(text, 72 / pixels)
        x, y = place[label]
        others = [box for of, box in solid.items() if of != label]
        found, far = _free((x, y), extent, size / 2 + GAP, frame, (taken, others))
        text.remove()
        line = {"arrowstyle": "-", "color": "0.5", "lw": 0.5, "shrinkA": 0, "shrinkB": size / 2, "relpos": (0.5, 0.5)}
        axis.annotate(
            label, (points[label].x, points[label].y), (found.x0 - x, (found.y0 + found.y1) / 2 - y),
            textcoords="offset points", ha="left", va="center_baseline", fontsize=letters, color="0.1",
            arrowprops=line if far else None, zorder=5,
        )  # fmt: skip
        taken.append(found)
        solid[f"label of {label}"] = found


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
) -> tuple[Bbox, bool]:
    """The first free place for a label of this extent, and whether it is so far off that it needs a line.

    avoided: what the label covers nothing of, and what its line does not cross.
    """
    taken, solid = avoided
    fallback: tuple[float, Bbox] | None = None
    for box, distance in _places(*point, extent, nearest):
        if not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1):
            continue
        covered, far = sum(_overlap(box, other) for other in taken), distance > nearest + LEADER
        if covered == 0 and not (far and _crosses(point, box, solid)):
            return box, far
        if fallback is None or covered < fallback[0]:
            fallback = (covered, box)
    if fallback is None:  # wider than the axes
        return Bbox.from_bounds(point[0] + nearest, point[1] - extent[1] / 2, *extent), False
    return fallback[1], True


def _crosses(point: tuple[float, float], box: Bbox, solid: Sequence[Bbox]) -> bool:
    """Whether a line from a point to the middle of a box crosses something before it reaches the box."""
    middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    for step in range(41):
        x, y = (start + step / 40 * (end - start) for start, end in zip(point, middle, strict=True))
        if box.contains(x, y):
            return False
        if any(other.contains(x, y) for other in solid):
            return True
    return False


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


def _overlap(one: Bbox, other: Bbox) -> float:
    """The area that two boxes share."""
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    up = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(across, 0.0) * max(up, 0.0))
