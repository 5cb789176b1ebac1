"""Batch norm over all processes of a cell, so that the numbers do not depend on the number of processes."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Network = TypeVar("Network", bound=nn.Module)


def synchronise(network: Network, device: torch.device) -> Network:
    """The network with batch norms that normalise by the statistics of the whole batch, over all processes.

    The process group must have been joined, and every process must hold an equal part of the batch. Parameters and
    names stay as they are. Raises ValueError for a kind of batch norm that cannot be converted.
    """
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and type(module) not in OVER_PROCESSES:
            known = ", ".join(kind.__name__ for kind in OVER_PROCESSES)
            raise ValueError(
                f"{name} is a {type(module).__name__}, and only {known} can be synchronised; set resources.workers to 1"
            )
        if device.type == "cpu" and type(module) in OVER_PROCESSES and not _is_whole(module):
            raise ValueError(
                f"{name} is a batch norm without momentum, running statistics, weight or bias; on CPUs, one that lacks "
                "any of them cannot be synchronised; set resources.workers to 1"
            )
    if device.type == "cuda":
        # timm's function, because torch's drops the activation of a BatchNormAct2d
        converted: Network = convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    for module in network.modules():
        if type(module) in OVER_PROCESSES:
            module.__class__ = OVER_PROCESSES[type(module)]  # adds no state
    return network


class BatchNormOverProcesses(nn.BatchNorm2d):
    """Batch norm for tensors on CPUs, which torch's SyncBatchNorm refuses."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W], a part of the batch -> the same, normalised by the mean and variance of the whole batch."""
        return _normalise(self, input) if self.training else super().forward(input)


class BatchNormActOverProcesses(BatchNormAct2d):
    """The same for timm's batch norm with an activation behind it."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)  # type: ignore[no-untyped-call,no-any-return]
        activated: Tensor = self.act(self.drop(_normalise(self, x)))
        return activated


OVER_PROCESSES: dict[type, type] = {
    nn.BatchNorm2d: BatchNormOverProcesses,
    BatchNormAct2d: BatchNormActOverProcesses,
}


def _is_whole(norm: nn.Module) -> bool:
    """Whether a batch norm has all that `_normalise` uses."""
    parts = ("momentum", "running_mean", "running_var", "num_batches_tracked", "weight", "bias")
    return all(getattr(norm, part) is not None for part in parts)


def _normalise(norm: nn.BatchNorm2d, input: Tensor) -> Tensor:
    assert norm.momentum is not None and norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None
    mean = _mean(input.mean((0, 2, 3), keepdim=True))  # [1, C, 1, 1]
    centred = input - mean
    variance = _mean(centred.square().mean((0, 2, 3), keepdim=True))
    pixels = dist.get_world_size() * input.numel() // input.shape[1]
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean.flatten(), norm.momentum)
        norm.running_var.lerp_(variance.flatten() * pixels / (pixels - 1), norm.momentum)
    scale = (variance + norm.eps).rsqrt() * norm.weight.view(1, -1, 1, 1)
    return centred * scale + norm.bias.view(1, -1, 1, 1)


def _mean(value: Tensor) -> Tensor:
    mean: Tensor = _MeanOverProcesses.apply(value)
    return mean


class _MeanOverProcesses(torch.autograd.Function):
    """Each process's value -> their mean, on every process; its own adjoint."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        return _MeanOverProcesses.forward(ctx, gradient)
