"""Prepared copies hold the samples of the files, and are made anew when anything that matters has changed."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from cells import small_cell, train_cell
from data_copies import COPIES, cli, opened, quiet, same
from fixtures import nyud, nyuv2_13, tree
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.benchmarks.copies import cache
from mtlbench.harness.data import prepare
from mtlbench.harness.data.copy import Copy, copy_of
from mtlbench.harness.data.loading import Training, training_batches
from mtlbench.harness.data.places import prepared_in
from mtlbench.harness.data.view import View
from mtlbench.harness.matrix.cell import BenchmarkConfig


@pytest.mark.parametrize("name", COPIES)
def test_prepared_samples_are_those_of_the_files_bit_for_bit(tmp_path, name):
    benchmark_name, make = COPIES[name]
    root, kept = tmp_path / "data", tmp_path / "cache"
    make(root)
    before = tree(root)
    benchmark = BENCHMARKS[benchmark_name]()
    found = prepare.prepare(Copy(benchmark, root), kept, quiet)
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
    config = BenchmarkConfig(name="nyud", size=(32, 64))
    cell = small_cell(tasks=("semseg", "depth", "normals"), train={"batch": 5}, benchmark=config)
    benchmark = BENCHMARKS["nyud"](size=(32, 64))
    tasks = {name: benchmark.tasks[name] for name in cell.tasks}
    records, batches = [], []
    for run in ("files", "prepared"):
        records.append(train_cell(cell, tmp_path / run, root, cache=kept))
        keys = iter([[(0, 0), (0, 3)], [(1, 1), (1, 2)]])
        samples = opened(benchmark, root, cell.tasks, kept)
        view = View((32, 64), benchmark.augmentations["atrc"], "native", benchmark.balance)
        batches.append(list(training_batches(Training(samples, tasks, view, 5), keys)))
        prepare.prepare(Copy(benchmark, root), kept, quiet)
        # Not among the eight whose bytes are looked at, and nothing else tells: from now on the files cannot be read.
        before = (root / "depth/0001.npy").stat()
        (root / "depth/0001.npy").write_bytes(bytes(before.st_size))
        os.utime(root / "depth/0001.npy", ns=(before.st_atime_ns, before.st_mtime_ns))
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
    prepare.prepare(Copy(make(), root), kept, quiet)
    assert isinstance(opened(make(), root, ("depth",), kept), cache.Cache)
    assert isinstance(opened(make(size=(64, 64)), root, ("depth",), kept), cache.Cache)  # of the network, not the files
    assert not isinstance(opened(make(frame="right-up-back"), root, ("depth",), kept), cache.Cache)
    (root / "train/depth/1.npy").write_bytes((root / "train/depth/2.npy").read_bytes())
    assert not isinstance(opened(make(), root, ("depth",), kept), cache.Cache)


@pytest.mark.parametrize("name", COPIES)
def test_a_file_that_was_written_since_is_not_read_as_it_was_prepared(tmp_path, name):
    benchmark_name, make = COPIES[name]
    root, kept = tmp_path / "data", tmp_path / "cache"
    make(root)
    benchmark = BENCHMARKS[benchmark_name]()
    prepare.prepare(Copy(benchmark, root), kept, quiet)
    lists = {"gt_sets", "ImageSets"}  # whose ids are in the fingerprint
    files = [path for path in tree(root) if path.parts[0] not in lists]
    assert {Path(path) for path, _ in benchmark.layout(root).files(root)} == set(files)
    fingerprint, task = benchmark.fingerprint(root), prepare.available(Copy(benchmark, root))[0][0]
    for path in (root / file for file in files):
        before = path.stat()
        assert isinstance(opened(benchmark, root, [task], kept), cache.Cache)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        assert not isinstance(opened(benchmark, root, [task], kept), cache.Cache)
        assert benchmark.fingerprint(root) == fingerprint
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_task_that_was_not_there_when_preparing_is_read_from_the_files_and_named(tmp_path):
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyud(root)
    for path in (root / "edge").iterdir():
        path.unlink()
    (root / "edge").rmdir()
    benchmark = BENCHMARKS["nyud"]()
    found = prepare.prepare(Copy(benchmark, root), kept, quiet)
    assert found.tasks == ("semseg", "depth", "normals")
    assert "edge: no such folder" in found.lacking["edge"]
    with pytest.raises(FileNotFoundError, match="edge: no such folder"):
        opened(benchmark, root, ("depth", "edge"), kept)


def test_a_prepared_split_is_left_as_it_is_and_a_damaged_one_is_named(tmp_path):
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyud(root)
    benchmark = BENCHMARKS["nyud"]()
    found = prepare.prepare(Copy(benchmark, root), kept, quiet)
    before = tree(kept)
    told = []
    prepare.prepare(Copy(benchmark, root), kept, lambda *what: told.append(what))
    assert told == [] and tree(kept) == before
    (found.folder / "train" / "depth.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"train/depth.npy: .*to have it made anew"):
        opened(benchmark, root, ("depth",), kept)[0]


def known(folder):
    return {split: cache.Cache(folder / split).known for split in ("train", "test")}


def test_only_the_labels_that_are_asked_for_are_prepared_and_more_are_added_to_them(tmp_path):
    root, kept, scratch = (tmp_path / name for name in ("data", "cache", "scratch"))
    nyud(root)
    whole = (root / "edge/0003.npy").read_bytes()
    (root / "edge/0003.npy").write_bytes(bytes(len(whole)))
    benchmark = BENCHMARKS["nyud"]()
    with pytest.raises(ValueError, match=r"edge/0003.npy"):
        prepare.prepare(Copy(benchmark, root), kept, quiet)
    folder = prepare.prepare(Copy(benchmark, root), kept, quiet, only=["depth"], scratch=scratch).folder
    assert known(folder) == {"train": ["depth"], "test": ["depth"]}
    found = prepare.prepare(Copy(benchmark, root), kept, quiet, only=["normals", "semseg"], scratch=scratch)
    assert set(found.tasks) == {"semseg", "normals"} and found.lacking == {}
    both = {"train": ["semseg", "depth", "normals"], "test": ["semseg", "depth", "normals"]}
    assert known(found.folder) == known(kept / "prepared" / folder.name) == both
    before = tree(kept)
    with pytest.raises(ValueError, match=r"edge/0003.npy"):
        prepare.prepare(Copy(benchmark, root), kept, quiet)
    assert {path: content for path, content in tree(kept).items() if path.suffix != ".lock"} == {
        path: content for path, content in before.items() if path.suffix != ".lock"
    }  # nothing that was there is lost
    told = []
    prepare.prepare(Copy(benchmark, root), kept, lambda *what: told.append(what), only=["depth"])
    assert told == []
    for split in benchmark.splits:
        files = opened(benchmark, root, both[split], split=split)
        prepared = opened(benchmark, root, both[split], kept, split=split)
        assert isinstance(prepared, cache.Cache)
        assert all(same(one, other) for one, other in zip(files, prepared, strict=True))
    (root / "edge/0003.npy").write_bytes(whole)
    assert known(prepare.prepare(Copy(benchmark, root), kept, quiet).folder)["train"] == list(benchmark.tasks)
    assert not [path for path in tmp_path.rglob(".*") if path.suffix != ".lock"]


def test_a_task_to_prepare_that_is_not_there_is_named(tmp_path):
    root = tmp_path / "data"
    nyud(root)
    shutil.rmtree(root / "edge")
    for task, message in (("edge", "edge: no such folder, but edge"), ("parts", "no task 'parts'; it has semseg")):
        result = cli("prepare", "nyud", "--data", root, "--cache", tmp_path / "c", "--task", task)
        assert result.exit_code == 2 and message in result.stderr
    result = cli("prepare", "nyud", "--data", root, "--cache", tmp_path / "c", "--task", "depth", "--task", "semseg")
    assert result.exit_code == 0 and "2 train, 1 test: semseg, depth;" in result.stdout


def test_a_copy_that_is_slow_to_read_is_told_to_be_prepared_until_it_is(tmp_path):
    config = BenchmarkConfig(name="nyuv2_13", options={"frame": "right-up-back"})
    for layout, told in (("MTAN_npy", ""), ("parquet", "mtlbench data prepare nyuv2_13 --data ")):
        root, kept = tmp_path / layout, tmp_path / f"{layout}-kept"
        nyuv2_13(root, layout)
        said = copy_of(config, root, (kept,)).advice(("depth",), config.options)
        assert (told in said and said.endswith("--set frame=right-up-back")) if told else said == ""
        prepare.prepare(Copy(BENCHMARKS["nyuv2_13"](frame="right-up-back"), root), kept, quiet)
        assert copy_of(config, root, (kept,)).advice(("depth",), config.options) == ""


def test_scratch_of_the_node_is_read_first_and_holds_a_copy(tmp_path, monkeypatch):
    root, kept, scratch = (tmp_path / name for name in ("data", "cache", "scratch"))
    nyud(root)
    benchmark = BENCHMARKS["nyud"]()
    found = prepare.prepare(Copy(benchmark, root), kept, quiet, scratch=scratch)
    assert found.folder.is_relative_to(scratch)
    shared = prepare.prepare(Copy(benchmark, root), kept, quiet).folder
    files = [{k: v for k, v in tree(folder).items() if k.suffix != ".lock"} for folder in (found.folder, shared)]
    assert files[0] == files[1] and files[0]
    for name in ("MTLBENCH_SCRATCH", "TMPDIR"):
        monkeypatch.delenv("MTLBENCH_SCRATCH", raising=False)
        monkeypatch.delenv("TMPDIR", raising=False)
        assert prepared_in(kept) == (kept,) and prepared_in(None) == ()
        monkeypatch.setenv(name, str(scratch))
        assert opened(benchmark, root, ("depth",), *prepared_in(kept)).folder == found.folder / "train"
