"""How a run ended, on a terminal: what may be claimed, each table as wide as the terminal, and where the rest lies."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtlbench.harness.cli.usage import fitted

if TYPE_CHECKING:
    from mtlbench.results.report.tables import Cell
    from mtlbench.results.report.tables import Table as Written
    from mtlbench.results.report.write import Report

COSTS = ("Training", "Parameters", "Step", "MACs")  # columns that are shown only where they fit, in this order
ALWAYS = ("Method", "Δm", "95 %", "Verdict")
GAP, EDGES = 2, 2  # characters behind each column, and around the table


def show_report(report: Report, console: Console) -> None:
    """Print every table. The full width, the captions and the footnotes are in the files."""
    for written in report.tables:
        console.print()
        console.print(Text(written.title, style="bold"), soft_wrap=True)
        console.print(Text(written.claim))
        console.print(_table(written, console.width))
        if missing := _left_out(_columns(written), console.width):
            console.print(Text(missing), soft_wrap=True)
    for line in report.letters:
        console.print(Text(line), soft_wrap=True)
    if report.overview:
        console.print(Text(report.overview), soft_wrap=True)


def say_where(report: Report, store: str) -> None:
    """Say where the page over all matrices is, what moved since another store, and how missing cells are trained."""
    if report.start is not None:
        typer.echo(f"index    {report.start}")
    for name, sentence in report.moved.items():
        typer.echo(fitted(f"against  {name}: {sentence}", indent=9))
    for left in report.unfinished:
        typer.echo(f"missing  {left.missing} of {left.cells} cells of {left.matrix}")
        if left.command:
            typer.echo(f"next     {left.command} --store {shlex.quote(store)}")


def _table(written: Written, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False)
    columns = _columns(written)
    shown = _fitting(columns, width - EDGES)
    for index in shown:
        header, cells = columns[index]
        table.add_column(Text(header), justify="left" if index == 0 else "right", width=_width(header, cells))
    for number in range(len(written.rows)):
        row = [columns[index][1][number] for index in shown]
        if any(cell.text for cell in row[1:]):
            table.add_row(*(Text(cell.text, style="bold" if cell.bold else "") for cell in row))
    return table


def _columns(written: Written) -> list[tuple[str, list[Cell]]]:
    """(header, cells) of each column: those of the table and, behind the interval, the verdict."""
    from mtlbench.results.report.tables import with_verdicts

    shown = with_verdicts(written)
    return [(column.text, [row[index] for row in shown.rows]) for index, column in enumerate(shown.columns)]


def _width(header: str, cells: Sequence[Cell]) -> int:
    """Of a column whose cells stay on one line. The header may take several lines."""
    return max(*map(len, header.split()), *(len(cell.text) for cell in cells))


def _groups(columns: Sequence[tuple[str, Sequence[Cell]]]) -> dict[str, list[int]]:
    """The places of the columns: those that are always shown, the scores, the number of seeds, and the costs."""
    places = range(len(columns))
    costs = [place for name in COSTS for place in places if columns[place][0].startswith(name)]
    always = [place for place in places if columns[place][0].startswith(ALWAYS)]
    seeds = [place for place in places if columns[place][0] == "Seeds"]
    scores = [place for place in places if place not in (*costs, *always, *seeds)]
    return {"always": always, "score": scores, "seeds": seeds, "cost": costs}


def _fitting(columns: Sequence[tuple[str, Sequence[Cell]]], width: int) -> list[int]:
    """The places of the columns that fit into a width, in their order: scores all or none, then costs."""
    always, scores, seeds, costs = _groups(columns).values()
    chosen: list[int] = []
    for group in (always, scores, seeds, *([place] for place in costs)):
        if not chosen or _space(columns, [*chosen, *group]) <= width:
            chosen += group
    return sorted(chosen)


def _space(columns: Sequence[tuple[str, Sequence[Cell]]], places: Sequence[int]) -> int:
    """The characters that columns take beside each other."""
    return sum(_width(*columns[place]) + GAP for place in places)


def _left_out(columns: Sequence[tuple[str, Sequence[Cell]]], width: int) -> str:
    """A line that says which columns did not fit and where they are; "" where all are shown."""
    shown = _fitting(columns, width - EDGES)
    missing = {name: sum(place not in shown for place in places) for name, places in _groups(columns).items()}
    if not any(missing.values()):
        return ""
    counted = [
        "seeds" if name == "seeds" else f"{count} {name}{'s' if count > 1 else ''}"
        for name, count in missing.items()
        if count
    ]
    enough = _space(columns, range(len(columns))) + EDGES
    return f"left out: {', '.join(counted)}; see report.html, or widen to {enough} columns"
