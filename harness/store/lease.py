"""Only one driver runs a store: the driver holds a lease, which has an owner and a heartbeat."""

from __future__ import annotations

import _thread
import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from mtlbench.harness.store.store import Store, StoreError
from mtlbench.results.records import files

LEASE_SECONDS = 60.0  # a driver with an older heartbeat is taken for dead


class StoreBusy(StoreError):
    """Another driver holds the store."""


class Lease:
    """The right to drive a store: a file with the owner and a heartbeat that a thread keeps fresh.

    It is used as a context manager. Entering raises StoreBusy, naming the owner, where another driver is alive.
    """

    name = files.LEASE

    def __init__(self, store: Store) -> None:
        self.store = store
        self.owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        with self._exclusive():
            holder = self._holder()
            if holder is not None and self._alive(holder):
                raise StoreBusy(
                    f"{self.store.url} is driven by process {holder['pid']} on {holder['host']}; wait for it, or give "
                    f"another --store (if that machine is gone, its lease ends within {LEASE_SECONDS:.0f} s; if that "
                    f"process is another program, remove {self.store.path(self.name)})"
                )
            self._write()
        if not self.store.local:
            time.sleep(2.0)  # object stores cannot create exclusively: the last of two writers wins, and both look
        if (self._holder() or {}).get("token") != self.owner["token"]:
            raise StoreBusy(f"{self.store.url}: another driver took the store at the same moment")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if (self._holder() or {}).get("token") == self.owner["token"]:
            self.store.remove(self.name)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Lock the folder between looking and writing. Only a local disk has such a lock."""
        if not self.store.local:
            yield
            return
        os.makedirs(self.store.root, exist_ok=True)
        folder = os.open(self.store.root, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _holder(self) -> dict[str, Any] | None:
        try:
            holder = json.loads(self.store.get(self.name))
        except (FileNotFoundError, ValueError):
            return None
        whole = isinstance(holder, dict) and {"host", "pid", "token", "heartbeat"} <= holder.keys()
        return holder if whole else None

    def _alive(self, holder: dict[str, Any]) -> bool:
        if holder["host"] == self.owner["host"]:
            try:
                os.kill(holder["pid"], 0)
            except ProcessLookupError:
                return False
            except PermissionError:
                pass  # it exists, and belongs to somebody else
            return True  # a suspended process is alive although its heart does not beat
        return bool(time.time() - holder["heartbeat"] < LEASE_SECONDS)

    def _write(self) -> None:
        self.store.put(self.name, json.dumps({**self.owner, "heartbeat": time.time()}), patience=0)

    def _beat(self) -> None:
        while not self._stop.wait(LEASE_SECONDS / 6):
            # A disk may be full, or a network drive away, for a moment. If it stays so, another write ends the run.
            with contextlib.suppress(StoreError, OSError):
                holder = self._holder()
                if holder is not None and holder["token"] != self.owner["token"]:
                    _thread.interrupt_main()  # another driver took the store because this heart did not beat
                    return
                self._write()
