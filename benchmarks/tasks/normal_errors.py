"""Angles between normals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import require_same_shape
from mtlbench.benchmarks.tasks.metric import ScoreType, bin_counts, pixel_sum, safe_ratio, safe_root, undefined_where


@dataclass(frozen=True)
class NormalErrors:
    """Angles between normals, in degrees, over the pixels with a label. prediction, label [B, 3, H, W] of any length.

    The angle is 2 atan2(|a - b|, |a + b|) of the unit vectors, because the arc cosine loses everything below 0.03
    degrees in float32. A zero prediction is 90 degrees off. ``median_angle`` is the lower median. It is read from a
    histogram whose bins are centred on multiples of 0.1 degrees, so it is exact to 0.05 degrees.
    """

    primary: ClassVar[str] = "mean_angle"
    expensive: ClassVar[bool] = False
    score_types: ClassVar[Mapping[str, ScoreType]] = {
        "mean_angle": ScoreType(False, "mean angle", "°", 2),
        "median_angle": ScoreType(False, "median angle", "°", 2),
        "rmse_angle": ScoreType(False, "RMSE of the angle", "°", 2),
        "within_11_25": ScoreType(True, "angle below 11.25°", "%", 2),
        "within_22_5": ScoreType(True, "angle below 22.5°", "%", 2),
        "within_30": ScoreType(True, "angle below 30°", "%", 2),
    }
    definition: ClassVar[str] = (
        "Angle in degrees between predicted and labelled normals over all pixels of the split with a non-zero label, "
        "a zero prediction counting 90; median from bins of 0.1 degrees; within_* are percentages strictly below."
    )

    _BINS: ClassVar[int] = 1801  # 0, 0.1, ..., 180 degrees

    def statistics(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Pixels, sums of angles and squared angles, pixels within 11.25, 22.5, 30 degrees, histogram: [B, 1807]."""
        require_same_shape(prediction, label)
        valid = (label != 0).any(dim=1, keepdim=True)  # [B, 1, H, W]
        a, b = _unit(prediction.double()), _unit(label.double())  # [B, 3, H, W]
        angle = torch.rad2deg(2 * torch.atan2(_length(a - b), _length(a + b)))
        angle = torch.where(valid, angle, 0)  # [B, 1, H, W]
        bins = torch.where(valid, angle.nan_to_num() * 10, self._BINS).round().long()
        within = [pixel_sum(valid & (angle < limit)) for limit in (11.25, 22.5, 30)]
        sums = torch.stack([pixel_sum(valid), pixel_sum(angle), pixel_sum(angle.square()), *within], dim=1)
        statistics = torch.cat([sums, bin_counts(bins, self._BINS + 1)[:, :-1]], dim=1)
        return undefined_where(angle.isnan(), statistics)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        (num_pixels, angle, squared, *within), histogram = total[:6], total[6:]
        # The first bin at which half of the pixels are counted. It is a step function, so it has no gradient.
        median = (histogram.detach().cumsum(0) < num_pixels.detach() / 2).sum().double() / 10
        return {
            "mean_angle": safe_ratio(angle, num_pixels),
            "median_angle": torch.where(num_pixels > 0, median, math.nan),
            "rmse_angle": safe_root(safe_ratio(squared, num_pixels)),
        } | {
            name: 100 * safe_ratio(count, num_pixels)
            for name, count in zip(("within_11_25", "within_22_5", "within_30"), within, strict=True)
        }


def _length(vector: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1, H, W]. It is several times as fast as vector_norm over a strided dimension."""
    x, y, z = vector.square().split_with_sizes([1, 1, 1], dim=1)
    return (x + y + z).sqrt()


def _unit(vector: Tensor) -> Tensor:
    """[B, 3, H, W] -> the same directions with unit length; a zero vector stays zero."""
    length = _length(vector)
    return vector / torch.where(length == 0, 1, length)
