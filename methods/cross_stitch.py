"""Cross-stitch networks (Misra et al., CVPR 2016), as MTL-PyTorch builds them on dilated ResNets."""

# B batch, C channels, H W rows and columns of a map

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.method import Target
from mtlbench.methods.parts.stitched import UNIT_LR, Stitched, initial_shares


class CrossStitchUnit(nn.Module):
    """Each task's map becomes a weighted sum of all tasks' maps, channel by channel: task -> [B, C, H, W] in and out.

    weights[target][source]: [C]. They start at `own` for a task's own map and at `other` for the rest.
    """

    def __init__(self, tasks: Sequence[str], channels: int, own: float, other: float) -> None:
        super().__init__()
        self.weights = nn.ModuleDict(
            {
                target: nn.ParameterDict(
                    {source: torch.full((channels,), own if source == target else other) for source in tasks}
                )
                for target in tasks
            }
        )

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        mixed = {}
        for target, weights in self.weights.items():
            assert isinstance(weights, nn.ParameterDict)
            shares = [weights[source][:, None, None] * x for source, x in maps.items()]
            mixed[target] = reduce(torch.add, shares)
        return mixed


class CrossStitch(Stitched):
    """An encoder for each task; after stages 1 to 4, learnt weights of each channel mix the maps of all tasks.

    Options:
        head: each task's decoder: "deeplab" for dilated ResNets, as published, or "hrnet", which mixes all four maps
            at stride 4.
        alpha: the initial weight of a task's own map: 0.9 in MTL-PyTorch on NYUD-v2 with two tasks, and 0.8 on PASCAL
            with five.
        beta: the initial weight of each other task's map: 0.1 and 0.05 there; null: what makes all weights sum to 1.
        unit_lr: the factor of the recipe's learning rate for the units: 100 in the published protocol, and 1 in what
            the code of MTL-PyTorch does.
        init: "single_task" starts each encoder and its head from the trained network of the matrix's single-task row,
            as published; "backbone" starts them from the backbone's weights.
    """

    first = 1

    def __init__(
        self,
        backbone: Backbone,
        targets: Mapping[str, Target],
        *,
        head: Literal["hrnet", "deeplab"] = "hrnet",
        alpha: float = 0.9,
        beta: float | None = None,
        unit_lr: float = UNIT_LR,
        init: Literal["single_task", "backbone"] = "single_task",
    ) -> None:
        super().__init__()
        own, other = initial_shares("cross_stitch", alpha, beta, len(targets))
        self.build(
            backbone, targets, head, lambda tasks, channels: CrossStitchUnit(tasks, channels, own, other), unit_lr
        )
