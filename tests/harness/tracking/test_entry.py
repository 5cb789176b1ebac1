"""Who enters MLflow by its own doors, as a first visitor in a browser of 1500 pixels, finds scores."""

import time
import urllib.request
from urllib.error import HTTPError

import pytest

from command import invoke
from devtools import CHROMIUM, Browser
from make_records import Store, score
from mtlbench.harness.tracking import entry, server
from mtlbench.harness.tracking.connection import default_uri
from mtlbench.harness.tracking.projection import Projection
from mtlbench.results.records.reading import read
from served import declare, served

TASKS = ("semseg", "depth", "normals")
LABELS = ("Single task", "Multi task", "PAD-Net", "MTI-Net", "SCA-MTL", "MTAN")
SCORES = ("test/semseg_miou", "test/depth_rmse", "test/normals_mean_angle")
CONSTANT = (score("semseg", 1.16), score("depth", 1.4), score("normals", 40.0))


def run(kind, *metrics):
    tags = [{"key": "kind", "value": kind}] if kind else []
    return {"info": {}, "data": {"tags": tags, "metrics": [{"key": name, "value": 1.0} for name in metrics]}}


def names(found):
    return [metric["key"] for metric in found["data"]["metrics"]]


def test_metrics_of_our_runs_come_in_the_order_in_which_they_are_asked_for():
    logged = ["train/loss", "val/a", "seeds", "cost/macs", "test/b", "test/b_low", "test/a", "delta/a", "delta/m"]
    wanted = ["delta/m", "delta/a", "test/b", "test/b_low", "test/a", "val/a", "cost/macs", "train/loss", "seeds"]
    assert names(entry.ordered({"run": run("cell", *logged)})["run"]) == wanted
    page = {"data": {"mlflowGetRun": {"apiError": None, "run": run("cell", *logged)}}}
    assert names(entry.ordered(page)["data"]["mlflowGetRun"]["run"]) == wanted
    for other in ({"data": None}, {"data": {"mlflowGetRun": {"run": None}}}, {"data": {"mlflowSearchRuns": {}}}):
        assert entry.ordered(other) == other
    ours, theirs, empty = entry.ordered({"runs": [run("aggregate", *logged), run("", *logged), {"info": {}}]})["runs"]
    assert names(ours) == wanted and names(theirs) == logged and empty == {"info": {}}
    assert entry.ordered({}) == {}


def test_a_server_has_the_app_where_mlflow_finds_it_and_a_user_is_told_where_it_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [])
    assert "--app-name" not in server.server("sqlite:///x.db", 5000)[0] and "again" in server.lacking()
    declare(tmp_path / "entries")
    assert server.server("sqlite:///x.db", 5000)[0][-2:] == ["--app-name", "mtlbench"] and not server.lacking()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server of two matrices: `three` with its report, and `begun`, which has none."""
    folder = tmp_path_factory.mktemp("entered")
    for name, seeds in (("three", range(3)), ("begun", range(1))):
        made = Store(folder / "s", name)
        for seed in seeds:
            made.single(TASKS, seed)
        for label in LABELS[1:]:
            for seed in seeds:
                made.run(label, TASKS, seed)
        made.constant("rooms", CONSTANT)
        store = made.close()
    assert invoke("track", "three", "--store", store).exit_code == 0
    uri = default_uri(store)
    manifest = read(store, "begun").manifest
    Projection(uri, store, manifest).cells(dict.fromkeys(manifest.ids, "finished"))
    with served(uri, folder / "entries") as found:
        yield found


@pytest.fixture
def browser(tmp_path):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with Browser(tmp_path / "profile") as found:
        yield found


def there(browser, *parts):
    """Wait until the address of the page has all parts. Returns it."""
    end = time.monotonic() + 20
    while True:
        found = browser.ask("location.hash")
        if all(part in found for part in parts):
            return found
        assert time.monotonic() < end, f"{found} has not {parts}"
        time.sleep(0.2)


def see(browser, *texts):
    """Wait until the page shows all texts."""
    end = time.monotonic() + 20
    while not all(text in (shown := browser.ask("document.body.innerText")) for text in texts):
        assert time.monotonic() < end, f"{texts} are not all in:\n{shown}"
        time.sleep(0.2)


def settled(browser):
    """The address of the page once it has stayed the same for three seconds."""
    found, since = "", time.monotonic()
    while time.monotonic() - since < 3:
        now = browser.ask("location.hash")
        if now != found:
            found, since = now, time.monotonic()
        time.sleep(0.2)
    return found


def click(browser, text):
    """Click on the innermost thing that shows a text, as soon as it is there."""
    end = time.monotonic() + 20
    found = (
        f"[...document.querySelectorAll('a, label, button, span')].findLast(each => each.innerText.trim() === '{text}')"
    )
    press = "found?.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true })), found?.click()"
    while not browser.ask(f"(found => ({press}, !!found))({found})"):  # it may go when it is clicked on
        assert time.monotonic() < end, f"there is no {text!r} to click on"
        time.sleep(0.2)


def enter(browser, address, name="three"):
    """Go from MLflow's first page to an experiment."""
    browser.open(address, "Experiments", "Recent Experiments", name)
    click(browser, "Experiments")
    see(browser, "/ page", name)  # the number of experiments a page, which the first page does not show
    click(browser, name)


# The texts that are shown in full: nothing cuts or covers them, and they do not end beyond the page.
WHOLE = """[...document.querySelectorAll('*')].filter(each => {
const place = each.getBoundingClientRect();
return !each.children.length && each.scrollWidth <= each.clientWidth + 1
    && document.elementFromPoint(place.right - 2, place.top + place.height / 2) === each;
}).map(each => each.innerText)"""


@pytest.mark.slow
def test_experiments_lead_to_a_list_that_shows_verdicts_and_the_scores_of_three_tasks(address, browser, tmp_path):
    enter(browser, address)
    there(browser, "/runs?", "viewStateShareKey=rows")
    see(browser, "4.8914")
    browser.picture(tmp_path / "rows.png")
    wanted, end = {"verdict", "delta/m", "interval", "seeds", *LABELS, *SCORES}, time.monotonic() + 20
    while lacking := wanted - set(browser.ask(WHOLE)):
        assert time.monotonic() < end, lacking
        time.sleep(0.2)


@pytest.mark.slow
def test_the_list_of_experiments_begins_with_what_may_be_claimed(address, browser, tmp_path):
    shown = browser.open(f"{address}/#/experiments", "three", "begun")
    browser.picture(tmp_path / "experiments.png")
    assert "SCA-MTL beats all 5 other rows." in shown and "##" not in shown


@pytest.mark.slow
def test_the_button_back_leads_to_the_list_of_experiments_and_forward_to_the_scores(address, browser):
    enter(browser, address)
    there(browser, "viewStateShareKey=rows")
    browser.ask("history.back()")
    assert settled(browser) == "#/experiments"
    browser.ask("history.forward()")
    there(browser, "viewStateShareKey=rows")


@pytest.mark.slow
def test_an_address_without_a_page_opens_the_rows_and_without_rows_the_cells(address, browser):
    browser.open(f"{address}/#/experiments/1", *LABELS)
    assert "viewStateShareKey=rows" in settled(browser)
    browser.ask("location.hash = '#/experiments/2'")  # as a visitor types it
    assert "/experiments/2/runs" in (found := settled(browser)) and "viewStateShareKey=cells" in found


LINK = "[...document.querySelectorAll('a')].{which}(each => each.innerText.trim() === '{text}')?.click() ?? 0"


@pytest.mark.slow
def test_the_doors_above_a_run_and_runs_on_the_left_lead_to_the_rows(address, browser):
    enter(browser, address)
    for text, which in (("three", "findLast"), ("Runs", "find"), ("Runs", "findLast")):
        there(browser, "viewStateShareKey=rows")
        click(browser, "SCA-MTL")
        see(browser, "About this run")
        browser.ask(LINK.format(which=which, text=text))
        see(browser, "4.8914", "undecided")
    assert "viewStateShareKey=rows" in settled(browser)


@pytest.mark.slow
def test_a_list_that_a_visitor_has_made_stays_behind_the_doors_of_a_run(address, browser):
    enter(browser, address)
    there(browser, "viewStateShareKey=rows")
    click(browser, "Exit shared view")
    there(browser, "searchFilter=&")
    own = "#/experiments/1/runs?searchFilter=tags.seed+%3D+%270%27&orderByKey=metrics.seeds"
    browser.ask(f"location.hash = {own!r}")
    see(browser, "seed 0")
    for _ in range(2):
        click(browser, "SCA-MTL · seed 0 · semseg+depth+normals")
        see(browser, "About this run")
        browser.ask(LINK.format(which="findLast", text="Runs"))
        there(browser, "tags.seed", "orderByKey=metrics.seeds")
        assert "viewStateShareKey" not in settled(browser)


@pytest.mark.slow
def test_what_a_visitor_has_chosen_and_other_experiments_stay(address, browser):
    enter(browser, address, "Default")
    there(browser, "#/experiments/0/runs")
    assert "viewStateShareKey" not in settled(browser)
    for chosen in ("#/experiments/1/models", "#/experiments/1/runs?searchFilter=&orderByKey=metrics.seeds"):
        browser.open(f"{address}/{chosen}", "Model registry")
        assert settled(browser).startswith(chosen)
    browser.open(f"{address}/#/experiments", "GenAI", "three")
    click(browser, "GenAI")
    click(browser, "three")
    assert "workflowType=genai" in settled(browser)
    click(browser, "Model training")
    there(browser, "viewStateShareKey=rows")


# What entry.js asks first is answered three seconds later.
SLOW = """const fetched = window.fetch, first = 'ajax-api/2.0/mlflow/experiments/get?';
window.fetch = (address, options) => new Promise(done => setTimeout(
    () => done(fetched(address, options)), `${address}`.startsWith(first) ? 3000 : 0)); 0"""


@pytest.mark.slow
def test_a_slow_answer_opens_the_rows_later_and_moves_nobody_who_went_on(address, browser):
    browser.open(f"{address}/#/experiments", "three", "/ page")
    browser.ask(SLOW)
    click(browser, "three")
    there(browser, "#/experiments/1/runs")
    assert "viewStateShareKey" not in browser.ask("location.hash")  # MLflow's own choice, for now
    there(browser, "viewStateShareKey=rows")
    browser.open(f"{address}/#/experiments", "three", "/ page")
    browser.ask(SLOW)
    click(browser, "three")
    there(browser, "#/experiments/1/runs")
    click(browser, "Models")
    there(browser, "#/experiments/1/models")
    time.sleep(4)
    assert "#/experiments/1/models" in browser.ask("location.hash")


RUNS = """[...new Set([...document.querySelectorAll('a')].map(link => link.href)
.filter(address => /runs\\/[0-9a-f]{32}$/.test(address)).map(address => address.slice(-32)))]"""


@pytest.mark.slow
def test_compared_cells_open_on_delta(address, browser):
    browser.open(f"{address}/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=cells", "SCA-MTL")
    end = time.monotonic() + 20
    while len(ids := browser.ask(RUNS)) < 3:
        assert time.monotonic() < end
        time.sleep(0.2)
    runs = ",".join(f'"{each}"' for each in ids[:3])
    shown = browser.open(f'{address}/#/compare-runs?runs=[{runs}]&experiments=["1"]', "Comparing 3 Runs", "Metrics:")
    assert shown.partition("Metrics:")[2].split()[0] == "delta/m"


@pytest.mark.slow
def test_the_page_of_a_cell_begins_with_delta(address, browser):
    browser.open(f"{address}/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=cells", "SCA-MTL")
    see(browser, "SCA-MTL · seed 0")
    click(browser, "SCA-MTL · seed 0 · semseg+depth+normals")
    see(browser, "About this run", "cost/macs")
    shown = browser.ask("document.body.innerText").split()
    assert shown.index("delta/m") < shown.index("test/semseg_miou") < shown.index("cost/macs")


@pytest.mark.slow
def test_mlflow_guards_its_pages_as_before(address):
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["X-Frame-Options"]
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        shown = answer.read().decode()
        assert [shown.count(f"viewStateShareKey={view}") for view in ("rows", "cells")] == [1, 1]
    create = f"{address}/ajax-api/2.0/mlflow/experiments/create"
    for url, data, headers in (
        (address, None, {"Host": "evil.example"}),
        (create, b'{"name": "x"}', {"Origin": "http://evil.example", "Content-Type": "application/json"}),
    ):
        with pytest.raises(HTTPError) as raised:
            urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30)
        with raised.value as refused:
            assert refused.code == 403
