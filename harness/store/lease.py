"""Only one driver runs a store: it holds a lease, which is a claim with a heartbeat.

How a driver gets the lease: it writes a claim, pauses, and reads all claims. It holds the lease once it has read no
other claim but those of dead drivers. Of two drivers, the one that writes its claim later must see the earlier claim.
So two can never both see none, whatever the store is: a local disk, a network drive or an object store. If they see
each other, the one with the smaller rank stays and the other one gives up.

How a driver is known to be alive: its claim changes while another process watches it. Only the watcher's own clock
counts, and only differences of it. Where the kernel of this machine says that the process has ended, or that it runs,
nobody waits.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mtlbench.harness.store import process
from mtlbench.harness.store.claim import Claim, Claims, Seen, Verdict
from mtlbench.harness.store.store import Store, StoreError

log = logging.getLogger(__name__)

_own: set[str] = set()  # tokens of the leases that this process holds or wants


@dataclass(frozen=True)
class Pace:
    """Seconds."""

    beat: float = 15.0  # from one heartbeat to the next
    takeover: float = 60.0  # a driver whose claim does not change for this long is taken for dead
    settle: float = 0.2  # between the first write of a claim and the first reading of the others
    poll: float = 1.0  # between two readings while others are watched


LOCAL, ELSEWHERE = Pace(), Pace(settle=2.0, poll=2.0)  # elsewhere a write may take a while until all readers see it


class StoreBusy(StoreError):
    """Another driver holds the store."""


class LeaseLost(StoreError):
    """Another driver has taken the store, because this one gave no sign of life. Nothing may be written any more."""


class Lease:
    """The right to drive a store. A thread keeps it, and this process changes the store only while it has it.

    It is used as a context manager. Entering raises StoreBusy, naming the driver, where another one is alive. Where
    the lease is lost, the main thread is interrupted, each change of the store raises LeaseLost, and so does leaving.
    """

    def __init__(self, store: Store, work: str = "", *, pace: Pace | None = None) -> None:
        """work: what the driver does, as other drivers are told: "matrix rooms"."""
        self.store, self.claims = store, Claims(store)
        self.pace = pace or (LOCAL if store.local else ELSEWHERE)
        self.claim = Claim(uuid.uuid4().hex, process.this(), work, store.url)
        self.lost = ""  # why the lease is lost; "" while it is not
        self._sure = 0.0  # when the claim was last written of which it is known that it stood then
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._told = threading.Event()  # the main thread knows that the lease is lost, or leaves
        self._thread = threading.Thread(target=self._keep, name="heartbeat", daemon=True)

    @property
    def token(self) -> str:
        return self.claim.token

    def __enter__(self) -> Lease:
        watch = Watch(self.claims, self.pace)
        others = self._require_free(watch)  # before anything is written
        _own.add(self.token)
        try:
            self._compete(watch, 1 + max((seen.claim.number for seen in others if seen.claim), default=0))
        except BaseException:
            self._withdraw()
            raise
        self.store.guard(self.check)
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._told.set()
        try:
            self._stop.set()
            self._thread.join()
        except KeyboardInterrupt:
            if not self.lost:
                raise
        finally:
            self.store.unguard(self.check)
            self._withdraw()
        if self.lost and not isinstance(error, LeaseLost):
            raise LeaseLost(self.lost) from error

    def require_free(self) -> None:
        """Raise StoreBusy where another driver is certainly alive. Nothing is written, and nobody waits."""
        self._require_free(Watch(self.claims, self.pace))

    def _require_free(self, watch: Watch) -> list[Seen]:
        others = self.claims.others(self.token)
        self._refuse(others, watch.judge(others))
        return others

    def check(self) -> None:
        """Raise LeaseLost unless this process still has the lease. The store asks before each change.

        It asks the claims only after half of the time that others would wait. Before, nobody can have taken the store.
        """
        if not self.lost and _now() - self._sure > self.pace.takeover / 2:
            with contextlib.suppress(StoreError, OSError):  # whatever is wrong, the change itself will say so
                self._beat()
        if self.lost:
            self._told.set()
            raise LeaseLost(self.lost)

    def _compete(self, watch: Watch, number: int) -> None:
        """Get the lease. Raises StoreBusy where another driver is alive and comes first."""
        self._write(replace(self.claim, number=number))
        time.sleep(self.pace.settle)
        while True:
            begun = _now()
            self._write(self.claim)  # a sign of life; and a network drive then lists the folder anew
            others = self.claims.others(self.token)
            verdicts = watch.judge(others)
            self._refuse(others, verdicts)
            if all(verdict == "dead" for verdict in verdicts):
                if _now() - begun < self.pace.takeover / 2:
                    break
                continue  # this process stood still, and may have been taken for dead
            watch.say(others, verdicts)
            time.sleep(self.pace.poll)
        self._write(replace(self.claim, holds=True, buried=tuple(seen.token for seen in others)))
        self._sure = begun
        if successor := self.claims.successor(self.claim):
            raise StoreBusy(f"{self.store.url}: {successor} took the store at the same moment; try again when it ends")
        self._bury()
        if watch.said.intersection(self.claim.buried):
            log.warning("no sign of life for %.0f s; taking the store over", self.pace.takeover)

    def _refuse(self, others: Sequence[Seen], verdicts: Sequence[Verdict]) -> None:
        """Raise StoreBusy where a driver is alive that holds the store, or wants it and came first."""
        for seen, verdict in zip(others, verdicts, strict=True):
            claim = seen.claim
            gives_up = claim and not claim.holds and self.claim.beat and self.claim.rank < claim.rank
            if verdict != "alive" or gives_up:
                continue
            when = time.strftime("%H:%M:%S")
            if claim is None:
                raise StoreBusy(
                    f"{self.claims.path(seen.token)} changes, last at {when}, but is not the claim of a driver as this "
                    "version writes it; wait until whoever writes it has ended, or give another --store"
                )
            raise StoreBusy(
                f"{self.store.url} is driven by {claim.owner}, last seen alive at {when}; wait until it has ended, "
                "stop it, or give another --store"
            )

    def _write(self, claim: Claim) -> None:
        self.claim = claim.next()
        self.claims.write(self.claim)

    def _bury(self) -> None:
        """Remove the claims of the dead. One that was not dead, but stood still, may write its claim once more."""
        for token in self.claim.buried:
            self.claims.remove(token)

    def _withdraw(self) -> None:
        _own.discard(self.token)
        self.claims.remove(self.token)

    def _keep(self) -> None:
        while not self._stop.wait(self.pace.beat):
            # A disk may be full, or a network drive away, for a moment. If it stays so, another write ends the run.
            with contextlib.suppress(StoreError, OSError):
                self._beat()
            if self.lost:
                if not self._told.wait(1.0):
                    _interrupt()
                return

    def _beat(self) -> None:
        """Give a sign of life, or find that the lease is lost."""
        with self._lock:
            if self.lost:
                return
            begun = _now()
            stood = self.claims.stands(self.token)
            if stood:
                self._write(self.claim)
            successor = self.claims.successor(self.claim)
            if stood and successor is None:
                self._sure = begun
                self._bury()
                return
            to = f" to {successor}" if successor else ""
            why = f"this process gave no sign of life for {begun - self._sure:.0f} s"
            if not successor:
                why = f"{self.claims.path(self.token)} was removed, by another driver that has ended or by hand"
            self.lost = f"lost the lease of {self.store.url}{to}: {why}"


class Watch:
    """Judges drivers by whether their claims change while this process watches.

    Time in which the watching process itself stood still does not count: the driver may have stood still with it.
    """

    def __init__(self, claims: Claims, pace: Pace) -> None:
        self.claims, self.pace = claims, pace
        self.known: dict[str, tuple[Seen, float]] = {}  # token -> its claim, and for how long that has not changed
        self.last = time.monotonic()
        self.said: set[str] = set()

    def judge(self, others: Sequence[Seen]) -> list[Verdict]:
        """A verdict for each claim. It is `alive` where the claim has changed since the last call."""
        now = time.monotonic()
        passed, self.last = min(now - self.last, max(self.pace.beat, self.pace.poll)), now
        return [self._judge(seen, passed) for seen in others]

    def _judge(self, seen: Seen, passed: float) -> Verdict:
        known = self.known.get(seen.token)
        changed = known is not None and known[0].content != seen.content
        age = known[1] + passed if known and not changed else 0.0
        self.known[seen.token] = seen, age
        here = self._here(seen.claim) if seen.claim else "unknown"
        if here != "unknown":
            return here
        if known and changed and (seen.claim or not known[0].claim):  # else it may be half-written
            return "alive"
        return "unknown" if age < self.pace.takeover else "dead"

    def _here(self, claim: Claim) -> Verdict:
        """What this machine knows of the driver without watching it."""
        state = process.state(claim.process)
        if claim.process == process.this() and claim.token not in _own:
            state = "dead"  # another process had the same pid, or an earlier lease of this one was not given back
        if state == "runs":
            # In a copy of a store lie the claims of those who drive the original.
            return "alive" if claim.store == self.claims.store.url else "unknown"
        return state

    def say(self, others: Sequence[Seen], verdicts: Sequence[Verdict]) -> None:
        """Say once of each driver that this process waits for it, unless it has only just come."""
        for seen, verdict in zip(others, verdicts, strict=True):
            just_come = self.known[seen.token][1] < 2 * self.pace.poll
            if verdict != "unknown" or just_come or seen.token in self.said:
                continue
            self.said.add(seen.token)
            whom = f"the driver of {self.claims.store.url}, {seen.claim.owner}, is alive" if seen.claim else ""
            whom = whom or f"anything writes {self.claims.path(seen.token)}, which is not the claim of a driver"
            log.warning("waiting %.0f s to see whether %s", self.pace.takeover, whom)


@contextlib.contextmanager
def following(store: Store, token: str) -> Iterator[None]:
    """Change the store only while the driver with this token has the lease; for processes that work for a driver.

    Where the driver has lost it, each change of the store raises LeaseLost. token: "" asks nobody.
    """
    claims, asked = Claims(store), -math.inf

    def check() -> None:
        nonlocal asked
        if _now() - asked < LOCAL.beat:
            return
        try:
            stands = claims.stands(token)
        except (StoreError, OSError):
            return  # whatever is wrong, the change itself will say so
        if not stands:
            raise LeaseLost(f"the driver of {store.url} has ended or has lost its lease, and this process with it")
        asked = _now()

    mine = bool(token) and store.guard(check)
    try:
        yield
    finally:
        if mine:
            store.unguard(check)


def _interrupt() -> None:
    """Raise KeyboardInterrupt in the main thread, also where it sleeps.

    A script that starts a command in the background has SIGINT ignored; `mtlbench run` takes SIGTERM for the same.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(number)):
            signal.pthread_kill(threading.main_thread().ident or 0, number)
            return


def _now() -> float:
    """Seconds on a clock that goes on while the machine sleeps, as the clocks of other machines do."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
