"""Watches a process and its log. When the process has died, the log is put into a store that is not on this machine.

A process that is killed, or that crashes, can do nothing any more. This one is a process of its own, which waits and
imports next to nothing: `python -m mtlbench.harness.store.keeper PID LOG URL PATH`. It ends when the log is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 0.5  # from one look at the process to the next
TRIES, PAUSE = 10, 3.0  # of putting the log into the store, where it does not answer
ENDED = "=== process {pid} has ended, and its cell had not ===\n"  # the last line of such a log


def keep(log: Path, url: str, path: str) -> None:
    """Have the log of this process watched.

    Ray kills the children of a process that it ends, and a shell in between makes the keeper none of them.
    """
    command = [sys.executable, "-m", __name__, str(os.getpid()), str(log), url, path]
    shell = ["/bin/sh", "-c", '"$0" "$@" >/dev/null 2>&1 </dev/null &', *command]
    folders = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    subprocess.run(shell, env={**os.environ, "PYTHONPATH": folders}, start_new_session=True, check=True)


def watch(pid: int, log: Path, url: str, path: str) -> None:
    """Wait until the process has died, or the log is gone, which says that the process needs nobody."""
    while _runs(pid) and log.exists():
        time.sleep(SECONDS)
    if not log.exists():
        return
    with log.open("a") as file:
        file.write("\n" + ENDED.format(pid=pid))
    _put(log.read_bytes(), url, path)
    log.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    """Whether a process is there, and is no zombie. Its log is written as soon as the keeper is there."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def _put(content: bytes, url: str, path: str) -> None:
    import fsspec

    for attempt in range(TRIES):
        try:
            fs, _ = fsspec.core.url_to_fs(url)
            fs.pipe_file(path, content)
            return
        except Exception:  # there is nobody to tell
            if attempt + 1 == TRIES:
                raise
            time.sleep(PAUSE)


if __name__ == "__main__":
    watch(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
