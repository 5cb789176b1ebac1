"""How long a process waits: for room on a full disk, and for a remote store that does not answer."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mtlbench.results.records.remote import Away, StoreError

PATIENCE = 60.0  # seconds
FULL = (errno.ENOSPC, errno.EDQUOT)

_trouble: dict[str, tuple[float, float]] = {}  # root of a store -> when this process found it unusable: first, and last
_waiting: set[str] = set()  # roots of stores for which this process has said that it waits

log = logging.getLogger(__name__)
Found = TypeVar("Found")


class DiskFull(StoreError):
    """A file does not fit on the disk of a store, and there was no room for it while a process waited."""


def unwritten(path: str, size: int, error: OSError, url: str) -> StoreError:
    """The error to raise where a file of `size` bytes could not be written into the store at `url`."""
    what = f"cannot write {path}: {error.strerror or error}"
    if error.errno not in FULL:
        return StoreError(what)
    way = f"make room, as with `mtlbench gc --store {shlex.quote(url)}`, or give another --store"
    return DiskFull(f"{what} ({room(path, size)}); {way}")


@contextmanager
def waits_told(tell: Callable[[str], None]) -> Iterator[None]:
    """Have `tell` called with what is logged when this process begins to wait for a store."""
    handler = logging.Handler()
    handler.emit = lambda record: tell(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def patiently(root: str, call: Callable[[], Found], patience: float) -> Found:
    """What `call` returns. Where it fails since a disk is full or a store is away, it is tried again.

    patience: for how many seconds. They begin when this process first finds the store unusable, so that many calls do
    not wait one after the other. Raises what the last try has raised.
    """
    begun = time.monotonic()
    while True:
        try:
            found = call()
        except FileNotFoundError:  # an answer too
            _well(root, patience)
            raise
        except (OSError, Away) as error:
            passes = isinstance(error, Away) or error.errno in FULL
            if not passes or not _may_wait(root, error, patience, begun):
                raise
            time.sleep(1)
            continue
        _well(root, patience)
        return found


def _well(root: str, patience: float) -> None:
    _trouble.pop(root, None)
    if patience:
        _waiting.discard(root)


def _may_wait(root: str, error: OSError | Away, patience: float, begun: float) -> bool:
    """begun: when the call was first tried. A smaller file may fit in between, and `_trouble` is then gone."""
    now = time.monotonic()
    first, last = _trouble.get(root, (now, now))
    if now - last > PATIENCE:  # between then and now nobody has asked, and it may have been well
        first = now
    _trouble[root] = first, now
    if patience and root not in _waiting:
        _waiting.add(root)
        what = "waiting for it" if isinstance(error, Away) else f"the disk of {root} is full; waiting for room"
        log.warning("%s, at most %.0f s", f"{error}; {what}" if isinstance(error, Away) else what, patience)
    return now - min(begun, first) < patience


def room(path: str, size: int = 0) -> str:
    """What is left on the disk of a file: "disk /data: 12 MB of 10.0 GB free". size: of the file, in bytes."""
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    disk = folder
    while not os.path.ismount(disk):
        disk = os.path.dirname(disk)
    found = os.statvfs(folder)
    free, whole = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    needed = f"; the file has {_size(size)}" if size > free else ""
    files_left = "" if found.f_favail or not found.f_files else ", and no more files fit on it"
    return f"disk {disk}: {_size(free)} of {_size(whole)} free{needed}{files_left}"


def _size(count: int) -> str:
    """Bytes in GB, or in MB where they are less than one GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.{0 if count >= 10e6 else 1}f} MB"
