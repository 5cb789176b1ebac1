"""The progress of the cells and the time that is left: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table

from mtlbench.harness.driver.bars import animated, duration
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking.views import State


@dataclass
class Line:
    """A cell's row in the live table."""

    cell: Cell
    label: str
    state: str = "waiting"
    epoch: str = ""
    loss: float | None = None
    step: int = 0
    steps: int = 0
    seconds: float = 0.0  # spent training
    said: float | None = None  # when something was last said of it
    since: float | None = None  # when its attempt began
    before: float = 0.0  # seconds spent training in earlier attempts
    start: float | None = None  # seconds from the beginning of its attempt to its first batch
    took: float | None = None  # seconds from its beginning to its record, with all that is not training

    @property
    def size(self) -> tuple[str, int]:
        """Cells of one size take about as long as each other."""
        return self.cell.method, len(self.cell.tasks)

    def rate(self) -> float | None:
        """Seconds a step."""
        return self.seconds / self.step if self.step else None


class Left(NamedTuple):
    """The time that is left."""

    seconds: float
    at_least: bool  # a lower bound

    def __str__(self) -> str:
        return f"{'at least ' if self.at_least else '~'}{duration(self.seconds)} left"


class Watch:
    """Keeps the state of every cell and shows it. A schedule.Board."""

    def __init__(
        self,
        cells: Mapping[str, tuple[Cell, str]],
        store: Store,
        slots: int,
        tell: Callable[[str, State], None] = lambda cell_id, state: None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lines = {cell_id: Line(cell, label) for cell_id, (cell, label) in cells.items()}
        self.store, self.slots, self.tell = store, slots, tell
        self.console = console or Console(file=sys.stdout, highlight=False)
        self.clock, self.began = clock, clock()
        self.waited: set[str] = set()  # what was said by `waits`
        self.live = Live(console=self.console, get_renderable=self.table, refresh_per_second=2)

    def add(self, cell_id: str, cell: Cell, label: str) -> None:
        """One more cell to watch."""
        self.lines = {**self.lines, cell_id: Line(cell, label)}  # a new one: another thread may read the old one

    def __enter__(self) -> Watch:
        if animated(self.console):
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if animated(self.console):
            self.live.stop()

    def started(self, cell_id: str) -> None:
        line = self.lines[cell_id]
        line.state = "scoring" if line.state == "trained" else "starting"
        line.since, line.start = self.clock(), None
        line.said = line.since
        self._say(cell_id, "started" if line.state == "starting" else "computing scores that need no GPU")
        self.tell(cell_id, "running")

    def progressed(self, cell_id: str, progress: Mapping[str, Any]) -> None:
        """progress: a `training.progress.Progress`, by name."""
        line = self.lines[cell_id]
        line.state = "running"
        line.epoch = f"{progress['epoch']:.0f}/{progress['epochs']:.0f}"
        line.loss, line.seconds = progress["loss"], progress["seconds"]
        line.step, line.steps = int(progress["step"]), int(progress["steps"])
        line.before = line.seconds if line.loss is None else line.before
        if line.start is None and line.since is not None:
            line.start = max(self.clock() - line.since - (line.seconds - line.before), 0.0)
        if line.loss is None:
            self._say(cell_id, f"goes on after epoch {line.epoch}, step {line.step:,} of {line.steps:,}")
        else:
            self._say(cell_id, f"epoch {line.epoch}  loss {line.loss:.4g}", often=True)
        self.tell(cell_id, "running")

    def scoring(self, cell_id: str, done: int, images: int, split: str = "test") -> None:
        line = self.lines[cell_id]
        line.state, line.epoch = "scoring" if split == "test" else "validating", f"{done}/{images} images"
        self._say(cell_id, f"scored {done} of {images} images{'' if split == 'test' else f' of {split}'}", often=True)
        self.tell(cell_id, "running")

    def retried(self, cell_id: str, error: str) -> None:
        self.lines[cell_id].state = "retrying"
        self._say(cell_id, f"failed, trying again from its last checkpoint: {error}")

    def waits(self, what: str) -> None:
        """A process waits, as for room on a full disk. Those that wait for the same are told once."""
        if what not in self.waited:
            self.waited.add(what)
            self.console.print(f"warning: {what}", markup=False, soft_wrap=True)

    def put_back(self, cell_id: str, why: str) -> None:
        """A cell waits again. Here, and not only for a log, `why` is said: it may need the operator."""
        line = self.lines[cell_id]
        line.state = "trained" if self.store.state(cell_id) == "trained" else "waiting"
        self.console.print(f"warning: {why}", markup=False, soft_wrap=True)
        self.tell(cell_id, "waiting")

    def ended(self, cell_id: str) -> None:
        line = self.lines[cell_id]
        state = self.store.state(cell_id)
        if state == "trained":
            line.state = state
            self._say(cell_id, state)
            return
        end: State = "finished" if state == "finished" else "failed"
        line.state = end
        line.took = None if line.since is None or end == "failed" else self.clock() - line.since + line.before
        failure = self.store.failure(cell_id) if end == "failed" else None
        self._say(cell_id, f"failed: {failure['error']}" if failure else end)
        self.tell(cell_id, end)

    def remaining(self) -> Left | None:
        """The time until all are done; None where nothing is known yet.

        A cell takes as long as finished cells of its size took, start and scoring included. Before one has finished, it
        takes its steps at the pace that was seen, and besides them as long as finished cells of other sizes did, or
        else as long as starts did. A cell of a size that was never seen takes at least as long as the quickest size
        that was. The time is then a lower bound, and so is one before any cell has finished: how long scoring takes is
        not known by then.
        """
        left = [line for line in self.lines.values() if line.state not in ("finished", "failed")]
        whole = [self._whole(line) for line in left]
        known = [seconds for seconds in map(self._whole, self.lines.values()) if seconds]
        if not left or not known:
            return None
        now = self.clock()
        work = 0.0
        for line, seconds in zip(left, whole, strict=True):
            since = line.since if line.state in ("starting", "running", "validating", "scoring") else None
            work += max((seconds or min(known)) - line.before - (0.0 if since is None else now - since), 0.0)
        finished = any(line.took is not None for line in self.lines.values())
        return Left(work / max(1, min(self.slots, len(left))), at_least=not finished or not all(whole))

    def _whole(self, line: Line) -> float | None:
        """The seconds of a cell from its start to its record; None where nothing like it has been seen."""
        lines = self.lines.values()
        if took := [each.took for each in lines if each.took is not None and each.size == line.size]:
            return statistics.median(took)
        paces = [pace for each in (line, *lines) if each.size == line.size and (pace := each.rate())]
        steps = line.steps or next((each.steps for each in lines if each.size == line.size and each.steps), 0)
        if not paces or not steps:
            return None
        besides = [each.took - each.seconds for each in lines if each.took and each.seconds]
        besides = besides or [each.start for each in lines if each.start is not None]
        return steps * paces[0] + max(statistics.median(besides) if besides else 0.0, 0.0)

    def _say(self, cell_id: str, what: str, often: bool = False) -> None:
        if animated(self.console):
            return
        line = self.lines[cell_id]
        if often and line.said is not None and self.clock() - line.said < 20:
            return  # so that a log file does not grow without need
        line.said = self.clock()
        left = self.remaining()
        states = [line.state for line in self.lines.values()]
        count = f"{states.count('finished') + states.count('failed')}/{len(states)}"
        when = f"  {left}" if left and left.seconds >= 0.5 else ""
        with suppress(OSError):  # a full disk under a log, or a terminal that is gone, is no reason to stop
            self.console.print(f"[{count}] {line.label}: {what}{when}", markup=False, soft_wrap=True)

    def table(self) -> Table:
        left = self.remaining()
        states = [line.state for line in self.lines.values()]
        title = f"{states.count('finished')} of {len(states)} cells finished"
        if states.count("failed"):
            title += f", {states.count('failed')} failed"
        title += f", {duration(self.clock() - self.began)} so far" + (
            f", {left}" if left and left.seconds >= 0.5 else ""
        )
        table = Table(title=title, title_justify="left")
        for column, justify in (
            ("cell", "left"),
            ("state", "left"),
            ("epoch", "right"),
            ("loss", "right"),
            ("left", "right"),
        ):
            table.add_column(column, justify="left" if justify == "left" else "right")
        for line in self._shown():
            rate = line.rate()
            left_here = duration((line.steps - line.step) * rate) if rate and line.state == "running" else ""
            loss = "" if line.loss is None else f"{line.loss:.4g}"
            table.add_row(line.label, line.state, line.epoch, loss, left_here)
        hidden = len(self.lines) - table.row_count
        if hidden:
            table.caption = f"and {hidden} more"
        return table

    def _shown(self) -> Sequence[Line]:
        """The lines that fit on the screen: running and failed cells first, then waiting ones, then finished ones."""
        order = {
            "retrying": 0,
            "starting": 0,
            "running": 0,
            "validating": 0,
            "scoring": 0,
            "failed": 1,
            "trained": 2,
            "waiting": 2,
            "finished": 3,
        }
        room = max(5, self.console.size.height - 8)
        first = sorted(self.lines.values(), key=lambda line: order.get(line.state, 0))[:room]
        return [line for line in self.lines.values() if line in first]
