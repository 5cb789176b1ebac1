"""The head of DeepLab v3, as MTL-PyTorch builds it on dilated ResNets: it reads the last map alone."""

# B batch, C channels, H W rows and columns of the last map

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtlbench.methods.parts.layers import conv_bn_relu, size_of, upsample

WIDTH = 256  # channels of each branch
DILATIONS = (12, 24, 36)  # of the branches with 3x3 convolutions, made for maps at stride 8


class ImagePooling(nn.Module):
    """The mean of each channel over the map, mixed and spread over the map again. [B, C, H, W] -> [B, WIDTH, H, W].

    In training, the batch norm sees one value of each channel and image, so a batch needs two images.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = conv_bn_relu(channels, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        return upsample(self.mix(x.mean((2, 3), keepdim=True)), size_of(x))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: five views of a map, concatenated and mixed. [B, C, H, W] -> [B, WIDTH, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv_bn_relu(channels, WIDTH, 1),
                *(_dilated(channels, dilation) for dilation in DILATIONS),
                ImagePooling(channels),
            ]
        )
        self.mix = conv_bn_relu(WIDTH * len(self.branches), WIDTH, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(torch.cat([branch(x) for branch in self.branches], dim=1))
        dropped: Tensor = self.dropout(mixed)
        return dropped


class DeepLabHead(nn.Module):
    """ASPP on the last of four maps, a 3x3 convolution, and a 1x1 convolution that predicts [B, out_channels, H, W].

    channels: of the four maps.
    """

    def __init__(self, channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.aspp = ASPP(channels[-1])
        self.trunk = conv_bn_relu(WIDTH, WIDTH, 3)
        self.predict = nn.Conv2d(WIDTH, out_channels, 1)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        prediction: Tensor = self.predict(self.trunk(self.aspp(pyramid[-1])))
        return prediction


def _dilated(channels: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, WIDTH, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(inplace=True),
    )
