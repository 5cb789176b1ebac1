"""Cells become trials of Ray Tune: one trial trains a cell, and another one computes scores that take long and no GPU.

The store decides what is done, and never Tune: `Tuner.fit()` returns normally when trials fail, and a trial that no
node can hold ends without an error. So only record.json is believed.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any, Literal

import ray
from ray import train, tune
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.tune import Callback
from ray.tune.execution import tune_controller
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.search import ConcurrencyLimiter, Searcher

from mtlbench.harness.driver import joining
from mtlbench.harness.driver.attempt import attempt, first_line, reason, score
from mtlbench.harness.driver.scheduler import Board, Cluster, Gone
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.search_path import look_also_in
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.harness.training.environment import Environment
from mtlbench.results.records import files
from mtlbench.results.records.record import CorruptRecord, NewerRecord

SECONDS_BETWEEN_REPORTS = 5.0
KILLED = "killed: the node ran out of memory"


class Actors(RayActorManager):  # type: ignore[misc]
    """Takes the error of Ray's memory monitor for the death of a process, after which Tune tries the cell again.

    Ray 2.60 takes it for none of the errors that it knows, and ends Tune's loop.
    """

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        killed = isinstance(exception, OutOfMemoryError)
        super()._actor_task_failed(tracked_actor_task, RayActorError(error_msg=str(exception)) if killed else exception)


tune_controller.RayActorManager = Actors

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

    def interrupted(self, started: Container[str]) -> list[str]:
        """Ids of the cells that Tune may have failed over: those that ran, or else those that it could not start.

        Of the other cells that it had, each is handed out again.
        """
        live = list(dict.fromkeys(cell_id for cell_id, _ in self.live.values()))
        self.live.clear()
        suspects = [cell_id for cell_id in live if cell_id in started] or live or self.waiting()
        for cell_id in live:
            self.again(cell_id)
        return suspects

    def waiting(self) -> list[str]:
        """Ids of the cells that are to be handed out."""
        return [*self.trained, *(cell.id for cell in self.ready() if cell.id not in self.issued)]

    def again(self, cell_id: str) -> None:
        """Hand a cell out once more. It goes on from its last checkpoint, or with its scores."""
        self.store.remove(files.failure(cell_id))  # it would hide that only the scores are left
        self.issued.discard(cell_id)

    def fail(self, cell_id: str, error: str, text: str) -> None:
        """Hand a cell out no more."""
        if self.store.state(cell_id) != "finished":
            self.store.put_failure(cell_id, error, text)
        self.issued.add(cell_id)
        self.trained = [waiting for waiting in self.trained if waiting != cell_id]

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        cell_id, stage = self.live.pop(trial_id)
        if stage == "train" and self.store.state(cell_id) == "trained":
            self.trained.append(cell_id)

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Tell(Callback):  # type: ignore[misc]
    """Tells the board what Tune says about its trials, and the store why one failed that could not say so itself."""

    def __init__(self, board: Board, store: Store) -> None:
        self.board, self.store = board, store
        self.known: dict[str, int] = {}  # cell -> failures in the store before its attempt

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.known[trial.config["cell"]] = self._failures(trial.config["cell"])
        self.board.started(trial.config["cell"])

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        if "step" in result:
            self.board.progressed(trial.config["cell"], result)
        elif "scored" in result:
            self.board.scoring(trial.config["cell"], result["scored"], result["images"])

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.board.retried(trial.config["cell"], self._failure(trial))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._failure(trial)
        self.board.ended(trial.config["cell"])

    def _failure(self, trial: Any) -> str:
        """Why an attempt failed. A process that was killed has not written it down."""
        cell_id, (why, text) = trial.config["cell"], _why(trial)
        unfinished = ("new", "started", "failed") + (() if trial.config["stage"] == "train" else ("trained",))
        silent = self._failures(cell_id) == self.known.get(cell_id, self._failures(cell_id))
        # Where one process of a group is killed, the others write that it does not answer.
        if self.store.state(cell_id) in unfinished and (silent or why.startswith(KILLED)):
            self.store.put_failure(cell_id, why, text)
        self.known[cell_id] = self._failures(cell_id)
        failure = self.store.failure(cell_id)
        return str(failure["error"]) if failure else why

    def _failures(self, cell_id: str) -> int:
        failure = self.store.failure(cell_id)
        return int(failure["attempts"]) if failure else 0

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.board.ended(trial.config["cell"])

    def __getstate__(self) -> dict[str, Any]:
        return {}


class OnRay:
    """Ray on this machine, or the cluster at an address; "auto" is one that runs on this machine. A Scheduler."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address

    def join(self) -> Cluster:
        return joining.join(self.address)

    def leave(self) -> None:
        ray.shutdown()

    def run(self, ready: Callable[[], Sequence[Cell]], environment: Environment, board: Board) -> None:
        """Run what `ready` returns until it returns nothing new; it is asked again after each cell that ends.

        When Tune itself fails, the cells that it ran are tried again or fail, and the others go on. Raises Gone where
        Ray cannot be joined again, StoreError or CorruptRecord where the store cannot be used.
        """
        cells, tries = Cells(ready, Store(environment.store)), Counter[str]()
        while True:
            tell = Tell(board, cells.store)
            try:
                self._fit(cells, environment, tell)
                return
            except Exception as caught:  # whatever Tune lets through, from its own code, from Ray's or from ours
                error = _cause(caught)
                if isinstance(error, StoreError | CorruptRecord | NewerRecord):
                    raise error from None
                why, text = f"Ray Tune failed: {reason(error)}", traceback.format_exc()
                for cell_id in cells.interrupted(tell.known):
                    tries[cell_id] += 1
                    if tries[cell_id] <= environment.resources.retries:
                        board.retried(cell_id, why)
                    else:
                        cells.fail(cell_id, why, text)
                        board.ended(cell_id)
            if not cells.waiting():
                return
            # What is left of Tune refers to Ray, which ends this process if it is used after it was left.
            del error
            gc.collect()
            self.leave()  # so that no process of an interrupted cell is left
            try:
                self.join()
            except ConnectionError as gone:
                raise Gone(f"{why}; {gone}") from gone

    def _fit(self, cells: Cells, environment: Environment, tell: Tell) -> None:
        # These loggers print tracebacks and names of trials that fail. The board says why a cell failed, and the store
        # keeps its traceback.
        for name in ("ray.tune.execution.tune_controller", "ray.tune.tune"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        resources, searcher = environment.resources, cells
        if resources.max_concurrent:
            searcher = ConcurrencyLimiter(cells, max_concurrent=resources.max_concurrent)
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
                    callbacks=[tell],
                    failure_config=tune.FailureConfig(max_failures=resources.retries),
                ),
            )
            tuner.fit()


def _cause(error: BaseException) -> BaseException:
    """What Tune has caught: it raises a TuneError whose text is a whole traceback."""
    while isinstance(error, tune.TuneError) and (within := error.__cause__ or error.__context__):
        error = within
    return error


def _needs(stage: Stage, resources: Resources) -> tune.PlacementGroupFactory:
    """The resources that a trial takes."""
    if stage == "score":
        return tune.PlacementGroupFactory([{"CPU": resources.cpus}])
    if resources.workers > 1:
        # What starts the processes of a cell takes no CPU, or N processes would not fit on N CPUs. It runs on the head.
        return tune.PlacementGroupFactory([{"node:__internal_head__": 0.001}])
    return tune.PlacementGroupFactory([_of_a_process(resources)])


def _of_a_process(resources: Resources) -> dict[str, float]:
    return {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})


def _name(trial: Any) -> str:
    return str(trial.config["cell"]) + ("" if trial.config["stage"] == "train" else "-scores")


def _why(trial: Any) -> tuple[str, str]:
    """Why the last attempt of a trial failed, in one line, and all that Ray says about it."""
    file = Path(getattr(trial, "error_file", None) or os.devnull)
    said = file.read_text() if file.exists() else ""
    text = said.rpartition("Failure # ")[2].partition("\n")[2]  # behind the failures of earlier attempts
    if memory := re.search(r"low on memory.*? ([\d.]+)GB used / ([\d.]+)GB", text, re.DOTALL):
        return f"{KILLED} ({float(memory[1]):.1f} of {float(memory[2]):.1f} GB)", text
    error = None
    with contextlib.suppress(Exception):  # it may be of a class that only the trial could import
        error = trial.get_pickled_error()
    if isinstance(error, RayTaskError):
        return reason(error.cause), text
    if isinstance(error, RayActorError):
        what = "its node died" if "its node has died" in text else "its process died, or was killed by the system"
        return f"{what} ({files.LOG} has its last lines)", text
    return first_line(text) or "its process ended without a word", text


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
    cell = Store(environment.store).cell(config["cell"])
    attempt(cell, environment, lambda progress: train.report(progress._asdict()))
