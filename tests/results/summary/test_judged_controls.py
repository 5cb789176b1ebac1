"""Controls are judged by runs whose truth is known: equal rows, a better row, and tasks that are less related."""

import numpy as np
import pytest
from scipy import stats

from make_records import Store, score
from mtlbench.results.records.reading import read
from mtlbench.results.records.record import Control, ControlTable
from mtlbench.results.report.write import report
from mtlbench.results.summary.controls import findings, welch

pytestmark = pytest.mark.usefixtures("undrawn")

TASKS, SEEDS = ("semseg", "depth"), range(5)


def filled(root, *, again=0.0, more=10.0, related=(4.0, 0.0, -4.0), sd=0.5, missing=(), judged_on=(), against=()):
    """A store with a table and all controls. again, more and related are Delta_m in points.

    judged_on: the tasks that relatedness is judged on. against: tasks that gain twice what the others lose.
    """
    store, rng = Store(root), np.random.default_rng(3)

    def values(gain, tasks):
        noise = rng.normal(0, sd)
        changes = {task: 1 + (noise + (-2 * gain if task in against else gain)) / 100 for task in tasks}
        return tuple(
            score(task, 38 * change if task == "semseg" else 0.6 * (2 - change)) for task, change in changes.items()
        )

    def entries(label, tasks, gain, seeds, benchmark):
        start = len(store.entries)
        for seed in seeds:
            for task in [(task,) for task in tasks] if label == "Single task" else [tasks]:
                status = "missing" if (benchmark, label) in missing else "finished"
                store.run(
                    label, task, seed, task_set=tasks, benchmark=benchmark, scores=values(gain, task), status=status
                )
        return tuple(store.entries[start:])

    table = (*entries("Single task", TASKS, 0.0, SEEDS, "rooms"), *entries("Multi task", TASKS, 0.0, SEEDS, "rooms"))
    same = ControlTable("other seeds", entries("Multi task", TASKS, again, range(5, 10), "again"))
    better = ControlTable("more images", entries("Multi task", TASKS, more, SEEDS, "more"))
    dial = []
    for place, gain in enumerate(related):
        name = f"set {place}"
        rows = [entries(label, TASKS, of, SEEDS, name) for label, of in (("Single task", 0.0), ("Multi task", gain))]
        dial.append(ControlTable(name, (*rows[0], *rows[1])))
    store.entries = list(table)
    store.manifest["controls"] = (
        Control("same", "Multi task", (same,)),
        Control("better", "Multi task", (better,)),
        Control("falls", "Multi task", tuple(dial), tuple(judged_on)),
    )
    return store.close()


def judged(root, **changes):
    return findings(read(filled(root, **changes), "rooms"))


def test_controls_that_hold(tmp_path):
    same, better, falls = judged(tmp_path)
    assert same.passed and better.passed and falls.passed
    assert better.difference.estimate == pytest.approx(10, abs=1.5)
    assert falls.means == pytest.approx((4, 0, -4), abs=1.5)
    assert falls.difference.estimate == pytest.approx(falls.means[0] - falls.means[2])


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"again": 5.0}, 0),
        ({"again": -5.0}, 0),
        ({"more": 0.0}, 1),
        ({"more": -5.0}, 1),
        ({"related": (0.0, 4.0, -4.0)}, 2),
        ({"related": (0.1, 0.05, 0.0), "sd": 2.0}, 2),
    ],
)
def test_a_control_that_fails_is_found_and_the_caption_says_so_first(tmp_path, changes, failed):
    store = filled(tmp_path / "store", **changes)
    assert [finding.passed for finding in findings(read(store, "rooms"))] == [place != failed for place in range(3)]
    report(store, [], tmp_path / "out")
    _, claim, _, caption, controls, *_ = (tmp_path / "out/rooms/table.md").read_text().split("\n\n")
    assert claim.startswith("No verdict: a control fails,")
    assert caption.startswith("The order of these rows is not to be believed, since a control fails: ")
    assert controls.startswith("Controls that hold: ")
    assert "The order of these rows is not to be believed" in (tmp_path / "out/rooms/report.html").read_text()


@pytest.mark.parametrize(("judged_on", "passed"), [((), False), (("semseg",), True), (("depth",), False)])
def test_relatedness_may_be_judged_on_some_tasks(tmp_path, judged_on, passed):
    store = filled(tmp_path / "store", judged_on=judged_on, against=("depth",))
    finding = findings(read(store, "rooms"))[2]
    assert finding.passed == passed
    report(store, [], tmp_path / "out")
    caption = (tmp_path / "out/rooms/table.md").read_text()
    what = f"the gain of Multi task on {judged_on[0]}" if judged_on else "Δm of Multi task"
    assert f"{what} {'falls' if passed else 'should fall'} from task set to task set" in caption


def test_a_control_without_two_runs_is_not_judged_and_the_caption_says_so(tmp_path):
    store = filled(tmp_path / "store", missing={("again", "Multi task"), ("set 1", "Single task")})
    same, better, falls = findings(read(store, "rooms"))
    assert (same.passed, better.passed, falls.passed) == (None, True, None)
    report(store, [], tmp_path / "out")
    caption = (tmp_path / "out/rooms/table.md").read_text()
    assert "Controls that are not judged: other seeds: 1 of its 2 rows have fewer than two whole runs" in caption


@pytest.mark.slow
def test_equal_rows_fail_five_times_of_a_hundred():
    rng = np.random.default_rng(0)
    found = [welch(*rng.normal(0, [[1.0], [3.0]], (2, 5))) for _ in range(2000)]
    outside = np.mean([interval.low > 0 or interval.high < 0 for interval in found])
    assert 0.03 < outside < 0.07


def test_the_interval_is_welchs():
    first, second = [1.0, 2.0, 4.0], [0.5, 0.1, 3.0, 2.0]
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    found = welch(first, second)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert welch([1.0, 1.0], [0.0, 0.0]).half == 0
