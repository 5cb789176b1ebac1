"""One geometric draw moves image, labels, fields and vectors together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Augmentation:
    """What a training protocol may draw; the identity by default."""

    flip: float = 0.0  # probability of a horizontal flip
