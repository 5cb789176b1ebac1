"""A preparation that is stopped, by a full disk, a damaged file or a signal, leaves nothing that counts."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext

import pytest

from data_copies import opened, quiet
from fixtures import SIZE, nyud
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.benchmarks.copies import cache
from mtlbench.harness.data import prepare
from mtlbench.harness.data.copy import Copy
from paths import PYTHONPATH


def test_a_disk_that_is_too_small_is_found_after_a_few_images(tmp_path, monkeypatch):
    root, kept, scratch = (tmp_path / name for name in ("data", "cache", "scratch"))
    nyud(root, train=[f"{number:04d}" for number in range(30)], test=("t",))
    benchmark = BENCHMARKS["nyud"]()
    pixel = 3 + 1 + 4 + 12 + 1  # bytes of the image and of each label
    needed = 30 * SIZE[0] * SIZE[1] * pixel
    usage = shutil.disk_usage(tmp_path)
    for free, enough in ((needed * 21 // 30, False), (needed * 23 // 30, True)):  # eight of them are written by then
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage._replace(free=free))
        told = []
        with (
            nullcontext()
            if enough
            else pytest.raises(
                OSError, match=r"about 0.00 GB more are needed and 0.00 GB are free: .*choose another folder.*train"
            )
        ):
            prepare.prepare(Copy(benchmark, root), kept, lambda *what, told=told: told.append(what))
        assert enough or (len(told) == 7 and left(kept) == [])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))  # a copy's headers take more
    with pytest.raises(OSError, match=r"are needed .*scratch"):
        prepare.prepare(Copy(benchmark, root), kept, quiet, scratch=scratch)
    assert left(scratch) == []


@contextmanager
def largest_file(size):
    """As on a full disk, writes beyond `size` bytes fail."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def left(folder):
    """Everything below a folder but locks and folders."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_full_disk_is_an_error_that_names_the_folder_and_leaves_nothing(tmp_path):
    root, kept, scratch = (tmp_path / name for name in ("data", "cache", "scratch"))
    nyud(root)
    benchmark = BENCHMARKS["nyud"]()
    with largest_file(8000), pytest.raises(OSError, match=r"could not be written; free space.*prepared/nyud.*train"):
        prepare.prepare(Copy(benchmark, root), kept, quiet)
    assert left(kept) == []
    prepare.prepare(Copy(benchmark, root), kept, quiet)
    with largest_file(8000), pytest.raises(OSError, match=r"could not be written; free space.*scratch/prepared"):
        prepare.prepare(Copy(benchmark, root), kept, quiet, scratch=scratch)
    assert left(scratch) == []


def test_nothing_of_a_split_with_a_damaged_file_is_kept(tmp_path):
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyud(root)
    path = root / "depth/0003.npy"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"depth/0003.npy: not a whole .npy"):
        prepare.prepare(Copy(BENCHMARKS["nyud"](), root), kept, quiet)
    assert left(kept) == []


PREPARE = """
import os, signal, sys
from pathlib import Path
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.harness.data.copy import Copy
from mtlbench.harness.data.prepare import prepare

def progress(what, done, total):
    if what.startswith("test") and done == 1:
        os.kill(os.getpid(), signal.SIGKILL)

prepare(Copy(BENCHMARKS["nyud"](), Path(sys.argv[1])), Path(sys.argv[2]), progress)
"""


@pytest.mark.slow
def test_a_killed_prepare_keeps_the_splits_that_were_whole_and_starts_the_other_anew(tmp_path):
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyud(root, test=("0002", "0004"))
    killed = subprocess.run([sys.executable, "-c", PREPARE, root, kept], env={**os.environ, "PYTHONPATH": PYTHONPATH})
    assert killed.returncode == -signal.SIGKILL
    benchmark = BENCHMARKS["nyud"]()
    assert isinstance(opened(benchmark, root, ("depth",), kept), cache.Cache)
    assert not isinstance(opened(benchmark, root, ("depth",), kept, split="test"), cache.Cache)
    told = []
    prepare.prepare(Copy(benchmark, root), kept, lambda *what: told.append(what))
    assert told == [("test, images", 1, 2), ("test, images", 2, 2)]
    assert len(opened(benchmark, root, ("depth",), kept, split="test")) == 2
    assert not [path for path in kept.rglob("*.partial")]
