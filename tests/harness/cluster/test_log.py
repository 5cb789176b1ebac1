"""The log of a cell whose store is not on a local disk: it is there while the cell goes on, and after a crash."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtlbench.harness.cluster import log as log_module
from mtlbench.harness.cluster.log import last_words, log
from mtlbench.harness.store import keeper
from mtlbench.harness.store.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(keeper, "keep", lambda *_: None)  # another process cannot see what is in this one's memory
    return Store(f"memory://{tmp_path.name}")


def said(store):
    return store.get("cells/a/log.txt").decode()


def test_a_log_is_put_into_the_store_at_once_with_the_pulse_and_at_the_end(store, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(log_module.time, "monotonic", lambda: now[0])
    store.put("cells/a/log.txt", "--- an attempt\nof before\n")
    with log(store, "a") as keep_log:
        assert said(store).startswith("--- an attempt\nof before\n--- 20") and said(store).count("\n") == 3
        print("one")
        keep_log()
        assert "one" not in said(store)  # at most once a minute
        now[0] = 61.0
        keep_log()
        assert said(store).endswith("one\n")
        print("two", file=sys.stderr)
        now[0] = 100.0
        keep_log()
        assert "two" not in said(store)
    assert said(store).endswith("one\ntwo\n")
    with pytest.raises(RuntimeError), log(store, "a"):
        print("three")
        raise RuntimeError
    assert said(store).endswith("three\n") and said(store).count("--- ") == 3


def test_the_end_of_a_process_is_read_from_the_last_attempt_alone(store, monkeypatch):
    monkeypatch.setattr(log_module, "LATEST", 0.1)
    crash, end = "Fatal Python error: Bus error\n", f"\n{keeper.ENDED.format(pid=7)}"
    for text, expected in {
        "--- 1\nline\n": ("", False),
        f"--- 1\n{crash}{end}": ("Bus error", True),
        f"--- 1\n{crash}{end}--- 2\nline\n": ("", False),
        f"--- 1\n{crash}{end}--- 2\nline\n{end}": ("", True),
    }.items():
        store.put("cells/a/log.txt", text)
        assert last_words(store, "a", node_runs=True) == expected
    assert last_words(store, "b", node_runs=False) == ("", False)


def test_a_keeper_ends_where_the_process_has_ended_well(tmp_path):
    begun = time.monotonic()
    keeper.watch(os.getpid(), tmp_path / "log.txt", "nothing://x", "x/log.txt")
    assert time.monotonic() - begun < 5


DIES = """
import ctypes, os, sys
from mtlbench.harness.cluster.log import log
from mtlbench.harness.store.store import Store
url, cell, how = sys.argv[1:]
with log(Store(url), cell):
    print("the last line", flush=True)
    {"crash": lambda: ctypes.string_at(0), "leave": lambda: os._exit(7), "kill": lambda: os.kill(os.getpid(), 9)}[how]()
"""


@pytest.mark.slow  # a server, three processes and their keepers
@pytest.mark.timeout(180)
def test_after_a_crash_an_exit_or_a_kill_the_log_in_a_bucket_has_the_last_lines(monkeypatch):
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"ENDPOINT_URL": f"http://127.0.0.1:{port}", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in {**variables, "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = moto.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        bucket = f"logs-{os.urandom(4).hex()}"
        boto3.client("s3").create_bucket(Bucket=bucket)
        url = f"s3://{bucket}/runs"
        ways = {"crash": -signal.SIGSEGV, "leave": 7, "kill": -signal.SIGKILL}
        started = {how: subprocess.Popen([sys.executable, "-c", DIES, url, how, how]) for how in ways}
        assert {how: process.wait(timeout=90) for how, process in started.items()} == ways
        store = Store(url)
        monkeypatch.setattr(log_module, "LATEST", 60.0)
        assert {how: last_words(store, how, node_runs=True) for how in ways} == {
            "crash": ("Segmentation fault", True), "leave": ("", True), "kill": ("", True),
        }  # fmt: skip
        for how, process in started.items():
            text = store.get(f"cells/{how}/log.txt").decode()
            assert "the last line\n" in text and text.endswith(keeper.ENDED.format(pid=process.pid))
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()  # fsspec would give the address of this server to other tests
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if bucket.encode() in _content(path)]
    assert not left


def _content(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""
