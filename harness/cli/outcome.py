"""How a run ended, on a terminal: what may be claimed, each table as wide as the terminal, and where the rest lies."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtlbench.harness.cli.usage import fitted

if TYPE_CHECKING:
    from mtlbench.results.report.tables import Cell, Column
    from mtlbench.results.report.tables import Table as Written
    from mtlbench.results.report.write import Report

COSTS = ("Training", "Parameters", "Step", "MACs")  # columns that are shown only where they fit, in this order
GAP, EDGES = 2, 2  # characters behind each column, and around the table
NAME = 12  # characters of a line of a method's name, at least
SPREAD = " ± "  # stands before a standard deviation


class Shown(NamedTuple):
    """A column on a terminal."""

    head: str
    cells: Sequence[Cell]
    role: str  # "always", "score", "seeds" or "cost"
    width: int  # a head may take several lines


def show_report(report: Report, console: Console) -> None:
    """Print every table, and on standard error which files are damaged. Captions and footnotes are in the files."""
    from mtlbench.results.records.damage import told

    for written in report.tables:
        console.print()
        console.print(Text(written.title, style="bold"), soft_wrap=True)
        console.print(Text(written.claim))
        columns = _columns(written)
        shown = _fitting(columns, console.width - EDGES)
        console.print(_table(shown))
        if missing := _left_out(columns, shown):
            console.print(Text(missing), soft_wrap=True)
    for line in report.letters:
        console.print(Text(line), soft_wrap=True)
    if report.overview:
        console.print(Text(report.overview), soft_wrap=True)
    for line in told(report.damaged):
        typer.echo(f"mtlbench: {line}", err=True)


def say_where(report: Report, store: str) -> None:
    """Say where the page over all matrices is, which old files went, what moved, and how missing cells are trained."""
    for folder in dict.fromkeys(path.parent for path in report.removed):
        names = ", ".join(path.name for path in report.removed if path.parent == folder)
        typer.echo(fitted(f"removed  {names} of an earlier report from {folder}", indent=9))
    if report.start is not None:
        typer.echo(f"index    {report.start}")
    for name, sentence in report.moved.items():
        typer.echo(fitted(f"against  {name}: {sentence}", indent=9))
    for left in report.unfinished:
        typer.echo(f"missing  {left.missing} of {left.cells} cells of {left.matrix}")
        if left.command:
            typer.echo(f"next     {left.command} --store {shlex.quote(store)}")


def _table(columns: Sequence[Shown]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(Text(column.head), justify="right" if number else "left", width=column.width)
    for row in zip(*(column.cells for column in columns), strict=True):
        if any(cell.text for cell in row[1:]):
            table.add_row(*(Text(cell.text, style="bold" if cell.bold else "") for cell in row))
    return table


def _columns(written: Written) -> list[Shown]:
    """The columns of a table and, behind the interval, the verdict; each as wide as its longest number."""
    from mtlbench.results.report.tables import with_verdicts

    whole = with_verdicts(written)
    cells = [[row[place] for row in whole.rows] for place in range(len(whole.columns))]
    return [_shown(column.text, own, _role(column)) for column, own in zip(whole.columns, cells, strict=True)]


def _role(column: Column) -> str:
    if column.title == "Seeds":
        return "seeds"
    return {"score": "score", "size": "cost", "time": "cost"}.get(column.part, "always")


def _shown(head: str, cells: Sequence[Cell], role: str) -> Shown:
    return Shown(head, cells, role, max(*map(len, head.split()), *(len(cell.text) for cell in cells)))


def _forms(columns: Sequence[Shown]) -> Iterator[list[Shown]]:
    """The same columns in fewer and fewer characters.

    As they are; scores without standard deviations; no standard deviations, and names of methods in several lines.
    """
    names, *others = columns
    yield [*columns]
    yield [names, *(_without_spread(column) if column.role == "score" else column for column in others)]
    word = max(len(word) for cell in names.cells for word in cell.text.split())
    narrow = names._replace(width=min(names.width, max(NAME, word)))
    yield [narrow, *map(_without_spread, others)]


def _without_spread(column: Shown) -> Shown:
    cells = [cell._replace(text=cell.text.partition(SPREAD)[0]) for cell in column.cells]
    return _shown(column.head, cells, column.role)


def _fitting(columns: Sequence[Shown], width: int) -> list[Shown]:
    """The columns that fit into a width: scores all or none, then the number of seeds, then costs."""
    for roles in (("always", "score"), ("always",)):
        for form in _forms(columns):
            chosen = [place for place, column in enumerate(form) if column.role in roles]
            if _space(form[place] for place in chosen) <= width:
                return _filled(form, chosen, width)
    return [form[place] for place in chosen]


def _filled(form: Sequence[Shown], chosen: list[int], width: int) -> list[Shown]:
    """The chosen columns with those beside them for which there is room, in the order of the table."""
    seeds = [place for place, column in enumerate(form) if column.role == "seeds"]
    costs = [place for name in COSTS for place, column in enumerate(form) if column.head.startswith(name)]
    for place in seeds + costs:
        if _space(form[each] for each in (*chosen, place)) <= width:
            chosen = [*chosen, place]
    return [form[place] for place in sorted(chosen)]


def _space(columns: Iterable[Shown]) -> int:
    """The characters that columns take beside each other."""
    return sum(column.width + GAP for column in columns)


def _left_out(columns: Sequence[Shown], shown: Sequence[Shown]) -> str:
    """A line that says what did not fit and where it is; "" where all is shown."""
    missing = Counter(column.role for column in columns)
    missing.subtract(column.role for column in shown)
    counted = [
        "seeds" if role == "seeds" else f"{missing[role]} {role}{'s' if missing[role] > 1 else ''}"
        for role in ("score", "seeds", "cost")
        if missing[role]
    ]
    whole = {column.head: column.cells for column in columns}
    if any(column.cells != whole[column.head] for column in shown):
        counted.append("standard deviations")
    if not counted:
        return ""
    enough = _space(columns) + EDGES
    return f"left out: {', '.join(counted)}; see report.html, or widen to {enough} columns"
