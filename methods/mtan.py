"""MTAN (Liu et al., CVPR 2019), as MTL-PyTorch builds it on dilated ResNets."""

# B batch, C channels, H W rows and columns of a map

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.method import Outputs, Target
from mtlbench.methods.parts.chosen_head import OnDilatedResNets, make_heads
from mtlbench.methods.parts.layers import Residual, basic_block, bottleneck, conv_bn, size_of, upsample
from mtlbench.methods.parts.order import in_order
from mtlbench.methods.stages import STAGES


class MTAN(OnDilatedResNets):
    """One encoder; each task has attention masks over its stages, and blocks shared by the tasks carry them on.

    A mask is made from the maps before the last block of a stage and from what the task carried from the stage before.
    It is applied to the maps after this block. On an HRNet there is a mask for each branch.

    Options:
        head: each task's decoder: "deeplab" for dilated ResNets, as published, or "hrnet", which mixes all four maps
            at stride 4.
    """

    def __init__(
        self,
        backbone: Backbone,
        targets: Mapping[str, Target],
        *,
        head: Literal["hrnet", "deeplab"] = "hrnet",
    ) -> None:
        super().__init__()
        targets = in_order(targets)
        backbone.check_parts()
        self.backbone = backbone
        stages = backbone.stages[1:]
        self.attention = nn.ModuleList(
            nn.ModuleDict({task: nn.ModuleList(_mask(c if k == 0 else 2 * c, c) for c in channels) for task in targets})
            for k, channels in enumerate(stages)
        )
        self.carry = nn.ModuleList(
            Carry(stages[k], stages[k + 1], backbone.stage_strides[k + 1], backbone.stage_strides[k + 2])
            for k in range(len(stages) - 1)
        )
        self.heads = make_heads(head, backbone.channels, targets)

    def forward(self, image: Tensor) -> Outputs:
        encoder: Any = self.backbone
        maps = encoder.run(0, [image])
        attended: dict[str, list[list[Tensor]]] = {task: [maps] for task in self.heads}  # of all stages
        carried: dict[str, list[Tensor]] = {}
        for k in range(1, STAGES):
            before = encoder.run_but_last(k, maps)
            maps = encoder.run_last(k, before)
            masks: Any = self.attention[k - 1]
            for task in self.heads:
                seen = [torch.cat(pair, dim=1) for pair in zip(before, carried[task], strict=True)] if k > 1 else before
                chosen = [mask(x) * after for mask, x, after in zip(masks[task], seen, maps, strict=True)]
                attended[task].append(chosen)
                if k < STAGES - 1:
                    # Task by task, because the batch norms of the shared blocks follow the statistics of each.
                    carried[task] = self.carry[k - 1](chosen)
        final = {
            task: upsample(head(encoder.pyramid(attended[task])), size_of(image)) for task, head in self.heads.items()
        }
        return Outputs(final, auxiliary=[], label_logits={})

    def shared_parameters(self) -> list[Parameter]:
        return [*self.backbone.parameters(), *self.carry.parameters()]


class Carry(nn.Module):
    """Attended maps of a stage, in the form of the maps of the next stage. Every task uses the same weights.

    A map [B, C, H, W] a branch -> a map a branch of the next stage, [B, C', H', W']. A branch that the stage before
    does not have reads the coarsest map. Where the stride grows, the maximum of 2 x 2 pixels is taken after the block.
    """

    def __init__(
        self,
        channels: Sequence[int],
        next_channels: Sequence[int],
        strides: Sequence[int],
        next_strides: Sequence[int],
    ) -> None:
        super().__init__()
        self.sources = [min(i, len(channels) - 1) for i in range(len(next_channels))]
        self.pooled = [after > strides[i] for i, after in zip(self.sources, next_strides, strict=True)]
        # The widths of HRNet's branches are no multiples of 4, as a bottleneck's would be.
        block = _bottleneck if len(next_channels) == 1 else basic_block
        self.blocks = nn.ModuleList(
            block(channels[i], width) for i, width in zip(self.sources, next_channels, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        refined = [block(maps[i]) for block, i in zip(self.blocks, self.sources, strict=True)]
        return [F.max_pool2d(x, 2) if pool else x for x, pool in zip(refined, self.pooled, strict=True)]


def _mask(in_channels: int, channels: int) -> nn.Sequential:
    """[B, in_channels, H, W] -> a mask between 0 and 1, [B, channels, H, W]."""
    hidden = channels // 4
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden, 1),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, channels, 1),
        nn.BatchNorm2d(channels),
        nn.Sigmoid(),
    )


def _bottleneck(in_channels: int, channels: int) -> Residual:
    """A bottleneck whose shortcut is a convolution even where the channels agree."""
    block = bottleneck(in_channels, channels // 4)
    if in_channels == channels:
        block.shortcut = conv_bn(in_channels, channels, 1)
    return block
