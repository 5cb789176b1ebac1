"""MLflow's database is PostgreSQL: directly, and behind a server of MLflow that keeps the artifacts."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cells import matrix_file
from command import invoke
from make_records import three_seeds
from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking import connection
from mtlbench.harness.tracking.server import SERVER_ENVIRONMENT

pytest.importorskip("psycopg")
FOUND = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *map(Path, os.environ["PATH"].split(os.pathsep))]
BIN = next((folder for folder in FOUND if (folder / "initdb").exists()), None)
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(BIN is None, reason="PostgreSQL is not installed"),
]
PASSWORD = "geheim"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The address of an empty database on a server of its own. PostgreSQL refuses to run as root."""
    folder, user = Path(tmp_path_factory.mktemp("pg", numbered=True)), []
    if os.geteuid() == 0:
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        folder = Path("/tmp") / f"mtlbench-pg-{os.getpid()}"  # a folder of pytest is root's alone
        folder.mkdir()
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        user = ["setpriv", "--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups"]
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    port, data = free_port(), str(folder / "data")
    run = {"check": True, "capture_output": True, "cwd": "/"}
    initdb = ["initdb", "-D", data, "-U", "ada", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}"]
    subprocess.run([*user, BIN / initdb[0], *initdb[1:]], **run)
    options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
    start = ["-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start"]
    subprocess.run([*user, BIN / "pg_ctl", *start], check=True, stdout=subprocess.DEVNULL, cwd="/")
    yield f"postgresql://ada:{PASSWORD}@127.0.0.1:{port}/postgres"
    subprocess.run([*user, BIN / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **run)
    shutil.rmtree(folder, ignore_errors=True)


def held(uri):
    """(cell, state, scores) of every run that is of a cell, sorted."""
    client = connection.client(uri)
    ids = [each.experiment_id for each in client.search_experiments()]
    runs = [run for run in client.search_runs(ids) if "cell_id" in run.data.tags]
    return sorted((run.data.tags["cell_id"], run.info.status, sorted(run.data.metrics.items())) for run in runs)


def finished(rows):
    return sum(state == "FINISHED" for _, state, _ in rows)


def tracked(store, uri):
    done = invoke("track", "rooms", "--store", store, "--tracking-uri", uri)
    assert done.exit_code == 0, done.output
    assert PASSWORD not in done.output
    return held(uri)


@pytest.mark.slow
def test_a_database_has_every_cell_once_however_often_it_is_tracked(postgres, tmp_path):
    store = three_seeds(tmp_path / "store")
    first = tracked(store, postgres)
    assert tracked(store, postgres) == first
    assert len({cell_id for cell_id, *_ in first}) == len(first) > 10
    beside = tracked(store, f"sqlite:///{tmp_path}/mlflow.db")
    assert first == beside


# A driver without Ray that is killed before its second cell. The file tells a later driver that one was killed.
KILLED_ONCE = """
import os
from pathlib import Path

from in_process import InTurn
from mtlbench.harness.cluster import schedule

class KilledOnce(InTurn):
    def __init__(self, address, *, autoscaled=False):
        pass

    def run(self, ready, environment, board):
        begun = board.started

        def started(cell_id):
            begun(cell_id)
            if list(Path("s").glob("cells/*/record.json")) and not Path("killed").exists():
                Path("killed").touch()
                os.kill(os.getpid(), 9)

        board.started = started
        super().run(ready, environment, board)

schedule.OnRay = KilledOnce
"""


@pytest.mark.drill
def test_a_run_whose_driver_was_killed_goes_on_and_leaves_every_cell_once(postgres, commands, rooms, tmp_path):
    file = matrix_file(tmp_path, "killed_once", seeds=[0, 1])
    driver = replace(commands, first=KILLED_ONCE)
    command = ["run", file, "--store", "s", "--tracking-uri", postgres, "--data", f"rooms={rooms}"]
    assert driver.run(*command).returncode == -9
    ids = sorted(Store(tmp_path / "s").cells())
    assert "RUNNING" in {state for cell_id, state, _ in held(postgres) if cell_id in ids}
    done = driver.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    rows = [row for row in held(postgres) if row[0] in ids]
    assert [row[:2] for row in rows] == [(cell_id, "FINISHED") for cell_id in ids] and len(ids) == 4
    done = invoke("track", "killed_once", "--store", tmp_path / "s", "--tracking-uri", postgres)
    assert done.exit_code == 0, done.output
    assert [row for row in held(postgres) if row[0] in ids] == rows


@pytest.mark.slow
def test_a_wrong_password_is_one_line_without_it(postgres, tmp_path):
    wrong = postgres.replace(PASSWORD, "falsch")
    done = invoke("track", "rooms", "--store", three_seeds(tmp_path / "store"), "--tracking-uri", wrong)
    assert done.exit_code == 2 and "does not answer" in done.output and "falsch" not in done.output
    assert "Traceback" not in done.output


@pytest.mark.slow
def test_a_server_keeps_runs_in_the_database_and_artifacts_in_its_folder(postgres, tmp_path):
    port, artifacts = free_port(), tmp_path / "artifacts"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--artifacts-destination", str(artifacts)]
    variables = os.environ | SERVER_ENVIRONMENT | {"MLFLOW_BACKEND_STORE_URI": postgres}
    server = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        uri, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while True:
            try:
                connection.check(uri)
                break
            except ValueError:
                assert time.monotonic() < end and server.poll() is None
                time.sleep(1)
        before = finished(held(uri))  # of a test that used the same database
        store = three_seeds(tmp_path / "store")
        first = tracked(store, uri)
        assert tracked(store, uri) == first
        assert len(list(artifacts.rglob("record.json"))) == finished(first) - before > 10
    finally:
        server.terminate()
        server.wait(30)
