"""Figures show what the summary holds, in one colour a label, and only where there is something to show."""

import struct

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection

from make_records import CENTRE, Store, pascal, three_seeds, without_metric
from mtlbench.results.report.drawing.figures import FIGURES, Picture, delta_against_cost, gains, palette, save
from mtlbench.results.report.drawing.learning import learning_curves
from mtlbench.results.report.write import report
from tables_of import TASKS, summaries

COLORS = palette(["Single task", "Multi task", "PAD-Net", "MTI-Net", "SCA-MTL"])


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    plt.close("all")
    yield
    plt.close("all")


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def filled(axis):
    """The bars of an axis, without the frames around them."""
    return [bar for bar in axis.patches if bar.get_fill()]


def test_gains_have_a_bar_a_task_and_row_and_a_dot_a_seed(tmp_path):
    (summary,) = summaries(three_seeds(tmp_path))[0]
    axis = gains(summary, "", COLORS).figure.axes[0]
    heights = sorted(bar.get_height() for bar in filled(axis))
    expected = [
        sum(by_seed.values()) / len(by_seed) for row in summary.rows.values() for by_seed in row.delta.gains.values()
    ]
    assert heights == pytest.approx(sorted(expected))
    dots = [collection for collection in axis.collections if isinstance(collection, PathCollection)]
    assert sum(len(collection.get_offsets()) for collection in dots) == 2 * (3 + 2 + 1 + 3)


def test_delta_against_cost_places_every_defined_row_at_its_cost(tmp_path):
    (summary,) = summaries(three_seeds(tmp_path))[0]
    figure = delta_against_cost(summary, "", COLORS).figure
    parameters, macs = figure.axes
    points = [container.lines[0].get_xydata()[0] for container in parameters.containers]
    expected = [(row.cost["parameters"] / 1e6, row.delta.mean) for row in summary.rows.values()]
    assert np.allclose(points, expected)
    assert (parameters.get_xscale(), macs.get_xscale()) == ("log", "log")
    for axis in figure.axes:
        assert {text.get_text() for text in axis.texts} == set(summary.rows)


def test_learning_curves_have_a_panel_a_task_and_a_row_for_validation(tmp_path):
    store = three_seeds(tmp_path)
    (summary,) = summaries(store)[0]
    figure = learning_curves(summary, store, COLORS).figure
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["semseg, training loss", "depth, training loss", "semseg, validation", "depth, validation"]
    assert all(len(axis.lines) == 5 for axis in figure.axes[:2])
    last = figure.axes[2].lines[0].get_ydata()[-1]
    assert last == pytest.approx(CENTRE["semseg"], rel=0.01)


def curves(axis):
    return {line.get_color(): line.get_xydata() for line in axis.lines}


def test_losses_of_all_outputs_are_divided_by_their_own_first_and_final_losses_are_not(tmp_path):
    sums = three_seeds(tmp_path / "sums")
    figure = learning_curves(summaries(sums)[0][0], sums, COLORS).figure
    for axis in figure.axes[:2]:
        assert axis.get_ylabel() == "loss / own first loss"
        assert all(line[0, 1] == pytest.approx(1) for line in curves(axis).values())
        assert all(line[-1, 1] == pytest.approx(np.exp(-4 / 3)) for line in curves(axis).values())
    store = Store(tmp_path / "final")
    store.final = True
    store.single(TASKS, 0)
    store.run("SCA-MTL", TASKS, 0)
    final = store.close()
    figure = learning_curves(summaries(final)[0][0], final, COLORS).figure
    assert figure.axes[0].get_ylabel() == "loss of final prediction"
    found = curves(figure.axes[0])
    assert found[COLORS["Single task"]][0, 1] == pytest.approx(2 * np.exp(-1 / 3))
    assert found[COLORS["SCA-MTL"]][0, 1] == pytest.approx(2 * np.exp(-1 / 3) * 0.75)


def test_a_run_without_a_first_loss_is_left_out_of_relative_losses_and_said(tmp_path):
    store = three_seeds(tmp_path)
    for file in (tmp_path / "cells").glob("sca-mtl*/history.jsonl"):
        file.write_text("".join(line + "\n" for line in file.read_text().splitlines() if '"epoch": 1,' not in line))
    picture = learning_curves(summaries(store)[0][0], store, COLORS)
    assert "first epoch are left out of SCA-MTL." in picture.caption
    assert COLORS["SCA-MTL"] not in curves(picture.figure.axes[0])
    assert COLORS["SCA-MTL"] in curves(picture.figure.axes[2])


def test_figures_name_a_metric_as_its_score_does(tmp_path):
    store = three_seeds(tmp_path)
    (summary,) = summaries(store)[0]
    labels = [text.get_text() for text in gains(summary, store, COLORS).figure.axes[0].get_xticklabels()]
    assert labels == ["semseg\nmIoU", "depth\nRMSE"]
    axes = learning_curves(summary, store, COLORS).figure.axes
    assert [axis.get_ylabel() for axis in axes[2:]] == ["mIoU [%]", "RMSE [m]"]


def test_without_a_history_there_are_no_learning_curves(tmp_path):
    store = three_seeds(tmp_path)
    for path in (tmp_path / "cells").glob("*/history.jsonl"):
        path.unlink()
    assert learning_curves(summaries(store)[0][0], store, COLORS) is None


def test_the_gaps_of_a_damaged_history_are_said(tmp_path):
    store = three_seeds(tmp_path)
    (summary,) = summaries(store)[0]
    assert "cannot be read" not in learning_curves(summary, store, COLORS).caption
    (file,) = (tmp_path / "cells").glob("sca-mtl*-1/history.jsonl")
    first, *rest = file.read_text().splitlines()
    file.write_text("\n".join([first, "{", *rest]))
    picture = learning_curves(summary, store, COLORS)
    assert picture.caption.endswith(f"left out of cells/{file.parent.name}/history.jsonl.")
    assert all(len(axis.lines) == 5 for axis in picture.figure.axes[:2])


@pytest.mark.slow
def test_a_new_figure_is_a_function_and_a_line(tmp_path, monkeypatch):
    def best(summary, store, colors):
        figure, axis = plt.subplots()
        axis.bar(list(colors), [summary.rows[label].delta.mean for label in colors])
        return Picture(figure, f"The mean Δm of rows of {store}.")

    store = three_seeds(tmp_path / "store")
    report(store, [], tmp_path / "before")
    monkeypatch.setitem(FIGURES, "best", best)
    report(store, [], tmp_path / "after")
    before, after = (sorted((tmp_path / name).rglob("figures/*")) for name in ("before", "after"))
    assert {path.name for path in after} - {path.name for path in before} == {
        f"rooms-semseg-depth-best.{ending}" for ending in ("png", "pdf")
    }
    page = (tmp_path / "after" / "rooms" / "report.html").read_text()
    assert f"The mean Δm of rows of {store}." in page
    assert page.count("<img") == len(before) // 2 + 1


def test_without_a_delta_there_is_neither_gain_nor_cost(tmp_path):
    (summary,) = summaries(without_metric(tmp_path), "edges")[0]
    assert gains(summary, "", COLORS) is None
    assert delta_against_cost(summary, "", COLORS) is None


def test_without_a_finished_run_there_is_no_figure(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0, status="missing")
    store.run("SCA-MTL", TASKS, 0, status="failed")
    path = store.close()
    (summary,) = summaries(path)[0]
    assert [draw(summary, path, COLORS) for draw in FIGURES.values()] == [None] * len(FIGURES)


def test_a_label_keeps_its_colour_where_other_rows_are_absent(tmp_path):
    (whole,) = summaries(three_seeds(tmp_path / "whole"))[0]
    for summary in (whole, *summaries(pascal(tmp_path / "part"), "pascal")[0]):
        figure = gains(summary, "", COLORS).figure
        handles = figure.legends[0].legend_handles
        colours = dict(zip(legend(figure), [patch.get_facecolor()[:3] for patch in handles], strict=True))
        assert colours["SCA-MTL"] == COLORS["SCA-MTL"]


@pytest.mark.slow
def test_saved_figures_are_closed_undated_and_wide_enough_to_read(tmp_path):
    (summary,) = summaries(three_seeds(tmp_path / "store"))[0]
    paths = [save(gains(summary, "", COLORS).figure, tmp_path / name) for name in ("one", "two.point")]
    assert [path.name for path in paths[1]] == ["two.point.png", "two.point.pdf"]
    for first, second in zip(*paths, strict=True):
        assert first.read_bytes() == second.read_bytes()
        assert b"CreationDate" not in first.read_bytes()
    assert not plt.get_fignums()
    width, height = struct.unpack(">II", paths[0][0].read_bytes()[16:24])
    assert width >= 900
    assert height < width
