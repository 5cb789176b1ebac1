"""One attempt at a cell, in the process that was given to it. It sets threads, and writes the log and the failure."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.harness.training.environment import Environment
from mtlbench.harness.training.progress import Diverged, Progress
from mtlbench.results.records import files


def attempt(cell: Cell, environment: Environment, report: Callable[[Progress], None]) -> bool:
    """Train a cell; True when it is done, also where an earlier attempt did it.

    Its record is then in the store, or what `score` needs for it.

    Errors go to the store (failure.json, log.txt). A failure that another try would repeat bit for bit ends here with
    False. Any other error is raised again, and the scheduler tries again.
    """
    import torch

    from mtlbench.harness.training import judge, train

    store = Store(environment.store)
    if store.state(cell.id) in ("trained", "finished"):
        return True
    torch.set_num_threads(environment.resources.cpus)
    # Not by RANK, which a batch script may have exported.
    main = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
    started = time.time()
    with log(store, cell.id) if main else contextlib.nullcontext():
        try:
            train.train(cell, environment, report)
        except Exception as error:
            trace = traceback.format_exc()
            print(trace, file=sys.stderr, flush=True)
            # On a full disk the scheduler says why, once there is room.
            with contextlib.suppress(StoreError):
                earlier = store.failure(cell.id)
                if earlier is None or earlier["time"] < started:  # else another process of this attempt named the cause
                    store.put_failure(cell.id, reason(error), trace)
            if isinstance(error, Diverged):
                if cell.trial and main:
                    store.put_record(judge.divergence(cell, error, torch.device(environment.device)))
                return cell.trial
            raise
    return True


def score(cell_id: str, environment: Environment, report: Callable[[int, int], None]) -> None:
    """Compute the expensive scores of a trained cell, which puts its record into the store.

    `report` is told (images done, images in all). Errors go to the store and are raised again.
    """
    from mtlbench.harness.scoring import expensive

    store = Store(environment.store)
    if store.state(cell_id) == "finished":
        return
    with log(store, cell_id):
        try:
            expensive.finish(store, cell_id, environment.resources.cpus, report)
        except Exception as error:
            trace = traceback.format_exc()
            print(trace, file=sys.stderr, flush=True)
            with contextlib.suppress(StoreError):
                store.put_failure(cell_id, reason(error), trace)
            raise


def reason(error: BaseException) -> str:
    """The class and the first line of an error; the error's other lines are in its traceback."""
    return f"{type(error).__name__}: {first_line(str(error))}" if str(error).strip() else type(error).__name__


def first_line(text: str) -> str:
    """The first line that is not empty; "" where there is none."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


class Log(io.TextIOWrapper):
    """A file that is printed to line by line. What a full disk has no room for ends no training."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("ab"), line_buffering=True)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def log(store: Store, cell_id: str) -> Iterator[None]:
    """Everything that is printed goes to the cell's log, behind the lines of earlier attempts."""
    name = files.log(cell_id)
    stamp = f"--- {datetime.now():%Y-%m-%d %H:%M:%S} process {os.getpid()} ---\n"
    if store.local:
        path = Path(store.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with Log(path) as file:
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
        with contextlib.suppress(StoreError):
            store.put(name, buffer.getvalue())
