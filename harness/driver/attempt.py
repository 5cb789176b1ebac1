"""One attempt at a cell, in whatever process it is given: threads, log, failure; the record is that of others."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files


@dataclass(frozen=True)
class Settings:
    """What an attempt needs besides the cell: where things are, and how much of the machine it has."""

    store: str
    roots: dict[str, str]  # benchmark -> folder of its data
    cache: str | None = None  # folder below which prepared data may be
    weights: dict[str, str] = field(default_factory=dict)  # what a cell calls a file of weights -> its path
    cpus: int = 1
    gpus: float = 0
    workers: int = 1
    loaders: int = 0
    checkpoint_every: int = 1
    validate_every: int | None = None
    save_predictions: bool = False


def attempt(cell: Cell, settings: Settings, report: Any) -> bool:
    """Train a cell; True when it is done, also where an earlier attempt did it.

    Its record is then in the store, or what `score` needs for it.

    What fails is written to the store (failure.json, log.txt). A failure that another try would repeat bit for bit ends
    here with False; any other is raised again, for the scheduler to retry.
    """
    import torch

    from mtlbench.harness.training import environment, judge, progress, train

    store = Store(settings.store)
    if store.state(cell.id) in ("trained", "finished"):
        return True
    torch.set_num_threads(settings.cpus)
    place = environment.Place(
        store=settings.store,
        root=Path(settings.roots[cell.benchmark.name]),
        cache=Path(settings.cache) if settings.cache else None,
        weights=settings.weights,
        device="cuda" if settings.gpus else "cpu",
        loaders=settings.loaders,
        checkpoint_every=settings.checkpoint_every,
        validate_every=settings.validate_every,
        save_predictions=settings.save_predictions,
        report=report,
    )
    main = os.environ.get("RANK", "0") == "0"
    started = time.time()
    with log(store, cell.id) if main else contextlib.nullcontext():
        try:
            train.train(cell, place)
        except Exception as error:
            trace = traceback.format_exc()
            print(trace, file=sys.stderr, flush=True)
            earlier = store.failure(cell.id)
            if earlier is None or earlier["time"] < started:  # else another process of this attempt told the cause
                store.put_failure(cell.id, f"{type(error).__name__}: {error}", trace)
            if isinstance(error, progress.Diverged):
                if cell.trial and main:
                    store.put_record(judge.divergence(cell, error, torch.device(place.device)))
                return cell.trial
            raise
    return True


def score(cell_id: str, settings: Settings, report: Callable[[int, int], None]) -> None:
    """Compute the expensive scores of a trained cell, which puts its record into the store.

    `report` is told (images done, images in all). What fails is written to the store and raised again.
    """
    from mtlbench.harness.scoring import expensive as scoring

    store = Store(settings.store)
    if store.state(cell_id) == "finished":
        return
    with log(store, cell_id):
        try:
            scoring.finish(store, cell_id, settings.cpus, report)
        except Exception as error:
            trace = traceback.format_exc()
            print(trace, file=sys.stderr, flush=True)
            store.put_failure(cell_id, f"{type(error).__name__}: {error}", trace)
            raise


@contextlib.contextmanager
def log(store: Store, cell_id: str) -> Iterator[None]:
    """Everything printed goes to the cell's log, after what earlier attempts left there."""
    name = files.log(cell_id)
    stamp = f"--- {datetime.now():%Y-%m-%d %H:%M:%S} process {os.getpid()} ---\n"
    if store.local:
        path = Path(store.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", buffering=1) as file:
            file.write(stamp)
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield
        return
    buffer = io.StringIO()
    buffer.write((store.get(name).decode() if store.exists(name) else "") + stamp)
    try:
        with contextlib.redirect_stdout(buffer), contextlib.redirect_stderr(buffer):
            yield
    finally:
        store.put(name, buffer.getvalue())
