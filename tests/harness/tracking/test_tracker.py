"""The tracker follows a run of a matrix, and costs it nothing but warnings when MLflow is down."""

import errno
import logging
import shlex

import pytest

from mtlbench.harness.tracking import projection as the_projection
from mtlbench.harness.tracking.projection import Projection
from mtlbench.harness.tracking.tracker import Tracker
from tracked import MANIFEST, MULTI, SINGLE, record, row, runs, write_history

pytestmark = pytest.mark.usefixtures("undrawn")


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


def test_a_full_disk_under_mlflow_is_no_reason_to_stop(uri, store, caplog, monkeypatch, capfd):
    from sqlalchemy.exc import OperationalError

    def full(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def also_full(self, *_):
        raise OperationalError("UPDATE", {}, Exception("database or disk is full"))

    monkeypatch.setattr(the_projection.Projection, "report", full)
    monkeypatch.setattr(the_projection.Projection, "deltas", also_full)
    with Tracker(uri, store.url, MANIFEST) as tracker:
        tracker.log_report(None, [])
        tracker.project_deltas({})
    assert "No space left on device" in caplog.text and "MLflow lacks" in caplog.text
    assert "Traceback" not in "".join(capfd.readouterr())
    assert logging.getLogger("mlflow.store.db.utils").getEffectiveLevel() == logging.CRITICAL


def test_an_error_of_the_store_is_not_taken_for_one_of_mlflow(uri, store, monkeypatch):
    def gone(self, *_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(the_projection.Projection, "report", gone)
    with pytest.raises(PermissionError), Tracker(uri, store.url, MANIFEST) as tracker:
        tracker.log_report(None, [])


def test_the_command_that_shows_the_rest_can_be_pasted_where_a_path_has_a_space(caplog, monkeypatch):
    from mlflow.exceptions import MlflowException

    def down(*_):
        raise MlflowException("connection refused")

    monkeypatch.setattr(the_projection.Projection, "__init__", down)
    store, uri = "/data/my runs", "sqlite:////data/my runs/mlflow.db"
    with caplog.at_level(logging.WARNING):
        Tracker(uri, store, MANIFEST).close()
    command = ["mtlbench", "track", MANIFEST.name, "--store", store, "--tracking-uri", uri]
    said = [shlex.split(message.partition(" later")[2])[-7:] for message in caplog.messages if " later" in message]
    assert said and all(each == command for each in said)


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
