"""Arrays and parquet files of the 13-class copy hold the same samples, and both say what is wrong with them."""

import pickle

import numpy as np
import pytest
import torch

from fixtures import SIZE, nyuv2_13, save, tree
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.benchmarks.copies import axes as frames
from mtlbench.benchmarks.nyuv2_13 import NYUv2With13Classes

TASKS = ("semseg", "depth", "normals")
LAYOUTS = ("MTAN_npy", "parquet")


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


def test_samples_hold_what_was_stored(tmp_path, layout):
    truth = nyuv2_13(tmp_path, layout)
    benchmark = BENCHMARKS["nyuv2_13"]()
    assert benchmark.reading(tmp_path) == {"layout": layout, "frame": "left-up-back"}
    for split, folder, count in (("train", "train", 3), ("test", "val", 2)):
        samples = benchmark.open(tmp_path, split, TASKS)
        assert [sample.id for sample in samples] == [str(number) for number in range(count)]
        for number, sample in enumerate(samples):
            stored = truth[folder, number]
            assert sample.image.dtype == torch.uint8 and sample.image.shape == (3, *SIZE)
            assert np.abs(sample.image.permute(1, 2, 0).numpy() / 255 - stored["image"]).max() <= 1 / 510 + 1e-6
            semseg = sample.labels["semseg"].numpy()
            assert semseg.dtype == np.uint8 and {0, 4, 12, 255} <= set(np.unique(semseg))
            assert np.array_equal(semseg, np.where(stored["label"] == -1, 255, stored["label"]))
            assert np.array_equal(sample.labels["depth"].numpy(), stored["depth"].transpose(2, 0, 1))
            assert np.allclose(sample.labels["normals"].permute(1, 2, 0).numpy(), stored["normal"], atol=1e-6)


def test_rows_are_read_in_any_order_and_by_workers(tmp_path, layout):
    nyuv2_13(tmp_path, layout, train=5)
    samples = NYUv2With13Classes().open(tmp_path, "train", TASKS)
    copy = pickle.loads(pickle.dumps(samples))
    whole = list(samples)
    for index in (4, 0, 2, 2, -1):
        assert torch.equal(copy[index].labels["depth"], whole[index].labels["depth"])
        assert torch.equal(copy[index].image, whole[index].image)
    loader = torch.utils.data.DataLoader(samples, batch_size=None, num_workers=2)
    assert all(torch.equal(one[1], other.image) for one, other in zip(loader, whole, strict=True))
    with pytest.raises(IndexError):
        samples[5]


def test_files_are_numbered_and_not_sorted_as_text(tmp_path):
    nyuv2_13(tmp_path, train=11)
    samples = NYUv2With13Classes().open(tmp_path, "train", ())
    assert samples.ids[:3] == ("0", "1", "2") and samples.ids[-1] == "10"


def test_the_data_folder_is_left_as_it_was(tmp_path, layout):
    nyuv2_13(tmp_path, layout)
    before = tree(tmp_path)
    list(NYUv2With13Classes().open(tmp_path, "train", TASKS))
    NYUv2With13Classes().fingerprint(tmp_path)
    assert tree(tmp_path) == before


def test_a_fingerprint_tells_copies_apart(tmp_path, layout):
    copies = [tmp_path / name for name in ("a", "b", "c")]
    for copy, train in zip(copies, (3, 3, 4), strict=True):
        nyuv2_13(copy, layout, train=train)
    first, second, third = (NYUv2With13Classes().fingerprint(copy) for copy in copies)
    assert first == second != third


def test_only_the_tasks_asked_for_are_read(tmp_path):
    nyuv2_13(tmp_path)
    for path in (tmp_path / "val" / "normal").iterdir():
        path.unlink()
    assert set(NYUv2With13Classes().open(tmp_path, "test", ("depth",))[0].labels) == {"depth"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: (r / "train/depth/1.npy").unlink(), r"train/depth/1.npy: no such file, but depth needs it; 1 of 3"),
        (lambda r: (r / "train/image/1.npy").unlink(), r"train/image/1.npy: no such file.*1 of the numbers up to 2"),
    ],
)
def test_an_incomplete_copy_is_refused_when_opened(tmp_path, change, message):
    nyuv2_13(tmp_path)
    change(tmp_path)
    with pytest.raises(FileNotFoundError, match=message):
        NYUv2With13Classes().open(tmp_path, "train", TASKS)


def test_a_folder_without_images_is_named(tmp_path):
    nyuv2_13(tmp_path)
    for path in (tmp_path / "train/image").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"train/image: no file 0.npy, 1.npy"):
        NYUv2With13Classes().open(tmp_path, "train", TASKS)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train/image/0.npy", np.full((*SIZE, 3), 2.0), "image/0.npy: values from 2 to 2; an image from 0 to 1"),
        ("train/image/0.npy", np.full((*SIZE, 3), np.nan), "image/0.npy: values from nan"),
        ("train/image/0.npy", np.zeros((3, *SIZE)), r"image/0.npy: an image of shape \(3, 34, 46\)"),
        ("train/label/0.npy", np.full(SIZE, 13.0), "label/0.npy: class id 13 in 1564 pixels; ids are 0 to 12, and -1"),
        ("train/label/0.npy", np.full(SIZE, -2), "label/0.npy: class id -2"),
        ("train/label/0.npy", np.full(SIZE, np.nan), "label/0.npy: class id nan"),
        ("train/depth/0.npy", np.full(SIZE, -1.0), "depth/0.npy: depth -1.0"),
        ("train/normal/0.npy", np.full((*SIZE, 3), 2.0), "normal/0.npy: a normal of length"),
        ("train/depth/0.npy", np.zeros(SIZE[::-1]), r"depth/0.npy: depth of \(46, 34\) for an image of \(34, 46\)"),
    ],
)
def test_a_damaged_array_is_named_when_read(tmp_path, file, content, message):
    nyuv2_13(tmp_path)
    save(tmp_path / file, content)
    samples = NYUv2With13Classes().open(tmp_path, "train", TASKS)
    assert samples[1].id == "1"
    with pytest.raises(ValueError, match=message):
        samples[0]


def test_a_damaged_missing_or_foreign_parquet_file_is_named(tmp_path):
    nyuv2_13(tmp_path, "parquet")
    first, second = sorted((tmp_path / "data").glob("train-*"))
    whole = second.read_bytes()
    second.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"train-00001-of-00002.parquet: not a whole parquet file"):
        NYUv2With13Classes().open(tmp_path, "train", TASKS)
    second.write_bytes(whole[:50] + b"\xff" * 3000 + whole[3050:])
    samples = NYUv2With13Classes().open(tmp_path, "train", TASKS)
    with pytest.raises(ValueError, match=r"train-00001-of-00002.parquet: row group 0 cannot be read"):
        list(samples)
    second.unlink()
    with pytest.raises(FileNotFoundError, match=r"train-00000-of-00002.parquet: is one of 2 files.*but 1 are there"):
        NYUv2With13Classes().open(tmp_path, "train", TASKS)
    first.unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)data/train-\*.parquet: no such file.*tanganke/nyuv2"):
        NYUv2With13Classes(layout="parquet").open(tmp_path, "train", TASKS)


def test_a_column_that_is_missing_is_named_with_the_task_that_needs_it(tmp_path):
    import pyarrow.parquet as pq

    nyuv2_13(tmp_path, "parquet")
    for file in (tmp_path / "data").iterdir():
        pq.write_table(pq.read_table(file).drop_columns(["normal"]), file)
    assert set(NYUv2With13Classes().open(tmp_path, "train", ("depth",))[0].labels) == {"depth"}
    with pytest.raises(ValueError, match=r"no column 'normal', but normals needs it; it has segmentation, image"):
        NYUv2With13Classes().open(tmp_path, "train", TASKS)


def test_parquet_files_may_lie_without_a_folder_of_their_own(tmp_path):
    nyuv2_13(tmp_path, "parquet")
    for file in (tmp_path / "data").iterdir():
        file.rename(tmp_path / file.name)
    assert len(NYUv2With13Classes().open(tmp_path, "test", TASKS)) == 2


def test_a_frame_turns_stored_normals_into_ours(tmp_path):
    truth = nyuv2_13(tmp_path)["train", 0]["normal"]
    sample = NYUv2With13Classes(frame="ahead-down-right").open(tmp_path, "train", ("normals",))[0]
    left, up, back = sample.labels["normals"].numpy()
    assert np.allclose(left, -truth[..., 2], atol=1e-6)
    assert np.allclose(up, -truth[..., 1], atol=1e-6)
    assert np.allclose(back, -truth[..., 0], atol=1e-6)
    assert not np.signbit(left[left == 0]).any()
    assert NYUv2With13Classes(frame="ahead-down-right").fingerprint(tmp_path) != NYUv2With13Classes().fingerprint(
        tmp_path
    )
    with pytest.raises(ValueError, match=r"frame is 'up-up-back'; three of left/right"):
        NYUv2With13Classes(frame="up-up-back")


def test_every_frame_is_another_signed_permutation():
    assert len(set(frames.FRAMES)) == 48 and frames.OURS in frames.FRAMES
    axes = torch.eye(3)
    turns = {tuple(frames.to_ours(axes, frame).flatten().tolist()) for frame in frames.FRAMES}
    assert len(turns) == 48
    assert torch.equal(frames.to_ours(axes, frames.OURS), axes)
    for turn in turns:
        matrix = torch.tensor(turn).view(3, 3)
        assert torch.equal(matrix @ matrix.mT, axes)
