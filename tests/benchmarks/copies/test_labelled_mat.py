"""The labelled .mat of the data set's authors: axes, splits and classes, at the crop of the other copies."""

import pickle

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from fixtures import CROP, labelled_mat, tree
from mtlbench.benchmarks.nyud import NYUD

TASKS = ("semseg", "depth")


def test_samples_hold_what_was_stored_at_the_crop(tmp_path):
    truth = labelled_mat(tmp_path)
    benchmark = NYUD()
    assert benchmark.reading(tmp_path)["layout"] == "labelled_mat"
    train, test = benchmark.open(tmp_path, "train", TASKS), benchmark.open(tmp_path, "test", TASKS)
    assert [sample.id for sample in train] == ["0001", "0004"] and [sample.id for sample in test] == ["0002"]
    for sample in (*train, *test):
        stored = truth[int(sample.id) - 1]
        assert sample.image.shape == (3, 425, 560)
        assert np.array_equal(sample.image.permute(1, 2, 0).numpy(), stored["image"][CROP])
        assert np.array_equal(sample.labels["depth"][0].numpy(), stored["depth"][CROP])
        ids = stored["segmentation"][CROP].astype(int)
        assert np.array_equal(sample.labels["semseg"].numpy(), np.where(ids == 0, 255, ids - 1))
        assert (ids == 0).any() == (stored["names"][CROP] == 0).any()


def test_normals_come_from_a_second_source_or_are_told_to_be_missing(tmp_path):
    truth = labelled_mat(tmp_path, normals_of=(1, 2, 4))
    sample = NYUD().open(tmp_path, "train", ("normals",))[1]
    assert np.allclose(sample.labels["normals"].permute(1, 2, 0).numpy(), truth[3]["normals"][CROP], atol=1e-6)
    (tmp_path / "normals/0004.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"normals/0004.npy: no such file, and no .png.*1 of 2 images"):
        NYUD().open(tmp_path, "train", ("normals",))
    np.save(tmp_path / "normals/0004.npy", np.zeros((425, 560, 3), np.float32))
    with pytest.raises(ValueError, match=r"0004.npy: normals of \(425, 560\); \(480, 640\)"):
        NYUD().open(tmp_path, "train", ("normals",))[1]
    for file in (tmp_path / "normals").iterdir():
        file.unlink()
    (tmp_path / "normals").rmdir()
    with pytest.raises(FileNotFoundError, match=r"normals: no such folder; usual source: a second source"):
        NYUD().open(tmp_path, "train", ("normals",))
    with pytest.raises(ValueError, match=r"layout labelled_mat has no labels for edge; usual source: NYUD_MT.tgz"):
        NYUD().open(tmp_path, "train", ("edge",))


def test_a_split_is_a_sequence_that_workers_can_receive(tmp_path):
    labelled_mat(tmp_path)
    samples = NYUD().open(tmp_path, "train", TASKS)
    samples[0]  # the file is open in this process
    loader = torch.utils.data.DataLoader(samples, batch_size=None, num_workers=1)
    assert all(torch.equal(one[1], other.image) for one, other in zip(loader, samples, strict=True))
    assert torch.equal(pickle.loads(pickle.dumps(samples))[-1].image, samples[1].image)


def test_the_data_folder_is_left_as_it_was_and_fingerprints_see_changes(tmp_path):
    labelled_mat(tmp_path)
    before, benchmark = tree(tmp_path), NYUD()
    list(benchmark.open(tmp_path, "train", TASKS))
    first = benchmark.fingerprint(tmp_path)
    assert tree(tmp_path) == before
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "r+") as file:
        file["depths"][2, 100, 100] = 1.0
    second = benchmark.fingerprint(tmp_path)
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": [[1]], "testNdxs": [[2]]})
    assert len({first, second, benchmark.fingerprint(tmp_path)}) == 3


def truncated(root):
    path = root / "nyu_depth_v2_labeled.mat"
    path.write_bytes(path.read_bytes()[:-1000])


def without(variable):
    def change(root):
        with h5py.File(root / "nyu_depth_v2_labeled.mat", "r+") as file:
            del file[variable]

    return change


def stored(name, change):
    def apply(root):
        with h5py.File(root / "nyu_depth_v2_labeled.mat", "r+") as file:
            array = change(file[name][:])
            del file[name]
            file[name] = array

    return apply


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda r: (r / "splits.mat").unlink(), FileNotFoundError, "splits.mat: no such file, but every task needs"),
        (
            lambda r: (r / "classMapping40.mat").unlink(),
            FileNotFoundError,
            r"classMapping40.mat: no such file, but semseg needs it; usual source: the 40 classes of Gupta",
        ),
        (truncated, ValueError, "nyu_depth_v2_labeled.mat: not a whole .mat file"),
        (
            lambda r: scipy.io.savemat(r / "nyu_depth_v2_labeled.mat", {"images": np.zeros((2, 2))}),
            ValueError,
            r"nyu_depth_v2_labeled.mat: not a whole .mat file of version 7.3 .*; it has MATLAB's version 5 to 7",
        ),
        (without("images"), ValueError, "nyu_depth_v2_labeled.mat: no 'images' in it; it holds depths, labels"),
        (without("depths"), ValueError, "nyu_depth_v2_labeled.mat: no 'depths' in it; it holds images, labels"),
        (
            stored("images", lambda images: images.astype(np.float32) / 255),
            ValueError,
            r"images of image 1\): float32 \(3, 480, 640\); uint8",
        ),
        (stored("images", lambda images: images[:, :1]), ValueError, r"images of image 1\): uint8 \(1, 480, 640\)"),
        (stored("images", lambda images: images.swapaxes(2, 3)), ValueError, r"uint8 \(3, 640, 480\); uint8 \(3, 480"),
        (
            lambda r: scipy.io.savemat(r / "splits.mat", {"trainNdxs": [[1], [9]]}),
            ValueError,
            "trainNdxs names image 9, and nyu_depth_v2_labeled.mat has 4",
        ),
        (lambda r: scipy.io.savemat(r / "splits.mat", {"trainNdxs": []}), ValueError, "trainNdxs is empty"),
        (lambda r: scipy.io.savemat(r / "splits.mat", {"trainNdxs": [[0]]}), ValueError, "different numbers from 1"),
        (
            lambda r: scipy.io.savemat(r / "classMapping40.mat", {"mapClass": np.ones((1, 3))}),
            ValueError,
            r"labels of image 1\): label \d+, but classMapping40.mat has 3",
        ),
        (
            lambda r: scipy.io.savemat(r / "classMapping40.mat", {"mapClass": np.full((1, 894), 41)}),
            ValueError,
            r"labels of image 1\): class id 41",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_named(tmp_path, change, error, message):
    labelled_mat(tmp_path)
    change(tmp_path)
    with pytest.raises(error, match=message):
        NYUD(layout="labelled_mat").open(tmp_path, "train", TASKS)[0]
