"""The command line. Heavy imports stay inside the commands that need them, so that --help is quick."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtlbench.harness.cli import data as cli_data
from mtlbench.harness.cli.usage import fail, one_line, terminable

if TYPE_CHECKING:
    from mtlbench.harness.driver.run import Outcome
    from mtlbench.harness.matrix.entries import Matrix
    from mtlbench.harness.store.store import Store

app = typer.Typer(
    name="mtlbench",
    help="Is multi-task method A better than B, by how much, and how sure are we?\n\n"
    "Start with:  mtlbench run smoke   (trains three methods on embedded rooms in a minute)",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

app.add_typer(cli_data.app, name="data")

MatrixArgument = Annotated[str, typer.Argument(help="A YAML file, or the name of an embedded matrix (see `list`).")]
StoreOption = Annotated[str, typer.Option(help="The folder of records, or an fsspec URL.", envvar="MTLBENCH_STORE")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change the matrix, as train.epochs=10; repeatable.")
]
DataOption = Annotated[
    list[str], typer.Option("--data", metavar="NAME=PATH", help="Where a benchmark's data lie; repeatable.")
]


def main() -> None:
    """The console script."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    app()


@app.command()
@one_line
def run(
    matrix: MatrixArgument,
    store: StoreOption = "runs",
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
    address: Annotated[str | None, typer.Option(help="A Ray cluster, or `auto`; default: this machine.")] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="An MLflow server; default: sqlite in the store.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for tables and figures; default: STORE/report.")] = None,
) -> None:
    """Train and score every cell of a matrix that is not finished, then write its tables and figures.

    Run it again to go on after a failure or Ctrl-C: finished cells are kept, others go on from their checkpoints.
    The exit status is 0 when every cell is finished, 1 when some are missing, 2 when nothing could be started.

    Example:  mtlbench run rooms --store runs

    Real images:  mtlbench run smoke --set benchmark=pascal_context --data pascal_context=/data/PASCAL_MT
    """
    from rich.console import Console

    from mtlbench.harness.data import places
    from mtlbench.harness.driver import run as driver

    if workers_per_cell is not None:
        overrides = [*overrides, f"resources.workers={workers_per_cell}"]
    if save_predictions:
        overrides = [*overrides, "resources.save_predictions=true"]
    read = _read(matrix, overrides)
    place = _store(store)
    with terminable() as status:
        try:
            if dry_run:
                _dry_run(read, place, data, only, address)
                return
            folders = places.roots(read, data)
            target = _out(out, place)
            outcome = driver.run(
                read, place, folders, only=only, rerun=rerun, address=address, tracking_uri=tracking_uri, out=target,
                console=Console(highlight=False),
            )  # fmt: skip
        except KeyboardInterrupt:
            typer.echo("\nstopped; the same command goes on from the last checkpoints", err=True)
            raise typer.Exit(status()) from None
    _show_outcome(read, place, outcome, target, tracking_uri)


@app.command()
@one_line
def status(
    matrix: MatrixArgument,
    store: StoreOption = "runs",
    overrides: SetOption = [],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a cell.")] = False,
) -> None:
    """Say of every cell of a matrix whether it is finished, trained (scores are left), started, failed or new.

    Example:  mtlbench status rooms --store runs
    """
    from mtlbench.harness.driver.work import recorded, stale, survey, title
    from mtlbench.harness.matrix.expand import plan

    read, place = _read(matrix, overrides), _store(store)
    planned, records = survey(read, recorded(place))
    rows = {}
    for item in planned:
        if item.cell.id in rows:
            continue
        state: str = place.state(item.cell.id)
        record = records.get(item.cell.id)
        failure = place.failure(item.cell.id) if state == "failed" else None
        rows[item.cell.id] = {
            "id": item.cell.id,
            "cell": title(item),
            "state": "stale" if record and stale(record) else state,
            "error": failure["error"] if failure else None,
        }
    if as_json:
        typer.echo(json.dumps(list(rows.values()), indent=1))
        return
    for row in rows.values():
        typer.echo(f"{row['state']:9} {row['cell']}  [{row['id']}]" + (f"  {row['error']}" if row["error"] else ""))
    for line in plan(read, records)[1]:
        typer.echo(line)
    states = [row["state"] for row in rows.values()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    typer.echo(f"{len(rows)} cells: {counts}")


@app.command()
@one_line
def report(
    matrices: Annotated[list[str] | None, typer.Argument(help="Names of matrices in the store; default: all.")] = None,
    store: StoreOption = "runs",
    out: Annotated[Path | None, typer.Option(help="Folder for tables and figures; default: STORE/report.")] = None,
) -> None:
    """Write tables (Markdown, LaTeX, CSV, HTML) and figures from a store's records. Trains nothing.

    Example:  mtlbench report rooms --store runs --out results/rooms
    """
    from mtlbench.results.records.reading import matrices as known
    from mtlbench.results.report.write import report as write

    place = _store(store)
    names = matrices or known(place.url)
    if not names:
        raise fail(f"{place.url}: no matrix was run into this store")
    written = write(place.url, names, _out(out, place))
    typer.echo(written.markdown)


@app.command()
@one_line
def track(
    matrix: MatrixArgument,
    store: StoreOption = "runs",
    tracking_uri: Annotated[str | None, typer.Option(help="An MLflow server; default: sqlite in the store.")] = None,
) -> None:
    """Bring MLflow up to date with the store, for example after its server was down.

    Example:  mtlbench track rooms --store runs --tracking-uri http://127.0.0.1:5000
    """
    from mtlbench.harness.driver.deltas import deltas
    from mtlbench.harness.tracking.tracker import Tracker
    from mtlbench.results.records.reading import read

    place = _store(store)
    results = read(place.url, matrix)
    uri = _tracking_uri(place, tracking_uri)
    with Tracker(uri, place.url, results.manifest, results.manifest.caption) as tracker:
        for cell_id in dict.fromkeys(entry.id for entry in results.manifest.entries):
            state = place.state(cell_id)
            tracker.project(cell_id, state if state in ("finished", "failed") else "waiting")
        tracker.project_deltas(deltas(place, matrix))
    typer.echo(f"{uri} shows {matrix}")


@app.command()
@one_line
def ui(
    store: StoreOption = "runs",
    tracking_uri: Annotated[str | None, typer.Option(help="A database; default: sqlite in the store.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of this machine's loopback address.")] = 5000,
) -> None:
    """Open the MLflow pages of a store on http://127.0.0.1:PORT.

    Example:  mtlbench ui --store runs
    """
    from mtlbench.harness.tracking import server
    from mtlbench.results.records.reading import matrices

    uri = _tracking_uri(_store(store), tracking_uri)
    try:
        server.server(uri, port)
        server.require_free(port)
    except ValueError as error:
        raise fail(str(error)) from None
    address = f"http://127.0.0.1:{port}"
    typer.echo(f"MLflow on {address} (Ctrl-C ends it; the first page takes a few seconds). Comparisons to open:")
    for matrix in matrices(_store(store).url):
        for page, url in server.pages(uri, store, matrix, address).items():
            typer.echo(f"  {matrix}, {page}: {url}")
    raise typer.Exit(server.serve(uri, port))


@app.command()
@one_line
def audit(
    table: Annotated[
        Path | None, typer.Argument(help="A CSV like results/published.csv; default: the SCA-MTL paper's tables.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Another baseline, as depth=0.625,semseg=37.99: print what it makes of Delta_m.")
    ] = None,
) -> None:
    """Say which printed values of Delta_m cannot follow from the metrics printed beside them.

    Example:  mtlbench audit my_table.csv
    """
    from mtlbench.results.papers import audit as audits
    from mtlbench.results.papers import rebase

    try:
        numbers = audits.published() if table is None else audits.load(table)
        typer.echo(audits.text(numbers, table) if baseline is None else rebase.text(numbers, baseline))
    except audits.BadTable as error:
        raise fail(str(error)) from None


@app.command()
@one_line
def plan(
    difference: Annotated[float, typer.Option(help="That is to be found, in points of Delta_m.")],
    sd: Annotated[float, typer.Option(help="Of the difference of two runs of one seed, in points.")],
    power: Annotated[float, typer.Option(help="The probability of finding it.")] = 0.8,
) -> None:
    """Say how many seeds a question needs, before any is trained.

    Example:  mtlbench plan --difference 1 --sd 0.82
    """
    from mtlbench.results.statistics import planner

    try:
        typer.echo(planner.sentence(difference, sd, power=power))
    except planner.BadPlan as error:
        raise fail(str(error)) from None


@app.command("list")
def list_() -> None:
    """List methods with their options, benchmarks with their tasks, and the embedded matrices."""
    from mtlbench.benchmarks import BENCHMARKS
    from mtlbench.harness.matrix.file import embedded, find
    from mtlbench.methods import METHODS, options_of

    typer.echo("Methods")
    for name, method in METHODS.items():
        summary = (method.__doc__ or "").strip().splitlines()[0]
        typer.echo(f"  {name:12} {summary}")
        import inspect

        for option, parameter in inspect.signature(method).parameters.items():
            if option in options_of(method):
                typer.echo(f"  {'':12}   {option}: {parameter.annotation} = {parameter.default!r}")
    typer.echo("\nBenchmarks")
    for name, make in BENCHMARKS.items():
        benchmark = make()
        tasks = ", ".join(task if it.metric else f"{task} (not scored)" for task, it in benchmark.tasks.items())
        source = "--data needed" if benchmark.needs_root else "embedded"
        typer.echo(f"  {name:16} {source}; {benchmark.size[0]}x{benchmark.size[1]}; tasks: {tasks}")
    typer.echo("\nMatrices")
    for name in embedded():
        first = find(name).read_text().splitlines()[0].lstrip("# ")
        typer.echo(f"  {name:16} {first}")


@app.command()
@one_line
def describe(
    names: Annotated[list[str] | None, typer.Argument(metavar="[METHOD]...", help="Default: all methods.")] = None,
    benchmark: Annotated[str, typer.Option(help="A name from `list`.")] = "rooms",
    tasks: Annotated[
        list[str], typer.Option(help="A task set, as semseg,depth; repeatable; default: the benchmark's.")
    ] = [],
    size: Annotated[str | None, typer.Option(help="ROWSxCOLUMNS, multiples of 32; default: the benchmark's.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images of the training step.")] = 8,
    backbone: Annotated[str, typer.Option(help="A timm network.")] = "hrnet_w18_small_v2",
    measured: Annotated[bool, typer.Option("--measure", help="Time training steps on this machine's GPU too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects.")] = False,
) -> None:
    """Count what methods cost: parameters, multiply-accumulates, and memory and operators of a training step.

    No GPU is needed. Multiply-accumulates are those of convolutions, matrix and attention products for one image. The
    step is in float32 with Adam; its memory leaves out the work space that convolutions take on a GPU.

    Example:  mtlbench describe mti_net sca_mtl --benchmark nyud --tasks semseg,depth --tasks semseg,depth,normals
    """
    from mtlbench.harness.inspect import describe as describing

    sys.path.insert(0, os.getcwd())  # methods from outside: package.module:Name
    try:
        rows = describing.run(names, benchmark, tasks, size, batch=batch, backbone=backbone, measured=measured)
    except ValueError as error:
        raise fail(str(error)) from None
    typer.echo(json.dumps([row.as_json() for row in rows], indent=1) if as_json else describing.table(rows))


@app.command()
@one_line
def show(
    cell: Annotated[str, typer.Argument(help="A cell's id, or any part of it that fits one cell only.")],
    store: StoreOption = "runs",
) -> None:
    """Show a cell: its configuration, scores or traceback, the end of its log, and its folder.

    Example:  mtlbench show pad_net-semseg-depth-s0
    """
    place = _store(store)
    cell_id = _find(place, cell)
    folder = place.folder(cell_id)
    typer.echo(f"{cell_id}: {place.state(cell_id)}\n{place.path(folder)}\n")
    if place.exists(f"{folder}/cell.yaml"):
        typer.echo(place.get(f"{folder}/cell.yaml").decode(errors="replace"))
    else:
        typer.echo("cell.yaml is missing; a run that trains the cell writes it anew\n")
    record, failure = place.record(cell_id), place.failure(cell_id)
    if record is not None:
        for score in record.scores:
            value = "undefined" if score.value is None else f"{score.value:.4f}"
            arrow = "higher is better" if score.higher_is_better else "lower is better"
            typer.echo(f"{'*' if score.primary else ' '} {score.task:12} {score.metric:18} {value:>12}  {arrow}")
        typer.echo("\n" + "\n".join(f"{name:22} {value:,.6g}" for name, value in record.cost.items()))
        typer.echo(f"\n{json.dumps(record.provenance, indent=1)}")
    if failure is not None:
        typer.echo(f"attempts: {failure['attempts']}\n{failure['traceback']}")
    if place.exists(f"{folder}/log.txt"):
        typer.echo(
            "end of log.txt:\n" + "\n".join(place.get(f"{folder}/log.txt").decode(errors="replace").splitlines()[-20:])
        )


@app.command()
@one_line
def rescore(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Matrices of the store, or cells.")],
    store: StoreOption = "runs",
    predictions: Annotated[
        bool, typer.Option("--predictions", help="From saved predictions and the data, not from statistics.")
    ] = False,
    data: DataOption = [],
    evaluate: Annotated[
        Literal["native", "network"] | None, typer.Option(help="Another rule, with --predictions; gives another cell.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Put the new records into the store.")] = False,
) -> None:
    """Compute the scores of finished cells anew, without a GPU, and say which differ. Trains nothing.

    From the statistics of each image, which every cell keeps, a change of a score's formula can be applied; from saved
    predictions (`mtlbench run --save-predictions`) another metric or another rule of evaluation too.

    Example:  mtlbench rescore rooms --store runs
    """
    from contextlib import nullcontext

    from mtlbench.harness.inspect import rescore as again
    from mtlbench.harness.store.lease import Lease

    place = _store(store)
    if evaluate is not None and not predictions:
        raise fail("--evaluate needs --predictions: statistics are of the maps that were compared")
    cells = again.chosen(place, names, _find)
    try:
        folders = again.roots(place, cells, data) if predictions else {}
        changed = 0
        with Lease(place) if write else nullcontext():
            for cell_id in cells:
                found = (
                    again.from_predictions(place, cell_id, folders[cell_id], evaluate)
                    if predictions
                    else again.from_statistics(place, cell_id)
                )
                lines = [f"{cell_id}:" if found.differences else f"{cell_id}: unchanged", *found.differences]
                if found.differences and found.rounded:
                    lines.append(f"({', '.join(found.rounded)}: from predictions of float16; last digits are rounding)")
                typer.echo("\n  ".join(lines))
                changed += bool(found.differences)
                if write and found.differences:
                    again.write(place, found)
    except (ValueError, FileExistsError) as error:
        raise fail(str(error)) from None
    then = "written" if write else "not written; --write puts the new records into the store"
    typer.echo(f"{changed} of {len(cells)} finished cells differ" + (f": {then}" if changed else ""))


@app.command("gc")
@one_line
def gc_(
    store: StoreOption = "runs",
    predictions: Annotated[bool, typer.Option("--predictions", help="Saved predictions too.")] = False,
    orphans: Annotated[bool, typer.Option("--orphans", help="Cells that no matrix of the store needs too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it.")] = False,
) -> None:
    """Say what a store can do without, with its size; remove it with --yes.

    That is: checkpoints of finished cells, what was set aside as corrupt, and what was half-written.

    Example:  mtlbench gc --store runs --predictions --yes
    """
    from contextlib import nullcontext

    from mtlbench.harness.store import cleanup
    from mtlbench.harness.store.lease import Lease

    place = _store(store)
    if not place.cells():
        raise fail(f"{place.url}: there is no cell in this store")
    with Lease(place) if yes else nullcontext():
        found = cleanup.find(place, predictions=predictions, orphans=orphans)
        for leftover in found:
            typer.echo(f"{_bytes(leftover.size):>10}  {leftover.name}  ({leftover.reason})")
        if yes:
            cleanup.remove(place, found)
    total = _bytes(sum(leftover.size for leftover in found))
    then = "removed" if yes else "would be removed; --yes removes it"
    typer.echo(f"{total} in {len(found)} places {then}" if found else "nothing to remove")


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


@app.command()
@one_line
def predict(
    cell: Annotated[str, typer.Argument(help="A finished cell's id, or a part of it that fits one cell only.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    store: StoreOption = "runs",
    out: Annotated[Path, typer.Option(help="Folder for the predictions.")] = Path("predictions"),
) -> None:
    """Predict all tasks of a cell for images of yours: a picture to look at and an array (npz) for each image.

    Example:  mtlbench predict mti_net-semseg-depth-s0 kitchen.jpg --out predictions
    """
    from mtlbench.harness.inspect.predict import predict as run_predict

    place = _store(store)
    cell_id = _find(place, cell)
    if place.state(cell_id) != "finished":
        raise fail(f"{cell_id} is {place.state(cell_id)}: only a finished cell has weights")
    try:
        for path in run_predict(place, cell_id, images, out):
            typer.echo(str(path))
    except (ValueError, OSError) as error:
        raise fail(str(error)) from None


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A method: package.module:Name, or a name from `list`.")],
) -> None:
    """Check that a method of yours keeps the contract: shapes, gradients, one task, any order of tasks, saving.

    Example:  mtlbench check my_package.my_method:MyMethod
    """
    from mtlbench.harness.inspect.conformance import check_method

    sys.path.insert(0, os.getcwd())
    try:
        results = check_method(name)
    except ValueError as error:
        raise fail(str(error)) from None
    said: set[str | None] = {None}  # one cause may break every rule
    for rule, problem in results:
        why = "" if problem is None else ": the same" if problem in said else f": {problem}"
        typer.echo(f"{'ok  ' if problem is None else 'FAIL'} {rule}{why}")
        said.add(problem)
    if any(problem for _, problem in results):
        raise typer.Exit(1)


def _read(matrix: str, overrides: list[str]) -> Matrix:
    from mtlbench.harness.matrix.file import read

    sys.path.insert(0, os.getcwd())  # methods from outside: package.module:Name
    return read(matrix, overrides)


def _store(url: str) -> Store:
    from mtlbench.harness.store.store import Store

    return Store(url)


def _tracking_uri(store: Store, given: str | None) -> str:
    """Where a store is tracked to, checked."""
    from mtlbench.harness.tracking import connection

    try:
        uri = given or connection.default_uri(store.url)
        connection.check(uri)
    except ValueError as error:
        raise fail(str(error)) from None
    return uri


def _out(given: Path | None, store: Store) -> Path:
    """The folder of a report; one that is given is refused where it can be none, before a run and not after it."""
    if given is None:
        return Path(store.url) / "report" if store.local else Path("report")
    existing = next(place for place in (given.absolute(), *given.absolute().parents) if os.path.lexists(place))
    if not existing.is_dir():
        raise fail(f"--out {given}: {existing} is no folder; give another")
    if not os.access(existing, os.W_OK):
        raise fail(f"--out {given}: {existing} cannot be written to; give another folder")
    return given


def _find(store: Store, part: str) -> str:
    cells = store.cells()
    found = [cell_id for cell_id in cells if part == cell_id] or [cell_id for cell_id in cells if part in cell_id]
    if len(found) != 1:
        what = f"fits {len(found)} cells" if found else "fits no cell"
        some = "\n  ".join(found or cells)
        raise FileNotFoundError(f"{part!r} {what} of {store.url}; its cells:\n  {some or 'none'}")
    return found[0]


def _dry_run(matrix: Matrix, store: Store, data: list[str], only: list[str], address: str | None) -> None:
    from mtlbench.harness.driver import forecast

    try:
        found = forecast.forecast(matrix, store, data, only, address)
    except ValueError as error:
        raise fail(str(error)) from None
    typer.echo(forecast.show(found, matrix.resources))
    if found.missing:
        lines = [f"  {number}. {problem}" for number, problem in enumerate(found.missing, start=1)]
        raise fail("\n".join(["not ready; what is missing on this machine:", *lines]))


def _show_outcome(matrix: Matrix, store: Store, outcome: Outcome, out: Path, tracking_uri: str | None) -> None:
    total = outcome.finished + len(outcome.missing)
    typer.echo("\n" + outcome.report.markdown)
    typer.echo(f"cells    {outcome.finished} of {total} finished, in {store.url}")
    typer.echo(f"tables   {out / matrix.name}")
    typer.echo(f"figures  {out / matrix.name / 'figures'}")
    typer.echo(f"MLflow   {tracking_uri or f'mtlbench ui --store {store.url}'}")
    for cell_id, error in outcome.failures.items():
        typer.echo(f"failed   {cell_id}: {error}\n         mtlbench show {cell_id} --store {store.url}", err=True)
    for cell_id, problems in outcome.below_constant.items():
        typer.echo(f"no better than a constant: {cell_id}: {'; '.join(problems)}", err=True)
    if outcome.missing:
        typer.echo(f"{len(outcome.missing)} of {total} cells are missing; the same command goes on", err=True)
    if outcome.missing or outcome.below_constant:
        raise typer.Exit(1)
