"""A run of a matrix, and `track` after it, leave the same in MLflow: cells, rows and the report."""

import shutil
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cells import small_matrix
from command import invoke
from in_process import InTurn
from mtlbench.harness.driver import run as driver
from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking import connection
from mtlbench.results.records import files
from mtlbench.results.report import write
from mtlbench.results.report.tables import table
from tables_of import summaries

pytestmark = pytest.mark.slow  # it trains, and draws three reports


def held(client):
    """What MLflow shows of the one experiment: (kind, label or cell, metrics, tags, artifacts), sorted."""
    (experiment,) = [each for each in client.search_experiments() if each.name != "Default"]
    found = []
    for run in client.search_runs([experiment.experiment_id]):
        tags = run.data.tags
        shown = sorted(file.path for file in client.list_artifacts(run.info.run_id))
        name = tags.get("cell_id") or tags.get("label", "")
        found.append((tags["kind"], name, run.info.status, run.data.metrics, tags, shown))
    return sorted(found, key=lambda each: each[:2]), experiment.tags["mlflow.note.content"]


def test_a_matrix_that_was_run_and_one_that_was_tracked_show_the_same(tmp_path, rooms, empty_database, monkeypatch):
    store, matrix = Store(tmp_path / "s"), small_matrix()
    Path(store.root).mkdir()
    shutil.copy(empty_database, store.path(files.DATABASE))
    request = driver.Request(matrix, {"rooms": rooms}, tmp_path / "out")
    outcome = driver.run(request, store, InTurn, Console(file=StringIO()))
    assert outcome.missing == []
    uri = connection.default_uri(store.url)
    before = held(connection.client(uri))
    found, manifest = summaries(store.url, matrix.name)
    kinds = [kind for kind, *_ in before[0]]
    assert kinds.count("cell") == len(manifest.ids)
    assert kinds.count("aggregate") == sum(len(summary.rows) for summary in found) > 0
    assert kinds.count("report") == 1
    (of_report,) = [shown for kind, *_, shown in before[0] if kind == "report"]
    assert {"report.html", "figures", "table.md", "matrix.json"} <= set(of_report)
    assert {status for _, _, status, *_ in before[0]} == {"FINISHED"}
    told = {name: tags["seeds"] for kind, name, _, _, tags, _ in before[0] if kind == "aggregate"}
    assert told == {row[0].text: row[1].text for row in table(found[0], manifest).rows if row[0].text in told}

    done = invoke("track", matrix.name, "--store", store.url)
    assert done.exit_code == 0, done.output
    assert held(connection.client(uri)) == before
    other = f"sqlite:///{tmp_path}/other.db"
    done = invoke("track", matrix.name, "--store", store.url, "--tracking-uri", other)
    assert done.exit_code == 0, done.output
    again = held(connection.client(other))
    assert [each[:4] for each in again[0]] == [each[:4] for each in before[0]]
    assert [each[5] for each in again[0]] == [each[5] for each in before[0]]

    # What is shown already is not written again, and what is lost is.
    def writes(*_):
        raise AssertionError("a report was written")

    monkeypatch.setattr(write, "report", writes)
    done = invoke("track", matrix.name, "--store", store.url)
    assert done.exit_code == 0, done.output
    (experiment,) = connection.client(uri).search_experiments(filter_string=f"name = '{matrix.name}'")
    row, *_ = connection.client(uri).search_runs([experiment.experiment_id], "tags.kind = 'aggregate'")
    connection.client(uri).delete_run(row.info.run_id)
    done = invoke("track", matrix.name, "--store", store.url)
    assert isinstance(done.exception, AssertionError)
    monkeypatch.undo()
    done = invoke("track", matrix.name, "--store", store.url)
    assert done.exit_code == 0, done.output
    assert [each[:4] for each in held(connection.client(uri))[0]] == [each[:4] for each in before[0]]
