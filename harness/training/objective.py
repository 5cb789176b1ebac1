"""One loss for each task, over all outputs of a method. Training minimises the weighted sum of the losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from mtlbench.benchmarks.tasks.task import Task
from mtlbench.methods.method import Outputs


def objective(
    outputs: Outputs,
    labels: Mapping[str, Tensor],
    tasks: Mapping[str, Task],
    total: Callable[[Tensor], Tensor] = lambda counts: counts,
) -> dict[str, Tensor]:
    """task -> the sum over its predictions of (summed loss / number of valid labels).

    Predictions of any size are compared at the label's size, bilinear, as published. `total` adds the counts over the
    processes (one small all-reduce): the mean of per-process means is not the mean when labels are sparse. The
    result is this process's share; the shares of all processes add up to the loss. A batch without a valid label
    gives 0.
    """
    names, sums, counts = [], [], []
    for name, task in tasks.items():
        label = labels[name]
        predictions = [outputs.final[name], *(maps[name] for maps in outputs.auxiliary if name in maps)]
        pairs = [task.loss(_at_size(prediction, label), label) for prediction in predictions]
        if name in outputs.label_logits:
            pairs.append(task.label_loss(_at_size(outputs.label_logits[name], label), label))
        for summed, count in pairs:
            names.append(name)
            sums.append(summed)
            counts.append(count)
    shares = torch.stack(sums) / total(torch.stack(counts).detach()).clamp(min=1)
    losses = {name: shares.new_zeros(()) for name in tasks}
    for name, share in zip(names, shares.unbind(), strict=True):
        losses[name] = losses[name] + share
    return losses


def weighted_sum(losses: Mapping[str, Tensor], tasks: Mapping[str, Task]) -> Tensor:
    """sum_t w_t L_t."""
    return torch.stack([tasks[name].weight * loss for name, loss in losses.items()]).sum()


def _at_size(prediction: Tensor, label: Tensor) -> Tensor:
    size = label.shape[-2:]
    if prediction.shape[-2:] == size:
        return prediction
    return functional.interpolate(prediction.float(), size=size, mode="bilinear", align_corners=False)
