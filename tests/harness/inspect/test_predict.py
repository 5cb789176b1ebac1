"""Predictions for images of one's own never cost one of them, and are of what the images show."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cells import small_benchmark, small_cell, train_cell
from command import invoke
from mtlbench.harness.data.copy import Copy
from mtlbench.harness.inspect.predict import predict, predict_test
from mtlbench.harness.inspect.requests.predictions import require_own_places
from mtlbench.harness.store.store import Store

ORIENTATION = 0x0112  # the tag of EXIF


@pytest.mark.parametrize(
    ("images", "out", "expected"),
    [
        (["a.png"], ".", "a.png: its predictions would be written over this image"),
        (["a.jpg", "b.png", "a.png"], ".", "a.png: its predictions"),
        (["d/../a.png"], "d/..", "its predictions would be written over"),
        (["a.png", "d/a.png"], "p", "a.png and d/a.png would both become a.png"),
        (["a.jpg", "a.png"], "p", "a.jpg and a.png would both become a.png"),
        (["a.jpg", "a.jpg"], "p", "would both become"),
    ],
)
def test_what_would_be_written_over_an_image_or_twice_is_refused(images, out, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=expected):
        require_own_places([Path(image) for image in images], Path(out))


def test_other_places_are_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_own_places([Path("a.jpg"), Path("d/b.png")], Path("."))


def test_it_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ValueError, match="both become"):
        next(predict(Store(tmp_path), "no_such_cell", [Path("a.png"), Path("a.jpg")], tmp_path))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, rooms):
    """A store with one finished cell, and the cell's id."""
    store = Store(tmp_path_factory.mktemp("store"))
    cell = small_cell(train={"steps": 1})
    store.put_cell(cell)
    train_cell(cell, store.url, rooms)
    return store, cell.id


def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.mark.slow
def test_a_photo_is_predicted_upright(trained, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(picture()).save(tmp_path / "upright.png")
    Image.fromarray(np.ascontiguousarray(np.rot90(picture()))).save(tmp_path / "phone.png", exif=exif)
    images = [tmp_path / "upright.png", tmp_path / "phone.png"]
    assert len(list(predict(*trained, images, tmp_path / "out"))) == 2
    upright, phone = (np.load(tmp_path / "out" / f"{name}.npz") for name in ("upright", "phone"))
    for task in ("semseg", "depth"):
        assert upright[task].shape == (40, 60) and np.array_equal(upright[task], phone[task])


def broken(path, case):
    if case == "truncated":
        Image.fromarray(picture()).save(path)
        path.write_bytes(path.read_bytes()[:900])
    elif case == "16 bits":
        Image.fromarray(np.full((40, 60), 1000, np.uint16)).save(path)
    elif case == "large":
        Image.fromarray(np.zeros((400, 10), np.uint8)).save(path)
    elif case == "folder":
        path.mkdir()
    elif case == "text":
        path.write_text("kitchen")


@pytest.mark.parametrize(
    ("name", "case", "said"),
    [
        ("a.jpg", "truncated", "not a whole picture (OSError: "),
        ("a.png", "truncated", "not a whole picture ("),
        ("a.png", "16 bits", "a picture of mode I;16; 8 bits a channel are needed"),
        ("a.png", "large", "a picture of more than 0.001 million pixels; make it smaller"),
        ("a.jpg", "folder", "not a whole picture; it is a folder\n"),
        ("a.jpg", "text", "not a whole picture; it begins like no known kind of picture, such as JPEG or PNG\n"),
        ("a.jpg", "absent", "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(trained, name, case, said, tmp_path, monkeypatch):
    broken(tmp_path / name, case)
    if case == "large":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1001)
    store, cell = trained
    result = invoke("predict", cell, tmp_path / name, "--store", store.url, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"mtlbench: {tmp_path / name}: {said}") and result.stderr.count("\n") == 1


@pytest.mark.slow  # predicts twice, and draws two sheets
def test_an_image_of_the_test_split_is_predicted_as_any_other_and_keeps_its_labels(trained, rooms, tmp_path):
    store, cell = trained
    result = invoke("predict", cell, "--test", "1", "--store", store.url, "--data", f"rooms={rooms}", "--out", tmp_path)
    assert result.exit_code == 0
    said = [Path(line) for line in result.stdout.splitlines()]
    assert said == [tmp_path / f"test-1.{ending}" for ending in ("png", "pdf", "npz")]
    assert set(said) == set(tmp_path.iterdir())
    sample = small_benchmark().open(rooms, "test", ("semseg", "depth"))[1]
    Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(tmp_path / "photo.png")
    list(predict(store, cell, [tmp_path / "photo.png"], tmp_path / "out"))
    found, photo = np.load(tmp_path / "test-1.npz"), np.load(tmp_path / "out" / "photo.npz")
    for task, label in sample.labels.items():
        assert np.array_equal(found[task], photo[task])
        valid = np.isfinite(found[f"{task}/label"])
        assert valid.any() and np.array_equal(found[f"{task}/label"][valid], label.float().numpy()[valid])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give image files, or places of test images by --test N; one of both"),
        (["a.png", "--test", "0"], "give image files, or places of test images by --test N; one of both"),
        (["--test", "1000"], "--test 1000: the test split of rooms has the images 0 to "),
    ],
)
def test_a_test_image_that_cannot_be_shown_is_refused_in_one_line(trained, rooms, arguments, said, tmp_path):
    store, cell = trained
    result = invoke("predict", cell, *arguments, "--store", store.url, "--data", f"rooms={rooms}", "--out", tmp_path)
    assert result.exit_code == 2 and not list(tmp_path.iterdir())
    assert result.stderr.splitlines()[-1].startswith(f"mtlbench: {said}")


def test_test_images_of_other_data_are_refused(trained, rooms, tmp_path, monkeypatch):
    monkeypatch.setattr(Copy, "fingerprint", "other")
    with pytest.raises(ValueError, match=r"was scored on data with fingerprint \w+; .* has other"):
        next(predict_test(*trained, [0], rooms, tmp_path))
