"""The rows of a table: a manifest's entries, joined with the finished cells of a store."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mtlbench.results.records.reading import Results
from mtlbench.results.records.record import CorruptRecord, Entry, Record, Score

Status = Literal["finished", "failed", "corrupt", "searching", "missing"]
UNFINISHED: tuple[Status, ...] = ("failed", "corrupt", "searching", "missing")


@dataclass(frozen=True)
class Run:
    """One row of a table at one seed: one cell, or one cell for each task where the models are single-task."""

    label: str
    seed: int
    entries: tuple[Entry, ...]
    records: Mapping[str, Record]  # by cell id; only cells that finished
    failures: Mapping[str, dict[str, Any]]  # by cell id
    corrupt: Mapping[str, str] = field(default_factory=dict)  # cell id -> why its record cannot be read

    @property
    def status(self) -> Status:
        """Finished when every cell is finished; failed when any cell has failed; corrupt when any has a record that
        cannot be read; otherwise searching or missing.

        A run is searching while a search stands for one of its cells.
        """
        return "finished" if len(self.records) == len(self.entries) else self._unfinished(self.entries)

    def scores(self) -> dict[str, Score]:
        """task -> primary score, from all finished cells."""
        return {score.task: score for score in self.all_scores() if score.primary}

    def all_scores(self) -> list[Score]:
        """Every score of every finished cell, in the order of the cells, and inside a cell in the record's order."""
        return [
            score
            for entry in self.entries
            if entry.id in self.records
            for score in self.records[entry.id].scores
            if score.task in entry.tasks and score.task in entry.task_set
        ]

    @property
    def diverged(self) -> bool:
        """Whether a cell of the run failed since a loss, a weight or a prediction was not finite."""
        return any(str(failure["error"]).startswith("Diverged") for failure in self.failures.values())

    def status_of(self, task: str) -> Status:
        """What became of the cell that trains `task`."""
        entries = [entry for entry in self.entries if task in entry.tasks]
        if entries and all(entry.id in self.records for entry in entries):
            return "finished"
        return self._unfinished(entries)

    def why(self, status: Status) -> list[str]:
        """Why cells of the run have no record, where a status such as "failed" has a reason."""
        if status == "corrupt":
            return [why for _, why in sorted(self.corrupt.items())]
        return [str(failure["error"]).strip().split("\n")[0] for _, failure in sorted(self.failures.items())]

    def _unfinished(self, entries: Sequence[Entry]) -> Status:
        if any(entry.id in self.failures for entry in entries):
            return "failed"
        if any(entry.id in self.corrupt for entry in entries):
            return "corrupt"
        return "searching" if any(entry.preliminary for entry in entries) else "missing"


@dataclass(frozen=True)
class Row:
    """A label of the manifest with its runs by seed."""

    label: str
    method: str
    runs: Mapping[int, Run]

    def finished(self) -> dict[int, dict[str, Score]]:
        """seed -> task -> primary score, of the runs in which every cell has finished."""
        return {seed: run.scores() for seed, run in self.runs.items() if run.status == "finished"}


@dataclass(frozen=True)
class Comparison:
    """A benchmark and a task set, with every row that is compared on them: one table."""

    benchmark: str
    tasks: tuple[str, ...]
    baseline: str  # the label that Eq. (6) divides by; "" where the matrix names none
    rows: Mapping[str, Row]  # by label, in the manifest's order
    constant: Record | None  # the best constant predictor
    parents: Mapping[str, Record]  # every record of the store's matrix by id: what a cell was derived from
    margin: float = 0.5  # points of Delta_m inside which two rows count as equivalent

    def trained(self) -> dict[str, dict[int, list[Record]]]:
        """label -> seed -> the records of the row's cells, of the runs in which every cell has finished."""
        return {
            label: {seed: [*run.records.values()] for seed, run in row.runs.items() if run.status == "finished"}
            for label, row in self.rows.items()
        }

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that any row was asked for."""
        return tuple(sorted({seed for row in self.rows.values() for seed in row.runs}))

    @property
    def slug(self) -> str:
        """A file name such as rooms-semseg-depth. For a benchmark package.module:Name, it starts with Name.

        It stays in the folder in which it is used, whatever the names are.
        """
        return re.sub(r"[^\w.-]", "_", "-".join((self.benchmark.rsplit(":", 1)[-1], *self.tasks))).lstrip(".")


def comparisons(results: Results) -> list[Comparison]:
    """One comparison per benchmark and task set, in the manifest's order.

    A cell that belongs to several task sets (a single-task model) is in each of their comparisons. Raises
    CorruptRecord: it names the cells where two cells of one row and seed train the same task, and it names the
    baseline where a table has no row of the baseline.
    """
    manifest = results.manifest
    keys = list(dict.fromkeys((entry.benchmark, entry.task_set) for entry in manifest.entries))
    found = []
    for benchmark, tasks in keys:
        entries = [entry for entry in manifest.entries if (entry.benchmark, entry.task_set) == (benchmark, tasks)]
        labels = list(dict.fromkeys(entry.label for entry in entries))
        if manifest.baseline and manifest.baseline not in labels:
            raise CorruptRecord(
                f"{manifest.name}: {benchmark} {'+'.join(tasks)} has no row {manifest.baseline!r}, the baseline; "
                f"its rows: {', '.join(labels)}"
            )
        rows = {label: row_of(results, [entry for entry in entries if entry.label == label]) for label in labels}
        constant = results.constants.get(benchmark)
        found.append(Comparison(benchmark, tasks, manifest.baseline, rows, constant, results.records, manifest.margin))
    return found


def row_of(results: Results, entries: Sequence[Entry]) -> Row:
    """The row of entries that share a label. Raises CorruptRecord where two cells of a seed train the same task."""
    runs = {}
    seeds: dict[int, list[Entry]] = {}
    for entry in entries:
        seeds.setdefault(entry.seed, []).append(entry)
    for seed, of_seed in sorted(seeds.items()):
        cells = _shown(of_seed)
        owner: dict[str, str] = {}
        for entry in cells:
            for task in entry.tasks:
                if task in owner:
                    raise CorruptRecord(
                        f"{entry.label}, seed {seed}: cells {owner[task]} and {entry.id} both train {task}"
                    )
                owner[task] = entry.id
        ids = [entry.id for entry in cells]
        runs[seed] = Run(
            entries[0].label,
            seed,
            cells,
            {e.id: results.records[e.id] for e in cells if e.id in results.records and not e.preliminary},
            {cell_id: results.failures[cell_id] for cell_id in ids if cell_id in results.failures},
            {cell_id: results.unreadable[cell_id] for cell_id in ids if cell_id in results.unreadable},
        )
    return Row(entries[0].label, entries[0].method, runs)


def _shown(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries without each search whose findings another cell is trained with."""
    last = {entry.tasks: entry for entry in entries}  # a search comes before the cell that follows it
    return tuple(entry for entry in entries if not entry.preliminary or entry is last[entry.tasks])
