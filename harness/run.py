"""What `mtlbench run` does: a matrix, a store, and every cell that is not finished yet."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import Progress, TaskID

from harness import constant, preflight, provenance, tracking
from harness.attempt import Settings
from harness.cell import Cell
from harness.matrix import Matrix, Planned, expand, make_benchmark, manifest, plan
from harness.progress import Watch
from harness.store import Store
from results.delta import delta_m, relative_gain
from results.record import Manifest, Record, read
from results.report import Report, report
from results.runs import comparisons

Rerun = Literal["none", "failed", "stale", "all"]  # which cells start anew instead of going on or being kept


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    finished: int
    missing: list[str]  # ids of cells without a record
    failures: dict[str, str]  # id -> error, of those that failed
    below_constant: dict[str, list[str]]  # id -> tasks that do not beat the best constant prediction
    report: Report


def select(matrix: Matrix, only: Sequence[str]) -> list[Planned]:
    """The planned cells whose id or label contains one of `only`; all where it is empty.

    Raises ValueError where a word of `only` fits none.
    """
    planned = expand(matrix)
    for word in only:
        if not any(word in item.cell.id or word in item.entry.label for item in planned):
            labels = ", ".join(dict.fromkeys(item.entry.label for item in planned))
            raise ValueError(f"--only {word}: fits no cell's id and no label; labels: {labels}")
    return [
        item for item in planned if not only or any(word in item.cell.id or word in item.entry.label for word in only)
    ]


def title(item: Planned) -> str:
    """As in "PAD-Net · semseg+depth · seed 0"."""
    return f"{item.entry.label} · {'+'.join(item.cell.tasks)} · seed {item.cell.seed}"


def prepare(matrix: Matrix, folders: Mapping[str, Path], cells: Sequence[Cell], console: Console) -> None:
    """Make what has to be made (rooms are rendered once), and raise NotReady with all that is wrong with the data."""
    problems = preflight.batches(cells, matrix.resources) + preflight.weights(matrix.backbone)
    with Progress(console=console, transient=True) as bars:
        for entry in matrix.benchmarks:
            bar = bars.add_task(f"making {entry.name}", total=None, visible=not entry.make().needs_root)
            entry.make().make(folders[entry.name], partial(_tick, bars, bar))
    problems += preflight.data(cells, folders)
    if problems:
        raise preflight.NotReady(problems)


def _tick(bars: Progress, bar: TaskID, done: int, total: int) -> None:
    bars.update(bar, completed=done, total=total)


def run(
    matrix: Matrix,
    store: Store,
    folders: Mapping[str, Path],
    *,
    only: Sequence[str] = (),
    rerun: Rerun = "none",
    address: str | None = None,
    tracking_uri: str | None = None,
    out: Path,
    console: Console,
) -> Outcome:
    """Run what is not finished, then write the report.

    Raises NotReady, StoreError or ValueError before anything runs.
    """
    chosen = select(matrix, only)
    ids = list(dict.fromkeys(item.cell.id for item in chosen))
    cells = {item.cell.id: item.cell for item in chosen}
    uri = tracking_uri or tracking.default_uri(store.url)
    tracking.check(uri)
    store.probe()
    prepare(matrix, folders, list(cells.values()), console)
    with store.lease():
        for entry in matrix.benchmarks:
            benchmark = entry.make()
            name = entry.name if benchmark.needs_root else f"{entry.name} {entry.size} {entry.options}"
            store.bind(name, benchmark.fingerprint(folders[entry.name]))
        contents = manifest(matrix, _constants(matrix, store, folders, console))
        store.put(f"matrices/{matrix.name}.json", contents.to_json())
        records, warnings = store.records(ids)
        for warning in warnings:
            console.print(f"warning: {warning}", markup=False, soft_wrap=True)
        again = {cell_id for cell_id in ids if _again(rerun, cell_id, records, store)}
        for cell_id in again:
            store.forget(cell_id)
        todo = [cell_id for cell_id in ids if cell_id not in records or cell_id in again]
        for cell_id in todo:
            store.put_cell(cells[cell_id])
            # A cell that failed goes on from its last checkpoint.
            store.remove(f"{store.folder(cell_id)}/failure.json")
        with tracking.Tracker(uri, store.url, contents, matrix.caption) as tracker:
            for cell_id in ids:
                tracker.project(cell_id, _state(store, cell_id))
            if todo:
                _schedule(matrix, store, folders, cells, chosen, todo, address, tracker, contents, console)
            for cell_id in ids:
                tracker.project(cell_id, _state(store, cell_id))
            tracker.project_deltas(deltas(store, matrix.name))
            written = report(store.url, [matrix.name], out)
            tracker.log_report(out / matrix.name)
    return _outcome(matrix, store, ids, written)


def _state(store: Store, cell_id: str) -> tracking.State:
    state = store.state(cell_id)
    return state if state in ("finished", "failed") else "waiting"


def _again(rerun: Rerun, cell_id: str, records: Mapping[str, Record], store: Store) -> bool:
    record = records.get(cell_id)
    if rerun == "all":
        return True
    if rerun == "failed":
        return store.state(cell_id) == "failed"
    return rerun == "stale" and record is not None and stale(record)


def stale(record: Record) -> bool:
    """Made by code that has changed since in a way that may move its numbers."""
    return record.provenance.get("source") != provenance.source_hash()


def _schedule(
    matrix: Matrix,
    store: Store,
    folders: Mapping[str, Path],
    cells: Mapping[str, Cell],
    chosen: Sequence[Planned],
    todo: Collection[str],
    address: str | None,
    tracker: tracking.Tracker,
    contents: Manifest,
    console: Console,
) -> None:
    from harness import schedule  # here, so that a matrix that is done never waits for Ray

    resources = matrix.resources
    console.print(f"{len(todo)} of {len(cells)} cells to run; starting Ray", markup=False)
    available = schedule.cluster(address)
    try:
        problems = preflight.feasible(resources, available)
        if problems:
            raise preflight.NotReady(problems)
        labels = {item.cell.id: title(item) for item in chosen}

        def tell(cell_id: str, state: str) -> None:
            tracker.project(cell_id, state)  # type: ignore[arg-type]
            if state == "finished":
                tracker.project_deltas(deltas(store, matrix.name))

        def ready() -> list[Cell]:
            found, _ = plan(matrix, {})
            return [cell for cell in found if cell.id in todo]

        settings = Settings(
            store=store.url,
            roots={name: str(folder) for name, folder in folders.items()},
            cpus=resources.cpus,
            gpus=resources.gpus,
            workers=resources.workers,
            loaders=resources.loaders,
            checkpoint_every=resources.checkpoint_every,
            validate_every=resources.validate_every,
        )
        slots = preflight.slots(resources, available)
        with Watch({i: (cells[i], labels[i]) for i in todo}, store, slots, tell, console) as watch:
            schedule.run(ready, settings, watch, max_concurrent=resources.max_concurrent, retries=resources.retries)
    finally:
        schedule.leave()


def _constants(matrix: Matrix, store: Store, folders: Mapping[str, Path], console: Console) -> dict[str, str]:
    """The record of each benchmark's best constant prediction, made where the store lacks it."""
    names = {}
    configs = {item.cell.benchmark.name: item.cell.benchmark for item in expand(matrix)}
    for name, config in configs.items():
        tasks = [t for t in make_benchmark(config).tasks if any(t in i.cell.tasks for i in expand(matrix))]
        found = constant.record_id(config) + "-" + "-".join(tasks)
        if not store.exists(f"constants/{found}.json"):
            console.print(f"scoring the best constant prediction on {name}", markup=False)
            store.put(f"constants/{found}.json", constant.record(config, folders[name], tasks).to_json())
        names[name] = found
    return names


def deltas(store: Store, matrix: str) -> dict[str, dict[str, float]]:
    """cell id -> Delta_m and each task's gain in percent, against the baseline of the same seed, where both are in."""
    found: dict[str, dict[str, float]] = {}
    for comparison in comparisons(read(store.url, matrix)):
        baseline = comparison.rows[comparison.baseline]
        for row in comparison.rows.values():
            for seed, run_ in row.runs.items():
                reference = baseline.runs.get(seed)
                if len(run_.entries) > 1 or run_.status != "finished" or reference is None:
                    continue
                if reference.status != "finished":
                    continue
                scores, base = run_.scores(), reference.scores()
                values = {f"delta/{task}": relative_gain(scores[task], base[task]) for task in comparison.tasks}
                values["delta/m"] = delta_m(scores, base)
                found[run_.entries[0].id] = {name: value for name, value in values.items() if math.isfinite(value)}
    return found


def _outcome(matrix: Matrix, store: Store, ids: Sequence[str], written: Report) -> Outcome:
    results = read(store.url, matrix.name)
    below = {}
    if matrix.must_beat_constant:
        benchmark_of = {item.cell.id: item.cell.benchmark.name for item in expand(matrix)}
        for cell_id in ids:
            record, floor = results.records.get(cell_id), results.constants.get(benchmark_of[cell_id])
            problems = constant.not_beaten(record.scores, floor) if record and floor else []
            if problems:
                below[cell_id] = problems
    return Outcome(
        finished=sum(cell_id in results.records for cell_id in ids),
        missing=[cell_id for cell_id in ids if cell_id not in results.records],
        failures={cell_id: failure["error"] for cell_id, failure in results.failures.items() if cell_id in ids},
        below_constant=below,
        report=written,
    )
