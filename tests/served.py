"""MLflow's pages of a store, served as `mtlbench ui` serves them: for tests of what a browser shows."""

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager

from mtlbench.harness.tracking import connection, server
from paths import ROOT


def declare(folder):
    """Declare MLflow's app to this process and to those that get the environment which is returned. An installation in
    place has only the entry points that were in pyproject.toml when it was made."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    info = folder / "mtlbench_entries-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mtlbench-entries\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        "\n".join(
            line
            for group, entries in declared.items()
            for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
        )
    )
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    return {"PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(folder)]))}


@contextmanager
def served(uri, folder):
    """The address of a server of a database. folder: it is made."""
    declared = declare(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, environment = server.server(uri, port)
    process = subprocess.Popen(
        command,
        env=os.environ | environment | declared,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while True:
            try:
                connection.check(address)
                break
            except ValueError:
                assert time.monotonic() < end and process.poll() is None
                time.sleep(1)
        yield address
    finally:
        sys.path.remove(str(folder))
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
