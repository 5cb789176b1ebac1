"""Batch norm over all processes of a cell, so that its numbers do not depend on how many it has."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def synchronise(network: Network, device: torch.device) -> Network:
    """The network with every batch norm normalising by the statistics of all processes' parts of a batch.

    A process group has been joined, and the parts have equal sizes. Parameters and names stay as they are.
    """
    if device.type == "cuda":
        converted: Network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNormOverProcesses  # adds no state
    return network


class BatchNormOverProcesses(nn.BatchNorm2d):
    """For CPU tensors, which torch's SyncBatchNorm refuses."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W], a part of the batch -> the same, normalised by the mean and variance of the whole batch."""
        if not self.training:
            return super().forward(input)
        assert self.momentum is not None and self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        mean = _mean(input.mean((0, 2, 3), keepdim=True))  # [1, C, 1, 1]
        centred = input - mean
        variance = _mean(centred.square().mean((0, 2, 3), keepdim=True))
        pixels = dist.get_world_size() * input.numel() // input.shape[1]
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(variance.flatten() * pixels / (pixels - 1), self.momentum)
        scale = (variance + self.eps).rsqrt() * self.weight.view(1, -1, 1, 1)
        return centred * scale + self.bias.view(1, -1, 1, 1)


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
