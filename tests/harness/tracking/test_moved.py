"""A store that was moved or copied is one experiment still, and its artifacts are where the store is now."""

import shutil
from pathlib import Path

import pytest

from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking import connection, server
from mtlbench.harness.tracking.pages import PAGES
from mtlbench.harness.tracking.projection import Projection
from tracked import MANIFEST, MULTI, finish, runs

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def tracked(store, projection, tmp_path):
    """A store whose database shows a finished cell and a report."""
    store.put(f"matrices/{MANIFEST.name}.json", MANIFEST.to_json())
    finish(store, projection, MULTI)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "report.html").write_text("a page")
    projection.report(tmp_path / "tables", [tmp_path / "tables" / "report.html"])
    return store


@pytest.mark.slow
@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_it_is_one_experiment_whose_artifacts_are_where_the_store_is(tracked, tmp_path, move):
    old, new = tracked.url, str(tmp_path / "elsewhere" / "a new place")
    (tmp_path / "elsewhere").mkdir()
    move(old, new)
    uri = connection.default_uri(new)
    again = Projection(uri, new, MANIFEST)
    again.cell(MULTI.id, "finished")
    names = [one.name for one in again.client.search_experiments() if one.name != "Default"]
    assert names == [MANIFEST.name]
    (run,) = runs(again).values()
    there = f"{Path(new).as_uri()}/mlflow/{MANIFEST.name}"
    assert again.client.get_experiment_by_name(MANIFEST.name).artifact_location == there
    assert run.info.artifact_uri.startswith(f"{there}/")
    assert [one.path for one in again.client.list_artifacts(run.info.run_id)] == ["cell.yaml", "record.json"]
    assert server.pages(uri, new, MANIFEST.name, "http://x").keys() == PAGES.keys()
    again.report(tmp_path / "tables", [tmp_path / "tables" / "report.html"])  # what comes later lies there too
    assert list((tmp_path / "elsewhere").rglob("report.html"))


def test_a_store_that_is_reached_by_another_path_is_the_same(tracked, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tracked.url)
    Projection(connection.default_uri(str(link)), str(link), MANIFEST)
    again = Projection(connection.default_uri(tracked.url), tracked.url, MANIFEST)
    assert [one.name for one in again.client.search_experiments() if one.name != "Default"] == [MANIFEST.name]


def test_pages_are_found_before_anything_is_tracked_again(tracked, tmp_path):
    new = shutil.move(tracked.url, str(tmp_path / "moved"))
    assert server.pages(connection.default_uri(new), new, MANIFEST.name, "http://x").keys() == PAGES.keys()


def test_the_experiment_of_another_store_that_tracks_here_stays_its_own(tracked, uri, tmp_path):
    other = Store(tmp_path / "other")
    other.put(f"matrices/{MANIFEST.name}.json", MANIFEST.to_json())
    Projection(uri, other.url, MANIFEST)  # under a name of its own
    Projection(uri, tracked.url, MANIFEST)
    found = [one for one in connection.client(uri).search_experiments() if one.name != "Default"]
    assert {one.tags["store"] for one in found} == {tracked.url, other.url} and len(found) == 2


def test_a_database_that_is_empty_or_elsewhere_is_left_alone(tmp_path):
    store = Store(tmp_path / "s")
    store.put("mlflow.db", b"")
    from mtlbench.harness.tracking.moved import adopt

    adopt(connection.default_uri(store.url), store.url)
    adopt("http://127.0.0.1:9", store.url)
    assert store.get("mlflow.db") == b""


NAMES = ["a b@'\"é;,$=+&~{x}", "nfd-e\u0301:x"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_other_name_holds_a_whole_run(name, tmp_path, rooms, empty_database):
    from io import StringIO

    from rich.console import Console

    from cells import small_matrix
    from in_process import InTurn
    from mtlbench.harness.driver import run as driver

    store = Store(tmp_path / name)
    Path(store.url).mkdir()
    shutil.copy(empty_database, store.path("mlflow.db"))
    request = driver.Request(small_matrix(), {"rooms": rooms}, Path(store.url) / "report")
    outcome = driver.run(request, store, InTurn, Console(file=StringIO()))
    assert outcome.finished == 2 and [path.name for path in tmp_path.iterdir()] == [name]
    found = connection.client(connection.default_uri(store.url)).search_experiments(filter_string="name = 'm'")
    assert found[0].artifact_location == f"{Path(store.url).as_uri()}/mlflow/m"
    assert (Path(store.url) / "report" / "m" / "report.html").exists()
    assert list((Path(store.url) / "mlflow").rglob("report.html"))
