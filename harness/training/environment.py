"""Where a cell runs: its store, its data, how much of the machine it has, and which variables of a shell it sees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mtlbench.harness.matrix.entries import Resources


@dataclass(frozen=True)
class Environment:
    """Where a cell runs. Nothing here changes a number beyond its last digits. It is sent to other machines."""

    store: str  # the address of a Store
    roots: Mapping[str, Path]  # benchmark -> the folder of its data
    resources: Resources = field(default_factory=Resources)
    cache: Path | None = None  # prepared data may lie below it; each machine also looks into its own scratch
    weights: Mapping[str, str] = field(default_factory=dict)  # sha256:... of a file of weights -> its path
    lease: str = ""  # token of the driver that started the cell; "" where there is none

    @property
    def device(self) -> str:
        return "cuda" if self.resources.gpus else "cpu"


# What Accelerate reads as if its own launcher had written it. `accelerate launch` and batch scripts export these, and
# they would change the numbers of a cell: the steps between two updates, the precision, how a model is divided.
_LAUNCHERS = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "DEEPSPEED_", "PARALLELISM_CONFIG_", "FP8_", "FORK_LAUNCHED")
# How processes of a group find each other: by torchrun, which Ray Train imitates, and by launchers that we never use.
_RANKS = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
)
_FOREIGN_RANKS = ("TORCHELASTIC_", "OMPI_COMM_WORLD_", "PMI_", "MV2_COMM_WORLD_", "MPI_LOCAL")
# What PyTorch reads of its compilers while it is imported. We ask for no compiler.
_COMPILERS = ("TORCH_COMPILE", "TORCHDYNAMO_", "TORCHINDUCTOR_", "PYTORCH_JIT")
# What else can move the last digits of a number. It stays as it is, and the record names it.
_TELLING = (
    *(*_COMPILERS, "TORCH_", "PYTORCH_", "CUBLAS", "CUDNN_", "NVIDIA_TF32_OVERRIDE"),
    *("ATEN_", "MKL_", "ONEDNN_", "DNNL_", "OPENBLAS_"),
)
# Folders, messages and time limits; the number of threads, which the record has under another name.
_SILENT = (
    "TORCH_HOME",
    "TORCH_NCCL_",
    "TORCH_CPP_LOG_",
    "TORCH_LOGS",
    "TORCHINDUCTOR_CACHE_DIR",
    "MKL_NUM_",
    "OPENBLAS_NUM_",
)


def forget_launchers(*, grouped: bool) -> None:
    """Remove from this process's environment what Accelerate would read and the harness did not set.

    grouped: this is a process of a group that the harness has started. Then its rank is the harness's own.
    """
    names = [name for name in os.environ if name.startswith((*_LAUNCHERS, *_FOREIGN_RANKS))]
    for name in [*names, *(() if grouped else _RANKS)]:
        os.environ.pop(name, None)


def forget_compilers() -> None:
    """Remove what PyTorch would read of its compilers in the processes that this one starts from now on."""
    for name in [name for name in os.environ if name.startswith(_COMPILERS)]:
        del os.environ[name]


def telling() -> dict[str, str]:
    """The variables of this process that can move a number, for its record."""
    names = (name for name in os.environ if name.startswith(_TELLING) and not name.startswith(_SILENT))
    return {name: os.environ[name] for name in sorted(names)}
