"""A figure on dark paper. Pictures and colours that mean something stay; paper, letters and lines change."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.spines import Spine
from matplotlib.text import Text

from mtlbench.results.report.drawing.colors import DARK
from mtlbench.results.report.drawing.looks import KEPT, STYLE, hexadecimal

PAPER, INK = (0x15 / 255, 0x17 / 255, 0x1A / 255), (0xE4 / 255, 0xE6 / 255, 0xE9 / 255)  # as in templates/style.css


def png(figure: Figure) -> bytes:
    """The figure as a PNG on dark paper. The figure is changed, so it must have been saved before."""
    for artist in figure.findobj():
        _darken(artist)
    figure.set_facecolor(PAPER)
    figure.set_layout_engine("none")  # everything stays where it was saved
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _darken(artist: Artist) -> None:
    """Turn what is gray, from black on white to light on dark, and the colours of rows that are too dark."""
    if artist.get_gid() == KEPT:
        return
    if isinstance(artist, Axes):
        artist.set_facecolor(PAPER)
    elif isinstance(artist, Axis):
        artist.set_tick_params(which="both", color=turned(artist.get_tick_params().get("color", "black")))
    elif isinstance(artist, Text):
        artist.set_color(turned(artist.get_color()))
    elif isinstance(artist, Spine):
        artist.set_edgecolor(turned(artist.get_edgecolor()))
    elif isinstance(artist, Line2D):
        artist.set_color(turned(artist.get_color()))
        artist.set_markerfacecolor(turned(artist.get_markerfacecolor()))
        artist.set_markeredgecolor(turned(artist.get_markeredgecolor()))
    elif isinstance(artist, Collection) and artist.get_array() is None:
        artist.set_facecolor([turned(color) for color in artist.get_facecolor()])
        artist.set_edgecolor([turned(color) for color in artist.get_edgecolor()])


def turned(color: Any) -> Any:
    """A gray between ink and paper for a gray between black and white; another colour for one that is too dark."""
    if isinstance(color, str) and color in ("none", "auto"):
        return color
    red, green, blue, alpha = mpl.colors.to_rgba(color)
    if red == green == blue:
        mixed = [red * paper + (1 - red) * ink for paper, ink in zip(PAPER, INK, strict=True)]
        return (mixed[0], mixed[1], mixed[2], alpha)
    return mpl.colors.to_rgba(DARK.get(hexadecimal((red, green, blue)), color), alpha)
