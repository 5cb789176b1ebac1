"""The reader delivers what the files hold, and says which file does not hold what it should."""

import shutil

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

import paths
from fixtures import SIZE, part_annotation, pascal_mt, save, tree
from mtlbench.benchmarks.pascal_context import INDOOR, PART_NAMES, PascalContext

REAL = paths.REAL / "PASCAL_MT"


@pytest.fixture
def root(tmp_path):
    pascal_mt(tmp_path)
    return tmp_path


def test_samples_hold_what_was_stored(tmp_path):
    truth = pascal_mt(tmp_path)
    samples = PascalContext().open(tmp_path, "train", ("semseg", "human_parts", "saliency", "edge"))
    first, second = samples
    assert first.image.shape == (3, *SIZE) and second.image.shape == (3, *SIZE[::-1])
    for sample in samples:
        stored = truth[sample.id]
        assert all(label.dtype == torch.uint8 for label in sample.labels.values())
        assert {label.shape for label in sample.labels.values()} == {sample.image.shape[1:]}
        assert np.array_equal(sample.labels["saliency"].numpy(), stored["sal_distill"] / 255 > 0.5)
        border = np.zeros(sample.image.shape[1:], dtype=bool)  # of a pixel and one of its four neighbours
        for axis in (0, 1):
            differs = np.diff(stored["LabelMap"].astype(int), axis=axis) != 0
            border |= np.insert(differs, 0, False, axis) | np.insert(differs, differs.shape[axis], False, axis)
        edge = sample.labels["edge"].numpy().astype(bool)
        assert edge.any() and not (edge & ~border).any() and edge.sum() < border.sum()
    assert np.array_equal(second.labels["semseg"].numpy(), truth[second.id]["VOC12"])


def test_normals_are_kept_where_the_region_is_one_of_rooms(tmp_path):
    truth = pascal_mt(tmp_path)
    assert len(set(INDOOR)) == len(INDOOR) == 170 and {284, 427, 432, 442} <= set(INDOOR)  # person, tv, wall, window
    assert not {0, 2, 360, 431} & set(INDOOR)  # nothing, aeroplane, sky, unknown
    for sample in PascalContext().open(tmp_path, "train", ("normals",)):
        stored, vectors = truth[sample.id], sample.labels["normals"].permute(1, 2, 0).numpy()
        indoor = stored["LabelMap"] == 213  # guitar; the others are 0 and 426
        assert indoor.any() and not indoor.all() and not vectors[~indoor].any()
        assert np.abs(vectors[indoor] - stored["normals"][indoor]).max() < 0.01
        assert np.allclose(np.linalg.norm(vectors[indoor], axis=-1), 1, atol=1e-6)


def test_normals_and_regions_of_different_sizes_are_named(root):
    save(root / "pascal-context/trainval/2008_000002.mat", {"LabelMap": np.ones((5, 5))})
    with pytest.raises(ValueError, match=r"000002.mat: LabelMap of \(5, 5\), but normals of \(34, 46\)"):
        PascalContext().open(root, "train", ("normals",))[0]
    save(root / "normals_distill/2008_000002.png", np.ones(SIZE, np.uint8))
    with pytest.raises(ValueError, match=r"000002.png: a picture of mode L; three 8-bit channels"):
        PascalContext().open(root, "train", ("normals",))[0]


def test_voc_masks_are_preferred_and_read_as_indices(root):
    first, second = PascalContext().open(root, "train", ("semseg",))
    assert first.labels["semseg"].unique().tolist() == [7]  # it has none, so PASCAL-Context's is read
    with Image.open(root / "semseg/VOC12" / f"{second.id}.png") as picture:
        assert picture.mode == "P"
    assert set(second.labels["semseg"].unique().tolist()) <= {0, 9, 15, 20, 255}


def test_later_parts_overwrite_earlier_ones(tmp_path):
    truth = pascal_mt(tmp_path)
    sample = PascalContext().open(tmp_path, "train", ("human_parts",))[0]
    expected = np.zeros(SIZE, dtype=np.uint8)
    for part, number in (("head", 1), ("neck", 2), ("chair", 6)):
        expected[truth[sample.id][part]] = number
    assert np.array_equal(sample.labels["human_parts"].numpy(), expected)
    assert set(np.unique(expected)) == {0, 1, 2, 6}


def test_an_image_without_a_part_has_no_label_for_parts(root):
    label = PascalContext().open(root, "train", ("human_parts",))[1].labels["human_parts"]
    assert bool((label == 255).all())


def test_the_24_parts_of_a_person_become_six():
    assert len(PART_NAMES) == 24 and set(PART_NAMES.values()) == {1, 2, 3, 4, 5, 6}
    for name, number in PART_NAMES.items():  # a flip needs no swap of labels
        if name[0] in "lr":
            mirrored = {"l": "r", "r": "l"}[name[0]] + name[1:]
            assert PART_NAMES[mirrored] == number


def test_the_data_folder_is_left_as_it_was(root):
    before = tree(root)
    benchmark = PascalContext()
    list(benchmark.open(root, "train", benchmark.default_tasks))
    benchmark.fingerprint(root)
    assert tree(root) == before


def test_the_list_called_val_is_the_test_split(root):
    assert [sample.id for sample in PascalContext().open(root, "test", ())] == ["2008_000007"]
    assert PascalContext().splits == {"train": 4998, "test": 5105}


def test_a_missing_folder_is_named_with_the_task_that_needs_it(root):
    shutil.rmtree(root / "sal_distill")
    assert len(PascalContext().open(root, "train", ("semseg", "human_parts"))) == 2
    with pytest.raises(FileNotFoundError, match=r"sal_distill: no such folder, but saliency needs .*PASCAL_MT.tgz"):
        PascalContext().open(root, "train", ("semseg", "saliency"))
    with pytest.raises(ValueError, match="no task 'depth'; it has semseg, human_parts"):
        PascalContext().open(root, "train", ("depth",))


def test_the_folder_that_is_missing_is_named_where_a_task_needs_two(root):
    shutil.rmtree(root / "pascal-context")
    with pytest.raises(FileNotFoundError, match=r"pascal-context/trainval: no such folder, but normals needs pascal-"):
        PascalContext().open(root, "train", ("normals",))


def test_an_image_without_either_mask_is_counted_as_missing(root):
    (root / "semseg/pascal-context/2008_000002.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"2008_000002.png: no such file, but semseg needs it; 1 of 2.*pascal-context/"
    ):
        PascalContext().open(root, "train", ("semseg",))


def parts_file(name, objects, size=SIZE):
    return lambda root: save(root / "human_parts" / f"{name}.mat", part_annotation(size, objects))


WHOLE, HALF = np.ones(SIZE, dtype=bool), np.ones((SIZE[0] // 2, SIZE[1]), dtype=bool)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (parts_file("2008_000002", [("person", 15, WHOLE, [("wing", WHOLE)])]), "000002.mat: a person's part 'wing'"),
        (parts_file("2008_000002", [("person", 15, WHOLE, [("head", HALF)])]), "000002.mat: the mask of head is"),
        (parts_file("2008_000002", [("person", 15, HALF, [])]), "000002.mat: human_parts of .* for an image of"),
        (lambda r: scipy.io.savemat(r / "human_parts/2008_000002.mat", {"x": 1}), "no variable 'anno'; it holds x"),
        (
            lambda r: scipy.io.savemat(r / "human_parts/2008_000002.mat", {"anno": np.ones((2, 2))}),
            "not an annotation of PASCAL-Part",
        ),
        (lambda r: (r / "human_parts/2008_000002.mat").write_bytes(b"MATLAB"), "000002.mat: not a readable .mat"),
        (
            lambda r: save(r / "semseg/pascal-context/2008_000002.png", np.full(SIZE, 21, np.uint8)),
            "000002.png: class id 21 in 1564 pixels; ids are 0 to 20, and 255",
        ),
    ],
)
def test_a_damaged_file_is_named_when_read(root, change, message):
    change(root)
    with pytest.raises(ValueError, match=message):
        PascalContext().open(root, "train", ("semseg", "human_parts"))[0]


def test_a_cut_annotation_is_named(root):
    path = root / "human_parts/2008_000002.mat"
    content = path.read_bytes()
    for keep in (0.3, 0.7, 0.95):
        path.write_bytes(content[: int(len(content) * keep)])
        with pytest.raises(ValueError, match=r"2008_000002.mat: not a"):
            PascalContext().open(root, "train", ("human_parts",))[0]


def test_protocols_are_those_of_the_papers():
    mtl, atrc = PascalContext().augmentations["mtl"], PascalContext().augmentations["atrc"]
    assert (mtl.flip, mtl.zoom_range, mtl.degrees, mtl.borders) == (0.5, (0.75, 1.25), 20.0, "background")
    assert (atrc.zoom_range, atrc.borders, atrc.placement) == ((0.5, 2.0), "ignore", "pad")


@pytest.mark.skipif(not REAL.is_dir(), reason="no real images here")
def test_real_images_are_read():
    train, test = (PascalContext().open(REAL, split, ("semseg", "human_parts")) for split in ("train", "test"))
    assert (len(train), len(test)) == (12, 6)
    people, portraits = [], 0
    for sample in (*train, *test):
        semseg, parts = sample.labels["semseg"], sample.labels["human_parts"]
        assert semseg.shape == parts.shape == sample.image.shape[1:]
        assert max(semseg.shape) <= 500
        portraits += semseg.shape[0] > semseg.shape[1]
        assert set(semseg.unique().tolist()) <= {*range(21), 255} and bool((semseg != 255).any())
        assert bool((parts == 255).all()) or set(parts.unique().tolist()) <= set(range(7))
        if not bool((parts == 255).all()):
            people.append(sample.id)
            inside = parts > 0
            assert (semseg[inside] == 15).float().mean() > 0.9  # parts lie on people
    assert portraits == 3 and len(people) == 8
    with pytest.raises(FileNotFoundError, match="sal_distill: no such folder, but saliency"):
        PascalContext().open(REAL, "train", ("saliency",))
    with pytest.raises(FileNotFoundError, match=r"pascal-context/trainval: no such folder, but edge needs"):
        PascalContext().open(REAL, "train", ("edge",))
