"""How figures look: a colour, a marker and a dash for each label, and the size and letters of a page or of a paper."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Patch
from numpy.typing import NDArray

from mtlbench.results.report.drawing.colors import COLORS

Color = tuple[float, float, float]


class Picture(NamedTuple):
    """A figure and the sentences below it."""

    figure: Figure
    caption: str
    numbers: Any = None  # what is drawn, where the page draws it anew for its reader


# Labels after the last colour take the first one again, with another marker, another dash and another hatch.
MARKERS = ("o", "s", "^", "D", "v", "X", "<", ">", "P", "p", "h")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)))
HATCHES = ("", "////", "....", "xxxx")

STYLE: Any = {  # matplotlib has a type of its own for the keys
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,  # text stays text
}
PAPER: Any = {
    # STIX is drawn after Times, which the templates are set in, and it comes with matplotlib: equal bytes everywhere.
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlepad": 3,
    "axes.labelsize": 8,
    "axes.labelpad": 2,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.size": 1.5,
    "xtick.minor.width": 0.4,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "legend.fontsize": 7,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
}
KEPT = "kept"  # the gid of letters on a colour that means something, which stay as they are on dark paper
NARROW = 4.5  # inches; below, panels stand below each other
PANEL = 1.5  # inches; a panel of a paper is at least this wide


class Looks(Mapping[str, Color]):
    """label -> colour, and what else tells labels apart. `width` is that of a paper in inches; None: for a screen.

    across: the width of both columns of a paper, for figures that are too small in one; None where it has one column.
    """

    def __init__(self, labels: Sequence[str], width: float | None = None, across: float | None = None) -> None:
        self.width, self.across = width, across
        self._places = {label: place for place, label in enumerate(labels)}

    def __getitem__(self, label: str) -> Color:
        red, green, blue = mpl.colors.to_rgb(COLORS[self._places[label] % len(COLORS)])
        return red, green, blue

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def marker(self, label: str) -> str:
        return MARKERS[self._places[label] % len(MARKERS)]

    def dash(self, label: str) -> Any:
        return DASHES[self.round(label) % len(DASHES)]

    def hatch(self, label: str) -> str:
        return HATCHES[self.round(label) % len(HATCHES)]

    def round(self, label: str) -> int:
        """How many times the colours were used up before this label."""
        return self._places[label] // len(COLORS)

    @property
    def style(self) -> Any:
        """For `mpl.rc_context`."""
        return STYLE if self.width is None else STYLE | PAPER

    @property
    def marker_size(self) -> float:
        """In points, the diameter of a circle that is the mean of a row."""
        return 8 if self.width is None else 5

    def size(self, label: str, part: float = 1.0, edge: float = 0.0) -> float:
        """In points, of a marker that looks as large as a circle with `part` of the diameter of a mean.

        Matplotlib makes markers equally wide, and a triangle has half the area of a square of its width. edge: the
        width in points of a line around the marker in the colour of the paper, which takes more from a triangle too.
        """
        area, perimeter = _outline(self.marker(label))
        inside = max(0.0, part * self.marker_size - edge)
        return math.sqrt(math.pi / 4 / area) * inside + edge / 2 * perimeter / (2 * area)

    @property
    def small(self) -> float:
        """In points, of the smallest letters."""
        return 9 if self.width is None else 7

    @property
    def spacing(self) -> float:
        """From line to line, of the height of a line, which is generous in the letters of a paper."""
        return 1.2 if self.width is None else 1.05

    def columns(self, panels: int) -> int:
        """How many of so many panels stand beside each other: all on a screen."""
        if self.width is None:
            return panels
        most = max(1, min(panels, int(self.width // PANEL)))
        return math.ceil(panels / math.ceil(panels / most))

    def grid(self, panels: int, lines: int, size: tuple[float, float], height: float) -> tuple[Figure, list[Axes]]:
        """A figure with `lines` times so many panels, line after line, and its axes in this order.

        size: that of the figure on a screen, in inches. height: of a line of panels in a paper, in inches. A line that
        is wider than the paper is broken; axes that are left over are switched off and not returned.
        """
        columns = self.columns(panels)
        rows = lines * math.ceil(panels / columns)
        figure, axes = plt.subplots(
            rows, columns, figsize=size if self.width is None else (self.width, height * rows + 0.35),
            squeeze=False, layout=ConstrainedLayoutEngine(h_pad=0.1 if self.width is None else 0.04),
        )  # fmt: skip
        kept = []
        for line in range(lines):
            block = axes[line * rows // lines : (line + 1) * rows // lines].ravel()
            kept += list(block[:panels])
            for axis in block[panels:]:
                axis.set_axis_off()
        return figure, kept

    def note(self, figure: Figure, text: str) -> None:
        """Write what is drawn below a figure, since a figure may be seen without its caption."""
        points = self.small
        letters = int(72 * figure.get_size_inches()[0] / (points * (0.56 if self.width is None else 0.43)))
        lines = textwrap.wrap(text, letters)
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=points, color="0.25", linespacing=self.spacing)
        self._grow(figure, len(lines))

    def legend(self, figure: Figure, labels: Sequence[str], kind: str = "line") -> None:
        """kind: "line", "point" or "bar". Beside the panels on a screen, and above them in a paper."""
        handles = [self._handle(label, kind) for label in labels]
        if self.width is None:
            figure.legend(handles, list(labels), loc="outside right upper")
            return
        options = {"handlelength": 2.2 if kind == "line" else 1.2, "columnspacing": 1.0, "handletextpad": 0.4}
        for columns in range(len(labels), 0, -1):
            made = figure.legend(
                handles, list(labels), loc="outside upper center", ncols=columns, borderpad=0.1, labelspacing=0.25,
                **options,
            )  # fmt: skip
            if columns == 1 or made.get_window_extent().width <= 0.98 * figure.bbox.width:
                self._grow(figure, math.ceil(len(labels) / columns))
                return
            made.remove()

    def _grow(self, figure: Figure, lines: int) -> None:
        """Give a figure of a paper the room of so many lines of letters, of which its height has that of one."""
        if self.width is not None:
            width, height = figure.get_size_inches()
            figure.set_size_inches(width, height + (lines - 1) * 1.35 * self.small / 72)

    def _handle(self, label: str, kind: str) -> Line2D | Patch:
        color = self[label]
        if kind == "bar":
            return Patch(facecolor=(*color, 0.75), edgecolor="white", hatch=self.hatch(label), lw=0)
        size = self.size(label, 0.8, edge=0.5)
        line: Any = self.dash(label) if kind == "line" else "none"
        return Line2D([], [], color=color, ls=line, marker=self.marker(label), markersize=size, mec="white", mew=0.5)


@cache
def _outline(marker: str) -> tuple[float, float]:
    """The area and the perimeter of a marker of size 1."""
    style = MarkerStyle(marker)
    (outline,) = style.get_path().transformed(style.get_transform()).to_polygons()
    corners: NDArray[np.float64] = np.asarray(outline)
    following = np.roll(corners, -1, axis=0)
    area = abs(np.sum(corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0])) / 2
    return float(area), float(np.linalg.norm(following - corners, axis=1).sum())


def hexadecimal(color: Color) -> str:
    """As in `COLORS`: #rrggbb."""
    return mpl.colors.to_hex(color)


def palette(labels: Sequence[str], width: float | None = None, across: float | None = None) -> Looks:
    """The looks of labels, in the manifest's order, which all figures of a matrix share."""
    return Looks(labels, width, across)
