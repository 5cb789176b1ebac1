"""How far the cells of a store are is told from its manifest where that is of the same matrix, with the same answer."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cells import matrix_file
from mtlbench.harness.cli.app import app
from mtlbench.harness.driver.standing import digest, standing
from mtlbench.harness.driver.work import standing_of
from mtlbench.harness.matrix.expand import manifest
from mtlbench.harness.matrix.file import read
from mtlbench.harness.matrix.text.written import embedded, find, load
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.record import Manifest
from paths import ROOT

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
    light = standing(store, load(file), refuse, refuse)
    assert light == standing_of(read(file), store)
    assert [row.state for row in light.rows][:2] == ["failed", "new"] and light.rows[0].error == "no"


@pytest.mark.parametrize("override", ["seeds=[7]", "train.lr=0.5", "title=Other"])
def test_another_matrix_of_the_same_name_is_checked(begun, override):
    store, file = begun
    with pytest.raises(AssertionError, match="was checked"):
        standing(store, load(file, [override]), refuse, refuse)
    other = read(file, [override])
    first = standing(store, load(file, [override]), refuse, lambda: manifest(other, {}))
    assert first == standing_of(other, store)
    assert standing(store, load(file, [override]), refuse, refuse) == first  # the cache of this machine knows it now


def test_what_comes_from_outside_is_checked(tmp_path):
    file = str(matrix_file(tmp_path, "small", methods=[{"name": "plugin:Waits", "label": "W"}], baseline="W"))
    assert digest(load(file)) == ""
    backbone = {"name": "hrnet_w18_small_v2", "weights": str(tmp_path / "net.safetensors")}
    file = str(matrix_file(tmp_path, "small", methods=METHODS, baseline="Single", backbone=backbone))
    assert digest(load(file)) == ""
    with pytest.raises(AssertionError, match="was checked"):
        standing(Store(tmp_path / "s"), load(file), refuse, lambda: None)


def test_cells_that_depend_on_records_are_never_taken_from_a_cache(tmp_path):
    store, file = Store(tmp_path / "s"), str(find("atrc_search"))
    for _ in range(2):
        with pytest.raises(AssertionError, match="was checked"):
            standing(store, load(file), refuse, lambda: manifest(read(file), {}))


def test_an_embedded_matrix_has_the_cells_that_it_had_or_the_expansion_has_another_number():
    found = {}
    for name in embedded():
        cells = [(e.label, e.id, e.tasks, e.task_set, e.seed, e.starts) for e in expanded(name)]
        found[name] = [digest(load(name)), hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:16]]
    golden = ROOT / "tests/golden/expansion.json"
    text = json.dumps(found, indent=1) + "\n"
    kept = json.loads(golden.read_text())
    same = [name for name in found if name in kept and kept[name][0] == found[name][0]]
    moved = [name for name in same if kept[name] != found[name]]
    assert not moved, f"other cells: {moved}; raise EXPANSION in harness/matrix/cell.py, or manifests tell the old ones"
    assert found == kept, f"the matrices have changed: write this into {golden}\n{text}"


def expanded(name):
    return manifest(read(name), {}).cells().values()


@pytest.mark.slow  # a process for each of two stores
def test_the_status_of_the_committed_store_and_of_a_new_one_that_was_asked_before_needs_no_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    committed, new = str(ROOT / "results/rooms_verdict/store"), str(tmp_path / "new")
    told = manifest(read("rooms_verdict"), {})
    assert Manifest.from_json((Path(committed) / files.matrix("rooms_verdict")).read_text(), "").cells() == told.cells()
    assert CliRunner().invoke(app, ["status", "smoke", "--store", new]).exit_code == 0
    for name, store in (("rooms_verdict", committed), ("smoke", new)):
        code = (
            "import sys; from typer.testing import CliRunner; from mtlbench.harness.cli.app import app; "
            f"done = CliRunner().invoke(app, ['status', {name!r}, '--store', {store!r}]); "
            "assert not done.exit_code, done; "
            "unwanted = sorted({'torch', 'mtlbench.methods', 'mtlbench.benchmarks', 'ray'} & set(sys.modules)); "
            "sys.exit(' '.join(unwanted) or None)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (name, done.stderr)


@pytest.mark.parametrize(
    ("length", "progress"),
    [({"epochs": 10}, "epoch 3/10"), ({"steps": 2000}, "step 1,200/2,000"), (None, "epoch 3")],
    ids=["epochs", "steps", "a file that holds no cell"],
)
def test_a_started_cell_says_how_far_it_came(begun, length, progress):
    store, file = begun
    started, untold = (row.id for row in standing(store, load(file), refuse, refuse).rows)
    store.remove(files.failure(started))
    events = [{"step": step, "epoch": step // 400, "name": "train/loss", "value": 1.0} for step in (800, 1200)]
    store.put(files.history(started), "".join(f"{json.dumps(event)}\n" for event in events))
    store.put(files.config(started), "[" if length is None else yaml.safe_dump({"train": length}))
    store.put(f"{files.checkpoints(untold)}/000001/state.json", "")
    rows = {row.id: row for row in standing(store, load(file), refuse, refuse).rows}
    assert rows[started].state == rows[untold].state == "started"
    assert rows[started].progress == progress and rows[untold].progress == ""
    said = CliRunner().invoke(app, ["status", file, "--store", store.url]).output
    assert f"[{started}]  {progress}\n" in said and f"[{untold}]\n" in said
