"""Frames say which way the channels of stored normals point. A frame has a word for each channel: "left-up-back".

The image lies in the plane of left/right and up/down. "ahead" points away from the camera and "back" points towards it.
Copies of one data set differ: the NYUD-v2 normals of Ladicky et al., read as RGB, are "ahead-down-right".
"""

from __future__ import annotations

from itertools import permutations, product

import torch
from torch import Tensor

OURS = "left-up-back"  # the frame of samples
_DIRECTIONS = {"left": (0, 1), "right": (0, -1), "up": (1, 1), "down": (1, -1), "back": (2, 1), "ahead": (2, -1)}
FRAMES = tuple(
    "-".join(words)
    for axes in permutations((("left", "right"), ("up", "down"), ("back", "ahead")))
    for words in product(*axes)
)
"""All 48 signed permutations of the axes."""
EXPECTED = (
    "three of left/right, up/down and ahead/back, one of each, in the order of the channels, "
    f"as in {OURS}, which samples hold"
)


def to_ours(normals: Tensor, frame: str) -> Tensor:
    """Normals [3, ...] stored in `frame` -> [3, ...] in our frame. A zero vector stays a zero vector."""
    turned = torch.empty_like(normals)
    for channel, word in zip(normals, frame.split("-"), strict=True):
        axis, sign = _DIRECTIONS[word]
        turned[axis] = sign * channel
    return turned + 0.0  # no negative zeros


def compose(first: str, then: str) -> str:
    """The frame that turns vectors as `first` and `then` do one after the other."""
    axes = torch.eye(3)
    both = to_ours(to_ours(axes, first), then)
    return next(frame for frame in FRAMES if torch.equal(to_ours(axes, frame), both))
