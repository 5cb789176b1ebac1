"""Errors of depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import require_same_shape
from mtlbench.benchmarks.tasks.metric import ScoreType, pixel_sum, safe_ratio, safe_root, undefined_where

LEAST = 1e-9  # metres; a prediction below it has no logarithm


@dataclass(frozen=True)
class DepthErrors:
    """Errors of depth over the pixels with label > 0. prediction and label are in metres, [B, 1, H, W].

    ``rmse`` (metres) is pooled: it is the root of the mean over all pixels of the split, as in the multi-task papers.
    ``rmse_image_mean`` is another, smaller number: the mean of the RMSE of each image. ``rmse_log`` takes the natural
    logarithm, and ``delta1..3`` are the percentages of pixels with max(p/d, d/p) < 1.25^k (Eigen et al., NeurIPS 2014).
    In ``rmse_log`` and ``delta1..3`` a prediction below 1e-9 counts as 1e-9, and in the other scores a negative
    prediction counts as it is. An infinite prediction is no depth, and leaves every score undefined.
    """

    primary: ClassVar[str] = "rmse"
    expensive: ClassVar[bool] = False
    score_types: ClassVar[Mapping[str, ScoreType]] = {
        "rmse": ScoreType(False, "RMSE", "m", 3),
        "rmse_log": ScoreType(False, "RMSE of the logarithm", "", 3),
        "abs_rel": ScoreType(False, "relative error", "", 3),
        "rmse_image_mean": ScoreType(False, "mean RMSE of the images", "m", 3),
        "delta1": ScoreType(True, "ratio below 1.25", "%", 2),
        "delta2": ScoreType(True, "ratio below 1.25²", "%", 2),
        "delta3": ScoreType(True, "ratio below 1.25³", "%", 2),
    }
    definition: ClassVar[str] = (
        "Errors over all pixels of the split with label > 0, without crop or cap, in metres: rmse and rmse_log "
        "(natural logarithm) are roots of pooled means, rmse_image_mean is the mean of the images' rmse; delta1, 2, 3 "
        "are percentages with ratio < 1.25, 1.25^2, 1.25^3; ratio and logarithm are of predictions of at least 1e-9, "
        "all other errors of predictions as they are, negative ones included."
    )

    def published(self) -> PublishedDepthErrors:
        return PublishedDepthErrors()

    def depth(self, prediction: Tensor) -> Tensor:
        """The depths whose errors count."""
        return prediction

    def statistics(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Pixels; sums of squared, squared log and relative errors; pixels within each ratio; images; their RMSE."""
        require_same_shape(prediction, label)
        valid = label > 0  # [B, 1, H, W]
        depth = torch.where(valid, label.double(), 1)
        predicted = self.depth(torch.where(valid, prediction.double(), 1))  # both are 1 at an invalid pixel: no error
        error = predicted - depth
        ratio = predicted.clamp_min(LEAST) / depth
        largest_ratio = torch.maximum(ratio, 1 / ratio)
        num_pixels = pixel_sum(valid)
        squared = pixel_sum(error.square())
        within = [pixel_sum(valid & (largest_ratio < 1.25**k)) for k in (1, 2, 3)]
        statistics = torch.stack(
            [
                num_pixels,
                squared,
                pixel_sum(ratio.log().square()),
                pixel_sum(error.abs() / depth),
                *within,
                (num_pixels > 0).double(),
                (squared / num_pixels.clamp_min(1)).sqrt(),
            ],
            dim=1,
        )
        return undefined_where(~predicted.isfinite(), statistics)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        num_pixels, squared, squared_log, relative, *within, num_images, image_rmse = total
        return {
            "rmse": safe_root(safe_ratio(squared, num_pixels)),
            "rmse_log": safe_root(safe_ratio(squared_log, num_pixels)),
            "abs_rel": safe_ratio(relative, num_pixels),
            "rmse_image_mean": safe_ratio(image_rmse, num_images),
        } | {f"delta{k}": 100 * safe_ratio(count, num_pixels) for k, count in enumerate(within, start=1)}


@dataclass(frozen=True)
class PublishedDepthErrors(DepthErrors):
    """As in MTI-Net's code: a prediction below 1e-9 counts as 1e-9 in every score."""

    definition: ClassVar[str] = (
        "Errors over all pixels of the split with label > 0, without crop or cap, in metres: rmse and rmse_log "
        "(natural logarithm) are roots of pooled means, rmse_image_mean is the mean of the images' rmse; delta1, 2, 3 "
        "are percentages with ratio < 1.25, 1.25^2, 1.25^3; all of predictions of at least 1e-9."
    )

    def depth(self, prediction: Tensor) -> Tensor:
        return prediction.clamp_min(LEAST)
