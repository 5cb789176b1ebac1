"""Convolution blocks that several methods share. Their names and wiring are those of torchvision's ResNet blocks."""

# B batch, C channels, H W rows and columns

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize bilinearly without aligned corners, [B, C, h, w] -> [B, C, *size]. No method resamples in another way."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def size_of(x: Tensor) -> tuple[int, int]:
    """Rows and columns of a map."""
    return x.shape[-2], x.shape[-1]


def conv_bn(in_channels: int, out_channels: int, kernel: int, momentum: float = 0.1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels, momentum=momentum),
    )


def conv_bn_relu(in_channels: int, out_channels: int, kernel: int, momentum: float = 0.1) -> nn.Sequential:
    return nn.Sequential(*conv_bn(in_channels, out_channels, kernel, momentum), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """relu(body(x) + x); a 1x1 convolution matches the channels where they differ. [B, C, H, W] -> [B, C', H, W]."""

    def __init__(self, body: nn.Sequential, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = body
        self.shortcut = nn.Identity() if in_channels == out_channels else conv_bn(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def basic_block(in_channels: int, out_channels: int, momentum: float = 0.1) -> Residual:
    """Two 3x3 convolutions. momentum: of their batch norms. The batch norm of the shortcut keeps 0.1."""
    body = nn.Sequential(
        *conv_bn_relu(in_channels, out_channels, 3, momentum), *conv_bn(out_channels, out_channels, 3, momentum)
    )
    return Residual(body, in_channels, out_channels)


def bottleneck(in_channels: int, width: int) -> Residual:
    """A 1x1 convolution to `width` channels, a 3x3 convolution, and a 1x1 convolution to 4 * `width` channels."""
    body = nn.Sequential(
        *conv_bn_relu(in_channels, width, 1), *conv_bn_relu(width, width, 3), *conv_bn(width, 4 * width, 1)
    )
    return Residual(body, in_channels, 4 * width)


class SqueezeExcite(nn.Module):
    """Channel attention (Hu et al., CVPR 2018) with reduction 16. [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 16)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.gate(x.mean((2, 3)))  # [B, C]
        return x * gate[:, :, None, None]
