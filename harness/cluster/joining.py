"""Ray is started on this machine, or the driver joins a cluster. What goes wrong is one line that says the way out."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import services, worker
from ray.job_config import JobConfig

import mtlbench
from mtlbench.harness.cluster.attempt import first_line
from mtlbench.harness.cluster.scheduler import Cluster
from mtlbench.harness.cluster.variables import ray_folder
from mtlbench.harness.training.environment import forget_compilers, forget_launchers

log = logging.getLogger(__name__)

# Ray sends no usage reports, Tune writes no result files or tables, and Ctrl-C is handled by the command line.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Cells that wait for resources at once. By default it is 1: cells would start one after the other, and an
    # autoscaler would see the demand of one.
    "TUNE_MAX_PENDING_TRIALS_PG": "200",
    "RAY_worker_niceness": "0",  # by default 15: on a shared machine, times of steps would be those of a guest
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # a trial's error is in the store; Ray would print its traceback too
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # Ray would abort on SIGTERM, which the command line handles
}

_print = worker.print_to_stdstream


def _print_ours(data: dict[str, Any], ignore_prefix: bool) -> None:
    """Leave out Ray's paragraph about a process that died. `Tell` says in a line which cell it was, and why."""
    if data.get("pid") != "raylet":
        _print(data, ignore_prefix)


worker.print_to_stdstream = _print_ours

REFUSED = "InvalidAuthToken"
TOKEN = (
    "give the token of its head: copy ~/.ray/auth_token from there, or set RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN; "
    "RAY_AUTH_MODE=disabled is for a cluster without tokens"
)

OPEN = (
    "warning: the Ray cluster at %s asks for no token, so whoever reaches its ports can run programs as you; start Ray "
    "with RAY_AUTH_MODE=token on each node (docs/clusters.md says how)"
)

PATIENCE = 30.0  # seconds in which a raylet has to start, or to start again, on this machine
TRIES = 2  # a Ray of this machine has 30 seconds to come up, which a busy machine may exceed once


def join(address: str | None) -> Cluster:
    """Join the cluster at an address, or start Ray on this machine. Raises ConnectionError naming the address."""
    os.environ.update({key: value for key, value in ENVIRONMENT.items() if key not in os.environ})
    for left in reversed(range(1 if address else TRIES)):
        try:
            if not ray.is_initialized():
                _start(address)
                if address and os.environ.get("RAY_AUTH_MODE") != "token":  # else the cluster would refuse us
                    log.warning(OPEN, address)
            return Cluster(ray.cluster_resources(), [node["Resources"] for node in ray.nodes() if node["Alive"]])
        except Exception as error:  # Ray raises what it likes
            if any(REFUSED in str(cause) for cause in _causes(error)):
                raise ConnectionError(f"the Ray cluster at {address} refuses our token; {TOKEN}") from error
            if isinstance(error, NoNode):
                raise
            ray.shutdown()  # what has been started of it
            if left:
                log.warning("Ray did not start (%s); trying again", first_line(str(error)))
                continue
            why = first_line(str(error)) or type(error).__name__
            what = f"no Ray cluster at {address}: {why}" if address else f"Ray does not start on this machine: {why}"
            raise ConnectionError(what) from error
    raise AssertionError  # the last try has returned or raised


def _start(address: str | None) -> None:
    local: dict[str, Any] = {}
    if address is None:
        # The processes of a Ray of this machine inherit this environment.
        forget_launchers(grouped=False)
        forget_compilers()
        local = {"include_dashboard": False, "_temp_dir": ray_folder()}
    elif address != "auto":
        _knock(address)
        _need_raylet(address, PATIENCE)
    ours = signal.getsignal(signal.SIGTERM)  # Ray replaces the handler
    try:
        # "local": without an address, Ray would join a cluster that RAY_ADDRESS names or that runs here by chance.
        with _without_words() if address else contextlib.nullcontext():
            ray.init(
                address or "local", job_config=_Job(), log_to_driver=False, logging_level=logging.ERROR, **local
            )  # fmt: skip
        signal.signal(signal.SIGTERM, ours)
    except SystemExit:  # Ray's answer to SIGTERM while it starts
        signal.signal(signal.SIGTERM, ours)
        signal.raise_signal(signal.SIGTERM)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and the errors that it came from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


@contextlib.contextmanager
def _without_words() -> Iterator[None]:
    """Keep what Ray's part in C++ prints away from the terminal. The error that it raises says the same."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class NoNode(ConnectionError):
    """This machine belongs to no cluster."""


def _need_raylet(address: str, patience: float) -> None:
    """Raise NoNode where no raylet runs on this machine. Ray itself would look for one for a minute, and then say that
    there is no cluster."""
    end = time.monotonic() + patience
    while not services.find_node_ids():
        if time.monotonic() > end:
            raise NoNode(
                f"no raylet has run on this machine for {patience:g} s; make it a node of the cluster "
                f"(ray start --address={address}), and give the same command"
            )
        time.sleep(0.5)


class _Job(JobConfig):  # type: ignore[misc]
    """A job whose processes do not look into the driver's current folder before they look anywhere else.

    Ray puts that folder, and the one of the script that runs, first on the path of every process of a job that has no
    working directory of its own. There, a user's file could stand in for any module. `_trial` and `_worker` look into
    the driver's folders last.
    """

    def __init__(self) -> None:
        # Where the package itself lies in the current folder and is not installed, the processes find it only there.
        ours = os.path.dirname(os.path.dirname(os.path.abspath(mtlbench.__file__)))
        super().__init__(_py_driver_sys_path=[ours] if ours == os.getcwd() else [])

    def _runtime_env_has_working_dir(self) -> bool:
        return True


def _knock(address: str) -> None:
    """Raise ConnectionError where nothing listens at HOST:PORT; Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ConnectionError("give HOST:PORT of its head node, as `ray start --head` prints it, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"nothing answers there ({error})") from error
