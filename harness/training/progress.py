"""What a running cell reports, and the error that ends it early."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple


class Diverged(FloatingPointError):
    """A loss or a prediction is no longer a finite number. Trying again from the checkpoint would only repeat it."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(what)
        self.seconds = seconds  # spent training


class NoRoomToScore(RuntimeError):
    """The memory of a device ran out while a network was scored, and not while it was trained."""


class Progress(NamedTuple):
    """What a running cell reports. An attempt that goes on from a checkpoint reports first where it does so."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None  # None: of an attempt that has not trained yet
    seconds: float  # spent training so far, over all attempts


class Pulse:
    """Tells every now and then that a cell goes on, so that a process that stands still is noticed.

    It is called after each batch of training and of scoring, and calls `tell` with the number of calls, at most once in
    `seconds`.
    """

    def __init__(self, tell: Callable[[int], None], seconds: float) -> None:
        self.tell, self.seconds = tell, seconds
        self.calls, self.told = 0, time.monotonic()

    def __call__(self) -> None:
        self.calls += 1
        if time.monotonic() - self.told >= self.seconds:
            self.told = time.monotonic()
            self.tell(self.calls)


def still() -> None:
    """The pulse of a cell that nobody watches."""
