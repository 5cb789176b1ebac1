"""The command that reads printed tables and judges them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtlbench.harness.cli.usage import fail, fitted, terminal_width

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from mtlbench.results.papers.columns import Choices
    from mtlbench.results.papers.rows import Part, Rows

SOMETHING = 1  # a printed value is impossible
DIRECTIONS = {"up": True, "down": False}
MEANS = ("metric", "task", "log")


def audit(
    table: Annotated[
        Path | None,
        typer.Argument(
            metavar="TABLE",
            help="LaTeX, Markdown, HTML, CSV, TSV, or the text of a PDF; - is standard input. "
            "Default: the SCA-MTL paper's tables.",
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Another baseline, as depth=0.625,semseg=37.99: print what it makes of Δm.")
    ] = None,
    baseline_row: Annotated[str | None, typer.Option(help="The row that deltas are against.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="The columns that Δm is the mean of, as 1,2,4 or parts of their titles.")
    ] = None,
    direction: Annotated[
        list[str], typer.Option(metavar="COLUMN=up|down", help="Which direction is better in a column; repeatable.")
    ] = [],
    delta: Annotated[list[str], typer.Option(metavar="COLUMN", help="A column of Δm; repeatable.")] = [],
    sign: Annotated[str | None, typer.Option(metavar="up|down", help="Which direction is better in Δm.")] = None,
    mean: Annotated[str | None, typer.Option(metavar="metric|task|log", help="The mean that Δm is.")] = None,
    number: Annotated[
        int | None, typer.Option("--table", min=1, help="Which table of the file, among those with a Δm.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help='An object: {"tables": [{"baseline": ..., "rows": ...}]}.')
    ] = False,
) -> None:
    """Say which printed values of Δm cannot follow from the metrics printed beside them.

    Columns are named by their number, from 0 for the method, or by a part of their title. The exit status is 0 where
    nothing is impossible, 1 where something is, and 2 where a table cannot be read.

    Example:  mtlbench audit paper.tex
    """
    from mtlbench.results.papers import audit as long_form
    from mtlbench.results.papers.reading.grid import BadTable
    from mtlbench.results.papers.reading.sources import name_of, text_of

    try:
        choices = _choices((baseline_row, metrics, direction, delta, sign, mean), number)
        text = None if table is None else text_of(table)
        if table is None or text is None or long_form.is_long(text):
            if choices is not None:
                raise BadTable("only --baseline and --json go with a table in long form, which names everything itself")
            numbers = long_form.published() if text is None or table is None else long_form.load(name_of(table), text)
            status = _long(numbers, table, baseline, as_json)
        else:
            status = _printed(text, name_of(table), choices, baseline, as_json)
    except BadTable as error:
        raise fail(str(error)) from None
    if status:
        raise typer.Exit(status)


def _long(numbers: pd.DataFrame, source: object, baseline: str | None, as_json: bool) -> int:
    """Audit or rebase a table in long form; the exit status."""
    from mtlbench.results.papers import audit as long_form
    from mtlbench.results.papers import rebase

    if baseline is not None:
        _say(rebase.of_long(numbers, baseline))
        return 0
    found = long_form.audited(numbers, source)
    if as_json:
        typer.echo(json.dumps(long_form.as_json(found, numbers), indent=1))
    else:
        _say(long_form.parts(found))
    return 0 if found["fits"].all() else SOMETHING


def _printed(text: str, name: str, choices: Choices | None, baseline: str | None, as_json: bool) -> int:
    """Audit or rebase printed tables; the exit status."""
    from mtlbench.results.papers import rebase, wording
    from mtlbench.results.papers.columns import Choices
    from mtlbench.results.papers.printed import audit_text, count

    file = audit_text(text, name, choices or Choices())
    if baseline is not None:
        _say(rebase.of_printed(file, baseline))
        return 0
    if as_json:
        typer.echo(json.dumps(wording.as_json(file), indent=1, ensure_ascii=False))
    else:
        _say(wording.parts(file))
    status = SOMETHING if count(file.tables)[0] else 0
    for line in file.unread:
        status = status or fail(line).exit_code
    return status


def _say(parts: Sequence[Part]) -> None:
    """Print an audit: in columns that fit a terminal, and as Markdown into a file or a pipe."""
    from mtlbench.results.papers.rows import by_table, markdown

    width = terminal_width()
    if width is None:
        typer.echo(markdown(parts))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(width=width, highlight=False)
    for part in parts:
        if isinstance(part, str):
            typer.echo(fitted(part))
            continue
        for name, rows in by_table(part).items():
            if name:
                console.print(Text(f"Table {name}" if name.isdecimal() else name, style="bold"))
            console.print(_columns(rows))


def _columns(rows: Rows) -> Table:
    """Rows as a table whose numbers stay whole; names and verdicts take more lines where the terminal is narrow."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from mtlbench.results.report.display import MINUS

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in rows.heads:
        number = head in rows.numbers
        table.add_column(head, justify="right" if number else "left", no_wrap=number)
    for cells in rows.cells:
        table.add_row(
            *(Text(cell.replace("-", MINUS) if head in rows.numbers else cell)
              for head, cell in zip(rows.heads, cells, strict=True))
        )  # fmt: skip
    return table


def _choices(
    said: tuple[str | None, str | None, list[str], list[str], str | None, str | None], table: int | None
) -> Choices | None:
    """What the flags say; None where there is none. Raises BadTable that names the flag."""
    from mtlbench.results.papers.columns import Choices
    from mtlbench.results.papers.reading.grid import BadTable

    baseline_row, metrics, direction, delta, sign, mean = said
    if not any(said) and table is None:
        return None
    directions: Mapping[str, bool] = {}
    for word in direction:
        column, _, towards = word.rpartition("=")
        if not column or towards not in DIRECTIONS:
            raise BadTable(f"--direction {word!r}: write a column and up or down, as 3=down")
        directions = {**directions, column: DIRECTIONS[towards]}
    if sign is not None and sign not in DIRECTIONS:
        raise BadTable(f"--sign {sign!r}: write up where higher is better, or down")
    if mean is not None and mean not in MEANS:
        raise BadTable(f"--mean {mean!r}: write one of {', '.join(MEANS)}")
    columns = tuple(column.strip() for column in (metrics or "").split(",") if column.strip())
    lower = None if sign is None else not DIRECTIONS[sign]
    return Choices(baseline_row, columns, directions, tuple(delta), lower, mean, table)
