"""One attempt at a cell, in the process that was given to it. It sets threads, and writes the log and the failure.

A process that dies cannot say why. What can be known beforehand is prepared: an exit by os._exit writes its code down,
a signal that Python can see leaves its name in the log (log.py), and a pulse in the store stops.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial

from mtlbench.harness.cluster.log import log
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.store.lease import following
from mtlbench.harness.store.patience import DiskFull
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.harness.training.checkpoint import Parts, parts_of, put_parts
from mtlbench.harness.training.environment import Environment
from mtlbench.harness.training.progress import Diverged, NoRoomToScore, Progress, Pulse, Scoring, still
from mtlbench.methods import resolve
from mtlbench.methods.method import ContractBroken
from mtlbench.results.records import files

REPEATED = (Diverged, ContractBroken)  # errors in which another try would end too


class Halved(RuntimeError):
    """Memory ran out, and the next attempt takes half as many images at once. This is none of the retries."""


class Final(RuntimeError):
    """Ends a group of processes whose cell has failed for good. The store says why."""


def attempt(
    cell: Cell, environment: Environment, report: Callable[[Progress | Scoring], None], failures: int | None = None
) -> bool:
    """Train a cell; True when it is done, also where an earlier attempt did it.

    Its record is then in the store, or what `score` needs for it. failures: how often the cell had failed before this
    attempt began, which all processes of a group are told; None: as often as the store says now.

    Errors go to the store (failure.json, log.txt). A failure that another try would repeat ends here with False. In a
    group it raises Final: the other processes may wait for this one. Raises Halved where another try takes half as many
    images at once. Any other error is raised again, and the scheduler tries again. DiskFull is no failure of the cell,
    and ends the run.
    """
    import torch

    from mtlbench.harness.training import judge, train

    store, resources = Store(environment.store), environment.resources
    if store.state(cell.id) in ("trained", "finished"):
        for name in (files.checkpoints(cell.id), files.pulse(cell.id)):
            store.remove(name)  # the earlier attempt may have been killed when it was done
        return True
    torch.set_num_threads(resources.cpus)
    grouped = torch.distributed.is_initialized()  # not by RANK, which a batch script may have exported
    main = not grouped or torch.distributed.get_rank() == 0
    before, parts = store.failures(cell.id) if failures is None else failures, parts_of(store, cell.id)
    logged = log(store, cell.id) if main else contextlib.nullcontext(still)
    with following(store, environment.lease), logged as keep_log, exits_said(store, cell.id):
        beating = pulse_of(store, cell.id, resources.deadline, keep_log) if main else contextlib.nullcontext(still)
        try:
            with beating as pulse:
                train.train(cell, environment, report, pulse, parts)
        except Exception as error:
            trace = traceback.format_exc()
            print(trace, file=sys.stderr, flush=True)
            if isinstance(error, DiskFull):
                raise
            why, again, halved = reason(error), not isinstance(error, REPEATED), False
            if isinstance(error, torch.OutOfMemoryError | NoRoomToScore):
                why = reason(error.__cause__ or error)
                again, advice = _halved(store, cell, resources, parts, scoring=isinstance(error, NoRoomToScore))
                why, halved = f"{why}; {advice}", again
            with contextlib.suppress(StoreError):
                if store.failures(cell.id) <= before:  # else another process of this attempt has named the cause
                    store.put_failure(cell.id, why, trace, before + 1)
            if isinstance(error, Diverged) and cell.trial:
                if main:
                    store.put_record(judge.divergence(cell, error, torch.device(environment.device)))
                return True
            if halved:
                raise Halved(why) from error
            if again:
                raise
            if grouped:
                raise Final(why) from error
            return False
    return True


def _halved(store: Store, cell: Cell, resources: Resources, parts: Parts, *, scoring: bool) -> tuple[bool, str]:
    """Divide the batches of a cell once more, where the matrix asks for it and there are images to divide.

    parts: into how many they were divided in this attempt; each process of a group may find that memory ran out.
    scoring: what is scored at once was too large, and not what is trained at once. Returns whether another attempt
    makes sense, and what to say.
    """
    whole = cell.train.batch // resources.workers
    if scoring:
        images, fewest, where = max(1, whole // parts.scoring), 1, "to be scored "
        divisible, more, way = images > 1, parts._replace(scoring=2 * parts.scoring), ""
    else:
        images, where = whole // (cell.train.accumulate * parts.training), ""
        fewest = 2 if resolve(cell.method).needs_two_images(cell.options) else 1
        divisible, more = images % 2 == 0, parts._replace(training=2 * parts.training)
        way = "train.accumulate divides its batches, or "
    too_many = f"{images} images {where}at once are too many for its memory"
    if resources.out_of_memory == "fail":
        return False, f"{too_many}; {way}resources.out_of_memory: halve divides them where memory runs out"
    if not divisible or images // 2 < fewest:
        return False, f"{too_many}, and cannot be halved"
    put_parts(store, cell.id, more)
    return True, f"going on with {images // 2} images {where}at once in place of {images}"


def pulse_of(store: Store, cell_id: str, deadline: float, keep_log: Callable[[], None] = still) -> Pulse:
    """The pulse of a cell, which is ended where its pulse in the store does not change for `deadline` seconds.

    keep_log: what `log` yields.
    """

    def tell(calls: int) -> None:
        with contextlib.suppress(StoreError):
            store.put(files.pulse(cell_id), f"{os.getpid()} {calls}\n", patience=0)
        keep_log()

    return Pulse(tell, min(60.0, deadline / 5), ended=partial(_no_pulse, store, cell_id))


def pulse_before(store: Store, cell_id: str, deadline: float) -> Pulse:
    """A pulse, to be entered, that ends when another process has one for the cell."""
    own = b""

    def tell(calls: int) -> None:
        nonlocal own
        with contextlib.suppress(StoreError, OSError):
            if own and store.get_those_there([files.pulse(cell_id)]).get(files.pulse(cell_id)) != own:
                pulse.ready.set()
                return
            own = f"{os.getpid()} starts {calls}\n".encode()
            store.put(files.pulse(cell_id), own)

    pulse = Pulse(tell, min(60.0, deadline / 5), ended=partial(_no_pulse, store, cell_id))
    return pulse


def _no_pulse(store: Store, cell_id: str) -> None:
    with contextlib.suppress(StoreError):
        store.remove(files.pulse(cell_id))


@contextlib.contextmanager
def exits_said(store: Store, cell_id: str) -> Iterator[None]:
    """Write down the code of an exit by os._exit, which runs nothing else of Python."""
    leave, owner = os._exit, os.getpid()

    def say(code: int) -> None:
        if os.getpid() == owner:  # a forked process ends in this way too, and is no failure
            with contextlib.suppress(Exception):
                text = "".join(traceback.format_stack())
                store.put_failure(cell_id, f"its process was ended by os._exit({code})", text)
        leave(code)

    os._exit = say  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = leave


def score(cell_id: str, environment: Environment, report: Callable[[int, int], None]) -> None:
    """Compute the expensive scores of a trained cell, which puts its record into the store.

    `report` is told (images done, images in all). Errors go to the store and are raised again.
    """
    from mtlbench.harness.scoring import expensive

    store = Store(environment.store)
    if store.state(cell_id) == "finished":
        return

    def told(done: int, images: int) -> None:
        pulse()
        report(done, images)

    with following(store, environment.lease), log(store, cell_id) as keep_log, exits_said(store, cell_id):
        pulse = pulse_of(store, cell_id, environment.resources.deadline, keep_log)
        try:
            with pulse:
                expensive.finish(store, cell_id, environment.resources.cpus, told)
        except Exception as error:
            trace = traceback.format_exc()
            print(trace, file=sys.stderr, flush=True)
            if not isinstance(error, DiskFull):
                with contextlib.suppress(StoreError):
                    store.put_failure(cell_id, reason(error), trace)
            raise


def reason(error: BaseException) -> str:
    """The class and the first line of an error; the error's other lines are in its traceback."""
    return f"{type(error).__name__}: {first_line(str(error))}" if str(error).strip() else type(error).__name__


def first_line(text: str) -> str:
    """The first line that is not empty; "" where there is none."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
