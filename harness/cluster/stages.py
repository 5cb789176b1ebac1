"""What runs on a node: a trial of Tune trains a cell, in its process or in a group of them, or computes its scores."""

from __future__ import annotations

import math
import tempfile
import time
from typing import Any, Literal

import ray
from ray import train, tune
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.torch.config import _TorchBackend
from ray.tune.integration.ray_train import TuneReportCallback

from mtlbench.harness.cluster.attempt import attempt, score
from mtlbench.harness.cluster.network import use_interface_to
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.search_path import look_also_in
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.environment import Environment

SECONDS_BETWEEN_REPORTS = 5.0

Stage = Literal["train", "score"]


def of_a_process(resources: Resources) -> dict[str, float]:
    return {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})


def run_stage(config: dict[str, Any], environment: Environment, folders: list[str]) -> None:
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
    environment: Environment = config["environment"]
    cell = Store(environment.store).cell(config["cell"])
    attempt(cell, environment, lambda progress: train.report(progress._asdict()))
