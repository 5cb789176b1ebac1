"""An encoder a task: copies of one backbone, so that all start from the same bits."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

from torch import nn

from mtlbench.methods.backbone import Backbone


def encoder_for_each(tasks: Iterable[str], backbone: Backbone) -> nn.ModuleDict:
    """task -> a copy of the backbone."""
    return nn.ModuleDict({task: deepcopy(backbone) for task in tasks})
