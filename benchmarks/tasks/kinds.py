"""The kinds of label. Whatever differs between class ids, single values and directions is a method of a kind.

A new kind of label is one class in this file. Letters: B batch, C channels of a prediction, H W rows and columns.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255  # the class id of a pixel that has no label; this is the only place where the number is written

# A function that brings predictions [B, C, h, w] to another size, by the rule "nearest" or "bilinear".
Resize = Callable[[Tensor, Literal["nearest", "bilinear"]], Tensor]


class Motion(Protocol):
    """The moves of a picture that change the values of a label, and not only the places of the values."""

    @property
    def flip(self) -> bool:
        """Whether left and right were exchanged, after all other moves."""

    @property
    def zoom(self) -> float:
        """The factor by which the picture was enlarged."""

    @property
    def degrees(self) -> float:
        """The angle by which the picture was rotated, counter-clockwise as seen."""

    @property
    def normals_zoom(self) -> str:
        """ "consistent" if a zoom turns the normals too, "published" if a zoom leaves them as they are."""


@dataclass(frozen=True)
class Kind(ABC):
    """A kind of label. Kinds have no state: two objects of one class are equal, and each can be a key and be pickled.

    The methods of this class are right for a field: a label float32 [C, H, W] whose channels are all 0 at a pixel that
    has no label. Another kind overrides them.
    """

    name: ClassVar[str]  # enters the hashes of protocols, so that a new name makes another protocol
    dtype: ClassVar[torch.dtype] = torch.float32
    invalid: ClassVar[int] = 0  # every value of a pixel without a label
    discrete: ClassVar[bool] = False  # whether the values are ids of classes
    directed: ClassVar[bool] = False  # whether the channels are axes in space, which copies of the data may turn

    def shape(self, size: tuple[int, int], channels: int) -> tuple[int, ...]:
        """The shape of one label at `size` = (H, W), for a task whose predictions have `channels` channels."""
        return (channels, *size)

    def blank(self, size: tuple[int, int], channels: int) -> Tensor:
        """A label without a valid pixel, of this kind's dtype and shape."""
        return torch.full(self.shape(size, channels), self.invalid, dtype=self.dtype)

    def valid(self, label: Tensor) -> Tensor:
        """Where a label is known, with or without a batch dimension: [..., C, H, W] -> bool [..., H, W]."""
        return (label != self.invalid).any(-3)

    def check(self, label: Tensor, classes: int) -> None:  # noqa: B027
        """Raise ValueError if a value of a label is none of the `classes` classes; a field may have any value."""

    def outside(self, label: Tensor, background: bool) -> int:
        """The value of the pixels beyond the borders of an image after its `label` was moved.

        background: whether the surroundings of an image count as background, and not as pixels without a label.
        """
        return self.invalid

    def moved(self, label: Tensor, motion: Motion) -> Tensor:
        """The new values of one label whose pixels are in their new places already. May change `label` in place."""
        return label

    @abstractmethod
    def random(self, shape: tuple[int, int, int], classes: int, device: torch.device | None = None) -> Tensor:
        """Random labels without an invalid pixel. shape = (B, H, W). Ids of classes are below `classes`."""

    def sums(self, label: Tensor, channels: int) -> tuple[Tensor, int]:
        """The ingredients of the constant prediction: a sum over the valid pixels, float64 [S], and their number.

        label: one label, as `check` accepts it. Here S = C, and the values are summed.
        """
        valid = self.valid(label)
        return label[:, valid].double().sum(1), int(valid.sum())

    def constant(self, mean: Tensor, channels: int) -> Tensor:
        """The best constant prediction [C]. mean [S]: the `sums` of all images, divided by the number of pixels."""
        return mean

    def restored_as_published(self, prediction: Tensor, resize: Resize) -> Tensor:
        """Predictions [B, C, h, w] at another size [B, C, H, W], as the published evaluations bring them there.

        These write predictions into files at the network's size, and resize what they read. Their files of normals and
        probabilities have 8 bits, which is left out here.
        """
        return resize(prediction, "bilinear")

    def answer(self, prediction: Tensor) -> Tensor:
        """The decision of one prediction [C, H, W], in as few values as it takes; for a field, all values."""
        return prediction

    def values(self, prediction: Tensor) -> Tensor:
        """One prediction [C, H, W] for people to read, as values that a label of this kind could have."""
        return self.answer(prediction)


@dataclass(frozen=True)
class Label(Kind):
    """Ids of classes: uint8 [H, W], `IGNORE` where a pixel has no label. A prediction is one logit or several."""

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
        # A map without any label, such as the map of an image without people, gets no label from its borders either.
        return 0 if background and bool(self.valid(label).any()) else IGNORE

    def random(self, shape: tuple[int, int, int], classes: int, device: torch.device | None = None) -> Tensor:
        return torch.randint(classes, shape, device=device).to(torch.uint8)

    def sums(self, label: Tensor, channels: int) -> tuple[Tensor, int]:
        """The number of pixels of each class: S = C, or S = 2 if a single logit tells two classes apart."""
        valid = label[self.valid(label)]
        return torch.bincount(valid.flatten().long(), minlength=max(2, channels)).double(), valid.numel()

    def constant(self, mean: Tensor, channels: int) -> Tensor:
        """The logits that give each class its share of the pixels."""
        return torch.logit(mean[1:2], eps=1e-6) if channels == 1 else mean.clamp(min=1e-12).log()

    def restored_as_published(self, prediction: Tensor, resize: Resize) -> Tensor:
        """The file holds the likeliest class, or the probability that a single logit gives."""
        if prediction.shape[1] > 1:
            return resize(prediction, "nearest")  # the likeliest class of the nearest logits is the nearest class
        return torch.logit(resize(prediction.sigmoid(), "bilinear"), eps=1e-7)

    def answer(self, prediction: Tensor) -> Tensor:
        """[H, W]: of several logits the likeliest class, uint8; of a single logit its probability, floating point."""
        return prediction.argmax(0).byte() if len(prediction) > 1 else prediction[0].sigmoid()


@dataclass(frozen=True)
class Scalar(Kind):
    """One positive value for each pixel, as a depth in metres: float32 [1, H, W], 0 where a pixel has no label."""

    name = "scalar"

    def moved(self, label: Tensor, motion: Motion) -> Tensor:
        """The label divided by the zoom, because a zoomed picture shows a nearer surface through the same camera."""
        return label.div_(motion.zoom)

    def random(self, shape: tuple[int, int, int], classes: int, device: torch.device | None = None) -> Tensor:
        images, *size = shape
        return 1 + torch.rand(images, 1, *size, device=device)

    def values(self, prediction: Tensor) -> Tensor:
        """[H, W], in the unit of the label."""
        return prediction[0]


@dataclass(frozen=True)
class Vector(Kind):
    """Unit vectors float32 [3, H, W]: x left, y up, z to the viewer; the zero vector where a pixel has no label."""

    name = "vector"
    directed = True

    def moved(self, label: Tensor, motion: Motion) -> Tensor:
        """The vectors turned with the surface that they stand on. `label` is changed in place."""
        if motion.normals_zoom == "consistent" and motion.zoom != 1:
            label[2].mul_(motion.zoom)
            label.div_(label.square().sum(0).sqrt_().clamp_min_(1e-12))
        if motion.degrees != 0:
            cos, sin = math.cos(math.radians(motion.degrees)), math.sin(math.radians(motion.degrees))
            left, up = label[0].clone(), label[1].clone()
            # x points left, so in this frame a counter-clockwise turn goes from up to left
            label[0] = cos * left + sin * up
            label[1] = cos * up - sin * left
        if motion.flip:
            label[0].neg_()
        return label

    def restored_as_published(self, prediction: Tensor, resize: Resize) -> Tensor:
        """The file holds unit vectors."""
        return resize(F.normalize(prediction, dim=1), "bilinear")

    def random(self, shape: tuple[int, int, int], classes: int, device: torch.device | None = None) -> Tensor:
        images, *size = shape
        return F.normalize(torch.randn(images, 3, *size, device=device), dim=1)

    def values(self, prediction: Tensor) -> Tensor:
        """Unit vectors [3, H, W]."""
        return F.normalize(prediction, dim=0)


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
        return  # IGNORE wraps to 0. This is thirty times as fast as the code below
    lowest, highest = torch.where(label != IGNORE, label, 0).aminmax()
    if lowest < 0 or highest >= num_classes:
        stray = int(lowest if lowest < 0 else highest)
        raise ValueError(f"label {stray} is neither a class in 0..{num_classes - 1} nor {IGNORE}")
