"""The reader delivers what the files hold, and says which file does not hold what it should."""

import pickle
import shutil

import numpy as np
import pytest
import torch

import paths
from fixtures import SIZE, nyud, save, tree
from mtlbench.benchmarks.nyud import NYUD

TASKS = ("semseg", "depth", "normals", "edge")
REAL = paths.REAL / "NYUD_MT"


@pytest.fixture
def root(tmp_path):
    nyud(tmp_path)
    return tmp_path


def test_samples_hold_what_was_stored(tmp_path):
    truth = nyud(tmp_path)
    samples = NYUD().open(tmp_path, "train", TASKS)
    assert [sample.id for sample in samples] == ["0001", "0003"] and len(samples) == 2
    for sample in samples:
        stored = truth[sample.id]
        assert sample.image.dtype == torch.uint8 and sample.image.shape == (3, *SIZE)
        assert (sample.image.permute(1, 2, 0).float() - torch.from_numpy(stored["images"])).abs().mean() < 2
        semseg = sample.labels["semseg"]
        assert semseg.dtype == torch.uint8 and semseg.shape == SIZE
        expected = np.where(stored["segmentation"] == 0, 255, stored["segmentation"].astype(int) - 1)
        assert np.array_equal(semseg.numpy(), expected)
        assert {0, 16, 39} <= set(np.unique(expected))
        assert sample.labels["depth"].dtype == torch.float32
        assert np.array_equal(sample.labels["depth"][0].numpy(), stored["depth"])
        assert np.allclose(sample.labels["normals"].permute(1, 2, 0).numpy(), stored["normals"], atol=1e-6)
        assert sample.labels["edge"].dtype == torch.uint8
        assert np.array_equal(sample.labels["edge"].numpy(), stored["edge"])
        length = sample.labels["normals"].norm(dim=0)
        assert torch.equal(length == 0, torch.from_numpy((stored["normals"] == 0).all(-1)))
        assert torch.allclose(length[length > 0], torch.tensor(1.0), atol=1e-6)


@pytest.mark.parametrize(("layout", "angle"), [("NYUD_MT", 1e-3), ("NYUDv2", 0.6), ("NYUD_MT_mat", 60.0)])
def test_every_layout_holds_the_same_samples(tmp_path, layout, angle):
    truth = nyud(tmp_path, layout)
    benchmark = NYUD()
    assert benchmark.layout(tmp_path).name == layout
    for sample in benchmark.open(tmp_path, "train", TASKS):
        stored = truth[sample.id]
        segmentation = np.where(stored["segmentation"] == 0, 255, stored["segmentation"].astype(int) - 1)
        assert np.array_equal(sample.labels["semseg"].numpy(), segmentation)
        assert np.array_equal(sample.labels["depth"][0].numpy(), stored["depth"])
        assert np.array_equal(sample.labels["edge"].numpy(), stored["edge"])
        vectors = sample.labels["normals"].permute(1, 2, 0).numpy()
        length = np.linalg.norm(vectors, axis=-1)
        assert np.all((length == 0) | (np.abs(length - 1) < 1e-5))
        valid = (stored["normals"] != 0).any(-1)
        if layout != "NYUD_MT_mat":  # JPEG blurs this fixture's noise
            assert np.array_equal(length > 0, valid)
        both = valid & (length > 0)
        cosine = (vectors * stored["normals"]).sum(-1)[both].clip(-1, 1)
        assert np.degrees(np.arccos(cosine)).mean() < angle


def test_a_layout_can_be_forced(tmp_path):
    nyud(tmp_path)
    assert NYUD(layout="NYUDv2").layout(tmp_path).name == "NYUDv2"
    with pytest.raises(FileNotFoundError, match=r"images/0001.png: no such file, but every task needs it; 2 of 2"):
        NYUD(layout="NYUDv2").open(tmp_path, "train", TASKS)


def test_class_ids_of_another_type_do_not_wrap_round(tmp_path):
    nyud(tmp_path, "NYUD_MT_mat")
    for value, message in ((300, "class id 300 in"), (-1, "class id -1 in"), (2.5, "class id 2.5 in")):
        save(tmp_path / "segmentation/0001.mat", {"segmentation": np.full(SIZE, value)})
        with pytest.raises(ValueError, match=f"0001.mat: {message}"):
            NYUD().open(tmp_path, "train", ("semseg",))[0]


def test_only_the_tasks_asked_for_are_read(root):
    for folder in ("segmentation", "normals"):
        for path in (root / folder).iterdir():
            path.unlink()
    assert set(NYUD().open(root, "test", ("depth",))[0].labels) == {"depth"}
    assert NYUD().open(root, "test", ())[0].labels == {}


def test_the_list_called_val_is_the_test_split(root):
    benchmark = NYUD()
    assert [sample.id for sample in benchmark.open(root, "test", ())] == ["0002"]
    assert benchmark.splits == {"train": 795, "test": 654}
    with pytest.raises(ValueError, match="no split 'val'; it has train, test"):
        benchmark.open(root, "val", TASKS)


def test_a_split_is_a_sequence_that_workers_can_receive(root):
    samples = NYUD().open(root, "train", TASKS)
    copy = pickle.loads(pickle.dumps(samples))
    assert torch.equal(copy[1].labels["depth"], samples[1].labels["depth"])
    assert samples[-1].id == "0003" and [s.id for s in samples[1:]] == ["0003"]
    with pytest.raises(IndexError):
        samples[2]


def test_lists_with_windows_line_ends_and_blank_lines_are_read(root):
    (root / "gt_sets" / "train.txt").write_bytes(b"\xef\xbb\xbf0001\r\n\r\n0003  \r\n\r\n")
    assert [sample.id for sample in NYUD().open(root, "train", ())] == ["0001", "0003"]


def test_the_data_folder_is_left_as_it_was(root):
    before = tree(root)
    benchmark = NYUD()
    list(benchmark.open(root, "train", TASKS))
    benchmark.fingerprint(root)
    assert tree(root) == before


def remove(*names):
    def change(root):
        for name in names:
            (root / name).unlink()

    return change


def remove_folder(name):
    return lambda root: shutil.rmtree(root / name)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (remove("gt_sets/train.txt"), FileNotFoundError, r"gt_sets/train.txt: no such list.*layout NYUD_MT"),
        (remove_folder("depth"), FileNotFoundError, r"depth: no such folder, but depth needs .*NYUD_MT.tgz"),
        (remove("depth/0003.npy"), FileNotFoundError, r"depth/0003.npy: no such file.*1 of 2 images"),
        (remove("images/0001.jpg", "images/0003.jpg"), FileNotFoundError, r"images/0001.jpg.*every task.*2 of 2"),
        (lambda root: save(root / "gt_sets/train.txt", "\n\n"), ValueError, "train.txt: no image ids"),
        (lambda root: save(root / "gt_sets/train.txt", "0001\n0001"), ValueError, "more than once, '0001' first"),
    ],
)
def test_an_incomplete_copy_is_refused_when_opened(root, change, error, message):
    change(root)
    with pytest.raises(error, match=f"(?s){message}"):
        NYUD().open(root, "train", TASKS)


def test_a_folder_of_something_else_is_told_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)nowhere: no such folder.*depth/\{id\}.npy"):
        NYUD().open(tmp_path / "nowhere", "train", TASKS)
    (tmp_path / "cats").mkdir()
    with pytest.raises(FileNotFoundError, match=r"(?s)expects.*layout NYUD_MT.*gt_sets/val.txt.*found: cats"):
        NYUD().open(tmp_path, "train", TASKS)


def test_an_unknown_task_size_or_layout_is_named(root):
    with pytest.raises(ValueError, match="no task 'saliency'; it has semseg, depth, normals, edge"):
        NYUD().open(root, "train", ("semseg", "saliency"))
    with pytest.raises(ValueError, match=r"size is \(425, 560\).*multiples of 32"):
        NYUD(size=(425, 560))
    with pytest.raises(ValueError, match="no layout 'mine'; it has NYUD_MT, NYUDv2"):
        NYUD(layout="mine")


def put(path, value, at=(0, 0)):
    def change(root):
        array = np.load(root / path)
        array[at] = value
        np.save(root / path, array)

    return change


def cut(path, keep):
    def change(root):
        content = (root / path).read_bytes()
        (root / path).write_bytes(content[: int(len(content) * keep)])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: save(r / "segmentation/0001.png", np.full(SIZE, 41, np.uint8)), "0001.png: class id 41 in 1564 pix"),
        (lambda r: save(r / "segmentation/0001.png", np.zeros((9, 9), np.uint8)), r"0001.png: semseg of \(9, 9\) for"),
        (
            lambda r: save(r / "segmentation/0001.png", np.zeros((*SIZE, 3), np.uint8)),
            "0001.png: a picture of mode RGB",
        ),
        (put("depth/0001.npy", np.nan), "0001.npy: depth nan in 1 pixels"),
        (put("depth/0001.npy", -2.0), "0001.npy: depth -2.0 in 1 pixels"),
        (put("depth/0001.npy", 2500.0), "0001.npy: depth 2500.0 .* metres"),
        (lambda r: save(r / "depth/0001.npy", np.zeros(SIZE, np.uint16)), r"0001.npy: uint16 \(34, 46\); floating"),
        (lambda r: save(r / "depth/0001.npy", np.zeros((4, 4), np.float32)), r"0001.npy: depth of \(4, 4\) for an"),
        (put("normals/0001.npy", 0.5, slice(None)), "0001.npy: a normal of length 0.866025 in 1564 pixels"),
        (put("normals/0001.npy", np.nan), "0001.npy: a normal of length nan in 1 pixels"),
        (put("edge/0001.npy", 0.5), "0001.npy: edge value 0.5 in 1 pixels; 0 or 1"),
        (lambda r: save(r / "depth/0001.npy", np.ones((*SIZE, 2))), r"0001.npy: shape \(34, 46, 2\); one value"),
        (lambda r: save(r / "normals/0001.npy", np.zeros((*SIZE, 2))), r"normals of shape \(34, 46, 2\)"),
        (cut("depth/0001.npy", 0.5), "depth/0001.npy: not a whole .npy"),
        (cut("depth/0001.npy", 0), "depth/0001.npy: not a whole .npy"),
        (cut("images/0001.jpg", 0.5), "images/0001.jpg: not a whole picture"),
        (cut("images/0001.jpg", 0), "images/0001.jpg: not a whole picture"),
        (cut("segmentation/0001.png", 0.6), "segmentation/0001.png: not a whole picture"),
    ],
)
def test_a_damaged_file_is_named_when_read(root, change, message):
    change(root)
    samples = NYUD().open(root, "train", TASKS)
    assert samples[1].id == "0003"
    with pytest.raises(ValueError, match=message):
        samples[0]


def test_a_fingerprint_tells_copies_apart(tmp_path):
    copies = [tmp_path / name for name in ("a", "b")]
    for copy in copies:
        nyud(copy)
    benchmark = NYUD()
    first, second = map(benchmark.fingerprint, copies)
    assert first == second and len(first) == 16
    changes = [
        remove("depth/0002.npy"),
        put("depth/0003.npy", 1.5),  # of the same size
        cut("segmentation/0001.png", 0.9),
        lambda root: save(root / "gt_sets/val.txt", "0003\n"),
        lambda root: save(root / "gt_sets/val.txt", "0002\n0003\n"),
    ]
    seen = {first}
    for i, change in enumerate(changes):
        nyud(tmp_path / str(i))
        change(tmp_path / str(i))
        seen.add(benchmark.fingerprint(tmp_path / str(i)))
    assert len(seen) == 1 + len(changes)


def test_a_fingerprint_sees_every_size_and_the_bytes_of_a_few(tmp_path):
    names = [f"{number:04d}" for number in range(20)]
    nyud(tmp_path, train=names, test=("0020",), size=(4, 5))
    benchmark, seen = NYUD(), set()
    for name in names:
        path = tmp_path / "depth" / f"{name}.npy"
        whole = path.read_bytes()
        path.write_bytes(whole + b"x")
        seen.add(benchmark.fingerprint(tmp_path))
        path.write_bytes(whole)
    assert len(seen) == len(names)
    assert benchmark.fingerprint(tmp_path) not in seen


def test_files_that_no_list_names_do_not_change_the_fingerprint(root):
    before = NYUD().fingerprint(root)
    save(root / "images" / "unlisted.jpg", np.zeros((4, 4, 3), np.uint8))
    save(root / "notes.txt", "mine")
    assert NYUD().fingerprint(root) == before


def test_protocols_are_those_of_the_papers():
    mtl, atrc = NYUD().augmentations["mtl"], NYUD().augmentations["atrc"]
    assert (mtl.flip, mtl.zooms, mtl.degrees, mtl.crop) == (0.5, (1.0, 1.2, 1.5), 0.0, None)
    assert (atrc.flip, atrc.zoom_range, atrc.crop.largest_share, atrc.photometric) == (0.5, (0.5, 2.0), 0.75, True)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real images here")
def test_real_images_are_read():
    train, test = (NYUD().open(REAL, split, TASKS[:3]) for split in ("train", "test"))
    assert [s.id for s in train] == ["nyuv2_0", "nyu_raw"] and [s.id for s in test] == ["sun", "tum"]
    for sample in (*train, *test):
        assert sample.image.shape == (3, 425, 560)
        length = sample.labels["normals"].norm(dim=0)
        assert ((length == 0) | ((length - 1).abs() < 1e-5)).all()
    semseg = train[0].labels["semseg"]
    assert (semseg == 255).float().mean().item() == pytest.approx(0.060, abs=0.001)
    assert semseg.unique().tolist() == [0, 4, 6, 7, 25, 28, 37, 39, 255]
    assert not train[0].labels["depth"].any() and bool((train[1].labels["semseg"] == 255).all())
    depth = train[1].labels["depth"]
    assert (depth > 0).float().mean().item() == pytest.approx(0.95, abs=0.001)
    assert 1.39 < depth[depth > 0].min() < depth.max() < 6.71
