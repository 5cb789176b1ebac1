"""Cubic convolution of images (Keys, 1981, Eq. 4, with a = -0.75, as in OpenCV), one axis after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

A = -0.75


def weights(positions: NDArray[Any], length: int, *, repeat: bool) -> csr_array[Any]:
    """The operator [len(positions), length] that reads an axis of `length` pixels at positions between them.

    Pixel i has its centre at i + 0.5. repeat: the last pixel goes on beyond the border; otherwise there are zeros.
    """
    taps = np.floor(positions - 0.5).astype(int)[:, None] + np.arange(-1, 3)  # the four pixels around each position
    values = _keys(np.abs(positions[:, None] - 0.5 - taps))
    inside = (taps >= 0) & (taps < length)
    values = values if repeat else values * inside
    indices, ends = taps.clip(0, length - 1).ravel(), np.arange(0, 4 * len(positions) + 1, 4)
    return csr_array((values.astype(np.float32).ravel(), indices, ends), shape=(len(positions), length))


def resampled(image: Tensor, rows: csr_array[Any], columns: csr_array[Any], fill: tuple[float, float, float]) -> Tensor:
    """An image [3, H, W] after an operator for each axis, float32 [3, h, w]. fill: the colour that stands for zero."""
    colour = np.array(fill, dtype=np.float32)[:, None, None]
    pixels = image.numpy().astype(np.float32) - colour
    channels, height, width = pixels.shape
    pixels = rows @ pixels.transpose(1, 0, 2).reshape(height, channels * width)
    pixels = columns @ np.ascontiguousarray(pixels.reshape(-1, width).T)  # [w, h * channels]
    pixels = pixels.reshape(columns.shape[0], rows.shape[0], channels).transpose(2, 1, 0)
    return torch.from_numpy(np.ascontiguousarray(pixels) + colour)


def _keys(distance: NDArray[Any]) -> NDArray[Any]:
    """The weight of a pixel at a distance, in pixels."""
    near = (A + 2) * distance**3 - (A + 3) * distance**2 + 1
    far = A * distance**3 - 5 * A * distance**2 + 8 * A * distance - 4 * A
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
