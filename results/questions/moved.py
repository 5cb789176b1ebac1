"""Did a change of the code move anything? The cells of a matrix that two stores have, paired by their ids.

The id of a cell is a hash of its configuration. So equal ids are the same experiment, whatever code has run it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fsspec.implementations.local import LocalFileSystem

from mtlbench.results.records.reading import Results, matrices, open_store, read
from mtlbench.results.records.record import Record, Score, differences
from mtlbench.results.statistics.intervals import Interval, paired_interval
from mtlbench.results.statistics.verdicts import Verdict, of_interval
from mtlbench.results.summary.columns import distance
from mtlbench.results.summary.runs import Row, comparisons

ROUNDING = 1e-12  # of the largest score: half of the shortest interval, so that rounding alone gives no verdict


class NothingInCommon(ValueError):
    """Two stores that cannot be held against each other. The message names them and the way out."""


@dataclass(frozen=True)
class Shift:
    """A task's primary score of a row in both stores, over the seeds whose cells both stores have finished."""

    label: str
    task: str
    pairs: Mapping[int, tuple[str, Score, Score]]  # seed -> cell id, old score, new score; only defined scores
    strange: tuple[str, ...]  # how the two scores differ in what they measure; such a row is not compared
    undefined: tuple[int, ...]  # the seeds whose score is undefined in either store
    interval: Interval | None = None  # of new minus old, at the level of `Moved`; None for one seed and for equal bits
    verdict: Verdict | Literal["equal", "one seed", "not compared"] = "not compared"  # of the new scores

    @property
    def old(self) -> float:
        return _mean([old.value for _, old, _ in self.pairs.values()])

    @property
    def new(self) -> float:
        return _mean([new.value for _, _, new in self.pairs.values()])

    @property
    def differences(self) -> dict[int, float]:
        """seed -> new minus old, in the unit of the score."""
        return {seed: _value(new) - _value(old) for seed, (_, old, new) in self.pairs.items()}

    @property
    def difference(self) -> float:
        return _mean(list(self.differences.values()))

    @property
    def score(self) -> Score | None:
        """A score that says how the others are printed."""
        return next((new for _, _, new in self.pairs.values()), None)

    @property
    def moved(self) -> int:
        """How many of the seeds have another score."""
        return sum(difference != 0 for difference in self.differences.values())


@dataclass(frozen=True)
class Single:
    """A cell that one of the two stores has not finished."""

    id: str
    label: str
    seed: int
    store: Literal["old", "new"]  # the store that has finished the cell
    other: Literal["failed", "corrupt", "not finished", "not asked for"]  # what the other store says of it


@dataclass(frozen=True)
class Moved:
    """What two stores say of one matrix."""

    old: Results
    new: Results
    common: tuple[str, ...]  # the cells that both stores have finished, by id
    moved: tuple[str, ...]  # those of them of which any score differs
    beside: tuple[str, ...]  # those of `moved` of which no primary score differs
    singles: tuple[Single, ...]
    tables: Mapping[tuple[str, tuple[str, ...]], tuple[Shift, ...]]  # by benchmark and task set: row by row
    compared: int  # how many intervals hold together with a probability of 95 %

    @property
    def labels(self) -> dict[str, list[str]]:
        """The rows of the common cells, those of the controls too -> the cells of the row that moved."""
        entries = self.new.manifest.cells()
        found: dict[str, list[str]] = {entries[cell_id].label: [] for cell_id in self.common}
        for cell_id in self.moved:
            found[entries[cell_id].label].append(cell_id)
        return found

    def records(self) -> tuple[list[Record], list[Record]]:
        """The records of the common cells, old and new."""
        old, new = ([results.records[cell_id] for cell_id in self.common] for results in (self.old, self.new))
        return old, new


def against(store: str, names: Sequence[str], other: str) -> dict[str, Moved]:
    """What each matrix of `store` says against the same matrix of `other`, the old store.

    names: the matrices, all of which `other` must hold; [] means those that both stores hold. Raises FileNotFoundError
    where `other` lacks one, and NothingInCommon where it is the same store, where no matrix is in both stores, or where
    no cell is finished in both.
    """
    if _place(store) == _place(other):
        raise NothingInCommon(
            f"--against {other}: this is the store of the report itself; give the store, or a copy, of another commit"
        )
    known = matrices(other)
    shared = list(names) or [name for name in matrices(store) if name in known]
    if not shared:
        raise NothingInCommon(
            f"--against {other}: it holds no matrix of {store}; it holds: {', '.join(known) or 'none'}"
        )
    found = {name: moved(read(store, name), read(other, name)) for name in shared}
    if not any(one.common for one in found.values()):
        raise NothingInCommon(
            f"--against {other}: no cell of {', '.join(shared)} is finished there and in {store}; the id of a cell "
            "is a hash of its configuration, so run the same matrix file in both"
        )
    return found


def moved(new: Results, old: Results) -> Moved:
    asked = new.manifest.cells()
    common = tuple(cell_id for cell_id in asked if cell_id in new.records and cell_id in old.records)
    pairs = {cell_id: (new.records[cell_id].scores, old.records[cell_id].scores) for cell_id in common}
    changed = tuple(cell_id for cell_id, (one, two) in pairs.items() if _differ(one, two))
    beside = tuple(cell_id for cell_id in changed if not _differ(*map(_primary, pairs[cell_id])))
    tables = {
        (comparison.benchmark, comparison.tasks): [
            _shift(row, task, old.records) for row in comparison.rows.values() for task in comparison.tasks
        ]
        for comparison in comparisons(new)
    }
    every = [shift for shifts in tables.values() for shift in shifts]
    # A single-task cell may be in several tables, where it is one comparison.
    told = {(shift.label, shift.task, *shift.differences) for shift in every if shift.moved and len(shift.pairs) > 1}
    judged = {key: tuple(_judged(s, len(told), new.manifest.margin) for s in of) for key, of in tables.items()}
    singles = (*_singles(new, old, "new"), *_singles(old, new, "old"))
    return Moved(old, new, common, changed, beside, singles, judged, len(told))


def _shift(row: Row, task: str, old: Mapping[str, Record]) -> Shift:
    both = {
        seed: (entry.id, old[entry.id].primary().get(task), run.records[entry.id].primary().get(task))
        for seed, run in row.runs.items()
        for entry in run.entries
        if task in entry.tasks and entry.id in run.records and entry.id in old
    }
    scored = {seed: (cell_id, one, two) for seed, (cell_id, one, two) in both.items() if one and two}
    pairs = {seed: pair for seed, pair in scored.items() if pair[1].value is not None and pair[2].value is not None}
    strange = dict.fromkeys(phrase for _, one, two in pairs.values() for phrase in distance(two, one))
    return Shift(row.label, task, pairs, tuple(strange), tuple(seed for seed in both if seed not in pairs))


def _judged(shift: Shift, compared: int, margin: float) -> Shift:
    """The shift with its interval and its verdict. margin: in percent of the old mean."""
    if not shift.pairs or shift.strange:
        return shift
    if not shift.moved:
        return replace(shift, verdict="equal")
    interval = paired_interval(list(shift.differences.values()), 1 - 0.05 / compared) if len(shift.pairs) > 1 else None
    if interval is None:
        return replace(shift, verdict="one seed")
    largest = max(abs(_value(score)) for _, *scores in shift.pairs.values() for score in scores)
    interval = interval._replace(half=max(interval.half, ROUNDING * largest))
    higher = shift.score is None or shift.score.higher_is_better
    low, high = (interval.low, interval.high) if higher else (-interval.high, -interval.low)
    return replace(shift, interval=interval, verdict=of_interval(low, high, margin / 100 * abs(shift.old)))


def _singles(one: Results, other: Results, name: Literal["old", "new"]) -> list[Single]:
    """The cells that only the first of two stores has finished."""
    theirs = other.manifest.cells()
    found = []
    for cell_id, entry in one.manifest.cells().items():
        if cell_id in one.records and cell_id not in other.records:
            said = _unfinished(other, cell_id) if cell_id in theirs else "not asked for"
            found.append(Single(cell_id, entry.label, entry.seed, name, said))
    return found


def _unfinished(results: Results, cell_id: str) -> Literal["failed", "corrupt", "not finished"]:
    """What a store says of a cell that it was asked for and has not finished."""
    if cell_id in results.unreadable:
        return "corrupt"
    return "failed" if cell_id in results.failures else "not finished"


def _differ(one: Sequence[Score], other: Sequence[Score]) -> bool:
    """Whether any score has another value, or measures something else."""
    mine, theirs = ({(score.task, score.metric): score for score in scores} for scores in (one, other))
    return mine.keys() != theirs.keys() or any(
        score.value != theirs[key].value or bool(differences(score, theirs[key])) for key, score in mine.items()
    )


def _primary(scores: Sequence[Score]) -> list[Score]:
    return [score for score in scores if score.primary]


def _place(store: str) -> tuple[str, str]:
    """What two names of one store have in common."""
    fs, root = open_store(store)
    if isinstance(fs, LocalFileSystem):
        return "", os.path.realpath(root)
    return store.split("://")[0], str(root).rstrip("/")


def _value(score: Score) -> float:
    return math.nan if score.value is None else score.value


def _mean(values: Sequence[float | None]) -> float:
    found = [math.nan if value is None else value for value in values]
    return math.fsum(found) / len(found) if found else math.nan
