"""The verdicts hold where runs vary unequally: simulated coverage of all pairs at once, nominally 95 %, and power."""

import numpy as np
import pytest

from mtlbench.results.records.record import Entry, Record, Score
from mtlbench.results.statistics.ranges import studentised_range
from mtlbench.results.statistics.verdicts import Additive, contrasts, half_widths
from mtlbench.results.summary.columns import BOLD, column
from mtlbench.results.summary.gains import gains_of
from mtlbench.results.summary.pairs import block
from mtlbench.results.summary.runs import Comparison, Row, Run

ROWS = 6
LABELS = ("Single task", *"ABCDE")  # the first row is the baseline


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def correlated(baseline: float) -> np.ndarray:
    """Multi-task rows with variance 1 and correlation 0.8, and a baseline that shares nothing with them."""
    found = 0.8 + 0.2 * np.eye(ROWS)
    found[0], found[:, 0] = 0.0, 0.0
    found[0, 0] = baseline**2
    return found


COVARIANCES = {
    "equal": np.eye(ROWS),
    "sds 0.3-3": np.diag(np.geomspace(0.3, 3, ROWS) ** 2),
    "sds from 1.05 to 4.43": np.diag(np.geomspace(1.05, 4.43, ROWS) ** 2),
    "one row 6x": np.diag([1.0, 1, 1, 1, 1, 36]),
    "baseline 5x": np.diag([25.0, 1, 1, 1, 1, 1]),
    "rows correlated": correlated(1.0),
    "rows correlated, baseline 2x": correlated(2.0),
}


def drawn(name: str, num_tables: int, num_seeds: int, rng) -> np.ndarray:
    """[tables, rows, seeds] of rows without any difference; a seed shifts all rows."""
    noise = np.linalg.cholesky(COVARIANCES[name]) @ rng.standard_normal((num_tables, ROWS, num_seeds))
    return noise + rng.standard_normal((num_tables, 1, num_seeds))


def halves(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences, the halves of their intervals by the rule, and those by Tukey's range; each [tables, pairs]."""
    _, num_rows, num_seeds = values.shape
    first, second = np.triu_indices(num_rows, 1)
    differences = values[:, first] - values[:, second]
    around = values - values.mean(2, keepdims=True) - values.mean(1, keepdims=True) + values.mean((1, 2), keepdims=True)
    squares, df = (around**2).sum(2), (num_rows - 1) * (num_seeds - 1)
    variance, freedom = squares.sum(1, keepdims=True) / df, np.full(num_rows, df / num_rows)
    fit = Additive(np.zeros(num_rows), np.eye(num_rows), variance, df, squares, freedom)
    ruled = half_widths(differences.var(2, ddof=1), np.full(len(first), num_seeds), fit, level)
    tukey = studentised_range(0.95, num_rows, df) * np.sqrt(variance / num_seeds)
    return differences.mean(2), ruled, np.broadcast_to(tukey, ruled.shape)


def test_many_tables_at_once_have_the_intervals_of_one_table(rng):
    values = drawn("sds 0.3-3", 5, 4, rng)
    centres, ruled, _ = halves(values)
    for table, centre, half in zip(values, centres, ruled, strict=True):
        found = contrasts(table)
        assert [pair.difference for pair in found] == pytest.approx(centre.tolist())
        assert [pair.high - pair.difference for pair in found] == pytest.approx(half.tolist(), rel=1e-5)


@pytest.mark.parametrize("num_seeds", [3, 5, 10])
@pytest.mark.parametrize("name", COVARIANCES)
def test_the_rule_covers_all_pairs_however_rows_vary(name, num_seeds, rng):
    centre, ruled, _ = halves(drawn(name, 4000, num_seeds, rng))
    assert (np.abs(centre) <= ruled).all(1).mean() >= 0.93


def test_tukeys_range_alone_does_not(rng):
    centre, _, tukey = halves(drawn("one row 6x", 4000, 5, rng))
    assert (np.abs(centre) <= tukey).all(1).mean() < 0.88


@pytest.mark.parametrize("difference", [2.5, 3.0])
def test_the_rule_finds_most_of_what_tukeys_range_finds_where_rows_vary_alike(difference, rng):
    centre, ruled, tukey = halves(drawn("equal", 4000, 5, rng))
    found, most = ((centre + difference > half).mean() for half in (ruled, tukey))
    assert 0.7 < most < 0.95
    assert found >= 0.8 * most


@pytest.mark.parametrize("num_seeds", [3, 5, 10])
def test_few_tables_of_equal_rows_deny_a_row_its_bold_in_any_column(num_seeds, rng):
    one, other = (drawn("equal", 4000, num_seeds, rng) for _ in range(2))
    denied = np.zeros(4000, dtype=bool)
    for values, level in ((one, 1 - BOLD / 2), (other, 1 - BOLD / 2), ((one + other) / 2, 0.95)):
        centre, half, _ = halves(values, level)
        denied |= (np.abs(centre) > half).any(1)
    assert denied.mean() <= 0.05 + BOLD + 0.005  # the noise of 4000 tables


OF_SEEDS = [pytest.param(3, marks=pytest.mark.slow), *(pytest.param(n, marks=pytest.mark.drill) for n in (5, 10))]


@pytest.mark.parametrize("num_seeds", OF_SEEDS)
def test_the_rule_covers_all_pairs_with_missing_runs(num_seeds, rng):
    for name in COVARIANCES:
        values = drawn(name, 400, num_seeds, rng)
        values[rng.random(values.shape) < 0.2] = np.nan
        covered = [all(pair.low <= 0 <= pair.high for pair in contrasts(table)) for table in values]
        assert np.mean(covered) >= 0.93, name


@pytest.mark.parametrize("num_seeds", OF_SEEDS)
def test_the_rule_covers_all_pairs_of_twelve_rows_with_missing_runs(num_seeds, rng):
    covered = []
    for _ in range(400):
        values = rng.standard_normal((12, num_seeds)) + rng.standard_normal(num_seeds)
        values[rng.random(values.shape) < 0.2] = np.nan
        covered.append(all(pair.low <= 0 <= pair.high for pair in contrasts(values)))
    assert np.mean(covered) >= 0.93  # .984, .981, .966 in 2000 tables


# from records ---------------------------------------------------------------------------------------------------------


def comparison(values: np.ndarray) -> Comparison:
    """Records of one table, in which a value is a small relative change, in tenths of a percent."""
    rows = {}
    for label, of_row in zip(LABELS, values, strict=True):
        runs = {}
        for seed, value in enumerate(of_row.tolist()):
            entry = Entry(f"{label}-{seed}", label, label, ("semseg",), ("semseg",), "rooms", seed)
            score = Score("semseg", "miou", 40 * (1 + value / 1000), True, True)
            records = {} if np.isnan(value) else {entry.id: Record(entry.id, {}, (score,), {}, {})}
            runs[seed] = Run(label, seed, (entry,), records, {})
        rows[label] = Row(label, label, runs)
    return Comparison("rooms", ("semseg",), "Single task", rows, None, {})


def covers(values: np.ndarray) -> bool:
    """Whether the verdicts on all pairs of a table, made from records, tell no rows apart."""
    one = comparison(values)
    columns = {"semseg": column(one, "semseg")}
    deltas = {label: gains_of(row, one, columns) for label, row in one.rows.items()}
    return not any(pair.verdict in ("better", "worse") for *_, pair in block(one, columns, deltas).contrasts())


def test_verdicts_from_records_are_of_the_rule(rng):
    values = drawn("baseline 5x", 1, 5, rng)[0]
    one = comparison(values)
    columns = {"semseg": column(one, "semseg")}
    deltas = {label: gains_of(row, one, columns) for label, row in one.rows.items()}
    found = block(one, columns, deltas).contrasts()
    for (first, second, pair), expected in zip(found, contrasts(values / 10), strict=True):
        assert (first, second) == (LABELS[expected.first], LABELS[expected.second])
        assert (pair.low, pair.high) == (pytest.approx(expected.low, abs=0.02), pytest.approx(expected.high, abs=0.02))


@pytest.mark.drill
def test_verdicts_from_records_cover_all_pairs(rng):
    found = {}
    for num_seeds in (3, 5, 10):
        for missing in (0.0, 0.2):
            values = np.concatenate([drawn(name, 30, num_seeds, rng) for name in COVARIANCES])
            values[rng.random(values.shape) < missing] = np.nan
            found[num_seeds, missing] = np.mean([covers(table) for table in values])
    assert np.mean(list(found.values())) >= 0.93
    assert min(found.values()) >= 0.93 - 2 * np.sqrt(0.93 * 0.07 / 210), found  # the noise of 210 tables
