"""The pictures of predictions: which images are shown, what an error is, and that gray is where no label is."""

import io
import json

import numpy as np
import pytest

from make_records import Store
from mtlbench.results.records import files
from mtlbench.results.records.files import read_shown
from mtlbench.results.records.reading import read
from mtlbench.results.records.record import CorruptRecord
from mtlbench.results.report.drawing import panels
from mtlbench.results.report.drawing.figures import palette, predictions
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise

TASKS = ("semseg", "depth")
CLASSES = {"semseg": ["wall", "floor"], "depth": []}
WRONG = {"a": 0.5, "b": 0.0, "c": 0.25, "d": 1.0}  # image -> share of its pixels that are predicted wrongly


def save(path, **arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def labels(task, known=True):
    label = np.zeros((4, 8), np.float32) if task == "semseg" else np.ones((1, 4, 8), np.float32)
    label[..., 0, 0] = np.nan
    return label if known else label * np.nan


def predicted(task, share):
    wrong = np.arange(32).reshape(4, 8) < 32 * share
    return wrong.astype(np.uint8) if task == "semseg" else (1 + wrong[None]).astype(np.float16)


@pytest.fixture(params=[TASKS])
def store(tmp_path, request):
    """Two cells of each row, with images that have labels of the tasks of the parameter alone."""
    made = Store(tmp_path)
    cells = [(cell, (task,)) for cell, task in zip(made.single(TASKS, 0), TASKS, strict=True)]
    cells.append((made.run("PAD-Net", TASKS, 0), TASKS))
    for cell, tasks in cells:
        values = {f"{image}/{task}": predicted(task, share) for image, share in WRONG.items() for task in tasks}
        save(tmp_path / files.samples(cell), **values)
    truth = {f"{image}/{task}": labels(task, task in request.param) for image in WRONG for task in TASKS}
    images = {f"{image}/{files.PIXELS}": np.zeros((4, 8, 3), np.uint8) for image in WRONG}
    save(tmp_path / files.shown("rooms"), **{files.CLASSES: np.array(json.dumps(CLASSES))}, **truth, **images)
    return made.close()


def summary(store):
    (comparison,) = comparisons(read(store, "rooms"))
    return summarise(comparison, store)


def test_the_best_the_median_and_the_worst_image_are_shown_in_that_order(store):
    shots = panels._shots(summary(store), store)
    errors = {task: {image: panels._errors(shots, image, task) for image in shots.images} for task in TASKS}
    assert panels._chosen(errors, shots.images, 3) == ["b", "a", "d"]  # of four, the third is the median
    assert panels._chosen(errors, shots.images, 1) == ["a"]


def test_every_row_has_a_picture_and_an_error_for_each_task(store):
    picture = predictions(summary(store), store, palette([]))
    titles = [axis.get_title() for axis in picture.figure.axes if axis.get_title()]
    assert titles == ["image", "label", "Single task", "PAD-Net"]
    assert picture.caption.startswith("Seed 0. Of 4 test images")
    shown = sum(len(axis.images) for axis in picture.figure.axes if axis.get_label() != "<colorbar>")
    assert shown == 3 * (1 + 2 * (1 + 2 * 2))  # three images: each once, and for each task a label, and two for a row


@pytest.mark.parametrize("store", [["depth"], []], indirect=True, ids=["depth alone", "none"])
def test_tasks_without_labels_in_these_images_have_gray_labels(store):
    picture = predictions(summary(store), store, palette([]))
    grays = [axis for axis in picture.figure.axes for image in axis.images if (image.get_array() == 0.85).all()]
    assert len(grays) >= 3 * (1 + 2)  # of three images: the label and the errors of two rows


@pytest.mark.parametrize("missing", ["shown/rooms.npz", "cells/*/samples.npz"])
def test_a_store_without_pictures_has_no_figure(store, tmp_path, missing):
    for file in tmp_path.glob(missing):
        file.unlink()
    assert predictions(summary(store), store, palette([])) is None


def test_an_error_is_none_where_there_is_no_label():
    wrong = panels.error(np.array([[1.0, 0, 1]]), np.array([[0, np.nan, 1]]), classes=True)
    assert wrong[0, ::2].tolist() == [1, 0] and np.isnan(wrong[0, 1])
    metres = panels.error(np.array([[3.0, 3]]), np.array([[[2.0, np.nan]]]), classes=False)
    assert metres[0, 0] == 1 and np.isnan(metres[0, 1])
    up, right = np.array([0.0, 1, 0]), np.array([2.0, 0, 0])
    found, known = np.stack([up, right, up], 1)[:, None], np.stack([right, right, np.nan * up], 1)[:, None]
    angles = panels.error(found, known, classes=False)
    assert angles[0, :2].round(6).tolist() == [90, 0] and np.isnan(angles[0, 2])


def test_garbage_is_named():
    with pytest.raises(CorruptRecord, match=r"shown/rooms.npz: not the arrays"):
        read_shown(b"garbage", "shown/rooms.npz")
