"""Preparing, verifying and examining copies of data sets."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from fixtures import labelled_mat, nyud, nyuv2_13, pascal_mt, tree

from benchmarks import BENCHMARKS, cache
from harness import data, train
from harness.cell import BenchmarkConfig, Cell, TrainConfig
from harness.loading import training_batches

COPIES = {  # name -> (benchmark, maker)
    "NYUD_MT": ("nyud", nyud),
    "NYUDv2": ("nyud", lambda root: nyud(root, "NYUDv2")),
    "labelled_mat": ("nyud", labelled_mat),
    "PASCAL_MT": ("pascal_context", pascal_mt),
    "MTAN_npy": ("nyuv2_13", nyuv2_13),
    "parquet": ("nyuv2_13", lambda root: nyuv2_13(root, "parquet")),
}


def quiet(what, done, total):
    pass


def same(one, other):
    return (
        one.id == other.id
        and torch.equal(one.image, other.image)
        and one.labels.keys() == other.labels.keys()
        and all(one.labels[name].dtype == other.labels[name].dtype for name in one.labels)
        and all(one.labels[name].numpy().tobytes() == other.labels[name].numpy().tobytes() for name in one.labels)
    )


def opened(benchmark, root, tasks, *places, split="train"):
    return data.open_split(benchmark, root, split, tasks, benchmark.fingerprint(root), places)


@pytest.mark.parametrize("name", COPIES)
def test_prepared_samples_are_those_of_the_files_bit_for_bit(tmp_path, name):
    benchmark_name, make = COPIES[name]
    root, kept = tmp_path / "data", tmp_path / "cache"
    make(root)
    before = tree(root)
    benchmark = BENCHMARKS[benchmark_name]()
    found = data.prepare(benchmark, root, kept, quiet)
    assert tree(root) == before
    assert found.tasks and set(found.tasks) | set(found.lacking) == set(benchmark.tasks)
    for split in benchmark.splits:
        files = opened(benchmark, root, found.tasks, split=split)
        prepared = opened(benchmark, root, found.tasks, kept, split=split)
        assert isinstance(prepared, cache.Cache) and not isinstance(files, cache.Cache)
        assert len(prepared) == len(files) == found.images[split]
        assert all(same(one, other) for one, other in zip(prepared, files, strict=True))


def test_batches_and_weights_do_not_depend_on_where_samples_come_from(tmp_path):
    root, kept = tmp_path / "data", tmp_path / "cache"
    names = [f"{number:04d}" for number in range(12)]
    nyud(root, train=names[:10], test=names[10:], size=(48, 64))
    cell = Cell(
        method="multi_task",
        tasks=("semseg", "depth", "normals"),
        benchmark=BenchmarkConfig(name="nyud", size=(32, 64)),
        train=TrainConfig(epochs=1, batch=5),
    )
    benchmark = BENCHMARKS["nyud"](size=(32, 64))
    tasks = {name: benchmark.tasks[name] for name in cell.tasks}
    records, batches = [], []
    for run in ("files", "prepared"):
        records.append(train.train(cell, train.Place(str(tmp_path / run), root, cache=kept)))
        keys = iter([[(0, 0), (0, 3)], [(1, 1), (1, 2)]])
        samples = opened(benchmark, root, cell.tasks, kept)
        batches.append(list(training_batches(samples, tasks, (32, 64), benchmark.augmentations["atrc"], 5, keys)))
        data.prepare(benchmark, root, kept, quiet)
        # Of the old size and not among the eight whose bytes are looked at: from now on the files cannot be read.
        (root / "depth/0001.npy").write_bytes(bytes((root / "depth/0001.npy").stat().st_size))
    with pytest.raises(ValueError, match=r"depth/0001.npy"):
        list(benchmark.open(root, "train", cell.tasks))
    assert records[0].scores == records[1].scores
    files = [(tmp_path / run / "cells" / cell.id / "model.safetensors").read_bytes() for run in ("files", "prepared")]
    assert files[0] == files[1]
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one.image, other.image)
        assert all(torch.equal(one.labels[name], other.labels[name]) for name in tasks)


def test_what_makes_other_samples_makes_another_cache(tmp_path):
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyuv2_13(root)
    make = BENCHMARKS["nyuv2_13"]
    data.prepare(make(), root, kept, quiet)
    assert isinstance(opened(make(), root, ("depth",), kept), cache.Cache)
    assert isinstance(opened(make(size=(64, 64)), root, ("depth",), kept), cache.Cache)  # of the network, not the files
    assert not isinstance(opened(make(frame="right-up-back"), root, ("depth",), kept), cache.Cache)
    (root / "train/depth/1.npy").write_bytes((root / "train/depth/2.npy").read_bytes())
    assert not isinstance(opened(make(), root, ("depth",), kept), cache.Cache)


def test_a_task_that_was_not_there_when_preparing_is_read_from_the_files_and_named(tmp_path):
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyud(root)
    for path in (root / "edge").iterdir():
        path.unlink()
    (root / "edge").rmdir()
    benchmark = BENCHMARKS["nyud"]()
    found = data.prepare(benchmark, root, kept, quiet)
    assert found.tasks == ("semseg", "depth", "normals")
    assert "edge: no such folder" in found.lacking["edge"]
    with pytest.raises(FileNotFoundError, match="edge: no such folder"):
        opened(benchmark, root, ("depth", "edge"), kept)


def test_a_prepared_split_is_left_as_it_is_and_a_damaged_one_is_named(tmp_path):
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyud(root)
    benchmark = BENCHMARKS["nyud"]()
    found = data.prepare(benchmark, root, kept, quiet)
    before = tree(kept)
    told = []
    data.prepare(benchmark, root, kept, lambda *what: told.append(what))
    assert told == [] and tree(kept) == before
    (found.folder / "train" / "depth.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"train/depth.npy: .*to have it made anew"):
        opened(benchmark, root, ("depth",), kept)[0]


def test_scratch_of_the_node_is_read_first_and_holds_a_copy(tmp_path, monkeypatch):
    root, kept, scratch = (tmp_path / name for name in ("data", "cache", "scratch"))
    nyud(root)
    benchmark = BENCHMARKS["nyud"]()
    found = data.prepare(benchmark, root, kept, quiet, scratch=scratch)
    assert found.folder.is_relative_to(scratch)
    shared = data.prepare(benchmark, root, kept, quiet).folder
    files = [{k: v for k, v in tree(folder).items() if k.suffix != ".lock"} for folder in (found.folder, shared)]
    assert files[0] == files[1] and files[0]
    for name in ("MTLBENCH_SCRATCH", "TMPDIR"):
        monkeypatch.delenv("MTLBENCH_SCRATCH", raising=False)
        monkeypatch.delenv("TMPDIR", raising=False)
        assert data.caches(kept) == (kept,) and data.caches(None) == ()
        monkeypatch.setenv(name, str(scratch))
        assert opened(benchmark, root, ("depth",), *data.caches(kept)).folder == found.folder / "train"


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
        data.prepare(benchmark, root, kept, quiet)
    assert left(kept) == []
    data.prepare(benchmark, root, kept, quiet)
    with largest_file(8000), pytest.raises(OSError, match=r"could not be written; free space.*scratch/prepared"):
        data.prepare(benchmark, root, kept, quiet, scratch=scratch)
    assert left(scratch) == []


def test_nothing_of_a_split_with_a_damaged_file_is_kept(tmp_path):
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyud(root)
    path = root / "depth/0003.npy"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"depth/0003.npy: not a whole .npy"):
        data.prepare(BENCHMARKS["nyud"](), root, kept, quiet)
    assert left(kept) == []


PREPARE = """
import os, signal, sys
from pathlib import Path
from benchmarks import BENCHMARKS
from harness import data

def progress(what, done, total):
    if what.startswith("test") and done == 1:
        os.kill(os.getpid(), signal.SIGKILL)

data.prepare(BENCHMARKS["nyud"](), Path(sys.argv[1]), Path(sys.argv[2]), progress)
"""


def test_a_killed_prepare_keeps_the_splits_that_were_whole_and_starts_the_other_anew(tmp_path):
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyud(root, test=("0002", "0004"))
    here = str(Path(__file__).parents[1])
    killed = subprocess.run([sys.executable, "-c", PREPARE, root, kept], env={**os.environ, "PYTHONPATH": here})
    assert killed.returncode == -signal.SIGKILL
    benchmark = BENCHMARKS["nyud"]()
    assert isinstance(opened(benchmark, root, ("depth",), kept), cache.Cache)
    assert not isinstance(opened(benchmark, root, ("depth",), kept, split="test"), cache.Cache)
    told = []
    data.prepare(benchmark, root, kept, lambda *what: told.append(what))
    assert told == [("test, images", 1, 2), ("test, images", 2, 2)]
    assert len(opened(benchmark, root, ("depth",), kept, split="test")) == 2
    assert not [path for path in kept.rglob("*.partial")]
