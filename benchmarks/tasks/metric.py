"""Metrics as sums: an image becomes a vector of statistics, and the sum of the vectors becomes numbers.

Because statistics add, a score cannot depend on batches, processes, padding or resumption. Everything is float64 and
at the resolution of the label it is given. Undefined scores are NaN: no valid pixel, or a class that occurs nowhere.
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
    """What a score is to its reader, whatever its value. Records carry it, so that a report needs no list of metrics.

    Only the direction is part of a score's protocol: how a number is printed changes nothing about it.
    """

    higher_is_better: bool
    title: str  # the name of the score in tables and figures: "mIoU"
    unit: str  # "%", "m", "°"; "" for a number that has none
    decimals: int  # that tables print


class Metric(Protocol):
    """Maps an image to a vector, and the sum of the vectors over images to scores."""

    @property
    def primary(self) -> str:
        """The score that enters Eq. (6)."""

    @property
    def score_types(self) -> Mapping[str, ScoreType]:
        """Score -> its direction, title, unit and decimals, the primary score first; its keys are the scores."""

    @property
    def expensive(self) -> bool:
        """True: an ExpensiveMetric, computed at the last evaluation only, by processes that hold no GPU."""

    @property
    def definition(self) -> str:
        """One sentence that fixes the numbers: formula, classes, mask, thresholds, unit."""

    def statistics(self, prediction: Tensor, label: Tensor) -> Tensor:
        """prediction [B, C, H, W] and label at the same size -> float64 [B, S], on the inputs' device."""

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Statistics summed over images, [S] -> scalars; NaN where undefined. Differentiable in `total`."""


@runtime_checkable
class ExpensiveMetric(Metric, Protocol):
    """A metric in two steps: a cheap one where the prediction is, and a slow one later that needs nothing else."""

    def condense(self, prediction: Tensor, label: Tensor) -> Tensor:
        """All that the statistics depend on, as few bytes: uint8 [B, ...], on the inputs' device."""

    def statistics_of(self, condensed: NDArray[np.uint8]) -> NDArray[np.float64]:
        """One image of `condense`, [...] -> [S], on a CPU. Equal to the image's row of `statistics`."""


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

    Row by row: the order of additions, and with it the last bit, is then that of a batch of one.
    """
    return image.sum(-1, dtype=torch.float64).sum(-1).flatten()


def undefined_where(broken: Tensor, statistics: Tensor) -> Tensor:
    """Statistics [B, S] made NaN for each image with a pixel that is `broken`, bool [B, ...].

    Comparisons are false for NaN: a network that diverged would be scored as if it had predicted something.
    """
    return torch.where(broken.flatten(1).any(1, keepdim=True), math.nan, statistics)


def safe_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, NaN where the latter is 0, and a gradient of zero there instead of NaN."""
    defined = denominator != 0
    return torch.where(defined, numerator / torch.where(defined, denominator, 1), math.nan)


def safe_root(value: Tensor) -> Tensor:
    """The square root with a gradient of zero at 0, where a perfect prediction would have an infinite one."""
    perfect = value == 0
    return torch.where(perfect, 0, torch.where(perfect, 1, value).sqrt())
