"""From records to tables: what is shown, what is marked, what is bold, and the same bytes every time."""

import html
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from command import main
from make_records import Store, pascal, score, three_seeds, value, without_metric
from mtlbench.results.records.reading import read
from mtlbench.results.records.record import CorruptRecord
from mtlbench.results.report import frames
from mtlbench.results.report.display import MINUS
from mtlbench.results.report.formats import latex, markdown
from mtlbench.results.report.page import section
from mtlbench.results.report.tables import CONSTANT, table
from mtlbench.results.report.write import report
from mtlbench.results.statistics.delta import delta_m
from mtlbench.results.statistics.intervals import crossed_interval
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise
from paths import TESTS

TASKS = ("semseg", "depth")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report of three seeds with gaps, and the folder it is in."""
    folder = tmp_path_factory.mktemp("report")
    return report(three_seeds(folder / "store"), ["rooms"], folder / "out"), folder / "out" / "rooms"


def summaries(store, name="rooms"):
    results = read(store, name)
    return [summarise(comparison, store) for comparison in comparisons(results)], results.manifest


def shown(store, name="rooms"):
    """The tables of a store."""
    found, manifest = summaries(store, name)
    return [table(summary, manifest) for summary in found]


def cells(one, label):
    """A row of a table as text by column title, with its footnotes spelled out and bold in asterisks."""
    (row,) = [row for row in one.rows if row[0].text == label]
    notes = dict(one.notes)
    text = {}
    for column, cell in zip(one.columns, row, strict=True):
        body = f"**{cell.text}**" if cell.bold else cell.text
        text[column.title] = " | ".join([body, *(notes[mark] for mark in cell.marks)])
    return text


# what the numbers are -------------------------------------------------------------------------------------------------


def test_the_single_task_row_collects_a_cell_a_task_and_the_cost_of_all(tmp_path):
    (summary,), _ = summaries(three_seeds(tmp_path))
    row = summary.rows["Single task"]
    assert row.scores["semseg"].values == {seed: value("Single task", "semseg", seed) for seed in range(3)}
    assert row.scores["depth"].values == {seed: value("Single task", "depth", seed) for seed in range(3)}
    assert row.cost["parameters"] == pytest.approx(2 * 3.9e6)
    assert row.cost["train_seconds"] == pytest.approx(2 * 3.9 * 450)
    assert summary.rows["SCA-MTL"].cost["parameters"] == pytest.approx(25.8e6)


def test_delta_is_paired_by_seed(tmp_path):
    (summary,), _ = summaries(three_seeds(tmp_path))
    for seed in range(3):
        ours, baseline = (
            {task: score(task, value(label, task, seed)) for task in TASKS} for label in ("SCA-MTL", "Single task")
        )
        assert summary.rows["SCA-MTL"].delta.values[seed] == pytest.approx(delta_m(ours, baseline))
    assert summary.rows["SCA-MTL"].delta.paired


def test_delta_is_the_mean_of_the_gains_by_task(tmp_path):
    (summary,), _ = summaries(three_seeds(tmp_path))
    delta = summary.rows["Multi task"].delta
    for seed, found in delta.values.items():
        assert found == pytest.approx(sum(by_seed[seed] for by_seed in delta.gains.values()) / 2)


def test_two_task_sets_share_the_single_task_cells(tmp_path):
    (two, three), _ = summaries(pascal(tmp_path), "pascal")
    assert (two.comparison.tasks, three.comparison.tasks) == (
        ("semseg", "normals"),
        ("semseg", "human_parts", "normals"),
    )
    for task in ("semseg", "normals"):
        assert two.rows["Single task"].scores[task].values == three.rows["Single task"].scores[task].values
    assert two.rows["Single task"].cost["parameters"] == pytest.approx(2 * 3.9e6)
    assert three.rows["Single task"].cost["parameters"] == pytest.approx(3 * 3.9e6)


def test_a_seed_without_a_baseline_run_is_compared_with_the_mean_baseline_and_says_so(tmp_path):
    store = Store(tmp_path)
    for seed in range(4):
        store.single(TASKS, seed, status="finished" if seed < 3 else "missing")
        store.run("SCA-MTL", TASKS, seed)
    path = store.close()
    (summary,), _ = summaries(path)
    delta = summary.rows["SCA-MTL"].delta
    assert not delta.paired
    assert delta.images is None
    assert delta.seeds.low < delta.mean < delta.seeds.high
    means = {task: sum(value("Single task", task, s) for s in range(3)) / 3 for task in TASKS}
    ours = {task: score(task, value("SCA-MTL", task, 3)) for task in TASKS}
    assert delta.values[3] == pytest.approx(delta_m(ours, {task: score(task, means[task]) for task in TASKS}))
    assert "against the mean of the baseline's runs" in cells(shown(path)[0], "SCA-MTL")["Δm"]


def test_without_variance_of_the_baseline_there_is_no_interval(tmp_path):
    store = Store(tmp_path)
    for seed in range(2):
        store.single(TASKS, seed, status="finished" if seed == 0 else "failed")
        store.run("SCA-MTL", TASKS, seed)
    assert "the baseline has a single run" in cells(shown(store.close())[0], "SCA-MTL")["95 % interval"]


def test_training_time_includes_the_cells_that_a_cell_is_derived_from(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0)
    search = store.run("Search", TASKS, 0)
    retrain = store.run("PAD-Net", TASKS, 0, derived_from=(search,))
    store.run("MTI-Net", TASKS, 0, derived_from=("gone",))
    store.entries = [entry for entry in store.entries if entry.id != search]
    (summary,), _ = summaries(store.close())
    assert retrain in {entry.id for entry in store.entries}
    assert summary.rows["PAD-Net"].cost["train_seconds"] == pytest.approx((7.0 + 4.0) * 450)
    assert summary.rows["PAD-Net"].cost["parameters"] == pytest.approx(7e6)
    assert math.isnan(summary.rows["MTI-Net"].cost["train_seconds"])


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
    for seed in range(3):
        store.single(TASKS, seed, status="failed" if seed == 2 else "finished")
        store.run("SCA-MTL", TASKS, seed)
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


def test_a_matrix_without_a_baseline_has_scores_but_no_delta(tmp_path):
    store = Store(tmp_path / "store", baseline="")
    for seed in range(2):
        store.run("SCA-MTL", TASKS, seed)
    (one,) = shown(store.close())
    assert cells(one, "SCA-MTL")["Δm"] == "— | Δm is undefined: the matrix names no baseline"
    assert cells(one, "SCA-MTL")["semseg mIoU"].startswith("39.")
    assert report(str(tmp_path / "store"), [], tmp_path / "out").markdown == markdown([one])


def test_an_unclean_commit_keeps_its_mark(tmp_path):
    store = Store(tmp_path)
    store.run("Single task", TASKS, 0, provenance={"commit": "0123456789abcdef0123+", "data": {}})
    assert shown(store.close())[0].caption[-1] == "Records: commit 0123456789ab+."


def test_rebasing_on_one_run_of_the_baseline_is_the_delta_against_it(tmp_path):
    (summary,), _ = summaries(three_seeds(tmp_path))
    base = {task: score(task, value("Single task", task, 2)) for task in TASKS}
    ours = [{task: score(task, value("PAD-Net", task, seed)) for task in TASKS} for seed in (0, 2)]
    assert summary.rebased["PAD-Net"][2] == pytest.approx(sum(delta_m(scores, base) for scores in ours) / 2)
    assert set(summary.rebased["Single task"]) == {0, 1, 2}
    assert abs(summary.rebased["Single task"][2]) > 0


def test_verdicts_need_two_seeds_and_no_more(tmp_path):
    (summary,), _ = summaries(three_seeds(tmp_path))
    compared = {label for first, second, _ in summary.contrasts for label in (first, second)}
    assert compared == {"Single task", "Multi task", "PAD-Net", "SCA-MTL"}
    verdicts = frames.contrasts(summary).set_index(["first", "second"])["verdict"].to_dict()
    assert verdicts["Multi task", "SCA-MTL"] == "worse"
    assert any("With one seed, in no verdict on Δm: MTI-Net." in s for s in shown(str(tmp_path))[0].caption)


def test_a_failed_cell_takes_the_bold_from_no_other_row(tmp_path):
    store = Store(tmp_path)
    for seed in range(5):  # every row lacks another seed, the baseline one task of one
        store.run("Single task", ("semseg",), seed, task_set=TASKS)
        store.run("Single task", ("depth",), seed, task_set=TASKS, status="failed" if seed == 4 else "finished")
        for lacks, label in enumerate(("PAD-Net", "MTI-Net", "SCA-MTL")):
            store.run(label, TASKS, seed, status="failed" if seed == lacks else "finished")
    path = store.close()
    (summary,), _ = summaries(path)
    assert len(summary.contrasts) == 6
    row = cells(shown(path)[0], "SCA-MTL")
    assert all(row[title].startswith("**") for title in ("semseg mIoU", "depth RMSE", "Δm"))
    assert [label for label, entry in summary.rows.items() if entry.delta.best] == ["SCA-MTL"]


def test_where_no_two_rows_have_the_same_runs_of_the_baseline_each_says_which(tmp_path):
    store = Store(tmp_path)
    for seed in range(5):
        store.single(TASKS, seed)
        for lacks, label in enumerate(("PAD-Net", "MTI-Net", "SCA-MTL")):
            store.run(label, TASKS, seed, status="failed" if seed == lacks else "finished")
    (one,) = shown(store.close())
    for label, seeds in (("PAD-Net", "1, 2, 3, 4"), ("MTI-Net", "0, 2, 3, 4"), ("SCA-MTL", "0, 1, 3, 4")):
        assert f"against the baseline's seeds {seeds}; other rows" in cells(one, label)["Δm"]


def test_no_row_is_bold_beside_one_with_fewer_seeds_that_is_better(tmp_path):
    store = Store(tmp_path)
    for seed in range(3):
        store.single(TASKS, seed)
        store.run("PAD-Net", TASKS, seed)
        store.run("SCA-MTL", TASKS, seed, status="missing" if seed == 2 else "finished")
    (one,) = shown(store.close())
    assert cells(one, "SCA-MTL")["Δm"].startswith("**+4.80")
    assert not any("**" in cells(one, label)["Δm"] for label in ("Single task", "PAD-Net"))


def orders_of_a_table_with_another_baseline_run(tmp_path):
    """A and B score 38 and 39 with seed 0; B has no seed 1, in which the baseline is worse."""
    store = Store(tmp_path)
    for seed, base in enumerate((40.0, 30.0)):
        store.run("Single task", ("semseg",), seed, task_set=TASKS, scores=(score("semseg", base),))
        store.run("Single task", ("depth",), seed, task_set=TASKS, scores=(score("depth", 0.6),))
    for seed in range(2):
        store.run("A", TASKS, seed, scores=(score("semseg", 38.0), score("depth", 0.6)))
    store.run("B", TASKS, 0, scores=(score("semseg", 39.0), score("depth", 0.6)))
    store.run("B", TASKS, 1, status="missing")
    return store.close()


def test_a_row_with_fewer_runs_of_the_baseline_says_which(tmp_path):
    store = orders_of_a_table_with_another_baseline_run(tmp_path)
    (one,) = shown(store)
    assert (
        cells(one, "B")["Δm"] == f"{MINUS}1.25 | against the baseline's seed 0; other rows are against other runs of it"
    )
    assert "|" not in cells(one, "A")["Δm"]
    report(store, [], tmp_path / "out")
    page = (tmp_path / "out/rooms/report.html").read_text()
    assert "Differences between log Δm do not depend on the baseline among rows that are compared with the same" in page


def test_no_pair_is_printed_on_a_delta_that_is_undefined(tmp_path):
    store = Store(tmp_path)
    for seed in range(2):
        store.run("Single task", ("semseg",), seed, task_set=TASKS, scores=(score("semseg", float(seed)),))
        store.run("Single task", ("depth",), seed, task_set=TASKS)
        store.run("SCA-MTL", TASKS, seed)
    (summary,), _ = summaries(store.close())
    assert summary.rows["SCA-MTL"].delta.problem == "semseg: the baseline's miou is 0 in seed 0"
    assert summary.contrasts == ()


def test_a_seed_with_an_undefined_score_is_left_out_and_named(tmp_path):
    store = Store(tmp_path)
    for seed in range(3):
        store.single(TASKS, seed)
        semseg = score("semseg", None if seed == 2 else 38.0 + seed)
        store.run("PAD-Net", TASKS, seed, scores=(semseg, score("depth", 0.6)))
    row = cells(shown(store.close())[0], "PAD-Net")
    reason = "over 2 of 3 finished seeds; without seed 2 (semseg: miou is undefined, since predictions were not finite)"
    assert row["semseg mIoU"].endswith(f"| {reason}")
    assert f"Δm {reason}" in row["Δm"]
    assert "|" not in row["depth RMSE"]


def test_seconds_on_other_devices_than_the_baselines_are_marked(tmp_path):
    store = Store(tmp_path)
    provenance = {"device": "H100", "data": {}}
    for seed in range(2):
        store.single(TASKS, seed)
        store.run("PAD-Net", TASKS, seed, **({"provenance": provenance} if seed else {}))
        store.run("SCA-MTL", TASKS, seed)
    (one,) = shown(store.close())
    for column in ("Step", "Training"):
        assert cells(one, "PAD-Net")[column].endswith("| timed on H100, cpu; the baseline on cpu")
        assert "|" not in cells(one, "SCA-MTL")[column] + cells(one, "Single task")[column]


def test_a_row_that_varies_much_more_than_the_others_is_named(tmp_path):
    store = Store(tmp_path)
    for seed in range(3):
        store.single(TASKS, seed)
        for label in ("PAD-Net", "MTI-Net", "SCA-MTL"):
            semseg = 38.0 + seed * (5.0 if label == "SCA-MTL" else 0.1)
            store.run(label, TASKS, seed, scores=(score("semseg", semseg), score("depth", 0.6 + 0.001 * seed)))
    (one,) = shown(store.close())
    assert any(sentence.startswith("The runs of SCA-MTL vary ") for sentence in one.caption)


def test_a_baseline_of_all_tasks_one_of_which_lacks_a_score_is_taken_from_its_whole_runs(tmp_path):
    store = Store(tmp_path, baseline="MTI-Net")
    for seed in range(4):
        if seed < 3:
            whole = (score("semseg", 38.0 + seed), score("depth", 0.6))
            store.run("MTI-Net", TASKS, seed, scores=whole[:1] if seed == 1 else whole)
        store.run("SCA-MTL", TASKS, seed, scores=(score("semseg", 39.0), score("depth", 0.6)))
    (summary,), _ = summaries(store.close())
    delta = summary.rows["SCA-MTL"].delta
    assert (delta.paired, delta.against) == (False, (0, 2))
    assert delta.mean == pytest.approx(0.0)  # 39 is the mean of 38 and 40
    assert delta.seeds is not None


# what is shown --------------------------------------------------------------------------------------------------------


def test_rows_come_in_the_manifests_order_with_the_constant_last(tmp_path):
    (one,) = shown(three_seeds(tmp_path))
    labels = [row[0].text for row in one.rows]
    assert labels == ["Single task", "Multi task", "PAD-Net", "MTI-Net", "SCA-MTL", CONSTANT]


def test_failed_and_missing_runs_are_named_and_counted(tmp_path):
    (one,) = shown(three_seeds(tmp_path))
    pad_net, mti_net = cells(one, "PAD-Net"), cells(one, "MTI-Net")
    assert pad_net["Method"] == "PAD-Net | PAD-Net: failed 1 of 3 seeds (ValueError: loss is nan at step 7)"
    assert mti_net["Method"] == "MTI-Net | MTI-Net: missing 2 of 3 seeds"
    assert (pad_net["Seeds"], mti_net["Seeds"]) == ("2 of 3", "1 of 3")
    assert mti_net["95 % interval"] == "one seed"


def test_a_row_without_any_run_says_why_in_every_cell(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0)
    store.run("PAD-Net", TASKS, 0, status="failed")
    store.run("MTI-Net", TASKS, 0, status="missing")
    (one,) = shown(store.close())
    for label, status in (("PAD-Net", "failed"), ("MTI-Net", "missing")):
        row = cells(one, label)
        assert (row["semseg mIoU"], row["depth RMSE"], row["Δm"]) == (status, status, status)
        assert row["Parameters"] == "—"


def test_a_missing_single_task_cell_leaves_the_others_and_makes_delta_undefined(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0, only=("semseg",))
    store.run("Single task", ("depth",), 0, task_set=TASKS, status="missing")
    store.run("SCA-MTL", TASKS, 0)
    (one,) = shown(store.close())
    assert cells(one, "Single task")["depth RMSE"] == "missing"
    semseg = cells(one, "Single task")["semseg mIoU"]
    assert (
        semseg == f"{value('Single task', 'semseg', 0):.2f} | with seed 0, where another task's cell has not finished"
    )
    assert cells(one, "Single task")["Δm"] == "missing"
    assert cells(one, "SCA-MTL")["Δm"] == "— | Δm is undefined: the baseline Single task has no finished run of depth"


def test_a_task_without_a_metric_is_a_dash_with_its_reason_and_so_is_delta(tmp_path):
    (one,) = shown(without_metric(tmp_path), "edges")
    row = cells(one, "Multi task")
    assert row["edge"] == "— | edge is trained but has no metric"
    assert row["Δm"] == "— | Δm is undefined: edge is trained but has no metric"
    assert re.fullmatch(r"\**36\.\d\d ± \d\.\d\d\**", row["semseg mIoU"])


def test_a_score_without_a_labelled_pixel_says_so(tmp_path):
    store = Store(tmp_path)
    for label in ("Single task", "SCA-MTL"):
        store.run(label, TASKS, 0, scores=(score("semseg", 40.0), score("depth", None)))
    (one,) = shown(store.close())
    assert "no pixel of the test split has a label" in cells(one, "SCA-MTL")["depth RMSE"]
    assert cells(one, "SCA-MTL")["Δm"].startswith("—")


def untold(one):
    """A score as it was recorded before scores said how they are printed."""
    return replace(one, title="", unit="", decimals=4)


def scores_of(label, seed, change=lambda one: one):
    return tuple(change(score(task, value(label, task, seed))) for task in TASKS)


def test_a_metric_that_nobody_has_heard_of_is_printed_as_its_scores_say(tmp_path):
    store = Store(tmp_path / "store")
    for label, found in (("Single task", (1 / 3, 0.5)), ("Other", (0.4, 0.25))):
        first, second = (
            replace(score(task, number), metric="novel", title="", decimals=4)
            for task, number in zip(TASKS, found, strict=True)
        )
        store.run(label, TASKS, 0, scores=(replace(first, title="nov", unit="dB", decimals=1), second))
    report(store.close(), [], tmp_path / "out")
    folder = tmp_path / "out" / "rooms"
    assert "| semseg nov [dB] ↑ | depth novel [m] ↓ |" in (folder / "table.md").read_text()
    assert re.search(r"Single task +\|.* 0\.3 \| +0\.5000 \|", (folder / "table.md").read_text())
    assert "semseg nov {[}dB{]}" in (folder / "table.tex").read_text()


def test_an_old_record_is_printed_as_the_new_ones_of_its_column_say(tmp_path):
    store = Store(tmp_path)
    store.run("Single task", TASKS, 0, scores=scores_of("Single task", 0, untold))
    store.run("Other", TASKS, 0, scores=scores_of("Other", 0))
    (one,) = shown(store.close())
    assert [column.text for column in one.columns[2:4]] == ["semseg mIoU [%] ↑", "depth RMSE [m] ↓"]
    assert cells(one, "Single task")["semseg mIoU"] == f"{value('Single task', 'semseg', 0):.2f}"
    assert cells(one, "Other")["Δm"].startswith(("+", MINUS))


def test_old_records_alone_are_printed_by_the_names_of_their_metrics(tmp_path):
    store = Store(tmp_path)
    store.run("Single task", TASKS, 0, scores=scores_of("Single task", 0, untold))
    (one,) = shown(store.close())
    assert [column.text for column in one.columns[2:4]] == ["semseg miou ↑", "depth rmse ↓"]
    assert cells(one, "Single task")["depth rmse"] == f"{value('Single task', 'depth', 0):.4f}"


def test_scores_of_another_definition_are_marked_and_enter_no_delta(tmp_path):
    store = Store(tmp_path)
    for seed in range(2):
        store.single(TASKS, seed)
        other = (score("semseg", 45.0 + seed), score("depth", 0.5, "network resolution"))
        store.run("SCA-MTL", TASKS, seed, scores=other)
    (one,) = shown(store.close())
    row = cells(one, "SCA-MTL")
    assert "not comparable with its column: definition is “network resolution” instead of “native" in row["depth RMSE"]
    assert row["Δm"].startswith("— | Δm is undefined: depth: definition is “network resolution”")
    assert not any("**" in cells(one, label)["depth RMSE"] for label in ("Single task", "SCA-MTL"))


def test_scores_of_equal_words_and_another_protocol_are_marked_too(tmp_path):
    store = Store(tmp_path)
    for seed in range(2):
        semseg = replace(score("semseg", 40.0 + seed), protocol="aaaa")
        for label, depth_protocol in (("Single task", "bbbb"), ("SCA-MTL", "cccc")):
            run = (semseg, replace(score("depth", 0.5 + seed / 100), protocol=depth_protocol))
            store.run(label, TASKS, seed, scores=run)
    (one,) = shown(store.close())
    row = cells(one, "SCA-MTL")
    assert "not comparable with its column: protocol is “cccc” instead of “bbbb”" in row["depth RMSE"]
    assert "not comparable" not in row["semseg mIoU"] + cells(one, "Single task")["depth RMSE"]
    assert row["Δm"].startswith("— | Δm is undefined: depth: protocol is “cccc”")


def test_no_mean_is_over_seeds_that_were_scored_differently(tmp_path):
    store = Store(tmp_path)
    for seed in range(3):
        store.single(TASKS, seed)
        words, depth = ("network resolution", 0.9) if seed == 1 else ("native resolution", 0.1)
        store.run("SCA-MTL", TASKS, seed, scores=(score("semseg", 90.0 + seed), score("depth", depth, words)))
    (summary,), manifest = summaries(store.close())
    row = cells(table(summary, manifest), "SCA-MTL")
    reason = "over 2 of 3 finished seeds; without seed 1 (definition is “network resolution” instead of “native"
    assert row["depth RMSE"].startswith(f"**0.100 ± 0.000** | {reason}")
    assert "Δm over 2 of 3 finished seeds; without seed 1 (depth: definition is" in row["Δm"]
    assert row["semseg mIoU"] == "**91.00 ± 1.00**"
    assert set(summary.rows["SCA-MTL"].delta.values) == {0, 2}
    secondary = section(summary, table(summary, manifest), [])["details"][-1]["grid"]
    (means,) = [dict(zip(secondary.columns, row, strict=True)) for row in secondary.rows if row[0] == "SCA-MTL"]
    assert float(means["depth rmse"]) == 0.1


def test_scores_recorded_before_protocols_compare_by_their_words(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0)
    store.run("SCA-MTL", TASKS, 0, scores=(score("semseg", 45.0), replace(score("depth", 0.5), protocol="cccc")))
    row = cells(shown(store.close())[0], "SCA-MTL")
    assert "not comparable" not in row["depth RMSE"] and "undefined" not in row["Δm"]


def test_a_baseline_of_zero_is_said(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0, only=("depth",))
    store.run("Single task", ("semseg",), 0, task_set=TASKS, scores=(score("semseg", 0.0),))
    store.run("SCA-MTL", TASKS, 0)
    assert (
        cells(shown(store.close())[0], "SCA-MTL")["Δm"]
        == "— | Δm is undefined: semseg: the baseline's miou is 0 in seed 0"
    )


def test_the_baseline_has_delta_zero_and_the_constant_none(tmp_path):
    (one,) = shown(three_seeds(tmp_path))
    assert cells(one, "Single task")["Δm"] == "0.00"
    assert cells(one, "Single task")["95 % interval"] == ""
    assert cells(one, CONSTANT)["Δm"] == ""
    assert cells(one, CONSTANT)["depth RMSE"] == "1.400"


def test_bold_is_for_several_seeds_only(tmp_path):
    many, single = shown(three_seeds(tmp_path / "many"))[0], shown(pascal(tmp_path / "one"), "pascal")[0]
    assert cells(many, "SCA-MTL")["Δm"].startswith("**+4.9")
    assert [row[0].text for row in many.rows if row[2].bold] == ["SCA-MTL"]
    assert not any(cell.bold for row in single.rows for cell in row)
    assert any("One seed a row: there is no interval, nothing is bold" in sentence for sentence in single.caption)
    assert "95 % interval" not in {column.title for column in single.columns}


def test_the_caption_says_what_a_demonstration_is_and_where_numbers_come_from(tmp_path):
    store = Store(tmp_path, demonstration=True, caption="Two epochs.")
    store.single(TASKS, 0)
    store.run("SCA-MTL", TASKS, 0)
    (one,) = shown(store.close())
    assert one.caption[:2] == (
        "A demonstration that the path from data to table works; it compares nothing.",
        "Two epochs.",
    )
    assert one.caption[-1] == (
        "Records: commit 0123456789ab; torch 2.11.0; data d0d0; device cpu."
    )  # fmt: skip


def test_orders_on_which_the_log_delta_disagrees_are_named(tmp_path):
    store = Store(tmp_path)
    for task, base in (("semseg", 20.0), ("depth", 0.6)):
        store.run("Single task", (task,), 0, task_set=TASKS, scores=(score(task, base),))
    store.run("PAD-Net", TASKS, 0, scores=(score("semseg", 40.0), score("depth", 0.6)))
    store.run("MTI-Net", TASKS, 0, scores=(score("semseg", 20.0), score("depth", 0.1)))
    (one,) = shown(store.close())
    assert any("disagrees on PAD-Net and MTI-Net" in sentence for sentence in one.caption)


def test_a_manifest_without_its_baseline_is_refused(tmp_path):
    store = Store(tmp_path, baseline="Solo")
    store.run("SCA-MTL", TASKS, 0)
    with pytest.raises(CorruptRecord, match=r"no row 'Solo', the baseline; its rows: SCA-MTL"):
        shown(store.close())


def test_two_cells_that_train_one_task_of_a_row_are_refused(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0)
    store.run("Single task", TASKS, 0)
    with pytest.raises(CorruptRecord, match="both train semseg"):
        shown(store.close())


# files ----------------------------------------------------------------------------------------------------------------

GOLDEN = TESTS / "golden"


@pytest.mark.parametrize(("name", "write"), [("table.md", markdown), ("table.tex", latex)])
def test_a_table_is_written_as_it_was(tmp_path, name, write):
    assert write(shown(three_seeds(tmp_path))) == (GOLDEN / name).read_text()


def test_labels_with_special_characters_break_neither_format(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0)
    store.run("50 % & a_b | <c> #1", TASKS, 0, scores=(score("semseg", 40.0), score("depth", 0.6)))
    tables = shown(store.close())
    lines = [line for line in markdown(tables).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert r"50 \% \& a\_b | \textless{}c\textgreater{} \#1" in latex(tables)


def test_scores_csv_has_every_score_and_every_absence(tmp_path):
    found, manifest = summaries(three_seeds(tmp_path))
    long = frames.scores(found, manifest)
    assert long["status"].value_counts().to_dict() == {"finished": 6 + 6 + 4 + 2 + 6 + 2, "failed": 2, "missing": 4}
    row = long[(long["label"] == "SCA-MTL") & (long["seed"] == 1) & (long["task"] == "depth")]
    assert row["value"].item() == value("SCA-MTL", "depth", 1)


def test_secondary_scores_are_in_the_csv_and_on_the_page_but_classes_only_in_the_csv(tmp_path):
    store = Store(tmp_path / "store")
    extra = tuple(
        type(score("semseg", 1.0))("semseg", name, 70.0, True, False, "") for name in ("pixel_accuracy", "iou/wall")
    )
    for label in ("Single task", "SCA-MTL"):
        store.run(label, TASKS, 0, scores=(score("semseg", 40.0), *extra, score("depth", 0.6)))
    written = report(store.close(), [], tmp_path / "out")
    text = (tmp_path / "out/rooms/scores.csv").read_text()
    page = (tmp_path / "out/rooms/report.html").read_text()
    assert "pixel_accuracy" in text
    assert "iou/wall" in text
    assert "pixel_accuracy" in page
    assert "iou/wall" not in page
    assert "iou/wall" not in written.markdown


def test_table_csv_keeps_full_precision(tmp_path):
    (summary,), _ = summaries(three_seeds(tmp_path))
    found = frames.rows(summary).set_index("label")
    assert found.loc["SCA-MTL", "delta_m"] == summary.rows["SCA-MTL"].delta.mean
    assert found.loc["PAD-Net", ["finished", "failed", "missing"]].tolist() == [2, 1, 0]
    assert found.loc[CONSTANT, "semseg_mean"] == 1.16


def test_table_csv_counts_in_whole_numbers_and_deltas_csv_has_every_run(tmp_path, written):
    folder = written[1]
    counts = pd.read_csv(folder / "table.csv", dtype=str).set_index("label")["finished"]
    assert (counts["SCA-MTL"], counts["MTI-Net"]) == ("3", "1")
    deltas = pd.read_csv(folder / "deltas.csv", keep_default_na=False)
    of_row = deltas[(deltas["label"] == "SCA-MTL") & (deltas["task"] == "")].set_index("seed")["gain"]
    (summary,), _ = summaries(three_seeds(tmp_path))
    assert of_row.to_dict() == pytest.approx(summary.rows["SCA-MTL"].delta.values)
    gains = deltas[(deltas["label"] == "SCA-MTL") & (deltas["task"] != "")].groupby("seed")["gain"].mean()
    assert gains.to_dict() == pytest.approx(of_row.to_dict())


def test_a_report_has_all_its_files_and_equal_records_give_equal_bytes(tmp_path, written):
    first, folder = written
    second = report(three_seeds(tmp_path / "store"), [], tmp_path / "out")
    names = {str(path.relative_to(folder)) for path in first.paths}
    figures = {
        f"figures/rooms-semseg-depth-{name}.{kind}" for name in ("gains", "cost", "learning") for kind in ("png", "pdf")
    }
    texts = {"table.md", "table.tex", "table.csv", "scores.csv", "deltas.csv", "gains.csv", "contrasts.csv"}
    assert names == figures | texts | {"report.html"}
    assert [path.read_bytes() for path in first.paths] == [path.read_bytes() for path in second.paths]
    assert first.markdown == second.markdown == (folder / "table.md").read_text()


def test_the_page_stands_alone(written):
    page = (written[1] / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "http" not in page
    assert page.count("data:image/png;base64,") == 3
    assert "loss is nan at step 7" in page
    assert "What the choice of the baseline run changes" in page


def test_the_page_escapes_what_the_matrix_says(tmp_path):
    store = Store(tmp_path / "store", title="<script>alert(1)</script>", caption="a < b & c")
    store.single(TASKS, 0)
    store.run("<b>x</b>", TASKS, 0, scores=(score("semseg", 40.0), score("depth", 0.6)))
    report(store.close(), [], tmp_path / "out")
    page = (tmp_path / "out/rooms/report.html").read_text()
    assert "<script>alert" not in page
    assert "<b>x" not in page
    assert "a &lt; b &amp; c" in page


def test_published_rows_of_the_same_benchmark_and_tasks_are_context_on_the_page(tmp_path):
    store = Store(tmp_path / "store")
    store.single(("semseg", "human_parts", "normals"), 0, benchmark="pascal_context")
    report(store.close(), [], tmp_path / "out")
    page = (tmp_path / "out/rooms/report.html").read_text()
    assert page.count("Published for the same benchmark and tasks") == 1
    assert "<td>SCA-MTL paper, Table 4</td>" in page
    assert "<td>SCA-MTL paper, Table 3</td>" not in page
    # in this table's order of tasks, whatever the paper's is
    assert "<td>MTINet</td><td>59.04</td><td>61.56</td><td>14.94</td><td>1.66</td>" in page
    for head in ("semseg mIoU [%]", "human_parts mIoU [%]", "normals mean angle [°]"):
        assert f"{head}</th>" in page


def test_the_page_of_another_benchmark_shows_no_published_row(written):
    assert "Published for the same" not in (written[1] / "report.html").read_text()


def test_the_command_writes_a_report_and_prints_its_tables(tmp_path, capsys):
    store = Store(tmp_path / "store")
    store.single(TASKS, 0, status="missing")
    assert main(["report", "rooms", "--store", store.close(), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.rstrip() == (tmp_path / "out/rooms/table.md").read_text().rstrip()


@pytest.mark.parametrize(("store", "matrix"), [("nowhere", "rooms"), ("store", "tabel1"), ("empty", None)])
def test_a_wrong_path_ends_with_2_and_one_clear_line(tmp_path, capsys, store, matrix):
    three_seeds(tmp_path / "store")
    (tmp_path / "empty").mkdir()
    arguments = [
        "report",
        *([matrix] if matrix else []),
        "--store",
        str(tmp_path / store),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert store in captured.err
    assert not (tmp_path / "out").exists()


def test_a_broken_record_ends_with_2_and_its_path(tmp_path, capsys):
    store = three_seeds(tmp_path / "store")
    broken = next((tmp_path / "store/cells").glob("single*/record.json"))
    broken.write_text("{")
    assert main(["report", "--store", store, "--out", str(tmp_path / "out")]) == 2
    assert broken.parent.name in capsys.readouterr().err


def test_a_newer_record_and_a_store_elsewhere_end_with_2_and_one_line(tmp_path, capsys, monkeypatch):
    store = three_seeds(tmp_path / "store")
    newer = next((tmp_path / "store/cells").glob("single*/record.json"))
    newer.write_text(newer.read_text().replace('"schema": 1', '"schema": 9'))
    monkeypatch.setitem(sys.modules, "s3fs", None)
    for place, named in ((store, newer.parent.name), ("s3://bucket/runs", "s3://bucket/runs"), ("foo://x", "foo://x")):
        assert main(["report", "--store", place, "--out", str(tmp_path / "out")]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert named in captured.err


def test_a_report_needs_neither_torch_nor_methods_nor_benchmarks(tmp_path):
    store = three_seeds(tmp_path / "store")
    code = (
        "import sys; from mtlbench.harness.cli.app import app; "
        f"app(['report', '--store', {store!r}, '--out', {str(tmp_path / 'out')!r}], standalone_mode=False); "
        "unwanted = {'torch', 'mtlbench.methods', 'mtlbench.benchmarks', 'ray', 'mlflow'}; "
        "print(sorted(unwanted & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
