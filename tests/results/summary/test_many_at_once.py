"""What is computed for many runs at once has the bits of what is computed for one after the other."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from make_records import score
from mtlbench.results.statistics.delta import IncomparableScores, all_deltas, delta_m
from mtlbench.results.summary.images import _added
from mtlbench.results.summary.orders import taus
from mtlbench.results.summary.pairs import Block

TASKS = ("semseg", "human_parts", "depth", "normals", "edge")


def runs(count, seed, zero=False):
    rng = np.random.default_rng(seed)
    found = [{task: score(task, float(rng.normal(30, 9))) for task in TASKS} for _ in range(count)]
    found[1]["depth"] = score("depth", None)
    if zero:
        found[2]["edge"] = score("edge", 0.0)
    return found


def test_deltas_against_many_baselines_have_the_bits_of_each():
    mine, theirs = runs(40, 0), runs(30, 1, zero=True)
    found = np.array(all_deltas(mine, theirs))
    assert np.array_equal(found, [[delta_m(run, base) for run in mine] for base in theirs], equal_nan=True)
    assert np.isnan(found).sum() == 30 + 2 * 40 - 2
    assert all_deltas([], theirs) == [[]] * 30 and all_deltas(mine, []) == []


def test_runs_that_lack_a_task_have_no_delta_and_other_definitions_are_refused():
    mine, theirs = runs(4, 0), runs(4, 1)
    del mine[0]["normals"]
    assert math.isnan(all_deltas(mine, theirs)[2][0]) and all_deltas(mine, theirs)[2][3] == delta_m(mine[3], theirs[2])
    theirs[3]["depth"] = replace(theirs[3]["depth"], definition="another")
    for pair in ((runs(4, 0), theirs), (theirs, runs(4, 0))):
        with pytest.raises(IncomparableScores, match="definition"):
            all_deltas(*pair)


@pytest.mark.parametrize("gaps", [0.0, 0.4])
def test_orders_of_all_pairs_of_seeds_are_those_of_scipy(gaps):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (6, 30)).astype(float)  # with ties
    values[:, 0] = 1.0  # an order of nothing
    values[rng.random(values.shape) < gaps] = math.nan
    rows = {str(i): {seed: v for seed, v in enumerate(row) if not math.isnan(v)} for i, row in enumerate(values)}
    expected = []
    for first, second in combinations(values.T, 2):
        both = np.isfinite(first) & np.isfinite(second)
        if both.sum() >= 3:
            expected.append(float(stats.kendalltau(first[both], second[both]).statistic))
    assert taus(Block(rows, {})) == [tau for tau in expected if math.isfinite(tau)]
    assert len(expected) > len(taus(Block(rows, {}))) > 100
    assert taus(Block({}, {})) == []


@pytest.mark.parametrize("missing", [0, 3])
def test_contributions_of_an_image_are_added_over_tasks_with_the_bits_of_a_table(missing):
    rng = np.random.default_rng(0)
    index = pd.Index([f"{i:04d}" for i in range(50)])
    terms = [pd.Series(rng.normal(size=50), index) for _ in TASKS]
    terms[1] = terms[1].iloc[missing:]
    table = pd.concat(terms, axis=1).fillna(0.0).sum(axis=1).sort_index()
    pd.testing.assert_series_equal(_added(terms).sort_index(), table, check_exact=True)
