"""MLflow shows what a store holds once, however often and by however many drivers it is told."""

from dataclasses import replace

import pytest

from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking import views as tracking_views
from mtlbench.harness.tracking.projection import METRICS_A_CALL, Projection
from tracked import MANIFEST, MULTI, SINGLE, everything, finish, points, record, row, runs, write_history, write_usage


@pytest.mark.slow
def test_projecting_twice_changes_nothing(store, projection):
    write_history(store, MULTI, [row(10), row(20, value=0.5)])
    deltas = {MULTI.id: {"delta/m": 1.5}}
    finish(store, projection, MULTI)
    finish(store, projection, SINGLE)
    projection.deltas(deltas)
    before = everything(projection)
    for each in (MULTI, SINGLE):
        projection.cell(each.id, "finished")
    projection.deltas(deltas)
    assert everything(projection) == before


def test_many_cells_at_once_are_what_they_are_one_by_one(store, projection, monkeypatch):
    states = {MULTI.id: "finished", SINGLE.id: "finished"}
    for each in (MULTI, SINGLE):
        store.put_record(record(each))
    write_history(store, MULTI, [row(10)])
    projection.cells(states)
    before = everything(projection)
    assert {run.info.status for run in runs(projection).values()} == {"FINISHED"}
    for each in (MULTI, SINGLE):
        projection.cell(each.id, "finished")
    assert everything(projection) == before
    monkeypatch.delattr(type(projection.client), "get_run")  # MLflow is asked for all of them at once
    projection.cells(states)
    monkeypatch.undo()
    assert everything(projection) == before


def test_what_a_cell_used_is_shown_once_an_epoch_and_not_again_after_its_training_resumed(store, projection):
    name = "system/cpu_utilization_percentage"
    write_history(store, MULTI, [row(10), row(20)])
    write_usage(store, MULTI, [row(10, name, 40.0) | {"time": 1_700_000_000.5}, row(20, name, 50.0)])
    projection.cell(MULTI.id, "running")
    run = runs(projection)[MULTI.id]
    assert points(projection, run, name) == [(10, 40.0), (20, 50.0)]
    assert projection.client.get_metric_history(run.info.run_id, name)[0].timestamp == 1_700_000_000_500
    for rows in ([row(10, name, 40.0)], [row(10, name, 40.0), row(20, name, 60.0), row(30, name, 70.0)]):
        write_usage(store, MULTI, rows)  # resumed after step 10: step 20 is measured again
        projection.cell(MULTI.id, "running")
    finish(store, projection, MULTI)
    assert runs(projection)[MULTI.id].info.run_id == run.info.run_id
    assert points(projection, run, name) == [(10, 40.0), (20, 50.0), (30, 70.0)]
    before = everything(projection)
    projection.cell(MULTI.id, "finished")
    assert everything(projection) == before


def test_another_driver_goes_on_where_the_last_one_stopped(uri, store, projection):
    write_history(store, MULTI, [row(10)])
    projection.cell(MULTI.id, "running")
    run_id = runs(projection)[MULTI.id].info.run_id

    write_history(store, MULTI, [row(10), row(20)])
    later = Projection(uri, store.url, MANIFEST)
    later.cell(MULTI.id, "running")
    run = runs(later)[MULTI.id]
    assert run.info.run_id == run_id
    assert points(later, run, "train/loss/semseg") == [(10, 1.0), (20, 1.0)]


def test_a_driver_that_dies_before_it_notes_how_far_it_came_leaves_no_double_points(store, projection):
    write_history(store, MULTI, [row(10), row(20)])
    projection.cell(MULTI.id, "running")
    run = runs(projection)[MULTI.id]
    projection.client.delete_tag(run.info.run_id, tracking_views.HISTORY)
    projection.cell(MULTI.id, "running")
    assert points(projection, run, "train/loss/semseg") == [(10, 1.0), (20, 1.0)]


def test_a_history_longer_than_a_call_to_mlflow_arrives_whole(store, projection):
    rows = [row(step, value=float(step)) for step in range(2 * METRICS_A_CALL + 1)]
    write_history(store, MULTI, rows)
    projection.cell(MULTI.id, "running")
    assert len(points(projection, runs(projection)[MULTI.id], "train/loss/semseg")) == len(rows)


def test_a_cell_that_was_chosen_from_more_trials_than_mlflow_keeps_of_a_parameter_keeps_its_run(store, projection):
    made = replace(record(MULTI), cell=record(MULTI).cell | {"derived_from": [f"trial-{k:040}" for k in range(200)]})
    store.put_record(made)
    shown = set()
    for _ in range(2):
        projection.cell(MULTI.id, "finished")
        run = runs(projection)[MULTI.id]
        assert len(run.data.params["derived_from"]) == tracking_views.LONGEST
        shown.add(run.info.run_id)
    assert len(shown) == 1


def test_a_training_resumed_from_its_checkpoint_keeps_its_run(store, projection):
    whole = [row(10), row(20), row(30)]
    write_history(store, MULTI, whole[:2])
    projection.cell(MULTI.id, "running")
    run_id = runs(projection)[MULTI.id].info.run_id
    for rows in (whole[:1], whole[:2], whole):  # cut back to the checkpoint, caught up, gone on
        write_history(store, MULTI, rows)
        projection.cell(MULTI.id, "running")
    run = runs(projection)[MULTI.id]
    assert run.info.run_id == run_id
    assert points(projection, run, "train/loss/semseg") == [(10, 1.0), (20, 1.0), (30, 1.0)]


@pytest.mark.parametrize("state", ["running", "finished"])
def test_a_training_that_went_otherwise_the_second_time_gets_a_new_run(store, projection, state):
    write_history(store, MULTI, [row(10), row(20)])
    projection.cell(MULTI.id, "running")
    old = runs(projection)[MULTI.id].info.run_id
    write_history(store, MULTI, [row(10, value=9.0), row(20, value=8.0)])
    if state == "finished":
        store.put_record(record(MULTI))
    projection.cell(MULTI.id, state)
    run = runs(projection)[MULTI.id]
    assert run.info.run_id != old
    assert points(projection, run, "train/loss/semseg") == [(10, 9.0), (20, 8.0)]


def test_a_cell_run_again_shows_its_new_scores_alone(store, projection):
    finish(store, projection, MULTI, miou=40.0)
    finish(store, projection, MULTI, miou=35.0)
    assert points(projection, runs(projection)[MULTI.id], "test/semseg_miou") == [(0, 35.0)]
    store.forget(MULTI.id)
    projection.cell(MULTI.id, "waiting")
    assert "test/semseg_miou" not in runs(projection)[MULTI.id].data.metrics


def test_a_run_deleted_by_a_user_comes_back(store, projection):
    finish(store, projection, MULTI)
    projection.client.delete_run(runs(projection)[MULTI.id].info.run_id)
    projection.cell(MULTI.id, "finished")
    assert runs(projection)[MULTI.id].data.metrics["test/semseg_miou"] == 40.0


def test_two_stores_that_track_to_one_place_do_not_share_runs(tmp_path, uri, store, projection):
    other = Store(tmp_path / "other")
    finish(store, projection, MULTI, miou=40.0)
    theirs = Projection(uri, other.url, MANIFEST)
    finish(other, theirs, MULTI, miou=20.0)
    assert runs(projection)[MULTI.id].data.metrics["test/semseg_miou"] == 40.0
    assert runs(theirs)[MULTI.id].data.metrics["test/semseg_miou"] == 20.0
    assert Projection(uri, other.url, MANIFEST).experiment_id == theirs.experiment_id
