"""What an audit prints: texts, and rows of numbers that become Markdown in a file and columns on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

TABLE = "Table"  # the head of a first column that says of which table a row is


class Rows(NamedTuple):
    """Rows below the heads of their columns."""

    heads: tuple[str, ...]
    cells: Sequence[tuple[str, ...]]
    numbers: tuple[str, ...] = ("printed", "recomputed", "possible", "rebased")  # heads of columns of numbers


Part = str | Rows


def markdown(parts: Sequence[Part]) -> str:
    """The parts as Markdown, an empty line between two of them."""
    return "\n\n".join(part if isinstance(part, str) else _table(part) for part in parts)


def _table(rows: Rows) -> str:
    rules = ["---:" if head in rows.numbers else "---" for head in rows.heads]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (rows.heads, rules, *rows.cells))


def by_table(rows: Rows) -> dict[str, Rows]:
    """The rows of each table without the column that names the table; under "" where no column does."""
    if rows.heads[0] != TABLE:
        return {"": rows}
    cells: dict[str, list[tuple[str, ...]]] = {}
    for name, *rest in rows.cells:
        cells.setdefault(name, []).append(tuple(rest))
    return {name: Rows(rows.heads[1:], own, rows.numbers) for name, own in cells.items()}
