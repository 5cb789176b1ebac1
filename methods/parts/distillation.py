"""Multi-modal distillation: tasks pass features to each other through spatial attention.

PAD-Net uses it once, and MTI-Net uses it at each scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SpatialAttention(nn.Module):
    """sigmoid(conv(x)) * conv(x), both 3x3 without bias or norm. [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.message = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        message: Tensor = self.message(x)
        return torch.sigmoid(self.gate(x)) * message


class Distillation(nn.Module):
    """Each task adds a gated message from every other task to its features.

    Every ordered pair of tasks has its own weights. task -> [B, C, H, W] in, the same shapes out. The features of a
    single task pass unchanged.
    """

    def __init__(self, tasks: Sequence[str], channels: int) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {
                target: nn.ModuleDict({source: SpatialAttention(channels) for source in tasks if source != target})
                for target in tasks
            }
        )

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        distilled = {}
        for target, sources in self.attention.items():
            assert isinstance(sources, nn.ModuleDict)
            messages = (attend(features[source]) for source, attend in sources.items())
            distilled[target] = sum(messages, start=features[target])
        return distilled
