"""The kinds of label. Everything that differs between class ids, single values and directions is a method here.

A new kind of label is one class in this file. Letters: B batch, C channels of a prediction, H W rows and columns.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

IGNORE = 255  # the class id of a pixel that has no label; the only place where this number is written

# The name of a colour map of matplotlib, and the numbers to look up in it: floats in [0, 1], or integers that are
# positions in the map. Returns colours float [..., 3], each channel in [0, 1].
Colours = Callable[[str, NDArray[Any]], NDArray[Any]]


class Motion(Protocol):
    """What a picture underwent, as far as it changes the values of a label and not only their places."""

    @property
    def flip(self) -> bool:
        """Whether left and right were exchanged, after everything else."""

    @property
    def zoom(self) -> float:
        """By what factor the picture was enlarged."""

    @property
    def degrees(self) -> float:
        """By what angle the picture was rotated, counter-clockwise as seen."""

    @property
    def normals_zoom(self) -> str:
        """ "consistent" where a zoom turns the normals too, "published" where a zoom leaves them alone."""


@dataclass(frozen=True)
class Kind(ABC):
    """A kind of label. Kinds have no state: two objects of one class are equal, and each can be a key and be pickled.

    What a kind does not override holds for a field: a label float32 [C, H, W] whose channels are all 0 at a pixel
    that has no label.
    """

    name: ClassVar[str]  # enters the hashes of protocols: a new name makes old scores another protocol's
    dtype: ClassVar[torch.dtype] = torch.float32
    invalid: ClassVar[int] = 0  # what every value of a pixel without a label is
    discrete: ClassVar[bool] = False  # whether the values are ids of classes
    directed: ClassVar[bool] = False  # whether the channels are axes in space, which a copy of the data may have named

    def shape(self, size: tuple[int, int], channels: int) -> tuple[int, ...]:
        """The shape of one label at `size` = (H, W), of a task whose predictions have `channels` channels."""
        return (channels, *size)

    def blank(self, size: tuple[int, int], channels: int) -> Tensor:
        """A label without a valid pixel, of this kind's dtype and shape."""
        return torch.full(self.shape(size, channels), self.invalid, dtype=self.dtype)

    def valid(self, label: Tensor) -> Tensor:
        """Where a label, with or without a batch dimension, is known: [..., C, H, W] -> bool [..., H, W]."""
        return (label != self.invalid).any(-3)

    def check(self, label: Tensor, classes: int) -> None:  # noqa: B027
        """Raise ValueError for a value of a label that none of `classes` classes has; a field may have any value."""

    def outside(self, label: Tensor, background: bool) -> int:
        """The value of the pixels beyond the borders of an image, once its `label` is moved.

        background: whether the surroundings of an image count as background, and not as pixels without a label.
        """
        return self.invalid

    def moved(self, label: Tensor, motion: Motion) -> Tensor:
        """The values of one label whose pixels were moved to their new places already; may change `label` in place."""
        return label

    @abstractmethod
    def random(self, shape: tuple[int, int, int], classes: int, device: torch.device | None = None) -> Tensor:
        """Random labels without an invalid pixel. shape = (B, H, W); a label of classes has ids below `classes`."""

    def sums(self, label: Tensor, channels: int) -> tuple[Tensor, int]:
        """What the constant prediction is made of: a sum over the valid pixels, float64 [S], and their number.

        label: one label, as `check` accepts it. Here S = C, and the sum is that of the values.
        """
        valid = self.valid(label)
        return label[:, valid].double().sum(1), int(valid.sum())

    def constant(self, mean: Tensor, channels: int) -> Tensor:
        """The best constant prediction [C], from `sums` over all images divided by the number of pixels, [S]."""
        return mean

    def answer(self, prediction: Tensor) -> Tensor:
        """What one prediction [C, H, W] decides, with no more values than that takes; of a field, all of them."""
        return prediction

    def values(self, prediction: Tensor) -> Tensor:
        """What one prediction [C, H, W] says, for people: the values that a label of this kind could have."""
        return self.answer(prediction)

    @abstractmethod
    def picture(self, values: NDArray[Any], colours: Colours) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] to look at, from an array of `values`."""


@dataclass(frozen=True)
class Label(Kind):
    """Ids of classes: uint8 [H, W], `IGNORE` where a pixel has no label. Several logits, or one of two classes."""

    name = "label"
    dtype = torch.uint8
    invalid = IGNORE
    discrete = True

    def shape(self, size: tuple[int, int], channels: int) -> tuple[int, ...]:
        return size

    def valid(self, label: Tensor) -> Tensor:
        return label != IGNORE

    def check(self, label: Tensor, classes: int) -> None:
        require_classes(label, classes)

    def outside(self, label: Tensor, background: bool) -> int:
        # A map without a single label, as of an image without people, gets none from its borders either.
        return 0 if background and bool(self.valid(label).any()) else IGNORE

    def random(self, shape: tuple[int, int, int], classes: int, device: torch.device | None = None) -> Tensor:
        return torch.randint(classes, shape, device=device).to(torch.uint8)

    def sums(self, label: Tensor, channels: int) -> tuple[Tensor, int]:
        """The number of pixels of each class: S = C, or 2 where a single logit tells two classes apart."""
        valid = label[self.valid(label)]
        return torch.bincount(valid.flatten().long(), minlength=max(2, channels)).double(), valid.numel()

    def constant(self, mean: Tensor, channels: int) -> Tensor:
        """Logits of the shares of the classes."""
        return torch.logit(mean[1:2], eps=1e-6) if channels == 1 else mean.clamp(min=1e-12).log()

    def answer(self, prediction: Tensor) -> Tensor:
        """[H, W]: of several logits the likeliest class, uint8; of a single one the probability, floating point."""
        return prediction.argmax(0).byte() if len(prediction) > 1 else prediction[0].sigmoid()

    def picture(self, values: NDArray[Any], colours: Colours) -> NDArray[np.uint8]:
        """Classes in twenty colours in turn, a probability in grey."""
        if np.issubdtype(values.dtype, np.integer):
            return _bytes(colours("tab20", values % 20))
        return _bytes(colours("gray", values))


@dataclass(frozen=True)
class Scalar(Kind):
    """One positive value a pixel, as a depth in metres: float32 [1, H, W], 0 where a pixel has no label."""

    name = "scalar"

    def moved(self, label: Tensor, motion: Motion) -> Tensor:
        """Divided by the zoom: the zoomed picture is that of a nearer surface through the same camera."""
        return label.div_(motion.zoom)

    def random(self, shape: tuple[int, int, int], classes: int, device: torch.device | None = None) -> Tensor:
        images, *size = shape
        return 1 + torch.rand(images, 1, *size, device=device)

    def values(self, prediction: Tensor) -> Tensor:
        """[H, W], in the label's unit."""
        return prediction[0]

    def picture(self, values: NDArray[Any], colours: Colours) -> NDArray[np.uint8]:
        """From the least value of the picture, dark, to its greatest."""
        low, high = float(values.min()), float(values.max())
        return _bytes(colours("viridis", (values - low) / max(high - low, 1e-6)))


@dataclass(frozen=True)
class Vector(Kind):
    """Unit vectors float32 [3, H, W]: x left, y up, z to the viewer. The zero vector where a pixel has no label."""

    name = "vector"
    directed = True

    def moved(self, label: Tensor, motion: Motion) -> Tensor:
        """Turned as the surface that they stand on; changed in place."""
        if motion.normals_zoom == "consistent" and motion.zoom != 1:
            label[2].mul_(motion.zoom)
            label.div_(label.square().sum(0).sqrt_().clamp_min_(1e-12))
        if motion.degrees != 0:
            cos, sin = math.cos(math.radians(motion.degrees)), math.sin(math.radians(motion.degrees))
            left, up = label[0].clone(), label[1].clone()
            # x points left: seen in this frame, counter-clockwise turns from up to left
            label[0] = cos * left + sin * up
            label[1] = cos * up - sin * left
        if motion.flip:
            label[0].neg_()
        return label

    def random(self, shape: tuple[int, int, int], classes: int, device: torch.device | None = None) -> Tensor:
        images, *size = shape
        return F.normalize(torch.randn(images, 3, *size, device=device), dim=1)

    def values(self, prediction: Tensor) -> Tensor:
        """Unit vectors [3, H, W]."""
        return F.normalize(prediction, dim=0)

    def picture(self, values: NDArray[Any], colours: Colours) -> NDArray[np.uint8]:
        """Red, green and blue grow with x, y and z, from -1 to 1."""
        return (np.moveaxis(values, 0, -1) * 127.5 + 127.5).astype(np.uint8)


def require_same_shape(prediction: Tensor, label: Tensor) -> None:
    """Raise ValueError where a prediction and a batch of labels, which are compared pixel by pixel, differ in shape.

    Without this check, broadcasting would compare every prediction with every label of a batch.
    """
    if prediction.shape != label.shape:
        raise ValueError(
            f"a prediction of shape {list(prediction.shape)} cannot be compared with labels of shape "
            f"{list(label.shape)}; give the labels the shape of the prediction"
        )


def require_classes(label: Tensor, num_classes: int) -> None:
    """Raise ValueError for a value of a label, integer of any shape, that is neither a class nor `IGNORE`."""
    if label.dtype == torch.uint8 and (label + 1).max() <= num_classes:
        return  # IGNORE wraps to 0; thirty times as fast as what follows
    lowest, highest = torch.where(label != IGNORE, label, 0).aminmax()
    if lowest < 0 or highest >= num_classes:
        stray = int(lowest if lowest < 0 else highest)
        raise ValueError(f"label {stray} is neither a class in 0..{num_classes - 1} nor {IGNORE}")


def _bytes(colours: NDArray[Any]) -> NDArray[np.uint8]:
    """Colours in [0, 1] -> uint8."""
    return (colours * 255).astype(np.uint8)
