"""What a store holds, matrix by matrix: `mtlbench status` without a matrix. It needs neither torch nor scipy."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple, TypedDict

from mtlbench.harness.driver.bars import duration
from mtlbench.harness.driver.standing import made_otherwise, manifest_of, recorded
from mtlbench.harness.store.store import Store, state_of
from mtlbench.results.records import files
from mtlbench.results.records.reading import Results
from mtlbench.results.records.record import CorruptRecord, Entry, Manifest, Record
from mtlbench.results.report.display import signed
from mtlbench.results.statistics.delta import IncomparableScores, delta_m
from mtlbench.results.summary.runs import Row, comparisons


class Delta(TypedDict):
    """Δm of a row so far: the mean over the seeds that the row and the baseline have both finished."""

    benchmark: str
    tasks: list[str]
    row: str
    baseline: str
    mean: float  # in percent
    seeds: int


class Held(TypedDict):
    """A matrix of a store."""

    matrix: str
    cells: dict[str, int]  # state, as in a `standing.Row` -> how many
    last: str  # when the last cell was finished; "" where none is
    deltas: list[Delta]
    seconds_left: float | None  # of training, by what finished cells of the same rows took; None: nothing is known
    at_least: bool  # whether seconds_left is a lower bound, because some rows have no finished cell


def held(store: Store, left_out: dict[str, str]) -> list[Held]:
    """The matrices of a store. Why a manifest cannot be read is put into `left_out`, by the name of the matrix."""
    found, folders = [], store.folders()
    for name in files.matrix_names(store.names(files.MATRICES, "file")):
        try:
            manifest, unreadable = manifest_of(store, name), dict[str, str]()
        except CorruptRecord as error:
            left_out[name] = str(error)
            continue
        cells = manifest.cells()
        records = recorded(store, unreadable, folders)(list(cells))
        states: dict[str, str] = {cell_id: state_of(folders.get(cell_id, ())) for cell_id in cells}
        states |= {cell_id: "stale" for cell_id, record in records.items() if made_otherwise(record)}
        states |= dict.fromkeys(unreadable, "corrupt")
        left = _left(cells, records, states)
        found.append(
            Held(
                matrix=name,
                cells=dict(Counter(states.values())),
                last=max((str(record.provenance.get("finished", "")) for record in records.values()), default=""),
                deltas=_deltas(store, manifest, records),
                seconds_left=left.seconds,
                at_least=left.at_least,
            )
        )
    return found


def _deltas(store: Store, manifest: Manifest, records: Mapping[str, Record]) -> list[Delta]:
    """Δm of each row but the baselines. The report leaves out further runs, such as those of other protocols."""
    found = []
    for comparison in comparisons(Results(store.url, manifest, records, {}, {}, {})):
        baseline = comparison.rows.get(comparison.baseline)
        for row in comparison.rows.values() if baseline is not None else ():
            if baseline is None or row.label == baseline.label or not (values := _paired(row, baseline)):
                continue
            found.append(
                Delta(
                    benchmark=comparison.benchmark,
                    tasks=list(comparison.tasks),
                    row=row.label,
                    baseline=baseline.label,
                    mean=statistics.fmean(values),
                    seeds=len(values),
                )
            )
    return found


def _paired(row: Row, baseline: Row) -> list[float]:
    """Δm of each seed that both rows have finished, where it is defined."""
    mine, theirs = row.finished(), baseline.finished()
    found = []
    for seed in sorted(mine.keys() & theirs.keys()):
        try:
            found.append(delta_m(mine[seed], theirs[seed]))
        except IncomparableScores:  # the report says why
            continue
    return [value for value in found if math.isfinite(value)]


class Left(NamedTuple):
    seconds: float | None
    at_least: bool


def _left(cells: Mapping[str, Entry], records: Mapping[str, Record], states: Mapping[str, str]) -> Left:
    """The training that is left: a cell takes as long as the finished cells of its row with as many tasks did."""
    took = defaultdict[tuple[str, str, int], list[float]](list)
    for cell_id, record in records.items():
        took[_kind(cells[cell_id])].append(record.cost.get("train_seconds", math.nan))
    missing = [entry for cell_id, entry in cells.items() if cell_id not in records and states[cell_id] != "trained"]
    times = [statistics.median(took[kind]) if (kind := _kind(entry)) in took else math.nan for entry in missing]
    known = [seconds for seconds in times if math.isfinite(seconds)]
    return Left(sum(known) if known or not missing else None, len(known) < len(missing))


def _kind(entry: Entry) -> tuple[str, str, int]:
    return entry.benchmark, entry.label, len(entry.tasks)


def shown(one: Held, now: datetime) -> str:
    """What is said of a matrix."""
    counts = ", ".join(f"{count} {state}" for state, count in one["cells"].items())
    last = f"; the last one finished {ago(one['last'], now)}" if one["last"] else ""
    lines = [f"{one['matrix']}: {sum(one['cells'].values())} cells, {counts}{last}"]
    tables = defaultdict[tuple[str, ...], list[Delta]](list)
    for delta in one["deltas"]:
        tables[delta["benchmark"], "+".join(delta["tasks"]), delta["baseline"]].append(delta)
    for (benchmark, tasks, baseline), deltas in tables.items():
        lines.append(f"  {benchmark} {tasks}: mean Δm so far against {baseline}")
        width = max(len(delta["row"]) for delta in deltas)
        lines += [f"    {each['row']:{width}}  {signed(each['mean']):>8} %  {_seeds(each['seeds'])}" for each in deltas]
    if one["seconds_left"]:
        about = "at least" if one["at_least"] else "about"
        lines.append(f"  {about} {duration(one['seconds_left'])} of training left, one cell at a time")
    return "\n".join(lines)


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def ago(when: str, now: datetime) -> str:
    """A time in words, as "2 hours ago". What is no time is returned as it is."""
    try:
        then = datetime.fromisoformat(when)
    except ValueError:
        return when
    seconds = (now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if count := int(seconds // size) if seconds > 0 else 0:
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "less than a minute ago"
