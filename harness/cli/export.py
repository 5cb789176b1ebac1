"""The command that shows a store in other tools than MLflow. Heavy imports stay inside, so that --help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mtlbench.harness.cli.usage import (
    MatricesArgument,
    StoreOption,
    names_of,
    open_store,
    opening,
    refuse_unreadable,
    report_folder,
)  # fmt: skip


def export(
    form: Annotated[Literal["tensorboard"], typer.Argument(metavar="tensorboard", help="The format.")],
    matrices: MatricesArgument = None,
    url: StoreOption = "runs",
    out: Annotated[Path, typer.Option(help="The folder of the event files.")] = Path("tensorboard"),
) -> None:
    """Write the histories and scores of a store as event files of TensorBoard. Again and again, nothing is doubled.

    Example:  mtlbench export tensorboard rooms --store runs --out tensorboard
    """
    opening(f"exporting {', '.join(matrices or ['all matrices'])} of {url}", "pandas")
    from mtlbench.harness.export import tensorboard
    from mtlbench.results.records.reading import read

    store = open_store(url)
    names = names_of(store, matrices)
    report_folder(out, store)
    unreadable: dict[str, str] = {}
    for name in names:
        results = read(store.url, name)
        unreadable |= results.unreadable
        written = tensorboard.export(store, results.manifest, list(results.unreadable), out)
        typer.echo(f"{name}: {written} cells in {out / name}")
    refuse_unreadable(unreadable.values())
