"""A cell that several processes train. Its trial holds the places of all of them, and Ray Train starts them there.

Ray Train alone would start a cell without places, and ask for them later: it gives a cell up that has waited for a
minute. Here a cell starts when its places are free, as every other trial does, and an autoscaler sees what is missing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray import train, tune
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.torch.config import _TorchBackend
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
from ray.train.v2.api import data_parallel_trainer
from ray.tune.integration.ray_train import TuneReportCallback
from ray.util.placement_group import get_current_placement_group

from mtlbench.harness.cluster.nodes.interface import use_interface_to
from mtlbench.harness.matrix.entries import Resources


def of_a_process(resources: Resources) -> dict[str, float]:
    return {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})


def places(resources: Resources) -> tune.PlacementGroupFactory:
    """What the trial of a cell takes that is trained."""
    process = of_a_process(resources)
    if resources.workers == 1:
        return tune.PlacementGroupFactory([process])
    # What starts the processes of a cell takes no CPU, or N processes would not fit on N CPUs. It runs on the head.
    return tune.PlacementGroupFactory([{"node:__internal_head__": 0.001}, *[process] * resources.workers])


def train_together(worker: Callable[[dict[str, Any]], None], config: Mapping[str, Any], resources: Resources) -> None:
    """Call `worker` with `config` in each process of a group, which Accelerate joins. Runs in a trial with `places`.

    What a process reports is reported by the trial. Raises WorkerGroupError where a process raises an error.
    """
    with tempfile.TemporaryDirectory(prefix="mtlbench-train-") as scratch:
        Trainer(
            worker,
            train_loop_config=dict(config),
            torch_config=Group(backend="nccl" if resources.gpus else "gloo"),
            scaling_config=train.ScalingConfig(
                num_workers=resources.workers,
                use_gpu=bool(resources.gpus),
                resources_per_worker=of_a_process(resources),
            ),
            run_config=train.RunConfig(
                name=config["cell"],
                storage_path=scratch,
                callbacks=[TuneReportCallback()],
                failure_config=train.FailureConfig(max_failures=0, controller_failure_limit=0),
            ),
        ).fit()


class Trainer(TorchTrainer):  # type: ignore[misc]
    """Ray Train, but its processes take the places that the trial holds, and the trial frees them."""

    def _create_default_callbacks(self) -> list[Any]:
        found = super()._create_default_callbacks()
        return [callback for callback in found if not isinstance(callback, PlacementGroupCleanerCallback)]


class Held(DefaultPlacementGroupHandle):  # type: ignore[misc]
    """The places of a trial. Tune gives them back when the trial has ended."""

    def shutdown(self) -> None: ...


class Placed(WorkerGroup):  # type: ignore[misc]
    """Processes in the places of the trial, of which the trial itself has the first."""

    def _create_placement_group(self, scaling_config: Any, worker_group_context: Any) -> Held:
        return Held(get_current_placement_group())

    def _create_workers(
        self, num_workers: int, placement_group: Any, resources_per_worker: dict[str, float], **more: Any
    ) -> list[Any]:
        behind = list(range(1, num_workers + 1))
        found: list[Any] = super()._create_workers(
            num_workers, placement_group, resources_per_worker, placement_group_bundle_indices=behind, **more
        )
        return found


class Controller(TrainController):  # type: ignore[misc]
    """Starts a `Placed` group."""

    worker_group_cls = Placed


data_parallel_trainer.TrainController = Controller  # Ray 2.60 has no argument for it


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
