"""The pictures of predictions: which images are shown, what an error is, and that gray is where no label is."""

import io
import json
from collections import Counter

import numpy as np
import pytest

from command import invoke
from make_records import Store
from mtlbench.results.records import files
from mtlbench.results.records.damage import noticing, told
from mtlbench.results.records.files import read_shown
from mtlbench.results.records.reading import read, shown
from mtlbench.results.records.record import CorruptRecord
from mtlbench.results.report.drawing import panels
from mtlbench.results.report.drawing.figures import FIGURES, palette, predictions
from mtlbench.results.report.drawing.painting import NO_LABEL, error
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise

TASKS, ROWS = ("semseg", "depth"), ("Single task", "PAD-Net")
CLASSES = {"semseg": ["wall", "floor", "ceiling"], "depth": []}
FIVE = ("semseg", "human_parts", "depth", "normals", "edge")
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


def test_the_extremes_the_median_and_a_drawn_image_are_shown_in_that_order(store):
    shots = panels._shots(summary(store), store)
    errors = {task: {image: panels._errors(shots, image, task) for image in shots.images} for task in TASKS}
    titles = [panels.LEAST, panels.MEDIAN, panels.GREATEST, panels.DRAWN]
    # of four, the third is the median
    assert panels._chosen(errors, shots.images, "rooms") == dict(zip("badc", titles, strict=True))


def test_the_draw_is_of_the_benchmarks_name_and_not_of_errors():
    images = [str(number) for number in range(51)]
    drawn = set()
    for benchmark in ("rooms", "nyud", "pascal_context"):
        of_benchmark = set()
        for turn in (1, -1):
            errors = {"depth": {image: {"row": np.full((2, 2), turn * float(image) + 100)} for image in images}}
            found = {title: image for image, title in panels._chosen(errors, images, benchmark).items()}
            assert [found[panels.LEAST], found[panels.GREATEST]] == ["0", "50"][::turn]
            of_benchmark.add(found[panels.DRAWN])
        assert len(of_benchmark) == 1
        drawn |= of_benchmark
    assert len(drawn) > 1


@pytest.mark.parametrize("tasks", [("depth",), ("semseg", "depth", "normals"), FIVE], ids=len)
def test_every_number_of_tasks_shows_all_chosen_images_once(tmp_path, tasks):
    made, rng = Store(tmp_path, baseline="PAD-Net"), np.random.default_rng(0)
    cell, images = made.run("PAD-Net", tasks, 0), "abcdefg"
    values = {f"{i}/{t}": rng.uniform(1, 2, (3 if t == "normals" else 1, 4, 8)) for i in images for t in tasks}
    save(tmp_path / files.samples(cell), **values)
    labels = {name: value * rng.uniform(0.5, 1) for name, value in values.items()}
    pixels = {f"{image}/{files.PIXELS}": np.zeros((4, 8, 3), np.uint8) for image in images}
    save(
        tmp_path / files.shown("rooms"),
        **{files.CLASSES: np.array(json.dumps({task: [] for task in tasks}))},
        **labels,
        **pixels,
    )
    one = summary(made.close())
    names = [name for name in FIGURES if name.startswith("predictions")]
    pictures = [found for name in names if (found := FIGURES[name](one, str(tmp_path), palette([])))]
    known = [f"{title} of 7 test images" for title in (panels.LEAST, panels.MEDIAN, panels.GREATEST)]
    known.append(f"{panels.DRAWN} from 7 test images")
    texts = [text.get_text() for picture in pictures for text in picture.figure.texts]
    assert [text for text in texts if text in known] == known
    for number, picture in enumerate(pictures, start=1):
        axes = [axis.get_label() for axis in picture.figure.axes]
        assert axes.count(f"{tasks[0]}, error of PAD-Net") == axes.count("image") >= 1
        assert 2 * len(tasks) * axes.count("image") <= panels.MOST_LINES
        assert picture.caption.startswith(f"Sheet {number} of {len(pictures)}. " if len(pictures) > 1 else "Seed 0.")
        assert "one more that is drawn at random" in picture.caption
        assert picture.figure.get_size_inches()[1] < 12


def test_every_row_has_a_picture_and_an_error_for_each_task(store):
    picture = predictions(summary(store), store, palette([]))
    assert [text.get_text() for text in picture.figure.texts][:4] == ["image", "label", "Single task", "PAD-Net"]
    assert picture.caption.startswith("Sheet 1 of 2. Seed 0. Of 4 test images")
    names = Counter(axis.get_label() for axis in picture.figure.axes)
    del names["scale"]  # of depth, and of its error
    of_tasks = [f"{task}, {what}" for task in TASKS for what in ("label", *ROWS, *(f"error of {row}" for row in ROWS))]
    assert names == dict.fromkeys(["image", *of_tasks], 2)  # two images a sheet


def test_the_key_has_the_classes_that_occur_and_the_depth_in_metres(store):
    texts = [text.get_text() for text in predictions(summary(store), store, palette([])).figure.texts]
    key = texts[texts.index("semseg") :]
    assert key == ["semseg", "wall", "floor", "depth", "1", "1 m", "error", "0", "1 m", "no label"]


@pytest.mark.parametrize("store", [["depth"], []], indirect=True, ids=["depth alone", "none"])
def test_tasks_without_labels_in_these_images_have_gray_labels(store):
    picture = predictions(summary(store), store, palette([]))
    grays = [axis for axis in picture.figure.axes for image in axis.images if (image.get_array() == NO_LABEL).all()]
    assert len(grays) >= 2 * (1 + 2)  # of two images: the label and the errors of two rows


@pytest.mark.parametrize("missing", ["shown/rooms.npz", "cells/*/samples.npz"])
def test_a_store_without_pictures_has_no_figure(store, tmp_path, missing):
    for file in tmp_path.glob(missing):
        file.unlink()
    assert predictions(summary(store), store, palette([])) is None


def test_an_error_is_none_where_there_is_no_label():
    wrong = error(np.array([[1.0, 0, 1]]), np.array([[0, np.nan, 1]]), classes=True)
    assert wrong[0, ::2].tolist() == [1, 0] and np.isnan(wrong[0, 1])
    metres = error(np.array([[3.0, 3]]), np.array([[[2.0, np.nan]]]), classes=False)
    assert metres[0, 0] == 1 and np.isnan(metres[0, 1])
    up, right = np.array([0.0, 1, 0]), np.array([2.0, 0, 0])
    found, known = np.stack([up, right, up], 1)[:, None], np.stack([right, right, np.nan * up], 1)[:, None]
    angles = error(found, known, classes=False)
    assert angles[0, :2].round(6).tolist() == [90, 0] and np.isnan(angles[0, 2])


def test_garbage_is_named():
    with pytest.raises(CorruptRecord, match=r"shown/rooms.npz: not the arrays of shown images$"):
        read_shown(b"garbage", "shown/rooms.npz")


@pytest.mark.slow
def test_a_report_is_written_without_pictures_whose_file_is_damaged(store, tmp_path):
    (tmp_path / files.shown("rooms")).write_bytes(b"\x80garbage")
    said = invoke("report", "rooms", "--store", store, "--out", tmp_path / "out")
    assert said.exit_code == 0, said.output
    (line,) = [line for line in said.stderr.splitlines() if line.startswith("mtlbench: ")]
    assert "shown/rooms.npz is damaged" in line and "remove it, and the next `mtlbench run`" in line
    page = (tmp_path / "out" / "rooms" / "report.html").read_text()
    assert page.count("shown/rooms.npz is damaged") == 1 and "remove it, and the next `mtlbench run`" in page
    assert "pickle" not in page + said.output
    assert not list((tmp_path / "out").rglob("*predictions*"))


def test_whatever_is_wrong_with_the_file_of_shown_images_it_is_left_out(store, tmp_path):
    file = tmp_path / files.shown("rooms")
    content, left_out = file.read_bytes(), 0
    for place in range(0, len(content) - 56, 11):
        file.write_bytes(content[:place] + bytes(range(200, 256)) + content[place + 56 :])
        with noticing() as found:
            assert (shown(store, "rooms") is None) == (list(found) == ["shown/rooms.npz"])
        left_out += bool(found)
    assert left_out > 100


def test_predictions_that_are_damaged_leave_out_their_row_alone(store, tmp_path):
    (of_pad,) = [path for path in tmp_path.glob("cells/*/samples.npz") if "pad_net" in path.parent.name]
    of_pad.write_bytes(b"garbage")
    with noticing() as found:
        picture = predictions(summary(store), store, palette([]))
    texts = [text.get_text() for text in picture.figure.texts]
    assert "Single task" in texts and "PAD-Net" not in texts
    assert list(found) == [of_pad.relative_to(tmp_path).as_posix()]
    assert f"--only {of_pad.parent.name}` trains the cell anew" in told(found)[0]
