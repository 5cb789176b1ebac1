"""A matrix of a store as event files of TensorBoard: the histories and the scores of its cells, as MLflow shows them.

The store is the truth: the files are made from it, at any time and as often as wanted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mtlbench.harness.export.cells import shown
from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking.views import Point, View
from mtlbench.results.records.record import Entry, Manifest

# Behind the names of our files. What other programs have written into the folder stays.
SUFFIX = ".mtlbench"


def export(store: Store, manifest: Manifest, without: Sequence[str], out: Path) -> int:
    """Write OUT/MATRIX/LABEL/CELL/events.out.tfevents.* for each cell that has a history or a record.

    without: ids of cells that are left out. Files of an earlier call are removed. Returns how many cells were written.
    Raises OSError where `out` cannot be written to.
    """
    folder = out / manifest.name
    for old in folder.rglob(f"events.out.tfevents.*{SUFFIX}"):
        old.unlink()
    written = 0
    for cell in shown(store, manifest, without):
        if points := cell.curve + cell.finals:
            _write(points, _start(cell.view), folder / _folder(cell.entry))
            written += 1
    return written


def _folder(entry: Entry) -> str:
    """TensorBoard calls a run by its folder, and people choose runs by a pattern: the label first."""
    return f"{re.sub(r'[^A-Za-z0-9_.+-]+', '_', entry.label).lstrip('.') or '_'}/{entry.id}"


def _start(found: View) -> float:
    """When a cell started, in seconds since 1970; 0 where nothing says when."""
    seconds = found.record.cost.get("train_seconds", 0.0) if found.record else 0.0
    return max(0.0, (found.ended or 0) / 1000 - seconds)


def _write(points: Sequence[Point], start: float, folder: Path) -> None:
    """A history has no clock, so a point's time is its step, in milliseconds after the start."""
    from tensorboardX import SummaryWriter

    folder.mkdir(parents=True, exist_ok=True)  # an error of ours names the folder
    with SummaryWriter(str(folder), filename_suffix=SUFFIX) as writer:
        for point in points:
            writer.add_scalar(point.name, point.value, point.step, walltime=start + point.step / 1000)
