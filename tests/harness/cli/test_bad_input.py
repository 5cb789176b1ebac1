"""Bad data, from the first sentence a user sees to what is left on disk: named by training, `prepare` and `verify`."""

import os
import re
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cells import small_cell, train_cell
from fixtures import nyud, nyuv2_13, pascal_mt, save, tree
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.benchmarks import nyud as nyud_module
from mtlbench.benchmarks.copies import cache
from mtlbench.benchmarks.copies import files as files_module
from mtlbench.benchmarks.copies.verify import verify
from mtlbench.harness.cli.app import app
from mtlbench.harness.data import prepare
from mtlbench.harness.data.copy import Copy, copy_of
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.scoring import constant

SIZE = (48, 64)
TASKS = ("semseg", "depth", "normals")
TRAIN = ("0001", "0003")


def quiet(what, done, total):
    pass


def stored(path, change):
    """Changes an array on disk."""

    def apply(root):
        array = np.load(root / path)
        change(array)
        np.save(root / path, array)

    return apply


def put(path, value, at=(0, 0)):
    return stored(path, lambda array: array.__setitem__(at, value))


def cut(path, keep):
    def change(root):
        content = (root / path).read_bytes()
        (root / path).write_bytes(content[: int(len(content) * keep)])

    return change


def flip(path, byte, bit):
    def change(root):
        content = bytearray((root / path).read_bytes())
        content[byte] ^= bit
        (root / path).write_bytes(content)

    return change


def archive(path):
    def change(root):
        with (root / path).open("wb") as file:
            np.savez(file, depth=np.ones(SIZE))

    return change


def write(path, content):
    return lambda root: save(root / path, content)


DAMAGED = {  # of one file of a training image: change, and the sentence
    "truncated JPEG": (cut("images/0003.jpg", 0.6), r"images/0003.jpg: not a whole picture"),
    "empty JPEG": (cut("images/0003.jpg", 0), r"images/0003.jpg: not a whole picture"),
    "truncated PNG": (cut("segmentation/0003.png", 0.6), r"segmentation/0003.png: not a whole picture"),
    "truncated npy": (cut("depth/0003.npy", 0.6), r"depth/0003.npy: not a whole .npy file"),
    "npy whose header is damaged": (flip("depth/0003.npy", 10, 32), r"depth/0003.npy: not a whole .npy file"),
    "npy of strings": (write("depth/0003.npy", np.full(SIZE, "1")), r"depth/0003.npy: <U1 .*numbers are needed"),
    "npy without a value": (write("depth/0003.npy", np.ones((0, 64))), r"depth/0003.npy: .*at least one"),
    "archive instead of npy": (archive("depth/0003.npy"), r"depth/0003.npy: not a .npy file but an archive"),
    "PNG whose header is damaged": (flip("segmentation/0003.png", 11, 4), r"segmentation/0003.png: not a whole pict"),
    "label of another size": (
        write("depth/0003.npy", np.ones((48, 63), np.float32)),
        r"depth/0003.npy: depth of \(48, 63\) for an image of \(48, 64\)",
    ),
    "class id out of range": (
        write("segmentation/0003.png", np.full(SIZE, 41, np.uint8)),
        r"segmentation/0003.png: class id 41 in 3072 pixels; ids are 1 to 40, and 0",
    ),
    "NaN depth": (put("depth/0003.npy", np.nan), r"depth/0003.npy: depth nan in 1 pixels"),
    "infinite depth": (put("depth/0003.npy", np.inf), r"depth/0003.npy: depth inf in 1 pixels"),
    "negative depth": (put("depth/0003.npy", -0.1), r"depth/0003.npy: depth -0.1\d* in 1 pixels"),
    "depth in millimetres": (
        stored("depth/0003.npy", lambda depth: np.multiply(depth, 1000, out=depth)),
        r"depth/0003.npy: depth \d+\.\d+ in \d+ pixels; metres from 0 .invalid. to 100",
    ),
    "normals not of length 1": (
        stored("normals/0003.npy", lambda normals: np.multiply(normals, 1.5, out=normals)),
        r"normals/0003.npy: a normal of length 1.5 in \d+ pixels; unit vectors are needed",
    ),
    "NaN normal": (put("normals/0003.npy", np.nan), r"normals/0003.npy: a normal of length nan in 1 pixels"),
}


@pytest.fixture
def root(tmp_path):
    nyud(tmp_path / "data", train=TRAIN, test=("0002",), size=SIZE)
    return tmp_path / "data"


def run(root, store, cached=None):
    cell = small_cell(tasks=TASKS, benchmark=BenchmarkConfig(name="nyud", size=(32, 32)))
    return train_cell(cell, store, root, cache=cached)


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named_by_every_command_and_never_cached(root, tmp_path, name):
    change, message = DAMAGED[name]
    change(root)
    with pytest.raises(ValueError, match=message):
        list(BENCHMARKS["nyud"]().open(root, "train", TASKS))
    with pytest.raises(ValueError, match=message):
        prepare.prepare(Copy(BENCHMARKS["nyud"](), root), tmp_path / "cache", quiet)
    assert files(tmp_path / "cache") == []
    result = CliRunner().invoke(app, ["data", "verify", "nyud", "--data", str(root)])
    assert result.exit_code == 1
    wrong = [line for line in result.stdout.splitlines() if "0003" in line and line.startswith("wrong:")]
    assert len(wrong) == 1
    with pytest.raises(ValueError, match=message):  # the very sentence
        raise ValueError(wrong[0])


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("nyud", nyud),
        ("nyud", lambda root: nyud(root, "NYUDv2")),
        ("nyuv2_13", lambda root: nyuv2_13(root, "parquet")),
    ],
)
def test_whatever_bit_of_a_file_is_wrong_the_error_names_the_file(tmp_path, name, make):
    make(tmp_path)
    benchmark = BENCHMARKS[name]()
    samples = benchmark.open(tmp_path, "train", tuple(benchmark.tasks))
    rng = np.random.default_rng(0)
    refused = 0  # .mat files are left out: SciPy's reader may crash where one that is not compressed is damaged
    for path, _ in benchmark.layout(tmp_path).files(tmp_path):
        whole = (tmp_path / path).read_bytes()
        for place in rng.integers(0, min(len(whole), 300), 8):
            flip(path, place, 1 << rng.integers(0, 8))(tmp_path)
            try:
                list(samples)
            except ValueError as error:  # anything else fails the test
                refused += 1
                assert Path(path).stem in str(error)  # of a pair of sizes that differ, the label is named
            (tmp_path / path).write_bytes(whole)
    assert refused > 3  # so that this is a test of errors


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0001\n0003\n".encode("utf-16"), r"gt_sets/train.txt: not a text of image ids in UTF-8"),
        (b"0001\nsub/0003\n", r"gt_sets/train.txt: 'sub/0003' in 1 lines; ids are names of files without a folder"),
        (b"/0001\n", r"gt_sets/train.txt: '/0001' in 1 lines"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_before_anything_else(root, content, message):
    (root / "sub").mkdir()
    (root / "gt_sets/train.txt").write_bytes(content)
    for tasks in ((), TASKS):
        with pytest.raises(ValueError, match=message):
            BENCHMARKS["nyud"]().open(root, "train", tasks)


def test_training_ends_with_the_sentence_and_without_a_record(root, tmp_path):
    change, message = DAMAGED["truncated JPEG"]
    change(root)
    with pytest.raises(ValueError, match=message):
        run(root, tmp_path / "store")
    assert not list(tmp_path.glob("store/cells/*/record.json"))


def refuse(*arguments):
    raise PermissionError(13, "Permission denied", "depth/0003.npy")


@pytest.mark.parametrize("name", ["NaN depth", "truncated JPEG", "unreadable"])
def test_run_ends_with_the_sentence_before_a_cell_is_started(root, tmp_path, monkeypatch, name):
    if name == "unreadable":
        monkeypatch.setattr(nyud_module, "load_npy", refuse)
        monkeypatch.setattr(files_module, "load_npy", refuse)
    change, message = DAMAGED.get(name, (lambda root: None, "Permission denied: .?depth/0003.npy"))
    change(root)
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    matrix = tmp_path / "m.yaml"
    matrix.write_text(
        "benchmark: {name: nyud, tasks: [[depth]], size: [32, 32]}\nmethods: [single_task]\n"
        "backbone: {name: resnet10t}\ntrain: {epochs: 1, batch: 2}\n"
    )
    store = tmp_path / "store"
    result = CliRunner().invoke(app, ["run", str(matrix), "--store", str(store), "--data", f"nyud={root}"])
    assert result.exit_code == 2, result.output
    assert re.search(f"^mtlbench: .*{message}", result.stderr, re.MULTILINE)
    assert not list(store.glob("cells/*/*.json"))


def test_a_file_that_was_damaged_after_preparing_is_not_read(root, tmp_path):
    prepare.prepare(Copy(BENCHMARKS["nyud"](), root), tmp_path / "cache", quiet)
    fingerprint = BENCHMARKS["nyud"]().fingerprint(root)
    DAMAGED["truncated npy"][0](root)
    assert BENCHMARKS["nyud"]().fingerprint(root) != fingerprint  # so what was prepared does not pass for this copy
    with pytest.raises(ValueError, match=DAMAGED["truncated npy"][1]):
        run(root, tmp_path / "store", tmp_path / "cache")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (write("gt_sets/train.txt", ""), r"gt_sets/train.txt: no image ids in it"),
        (write("gt_sets/train.txt", "\r\n \r\n"), r"gt_sets/train.txt: no image ids in it"),
        (write("gt_sets/train.txt", "0001\n0009\n"), r"images/0009.jpg: no such file.*1 of 2 images"),
        (write("gt_sets/train.txt", "0001\n0003\n0001\n"), r"1 ids occur more than once, '0001' first"),
        (lambda root: (root / "gt_sets/train.txt").unlink(), r"gt_sets/train.txt: no such list"),
        (lambda root: shutil.rmtree(root / "normals"), r"normals: no such folder, but normals needs.*NYUD_MT.tgz"),
        (lambda root: (root / "normals/0003.npy").unlink(), r"normals/0003.npy: no such file.*1 of 2 images"),
    ],
)
def test_a_list_that_is_wrong_and_a_file_that_is_missing_are_named_before_anything_is_read(root, change, message):
    change(root)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        BENCHMARKS["nyud"]().open(root, "train", TASKS)
    result = CliRunner().invoke(app, ["data", "verify", "nyud", "--data", str(root)])
    assert result.exit_code in (1, 2)
    with pytest.raises(ValueError, match=message):
        raise ValueError(result.stdout + result.stderr)


def test_an_empty_folder_of_numbered_images_is_named(tmp_path):
    nyuv2_13(tmp_path)
    for path in (tmp_path / "val/image").iterdir():
        path.unlink()
    result = CliRunner().invoke(app, ["data", "prepare", "nyuv2_13", "--data", str(tmp_path), "--cache", "/nowhere"])
    assert result.exit_code == 2 and "val/image: no file 0.npy" in result.stderr


def test_lists_with_windows_line_ends_train_to_the_same_weights(root, tmp_path):
    run(root, tmp_path / "unix")
    for split in ("train", "val"):
        path = root / "gt_sets" / f"{split}.txt"
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    run(root, tmp_path / "windows")
    weights = [next((tmp_path / name).glob("cells/*/model.safetensors")).read_bytes() for name in ("unix", "windows")]
    assert weights[0] == weights[1]


WRITES = (
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.truncate",
    "os.chmod",
    "os.symlink",
    "os.link",
    "os.utime",
)


@contextmanager
def watched(root):
    """What Python opens for writing, makes or removes below a folder: the rights of a folder do not stop root."""
    touched: list[str] = []
    active = True

    def hook(event, arguments):
        if not active or event not in (*WRITES, "open"):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            return
        paths = [os.fspath(a) for a in arguments[:2] if isinstance(a, str | os.PathLike)]
        touched.extend(f"{event} {path}" for path in paths if str(path).startswith(str(root)))

    sys.addaudithook(hook)
    try:
        yield touched
    finally:
        active = False  # hooks cannot be removed


@pytest.mark.parametrize("make", [nyud, lambda root: nyud(root, "NYUDv2")])
def test_a_read_only_data_folder_is_enough_for_everything(tmp_path, make):
    root = tmp_path / "data"
    make(root)
    before = tree(root)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        with watched(root) as touched:
            run(root, tmp_path / "store")
            prepare.prepare(Copy(BENCHMARKS["nyud"](), root), tmp_path / "cache", quiet)
            run(root, tmp_path / "other", tmp_path / "cache")
            verify(BENCHMARKS["nyud"](), root, quiet)
            CliRunner().invoke(app, ["data", "doctor", "nyud", "--data", str(root)])
        assert touched == []
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert tree(root) == before


def test_the_watch_sees_what_is_written(tmp_path):
    with watched(tmp_path / "data") as touched:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "a").write_text("x")
        (tmp_path / "data" / "a").read_text()
        (tmp_path / "elsewhere").write_text("x")
    assert [line.split()[0] for line in touched] == ["os.mkdir", "open"]


def test_a_full_disk_while_preparing_leaves_the_reader_of_files(root, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache._Field, "append", full)
    result = CliRunner().invoke(
        app, ["data", "prepare", "nyud", "--data", str(root), "--cache", str(tmp_path / "cache")]
    )
    assert result.exit_code == 2
    assert (
        "No space left on device: the cache could not be written; free space or choose another folder" in result.stderr
    )
    assert files(tmp_path / "cache") == []
    monkeypatch.undo()
    run(root, tmp_path / "store", tmp_path / "cache")


def test_annotations_of_people_that_are_damaged_are_named_when_preparing(tmp_path):
    root = tmp_path / "data"
    pascal_mt(root)
    path = root / "human_parts/2008_000003.mat"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"human_parts/2008_000003.mat: not a readable .mat"):
        prepare.prepare(Copy(BENCHMARKS["pascal_context"](), root), tmp_path / "cache", quiet)
    assert files(tmp_path / "cache") == []


def test_the_record_of_the_constant_says_how_the_copy_was_read(root):
    config = BenchmarkConfig(name="nyud", size=(32, 32))
    found = constant.record(config, copy_of(config, root), ("depth",))
    expected = {"fingerprint": BENCHMARKS["nyud"]().fingerprint(root), "layout": "NYUD_MT", "frame": "left-up-back"}
    assert found.provenance["data"] == expected
