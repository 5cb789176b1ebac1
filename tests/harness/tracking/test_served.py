"""`mtlbench ui`: what it says, and a server that ends with the command."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

import pytest

from mtlbench.harness.tracking import server
from mtlbench.harness.tracking.pages import PAGES

# A server that starts another process, as MLflow starts uvicorn; it prints the ids of both.
TWO = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if {stubborn} else signal.SIG_DFL)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""

# It heeds all signals, also where the tests run in the background of a shell, which ignores some for them.
SERVE = """
import signal, sys
import typer
from mtlbench.harness.cli import export
from mtlbench.harness.tracking import server

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
server.PATIENCE = 5.0
if sys.argv[1:]:
    server.server = lambda *_: ([sys.executable, "-c", sys.argv[1]], {{}})
try:
    export.serve({uri!r}, {port})
except typer.Exit as done:
    sys.exit(done.exit_code)
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "stubborn"), [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGHUP, True)]
)
def test_a_signal_ends_the_server_and_what_it_started(number, stubborn):
    command = [sys.executable, "-c", SERVE.format(uri="sqlite:///x.db", port=5000), TWO.format(stubborn=stubborn)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2 and all(map(alive, pids))
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    assert not any(map(alive, pids))


def test_each_page_and_each_matrix_without_pages_has_a_line(monkeypatch):
    def pages(uri, store, matrix, address):
        if matrix == "untracked":
            raise ValueError("mtlbench track untracked")
        return dict.fromkeys(PAGES, address)

    monkeypatch.setattr(server, "pages", pages)
    lines = server.comparisons("sqlite:///x.db", "s", ["untracked", "mine"], "http://x")
    assert lines == [*(f"  mine: {title}: http://x" for title in PAGES.values()), "mtlbench track untracked"]
    with pytest.raises(ValueError, match="track untracked"):
        server.comparisons("sqlite:///x.db", "s", ["untracked"], "http://x")


def test_errors_of_the_server_are_shown_and_its_advice_to_open_it_to_other_machines_is_not(monkeypatch, capsys):
    code = "import sys; sys.exit('[MLflow] Security middleware enabled: use --host 0.0.0.0\\nerror: no disk')"
    monkeypatch.setattr(server, "server", lambda *_: ([sys.executable, "-S", "-c", code], {}))
    assert server.serve("sqlite:///x.db", 5000) == 1
    assert capsys.readouterr().err == "error: no disk\n"


@pytest.mark.slow
def test_a_server_says_nothing_while_all_is_well(uri):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = SERVE.format(uri=uri, port=port)
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **piped) as process:
        end = time.monotonic() + 100
        while time.monotonic() < end:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            time.sleep(0.5)
        assert process.poll() is None
        process.terminate()
        assert process.communicate(timeout=30)[0] == ""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))
