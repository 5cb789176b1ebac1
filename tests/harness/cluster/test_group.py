"""A cell of several processes: what its trial takes, and how one of its processes ends the cell for all."""

import time
from unittest.mock import MagicMock

import pytest
import torch
from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.schema import AutoscalerInstance
from ray.core.generated.autoscaler_pb2 import GangResourceRequest, NodeState, NodeStatus, ResourceRequest
from ray.core.generated.instance_manager_pb2 import Instance
from ray.train import WorkerGroupError

from cells import small_cell
from mtlbench.harness.cluster import stages
from mtlbench.harness.cluster.attempt import Final, attempt
from mtlbench.harness.cluster.group import places
from mtlbench.harness.cluster.stages import Unfit, run_stage
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.store import store as store_module
from mtlbench.harness.store.patience import DiskFull
from mtlbench.harness.store.store import Store
from mtlbench.harness.training import train
from mtlbench.harness.training.environment import Environment

LOST = RuntimeError("Connection closed by peer")


def test_a_trial_takes_the_places_of_all_processes_of_its_cell_and_one_on_the_head():
    assert places(Resources(cpus=3)).bundles == [{"CPU": 3}]
    head, *processes = places(Resources(workers=2, cpus=3, gpus=1)).bundles
    assert head == {"node:__internal_head__": 0.001} and processes == [{"CPU": 3, "GPU": 1}] * 2


def test_rays_autoscaler_starts_a_node_for_each_group_that_waits_beside_a_head_without_cpus():
    bundles = places(Resources(workers=2)).bundles
    group = GangResourceRequest(requests=[ResourceRequest(resources_bundle=bundle) for bundle in bundles])
    has = {"node:__internal_head__": 1.0}
    head = NodeState(
        node_id=b"h", ray_node_type_name="head", instance_id="1", status=NodeStatus.RUNNING,
        total_resources=has, available_resources=has,
    )  # fmt: skip
    instance = Instance(instance_id="1", instance_type="head", status=Instance.RAY_RUNNING, cloud_instance_id="1")
    kinds = [NodeTypeConfig("head", 0, 1), NodeTypeConfig("worker", 0, 10, resources={"CPU": 2})]
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs={kind.name: kind for kind in kinds},
        max_num_nodes=20,
        gang_resource_requests=[group] * 3,
        current_instances=[AutoscalerInstance("1", head, instance)],
    )
    reply = ResourceDemandScheduler(MagicMock()).schedule(request)
    assert [(each.instance_type, each.count) for each in reply.to_launch] == [("worker", 3)]
    assert not reply.infeasible_gang_resource_requests


@pytest.fixture
def second(monkeypatch):
    """This process is the second one of a group."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)


def attempted(folder, error, monkeypatch, failures=None):
    """The store after an attempt that raises an error, and what it raised."""

    def fails(*_):
        raise error

    monkeypatch.setattr(train, "train", fails)
    store, cell = Store(folder / "s"), small_cell()
    store.put_cell(cell)
    with pytest.raises((RuntimeError, ValueError)) as found:
        attempt(cell, Environment(store.url, {}, Resources(workers=2)), lambda progress: None, failures)
    return store, cell, found.value


def test_a_process_that_runs_out_of_memory_ends_its_group_for_good(tmp_path, monkeypatch, second):
    store, cell, raised = attempted(tmp_path, torch.OutOfMemoryError("CUDA out of memory."), monkeypatch)
    assert isinstance(raised, Final)
    assert store.failure(cell.id)["error"].startswith("OutOfMemoryError: CUDA out of memory.; 1 images at once are too")


@pytest.mark.parametrize("skew", [-120.0, 120.0])
def test_the_first_process_of_an_attempt_names_the_cause_whatever_the_clocks_of_nodes_say(
    tmp_path, monkeypatch, second, skew
):
    now = time.time()
    monkeypatch.setattr(store_module.time, "time", lambda: now + skew)
    store, cell, _ = attempted(tmp_path, ValueError("the first attempt"), monkeypatch)
    monkeypatch.setattr(store_module.time, "time", lambda: now)
    for error in (ValueError("the cause"), LOST):  # of two processes of the second attempt
        attempted(tmp_path, error, monkeypatch, failures=1)
        assert store.failure(cell.id)["error"] == "ValueError: the cause"
        assert store.failure(cell.id)["attempts"] == 2


def trial_of_group(folder, monkeypatch, causes):
    """Run the trial of a group that ended so. causes: rank -> its error."""

    def together(*_):
        raise WorkerGroupError("a page", causes)

    monkeypatch.setattr(stages, "train_together", together)
    environment = Environment(str(folder), {}, Resources(workers=2))
    run_stage({"cell": "x", "stage": "train"}, environment, [], None)


def test_a_cell_that_one_process_has_ended_for_good_is_not_tried_again(tmp_path, monkeypatch):
    trial_of_group(tmp_path, monkeypatch, {0: LOST, 1: Final("out of memory")})
    with pytest.raises(WorkerGroupError):
        trial_of_group(tmp_path, monkeypatch, {0: LOST, 1: RuntimeError("once")})


def test_a_group_that_finds_no_room_in_its_store_says_so_and_not_that_a_process_was_lost(tmp_path, monkeypatch):
    with pytest.raises(DiskFull, match="no room"):
        trial_of_group(tmp_path, monkeypatch, {0: LOST, 1: DiskFull("no room")})


def test_a_node_that_is_unfit_counts_more_than_what_its_group_says(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(stages.tune, "report", said.append)
    trial_of_group(tmp_path, monkeypatch, {0: LOST, 1: Unfit("node", ["no data"])})
    assert said == [{stages.UNFIT: "node", "why": "no data"}]
