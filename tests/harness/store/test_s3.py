"""A run whose store is a bucket: the real client of S3's protocol against a server on this machine."""

import json
import os
import signal
import socket
import time

import pytest

from cells import matrix_file
from mtlbench.harness.store.store import Store

boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
pytest.importorskip("s3fs")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("alone"), pytest.mark.timeout(600)]

METHODS = [{"name": "single_task", "label": "Single"}, {"name": "plugin:Waits", "label": "Waits"}]


@pytest.fixture
def bucket(monkeypatch):
    """The address of a bucket that processes of this test can reach."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = moto.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="bucket")
    yield "s3://bucket/runs"
    server.stop()


def scores(store):
    records = (store.record(cell_id) for cell_id in store.cells())
    return {record.id: record.scores for record in records}


def test_a_driver_that_is_killed_is_followed_by_the_same_command_and_the_scores_are_those_of_a_disk(
    commands, tmp_path, bucket
):
    marker = tmp_path / "go on"
    methods = [{**each, "options": {"marker": str(marker)}} if "plugin" in each["name"] else each for each in METHODS]
    file = matrix_file(tmp_path, "small", methods=methods, baseline="Single", train={"epochs": 2, "batch": 2})
    command = ("run", file, "--store", bucket, "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db", "--out", "out")
    running = commands.start(*command, start_new_session=True)
    store, end = Store(bucket), time.monotonic() + 200
    waits = "rooms-Waits"
    while not any(waits in cell_id and store.names(f"cells/{cell_id}/checkpoints") for cell_id in store.cells()):
        assert time.monotonic() < end and running.poll() is None, running.stdout.read()
        time.sleep(1)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    marker.touch()
    done = commands.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(commands.run("status", file, "--store", bucket, "--json").stdout)
    assert {row["state"] for row in rows} == {"finished"}
    assert commands.run("run", file, "--store", "disk").returncode == 0
    assert scores(Store(bucket)) == scores(Store(tmp_path / "disk"))
    assert (tmp_path / "out/small/table.md").exists()
