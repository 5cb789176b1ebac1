"""Preparing, verifying and examining copies of data sets."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from fixtures import NYUD_FORMATS, SIZE, blocks, labelled_mat, nyud, nyuv2_13, pascal_mt, rooms_as_nyud, save, tree
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.benchmarks.copies import axes as frames
from mtlbench.benchmarks.copies import cache, doctor, evidence
from mtlbench.benchmarks.copies.verify import verify
from mtlbench.benchmarks.nyud import NYUD
from mtlbench.harness.cli.app import app
from mtlbench.harness.data import prepare
from mtlbench.harness.data.copy import Copy, copy_of
from mtlbench.harness.data.loading import Training, training_batches
from mtlbench.harness.data.places import prepared_in
from mtlbench.harness.data.view import View
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell, TrainConfig
from mtlbench.harness.training import train
from mtlbench.harness.training.environment import Environment
from paths import PYTHONPATH, REAL

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


def opened(benchmark, root, tasks, *prepared_in, split="train"):
    return Copy(benchmark, root, prepared_in).split(split, tasks)


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
        records.append(train.train(cell, Environment(str(tmp_path / run), {cell.benchmark.name: root}, cache=kept)))
        keys = iter([[(0, 0), (0, 3)], [(1, 1), (1, 2)]])
        samples = opened(benchmark, root, cell.tasks, kept)
        view = View((32, 64), benchmark.augmentations["atrc"], True, benchmark.balance)
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


# verify


class Small(NYUD):
    """NYUD-v2 as if the whole data set had the sizes of the copies made here."""

    splits = MappingProxyType({"train": 2, "test": 1})


PUBLISHED = NYUD.layouts


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    """The copies made here are smaller than the published ones."""
    for benchmark in (NYUD, BENCHMARKS["nyuv2_13"]):
        monkeypatch.setattr(benchmark, "layouts", tuple(replace(layout, size=None) for layout in benchmark.layouts))


class Published(NYUD):
    """NYUD-v2 whose images have the published size."""

    layouts = PUBLISHED


def problems(root, benchmark=None, tasks=None):
    return verify(benchmark or Small(), root, quiet, tasks).problems


@pytest.mark.parametrize("layout", ["NYUD_MT", "NYUDv2"])
def test_nothing_is_wrong_with_a_whole_copy(tmp_path, layout):
    truth = nyud(tmp_path, layout)
    before = tree(tmp_path)
    report = verify(Small(), tmp_path, quiet)
    assert report.problems == [] and report.lacking == {} and tree(tmp_path) == before
    assert report.reading == {"layout": layout, "frame": "left-up-back"}
    assert report.fingerprint == Small().fingerprint(tmp_path)
    train_report, test_report = report.splits
    assert (train_report.images, train_report.expected, train_report.sizes) == (2, 2, {"34 x 46": 2})
    fields = {field.name: field for field in train_report.fields}
    assert {name: field.read for name, field in fields.items()} == dict.fromkeys(
        ("image", "semseg", "depth", "normals", "edge"), 2
    )
    stored = [truth[name] for name in ("0001", "0003")]
    depths = np.stack([entry["depth"] for entry in stored])
    assert fields["depth"].invalid == pytest.approx((depths == 0).mean())
    assert fields["depth"].least == pytest.approx(depths[depths > 0].min())
    assert fields["depth"].greatest == pytest.approx(depths.max())
    assert fields["semseg"].classes == len(np.unique([entry["segmentation"] for entry in stored])) - 1
    assert fields["semseg"].dtypes == ["uint8"] and fields["normals"].dtypes == ["float32"]
    assert fields["normals"].classes is None and fields["edge"].classes is None
    assert test_report.images == 1


def cut(path, keep):
    def change(root):
        content = (root / path).read_bytes()
        (root / path).write_bytes(content[: int(len(content) * keep)])

    return change


def copy(one, other):
    return lambda root: shutil.copy(root / one, root / other)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (cut("images/0003.jpg", 0.5), ["images/0003.jpg: not a whole picture"]),
        (cut("segmentation/0003.png", 0.5), ["segmentation/0003.png: not a whole picture"]),
        (
            lambda root: [cut(name, 0.5)(root) for name in ("depth/0001.npy", "normals/0001.npy", "edge/0002.npy")],
            ["depth/0001.npy: not a whole .npy", "normals/0001.npy: not a whole .npy", "edge/0002.npy: not a whole"],
        ),
        (
            lambda r: [(r / name).unlink() for name in ("images/0003.jpg", "depth/0003.npy")],
            [
                "images/0003.jpg: no such file, but every task needs it; 1 of 2",
                "depth/0003.npy: no such file, but depth",
            ],
        ),
        (copy("depth/0001.npy", "depth/0003.npy"), ["train 0001 and train 0003 have the same depth"]),
        (copy("segmentation/0001.png", "segmentation/0002.png"), ["train 0001 and test 0002 have the same semseg"]),
        (
            lambda r: [
                copy(f"{folder}/0001.{ending}", f"{folder}/0003.{ending}")(r)
                for folder, (ending, _) in NYUD_FORMATS["NYUD_MT"].items()
            ],
            ["train 0003 have the same image, semseg, depth, normals, edge"],
        ),
        (
            lambda r: [save(r / f"edge/{name}.npy", np.zeros(SIZE)) for name in ("0001", "0003")],
            ["train: every labelled pixel of edge is of class 0"],
        ),
        (copy("images/0001.jpg", "images/0003.jpg"), ["train 0001 and train 0003 are the same picture"]),
        (copy("images/0001.jpg", "images/0002.jpg"), ["train 0001 and test 0002 are the same picture"]),
        (lambda r: save(r / "depth/0001.npy", np.ones(SIZE[::-1], np.float32)), ["depth of .46, 34. for an image of"]),
        (lambda r: save(r / "depth/0001.npy", np.full(SIZE, -1.0)), ["depth/0001.npy: depth -1.0"]),
        (lambda r: save(r / "depth/0002.npy", np.zeros(SIZE)), ["test: no image has a valid pixel for depth"]),
        (lambda r: save(r / "gt_sets/train.txt", "0001"), ["train: 1 images; the whole data set has 2"]),
        (lambda r: shutil.rmtree(r / "edge"), ["edge: no such folder, but edge needs"]),
        (lambda r: (r / "edge/0003.npy").unlink(), ["edge/0003.npy: no such file, but edge needs it; 1 of 2"]),
    ],
)
def test_whatever_is_wrong_is_named_and_nothing_else(tmp_path, change, expected):
    nyud(tmp_path)
    change(tmp_path)
    found = problems(tmp_path)
    assert len(found) == len(expected)
    assert all(re.search(message, problem) for message, problem in zip(expected, found, strict=True)), found


@pytest.mark.parametrize("missing", ["images/0003.jpg", "depth/0003.npy"])
def test_a_missing_file_hides_nothing_of_the_others(tmp_path, missing):
    nyud(tmp_path)
    (tmp_path / missing).unlink()
    save(tmp_path / "segmentation/0003.png", np.full(SIZE, 41, np.uint8))
    report = verify(Small(), tmp_path, quiet)
    assert [problem.split(": ")[0].removeprefix(f"{tmp_path}/") for problem in report.problems] == [
        missing,
        "segmentation/0003.png",
    ]
    field = {"images": "image"}.get(missing.split("/")[0], "depth")
    read = [{found.name: found.read for found in split.fields} for split in report.splits]
    assert read[0] == {"image": 2, "semseg": 1, "depth": 2, "normals": 2, "edge": 2} | {field: 1}
    assert set(read[1].values()) == {1}


def test_a_dataset_that_is_missing_leaves_the_others(tmp_path):
    labelled_mat(tmp_path / "data")
    with h5py.File(tmp_path / "data/nyu_depth_v2_labeled.mat", "r+") as file:
        del file["labels"]
    report = verify(Small(), tmp_path / "data", quiet, ("semseg", "depth"))
    assert len(report.problems) == 1 and "no 'labels' in it" in report.problems[0]
    assert [field.name for field in report.splits[0].fields] == ["image", "depth"]
    found = prepare.prepare(Copy(NYUD(), tmp_path / "data"), tmp_path / "cache", quiet)
    assert found.tasks == ("depth",) and "no 'labels' in it" in found.lacking["semseg"]


@pytest.mark.parametrize("layout", ["NYUD_MT", "NYUDv2"])
def test_images_of_another_size_than_the_layouts_are_wrong(tmp_path, layout):
    nyud(tmp_path, layout)
    found = problems(tmp_path, Published())
    assert f"train: 2 of 2 images are 34 x 46; those of layout {layout} are 425 x 560 (rows x columns)" in found
    sizes = findings(tmp_path, Published())["width and height"]
    assert sizes.verdict == "wrong" and "images are (34, 46), and this layout has (425, 560)" in sizes.detail


def test_a_file_that_may_not_be_read_is_a_problem_and_not_the_end(tmp_path, monkeypatch):
    nyud(tmp_path)
    locked = tmp_path / "depth/0001.npy"
    plain = Path.read_bytes

    def read_bytes(path):
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    def load(path, **options):
        return np.lib.format.read_array(io.BytesIO(read_bytes(path)))

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    monkeypatch.setattr(np, "load", load)
    result = cli("verify", "nyud", "--data", tmp_path, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and report["fingerprint"] is None
    assert sum("Permission denied" in problem and "depth/0001.npy" in problem for problem in report["problems"]) == 1
    for command in ("doctor", "prepare"):
        result = cli(
            command, "nyud", "--data", tmp_path, *(["--cache", tmp_path / "c"] if command == "prepare" else [])
        )
        assert result.exit_code == 2 and "depth/0001.npy" in result.stderr, result.output


def test_a_report_is_json_where_nothing_is_valid(tmp_path):
    nyud(tmp_path)
    save(tmp_path / "depth/0002.npy", np.zeros(SIZE))

    def refuse(constant):
        raise AssertionError(constant)

    report = json.loads(cli("verify", "nyud", "--data", tmp_path, "--json").stdout, parse_constant=refuse)
    depth = report["splits"][1]["fields"][2]
    assert depth["name"] == "depth" and depth["least"] is None and depth["greatest"] is None
    assert "none valid" in cli("verify", "nyud", "--data", tmp_path).stdout


def test_many_problems_of_a_kind_are_counted(tmp_path):
    names = [f"{number:04d}" for number in range(30)]
    nyud(tmp_path, train=names, test=("t",), size=(8, 8))
    for name in names:
        save(tmp_path / f"depth/{name}.npy", np.full((8, 8), 2500.0))
    found = problems(tmp_path, NYUD())
    assert sum("depth 2500.0 in 64 pixels; metres" in problem for problem in found) == 19
    assert "11 more problems with train" in found  # the number of images is one


def test_labels_that_a_layout_may_lack_are_not_wrong_unless_they_are_asked_for(tmp_path):
    labelled_mat(tmp_path)
    report = verify(Small(), tmp_path, quiet)
    assert report.problems == [] and set(report.lacking) == {"normals", "edge"}
    assert "no such folder; usual source" in problems(tmp_path, Small(), ("normals",))[0]
    with pytest.raises(ValueError, match="no task 'parts'; it has semseg"):
        problems(tmp_path, Small(), ("parts",))


@pytest.mark.parametrize("folder", ["pascal-context/trainval", "human_parts", "sal_distill"])
def test_a_folder_that_a_copy_lacks_is_said_once_a_task_and_not_for_each_of_its_files(tmp_path, folder):
    pascal_mt(tmp_path)
    shutil.rmtree(tmp_path / folder)
    about = [line for line in problems(tmp_path, BENCHMARKS["pascal_context"]()) if folder in line]
    assert about and all(f"{folder}: no such folder" in line for line in about)
    assert len(about) == len(set(about)) <= 2


def test_rooms_are_as_they_should_be(tmp_path):
    rooms = BENCHMARKS["rooms"](size=(32, 64), train=3, val=2, test=2)
    report = verify(rooms, tmp_path, quiet, ("semseg", "depth", "normals"))
    assert report.problems == [] and [split.images for split in report.splits] == [3, 2, 2]


# doctor


def turned(frame):
    """Normals in our frame -> stored so that `frame` reads them."""
    axes = torch.eye(3)
    matrix = frames.to_ours(axes, frame).numpy()  # ours = matrix @ stored

    def change(fields):
        return fields | {"normals": (fields["normals"] @ matrix).astype(np.float32)}

    return change


def without(fields, *names):
    return {name: value for name, value in fields.items() if name not in names}


def shifted(by):
    def change(fields):
        ids = fields["segmentation"].astype(int)
        return fields | {"segmentation": np.where(ids > 0, ids + by, 255 if by < 0 else 0).astype(np.uint8)}

    return change


def findings(root, benchmark=None, images=10):
    benchmark = benchmark or NYUD()
    found = doctor.examine(benchmark, root, prepare.available(Copy(benchmark, root))[0], images)
    return {finding.convention: finding for finding in found}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    root = tmp_path_factory.mktemp("healthy")
    rooms_as_nyud(root)
    return root


def test_a_healthy_copy_has_only_right_conventions(healthy):
    found = findings(healthy)
    assert {name: finding.verdict for name, finding in found.items()} == {
        "width and height": "right",
        "class ids": "right",
        "unit of depth": "right",
        "sense of depth": "right",
        "frame of normals": "right",
    }
    assert all(not finding.remedy for finding in found.values())
    assert "focal length 0.81 of the uncropped width assumed" in found["frame of normals"].detail


@pytest.mark.parametrize("frame", ["ahead-down-right", "right-up-back", "left-down-back", "up-left-ahead"])
def test_the_frame_of_normals_is_found_and_its_option_cures_it(tmp_path, frame):
    rooms_as_nyud(tmp_path, images=4, change=turned(frame))
    found = findings(tmp_path)["frame of normals"]
    assert found.verdict == "wrong" and found.remedy == f"set the option frame={frame}"
    assert findings(tmp_path, NYUD(frame=frame))["frame of normals"].verdict == "right"
    other = findings(tmp_path, NYUD(frame="down-left-back"))["frame of normals"]
    assert other.verdict == "wrong" and other.remedy == f"set the option frame={frame}"


def test_a_focal_length_that_is_wrong_by_a_fifth_finds_the_same_frame(healthy):
    for factor in (0.8, 1.25):
        found = doctor.examine(NYUD(), healthy, ("depth", "normals"), focal=factor * evidence.assumed_focal((96, 128)))
        assert found[-1].convention == "frame of normals" and found[-1].verdict == "right"


@pytest.mark.parametrize(
    ("change", "convention", "message"),
    [
        (lambda f: f | {"depth": f["depth"] * 1000}, "unit of depth", "millimetres"),
        (lambda f: f | {"depth": (f["depth"] * 1000).astype(np.uint16)}, "unit of depth", "millimetres"),
        (lambda f: f | {"depth": f["depth"] * 100}, "unit of depth", "centimetres"),
        (lambda f: f | {"depth": f["depth"] / 10}, "unit of depth", "not metres in a room"),
        (
            lambda f: f | {"depth": np.where(f["depth"] > 0, 3 / np.maximum(f["depth"], 0.1), 0).astype(np.float32)},
            "sense of depth",
            "if read as inverse depth",
        ),
        (
            lambda f: f | {"depth": np.where(f["depth"] > 0, 10 - f["depth"], 0).astype(np.float32)},
            "sense of depth",
            "if read as depth subtracted from its greatest value",
        ),
        (
            lambda f: (
                without(f, "normals")
                | {"depth": np.where(f["depth"] > 0, 3 / np.maximum(f["depth"], 0.1), 0).astype(np.float32)}
            ),
            "sense of depth",
            "nearer at the bottom than in the middle in",
        ),
        (shifted(-1), "class ids", "one higher"),
        (shifted(1), "class ids", "one lower"),
        (lambda f: shifted(-1)(without(f, "normals")), "class ids", "one higher"),
        (lambda f: f | {"segmentation": f["segmentation"].T.copy()}, "width and height", "semseg is .128, 96.*swapped"),
        (lambda f: f | {"depth": f["depth"].T.copy()}, "width and height", "depth is .128, 96.*swapped"),
        (lambda f: f | {"normals": f["normals"][:50]}, "width and height", "normals is .50, 128. for an image"),
        (lambda f: f | {"normals": f["normals"] * 2}, "length of normals", "a normal of length 2"),
        (lambda f: without(turned("left-up-ahead")(f), "depth"), "frame of normals", "faces the viewer"),
        (lambda f: without(turned("right-up-back")(f), "depth"), "frame of normals", "channel 0 points right"),
        (lambda f: f | {"normals": f["normals"][:, ::-1].copy()}, "depth and normals", "do not belong together"),
        (lambda f: without(turned("left-down-back")(f), "depth"), "frame of normals", "channel 1 points down"),
    ],
)
def test_a_broken_convention_is_found(tmp_path, change, convention, message):
    rooms_as_nyud(tmp_path, images=6, change=change)
    found = findings(tmp_path)
    assert found[convention].verdict == "wrong", found
    assert re.search(message, found[convention].detail) and found[convention].remedy
    others = {name for name, finding in found.items() if finding.verdict == "wrong"} - {convention}
    assert not others, found


def test_a_copy_that_is_turned_as_a_whole_is_found(tmp_path):
    names = ("images", "segmentation", "depth", "normals", "edge")
    rooms_as_nyud(tmp_path, 2, (425, 560), lambda f: {name: f[name].swapaxes(0, 1).copy() for name in names})
    found = findings(tmp_path, Published(), images=2)["width and height"]
    assert found.verdict == "wrong" and "images are (560, 425), and this layout has (425, 560): swapped" in found.detail
    others = {name: finding for name, finding in findings(tmp_path, Published(), images=2).items() if finding != found}
    assert not any(finding.remedy for finding in others.values())


def test_normals_without_depth_are_right_only_where_every_axis_shows(healthy, tmp_path):
    shutil.copytree(healthy, tmp_path / "data")
    shutil.rmtree(tmp_path / "data/depth")
    assert findings(tmp_path / "data")["frame of normals"].verdict == "right"
    for path in (tmp_path / "data/normals").iterdir():
        normals = np.load(path)
        normals[..., 0] = np.abs(normals[..., 0])  # as if walls were seen on one side only
        np.save(path, normals)
    assert findings(tmp_path / "data")["frame of normals"].verdict == "undecided"


def test_what_pictures_do_not_tell_is_undecided(tmp_path):
    rng = np.random.default_rng(0)

    def noise(fields):
        return fields | {
            "segmentation": blocks(rng, (96, 128), [3, 9]),
            "depth": rng.uniform(1, 5, (96, 128)).astype(np.float32),
        }

    rooms_as_nyud(tmp_path, images=3, change=noise)
    found = findings(tmp_path)
    assert {found[name].verdict for name in ("class ids", "sense of depth", "frame of normals")} == {"undecided"}


def test_backgrounds_tell_ids_off_by_one(tmp_path):
    pascal_mt(tmp_path)
    benchmark = BENCHMARKS["pascal_context"]()
    for number, name in enumerate(("2008_000002", "2008_000003", "2008_000007")):
        size = SIZE if number != 1 else SIZE[::-1]
        label = np.zeros(size, np.uint8)
        label[5:20, 5:20] = 3 + number
        save(tmp_path / f"semseg/VOC12/{name}.png", label)
    assert findings(tmp_path, benchmark)["class ids"].verdict == "right"
    for file in (tmp_path / "semseg/VOC12").iterdir():
        save(file, np.array(Image.open(file)) + np.uint8(1))
    found = findings(tmp_path, benchmark)["class ids"]
    assert found.verdict == "wrong" and "one lower" in found.detail


def test_inverse_depth_of_a_plane_gives_its_normal():
    rows, columns, focal = 60, 80, 70.0
    x = np.arange(columns) - (columns - 1) / 2
    y = np.arange(rows)[:, None] - (rows - 1) / 2
    for toward in ([0.0, 0.0, 1.0], [0.5, 0.2, 0.8], [-0.3, 0.6, 0.7]):
        normal = np.array(toward) / np.linalg.norm(toward)  # left, up, back
        inverse = (normal[0] * x / focal + normal[1] * y / focal + normal[2]) / 3  # of a plane three metres away
        derived, known = evidence.derived_normals(inverse, focal)
        assert known.any()
        assert np.abs(derived[:, known] - normal[:, None]).max() < 0.01


# command line


def cli(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_verify_exits_with_1_when_something_is_wrong_and_says_so_in_json_too(tmp_path):
    nyud(tmp_path)
    result = cli("verify", "nyud", "--data", tmp_path)
    assert result.exit_code == 1
    assert "wrong: train: 2 images; the whole data set has 795" in result.stdout and "2 problems" in result.stdout
    assert "layout NYUD_MT" in result.stdout
    result = cli("verify", "nyud", "--data", tmp_path, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and len(report["problems"]) == 2
    assert report["splits"][0]["fields"][2]["name"] == "depth"


def test_doctor_exits_with_1_when_a_convention_is_wrong(tmp_path, healthy):
    result = cli("doctor", "nyud", "--data", healthy)
    assert result.exit_code == 0 and "right      frame of normals: left-up-back" in result.stdout
    rooms_as_nyud(tmp_path, images=4, change=turned("ahead-down-right"))
    result = cli("doctor", "nyud", "--data", tmp_path)
    assert result.exit_code == 1 and "-> set the option frame=ahead-down-right" in result.stdout
    result = cli("doctor", "nyud", "--data", tmp_path, "--set", "frame=ahead-down-right", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)[-1]["verdict"] == "right"


def test_prepare_says_where_training_finds_what_it_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("MTLBENCH_CACHE", raising=False)
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyud(root)
    result = cli("prepare", "nyud", "--data", root, "--cache", kept, "--scratch", tmp_path / "scratch")
    assert result.exit_code == 0
    assert "2 train, 1 test: semseg, depth, normals, edge" in result.stdout
    assert f"export MTLBENCH_CACHE={kept}" in result.stdout
    assert f"export MTLBENCH_SCRATCH={tmp_path / 'scratch'}" in result.stdout
    assert isinstance(opened(NYUD(), root, ("depth",), kept), cache.Cache)


def test_prepare_ends_with_2_and_a_sentence_when_it_cannot(tmp_path):
    root = tmp_path / "data"
    nyud(root)
    (tmp_path / "file").write_text("")
    result = cli("prepare", "nyud", "--data", root, "--cache", tmp_path / "file")
    assert result.exit_code == 2 and "the cache could not be written" in result.stderr
    (root / "depth/0001.npy").write_bytes(b"")
    result = cli("prepare", "nyud", "--data", root, "--cache", tmp_path / "cache")
    assert result.exit_code == 2 and "depth/0001.npy: not a whole .npy" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "nyud"), "benchmark nyud reads data from disk: give --data PATH"),
        (("doctor", "nyud", "--data", "/nowhere"), "--data /nowhere: no such folder"),
        (
            ("verify", "nyud", "--data", "/", "--set", "size=abc"),
            "--set size: Input should be a valid tuple, not 'abc'",
        ),
        (("verify", "nyud", "--data", "/", "--set", "size=[32, x]"), "--set size.1: Input should be a valid integer"),
        (("verify", "nyud", "--data", "/", "--set", "size=[32, 33]"), "[32, 33]: rows and columns must be multiples"),
        (("prepare", "nyu"), "unknown benchmark 'nyu'; known: rooms, nyud"),
        (("verify", "nyud", "--data", "/", "--set", "layout"), "--set layout: write KEY=VALUE"),
        (("verify", "nyud", "--data", "/", "--set", "layout=mine"), "no layout 'mine'; it has NYUD_MT"),
        (
            ("verify", "nyud", "--data", "/", "--set", "colour=red"),
            "nyud has no option 'colour'; it has: layout, frame",
        ),
    ],
)
def test_wrong_use_ends_with_2_and_a_sentence(arguments, message):
    result = cli(*arguments)
    assert result.exit_code == 2 and message in result.stderr


def test_rooms_are_made_by_prepare(tmp_path):
    options = [word for key in ("train=2", "val=1", "test=1", "size=[32, 64]") for word in ("--set", key)]
    result = cli("prepare", "rooms", "--cache", tmp_path, *options)
    assert result.exit_code == 0
    assert len(list(tmp_path.glob("rooms/rooms-32x64-*/*/index.json"))) == 3


@pytest.mark.skipif(not REAL.is_dir(), reason="no real images here")
def test_real_copies_keep_their_conventions():
    assert {finding.verdict for finding in findings(REAL / "NYUD_MT").values()} == {"right", "undecided"}
    assert findings(REAL / "NYUD_MT")["frame of normals"].verdict == "right"
    pascal = findings(REAL / "PASCAL_MT", BENCHMARKS["pascal_context"]())
    assert {finding.verdict for finding in pascal.values()} == {"right"}
    report = verify(NYUD(), REAL / "NYUD_MT", quiet, ("semseg", "depth", "normals"))
    assert len(report.problems) == 3 and "no image has a valid pixel for semseg" in report.problems[-1]
