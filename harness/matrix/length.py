"""How long training is, in epochs and steps."""

from __future__ import annotations

import math
from typing import NamedTuple

from mtlbench.harness.matrix.cell import Cell


class Length(NamedTuple):
    """How long training is, in epochs of whole batches."""

    steps_per_epoch: int
    epochs: int
    steps: int


def length(cell: Cell, images: int) -> Length:
    """The length of a cell's training on a number of images. Raises ValueError where an epoch has no whole batch."""
    per_epoch = images // cell.train.batch
    if per_epoch == 0:
        raise ValueError(
            f"{cell.benchmark.name} has {images} training images and train.batch is {cell.train.batch}: "
            f"an epoch has no whole batch; set train.batch to at most {images}"
        )
    if cell.train.epochs is not None:
        return Length(per_epoch, cell.train.epochs, cell.train.epochs * per_epoch)
    assert cell.train.steps is not None
    return Length(per_epoch, math.ceil(cell.train.steps / per_epoch), cell.train.steps)
