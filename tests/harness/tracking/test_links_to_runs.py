"""A report leads to the runs of MLflow: each row to the run of the row, each cell to the run of the cell."""

import html
import re
import shutil

import pytest

from command import invoke
from devtools import CHROMIUM, Browser
from make_records import Store, three_seeds
from mtlbench.harness.store.store import Store as Opened
from mtlbench.harness.tracking import connection, links
from mtlbench.harness.tracking.projection import Projection
from mtlbench.harness.tracking.rows import aggregates
from mtlbench.results.records import files
from mtlbench.results.records.reading import read
from mtlbench.results.report.tables import table
from served import served
from tables_of import summaries

ADDRESS = "http://127.0.0.1:5000"


@pytest.fixture
def tracked(tmp_path, empty_database, monkeypatch):
    """A store of three seeds and its MLflow experiment, which is taken for that of the server at ADDRESS."""
    store = three_seeds(tmp_path / "s")
    shutil.copy(empty_database, Opened(store).path(files.DATABASE))
    uri = connection.default_uri(store)
    manifest = read(store, "rooms").manifest
    projection = Projection(uri, store, manifest)
    states = {cell_id: Opened(store).state(cell_id) for cell_id in manifest.ids}
    projection.cells({cell_id: state for cell_id, state in states.items() if state in ("finished", "failed")})
    found, _ = summaries(store)
    projection.rows(aggregates(manifest, [table(summary, manifest) for summary in found], found))
    asked = []
    monkeypatch.setattr(links, "client", lambda address: asked.append(address) or connection.client(uri))
    return store, projection, asked


def test_every_row_and_every_cell_has_the_address_of_its_own_run(tracked):
    store, projection, asked = tracked
    found = links.links(f"{ADDRESS}/#/experiments", store, ["rooms"])["rooms"]
    assert asked == [found.server] == [ADDRESS]
    for addresses, tags in ((found.rows, ("label", "tasks", "benchmark")), (found.cells, ("cell_id",))):
        assert addresses
        for key, address in addresses.items():
            start, _, run_id = address.rpartition("/")
            assert start == f"{ADDRESS}/#/experiments/{projection.experiment_id}/runs"
            of_run = projection.client.get_run(run_id).data.tags
            assert [of_run[tag] for tag in tags] == ([key] if isinstance(key, str) else list(key))
    manifest = read(store, "rooms").manifest
    missing = [cell_id for cell_id in manifest.ids if Opened(store).state(cell_id) not in ("finished", "failed")]
    assert found.cells.keys() == set(manifest.ids) - set(missing) and missing
    assert found.rows.keys() == {(label, "semseg+depth", "rooms") for label in summaries(store)[0][0].rows}
    assert all(f"{ADDRESS}/#/experiments/{projection.experiment_id}/runs?" in each for each in found.pages.values())


@pytest.mark.usefixtures("undrawn")
def test_reports_with_equal_links_are_equal_and_without_links_nothing_is_asked(tracked, tmp_path):
    store, _, asked = tracked
    said = [
        invoke("report", "rooms", "--store", store, "--out", tmp_path / out, *more)
        for out, *more in (("a", "--mlflow", ADDRESS), ("b", "--mlflow", ADDRESS), ("c",))
    ]
    assert [each.exit_code for each in said] == [0, 0, 0] and len(asked) == 2
    first, second, without = ((tmp_path / out / "rooms/report.html").read_bytes() for out in "abc")
    assert first == second and ADDRESS.encode() in first and b"http:" not in without


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:5000", "give the address of MLflow's pages in a browser"),
        ("sqlite:////tmp/mlflow.db", "give the address of MLflow's pages in a browser"),
        ("http://me:hunter2@host:5000", r"http://me:\*\*\*@host:5000: the address holds a password"),
        ("http://127.0.0.1:9", r"does not answer .*; start it with: mtlbench ui --store \S+ --port 9$"),
    ],
)
def test_an_address_without_mlflow_is_refused_in_a_line_that_says_what_to_do(tmp_path, monkeypatch, address, reason):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = invoke("report", "--store", three_seeds(tmp_path / "s"), "--out", tmp_path / "out", "--mlflow", address)
    (line,) = [line for line in said.output.splitlines() if line.startswith("mtlbench: ")]
    assert said.exit_code == 2 and re.search(reason, line) and "hunter2" not in said.output
    assert not (tmp_path / "out").exists()


def test_a_matrix_that_mlflow_does_not_show_is_named_with_the_command_that_shows_it(tracked, tmp_path):
    other = Store(tmp_path / "s", "other")
    other.run("SCA-MTL", ("semseg", "depth"), 0)
    store = other.close()
    way = f"mtlbench track other --store {store} --tracking-uri {ADDRESS}"
    with pytest.raises(ValueError, match=re.escape(f"shows nothing of matrix 'other' of {store}; show it with: {way}")):
        links.links(ADDRESS, store, ["rooms", "other"])


@pytest.mark.slow  # a server and a browser start
def test_a_click_on_a_row_or_a_cell_opens_its_run_in_mlflow(tmp_path, tracked, monkeypatch):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    monkeypatch.undo()
    store, *_ = tracked
    with served(connection.default_uri(store), tmp_path / "entries") as address:
        assert invoke("report", "--store", store, "--out", tmp_path / "out", "--mlflow", address).exit_code == 0
        page = tmp_path / "out/rooms/report.html"
        with Browser(tmp_path / "profile") as browser:
            for words, wanted in (("PAD-Net", "Overview"), ("1 (failed)", "PAD-Net · seed 1 · semseg+depth")):
                browser.open(page.as_uri(), "Rooms")
                link = f"[...document.querySelectorAll('td a')].find((each) => each.textContent === '{words}')"
                to = browser.ask(f"{link}.href")
                assert to in html.unescape(page.read_text())
                browser.open(to, "PAD-Net", wanted)
