"""MLflow shows what a store holds, and nothing else, however often and by however many drivers it is told."""

import json
import logging
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace

import pytest

from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking import connection, server
from mtlbench.harness.tracking import projection as the_projection
from mtlbench.harness.tracking import views as tracking_views
from mtlbench.harness.tracking.projection import METRICS_A_CALL, Projection
from mtlbench.harness.tracking.tracker import Tracker
from mtlbench.results.records.record import Entry, Manifest, Record, Score

TASKS = ("semseg", "edge")


def cell(method, tasks=TASKS, seed=0):
    return Cell(method=method, tasks=tasks, benchmark={"name": "rooms"}, train={"epochs": 2}, seed=seed)


def entry(cell, label, task_set=TASKS):
    return Entry(cell.id, label, cell.method, cell.tasks, task_set, "rooms", cell.seed)


SINGLE, MULTI = cell("single_task", ("semseg",)), cell("pad_net")
MANIFEST = Manifest(
    name="tiny",
    title="Two cells",
    caption="What a matrix looks like.",
    baseline="Single task",
    demonstration=False,
    entries=(
        entry(SINGLE, "Single task"),
        entry(SINGLE, "Single task", ("semseg", "depth")),
        entry(MULTI, "PAD-Net"),
    ),
    constants={},
)


def record(cell, miou=40.0):
    scores = [Score("semseg", "miou", miou, True, True)]
    if "edge" in cell.tasks:
        scores.append(Score("edge", "odsf", None, True, True))
    return Record(
        cell.id,
        cell.model_dump(mode="json"),
        tuple(scores),
        cost={"parameters": 3_857_021, "train_seconds": 60.0},
        provenance={"commit": "abc123", "data": "f00d", "versions": {"torch": "2.14"}},
    )


def row(step, name="train/loss/semseg", value=1.0):
    return {"step": step, "epoch": step // 10, "name": name, "value": value}


def write_history(store, cell, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    store.put(f"{store.folder(cell.id)}/history.jsonl", text)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """Made once: the migrations of a new database take seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connection.client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    for each in (SINGLE, MULTI):
        store.put_cell(each)
    return store


@pytest.fixture
def uri(tmp_path, store, empty_database):
    shutil.copy(empty_database, store.path("mlflow.db"))
    return connection.default_uri(store.url)


@pytest.fixture
def projection(uri, store):
    return Projection(uri, store.url, MANIFEST)


def runs(projection):
    return {run.data.tags["cell_id"]: run for run in projection._runs() if "cell_id" in run.data.tags}


def points(projection, run, metric):
    """[(step, value)], in the order of steps."""
    found = projection.client.get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in found)


def everything(projection):
    """What MLflow holds, but for times that it sets itself."""
    return {
        cell_id: (
            run.info.run_id,
            run.info.run_name,
            run.info.status,
            run.data.params,
            run.data.tags,
            {name: points(projection, run, name) for name in run.data.metrics},
        )
        for cell_id, run in runs(projection).items()
    }


def finish(store, projection, cell, **scores):
    store.put_record(record(cell, **scores))
    projection.cell(cell.id, "finished")


# a run is what the store says -----------------------------------------------------------------------------------------


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
    assert projection.client.list_artifacts(run.info.run_id)[0].path == "record.json"


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
    projection.cell(MULTI.id, "failed")
    run = runs(projection)[MULTI.id]
    assert run.info.status == "FAILED"
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


# projecting again -----------------------------------------------------------------------------------------------------


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


# delta ----------------------------------------------------------------------------------------------------------------


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


# pages ----------------------------------------------------------------------------------------------------------------


def experiment_tags(projection):
    return projection.client.get_experiment(projection.experiment_id).tags


def test_the_experiment_says_what_is_compared_with_what_and_which_way_is_better(store, projection):
    before = experiment_tags(projection)["mlflow.note.content"]
    assert "What a matrix looks like." in before
    assert "**Single task**" in before
    assert "test/semseg_miou" not in before
    finish(store, projection, MULTI)
    assert "Higher is better: `test/semseg_miou`" in experiment_tags(projection)["mlflow.note.content"]


def test_the_prepared_pages_show_delta_then_primary_scores_for_all_runs():
    scores = {
        "test/semseg_miou": Score("semseg", "miou", 1.0, True, True),
        "test/semseg_pixel_accuracy": Score("semseg", "pixel_accuracy", 1.0, True, False),
    }
    one_set = replace(MANIFEST, entries=MANIFEST.entries[::2])
    methods = tracking_views.views(one_set, scores)["methods"]
    assert [chart["metricKey"] for chart in methods["compareRunCharts"]] == ["delta/m", "test/semseg_miou"]
    assert methods["runsHiddenMode"] == "SHOW_ALL"
    assert [key["groupByData"] for key in methods["groupBy"]["groupByKeys"]] == ["label"]
    several = tracking_views.views(MANIFEST, scores)["methods"]  # a mean over different task sets means nothing
    assert [key["groupByData"] for key in several["groupBy"]["groupByKeys"]] == ["label", "tasks"]


def test_the_addresses_of_the_prepared_pages_name_a_view_that_the_experiment_holds(uri, store, projection):
    pages = server.pages(uri, store.url, MANIFEST.name, "http://127.0.0.1:5000/")
    for view, address in pages.items():
        assert address.startswith(f"http://127.0.0.1:5000/#/experiments/{projection.experiment_id}/runs?")
        assert f"viewStateShareKey={view}" in address
        assert json.loads(experiment_tags(projection)[f"mlflow.sharedViewState.{view}"])["orderByKey"]
    with pytest.raises(ValueError, match="mtlbench track unknown"):
        server.pages(uri, store.url, "unknown", "http://127.0.0.1:5000")


def test_a_report_is_one_run_however_often_it_is_made(tmp_path, projection):
    folder = tmp_path / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "delta.svg").write_text("<svg/>")
    projection.report(folder)
    (folder / "report.html").write_text("<h1>Report</h1>")
    projection.report(folder)
    (run,) = projection._runs()
    assert {file.path for file in projection.client.list_artifacts(run.info.run_id)} == {"figures", "report.html"}
    assert f"{run.info.run_id}/artifacts/report.html" in experiment_tags(projection)["mlflow.note.content"]


# the tracker ----------------------------------------------------------------------------------------------------------


def test_a_tracker_shows_what_it_was_told_and_leaves_nothing_running(uri, store):
    write_history(store, MULTI, [row(10)])
    store.put_record(record(SINGLE))
    with Tracker(uri, store.url, MANIFEST) as tracker:
        tracker.project(MULTI.id, "running")
        tracker.project(SINGLE.id, "waiting")
        tracker.project(SINGLE.id, "finished")
        tracker.project_deltas({SINGLE.id: {"delta/m": 0.0}})
        tracker.flush()
        held = runs(Projection(uri, store.url, MANIFEST))
        assert {cell_id: run.info.status for cell_id, run in held.items()} == {
            MULTI.id: "RUNNING",
            SINGLE.id: "FINISHED",
        }
    held = runs(Projection(uri, store.url, MANIFEST))
    assert held[MULTI.id].info.status == "KILLED"
    assert held[MULTI.id].data.tags["state"] == "interrupted"
    assert held[SINGLE.id].data.metrics["delta/m"] == 0.0


def test_tracking_that_is_down_is_warned_of_once_and_made_up_for_later(uri, store, caplog, monkeypatch):
    from mlflow.exceptions import MlflowException

    store.put_record(record(MULTI))
    make, down = the_projection.Projection.cell, [True]

    def cell(self, cell_id, state):
        if down[0]:
            raise MlflowException("connection refused")
        make(self, cell_id, state)

    monkeypatch.setattr(the_projection.Projection, "cell", cell)
    with caplog.at_level(logging.WARNING, logger="harness.tracker"):
        tracker = Tracker(uri, store.url, MANIFEST)
        for _ in range(3):
            tracker.project(SINGLE.id, "running")
            tracker.project(MULTI.id, "finished")
            tracker.flush()
    assert [entry.levelname for entry in caplog.records] == ["WARNING"]
    assert "connection refused" in caplog.text
    assert "mtlbench track tiny" in caplog.text

    down[0] = False
    tracker.close()
    held = runs(Projection(uri, store.url, MANIFEST))
    assert held[MULTI.id].info.status == "FINISHED"
    assert held[SINGLE.id].info.status == "KILLED"


def test_a_server_that_stays_down_costs_two_warnings_and_no_more(store, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING, logger="harness.tracker"):
        with Tracker("http://127.0.0.1:1", store.url, MANIFEST) as tracker:
            for step in range(20):
                write_history(store, MULTI, [row(step)])
                tracker.project(MULTI.id, "running")
        first, last = caplog.messages
    assert first.startswith("MLflow failed")
    assert last.startswith("MLflow lacks")


def test_an_error_of_the_store_is_not_taken_for_one_of_tracking(uri, store):
    tracker = Tracker(uri, store.url, MANIFEST)
    tracker.project(MULTI.id, "finished")  # which has no record
    tracker.project(SINGLE.id, "running")
    with pytest.raises(FileNotFoundError, match=MULTI.id):
        tracker.close()
    assert runs(Projection(uri, store.url, MANIFEST))[SINGLE.id].info.status == "KILLED"


# where it is ----------------------------------------------------------------------------------------------------------


def test_the_default_place_is_beside_a_local_store_and_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert connection.default_uri("runs") == f"sqlite:///{tmp_path}/runs/mlflow.db"
    with pytest.raises(ValueError, match="--tracking-uri"):
        connection.default_uri("memory://runs")


def test_a_place_that_can_be_tracked_to_passes_and_is_not_made_by_asking(tmp_path, uri):
    connection.check(uri)
    connection.check(f"sqlite:///{tmp_path}/new/folder/mlflow.db")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("sqlite:///mlflow.db", "must be absolute"),
        ("sqlite:////dev", "is a folder"),
        ("sqlite:////proc/version", "not an sqlite database"),
        ("sqlite:////dev/null/mlflow.db", "not a folder"),
        ("./mlruns", "unknown kind"),
        ("localhost:5000", "unknown kind"),
        ("ftp://host/runs", "unknown kind"),
        ("http://127.0.0.1:1", "does not answer"),
    ],
)
def test_a_place_that_cannot_be_tracked_to_is_refused_in_one_line(uri, reason, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ValueError, match=reason) as raised:
        connection.check(uri)
    assert "\n" not in str(raised.value)
    assert uri in str(raised.value)


def test_a_password_is_not_shown(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ValueError, match="does not answer") as raised:
        connection.check("http://ada:lovelace@127.0.0.1:1")
    assert "lovelace" not in str(raised.value)
    assert "http://ada:***@127.0.0.1:1" in str(raised.value)


def test_a_server_is_not_served_again():
    assert "sqlite:////runs/mlflow.db" in server.server("sqlite:////runs/mlflow.db", 5000)
    with pytest.raises(ValueError, match="open it in a browser"):
        server.server("http://mlflow.example:5000", 5000)


def test_importing_the_module_does_not_import_mlflow():
    code = "import sys, harness.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_a_server_takes_the_same_projection(tmp_path, uri, store):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | connection.ENVIRONMENT | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "server.log").open("w") as output:
        process = subprocess.Popen(
            server.server(uri, port),
            env=environment,
            cwd=tmp_path,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
                time.sleep(0.2)
        connection.check(address)
        write_history(store, MULTI, [row(10), row(20)])
        store.put_record(record(MULTI))
        for _ in range(2):
            with Tracker(address, store.url, MANIFEST) as tracker:
                tracker.project(MULTI.id, "finished")
                tracker.project_deltas({MULTI.id: {"delta/m": 1.0}})
        projection = Projection(address, store.url, MANIFEST)
        run = runs(projection)[MULTI.id]
        assert points(projection, run, "train/loss/semseg") == [(10, 1.0), (20, 1.0)]
        assert run.data.metrics["delta/m"] == 1.0
        assert projection.client.list_artifacts(run.info.run_id)[0].path == "record.json"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
