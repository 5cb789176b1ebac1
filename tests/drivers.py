"""Drivers of a store that are processes of their own, and do what a test tells them."""

import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Client, Listener
from unittest import mock

from fsspec.implementations.local import LocalFileSystem

from mtlbench.harness.store import process
from mtlbench.harness.store.lease import Lease, Pace
from mtlbench.harness.store.store import Store, StoreError
from paths import PYTHONPATH

# Shortened times. `takeover` is long enough for a machine on which much else runs.
QUICK = Pace(beat=0.1, takeover=2.0, settle=0.05, poll=0.05)


@dataclass(frozen=True)
class Kind:
    """What kind of a driver it is."""

    boot: str = ""  # of its machine, if that is to look like another one: the kernel here says nothing of it then
    clock: float = 0.0  # seconds by which its clock is ahead
    locks: bool = True  # False: neither locks nor renaming, and a reader may see a file that is half-written
    pace: Pace = QUICK

    def store(self, folder):
        found = Store(folder)
        if not self.locks:
            found.fs, found.local = LocalFileSystem(auto_mkdir=True), False
        return found

    def become(self):
        if self.boot:
            process.boot = lambda: self.boot
        now = time.time
        time.time = lambda: now() + self.clock
        if not self.locks:
            fcntl.flock = fcntl.lockf = os.rename = os.replace = os.link = _missing


def _missing(*arguments):
    raise OSError("this store has no such call")


def serve(connection, kind):
    """Do what the test says, and answer: in the process of a driver."""
    kind.become()
    lease = None
    connection.send(os.getpid())
    while True:
        command, *arguments = connection.recv()
        try:
            if command == "take":
                lease = Lease(kind.store(arguments[0]), "matrix m", pace=kind.pace)
                lease.__enter__()
            elif command == "leave":
                lease.__exit__(None, None, None)
            elif command == "put":
                kind.store(lease.store.root).put(arguments[0], "by a driver")
            elif command == "stop":  # until the test wakes it; what it does next it has been told already
                os.kill(os.getpid(), signal.SIGSTOP)
                continue
            elif command == "die":
                os._exit(0)
            connection.send("done")
        except StoreError as refused:
            connection.send(f"{type(refused).__name__}: {refused}")


def connect(address):
    """A driver that was started by a command of its own."""
    serve(Client(address), Kind())


class Driver:
    """The test's end of a driver."""

    def __init__(self, connection, started):
        self.connection, self.process = connection, started
        self.pid = self.answer()  # as the driver sees it

    def tell(self, *command):
        self.connection.send(command)

    def answer(self):
        assert self.connection.poll(30), "the driver does not answer"
        return self.connection.recv()

    def ask(self, *command):
        self.tell(*command)
        return self.answer()


@contextmanager
def driver(**kind):
    """A Driver, which is killed at the end. It is forked from a server that has imported everything once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "drivers"])
    here, there = context.Pipe()
    started = context.Process(target=serve, args=(there, Kind(**kind)), daemon=True)
    with mock.patch.dict(os.environ, PYTHONPATH=PYTHONPATH):  # the server does not get the path of this process
        started.start()
    there.close()
    try:
        yield Driver(here, started)
    finally:
        started.kill()
        started.join()


@contextmanager
def driver_after(prefix, folder):
    """A Driver that a command starts which has the words of `prefix` in front."""
    code = "import sys, drivers; drivers.connect(sys.argv[1])"
    with Listener(str(folder / "socket")) as listener:
        environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
        started = subprocess.Popen([*prefix, sys.executable, "-c", code, listener.address], env=environment)
        try:
            with listener.accept() as connection:
                yield Driver(connection, started)
        finally:
            started.kill()
            started.wait()
