"""What Tune says of its trials goes to the board, and why one failed that could not say so itself goes to the store."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import psutil
import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.tune import Callback
from ray.tune.execution import tune_controller
from ray.tune.progress_reporter import TrialProgressCallback

from mtlbench.harness.cluster import head
from mtlbench.harness.cluster.attempt import first_line, reason
from mtlbench.harness.cluster.log import LAST_LINES, NO_LAST_LINES, last_words
from mtlbench.harness.cluster.nodes.closed import Closed
from mtlbench.harness.cluster.scheduler import Board
from mtlbench.harness.cluster.stages import HALVED, UNFIT, WAITS
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.store.patience import DiskFull
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.results.records import files

KILLED = "killed: the node ran out of memory"
DIED = "its process died"


class Actors(RayActorManager):  # type: ignore[misc]
    """Takes the error of Ray's memory monitor for the death of a process, after which Tune tries the cell again.

    Ray 2.60 takes it for none of the errors that it knows, and ends Tune's loop.

    Where Ray is lost, nothing more is waited for. Tune would give each process of a cell 10 s to end, and a driver that
    has not left Ray 15 s after its raylet died is ended by Ray without a word.
    """

    servers: ClassVar[Mapping[str, psutil.Process]] = {}  # of this machine; in the class, for Tune makes the object

    def next(self, timeout: float | None = None) -> bool:
        """Wait for one event. Tune calls this in each turn of its loop, and while it ends. Raises Lost."""
        head.require(self.servers)
        return bool(super().next(timeout=timeout))

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        killed = isinstance(exception, OutOfMemoryError)
        super()._actor_task_failed(tracked_actor_task, RayActorError(error_msg=str(exception)) if killed else exception)


tune_controller.RayActorManager = Actors


class Quiet(TrialProgressCallback):  # type: ignore[misc]
    """Takes the place of Tune's own lines. Tune calls a cell "completed" that diverged in its first epoch."""

    def _print(self, msg: str) -> None:
        pass


class Seen(NamedTuple):
    """A pulse, and when it was first seen, on this machine's clock."""

    pulse: bytes
    when: float


class Tell(Callback):  # type: ignore[misc]
    """Tells the board what Tune says about its trials, and the store why one failed that could not say so itself."""

    def __init__(self, board: Board, store: Store, resources: Resources) -> None:
        self.board, self.store, self.deadline = board, store, resources.deadline
        self.closed = Closed(resources)
        self.known: dict[str, int] = {}  # cell -> failures in the store before its attempt
        self.pulses: dict[str, Seen] = {}  # cell -> its pulse, while it runs
        self.refused: set[str] = set()  # cells that their node could not run
        self.ended: dict[str, str] = {}  # cell that was ended since its pulse stood still -> why, if it has said so
        self.looked = time.monotonic()

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        """End each cell whose pulse has not changed for `deadline` seconds of this machine's clock."""
        now = time.monotonic()
        if now - self.looked < min(10.0, self.deadline / 10):
            return
        self.looked = now
        running = [trial for trial in trials if trial.config["cell"] in self.pulses]
        pulses = self._pulses([trial.config["cell"] for trial in running])
        for trial in running:
            cell_id, actor = trial.config["cell"], trial.temporary_state.ray_actor
            pulse = pulses[cell_id]
            if actor is None or pulse != self.pulses[cell_id].pulse:
                self.pulses[cell_id] = Seen(pulse, now)
            elif now - self.pulses[cell_id].when > self.deadline:
                self.ended[cell_id] = self._said(cell_id)  # now: what its processes write when it ends is no cause
                self.pulses[cell_id] = Seen(pulse, now)  # it takes seconds until a stopped process is gone
                ray.kill(actor)  # also a process that is stopped, or waits in a system call

    def _pulses(self, cell_ids: Sequence[str]) -> dict[str, bytes]:
        """The pulses of cells, b"" for one that cannot be read. Tune waits meanwhile, so all are asked for at once."""
        found: dict[str, bytes] = {}
        with contextlib.suppress(OSError, StoreError):
            found = self.store.get_those_there(files.pulse(cell_id) for cell_id in cell_ids)
        return {cell_id: found.get(files.pulse(cell_id), b"") for cell_id in cell_ids}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        cell_id = trial.config["cell"]
        self.known[cell_id] = self.store.failures(cell_id)
        self.pulses[cell_id] = Seen(self._pulses([cell_id])[cell_id], time.monotonic())
        self.board.started(cell_id)

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        if "step" in result:
            self.board.progressed(trial.config["cell"], result)
        elif HALVED in result:
            trial.max_failures += 1  # which counts what follows
        elif WAITS in result:
            self.board.waits(result[WAITS])
        elif UNFIT in result:
            where = self.closed.close(result[UNFIT])
            self.refused.add(trial.config["cell"])
            self.board.put_back(trial.config["cell"], f"node {where} gets no cells: {result['why']}")
        elif "scored" in result:
            split = result.get("split", "test")
            self.board.scoring(trial.config["cell"], result["scored"], result["images"], split)

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.board.retried(trial.config["cell"], self._failure(trial))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.pulses.pop(trial.config["cell"], None)
        self._failure(trial)
        self.board.ended(trial.config["cell"])

    def _failure(self, trial: Any) -> str:
        """Why an attempt failed. A process that was killed has not written it down.

        Raises DiskFull where the disk of the store was: another attempt, or another cell, would wait in vain too.
        """
        if isinstance(error := _cause(trial), DiskFull):
            raise error
        cell_id, (why, text), decided = trial.config["cell"], _why(trial), False
        if cell_id in self.ended:
            still = f"no batch for {self.deadline:g} s, and so its process was ended (resources.deadline)"
            why, decided = self.ended.pop(cell_id) or still, True
        elif LAST_LINES in why:
            said = last_words(self.store, cell_id, node_runs="its node" not in why)
            if why.startswith(DIED) and said.signal:
                why = f"{DIED}: {said.signal} ({LAST_LINES})"
            if not said.whole:
                why = why.replace(LAST_LINES, NO_LAST_LINES)
        unfinished = ("new", "started", "failed") + (() if trial.config["stage"] == "train" else ("trained",))
        known = self.known.get(cell_id, self.store.failures(cell_id))
        # Where one process of a group is killed, the others write that it does not answer.
        if self.store.state(cell_id) in unfinished and (
            decided or why.startswith(KILLED) or self.store.failures(cell_id) == known
        ):
            self.store.put_failure(cell_id, why, text, known + 1)
        self.known[cell_id] = self.store.failures(cell_id)
        failure = self.store.failure(cell_id)
        return str(failure["error"]) if failure else why

    def _said(self, cell_id: str) -> str:
        """What a process of a cell has said of its failure in this attempt; "" where it has said nothing."""
        failure = self.store.failure(cell_id)
        return str(failure["error"]) if failure and failure["attempts"] > self.known.get(cell_id, 0) else ""

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.pulses.pop(trial.config["cell"], None)
        if trial.config["cell"] in self.refused:
            self.refused.remove(trial.config["cell"])
        else:
            self.board.ended(trial.config["cell"])

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _why(trial: Any) -> tuple[str, str]:
    """Why the last attempt of a trial failed, in one line, and all that Ray says about it."""
    file = Path(getattr(trial, "error_file", None) or os.devnull)
    said = file.read_text() if file.exists() else ""
    text = said.rpartition("Failure # ")[2].partition("\n")[2]  # behind the failures of earlier attempts
    if memory := re.search(r"low on memory.*? ([\d.]+)GB used / ([\d.]+)GB", text, re.DOTALL):
        return f"{KILLED} ({float(memory[1]):.1f} of {float(memory[2]):.1f} GB)", text
    error = _cause(trial)
    if error is not None and not isinstance(error, RayActorError):
        return reason(error), text
    if isinstance(error, RayActorError) or re.match(r"The actor (died|\w+ is unavailable)", text):
        code = re.search(r"exit code (\d+)", text)
        what = f"{DIED}, or was killed by the system"
        if "its node has died" in text:
            what = "its node died"
        elif "is unavailable" in text:
            what = "its node does not answer"
        elif code is not None:
            what = f"its process ended with exit code {code[1]}"
        return f"{what} ({LAST_LINES})", text
    return first_line(text) or "its process ended without a word", text


def _cause(trial: Any) -> BaseException | None:
    """What the last attempt of a trial raised; an error of Ray where its process died. None: nothing is known."""
    error = None
    with contextlib.suppress(Exception):  # there may be no file, or a class in it that only the trial could import
        # Not trial.get_pickled_error(): Tune copies the file to where that looks some time after it calls back.
        error = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return error.cause if isinstance(error, RayTaskError) else error if isinstance(error, RayActorError) else None
