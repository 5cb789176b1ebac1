"""The map of classes: a number in each cell where it fits, at the width of every paper, with nothing cut."""

import re
from dataclasses import replace
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from make_records import Store, score
from mtlbench.results.report.drawing import dark
from mtlbench.results.report.drawing.figures import classes, palette
from mtlbench.results.report.write import report
from tables_of import summaries

LONG = "a class whose name is longer than that of every other class"


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def made(tmp_path, count, rows, seeds, unit="%"):
    names = [LONG, *(f"class {number}" for number in range(1, count))]
    store = Store(tmp_path)
    for place, label in enumerate(["Single task", *(f"Method number {number}" for number in range(1, rows))]):
        for seed in range(seeds):
            of_classes = tuple(
                replace(score("semseg", 90.0 * k / count + seed + place, primary=False), metric=f"iou/{name}",
                        title=f"IoU of {name}", unit=unit)
                for k, name in enumerate(names)
            )  # fmt: skip
            store.run(label, ("semseg",), seed, scores=(score("semseg", 40.0 + seed), *of_classes))
    return store.close()


def drawn(store, width):
    return classes(summaries(store)[0][0], store, palette([], width))


@pytest.mark.parametrize(
    ("count", "rows", "seeds", "width", "expected"),
    [
        (5, 3, 2, None, "0.5 ±6.4"),
        (14, 4, 2, 3.25, "0.5 ±6.4"),
        (14, 8, 2, 3.25, "0.5|±6.4"),
        (40, 9, 2, 3.25, "0.5"),
        (40, 4, 1, 3.25, "0.0"),
        (40, 20, 2, 3.25, None),
    ],
)
def test_numbers_and_intervals_stand_where_they_fit_and_all_is_on_the_page(
    tmp_path, count, rows, seeds, width, expected
):
    picture = drawn(made(tmp_path, count, rows, seeds), width)
    figure = picture.figure
    figure.set_dpi(160)
    figure.draw_without_rendering()
    texts = [text.get_text() for text in figure.texts]
    cells = [text for text in texts if re.match(r"\d+\.\d|±", text)]
    first = "|".join(cells[: 1 + ("|" in (expected or ""))]) or None
    assert first == expected
    assert ("±" in (expected or "")) == any("half of their 95 %" in text for text in texts)
    page = figure.bbox
    boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations([box.padded(-1.5) for box in boxes], 2))
    assert min(text.get_fontsize() for text in figure.texts) >= 7


def test_the_colour_follows_the_mean(tmp_path):
    figure = drawn(made(tmp_path, 5, 2, 1), None).figure
    shades = np.array([patch.get_facecolor()[:3] for patch in figure.artists])
    brightness = shades.sum(-1).reshape(5, 2)
    assert (np.diff(brightness, axis=0) < 0).all()  # the classes score more and more, so the cells get darker


def test_on_dark_paper_numbers_keep_the_letters_that_are_read_on_their_cells(tmp_path):
    figure = drawn(made(tmp_path, 5, 2, 1), None).figure
    before = {text: text.get_color() for text in figure.texts}
    dark.png(figure)
    number = re.compile(r"\d+\.\d")
    kept = {text for text, color in before.items() if text.get_color() == color}
    assert kept == {text for text in figure.texts if number.match(text.get_text())} and len(kept) == 10


@pytest.mark.slow
def test_the_report_has_the_figure_and_all_numbers_as_csv(tmp_path):
    written = report(made(tmp_path / "store", 3, 2, 2), [], tmp_path / "out")
    assert any(path.name.endswith("-classes.pdf") for path in written.paths)
    frame = pd.read_csv(tmp_path / "out" / "rooms" / "classes.csv")
    assert list(frame["class"]) == [name for name in (LONG, "class 1", "class 2") for _ in range(2)]
    last = frame[(frame["class"] == "class 2") & (frame["label"] == "Method number 1")].iloc[0]
    assert last["mean"] == pytest.approx(61.5) and last["high"] - last["mean"] == pytest.approx(6.3531, abs=1e-3)
    page = (tmp_path / "out" / "rooms" / "report.html").read_text()
    assert "classes.csv" in page and "scores of single classes" in page


def test_a_report_without_scores_of_classes_has_neither(tmp_path):
    store = Store(tmp_path / "store")
    store.run("Single task", ("semseg",), 0)
    written = report(store.close(), [], tmp_path / "out")
    assert not any("classes" in path.name for path in written.paths)
