"""Several tables together: what counts as better, how rows are ranked, and where a report says it."""

import pandas as pd
import pytest

from make_records import CENTRE, METHOD, Store, score, three_seeds
from mtlbench.results.questions.several import several
from mtlbench.results.report.write import report
from tables_of import TASKS, summaries

pytestmark = pytest.mark.usefixtures("undrawn")

LOST = "failed"
ROOMS = {"A": [1.0, 2.0, -1.0], "B": [-1.0, -2.0, -3.0], "C": [3.0, 3.0, 3.0]}
NYUD = {"A": [2.0, -1.0, -1.0], "B": [1.0, 1.0, LOST], "C": [LOST, 3.0, 3.0]}


def fill(root, name, gains, *, tasks=TASKS, benchmark=None):
    """A matrix of one table. gains: label -> the gain on every task, in percent, by seed; or the status of a run."""
    store, benchmark = Store(root, name), benchmark or name
    for seed in range(max(map(len, gains.values()))):
        for task in tasks:
            store.run("Single task", (task,), seed, benchmark=benchmark, task_set=tasks, scores=(scored(task, 0.0),))
        for label, of_row in gains.items():
            gain = of_row[seed]
            done = {"status": gain} if gain == LOST else {"scores": tuple(scored(task, gain) for task in tasks)}
            store.run(label, tasks, seed, benchmark=benchmark, **done)
    store.close()


def scored(task, gain):
    sign = 1 if score(task, 0.0).higher_is_better else -1
    return score(task, CENTRE[task] * (1 + sign * gain / 100))


def found(root, tables):
    """What tables say together. tables: the name of a matrix -> its gains."""
    for name, gains in tables.items():
        fill(root, name, gains)
    return several([(name, summary) for name in tables for summary in summaries(str(root), name)[0]])


def test_a_share_is_a_mean_over_tables_and_a_lost_run_is_not_better(tmp_path):
    (one,) = found(tmp_path, {"rooms": ROOMS, "nyud": NYUD})
    assert {label: list(row.counts.values()) for label, row in one.rows.items()} == {
        "Single task": [], "A": [(2, 3), (1, 3)], "B": [(0, 3), (2, 3)], "C": [(3, 3), (2, 3)],
    }  # fmt: skip
    assert [one.rows[label].improvement for label in "ABC"] == pytest.approx([1 / 2, 1 / 3, 5 / 6])


def test_a_table_counts_as_one_however_many_seeds_it_has(tmp_path):
    (one,) = found(tmp_path, {"rooms": {"A": [1.0]}, "nyud": {"A": [-1.0] * 6}})
    assert one.rows["A"].improvement == 0.5
    assert one.rows["A"].improvement_bounds is None  # one run in a table


def test_ranks_are_by_seed_and_a_lost_run_is_the_last(tmp_path):
    (one,) = found(tmp_path, {"rooms": ROOMS, "nyud": NYUD})
    ranks = {label: [round(rank, 6) for rank in row.ranks.values()] for label, row in one.rows.items()}
    assert ranks == {  # seeds 0, 1, 2 of rooms, then of nyud
        "Single task": [round((3 + 3 + 2) / 3, 6), round((3 + 3 + 2) / 3, 6)],
        "A": [round((2 + 2 + 3) / 3, 6), round((1 + 4 + 3) / 3, 6)],
        "B": [4.0, round((2 + 2 + 4) / 3, 6)],
        "C": [1.0, round((4 + 1 + 1) / 3, 6)],
    }
    assert sum(row.rank for row in one.rows.values()) == pytest.approx(1 + 2 + 3 + 4)
    for row in one.rows.values():
        if row.rank_bounds is not None:
            assert 1 <= row.rank_bounds.low <= row.rank <= row.rank_bounds.high <= 4


def test_equal_runs_share_the_mean_of_their_ranks(tmp_path):
    (one,) = found(tmp_path, {"rooms": {"A": [0.0, 0.0]}, "nyud": {"A": [0.0, 0.0]}})
    assert {row.rank for row in one.rows.values()} == {1.5}
    assert one.rows["A"].improvement == 0.0  # no better is not better


def test_runs_that_all_say_the_same_leave_no_interval(tmp_path):
    (one,) = found(tmp_path, {"rooms": ROOMS, "nyud": {**NYUD, "C": [3.0, 3.0, 3.0]}})
    assert one.rows["C"].improvement == 1.0
    assert one.rows["C"].improvement_bounds is None and one.rows["C"].rank_bounds is None
    assert one.rows["A"].improvement_bounds is not None and one.rows["A"].rank_bounds is not None


def test_a_row_of_one_table_neither_shows_nor_moves_another_row(tmp_path):
    (with_it,) = found(tmp_path / "with", {"rooms": {**ROOMS, "D": [9.0, 9.0, 9.0]}, "nyud": NYUD})
    (without,) = found(tmp_path / "without", {"rooms": ROOMS, "nyud": NYUD})
    assert with_it.rows == without.rows


def test_the_order_of_the_tables_changes_no_mean(tmp_path):
    (one,) = found(tmp_path / "one", {"rooms": ROOMS, "nyud": NYUD})
    (other,) = found(tmp_path / "other", {"nyud": NYUD, "rooms": ROOMS})
    for label, row in one.rows.items():
        assert row.rank == pytest.approx(other.rows[label].rank)
        assert row.improvement == pytest.approx(other.rows[label].improvement, nan_ok=True)


def test_a_label_of_two_methods_is_left_out_and_named(tmp_path, monkeypatch):
    fill(tmp_path, "rooms", ROOMS)
    monkeypatch.setitem(METHOD, "B", "pad_net")
    fill(tmp_path, "nyud", NYUD)
    tables = [(name, summary) for name in ("rooms", "nyud") for summary in summaries(str(tmp_path), name)[0]]
    (one,) = several(tables)
    assert one.other_methods == ("B",)
    assert list(one.rows) == ["Single task", "A", "C"]


def test_a_table_whose_baseline_has_no_run_is_no_table(tmp_path):
    fill(tmp_path, "rooms", ROOMS)
    store = Store(tmp_path, "nyud")
    store.single(TASKS, 0, benchmark="nyud", status=LOST)
    store.run("A", TASKS, 0, benchmark="nyud", status=LOST)
    store.close()
    tables = [(name, summary) for name in ("rooms", "nyud") for summary in summaries(str(tmp_path), name)[0]]
    assert several(tables) == []


# in a report ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_report_of_two_matrices_has_an_overview_of_equal_bytes(tmp_path):
    fill(tmp_path / "store", "rooms", ROOMS)
    fill(tmp_path / "store", "nyud", NYUD)
    first = report(str(tmp_path / "store"), [], tmp_path / "out")
    text = (tmp_path / "out/overview.md").read_text()
    assert "Over 2 tables, against Single task" in text and text in first.markdown
    assert "Here are 2 tables: 2 pairs of a benchmark and a task set, on 2 benchmarks; fewer than about 5" in text
    frame = pd.read_csv(tmp_path / "out/overview.csv", keep_default_na=False)
    row = frame[(frame["label"] == "B") & (frame["benchmark"] == "nyud")].iloc[0]
    assert (row["improved"], row["compared"]) == ("2", "3")
    assert not (tmp_path / "out/rooms/overview.md").exists()  # its one table is no overview
    before = {path: path.read_bytes() for path in first.paths}
    assert tmp_path / "out/overview.md" in before
    report(str(tmp_path / "store"), [], tmp_path / "out")
    assert {path: path.read_bytes() for path in first.paths} == before


def test_a_page_with_several_tables_begins_with_what_they_say_together(tmp_path):
    store = Store(tmp_path / "store")
    for tasks in (TASKS, ("semseg", "normals")):
        for seed in range(2):
            store.single(tasks, seed)
            store.run("SCA-MTL", tasks, seed)
    report(store.close(), [], tmp_path / "out")
    page = (tmp_path / "out/rooms/report.html").read_text()
    assert page.index("Over 2 tables, against Single task") < page.index("How sure")
    assert "2 pairs of a benchmark and a task set, on 1 benchmark;" in page
    assert (tmp_path / "out/rooms/overview.csv").exists() and not (tmp_path / "out/overview.md").exists()


def test_a_report_of_one_table_has_no_overview(tmp_path):
    written = report(three_seeds(tmp_path / "store"), [], tmp_path / "out")
    assert not [path for path in written.paths if path.name.startswith("overview")]
