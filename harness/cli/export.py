"""The command that shows a store in other tools than MLflow. Heavy imports stay inside, so that --help is quick."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from mtlbench.harness.cli.usage import (
    MatricesArgument,
    StoreOption,
    fail,
    names_of,
    open_store,
    opening,
    refuse_unreadable,
    report_folder,
)  # fmt: skip


def export(
    form: Annotated[Literal["tensorboard", "wandb"], typer.Argument(metavar="tensorboard|wandb", help="The format.")],
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
