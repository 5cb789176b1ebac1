"""The audit of a file of printed tables: each table read, judged, and explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlbench.results.papers import explain
from mtlbench.results.papers.columns import Choices, Table, tables
from mtlbench.results.papers.judge import IMPOSSIBLE, POSSIBLE, Judged, Verdict, judge
from mtlbench.results.papers.reading import sources
from mtlbench.results.papers.reading.grid import BadTable, NoDelta


@dataclass(frozen=True)
class Explained:
    """A verdict, and what may be behind it where it is that the row is impossible."""

    verdict: Verdict
    readings: tuple[str, ...] = ()
    changes: tuple[explain.Change, ...] = ()


@dataclass(frozen=True)
class Audited:
    number: int  # among the tables of the file that have a Δm; the panels of one table share it
    table: Table
    judged: tuple[Judged, ...]
    rows: tuple[Explained, ...]
    notes: tuple[str, ...]

    @property
    def impossible(self) -> int:
        return sum(row.verdict.verdict == IMPOSSIBLE for row in self.rows)

    @property
    def compared(self) -> int:
        """How many printed deltas were judged, besides those of baselines, which say nothing."""
        return sum(row.verdict.verdict in (POSSIBLE, IMPOSSIBLE) and not row.verdict.is_baseline for row in self.rows)


@dataclass(frozen=True)
class File:
    """The tables of a file, and a line for each that prints a Δm and could not be audited."""

    tables: tuple[Audited, ...]
    unread: tuple[str, ...]
    without_delta: int  # tables of something else


def audit_file(source: str | Path, choices: Choices) -> File:
    """Audit every table of a file, or of standard input for "-". Raises BadTable where none can be, and OSError."""
    return audit_text(sources.text_of(source), sources.name_of(source), choices)


def audit_text(text: str, name: str, choices: Choices) -> File:
    """Audit every table of a text. name: for messages. Raises BadTable where none can be audited."""
    found: list[Audited] = []
    unread: list[str] = []
    other: list[str] = []
    grids = sources.tables(text, name)
    if not grids:
        raise BadTable(f"{name}: no table was found; {sources.NEEDED}")
    number = 0
    for grid in grids:
        chosen = choices.table in (None, number + 1)
        number += 1
        try:
            if isinstance(grid, BadTable):
                raise grid
            read = list(tables(grid, choices if chosen else Choices()))
            found += [_audited(number, table, choices) for table in read if chosen]
        except NoDelta as error:
            number -= 1
            other.append(_located(name, error))
        except BadTable as error:
            unread += [_located(name, error)] if chosen else []
    if choices.table is not None and choices.table > number:
        raise BadTable(f"{name}: --table is {choices.table}, and the tables with a column of Δm are {number}")
    if not found:
        raise BadTable((unread or other)[0])
    return File(tuple(found), tuple(unread), len(other))


def _located(name: str, error: BadTable) -> str:
    said = str(error)
    return f"{name}:{said.removeprefix('line ')}" if said.startswith("line ") else f"{name}: {said}"


def _audited(number: int, table: Table, choices: Choices) -> Audited:
    judged = judge(table, choices)
    rows = [_explained(table, column, verdict) for column in judged for verdict in column.verdicts]
    return Audited(number, table, tuple(judged), tuple(rows), tuple(explain.notes(table, judged)))


def _explained(table: Table, judged: Judged, verdict: Verdict) -> Explained:
    if verdict.verdict != IMPOSSIBLE:
        return Explained(verdict)
    readings = explain.readings(table, judged, verdict)
    return Explained(verdict, tuple(readings), tuple(explain.changes(table, judged, verdict)))


def count(tables: Sequence[Audited]) -> tuple[int, int]:
    """How many printed deltas are impossible, and how many were compared."""
    return sum(table.impossible for table in tables), sum(table.compared for table in tables)
