"""MTI-Net (Vandenhende et al., ECCV 2020), as MTL-PyTorch builds it on HRNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.method import Method, Outputs, Target
from mtlbench.methods.parts.distillation import Distillation
from mtlbench.methods.parts.heads import HRHead
from mtlbench.methods.parts.layers import size_of, upsample
from mtlbench.methods.parts.order import in_order
from mtlbench.methods.parts.pyramid import FPM, TaskHeads, Widen, convolutional_body, needs_factor_two


class MTINet(Method):
    """Tasks distil features from each other at every scale; the initial predictions of all scales are supervised.

    Options:
        fpm_mask: what the mask of the feature propagation module (FPM), which leads from a scale to the next finer
            one, weighs against each other by a softmax. "author": groups of as many neighbouring channels as there are
            tasks, as in the authors' code, nearly always of one task; "per_task": the tasks at the same channel, as
            the module was meant.
        width: "doubled": a 1x1 convolution beside the backbone's map doubles the channels of every scale, as a control
            for SCA-MTL, whose attention doubles them too; "single": the channels of the backbone.
    """

    def __init__(
        self,
        backbone: Backbone,
        targets: Mapping[str, Target],
        *,
        fpm_mask: Literal["author", "per_task"] = "author",
        width: Literal["single", "doubled"] = "single",
    ) -> None:
        super().__init__()
        targets = in_order(targets)
        tasks = list(targets)
        doubled = width == "doubled"
        channels = [c * (2 if doubled else 1) for c in backbone.channels]
        self.backbone = backbone
        self.widen = nn.ModuleList(Widen(c) if doubled else nn.Identity() for c in backbone.channels)
        self.heads = nn.ModuleList(
            TaskHeads(targets, c, coarser, c) for c, coarser in zip(channels, [*channels[1:], 0], strict=True)
        )
        self.distill = nn.ModuleList(Distillation(tasks, c) for c in channels)
        # Each FPM leads from scale k to k - 1, so there is none at the finest scale.
        self.fpm = nn.ModuleList(FPM(tasks, c, convolutional_body(len(tasks) * c), fpm_mask) for c in channels[1:])
        self.aggregation = nn.ModuleDict({task: HRHead(channels, t.channels) for task, t in targets.items()})

    @classmethod
    def misfit(cls, options: Mapping[str, Any], strides: Sequence[int]) -> str:
        return needs_factor_two(strides)

    def forward(self, image: Tensor) -> Outputs:
        pyramid = [widen(x) for widen, x in zip(self.widen, self.backbone(image), strict=True)]
        distilled, initial = [], []  # coarsest first
        coarser = None
        for k in reversed(range(len(pyramid))):
            features, predictions = self.heads[k](pyramid[k], coarser)
            distilled.append(self.distill[k](features))
            initial.append(predictions)
            if k > 0:
                coarser = self.fpm[k - 1](features)
        final = {
            task: upsample(head([scale[task] for scale in reversed(distilled)]), size_of(image))
            for task, head in self.aggregation.items()
        }
        return Outputs(final, auxiliary=initial[::-1], label_logits={})
