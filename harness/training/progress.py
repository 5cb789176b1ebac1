"""What a running cell reports, and the error that ends it early."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

PREPARATION = 3600.0  # seconds in which a cell may get ready, before its deadline is counted


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


class Scoring(NamedTuple):
    """What a cell reports while its network is scored."""

    scored: int  # images
    images: int
    split: str


class ImagesScored:
    """Reports how many images of a split are scored: none at first, and then at most once in `seconds`.

    alone: no other process scores images of the split. Those of a group report together or not at all, because Ray
    waits for all of them at each report; so they report only that they begin.
    """

    def __init__(
        self, report: Callable[[Scoring], None], split: str, images: int, *, alone: bool, seconds: float = 5.0
    ) -> None:
        self.report, self.split, self.images, self.alone, self.seconds = report, split, images, alone, seconds
        self.done, self.told = 0, time.monotonic()
        report(Scoring(0, images, split))

    def add(self, images: int) -> None:
        self.done += images
        if self.alone and time.monotonic() - self.told >= self.seconds:
            self.told = time.monotonic()
            self.report(Scoring(self.done, self.images, self.split))


def still() -> None:
    """The pulse of a cell that nobody watches."""


class Pulse:
    """Tells every now and then that a cell goes on, so that a process that stands still is noticed.

    It is called after each batch of training and of scoring, and calls `tell` with the number of calls, at most once in
    `seconds`.

    Before the first batch a cell gets ready: it reads or makes data, and fetches weights. Nothing can be called in
    between, and so `with pulse:` has a thread do it until the pulse is called, for at most `patience` seconds. At its
    end it calls `ended`.
    """

    def __init__(
        self,
        tell: Callable[[int], None],
        seconds: float,
        patience: float = PREPARATION,
        ended: Callable[[], None] = still,
    ) -> None:
        self.tell, self.seconds, self.patience, self.ended = tell, seconds, patience, ended
        self.calls, self.told = 0, time.monotonic()
        self.ready = threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self) -> None:
        self._end()
        self.calls += 1
        if time.monotonic() - self.told >= self.seconds:
            self._tell()

    def __enter__(self) -> Pulse:
        self._tell()  # whoever had the pulse before has it no more
        self.thread = threading.Thread(target=self._while_getting_ready, name="getting ready", daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self.ended()

    def _end(self) -> None:
        """End the thread: a process of a loader that is forked beside it could wait for its locks for ever."""
        if self.thread is not None:
            self.ready.set()
            self.thread.join()
            self.thread = None

    def _while_getting_ready(self) -> None:
        end = time.monotonic() + self.patience
        while not self.ready.wait(self.seconds) and time.monotonic() < end:
            self.calls += 1
            self._tell()

    def _tell(self) -> None:
        self.told = time.monotonic()
        self.tell(self.calls)
