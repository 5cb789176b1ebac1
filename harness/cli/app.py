"""The command line: which commands there are. What a command does is in the other files of this folder."""

from __future__ import annotations

import logging
from collections.abc import Callable

import typer

from mtlbench.harness.cli import audit, data, methods, run, store
from mtlbench.harness.cli.usage import one_line
from mtlbench.harness.search_path import look_here_last

app = typer.Typer(
    name="mtlbench",
    help="Is multi-task method A better than B, by how much, and how sure are we?\n\n"
    "Start with:  mtlbench run smoke   (trains three methods on embedded rooms in a minute)",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

COMMANDS: dict[str, Callable[..., None]] = {  # in the order in which `mtlbench --help` lists them
    "run": run.run,
    "status": run.status,
    "report": store.report,
    "track": store.track,
    "ui": store.ui,
    "audit": audit.audit,
    "plan": methods.plan,
    "list": methods.list_,
    "describe": methods.describe,
    "show": store.show,
    "rescore": store.rescore,
    "gc": store.gc_,
    "predict": store.predict,
    "check": methods.check,
}

for name, command in COMMANDS.items():
    app.command(name)(one_line(command))
app.add_typer(data.app, name="data")


def main() -> None:
    """The console script."""
    look_here_last()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    app()
