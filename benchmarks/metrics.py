"""Metrics as sums: an image becomes a vector of statistics, and the sum of the vectors becomes numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class Metric(Protocol):
    """Maps an image to a vector, and the sum of the vectors over images to scores.

    Because statistics add, a score cannot depend on batches, processes, padding or resumption.
    """

    primary: str  # the score that enters Eq. (6)
    higher_is_better: Mapping[str, bool]  # score -> direction, for every score; its keys are the scores
    expensive: bool  # computed at the last evaluation only, in a process pool
    definition: str  # one sentence that fixes the numbers: formula, classes, mask, thresholds, unit

    def statistics(self, prediction: Tensor, label: Tensor) -> Tensor:
        """prediction [B, C, H, W] and label at the same size -> float64 [B, S], on the inputs' device."""

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Statistics summed over images, [S] -> scalars; NaN where undefined. Differentiable in `total`."""
