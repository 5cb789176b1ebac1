"""Whole matrices under Ray: what fails is said and tried again, what is left goes on, nothing is lost."""

import pickle
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

import pytest

from cells import MATRIX, matrix_file
from command import Commands
from mtlbench.harness.store.store import Store
from mtlbench.results.records.reading import read

pytestmark = pytest.mark.slow


class Ran(NamedTuple):
    commands: Commands
    file: Path
    done: CompletedProcess
    found: object  # what the store holds of the matrix
    ids: dict  # of cells of both tasks, by label

    def record(self, label):
        return self.found.records[self.ids[label]]


@pytest.fixture(scope="module")
def ran(once, commands_in, turn):
    """One run of cells that fail in every way among others that do not. Nobody changes its store."""

    def run(folder):
        methods = [
            {"name": "single_task", "label": "Single task"},
            {"name": "plugin:AlwaysFails", "label": "always"},
            {"name": "plugin:Explodes", "label": "explodes"},
            {"name": "plugin:FailsOnce", "label": "once", "options": {"marker": str(folder / "once.marker")}},
            {"name": "plugin:Dies", "label": "dies", "options": {"marker": str(folder / "dies.marker")}},
            {"name": "plugin:Fine", "label": "fine"},
        ]
        benchmark = {**MATRIX["benchmark"], "tasks": ["depth", "edge"]}
        file = matrix_file(folder, methods=methods, benchmark=benchmark, train={"epochs": 2, "batch": 2})
        with turn():
            done = commands_in(folder).run("run", file, "--store", "s")
        assert done.returncode == 1, done.stdout + done.stderr
        (folder / "done").write_bytes(pickle.dumps(done))

    folder = once("failures", run)
    found = read(str(folder / "s"), "m")
    done = pickle.loads((folder / "done").read_bytes())
    ids = {entry.label: entry.id for entry in found.manifest.entries}
    return Ran(commands_in(folder), folder / "m.yaml", done, found, ids)


def test_failures_of_every_kind_are_retried_reported_and_do_not_stop_the_rest(ran):
    found, said = ran.found, ran.done
    missing = {entry.label for entry in found.manifest.entries if entry.id not in found.records}
    assert missing == {"always", "explodes"}
    always, explodes = (found.failures[ran.ids[label]] for label in ("always", "explodes"))
    assert always["attempts"] == 2
    assert "never again" in always["traceback"]
    assert explodes["attempts"] == 1  # a retry would repeat it bit for bit
    assert "Diverged" in explodes["error"]
    assert "2 of 7 cells are missing" in said.stderr
    assert "never again" in said.stderr
    assert "failed" in said.stdout  # in the table
    for noise in ("Traceback", "did not complete", "completed"):  # `show` has the traceback
        assert noise not in said.stdout + said.stderr
    assert "Traceback" in Path(always["log"]).read_text()
    scores = [[score.value for score in ran.record(label).scores] for label in ("fine", "once", "dies")]
    assert scores[0] == scores[1] == scores[2]  # resumed to the same bits
    shown = ran.commands.run("show", "AlwaysFails", "--store", "s")
    assert shown.returncode == 0 and "never again" in shown.stdout


def test_edges_are_scored_after_training_by_trials_of_their_own(ran):
    stages = []
    for record in ran.found.records.values():
        tasks = tuple(record.cell["tasks"])
        assert tuple(record.primary()) == tasks
        assert all(score.protocol for score in record.scores)
        folder = ran.commands.folder / "s" / "cells" / record.id
        assert not any((folder / name).exists() for name in ("to_score", "trained.json", "checkpoints", "pulse"))
        if record.cell["method"] in ("single_task", "plugin:Fine"):
            stages.append((tasks, folder.joinpath("log.txt").read_text().count("--- ")))
    assert sorted(stages) == [(("depth",), 1), (("depth", "edge"), 2), (("edge",), 2)]
    assert ran.done.stdout.count("computing scores that need no GPU") == 4
    assert "odsF" in ran.done.stdout  # of the table


def test_starting_anew_removes_nothing_before_it_is_known_to_be_possible(ran):
    arguments = ("--store", "s", "--rerun", "all", "--set", "resources.gpus=1")
    refused = ran.commands.run("run", ran.file, *arguments)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "GPU" in refused.stderr
    store = Store(ran.commands.folder / "s")
    assert {cell_id for cell_id in store.cells() if store.state(cell_id) == "finished"} == set(ran.found.records)
