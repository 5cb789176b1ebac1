"""Commands that train: `run` and `status`. Heavy imports stay inside the commands, so that --help is quick."""

from __future__ import annotations

import itertools
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtlbench.harness.cli.usage import (
    AddressOption,
    AutoscaledOption,
    DataOption,
    HeldMatrixArgument,
    MatrixArgument,
    OutOption,
    SetOption,
    StoreOption,
    TrackingOption,
    at_a_glance,
    fail,
    fitted,
    open_store,
    opening,
    report_folder,
    say_left_out,
    terminable,
    terminal_width,
    written_matrix,
)  # fmt: skip

if TYPE_CHECKING:
    from mtlbench.harness.cluster.scheduler import Scheduler
    from mtlbench.harness.driver.held import Held
    from mtlbench.harness.driver.run import Outcome
    from mtlbench.harness.driver.standing import Standing
    from mtlbench.harness.matrix.entries import Matrix
    from mtlbench.harness.matrix.text.written import Written
    from mtlbench.harness.store.store import Store
    from mtlbench.results.records.record import Manifest

GOES_ON = "the same command goes on from the last checkpoints"


def run(
    matrix: MatrixArgument,
    url: StoreOption = "runs",
    data: DataOption = [],
    overrides: SetOption = [],
    only: Annotated[list[str], typer.Option(help="Only cells whose id or label contains this; repeatable.")] = [],
    rerun: Annotated[
        Literal["none", "failed", "stale", "all"],
        typer.Option(help="Start these cells anew; `stale` are those made by other code."),
    ] = "none",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells, what they cost, and what is missing; write nothing.")
    ] = False,
    workers_per_cell: Annotated[int | None, typer.Option(help="Processes a cell; as resources.workers.")] = None,
    save_predictions: Annotated[
        bool, typer.Option("--save-predictions", help="Keep those of all test images; as resources.save_predictions.")
    ] = False,
    address: AddressOption = None,
    autoscaled: AutoscaledOption = False,
    tracking_uri: TrackingOption = None,
    out: OutOption = None,
) -> None:
    """Train and score every cell of a matrix that is not finished, then write its tables and figures.

    Run it again to go on after a failure or Ctrl-C: finished cells are kept, others go on from their checkpoints.
    The exit status is 0 when every cell is finished, 1 when some are missing, 2 when nothing could be started.

    Example:  mtlbench run rooms --store runs

    Real images:  mtlbench run smoke --set benchmark=pascal_context --data pascal_context=/data/PASCAL_MT
    """
    written = written_matrix(matrix, [*overrides, *_as_overrides(workers_per_cell, save_predictions)])
    store = _opened(url, written, only, address, dry_run=dry_run)
    opening(f"{at_a_glance(written)}; store {url}", "torch", err=dry_run)

    from rich.console import Console

    from mtlbench.harness.data import places
    from mtlbench.harness.driver import run as driver
    from mtlbench.harness.driver.standing import origin
    from mtlbench.harness.matrix.file import checked

    wanted = checked(written)
    with terminable() as status:
        try:
            if dry_run:
                _dry_run(wanted, store, data, only, address)
                return
            folders, target = places.roots(wanted, data), report_folder(out, store)
            command = _command(matrix, written, data, address)
            request = driver.Request(wanted, folders, target, only, rerun, tracking_uri, origin(written), command)
            outcome = driver.run(request, store, partial(_on_ray, address, autoscaled), Console(highlight=False))
        except KeyboardInterrupt:
            typer.echo(f"\nstopped; {'nothing was written' if dry_run else GOES_ON}", err=True)
            raise typer.Exit(status()) from None
        except driver.Stopped as stopped:
            typer.echo(f"mtlbench: {stopped}; {GOES_ON}", err=True)
            raise typer.Exit(1) from None
    _show_outcome(wanted, store, outcome, target, tracking_uri)


def _opened(url: str, written: Written, only: Sequence[str], address: str | None, *, dry_run: bool) -> Store:
    """The store of a run. What is known without torch to keep the run from starting is refused here.

    A dry run does not ask for it, or lists it among all else that is missing.
    """
    from mtlbench.harness.driver.standing import require_known
    from mtlbench.harness.store.lease import Lease
    from mtlbench.results.records.record import CorruptRecord, NewerRecord

    store = open_store(url)
    if not dry_run:
        if address is None:
            _require_sockets()
        if refusal := store.refusal():
            raise fail(refusal)
        Lease(store).require_free()
    try:
        require_known(store, written, only)
    except (CorruptRecord, NewerRecord):  # of the manifest, which a run writes anew
        pass
    except ValueError as error:
        raise fail(str(error)) from None
    return store


def _command(matrix: str, written: Written, data: Sequence[str], address: str | None) -> str:
    """What to type to run all cells of a matrix, without the store."""
    options = [("--set", change.text) for change in written.changes] + [("--data", place) for place in data]
    options += [] if address is None else [("--address", address)]
    return shlex.join(["mtlbench", "run", matrix, *itertools.chain(*options)])


def _as_overrides(workers_per_cell: int | None, save_predictions: bool) -> list[str]:
    """What the options of a run that are keys of a matrix say."""
    found = [] if workers_per_cell is None else [f"resources.workers={workers_per_cell}"]
    return found + (["resources.save_predictions=true"] if save_predictions else [])


def doctor(
    matrix: MatrixArgument,
    url: StoreOption = "runs",
    data: DataOption = [],
    overrides: SetOption = [],
    address: AddressOption = None,
    autoscaled: AutoscaledOption = False,
) -> None:
    """Say what would keep the cells of a matrix from running, without running one: on this machine, and with --address
    on every node of a cluster (the store and whether it is the same, data and whether they are the same, versions of
    Python, of libraries and of our source, free disk). The exit status is 2 where something would.

    Example:  mtlbench doctor rooms --store /shared/runs --address 10.0.0.1:6379
    """
    written = written_matrix(matrix, overrides)
    opening(f"{at_a_glance(written)}; store {url}", "torch")

    from mtlbench.harness.driver.doctor import examine
    from mtlbench.harness.matrix.file import checked

    wanted, store = checked(written), open_store(url)
    if address is None:
        _require_sockets()
    with terminable():
        health = examine(wanted, store, data, None if address is None else _on_ray(address, autoscaled))
    for line in health.well:
        typer.echo(line)
    if not health.problems:
        typer.echo(f"nothing keeps {wanted.name} from running")
    if health.problems:
        lines = [f"  {number}. {problem}" for number, problem in enumerate(health.problems, start=1)]
        raise fail("\n".join([f"{wanted.name} cannot run:", *lines]))


def status(
    matrix: HeldMatrixArgument = None,
    url: StoreOption = "runs",
    overrides: SetOption = [],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON array, with an object for each cell, or for each matrix.")
    ] = False,
) -> None:
    """Say of every cell of a matrix whether it is finished, trained (scores are left), started (and how far its
    training came), failed, new, or stale (code that can move its numbers has changed since). A record that cannot be
    read is corrupt, and the exit status 1.
    Without a matrix, say which matrices a store holds, how many of their cells are in each state, when the last one was
    finished, Δm so far, and how much training is left.

    Example:  mtlbench status rooms --store runs
    """
    from mtlbench.harness.driver.held import held
    from mtlbench.harness.driver.standing import standing

    store = open_store(url)
    if matrix is None:
        left_out: dict[str, str] = {}
        matrices = held(store, left_out)
        if matrices or not left_out or as_json:
            typer.echo(json.dumps(matrices, indent=1) if as_json else _matrices(store, matrices))
        say_left_out(left_out.values())
        if left_out:
            raise typer.Exit(1)
        return
    try:
        written = written_matrix(matrix, overrides)
    except FileNotFoundError as error:
        raise fail(f"{error}; {_all_held(store)}") from None

    def check() -> Standing:
        opening(at_a_glance(written), "torch")
        from mtlbench.harness.driver.work import standing_of
        from mtlbench.harness.matrix.file import checked

        return standing_of(checked(written), store)

    def expanded() -> Manifest:
        opening(at_a_glance(written), "torch")
        from mtlbench.harness.matrix.expand import manifest
        from mtlbench.harness.matrix.file import checked

        return manifest(checked(written), {})

    found = standing(store, written, check, expanded)
    if as_json:
        typer.echo(json.dumps([row._asdict() for row in found.rows], indent=1))
    else:
        _show_status(found)
    if found.unreadable:
        raise typer.Exit(1)


def _show_status(found: Standing) -> None:
    for row in found.rows:
        said = [f"{row.state:9} {row.cell}", f"[{row.id}]", row.progress, row.error]
        typer.echo(fitted("  ".join(filter(None, said))))
    for line in found.waiting:
        typer.echo(fitted(line))
    typer.echo(f"{len(found.rows)} cells: {_counts(Counter(row.state for row in found.rows))}")


def _all_held(store: Store) -> str:
    from mtlbench.results.records.reading import matrices

    known = ", ".join(matrices(store.url))
    if not known:
        return f"{store.url} holds none either"
    return f"{store.url} holds: {known}; `mtlbench status` without a name says how far they are"


def _matrices(store: Store, matrices: Sequence[Held]) -> str:
    if not matrices:
        begins = f"`mtlbench run MATRIX --store {shlex.quote(store.url)}` begins one"
        return fitted(f"{store.url} holds no matrix; {begins}")
    from datetime import UTC, datetime

    from mtlbench.harness.driver.held import shown

    now = datetime.now(UTC)
    return fitted("\n".join(shown(each, now) for each in matrices))


def _counts(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _on_ray(address: str | None, autoscaled: bool) -> Scheduler:
    from mtlbench.harness.cluster.variables import use_token

    if address is not None:
        use_token()
    from mtlbench.harness.cluster.schedule import OnRay  # takes seconds, which a matrix that is done never waits for

    return OnRay(address, autoscaled=autoscaled)


def _require_sockets() -> None:
    from mtlbench.harness.cluster.variables import ray_folder

    try:
        ray_folder()
    except ValueError as error:
        raise fail(str(error)) from None


def _dry_run(matrix: Matrix, store: Store, data: list[str], only: list[str], address: str | None) -> None:
    from mtlbench.harness.driver import forecast

    width = terminal_width()
    try:
        found = forecast.forecast(matrix, store, data, only, address, lambda told: typer.echo(told.text(width)))
    except ValueError as error:
        raise fail(str(error)) from None
    typer.echo("\n" + fitted(forecast.show(found, matrix.resources, width=width)))
    if found.missing:
        lines = [f"  {number}. {problem}" for number, problem in enumerate(found.missing, start=1)]
        raise fail("\n".join(["not ready; what is missing on this machine:", *lines]))


def _show_outcome(matrix: Matrix, store: Store, outcome: Outcome, out: Path, tracking_uri: str | None) -> None:
    from rich.console import Console

    from mtlbench.harness.cli.outcome import show_report
    from mtlbench.results.records.addresses import public

    total = outcome.finished + len(outcome.missing)
    show_report(outcome.report, Console(highlight=False))
    typer.echo(f"cells    {outcome.finished} of {total} finished, in {store.url}")
    typer.echo(f"report   {out / matrix.name / 'report.html'}")
    typer.echo(f"tables   {out / matrix.name}, with captions and footnotes; figures in figures/")
    shown = public(tracking_uri, tracking_uri) if tracking_uri else f"mtlbench ui --store {shlex.quote(store.url)}"
    typer.echo(f"MLflow   {shown}")
    for cell_id, error in outcome.failures.items():
        more = f"mtlbench show {cell_id} --store {shlex.quote(store.url)}"
        typer.echo(f"failed   {cell_id}: {error}\n         {more}", err=True)
    if outcome.stopped:
        typer.echo(f"stopped  {outcome.stopped}", err=True)
    for cell_id, problems in outcome.below_constant.items():
        typer.echo(f"no better than a constant: {cell_id}: {'; '.join(problems)}", err=True)
    if outcome.missing:
        typer.echo(f"{len(outcome.missing)} of {total} cells are missing; the same command goes on", err=True)
    for line in outcome.undecided:
        typer.echo(f"not trained  {line}", err=True)
    if outcome.missing or outcome.below_constant or outcome.undecided or outcome.stopped:
        raise typer.Exit(1)
