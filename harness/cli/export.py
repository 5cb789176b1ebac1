"""The commands that show a store in other tools. Heavy imports stay inside the commands, so that --help is quick."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtlbench.harness.cli.usage import (
    MatricesArgument,
    MatrixArgument,
    StoreOption,
    TrackingOption,
    fail,
    matrix_name,
    names_of,
    open_store,
    opening,
    refuse_unreadable,
    report_folder,
    terminable,
)  # fmt: skip

if TYPE_CHECKING:
    from mtlbench.harness.store.store import Store


def track(matrix: MatrixArgument, url: StoreOption = "runs", tracking_uri: TrackingOption = None) -> None:
    """Bring MLflow up to date with the store, for example after its server was down: cells, rows, tables and figures.

    Example:  mtlbench track rooms --store runs --tracking-uri http://127.0.0.1:5000
    """
    opening(f"bringing MLflow up to date with {matrix} in {url}", "mlflow")
    from tempfile import TemporaryDirectory

    from mtlbench.harness.driver.deltas import deltas
    from mtlbench.harness.tracking.tracker import Tracker, show_report, sign
    from mtlbench.results.records.addresses import public
    from mtlbench.results.records.reading import read

    store, matrix = open_store(url), matrix_name(matrix)
    results = read(store.url, matrix)
    uri = _tracking(store, tracking_uri)
    with TemporaryDirectory() as folder, Tracker(uri, store.url, results.manifest) as tracker:
        states = {
            cell_id: store.state(cell_id) for cell_id in results.manifest.ids if cell_id not in results.unreadable
        }
        tracker.project_all(
            {cell_id: state if state in ("finished", "failed") else "waiting" for cell_id, state in states.items()}
        )
        tracker.project_deltas(deltas(store, matrix))
        if not tracker.shows(sign(results)):
            from mtlbench.results.report.write import report as write

            show_report(tracker, results, Path(folder) / matrix, write(store.url, [matrix], Path(folder)))
    typer.echo(f"{public(uri, uri)} shows {matrix}")
    refuse_unreadable(results.unreadable.values())


def ui(
    url: StoreOption = "runs",
    tracking_uri: Annotated[str | None, typer.Option(help="A database; default: sqlite in the store.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of this machine's loopback address.")] = 5000,
) -> None:
    """Open the MLflow pages of a store on http://127.0.0.1:PORT.

    Example:  mtlbench ui --store runs
    """
    from mtlbench.harness.tracking import server

    store = open_store(url)
    names, uri, address = names_of(store, None), _tracking(store, tracking_uri), f"http://127.0.0.1:{port}"
    try:
        server.server(uri, port)
        server.require_free(port)
        lines = server.comparisons(uri, url, names, address)
    except ValueError as error:
        raise fail(str(error)) from None
    typer.echo(f"MLflow on {address} (Ctrl-C ends it; the first page takes a few seconds). Comparisons to open:")
    typer.echo("\n".join(lines))
    if lacking := server.lacking():
        typer.echo(lacking)
    serve(uri, port)


def serve(uri: str, port: int) -> None:
    """Serve until a signal ends it; the exit status is that of other commands."""
    from mtlbench.harness.tracking import server

    with terminable(signal.SIGHUP) as status:
        try:
            raise typer.Exit(server.serve(uri, port))
        except KeyboardInterrupt:
            raise typer.Exit(status()) from None


def export(
    form: Annotated[Literal["tensorboard", "wandb"], typer.Argument(metavar="FORMAT", help="For which program.")],
    matrices: MatricesArgument = None,
    url: StoreOption = "runs",
    out: Annotated[Path | None, typer.Option(help="The folder to write; default: named as the format.")] = None,
) -> None:
    """Write the histories and scores of a store for TensorBoard or for Weights & Biases. Again and again, nothing is
    doubled.

    tensorboard: event files. wandb: offline runs, for `wandb sync`.

    Example:  mtlbench export tensorboard rooms --store runs --out tensorboard
    """
    opening(f"exporting {', '.join(matrices or ['all matrices'])} of {url}", "pandas")
    from mtlbench.harness.export import tensorboard, wandb
    from mtlbench.results.records.reading import read

    if form == "wandb" and (problem := wandb.missing()):
        raise fail(problem)
    store, out = open_store(url), out or Path(form)
    names = names_of(store, matrices)
    report_folder(out, store)
    unreadable: dict[str, str] = {}
    for name in names:
        results = read(store.url, name)
        unreadable |= results.unreadable
        module = wandb if form == "wandb" else tensorboard
        written = module.export(store, results.manifest, list(results.unreadable), out)
        if form == "tensorboard":
            typer.echo(f"{name}: {written} cells in {out / name}")
        elif written:
            runs = wandb.folder_of(out, results.manifest)
            typer.echo(f"{name}: {written} cells; upload them:  wandb sync {shlex.quote(str(runs))}")
        else:
            typer.echo(f"{name}: no cell of {store.url} has finished, and nothing was written")
    refuse_unreadable(unreadable.values())


def _tracking(store: Store, given: str | None) -> str:
    """Where a store is tracked to, checked."""
    from mtlbench.harness.tracking import connection

    try:
        uri = given or connection.default_uri(store.url)
        connection.check(uri)
    except ValueError as error:
        raise fail(str(error)) from None
    return uri
