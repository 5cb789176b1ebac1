"""Which process drives a store, and what the machine it runs on can say of it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

PROC = Path("/proc")

# unknown: the process may be of another machine or container, or it is stopped, so that only its heartbeat can tell
State = Literal["runs", "dead", "unknown"]


@dataclass(frozen=True)
class Process:
    """A process of some machine. The last three fields are "" where the system does not tell them.

    Host name and pid name it for people. They do not tell two processes apart: every container may have the same host
    name, and its first process has pid 1.
    """

    host: str
    pid: int
    boot: str = ""  # id of the boot of the machine's kernel
    namespace: str = ""  # in which the pid counts: containers have one each
    started: str = ""  # clock ticks from the boot to the start of the process


def this() -> Process:
    """The process that calls."""
    found = _stat(os.getpid())
    return Process(socket.gethostname(), os.getpid(), boot(), namespace(), found.started if found else "")


def state(process: Process) -> State:
    """What this machine knows of a process. It is certain of it, or says `unknown`."""
    if not process.boot or not process.namespace or not process.started:
        return "unknown"
    if (process.boot, process.namespace) != (boot(), namespace()):
        return "unknown"
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return "dead"
    except PermissionError:
        pass  # it exists, and belongs to somebody else
    found = _stat(process.pid)
    if found is None:
        return "unknown"
    if found.started != process.started:
        return "dead"  # another process has its pid now
    if found.letter in "ZX" and found.threads <= 1:
        return "dead"  # it was killed, and its parent has not asked for its exit status yet
    return "unknown" if found.letter in "Tt" else "runs"


def boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def namespace() -> str:
    """The namespace of the process ids that this process sees; "" where /proc shows those of another one."""
    try:
        if os.readlink(PROC / "self") != str(os.getpid()):
            return ""
        return os.readlink(PROC / "self/ns/pid")
    except OSError:
        return ""


class _Stat(NamedTuple):
    letter: str  # R running, S sleeping, T stopped, Z zombie, ...
    threads: int
    started: str


def _stat(pid: int) -> _Stat | None:
    """What the kernel says of a process; None where it says nothing."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # behind the name of the program, which may have spaces and brackets
    return _Stat(fields[0], int(fields[17]), fields[19])
