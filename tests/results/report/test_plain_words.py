"""What stands below a table is in plain words. The terms of statistics are there for who asks for them."""

import html
import re

import pytest

from make_records import Store, three_seeds
from mtlbench.results.report import grids
from mtlbench.results.report.write import report
from mtlbench.results.summary.orders import task_gains
from tables_of import TASKS, summaries

pytestmark = pytest.mark.usefixtures("undrawn")

TERMS = ("moderated", "studentised", "Tukey", "random effects", "Student's t", "Bonferroni", "deny", "t interval", "`")


def text_of(page):
    page = re.sub(r"(?s)<(script|style).*?</\1>", "", page)
    return html.unescape(re.sub(r'(?s)<details class="caption">.*?</details>', "", page))


def test_no_term_of_statistics_is_on_the_page_but_behind_a_summary(tmp_path):
    store = Store(tmp_path / "store")
    for seed in range(3):
        store.single(TASKS, seed)
        for label in ("PAD-Net", "SCA-MTL"):
            store.run(label, TASKS, seed)
    for seed in (7, 8):
        store.run("Late", TASKS, seed)
    report(store.close(), [], tmp_path / "out")
    page = (tmp_path / "out/rooms/report.html").read_text()
    assert [term for term in TERMS if term in text_of(page)] == []
    hidden = " ".join(re.findall(r'(?s)<details class="caption">.*?</details>', page))
    assert [term for term in TERMS[:-4] if term not in html.unescape(hidden)] == []
    markdown = (tmp_path / "out/rooms/table.md").read_text()
    assert "Tukey's studentised range" in markdown and "Two rows differ where the 95 % interval" in markdown


def test_far_beyond_what_a_run_can_do_no_distance_is_printed_and_the_heading_explains_itself(tmp_path):
    ((summary,), _) = summaries(three_seeds(tmp_path, gaps=False))
    found = grids.contrasts(summary, task_gains(summary.comparison, summary.columns, summary.block))
    turned = [row[-1] for row in found.rows]
    assert found.columns[-1] == "turns at" and "standard deviations" in found.hints["turns at"]
    assert any(text.startswith("> 10 sd (") for text in turned)
    for text in turned:
        number = re.match(r"([\d.]+) sd", text)
        assert text == "never" or text.startswith("> 10 sd") or float(number[1]) <= 10
