"""Rows stay apart for every reader, and what is written beside points covers nothing."""

import io
from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import seaborn as sns
from matplotlib.colors import to_rgb

from make_records import crowded, three_seeds
from mtlbench.results.report.drawing.colors import COLORS, DARK
from mtlbench.results.report.drawing.dark import INK, PAPER, png, turned
from mtlbench.results.report.drawing.direct import Point, draw_frontier, frontier, label_points
from mtlbench.results.report.drawing.figures import FIGURES, delta_against_cost, palette, save
from mtlbench.results.report.drawing.looks import DASHES, MARKERS
from paths import ROOT
from tables_of import summaries

# What a reader sees, in linear RGB: Machado, Oliveira and Fernandes (2009), severity 1.
SIGHT = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(rgb):
    rgb = np.array(rgb[:3])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(color, sight):
    """CIE Lab under D65 of an sRGB colour, as somebody with this sight sees it."""
    xyz = TO_XYZ @ np.clip(SIGHT[sight] @ linear(to_rgb(color)), 0, 1) / TO_XYZ.sum(1)
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def closest(colors, sight):
    return min(np.linalg.norm(lab(one, sight) - lab(other, sight)) for one, other in combinations(colors, 2))


@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_colours_stay_apart_for_every_reader(sight):
    assert len(COLORS) >= 7
    assert closest(COLORS, sight) >= 20


def test_every_colour_is_seen_on_white_paper():
    assert min(contrast(color, "white") for color in COLORS) >= 3


@pytest.mark.parametrize("width", [None, 3.25])
def test_markers_of_all_rows_cover_as_much_paper_inside_their_white_edge(width):
    colors, edge, covered = palette([str(place) for place in range(len(MARKERS))], width), 0.6, []
    for label in colors:
        figure = plt.figure(figsize=(0.5, 0.5), dpi=600)
        size = colors.size(label, edge=edge)
        figure.add_artist(
            plt.Line2D([0.5], [0.5], color="black", marker=colors.marker(label), ms=size, mec="white", mew=edge)
        )
        figure.canvas.draw()
        covered.append((255 - np.asarray(figure.canvas.buffer_rgba())[..., 0].astype(float)).sum())
        plt.close(figure)
    assert max(covered) < 1.1 * min(covered)


@pytest.mark.parametrize("sight", SIGHT)
def test_the_colours_of_dark_paper_stay_apart_too_and_are_seen_on_it(sight):
    colors = [DARK.get(color, color) for color in COLORS]
    assert set(DARK) <= set(COLORS)
    assert closest(colors, sight) >= 20
    assert closest([*colors, PAPER], sight) >= 20
    assert min(contrast(color, PAPER) for color in colors) >= 3


def contrast(one, other):
    """The ratio of WCAG 2: at least 3 for what has to be seen in a figure."""
    dark, light = sorted(TO_XYZ[1] @ linear(to_rgb(color)) for color in (one, other))
    return (light + 0.05) / (dark + 0.05)


def test_on_dark_paper_grays_turn_and_colours_stay(tmp_path):
    assert turned("black") == pytest.approx((*INK, 1)) and turned("white") == pytest.approx((*PAPER, 1))
    assert turned((0.5, 0.5, 0.5, 0.3))[3] == 0.3
    assert turned(COLORS[0]) == pytest.approx((*to_rgb(COLORS[0]), 1))
    figure, axis = plt.subplots()
    axis.imshow(np.full((4, 4, 3), 255, dtype=np.uint8))  # a white picture is data
    axis.set_title("title")
    (bar,) = axis.bar(1, 2, color="0.9")
    picture = plt.imread(io.BytesIO(png(figure)))
    assert picture[0, 0, :3] == pytest.approx(PAPER, abs=0.01)
    assert (picture[..., :3] > 0.99).all(-1).mean() > 0.1
    assert bar.get_facecolor()[:3] == (0.9, 0.9, 0.9)
    assert contrast(axis.title.get_color(), PAPER) > 10


def test_the_simulation_sees_colours_that_fall_together():
    assert lab("white", "normal") == pytest.approx([100, 0, 0], abs=0.1)
    assert lab("red", "normal") == pytest.approx([53.24, 80.09, 67.20], abs=0.1)
    for sight in SIGHT:  # white stays white
        assert lab("white", sight) == pytest.approx([100, 0, 0], abs=0.1)
    assert closest(["#b03030", "#4a6a10"], "deuteranopia") < closest(["#b03030", "#4a6a10"], "normal") / 2
    assert min(closest(sns.color_palette("colorblind", 7), sight) for sight in SIGHT) < 20


def test_markers_and_dashes_tell_labels_apart_where_colours_repeat():
    looks = palette([f"method {i}" for i in range(len(COLORS) * len(DASHES))])
    assert len({looks[label] for label in list(looks)[: len(COLORS)]}) == len(COLORS)
    for cue in (looks.marker, looks.hatch, lambda label: str(looks.dash(label))):
        assert len({(looks[label], cue(label)) for label in looks}) == len(looks)
    few = palette(list(looks)[:4])
    assert dict(few) == {label: looks[label] for label in few}


def test_the_frontier_has_the_points_that_no_other_beats():
    rng = np.random.default_rng(3)
    points = {str(i): Point(x, y, y, y) for i, (x, y) in enumerate(rng.integers(0, 12, (40, 2)).astype(float))}
    beaten = {
        a
        for a, one in points.items()
        for b, other in points.items()
        if other.x <= one.x and other.y >= one.y and (other[:2] != one[:2] or int(b) < int(a))
    }
    assert set(frontier(points)) == points.keys() - beaten


def letters_of(text, renderer=None):
    """The box of a label without the line to its point."""
    text.update_positions(renderer or text.figure.canvas.get_renderer())
    return plt.Text.get_window_extent(text, renderer)


def covered(figure, axis):
    """Pairs of a text with another text, or with a marker, that share area."""
    renderer = figure.canvas.get_renderer()
    texts = [letters_of(text, renderer) for text in axis.texts]
    boxes = []
    for container in axis.containers:
        (x, y), half = axis.transData.transform(container.lines[0].get_xydata()[0]), 2 * figure.dpi / 72
        boxes.append((x - half, y - half, x + half, y + half))
    pairs = [(one, other.extents) for one, other in combinations(texts, 2)]
    pairs += [(text, box) for text in texts for box in boxes]
    return [(a, b) for a, b in pairs if min(a.x1, b[2]) > max(a.x0, b[0]) and min(a.y1, b[3]) > max(a.y0, b[1])]


@pytest.mark.parametrize("width", [None, 5.5, 4.0, 3.25])
def test_labels_beside_points_overlap_nothing(tmp_path, width):
    kept = str(ROOT / "results" / "rooms_verdict" / "store")
    for store, name in ((three_seeds(tmp_path), "rooms"), (kept, "rooms_verdict")):
        (summary,), _ = summaries(store, name)
        figure = delta_against_cost(summary, store, palette(list(summary.rows), width)).figure
        for axis in figure.axes:
            assert {text.get_text() for text in axis.texts} == set(summary.rows)
            assert covered(figure, axis) == []
            frame = axis.get_window_extent().padded(-2 * figure.dpi / 72)  # no label touches an axis
            for text in axis.texts:
                box = letters_of(text)
                assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        plt.close(figure)


def test_the_line_at_zero_is_not_hidden_by_the_grid(tmp_path):
    store = three_seeds(tmp_path)
    (summary,), _ = summaries(store)
    figure = delta_against_cost(summary, store, palette(list(summary.rows), 3.25)).figure
    for axis in figure.axes:
        (zero,) = [line for line in axis.lines if list(line.get_ydata()) == [0, 0]]
        assert axis.yaxis.get_zorder() < zero.get_zorder() < 1  # the grid has the layer of its axis
    plt.close(figure)


def test_labels_of_a_crowd_overlap_nothing():
    rng = np.random.default_rng(0)
    points = {f"method {i}": Point(x, y, y - 0.3, y + 0.3) for i, (x, y) in enumerate(rng.normal(0, 1, (14, 2)))}
    figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
    for point in points.values():
        axis.errorbar(point.x, point.y, 0.3, marker="o")
    axis.set_xlim(-3, 3)
    label_points(figure, [(axis, points, draw_frontier(axis, points))], 6, 7)
    assert len(axis.texts) == 14 and covered(figure, axis) == []
    plt.close(figure)


@pytest.mark.parametrize("width", [5.5, 3.25])
def test_a_saved_figure_of_a_paper_is_cut_nowhere(tmp_path, width):
    """Ticks depend on the style in which a figure is saved, and the layout is made for those of its own style."""
    kept = str(ROOT / "results" / "rooms_verdict" / "store")
    (summary,), _ = summaries(kept, "rooms_verdict")
    colors = palette(list(summary.rows), width)
    for name in ("gains", "cost", "classes"):
        figure = FIGURES[name](summary, kept, colors).figure
        (path,) = save(figure, tmp_path / name, ("png",), style=colors.style)
        pixels = plt.imread(path)[..., :3]
        for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
            assert (edge > 0.85).all(), name  # the page, or a line of a grid


@pytest.mark.slow  # hundreds of texts
@pytest.mark.parametrize("width", [5.5, 3.25])
def test_a_crowd_of_long_names_is_not_cut_and_overlaps_nothing(tmp_path, width):
    store = crowded(tmp_path)
    (summary,), _ = summaries(store, "crowd")
    colors = palette(list(summary.rows), width)
    for name, draw in FIGURES.items():
        picture = draw(summary, store, colors)
        if picture is None:  # three images need three sheets, and there may be four
            assert name == "predictions_4"
            continue
        figure = picture.figure
        figure.set_dpi(160)
        with mpl.rc_context(colors.style):
            figure.draw_without_rendering()
        ticks = {text for axis in figure.axes for text in (*axis.get_xticklabels(), *axis.get_yticklabels())}
        texts = [text for text in figure.findobj(plt.Text) if text.get_text() and text not in ticks]
        boxes = {text: plt.Text.get_window_extent(text) for text in texts if text.get_visible()}
        for text, box in boxes.items():
            assert box.x0 >= -1 and box.x1 <= figure.bbox.width + 1, (name, text)
            assert box.y0 >= -1 and box.y1 <= figure.bbox.height + 1, (name, text)
            assert 7 <= text.get_fontsize() <= 9
        for (one, box), (other, beside) in combinations(boxes.items(), 2):
            assert not box.padded(-1.5).overlaps(beside.padded(-1.5)), (name, one, other)
        plt.close(figure)


@pytest.mark.parametrize("width", [5.5, 3.25])
def test_figures_of_a_paper_have_its_width_its_letters_and_say_what_is_drawn(tmp_path, width):
    store = three_seeds(tmp_path)
    (summary,), _ = summaries(store)
    drawn = {}
    for name, draw in FIGURES.items():
        picture = draw(summary, store, palette(list(summary.rows), width))
        if picture is None:
            continue
        figure = picture.figure
        figure.draw_without_rendering()
        assert figure.get_size_inches()[0] == width
        texts = [text for text in figure.findobj(plt.Text) if text.get_text() and text.get_visible()]
        assert {text.get_fontname() for text in texts} == {"STIXGeneral"}
        assert all(7 <= text.get_fontsize() <= 9 for text in texts)
        ticks = [label for axis in figure.axes for label in (*axis.get_xticklabels(), *axis.get_yticklabels())]
        for text in (text for text in texts if text not in ticks):  # a tick outside of the axes is not drawn
            box = text.get_window_extent()
            assert box.x0 >= -1 and box.x1 <= figure.bbox.width + 1, text.get_text()
        drawn[name] = figure.get_supxlabel()
        plt.close(figure)
    assert "whiskers: paired 95 %" in drawn["gains"]
    assert "Whiskers: simultaneous 95 %" in drawn["cost"]
    assert "bands: ±1 standard deviation" in drawn["learning"]
    assert all("\n" not in note for note in drawn.values())


@pytest.mark.slow
def test_no_axis_of_a_paper_is_shorter_than_its_label(tmp_path):
    store = crowded(tmp_path, tasks=("semseg", "depth"), pictures=False)
    (summary,), _ = summaries(store, "crowd")
    colors = palette(list(summary.rows), 3.25)
    picture = FIGURES["learning"](summary, store, colors)
    with mpl.rc_context(colors.style):
        picture.figure.draw_without_rendering()
        for axis in picture.figure.axes:
            assert axis.yaxis.label.get_window_extent().height <= axis.get_window_extent().height
    assert "Losses are those of the final predictions." in picture.figure.get_supxlabel().replace("\n", " ")
    plt.close(picture.figure)
