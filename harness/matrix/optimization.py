"""How weights are updated: a recipe names an optimiser and a schedule, and this file says what the names stand for.

A new optimiser or schedule is one line here. A recipe can also name one from outside of the package,
"package.module:Name": a subclass of torch.optim.Optimizer, or a function like those below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from mtlbench.harness.matrix.cell import TrainConfig
from mtlbench.methods.outside import find

# Groups have "params", "lr" and "weight_decay" each. fused: one kernel, which saves a quarter of the loop's time.
MakeOptimizer = Callable[[list[dict[str, Any]], TrainConfig], Optimizer]
OPTIMIZERS: dict[str, MakeOptimizer] = {
    "adam": lambda groups, recipe: Adam(groups, fused=True),
    "adamw": lambda groups, recipe: AdamW(groups, fused=True),
    "sgd": lambda groups, recipe: SGD(groups, momentum=recipe.momentum, fused=True),
}

# The fraction of training done, from 0 up to and without 1 -> the factor of every learning rate.
Schedule = Callable[[float, TrainConfig], float]
SCHEDULES: dict[str, Schedule] = {
    "poly": lambda progress, recipe: (1 - progress) ** recipe.power,
    "constant": lambda progress, recipe: 1.0,
}

AN_OPTIMIZER = "it must be a subclass of torch.optim.Optimizer, or a function (groups, recipe) -> Optimizer"

ANY_RECIPE = TrainConfig(epochs=1)


def make_optimizer(name: str, groups: list[dict[str, Any]], recipe: TrainConfig) -> Optimizer:
    """The optimiser `name` of groups of parameters, each with "params", "lr" and "weight_decay" of its own.

    Raises ValueError for an unknown name, listing the choices.
    """
    make: Any = find(name, "optimizer", OPTIMIZERS)
    is_class = isinstance(make, type) and issubclass(make, Optimizer)
    made: Any = make(groups) if is_class else make(groups, recipe)
    if not isinstance(made, Optimizer):
        raise ValueError(f"optimizer {name!r} is {make!r}, which makes {type(made).__name__}; {AN_OPTIMIZER}")
    return made


def factor(name: str, progress: float, recipe: TrainConfig) -> float:
    """The factor of learning rates under the schedule `name` after a fraction `progress` of training.

    Raises ValueError for an unknown name, listing the choices.
    """
    schedule: Schedule = find(name, "schedule", SCHEDULES)
    return schedule(progress, recipe)


def check_optimizer(name: str) -> None:
    """Raise ValueError unless `name` is an optimiser that updates a parameter from its gradient alone."""
    find(name, "optimizer", OPTIMIZERS)
    if name in OPTIMIZERS:
        return
    try:
        _after_a_step(name, ANY_RECIPE, nn.Parameter(torch.ones(2, 2)))
    except ValueError:
        raise
    except Exception as error:  # this runs the code of the optimiser's author, which may fail in any way
        raise ValueError(f"optimizer {name!r} does not update a parameter: {_said(error)}; {AN_OPTIMIZER}") from error


def check_schedule(name: str) -> None:
    """Raise ValueError unless `name` is a schedule whose factors are finite and not negative."""
    find(name, "schedule", SCHEDULES)
    if name in SCHEDULES:
        return
    for progress in (0.0, 0.5, 0.999):
        try:
            found = float(factor(name, progress, ANY_RECIPE))
        except Exception as error:  # this runs the code of the schedule's author, which may fail in any way
            raise ValueError(
                f"schedule {name!r} gives no factor after {progress:g} of training: {_said(error)}; it must be a "
                "function (progress, recipe) -> float"
            ) from error
        if not (math.isfinite(found) and found >= 0):
            raise ValueError(
                f"schedule {name!r} gives the factor {found:g} after {progress:g} of training; learning rates are "
                "multiplied by it, so it must be finite and not negative"
            )


def kept_values(name: str, recipe: TrainConfig) -> float:
    """How many values an optimiser keeps for each weight, as moments; counted for one convolution by a step."""
    weight = nn.Parameter(torch.zeros(64, 64, 3, 3))
    state = _after_a_step(name, recipe, weight).state[weight]
    kept = sum(value.numel() for value in state.values() if isinstance(value, torch.Tensor) and value.dim())
    return kept / weight.numel()


def _after_a_step(name: str, recipe: TrainConfig, weight: nn.Parameter) -> Optimizer:
    """An optimiser of one parameter on the CPU that has made one step."""
    group = {"params": [weight], "lr": recipe.lr, "weight_decay": recipe.weight_decay}
    made = make_optimizer(name, [group], recipe)
    weight.grad = torch.ones_like(weight)
    made.step()
    return made


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
