"""Every row has the same trials, judged on images that no test score depends on, and trains with the best."""

import math

import numpy as np
import pytest

from cells import small_matrix
from mtlbench.harness.inspect import rescore
from mtlbench.harness.matrix.expand import expand, plan
from mtlbench.harness.matrix.text.written import MatrixError
from mtlbench.harness.matrix.tuning import Tuning, draw, trials, tuned
from mtlbench.harness.store.store import Store
from mtlbench.methods.baseline import MultiTask
from mtlbench.results.records.reading import read
from mtlbench.results.records.record import Record, Score
from mtlbench.results.report import grids
from mtlbench.results.report.drawing import figures as plots
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise
from mtlbench.results.summary.tuning import by_row, curve, goodness, searches, unjudged

pytestmark = pytest.mark.usefixtures("undrawn")

SPACE = {"lr": [1e-4, 1e-2], "weights": [0.1, 10]}
TUNING = Tuning(trials=4, space=SPACE)
MATRIX = {
    "benchmark": {"name": "rooms", "tasks": ["depth", "normals"], "options": {"train": 8, "val": 2, "test": 3}},
    "methods": [{"name": "single_task", "label": "ST"}, {"name": "multi_task", "label": "MT"}],
    "seeds": [0, 1],
    "tune": {"trials": 3, "space": {"lr": [1e-4, 1e-2]}, "holdout": 0.25},
}


def matrix(**changes):
    return small_matrix(**{**MATRIX, **changes})


def record(cell, value):
    """The record of a trial or a cell whose every task scores `value`."""
    scores = tuple(Score(task, "rmse", value, higher_is_better=False, primary=True) for task in cell.tasks)
    return Record(cell.id, cell.model_dump(mode="json"), scores, {}, {}, derived_from=cell.derived_from)


# what is tried --------------------------------------------------------------------------------------------------------


def test_draws_lie_in_their_ranges_and_fill_them_evenly_in_the_logarithm():
    many = Tuning(trials=400, space=SPACE)
    rates = np.array([draw(many, number, ())["lr"] for number in range(400)])
    assert rates.min() >= 1e-4 and rates.max() <= 1e-2
    counts, _ = np.histogram(np.log10(rates), bins=4, range=(-4, -2))
    assert counts.min() > 70  # of 100 expected, sd 8.7


def test_a_draw_depends_on_its_number_alone_and_on_no_other_dimension_or_task():
    (both,) = {str(draw(TUNING, 1, ("depth", "normals"))) for _ in range(2)}
    alone = Tuning(trials=9, space={"lr": SPACE["lr"]})
    assert draw(alone, 1, ())["lr"] == draw(TUNING, 1, ())["lr"]
    weights = draw(TUNING, 1, ("depth", "normals"))["weights"]
    assert str(weights["normals"]) in both
    more = draw(TUNING, 1, ("semseg", "normals"))["weights"]
    assert more["normals"] == weights["normals"] != weights["depth"]
    assert "weights" not in draw(TUNING, 1, ("normals",))  # a network of one task has nothing to balance
    assert draw(TUNING, 0, ())["lr"] != draw(TUNING, 1, ())["lr"]
    assert draw(Tuning(trials=4, space=SPACE, seed=1), 1, ())["lr"] != draw(TUNING, 1, ())["lr"]


def test_all_rows_have_the_same_trials_and_all_seeds_share_them():
    planned = expand(matrix())
    assert all(item.entry.preliminary and item.cell.trial and item.cell.train.holdout == 0.25 for item in planned)
    rates = {}
    for item in planned:
        rates.setdefault((item.entry.label, item.cell.tasks, item.entry.seed), []).append(item.cell.train.lr)
    assert len(rates) == 6 and len({tuple(values) for values in rates.values()}) == 1
    cells, waiting = plan(matrix(), {})
    assert len(cells) == 9  # 3 trials of the two single-task networks and of the multi-task one
    assert waiting == [f"{row}, depth+normals: will train with the best of its trials" for row in ("ST", "MT")]
    alone = plan(matrix(tune={**MATRIX["tune"], "budget": "cell"}), {})[1]
    assert [line.partition(":")[0] for line in alone] == ["ST, depth", "ST, normals", "MT, depth+normals"]


# which is chosen ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "best"), [([3, 1, 2], 1), ([1, 1, 2], 0), ([None, 2, None], 1)])
def test_the_best_trial_is_trained_on_all_of_train_by_every_seed(values, best):
    m = matrix()
    tried = trials(expand(m)[-1].cell, m.tune)
    assert [trial.id for trial in tried] == [item.cell.id for item in expand(m)[-3:]]
    records = {trial.id: record(trial, value) for trial, value in zip(tried, values, strict=True)}
    few = dict(list(records.items())[:2])
    assert not [item for item in expand(m, few) if not item.cell.trial]
    final = [item for item in expand(m, records) if not item.cell.trial]
    assert [item.cell.seed for item in final] == [0, 1]
    for item in final:
        assert not item.entry.preliminary
        assert item.cell.train.lr == tried[best].train.lr and item.cell.train.holdout == 0
        assert item.cell.derived_from == tuple(trial.id for trial in tried)
    assert tuned([final[0].cell], m.tune, few) is None


@pytest.mark.parametrize("values", [[None] * 3, [None, math.nan, math.inf], [-1, None, None]])
def test_of_trials_without_a_score_none_is_the_best_and_nothing_is_trained(values):
    m = matrix()
    tried = trials(expand(m)[-1].cell, m.tune)
    records = {trial.id: record(trial, value) for trial, value in zip(tried, values, strict=True)}
    assert [item for item in expand(m, records) if not item.cell.trial] == []
    assert tuned([expand(m)[-1].cell], m.tune, records) is None
    line = "MT, depth+normals of rooms: none of its 3 trials has a score above 0 for depth, normals, so nothing can be"
    assert [said for said in plan(m, records)[1] if said.startswith(line)]
    del records[tried[0].id]
    assert not [said for said in plan(m, records)[1] if said.startswith(line)]


def test_a_row_without_an_error_is_chosen_and_the_task_that_spoils_all_trials_is_named():
    def made(*values):
        return [Record("r", {}, tuple(Score(f"t{i}", "m", v, bool(i), True) for i, v in enumerate(values)), {}, {})]

    assert unjudged([made(0.0, 1.0), made(None, 1.0)]) == ""  # t0 is an error, and 0 is the best error
    assert unjudged([made(1.0, 0.0), made(None, 0.0)]) == "none of its 2 trials has a score above 0 for t1"
    assert unjudged([made(1.0, 0.0), made(None, 1.0)]) == "none of its 2 trials has a score above 0 for every task"
    assert goodness(*made(0.0, 1.0)) == math.inf and goodness(*made(0.0, None)) == -math.inf


def test_goodness_is_the_log_of_each_task_with_its_sign_and_needs_no_baseline():
    scores = (Score("a", "miou", 40.0, True, True), Score("b", "rmse", 0.5, False, True))
    made = Record("r", {}, (*scores, Score("c", "undefined", None, True, True)), {}, {})
    assert goodness(made) == pytest.approx(math.log(40) - math.log(0.5))
    for value, expected in ((None, -math.inf), (0.0, -math.inf)):
        worse = Record("r", {}, (Score("a", "miou", value, True, True), scores[1]), {}, {})
        assert goodness(worse) == expected


def test_the_curve_is_what_the_best_of_k_random_trials_is_worth():
    m = matrix()
    cell = expand(m)[-1].cell
    found = [record(cell, value) for value in (4.0, 1.0, None, 2.0)]
    worth = np.array([goodness(one) for one in found])
    worth[2] = worth[0]  # one that diverged counts as the worst that did not
    generator = np.random.default_rng(0)
    alone = [[one] for one in found]
    for k, expected in enumerate(curve([alone]), start=1):
        drawn = [generator.choice(worth, k, replace=False).max() for _ in range(4000)]
        assert expected == pytest.approx(np.mean(drawn), abs=0.05)
    np.testing.assert_allclose(curve([alone, alone]), 2 * curve([alone]))
    assert curve([[[found[2]]]]) is None


# what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"trials": 2, "space": {"depth": [1, 2]}}, "depth cannot be tuned; what can: lr,"),
        ({"trials": 2, "space": {"lr": [1e-2, 1e-3]}}, r"\[0.01, 0.001\] is no range"),
        ({"trials": 1, "space": {"lr": [1e-4, 1e-3]}}, "tune.trials"),
        ({"trials": 2, "space": {}}, "tune.space"),
        (
            {"trials": 2, "spice": {}},
            "tune.spice: unknown key, perhaps space is meant; allowed: budget, holdout, searches, seed, space",
        ),
        ({**MATRIX["tune"], "searches": "twice"}, "tune.searches: 'twice' is not possible; write 'once' or 'per_seed'"),
        ({**MATRIX["tune"], "budget": "task"}, "tune.budget: 'task' is not possible; write 'row' or 'cell'"),
    ],
)
def test_a_tuning_that_makes_no_sense_is_refused_with_its_path(tune, message):
    with pytest.raises(MatrixError, match=message):
        matrix(tune=tune)


def test_trials_that_nothing_could_judge_are_refused():
    nyud = {"benchmark": {"name": "nyud", "tasks": ["depth", "edge"]}, "size": [32, 64]}
    with pytest.raises(MatrixError) as caught:
        matrix(**nyud, tune={"trials": 2, "space": {"lr": [1e-4, 1e-3]}, "holdout": 0})
    assert "nyud has no val split of its own" in str(caught.value)
    assert "edge, whose scores take minutes" in str(caught.value)


# whole runs -----------------------------------------------------------------------------------------------------------


class Sensitive(MultiTask):
    """Diverges where it is told to, which only a trial of a high learning rate does."""

    limit = math.inf

    def __init__(self, backbone, targets) -> None:
        super().__init__(backbone, targets)

    def forward(self, image):
        outputs = super().forward(image)
        if self.training and self.limit == 0:
            return outputs._replace(final={name: value * math.inf for name, value in outputs.final.items()})
        return outputs


@pytest.mark.slow
def test_a_run_tries_chooses_and_trains_and_no_trial_sees_a_test_image(go, tmp_path):
    outcome, said = go(matrix(seeds=[0]))
    assert (outcome.finished, outcome.missing) == (12, [])  # 9 trials, 3 cells
    assert "MT, trial 2" in said
    found = read(str(tmp_path / "s"), "m")
    assert "same 3 trials, log-uniform in lr in [0.0001, 0.01]" in found.manifest.caption
    (comparison,) = comparisons(found)
    for row in comparison.rows.values():
        for final in row.runs[0].records.values():
            tried = [found.records[cell_id] for cell_id in final.derived_from]
            assert len(tried) == (6 if row.label == "ST" else 3) and not final.cell.get("trial")
            best = max(range(3), key=lambda number: goodness(*tried[number::3]))
            assert {final.cell["train"]["lr"]} == {trial.cell["train"]["lr"] for trial in tried[best::3]}
            assert final.provenance["data"]["images"] == [8, 3]
            for trial in tried:
                assert trial.provenance["data"]["images"] == [6, 2]
                assert all("val split of 2 images" in score.definition for score in trial.scores)
    curves = by_row(searches(comparison.trained(), found.records))
    assert set(curves) == {"ST", "MT"} and all((np.diff(values) >= 0).all() for values in curves.values())
    figure = plots.tuning(summarise(comparison, found.store), found.store, plots.palette(["ST", "MT"])).figure
    lines = {line.get_color(): line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata()) == 3}
    single, multi = (lines[plots.palette(["ST", "MT"])[label]] for label in ("ST", "MT"))
    assert single[-1] == 0 and multi[-1] == pytest.approx(50 * (curves["MT"][-1] - curves["ST"][-1]))
    assert found.constants["rooms"].primary()["depth"].definition == final.primary()["depth"].definition
    grid = grids.tuned(summarise(comparison, found.store))
    assert grid.columns == ["Method", "tasks", "lr", "failed"]
    assert [line[:2] for line in grid.rows] == [["ST", "depth+normals"], ["MT", "depth+normals"]]
    assert "The networks of ST share one choice" in grid.caption and "seed" not in grid.caption
    assert grid.rows[-1][2:] == [f"{final.cell['train']['lr']:g}", "0 of 3"]
    store = Store(tmp_path / "s")
    shown = {cell_id for row in comparison.rows.values() for cell_id in row.runs[0].records}
    assert set(rescore.chosen(store, ["m"], None)) == shown
    alone, said = go(matrix(seeds=[0], tune={**MATRIX["tune"], "budget": "cell"}))
    assert alone.finished == 12 and "2 of 12 cells to run" in said  # the trials and MT are there already
    (comparison,) = comparisons(read(str(tmp_path / "s"), "m"))
    for final in comparison.rows["ST"].runs[0].records.values():
        tried = [comparison.parents[cell_id] for cell_id in final.derived_from]
        assert len(tried) == 3 and final.cell["train"]["lr"] == max(tried, key=goodness).cell["train"]["lr"]


@pytest.mark.slow
def test_a_run_searches_anew_for_each_seed_and_the_table_says_so(go, tmp_path):
    m = matrix(methods=["multi_task"], baseline="multi_task", tune={**MATRIX["tune"], "searches": "per_seed"})
    outcome, _ = go(m)
    assert (outcome.finished, outcome.missing) == (2 * (3 + 1), [])
    found = read(str(tmp_path / "s"), "m")
    (comparison,) = comparisons(found)
    for seed, run in comparison.rows["multi_task"].runs.items():
        (final,) = run.records.values()
        tried = [found.records[cell_id] for cell_id in final.derived_from]
        assert {trial.cell["seed"] for trial in tried} == {seed} and len(tried) == 3
    assert "A search is part of each seed" in (tmp_path / "out/m/table.md").read_text()
    assert [line[2] for line in grids.tuned(summarise(comparison, found.store)).rows] == ["0", "1"]


@pytest.mark.slow
def test_a_trial_that_diverges_is_a_result_and_a_row_whose_trials_all_do_is_not_trained(go, tmp_path, monkeypatch):
    methods = [{"name": "multi_task", "label": "MT"}, {"name": "test_tuning:Sensitive", "label": "Sensitive"}]
    m = matrix(methods=methods, baseline="MT", seeds=[0])
    monkeypatch.setattr(Sensitive, "limit", 0)
    outcome, _ = go(m)
    assert (outcome.finished, outcome.missing, outcome.failures) == (3 + 1 + 3, [], {})
    (line,) = outcome.undecided
    assert line.startswith(
        "Sensitive, depth+normals of rooms: none of its 3 trials has a score above 0 for depth, norma"
    )
    found = read(str(tmp_path / "s"), "m")
    diverged = [one for one in found.records.values() if one.cell["method"] == "test_tuning:Sensitive"]
    assert len(diverged) == 3 and all(goodness(one) == -math.inf for one in diverged)
    assert all("inf" in one.provenance["diverged"] or "nan" in one.provenance["diverged"] for one in diverged)
