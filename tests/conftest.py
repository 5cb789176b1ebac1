import contextlib
import fcntl
import math
import os
import shutil
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)


def cpus():
    """The CPUs that this process may use, by its affinity and by the quota of its control group."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    allowed, period = quota.read_text().split() if quota.is_file() else ("max", "1")
    return here if allowed == "max" else max(1, min(here, math.ceil(int(allowed) / int(period))))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """For -n auto."""
    return cpus()


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder that all workers of a session share. What is made in it is made under a lock."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def rooms(shared):
    """A folder for rendered rooms. Whoever needs rooms first renders them, and the others wait; nobody changes them."""
    folder = shared / "rooms"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def once(shared):
    """`once(name, make)` is a folder that `make` has filled for all workers. Nobody changes it.

    Whoever needs it first makes it, and the others wait. With `--dist worksteal` several workers may run tests of one
    file, and each of them would make what a fixture of a module makes.
    """

    def made(name, make):
        folder, whole = shared / name, shared / f"{name}.whole"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed
                folder.mkdir()
                make(folder)
                whole.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def turn(shared):
    """Waits for one of as many places as there are CPUs, or for all of them: `with turn():`, `with turn(whole=True):`.

    Whatever starts a scheduler takes a place, so that its processes get a CPU and its deadlines mean something. These
    are locks and no groups of xdist: with `--dist worksteal`, which has no groups, tests of one file stay with one
    worker, so that what a module makes for its tests is seldom made twice.
    """

    @contextlib.contextmanager
    def taken(*, whole=False):
        with contextlib.ExitStack() as held:
            places = [held.enter_context((shared / f"turn-{place}.lock").open("w")) for place in range(cpus())]
            if whole:
                for place in places:
                    fcntl.flock(place, fcntl.LOCK_EX)
            else:
                while not any(map(_free, places)):
                    time.sleep(0.2)
            yield

    return taken


def _free(place):
    """Whether a lock was free. It is taken then."""
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@pytest.fixture
def in_turn(turn):
    """One test of as many as there are CPUs."""
    with turn():
        yield


@pytest.fixture
def alone(turn):
    """No other test that takes its turn runs meanwhile."""
    with turn(whole=True):
        yield


@pytest.fixture(scope="session")
def empty_database(shared):
    """A database of MLflow without a run, made once for all workers: the migrations of a new one take seconds."""
    from mtlbench.harness.tracking import connection

    with (shared / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = shared / "mlflow.db"
        if not path.exists():
            partial = shared / "mlflow.partial.db"
            connection.client(f"sqlite:///{partial}").search_experiments()
            partial.rename(path)
    return path


@pytest.fixture(scope="session")
def commands_in(shared, empty_database):
    """A function that gives the command line in processes that start in a folder."""
    from command import Commands

    return lambda folder: Commands(folder, shared, empty_database)


@pytest.fixture
def commands(commands_in, tmp_path):
    """The command line in processes that start in tmp_path."""
    return commands_in(tmp_path)


@pytest.fixture
def small_networks(monkeypatch):
    """Networks for which no backbone is named are built on the small one."""
    from functools import partial

    from cells import BACKBONE
    from mtlbench import methods

    monkeypatch.setattr(methods, "build", partial(methods.build, backbone=BACKBONE))


@pytest.fixture
def any_size(monkeypatch):
    """Copies of data sets may have images of any size: those that tests make are smaller than the published ones."""
    from dataclasses import replace

    from mtlbench.benchmarks import BENCHMARKS

    for name in ("nyud", "nyuv2_13"):
        layouts = tuple(replace(layout, size=None) for layout in BENCHMARKS[name].layouts)
        monkeypatch.setattr(BENCHMARKS[name], "layouts", layouts)


@pytest.fixture(scope="session")
def healthy(tmp_path_factory):
    """Ten rooms as a copy of NYUD-v2, in which nothing is wrong. Nobody changes it."""
    from fixtures import rooms_as_nyud

    root = tmp_path_factory.mktemp("healthy")
    rooms_as_nyud(root)
    return root


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A report of three seeds with gaps, and the folder that it is in. Nobody changes it."""
    from make_records import three_seeds
    from mtlbench.results.report.write import report

    folder = tmp_path_factory.mktemp("report")
    return report(three_seeds(folder / "store"), ["rooms"], folder / "out"), folder / "out" / "rooms"


@pytest.fixture
def go(monkeypatch, tmp_path, rooms):
    """Runs a matrix in this process, into tmp_path / "s"."""
    from in_process import running

    return running(monkeypatch, tmp_path, rooms)


@pytest.fixture
def undrawn(monkeypatch):
    """Reports without figures, for tests that look at none: most of a report's time goes into them."""
    from mtlbench.results.report.drawing.figures import FIGURES

    for name in list(reversed(FIGURES)):  # they come back in the order of before, which is that of a page
        monkeypatch.delitem(FIGURES, name)
