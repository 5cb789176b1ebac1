"""Losses are pairs (sum, count), so that a batch can be cut anywhere: the objective adds both, then divides once.

Where labels are sparse, the mean of the means of the processes is not the mean over the batch. Every loss here takes a
prediction [B, C, H, W] and a label of the same height and width. It returns two scalars, in float32 or better: the sum
over the valid pixels, which carries the gradient, and the number of terms in the sum. Without a valid pixel the loss is
(0, 0), with a gradient of zero. Nothing here waits for the device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import IGNORE, require_same_shape

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # prediction [B, C, H, W], label -> (sum, count), scalars


def cross_entropy(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy over valid pixels: logits [B, C, H, W], label integer [B, H, W] with 255 ignored."""
    label = label.long()
    # The sum is taken outside, because the summing kernel for maps adds atomically on CUDA, in a new order each time.
    each = F.cross_entropy(_single(logits), label, ignore_index=IGNORE, reduction="none")
    return each.sum(), (label != IGNORE).sum().to(each.dtype)


def l1(prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Absolute error over the pixels with label > 0: prediction and label float [B, 1, H, W], in the same unit."""
    require_same_shape(prediction, label)
    prediction = _single(prediction)
    valid = label > 0
    error = torch.where(valid, (prediction - label).abs(), 0)
    return error.sum(), valid.sum().to(error.dtype)


def normals_l1(prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """L1 distance between the direction of the prediction and a unit normal, per vector *element*.

    prediction [B, 3, H, W] of any length; label [B, 3, H, W] of unit length, the zero vector ignored. The count is
    three for each valid pixel, so that the mean equals the mean in MTI-Net's code. It is a third of the mean in ATRC's
    code, which is taken per pixel. A prediction shorter than 1e-6 has no direction and is compared as it is, which
    bounds the gradient there.
    """
    require_same_shape(prediction, label)
    prediction = _single(prediction)
    length = torch.linalg.vector_norm(prediction, dim=1, keepdim=True)
    direction = prediction / torch.where(length > 1e-6, length, 1)
    valid = (label != 0).any(dim=1, keepdim=True)  # [B, 1, H, W]
    error = torch.where(valid, (direction - label).abs(), 0)
    return error.sum(), (3 * valid.sum()).to(error.dtype)


@dataclass(frozen=True)
class WeightedBinaryCrossEntropy:
    """Binary cross-entropy with weight w on positive and 1 - w on negative pixels, over valid pixels.

    logit [B, 1, H, W], label integer [B, H, W] in {0, 1} with 255 ignored. The count is the number of valid pixels,
    not the sum of their weights.
    """

    positive_weight: float  # w in (0, 1)

    def __call__(self, logit: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        return _binary_cross_entropy(logit, label, self.positive_weight)


def balanced_binary_cross_entropy(logit: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """The class-balanced loss of HED (Xie and Tu, ICCV 2015, Eq. 2): positives are weighted by the share of negatives.

    logit [B, 1, H, W], label integer [B, H, W] in {0, 1} with 255 ignored. The share is taken for each image, as in
    HED, whose batch is one image. The multi-task code takes the share over the batch. There the loss of an image
    depends on the other images of its batch, and the sum changes with the number of processes.
    """
    num_valid = (label != IGNORE).sum(dim=(1, 2), keepdim=True)  # [B, 1, 1]
    num_negative = (label == 0).sum(dim=(1, 2), keepdim=True)
    return _binary_cross_entropy(logit, label, num_negative / num_valid.clamp_min(1))


@dataclass(frozen=True)
class TwoClasses:
    """A loss over one logit, applied to the logits [B, 2, H, W] of (negative, positive).

    The softmax of two classes is the sigmoid of the difference of their logits, so the result is exact.
    """

    binary: Loss

    def __call__(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        logits = _single(logits)
        return self.binary(logits[:, 1:] - logits[:, :1], label)


@dataclass(frozen=True)
class DepthBins:
    """Cross-entropy over depth cut into bins of equal ratio (ATRC): bin = floor(K ln(d / min) / ln(max / min)).

    logits [B, K, H, W], label in metres [B, 1, H, W] with 0 ignored. Depths outside [min, max] belong to the first
    and the last bin.
    """

    minimum: float
    maximum: float
    num_bins: int = 40

    def __call__(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        return cross_entropy(logits, self.bins(label))

    def bins(self, label: Tensor) -> Tensor:
        """Depth [B, 1, H, W] -> bins int64 [B, H, W], 255 where the depth is 0."""
        depth = label.squeeze(1)
        valid = depth > 0
        ratio = torch.where(valid, depth, self.minimum) / self.minimum
        bins = (ratio.log() * (self.num_bins / math.log(self.maximum / self.minimum))).floor()
        return torch.where(valid, bins.clamp(0, self.num_bins - 1).long(), IGNORE)


@dataclass(frozen=True)
class NormalClusters:
    """Cross-entropy over the nearest of K centroids of the training normals (ATRC), in Euclidean distance.

    logits [B, K, H, W], label [B, 3, H, W] of unit length, the zero vector ignored. Raises ValueError while the
    centroids are unknown.
    """

    centroids: tuple[tuple[float, float, float], ...] | None  # [K, 3]; None until they are learnt from training labels

    def __call__(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        return cross_entropy(logits, self.nearest(label))

    def nearest(self, label: Tensor) -> Tensor:
        """Normals [B, 3, H, W] -> indices of centroids int64 [B, H, W], 255 for the zero vector."""
        if self.centroids is None:
            raise ValueError(
                "normals: the centroids of the label loss are None; learn them from training labels and complete the "
                "task: task.fitted(task.learn(labels))"
            )
        x, y, z = _centroids(self.centroids, label.device)[:, :, None, None]  # [K, 1, 1] each
        # |n - c|^2 = |n|^2 - 2 (n . c - |c|^2 / 2). Written out, because autocast and TF32 would round a matmul.
        closeness = label[:, :1] * x + label[:, 1:2] * y + label[:, 2:] * z - (x * x + y * y + z * z) / 2
        valid = (label != 0).any(dim=1)
        return torch.where(valid, closeness.argmax(dim=1), IGNORE)


@functools.lru_cache(maxsize=8)  # copying to the device makes the host wait: this is done once a run, not at every step
def _centroids(centroids: tuple[tuple[float, float, float], ...], device: torch.device) -> Tensor:
    """float32 [3, K] on the device."""
    return torch.tensor(centroids, dtype=torch.float32, device=device).T


def _binary_cross_entropy(logit: Tensor, label: Tensor, positive_weight: float | Tensor) -> tuple[Tensor, Tensor]:
    """logit [B, 1, H, W], label [B, H, W], weight a number or [B, 1, 1]."""
    logit = _single(logit).squeeze(1)
    require_same_shape(logit, label)
    valid = label != IGNORE
    target = (label == 1).to(logit.dtype)
    weight = positive_weight * target + (1 - positive_weight) * (1 - target)
    each = F.binary_cross_entropy_with_logits(logit, target, weight * valid, reduction="none")
    return each.sum(), valid.sum().to(each.dtype)


def _single(prediction: Tensor) -> Tensor:
    """The prediction in float32 or better, because sums over a batch of maps overflow float16 and stall in bfloat16."""
    return prediction.to(torch.promote_types(prediction.dtype, torch.float32))
