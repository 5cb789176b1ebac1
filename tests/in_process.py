"""Whole runs of a matrix in this process: the driver as it is, with a scheduler of ours and without MLflow."""

import contextlib
from io import StringIO

from rich.console import Console

from mtlbench.harness.cluster.attempt import attempt
from mtlbench.harness.cluster.scheduler import Cluster
from mtlbench.harness.driver import run as driver
from mtlbench.harness.store.store import Store


class Tracked:
    """Stands in for the tracker. It refuses a cell that no manifest has named yet, as the real one does."""

    def __init__(self, uri, store, manifest, description=""):
        self.expect(manifest)
        self.states = {}

    def expect(self, manifest):
        self.known = {entry.id for entry in manifest.entries}

    def project(self, cell_id, state):
        assert cell_id in self.known
        self.states[cell_id] = state

    def project_deltas(self, deltas):
        assert deltas.keys() <= self.known

    def project_rows(self, rows):
        pass

    def log_report(self, folder, files, claim=None, sign=""):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class InTurn:
    """A Scheduler that runs one cell after the other in this process; `ready` is asked again after each."""

    def join(self):
        return Cluster(total={"CPU": 1.0}, nodes=[{"CPU": 1.0}])

    def ask(self, environment, cells, sign):
        return []

    def run(self, ready, environment, board):
        issued = set()
        while waiting := [cell for cell in ready() if cell.id not in issued]:
            cell = waiting[0]
            issued.add(cell.id)
            board.started(cell.id)
            with contextlib.suppress(RuntimeError):  # the store has been told of the failure
                attempt(cell, environment, lambda progress: None)
            board.ended(cell.id)

    def leave(self):
        pass


def running(monkeypatch, folder, rooms):
    """A function that runs a matrix into folder / "s" and returns (outcome, what was said)."""
    monkeypatch.setattr(driver, "Tracker", Tracked)

    def run(matrix, *, scheduler=InTurn, **options):
        said = StringIO()
        request = driver.Request(matrix, {"rooms": rooms}, folder / "out", **options)
        outcome = driver.run(request, Store(folder / "s"), scheduler, Console(file=said, width=200))
        return outcome, said.getvalue()

    return run
