"""What runs on a node: a trial of Tune trains a cell, in its process or in a group of them, or computes its scores."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Literal

import ray
from ray import train, tune
from ray.train import WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.torch.config import _TorchBackend
from ray.tune.integration.ray_train import TuneReportCallback

from mtlbench.harness.cluster.attempt import attempt, score
from mtlbench.harness.cluster.nodes.asking import Asked, unfit
from mtlbench.harness.cluster.nodes.interface import use_interface_to
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.search_path import look_also_in
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.environment import Environment

SECONDS_BETWEEN_REPORTS = 5.0
UNFIT = "unfit"  # under it a trial reports the id of its node, which cannot run cells, and under "why" the reason

Stage = Literal["train", "score"]


def of_a_process(resources: Resources) -> dict[str, float]:
    return {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})


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
        _require_fit(asked)
        if config["stage"] == "score":
            _score(config["cell"], environment)
        else:  # trained in this process; Accelerate sees a plain one
            cell = Store(environment.store).cell(config["cell"])
            attempt(cell, environment, lambda progress: tune.report(progress._asdict()))
    except Unfit as error:
        tune.report({UNFIT: error.node, "why": "; ".join(error.why)})


def _require_fit(asked: Asked | None) -> None:
    if asked and (why := unfit(asked)):
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
    """Start a Ray Train group, whose process group Accelerate joins. Raises Unfit where one of its nodes is so."""
    resources = environment.resources
    with _unfit_raised(), tempfile.TemporaryDirectory(prefix="mtlbench-train-") as scratch:
        TorchTrainer(
            _worker,
            train_loop_config={"cell": cell_id, "environment": environment, "folders": folders, "asked": asked},
            torch_config=Group(backend="nccl" if resources.gpus else "gloo"),
            scaling_config=train.ScalingConfig(
                num_workers=resources.workers,
                use_gpu=bool(resources.gpus),
                resources_per_worker=of_a_process(resources),
            ),
            run_config=train.RunConfig(
                name=cell_id,
                storage_path=scratch,
                callbacks=[TuneReportCallback()],
                failure_config=train.FailureConfig(max_failures=0, controller_failure_limit=0),
            ),
        ).fit()


@contextlib.contextmanager
def _unfit_raised() -> Iterator[None]:
    """Raise an Unfit of one process of a group in place of the group's error."""
    try:
        yield
    except WorkerGroupError as error:
        for cause in error.worker_failures.values():
            if isinstance(cause, Unfit):
                raise cause from error
        raise


class Group(TorchConfig):  # type: ignore[misc]
    """A process group over the interface that leads to the head of the cluster."""

    @property
    def backend_cls(self) -> type[Grouping]:
        return Grouping


class Grouping(_TorchBackend):  # type: ignore[misc]
    """Starts a `Group`."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(_use_interface)
        super().on_start(worker_group, backend_config)


def _use_interface() -> None:
    head = ray.get_runtime_context().gcs_address.rpartition(":")[0].strip("[]")
    use_interface_to(head)


def _worker(config: dict[str, Any]) -> None:
    """One process of a cell that several processes train."""
    look_also_in(config["folders"])
    _require_fit(config["asked"])
    environment: Environment = config["environment"]
    cell = Store(environment.store).cell(config["cell"])
    attempt(cell, environment, lambda progress: train.report(progress._asdict()))
