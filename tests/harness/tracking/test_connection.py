"""Where runs are tracked to, and what cannot be tracked to is refused in one line."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from mtlbench.harness import tracking
from mtlbench.harness.tracking import connection, server
from mtlbench.harness.tracking.projection import Projection
from mtlbench.harness.tracking.tracker import Tracker
from tracked import MANIFEST, MULTI, points, record, row, runs, write_history


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


def test_no_line_is_logged_for_each_try_at_a_server_that_is_down(monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with pytest.raises(ValueError, match="does not answer"):
        connection.check("http://127.0.0.1:1")
    assert caplog.messages == []


def test_a_password_is_not_shown(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ValueError, match="does not answer") as raised:
        connection.check("http://ada:lovelace@127.0.0.1:1")
    assert "lovelace" not in str(raised.value)
    assert "http://ada:***@127.0.0.1:1" in str(raised.value)


def test_the_address_of_a_database_is_not_on_the_command_line_where_all_can_read_its_password():
    command, environment = server.server("postgresql://ada:lovelace@db/mlflow", 5000)
    assert not any("lovelace" in word for word in command)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql://ada:lovelace@db/mlflow"


def test_a_server_is_not_served_again():
    with pytest.raises(ValueError, match="open it in a browser"):
        server.server("http://mlflow.example:5000", 5000)


@pytest.mark.slow
def test_importing_the_modules_does_not_import_mlflow():
    modules = ", ".join(
        f"mtlbench.harness.tracking.{path.stem}" for path in Path(tracking.__path__[0]).glob("[a-z]*.py")
    )
    code = f"import sys, {modules}; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_a_server_takes_the_same_projection(tmp_path, uri, store):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("yaml", "fastapi", "results"):  # the server looks for no module in the folder that it is started in
        (tmp_path / f"{name}.py").write_text("raise RuntimeError(__file__)")
    command, environment = server.server(uri, port)
    with (tmp_path / "server.log").open("w") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | environment,
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
        assert [one.path for one in projection.client.list_artifacts(run.info.run_id)] == ["cell.yaml", "record.json"]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
