import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import weakref
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.copies import cache
from mtlbench.benchmarks.copies.cache import Cache
from paths import PYTHONPATH


def make(index, size=(4, 6)):
    """A sample whose size and labels depend on its index; every third has no depth."""
    generator = torch.Generator().manual_seed(index)
    height, width = size[0] + index % 3, size[1] + index % 2
    labels = {"semseg": torch.randint(0, 256, (height, width), generator=generator, dtype=torch.uint8)}
    if index % 3:
        labels["depth"] = torch.rand((1, height, width), generator=generator)
    labels["normals"] = torch.randn((3, height, width), generator=generator)
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    return Sample(f"sample-{index}", image, labels)


def same(one, other):
    return (
        one.id == other.id
        and torch.equal(one.image, other.image)
        and one.labels.keys() == other.labels.keys()
        and all(torch.equal(one.labels[name], other.labels[name]) for name in one.labels)
        and all(one.labels[name].dtype == other.labels[name].dtype for name in one.labels)
    )


@pytest.fixture
def folder(tmp_path):
    cache.write(tmp_path / "train", (make(index) for index in range(7)), 7)
    return tmp_path / "train"


def test_what_is_written_is_read_in_any_order_with_its_sizes_and_missing_labels(folder):
    samples = Cache(folder)
    assert len(samples) == 7
    for index in (6, 0, 3, 3, 1, -1):
        assert same(samples[index], make(index % 7))
    assert [same(sample, make(index)) for index, sample in enumerate(samples)] == [True] * 7
    assert [sample.id for sample in samples[5:2:-2]] == ["sample-5", "sample-3"]
    assert samples.ids == [f"sample-{index}" for index in range(7)]
    with pytest.raises(IndexError):
        samples[7]


def test_values_that_a_conversion_would_change_come_back_bit_for_bit(tmp_path):
    bits = torch.tensor([[0.1, float("inf"), -0.0, 1e-40]])
    sample = Sample("a", torch.zeros(3, 1, 4, dtype=torch.uint8), {"depth": bits[None], "half": bits.half()})
    cache.write(tmp_path / "a", [sample], 1)
    labels = Cache(tmp_path / "a")[0].labels
    assert labels["depth"].numpy().tobytes() == bits.numpy().tobytes()
    assert labels["half"].dtype == torch.float16


def test_labels_that_are_not_contiguous_are_written_as_they_look(tmp_path):
    image = torch.arange(24, dtype=torch.uint8).reshape(2, 4, 3).permute(2, 0, 1)
    cache.write(tmp_path / "a", [Sample("a", image, {"edge": image[0].mT})], 1)
    assert torch.equal(Cache(tmp_path / "a")[0].image, image)
    assert torch.equal(Cache(tmp_path / "a")[0].labels["edge"], image[0].mT)


def test_tensors_may_be_written_to_and_the_cache_stays(folder):
    sample = Cache(folder)[0]
    sample.image.zero_()
    sample.labels["semseg"].zero_()
    assert same(Cache(folder)[0], make(0))


def test_tasks_that_are_not_asked_for_are_not_read(folder):
    (folder / "normals.npy").unlink()
    samples = Cache(folder, ("depth", "semseg"))
    assert list(samples[1].labels) == ["depth", "semseg"]
    assert list(samples[0].labels) == ["semseg"]
    with pytest.raises(ValueError, match=r"normals\.npy: no such file, .*to have it made anew"):
        Cache(folder)[0]


def test_a_cache_pickles_as_its_path(folder):
    samples = Cache(folder, ("semseg",))
    samples[0]
    pickled = pickle.dumps(samples)
    assert len(pickled) < 1000
    assert list(pickle.loads(pickled)[2].labels) == ["semseg"]


def test_a_loader_with_workers_reads_it(folder):
    loader = torch.utils.data.DataLoader(Cache(folder), batch_size=None, num_workers=2, shuffle=False)
    assert all(same(Sample(*sample), make(index)) for index, sample in enumerate(loader))


def test_the_split_is_never_held_in_memory(tmp_path):
    images = []

    def stream():
        for index in range(20):
            sample = make(index)
            images.append(weakref.ref(sample.image))
            yield sample

    written = []

    def progress(done, total):
        written.append((done, total))
        assert sum(image() is not None for image in images) <= 2

    cache.write(tmp_path / "a", stream(), 20, progress)
    assert written == [(done, 20) for done in range(1, 21)]


def test_a_cache_that_is_there_is_not_written_again(folder):
    def fails():
        raise AssertionError("the samples were touched")
        yield

    before = (folder / "index.json").stat().st_mtime_ns
    cache.write(folder, fails(), 7)
    assert (folder / "index.json").stat().st_mtime_ns == before


# What goes wrong while writing


def left(path):
    """What is in a folder, the lock aside."""
    return sorted(entry.name for entry in path.iterdir() if not entry.name.endswith(".lock"))


def test_an_error_of_the_reader_passes_through_and_leaves_nothing(tmp_path):
    def stream():
        yield make(0)
        raise FileNotFoundError(2, "No such file", "images/7.jpg")

    with pytest.raises(FileNotFoundError, match=r"images/7\.jpg"):
        cache.write(tmp_path / "a", stream(), 2)
    assert left(tmp_path) == []


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_or_too_many_samples_are_an_error(tmp_path, count):
    with pytest.raises(ValueError, match=f"a: 2 samples were announced and {count} came"):
        cache.write(tmp_path / "a", [make(index) for index in range(count)], 2)
    assert left(tmp_path) == []


def test_no_samples_at_all_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="a cache of 0 samples"):
        cache.write(tmp_path / "a", [], 0)


def test_an_id_that_comes_twice_is_named(tmp_path):
    with pytest.raises(ValueError, match="two samples have the id 'sample-1'"):
        cache.write(tmp_path / "a", [make(1), make(1)], 2)
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", ["id", "image"])
def test_a_task_with_a_name_that_the_index_needs_is_refused(tmp_path, name):
    sample = make(1)._replace(labels={name: torch.zeros(4, 6)})
    with pytest.raises(ValueError, match=f"a task is called '{name}', a name that the index needs; rename the task"):
        cache.write(tmp_path / "a", [sample], 1)
    assert left(tmp_path) == []


def test_two_dtypes_in_one_field_are_named(tmp_path):
    other = make(4)._replace(labels={"semseg": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match=r"semseg\.npy: holds uint8 and cannot take float32"):
        cache.write(tmp_path / "a", [make(1), other], 2)
    assert left(tmp_path) == []


def test_something_else_at_the_folder_is_left_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match=r"a: is there and is no cache"):
        cache.write(tmp_path / "a", [make(0)], 1)
    assert left(tmp_path / "a") == ["thesis.tex"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"could not be written.*file/a"):
        cache.write(tmp_path / "file" / "a", [make(0)], 1)


@contextmanager
def largest_file(size):
    """As on a full disk, writes beyond `size` bytes fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("side", [8, 200])  # the disk fills up while a buffer is flushed, or within a sample
def test_a_full_disk_is_an_error_that_names_the_folder_and_leaves_nothing(tmp_path, side):
    samples = [make(index, (side, side)) for index in range(6)]
    with largest_file(4000), pytest.raises(OSError, match=r"could not be written; free space.*'.*/a'"):
        cache.write(tmp_path / "a", samples, 6)
    assert left(tmp_path) == []
    cache.write(tmp_path / "a", samples, 6)
    assert same(Cache(tmp_path / "a")[5], samples[5])


WRITER = """
import sys, time
from pathlib import Path
from mtlbench.benchmarks.copies import cache
from test_cache import make

def stream():
    for index in range(int(sys.argv[2])):
        print(index, flush=True)
        time.sleep(float(sys.argv[3]))
        yield make(index)

cache.write(Path(sys.argv[1]), stream(), int(sys.argv[2]))
"""


def writer(folder, count, pause):
    """Another process that writes `count` samples and prints the number of each before it sleeps and yields it."""
    command = [sys.executable, "-c", WRITER, str(folder), str(count), str(pause)]
    path = os.pathsep.join([PYTHONPATH, str(Path(__file__).parent)])
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.slow
def test_a_killed_writer_leaves_nothing_that_counts_and_the_next_cleans_up(tmp_path):
    process = writer(tmp_path / "a", 1000, 0.01)
    with process:
        while int(process.stdout.readline()) < 5:
            pass
        process.send_signal(signal.SIGKILL)
    assert left(tmp_path) == [".a.partial"]
    assert not cache.exists(tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="there is no cache here"):
        Cache(tmp_path / "a")
    cache.write(tmp_path / "a", [make(0)], 1)
    assert left(tmp_path) == ["a"]
    assert left(tmp_path / "a") == ["image.npy", "index.json", "normals.npy", "semseg.npy"]


@pytest.mark.slow
def test_of_two_writers_one_writes_and_the_other_waits_for_it(tmp_path):
    first = writer(tmp_path / "a", 20, 0.02)
    with first:
        assert first.stdout.readline() == "0\n"  # it holds the lock
        started = time.monotonic()
        touched = []
        cache.write(tmp_path / "a", (touched.append(index) or make(index) for index in range(20)), 20)
        assert time.monotonic() - started > 0.1
        assert touched == []
        assert same(Cache(tmp_path / "a")[19], make(19))
        first.stdout.read()
    assert first.returncode == 0


# What goes wrong while reading


def rewritten(folder, change):
    index = json.loads((folder / "index.json").read_text())
    change(index)
    (folder / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.update(format=99), "format 99"),
        (lambda index: index.pop("fields"), "fields"),
        (lambda index: index["samples"][2].pop("image"), "image"),
        (lambda index: index["samples"][2].update(semseg=[10**9, [4, 6]]), "semseg of 'sample-2' lies outside"),
        (lambda index: index["fields"]["depth"].update(dtype="float33"), "float33"),
        (lambda index: index["samples"].insert(0, 3), "int"),
    ],
)
def test_a_damaged_index_is_named(folder, change, message):
    rewritten(folder, change)
    with pytest.raises(ValueError, match=rf"index\.json: not the index of a cache .*{message}.*; remove"):
        Cache(folder)


@pytest.mark.parametrize("text", ["", '{"format": 1', "[]", "\xff"])
def test_an_index_that_is_not_one_is_named(folder, text):
    (folder / "index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"index\.json: not the index of a cache"):
        Cache(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:40],
        lambda data: b"",
        lambda data: b"x" + data[1:],
    ],
    ids=["short", "long", "no data", "empty", "magic"],
)
def test_a_file_of_the_wrong_length_or_kind_is_named(folder, change):
    path = folder / "depth.npy"
    path.write_bytes(change(path.read_bytes()))
    samples = Cache(folder)
    with pytest.raises(ValueError, match=r"depth\.npy: .*; remove .* to have it made anew"):
        samples[0]
    assert same(Cache(folder, ("semseg", "normals"))[0], make(0))


def test_another_array_in_place_of_a_file_is_named(folder):
    np.save(folder / "depth.npy", np.zeros(5))
    with pytest.raises(ValueError, match=r"depth\.npy: holds \(5,\) float64, not"):
        Cache(folder)[0]


def test_an_archive_in_place_of_a_file_is_named(folder):
    with (folder / "depth.npy").open("wb") as file:
        np.savez(file, np.zeros(5))
    with pytest.raises(ValueError, match=r"depth\.npy: not a \.npy file but an archive; remove"):
        Cache(folder)[0]


def test_a_task_that_the_cache_lacks_is_named_with_those_it_has(folder):
    with pytest.raises(ValueError, match="holds no labels for flow; it has semseg, normals, depth"):
        Cache(folder, ("semseg", "flow"))


def test_an_image_is_not_a_label(folder):
    with pytest.raises(ValueError, match="holds no labels for image"):
        Cache(folder, ("image",))
