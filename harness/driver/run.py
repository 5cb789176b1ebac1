"""What `mtlbench run` does: a matrix, a store, and every cell that is not finished yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from mtlbench.harness.data import learning
from mtlbench.harness.data.places import NotReady, caches, default_roots
from mtlbench.harness.data.prepare import advice
from mtlbench.harness.driver import preflight
from mtlbench.harness.driver.attempt import Settings
from mtlbench.harness.driver.deltas import deltas
from mtlbench.harness.driver.progress import Watch
from mtlbench.harness.driver.work import Rerun, Work, require, select, starts_anew, survey, title
from mtlbench.harness.matrix import weights as pretrained
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import Matrix, Resources, make_benchmark
from mtlbench.harness.matrix.expand import Planned, expand
from mtlbench.harness.scoring import constant
from mtlbench.harness.store.lease import Lease
from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking import connection
from mtlbench.harness.tracking.tracker import Tracker
from mtlbench.harness.tracking.views import State
from mtlbench.results.records import files
from mtlbench.results.records.reading import read
from mtlbench.results.records.record import CorruptRecord, Record
from mtlbench.results.report.write import Report, report


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    finished: int
    missing: list[str]  # ids of cells without a record
    failures: dict[str, str]  # id -> error, of those that failed
    below_constant: dict[str, list[str]]  # id -> tasks that do not beat the best constant prediction
    report: Report


def prepare(matrix: Matrix, folders: Mapping[str, Path], cells: Sequence[Cell], console: Console) -> None:
    """Make what has to be made (rooms are rendered once), and raise NotReady with all that is wrong with the data."""
    problems = preflight.batches(cells, matrix.resources) + preflight.weights(matrix.backbone)
    if problems:
        raise NotReady(problems)  # before minutes of rendering
    with Progress(console=console, transient=True) as bars:
        for entry in matrix.benchmarks:
            bar = bars.add_task(f"making {entry.name}", total=None, visible=not entry.make().needs_root)
            entry.make().make(folders[entry.name], partial(_tick, bars, bar))
    problems = preflight.data(cells, folders)
    if problems:
        raise NotReady(problems)
    with _refusing():
        places = _places()
        found = [advice(c.benchmark, folders[c.benchmark.name], c.tasks, places) for c in _of_each(cells)]
    for line in filter(None, found):
        console.print(line, markup=False, soft_wrap=True)


def _places() -> tuple[Path, ...]:
    """Where prepared data may be."""
    return caches(default_roots())


def _of_each(cells: Sequence[Cell]) -> list[Cell]:
    """A cell of each benchmark: one with most tasks."""
    return list({cell.benchmark.name: cell for cell in sorted(cells, key=lambda cell: len(cell.tasks))}.values())


def learn(chosen: Iterable[Planned], store: Store, folders: Mapping[str, Path], console: Console) -> None:
    """Learn what tasks learn from training labels before the cells need it, so that they do not all do it at once.

    Raises ValueError naming the task whose labels do not suffice.
    """
    wanted: dict[tuple[str, float], dict[str, Cell]] = {}  # benchmark's configuration, holdout -> task -> a cell
    for item in chosen:
        key = item.cell.benchmark.model_dump_json(), item.cell.train.holdout
        wanted.setdefault(key, {}).update(dict.fromkeys(item.cell.tasks, item.cell))
    for (_, holdout), tasks in wanted.items():
        config = next(iter(tasks.values())).benchmark
        benchmark, root = make_benchmark(config), folders[config.name]
        fingerprint = benchmark.fingerprint(root)
        for name in learning.missing(store, benchmark, fingerprint, tasks, holdout):
            console.print(f"learning what {name} needs from the training labels of {config.name}", markup=False)
        learning.learn(store, benchmark, fingerprint, root, tasks, holdout, _places())


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

    Raises NotReady or StoreError before anything runs or is removed.
    """
    with _refusing():
        uri = tracking_uri or connection.default_uri(store.url)
        connection.check(uri)
    store.probe()
    planned, _ = survey(matrix, partial(_readable, store))  # changes nothing: what is wrong is found before the lease
    with _refusing():
        require(planned, only)
    prepare(matrix, folders, [item.cell for item in select(planned, only)], console)
    with Lease(store):
        look = partial(_look, store, console)
        planned, records = survey(matrix, look)
        chosen = select(planned, only)
        with _refusing():
            for entry in matrix.benchmarks:
                benchmark = entry.make()
                name = entry.name if benchmark.needs_root else f"{entry.name} {entry.size} {entry.options}"
                store.bind(name, benchmark.fingerprint(folders[entry.name]))
            learn(chosen, store, folders, console)
            constants = _constants(matrix, store, folders, console)
        ids = list(dict.fromkeys(item.cell.id for item in chosen))
        again = [cell_id for cell_id in ids if starts_anew(rerun, cell_id, records, store)]
        todo = [cell_id for cell_id in ids if cell_id not in records or cell_id in again]
        if todo:
            console.print(f"{len(todo)} of {len(ids)} cells to run; starting Ray", markup=False)
        idle: AbstractContextManager[Mapping[str, float]] = nullcontext({})
        with _cluster(matrix.resources, address) if todo else idle as available:
            for cell_id in again:
                store.forget(cell_id)
            work = Work(matrix, store, only, look, constants)  # a search that was forgotten leads to nothing yet
            with Tracker(uri, store.url, work.publish(), matrix.caption) as tracker:
                for cell_id in work.cells:
                    tracker.project(cell_id, _state(store, cell_id))
                if work.todo:
                    _schedule(matrix, store, folders, work, available, tracker, console)
                work.refresh()
                tracker.expect(work.publish())
                for cell_id in work.cells:
                    tracker.project(cell_id, _state(store, cell_id))
                tracker.project_deltas(deltas(store, matrix.name))
                written = report(store.url, [matrix.name], out)
                tracker.log_report(out / matrix.name)
    return _outcome(matrix, store, work, written)


@contextmanager
def _refusing() -> Iterator[None]:
    """What makes no sense, or cannot be read, is refused before anything starts."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise NotReady([str(error)]) from error


@contextmanager
def _cluster(resources: Resources, address: str | None) -> Iterator[Mapping[str, float]]:
    """Ray, and its resources. Raises NotReady where a cell could never be placed."""
    from mtlbench.harness.driver import schedule  # here, so that a matrix that is done never waits for Ray

    try:
        cluster = schedule.cluster(address)
    except ConnectionError as error:
        raise NotReady([f"no Ray cluster at {address}: {error}"]) from error
    try:
        if problems := preflight.feasible(resources, cluster.total, cluster.nodes):
            raise NotReady(problems)
        yield cluster.total
    finally:
        schedule.leave()


def _readable(store: Store, cell_ids: Sequence[str]) -> dict[str, Record]:
    """The records among the cells that can be read; `_look` says of the others why not."""
    records: dict[str, Record] = {}
    for cell_id in cell_ids:
        with suppress(CorruptRecord):
            record = store.record(cell_id)
            records |= {} if record is None else {cell_id: record}
    return records


def _look(store: Store, console: Console, cell_ids: Sequence[str]) -> dict[str, Record]:
    records, warnings = store.records(cell_ids)
    for warning in warnings:
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)
    return records


def _state(store: Store, cell_id: str) -> State:
    state = store.state(cell_id)
    return state if state in ("finished", "failed") else "waiting"


def _schedule(
    matrix: Matrix,
    store: Store,
    folders: Mapping[str, Path],
    work: Work,
    available: Mapping[str, float],
    tracker: Tracker,
    console: Console,
) -> None:
    from mtlbench.harness.driver import schedule

    resources = matrix.resources

    def tell(cell_id: str, state: str) -> None:
        tracker.project(cell_id, state)  # type: ignore[arg-type]
        if state == "finished":
            tracker.project_deltas(deltas(store, matrix.name))

    def ready() -> list[Cell]:
        if work.found():
            for item in work.refresh():
                watch.add(item.cell.id, item.cell, title(item))
            tracker.expect(work.publish())
        return [work.cells[cell_id].cell for cell_id in work.todo]

    settings = Settings(
        store=store.url,
        roots={name: str(folder) for name, folder in folders.items()},
        cache=str(default_roots()),
        weights=pretrained.files(matrix.backbone),
        cpus=resources.cpus,
        gpus=resources.gpus,
        workers=resources.workers,
        loaders=resources.loaders,
        checkpoint_every=resources.checkpoint_every,
        validate_every=resources.validate_every,
        save_predictions=resources.save_predictions,
    )
    slots = preflight.slots(resources, available)
    watched = {cell_id: (work.cells[cell_id].cell, title(work.cells[cell_id])) for cell_id in work.todo}
    with Watch(watched, store, slots, tell, console) as watch:
        schedule.run(ready, settings, watch, max_concurrent=resources.max_concurrent, retries=resources.retries)


def _constants(matrix: Matrix, store: Store, folders: Mapping[str, Path], console: Console) -> dict[str, str]:
    """The record of each benchmark's best constant prediction, made where the store lacks it."""
    names = {}
    configs = {item.cell.benchmark.name: item.cell.benchmark for item in expand(matrix)}
    holdout = matrix.train.holdout  # and not the trials'
    for name, config in configs.items():
        tasks = [t for t in make_benchmark(config).tasks if any(t in i.cell.tasks for i in expand(matrix))]
        found = constant.record_id(config, tasks, holdout)
        if not store.exists(files.constant(found)):
            console.print(f"scoring the best constant prediction on {name}", markup=False)
            places = _places()
            with Progress(console=console, transient=True) as bars:
                report = partial(_tick, bars, bars.add_task("images", total=None))
                record = constant.record(config, folders[name], tasks, places, report, holdout)
            store.put(files.constant(found), record.to_json())
        names[name] = found
    return names


def _outcome(matrix: Matrix, store: Store, work: Work, written: Report) -> Outcome:
    results = read(store.url, matrix.name)
    below = {}
    if matrix.must_beat_constant:
        for cell_id, item in work.cells.items():
            record, floor = results.records.get(cell_id), results.constants.get(item.cell.benchmark.name)
            if record is None or floor is None or item.entry.preliminary:
                continue
            problems = constant.not_beaten(record.scores, floor)
            if problems:
                below[cell_id] = problems
    return Outcome(
        finished=sum(cell_id in results.records for cell_id in work.cells),
        missing=[cell_id for cell_id in work.cells if cell_id not in results.records],
        failures={i: failure["error"] for i, failure in results.failures.items() if i in work.cells},
        below_constant=below,
        report=written,
    )
