"""Pages on a telephone, as a browser lays them out: wide tables scroll by themselves, and fingers hit their aim."""

import json

import pytest

from devtools import CHROMIUM, Browser
from make_records import crowded, pascal
from mtlbench.results.report.web.pages import TEMPLATES
from mtlbench.results.report.write import report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

SMALL = """JSON.stringify([...document.querySelectorAll("a, button, summary, select, input")].map((each) => {
  const box = each.getBoundingClientRect();
  return [each.textContent, box.width, box.height];
}).filter((each) => each[1] && each[2] < 24))"""
SCROLLED = """JSON.stringify([...document.querySelectorAll(".scroll")].map((part) => {
  const place = () => part.querySelector("td").getBoundingClientRect().left;
  const before = place();
  part.scrollLeft = 60;
  return [part.scrollLeft, place() - before, part.querySelector("td").getBoundingClientRect().width];
}))"""


@pytest.mark.slow  # reports are written, and a browser starts
@pytest.mark.usefixtures("undrawn")
def test_a_telephone_shows_the_rows_while_their_table_scrolls_and_the_page_does_not(tmp_path):
    crowded(tmp_path / "store")
    report(pascal(tmp_path / "store"), [], tmp_path / "out")
    with Browser(tmp_path / "profile", 420, 900) as browser:
        for page, text in (("crowd/report.html", "How sure"), ("index.html", "All matrices")):
            browser.open((tmp_path / "out" / page).as_uri(), text)
            browser.ask("document.querySelectorAll('details').forEach((each) => (each.open = true))")
            assert browser.ask("document.documentElement.scrollWidth") == 420
            assert json.loads(browser.ask(SMALL)) == []
            moves = json.loads(browser.ask(SCROLLED))
            assert any(scrolled == 60 for scrolled, *_ in moves)
            for scrolled, moved, width in moves:
                assert moved == 0 and (60 < width < 200 or not scrolled)


@pytest.mark.slow  # a browser starts
def test_a_label_that_has_no_place_in_a_chart_is_left_out(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(f"<p>ready</p><script>{(TEMPLATES / 'labels.js').read_text()}</script>")
    points = [
        {"x": 20, "y": 40, "width": 50, "size": 12},
        {"x": 24, "y": 60, "width": 50, "size": 12},  # far from all others
        {"x": 22, "y": 41, "width": 50, "size": 12},  # its label would lie on that of the first
        {"x": 95, "y": 20, "width": 80, "size": 12},  # out of the frame
        {"x": 20, "y": 95, "width": 50, "size": 12},  # along the line
    ]
    places, lines = ["middle right"] * 5, [[0, 94, 100, 97]]
    with Browser(tmp_path / "profile") as browser:
        browser.open(page.as_uri(), "ready")
        asked = ", ".join(map(json.dumps, (points, places, lines, [100, 100], 11.5)))
        assert browser.ask(f"Labels.readable({asked})") == [True, True, False, False, False]
