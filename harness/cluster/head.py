"""The head of a Ray cluster is watched. Where it is gone, Ray would end this process after a minute of silence."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

PATIENCE = 30.0  # seconds without an answer; Ray gives up after 60


@contextlib.contextmanager
def watched(address: str, gone: Callable[[str], None], patience: float = PATIENCE) -> Iterator[None]:
    """Call `gone` once, from another thread and with a line, where HOST:PORT does not answer for `patience` seconds."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(address, gone, patience, over), name="head of Ray", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(address: str, gone: Callable[[str], None], patience: float, over: threading.Event) -> None:
    host, _, port = address.rpartition(":")
    answered = time.monotonic()
    while not over.wait(patience / 6):
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=patience / 6).close()
            answered = time.monotonic()
        except OSError:
            if time.monotonic() - answered > patience:
                gone(f"the head of the Ray cluster, {address}, has not answered for {patience:g} s; start a head anew")
                return


def end(line: str) -> None:
    """End this process at once: all that waits for the head would wait for ever. The store has what is done."""
    print(f"mtlbench: {line} and give the same command, which goes on from the last checkpoints", file=sys.stderr)
    sys.stderr.flush()
    os._exit(1)
