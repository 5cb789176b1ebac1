"""What other tools are to show of the cells of a matrix: the same points that MLflow shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mtlbench.harness.driver.deltas import deltas
from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking.views import Point, State, View, curve, finals, run_name, view
from mtlbench.results.records.record import Entry, Manifest


@dataclass(frozen=True)
class Shown:
    """A cell of a matrix."""

    entry: Entry
    name: str  # as MLflow calls its run
    view: View
    curve: list[Point]  # the history, and what the training used of its machine
    finals: list[Point]  # scores, costs and deltas, all at step 0


def shown(store: Store, manifest: Manifest, without: Sequence[str]) -> Iterator[Shown]:
    """The cells that the matrix expects, in its order. without: ids of cells that are left out."""
    gains = deltas(store, manifest.name)
    for cell_id, entry in manifest.cells().items():
        if cell_id in without:
            continue
        found = view(store.url, manifest, cell_id, _state(store, cell_id))
        scores = finals(found.record) if found.record is not None else []
        of_delta = [Point(name, value, 0) for name, value in gains.get(cell_id, {}).items()]
        points = curve([*found.history.rows, *found.usage])
        yield Shown(entry, run_name(found.entries, manifest), found, points, scores + of_delta)


def _state(store: Store, cell_id: str) -> State:
    state = store.state(cell_id)
    return state if state in ("finished", "failed") else "running"
