"""From records to numbers: whose scores and costs make a row, and what Delta_m is taken against."""

import math
from dataclasses import replace

import pytest

from make_records import Store, pascal, score, three_seeds, value
from mtlbench.results.records.record import CorruptRecord
from mtlbench.results.report.formats import markdown
from mtlbench.results.report.tables import CONSTANT
from mtlbench.results.report.write import report
from mtlbench.results.statistics.delta import delta_m
from tables_of import TASKS, cells, shown, summaries

pytestmark = pytest.mark.usefixtures("undrawn")


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


def test_a_seed_without_a_baseline_run_is_left_out_and_named(tmp_path):
    store = Store(tmp_path)
    for seed in range(4):
        store.single(TASKS, seed, status="finished" if seed < 3 else "missing")
        store.run("SCA-MTL", TASKS, seed)
    path = store.close()
    (summary,), _ = summaries(path)
    delta = summary.rows["SCA-MTL"].delta
    assert delta.paired
    assert list(delta.values) == [0, 1, 2]
    for seed in range(3):
        ours, base = ({t: score(t, value(label, t, seed)) for t in TASKS} for label in ("SCA-MTL", "Single task"))
        assert delta.values[seed] == pytest.approx(delta_m(ours, base))
    assert "without seed 3 (Single task has no whole run with this seed)" in cells(shown(path)[0], "SCA-MTL")["Δm"]


def no_seed_in_common(root, runs_of_baseline):
    store = Store(root)
    for seed in range(runs_of_baseline):
        store.single(TASKS, seed)
    for seed in range(10, 13):
        store.run("SCA-MTL", TASKS, seed)
    return store.close()


def test_a_row_that_shares_no_seed_with_the_baseline_is_compared_with_its_mean_and_says_so(tmp_path):
    path = no_seed_in_common(tmp_path, 3)
    (summary,), _ = summaries(path)
    delta = summary.rows["SCA-MTL"].delta
    assert not delta.paired
    assert delta.images is None
    assert delta.seeds.low < delta.mean < delta.seeds.high
    assert summary.contrasts == ()
    means = {task: sum(value("Single task", task, s) for s in range(3)) / 3 for task in TASKS}
    ours = {task: score(task, value("SCA-MTL", task, 11)) for task in TASKS}
    assert delta.values[11] == pytest.approx(delta_m(ours, {task: score(task, means[task]) for task in TASKS}))
    assert "against the mean of the baseline's runs" in cells(shown(path)[0], "SCA-MTL")["Δm"]
    assert any("no verdict against the baseline: SCA-MTL" in sentence for sentence in shown(path)[0].caption)


def test_without_variance_of_the_baseline_there_is_no_interval(tmp_path):
    table = shown(no_seed_in_common(tmp_path, 1))[0]
    assert "the baseline has a single run" in cells(table, "SCA-MTL")["95 % interval"]


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


def test_a_matrix_without_a_baseline_has_scores_but_no_delta(tmp_path):
    store = Store(tmp_path / "store", baseline="")
    for seed in range(2):
        store.run("SCA-MTL", TASKS, seed)
    (one,) = shown(store.close())
    assert cells(one, "SCA-MTL")["Δm"] == "— | Δm is undefined: the matrix names no baseline"
    assert cells(one, "SCA-MTL")["semseg mIoU"].startswith("39.")
    text = report(str(tmp_path / "store"), [], tmp_path / "out").markdown
    assert text == markdown([replace(one, claim="No verdict: one row has nothing to be compared with.")])


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


def test_a_seed_with_an_undefined_score_is_left_out_and_named(tmp_path):
    store = Store(tmp_path)
    for seed in range(3):
        store.single(TASKS, seed)
        semseg = score("semseg", None if seed == 2 else 38.0 + seed)
        store.run("PAD-Net", TASKS, seed, scores=(semseg, score("depth", 0.6)))
    row = cells(shown(store.close())[0], "PAD-Net")
    reason = "over 2 of 3 finished seeds; without seed 2 (semseg: mIoU is undefined, since predictions were not finite)"
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


def test_a_baseline_of_all_tasks_one_of_which_lacks_a_score_is_taken_from_its_whole_runs(tmp_path):
    store = Store(tmp_path, baseline="MTI-Net")
    for seed in range(4):
        if seed < 3:
            whole = (score("semseg", 38.0 + seed), score("depth", 0.6))
            store.run("MTI-Net", TASKS, seed, scores=whole[:1] if seed == 1 else whole)
        store.run("SCA-MTL", TASKS, seed, scores=(score("semseg", 39.0), score("depth", 0.6)))
    (summary,), _ = summaries(store.close())
    delta = summary.rows["SCA-MTL"].delta
    assert (delta.paired, delta.against) == (True, (0, 2))
    assert delta.mean == pytest.approx(50 * ((39 - 38) / 38 + (39 - 40) / 40) / 2)
    assert delta.seeds is not None


def test_a_baseline_of_zero_is_said(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0, only=("depth",))
    store.run("Single task", ("semseg",), 0, task_set=TASKS, scores=(score("semseg", 0.0),))
    store.run("SCA-MTL", TASKS, 0)
    assert (
        cells(shown(store.close())[0], "SCA-MTL")["Δm"]
        == "— | Δm is undefined: semseg: the baseline's mIoU is 0 in seed 0"
    )


def test_the_baseline_has_delta_zero_and_the_constant_none(tmp_path):
    (one,) = shown(three_seeds(tmp_path))
    assert cells(one, "Single task")["Δm"] == "0.00"
    assert cells(one, "Single task")["95 % interval"] == ""
    assert cells(one, CONSTANT)["Δm"] == ""
    assert cells(one, CONSTANT)["depth RMSE"] == "1.400"


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
