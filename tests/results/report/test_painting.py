"""Colours of predictions mean the same everywhere, and a sheet holds all its letters, however long."""

from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from mtlbench.results.report.drawing import keys
from mtlbench.results.report.drawing.looks import PAPER, STYLE
from mtlbench.results.report.drawing.painting import (
    NO_LABEL,
    Reading,
    ball,
    class_colors,
    occurring,
    painted,
    reading,
)
from mtlbench.results.report.drawing.sheet import Box, Sheet

NAN = float("nan")


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def test_a_class_keeps_its_colour_whatever_the_number_of_classes():
    few, many = class_colors(3), class_colors(100)
    assert many[:3] == few and len(set(many)) == 100
    assert all(
        np.abs(np.subtract(one, other)).max() > 0.1 for one, other in combinations([*class_colors(40), NO_LABEL], 2)
    )


def test_classes_fields_and_directions_have_the_colours_of_their_values():
    classes = reading([np.array([[0, 2]])], ["wall", "floor", "bed"], "%")
    shades = painted(np.array([[2.0, NAN, 0.0]]), classes)[0]
    colors = class_colors(3)
    assert shades.tolist() == [list(colors[2]), list(NO_LABEL), list(colors[0])]
    depth = reading([np.array([[[1.0, 3.0]]]), np.array([[5.0, NAN]])], [], "m")
    assert depth == Reading((), "m", 1.0, 5.0)
    viridis = [mpl.colormaps["viridis"](place)[:3] for place in (0.0, 0.5, 1.0)]
    assert np.allclose(painted(np.array([[0.0, 3.0, 9.0]]), depth)[0], viridis)  # beyond the ends: as the ends
    up, left = np.array([0.0, 2.0, 0.0]), np.array([1.0, 0.0, 0.0])
    normals = reading([np.stack([up, left], 1)[:, None]], [], "°")
    assert painted(np.stack([up, left, NAN * up], 1)[:, None], normals)[0].tolist() == [
        [0.5, 1, 0.5],
        [1, 0.5, 0.5],
        list(NO_LABEL),
    ]


@pytest.mark.parametrize("known", [[], [np.full((2, 2), NAN)]])
def test_nothing_known_is_gray(known):
    meaning = reading(known, [], "m")
    assert (painted(np.full((2, 2), NAN), meaning) == NO_LABEL).all()


def test_the_unit_of_a_score_in_percent_is_none_of_the_values():
    assert reading([np.zeros((2, 2))], [], "%").unit == ""


def test_the_ball_shows_the_directions_that_face_the_viewer():
    """x points left: what faces left is seen at the left of the ball."""
    shown = ball(101)
    assert shown[50, 50].tolist() == pytest.approx([0.5, 0.5, 1, 1])
    assert shown[50, 0].tolist() == pytest.approx([1, 0.5, 0.5, 1])
    assert shown[0, 50].tolist() == pytest.approx([0.5, 1, 0.5, 1])
    assert shown[0, 0, 3] == 0


def test_only_classes_that_occur_are_named():
    assert occurring([np.array([[3.0, NAN]]), np.array([[0, 3]], dtype=np.uint8)]) == [0, 3]


@pytest.mark.parametrize("style", [STYLE, STYLE | PAPER], ids=["screen", "paper"])
@pytest.mark.parametrize("width", [0.9, 3.0, 7.0])
def test_every_name_of_forty_lies_on_the_sheet_and_none_overlaps(width, style):
    names = [
        f"class {i}" if i % 5 else f"the {i}th_class-with $a$ very longishlongishlongishlongish name" for i in range(40)
    ]
    with mpl.rc_context(style):
        sheet = Sheet(width + 0.2, 7)
        end = keys.key(sheet, Reading(names, "", 0, 1), range(40), Box(0.1, 0.1, width))
        figure = sheet.drawn(end + 0.1)
        figure.set_dpi(160)
        figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.texts]
    boxes += [patch.get_window_extent() for patch in figure.patches if patch is not figure.patch]
    written = "".join(text.get_text() for text in figure.texts)
    assert sorted(written.replace(" ", "")) == sorted("".join(names).replace(" ", ""))
    page = figure.bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)
    shrunk = [box.padded(-1) for box in boxes]
    assert not any(one.overlaps(other) for one, other in combinations(shrunk, 2))


def test_a_scale_says_its_ends_with_the_unit():
    sheet = Sheet(3, 7)
    keys.key(sheet, Reading((), "m", 0.71234, 9.3), [], Box(0.1, 0.1, 2.8))
    assert [text.get_text() for text in sheet.drawn(1).texts] == ["0.712", "9.3 m"]
