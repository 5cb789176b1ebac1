"""The command line: which commands there are. What a command does is in the other files of this folder."""

from __future__ import annotations

import atexit
import gc
import logging
from collections.abc import Callable
from importlib import metadata
from typing import Annotated

import typer

from mtlbench.harness.cli import audit, begin, data, export, launch, methods, run, store
from mtlbench.harness.cli.shell.commands import Command, Commands
from mtlbench.harness.cli.usage import one_line
from mtlbench.harness.search_path import look_here_last

app = typer.Typer(
    name="mtlbench",
    cls=Commands,
    help="Is multi-task method A better than B, by how much, and how sure are we?\n\n"
    "Start with:  mtlbench run smoke   (trains three methods on embedded rooms in a minute)",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"mtlbench {metadata.version('mtlbench')}")
        raise typer.Exit


# In the order of `mtlbench --help`, with a line that fits there.
COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "run": (run.run, "Train and score the cells of a matrix; go on after a stop."),
    "doctor": (run.doctor, "Say what would keep a matrix from running."),
    "status": (run.status, "Say what is finished, started, failed or stale."),
    "report": (store.report, "Write the tables, figures and the page of a store."),
    "track": (export.track, "Bring MLflow up to date with a store."),
    "export": (export.export, "Write a store for TensorBoard or Weights & Biases."),
    "ui": (export.ui, "Open the MLflow pages of a store."),
    "audit": (audit.audit, "Find printed values of Δm that cannot be true."),
    "plan": (methods.plan, "Say how many seeds a question needs."),
    "list": (methods.list_, "List all that a matrix can choose."),
    "describe": (methods.describe, "Count parameters, operations and memory of methods."),
    "show": (store.show, "Show a cell: its settings, scores, failure and log."),
    "rescore": (store.rescore, "Score finished cells anew, without a GPU."),
    "gc": (store.gc_, "Say what a store can do without, and remove it."),
    "predict": (store.predict, "Predict all tasks of a cell for images of yours."),
    "check": (methods.check, "Check a method or a benchmark of yours."),
    "schema": (begin.schema, "Print the JSON schema of a matrix, for your editor."),
}


@app.callback()
def first(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Options of the command line as a whole."""


for name, (command, line) in COMMANDS.items():
    app.command(name, cls=Command, short_help=line)(one_line(command))
app.add_typer(data.app, name="data")
app.add_typer(begin.app, name="new")
app.add_typer(launch.app, name="launch", short_help="Write the files that start a run on a cluster.")


def main() -> None:
    """The console script."""
    look_here_last()
    # Otherwise Python looks for garbage several times while it ends, among all that a run has loaded: for seconds.
    atexit.register(gc.freeze)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    app()
