"""Intervals over test images: over the same images in every row, or not at all."""

import html
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from make_records import Store, score, three_seeds
from mtlbench.results.report.write import report
from mtlbench.results.statistics.delta import delta_m
from mtlbench.results.statistics.intervals import crossed_interval
from tables_of import TASKS, summaries

pytestmark = pytest.mark.usefixtures("undrawn")


def test_seeds_and_images_together_are_less_sure_than_seeds_alone_here(tmp_path):
    (summary,), _ = summaries(three_seeds(tmp_path, gaps=False))
    delta = summary.rows["SCA-MTL"].delta
    assert delta.images.estimate == pytest.approx(delta.mean)
    assert delta.images.half > delta.seeds.half


def test_the_interval_over_images_is_that_of_the_numerical_derivative_of_delta(tmp_path):
    # One class and one depth map: per image an intersection, a union, a sum of squared errors and its pixels.
    rng = np.random.default_rng(0)
    parts = {
        (label, seed): rng.uniform([30, 90, 4, 10], [60, 110, 8, 12], (8, 4))  # [N, statistics]
        for label in ("Single task", "SCA-MTL")
        for seed in range(2)
    }

    def values(statistics, weight):
        intersection, union, squares, pixels = weight @ statistics
        return {"semseg": 100 * intersection / union, "depth": (squares / pixels) ** 0.5}

    def delta(seed, weight):
        ours, base = values(parts["SCA-MTL", seed], weight), values(parts["Single task", seed], weight)
        return delta_m(
            {task: score(task, value) for task, value in ours.items()},
            {task: score(task, value) for task, value in base.items()},
        )

    ones, step = np.ones(8), 1e-4
    bumps = step * np.eye(8)
    pseudo_values = [
        [delta(seed, ones) + 8 * (delta(seed, ones + bump) - delta(seed, ones - bump)) / (2 * step) for bump in bumps]
        for seed in range(2)
    ]
    store = Store(tmp_path)
    for (label, seed), statistics in parts.items():
        found = values(statistics, ones)
        cell = store.run(label, TASKS, seed, scores=tuple(score(task, value) for task, value in found.items()))
        intersection, union, squares, pixels = statistics.T
        iou, rmse = found["semseg"] / 100, found["depth"]
        influences = {
            "semseg": 100 * 8 * (intersection - iou * union) / union.sum(),
            "depth": 8 * (squares - rmse**2 * pixels) / (2 * rmse * pixels.sum()),
        }
        rows = [
            {"image": str(i), "task": task, "influence": value}
            for task, of_task in influences.items()
            for i, value in enumerate(of_task)
        ]
        pd.DataFrame(rows).to_parquet(tmp_path / "cells" / cell / "per_image.parquet")
    (summary,), _ = summaries(store.close())
    assert summary.rows["SCA-MTL"].delta.images == pytest.approx(crossed_interval(pseudo_values), rel=1e-5)


def drop_images(path, task, images):
    rows = pd.read_parquet(path)
    rows[(rows["task"] != task) | ~rows["image"].isin(images)].to_parquet(path)


def test_images_without_a_label_of_one_task_still_leave_an_interval(tmp_path):
    store = three_seeds(tmp_path, gaps=False)
    whole = summaries(store)[0][0].rows["SCA-MTL"].delta
    for path in (tmp_path / "cells").glob("*/per_image.parquet"):
        drop_images(path, "depth", ["0000", "0001"])
    part = summaries(store)[0][0].rows["SCA-MTL"].delta
    assert part.seeds == whole.seeds
    assert part.images.half > part.seeds.half


def no_interval(store):
    """The reasons that the page gives."""
    report(store, [], Path(store) / "out")
    page = html.unescape((Path(store) / "out/rooms/report.html").read_text())
    return re.findall(r"No interval over test images for [^<]*?: .*?[^.]\.(?= )", page)


def test_a_row_scored_on_other_images_than_the_baseline_has_no_interval_over_them_and_the_page_says_why(tmp_path):
    store = three_seeds(tmp_path, gaps=False)
    path = next((tmp_path / "cells").glob("pad_net*-0/per_image.parquet"))
    drop_images(path, "depth", ["0000"])
    (summary,), _ = summaries(store)
    assert summary.rows["PAD-Net"].delta.images is None
    assert summary.rows["SCA-MTL"].delta.images is not None
    (reason,) = no_interval(store)
    assert "for PAD-Net: cells/pad_net-semseg-depth-rooms-0/per_image.parquet has other images of depth" in reason


def test_an_unreadable_file_of_one_cell_costs_its_row_one_interval(tmp_path):
    store = three_seeds(tmp_path, gaps=False)
    path = next((tmp_path / "cells").glob("pad_net*-0/per_image.parquet"))
    path.write_bytes(b"PAR1xx")
    (reason,) = no_interval(store)
    assert "for PAD-Net: " in reason and str(path) in reason


def test_a_row_that_is_not_paired_has_no_interval_over_images_and_the_page_says_why(tmp_path):
    store = Store(tmp_path)
    for seed in range(2):
        store.single(TASKS, seed)
        store.run("SCA-MTL", TASKS, seed + 2)
    (reason,) = no_interval(store.close())
    page = (tmp_path / "out/rooms/report.html").read_text()
    assert "where runs are paired above" not in page  # nor anything else of pairs, where there are none
    assert "paired with the baseline's; the last" not in html.unescape(page)
    assert "for SCA-MTL: runs are not paired with the baseline's" in reason


def test_without_influences_there_is_no_interval_over_images(tmp_path):
    store = three_seeds(tmp_path, gaps=False)
    next((tmp_path / "cells").glob("pad_net*-0/per_image.parquet")).unlink()
    rows = summaries(store)[0][0].rows
    assert rows["PAD-Net"].delta.images is None
    assert rows["SCA-MTL"].delta.images is not None
