"""The log of a cell: what its process prints, and the signal that ended it.

It is a file on a local disk, where also a crash can write. For a store elsewhere, the file is put into the store every
now and then, at the end, and, where the process dies before, by a process that watches it (harness/store/keeper.py).
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mtlbench.harness.store import keeper
from mtlbench.harness.store.patience import PATIENCE
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.results.records import files

SECONDS = 60.0  # from one time that a log is put into a store to the next
LATEST = 30.0  # seconds after the death of a process, when its log may still be on its way into the store

LAST_LINES = f"{files.LOG} has its last lines"
STAMP = "--- "  # begins the first line of an attempt
NO_LAST_LINES = f"{files.LOG} ends up to {SECONDS:.0f} s before"


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
def log(store: Store, cell_id: str) -> Iterator[Callable[[], None]]:
    """Everything that is printed goes to the cell's log, behind the lines of earlier attempts.

    Yields what is called while the cell goes on, so that the log of a store elsewhere is seen before the cell ends.
    """
    name = files.log(cell_id)
    if store.local:
        path = Path(store.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with _printed_to(path):
            yield lambda: None
        return
    with tempfile.TemporaryDirectory(prefix="mtlbench-log-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / files.LOG
        path.write_bytes(store.get_those_there([name]).get(name, b""))
        copy = _Copy(store, name, path)
        try:
            with _printed_to(path):
                keeper.keep(path, store.url, store.path(name))
                copy.put(patience=0)
                yield copy
        finally:
            copy.put()


@contextlib.contextmanager
def _printed_to(path: Path) -> Iterator[None]:
    with Log(path) as file:
        file.write(f"{STAMP}{datetime.now():%Y-%m-%d %H:%M:%S} process {os.getpid()} ---\n")
        faulthandler.enable(file, all_threads=False)
        try:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield
        finally:
            faulthandler.disable()


class _Copy:
    """Puts a log into a store, at most once in `SECONDS`."""

    def __init__(self, store: Store, name: str, path: Path) -> None:
        self.store, self.name, self.path, self.told = store, name, path, time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self.told >= SECONDS:
            self.told = time.monotonic()
            self.put(patience=0)

    def put(self, *, patience: float = PATIENCE) -> None:
        with contextlib.suppress(StoreError, OSError):
            self.store.put(self.name, self.path.read_bytes(), patience=patience)


class LastWords(NamedTuple):
    """What a log says of the end of its last process."""

    signal: str  # which ended it; "" where nothing says so
    whole: bool  # whether the log has all that the process has printed


def last_words(store: Store, cell_id: str, *, node_runs: bool) -> LastWords:
    """What the log of a cell says of its last process, which has died.

    node_runs: whether the node of the process may still put the log into the store, which takes seconds.
    """
    end = time.monotonic() + (LATEST if node_runs else 0)
    while True:
        text = store.get_those_there([files.log(cell_id)]).get(files.log(cell_id), b"").decode(errors="replace")
        last = text.rpartition(f"\n{STAMP}")[2]
        whole = store.local or re.search(re.escape(keeper.ENDED).replace(r"\{pid\}", r"\d+"), last) is not None
        if whole or time.monotonic() >= end:
            found = re.search(r"^Fatal Python error: (.+)$", last, re.MULTILINE)
            return LastWords("" if found is None else found[1], whole)
        time.sleep(0.5)
