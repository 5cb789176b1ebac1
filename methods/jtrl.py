"""Joint task-recursive learning (Zhang et al., ECCV 2018), re-implemented from its description.

No code of the authors is known. What the paper's abstract fixes is here: two tasks are refined in turn, from coarse to
fine, and each step reads what both tasks gave before, through a task-attentional module. Kernels, norms and the layers
of the module are ours.
"""

# B batch, C channels, H W rows and columns of a map

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.feature_maps import STRIDES
from mtlbench.methods.method import Method, Outputs, Target
from mtlbench.methods.parts.layers import Residual, conv_bn, conv_bn_relu, size_of, upsample
from mtlbench.methods.parts.order import in_order

KERNELS = (1, 3, 5, 7)  # of the branches of an up-sampling


class JTRL(Method):
    """Depth or normals, then semantic segmentation, in four steps at strides 16, 8, 4 and 2.

    A step of a task reads the map of the same scale of the backbone, and both tasks' maps of the step before, of which
    the later task takes the earlier one's map of this step. Exactly two tasks.
    """

    task_counts = (2, 2)

    def __init__(self, backbone: Backbone, targets: Mapping[str, Target]) -> None:
        super().__init__()
        if len(targets) != 2:
            raise ValueError(f"jtrl takes exactly two tasks, not {len(targets)} ({', '.join(targets)})")
        self.backbone = backbone
        self.order = list(reversed(in_order(targets)))  # semantic segmentation comes last
        widths, skips = _widths(backbone.channels)
        self.first = Up(backbone.channels[3], widths[0])
        self.up = nn.ModuleDict({task: nn.ModuleList(map(Up, widths[:-1], widths[1:])) for task in self.order})
        self.attention = nn.ModuleDict({task: nn.ModuleList(map(Attention, widths[1:])) for task in self.order})
        self.refine = nn.ModuleDict()
        for place, task in enumerate(self.order):
            # In the first step the second task reads the first one's map beside what is up-sampled.
            known = [(1 + place) * widths[0], *widths[1:]]
            self.refine[task] = nn.ModuleList(
                nn.Sequential(_residual(read + skip, width), _residual(width, width))
                for read, skip, width in zip(known, skips, widths, strict=True)
            )
        self.predict = nn.ModuleDict(
            {task: nn.ModuleList(nn.Conv2d(w, targets[task].channels, 1) for w in widths) for task in self.order}
        )

    def forward(self, image: Tensor) -> Outputs:
        pyramid = self.backbone(image)
        layers: Any = self  # module lists have no types of their own
        first, second = self.order
        up = layers.first(pyramid[3])
        one = layers.refine[first][0](torch.cat([up, pyramid[2]], dim=1))
        other = layers.refine[second][0](torch.cat([up, one, pyramid[2]], dim=1))
        steps = [{first: one, second: other}]
        for step, skip in enumerate(([pyramid[1]], [pyramid[0]], []), start=1):
            one, other = layers.up[first][step - 1](one), layers.up[second][step - 1](other)
            read = layers.attention[first][step - 1](one, other)
            one = layers.refine[first][step](torch.cat([read, *skip], dim=1))
            read = layers.attention[second][step - 1](one, other)
            other = layers.refine[second][step](torch.cat([read, *skip], dim=1))
            steps.append({first: one, second: other})
        predictions = [
            {task: layers.predict[task][step](x) for task, x in maps.items()} for step, maps in enumerate(steps)
        ]
        final = {task: upsample(prediction, size_of(image)) for task, prediction in predictions.pop().items()}
        return Outputs(final, auxiliary=predictions[::-1], label_logits={})

    @classmethod
    def misfit(cls, options: Mapping[str, Any], strides: Sequence[int]) -> str:
        if tuple(strides) == STRIDES:
            return ""
        return f"it reads maps at strides {STRIDES}, and the backbone's are at {tuple(strides)}; leave output_stride 32"

    @classmethod
    def remark(cls, options: Mapping[str, Any]) -> str:
        return "re-implemented from its description, since no code of its authors is known"


class Up(nn.Module):
    """Twice the size by sub-pixels: four branches with kernels of 1 to 7. [B, C, H, W] -> [B, C', 2H, 2W]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv_bn_relu(in_channels, out_channels, kernel) for kernel in KERNELS)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(torch.cat([branch(x) for branch in self.branches], dim=1), 2)


class Attention(nn.Module):
    """The task-attentional module: what two tasks have in common, by which both are weighed.

    Two maps [B, C, H, W] in the order of the tasks, H and W multiples of 4 -> [B, C, H, W].
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.balance = nn.Conv2d(2 * channels, channels, 1)
        self.blend = nn.Conv2d(2 * channels, channels, 1)
        self.down = nn.Sequential(*(layer for _ in range(2) for layer in _halved(channels)))
        self.middle = conv_bn_relu(channels, channels, 3)
        self.mask = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        balance = self.balance(torch.cat([one, other], dim=1)).sigmoid()
        common = self.down(self.blend(torch.cat([balance * one, (1 - balance) * other], dim=1)))
        half = (one.shape[-2] // 2, one.shape[-1] // 2)
        mask = self.mask(upsample(self.middle(upsample(common, half)), size_of(one))).sigmoid()
        weighed: Tensor = self.out(torch.cat([(1 + mask) * one, (1 + mask) * other], dim=1))
        return weighed


def _widths(channels: Sequence[int]) -> tuple[list[int], list[int]]:
    """The channels of the maps of each step, and those of the map of the backbone that the step reads."""
    finest, fine, coarse, _ = channels
    return [coarse, fine, finest, max(4, finest // 2)], [coarse, fine, finest, 0]


def _residual(in_channels: int, out_channels: int) -> Residual:
    hidden = max(1, out_channels // 4)
    body = nn.Sequential(
        *conv_bn_relu(in_channels, hidden, 1), *conv_bn_relu(hidden, hidden, 3), *conv_bn(hidden, out_channels, 1)
    )
    return Residual(body, in_channels, out_channels)


def _halved(channels: int) -> tuple[nn.Module, ...]:
    """Half the size by a strided convolution."""
    return (
        nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
