"""Where the header of a grid ends, and which names it gives to each column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mtlbench.results.papers import vocabulary
from mtlbench.results.papers.reading.grid import EMPTY, BadTable, Cell, Grid, NoDelta, Row
from mtlbench.results.papers.reading.numbers import clean, missing, number

ANGLES = {"11.25", "22.5", "22.50", "30", "30.0", "30.00"}  # degrees: names of columns, and no scores
NEEDED = "a table needs a header, a row of a baseline, and a column of Δm"


@dataclass(frozen=True)
class Column:
    index: int
    parts: tuple[str, ...]  # of its header, from the upper to the lower
    cells: tuple[Cell, ...]  # the same, as objects: a merged one is shared with other columns

    @property
    def title(self) -> str:
        return " ".join(self.parts) or f"column {self.index}"


def turn(grid: Grid) -> Grid | None:
    """The grid with rows and columns exchanged, if its rows are the metrics, and one of them is the delta."""
    if not any(vocabulary.delta([row.cells[0].text]) for row in grid.rows[1:]):
        return None
    rows = [
        Row(tuple(row.cells[column] for row in grid.rows), grid.rows[0].line, len(grid.rows))
        for column in range(grid.width)
    ]
    return Grid(tuple(rows), grid.line, grid.caption, grid.pads)


def is_data(row: Row) -> bool:
    """Whether a row holds numbers, and not names of columns."""
    texts = [cell.text for cell in dict.fromkeys(row.cells[1:]) if cell.text and cell is not row.cells[0]]
    numbers = [text for text in texts if number(text, arrows=True)]
    if not numbers or {clean(text).rstrip("\u00b0") for text in numbers} <= ANGLES:
        return False
    marks = [text for text in texts if missing(text) or text in "\u2713\u2714"]
    return len(numbers) + len(marks) >= 0.4 * len(texts)


def _is_header(row: Row) -> bool:
    texts = [cell.text for cell in dict.fromkeys(row.cells) if cell.text]
    named = [
        text
        for text in texts
        if vocabulary.arrow(text) is not None or vocabulary.metric([text]) or vocabulary.delta([text])
    ]
    return len(texts) > 1 and len(named) > 1


def panels(grid: Grid) -> Iterator[tuple[list[Row], list[Row]]]:
    """The headers of a grid, each with the rows below it. Raises NoDelta where there is no number."""
    header: list[Row] = []
    rows: list[Row] = []
    for row in grid.rows:
        if is_data(row):
            rows.append(row)
        elif rows and _is_header(row):
            yield header, rows
            header, rows = [row], []
        elif not rows:
            header.append(row)
    if not rows and not header:
        raise NoDelta(f"line {grid.line}: no row has a number, so there is nothing to audit")
    if not rows:
        raise NoDelta(f"line {header[-1].line}: no number below {header[-1].cells[0].text!r}; {NEEDED}")
    yield header, rows


def columns_of(header: Sequence[Row], width: int) -> list[Column]:
    levels = [list(row.cells) for row in header]
    for level, cells in enumerate(levels[:-1]):
        if len(set(cells) - {EMPTY}) < len([cell for cell in cells if cell.text]):
            continue  # merged cells say what they are above
        for column in range(1, width):
            below = [
                levels[lower][column].text for lower in range(level + 1, len(levels)) if levels[lower][column].text
            ]
            left = cells[column - 1]
            if not cells[column].text and below and left.text and not vocabulary.METHOD.search(left.text):
                first = vocabulary.delta([left.text]) or vocabulary.other([left.text])
                if not (first or vocabulary.delta(below) or vocabulary.other(below)):
                    cells[column] = left
    found = []
    for column in range(width):
        stacked = [cells[column] for cells in levels if len(set(cells)) > 1 and cells[column].text]
        stacked = list(dict.fromkeys(stacked))
        texts = list(dict.fromkeys(cell.text for cell in stacked))
        found.append(Column(column, tuple(texts), tuple(stacked)))
    return found


def check_spans(grid: Grid, header: Sequence[Row]) -> None:
    """Raise BadTable where a row of the header is too short, in a form that does not allow it."""
    for row in header if len(header) > 1 and not grid.pads else ():
        if len(set(row.cells)) > 1 and row.printed < grid.width and row.cells[-1] is EMPTY:
            raise BadTable(
                f"line {row.line}: the header that begins with {row.cells[0].text!r} has {row.printed} columns, and "
                f"the rows have {grid.width}: its merged cells do not add up; correct the spans"
            )
