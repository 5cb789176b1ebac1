"""What a running cell reports, and the error that ends it early."""

from __future__ import annotations

from typing import NamedTuple


class Diverged(FloatingPointError):
    """A loss or a prediction is no longer a finite number. Trying again from the checkpoint would only repeat it."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(what)
        self.seconds = seconds  # spent training


class Progress(NamedTuple):
    """What a running cell reports."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    seconds: float  # spent training so far, over all attempts
