"""The colours of rows, for the figures and for other pages that show rows. Nothing here draws."""

from __future__ import annotations

from collections.abc import Sequence

# Found by a search from familiar hues. Any two differ by more than 20 (CIE 1976) for readers with normal vision,
# deuteranopia and protanopia, and all are dark enough for white paper.
# Labels after the last colour take the first one again; figures then draw another marker, another dash, another hatch.
COLORS = ("#1373b7", "#e7a002", "#2b9f6f", "#d04e27", "#5dbbf6", "#ca7dac", "#4a2b6e", "#5c3b1a")
# On dark paper, the two that are too dark for it have others. The same holds of these eight.
DARK = {"#4a2b6e": "#7247eb", "#5c3b1a": "#f3e5c8"}


def color(labels: Sequence[str], label: str) -> str:
    """#rrggbb of a label. labels: all labels of the matrix, in the order of its manifest."""
    return COLORS[labels.index(label) % len(COLORS)]
