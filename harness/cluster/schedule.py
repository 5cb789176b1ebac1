"""Cells become trials of Ray Tune: one trial trains a cell, and another one computes scores that take long and no GPU.

The store decides what is done, and never Tune: `Tuner.fit()` returns normally when trials fail, and a trial that no
node can hold ends without an error. So only record.json is believed.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import tempfile
import traceback
from collections import Counter, deque
from collections.abc import Callable, Container, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher

from mtlbench.harness.cluster import head, joining
from mtlbench.harness.cluster.attempt import reason
from mtlbench.harness.cluster.group import places
from mtlbench.harness.cluster.nodes import asking, reaching
from mtlbench.harness.cluster.scheduler import Board, Cluster, Gone
from mtlbench.harness.cluster.stages import UNFIT, Stage, run_stage
from mtlbench.harness.cluster.tell import Actors, Quiet, Tell
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import Resources, make_benchmark
from mtlbench.harness.store.provenance import names_from_outside
from mtlbench.harness.store.store import Store, StoreError, shortened
from mtlbench.harness.training.environment import Environment
from mtlbench.results.records import files
from mtlbench.results.records.record import CorruptRecord, NewerRecord


class Cells(Searcher):  # type: ignore[misc]
    """Hands out each cell once to be trained and, where that left scores to compute, once to be scored.

    Its state is in the store, so there is nothing to save or to pickle.
    """

    def __init__(self, ready: Callable[[], Sequence[Cell]], store: Store) -> None:
        super().__init__()
        self.ready, self.store = ready, store
        self.news = True  # whether cells may have become ready since `ready` was last asked
        self.waits: deque[str] = deque()  # ids of the cells that are ready and were not handed out
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
        waits = self._waiting()
        if not waits:
            return None, "train"
        cell_id = waits.popleft()
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
        return [*self.trained, *self._waiting()]

    def _waiting(self) -> deque[str]:
        """Those of them that wait to be trained. Tune asks many times a second, and so `ready` is asked after news."""
        if self.news:
            self.news = False
            self.waits = deque(cell.id for cell in self.ready() if cell.id not in self.issued)
        return self.waits

    def again(self, cell_id: str) -> None:
        """Hand a cell out once more. It goes on from its last checkpoint, or with its scores."""
        self.store.remove(files.failure(cell_id))  # it would hide that only the scores are left
        self.issued.discard(cell_id)
        self.news = True

    def fail(self, cell_id: str, error: str, text: str) -> None:
        """Hand a cell out no more."""
        if self.store.state(cell_id) != "finished":
            self.store.put_failure(cell_id, error, text)
        self.issued.add(cell_id)
        self.news = True
        self.trained = [waiting for waiting in self.trained if waiting != cell_id]

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        cell_id, stage = self.live.pop(trial_id)
        self.news = True
        if result and UNFIT in result:  # its node could not run it
            if stage == "score":
                self.trained.append(cell_id)
            else:
                self.issued.discard(cell_id)
        elif stage == "train" and self.store.state(cell_id) == "trained":
            self.trained.append(cell_id)

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...

    def __getstate__(self) -> dict[str, Any]:
        return {}


class OnRay:
    """Ray on this machine, or the cluster at an address; "auto" is one that runs on this machine. A Scheduler.

    autoscaled: the cluster adds nodes when cells wait.
    """

    def __init__(self, address: str | None = None, *, autoscaled: bool = False) -> None:
        self.address, self.autoscaled = address, autoscaled
        self.asked: asking.Asked | None = None  # None: no other machine takes part

    def join(self) -> Cluster:
        cluster = joining.join(self.address)._replace(grows=self.autoscaled)
        if self.address == "auto":  # if it is joined again, then where it is: Ray finds no cluster without a raylet
            self.address = ray.get_runtime_context().gcs_address
        return cluster

    def leave(self) -> None:
        gc.collect()  # what is left of Tune refers to Ray, which ends this process if that is used after it was left
        ray.shutdown()

    def ask(self, environment: Environment, cells: Sequence[Cell], sign: str) -> list[str]:
        if self.address is None:
            return []  # the driver's own machine has been asked
        configs = {cell.benchmark.name: cell.benchmark for cell in cells}
        on_disk = [config for config in configs.values() if make_benchmark(config).needs_root]
        data = [(config, environment.roots[config.name]) for config in on_disk]
        outside = sorted({name for cell in cells for name in names_from_outside(cell.model_dump(mode="json"))})
        question = asking.Question(environment.store, sign, data, _folders(), environment.weights, outside)
        self.asked, problems = asking.ask(question)
        if environment.resources.workers > 1:
            problems += reaching.unreached(self.asked.fit)
        return problems

    def watched(self) -> contextlib.AbstractContextManager[None]:
        return head.watched(ray.get_runtime_context().gcs_address, head.end, local=self.address is None)

    def run(self, ready: Callable[[], Sequence[Cell]], environment: Environment, board: Board) -> None:
        """Run what `ready` returns until it returns nothing new; it is asked again after each cell that ends.

        When Tune itself fails, or Ray's processes on this machine die, the cells that it ran are tried again or fail,
        and the others go on. Raises Gone where Ray cannot be joined again, StoreError or CorruptRecord where the store
        cannot be used.
        """
        cells, tries = Cells(ready, Store(environment.store)), Counter[str]()
        while True:
            tell = Tell(board, cells.store, environment.resources)
            try:
                with self.watched():
                    self._fit(cells, environment, tell)
                return
            except Exception as caught:  # whatever Tune lets through, from its own code, from Ray's or from ours
                error = _cause(caught)
                if isinstance(error, StoreError | CorruptRecord | NewerRecord):
                    raise error from None
                why = shortened(str(error) if isinstance(error, head.Lost) else f"Ray Tune failed: {reason(error)}")
                text = traceback.format_exc()
                for cell_id in cells.interrupted(tell.known):
                    tries[cell_id] += 1
                    if tries[cell_id] <= environment.resources.retries:
                        board.retried(cell_id, why)
                    else:
                        cells.fail(cell_id, why, text)
                        board.ended(cell_id)
            if not cells.waiting():
                return
            del error  # its traceback holds what is left of Tune: see `leave`
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
        Actors.servers = head.servers(self.address is None)
        trainable = tune.with_parameters(run_stage, environment=environment, folders=_folders(), asked=self.asked)
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
                    callbacks=[tell, Quiet()],
                    failure_config=tune.FailureConfig(max_failures=resources.retries),
                ),
            )
            tuner.fit()


def _folders() -> list[str]:
    """Where this process looks for modules."""
    return [os.path.abspath(folder) for folder in sys.path]


def _cause(error: BaseException) -> BaseException:
    """What Tune has caught: it raises a TuneError whose text is a whole traceback."""
    while isinstance(error, tune.TuneError) and (within := error.__cause__ or error.__context__):
        error = within
    return error


def _needs(stage: Stage, resources: Resources) -> tune.PlacementGroupFactory:
    """The resources that a trial takes."""
    if stage == "score":
        return tune.PlacementGroupFactory([{"CPU": resources.cpus}])
    return places(resources)


def _name(trial: Any) -> str:
    return str(trial.config["cell"]) + ("" if trial.config["stage"] == "train" else "-scores")
