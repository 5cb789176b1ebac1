"""A cell is what its matrix says, whatever a shell exports, and its processes are those that the harness started."""

import errno
import os
import tempfile

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load

from cells import small_cell, train_cell
from mtlbench.harness.cluster.attempt import attempt
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.environment import Environment, forget_compilers, forget_launchers, telling
from mtlbench.results.records import files

EXPORTED = {  # by `accelerate launch`, by torchrun, by srun, by mpirun, by hand
    "gradient accumulation": {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "8"},
    "device": {"ACCELERATE_TORCH_DEVICE": "meta"},
    "compiler": {"ACCELERATE_DYNAMO_BACKEND": "eager"},
    "parallelism": {"ACCELERATE_USE_PARALLELISM_CONFIG": "true", "PARALLELISM_CONFIG_TP_SIZE": "2"},
    "torchrun": {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"},
    "second of torchrun": {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1"},
    "mpirun": {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
    "srun": {"PMI_SIZE": "2", "PMI_RANK": "1"},
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory, rooms):
    """The weights of a cell that nothing exported has touched."""
    store = tmp_path_factory.mktemp("alone") / "s"
    return weights(store, train_cell(small_cell(), store, rooms))


def weights(store, record):
    return load(Store(store).get(files.weights(record.id)))


@pytest.mark.parametrize("what", EXPORTED)
def test_what_a_shell_exports_for_launchers_changes_no_weight(what, alone, monkeypatch, tmp_path, rooms):
    for name, value in EXPORTED[what].items():
        monkeypatch.setenv(name, value)
    cell, place = small_cell(), Environment(str(tmp_path), {"rooms": rooms}, Resources())
    assert attempt(cell, place, lambda progress: None)
    record = Store(tmp_path).record(cell.id)
    found = weights(tmp_path, record)
    assert found.keys() == alone.keys() and all(torch.equal(found[name], alone[name]) for name in alone)
    assert record.provenance["processes"] == 1
    assert Store(tmp_path).exists(files.log(cell.id))  # a cell of one process writes its log, whatever RANK says


def test_without_the_harness_the_same_variables_would_decide(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "8")
    assert Accelerator(cpu=True).gradient_accumulation_steps == 8


def test_the_rank_that_a_group_has_from_the_harness_stays(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "PMI_SIZE", "ACCELERATE_USE_FSDP"):
        monkeypatch.setenv(name, "1")
    forget_launchers(grouped=True)
    assert {"RANK", "WORLD_SIZE"} <= os.environ.keys()
    assert not {"PMI_SIZE", "ACCELERATE_USE_FSDP"} & os.environ.keys()


def test_a_record_names_the_variables_that_can_matter_and_stay(monkeypatch, tmp_path, rooms):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of nobody's concern")
    record = train_cell(small_cell(train={"steps": 1}), tmp_path / "s", rooms)
    named = record.provenance["variables"]
    assert named["NVIDIA_TF32_OVERRIDE"] == "1" and named["ONEDNN_DEFAULT_FPMATH_MODE"] == "BF16"
    assert not {"TORCH_HOME", "AWS_SECRET_ACCESS_KEY"} & named.keys()


def test_processes_started_later_see_no_switches_of_compilers(monkeypatch):
    for name in ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE", "TORCHINDUCTOR_MAX_AUTOTUNE", "PYTORCH_JIT"):
        monkeypatch.setenv(name, "1")
        assert name in telling()
    forget_compilers()
    assert not {name for name in telling() if "COMPILE" in name or "JIT" in name or name.startswith("TORCHD")}


def test_a_full_disk_of_temporary_files_costs_no_checkpoint_and_no_record(monkeypatch, tmp_path, rooms):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    monkeypatch.setattr(tempfile, "_mkstemp_inner", full)
    cell = small_cell(train={"epochs": 2})
    assert train_cell(cell, tmp_path / "s", rooms, checkpoint_every=1).id == cell.id
