"""What a driver needs of Ray is watched: the head of its cluster, and Ray's processes on its own machine.

Where they are gone, Ray would end this process without a word: 15 s after its raylet has died, or after a minute in
which the head was silent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import psutil
from ray._private import worker

PATIENCE = 30.0  # seconds without an answer; Ray gives up after 60
GCS = "gcs_server"  # the process that is the head


class Lost(RuntimeError):
    """The raylet of this machine has died. Ray can be left and joined again."""


def servers(local: bool) -> dict[str, psutil.Process]:
    """The processes of Ray on this machine that this process cannot do without, by name; {} where they are not seen.

    local: Ray was started for this process alone, and its head is one of them.
    """
    node, found = worker._global_node, {}
    names = {"raylet": f"--raylet_socket_name={node.raylet_socket_name}"}
    if local:
        names[GCS] = f"--session-dir={node.get_session_dir_path()}"
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            name = process.name()
            if name in names and names[name] in process.cmdline():
                found[name] = process
    return found


def require(processes: Mapping[str, psutil.Process]) -> None:
    """Raise Lost where the raylet has died. Where the head has, end this process: Tune and Ray would wait for it."""
    for name, process in processes.items():
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            line = f"Ray's process {name} on this machine has died or was killed"
            if name == GCS:
                end(f"{line}; give the same command")
            raise Lost(line)


@contextlib.contextmanager
def watched(
    address: str, gone: Callable[[str], None], patience: float = PATIENCE, *, local: bool = False
) -> Iterator[None]:
    """Call `gone` once, from another thread and with a line, where HOST:PORT does not answer for `patience` seconds."""
    over, silent, again = threading.Event(), f"has not answered for {patience:g} s", "give the same command"
    line = f"the head of the Ray cluster, {address}, {silent}; start a head anew and {again}"
    if local:
        line = f"Ray on this machine {silent}; {again}"
    arguments = (address, lambda: gone(line), patience, over)
    thread = threading.Thread(target=_watch, args=arguments, name="head of Ray", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(address: str, gone: Callable[[], None], patience: float, over: threading.Event) -> None:
    host, _, port = address.rpartition(":")
    answered = time.monotonic()
    while not over.wait(patience / 6):
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=patience / 6).close()
            answered = time.monotonic()
        except OSError:
            if time.monotonic() - answered > patience:
                gone()
                return


def end(line: str) -> None:
    """End this process at once: all that waits for the head would wait for ever. The store has what is done."""
    print(f"mtlbench: {line}, which goes on from the last checkpoints", file=sys.stderr)
    sys.stderr.flush()
    os._exit(1)
