"""SCA-MTL: self- and cross-attention between tasks and scales, on top of MTI-Net.

The numbers of equations below are the paper's. Where the paper says nothing or differs from the authors' code, the
code decides, and the text names the option that follows the paper.
"""

# B batch, N tasks, C_k channels of a task's features at scale k, H_k W_k rows and columns of scale k

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.method import Method, Outputs, Target
from mtlbench.methods.parts.attention import CrossAttention, WindowSelfAttention
from mtlbench.methods.parts.distillation import Distillation
from mtlbench.methods.parts.heads import HRHead
from mtlbench.methods.parts.layers import basic_block, conv_bn, size_of, upsample
from mtlbench.methods.parts.order import in_order
from mtlbench.methods.parts.pyramid import FPM, Features, TaskHeads, convolutional_body, needs_factor_two


class SelfAttention(nn.Module):
    """Two window-attention layers beside the backbone's map: cat(attention(x), x), [B, c, H, W] -> [B, 2c, H, W]."""

    def __init__(self, channels: int, mlp: bool) -> None:
        super().__init__()
        self.attention = WindowSelfAttention(channels, depth=2, heads=6, drop_path=0.2, mlp=mlp)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.attention(x), x], dim=1)


class CTAM(nn.Module):
    """Eq. (3): at one scale, each task adds what it attends to in every other task.

    Every ordered pair of tasks has its own weights of the cross-attention. task -> [B, C, H, W] in, the same shapes
    out. The features of a single task pass unchanged. fuse "basicblock_shared": one residual block of 3x3 convolutions
    for all targets, as in the authors' code. "conv1_per_task": one 1x1 convolution for each target, as in the paper.
    """

    def __init__(self, tasks: Sequence[str], channels: int, *, qk_layers: int, fuse: str) -> None:
        super().__init__()
        # The last source comes first. The order matters: the shared block tells sources apart by their place alone.
        self.attention = nn.ModuleDict(
            {
                target: nn.ModuleDict(
                    {
                        source: CrossAttention(channels, channels, channels, qk_layers=qk_layers)
                        for source in reversed(tasks)
                        if source != target
                    }
                )
                for target in tasks
            }
        )
        width = 2 * (len(tasks) - 1) * channels
        self.shared = basic_block(width, channels, momentum=0.01) if width and fuse == "basicblock_shared" else None
        self.own = nn.ModuleDict(
            {task: nn.Conv2d(width, channels, 1) for task in tasks} if width and fuse == "conv1_per_task" else {}
        )

    def forward(self, features: Features) -> Features:
        refined = dict(features)
        for target, sources in self.attention.items():
            assert isinstance(sources, nn.ModuleDict)
            own = features[target]
            attended = [torch.cat([own, attend(own, features[source])], dim=1) for source, attend in sources.items()]
            if attended:
                fuse = self.shared if self.shared is not None else self.own[target]
                refined[target] = own + fuse(torch.cat(attended, dim=1))
        return refined


def csam_channels(channels: Sequence[int]) -> list[int]:
    """The channels of each scale after CSAM, given those before it: (36, 72, 144, 288) -> [216, 288, 288, 288]."""
    coarsest = len(channels) - 1
    return [2 * c * (coarsest - k) for k, c in enumerate(channels[:-1])] + [channels[-1]]


class CSAM(nn.Module):
    """Eq. (4): one task's features at each scale, beside what they attend to at every coarser scale.

    [B, C_k, H_k, W_k], finest first -> [B, csam_channels[k], H_k, W_k]. The sources keep their own resolution. Each
    scale has one attention, and all its sources share the weights of this attention. The coarsest scale passes
    unchanged.
    """

    def __init__(self, channels: Sequence[int], *, qk_layers: int) -> None:
        super().__init__()
        self.attention = nn.ModuleList(CrossAttention(c, c, c, qk_layers=qk_layers) for c in channels[:-1])
        self.match = nn.ModuleList(
            nn.ModuleList(conv_bn(source, target, 1) for source in channels[k + 1 :])
            for k, target in enumerate(channels[:-1])
        )

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        refined = []
        for k, (attend, matches) in enumerate(zip(self.attention, self.match, strict=True)):
            assert isinstance(matches, nn.ModuleList)
            maps = []
            for match, source in zip(matches, pyramid[k + 1 :], strict=True):
                maps += [pyramid[k], attend(pyramid[k], match(source))]
            refined.append(torch.cat(maps, dim=1))
        return [*refined, pyramid[-1]]


class FPMA(FPM):
    """Section 2.3: MTI-Net's feature propagation, where window attention replaces the convolutions of the mask."""

    def __init__(self, tasks: Sequence[str], channels: int, mlp: bool) -> None:
        body = WindowSelfAttention(len(tasks) * channels, depth=1, heads=4, mlp=mlp)
        super().__init__(tasks, channels, body, mask="author")


class Aggregation(HRHead):
    """Eq. (5): all scales, upsampled to the finest and concatenated, make the prediction by HRHead's two layers."""


class SCAMTL(Method):
    """Backbone, self-attention, task heads, CTAM and FPMA from coarse to fine, CSAM, aggregation (Fig. 1).

    The initial predictions of the heads are supervised at all scales with full weight, as in MTI-Net.

    The first four options switch a part on or off each, which gives the rows of Table 5.

    Options:
        attention: window self-attention beside the backbone's maps, which doubles their channels; without it, the
            channels stay those of the backbone.
        fpma: the feature propagation with attention between scales; without it, MTI-Net's feature propagation (FPM)
            takes its place.
        ctam: the attention between tasks at each scale; without it, MTI-Net's distillation takes its place, and FPM or
            FPMA reads the initial features.
        csam: the attention between scales of each task; without it, the aggregation reads the scales as they are.
        qk_layers: how many 1x1 convolutions make a query or a key of the attention between tasks and between scales: 2
            in the authors' code, 1 in the paper.
        ctam_fuse: what joins what a task attends to: "basicblock_shared" is one residual block of 3x3 convolutions for
            all tasks, as in the authors' code; "conv1_per_task" is a 1x1 convolution for each task, as in the paper.
        mlp: window self-attention keeps the second half of Swin's layer, which the authors' code leaves out.
    """

    def __init__(
        self,
        backbone: Backbone,
        targets: Mapping[str, Target],
        *,
        attention: bool = True,
        fpma: bool = True,
        ctam: bool = True,
        csam: bool = True,
        qk_layers: Literal[1, 2] = 2,
        ctam_fuse: Literal["basicblock_shared", "conv1_per_task"] = "basicblock_shared",
        mlp: bool = False,
    ) -> None:
        super().__init__()
        targets = in_order(targets)
        tasks = list(targets)
        channels = [2 * c if attention else c for c in backbone.channels]
        self.backbone = backbone
        self.self_attention = nn.ModuleList(
            SelfAttention(c, mlp) if attention else nn.Identity() for c in backbone.channels
        )
        self.heads = nn.ModuleList(
            TaskHeads(targets, c, coarser, c) for c, coarser in zip(channels, [*channels[1:], 0], strict=True)
        )
        self.cross_task = nn.ModuleList(
            CTAM(tasks, c, qk_layers=qk_layers, fuse=ctam_fuse) if ctam else Distillation(tasks, c) for c in channels
        )
        # Each module leads from scale k to k - 1, so there is none at the finest scale.
        self.propagate = nn.ModuleList(
            FPMA(tasks, c, mlp) if fpma else FPM(tasks, c, convolutional_body(len(tasks) * c), mask="author")
            for c in channels[1:]
        )
        self.propagate_refined = ctam
        self.cross_scale = nn.ModuleDict({task: CSAM(channels, qk_layers=qk_layers) for task in tasks if csam})
        widths = csam_channels(channels) if csam else channels
        self.aggregation = nn.ModuleDict({task: Aggregation(widths, t.channels) for task, t in targets.items()})

    @classmethod
    def misfit(cls, options: Mapping[str, Any], strides: Sequence[int]) -> str:
        return needs_factor_two(strides)

    def forward(self, image: Tensor) -> Outputs:
        pyramid = [attend(x) for attend, x in zip(self.self_attention, self.backbone(image), strict=True)]
        refined, initial = [], []  # coarsest first
        coarser = None
        for k in reversed(range(len(pyramid))):
            features, predictions = self.heads[k](pyramid[k], coarser)
            refined.append(self.cross_task[k](features))
            initial.append(predictions)
            if k > 0:
                coarser = self.propagate[k - 1](refined[-1] if self.propagate_refined else features)
        final = {}
        for task, aggregate in self.aggregation.items():
            scales = [features[task] for features in reversed(refined)]
            if task in self.cross_scale:
                scales = self.cross_scale[task](scales)
            final[task] = upsample(aggregate(scales), size_of(image))
        return Outputs(final, auxiliary=initial[::-1], label_logits={})
