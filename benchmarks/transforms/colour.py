"""Photometric draws change brightness, contrast, saturation and hue."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # BT.601


class Colour(NamedTuple):
    """A photometric draw on values in 0..255. The steps come in this order; the default changes nothing."""

    brightness: float = 0.0  # added
    contrast: float = 1.0  # factor
    saturation: float = 1.0  # factor on the distance from grey
    hue: float = 0.0  # degrees about the grey axis


def draw_colour(*pairs: list[float]) -> Colour:
    """Draws from ATRC's ranges, each with probability 1/2. ATRC's +-18 of OpenCV's 180 hue steps are +-36 degrees."""
    ranges = ((-32.0, 32.0), (0.5, 1.5), (0.5, 1.5), (-36.0, 36.0))
    return Colour(
        *(
            between(*bounds, value) if coin < 0.5 else neutral
            for bounds, neutral, (coin, value) in zip(ranges, Colour(), pairs, strict=True)
        )
    )


def recolour(image: Tensor, colour: Colour) -> Tensor:
    """An image uint8 [3, H, W] after one 3x3 matrix and an offset, clipped once at the end.

    Saturation and hue act about the grey axis of RGB; a round trip through HSV costs ten times as much.
    """
    grey = torch.tensor([LUMA]).expand(3, 3)
    saturate = colour.saturation * torch.eye(3) + (1 - colour.saturation) * grey
    matrix = colour.contrast * _hue_rotation(colour.hue) @ saturate
    offset = torch.full((3, 1), colour.contrast * colour.brightness)  # grey stays grey under saturation and hue
    pixels = image.reshape(3, -1).float()
    return torch.addmm(offset, matrix, pixels).round_().clamp_(0, 255).to(torch.uint8).view(image.shape)


def _hue_rotation(degrees: float) -> Tensor:
    """Rotation of RGB about (1, 1, 1) by Rodrigues' formula, float32 [3, 3]."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    return cos * torch.eye(3) + sin * cross + (1 - cos) / 3 * torch.ones(3, 3)


def between(low: float, high: float, fraction: float) -> float:
    return low + (high - low) * fraction
