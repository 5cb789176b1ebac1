"""A run on two nodes whose store is a bucket: the real client of S3's protocol against a server on this machine."""

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import replace

import pytest

from cells import matrix_file, train_cell
from mtlbench.harness.store.store import Store
from nodes import HEAD, OUTSIDE, OWN_PROCESSES, PORT, Nodes, possible

boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
pytest.importorskip("s3fs")
pytestmark = [
    pytest.mark.drill,
    pytest.mark.usefixtures("in_turn"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(not possible(), reason="network namespaces need root and the command ip"),
]

BUCKET = "s3://bucket/runs"


@pytest.fixture
def nodes(monkeypatch, tmp_path):
    """Two nodes, which reach a server with a bucket, as do processes of this test."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        "AWS_ENDPOINT_URL": f"http://{OUTSIDE}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token"),
    }
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()  # of another address
    with Nodes(tmp_path, 2) as made:
        server = moto.ThreadedMotoServer(OUTSIDE, port, verbose=False)
        server.start()
        boto3.client("s3").create_bucket(Bucket="bucket")
        made.start(1)
        made.start(2)
        made.ready(2)
        yield made
    server.stop()


def begun(store):
    """How many cells wait in the middle of their training."""
    with contextlib.suppress(FileNotFoundError):
        return sum(bool(store.names(f"cells/{cell_id}/checkpoints")) for cell_id in store.cells())
    return 0


def test_a_node_and_the_driver_are_killed_and_the_same_command_ends_with_the_scores_of_a_disk(
    commands, tmp_path, nodes, rooms
):
    marker = tmp_path / "go on"
    waits = {"name": "plugin:Waits", "options": {"marker": str(marker)}}
    methods = [{**waits, "label": "One"}, {**waits, "label": "Other", "train": {"lr": 2e-3}}]
    file = matrix_file(tmp_path, "small", methods=methods, baseline="One", train={"epochs": 2, "batch": 2})
    head = replace(commands, before=nodes.on(1), first=OWN_PROCESSES)
    command = [
        "run",
        file,
        "--store",
        BUCKET,
        "--address",
        f"{HEAD}:{PORT}",
        "--data",
        f"rooms={rooms}",
        "--out",
        "out",
    ]
    command += ["--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    store, running, end = Store(BUCKET), head.start(*command, start_new_session=True), time.monotonic() + 200
    while begun(store) < 2:  # one on each node, which has a single CPU
        assert time.monotonic() < end and running.poll() is None, running.stdout.read()
        time.sleep(1)
    nodes.kill(2)
    said = ""
    while "failed, trying again from its last checkpoint: its node d" not in said:
        line = running.stdout.readline()
        assert line, said
        said += line
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    marker.touch()

    done = head.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(commands.run("status", file, "--store", BUCKET, "--json").stdout)
    assert [row["state"] for row in rows] == ["finished", "finished"]
    for cell_id in store.cells():
        on_disk = train_cell(store.cell(cell_id), tmp_path / "disk", rooms)
        assert store.record(cell_id).scores == on_disk.scores
    assert (tmp_path / "out/small/table.md").exists()
