"""Scores of salient objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import IGNORE, require_same_shape
from mtlbench.benchmarks.tasks.metric import ScoreType, bin_counts, pixel_sum, safe_ratio, undefined_where

BETA2 = 0.3  # beta^2 of maxf


@dataclass(frozen=True)
class Saliency:
    """Two scores of salient objects, in percent, which the literature does not always tell apart.

    prediction logit [B, 1, H, W], label integer [B, H, W] in {0, 1} with 255 void; p = sigmoid(prediction).

    ``maxf`` (ATRC) takes precision and recall of p >= t over all pixels of the split, computes F with beta^2 = 0.3, and
    is the best F of t = 0.05, 0.1, ..., 0.95. It is NaN if the split has no salient pixel.

    ``max_miou`` (MTI-Net) takes the Jaccard index of p > t for each image, which is 1 if both sets are empty, averages
    it over the images with a valid pixel, and is the best mean of t = 0.2, 0.25, ..., 0.9.
    """

    primary: ClassVar[str] = "maxf"
    expensive: ClassVar[bool] = False
    score_types: ClassVar[Mapping[str, ScoreType]] = {
        "maxf": ScoreType(True, "maxF", "%", 2),
        "max_miou": ScoreType(True, "max mIoU", "%", 2),
    }
    _F_STEPS: ClassVar[tuple[int, int]] = (1, 19)  # thresholds in twentieths, first and last
    _IOU_STEPS: ClassVar[tuple[int, int]] = (4, 18)

    @property
    def definition(self) -> str:
        return (
            f"Over the pixels that are not {IGNORE}, thresholds on the sigmoid, percent; maxf: best F with beta^2 = "
            f"{BETA2:g} of thresholds {_twentieths(*self._F_STEPS)} (>=), precision and recall over all pixels of the "
            "split; max_miou: best mean over images of the Jaccard index (1 if both are empty) of thresholds "
            f"{_twentieths(*self._IOU_STEPS)} (>)."
        )

    def statistics(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Labelled pixels; true and all positives at 19 thresholds; images; Jaccard at 15 thresholds: [B, 55]."""
        probability = prediction.double().sigmoid().squeeze(1)  # [B, H, W]
        require_same_shape(probability, label)
        valid, salient = label != IGNORE, label == 1
        num_salient = pixel_sum(salient)[:, None]  # [B, 1]
        true, positive = _above(probability, valid, salient, *self._F_STEPS, reached=True)
        both, predicted = _above(probability, valid, salient, *self._IOU_STEPS, reached=False)
        union = predicted + num_salient - both
        some = valid.any(2).any(1).double()[:, None]
        jaccard = some * torch.where(union > 0, both / union.clamp_min(1), 1)
        statistics = torch.cat([num_salient, true, positive, some, jaccard], dim=1)
        return undefined_where(probability.isnan() & valid, statistics)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        f_steps, iou_steps = (last - first + 1 for first, last in (self._F_STEPS, self._IOU_STEPS))
        num_salient, true, positive, num_images, jaccard = total.split_with_sizes([1, f_steps, f_steps, 1, iou_steps])
        # (1 + beta^2) P R / (beta^2 P + R) with P = true / positive and R = true / num_salient
        f = safe_ratio((1 + BETA2) * true, BETA2 * num_salient + positive)
        f = torch.where(num_salient > 0, f, math.nan)
        return {"maxf": 100 * f.amax(), "max_miou": 100 * safe_ratio(jaccard, num_images).amax()}


def _twentieths(first: int, last: int) -> str:
    return f"{first / 20:.2f}, {(first + 1) / 20:.2f}, ..., {last / 20:.2f}"


def _above(
    probability: Tensor, valid: Tensor, positive: Tensor, first: int, last: int, *, reached: bool
) -> tuple[Tensor, Tensor]:
    """Pixels above each threshold first/20..last/20, [B, T]: the positive pixels, and all valid pixels.

    Above means >= if a threshold may be `reached`, otherwise >. All thresholds share one count of the pixels between
    neighbouring thresholds.
    """
    thresholds = torch.arange(first, last + 1, device=probability.device, dtype=torch.float64) / 20
    bins = len(thresholds) + 1
    level = torch.bucketize(probability, thresholds, right=reached)  # how many thresholds are below the probability
    kind = torch.where(valid, positive.long(), 2)
    counts = bin_counts(kind * bins + level, 3 * bins).view(-1, 3, bins)
    above = counts.flip(2).cumsum(2).flip(2)[:, :, 1:]  # [B, 3, T]
    return above[:, 1], above[:, 0] + above[:, 1]
