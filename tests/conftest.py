import fcntl
import math
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """For -n auto: the CPUs that this process may use, by its affinity and by the quota of its control group."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    allowed, period = quota.read_text().split() if quota.is_file() else ("max", "1")
    return cpus if allowed == "max" else max(1, min(cpus, math.ceil(int(allowed) / int(period))))


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


@pytest.fixture
def alone(shared):
    """For tests that start a scheduler or measure time: only one of them runs at once, whatever the number of workers.

    A lock and no group of xdist: with `--dist worksteal`, which has no groups, tests of one file stay with one worker,
    so that what a module makes for its tests is seldom made twice.
    """
    with (shared / "alone.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def go(monkeypatch, tmp_path, rooms):
    """Runs a matrix in this process, into tmp_path / "s"."""
    from in_process import running

    return running(monkeypatch, tmp_path, rooms)
