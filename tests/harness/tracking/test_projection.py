"""A run of MLflow is what the store says of a cell, and nothing else."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from mtlbench.harness.tracking.projection import Projection
from mtlbench.results.records import files
from tracked import MANIFEST, MULTI, SINGLE, finish, points, record, row, runs, write_history


def test_a_finished_cell_becomes_a_run_with_its_config_history_scores_and_record(store, projection):
    write_history(store, MULTI, [row(10), row(20, value=0.5), row(20, "val/semseg_miou", 33.0)])
    finish(store, projection, MULTI)

    run = runs(projection)[MULTI.id]
    assert run.info.run_name == "PAD-Net · seed 0 · semseg+edge"
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time >= 60_000  # at least as long as its training
    assert run.data.metrics == {
        "train/loss/semseg": 0.5,
        "val/semseg_miou": 33.0,
        "test/semseg_miou": 40.0,
        "cost/parameters": 3_857_021,
        "cost/train_seconds": 60.0,
    }
    assert points(projection, run, "train/loss/semseg") == [(10, 1.0), (20, 0.5)]
    assert {"method": "pad_net", "train.lr": "0.0001", "tasks": "semseg edge"}.items() <= run.data.params.items()
    assert {"label": "PAD-Net", "seed": "0", "commit": "abc123", "data": "f00d"}.items() <= run.data.tags.items()
    assert [one.path for one in projection.client.list_artifacts(run.info.run_id)] == ["cell.yaml", "record.json"]


def test_an_undefined_score_is_named_and_never_a_number(store, projection):
    finish(store, projection, MULTI)
    run = runs(projection)[MULTI.id]
    assert run.data.tags["undefined"] == "edge_odsf"
    assert "test/edge_odsf" not in run.data.metrics


def test_an_undefined_value_of_a_history_is_no_point(store, projection):
    write_history(store, MULTI, [row(10, "val/edge_odsf", None), row(20, "val/edge_odsf", 60.0)])
    projection.cell(MULTI.id, "running")
    assert points(projection, runs(projection)[MULTI.id], "val/edge_odsf") == [(20, 60.0)]


def test_scores_fit_a_column_and_counts_stay_whole(store, projection):
    finish(store, projection, MULTI, miou=40.123456789)
    metrics = runs(projection)[MULTI.id].data.metrics
    assert metrics["test/semseg_miou"] == 40.1235
    assert metrics["cost/parameters"] == 3_857_021


def test_a_cell_of_two_task_sets_is_one_run_that_lists_both(store, projection):
    finish(store, projection, SINGLE)
    assert len(runs(projection)) == 1
    assert runs(projection)[SINGLE.id].data.tags["task_sets"] == "semseg+edge, semseg+depth"


def test_a_cell_that_waits_or_runs_shows_its_config_already(store, projection):
    projection.cell(MULTI.id, "waiting")
    run = runs(projection)[MULTI.id]
    assert run.info.status == "SCHEDULED"
    assert run.data.params["method"] == "pad_net"
    projection.cell(MULTI.id, "running")
    assert runs(projection)[MULTI.id].info.status == "RUNNING"


def test_a_failed_cell_says_why_until_it_is_tried_again(store, projection):
    store.put_failure(MULTI.id, "FloatingPointError: the loss of edge is nan", "Traceback\n  in train")
    store.put(files.log(MULTI.id), b"step 7: the loss is nan \xff\n")
    projection.cell(MULTI.id, "failed")
    run = runs(projection)[MULTI.id]
    assert run.info.status == "FAILED"
    assert {one.path for one in projection.client.list_artifacts(run.info.run_id)} == {files.FAILURE, files.LOG}
    assert run.data.tags["error"] == "FloatingPointError: the loss of edge is nan"
    assert "in train" in run.data.tags["mlflow.note.content"]

    projection.cell(MULTI.id, "running")
    run = runs(projection)[MULTI.id]
    assert run.info.status == "RUNNING"
    assert not {"error", "mlflow.note.content"} & run.data.tags.keys()


def test_a_finished_cell_without_a_record_is_an_error_and_not_an_empty_run(projection):
    with pytest.raises(FileNotFoundError, match=MULTI.id):
        projection.cell(MULTI.id, "finished")
    with pytest.raises(KeyError, match="unheard-of"):
        projection.cell("unheard-of", "waiting")


def test_a_delta_arrives_after_its_cell_and_the_newest_shows(store, projection):
    finish(store, projection, MULTI)
    projection.deltas({MULTI.id: {"delta/m": 3.0, "delta/semseg": 3.0}})
    projection.deltas({MULTI.id: {"delta/m": -2.0, "delta/semseg": 3.0}})  # one more seed of the baseline
    run = runs(projection)[MULTI.id]
    assert (run.data.metrics["delta/m"], run.data.metrics["delta/semseg"]) == (-2.0, 3.0)
    assert len(points(projection, run, "delta/semseg")) == 1


def test_a_delta_whose_baseline_is_gone_is_no_number_any_more(store, projection):
    finish(store, projection, MULTI)
    projection.deltas({MULTI.id: {"delta/m": 3.0}})
    for _ in range(2):
        projection.deltas({})
    run = runs(projection)[MULTI.id]
    assert math.isnan(run.data.metrics["delta/m"])
    assert len(points(projection, run, "delta/m")) == 2


def test_a_delta_brings_the_run_that_it_belongs_to(store, projection):
    store.put_record(record(MULTI))
    projection.deltas({MULTI.id: {"delta/m": 3.0}})
    assert runs(projection)[MULTI.id].data.metrics.keys() >= {"delta/m", "test/semseg_miou"}


ENDED = "2026-03-04T05:06:07+00:00"
MILLISECONDS = 1_772_600_767_000


def test_a_run_begins_and_ends_when_its_cell_did(store, projection):
    write_history(store, MULTI, [row(10)])
    made = record(MULTI)
    store.put_record(replace(made, provenance={**made.provenance, "finished": ENDED}))
    projection.cell(MULTI.id, "finished")
    run = runs(projection)[MULTI.id]
    assert run.info.end_time == MILLISECONDS
    assert run.info.start_time == MILLISECONDS - 60_000  # the time of its training


def test_a_cell_that_waited_begins_when_it_starts(store, projection, monkeypatch):
    from mtlbench.harness.tracking import projection as module

    monkeypatch.setattr(module, "_milliseconds", lambda: 1_000)
    projection.cell(MULTI.id, "waiting")
    monkeypatch.setattr(module, "_milliseconds", lambda: 5_000_000)
    projection.cell(MULTI.id, "running")
    projection.cell(MULTI.id, "running")
    assert runs(projection)[MULTI.id].info.start_time == 5_000_000
    assert len(list(projection._runs())) == 1


def test_a_failed_run_ends_when_the_cell_failed(store, projection, monkeypatch):
    from mtlbench.harness.store import store as module

    monkeypatch.setattr(module.time, "time", lambda: 1_700_000_000.0)
    store.put_failure(MULTI.id, "ValueError: no", "")
    monkeypatch.undo()
    projection.cell(MULTI.id, "failed")
    assert runs(projection)[MULTI.id].info.end_time == 1_700_000_000_000


@pytest.mark.parametrize("name", ["a b", "50% a%2Fb", "a#b?c", "e\u0301 \u00e9"])
def test_the_artifacts_of_a_matrix_of_any_name_lie_in_its_folder(store, uri, name):
    projection = Projection(uri, store.url, replace(MANIFEST, name=name))
    finish(store, projection, MULTI)
    run = runs(projection)[MULTI.id]
    assert [one.path for one in projection.client.list_artifacts(run.info.run_id)] == ["cell.yaml", "record.json"]
    assert (Path(store.url) / "mlflow" / name / run.info.run_id / "artifacts" / "record.json").is_file()
