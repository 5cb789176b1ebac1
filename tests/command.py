"""The command line, in this process and in others."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from mtlbench.harness.cli.app import app
from paths import PYTHONPATH


def main(arguments):
    """The exit status of a command."""
    try:
        app(arguments)
    except SystemExit as done:
        return done.code
    return 0


def invoke(*arguments):
    """What a command has printed and its exit status, as typer's Result."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@dataclass(frozen=True)
class Commands:
    """The command line in processes of their own, in a folder, with a cache that all tests share."""

    folder: Path
    cache: Path
    database: Path  # of MLflow and without a run: a store begins with a copy, for a new one takes seconds
    before: tuple[str, ...] = ()  # the words of a command that runs the command line somewhere else
    first: str = ""  # what the process does before the command line

    def start(self, *arguments, **options):
        """A process that runs; its output, errors among it, is in `stdout`."""
        self._prepare(arguments)
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(self._command(arguments), **self._place(), **{**piped, **options})

    def run(self, *arguments):
        """A process that has ended."""
        self._prepare(arguments)
        return subprocess.run(
            self._command(arguments), **self._place(), capture_output=True, text=True, timeout=500, check=False
        )

    def _command(self, arguments):
        code = f"{self.first}\nfrom mtlbench.harness.cli.app import main\nmain()\n"
        program = ["-c", code] if self.first else ["-m", "mtlbench"]
        return [*self.before, sys.executable, *program, *map(str, arguments)]

    def _place(self):
        return {
            "cwd": self.folder, "env": {**os.environ, "MTLBENCH_CACHE": str(self.cache), "PYTHONPATH": PYTHONPATH}
        }  # fmt: skip

    def _prepare(self, arguments):
        if arguments[0] == "run" and "--store" in arguments and "--tracking-uri" not in arguments:
            store = self.folder / arguments[arguments.index("--store") + 1]
            store.mkdir(exist_ok=True)
            if not (store / "mlflow.db").exists():
                shutil.copy(self.database, store / "mlflow.db")
