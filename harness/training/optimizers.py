"""Optimisers from a recipe and the parameter groups of a method: one optimiser for each kind that groups name."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from mtlbench.harness.matrix.cell import TrainConfig
from mtlbench.harness.matrix.optimization import check_schedule, factor, make_optimizer
from mtlbench.methods.method import Method


def make(method: Method, recipe: TrainConfig) -> list[Optimizer]:
    """A group may name its own "optimizer", "lr", "weight_decay" and "schedule"; the recipe gives the rest.

    "lr_scale" of a group is a factor of its learning rate, for a method that does not know the recipe's.

    Raises ValueError, naming the class of the method, where a group names an optimiser or a schedule that is unknown.
    """
    kinds: dict[str, list[dict[str, Any]]] = {}
    for group in method.parameter_groups():
        group = dict(group)
        kind = group.pop("optimizer", recipe.optimizer)
        group["lr"] = group.get("lr", recipe.lr) * group.pop("lr_scale", 1)
        group.setdefault("weight_decay", recipe.weight_decay)
        group.setdefault("schedule", recipe.schedule)
        group["base_lr"] = group["lr"]
        kinds.setdefault(kind, []).append(group)
    try:
        for group in (group for groups in kinds.values() for group in groups):
            check_schedule(group["schedule"])
        return [make_optimizer(kind, groups, recipe) for kind, groups in kinds.items()]
    except ValueError as error:
        raise ValueError(f"parameter groups of {type(method).__name__}: {error}") from error


def set_learning_rates(optimizers: list[Optimizer], recipe: TrainConfig, progress: float) -> float:
    """Set every group's rate for a fraction of training done, by the group's schedule, and return the first group's."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor(group["schedule"], progress, recipe)
    return float(optimizers[0].param_groups[0]["lr"])


def clip(parameters: list[torch.nn.Parameter], greatest: float | None) -> None:
    if greatest is not None:
        torch.nn.utils.clip_grad_norm_(parameters, greatest)
