"""Intervals and verdicts against closed forms, other implementations and small simulations."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from results.statistics import (
    contrasts,
    crossed_interval,
    delta_interval,
    expected_best,
    mean_and_sd,
    not_worse_than_best,
    paired_interval,
    power_of,
    seeds_needed,
)


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
    assert not_worse_than_best([[1.0], [2.0]]) == [False, False]
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
    found = delta_interval(scores, [[38.0, 38.0], [0.62, 0.62]], [True, False], independent_tasks=True)
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
        interval = delta_interval(scores, baseline, [True, False], independent_tasks=independent)
        covered.append(interval.low <= 50 * (2 / 38 + 0.02 / 0.62) <= interval.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


def test_delta_interval_refuses_a_baseline_of_zero():
    with pytest.raises(ValueError, match="baseline mean is 0"):
        delta_interval([[1.0], [2.0]], [[-1.0, 1.0]], [True], independent_tasks=True)


def test_crossed_interval_has_the_variance_of_a_two_way_layout():
    values = np.array([[1.0, 2.0, 6.0], [4.0, 4.0, 9.0]])
    grand, rows, columns = values.mean(), values.mean(1), values.mean(0)
    ms_seed = 3 * ((rows - grand) ** 2).sum() / 1
    ms_image = 2 * ((columns - grand) ** 2).sum() / 2
    ms_error = sum((values[s, i] - rows[s] - columns[i] + grand) ** 2 for s in range(2) for i in range(3)) / 2
    assert min(ms_seed, ms_image) > ms_error
    total = ms_seed + ms_image - ms_error
    df = total**2 / (ms_seed**2 / 1 + ms_image**2 / 2 + ms_error**2 / 2)
    found = crossed_interval(values)
    assert found.estimate == pytest.approx(grand)
    assert found.df == pytest.approx(df)
    assert found.half == pytest.approx(stats.t.ppf(0.975, df) * math.sqrt(total / 6))


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


def test_contrasts_cover_all_pairs_at_once(rng):
    covered = []
    for _ in range(1500):
        values = rng.normal(0, 1, (5, 3)) + rng.normal(0, 3, (1, 3))  # a seed shifts every method
        covered.append(all(pair.low <= 0 <= pair.high for pair in contrasts(values)))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


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
    assert not_worse_than_best([noise, 5 + noise, 5 - noise]) == [False, True, True]
    assert not_worse_than_best([noise]) == [False]


def test_seed_planner_gives_the_known_counts():
    assert [seeds_needed(difference, 0.82) for difference in (2.0, 1.0, 0.5)] == [3, 6, 22]
    with pytest.raises(ValueError, match="must be positive"):
        seeds_needed(0.0, 1.0)


def test_power_is_what_a_simulation_finds(rng):
    values = rng.normal(1.0, 0.82, (4000, 6))
    found = [not i.low <= 0 <= i.high for i in map(paired_interval, values)]
    assert power_of(6, 1.0, 0.82) == pytest.approx(np.mean(found), abs=0.03)
    assert power_of(22, 0.5, 0.82) == pytest.approx(0.8, abs=0.05)


def test_expected_best_is_the_mean_over_all_subsets():
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    expected = [np.mean([max(subset) for subset in combinations(values, k)]) for k in range(1, 6)]
    assert expected_best(values) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [[1.0]]])
def test_what_is_not_a_row_of_numbers_is_refused(bad):
    with pytest.raises(ValueError, match="values"):
        mean_and_sd(bad)
