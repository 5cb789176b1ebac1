"""The progress of the cells and the time that is left: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

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
    began: float | None = None

    def rate(self) -> float | None:
        """Seconds a step."""
        return self.seconds / self.step if self.step else None


class Watch:
    """Keeps the state of every cell and shows it. A schedule.Board."""

    def __init__(
        self,
        cells: Mapping[str, tuple[Cell, str]],
        store: Store,
        slots: int,
        tell: Callable[[str, State], None] = lambda cell_id, state: None,
        console: Console | None = None,
    ) -> None:
        self.lines = {cell_id: Line(cell, label) for cell_id, (cell, label) in cells.items()}
        self.store, self.slots, self.tell = store, slots, tell
        self.console = console or Console(file=sys.stdout, highlight=False)
        self.began = time.monotonic()
        self.live = Live(console=self.console, get_renderable=self.table, refresh_per_second=2)

    def add(self, cell_id: str, cell: Cell, label: str) -> None:
        """One more cell to watch."""
        self.lines = {**self.lines, cell_id: Line(cell, label)}  # a new one: another thread may read the old one

    def __enter__(self) -> Watch:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def started(self, cell_id: str) -> None:
        line = self.lines[cell_id]
        line.state = "scoring" if line.state == "trained" else "running"
        line.began = line.began or time.monotonic()
        self._say(cell_id, "started" if line.state == "running" else "computing scores that need no GPU")
        self.tell(cell_id, "running")

    def progressed(self, cell_id: str, progress: Mapping[str, float]) -> None:
        line = self.lines[cell_id]
        line.state = "running"
        line.epoch = f"{progress['epoch']:.0f}/{progress['epochs']:.0f}"
        line.loss, line.seconds = progress["loss"], progress["seconds"]
        line.step, line.steps = int(progress["step"]), int(progress["steps"])
        self._say(cell_id, f"epoch {line.epoch}  loss {line.loss:.4g}", often=True)
        self.tell(cell_id, "running")

    def scoring(self, cell_id: str, done: int, images: int) -> None:
        line = self.lines[cell_id]
        line.state, line.epoch = "scoring", f"{done}/{images} images"
        self._say(cell_id, f"scored {done} of {images} images", often=True)
        self.tell(cell_id, "running")

    def retried(self, cell_id: str, error: str) -> None:
        self.lines[cell_id].state = "retrying"
        self._say(cell_id, f"failed, trying again from its last checkpoint: {error}")

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
        failure = self.store.failure(cell_id) if end == "failed" else None
        self._say(cell_id, f"failed: {failure['error']}" if failure else end)
        self.tell(cell_id, end)

    def remaining(self) -> float | None:
        """Seconds until all are done: the steps left at the pace seen, over the cells that run at once."""
        paces = [line.rate() for line in self.lines.values()]
        seen = [pace for pace in paces if pace]
        known = [line.steps for line in self.lines.values() if line.steps]
        if not seen:
            return None
        by_method = {
            line.cell.method: pace for line, pace in zip(self.lines.values(), paces, strict=True) if pace is not None
        }
        average = sum(seen) / len(seen)
        work = 0.0
        for line in self.lines.values():
            if line.state in ("waiting", "running", "retrying"):
                steps = (line.steps or max(known)) - line.step
                work += steps * (line.rate() or by_method.get(line.cell.method, average))
        return work / max(1, self.slots)

    def _say(self, cell_id: str, what: str, often: bool = False) -> None:
        if self.console.is_terminal:
            return
        line = self.lines[cell_id]
        if often and line.began is not None and time.monotonic() - line.began < 20:
            return  # so that a log file does not grow without need
        if often:
            line.began = time.monotonic()
        left = self.remaining()
        states = [line.state for line in self.lines.values()]
        count = f"{states.count('finished') + states.count('failed')}/{len(states)}"
        when = f"  ~{duration(left)} left" if left else ""
        with suppress(OSError):  # a full disk under a log, or a terminal that is gone, is no reason to stop
            self.console.print(f"[{count}] {line.label}: {what}{when}", markup=False, soft_wrap=True)

    def table(self) -> Table:
        left = self.remaining()
        states = [line.state for line in self.lines.values()]
        title = f"{states.count('finished')} of {len(states)} cells finished"
        if states.count("failed"):
            title += f", {states.count('failed')} failed"
        title += f", {duration(time.monotonic() - self.began)} so far" + (f", ~{duration(left)} left" if left else "")
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
        order = {"retrying": 0, "running": 0, "scoring": 0, "failed": 1, "trained": 2, "waiting": 2, "finished": 3}
        room = max(5, self.console.size.height - 8)
        first = sorted(self.lines.values(), key=lambda line: order[line.state])[:room]
        return [line for line in self.lines.values() if line in first]


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
