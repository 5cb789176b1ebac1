"""What `mtlbench run` does: a matrix, a store, and every cell that is not finished yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from mtlbench.harness.cluster.scheduler import Cluster, Gone, Scheduler
from mtlbench.harness.data.places import NotReady
from mtlbench.harness.driver import making, preflight
from mtlbench.harness.driver.deltas import deltas
from mtlbench.harness.driver.progress import Watch
from mtlbench.harness.driver.standing import UNKNOWN, Origin
from mtlbench.harness.driver.work import Rerun, Work, named, require, select, starts_anew, survey, title
from mtlbench.harness.matrix import weights
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import Matrix
from mtlbench.harness.matrix.expand import Planned, undecided
from mtlbench.harness.scoring import constant
from mtlbench.harness.store.kept import cache_folder
from mtlbench.harness.store.lease import Lease, LeaseLost
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.harness.tracking import connection
from mtlbench.harness.tracking.tracker import Tracker, show_report
from mtlbench.harness.tracking.views import State
from mtlbench.harness.training.environment import Environment
from mtlbench.results.records import files
from mtlbench.results.records.reading import Results, read
from mtlbench.results.records.record import CorruptRecord, Record
from mtlbench.results.report.write import Report, report


@dataclass(frozen=True)
class Request:
    """What is to be run, and how."""

    matrix: Matrix
    folders: Mapping[str, Path]  # benchmark -> the folder of its data
    out: Path  # the folder of the report
    only: Sequence[str] = ()  # words, of which a cell's id or label must contain one; () means every cell
    rerun: Rerun = "none"
    tracking_uri: str | None = None  # None: the database beside the store
    origin: Origin = UNKNOWN  # what the matrix was read from
    command: str = ""  # that asks for all cells of the matrix, without the store


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    finished: int
    missing: list[str]  # ids of cells without a record
    failures: dict[str, str]  # id -> error, of those that failed
    below_constant: dict[str, list[str]]  # id -> tasks that do not beat the best constant prediction
    undecided: list[str]  # a line for what was not trained: none of its trials is the best, or its start failed
    report: Report
    stopped: str = ""  # why cells were left that could have run


class Stopped(RuntimeError):
    """A run that has begun cannot end as it should; the message says why. The same command goes on."""


def run(request: Request, store: Store, make_scheduler: Callable[[], Scheduler], console: Console) -> Outcome:
    """Run what is not finished, then write the report.

    make_scheduler is called once there is a cell to run. Raises NotReady or StoreError before anything runs or is
    removed. Raises Stopped where it cannot write the report, as on a full disk, or where it has lost the store to
    another driver.
    """
    matrix, folders, only = request.matrix, request.folders, request.only
    with _refusing():
        uri = request.tracking_uri or connection.default_uri(store.url)
        store.probe()  # first: the database of MLflow may lie beside the store
        connection.check(uri)
    planned, _ = survey(matrix, partial(_readable, store))  # before the lease: it changes nothing
    with _refusing():
        require(planned, only)
        making.prepare(matrix, folders, [item.cell for item in select(planned, only)], console)
    with _leased(store, matrix) as lease:
        look = partial(_look, store, console)
        planned, records = survey(matrix, look)
        chosen = select(planned, only)
        with _refusing():
            for entry in matrix.benchmarks:
                copy = making.copy_here(entry, folders)
                name = entry.name if copy.benchmark.needs_root else f"{entry.name} {entry.size} {entry.options}"
                store.bind(name, copy.fingerprint)
            ids = list(dict.fromkeys(item.cell.id for item in chosen))
            # A finished cell that is only taken along, because another one starts from it, is kept.
            kept = set(records) & {before for item in chosen for before in item.entry.starts} - named(chosen, only)
            again = [i for i in ids if i not in kept and starts_anew(request.rerun, i, records, store)]
            todo = [cell_id for cell_id in ids if cell_id not in records or cell_id in again]
            making.learn(chosen, store, folders, console)
            making.leave_out((item for item in chosen if item.cell.id in todo), store, folders, console)
            constants = making.constants(matrix, store, folders, console)
            making.show_truth(matrix, store, folders)
        finished = f"all {len(ids)} {'chosen ' if only else ''}cells are finished; writing the report"
        console.print(f"{len(todo)} of {len(ids)} cells to run; starting Ray" if todo else finished, markup=False)
        environment = Environment(
            store=store.url,
            roots=dict(folders),
            resources=matrix.resources,
            cache=cache_folder(),
            weights=weights.files(matrix.backbone),
            lease=lease,
        )
        with _joined(make_scheduler, environment, chosen) if todo else nullcontext(None) as joined:
            for cell_id in again:
                store.forget(cell_id)
            work = Work(matrix, store, only, look, constants, request.origin, request.command)  # after `forget`
            with Tracker(uri, store.url, work.publish()) as tracker:
                _project(work, tracker)
                stopped = _schedule(work, joined, environment, tracker, console) if joined and work.todo else ""
                with _stopping(stopped, request.out):
                    work.refresh()
                    tracker.expect(work.publish())
                    _project(work, tracker)
                    tracker.project_deltas(deltas(store, matrix.name))
                    written = report(store.url, [matrix.name], request.out)
                results = read(store.url, matrix.name)
                show_report(tracker, results, request.out / matrix.name, written)
    return replace(_outcome(matrix, results, work, written), stopped=stopped)


@contextmanager
def _leased(store: Store, matrix: Matrix) -> Iterator[str]:
    """Hold the lease of the store, whose token is yielded. Where it is lost, nothing is written any more."""
    try:
        with Lease(store, f"matrix {matrix.name}") as lease:
            yield lease.token
    except LeaseLost as lost:
        raise Stopped(str(lost)) from lost


@contextmanager
def _stopping(stopped: str, out: Path) -> Iterator[None]:
    """Turn an error while a run ends into Stopped. stopped: what went wrong before, and is the cause."""
    try:
        yield
    except StoreError as error:
        raise Stopped(stopped or str(error)) from error
    except OSError as error:
        raise Stopped(stopped or f"cannot write the report in {out}: {error.strerror or error}") from error


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn an error about the request or the data into NotReady, before anything starts."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise NotReady([str(error)]) from error


class Joined(NamedTuple):
    """A scheduler that has begun, and the resources that it has."""

    scheduler: Scheduler
    available: Mapping[str, float]


@contextmanager
def _joined(
    make_scheduler: Callable[[], Scheduler], environment: Environment, chosen: Sequence[Planned]
) -> Iterator[Joined]:
    """Begin, and end in any case.

    Raises NotReady where there is no cluster, where no node could hold a cell, or where a node could not train one.
    """
    scheduler = make_scheduler()
    try:
        cluster = scheduler.join()
    except ConnectionError as error:
        raise NotReady([str(error)]) from error
    try:
        if problems := cannot_run(scheduler, cluster, environment, chosen, files.claim(environment.lease)):
            raise NotReady(problems)
        yield Joined(scheduler, cluster.total)
    finally:
        scheduler.leave()


def cannot_run(
    scheduler: Scheduler, cluster: Cluster, environment: Environment, chosen: Sequence[Planned], sign: str
) -> list[str]:
    """What keeps a cluster from running cells: what no node has, or else what each node says. sign: as in `ask`."""
    resources = environment.resources
    if not cluster.grows and (problems := preflight.feasible(resources, cluster.total, cluster.nodes)):
        return problems
    return scheduler.ask(environment, [item.cell for item in chosen], sign)


def _readable(store: Store, cell_ids: Sequence[str]) -> dict[str, Record]:
    """The readable records of the cells. `_look` says of unreadable ones what is wrong."""
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


def _project(work: Work, tracker: Tracker) -> None:
    """Show every cell as the store has it."""
    for cell_id in work.cells:
        tracker.project(cell_id, _state(work.store, cell_id))


def _schedule(work: Work, joined: Joined, environment: Environment, tracker: Tracker, console: Console) -> str:
    """Run the cells. Returns why some were left that could have run; "" where none was."""
    store, name = work.store, work.matrix.name

    def tell(cell_id: str, state: State) -> None:
        if state == "finished":
            work.finished.add(cell_id)
        tracker.project(cell_id, state)
        if state == "finished":
            tracker.project_deltas(deltas(store, name))

    def ready() -> list[Cell]:
        if work.found():
            for item in work.refresh():
                watch.add(item.cell.id, item.cell, title(item))
            tracker.expect(work.publish())
        return work.ready()

    slots = preflight.slots(environment.resources, joined.available)
    watched = {cell_id: (work.cells[cell_id].cell, title(work.cells[cell_id])) for cell_id in work.todo}
    with Watch(watched, store, slots, tell, console) as watch:
        try:
            joined.scheduler.run(ready, environment, watch)
        except LeaseLost:
            raise
        except (Gone, StoreError) as error:
            return str(error)
        finally:
            joined.scheduler.leave()  # now, so that nothing of Ray can end this process while it writes the report
    return ""


def _outcome(matrix: Matrix, results: Results, work: Work, written: Report) -> Outcome:
    below = {}
    if matrix.must_beat_constant:
        for cell_id, item in work.cells.items():
            record, floor = results.records.get(cell_id), results.constants.get(item.cell.benchmark.name)
            if record is None or floor is None or item.entry.preliminary or item.control:
                continue  # a control may train on labels that no network can learn
            problems = constant.not_beaten(record.scores, floor)
            if problems:
                below[cell_id] = problems
    return Outcome(
        finished=sum(cell_id in results.records for cell_id in work.cells),
        missing=[cell_id for cell_id in work.cells if cell_id not in results.records],
        failures={i: failure["error"] for i, failure in results.failures.items() if i in work.cells},
        below_constant=below,
        undecided=[*undecided(work.planned, results.records), *work.blocked()],
        report=written,
    )
