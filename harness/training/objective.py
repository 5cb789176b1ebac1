"""The losses of a method's outputs, and their weighted sum, which training minimises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mtlbench.benchmarks.tasks.task import Task
from mtlbench.methods.method import Outputs

FINAL = "final"  # the prediction that is scored
LABEL = "label"  # the output `label_logits` of ATRC, which predicts a discretised label


class Term(NamedTuple):
    """The loss of one output."""

    task: str
    output: str  # FINAL, "auxiliary 0", "auxiliary 1", ..., or LABEL
    loss: Tensor  # summed loss / number of valid labels, without a weight; a scalar


def terms(
    outputs: Outputs,
    labels: Mapping[str, Tensor],
    tasks: Mapping[str, Task],
    total: Callable[[Tensor], Tensor] = lambda counts: counts,
) -> list[Term]:
    """The loss of every output, task by task.

    Predictions of any size are compared at the label's size, bilinear, as published. `total` adds the counts over the
    processes (one small all-reduce): the mean of per-process means is not the mean when labels are sparse. The
    result is this process's share; the shares of all processes add up to the loss. A batch without a valid label
    gives 0.
    """
    names, pairs = [], []
    for name, task in tasks.items():
        label = labels[name]
        auxiliary = [maps[name] for maps in outputs.auxiliary if name in maps]
        for number, prediction in enumerate([outputs.final[name], *auxiliary]):
            names.append((name, f"auxiliary {number - 1}" if number else FINAL))
            pairs.append(task.loss(_at_size(prediction, label), label))
        if name in outputs.label_logits:
            names.append((name, LABEL))
            pairs.append(task.label_loss(_at_size(outputs.label_logits[name], label), label))
    sums, counts = (torch.stack(each) for each in zip(*pairs, strict=True))
    shares = sums / total(counts.detach()).clamp(min=1)
    return [Term(*name, share) for name, share in zip(names, shares.unbind(), strict=True)]


def task_losses(found: Iterable[Term]) -> dict[str, Tensor]:
    """task -> L_t, the sum of the losses of its outputs, without weights."""
    losses: dict[str, Tensor] = {}
    for task, _, loss in found:
        losses[task] = losses[task] + loss if task in losses else loss
    return losses


def weighted_sum(found: Iterable[Term], tasks: Mapping[str, Task]) -> Tensor:
    """sum_t (w_t L_t + v_t L_t^label), which training minimises. v_t is w_t unless a recipe gives it (`label_weights`).

    Here L_t is the sum over the predictions of a task, and L_t^label its loss over the discretised label (ATRC).
    """
    found = list(found)
    predictions = task_losses(term for term in found if term.output != LABEL)
    over_labels = task_losses(term for term in found if term.output == LABEL)
    weighted = [tasks[task].weight * loss for task, loss in predictions.items()]
    weighted += [tasks[task].weight_of_label_loss * loss for task, loss in over_labels.items()]
    return torch.stack(weighted).sum()


def _at_size(prediction: Tensor, label: Tensor) -> Tensor:
    """The prediction at the label's size, in float32 or better."""
    size = label.shape[-2:]
    if prediction.shape[-2:] == size:
        return prediction
    precise = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
    return functional.interpolate(precise, size=size, mode="bilinear", align_corners=False)
