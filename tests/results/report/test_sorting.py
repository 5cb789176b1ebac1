"""A heading brings the better values to the top, whatever the table, and the constant predictor stays at the foot."""

import html
import re

import pytest

from browser import dom
from make_records import Store, score, three_seeds
from mtlbench.results.report import grids
from mtlbench.results.report.display import MINUS
from mtlbench.results.report.tables import CONSTANT
from mtlbench.results.report.write import report
from tables_of import TASKS, summaries

pytestmark = pytest.mark.usefixtures("undrawn")

LOWER = re.compile(
    r"RMSE|Parameters|MACs|Step|Training|training loss|harmed|failed|tests worse|variance from|"
    r"rank by|without |rank [45]$"
)


@pytest.fixture
def page(tmp_path):
    store = Store(tmp_path / "store")
    store.final = True
    for seed in range(3):
        store.single(TASKS, seed)
        for label in ("Multi task", "PAD-Net", "MTI-Net", "SCA-MTL"):
            store.run(label, TASKS, seed)
    store.constant("rooms", (score("semseg", 1.16), score("depth", 1.4)))
    report(store.close(), [], tmp_path / "out")
    return tmp_path / "out/rooms/report.html"


def tables(text):
    """(attributes and text of each heading, rows of text) of each table that sorts."""
    for found in re.findall(r'(?s)<table class="sort">.*?</table>', text):
        heads = [(a, plain(text)) for a, text in re.findall(r"(?s)<th\b([^>]*)>(.*?)</th>", found)]
        lines = re.findall(r"(?s)<tr([^>]*)>(.*?)</tr>", found.split("<tbody>")[1])
        yield heads, [(a, [plain(cell) for cell in re.findall(r"(?s)<td[^>]*>(.*?)</td>", line)]) for a, line in lines]


def plain(text):
    return html.unescape(re.sub(r"<[^>]*>", "", text)).strip()


def test_every_heading_says_whether_lower_is_better(page):
    seen = set()
    for heads, _ in tables(page.read_text()):
        for attributes, title in heads:
            assert ('data-better="↓"' in attributes) == bool(LOWER.search(title)), title
            seen |= set(LOWER.findall(title))
    missing = {"RMSE", "MACs", "training loss", "harmed", "tests worse", "variance from", "rank by", "rank 5"} - seen
    assert not missing


def test_the_row_of_the_constant_predictor_is_marked_in_every_table(page):
    marked = [attributes for _, rows in tables(page.read_text()) for attributes, row in rows if CONSTANT in row[0]]
    assert marked == [' class="last"'] * 2  # the first table, and all scores


@pytest.mark.slow  # a browser starts
def test_a_click_on_a_heading_brings_the_better_values_first(tmp_path, page):
    text = page.read_text()
    for column in range(1, 5):
        place = f"Math.min({column}, table.rows[0].cells.length - 1)"
        click = f"table.querySelectorAll('th button')[{place}].click()"
        script = f"<script>document.querySelectorAll('table.sort').forEach((table) => {click})</script></body>"
        page.write_text(text.replace("</body>", script))
        for heads, rows in tables(dom(page, folder=tmp_path)):
            place = min(column, len(heads) - 1)
            lower = "↓" in heads[place][0]
            shown = [re.search(r'aria-sort="(\w+)"', attributes)[1] for attributes, _ in heads]
            assert shown[:place] + shown[place + 1 :] == ["none"] * (len(heads) - 1)
            values = [number(row[place]) for attributes, row in rows if "last" not in attributes]
            values = [value for value in values if value is not None]
            assert values == sorted(values, reverse=not lower), heads[place]
            assert not values or shown[place] == ("ascending" if lower else "descending")
            assert ["last" in attributes for attributes, _ in rows[:-1]] == [False] * (len(rows) - 1)


@pytest.mark.slow  # a browser starts
def test_before_a_click_every_column_can_be_sorted_and_none_is(tmp_path, page):
    found = [attributes for heads, _ in tables(dom(page, folder=tmp_path)) for attributes, _ in heads]
    assert len(found) > 20 and all('aria-sort="none"' in attributes for attributes in found)
    rows = [[row[0] for _, row in rows] for _, rows in tables(page.read_text())]
    assert rows[0] == ["Single task", "Multi task", "PAD-Net", "MTI-Net", "SCA-MTL", f"{CONSTANT}a"]  # of the matrix


def number(text):
    found = re.match(r"\[?([+-]?[\d.]+)", text.replace(MINUS, "-"))
    return float(found[1]) if found else None


def test_the_last_ranks_are_those_that_one_does_not_want(tmp_path):
    ((summary,), _) = summaries(three_seeds(tmp_path))
    found = grids.ranks(summary)
    assert found.columns[1:] == ["rank 1", "rank 2", "rank 3", "rank 4"] and found.lower == ["rank 3", "rank 4"]
