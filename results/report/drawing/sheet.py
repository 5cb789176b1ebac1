"""Pictures and letters that are placed in inches, so that none overlaps or is cut, whatever their number."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

from mtlbench.results.report.drawing.looks import KEPT

HEADING = 8.0  # points, of the titles of columns
WIDER = 1.02
LINE = 1.25 / 72  # inches from line to line for each point of the letters


class Box(NamedTuple):
    """A place on a sheet, in inches from its upper left corner."""

    left: float
    top: float
    width: float
    height: float = 0.0


class Sheet:
    """What will be drawn. The figure is made last, since its height is known last."""

    def __init__(self, width: float, letters: float) -> None:
        """width: in inches. letters: the size of the letters in points, unless another one is given."""
        self.width, self.letters = width, letters
        self._items: list[Callable[[Figure, float], None]] = []

    def picture(self, pixels: NDArray[Any], box: Box, name: str = "", *, smooth: bool = False) -> None:
        """pixels [H, W, 3 or 4]. smooth: for photos; pixels of labels stay as they are."""

        def draw(figure: Figure, height: float) -> None:
            bottom = height - box.top - box.height
            place = (box.left / self.width, bottom / height, box.width / self.width, box.height / height)
            axis = figure.add_axes(place, label=name)
            axis.imshow(pixels, interpolation="antialiased" if smooth else "nearest", aspect="auto")
            axis.set_axis_off()

        self._items.append(draw)

    def text(
        self,
        text: str,
        box: Box,
        ha: str = "left",
        *,
        upright: bool = False,
        size: float | None = None,
        color: str | None = None,
    ) -> None:
        """Text whose first line begins at the top of the box, at its left, in its middle or at its right.

        upright: the text is turned by 90 degrees and begins at the bottom of the box. color: of letters
        on a colour that means something; None for that of all text.
        """
        across = {"left": 0.0, "center": 0.5, "right": 1.0}[ha] * box.width
        points = size or self.letters
        step = self.line(points)

        def draw(figure: Figure, height: float) -> None:
            look: dict[str, Any] = {"transform": figure.dpi_scale_trans, "fontsize": points, "parse_math": False}
            look |= {} if color is None else {"color": color, "gid": KEPT}
            for number, line in enumerate(text.split("\n")):  # each on its own, since letters differ in height
                along = (number + 0.8) * step
                if upright:
                    place = (box.left + along, height - box.top - box.height)
                    figure.text(*place, line, rotation=90, rotation_mode="anchor", **look)
                else:
                    figure.text(box.left + across, height - box.top - along, line, ha=ha, va="baseline", **look)

        self._items.append(draw)

    def headings(self, titles: Sequence[str], lefts: Sequence[float], width: float, top: float) -> float:
        """Titles of columns of a width, upright where they do not fit beside each other. Returns where they end."""
        upright = max(self.width_of(title, HEADING) for title in titles) > width - 0.04
        texts = self._upright(titles, width) if upright else list(titles)
        height = max(self.width_of(text, HEADING) for text in texts) if upright else self.line(HEADING)
        for text, left in zip(texts, lefts, strict=True):
            shift = (width - self.line(HEADING) * (text.count("\n") + 1)) / 2 if upright else 0.0
            align = "left" if upright else "center"
            self.text(text, Box(left + shift, top, width, height), align, upright=upright, size=HEADING)
        return top + height + 0.04

    def _upright(self, titles: Sequence[str], width: float) -> list[str]:
        """The titles in as many lines as stand beside each other in a width, and so as short as they can be."""
        lines, length = max(1, int(width / self.line(HEADING))), 0.7
        texts = [self.wrapped(title, length, HEADING) for title in titles]
        while max(text.count("\n") for text in texts) >= lines:
            length += 0.1
            texts = [self.wrapped(title, length, HEADING) for title in titles]
        return texts

    def swatch(self, color: tuple[float, float, float], box: Box) -> None:
        def draw(figure: Figure, height: float) -> None:
            corner = (box.left, height - box.top - box.height)
            transform = figure.dpi_scale_trans
            figure.add_artist(Rectangle(corner, box.width, box.height, color=color, lw=0, transform=transform))

        self._items.append(draw)

    def line(self, size: float | None = None) -> float:
        """The height of a line of letters, in inches."""
        return LINE * (size or self.letters)

    def width_of(self, text: str, size: float | None = None) -> float:
        """In inches, with a margin, since letters made of pixels are a little wider than letters of a PDF."""
        letters = FontProperties(size=size or self.letters)
        widths = [text_to_path.get_text_width_height_descent(line, letters, False)[0] for line in text.split("\n")]
        return WIDER * max(widths) / 72

    def words(self, text: str) -> list[str]:
        """The parts between which a text may break."""
        return re.findall(r"[^\s_/-]*[\s_/-]|[^\s_/-]+", text)

    def wrapped(self, text: str, width: float, size: float | None = None) -> str:
        """The text in lines that are no wider. It breaks after a space, a hyphen, a slash or an underscore, if any."""
        lines = [""]
        for word in self.words(text):
            whole = self.width_of(word.rstrip(), size) <= width
            for part in [word] if whole else list(word):
                if lines[-1] and self.width_of((lines[-1] + part).rstrip(), size) > width:
                    lines.append("")
                lines[-1] += part
        return "\n".join(line.rstrip() for line in lines)

    def drawn(self, height: float) -> Figure:
        """The figure, which is `height` inches high."""
        figure = plt.figure(figsize=(self.width, height))
        for draw in self._items:
            draw(figure, height)
        return figure
