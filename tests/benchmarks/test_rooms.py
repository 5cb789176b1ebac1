import hashlib
import itertools
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mtlbench.benchmarks import rooms
from mtlbench.benchmarks.rendering import raycast
from mtlbench.benchmarks.rendering.scenes import FOCAL, render
from mtlbench.benchmarks.rendering.stage import BODY_PARTS, CLASSES
from mtlbench.benchmarks.rooms import Rooms, frames
from mtlbench.benchmarks.tasks.kinds import IGNORE

LABELS = ("semseg", "human_parts", "depth", "normals", "edge", "saliency")
SMALL = (48, 64)


def keys(count, split=0):
    return [(0, split, index) for index in range(count)]


@pytest.fixture(scope="module")
def many():
    """200 frames of the training split."""
    return [render(key, SMALL, 0.5) for key in keys(200)]


@pytest.fixture(scope="module")
def some():
    """Frames at the default size."""
    return [render(key, (96, 128), 0.5) for key in keys(12)]


def digest(frame, names):
    return hashlib.sha256(b"".join(frame[name].tobytes() for name in names)).hexdigest()[:16]


# Changing a pixel without a new rooms.RENDERER would let caches and records of other rooms pass for these.
GOLDEN = {
    2: {
        (0, 0, 0): ("76ffee55347de76f", 73.09),
        (0, 1, 7): ("b3f00643df75cce8", 107.21),
        (3, 2, 41): ("368688f1f9819fb0", 115.02),
    }
}


@pytest.mark.parametrize("key", GOLDEN[rooms.RENDERER])
def test_frames_of_this_renderer_version_are_frozen(key):
    frame = render(key, SMALL, 0.5)
    labels, mean = GOLDEN[rooms.RENDERER][key]
    assert digest(frame, LABELS) == labels, "the labels moved: raise rooms.RENDERER and freeze the new frames"
    assert abs(frame["image"].mean() - mean) < 1, "the image moved: raise rooms.RENDERER and freeze the new frames"


def test_frames_have_the_shapes_and_dtypes_of_a_sample(some):
    height, width = 96, 128
    for frame in some:
        assert {name: (array.dtype.name, array.shape) for name, array in frame.items()} == {
            "image": ("uint8", (3, height, width)),
            "semseg": ("uint8", (height, width)),
            "human_parts": ("uint8", (height, width)),
            "depth": ("float32", (1, height, width)),
            "normals": ("float32", (3, height, width)),
            "edge": ("uint8", (height, width)),
            "saliency": ("uint8", (height, width)),
        }


def test_a_key_gives_the_same_bytes_whatever_the_number_of_processes():
    chosen = keys(9)
    alone = list(frames(chosen, SMALL, 0.5, processes=1))
    shared = list(frames(chosen, SMALL, 0.5, processes=3))
    assert [digest(frame, frame) for frame in alone] == [digest(frame, frame) for frame in shared]
    assert len({digest(frame, frame) for frame in alone}) == 9


SCRIPT = """
import sys, numpy as np
from mtlbench.benchmarks.rendering.scenes import render
np.savez(sys.argv[1], **render((0, 0, 3), (96, 128), 0.5))
"""


def elsewhere(tmp_path, **environment):
    """A frame from another interpreter."""
    path = tmp_path / "frame.npz"
    subprocess.run([sys.executable, "-c", SCRIPT, path], check=True, env={**os.environ, **environment})
    with np.load(path) as archive:
        return dict(archive)


@pytest.mark.slow
def test_a_key_gives_the_same_bytes_under_other_thread_counts(tmp_path, some):
    other = elsewhere(tmp_path, OMP_NUM_THREADS="3", OPENBLAS_NUM_THREADS="3", PYTHONHASHSEED="1")
    assert digest(other, some[3]) == digest(some[3], some[3])


@pytest.mark.slow
def test_labels_do_not_depend_on_the_vector_units_and_images_by_one_level_at_most(tmp_path, some):
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    if not found:
        pytest.skip("this NumPy found no vector unit beyond its baseline")
    other = elsewhere(tmp_path, NPY_DISABLE_CPU_FEATURES=" ".join(found))
    assert digest(other, LABELS) == digest(some[3], LABELS)
    assert np.abs(other["image"].astype(int) - some[3]["image"]).max() <= 1


def test_no_two_frames_of_any_split_or_seed_are_the_same():
    depths = [
        render((seed, split, index), SMALL, 0.5)["depth"]
        for seed in (0, 1)
        for split in (0, 1, 2)
        for index in range(6)
    ]
    assert len({depth.tobytes() for depth in depths}) == 36


def test_pixels_that_two_sizes_share_have_the_same_labels():
    for key in keys(4):
        coarse, fine = render(key, (96, 128), 0.5), render(key, (480, 640), 0.5)
        for name in LABELS:
            if name != "edge":
                assert np.array_equal(coarse[name], fine[name][..., 2::5, 2::5]), name


def test_a_coarse_edge_has_a_fine_edge_within_its_pixel_and_the_next():
    coarse, fine = render((0, 0, 5), (96, 128), 0.5)["edge"], render((0, 0, 5), (480, 640), 0.5)["edge"]
    rows, columns = np.nonzero(coarse)
    assert len(rows) > 100
    for row, column in zip(5 * rows, 5 * columns, strict=True):
        assert fine[row + 2 : row + 8, column + 2 : column + 8].any()


def test_edges_lie_where_a_map_of_instances_changes(some):
    for frame in some:
        semseg, edge = frame["semseg"].astype(int), frame["edge"]
        changes = np.zeros(semseg.shape, dtype=bool)
        changes[:, :-1] |= semseg[:, :-1] != semseg[:, 1:]
        changes[:-1] |= semseg[:-1] != semseg[1:]
        assert edge[changes].all()  # another class is another instance
        assert set(np.unique(edge)) == {0, 1}


@pytest.mark.slow
def test_depth_is_missing_exactly_where_normals_are_and_that_is_in_windows(many):
    for frame in many:
        missing = frame["depth"][0] == 0
        assert np.array_equal(missing, (frame["normals"] == 0).all(0))
        assert np.array_equal(missing, frame["semseg"] == CLASSES.index("window"))


def test_normals_are_unit_vectors_that_face_the_viewer(many):
    x, y = raycast.rays(FOCAL, SMALL)
    for frame in many:
        normals = frame["normals"].astype(np.float64)
        valid = frame["depth"][0] > 0
        assert np.abs(np.sqrt((normals**2).sum(0))[valid] - 1).max() < 1e-6
        # In x left, y up, z to the viewer the ray through a pixel goes along (-x, -y, -1).
        assert (normals[0] * x + normals[1] * y + normals[2])[valid].min() > -1e-3


def test_the_floor_faces_up_and_the_ceiling_down(many):
    up = np.concatenate([frame["normals"][1][frame["semseg"] == CLASSES.index("floor")] for frame in many])
    down = np.concatenate([frame["normals"][1][frame["semseg"] == CLASSES.index("ceiling")] for frame in many])
    assert (up > 0.9).mean() > 0.999  # a rug has sides
    assert (down < -0.9).all()


def test_body_parts_are_on_people_and_people_have_body_parts(many):
    for frame in many:
        person = frame["semseg"] == CLASSES.index("person")
        parts = frame["human_parts"]
        if person.any():
            assert np.array_equal(parts > 0, person)
            assert parts.max() < len(BODY_PARTS)
        else:
            assert (parts == IGNORE).all()


def test_salient_pixels_are_of_whole_things_and_never_of_the_room(many):
    structure = [CLASSES.index(name) for name in ("wall", "floor", "ceiling", "door", "window", "picture")]
    for frame in many:
        assert not np.isin(frame["semseg"][frame["saliency"] == 1], [*structure, IGNORE]).any()
    assert 0.05 < np.mean([frame["saliency"].mean() for frame in many]) < 0.3


def test_normals_agree_with_the_depth_in_this_frame_and_in_no_other(some):
    x, y = raycast.rays(FOCAL, (96, 128))
    measured, derived = [], []
    for frame in some:
        depth = frame["depth"][0].astype(np.float64)
        point = np.stack([-depth * x, -depth * y, -depth])  # x left, y up, z to the viewer
        across, down = point[:, 1:-1, 2:] - point[:, 1:-1, :-2], point[:, 2:, 1:-1] - point[:, :-2, 1:-1]
        smooth = (frame["depth"][0][1:-1, 1:-1] > 0) & (frame["edge"][1:-1, 1:-1] == 0)
        normal = np.cross(across[:, smooth], down[:, smooth], axis=0)  # (-x) x (-y) = z
        derived.append(normal / np.linalg.norm(normal, axis=0))
        measured.append(frame["normals"][:, 1:-1, 1:-1][:, smooth].astype(np.float64))
    measured, derived = np.concatenate(measured, 1), np.concatenate(derived, 1)
    error = {}
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            turned = measured[list(order)] * np.array(signs)[:, None]
            error[order, signs] = np.degrees(np.arccos(np.clip((turned * derived).sum(0), -1, 1))).mean()
    best, second = sorted(error, key=error.get)[:2]
    assert best == ((0, 1, 2), (1, 1, 1))
    assert error[best] < 8
    assert error[second] > 25


def test_every_class_and_body_part_occurs_and_none_is_everything(many):
    count = np.bincount(np.concatenate([frame["semseg"].ravel() for frame in many]), minlength=256)
    share = count / count.sum()
    assert count[len(CLASSES) : IGNORE].sum() == 0
    assert (share[: len(CLASSES)] > 0.004).all()
    assert 0.3 < share[CLASSES.index("wall")] < 0.55
    assert 0.1 < share[CLASSES.index("floor")] < 0.25
    assert share[IGNORE] < 0.02
    trinkets = np.mean([(frame["semseg"] == IGNORE).any() for frame in many])
    assert 0.1 < trinkets < 0.3
    empty = np.mean([(frame["human_parts"] == IGNORE).all() for frame in many])
    assert 0.35 < empty < 0.6
    parts = np.bincount(np.concatenate([frame["human_parts"].ravel() for frame in many]), minlength=256)
    assert (parts[: len(BODY_PARTS)] > 500).all()


def test_depth_is_that_of_a_room(many):
    depth = np.concatenate([frame["depth"][frame["depth"] > 0] for frame in many])
    assert depth.min() > 0.2 and depth.max() < 9.2
    assert 2.5 < depth.mean() < 4.5


def colour_miou(tie):
    """mIoU on unseen frames of guessing a pixel's class from its colour alone, by a histogram of 512 bins."""

    def pixels(split, count):
        found = [render(key, (32, 64), tie) for key in keys(count, split)]
        image = np.concatenate([frame["image"].reshape(3, -1) for frame in found], 1) // 32
        label = np.concatenate([frame["semseg"].ravel() for frame in found])
        valid = label != IGNORE
        return (image[0].astype(int) * 64 + image[1] * 8 + image[2])[valid], label[valid]

    colour, label = pixels(0, 80)
    guess = np.bincount(colour * 14 + label, minlength=512 * 14).reshape(512, 14).argmax(1)
    colour, label = pixels(2, 40)
    confusion = np.bincount(guess[colour] * 14 + label, minlength=14 * 14).reshape(14, 14)
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    return (np.diag(confusion) / np.maximum(union, 1)).mean()


@pytest.mark.slow
def test_colour_alone_hardly_tells_classes_apart_unless_textures_are_tied_to_them():
    assert colour_miou(0.5) < 0.1
    assert colour_miou(1.0) > 0.15


# The benchmark


def test_opening_renders_once_and_gives_the_labels_asked_for(tmp_path, monkeypatch):
    benchmark = Rooms((32, 64), train=9, val=1, test=2)
    told = []
    train = benchmark.open(tmp_path, "train", ("depth", "semseg"), progress=lambda *done: told.append(done))
    assert told == [(n, 9) for n in range(1, 10)]
    assert len(train) == 9
    monkeypatch.setattr(rooms, "render", None)
    again = benchmark.open(tmp_path, "train", LABELS)
    for index, sample in enumerate(train):
        frame = render((0, 0, index), (32, 64), 0.5)
        assert list(sample.labels) == ["depth", "semseg"]
        assert np.array_equal(sample.image.numpy(), frame["image"])
        assert again[index].id == sample.id
        for name in LABELS:
            assert torch.equal(again[index].labels[name], torch.from_numpy(frame[name]))


def test_make_renders_every_split_and_tells_of_all_images(tmp_path):
    benchmark = Rooms((32, 32), train=3, val=1, test=2)
    told = []
    benchmark.make(tmp_path, lambda *done: told.append(done))
    assert told[-1] == (6, 6) and told == sorted(told)
    assert [len(benchmark.open(tmp_path, split, ())) for split in benchmark.splits] == [3, 1, 2]
    told.clear()
    benchmark.make(tmp_path, lambda *done: told.append(done))
    assert told == [(3, 6), (4, 6), (6, 6)]


def test_a_foreign_task_has_the_labels_of_another_image_and_nothing_is_rendered_twice(tmp_path):
    counts = {"train": 4, "val": 1, "test": 2}
    own = Rooms((32, 64), **counts).open(tmp_path, "train", ("semseg", "depth"))
    mixed = Rooms((32, 64), **counts, foreign=["depth"]).open(tmp_path, "train", ("semseg", "depth"))
    assert len(list(tmp_path.iterdir())) == 1
    for index, sample in enumerate(mixed):
        assert sample.id == own[index].id and torch.equal(sample.image, own[index].image)
        assert torch.equal(sample.labels["semseg"], own[index].labels["semseg"])
        assert torch.equal(sample.labels["depth"], own[(index + 2) % 4].labels["depth"])
    assert mixed[1:3][0].id == own[1].id and len(mixed[1:3]) == 2
    alone = Rooms((32, 64), **counts, foreign=["depth"]).open(tmp_path, "train", ("semseg",))
    assert torch.equal(alone[0].labels["semseg"], own[0].labels["semseg"])


def test_benchmark_and_split_travel_between_processes(tmp_path):
    benchmark = pickle.loads(pickle.dumps(Rooms((32, 32), train=2, val=1, test=1)))
    split = benchmark.open(tmp_path, "train", ("edge",))
    split[0]
    assert torch.equal(pickle.loads(pickle.dumps(split))[1].image, split[1].image)


def test_the_fingerprint_follows_every_option_and_not_the_root():
    variants = [
        {},
        {"size": (64, 128)},
        {"train": 5},
        {"val": 5},
        {"test": 5},
        {"tie": 0.4},
        {"seed": 1},
        {"foreign": ["depth"]},
    ]
    prints = [Rooms(**variant).fingerprint(Path("a")) for variant in variants]
    assert len(set(prints)) == len(variants)
    assert Rooms(tie=1).fingerprint(Path("a")) == Rooms(tie=1.0).fingerprint(Path("b"))


def test_the_fingerprint_follows_the_version_of_the_renderer(monkeypatch):
    before = Rooms().fingerprint(Path("a"))
    monkeypatch.setattr(rooms, "RENDERER", rooms.RENDERER + 1)
    assert Rooms().fingerprint(Path("a")) != before


def test_tasks_fit_the_labels(tmp_path):
    benchmark = Rooms((32, 32), train=1, val=1, test=1)
    assert set(benchmark.tasks) == set(LABELS)
    assert set(benchmark.default_tasks) <= set(LABELS)
    sample = benchmark.open(tmp_path, "val", LABELS)[0]
    for name, task in benchmark.tasks.items():
        label = sample.labels[name]
        assert label.shape == task.kind.shape((32, 32), task.channels) and label.dtype == task.kind.dtype
    assert benchmark.tasks["semseg"].classes == len(CLASSES)
    assert benchmark.tasks["human_parts"].classes == len(BODY_PARTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (100, 128)}, r"size is \(100, 128\).*multiples of 32"),
        ({"size": (0, 128)}, r"size is \(0, 128\)"),
        ({"train": 0}, r"train is 0; .*1 or more"),
        ({"val": -3}, r"val is -3"),
        ({"test": 2.5}, r"test is 2\.5"),
        ({"tie": 1.5}, r"tie is 1\.5; .*\[0, 1\]"),
        ({"tie": float("nan")}, r"tie is nan"),
        ({"seed": -1}, r"seed is -1; .*0 or more"),
        ({"foreign": "depth"}, r"foreign is 'depth'; it takes a list of tasks: semseg"),
        ({"foreign": ["flow"]}, r"foreign is \['flow'\]; it takes a list of tasks: semseg"),
    ],
)
def test_wrong_options_are_named_with_their_value_and_what_is_allowed(options, message):
    with pytest.raises(ValueError, match=message):
        Rooms(**options)


def test_unknown_splits_and_tasks_are_named_with_those_there_are(tmp_path):
    benchmark = Rooms(train=1, val=1, test=1)
    with pytest.raises(ValueError, match="no split 'valid'; there are train, val, test"):
        benchmark.open(tmp_path, "valid", ())
    with pytest.raises(ValueError, match=r"no task flow; there are semseg, .*saliency"):
        benchmark.open(tmp_path, "train", ("depth", "flow"))
    assert not list(tmp_path.iterdir())


def test_a_rendering_process_that_dies_is_an_error_and_leaves_no_cache(tmp_path, monkeypatch):
    def dies(key, size, tie):
        if key[2] == 5:
            os._exit(3)
        return render(key, size, tie)

    monkeypatch.setattr(rooms, "render", dies)
    monkeypatch.setattr(rooms, "_cores", lambda: 2)
    benchmark = Rooms((32, 32), train=16, val=1, test=1)
    with pytest.raises(RuntimeError, match=r"rendering \(0, 0, 5\) ended with exit code 3"):
        benchmark.open(tmp_path, "train", ("depth",))
    (folder,) = tmp_path.iterdir()
    assert [path.name for path in folder.iterdir()] == [".train.lock"]


ORPHANS = """
import multiprocessing
from mtlbench.benchmarks.rooms import frames

for frame in frames([(0, 0, index) for index in range(10000)], (32, 32), 0.5, processes=3):
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
"""


@pytest.mark.slow
def test_rendering_processes_do_not_outlive_a_killed_parent():
    with subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True) as parent:
        children = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(children) == 3
    deadline = time.monotonic() + 30
    while any(running(pid) for pid in children):
        assert time.monotonic() < deadline, f"of {children} some still run"
        time.sleep(0.05)


def running(pid):
    status = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        # A zombie is dead; nobody has asked for its exit code yet.
        return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):
        return False
