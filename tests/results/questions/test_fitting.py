"""Train against test: which losses are compared, over which steps, and what is said of the rest."""

import json

import matplotlib.pyplot as plt
import pytest

from cells import backbone_for
from make_records import GAIN, Store
from mtlbench import methods
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.methods import METHODS
from mtlbench.methods.method import Target
from mtlbench.results.questions.fitting import (
    BROKEN,
    FINAL_ALONE,
    IMAGES,
    OTHER_IMAGES,
    SUMMED,
    final_loss,
    fitting,
)  # fmt: skip
from mtlbench.results.records.files import Events
from mtlbench.results.records.reading import history
from mtlbench.results.report.answers.fitting import grid
from mtlbench.results.report.drawing.figures import SEED, fit_against_test, palette
from tables_of import TASKS, summaries

ROWS = ("Multi task", "PAD-Net", "SCA-MTL")


def filled(root, *, final=True, cells=None):
    """cells: label -> the configuration in its records."""
    store = Store(root)
    store.final = final
    for seed in range(3):
        store.single(TASKS, seed, cell=(cells or {}).get("Single task", {}))
        for label in ROWS:
            store.run(label, TASKS, seed, cell=(cells or {}).get(label, {}))
    return store.close()


def of(store):
    (summary,), _ = summaries(store)
    return fitting(summary, lambda cell_id: history(store, cell_id))


def events(*values, name="x"):
    return Events([{"step": step, "epoch": 1, "name": name, "value": value} for step, value in values], [])


def test_a_final_loss_is_the_mean_over_the_steps_of_the_last_tenth():
    assert final_loss(events((50, 9.0), (100, 8.0)), "x") == 8.0
    every_step = [(step, float(step)) for step in range(1, 101)]
    assert final_loss(events(*every_step), "x") == pytest.approx(sum(range(91, 101)) / 10)
    assert final_loss(events((50, 9.0), (99, 2.0), (100, 52.0)), "x") == pytest.approx((49 * 2 + 52) / 50)
    shuffled = events((100, 52.0), (50, 9.0), (99, 2.0))
    assert final_loss(shuffled, "x") == pytest.approx(3.0)


@pytest.mark.parametrize("last", [None, float("nan"), "1.0"])
def test_a_loss_without_an_end_or_a_number_is_none(last):
    assert final_loss(events((50, 1.0)), "y") is None
    assert final_loss(events((50, 1.0)), "x", steps=51) is None
    assert final_loss(events((50, 1.0), (100, last)), "x") is None


def test_a_lower_loss_is_a_better_fit_whatever_its_scale(tmp_path):
    found = of(filled(tmp_path))
    assert found.left_out == {}
    assert set(found.pairs) == {(label, task) for label in ROWS for task in TASKS}
    for (label, _), by_seed in found.pairs.items():
        assert sorted(by_seed) == [0, 1, 2]
        for pair in by_seed.values():  # the store's losses fall by 5 % for each percent of a method's gain
            assert pair.fit == pytest.approx(5 * GAIN[label])
            assert (pair.test > 0) == (label == "SCA-MTL")


def test_of_old_histories_only_methods_without_other_outputs_are_compared(tmp_path):
    store = filled(tmp_path, final=False)
    found = of(store)
    assert {label for label, _ in found.pairs} == {"Multi task"}
    assert found.left_out == {SUMMED: ("PAD-Net", "SCA-MTL")}
    (summary,), _ = summaries(store)
    assert f"Without runs of PAD-Net, SCA-MTL: {SUMMED}." in grid(summary, store).caption
    assert fit_against_test(summary, store, {}) is None


def test_those_methods_are_all_of_ours_that_have_no_other_outputs():
    import torch

    def alone(name):
        targets = {task: Target(channels, 4) for task, channels in (("semseg", 4), ("depth", 1))}
        if methods.one_task(name):
            targets = {"depth": targets["depth"]}
        network = methods.build(name, targets, backbone_for(name)).eval()
        with torch.no_grad():
            outputs = network(torch.zeros(1, 3, 32, 64))
        return not outputs.auxiliary and not outputs.label_logits

    assert {name for name in METHODS if alone(name)} == FINAL_ALONE


def test_the_images_of_a_cell_are_all_of_its_benchmark_but_the_rule_of_evaluation():
    usual = {name: field.get_default(call_default_factory=True) for name, field in BenchmarkConfig.model_fields.items()}
    assert {**IMAGES, "name": usual["name"], "evaluate": usual["evaluate"]} == usual


def test_losses_over_other_images_are_not_compared_and_a_field_that_is_younger_than_a_record_is_no_other(tmp_path):
    usual = {"benchmark": {"name": "rooms", "protocol": "mtl"}}
    cells = {
        "Single task": usual,
        "Multi task": {"benchmark": {"name": "rooms", "protocol": "mtl", "unlabelled": "drop", "evaluate": "network"}},
        "PAD-Net": {"benchmark": {"name": "rooms", "protocol": "none"}},
        "SCA-MTL": {**usual, "train": {"holdout": 0.1}},
    }
    found = of(filled(tmp_path, cells=cells))
    assert {label for label, _ in found.pairs} == {"Multi task"}
    assert found.left_out == {OTHER_IMAGES: ("PAD-Net", "SCA-MTL")}


def test_a_damaged_history_costs_its_run_and_is_named(tmp_path):
    store = filled(tmp_path)
    (path,) = (tmp_path / "cells").glob("pad_net-*-1/history.jsonl")
    path.write_text(path.read_text() + "{\n")
    (other,) = (tmp_path / "cells").glob("sca-mtl-*-2/history.jsonl")
    lines = [line for line in other.read_text().splitlines() if json.loads(line)["step"] < 300]
    other.write_text("\n".join(lines))
    found = of(store)
    assert found.left_out == {BROKEN: ("PAD-Net", "SCA-MTL")}
    assert sorted(found.pairs["PAD-Net", "depth"]) == [0, 2]
    assert sorted(found.pairs["SCA-MTL", "depth"]) == [0, 1]


def test_the_page_counts_the_seeds_of_each_kind(tmp_path):
    store = filled(tmp_path)
    (summary,), _ = summaries(store)
    found = grid(summary, store)
    rows = {(row[0], row[1]): dict(zip(found.columns, row, strict=True)) for row in found.rows}
    assert rows["SCA-MTL", "semseg"]["fits and tests better"] == "3 of 3"
    assert rows["Multi task", "depth"]["fits and tests worse"] == "3 of 3"
    assert rows["Multi task", "depth"]["fits better, tests worse"] == "0 of 3"
    assert "no test" in found.caption and "cannot be said" in found.caption


def test_the_figure_has_a_panel_for_each_task_and_a_dot_for_each_seed(tmp_path):
    store = filled(tmp_path)
    (summary,), _ = summaries(store)
    picture = fit_against_test(summary, store, palette(list(summary.rows)))
    assert [axis.get_title() for axis in picture.figure.axes] == list(TASKS)
    pairs = of(store).pairs
    for axis, task in zip(picture.figure.axes, TASKS, strict=True):
        for dots, label in zip(axis.collections, ROWS, strict=True):
            expected = [(pair.fit, pair.test) for pair in pairs[label, task].values()]
            assert dots.get_offsets().tolist() == [pytest.approx(dot) for dot in expected]
    plt.close(picture.figure)


@pytest.mark.parametrize("width", [None, 3.25])
def test_seeds_are_told_from_their_means_at_every_width_and_the_caption_says_what_the_axes_are(tmp_path, width):
    store = filled(tmp_path)
    (summary,), _ = summaries(store)
    colors = palette(list(summary.rows), width)
    picture = fit_against_test(summary, store, colors)
    for axis in picture.figure.axes:
        for dots, label in zip(axis.collections, ROWS, strict=True):
            (size,) = dots.get_sizes()
            assert size**0.5 == pytest.approx(SEED * colors.size(label)) and SEED < 0.6
    assert "loss of the final prediction on training images" in picture.caption
    assert "gain over it on test images" in picture.caption
    plt.close(picture.figure)
