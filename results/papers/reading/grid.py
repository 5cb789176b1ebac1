"""A printed table as a rectangle of cells, whatever text it was read from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mtlbench.results.papers import vocabulary


class BadTable(ValueError):
    """A table that cannot be read, or whose rows contradict each other. The message says where, in one line."""


class NoDelta(BadTable):
    """A table that prints no Delta_m, so that there is nothing to audit."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One printed cell. A cell that spans columns or rows is one object that stands in several places of the grid."""

    text: str


class Merged(NamedTuple):
    """A cell as a source writes it: its text, and how many rows and columns it spans."""

    text: str
    rows: int = 1
    columns: int = 1


@dataclass(frozen=True)
class Row:
    cells: tuple[Cell, ...]
    line: int  # of the file, from 1
    printed: int  # how many of the columns the source fills; the rest is empty

    def texts(self) -> list[str]:
        return [cell.text for cell in self.cells]


@dataclass(frozen=True)
class Grid:
    """Rows of equal length. Which of them are the header is not known yet."""

    rows: tuple[Row, ...]
    line: int
    caption: str = ""
    pads: bool = field(default=False)  # whether the form itself allows that the last cells of a row are left out

    @property
    def width(self) -> int:
        return len(self.rows[0].cells)


EMPTY = Cell("")


def attempt(make: Callable[[], Grid | None], text: str) -> Grid | BadTable | None:
    """A grid, or why it cannot be made: one bad table does not keep others of a file from being read.

    text: what the table says; one without a Delta_m is none of ours, and no failure.
    """
    try:
        return make()
    except BadTable as error:
        return error if "\\Delta" in text or vocabulary.DELTA.search(text) else NoDelta(str(error))


def build(
    source: Sequence[tuple[int, Sequence[Merged]]], line: int, *, caption: str = "", pushes: bool, pads: bool
) -> Grid | None:
    """Expand merged cells. source: the line and the cells of each row.

    pushes: whether a cell that spans rows moves the cells of the next rows to the right (HTML), or lies on cells that
    are written there and are empty (LaTeX). Returns None where there is nothing. Raises BadTable that names the line.
    """
    rows: list[Row] = []
    hanging: dict[int, tuple[Cell, int]] = {}  # column -> a cell from above, and for how many more rows
    for number, merged in source:
        cells: list[Cell] = []
        written = 0
        for item in merged:
            while pushes and len(cells) in hanging:
                cells.append(_take(hanging, len(cells)))
            cell = Cell(item.text)
            for _ in range(item.columns):
                column = len(cells)
                if column in hanging:
                    if pushes:
                        raise BadTable(
                            f"line {number}: the merged cell {item.text!r} and one above it take the same place; "
                            "their spans must add up"
                        )
                    above = _take(hanging, column)
                    cells.append(cell if item.text else above)
                else:
                    cells.append(cell)
                if item.rows > 1:
                    hanging[column] = (cell, item.rows - 1)
            written = len(cells)
        if pushes:
            while len(cells) in hanging:
                cells.append(_take(hanging, len(cells)))
            written = len(cells)
        else:
            for column in range(len(cells), max(hanging, default=-1) + 1):
                cells.append(_take(hanging, column) if column in hanging else EMPTY)
        rows.append(Row(tuple(cells), number, written))
    rows = [row for row in rows if any(row.texts())]
    return _rectangle(rows, line, caption, pads) if rows else None


def _take(hanging: dict[int, tuple[Cell, int]], column: int) -> Cell:
    cell, left = hanging.pop(column)
    if left > 1:
        hanging[column] = (cell, left - 1)
    return cell


def _rectangle(rows: list[Row], line: int, caption: str, pads: bool) -> Grid:
    """Fill up short rows. A row that is longer than the others says that merged cells do not add up."""
    rows = [_without_empty_end(row) for row in rows]
    lengths = [len(row.cells) for row in rows if len({id(cell) for cell in row.cells}) > 1] or [1]
    width = max(set(lengths), key=lambda length: (lengths.count(length), length))
    longest = [row for row in rows if len(row.cells) == max(lengths)]
    if pads and longest and (len(longest) > 1 or longest[0] in rows[:2]):
        width = max(lengths)
    for row in rows:
        if len(row.cells) > width and len({id(cell) for cell in row.cells}) > 1:
            raise BadTable(
                f"line {row.line}: the row that begins with {row.cells[0].text!r} has {len(row.cells)} columns, and "
                f"most rows have {width}: its cells, some of which may be merged, do not add up; correct the row"
            )
    filled = [
        Row((*row.cells, *(EMPTY for _ in range(width - len(row.cells))))[:width], row.line, min(row.printed, width))
        for row in rows
    ]
    return Grid(tuple(filled), line, caption, pads)


def _without_empty_end(row: Row) -> Row:
    """A row without the empty cells at its end, which `_rectangle` gives back as far as they are needed."""
    end = len(row.cells)
    while end > 1 and not row.cells[end - 1].text:
        end -= 1
    return Row(row.cells[:end], row.line, row.printed)
