"""NDDR-CNN (Gao et al., CVPR 2019), as MTL-PyTorch builds it on dilated ResNets."""

# B batch, C channels, H W rows and columns of a map

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.method import Target
from mtlbench.methods.parts.stitched import UNIT_LR, Stitched, initial_shares


class NDDRLayer(nn.Module):
    """Each task's map becomes relu(bn(conv1x1)) of all tasks' maps, concatenated in one order for every target.

    task -> [B, C, H, W] in and out. The convolution starts as `own` times the task's own map and `other` times the
    rest. Its output replaces the map: there is no path around it.
    """

    def __init__(self, tasks: Sequence[str], channels: int, own: float, other: float) -> None:
        super().__init__()
        self.targets = nn.ModuleDict(
            {
                target: nn.Sequential(
                    _mix([own if source == target else other for source in tasks], channels),
                    nn.BatchNorm2d(channels, momentum=0.05),
                    nn.ReLU(inplace=True),
                )
                for target in tasks
            }
        )

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        joint = torch.cat([maps[source] for source in self.targets], dim=1)  # [B, tasks * C, H, W]
        return {target: reduce(joint) for target, reduce in self.targets.items()}


def _mix(shares: Sequence[float], channels: int) -> nn.Conv2d:
    """A 1x1 convolution over concatenated maps that starts as their sum with these shares."""
    layer = nn.Conv2d(len(shares) * channels, channels, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([share * torch.eye(channels) for share in shares], dim=1)[:, :, None, None])
    return layer


class NDDRCNN(Stitched):
    """An encoder for each task; after the stem and stages 1 to 4, a 1x1 convolution mixes the maps of all tasks.

    Options:
        head: each task's decoder: "deeplab" for dilated ResNets, as published, or "hrnet", which mixes all four maps
            at stride 4.
        alpha: what a convolution starts from for a task's own map.
        beta: what it starts from for each other task's map; null: what makes all of them sum to 1.
        unit_lr: the factor of the recipe's learning rate for the units: 100 in the published protocol, and 1 in what
            the code of MTL-PyTorch does.
        init: "single_task" starts each encoder and its head from the trained network of the matrix's single-task row,
            as published; "backbone" starts them from the backbone's weights.
    """

    first = 0

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
        own, other = initial_shares("nddr_cnn", alpha, beta, len(targets))
        self.build(backbone, targets, head, lambda tasks, channels: NDDRLayer(tasks, channels, own, other), unit_lr)
