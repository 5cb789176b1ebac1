"""Whole runs of a matrix in this process: the driver as it is, without a scheduler and without MLflow."""

import contextlib
import sys
from io import StringIO
from types import SimpleNamespace

from rich.console import Console

from mtlbench import harness
from mtlbench.harness.driver import run as runner
from mtlbench.harness.driver.attempt import attempt
from mtlbench.harness.store.store import Store


class Tracked:
    """Stands in for the tracker: refuses a cell that no manifest has named yet, as the real one does."""

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

    def log_report(self, folder):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def schedule():
    """Stands in for Ray: one cell after the other, in this process; `ready` is asked again after each."""

    def in_turn(ready, settings, board, **_):
        issued = set()
        while waiting := [cell for cell in ready() if cell.id not in issued]:
            cell = waiting[0]
            issued.add(cell.id)
            board.started(cell.id)
            with contextlib.suppress(RuntimeError):  # which the store has been told
                attempt(cell, settings, lambda progress: None)
            board.ended(cell.id)

    cluster = SimpleNamespace(total={"CPU": 1.0}, nodes=[{"CPU": 1.0}])
    return SimpleNamespace(cluster=lambda address: cluster, leave=lambda: None, run=in_turn)


def running(monkeypatch, folder, rooms):
    """A function that runs a matrix into folder / "s" and returns (outcome, what was said)."""
    stand_in = schedule()
    monkeypatch.setitem(sys.modules, "mtlbench.harness.driver.schedule", stand_in)
    monkeypatch.setattr(harness, "schedule", stand_in, raising=False)
    monkeypatch.setattr(runner, "Tracker", Tracked)

    def run(m, **options):
        said = StringIO()
        outcome = runner.run(
            m, Store(folder / "s"), {"rooms": rooms}, out=folder / "out", console=Console(file=said, width=200),
            **options,
        )  # fmt: skip
        return outcome, said.getvalue()

    return run
