"""A search may be part of each seed, and the networks of a row choose a trial together or each for itself."""

import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from cells import small_matrix
from mtlbench.harness.driver import forecast as forecasting
from mtlbench.harness.driver.work import select
from mtlbench.harness.matrix.expand import expand, manifest, plan
from mtlbench.harness.matrix.tuning import Tuning, draw
from mtlbench.harness.store.store import Store
from mtlbench.results.records.reading import Results
from mtlbench.results.records.record import Record, Score
from mtlbench.results.report import grids
from mtlbench.results.report.captions import choosing
from mtlbench.results.statistics.intervals import paired_interval
from mtlbench.results.summary.costs import costs
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise
from mtlbench.results.summary.tuning import by_row, searches

TASKS = ("depth", "normals")
SEEDS = (0, 1, 2)
TUNE = {"trials": 3, "space": {"lr": [1e-4, 1e-2], "weights": [0.1, 10]}, "holdout": 0.5}
MODES = list(itertools.product(("once", "per_seed"), ("row", "cell")))


def matrix(searches="once", budget="row", tasks=TASKS, **changes):
    content = {
        "benchmark": {"name": "rooms", "tasks": list(tasks)},
        "methods": [{"name": "single_task", "label": "ST"}, {"name": "multi_task", "label": "MT"}],
        "seeds": list(SEEDS),
        "tune": {**TUNE, "searches": searches, "budget": budget},
    }
    return small_matrix(**{**content, **changes})


def record(cell, score=lambda cell, task: 1.0):
    """The record of a cell whose tasks have the errors score(cell, task)."""
    scores = tuple(Score(task, "rmse", score(cell, task), higher_is_better=False, primary=True) for task in cell.tasks)
    cost = {"train_seconds": 100.0 if cell.trial else 1.0, "parameters": 1.0, "macs": 1.0, "seconds_per_step": 1.0}
    return Record(cell.id, cell.model_dump(mode="json"), scores, cost, {}, derived_from=cell.derived_from)


def error(cell, task, world=0):
    """The same for all methods, and other for each task, learning rate and seed."""
    return float(np.random.default_rng([world, round(1e9 * cell.train.lr), cell.seed, ord(task[0])]).uniform(1, 2))


def trained(m, score=error):
    """The records of all cells of a matrix, as a run makes them one after the other."""
    records = {}
    while cells := plan(m, records)[0]:
        records |= {cell.id: record(cell, score) for cell in cells}
    return records


def finals(m, records):
    return [item for item in expand(m, records) if not item.cell.trial]


def compared(m, records):
    (comparison,) = comparisons(Results("", manifest(m, {}, records), records, {}, {}, {}))
    return comparison


# how much is tried ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("repeated", "budget"), MODES)
def test_a_dry_run_counts_the_trials_of_each_search_and_a_run_the_trials_and_a_cell_for_each_network(
    repeated, budget, tmp_path, monkeypatch
):
    m, count = matrix(repeated, budget), 3 * 3 * (3 if repeated == "per_seed" else 1)
    monkeypatch.setattr(forecasting, "_count", lambda cell, workers: forecasting._Counted(1.0, 1.0, 1.0, 1))
    assert len(forecasting.forecast(m, Store(tmp_path), []).lines) == len(plan(m, {})[0]) == count
    records = trained(m)
    assert len(records) == count + 3 * 3 and plan(m, records) == ([], [])


def test_two_seeds_have_other_draws_in_searches_of_their_own_and_rows_have_the_same():
    drawn = {}
    for item in expand(matrix("per_seed")):
        drawn.setdefault((item.entry.seed, item.entry.label, item.cell.tasks), []).append(item.cell.train.lr)
        assert item.cell.seed == item.entry.seed
    assert len({tuple(rates) for rates in drawn.values()}) == len(SEEDS)
    assert len({rate for rates in drawn.values() for rate in rates}) == 3 * len(SEEDS)


def test_the_search_of_the_first_seed_is_the_one_search_and_tuning_seed_moves_all():
    once, repeated = ({item.cell.id for item in expand(matrix(mode))} for mode in ("once", "per_seed"))
    assert once < repeated
    moved = matrix(tune={**TUNE, "searches": "per_seed", "seed": 5})
    assert {item.cell.seed for item in expand(moved)} == {5, 6, 7}
    assert not {item.cell.id for item in expand(moved)} & repeated


# One search for all seeds, in which each network chooses for itself, by the smallest learning rate.
FROZEN = (
    "rooms-single_task-depth-s0-d3dfbec12a",
    "rooms-single_task-depth-s0-f85cacc405",
    "rooms-single_task-depth-s0-16f86bb93b",
    "rooms-single_task-depth-s1-a5ebc58dcf",
    "rooms-single_task-normals-s0-7015f5b90c",
    "rooms-single_task-normals-s0-f62b66a0fc",
    "rooms-single_task-normals-s0-d75be34983",
    "rooms-single_task-normals-s1-bc561129a6",
    "rooms-multi_task-depth-normals-s0-d4c935a7c2",
    "rooms-multi_task-depth-normals-s0-5616940024",
    "rooms-multi_task-depth-normals-s0-4056bdd9a3",
    "rooms-multi_task-depth-normals-s1-87e33f0b28",
)


def test_ids_of_one_search_in_which_each_network_chooses_stay_and_a_shared_choice_has_the_same_trials():
    m, row = matrix(budget="cell", seeds=[1]), matrix(seeds=[1])
    best = [trained(each, lambda cell, task: cell.train.lr) for each in (m, row)]
    found = [tuple(item.cell.id for item in expand(each, made)) for each, made in zip((m, row), best, strict=True)]
    assert found[0] == FROZEN
    assert [cell_id for cell_id in FROZEN if cell_id not in found[1]] == [FROZEN[3], FROZEN[7]]  # MT has one network


# which trial is chosen ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeated", ["once", "per_seed"])
@pytest.mark.parametrize("world", range(6))
def test_a_row_chooses_the_number_with_the_greatest_sum_over_its_networks(repeated, world):
    m = matrix(repeated)
    records = trained(m, partial(error, world=world))
    tried = {(item.entry.label, item.entry.seed): [[], [], []] for item in expand(m)}
    for item in expand(m):
        tried[item.entry.label, item.entry.seed][item.trial.number].append(item.cell.id)
    for item in finals(m, records):
        ids = tried[item.entry.label, item.entry.seed]
        assert item.cell.derived_from == tuple(itertools.chain(*zip(*ids, strict=True)))
        sums = [-sum(math.log(score.value) for i in same for score in records[i].scores) for same in ids]
        assert item.cell.train.lr == draw(m.tune.search(item.entry.seed), int(np.argmax(sums)), ())["lr"]


def test_a_row_waits_for_all_trials_of_all_its_networks_and_a_network_for_its_own():
    for budget, expected in (("row", 0), ("cell", len(SEEDS))):
        m = matrix(budget=budget)
        depth = {i.cell.id: record(i.cell) for i in expand(m) if i.cell.tasks == ("depth",)}
        some = depth | {i.cell.id: record(i.cell) for i in expand(m)[3:5] if i.cell.tasks == ("normals",)}
        assert len(finals(m, some)) == expected
        place = "ST, depth+normals" if budget == "row" else "ST, normals"
        assert plan(m, some)[1] == [
            f"{each}: will train with the best of its trials" for each in (place, "MT, depth+normals")
        ]


def diverging(of):
    """Errors of 1, and none where of(number, task) is true."""
    rates = {draw(Tuning(**TUNE, seed=seed), k, ())["lr"]: k for seed in SEEDS for k in range(3)}
    return lambda cell, task: None if cell.trial and of(rates[cell.train.lr], task) else 1.0


def test_a_number_that_diverged_for_one_network_is_not_chosen_for_any():
    m = matrix(seeds=[0])
    records = trained(m, diverging(lambda number, task: (number, task) in {(0, "depth"), (2, "normals")}))
    assert {item.cell.train.lr for item in finals(m, records)} == {draw(m.tune, 1, ())["lr"]}
    (choice,) = searches(compared(m, records).trained(), records)["ST"][0]
    assert choice.failed == 2 and choice.tasks == TASKS


def test_a_row_without_a_finite_sum_is_undecided_though_each_network_could_choose():
    spoilt = diverging(lambda number, task: task == ("depth" if number < 2 else "normals"))
    alone = matrix(budget="cell", seeds=[0])
    assert len(finals(alone, trained(alone, spoilt))) == 2  # the two networks of ST; MT has no trial to choose
    m = matrix("per_seed", seeds=[0, 1])
    records = trained(m, lambda cell, task: spoilt(cell, task) if cell.seed else 1.0)
    assert {(item.entry.label, item.cell.seed) for item in finals(m, records)} == {("ST", 0), ("MT", 0)}
    said = plan(m, records)[1]
    why = "none of its 3 trials has a score above 0 for every task, so nothing can be chosen"
    assert [line.partition("; ")[0] for line in said] == [
        f"{row}, depth+normals of rooms, seed 1: {why}" for row in ("ST", "MT")
    ]


def test_task_sets_share_trials_and_each_has_a_choice_of_its_own():
    sets = [["depth", "normals"], ["semseg", "depth"]]
    m = matrix(benchmark={"name": "rooms", "tasks": sets}, seeds=[0])
    singles = [item.cell for item in expand(m, trained(m)) if item.entry.label == "ST"]
    assert len({cell.id for cell in singles if cell.trial}) == 3 * 3
    assert (
        len({cell.id for cell in singles if not cell.trial}) == 4
    )  # the depth of each set is derived from other trials
    lines = plan(m, {})[1]
    assert [line for line in lines if line.startswith("ST")] == [
        f"ST, {tasks}: will train with the best of its trials" for tasks in ("depth+normals", "semseg+depth")
    ]


def test_only_takes_the_trials_of_the_other_networks_that_a_choice_needs():
    m = matrix()
    chosen = {item.cell.tasks for item in select(expand(m), ["single_task-depth-"])}
    assert chosen == {("depth",), ("normals",)}
    records = trained(m)
    final = {item.cell.tasks for item in select(expand(m, records), ["single_task-depth-"]) if not item.cell.trial}
    assert final == {("depth",)}
    alone = select(expand(matrix(budget="cell")), ["single_task-depth-"])
    assert {item.cell.tasks for item in alone} == {("depth",)}


@pytest.mark.parametrize(("repeated", "budget"), MODES)
def test_a_control_chooses_from_the_trials_that_it_shares_with_the_table(repeated, budget):
    related = [{"tasks": ["depth", "normals"]}, {"tasks": ["depth", "semseg"]}]
    m = matrix(repeated, budget, controls={"row": "MT", "other_seeds": [7], "relatedness": related})
    records = trained(m)
    assert plan(m, records) == ([], []) and {item.cell.seed for item in finals(m, records)} == {*SEEDS, 7}
    chosen = {item.cell.tasks for item in select(expand(m), ["-semseg-s0"])}
    assert chosen == ({("depth",), ("semseg",)} if budget == "row" else {("semseg",)})


# what is said of it ---------------------------------------------------------------------------------------------------


def test_with_a_shared_choice_a_row_of_single_networks_has_the_chances_of_one_network():
    """The scores of each trial are the same in both rows, and so must be what the best of k trials is worth."""
    for mode in ("once", "per_seed"):
        found = {}
        for budget in ("row", "cell"):
            m = matrix(mode, budget)
            records = trained(m)
            found[budget] = by_row(searches(compared(m, records).trained(), records))
        np.testing.assert_allclose(found["row"]["ST"], found["row"]["MT"])
        np.testing.assert_allclose(found["cell"]["MT"], found["row"]["MT"])
        assert found["cell"]["ST"][0] == pytest.approx(found["row"]["ST"][0])  # nothing to choose from
        assert (found["cell"]["ST"] >= found["row"]["ST"] - 1e-9).all() and found["cell"]["ST"][1] > found["row"]["ST"][
            1
        ]


def test_the_curve_of_several_searches_is_their_mean_and_a_missing_record_takes_its_number_with_it():
    m = matrix("per_seed")
    records = trained(m)
    comparison = compared(m, records)
    made = searches(comparison.trained(), records)
    assert [list(by_seed) for by_seed in made.values()] == [[0, 1, 2]] * 2
    each = [by_row({"ST": {seed: choices}})["ST"] for seed, choices in made["ST"].items()]
    np.testing.assert_allclose(by_row(made)["ST"], np.mean(each, axis=0))
    lost = finals(m, records)[0].cell.derived_from[1]
    (choice,) = searches(comparison.trained(), {i: one for i, one in records.items() if i != lost})["ST"][0]
    assert [[trial.cell["train"]["lr"] for trial in same] for same in choice.numbered] == [
        [draw(m.tune, number, ())["lr"]] * 2 for number in (0, 2)
    ]


@pytest.mark.parametrize(("repeated", "budget"), MODES)
def test_trials_are_paid_for_once_by_each_run_of_a_row(repeated, budget):
    m = matrix(repeated, budget)
    records = trained(m)
    found = {label: costs(row, records)["train_seconds"] for label, row in compared(m, records).rows.items()}
    assert found == {"ST": 2 * (3 * 100 + 1), "MT": 3 * 100 + 1}


@pytest.mark.parametrize(("repeated", "budget"), MODES)
def test_the_page_says_who_chose_and_how_often(repeated, budget):
    m = matrix(repeated, budget)
    records = trained(m)
    summary = summarise(compared(m, records), "")
    grid, said = grids.tuned(summary), choosing(summary)
    lines = [["ST", "depth+normals"]] if budget == "row" else [["ST", "depth"], ["ST", "normals"]]
    columns = ["Method", "tasks", "seed", "lr"] if repeated == "per_seed" else ["Method", "tasks", "lr"]
    assert grid.columns == [*columns, "weights.depth", "weights.normals", "failed"]
    seeds = SEEDS if repeated == "per_seed" else SEEDS[:1]
    assert [line[:2] for line in grid.rows] == [*lines * len(seeds), *[["MT", "depth+normals"]] * len(seeds)]
    if repeated == "per_seed":
        assert [line[2] for line in grid.rows[-3:]] == ["0", "1", "2"]
    assert ("The networks of ST share one choice" in said) == (budget == "row")
    assert ("Each network of ST chose for itself" in said) == (budget == "cell")
    assert ("A search is part of each seed" in said) == (repeated == "per_seed")


def test_a_row_that_was_tuned_before_a_search_of_its_method_has_its_trials_on_the_page():
    m = matrix(seeds=[0])
    records = trained(m)
    cell = finals(m, records)[-1].cell
    later = replace(records[cell.id], id="later", derived_from=(cell.id,))
    made = searches({"MT": {0: [later]}}, {**records, "later": later})
    assert [len(choice.numbered) for choice in made["MT"][0]] == [3]


CAPTIONS = {
    "share": "The single-task networks of a row share one choice",
    "alone": "Each single-task network chose for itself",
    "conditional": "One search serves all seeds: intervals are conditional on it",
    "part": "A search is part of each seed",
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"share", "conditional"}),
        ({"budget": "cell"}, {"alone", "conditional"}),
        ({"searches": "per_seed"}, {"share", "part"}),
        ({"seeds": [0]}, {"share"}),
        ({"tasks": ["depth"]}, {"conditional"}),
        ({"methods": ["multi_task"], "baseline": "multi_task"}, {"conditional"}),
    ],
)
def test_the_caption_says_what_is_true_of_the_tuning(changes, expected):
    caption = manifest(matrix(**changes), {}).caption
    assert "weights in [0.1, 10] where several tasks are trained, and trained with those of the best" in caption
    assert {name for name, text in CAPTIONS.items() if text in caption} == expected


# what it is good for --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("repeated", "low", "high"), [("per_seed", 0.93, 0.97), ("once", 0.75, 0.83)])
def test_an_interval_over_five_seeds_covers_the_spread_of_the_search_only_where_it_is_part_of_a_seed(
    repeated, low, high
):
    """A search moves a method by 0.6 points (sd), and a seed by 0.82. Three trials are judged with much noise."""
    rng, worlds, places = np.random.default_rng(0), 600, []
    for world in range(worlds):
        tuning = Tuning(trials=3, space={"lr": (1.0, 10.0)}, searches=repeated, seed=10 * world)
        by_search = {}
        for seed in range(5):
            search = tuning.search(seed)
            if search.seed not in by_search:
                effects = [math.log10(draw(search, number, ())["lr"]) for number in range(3)]
                by_search[search.seed] = effects[int(np.argmax(effects + rng.normal(0, 1, 3)))]
            places.append(by_search[search.seed])
    chosen = np.reshape(places, (worlds, 5))
    gains = 0.6 / chosen.std() * (chosen - chosen.mean()) + rng.normal(0, 0.82, chosen.shape)
    covered = np.mean([interval.low <= 0 <= interval.high for interval in map(paired_interval, gains)])
    assert low <= covered <= high


@pytest.mark.parametrize("num_tasks", [2, 3])
def test_a_shared_choice_takes_away_what_single_networks_gain_by_choosing_each_for_itself(num_tasks):
    """Noise of hyperparameters is worth E[max of 8] = 1.42 sd to a network, and less to the mean over T networks."""
    noise = np.random.default_rng(0).normal(size=(20000, num_tasks, 8))
    alone, together = noise.max(-1).mean(), noise.mean(1).max(-1).mean()
    assert alone - together == pytest.approx(1.42 * (1 - 1 / math.sqrt(num_tasks)), abs=0.01)
