"""A matrix of a store as offline runs of Weights & Biases: one for each finished cell, grouped by rows of the table.

The store is the truth: the runs are made from it, at any time and as often as wanted. The id of a run is that of its
cell, so a run that is uploaded again replaces itself. Nothing here speaks to a server.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mtlbench.harness.export.cells import Shown, shown
from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking.views import digest
from mtlbench.results.records.record import Manifest

SIGN = "mtlbench.digest"  # in the folder of each run that we have written: the digest of what the run shows
LONGEST = 64  # characters of an id

# The service of W&B asks for an address of the internet even where all runs are offline.
SILENT = {"WANDB_ERROR_REPORTING": "false"}

SETTINGS: dict[str, Any] = {
    "mode": "offline",
    "console": "off",
    "silent": True,
    "symlink": False,
    # Nothing of this process, of its machine or of the working directory belongs to a cell.
    "disable_git": True,
    "disable_code": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}


@dataclass(frozen=True)
class Run:
    """What W&B is to show of a cell."""

    id: str
    project: str
    group: str
    name: str
    config: dict[str, Any]  # nested as the cell is; W&B joins the names with dots, as MLflow shows them
    history: dict[int, dict[str, float]]  # step -> the values of the step, and its epoch
    summary: dict[str, float]


def missing() -> str | None:
    """Why W&B cannot be used, and what to do; None where it can."""
    try:
        from wandb import Settings  # noqa: F401  # a folder `wandb` of runs can be imported too, and has no Settings
    except ImportError as error:
        return f"export wandb needs the package of Weights & Biases: pip install 'mtlbench[wandb]' ({error})"
    return None


def export(store: Store, manifest: Manifest, without: Sequence[str], out: Path) -> int:
    """Write OUT/MATRIX/wandb/offline-run-*-CELL for each finished cell.

    without: ids of cells that are left out. A run of an earlier call stays where it shows what the store holds, so that
    W&B still knows whether it was uploaded; otherwise it is replaced or removed. Returns how many cells are there.
    Raises OSError where `out` cannot be written to.
    """
    folder = folder_of(out, manifest)
    runs = [_run(cell, manifest) for cell in shown(store, manifest, without) if cell.view.record is not None]
    there, signs = _ours(folder), {run.id: digest(asdict(run)) for run in runs}
    new = [run for run in runs if run.id not in there or (there[run.id] / SIGN).read_text() != signs[run.id]]
    for run_id in there.keys() - signs.keys():
        shutil.rmtree(there[run_id])
    if new:
        folder.mkdir(parents=True, exist_ok=True)
        with _scratch(folder.parent) as scratch:
            for run in new:
                written = _write(run, scratch)
                (written / SIGN).write_text(signs[run.id])
                if run.id in there:
                    shutil.rmtree(there[run.id])
                written.rename(folder / written.name)
    return len(runs)


def folder_of(out: Path, manifest: Manifest) -> Path:
    """The folder with the runs of a matrix, as `wandb sync` takes it."""
    return out / manifest.name / "wandb"


def _ours(folder: Path) -> dict[str, Path]:
    """Id -> folder of the runs that we have written. Runs of other programs stay."""
    found = [(re.fullmatch(r"offline-run-\d+_\d+-(.+)", sign.parent.name), sign) for sign in folder.glob(f"*/{SIGN}")]
    return {name[1]: sign.parent for name, sign in found if name}


def _run(cell: Shown, manifest: Manifest) -> Run:
    rows = (*cell.view.history.rows, *cell.view.usage)
    history: dict[int, dict[str, float]] = {int(row["step"]): {"epoch": row["epoch"]} for row in rows}
    for point in cell.curve:
        history[point.step][point.name] = point.value
    return Run(
        id=cell.entry.id[-LONGEST:],  # its end is the hash
        project=manifest.name,
        group=cell.entry.label,
        name=cell.name,
        config=cell.view.config or {},
        history=dict(sorted(history.items())),  # W&B drops a step that is behind the last one
        summary={point.name: point.value for point in cell.finals},
    )


@contextmanager
def _scratch(folder: Path) -> Iterator[str]:
    """A folder inside of `folder` that goes with the block, as does the service of W&B, which writes the files."""
    import wandb

    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as scratch:
        changed = SILENT | {"WANDB_CACHE_DIR": scratch}  # the service keeps a log there
        before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)
        try:
            yield scratch
        except (OSError, wandb.Error) as error:
            why = error.strerror if isinstance(error, OSError) else None
            raise OSError(f"{folder}: the runs cannot be written: {why or error}") from error
        finally:
            wandb.teardown()
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _write(run: Run, scratch: str) -> Path:
    """Write a run below a folder. Returns the folder of the run."""
    import wandb

    with wandb.init(
        dir=scratch,
        id=run.id,
        project=run.project,
        group=run.group,
        job_type="cell",
        name=run.name,
        config=run.config,
        reinit="create_new",
        settings=wandb.Settings(**SETTINGS),
    ) as writer:
        for step, values in run.history.items():
            writer.log(values, step=step)
        writer.summary.update(run.summary)
    return Path(writer.dir).parent
