"""Scoring again what was trained: no bit moves where nothing changed, and what changed is said before it is written."""

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cells import small_cell, train_cell
from mtlbench.benchmarks.tasks.depth_errors import DepthErrors
from mtlbench.benchmarks.tasks.edges import EdgeODS
from mtlbench.harness.cli.app import app
from mtlbench.harness.data.copy import copy_of, hold_out
from mtlbench.harness.inspect import rescore
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.scoring import constant, expensive
from mtlbench.harness.store.store import Store

ROOMS = BenchmarkConfig(name="rooms", size=(32, 64), options={"train": 4, "val": 1, "test": 10})
CELL = small_cell(tasks=("semseg", "depth", "edge"), train={"epochs": 8, "lr": 3e-3, "holdout": 0.25}, benchmark=ROOMS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, rooms):
    folder = tmp_path_factory.mktemp("store")
    store = Store(folder)
    store.put_cell(CELL)
    train_cell(CELL, folder, rooms, save_predictions=True)
    expensive.finish(store, CELL.id)
    return files(store)


@pytest.fixture
def store(finished, tmp_path):
    place = Store(tmp_path / "store")
    for name, content in finished.items():
        place.put(name, content)
    return place


def files(store):
    return {name.removeprefix(f"{store.root}/"): store.fs.cat_file(name) for name in store.fs.find(store.root)}


@pytest.mark.slow
def test_the_constant_is_learnt_and_scored_without_what_was_held_out_too(store, rooms):
    holdout = CELL.train.holdout
    copy = copy_of(ROOMS, rooms)
    found = constant.record(ROOMS, copy, CELL.tasks, holdout)
    assert {s.protocol for s in found.scores} == {s.protocol for s in store.record(CELL.id).scores}
    assert found.id == constant.record_id(ROOMS, copy.benchmark, CELL.tasks, holdout)
    assert found.id != constant.record_id(ROOMS, copy.benchmark, CELL.tasks)
    rest, _ = hold_out(make_benchmark(ROOMS).open(rooms, "train", CELL.tasks), holdout)
    expected = constant.fit(rest, {name: make_benchmark(ROOMS).tasks[name] for name in CELL.tasks})
    assert found.findings == {name: value.tolist() for name, value in expected.items()}


def test_scoring_an_unchanged_cell_again_changes_no_bit(store):
    found = rescore.from_statistics(store, CELL.id)
    assert found.new.scores == found.old.scores and found.differences == []
    assert found.per_image == store.get(f"{store.folder(CELL.id)}/per_image.parquet")
    assert replace(found.new, provenance=found.old.provenance) == found.old


def test_a_changed_score_is_said_and_only_then_written(store, monkeypatch, finished):
    scores = DepthErrors.scores
    monkeypatch.setattr(DepthErrors, "scores", lambda self, total: {**scores(self, total), "rmse": total[0] * 0 + 2})
    found = rescore.from_statistics(store, CELL.id)
    (old,) = [score.value for score in found.old.scores if score.metric == "rmse"]
    assert found.differences == [f"depth rmse: {old!r} -> 2.0"]
    assert files(store) == finished
    rescore.write(store, found)
    record = store.record(CELL.id)
    assert record == found.new
    assert record.provenance["rescored"]["from"] == "statistics"
    assert record.provenance["source"] == found.old.provenance["source"]  # it was trained by what it was trained by
    assert rescore.from_statistics(store, CELL.id).differences == []


def test_a_score_that_is_defined_otherwise_differs_even_where_its_value_does_not(store, monkeypatch):
    monkeypatch.setattr(DepthErrors, "definition", "Errors, told in other words.")
    found = rescore.from_statistics(store, CELL.id)
    assert len(found.differences) == len(DepthErrors.score_types)
    assert all("defined otherwise: protocol " in line for line in found.differences)


def test_a_record_that_does_not_say_how_it_is_printed_is_told_by_scoring_it_again(store):
    whole = store.record(CELL.id)
    old = replace(whole, scores=tuple(replace(s, title="", unit="", decimals=4) for s in whole.scores))
    store.put_record(old)
    found = rescore.from_statistics(store, CELL.id)
    assert len(found.differences) == len(whole.scores)
    assert any(line.endswith(", printed otherwise: RMSE in m, 3 decimals") for line in found.differences)
    rescore.write(store, found)
    assert store.record(CELL.id).scores == whole.scores


def test_statistics_of_another_definition_are_not_scored_as_if_they_were_of_this_one(store, monkeypatch):
    benchmark = make_benchmark(ROOMS)
    benchmark.tasks["edge"] = replace(benchmark.tasks["edge"], metric=EdgeODS(0.02))
    monkeypatch.setattr(rescore, "make_benchmark", lambda config: benchmark)
    with pytest.raises(ValueError, match=f"{CELL.id}: the statistics of edge were taken by another definition"):
        rescore.from_statistics(store, CELL.id)


def test_a_file_that_lacks_an_image_is_not_scored_as_if_it_had_all(store):
    name = f"{store.folder(CELL.id)}/per_image.parquet"
    table = pq.read_table(io.BytesIO(store.get(name)))
    last = table["task"].to_pylist().index("depth")
    less = io.BytesIO()
    pq.write_table(pa.concat_tables([table[:last], table[last + 1 :]]), less)
    store.put(name, less.getvalue())
    with pytest.raises(ValueError, match=r"per_image\.parquet: statistics of depth for 9 images, and 10 were taken"):
        rescore.from_statistics(store, CELL.id)


def test_predictions_replace_no_exact_score_by_a_rounded_one(store, rooms):
    found = rescore.from_predictions(store, CELL.id, rooms)
    assert found.differences == [] and found.rounded == []
    assert found.per_image == store.get(f"{store.folder(CELL.id)}/per_image.parquet")


def test_predictions_give_the_scores_of_a_metric_that_changed_and_of_no_other(store, rooms, monkeypatch):
    scores = {score.metric: score for score in store.record(CELL.id).scores if score.task == "edge"}
    wider = make_benchmark(ROOMS)
    wider.tasks["edge"] = replace(wider.tasks["edge"], metric=EdgeODS(0.2))
    monkeypatch.setattr(rescore, "make_benchmark", lambda config: wider)
    found = rescore.from_predictions(store, CELL.id, rooms)
    assert found.rounded == ["edge"] and found.new.id == CELL.id
    assert found.new.provenance["rescored"]["from"] == "predictions"
    for old, new in zip(found.old.scores, found.new.scores, strict=True):
        assert old == new if old.task != "edge" else new.value > scores[new.metric].value
    rescore.write(store, found)
    monkeypatch.undo()
    back = rescore.from_predictions(store, CELL.id, rooms)  # to what it was, but for the rounding
    for new in (score for score in back.new.scores if score.task == "edge"):
        assert new == replace(scores[new.metric], value=new.value)
        assert new.value == pytest.approx(scores[new.metric].value, abs=0.5)
    assert len(store.names(f"{store.folder(CELL.id)}/predictions")) == 10


def cut(store, name):
    place = f"{store.folder(CELL.id)}/{name}"
    content = store.get(place)
    store.put(place, content[: len(content) // 2])


def test_a_damaged_file_is_named(store, rooms):
    cut(store, "predictions/000003.npz")
    with pytest.raises(ValueError, match=r"predictions/000003\.npz: damaged \(BadZipFile.*--rerun"):
        rescore.from_predictions(store, CELL.id, rooms, "network")
    cut(store, "per_image.parquet")
    with pytest.raises(ValueError, match=r"per_image\.parquet: no statistics of images can be read from it"):
        rescore.from_statistics(store, CELL.id)
    store.remove(f"{store.folder(CELL.id)}/per_image.parquet")
    with pytest.raises(FileNotFoundError, match=r"per_image\.parquet: no such file; bring back"):
        rescore.from_statistics(store, CELL.id)


def test_predictions_without_a_task_are_named(store, rooms):
    name = f"{store.folder(CELL.id)}/predictions/000003.npz"
    less = io.BytesIO()
    np.savez(less, depth=np.zeros((1, 32, 64), np.float16), semseg=np.zeros((2, 32, 64), np.float16))
    store.put(name, less.getvalue())
    with pytest.raises(ValueError, match=r"000003\.npz: no predictions of edge; it holds depth, semseg"):
        rescore.from_predictions(store, CELL.id, rooms, "network")


def test_predictions_can_be_scored_by_another_rule_which_is_another_cell(store, rooms, tmp_path):
    found = rescore.from_predictions(store, CELL.id, rooms, "network")
    other = CELL.model_copy(update={"benchmark": ROOMS.model_copy(update={"evaluate": "network"})})
    assert found.new.id == other.id != CELL.id
    rescore.write(store, found)
    assert store.cell(other.id) == other and store.record(other.id) == found.new
    assert store.get(f"{store.folder(other.id)}/model.safetensors")
    assert all("Scored at 32x64" in score.definition for score in found.new.scores)
    trained = train_cell(other, tmp_path / "trained", rooms)  # the same weights, scored at once
    ours = {(s.task, s.metric): s for s in found.new.scores}
    for score in trained.scores:
        same = ours[score.task, score.metric]
        assert (same.definition, same.protocol) == (score.definition, score.protocol)
        assert same.value == (score.value and pytest.approx(score.value, rel=0.02, abs=0.1))
    with pytest.raises(FileExistsError, match="has a record already"):
        rescore.write(store, found)


def test_what_is_needed_and_missing_is_named(store, rooms):
    folder = f"{store.folder(CELL.id)}/predictions"
    store.remove(f"{folder}/000009.npz")
    with pytest.raises(ValueError, match="predictions for 9 images, and the test split 10"):
        rescore.from_predictions(store, CELL.id, rooms)
    store.remove(folder)
    with pytest.raises(FileNotFoundError, match=r"has saved no predictions; .*--save-predictions"):
        rescore.from_predictions(store, CELL.id, rooms)
    store.remove(f"{store.folder(CELL.id)}/record.json")
    with pytest.raises(FileNotFoundError, match="only a finished cell"):
        rescore.from_statistics(store, CELL.id)


def test_the_command_says_what_differs_and_writes_when_told(store, rooms, monkeypatch):
    def call(*arguments):
        return CliRunner().invoke(app, ["rescore", *arguments, "--store", store.url])

    same = call(CELL.id)
    assert same.exit_code == 0 and f"{CELL.id}: unchanged\n0 of 1 finished cells differ\n" in same.output
    monkeypatch.setattr(DepthErrors, "scores", lambda self, total: {"rmse": total[0] * 0 + 2})
    before = files(store)
    shown = call("multi_task")
    assert shown.exit_code == 0 and "depth rmse: " in shown.output and "not written; --write" in shown.output
    assert files(store) == before
    assert "differ: written" in call("multi_task", "--write").output
    assert {s.metric: s.value for s in store.record(CELL.id).scores}["rmse"] == 2.0
    unfinished = CELL.model_copy(update={"seed": 1})
    store.put_cell(unfinished)
    for arguments, expected in (
        (["nothing"], "fits no cell"),
        ([unfinished.id], f"{unfinished.id} is new: only a finished cell can be scored again"),
        ([CELL.id, "--evaluate", "network"], "--evaluate needs --predictions"),
        ([CELL.id, "--predictions", "--data", "rooms"], "--data rooms: write NAME=PATH"),
        ([CELL.id, "--predictions", "--data", f"rooms={rooms}", "--evaluate", "sideways"], "sideways"),
    ):
        done = call(*arguments)
        assert done.exit_code == 2 and expected in done.output
    network = call(CELL.id, "--predictions", "--data", f"rooms={rooms}", "--evaluate", "network")
    assert network.exit_code == 0 and f"{CELL.id}:\n  semseg miou" in network.output
