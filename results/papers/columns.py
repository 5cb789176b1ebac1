"""What the columns and rows of a grid are: the method, the metrics with their directions, and the printed deltas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mtlbench.results.papers import vocabulary
from mtlbench.results.papers.reading.grid import EMPTY, BadTable, Cell, Grid, Row
from mtlbench.results.papers.reading.numbers import Number, clean, missing, number

ANGLES = {"11.25", "22.5", "22.50", "30", "30.0", "30.00"}  # degrees: names of columns, and no scores


class NoDelta(BadTable):
    """A table that prints no Delta_m, so that there is nothing to audit."""


@dataclass(frozen=True)
class Choices:
    """What a user says of a table, instead of what is found in it. A column is its number or a part of its title."""

    baseline_row: str | None = None
    metrics: tuple[str, ...] = ()
    directions: Mapping[str, bool] = field(default_factory=dict)  # column -> whether higher is better
    deltas: tuple[str, ...] = ()
    lower_is_better: bool | None = None
    mean: str | None = None  # "metric", "task" or "log"


@dataclass(frozen=True)
class Column:
    index: int
    parts: tuple[str, ...]  # of its header, from the upper to the lower
    cells: tuple[Cell, ...]  # the same, as objects: a merged one is shared with other columns

    @property
    def title(self) -> str:
        return " ".join(self.parts) or f"column {self.index}"


@dataclass(frozen=True)
class Metric:
    index: int
    title: str
    higher: bool | None  # whether higher is better; None: nobody knows
    stated: bool  # whether an arrow, or the user, says so
    task: str


@dataclass(frozen=True)
class Delta:
    index: int
    title: str
    scopes: tuple[tuple[Metric, ...], ...]  # the metrics that it may be of, the likeliest first
    lower: bool | None  # whether lower is better, as the header says; None: it does not
    mean: str | None  # as the header says


@dataclass(frozen=True)
class Entry:
    """A row of numbers."""

    line: int
    method: str
    numbers: Mapping[int, Number]  # by column; what is missing or is no number is left out
    texts: tuple[str, ...]
    short: bool  # the source has fewer cells than the header, so nobody knows which are missing


@dataclass(frozen=True)
class Table:
    line: int
    caption: str
    columns: tuple[Column, ...]
    entries: tuple[Entry, ...]
    metrics: tuple[Metric, ...]
    deltas: tuple[Delta, ...]
    unjudged: tuple[Column, ...]  # deltas without metrics
    others: tuple[Column, ...]  # numbers that are no metric


def tables(grid: Grid, choices: Choices) -> Iterator[Table]:
    """The tables of a grid, which may repeat its header. Raises NoDelta, or BadTable that names the line."""
    found = 0
    reason: NoDelta | None = None
    for header, rows in _panels(grid):
        try:
            yield _table(grid, header, rows, choices)
            found += 1
        except NoDelta as error:
            reason = reason or error
    if not found and reason:
        turned = _turned(grid)
        if turned is None:
            raise reason
        yield from tables(turned, choices)


def _turned(grid: Grid) -> Grid | None:
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


def _panels(grid: Grid) -> Iterator[tuple[list[Row], list[Row]]]:
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
        raise NoDelta(f"line {header[-1].line}: no number below {header[-1].cells[0].text!r}; {_NEEDED}")
    yield header, rows


_NEEDED = "a table needs a header, a row of a baseline, and a column of Delta_m"


def _columns(header: Sequence[Row], width: int) -> list[Column]:
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
    columns = []
    for column in range(width):
        stacked = [cells[column] for cells in levels if len(set(cells)) > 1 and cells[column].text]
        stacked = list(dict.fromkeys(stacked))
        texts = list(dict.fromkeys(cell.text for cell in stacked))
        columns.append(Column(column, tuple(texts), tuple(stacked)))
    return columns


def _table(grid: Grid, header: list[Row], rows: list[Row], choices: Choices) -> Table:
    line = rows[0].line
    if not header:
        raise NoDelta(f"line {line}: numbers without a header; {_NEEDED}")
    if not grid.pads:
        for row in header:
            if 1 < len(set(row.cells)) and row.printed < grid.width and len(header) > 1 and row.cells[-1] is EMPTY:
                raise BadTable(
                    f"line {row.line}: the header that begins with {row.cells[0].text!r} has {row.printed} columns, and "
                    f"the rows have {grid.width}: its merged cells do not add up; correct the spans"
                )
    columns = _columns(header, grid.width)
    numbers = [{column: found for column, cell in enumerate(row.cells) if (found := number(cell.text))} for row in rows]
    chosen = [resolve(columns, name) for name in choices.deltas]
    deltas = chosen or [
        c for c in columns if vocabulary.delta(list(c.parts)) and any(c.index in found for found in numbers)
    ]
    if not deltas:
        titles = ", ".join(column.title for column in columns)
        raise NoDelta(f"line {line}: no column of Delta_m among {titles[:200]}; name it with --delta COLUMN")
    for row, found in zip(rows, numbers, strict=True):
        for delta in deltas:
            arrowed = number(row.cells[delta.index].text, arrows=True)
            if arrowed:
                found[delta.index] = arrowed
    taken = {delta.index for delta in deltas}
    labels = [c for c in columns if c.index not in taken and sum(c.index in found for found in numbers) <= 0.3 * len(rows)
              and any(row.cells[c.index].text and not missing(row.cells[c.index].text) for row in rows)]  # fmt: skip
    labels = [c for c in labels if c.index == 0 or not vocabulary.metric(list(c.parts))]
    said = {resolve(columns, name).index: higher for name, higher in choices.directions.items()}
    metrics, others = _metrics([c for c in columns if c not in labels and c.index not in taken], numbers, said)
    if choices.metrics:
        metrics = [_metric(resolve(columns, name), said) for name in choices.metrics]
        others = [c for c in others if c.index not in {m.index for m in metrics}]
    metrics = _with_tasks(metrics, columns)
    if not metrics:
        raise BadTable(
            f"line {line}: no column of a metric beside {deltas[0].title!r}; name them with --metrics COLUMNS"
        )
    scoped = {delta.index: _scopes(delta, deltas, metrics, columns) for delta in deltas}
    judged = tuple(_delta(delta, scoped[delta.index], choices) for delta in deltas if scoped[delta.index])
    entries = tuple(
        Entry(row.line, name, found, tuple(row.texts()), not grid.pads and row.printed < grid.width)
        for row, found, name in zip(rows, numbers, _names(rows, labels), strict=True)
    )
    unjudged = tuple(delta for delta in deltas if not scoped[delta.index])
    return Table(grid.line, grid.caption, tuple(columns), entries, tuple(metrics), judged, unjudged, tuple(others))


def resolve(columns: Sequence[Column], name: str) -> Column:
    """The column of a number, from 0, or of a part of its title. Raises BadTable that lists the columns."""
    if name.strip().isdecimal() and int(name) < len(columns):
        return columns[int(name)]
    found = [column for column in columns if name.strip().lower() == column.title.lower()] or [
        column for column in columns if name.strip().lower() in column.title.lower()
    ]
    if len(found) != 1:
        listed = ", ".join(f"{column.index} {column.title}" for column in columns)
        raise BadTable(f"{name!r} is {'no' if not found else 'more than one'} column; there are: {listed}")
    return found[0]


def _names(rows: Sequence[Row], labels: Sequence[Column]) -> list[str]:
    """What each row is called: the column of methods, with other columns of text where it repeats itself."""
    named = [c for c in labels if vocabulary.METHOD.search(c.title) and not vocabulary.other(list(c.parts))] or list(
        labels[:1]
    )
    chosen = named[:1]
    names = [_printed(" ".join(row.cells[c.index].text for c in chosen)) for row in rows]
    if len(set(names)) < len(names) or "" in names:
        several = [_printed(" ".join(dict.fromkeys(row.cells[c.index].text for c in labels))) for row in rows]
        if len(set(several)) > len(set(names)):
            names = several
    return [name or f"row {position}" for position, name in enumerate(names, start=1)]


def _printed(text: str) -> str:
    text = re.sub(r"\^\{?([^\s{}])\}?", r"\1", clean(text))
    return text.replace("**", "").strip().strip("_`").strip()


def _metric(column: Column, said: Mapping[int, bool]) -> Metric:
    if column.index in said:
        return Metric(column.index, column.title, said[column.index], True, "")
    arrows = any(vocabulary.arrow(part) is not None for part in column.parts)
    return Metric(column.index, column.title, vocabulary.direction(list(column.parts)), arrows, "")


def _metrics(
    columns: Sequence[Column], numbers: Sequence[Mapping[int, Number]], said: Mapping[int, bool]
) -> tuple[list[Metric], list[Column]]:
    """The columns of numbers, cut into metrics and what is none."""
    metrics, others = [], []
    for column in columns:
        if any(column.index in found for found in numbers):
            if column.index not in said and (vocabulary.other(list(column.parts)) or not column.parts):
                others.append(column)
            else:
                metrics.append(_metric(column, said))
    return metrics, others


def _with_tasks(metrics: Sequence[Metric], columns: Sequence[Column]) -> list[Metric]:
    """The metrics with their tasks: the upper header that several metrics share, or else what their names say."""
    shared: dict[int, str] = {}
    above = {m.index: columns[m.index].cells for m in metrics}
    for m in metrics:
        for cell in above[m.index]:
            group = [other for other in metrics if cell in above[other.index]]
            if len(group) < len(metrics) or len(metrics) == 1:
                shared[m.index] = cell.text if len(group) > 1 else vocabulary.task([cell.text]) or cell.text
                break
    grouped = any(list(shared.values()).count(name) > 1 for name in shared.values())
    tasks = {
        m.index: shared.get(m.index, m.title) if grouped else vocabulary.task([m.title]) or m.title for m in metrics
    }
    return [Metric(m.index, m.title, m.higher, m.stated, tasks[m.index]) for m in metrics]


def _scopes(
    delta: Column, deltas: Sequence[Column], metrics: Sequence[Metric], columns: Sequence[Column]
) -> tuple[tuple[Metric, ...], ...]:
    """The metrics that a delta may be the mean of: those under the same header, those of the task that it names, or all."""

    def below(column: Column) -> list[tuple[Metric, ...]]:
        """By the headers of a column, from the lowest: the metrics under each."""
        found = [tuple(m for m in metrics if cell in columns[m.index].cells) for cell in reversed(column.cells)]
        return [group for group in found if group]

    everything = tuple(metrics)
    own = below(delta)
    if own:
        return (own[0], everything) if own[0] != everything else (everything,)
    if any(below(other) for other in deltas):  # then a group without metrics is of another table
        group = [cell for cell in delta.cells if not vocabulary.delta([cell.text])]
        if group:
            return ()
    named = vocabulary.task([re.sub("\u0394|(?i:delta)", " ", delta.title)])
    of_task = tuple(m for m in metrics if m.task == named or vocabulary.task([m.title]) == named) if named else ()
    if of_task and len(deltas) > 1:
        return (of_task, everything)
    earlier = max((other.index for other in deltas if other.index < delta.index), default=-1)
    between = tuple(m for m in metrics if earlier < m.index < delta.index)
    if len(deltas) > 1 and between and between != everything:
        return (between, everything)
    return (everything,)


def _delta(column: Column, scopes: tuple[tuple[Metric, ...], ...], choices: Choices) -> Delta:
    said = next((s for part in reversed(column.parts) if (s := vocabulary.arrow(part)) is not None), None)
    lower = choices.lower_is_better if choices.lower_is_better is not None else None if said is None else not said
    by_task, by_metric = vocabulary.BY_TASK.search(column.title), vocabulary.BY_METRIC.search(column.title)
    mean = choices.mean or ("task" if by_task else "metric" if by_metric else None)
    return Delta(column.index, column.title, scopes, lower, mean)
