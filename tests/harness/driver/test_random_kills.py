"""Whatever is killed, whenever: the same command, given again, ends with the bits of a run that nobody disturbed.

MTLBENCH_KILLS_MINUTES says for how long the test goes on (20), and MTLBENCH_KILLS_SEED repeats its choices.
"""

import os
import random
import shutil
import socket
import time
from collections import Counter

import pytest

from cells import matrix_file
from kills import MARK, Marked, Server, left_over, numbers
from mtlbench.harness.store.store import Store

MINUTES = float(os.environ.get("MTLBENCH_KILLS_MINUTES", "20"))
SEED = int(os.environ.get("MTLBENCH_KILLS_SEED") or random.SystemRandom().randrange(10**6))
# In units of the time that the undisturbed run took, which depends on the machine and on what else it does:
CALM = 7  # after so long a matrix is left alone, so that a driver that hangs is seen
LONGEST = 5  # so long may a driver take that is left alone

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.usefixtures("alone"),
    pytest.mark.timeout(60 * MINUTES + 3600),
]

# Starts, scores that a process of their own computes, and, in `group`, cells that two processes train.
METHODS = [
    {"name": "single_task", "label": "Single"},
    {"name": "multi_task", "label": "Multi"},
    {"name": "cross_stitch", "label": "Stitched", "starts": "Single"},
]
COMMON = {
    "benchmark": {"name": "rooms", "tasks": ["depth", "edge"], "options": {"train": 6, "val": 2, "test": 4}},
    "backbone": "test_resnet", "baseline": "Single", "train": {"epochs": 30, "batch": 2, "lr": 1e-3},
}  # fmt: skip
MATRICES = {
    "alone": {**COMMON, "methods": METHODS},
    "group": {**COMMON, "methods": METHODS[1:2], "baseline": "Multi", "resources": {"workers": 2}},
}


@pytest.fixture
def server(tmp_path, empty_database, marked):
    """A server of MLflow with a database that all runs of the test share."""
    database = tmp_path / "served.db"
    shutil.copy(empty_database, database)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = Server(tmp_path, database, port)
    yield found
    found.end()


@pytest.fixture
def marked(monkeypatch):
    found = Marked(random.Random(SEED))
    monkeypatch.setenv(MARK, found.mark)
    yield found
    found.end()


def pause(dice):
    """Seconds until the next kill: some follow each other, and some leave the time to get on."""
    return dice.uniform(0.5, 4) if dice.random() < 0.4 else dice.uniform(5, 25)


def spared(marked):
    """Whether there is no kill now: most often while a driver starts, or it would seldom get to its cells."""
    working = {"raylet", "process of a cell"} & set(marked.processes().values())
    return not working and marked.dice.random() < 0.8


class Run:
    """One matrix in one store, by the same command again and again until every cell is finished."""

    def __init__(self, commands, folder, command):
        self.commands, self.folder, self.command = commands, folder, command
        self.said = folder.with_suffix(".txt")
        self.ends = Counter()  # of drivers, by exit status
        self.driver, self.since = None, 0.0

    def keep(self):
        """Start the driver where it does not run. Returns whether every cell is finished."""
        if self.driver is not None and self.driver.poll() is None:
            return False
        if self.driver is not None:
            self.ends[self.driver.returncode] += 1
            if self.driver.returncode == 0:
                return True
            self.log(f"--- ended with status {self.driver.returncode}\n")
        with self.said.open("ab") as file:
            self.driver = self.commands.start(*self.command, stdout=file)
        self.since = time.monotonic()
        return False

    def log(self, text):
        with self.said.open("a") as file:
            file.write(text)

    def text(self):
        return self.said.read_text()


def disturbed(run, marked, server, unit):
    """Run a matrix to its end while processes are killed. unit: seconds that an undisturbed run takes."""
    began = time.monotonic()
    after = began + pause(marked.dice)
    last = began
    while not run.keep():
        if server is not None:
            server.keep()
        now = time.monotonic()
        if now > after and now - began < CALM * unit:
            after = now + pause(marked.dice) * max(1.0, unit / 120)
            if spared(marked):
                continue
            kind = marked.kill_one()
            run.log(f"--- {now - began:.0f} s: killed: {kind}\n")
            last = now
            # Ray is lost, and nothing hides how the driver ends.
            lost = kind in ("raylet", "GCS of Ray") and marked.dice.random() < 0.7
            after = now + unit / 3 if lost else after
        assert now - max(last, run.since) < LONGEST * unit, f"the driver hangs\n{run.text()}"
        time.sleep(0.2)
    return time.monotonic() - began


def test_runs_under_random_kills_end_with_the_bits_of_an_undisturbed_run(commands, tmp_path, marked, server):
    print(f"\nseed {SEED}, {MINUTES:g} minutes; MTLBENCH_KILLS_SEED repeats the choices")
    files, undisturbed, seconds = {}, {}, {}
    for name, matrix in MATRICES.items():
        files[name] = matrix_file(tmp_path, name, **matrix)
        began = time.monotonic()
        done = commands.run("run", files[name], "--store", f"{name}-calm")
        assert done.returncode == 0, done.stdout + done.stderr
        seconds[name] = max(60.0, time.monotonic() - began)
        undisturbed[name] = numbers(tmp_path / f"{name}-calm")
    end, ends, completed = time.monotonic() + 60 * MINUTES, Counter(), 0
    print(f"undisturbed: {seconds}", flush=True)
    while time.monotonic() < end:
        name = ("alone", "alone", "group")[completed % 3]
        tracked = completed % 2 == 1
        folder = tmp_path / f"{name}-{completed}"
        command = ["run", files[name], "--store", folder.name]
        command += ["--tracking-uri", server.uri] if tracked else []
        server.end()  # of the run before
        run = Run(commands, folder, command)
        took = disturbed(run, marked, server if tracked else None, seconds[name])
        completed, ends = completed + 1, ends + run.ends
        how = f"{name}, {'server' if tracked else 'database'}"
        print(f"{time.strftime('%H:%M:%S')} run {completed} ({how}): {took:.0f} s, drivers ended {dict(run.ends)}; "
              f"kills so far {dict(marked.killed)}", flush=True)  # fmt: skip
        said = run.text()
        assert numbers(folder) == undisturbed[name], said
        assert "Traceback" not in said, said
        assert set(run.ends) <= {0, 1, 2, -9}, said
        assert left_over(folder) == [], said
        assert {Store(folder).state(cell_id) for cell_id in Store(folder).cells()} == {"finished"}
        time.sleep(10)
        assert "driver" not in marked.processes().values()
        rest = Counter(kind for kind in marked.processes().values() if kind != "MLflow")
        assert not rest, f"{rest} are still there 10 s after the run\n{said}"
    print(f"{completed} runs, {sum(marked.killed.values())} kills: {dict(marked.killed)}; drivers ended {dict(ends)}")
