"""How far the cells of a store are is told from its manifest where that is of the same matrix, with the same answer."""

import json
from dataclasses import replace

import pytest
import yaml
from typer.testing import CliRunner

from cells import matrix_file
from mtlbench.harness.cli.app import app
from mtlbench.harness.driver.standing import digest, held, standing
from mtlbench.harness.driver.work import standing_of
from mtlbench.harness.matrix.expand import manifest
from mtlbench.harness.matrix.file import read
from mtlbench.harness.matrix.text.written import load
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files

METHODS = [{"name": "single_task", "label": "Single"}, {"name": "multi_task", "label": "Multi"}]


@pytest.fixture
def begun(tmp_path):
    """(store, file of a matrix that a run has put into it)"""
    file = str(matrix_file(tmp_path, "small", methods=METHODS, baseline="Single"))
    store, matrix = Store(tmp_path / "s"), read(file)
    store.put(files.matrix("small"), replace(manifest(matrix, {}), written=digest(load(file))).to_json())
    for cell_id in list(manifest(matrix, {}).cells())[:1]:
        store.put_failure(cell_id, "no", "")
    return store, file


def refuse():
    raise AssertionError("the matrix was checked")


def test_the_manifest_says_what_the_matrix_says(begun):
    store, file = begun
    light = standing(store, load(file), refuse)
    assert light == standing_of(read(file), store)
    assert [row.state for row in light.rows][:2] == ["failed", "new"] and light.rows[0].error == "no"


@pytest.mark.parametrize("override", ["seeds=[7]", "train.lr=0.5", "title=Other"])
def test_another_matrix_of_the_same_name_is_checked(begun, override):
    store, file = begun
    with pytest.raises(AssertionError, match="was checked"):
        standing(store, load(file, [override]), refuse)


def test_what_comes_from_outside_is_checked(tmp_path):
    file = str(matrix_file(tmp_path, "small", methods=[{"name": "plugin:Waits", "label": "W"}], baseline="W"))
    assert digest(load(file)) == ""


def test_a_store_says_what_it_holds(begun):
    store, _ = begun
    (one,) = held(store)
    assert one["matrix"] == "small" and one["last"] == "" and one["cells"]["failed"] == 1
    assert held(Store(store.path("elsewhere"))) == []


@pytest.mark.parametrize(
    ("length", "progress"),
    [({"epochs": 10}, "epoch 3/10"), ({"steps": 2000}, "step 1,200/2,000"), (None, "epoch 3")],
    ids=["epochs", "steps", "a file that holds no cell"],
)
def test_a_started_cell_says_how_far_it_came(begun, length, progress):
    store, file = begun
    started, untold = (row.id for row in standing(store, load(file), refuse).rows)
    store.remove(files.failure(started))
    events = [{"step": step, "epoch": step // 400, "name": "train/loss", "value": 1.0} for step in (800, 1200)]
    store.put(files.history(started), "".join(f"{json.dumps(event)}\n" for event in events))
    store.put(files.config(started), "[" if length is None else yaml.safe_dump({"train": length}))
    store.put(f"{files.checkpoints(untold)}/000001/state.json", "")
    rows = {row.id: row for row in standing(store, load(file), refuse).rows}
    assert rows[started].state == rows[untold].state == "started"
    assert rows[started].progress == progress and rows[untold].progress == ""
    said = CliRunner().invoke(app, ["status", file, "--store", store.url]).output
    assert f"[{started}]  {progress}\n" in said and f"[{untold}]\n" in said
