"""The head of a Ray cluster is missed once it is gone, and not before."""

import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from mtlbench.harness.cluster import head


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def address(server):
    return f"127.0.0.1:{server.getsockname()[1]}"


def test_a_head_that_is_gone_is_told_once_with_its_address(server):
    told, heard = [], threading.Event()
    at = address(server)
    with head.watched(at, lambda line: (told.append(line), heard.set()), patience=0.3):
        time.sleep(0.6)
        assert told == []
        server.close()
        assert heard.wait(10)
        time.sleep(0.3)
    assert told == [
        f"the head of the Ray cluster, {at}, has not answered for 0.3 s; start a head anew and give the same command"
    ]


def test_of_a_ray_of_this_machine_no_head_is_to_be_started(server):
    told, heard, at = [], threading.Event(), address(server)
    server.close()
    with head.watched(at, lambda line: (told.append(line), heard.set()), patience=0.3, local=True):
        assert heard.wait(10)
    assert told == ["Ray on this machine has not answered for 0.3 s; give the same command"]


@pytest.fixture
def died():
    """A process that was killed, and whose parent has not asked for its status."""
    with subprocess.Popen(["sleep", "60"]) as started:
        process = psutil.Process(started.pid)
        head.require({"raylet": process, head.GCS: process})
        started.kill()
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        yield process


def test_a_raylet_that_has_died_is_missed(died):
    with pytest.raises(head.Lost, match="Ray's process raylet on this machine has died or was killed"):
        head.require({"raylet": died})


def test_a_head_of_this_machine_that_has_died_ends_the_process_because_all_else_would_wait_for_it(died, monkeypatch):
    lines = []
    monkeypatch.setattr(head, "end", lambda line: lines.append(line) or sys.exit(1))
    with pytest.raises(SystemExit):
        head.require({head.GCS: died})
    assert lines == ["Ray's process gcs_server on this machine has died or was killed; give the same command"]


def test_a_head_that_is_away_for_a_moment_is_not_missed(server):
    told, at = [], address(server)
    with head.watched(at, told.append, patience=2.0):
        server.close()
        time.sleep(1.0)
        with socket.create_server(("127.0.0.1", int(at.rpartition(":")[2])), reuse_port=False):
            time.sleep(1.5)
        assert told == []


def test_the_process_ends_with_one_line_that_says_the_way_out(monkeypatch, capsys):
    codes = []
    monkeypatch.setattr(head.os, "_exit", codes.append)
    head.end("the head is gone; give the same command")
    assert codes == [1]
    assert capsys.readouterr().err == (
        "mtlbench: the head is gone; give the same command, which goes on from the last checkpoints\n"
    )
