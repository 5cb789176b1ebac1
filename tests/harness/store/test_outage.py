"""A remote store that is away for a while: a run waits for it, keeps its lease, and says in one line what is wrong."""

import os
import socket
import time
from dataclasses import replace

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from typer.testing import CliRunner

from mtlbench.harness.cli.app import app
from mtlbench.harness.store import patience
from mtlbench.harness.store.lease import ELSEWHERE, Lease, LeaseLost, following
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.results.records.reading import matrices, read


class OfLibrary(Exception):
    """As botocore's errors, it is neither an OSError nor a ValueError."""


class Bucket(MemoryFileSystem):
    """A store in memory that can be away."""

    protocol = "bucket"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    away: Exception | None = None

    def _ask(self, name, *args, **kwargs):
        if Bucket.away is not None:
            raise Bucket.away
        return getattr(MemoryFileSystem, name)(self, *args, **kwargs)


for each in ("ls", "info", "cat_file", "pipe_file", "rm_file", "rmdir", "open", "_open", "cp_file"):
    setattr(Bucket, each, lambda self, *args, name=each, **kwargs: self._ask(name, *args, **kwargs))

AWAY = OfLibrary("Could not connect to the endpoint\nand a second line")


@pytest.fixture
def store(tmp_path, monkeypatch):
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    monkeypatch.setattr(Bucket, "away", None)
    monkeypatch.setattr(patience, "_trouble", {})
    monkeypatch.setattr(patience, "_waiting", set())
    yield Store(f"bucket://{tmp_path.name}")
    Bucket.away = None
    Bucket.store.clear()


QUESTIONS = {
    "get": lambda store: store.get("a/file"),
    "put": lambda store: store.put("a/file", "content", patience=0),
    "exists": lambda store: store.exists("a/file"),
    "names": lambda store: store.names("a"),
    "remove": lambda store: store.remove("a/file"),
    "set_aside": lambda store: store.set_aside("a/file"),
    "get_those_there": lambda store: store.get_those_there(["a/file"]),
    "folders": lambda store: store.folders(),
    "state": lambda store: store.state("a"),
    "probe": lambda store: store.probe(),
    "matrices": lambda store: matrices(store.url),
    "read": lambda store: read(store.url, "rooms"),
}


@pytest.mark.parametrize("error", [AWAY, ConnectionResetError(104, "reset"), TimeoutError(), PermissionError("no")])
@pytest.mark.parametrize("question", QUESTIONS)
def test_whatever_is_asked_the_answer_is_one_line_that_names_the_store(store, question, error):
    store.put("a/file", "content")
    store.put("cells/one/history.jsonl", "")
    Bucket.away = error
    with pytest.raises(StoreError) as raised:
        QUESTIONS[question](store)
    said = str(raised.value)
    assert said.startswith(f"store {store.url} cannot be used ({type(error).__name__}") and "\n" not in said
    assert "credentials" in said


def test_what_is_not_there_is_still_not_there(store):
    with pytest.raises(FileNotFoundError):
        store.get("a/file")
    assert not store.exists("a/file") and store.names("a") == [] and store.folders() == {}
    assert store.get_those_there(["a/file"]) == {}
    store.remove("a/file")


class Clock:
    """Time passes only by sleeping. The store comes back at `back`."""

    def __init__(self, monkeypatch, back):
        self.now, self.back = 0.0, back
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.now += seconds
        if self.now >= self.back:
            Bucket.away = None


@pytest.mark.parametrize(
    "question", [name for name in QUESTIONS if name not in ("probe", "set_aside", "matrices", "read")]
)
def test_a_run_waits_for_a_store_that_comes_back(store, monkeypatch, caplog, question):
    store.put("a/file", "content")
    ask = QUESTIONS[question] if question != "put" else lambda store: store.put("a/file", "content")
    expected = ask(store) if question != "remove" else None
    clock = Clock(monkeypatch, back=40)
    check = lambda: None  # noqa: E731
    store.guard(check)
    try:
        Bucket.away = AWAY
        assert ask(store) == expected
        assert 40 <= clock.now < 42
        Bucket.away, clock.back = AWAY, float("inf")
        with pytest.raises(StoreError):
            ask(store)
        assert clock.now < 104
    finally:
        store.unguard(check)
    waits = [record.getMessage() for record in caplog.records if "waiting for it, at most 60 s" in record.getMessage()]
    assert len(waits) == 2


def test_a_command_that_only_looks_does_not_wait_nor_does_who_may_not(store, monkeypatch):
    clock = Clock(monkeypatch, back=float("inf"))
    for error, ask in ((AWAY, store.state), (PermissionError("no"), lambda name: store.put(name, "content"))):
        Bucket.away = error
        with pytest.raises(StoreError):
            ask("a")
    assert clock.now == 0


FAST = replace(ELSEWHERE, beat=0.05, settle=0.0, poll=0.01)


@pytest.mark.parametrize("error", [AWAY, ConnectionResetError(104, "reset")])
def test_the_heartbeat_goes_on_after_the_store_was_away(store, error):
    with Lease(store, pace=FAST) as lease:
        Bucket.away = error
        time.sleep(0.3)
        assert lease._thread.is_alive()
        Bucket.away = None
        before, end = lease.claim.beat, time.monotonic() + 10
        while lease.claim.beat < before + 3:
            assert time.monotonic() < end, "no heartbeat"
            time.sleep(0.02)
        store.put("a", "content")
        assert not lease.lost


def test_who_works_for_a_driver_goes_on_after_the_store_was_away_and_ends_with_the_lease(store, monkeypatch):
    with Lease(store, pace=FAST) as lease:
        store.unguard(lease.check)  # in the process of a cell there is only its own check
        with following(store, lease.token):
            clock = Clock(monkeypatch, back=5)
            Bucket.away = AWAY
            store.put("a", "content")
            assert clock.now == 5 and store.get("a") == b"content"
    with following(store, lease.token), pytest.raises(LeaseLost):
        store.put("a", "content")


def test_a_bucket_whose_server_is_down_is_one_line(monkeypatch):
    pytest.importorskip("s3fs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"ENDPOINT_URL": f"http://127.0.0.1:{port}", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in {**variables, "DEFAULT_REGION": "us-east-1", "MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    url = f"s3://bucket-{os.urandom(4).hex()}/runs"  # fsspec keeps its clients by their arguments
    said = CliRunner().invoke(app, ["status", "--store", url])
    assert said.exit_code == 2
    assert said.output.splitlines()[-1].startswith(f"mtlbench: store {url} cannot be used (EndpointConnectionError: ")
    assert "Traceback" not in said.output
