"""Kills without warning, at random, of the processes that a run has started, and what a store must hold afterwards."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking.server import SERVER_ENVIRONMENT
from mtlbench.results.records import files
from paths import PYTHONPATH

MARK = "MTLBENCH_TEST_RUN"  # a variable that every process of a run inherits, also where its parent has died

# Part of a process's command line -> what it is; the first that fits.
KINDS = {
    "mlflow": "MLflow",
    "gcs_server": "GCS of Ray",
    "raylet/raylet": "raylet",
    "ray::IDLE": "idle process of Ray",
    "ray::": "process of a cell",
    "/ray/": "helper of Ray",  # its agents and its log monitor
    "-m mtlbench": "driver",
}
# How often each is hit, where it runs. Most is to be learnt from those that do the work.
WEIGHTS = {"driver": 3, "process of a cell": 4, "raylet": 1, "GCS of Ray": 1, "MLflow": 2}


@dataclass
class Marked:
    """The processes that have the mark, and the kills among them."""

    dice: random.Random
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    killed: Counter = field(default_factory=Counter)

    def processes(self):
        """The kind of each of them, by process."""
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self.mark:
                    line = " ".join(process.cmdline())
                    found[process] = next((kind for part, kind in KINDS.items() if part in line), "other")
        return found

    def kill_one(self):
        """Kill a process of a random kind; the kind, or None where there is none."""
        found = self.processes()
        kinds = sorted(set(found.values()))
        if not kinds:
            return None
        (kind,) = self.dice.choices(kinds, [WEIGHTS.get(kind, 1) for kind in kinds])
        victims = [process for process, its in found.items() if its == kind]
        with contextlib.suppress(psutil.NoSuchProcess):
            self.dice.choice(sorted(victims, key=lambda process: process.pid)).kill()
            self.killed[kind] += 1
        return kind

    def end(self):
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


class Server:
    """A server of MLflow that is started again, with the same database, some time after it was killed."""

    def __init__(self, folder, database, port):
        self.uri, self.folder, self.port = f"http://127.0.0.1:{port}", folder, port
        self.variables = {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{database}", "PYTHONPATH": PYTHONPATH}
        self.process, self.gone = None, 0.0

    def keep(self):
        """Start it where it does not run, 5 seconds after that was first seen. All of its processes go together."""
        if self.process is not None and self._whole():
            return
        self.end()
        if time.monotonic() - self.gone < 5:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "mlflow.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=os.environ | SERVER_ENVIRONMENT | self.variables, stdout=log, stderr=log,
                cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.size = 0

    def end(self):
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process, self.gone = None, time.monotonic()

    def _whole(self):
        """Whether none of its processes has ended since most of them were seen."""
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.process.pid)
            size = 1 + len(first.children(recursive=True))
            self.size = max(self.size, size)
            return first.status() != psutil.STATUS_ZOMBIE and size == self.size
        return False


def numbers(folder):
    """Everything of each cell that a comparison rests on: its scores, and the bytes of its weights."""
    store = Store(folder)
    records = {cell_id: store.record(cell_id) for cell_id in store.cells()}
    return {
        cell_id: record and (record.scores, store.get(files.weights(cell_id))) for cell_id, record in records.items()
    }


def left_over(folder):
    """Files that a store must not hold once its cells are finished and no driver is there."""
    folder = Path(folder)
    patterns = ("cells/*/checkpoints/*", "cells/*/pulse", "cells/*/failure.json", "lease/*")
    return sorted(str(path.relative_to(folder)) for pattern in patterns for path in folder.glob(pattern))
