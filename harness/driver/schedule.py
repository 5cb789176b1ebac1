"""Cells become trials of Ray Tune: one trial trains a cell, and another one computes scores that take long and no GPU.

The store decides what is done, and never Tune: `Tuner.fit()` returns normally when trials fail, and a trial that no
node can hold ends without an error. So only record.json is believed.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import ray
from ray import train, tune
from ray.job_config import JobConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.tune import Callback
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.search import ConcurrencyLimiter, Searcher

import mtlbench
from mtlbench.harness.driver.attempt import attempt, score
from mtlbench.harness.driver.scheduler import Board, Cluster
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.search_path import look_also_in
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.environment import Environment

# Ray sends no usage reports, Tune writes no result files or tables, and Ctrl-C is handled by the command line.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # Ray would abort on SIGTERM, which the command line handles
}

SECONDS_BETWEEN_REPORTS = 5.0


def _join(address: str | None) -> Cluster:
    """Raises ConnectionError where there is no cluster."""
    os.environ.update({key: value for key, value in ENVIRONMENT.items() if key not in os.environ})
    if not ray.is_initialized():
        if address is not None and address != "auto":
            _knock(address)
        # The launcher of a cell with several workers takes no CPU: otherwise N workers would not fit on N CPUs.
        local: dict[str, Any] = {} if address else {"include_dashboard": False, "resources": {"launcher": 1000}}
        ours = signal.getsignal(signal.SIGTERM)  # Ray replaces the handler
        try:
            ray.init(
                address=address, job_config=_Job(), log_to_driver=False, logging_level=logging.ERROR, **local
            )  # fmt: skip
            signal.signal(signal.SIGTERM, ours)
        except SystemExit:  # Ray's answer to SIGTERM while it starts
            signal.signal(signal.SIGTERM, ours)
            signal.raise_signal(signal.SIGTERM)
    return Cluster(ray.cluster_resources(), [node["Resources"] for node in ray.nodes() if node["Alive"]])


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


Stage = Literal["train", "score"]


class Cells(Searcher):  # type: ignore[misc]
    """Hands out each cell once to be trained and, where that left scores to compute, once to be scored.

    Its state is in the store, so there is nothing to save or to pickle.
    """

    def __init__(self, ready: Callable[[], Sequence[Cell]], store: Store) -> None:
        super().__init__()
        self.ready, self.store = ready, store
        self.issued: set[str] = set()
        self.trained: list[str] = []  # ids of cells that wait for scores
        self.live: dict[str, tuple[str, Stage]] = {}  # by trial

    def suggest(self, trial_id: str) -> Any:
        cell_id, stage = self._next()
        if cell_id is None:
            return None if self.live else Searcher.FINISHED
        self.live[trial_id] = cell_id, stage
        return {"cell": cell_id, "stage": stage}

    def _next(self) -> tuple[str | None, Stage]:
        """Scores come first: they need no GPU, and a finished cell may lead to another."""
        if self.trained:
            return self.trained.pop(0), "score"
        cell_id = next((cell.id for cell in self.ready() if cell.id not in self.issued), None)
        if cell_id is None:
            return None, "train"
        self.issued.add(cell_id)
        return cell_id, "score" if self.store.state(cell_id) == "trained" else "train"

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        cell_id, stage = self.live.pop(trial_id)
        if stage == "train" and self.store.state(cell_id) == "trained":
            self.trained.append(cell_id)

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Tell(Callback):  # type: ignore[misc]
    """Tells the board what Tune says about its trials."""

    def __init__(self, board: Board, store: Store) -> None:
        self.board, self.store = board, store

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.board.started(trial.config["cell"])

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        if "step" in result:
            self.board.progressed(trial.config["cell"], result)
        elif "scored" in result:
            self.board.scoring(trial.config["cell"], result["scored"], result["images"])

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        failure = self.store.failure(trial.config["cell"])
        self.board.retried(trial.config["cell"], failure["error"] if failure else "its process died")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        cell_id = trial.config["cell"]
        unfinished = ("new", "started") if trial.config["stage"] == "train" else ("trained",)
        if self.store.state(cell_id) in unfinished:  # the process was killed before it could write a failure
            self.store.put_failure(cell_id, _last_line(trial), _text(trial))
        self.board.ended(cell_id)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.board.ended(trial.config["cell"])

    def __getstate__(self) -> dict[str, Any]:
        return {}


class OnRay:
    """Ray on this machine, or the cluster at an address; "auto" is one that runs on this machine. A Scheduler."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address

    def join(self) -> Cluster:
        """Join Ray, or start it on this machine. Raises ConnectionError naming the address."""
        try:
            return _join(self.address)
        except ConnectionError as error:
            raise ConnectionError(f"no Ray cluster at {self.address}: {error}") from error

    def leave(self) -> None:
        ray.shutdown()

    def run(self, ready: Callable[[], Sequence[Cell]], environment: Environment, board: Board) -> None:
        """Run what `ready` returns until it returns nothing new; it is asked again after each cell that ends."""
        # These loggers print tracebacks and names of trials that fail. The board says why a cell failed, and the store
        # keeps its traceback.
        for name in ("ray.tune.execution.tune_controller", "ray.tune.tune"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        store, resources = Store(environment.store), environment.resources
        searcher: Any = Cells(ready, store)
        if resources.max_concurrent:
            searcher = ConcurrencyLimiter(searcher, max_concurrent=resources.max_concurrent)
        folders = [os.path.abspath(folder) for folder in sys.path]
        trainable = tune.with_parameters(_trial, environment=environment, folders=folders)
        with tempfile.TemporaryDirectory(prefix="mtlbench-tune-") as scratch:
            tuner = tune.Tuner(
                tune.with_resources(trainable, lambda config: _needs(config["stage"], resources)),
                tune_config=tune.TuneConfig(
                    search_alg=searcher, num_samples=-1, trial_dirname_creator=_name, trial_name_creator=_name
                ),
                run_config=tune.RunConfig(
                    name="cells",
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[Tell(board, store)],
                    failure_config=tune.FailureConfig(max_failures=resources.retries),
                ),
            )
            tuner.fit()


def _needs(stage: Stage, resources: Resources) -> tune.PlacementGroupFactory:
    """The resources that a trial takes."""
    if stage == "score":
        return tune.PlacementGroupFactory([{"CPU": resources.cpus}])
    if resources.workers > 1:
        return tune.PlacementGroupFactory([{"launcher": 1}])
    return tune.PlacementGroupFactory([_of_a_process(resources)])


def _of_a_process(resources: Resources) -> dict[str, float]:
    return {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})


def _name(trial: Any) -> str:
    return str(trial.config["cell"]) + ("" if trial.config["stage"] == "train" else "-scores")


def _text(trial: Any) -> str:
    file = getattr(trial, "error_file", None)
    return open(file).read() if file and os.path.exists(file) else "the process of the trial ended without a traceback"


def _last_line(trial: Any) -> str:
    lines = [line for line in _text(trial).splitlines() if line.strip()]
    return lines[-1].strip()


def _trial(config: dict[str, Any], environment: Environment, folders: list[str]) -> None:
    """A stage of a cell as a Tune trial. folders: where the driver looks for modules."""
    look_also_in(folders)
    if config["stage"] == "score":
        _score(config["cell"], environment)
    elif environment.resources.workers > 1:
        _group(config["cell"], environment, folders)
    else:  # trained in this process; Accelerate sees a plain one
        cell = Store(environment.store).cell(config["cell"])
        attempt(cell, environment, lambda progress: tune.report(progress._asdict()))


def _score(cell_id: str, environment: Environment) -> None:
    told = -math.inf

    def report(done: int, images: int) -> None:
        nonlocal told
        if done == images or time.monotonic() - told > SECONDS_BETWEEN_REPORTS:
            told = time.monotonic()
            tune.report({"scored": done, "images": images})

    score(cell_id, environment, report)


def _group(cell_id: str, environment: Environment, folders: list[str]) -> None:
    """Start a Ray Train group, whose process group Accelerate joins."""
    resources = environment.resources
    with tempfile.TemporaryDirectory(prefix="mtlbench-train-") as scratch:
        TorchTrainer(
            _worker,
            train_loop_config={"cell": cell_id, "environment": environment, "folders": folders},
            torch_config=TorchConfig(backend="nccl" if resources.gpus else "gloo"),
            scaling_config=train.ScalingConfig(
                num_workers=resources.workers,
                use_gpu=bool(resources.gpus),
                resources_per_worker=_of_a_process(resources),
            ),
            run_config=train.RunConfig(
                name=cell_id,
                storage_path=scratch,
                callbacks=[TuneReportCallback()],
                failure_config=train.FailureConfig(max_failures=0, controller_failure_limit=0),
            ),
        ).fit()


def _worker(config: dict[str, Any]) -> None:
    """One process of a cell that several processes train."""
    look_also_in(config["folders"])
    environment: Environment = config["environment"]
    if environment.device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"
    cell = Store(environment.store).cell(config["cell"])
    attempt(cell, environment, lambda progress: train.report(progress._asdict()))
