"""A run that is tracked to an address with a password leaves the password nowhere."""

import shutil
import socket
import time
import urllib.request
from io import StringIO

import pytest
from rich.console import Console

from cells import small_matrix
from command import invoke
from in_process import InTurn
from kills import Server
from mtlbench.harness.driver import run as driver
from mtlbench.harness.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a server, and a run
PASSWORD = "lovelace1815"


@pytest.fixture
def served(tmp_path, empty_database):
    """Host and port of a server of MLflow."""
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server, end = Server(folder, folder / "mlflow.db", port), time.monotonic() + 120
    server.gone = -1e9  # it is started at once
    server.keep()
    while True:
        try:
            urllib.request.urlopen(f"{server.uri}/health", timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < end, (folder / "mlflow.log").read_text()
            time.sleep(0.2)
    yield f"127.0.0.1:{port}"
    server.end()


def test_no_store_no_record_no_parameter_and_no_line_has_the_password(tmp_path, rooms, served, capfd):
    uri, said = f"http://ada:{PASSWORD}@{served}", StringIO()
    matrix, store = small_matrix(), Store(tmp_path / "s")
    request = driver.Request(matrix, {"rooms": rooms}, tmp_path / "out", tracking_uri=uri)
    outcome = driver.run(request, store, InTurn, Console(file=said, width=200))
    assert outcome.missing == []
    done = invoke("track", matrix.name, "--store", store.url, "--tracking-uri", uri)
    assert done.exit_code == 0, done.output
    assert f"http://ada:***@{served} shows" in done.output
    again = invoke("ui", "--store", store.url, "--tracking-uri", uri)
    assert again.exit_code == 2
    captured = capfd.readouterr()
    for text in (said.getvalue(), done.output, again.output, captured.out, captured.err):
        assert PASSWORD not in text
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"record.json", "cell.yaml", "log.txt", "report.html", "mlflow.db"} <= {path.name for path in written}
    assert [path for path in written if PASSWORD.encode() in path.read_bytes()] == []
