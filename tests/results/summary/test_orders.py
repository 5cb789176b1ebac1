"""How stable the order of rows is, and who pays: against closed forms and brute force."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from make_records import Store, pascal, score, three_seeds, value
from mtlbench.results.records.reading import read
from mtlbench.results.report.baselines import against, printed, stored, weak_baselines
from mtlbench.results.report.page import section
from mtlbench.results.report.tables import table
from mtlbench.results.report.write import report
from mtlbench.results.statistics.delta import delta_m
from mtlbench.results.statistics.verdicts import additive
from mtlbench.results.summary.gains import DeltaSummary
from mtlbench.results.summary.orders import TaskGains, rank_probabilities, task_gains, taus
from mtlbench.results.summary.pairs import Block
from mtlbench.results.summary.transfer import any_harmed, by_task
from tables_of import TASKS, summaries

pytestmark = pytest.mark.usefixtures("undrawn")


def summary_of(store, name="rooms"):
    return summaries(store, name)[0][0]


def delta(gains, paired=True):
    return DeltaSummary(0.0, {}, 0.0, {task: dict(enumerate(values)) for task, values in gains.items()}, paired=paired)


# who pays -------------------------------------------------------------------------------------------------------------


def test_the_probability_that_one_task_is_harmed_is_students():
    values = np.array([1.0, 2.5, -0.5, 1.5])
    expected = stats.t.cdf(-values.mean() / (values.std(ddof=1) / 2), 3)
    assert any_harmed(delta({"depth": values})) == pytest.approx(expected, abs=0.01)


def test_tasks_that_move_together_are_harmed_together():
    values = np.array([1.0, 2.5, -0.5, 1.5])
    one = any_harmed(delta({"depth": values}))
    assert any_harmed(delta({"depth": values, "semseg": 2 * values})) == pytest.approx(one)
    assert any_harmed(delta({"depth": values, "semseg": values.mean() * 2 - values})) > 1.4 * one
    assert any_harmed(delta({"depth": [5.0, 5.1], "semseg": [-9.0, -9.1]})) > 0.99


def test_nothing_is_said_of_one_run_or_of_runs_that_are_not_paired():
    assert math.isnan(any_harmed(delta({"depth": [1.0]})))
    assert math.isnan(any_harmed(delta({"depth": [1.0, 2.0]}, paired=False)))
    assert by_task(delta({"depth": [1.0, -2.0]}, paired=False))["depth"].interval is None


def test_gains_by_task_count_the_runs_that_are_worse(tmp_path):
    found = by_task(summary_of(three_seeds(tmp_path)).rows["Multi task"].delta)
    assert {task: (gain.harmed, gain.runs) for task, gain in found.items()} == {"semseg": (3, 3), "depth": (3, 3)}
    assert all(gain.interval.low < gain.mean < gain.interval.high < 0 for gain in found.values())


# orders ---------------------------------------------------------------------------------------------------------------


def test_the_probability_of_a_rank_is_students_for_two_rows():
    values = np.array([[1.0, 2.5, 0.5, 1.5], [0.5, 1.0, 1.0, 1.4]])
    found = rank_probabilities(additive(values))
    difference = values[0] - values[1]
    expected = stats.t.cdf(difference.mean() / (difference.std(ddof=1) / 2), 3)
    assert found == pytest.approx(np.array([[expected, 1 - expected], [1 - expected, expected]]), abs=0.01)


def test_rows_far_apart_have_their_ranks_for_sure_and_equal_ones_share_them():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (3, 5))
    assert rank_probabilities(additive(noise + np.array([[0], [9], [5]]))) == pytest.approx(np.eye(3)[[2, 0, 1]])
    same = rank_probabilities(additive(np.array([[1.0, 2.0, 3.0], [1.1, 1.9, 3.0], [0.9, 2.1, 3.0]])))
    assert same == pytest.approx(np.full((3, 3), 1 / 3), abs=0.03)
    assert same.sum(0) == pytest.approx(np.ones(3))
    assert rank_probabilities(additive([[1.0, 1.0], [2.0, 2.0]])).tolist() == [[0.0, 1.0], [1.0, 0.0]]  # no noise


def test_tau_is_one_where_every_seed_orders_the_rows_alike(tmp_path):
    block = summary_of(three_seeds(tmp_path)).block
    assert taus(block) == [1.0, 1.0, 1.0]
    opposite = {label: {0: values[0], 1: -values[0]} for label, values in block.values.items()}
    assert taus(replace(block, values=opposite)) == [-1.0]


@pytest.fixture
def gains():
    values = np.array([[0.0, 0.0], [-6.0, 8.0], [3.0, -2.0], [-1.0, -1.0]])
    return TaskGains(("A", "B", "C", "D"), TASKS, values, (1.0, -1.0), (0.01, 0.02))


def test_ranks_without_a_task_are_those_of_the_others(gains):
    assert gains.ranks() == [3, 1, 2, 4]
    assert gains.ranks(without="depth") == [2, 4, 1, 3]
    assert gains.ranks(without="semseg") == [2, 1, 4, 3]


def test_shares_of_weights_are_the_lengths_between_the_weights_where_the_best_changes(gains):
    (zero, first), (change, second) = gains.winners()
    assert (zero, first, second) == (0.0, "B", "C")
    assert change == pytest.approx(10 / 19)  # -6 w + 8 (1 - w) = 3 w - 2 (1 - w)
    assert gains.wins() == pytest.approx([0.0, 10 / 19, 9 / 19, 0.0], abs=0.01)


def test_moving_the_baseline_to_where_a_pair_turns_makes_its_deltas_equal(tmp_path):
    store = Store(tmp_path)
    scores = {"Single task": (38.0, 0.62), "PAD-Net": (36.0, 0.58), "MTI-Net": (40.0, 0.64), "SCA-MTL": (39.0, 0.60)}
    for seed in range(3):
        for label, (semseg, depth) in scores.items():
            store.run(label, TASKS, seed, scores=(score("semseg", semseg + seed), score("depth", depth + seed / 100)))
    summary = summary_of(store.close())
    compared = task_gains(summary.comparison, summary.columns, summary.block)
    means = {label: np.array([row.scores[task].mean for task in TASKS]) for label, row in summary.rows.items()}
    base, sd = means["Single task"], np.array([1.0, 0.01])

    def difference(first, second, baseline):
        moved = {**means, "Single task": baseline}
        one, other = (((moved[label] - baseline) / baseline * [1, -1]).mean() for label in (first, second))
        return one - other

    turned = 0
    for first, second, _ in summary.contrasts:
        found = compared.flip(first, second, "Single task")
        never = all(
            np.sign(difference(first, second, base * factor)) == np.sign(difference(first, second, base))
            for task in range(2)
            for factor in np.where(np.arange(2) == task, np.geomspace(0.01, 100, 4001)[:, None], 1.0)
        )
        assert never == (found is None), (first, second)
        if found is not None:
            distance, task = found
            step = distance * sd * (np.array(TASKS) == task)
            there = [difference(first, second, base + sign * step) for sign in (1, -1)]
            assert min(map(abs, there)) == pytest.approx(0, abs=1e-9)
            turned += 1
    assert turned > 2


# the page -------------------------------------------------------------------------------------------------------------


def details(store, name="rooms"):
    (summary, *_), manifest = summaries(store, name)
    found = section(summary, table(summary, manifest), [])
    return {detail["title"]: detail["grid"] for detail in found["details"]}


def test_the_page_says_what_the_winners_rank_is_worth_and_how_rows_go_together(tmp_path):
    found = details(three_seeds(tmp_path, gaps=False))
    caption = found["How stable the order is"].caption
    shown = int(caption.split("the apparent winner shows about ")[1].split(" %")[0])
    assert "of 5 equal rows" in caption
    assert "the best with 20 %" in caption
    assert 40 <= shown <= 65
    assert "Correlation of two rows over seeds: 0." in found["Every pair of rows on Δm"].caption


def test_the_correlation_over_seeds_is_the_share_of_the_seeds():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (5, 4000)) + rng.normal(0, 2, (1, 4000))  # variance 4 of 5 is of the seeds
    apart = {str(row): dict(enumerate(of_row)) for row, of_row in enumerate(values.tolist())}
    assert Block(apart, {}, apart=apart).correlation() == pytest.approx(0.8, abs=0.02)


def test_the_page_compares_rows_in_every_way_where_there_are_seeds(tmp_path):
    found = details(three_seeds(tmp_path))
    assert list(found) == [
        "Every pair of rows on Δm", "By task: who gains, who pays", "How stable the order is",
        "The order with other weights of the tasks", "What the choice of the baseline run changes", "All scores",
    ]  # fmt: skip
    for grid in found.values():
        assert all(len(row) == len(grid.columns) for row in grid.rows)
    assert "reversed; Kendall's τ): mean 1.00 (1.00, 1.00, 1.00)." in found["How stable the order is"].caption
    assert "finds a true difference in a table of 4 rows" in found["Every pair of rows on Δm"].caption
    assert "Correlation of two rows over seeds: " not in found["Every pair of rows on Δm"].caption  # two whole seeds
    assert "As the weight of semseg grows from 0 to 1, the best is SCA-MTL." in (
        found["The order with other weights of the tasks"].caption
    )


def test_with_one_seed_the_page_says_nothing_of_noise(tmp_path):
    found = details(pascal(tmp_path), "pascal")
    assert list(found) == [
        "By task: who gains, who pays", "What the choice of the baseline run changes", "All scores"
    ]  # fmt: skip
    grid = found["By task: who gains, who pays"]
    assert "interval" not in " ".join(grid.columns) + grid.caption
    assert all(len(row) == len(grid.columns) for row in grid.rows)


@pytest.mark.parametrize(("depth", "weak"), [(0.66, True), (0.625, False), (0.60, False)])
def test_single_task_models_that_are_weaker_than_the_printed_ones_are_named(tmp_path, depth, weak):
    store = Store(tmp_path)
    scores = {"semseg": score("semseg", 50.0), "depth": score("depth", depth)}
    for task, of_task in scores.items():
        store.run("Single task", (task,), 0, task_set=TASKS, benchmark="nyud", scores=(of_task,))
    found = weak_baselines(summary_of(store.close()))
    assert len(found) == weak
    if weak:
        assert "our depth RMSE of 0.660 is weaker than the 0.625 that is printed" in found[0]
        assert "(SCA-MTL paper, Table 2)" in found[0]


def test_single_task_models_of_other_matrices_are_baselines_too(tmp_path):
    ours, theirs, shared = (Store(tmp_path, name) for name in ("ours", "theirs", "shared"))
    for seed in range(2):
        ours.single(TASKS, seed)
        ours.run("SCA-MTL", TASKS, seed)
        theirs.single(TASKS, seed + 7)
    shared.single(TASKS, 0), shared.single(TASKS, 1)
    others = [read(store.close(), store.name) for store in (theirs, shared)]
    ours.close()
    summary = summary_of(str(tmp_path), "ours")
    (found,) = stored(summary, others)
    assert found.source == "theirs, Single task, seeds 7, 8"
    means = {task: (value("Single task", task, 7) + value("Single task", task, 8)) / 2 for task in TASKS}
    assert {task: score.value for task, score in found.scores.items()} == pytest.approx(means)
    expected = [
        delta_m({t: score(t, value("SCA-MTL", t, s)) for t in TASKS}, {t: score(t, means[t]) for t in TASKS})
        for s in range(2)
    ]
    assert against(summary, found)["SCA-MTL"] == pytest.approx(np.mean(expected))


def test_a_broken_record_of_another_matrix_stops_no_report(tmp_path):
    ours, theirs = Store(tmp_path, "ours"), Store(tmp_path, "theirs")
    ours.single(TASKS, 0)
    broken = theirs.run("Single task", TASKS, 7)
    ours.close(), theirs.close()
    (tmp_path / "cells" / broken / "record.json").write_text("{")
    assert "### Rooms" in report(str(tmp_path), ["ours"], tmp_path / "out").markdown
    (line,) = report(str(tmp_path), ["theirs"], tmp_path / "out").unreadable
    assert broken in line


def test_models_that_were_scored_in_another_way_are_no_baseline(tmp_path):
    ours, theirs = Store(tmp_path, "ours"), Store(tmp_path, "theirs")
    ours.single(TASKS, 0)
    for task in TASKS:
        theirs.run("Single task", (task,), 7, task_set=TASKS, scores=(score(task, 1.0, "network resolution"),))
    other = read(theirs.close(), "theirs")
    ours.close()
    assert stored(summary_of(str(tmp_path), "ours"), [other]) == []


def test_printed_single_task_models_with_all_tasks_are_baselines_too(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0, benchmark="nyud")
    summary = summary_of(store.close())
    found = {baseline.source: baseline.scores["depth"].value for baseline in printed(summary)}
    assert found == {"SCA-MTL paper, Table 1": 0.644, "SCA-MTL paper, Table 2": 0.625}
    grid = details(str(tmp_path))["What the choice of the baseline run changes"]
    assert grid.columns[1:] == ["against seed 0 [%]", *(f"against {source} [%]" for source in found)]


@pytest.mark.parametrize(("change", "compared"), [({"metric": "abs_rel"}, 0), ({"unit": "cm"}, 0), ({"unit": ""}, 1)])
def test_another_metric_or_unit_is_not_compared_with_the_printed_one(tmp_path, change, compared):
    store = Store(tmp_path)
    store.run("Single task", ("depth",), 0, benchmark="nyud", scores=(replace(score("depth", 0.9), **change),))
    summary = summary_of(store.close())
    assert len(weak_baselines(summary)) == compared
    assert len(printed(summary)) == 2 * compared
