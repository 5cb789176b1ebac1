"""Multi-modal distillation (PAD-Net; MTI-Net at each scale): tasks pass features on through spatial attention."""

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
    """Each task adds a gated message from every other task to its features; the weights are the ordered pair's own.

    task -> [B, C, H, W] in, the same out. One task: unchanged.
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
