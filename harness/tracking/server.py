"""MLflow's own pages, served from a store's database."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking.connection import ENVIRONMENT, absent, client
from mtlbench.harness.tracking.entry import APP, installed
from mtlbench.harness.tracking.moved import adopt
from mtlbench.harness.tracking.pages import PAGES, page
from mtlbench.harness.tracking.projection import find_experiment
from mtlbench.results.records.addresses import public

# Without MLflow's job runner and telemetry. The server and the processes that it starts import no file of the current
# folder in place of a library.
SERVER_ENVIRONMENT = ENVIRONMENT | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONSAFEPATH": "1"}

# What a user of the pages can do nothing about: MLflow 3.17 needs a part of Starlette that goes away. A line that tells
# how to open the server to other machines has no such switch and is left out.
QUIET = {"PYTHONWARNINGS": "ignore:starlette.middleware.wsgi is deprecated"}
NOISE = "[MLflow] Security middleware enabled"

PATIENCE = 10.0  # seconds that a server has to end by itself


def pages(uri: str, store: str, matrix: str, address: str) -> dict[str, str]:
    """The prepared pages of a matrix under a server's address: {"rows": ..., "cells": ...}.

    Raises ValueError where nothing of the matrix was tracked there. No database is made.
    """
    found = None
    if not absent(uri):
        adopt(uri, store)
        _, found = find_experiment(client(uri), Store(store).url, matrix)
    if found is None:
        raise ValueError(
            f"tracking URI {public(uri, uri)!r} holds nothing of matrix {matrix!r} of {store}; "
            f"show it with: {shlex.join(['mtlbench', 'track', matrix, '--store', store])}"
        )
    return {view: f"{address.rstrip('/')}/{page(found.experiment_id, view)}" for view in PAGES}


def comparisons(uri: str, store: str, matrices: Sequence[str], address: str) -> list[str]:
    """A line for each prepared page of each matrix, or one that says how the matrix gets its pages.

    Raises ValueError where no matrix has pages.
    """
    lines, without = [], []
    for matrix in matrices:
        try:
            found = pages(uri, store, matrix, address)
        except ValueError as error:
            without.append(str(error))
        else:
            lines += [f"  {matrix}: {PAGES[view]}: {link}" for view, link in found.items()]
    if not lines:
        raise ValueError(without[0])
    return lines + without


def server(uri: str, port: int) -> tuple[list[str], dict[str, str]]:
    """The command line that serves a database's pages on this machine's loopback address, and its environment.

    The address of the database is in the environment, as everybody on a machine can read the command lines of others,
    and the address may hold a password. The web server would look into the current folder for every module first. It
    is told to look into the folder of Python's own modules, which comes first anyway.

    Raises ValueError for the address of a server, which shows its pages itself.
    """
    if urlsplit(uri).scheme in ("http", "https"):
        raise ValueError(f"tracking URI {public(uri, uri)!r} is a server already: open it in a browser")
    command = [
        sys.executable, "-m", "mlflow", "server",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--uvicorn-opts", f"--log-level warning --app-dir {shlex.quote(os.path.dirname(os.__file__))}",
        *(["--app-name", APP] if installed() else []),
    ]  # fmt: skip
    # The registry is there by default too, but then MLflow says so.
    return command, SERVER_ENVIRONMENT | {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_REGISTRY_STORE_URI": uri}


def lacking() -> str:
    """What a user should know of a server that does without our app; '' where MLflow finds the app."""
    if installed():
        return ""
    return "MLflow's list of experiments does not lead there yet: install mtlbench again, such as by pip install -e ."


def require_free(port: int) -> None:
    """Raise ValueError where this machine's loopback address cannot be listened to at a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that just ended is no obstacle
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ValueError(f"port {port} cannot be had ({error.strerror}); give another by --port") from error


def serve(uri: str, port: int) -> int:
    """Serve MLflow's pages until interrupted; returns the exit status. No process of the server outlives the call."""
    command, environment = server(uri, port)
    everything = QUIET | os.environ | environment
    with subprocess.Popen(
        command, env=everything, start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            for line in process.stderr or ():
                if not line.startswith(NOISE):
                    print(line, end="", file=sys.stderr, flush=True)
            return process.wait()
        finally:
            _end_session(process)


def _end_session(process: subprocess.Popen[str]) -> None:
    """End a process that leads a session, and all that it started there: by force after `PATIENCE` seconds."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            process.poll()  # until somebody asks how it ended, a process that has ended is still of the group
            os.killpg(process.pid, 0)
            time.sleep(0.05)
    except ProcessLookupError:
        return
    finally:  # also where the user is less patient and interrupts again
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
