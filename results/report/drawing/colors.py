"""The colours of rows, for the figures and for other pages that show rows. Nothing here draws."""

from __future__ import annotations

from collections.abc import Sequence

# Found by a search from familiar hues. Any two differ by more than 20 (CIE 1976) for readers with normal vision,
# deuteranopia and protanopia, and each has a contrast of at least 3 on white paper.
# Labels after the last colour take the first one again; figures then draw another marker, another dash, another hatch.
COLORS = ("#0066bc", "#ca8400", "#34a06b", "#b74023", "#339cd1", "#bb6e96", "#4b2b6e", "#52321a")
# On dark paper, the two that are too dark for it have others. The same holds of these eight.
DARK = {"#4b2b6e": "#7247eb", "#52321a": "#f3e5c8"}


def color(labels: Sequence[str], label: str) -> str:
    """#rrggbb of a label. labels: all labels of the matrix, in the order of its manifest."""
    return COLORS[labels.index(label) % len(COLORS)]
