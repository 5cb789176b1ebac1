"""Intersection over union of classes, computed from one confusion count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import IGNORE, require_classes
from mtlbench.benchmarks.tasks.metric import ScoreType, bin_counts, safe_ratio, undefined_where


@dataclass(frozen=True)
class MeanIoU:
    """Intersection over union, its mean over classes, and pixel accuracy, in percent, from one confusion count.

    prediction logits [B, C, H, W]; label integer [B, H, W] with 255 void. A class that occurs neither in the labels
    nor in the predictions of the whole split is left out of the mean.
    The scores are ``miou``, ``pixel_accuracy`` and ``iou/<class>``, with indices for classes without names.
    """

    num_classes: int
    class_names: tuple[str, ...] | None = None

    primary: ClassVar[str] = "miou"
    expensive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if len(set(self.names)) != self.num_classes:
            raise ValueError(f"class_names are {self.names}; {self.num_classes} different names are needed")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.num_classes))) if self.class_names is None else self.class_names

    @property
    def score_types(self) -> Mapping[str, ScoreType]:
        of_classes = {f"iou/{name}": ScoreType(True, f"IoU of {name}", "%", 2) for name in self.names}
        return {
            "miou": ScoreType(True, "mIoU", "%", 2),
            "pixel_accuracy": ScoreType(True, "pixel accuracy", "%", 2),
        } | of_classes

    @property
    def definition(self) -> str:
        return (
            f"Intersection over union of {self.num_classes} classes, counted over all pixels of the split that are not "
            f"{IGNORE}; miou is its mean without the classes found in neither labels nor predictions; percent."
        )

    def statistics(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Pixels of each class in (label and prediction, prediction, label): [B, 3 C].

        Raises ValueError for a label that is neither a class nor 255; see `require_classes`. A label that is on a GPU
        already is not checked, because the check would make the host wait.
        """
        if not label.is_cuda:
            require_classes(label, self.num_classes)
        best, predicted = prediction.max(dim=1)  # this is three times as fast as argmax, and NaN shows in `best`
        return undefined_where(best.isnan() & (label != IGNORE), self.counts(predicted, label))

    def counts(self, predicted: Tensor, label: Tensor) -> Tensor:
        """The statistics of predictions that are classes already: predicted and label integer [B, H, W]."""
        # The integers are narrow, and there is no mask: void pixels are counted in rows that are then dropped.
        cell = torch.add(predicted.int(), label.int(), alpha=self.num_classes)
        cells = bin_counts(cell, (IGNORE + 1) * self.num_classes)
        confusion = cells.view(-1, IGNORE + 1, self.num_classes)[:, : self.num_classes]  # label x prediction
        return torch.cat([confusion.diagonal(dim1=1, dim2=2), confusion.sum(1), confusion.sum(2)], dim=1)

    def published(self) -> PublishedMeanIoU:
        return PublishedMeanIoU(self.num_classes, self.class_names)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        intersection, predicted, labelled = total.view(3, self.num_classes)
        iou = self.iou(intersection, predicted + labelled - intersection)
        return {
            "miou": 100 * iou.nanmean(),
            "pixel_accuracy": 100 * safe_ratio(intersection.sum(), labelled.sum()),
        } | {f"iou/{name}": 100 * value for name, value in zip(self.names, iou, strict=True)}

    def iou(self, intersection: Tensor, union: Tensor) -> Tensor:
        """Pixels of each class [C] -> [C], NaN for a class that occurs nowhere."""
        return safe_ratio(intersection, union)


@dataclass(frozen=True)
class PublishedMeanIoU(MeanIoU):
    """As in MTI-Net's code: a class that occurs nowhere counts as 0."""

    @property
    def definition(self) -> str:
        return (
            f"Intersection over union of {self.num_classes} classes, counted over all pixels of the split that are not "
            f"{IGNORE}; miou is its mean, where a class found in neither labels nor predictions counts as 0; percent."
        )

    def iou(self, intersection: Tensor, union: Tensor) -> Tensor:
        """[C] -> [C], 0 for a class that occurs nowhere, and NaN if no pixel at all is labelled."""
        whole = union.sum()
        return intersection / union.clamp_min(1) + torch.where(whole == 0, math.nan, 0)
