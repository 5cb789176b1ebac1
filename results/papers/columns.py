"""What the columns and rows of a grid are: the method, the metrics with their directions, and the printed deltas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mtlbench.results.papers import vocabulary
from mtlbench.results.papers.header import NEEDED, Column, check_spans, columns_of, panels, turn
from mtlbench.results.papers.reading.grid import BadTable, Grid, NoDelta, Row
from mtlbench.results.papers.reading.numbers import Number, clean, missing, number

MOST_NUMBERS = 0.3  # of the rows, in a column of text


@dataclass(frozen=True)
class Choices:
    """What a user says of a table, instead of what is found in it. A column is its number or a part of its title."""

    baseline_row: str | None = None
    metrics: tuple[str, ...] = ()
    directions: Mapping[str, bool] = field(default_factory=dict)  # column -> whether higher is better
    deltas: tuple[str, ...] = ()
    lower_is_better: bool | None = None
    mean: str | None = None  # "metric", "task" or "log"
    table: int | None = None  # of those in the file that have a Delta_m, from 1; None: all


@dataclass(frozen=True)
class Metric:
    index: int
    title: str
    higher: bool | None  # whether higher is better; None: nobody knows
    stated: bool  # whether an arrow says so
    fixed: bool  # whether the user says so
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
    for header, rows in panels(grid):
        try:
            yield _table(grid, header, rows, choices)
            found += 1
        except NoDelta as error:
            reason = reason or error
    if not found and reason:
        turned = turn(grid)
        if turned is None:
            raise reason
        yield from tables(turned, choices)


def _table(grid: Grid, header: list[Row], rows: list[Row], choices: Choices) -> Table:
    line = rows[0].line
    if not header:
        raise NoDelta(f"line {line}: numbers without a header; {NEEDED}")
    check_spans(grid, header)
    columns = columns_of(header, grid.width)
    numbers: list[dict[int, Number]] = [
        {column: value for column, cell in enumerate(row.cells) if (value := number(cell.text))} for row in rows
    ]
    chosen = [resolve(columns, name) for name in choices.deltas]
    deltas = chosen or _named_deltas(columns, numbers, rows, line)
    for row, found in zip(rows, numbers, strict=True):
        arrowed = {delta.index: number(row.cells[delta.index].text, arrows=True) for delta in deltas}
        found.update({column: value for column, value in arrowed.items() if value})
    labels, rest = _labels(columns, [delta.index for delta in deltas], numbers, rows)
    said = {resolve(columns, name).index: higher for name, higher in choices.directions.items()}
    metrics, others = _metrics(rest, numbers, said)
    if choices.metrics:
        metrics = [_metric(resolve(columns, name), said) for name in choices.metrics]
        others = [c for c in others if c.index not in {m.index for m in metrics}]
    metrics = _with_tasks(metrics, columns)
    if not metrics:
        raise NoDelta(
            f"line {line}: no column of a metric beside {deltas[0].title!r}; name them with --metrics COLUMNS"
        )
    named = (tuple(metrics),) if choices.metrics else ()
    scoped = {delta.index: named or _scopes(delta, deltas, metrics, columns) for delta in deltas}
    judged = tuple(_delta(delta, scoped[delta.index], choices) for delta in deltas if scoped[delta.index])
    entries = [
        Entry(row.line, name, found, tuple(row.texts()), not grid.pads and row.printed < grid.width)
        for row, found, name in zip(rows, numbers, _names(rows, labels), strict=True)
    ]
    entries = _with_joint_baseline(entries, [metric.index for metric in metrics])
    unjudged = tuple(delta for delta in deltas if not scoped[delta.index])
    return Table(
        grid.line, grid.caption, tuple(columns), tuple(entries), tuple(metrics), judged, unjudged, tuple(others)
    )


def _named_deltas(
    columns: Sequence[Column], numbers: Sequence[Mapping[int, Number]], rows: Sequence[Row], line: int
) -> list[Column]:
    """The columns that are named as deltas are. Raises NoDelta where none is, and BadTable where all are empty."""
    named = [column for column in columns if vocabulary.delta(list(column.parts))]
    filled = [column for column in named if any(column.index in found for found in numbers)]
    if not named:
        titles = ", ".join(column.title for column in columns)
        raise NoDelta(f"line {line}: no column of Δm among {titles[:200]}; name it with --delta COLUMN")
    if not filled:
        most = max(row.printed for row in rows)
        raise BadTable(
            f"line {line}: column {named[0].index} {named[0].title!r} has no number, and the rows fill {most} of "
            f"{len(columns)} columns; see whether the merged cells of the header add up"
        )
    return filled


def _labels(
    columns: Sequence[Column], deltas: Sequence[int], numbers: Sequence[Mapping[int, Number]], rows: Sequence[Row]
) -> tuple[list[Column], list[Column]]:
    """The columns of text, and the columns of numbers besides the deltas."""
    labels: list[Column] = []
    rest: list[Column] = []
    for column in columns:
        index = column.index
        count = sum(index in found for found in numbers)
        said = any(row.cells[index].text and not missing(row.cells[index].text) for row in rows)
        named = index == 0 or not vocabulary.metric(list(column.parts))
        if index in deltas:
            continue
        (labels if count <= MOST_NUMBERS * len(rows) and said and named else rest).append(column)
    return labels, rest


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
    ways = [[_printed(row.cells[column.index].text) for row in rows] for column in named] or [[""] * len(rows)]
    names = max(ways, key=lambda way: len(set(way) - {""}))
    if len(set(names)) < len(names) or "" in names:
        several = [
            _printed(" ".join(cell.text for cell in dict.fromkeys(row.cells[c.index] for c in labels))) for row in rows
        ]
        if len(set(several)) > len(set(names)):
            names = several
    return [name or f"row {position}" for position, name in enumerate(names, start=1)]


def _with_joint_baseline(entries: list[Entry], metrics: Sequence[int]) -> list[Entry]:
    """The rows, and before them one of all single-task models, where each of them prints a row with its own metrics."""
    single = [entry for entry in entries if vocabulary.single_task(entry.method)]
    printed = [column for entry in single for column in metrics if column in entry.numbers]
    if len(single) < 2 or sorted(printed) != sorted(metrics):
        return entries
    numbers = {column: entry.numbers[column] for entry in single for column in metrics if column in entry.numbers}
    name = " + ".join(dict.fromkeys(entry.method for entry in single))
    return [Entry(single[0].line, name, numbers, (), False), *entries]


def _printed(text: str) -> str:
    text = re.sub(r"\^\{?([^\s{}])\}?", r"\1", clean(text))
    return text.replace("**", "").strip().strip("_`").strip()


def _metric(column: Column, said: Mapping[int, bool]) -> Metric:
    if column.index in said:
        return Metric(column.index, column.title, said[column.index], True, True, "")
    arrows = any(vocabulary.arrow(part) is not None for part in column.parts)
    return Metric(column.index, column.title, vocabulary.direction(list(column.parts)), arrows, False, "")


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
    return [replace(m, task=tasks[m.index]) for m in metrics]


def _scopes(
    delta: Column, deltas: Sequence[Column], metrics: Sequence[Metric], columns: Sequence[Column]
) -> tuple[tuple[Metric, ...], ...]:
    """The metrics that a delta may be the mean of: under the same header, of the task that it names, or all."""

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
