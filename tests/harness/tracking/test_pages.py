"""MLflow's own pages, as a browser of 1500 pixels shows them to somebody who opens them for the first time."""

import pytest

from command import invoke
from devtools import CHROMIUM, Browser
from make_records import Store, score
from mtlbench.harness.tracking import connection, server
from mtlbench.harness.tracking.pages import PAGES
from mtlbench.results.report.drawing.colors import COLORS
from served import served

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

TASKS = ("semseg", "depth")
LABELS = ("Single task", "Multi task", "PAD-Net", "MTI-Net", "SCA-MTL", "MTAN")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The addresses of the prepared pages of three seeds of six methods, on a server."""
    folder = tmp_path_factory.mktemp("pages")
    made = Store(folder / "s", title="Six methods")
    for seed in range(3):
        made.single(TASKS, seed)
    for label in LABELS[1:]:
        for seed in range(3):
            made.run(label, TASKS, seed)
    made.constant("rooms", (score("semseg", 1.16), score("depth", 1.4)))
    store = made.close()
    assert invoke("track", "rooms", "--store", store).exit_code == 0
    uri = connection.default_uri(store)
    with served(uri, folder / "entries") as address:
        yield server.pages(uri, store, "rooms", address)


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / "profile") as found:
        yield found


RUNS = """[...new Set([...document.querySelectorAll('a')].map(link => link.href)
.filter(address => /runs\\/[0-9a-f]{32}$/.test(address)).map(address => address.slice(-32)))]"""


def cut(browser, texts):
    """Those of some texts that no element of the page shows in full."""
    whole = browser.ask(
        "[...document.querySelectorAll('*')].filter(e => e.scrollWidth <= e.clientWidth + 1 || !e.clientWidth)"
        ".filter(e => e.children.length == 0).map(e => e.innerText)"
    )
    return set(texts) - set(whole)


def test_the_list_of_rows_shows_verdicts_and_scores(pages, browser, tmp_path):
    shown = browser.open(pages["rows"], *LABELS, "4.91958", "[+3.86, +5.98]", "undecided")
    browser.picture(tmp_path / "rows.png")
    lines = [line.strip() for line in shown.splitlines()]
    assert lines.count("better") == 2 and lines.count("worse") == 1 and lines.count("baseline") == 1
    assert "SCA-MTL beats all 5 other rows." in shown
    assert not cut(browser, [*LABELS, "verdict", "delta/m", "interval", "[+3.86, +5.98]", "undecided", "3.2h"])
    menu = browser.ask("[...document.querySelectorAll('button')].map(button => button.innerText.trim())")
    assert PAGES["rows"] in menu  # MLflow knows the view by its name
    assert "seed 0" not in shown and "Tables and figures" not in lines


def test_the_charts_of_rows_have_whole_titles_scores_and_the_colours_of_the_report(pages, browser, tmp_path):
    titles = ["delta/m", "delta/semseg", "delta/depth", "test/semseg_miou", "test/depth_rmse"]
    shown = browser.open(pages["charts"], *titles, "4.92", "39.92")
    browser.picture(tmp_path / "charts.png")
    assert not cut(browser, titles)
    lines = [line.strip() for line in shown.splitlines()]
    assert "delta/m_low" not in shown and "seeds" not in lines
    drawn = browser.ask("[...document.querySelectorAll('.bars .point path')].map(bar => getComputedStyle(bar).fill)")
    wanted = {f"rgb{tuple(int(color[place : place + 2], 16) for place in (1, 3, 5))}" for color in COLORS[:6]}
    assert set(drawn) == wanted


def test_means_over_seeds_have_whole_titles_and_a_bar_a_row(pages, browser, tmp_path):
    titles = ["delta/m", "delta/semseg", "delta/depth", "test/semseg_miou", "test/depth_rmse"]
    browser.open(pages["methods"], *titles, "4.92", "39.92")
    browser.picture(tmp_path / "methods.png")
    assert not cut(browser, titles)
    bars = browser.ask("document.querySelectorAll('.plot-container')[0].querySelectorAll('.bars .point').length")
    assert bars == len(LABELS) - 1  # the baseline has no delta of its own


def test_compared_rows_open_on_delta(pages, browser):
    browser.open(pages["rows"], "4.91958")
    ids = browser.ask(RUNS)
    assert len(ids) == len(LABELS)
    address = pages["rows"].partition("#")[0]
    runs = ",".join(f'"{each}"' for each in ids[:3])
    shown = browser.open(f'{address}#/compare-runs?runs=[{runs}]&experiments=["1"]', "Comparing 3 Runs", "Metrics:")
    assert shown.partition("Metrics:")[2].split()[0] == "delta/m"
