"""How far something is that takes a while, in bars on a terminal and lines now and then elsewhere; times in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TaskID

Told = Callable[[str, int, int], None]  # what is counted, how many are done, and of how many

FIRST, AGAIN = 1.0, 20.0  # seconds until the first line, and between two lines


def animated(console: Console) -> bool:
    """Whether a picture can be drawn again in its place: not in a file, in a pipe, or on a terminal with TERM=dumb."""
    return console.is_terminal and not console.is_dumb_terminal


@contextmanager
def bars(console: Console, clock: Callable[[], float] = time.monotonic) -> Iterator[Told]:
    """Yield a function that shows how far each thing is that is counted. Bars are removed at the end."""
    if animated(console):
        with Progress(console=console, transient=True) as shown:
            tasks: dict[str, TaskID] = {}

            def draw(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = shown.add_task(what, total=total)
                shown.update(tasks[what], completed=done, total=total)

            yield draw
        return
    due = clock() + FIRST

    def say(what: str, done: int, total: int) -> None:
        nonlocal due
        if clock() >= due:
            due = clock() + AGAIN
            console.print(f"{what}: {done:,} of {total:,}", markup=False, highlight=False, soft_wrap=True)

    yield say


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
