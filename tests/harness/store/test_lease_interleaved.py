"""However the steps of drivers that start together interleave, exactly one of them gets the store."""

import random
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from mtlbench.harness.store import process
from mtlbench.harness.store.lease import Lease, Pace, StoreBusy
from mtlbench.harness.store.store import Store


class Turns:
    """Threads that take steps one at a time. Which of them is next is drawn, and does not depend on the machine."""

    def __init__(self, seed):
        self.random, self.changed = random.Random(seed), threading.Condition()
        self.waiting, self.chosen = set(), None

    def step(self):
        """Wait for the turn of the calling thread."""
        me = threading.current_thread().name
        with self.changed:
            self.waiting.add(me)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.chosen == me, timeout=30)
            self.waiting.discard(me)
            self.chosen = None
            self.changed.notify_all()

    def end(self, names):
        with self.changed:
            names.discard(threading.current_thread().name)
            self.changed.notify_all()

    def play(self, names):
        """Give turns until no thread is left: to one thread a few in a row, or many, so that one may be far behind."""
        current, turns = "", 0
        with self.changed:
            while True:
                free = self.changed.wait_for(lambda: self.chosen is None and names <= self.waiting, timeout=30)
                assert free, "a thread hangs"
                if not names:
                    return
                if not turns or current not in names:
                    current, turns = self.random.choice(sorted(names)), self.random.choice([1, 2, 4, 8, 16])
                self.chosen, turns = current, turns - 1
                self.changed.notify_all()


class Stepping(Store):
    """A store in which each call is one step. Its steps are those of a file system without locks."""

    def __init__(self, url, turns):
        super().__init__(url)
        self.turns = turns

    def put(self, *arguments, **options):
        self.turns.step()
        super().put(*arguments, **options)

    def get(self, *arguments, **options):
        self.turns.step()
        return super().get(*arguments, **options)

    def names(self, *arguments, **options):
        self.turns.step()
        return super().names(*arguments, **options)

    def remove(self, name):
        self.turns.step()
        super().remove(name)


def start_together(drivers, seed, url):
    """How many drivers hold the store once each of them holds it or was refused."""
    turns, held, lost = Turns(seed), [], []
    names = {str(number) for number in range(drivers)}
    tokens = {name: f"{turns.random.getrandbits(128):032x}" for name in sorted(names)}
    pace = Pace(beat=1e6, takeover=1e6, settle=0, poll=0)  # nobody is taken for dead, and time plays no part

    def drive():
        try:
            lease = Lease(Stepping(url, turns), pace=pace)
            lease.claim = replace(lease.claim, token=tokens[threading.current_thread().name])
            with suppress(StoreBusy):
                lease.__enter__()
                held.append(lease)
                while len(names) > len(held):
                    lease._beat()
                lost.append(lease.lost)
        finally:
            turns.end(names)

    threads = [threading.Thread(target=drive, name=name) for name in sorted(names)]
    for thread in threads:
        thread.start()
    turns.play(names)
    for thread in threads:
        thread.join()
    for lease in held:
        lease.store.turns.step = lambda: None
        with suppress(Exception):
            lease.__exit__(None, None, None)
    assert not any(lost), lost
    return len(held)


@pytest.mark.slow
@pytest.mark.parametrize("drivers", [2, 3])
def test_exactly_one_wins_in_whichever_order_the_steps_are_taken(drivers, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(process, "state", lambda owner: "unknown")  # as if each driver had a machine of its own
    counts = [start_together(drivers, seed, f"memory://interleaved-{drivers}-{seed}") for seed in range(150)]
    assert counts == [1] * 150
