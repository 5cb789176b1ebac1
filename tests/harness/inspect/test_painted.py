"""The sheet of a prediction names every task, and says what its colours mean."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from cells import small_benchmark
from mtlbench.harness.inspect.painted import sheet
from mtlbench.results.report.drawing.painting import NO_LABEL, shaded

SIZE = (40, 60)
VALUES = {
    "semseg": np.tile(np.array([3, 0], np.uint8), (40, 30)),
    "depth": np.linspace(1.5, 4.25, 2400, dtype=np.float32).reshape(SIZE),
    "normals": np.stack([np.zeros(SIZE), np.ones(SIZE), np.zeros(SIZE)]).astype(np.float32),
    "edge": np.full(SIZE, 0.5, np.float32),
}
KEYS = {
    "semseg": ["wall", "person"],
    "depth": ["1.5", "4.25 m"],
    "normals": ["colour of a surface: that of the ball", "where the ball faces the same way"],
    "edge": ["0", "1 probability"],
}


@pytest.fixture
def drawn():
    yield lambda names, size=SIZE: sheet(
        np.zeros((*size, 3), np.uint8), {name: VALUES[name] for name in names}, small_benchmark().tasks
    )
    plt.close("all")


@pytest.mark.parametrize("names", [["semseg"], ["depth", "semseg"], ["semseg", "depth", "normals", "edge"]])
def test_every_task_has_its_name_its_picture_and_its_key(drawn, names):
    figure = drawn(names)
    texts = [text.get_text() for text in figure.texts]
    assert texts == ["image", *(text for name in names for text in (name, *KEYS[name]))]
    assert [axis.get_label() for axis in figure.axes if axis.get_label() not in ("scale", "ball")] == ["image", *names]


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (10, 400), (400, 10)])
def test_nothing_is_cut_and_no_picture_is_stretched(drawn, size):
    figure = drawn(["depth", "semseg"], size)
    figure.set_dpi(160)
    figure.draw_without_rendering()
    things = [*figure.axes, *figure.texts]
    boxes = [thing.get_window_extent() for thing in things]
    page = figure.bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)
    for box in boxes[:2]:
        assert box.height / box.width == pytest.approx(size[0] / size[1], rel=1e-3)


def test_a_label_and_its_error_stand_beside_each_prediction(drawn):
    names, tasks = ["semseg", "depth", "edge"], small_benchmark().tasks
    labels = {"semseg": np.full(SIZE, 3, np.float32), "depth": np.full((1, *SIZE), 2.0), "edge": np.zeros(SIZE)}
    labels["depth"][0, :5] = np.nan
    figure = sheet(np.zeros((*SIZE, 3), np.uint8), {name: VALUES[name] for name in names}, tasks, labels)
    pictures = {axis.get_label(): axis for axis in figure.axes if axis.get_label() != "scale"}
    assert list(pictures) == ["image", *(f"{n}{part}" for n in names for part in (", label", "", ", error"))]
    white, wrong = (pictures["semseg, error"].images[0].get_array()[0, place, :3] for place in (0, 1))
    assert np.array_equal(white, shaded(np.zeros((1, 1)), 1.0)[0, 0])  # class 3 is right and class 0 is wrong
    assert np.array_equal(wrong, shaded(np.ones((1, 1)), 1.0)[0, 0])
    assert (pictures["depth, error"].images[0].get_array()[:5] == NO_LABEL).all()
    texts = [text.get_text() for text in figure.texts]
    assert texts.count("no label") == 1 and texts.count("wrong") == 1 and "1 probability" in texts
    tops = [axis.get_position().y1 for axis in (pictures[f"depth{part}"] for part in (", label", "", ", error"))]
    assert tops == pytest.approx([tops[0]] * 3)
