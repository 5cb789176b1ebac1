"""One record that cannot be read hides no other: every command shows the others, names it, and ends with status 1."""

import json
import random
import shutil
from io import StringIO

import pandas as pd
import pytest
from rich.console import Console

from cells import matrix_file, small_matrix
from command import invoke
from in_process import running
from make_records import three_seeds
from mtlbench.harness.cli.outcome import show_report
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.reading import read
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise
from mtlbench.results.summary.transfer import by_task

pytestmark = pytest.mark.usefixtures("undrawn")

DAMAGES = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "not text": lambda text: b"\xff\xfe\x00",
    "a list": lambda text: "[1, 2]",
    "newer": lambda text: json.dumps({**json.loads(text), "schema": 99}),
    "of another cell": lambda text: json.dumps({**json.loads(text), "id": "rooms-other"}),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory, rooms):
    folder = tmp_path_factory.mktemp("ran")
    with pytest.MonkeyPatch.context() as patch:
        outcome, _ = running(patch, folder, rooms)(small_matrix())
    assert outcome.missing == []
    return folder


@pytest.fixture(params=DAMAGES)
def damaged(request, ran, tmp_path):
    """A store with a damaged record of Multi-task: (store, the id of its cell, the file of the matrix)."""
    store = Store(shutil.copytree(ran / "s", tmp_path / "s"))
    (cell_id,) = [name for name in store.cells() if "multi_task" in name]
    name = f"cells/{cell_id}/record.json"
    store.put(name, DAMAGES[request.param](store.get(name).decode()))
    return store, cell_id, matrix_file(tmp_path)


def test_status_calls_it_corrupt_and_shows_the_rest(damaged):
    store, cell_id, matrix = damaged
    said = invoke("status", matrix, "--store", store.url)
    assert said.exit_code == 1
    (line,) = [line for line in said.output.splitlines() if line.startswith("corrupt")]
    assert cell_id in line and "record.json" in line
    assert any(line.startswith("finished  Single task") for line in said.output.splitlines())
    rows = json.loads(invoke("status", matrix, "--store", store.url, "--json").stdout)
    assert [row["state"] for row in rows] == ["finished", "corrupt"]


def test_the_report_shows_the_rest_and_says_what_is_left_out(damaged, tmp_path):
    store, cell_id, _ = damaged
    said = invoke("report", "m", "--store", store.url, "--out", tmp_path / "out")
    assert said.exit_code == 1
    assert "Single task" in said.output
    table = (tmp_path / "out" / "m" / "table.md").read_text()
    assert f"Multi-task: corrupt 1 of 1 seeds (cells/{cell_id}/record.json" in table and "failed" not in table
    scores = pd.read_csv(tmp_path / "out" / "m" / "scores.csv")
    assert scores[scores["cell"] == cell_id]["status"].tolist() == ["corrupt"]
    (line,) = [line for line in said.stderr.splitlines() if line.startswith("mtlbench:")]
    assert f"cells/{cell_id}/record.json" in line and "left out" in line
    newer = "newer" in line
    assert ("update mtlbench to read it" in line) == newer and ("sets it aside and trains the cell" in line) != newer
    assert line.partition("left out: ")[2] in table.replace("\\", "")


def test_a_damaged_record_counts_against_its_row_but_not_as_a_failed_training(tmp_path):
    store = three_seeds(tmp_path / "s", gaps=False)
    name = "pad_net-semseg-depth-rooms-1"
    (sound,) = (summarise(one, store) for one in comparisons(read(store, "rooms")) if one.tasks == ("semseg", "depth"))
    shutil.copytree(tmp_path / "s", tmp_path / "old")
    (tmp_path / "s" / files.record(name)).write_bytes(b"\0" * 500)
    (one,) = (summarise(one, store) for one in comparisons(read(store, "rooms")) if one.tasks == ("semseg", "depth"))
    delta = one.rows["PAD-Net"].delta
    assert delta.lost == {1: "corrupt"} and delta.compared == 2
    assert by_task(delta)["depth"].runs == 2 and by_task(sound.rows["PAD-Net"].delta)["depth"].runs == 3
    before, after = ({*each.block.verdicts("PAD-Net").values()} for each in (sound, one))
    assert before & {"better", "equivalent"} and not after & {"better", "equivalent"}
    invoke("report", "rooms", "--store", store, "--out", tmp_path / "out", "--against", tmp_path / "old")
    table = (tmp_path / "out" / "rooms" / "table.md").read_text()
    assert "(1 of 3 corrupt)" in table and "failed" not in table
    assert "the command mtlbench run sets it aside and trains the cell again" in table
    numbers = pd.read_csv(tmp_path / "out" / "rooms" / "table.csv").set_index(["label", "task_set"])
    assert numbers.loc[("PAD-Net", "semseg+depth"), ["failed", "corrupt"]].tolist() == [0, 1]
    answer = (tmp_path / "out" / "rooms" / "against.md").read_text()
    assert "1 cell is finished in one store only: 1 in the old one (1 corrupt in the new one)." in answer
    assert "corrupt in the new one" in answer and "trains the cell again" in answer


def test_the_way_out_of_a_damaged_constant_is_not_to_train(ran, tmp_path):
    store = Store(shutil.copytree(ran / "s", tmp_path / "s"))
    (name,) = read(store.url, "m").constants.values()
    store.put(files.constant(name.id), "garbage")
    said = invoke("report", "m", "--store", store.url, "--out", tmp_path / "out")
    (line,) = [line for line in said.stderr.splitlines() if line.startswith("mtlbench:")]
    assert line.endswith("; remove it, and the next mtlbench run of the matrix makes it anew")


def test_the_dry_run_names_it_too(damaged):
    store, cell_id, matrix = damaged
    said = invoke("run", matrix, "--store", store.url, "--dry-run")
    assert f"{cell_id}/record.json" in said.output and "1 to run" in said.output


@pytest.mark.slow
def test_track_shows_the_rest(damaged, empty_database):
    store, cell_id, _ = damaged
    shutil.copy(empty_database, store.path("mlflow.db"))
    said = invoke("track", "m", "--store", store.url)
    assert said.exit_code == 1 and f"{cell_id}/record.json" in said.output
    from mtlbench.harness.tracking import connection

    client = connection.client(connection.default_uri(store.url))
    found = client.search_runs([client.get_experiment_by_name("m").experiment_id])
    assert [run.data.tags["label"] for run in found if "cell_id" in run.data.tags] == ["Single task"]


@pytest.fixture
def beside(ran, tmp_path):
    """A store with the manifest of another matrix that is none."""
    store = Store(shutil.copytree(ran / "s", tmp_path / "s"))
    store.put(files.matrix("foo"), "garbage")
    return store


def left_out(said):
    """Whether the one line of ours on standard error names the manifest and the way out."""
    (line,) = [line for line in said.stderr.splitlines() if line.startswith("mtlbench:")]
    return "matrices/foo.json: not a matrix manifest" in line and "move the file away, or run the matrix again" in line


def test_status_of_a_store_shows_the_matrices_beside_a_manifest_that_is_none(beside):
    said = invoke("status", "--store", beside.url)
    assert said.exit_code == 1 and left_out(said)
    assert said.stdout.startswith("m: 2 cells, 2 finished") and "foo" not in said.stdout
    assert [each["matrix"] for each in json.loads(invoke("status", "--store", beside.url, "--json").stdout)] == ["m"]
    beside.remove(files.matrix("m"))
    said = invoke("status", "--store", beside.url)
    assert said.exit_code == 1 and left_out(said) and "holds no matrix" not in said.stdout


def test_show_finds_the_cells_beside_a_manifest_that_is_none(beside):
    said = invoke("show", "multi", "--store", beside.url)
    assert said.exit_code == 0 and left_out(said) and "enters Δm" in said.stdout
    said = invoke("show", "nothing", "--store", beside.url)
    assert said.exit_code == 2 and left_out(said) and "Single task" in said.stderr
    said = invoke("show", "multi", "--matrix", "foo", "--store", beside.url)
    assert said.exit_code == 2 and left_out(said)
    assert invoke("show", "multi", "--matrix", "m", "--store", beside.url).stderr == ""


def test_a_run_of_the_matrix_writes_its_manifest_anew(ran, tmp_path, rooms, monkeypatch):
    store = Store(shutil.copytree(ran / "s", tmp_path / "s"))
    whole = store.get(files.matrix("m"))
    store.put(files.matrix("m"), "garbage")
    outcome, _ = running(monkeypatch, tmp_path, rooms)(small_matrix())
    assert outcome.missing == [] and store.get(files.matrix("m")) == whole


def noise(path):
    path.write_bytes(random.Random(0).randbytes(400))


@pytest.mark.slow
def test_the_report_says_which_files_of_finished_cells_are_damaged(tmp_path):
    store = three_seeds(tmp_path / "s", gaps=False)
    whole = invoke("report", "--store", store, "--out", tmp_path / "out")
    assert whole.exit_code == 0 and "mtlbench:" not in whole.stderr
    noise(tmp_path / "s" / files.history("pad_net-semseg-depth-rooms-1"))
    noise(tmp_path / "s" / files.per_image("pad_net-semseg-depth-rooms-2"))
    said = invoke("report", "--store", store, "--out", tmp_path / "out")
    assert said.exit_code == 0
    lines = [line for line in said.stderr.splitlines() if line.startswith("mtlbench:")]
    assert [line.split()[1].rpartition("/")[2] for line in lines] == ["history.jsonl", "per_image.parquet"]
    for seed, line in enumerate(lines, start=1):
        cell_id = f"pad_net-semseg-depth-rooms-{seed}"
        assert f"cells/{cell_id}/" in line and f"`mtlbench run ... --rerun all --only {cell_id}`" in line
    page = (tmp_path / "out" / "rooms" / "report.html").read_text()
    assert all(line.removeprefix("mtlbench: ") in page for line in lines)


def test_of_many_damaged_files_some_are_named_and_the_others_counted(tmp_path):
    store = three_seeds(tmp_path / "s", gaps=False)
    damaged = sorted((tmp_path / "s").glob("cells/*-semseg-depth-*/history.jsonl"))
    for path in damaged:
        noise(path)
    said = invoke("report", "rooms", "--store", store, "--out", tmp_path / "out")
    lines = [line for line in said.stderr.splitlines() if line.startswith("mtlbench:")]
    assert len(damaged) > 10 and len(lines) == 9
    assert lines[-1] == f"mtlbench: {len(damaged) - 8} more files of the store are damaged"


def test_a_finished_run_says_which_files_of_its_cells_are_damaged(ran, tmp_path, rooms, monkeypatch, capsys):
    store = Store(shutil.copytree(ran / "s", tmp_path / "s"))
    (cell_id,) = [name for name in store.cells() if "multi_task" in name]
    noise(tmp_path / "s" / files.history(cell_id))
    outcome, _ = running(monkeypatch, tmp_path, rooms)(small_matrix())
    show_report(outcome.report, Console(file=StringIO()))
    assert f"mtlbench: cells/{cell_id}/history.jsonl is damaged" in capsys.readouterr().err


def test_a_finished_cell_that_lost_its_statistics_says_so(ran, tmp_path):
    store = Store(shutil.copytree(ran / "s", tmp_path / "s"))
    (cell_id,) = [name for name in store.cells() if "multi_task" in name]
    store.remove(f"cells/{cell_id}/per_image.parquet")
    said = invoke("status", matrix_file(tmp_path), "--store", store.url)
    assert said.exit_code == 0
    (line,) = [line for line in said.output.splitlines() if cell_id in line]
    assert "per_image.parquet is missing, so that it has no interval over images" in line
