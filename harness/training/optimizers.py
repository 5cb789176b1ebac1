"""Optimisers from a recipe and a method's parameter groups: one optimiser a kind."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

from mtlbench.harness.matrix.cell import TrainConfig
from mtlbench.methods.method import Method


def make(method: Method, recipe: TrainConfig) -> list[Optimizer]:
    """A group may name its own "optimizer", "lr", "weight_decay" and "schedule"; the recipe gives the rest."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for group in method.parameter_groups():
        group = dict(group)
        kind = group.pop("optimizer", recipe.optimizer)
        group.setdefault("lr", recipe.lr)
        group.setdefault("weight_decay", recipe.weight_decay)
        group.setdefault("schedule", recipe.schedule)
        group["base_lr"] = group["lr"]
        kinds.setdefault(kind, []).append(group)
    return [_make(kind, groups, recipe) for kind, groups in kinds.items()]


def _make(kind: str, groups: list[dict[str, Any]], recipe: TrainConfig) -> Optimizer:
    if kind == "sgd":
        return SGD(groups, momentum=recipe.momentum, fused=True)
    if kind == "adamw":
        return AdamW(groups, fused=True)
    return Adam(groups, fused=True)  # one kernel: a quarter of the loop's time


def set_learning_rates(optimizers: list[Optimizer], recipe: TrainConfig, progress: float) -> float:
    """Set every group's rate for a fraction of training done, and return the first group's.

    poly: lr (1 - progress)^power (methods' published schedule, power 0.9).
    """
    factors = {"poly": (1 - progress) ** recipe.power, "constant": 1.0}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factors[group["schedule"]]
    return float(optimizers[0].param_groups[0]["lr"])


def clip(parameters: list[torch.nn.Parameter], greatest: float | None) -> None:
    if greatest is not None:
        torch.nn.utils.clip_grad_norm_(parameters, greatest)
