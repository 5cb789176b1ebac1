"""What runs on a node: a trial of Tune trains a cell, in its process or in a group of them, or computes its scores."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any, Literal

import ray
from ray import train, tune
from ray.train import WorkerGroupError

from mtlbench.harness.cluster.attempt import Final, Halved, attempt, pulse_before, pulse_of, score
from mtlbench.harness.cluster.group import train_together
from mtlbench.harness.cluster.nodes.asking import Asked, unfit
from mtlbench.harness.search_path import look_also_in
from mtlbench.harness.store.patience import DiskFull, waits_told
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.environment import Environment

SECONDS_BETWEEN_REPORTS = 5.0
HALVED = "halved"  # under it a trial reports that it fails because memory ran out, and goes on with smaller batches
WAITS = "waits"  # under it a trial reports that it waits, as for room on a full disk
UNFIT = "unfit"  # under it a trial reports the id of its node, which cannot run cells, and under "why" the reason

Stage = Literal["train", "score"]


class Unfit(RuntimeError):
    """A node cannot run cells. why: a line for each reason. node: its id."""

    def __init__(self, node: str, why: list[str]) -> None:
        super().__init__(node, why)
        self.node, self.why = node, why


def run_stage(config: dict[str, Any], environment: Environment, folders: list[str], asked: Asked | None) -> None:
    """A stage of a cell as a Tune trial. folders: where the driver looks for modules. asked: what each node must be.

    On a node that joined late and cannot run cells, the stage is left undone, and the trial reports why.
    """
    look_also_in(folders)
    try:
        if config["stage"] == "train" and environment.resources.workers > 1:
            _group(config["cell"], environment, folders, asked)
            return
        _require_fit(asked, config["cell"], environment)
        with waits_told(lambda what: tune.report({WAITS: what})):
            if config["stage"] == "score":
                _score(config["cell"], environment)
            else:  # trained in this process; Accelerate sees a plain one
                cell = Store(environment.store).cell(config["cell"])
                attempt(cell, environment, lambda progress: tune.report(progress._asdict()))
    except Halved:
        tune.report({HALVED: True})
        raise
    except Unfit as error:
        tune.report({UNFIT: error.node, "why": "; ".join(error.why)})


def _require_fit(asked: Asked | None, cell_id: str, environment: Environment, *, beats: bool = True) -> None:
    """Raise Unfit where this node cannot run cells. beats: the pulse of the cell is here, while the node is asked."""
    if asked is None:
        return
    pulse = pulse_of(Store(environment.store), cell_id, environment.resources.deadline)
    with pulse if beats else contextlib.nullcontext():
        why = unfit(asked)
    if why:
        raise Unfit(ray.get_runtime_context().get_node_id(), why)


def _score(cell_id: str, environment: Environment) -> None:
    told = -math.inf

    def report(done: int, images: int) -> None:
        nonlocal told
        if done == images or time.monotonic() - told > SECONDS_BETWEEN_REPORTS:
            told = time.monotonic()
            tune.report({"scored": done, "images": images})

    score(cell_id, environment, report)


def _group(cell_id: str, environment: Environment, folders: list[str], asked: Asked | None) -> None:
    """Train a cell in a group of processes. Raises Unfit, Halved or DiskFull where one of them does.

    One process that ends the cell for good decides: the other processes may only have noticed that it does not answer.
    """
    store = Store(environment.store)
    config = {"cell": cell_id, "environment": environment, "folders": folders, "asked": asked}
    config["failures"] = store.failures(cell_id)
    try:
        with pulse_before(store, cell_id, environment.resources.deadline):
            train_together(_worker, config, environment.resources)
    except WorkerGroupError as error:
        causes = list(error.worker_failures.values())
        for cause in causes:
            if isinstance(cause, Unfit | Halved | DiskFull):
                raise cause from error
        if not any(isinstance(cause, Final) for cause in causes):
            raise


def _worker(config: dict[str, Any]) -> None:
    """One process of a cell that several processes train."""
    look_also_in(config["folders"])
    environment: Environment = config["environment"]
    first = train.get_context().get_world_rank() == 0
    _require_fit(config["asked"], config["cell"], environment, beats=first)
    cell = Store(environment.store).cell(config["cell"])
    attempt(cell, environment, lambda progress: train.report(progress._asdict()), config["failures"])
