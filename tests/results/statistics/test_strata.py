"""The stratified bootstrap: its width has an oracle, and it covers with three runs a table."""

import numpy as np
import pytest

from mtlbench.results.statistics.strata import stratified_interval


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("num_runs", [3, 8])
def test_its_width_is_that_of_the_unbiased_variance(rng, num_runs):
    tables = rng.standard_normal((60, num_runs)) * rng.uniform(0.5, 2, (60, 1))
    low, high = stratified_interval(tables)
    assert low < tables.mean() < high
    sd = np.sqrt((tables.var(1, ddof=1) / num_runs).sum()) / len(tables)
    assert (high - low) / 2 == pytest.approx(1.96 * sd, rel=0.03)  # n draws of 3 runs would be at 0.82


def test_it_moves_and_grows_with_the_values_and_knows_no_order_of_the_tables_runs(rng):
    tables = [rng.standard_normal(size) for size in (3, 5, 4)]
    low, high = stratified_interval(tables)
    moved = stratified_interval([2 * values + 7 for values in tables])
    assert moved == pytest.approx((2 * low + 7, 2 * high + 7))
    turned = stratified_interval([values[::-1] for values in tables])
    assert turned == pytest.approx((low, high), abs=0.05)
    assert stratified_interval(tables) == (low, high)


def test_a_table_with_one_run_leaves_no_interval(rng):
    assert stratified_interval([]) is None
    assert stratified_interval([[1.0, 2.0], [1.0]]) is None


@pytest.mark.parametrize("num_tables", [3, 6])
def test_it_covers_the_mean_rank_of_equal_rows_with_three_runs_a_table(rng, num_tables):
    covered = []
    for _ in range(500):
        ranks = 1 + rng.standard_normal((num_tables, 6, 3)).argsort(1).argsort(1)
        low, high = stratified_interval(ranks[:, 0], draws=1000)
        covered.append(low <= 3.5 <= high)
    assert np.mean(covered) >= 0.88  # 0.82 to 0.85 with n draws
