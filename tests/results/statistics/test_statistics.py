"""Intervals and verdicts against closed forms, other implementations and small simulations."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from mtlbench.results.statistics.intervals import (
    crossed_interval,
    delta_interval,
    expected_best,
    mean_and_sd,
    paired_interval,
)
from mtlbench.results.statistics.planner import power_of, seeds_for_equivalence, seeds_needed
from mtlbench.results.statistics.ranges import studentised_range
from mtlbench.results.statistics.verdicts import additive, alikeness, contrasts, judged, not_worse_than_best


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_mean_and_sd_of_one_run_has_no_sd():
    assert mean_and_sd([1.0, 2.0, 6.0]) == (3.0, pytest.approx(np.std([1, 2, 6], ddof=1)))
    mean, sd = mean_and_sd([2.0])
    assert mean == 2
    assert math.isnan(sd)


def test_paired_interval_is_scipys(rng):
    values = rng.normal(1, 2, 7)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = paired_interval(values)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.df == pytest.approx(6)


def test_one_seed_has_no_interval():
    assert paired_interval([3.0]) is None
    assert crossed_interval([[1.0, 2.0, 3.0]]) is None
    assert contrasts([[1.0], [2.0]]) == []
    assert not_worse_than_best(contrasts([[1.0], [2.0]])) == set()
    assert delta_interval([[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]], [True, True], independent_tasks=True) is None
    assert delta_interval([[1.0], [2.0]], [[1.0]], [True], independent_tasks=True) is None


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_paired_interval_covers_the_truth_as_often_as_it_says(rng, num_seeds):
    intervals = [paired_interval(row) for row in rng.normal(0.5, 1, (2000, num_seeds))]
    assert np.mean([i.low <= 0.5 <= i.high for i in intervals]) == pytest.approx(0.95, abs=0.02)


def test_delta_interval_of_a_fixed_baseline_is_the_paired_one(rng):
    # With a baseline that does not vary, delta is linear in the scores.
    scores = rng.normal([40, 0.6], [0.4, 0.01], (5, 2))
    deltas = 50 * ((scores[:, 0] - 38) / 38 - (scores[:, 1] - 0.62) / 0.62)
    found = delta_interval(scores, [[38.0, 38.0], [0.62, 0.62]], [True, False], independent_tasks=True).interval
    expected = paired_interval(deltas)
    assert found.estimate == pytest.approx(expected.estimate)
    assert found.half == pytest.approx(expected.half)


@pytest.mark.parametrize("independent", [True, False])
def test_delta_interval_covers_the_truth_with_unequal_counts(rng, independent):
    covered = []
    for _ in range(600):
        shared = rng.normal(0, 0.01, (4, 1))  # the tasks of one run move together
        scores = np.array([40, 0.6]) * (1 + shared * [1, -1] + rng.normal(0, 0.005, (4, 2)))
        if independent:
            baseline = [rng.normal(38, 0.3, 3), rng.normal(0.62, 0.005, 6)]
        else:
            both = rng.normal(0, 0.01, 5)
            baseline = [38 * (1 + both), 0.62 * (1 - both)]
        interval = delta_interval(scores, baseline, [True, False], independent_tasks=independent).interval
        covered.append(interval.low <= 50 * (2 / 38 + 0.02 / 0.62) <= interval.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


def test_the_baselines_share_is_that_of_its_variance(rng):
    scores, baseline = rng.normal(40, 0.4, (3, 1)), rng.normal(38, 0.4, 4)
    found = delta_interval(scores, [baseline], [True], independent_tasks=True)
    own = (100 / baseline.mean()) ** 2 * scores.var(ddof=1) / 3
    theirs = (100 * scores.mean() / baseline.mean() ** 2) ** 2 * baseline.var(ddof=1) / 4
    assert found.share == pytest.approx(theirs / (own + theirs))
    assert math.isnan(delta_interval([[2.0], [2.0]], [[1.0, 1.0]], [True], independent_tasks=True).share)


def test_delta_interval_refuses_a_baseline_of_zero():
    with pytest.raises(ValueError, match="baseline mean is 0"):
        delta_interval([[1.0], [2.0]], [[-1.0, 1.0]], [True], independent_tasks=True)


def test_crossed_interval_has_the_variance_of_a_two_way_layout():
    values = np.array([[1.0, 2.0, 6.0, 3.0], [1.1, 2.1, 6.2, 3.05]])
    grand, rows, columns = values.mean(), values.mean(1), values.mean(0)
    ms_seed = 4 * ((rows - grand) ** 2).sum() / 1
    ms_image = 2 * ((columns - grand) ** 2).sum() / 3
    ms_error = sum((values[s, i] - rows[s] - columns[i] + grand) ** 2 for s in range(2) for i in range(4)) / 3
    assert min(ms_seed, ms_image) > ms_error
    assert paired_interval(rows).half < math.sqrt((ms_seed + ms_image - ms_error) / 8)
    total = ms_seed + ms_image - ms_error
    df = total**2 / (ms_seed**2 / 1 + ms_image**2 / 3 + ms_error**2 / 3)
    found = crossed_interval(values)
    assert found.estimate == pytest.approx(grand)
    assert found.df == pytest.approx(df)
    assert found.half == pytest.approx(stats.t.ppf(0.975, df) * math.sqrt(total / 8))


@pytest.mark.parametrize("num_seeds", [2, 3])
def test_crossed_interval_is_never_narrower_than_that_over_seeds_and_covers_with_few(rng, num_seeds):
    covered = []
    for _ in range(1500):
        values = (
            rng.normal(0, 1, (num_seeds, 1)) + rng.normal(0, 3, (1, 40)) + rng.normal(0, 3, (num_seeds, 40))
        )  # the image term of Satterthwaite's formula buys degrees of freedom that the seeds do not have
        interval = crossed_interval(values)
        assert interval.half >= paired_interval(values.mean(1)).half * (1 - 1e-12)
        covered.append(interval.low <= 0 <= interval.high)
    assert np.mean(covered) > 0.94


def test_crossed_interval_never_has_a_negative_variance():
    # Interaction only: both components are estimated below 0, and the residual alone is left.
    found = crossed_interval([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    assert found.df == 2
    assert found.half == pytest.approx(stats.t.ppf(0.975, 2) * math.sqrt(2 / 6))


def test_crossed_interval_covers_where_seeds_alone_do_not(rng):
    crossed, seeds = [], []
    for _ in range(800):
        values = rng.normal(0, 0.2, (4, 1)) + rng.normal(0, 2, (1, 40)) + rng.normal(0, 1, (4, 40))
        interval, naive = crossed_interval(values), paired_interval(values.mean(1))
        crossed.append(interval.low <= 0 <= interval.high)
        seeds.append(naive.low <= 0 <= naive.high)
    assert np.mean(crossed) == pytest.approx(0.95, abs=0.03)
    assert np.mean(seeds) < 0.9


def test_contrasts_of_two_methods_are_a_paired_t_test(rng):
    values = rng.normal(0, 1, (2, 6))
    (found,) = contrasts(values)
    expected = paired_interval(values[0] - values[1])
    assert (found.difference, found.low) == (pytest.approx(expected.estimate), pytest.approx(expected.low, rel=1e-4))


def test_contrasts_of_complete_rows_have_tukeys_closed_form(rng):
    values = rng.normal(0, 1, (10, 30))  # so many methods and seeds that no pair's own interval is wider
    values /= (values - values.mean(1, keepdims=True)).std(1, keepdims=True)  # the methods vary alike
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    half = stats.studentized_range.ppf(0.95, 10, 261) * math.sqrt((residual**2).sum() / 261 / 30)
    for pair in contrasts(values):
        assert pair.difference == pytest.approx(values[pair.first].mean() - values[pair.second].mean())
        assert pair.high - pair.difference == pytest.approx(half)


def test_no_pair_is_surer_than_its_own_t_interval(rng):
    values = rng.normal(0, [[0.1], [1], [9]], (3, 4))
    for pair in contrasts(values):
        own = paired_interval(values[pair.first] - values[pair.second], 0.97)
        assert pair.high - pair.low >= 2 * own.half * (1 - 1e-9)


def test_rows_that_vary_alike_share_a_variance_and_others_do_not(rng):
    alike = [alikeness(additive(rng.normal(0, 1, (6, 10))))[0] for _ in range(50)]
    apart = [alikeness(additive(rng.normal(0, np.geomspace(0.3, 3, 6)[:, None], (6, 10))))[0] for _ in range(50)]
    assert np.median(alike) > 50
    assert np.median(apart) < 10


def test_the_studentised_range_is_scipys():
    for rows, df in ((2, 1.0), (3, 1.7), (6, 10.0), (12, 44.0)):
        assert studentised_range(0.95, rows, df) == pytest.approx(stats.studentized_range.ppf(0.95, rows, df), rel=1e-6)
    many = np.linspace(2, 50, 101)
    assert studentised_range(0.95, 6, many) == pytest.approx(
        [float(studentised_range(0.95, 6, d)) for d in many], rel=1e-4
    )


def test_a_method_that_lost_more_is_never_better_nor_equivalent():
    noise = np.array([0.01, -0.01, 0.01, -0.01])
    values = [noise, 5 - noise, 5 + noise]
    found = {(p.first, p.second): p.verdict for p in contrasts(values, losses=[0.0, 0.5, 0.0])}
    assert found == {(0, 1): "undecided", (0, 2): "worse", (1, 2): "undecided"}
    assert {(p.first, p.second): p.verdict for p in contrasts(values, losses=[0.5, 0.0, 0.0])}[0, 1] == "worse"
    assert not_worse_than_best(contrasts(values, losses=[0.0, 0.5, 0.0]), [0.0, 0.5, 0.0]) == {2}


@pytest.mark.slow
def test_contrasts_with_missing_runs_cover_all_pairs_at_once(rng):
    covered, missing = [], [(1, 0), (2, 1), (3, 2)]  # each method but the first lacks another seed
    for _ in range(1000):
        values = rng.normal(0, 1, (4, 5)) + rng.normal(0, 3, (1, 5))
        for place in missing:
            values[place] = math.nan
        covered.append(all(pair.low <= 0 <= pair.high for pair in contrasts(values)))
    assert np.mean(covered) > 0.935


def test_a_missing_run_takes_no_seed_from_the_others():
    # The second method lacks the seeds in which all are 10 higher: its mean is lower, and it is better all the same.
    nan = math.nan
    values = np.array([[0.0, 0.1, 0.0, 10.0], [1.0, 1.2, 1.1, nan], [0.1, 0.0, 0.1, 10.1]])
    fit = additive(values)
    assert fit.df == 5
    assert fit.means[1] - fit.means[0] == pytest.approx(1.05, abs=0.05)
    assert [pair.difference for pair in contrasts(values)] == pytest.approx([-16 / 15, -0.05, 31 / 30])
    assert not_worse_than_best(contrasts(values)) == {1}


def test_only_rows_that_shared_seeds_link_are_judged():
    nan = math.nan
    assert judged([[1, 2, nan], [1, nan, nan], [2, 3, 4]]) == [0, 2]
    assert judged([[1, 2, nan, nan], [nan, nan, 1, 2], [nan, nan, 3, 1]]) == [1, 2]
    assert judged([[1, 2, nan], [nan, 2, 3]]) == []  # a common seed, and no degree of freedom left
    assert contrasts([[1, 2, nan], [nan, 2, 3]]) == []
    with pytest.raises(ValueError, match="link it to the other rows"):
        additive([[1, 2, nan], [1, nan, nan], [2, 3, 4]])


@pytest.mark.slow
def test_contrasts_cover_all_pairs_at_once(rng):
    covered = []
    for _ in range(1500):
        values = rng.normal(0, 1, (5, 3)) + rng.normal(0, 3, (1, 3))  # a seed shifts every method
        covered.append(all(pair.low <= 0 <= pair.high for pair in contrasts(values)))
    assert 0.94 < np.mean(covered) < 0.99


def test_a_shift_by_seed_changes_no_contrast(rng):
    values = rng.normal(0, 1, (3, 4))
    shifted = contrasts(values + np.array([5.0, -2.0, 0.0, 7.0]))
    for one, other in zip(contrasts(values), shifted, strict=True):
        assert one[:5] == pytest.approx(other[:5])


def test_verdicts_better_worse_equivalent_undecided():
    noise = np.array([0.01, -0.01, 0.01, -0.01])
    values = np.array([noise, 5 - noise, 5 + noise])
    verdicts = {(pair.first, pair.second): pair.verdict for pair in contrasts(values)}
    assert verdicts == {(0, 1): "worse", (0, 2): "worse", (1, 2): "equivalent"}
    assert [pair.verdict for pair in contrasts(values[[1, 0]])] == ["better"]
    assert [pair.verdict for pair in contrasts([[0.0, 3.0, 1.0], [2.0, 0.0, 2.5]])] == ["undecided"]


def test_bold_is_the_best_and_what_is_not_worse_than_it():
    noise = np.array([0.01, -0.02, 0.01])
    assert not_worse_than_best(contrasts([noise, 5 + noise, 5 - noise])) == {1, 2}
    assert not_worse_than_best(contrasts([noise])) == set()


def test_seed_planner_gives_the_known_counts():
    assert [seeds_needed(difference, 0.82) for difference in (2.0, 1.0, 0.5)] == [4, 8, 24]
    assert seeds_needed(1.0, 0.0) == 2
    for difference, sd, named in ((0.0, 1.0, "difference 0"), (1.0, math.nan, "sd nan"), (1.0, math.inf, "sd inf")):
        with pytest.raises(ValueError, match=f"^{named}: give .*positive number"):
            seeds_needed(difference, sd)
    with pytest.raises(ValueError, match="more than 10000 seeds"):
        seeds_needed(1.0, 100.0)


@pytest.mark.parametrize("sd", [0.1, 0.5, 0.82, 2.0, 5.0])
def test_the_planned_seeds_have_the_power_and_one_fewer_have_not(sd):
    planned = seeds_needed(1.0, sd)
    assert power_of(planned, 1.0, sd) >= 0.8
    assert planned == 2 or power_of(planned - 1, 1.0, sd) < 0.8


def test_power_is_one_where_there_is_no_noise():
    assert power_of(30, 1.0, 1e-9) == power_of(2, 1.0, 0.0) == 1.0


def test_power_is_what_a_simulation_finds(rng):
    values = rng.normal(1.0, 0.82, (4000, 6))
    found = [not i.low <= 0 <= i.high for i in map(paired_interval, values)]
    assert power_of(6, 1.0, 0.82) == pytest.approx(np.mean(found), abs=0.03)


def test_the_plan_is_for_the_rule_of_the_verdicts():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(400):
        values = rng.normal(0, 0.82 / math.sqrt(2), (6, 8))
        values[0] += 1.0
        found += [pair.verdict == "better" for pair in contrasts(values) if pair.first == 0]
    assert power_of(8, 1.0, 0.82, rows=6) == pytest.approx(np.mean(found), abs=0.04)
    assert power_of(8, 1.0, 0.82, rows=6) < 0.7 < 0.8 < power_of(8, 1.0, 0.82)


def test_more_rows_need_more_seeds():
    needed = [seeds_needed(1.0, 0.82, rows=rows) for rows in (2, 6, 12)]
    assert needed == sorted(set(needed))
    for rows, seeds in zip((2, 6, 12), needed, strict=True):
        assert power_of(seeds - 1, 1.0, 0.82, rows=rows) < 0.8 <= power_of(seeds, 1.0, 0.82, rows=rows)
    with pytest.raises(ValueError, match="rows 1 must be at least 2"):
        seeds_needed(1.0, 0.82, rows=1)


def test_equivalence_is_planned_for_by_the_same_rule():
    rng, seeds = np.random.default_rng(5), seeds_for_equivalence(1.0, 0.82, rows=4)
    tables = [contrasts(rng.normal(0, 0.82 / math.sqrt(2), (4, seeds)), margin=1.0) for _ in range(200)]
    found = np.mean([pair.verdict == "equivalent" for table in tables for pair in table])
    assert found == pytest.approx(0.84, abs=0.07)
    assert seeds_for_equivalence(0.5, 0.82, rows=4) > 3 * seeds


def test_expected_best_is_the_mean_over_all_subsets():
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    expected = [np.mean([max(subset) for subset in combinations(values, k)]) for k in range(1, 6)]
    assert expected_best(values) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [[1.0]]])
def test_what_is_not_a_row_of_numbers_is_refused(bad):
    with pytest.raises(ValueError, match="values"):
        mean_and_sd(bad)
