"""Tables with one delimiter between cells: CSV, TSV, and rows with bars."""

from __future__ import annotations

import csv
import io
import re
from functools import partial

from mtlbench.results.papers.reading.grid import BadTable, Grid, Merged, attempt, build
from mtlbench.results.papers.reading.latex import inline

DELIMITERS = ("\t", ";", ",", "|")
_FRAME = re.compile(r"^[\s|+:=-]*$")


def delimiter_of(source: str) -> str | None:
    """The delimiter that cuts most lines into as many cells, at least three; None where no delimiter does."""
    lines = [line for line in source.splitlines() if line.strip() and not _FRAME.match(line)]
    best, most = None, 0.5 * len(lines)
    for delimiter in DELIMITERS:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
        except csv.Error:
            continue
        usual = max((count for count in counts if count > 2), key=counts.count, default=0)
        if usual and counts.count(usual) > most:
            best, most = delimiter, counts.count(usual)
    return best


def tables(source: str, delimiter: str) -> list[Grid | BadTable]:
    """The tables of a text, which lines without the delimiter keep apart. Raises BadTable with the line."""
    found: list[Grid | BadTable | None] = []
    rows: list[tuple[int, list[Merged]]] = []
    caption = ""

    def end() -> None:
        if rows:
            make = partial(build, list(rows), rows[0][0], caption=caption, pushes=False, pads=True)
            found.append(attempt(make, " ".join(cell.text for _, cells in rows for cell in cells)))
        rows.clear()

    reader = csv.reader(io.StringIO(source), delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            if delimiter == "|":
                cells = cells[cells[:1] == [""] : len(cells) - (cells[-1:] == [""])] if len(cells) > 2 else cells
            if delimiter == "|" and all(_FRAME.match(cell) for cell in cells) and any("--" in cell for cell in cells):
                continue
            texts = [inline(cell) for cell in cells]
            if not any(texts) or (len(cells) == 1 and not rows):
                end()
                caption = texts[0] if texts and texts[0] else caption
            else:
                rows.append((reader.line_num, [Merged(text) for text in texts]))
    except csv.Error as error:
        raise BadTable(f"line {reader.line_num}: not a row of a table ({error}); correct the quotes") from None
    end()
    return [grid for grid in found if grid is not None]
