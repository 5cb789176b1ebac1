"""Metrics as sums: an image becomes a vector of statistics, and the sum of the vectors becomes numbers.

Because statistics add, a score cannot depend on batches, processes, padding or resumption. Everything is float64 and
at the resolution of the label it is given. Undefined scores are NaN: no valid pixel, or a class that occurs nowhere.
"""

# B batch, C classes, H W rows and columns, N = H*W pixels, S statistics, T thresholds

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IGNORE = 255
BETA2 = 0.3  # of maxf


class Metric(Protocol):
    """Maps an image to a vector, and the sum of the vectors over images to scores."""

    @property
    def primary(self) -> str:
        """The score that enters Eq. (6)."""

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """Score -> direction, for every score; its keys are the scores."""

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


@dataclass(frozen=True)
class MeanIoU:
    """Intersection over union, its mean over classes, and pixel accuracy, in percent, from one confusion count.

    prediction logits [B, C, H, W]; label integer [B, H, W] with 255 void. A class that occurs neither in the labels
    nor in the predictions of the whole split is left out of the mean; the authors' code counts it as 0.
    Scores: ``miou``, ``pixel_accuracy`` and ``iou/<class>``, with indices for classes without names.
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
    def higher_is_better(self) -> Mapping[str, bool]:
        return {"miou": True, "pixel_accuracy": True} | {f"iou/{name}": True for name in self.names}

    @property
    def definition(self) -> str:
        return (
            f"Intersection over union of {self.num_classes} classes, counted over all pixels of the split that are not "
            f"{IGNORE}; miou is its mean without the classes found in neither labels nor predictions; percent."
        )

    def statistics(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Pixels of each class in (label and prediction, prediction, label): [B, 3 C].

        Raises ValueError for a label that is neither a class nor 255, unless it is on a GPU already, where a look would
        make the host wait: see `require_classes`.
        """
        if not label.is_cuda:
            require_classes(label, self.num_classes)
        best, predicted = prediction.max(dim=1)  # three times as fast as argmax, and NaN shows in `best`
        return _undefined_where(best.isnan() & (label != IGNORE), self.counts(predicted, label))

    def counts(self, predicted: Tensor, label: Tensor) -> Tensor:
        """The statistics of classes that are decided already: predicted and label integer [B, H, W]."""
        # Narrow integers, and no mask: void pixels are counted in rows that are dropped.
        cell = torch.add(predicted.int(), label.int(), alpha=self.num_classes)
        cells = _count(cell, (IGNORE + 1) * self.num_classes)
        confusion = cells.view(-1, IGNORE + 1, self.num_classes)[:, : self.num_classes]  # label x prediction
        return torch.cat([confusion.diagonal(dim1=1, dim2=2), confusion.sum(1), confusion.sum(2)], dim=1)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        intersection, predicted, labelled = total.view(3, self.num_classes)
        iou = _ratio(intersection, predicted + labelled - intersection)  # [C], NaN for an absent class
        return {
            "miou": 100 * iou.nanmean(),
            "pixel_accuracy": 100 * _ratio(intersection.sum(), labelled.sum()),
        } | {f"iou/{name}": 100 * value for name, value in zip(self.names, iou, strict=True)}


@dataclass(frozen=True)
class DepthErrors:
    """Errors of depth over the pixels with label > 0. prediction and label in metres [B, 1, H, W].

    ``rmse`` (metres) is pooled: the root of the mean over all pixels of the split, as in the multi-task papers. The
    mean of the images' own RMSE is another, smaller number: ``rmse_image_mean``. ``rmse_log`` takes the natural
    logarithm, ``delta1..3`` are the percentages of pixels with max(p/d, d/p) < 1.25^k (Eigen et al., NeurIPS 2014);
    for these two a prediction below 1e-9 counts as 1e-9. An infinite prediction is no depth: no score is defined then.
    """

    primary: ClassVar[str] = "rmse"
    expensive: ClassVar[bool] = False
    higher_is_better: ClassVar[Mapping[str, bool]] = {
        "rmse": False,
        "rmse_log": False,
        "abs_rel": False,
        "rmse_image_mean": False,
        "delta1": True,
        "delta2": True,
        "delta3": True,
    }
    definition: ClassVar[str] = (
        "Errors over all pixels of the split with label > 0, without crop or cap, in metres: rmse and rmse_log "
        "(natural logarithm) are roots of pooled means, rmse_image_mean is the mean of the images' rmse; delta1, 2, 3 "
        "are percentages with ratio < 1.25, 1.25^2, 1.25^3; ratio and logarithm of predictions of at least 1e-9."
    )

    def statistics(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Pixels, sums of squared, squared log and relative errors, pixels within each ratio, images, their RMSE."""
        assert prediction.shape == label.shape, f"prediction {list(prediction.shape)}, label {list(label.shape)}"
        valid = label > 0  # [B, 1, H, W]
        depth = torch.where(valid, label.double(), 1)
        predicted = torch.where(valid, prediction.double(), 1)  # equal where invalid: no error
        error = predicted - depth
        ratio = predicted.clamp_min(1e-9) / depth
        largest_ratio = torch.maximum(ratio, 1 / ratio)
        num_pixels = _sum(valid)
        squared = _sum(error.square())
        within = [_sum(valid & (largest_ratio < 1.25**k)) for k in (1, 2, 3)]
        statistics = torch.stack(
            [
                num_pixels,
                squared,
                _sum(ratio.log().square()),
                _sum(error.abs() / depth),
                *within,
                (num_pixels > 0).double(),
                (squared / num_pixels.clamp_min(1)).sqrt(),
            ],
            dim=1,
        )
        return _undefined_where(~predicted.isfinite(), statistics)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        num_pixels, squared, squared_log, relative, *within, num_images, image_rmse = total
        return {
            "rmse": _root(_ratio(squared, num_pixels)),
            "rmse_log": _root(_ratio(squared_log, num_pixels)),
            "abs_rel": _ratio(relative, num_pixels),
            "rmse_image_mean": _ratio(image_rmse, num_images),
        } | {f"delta{k}": 100 * _ratio(count, num_pixels) for k, count in enumerate(within, start=1)}


@dataclass(frozen=True)
class NormalErrors:
    """Angles between normals, in degrees, over the pixels with a label. prediction, label [B, 3, H, W] of any length.

    The angle is 2 atan2(|a - b|, |a + b|) of the unit vectors: the arc cosine loses everything below 0.03 degrees in
    float32. A zero prediction is 90 degrees off. ``median_angle`` is the lower median, read from a histogram whose
    bins are centred on multiples of 0.1 degrees, hence exact to 0.05 degrees.
    """

    primary: ClassVar[str] = "mean_angle"
    expensive: ClassVar[bool] = False
    higher_is_better: ClassVar[Mapping[str, bool]] = {
        "mean_angle": False,
        "median_angle": False,
        "rmse_angle": False,
        "within_11_25": True,
        "within_22_5": True,
        "within_30": True,
    }
    definition: ClassVar[str] = (
        "Angle in degrees between predicted and labelled normals over all pixels of the split with a non-zero label, "
        "a zero prediction counting 90; median from bins of 0.1 degrees; within_* are percentages strictly below."
    )

    _BINS: ClassVar[int] = 1801  # 0, 0.1, ..., 180 degrees

    def statistics(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Pixels, sums of angles and squared angles, pixels within 11.25, 22.5, 30 degrees, histogram: [B, 1807]."""
        assert prediction.shape == label.shape, f"prediction {list(prediction.shape)}, label {list(label.shape)}"
        valid = (label != 0).any(dim=1, keepdim=True)  # [B, 1, H, W]
        a, b = _unit(prediction.double()), _unit(label.double())  # [B, 3, H, W]
        angle = torch.rad2deg(2 * torch.atan2(_length(a - b), _length(a + b)))
        angle = torch.where(valid, angle, 0)  # [B, 1, H, W]
        bins = torch.where(valid, angle.nan_to_num() * 10, self._BINS).round().long()
        within = [_sum(valid & (angle < limit)) for limit in (11.25, 22.5, 30)]
        sums = torch.stack([_sum(valid), _sum(angle), _sum(angle.square()), *within], dim=1)
        statistics = torch.cat([sums, _count(bins, self._BINS + 1)[:, :-1]], dim=1)
        return _undefined_where(angle.isnan(), statistics)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        (num_pixels, angle, squared, *within), histogram = total[:6], total[6:]
        # The first bin by which half of the pixels are counted; a step function, so it has no gradient.
        median = (histogram.detach().cumsum(0) < num_pixels.detach() / 2).sum().double() / 10
        return {
            "mean_angle": _ratio(angle, num_pixels),
            "median_angle": torch.where(num_pixels > 0, median, math.nan),
            "rmse_angle": _root(_ratio(squared, num_pixels)),
        } | {
            name: 100 * _ratio(count, num_pixels)
            for name, count in zip(("within_11_25", "within_22_5", "within_30"), within, strict=True)
        }


@dataclass(frozen=True)
class Saliency:
    """Two scores of salient objects, in percent, which the literature does not always tell apart.

    prediction logit [B, 1, H, W], label integer [B, H, W] in {0, 1} with 255 void; p = sigmoid(prediction).
    ``maxf``: precision and recall of p >= t over all pixels of the split, F with beta^2 = 0.3, best of t = 0.05, 0.1,
    ..., 0.95 (ATRC); NaN without a salient pixel in the split. ``max_miou``: Jaccard of p > t for each image, 1 where
    both are empty, averaged over the images with a valid pixel, best of t = 0.2, 0.25, ..., 0.9 (MTI-Net).
    """

    primary: ClassVar[str] = "maxf"
    expensive: ClassVar[bool] = False
    higher_is_better: ClassVar[Mapping[str, bool]] = {"maxf": True, "max_miou": True}
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
        assert probability.shape == label.shape, f"prediction {list(prediction.shape)}, label {list(label.shape)}"
        valid, salient = label != IGNORE, label == 1
        num_salient = _sum(salient)[:, None]  # [B, 1]
        true, positive = _above(probability, valid, salient, *self._F_STEPS, reached=True)
        both, predicted = _above(probability, valid, salient, *self._IOU_STEPS, reached=False)
        union = predicted + num_salient - both
        some = valid.any(2).any(1).double()[:, None]
        jaccard = some * torch.where(union > 0, both / union.clamp_min(1), 1)
        statistics = torch.cat([num_salient, true, positive, some, jaccard], dim=1)
        return _undefined_where(probability.isnan() & valid, statistics)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        f_steps, iou_steps = (last - first + 1 for first, last in (self._F_STEPS, self._IOU_STEPS))
        num_salient, true, positive, num_images, jaccard = total.split_with_sizes([1, f_steps, f_steps, 1, iou_steps])
        # (1 + beta^2) P R / (beta^2 P + R) with P = true / positive and R = true / num_salient
        f = _ratio((1 + BETA2) * true, BETA2 * num_salient + positive)
        f = torch.where(num_salient > 0, f, math.nan)
        return {"maxf": 100 * f.amax(), "max_miou": 100 * _ratio(jaccard, num_images).amax()}


def _twentieths(first: int, last: int) -> str:
    return f"{first / 20:.2f}, {(first + 1) / 20:.2f}, ..., {last / 20:.2f}"


def require_classes(label: Tensor, num_classes: int) -> None:
    """Raise ValueError for a value of a label, integer of any shape, that is neither a class nor 255."""
    if label.dtype == torch.uint8 and (label + 1).max() <= num_classes:
        return  # 255 wraps to 0; thirty times as fast as what follows
    lowest, highest = torch.where(label != IGNORE, label, 0).aminmax()
    if lowest < 0 or highest >= num_classes:
        stray = int(lowest if lowest < 0 else highest)
        raise ValueError(f"label {stray} is neither a class in 0..{num_classes - 1} nor {IGNORE}")


def _above(
    probability: Tensor, valid: Tensor, positive: Tensor, first: int, last: int, *, reached: bool
) -> tuple[Tensor, Tensor]:
    """Pixels above each threshold first/20..last/20, [B, T]: those with a positive label, and all valid ones.

    Above means >= if a threshold may be `reached`, otherwise >. One count of pixels between neighbouring thresholds
    serves all of them.
    """
    thresholds = torch.arange(first, last + 1, device=probability.device, dtype=torch.float64) / 20
    bins = len(thresholds) + 1
    level = torch.bucketize(probability, thresholds, right=reached)  # thresholds below the probability
    kind = torch.where(valid, positive.long(), 2)
    counts = _count(kind * bins + level, 3 * bins).view(-1, 3, bins)
    above = counts.flip(2).cumsum(2).flip(2)[:, :, 1:]  # [B, 3, T]
    return above[:, 1], above[:, 0] + above[:, 1]


def _count(index: Tensor, bins: int) -> Tensor:
    """How often each bin occurs in each image: integer [B, ...] in [0, bins) -> float64 [B, bins]."""
    index = index.flatten(1)
    if index.is_cuda:  # bincount would make the host wait for the largest index
        index = index.long()
        counts = torch.zeros(len(index), bins, device=index.device, dtype=torch.int64)
        return counts.scatter_add_(1, index, torch.ones_like(index)).double()
    return torch.stack([torch.bincount(image, minlength=bins) for image in index]).double()


def _sum(image: Tensor) -> Tensor:
    """[B, 1, H, W] or [B, H, W] -> float64 [B].

    Row by row: the order of additions, and with it the last bit, is then that of a batch of one.
    """
    return image.sum(-1, dtype=torch.float64).sum(-1).flatten()


def _length(vector: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1, H, W]; several times as fast as vector_norm over a strided dimension."""
    x, y, z = vector.square().split_with_sizes([1, 1, 1], dim=1)
    return (x + y + z).sqrt()


def _unit(vector: Tensor) -> Tensor:
    """[B, 3, H, W] -> the same of unit length; the zero vector stays."""
    length = _length(vector)
    return vector / torch.where(length == 0, 1, length)


def _undefined_where(broken: Tensor, statistics: Tensor) -> Tensor:
    """Statistics [B, S] made NaN for each image with a pixel that is `broken`, bool [B, ...].

    Comparisons are false for NaN: a network that diverged would be scored as if it had predicted something.
    """
    return torch.where(broken.flatten(1).any(1, keepdim=True), math.nan, statistics)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, NaN where the latter is 0, and a gradient of zero there instead of NaN."""
    defined = denominator != 0
    return torch.where(defined, numerator / torch.where(defined, denominator, 1), math.nan)


def _root(value: Tensor) -> Tensor:
    """The square root with a gradient of zero at 0, where a perfect prediction would have an infinite one."""
    perfect = value == 0
    return torch.where(perfect, 0, torch.where(perfect, 1, value).sqrt())
