"""Metrics are sums: each image becomes a vector of statistics, and the sum of the vectors becomes scores.

Because statistics add, a score cannot depend on batches, processes, padding or resumption. All statistics are float64
and are taken at the resolution of the label. A score is NaN where it is undefined: if no pixel is valid, or if a class
occurs nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ScoreType(NamedTuple):
    """How a score is read and printed. Records carry it, so that a report needs no list of metrics.

    Only the direction is part of the protocol of a score, because the way a number is printed does not change it.
    """

    higher_is_better: bool
    title: str  # the name of the score in tables and figures: "mIoU"
    unit: str  # "%", "m", "°"; "" for a number without a unit
    decimals: int  # as many as tables print


class Metric(Protocol):
    """Maps an image to a vector, and the sum of the vectors over images to scores."""

    @property
    def primary(self) -> str:
        """The score that enters Eq. (6)."""

    @property
    def score_types(self) -> Mapping[str, ScoreType]:
        """Score -> its direction, title, unit and decimals. The keys are all scores, and the primary score is first."""

    @property
    def expensive(self) -> bool:
        """True for an ExpensiveMetric: it is computed only at the last evaluation, by processes that hold no GPU."""

    @property
    def definition(self) -> str:
        """One sentence that fixes the numbers. It names the formula, classes, mask, thresholds and unit."""

    def statistics(self, prediction: Tensor, label: Tensor) -> Tensor:
        """prediction [B, C, H, W] and label at the same size -> float64 [B, S], on the inputs' device."""

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """The statistics summed over images, [S] -> scalars, NaN where undefined. It is differentiable in `total`."""


@runtime_checkable
class HasPublished(Protocol):
    """A metric that the published evaluations define in another way."""

    def published(self) -> Metric:
        """The metric by the definition of the published evaluations."""


@runtime_checkable
class ExpensiveMetric(Metric, Protocol):
    """A metric in two steps: a cheap step where the prediction is, and later a slow step that needs only its result."""

    def condense(self, prediction: Tensor, label: Tensor) -> Tensor:
        """All that the statistics depend on, in few bytes: uint8 [B, ...], on the inputs' device."""

    def statistics_of(self, condensed: NDArray[np.uint8]) -> NDArray[np.float64]:
        """One image of `condense`, [...] -> [S], on a CPU. The result equals the row of the image in `statistics`."""


def bin_counts(index: Tensor, bins: int) -> Tensor:
    """How often each bin occurs in each image: integer [B, ...] in [0, bins) -> float64 [B, bins]."""
    index = index.flatten(1)
    if index.is_cuda:  # bincount would make the host wait for the largest index
        index = index.long()
        counts = torch.zeros(len(index), bins, device=index.device, dtype=torch.int64)
        return counts.scatter_add_(1, index, torch.ones_like(index)).double()
    return torch.stack([torch.bincount(image, minlength=bins) for image in index]).double()


def pixel_sum(image: Tensor) -> Tensor:
    """[B, 1, H, W] or [B, H, W] -> float64 [B].

    It adds row by row, so that the order of additions, and with it the last bit, is the same as for a batch of one.
    """
    return image.sum(-1, dtype=torch.float64).sum(-1).flatten()


def undefined_where(broken: Tensor, statistics: Tensor) -> Tensor:
    """The statistics [B, S], with NaN for each image that has a `broken` pixel, bool [B, ...].

    Comparisons with NaN are false, so a network that diverged would otherwise be scored as if it had predicted
    something.
    """
    return torch.where(broken.flatten(1).any(1, keepdim=True), math.nan, statistics)


def safe_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator. Where the denominator is 0, the result is NaN and its gradient is 0 instead of NaN."""
    defined = denominator != 0
    return torch.where(defined, numerator / torch.where(defined, denominator, 1), math.nan)


def safe_root(value: Tensor) -> Tensor:
    """The square root, with a gradient of 0 at 0, where a perfect prediction would have an infinite gradient."""
    perfect = value == 0
    return torch.where(perfect, 0, torch.where(perfect, 1, value).sqrt())
