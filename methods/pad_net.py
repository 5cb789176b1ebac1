"""PAD-Net (Xu et al., CVPR 2018), as MTL-PyTorch builds it on HRNet."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.method import Method, Outputs, Target
from mtlbench.methods.parts.distillation import Distillation
from mtlbench.methods.parts.heads import HRFuse
from mtlbench.methods.parts.layers import bottleneck, size_of, upsample
from mtlbench.methods.parts.order import in_order

WIDTH = 256  # channels of a task's features


class PADNet(Method):
    """Initial predictions at stride 4 feed a distillation between tasks. The distillation feeds the final predictions.

    The initial predictions are supervised with the full weight of their task, as in MTL-PyTorch.
    """

    def __init__(self, backbone: Backbone, targets: Mapping[str, Target]) -> None:
        super().__init__()
        targets = in_order(targets)
        fused = sum(backbone.channels)
        self.backbone = backbone
        self.fuse = HRFuse(backbone.channels)
        self.initial = nn.ModuleDict({task: _refine(fused) for task in targets})
        self.predict_initial = nn.ModuleDict({task: nn.Conv2d(WIDTH, t.channels, 1) for task, t in targets.items()})
        self.distill = Distillation(list(targets), WIDTH)
        self.final = nn.ModuleDict({task: _refine(WIDTH) for task in targets})
        self.predict_final = nn.ModuleDict({task: nn.Conv2d(WIDTH, t.channels, 1) for task, t in targets.items()})

    def forward(self, image: Tensor) -> Outputs:
        fused = self.fuse(self.backbone(image))  # [B, 270, H/4, W/4]
        features = {task: refine(fused) for task, refine in self.initial.items()}
        initial = {task: predict(features[task]) for task, predict in self.predict_initial.items()}
        distilled = self.distill(features)
        final = {
            task: upsample(predict(self.final[task](distilled[task])), size_of(image))
            for task, predict in self.predict_final.items()
        }
        return Outputs(final, auxiliary=[initial], label_logits={})


def _refine(in_channels: int) -> nn.Sequential:
    return nn.Sequential(bottleneck(in_channels, WIDTH // 4), bottleneck(WIDTH, WIDTH // 4))
