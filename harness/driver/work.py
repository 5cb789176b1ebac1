"""The chosen cells of a matrix, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from mtlbench.harness.driver.standing import Look, Origin, Standing, blocked, fits_none, made_otherwise, recorded, rows
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import Matrix
from mtlbench.harness.matrix.expand import NO_RECORDS, Planned, expand, manifest, plan
from mtlbench.harness.store import provenance
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.record import Manifest, Record

Rerun = Literal["none", "failed", "stale", "all"]  # which cells start anew instead of going on or being kept


def survey(
    matrix: Matrix, look: Look, known: Mapping[str, Record] = NO_RECORDS
) -> tuple[list[Planned], dict[str, Record]]:
    """Every cell of the matrix, and the records of its cells. It looks again while a record leads to another cell.

    Records that are `known` are not looked up again.
    """
    records, seen = dict(known), set(known)
    planned = expand(matrix, records)
    while fresh := [cell_id for cell_id in dict.fromkeys(item.cell.id for item in planned) if cell_id not in seen]:
        seen.update(fresh)
        records |= look(fresh)
        planned = expand(matrix, records)
    return planned, records


def select(planned: Iterable[Planned], only: Sequence[str]) -> list[Planned]:
    """The planned cells whose id or label contains a word of `only`; all cells where `only` is empty.

    With a trial come all trials that it is judged with: without them there is nothing to choose from. With a cell come
    the cells that it starts from.
    """
    found = list(planned)
    fitting = named(found, only)
    before = {item.cell.id: set(item.entry.starts) for item in found}
    while more := set[str]().union(*(before[cell_id] for cell_id in fitting)) - fitting:
        fitting |= more
    choices = {item.trial.choice for item in found if item.trial is not None and item.cell.id in fitting}
    return [
        item for item in found if item.cell.id in fitting or (item.trial is not None and item.trial.choice in choices)
    ]


def named(planned: Iterable[Planned], only: Sequence[str]) -> set[str]:
    """The ids of the planned cells whose id or label contains a word of `only`; all ids where `only` is empty."""
    return {item.cell.id for item in planned if not only or any(_fits(item, word) for word in only)}


def require(planned: Sequence[Planned], only: Sequence[str]) -> None:
    """Raise ValueError where a word of `only` fits no cell."""
    for word in only:
        if not any(_fits(item, word) for item in planned):
            raise ValueError(fits_none(word, {item.cell.id: item.entry.label for item in planned}))


def _fits(item: Planned, word: str) -> bool:
    return word in item.cell.id or word in item.entry.label


def title(item: Planned) -> str:
    """A title such as "PAD-Net · semseg+depth · seed 0"; "ATRC, search · ..." for a search."""
    label = ", ".join(filter(None, [item.entry.label, item.control]))
    if item.trial is not None:
        label += f", trial {item.trial.number}"
    elif item.entry.preliminary:
        label += ", search"
    return f"{label} · {'+'.join(item.cell.tasks)} · seed {item.cell.seed}"


class Work:
    """The chosen cells of a matrix, and what is left to do. It grows: the record of a search leads to another cell."""

    def __init__(
        self,
        matrix: Matrix,
        store: Store,
        only: Sequence[str],
        look: Look,
        constants: Mapping[str, str],
        origin: Origin,
        command: str,
    ) -> None:
        self.matrix, self.store, self.only, self.look = matrix, store, only, look
        self.constants, self.origin, self.command = constants, origin, command
        self.records: dict[str, Record] = {}
        self.planned: list[Planned] = []  # the chosen cells, once for each place that needs them
        self.cells: dict[str, Planned] = {}  # by id
        self.finished: set[str] = set()  # ids of the cells that have records, as far as this run knows
        self.looked: set[str] = set()  # those of them that were there at the last look for what they lead to
        self.todo: list[str] = []  # ids of the cells that had no record when they were planned
        self.refresh()

    def refresh(self) -> list[Planned]:
        """Look for records, plan what they lead to, and return the cells that are new and to be trained."""
        planned, self.records = survey(self.matrix, self.look, self.records)
        self.finished |= self.records.keys()
        self.looked = set(self.finished)
        self.planned = select(planned, self.only)
        fresh = {item.cell.id: item for item in self.planned if item.cell.id not in self.cells}
        self.cells |= fresh
        waiting = [item for cell_id, item in fresh.items() if cell_id not in self.records]
        for item in waiting:
            self.store.put_cell(item.cell)
            # A cell that failed goes on from its last checkpoint.
            self.store.remove(files.failure(item.cell.id))
        self.todo += [item.cell.id for item in waiting]
        return waiting

    def ready(self) -> list[Cell]:
        """The cells to run, without those that start from a cell that is not trained yet."""
        return [self.cells[i].cell for i in self.todo if self.finished.issuperset(self.cells[i].entry.starts)]

    def blocked(self) -> list[str]:
        """A line for each cell that cannot start, because a cell that it starts from has failed."""
        if not any(item.entry.starts for item in self.cells.values()):
            return []
        titles = {i: title(item) for i, item in self.cells.items()}
        found = rows(self.store, self.store.folders(), titles, (), {})
        return blocked(found, {i: item.entry.starts for i, item in self.cells.items()})

    def found(self) -> bool:
        """Whether a search has finished since the last look: only then is there more to plan."""
        return any(self.cells[cell_id].entry.preliminary for cell_id in self.finished - self.looked)

    def publish(self) -> Manifest:
        """Write into the store which cells the matrix expects by now."""
        expected = manifest(self.matrix, self.constants, self.records)
        contents = replace(expected, written=self.origin.digest, command=self.command)
        if self.origin.text:
            self.store.put(files.matrix_text(self.matrix.name), self.origin.text)
        else:
            self.store.remove(files.matrix_text(self.matrix.name))  # of another run, which had asked for other cells
        self.store.put(files.matrix(self.matrix.name), contents.to_json())
        return contents


def starts_anew(rerun: Rerun, cell_id: str, records: Mapping[str, Record], store: Store) -> bool:
    record = records.get(cell_id)
    if rerun == "all":
        return True
    if rerun == "failed":
        return store.state(cell_id) == "failed"
    return rerun == "stale" and record is not None and stale(record)


def stale(record: Record) -> bool:
    """Whether code that can move the record's numbers, ours or from outside, has changed since the record was made."""
    try:
        plugin = provenance.plugin_hash(record.cell)
    except ValueError:  # something from outside cannot be imported any more
        return True
    return made_otherwise(record) or record.provenance.get("plugin") != plugin


def standing_of(matrix: Matrix, store: Store) -> Standing:
    """How far the cells of a matrix are, whether a run has begun or not."""
    unreadable: dict[str, str] = {}
    folders = store.folders()
    planned, records = survey(matrix, recorded(store, unreadable, folders))
    titles: dict[str, str] = {}
    for item in planned:  # the first place that needs a cell names it
        titles.setdefault(item.cell.id, title(item))
    old = [cell_id for cell_id, record in records.items() if stale(record)]
    found = rows(store, folders, titles, old, unreadable)
    stuck = blocked(found, {item.cell.id: item.entry.starts for item in planned})
    return Standing(found, plan(matrix, records)[1] + stuck, unreadable)
