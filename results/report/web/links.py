"""What a page shows of MLflow: addresses of the runs that MLflow has of the rows and cells of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from mtlbench.results.report.display import task_set
from mtlbench.results.summary.runs import Row, Run
from mtlbench.results.summary.summary import Summary

Key = tuple[str, str, str]  # label, tasks, benchmark: what tells a row of a matrix from the other rows


class Links(NamedTuple):
    """Addresses of what MLflow has of a matrix. Without any, a page has no links to MLflow."""

    server: str = ""
    pages: Mapping[str, str] = MappingProxyType({})  # name -> address; the first is that of the rows
    rows: Mapping[Key, str] = MappingProxyType({})
    cells: Mapping[str, str] = MappingProxyType({})  # by cell id

    @property
    def first(self) -> str:
        """The page of the rows; "" where there is none."""
        return next(iter(self.pages.values()), "")


NO_LINKS = Links()


class Linked(NamedTuple):
    """Words that lead to an address, or plain words where the address is empty."""

    text: str
    address: str


def linked(section: Mapping[str, Any], summary: Summary, links: Links) -> dict[str, Any]:
    """A section of the page with the addresses of its rows, and with a line for the cells of each row."""
    addresses = {label: links.rows.get(key_of(summary, label), "") for label in summary.rows}
    lines = [line for row in summary.rows.values() for line in _lines(row.row, links)] if links.server else []
    return {**section, "addresses": addresses, "runs": lines}


def key_of(summary: Summary, label: str) -> Key:
    return label, "+".join(summary.comparison.tasks), summary.comparison.benchmark


def _lines(row: Row, links: Links) -> Iterator[tuple[str, str, list[Linked]]]:
    """(label, tasks of a cell, a link for each seed). A row of single-task networks has a line for each task."""
    found: dict[tuple[str, ...], list[Linked]] = {}
    for seed, run in sorted(row.runs.items()):
        for entry in run.entries:
            cell = Linked(f"{seed}{_unless_finished(run, entry.id)}", links.cells.get(entry.id, ""))
            found.setdefault(entry.tasks, []).append(cell)
    return ((row.label, task_set(tasks), cells) for tasks, cells in found.items())


def _unless_finished(run: Run, cell_id: str) -> str:
    if cell_id in run.records:
        return ""
    if cell_id in run.corrupt:
        return " (corrupt)"
    return " (failed)" if cell_id in run.failures else " (missing)"
