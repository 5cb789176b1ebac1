"""What may be claimed: the sentences say what the verdicts say, and nothing else."""

import re

import numpy as np
import pytest

from make_records import Store, pascal, score, three_seeds
from mtlbench.results.records.reading import read
from mtlbench.results.report.answers.claim import claim
from mtlbench.results.report.write import report
from mtlbench.results.summary.controls import Finding
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise

pytestmark = pytest.mark.usefixtures("undrawn")

TASKS = ("semseg", "depth")


def said(tmp_path, gains, *, sd=0.2, seeds=5, lost=(), missing=(), controls=(), **manifest):
    """The claim of a table with these rows and their gains in points."""
    store, rng = Store(tmp_path, **manifest), np.random.default_rng(1)
    for label, gain in {"Single task": 0.0, **gains}.items():
        for seed in range(seeds):
            change = 1 + (gain + rng.normal(0, sd)) / 100
            scores = (score("semseg", 40 * change), score("depth", 0.6 * (2 - change)))
            status = "failed" if (label, seed) in lost else "missing" if (label, seed) in missing else "finished"
            store.run(label, TASKS, seed, scores=scores, status=status)
    results = read(store.close(), "rooms")
    (comparison,) = comparisons(results)
    return claim(summarise(comparison, results.store), results.manifest, controls)


def test_a_row_that_beats_all(tmp_path):
    assert said(tmp_path, {"A": 5.0, "B": -5.0}) == (
        "A beats both other rows. Against the baseline Single task, A is better, and B is worse."
    )
    assert said(tmp_path / "more", {"A": 25.0, "B": 20.0, "C": 15.0, "D": -5.0, "E": -9.0}) == (
        "A beats all 5 other rows. Against the baseline Single task, A, B and C are better, and D and E are worse."
    )
    assert said(tmp_path / "best", {"A": -5.0, "B": -9.0}) == "Single task beats both other rows."


def test_two_rows(tmp_path):
    assert said(tmp_path, {"A": 5.0}) == "A beats Single task."


def test_what_is_undecided_is_said_with_the_seeds_that_would_decide(tmp_path):
    text = said(tmp_path, {"A": -20.0, "B": -0.5, "C": -21.0}, sd=2.0)
    assert re.fullmatch(
        r"Single task beats A and C, and is undecided against B: "
        r"\d+ seeds \(5 now\) would decide a difference of 2 points\.",
        text,
    )
    assert "Against the baseline" not in text  # the first sentence has said it


def test_what_is_undecided_against_the_baseline_is_said_with_the_seeds_that_would_decide(tmp_path):
    text = said(tmp_path, {"A": 25.0, "B": 0.3, "C": -20.0}, sd=1.0)
    assert re.fullmatch(
        r"A beats all 3 other rows\. Against the baseline Single task, A is better, C is worse, and B is undecided: "
        r"\d+ seeds \(5 now\) would decide a difference of 1 point\.",
        text,
    )


def test_the_seeds_that_would_decide_are_said_once(tmp_path):
    text = said(tmp_path, {"A": 25.0, "B": 25.3, "C": 0.2}, sd=1.5)
    assert "is undecided against B: " in text and "C is undecided." in text
    assert text.count("would decide") == 1


def test_the_seeds_of_now_are_a_range_where_rows_have_different_numbers(tmp_path):
    text = said(tmp_path, {"A": 25.0, "B": 0.3}, sd=1.5, missing={("A", 0), ("A", 1)})
    assert re.search(r"A is better, and B is undecided: \d+ seeds \(3 to 5 now\) would decide", text)
    assert text.endswith(" 2 of 15 runs are not finished yet.")


def test_nothing_is_shown(tmp_path):
    text = said(tmp_path, {"A": 0.1, "B": -0.1}, sd=3.0)
    assert re.fullmatch(
        r"No row is shown to be better than another: \d+ seeds \(5 now\) would decide a difference of 2 points\.", text
    )


def test_equivalent_rows(tmp_path):
    assert said(tmp_path, {"A": 0.0, "B": 0.0}, sd=0.01) == "All rows are equivalent, within 0.5 points."
    text = said(tmp_path / "b", {"A": 0.0, "B": -9.0}, sd=0.01)
    assert re.match(
        r"(A beats B, and is equivalent to Single task|Single task beats B, and is equivalent to A) \(w", text
    )
    assert said(tmp_path / "two", {"A": 0.0}, sd=0.01) == "Both rows are equivalent, within 0.5 points."
    text = said(tmp_path / "c", {"A": 5.0, "B": 0.0, "C": 0.0}, sd=0.01)
    assert text.endswith("Single task, A is better, and B and C are equivalent (within 0.5 points).")


def test_a_row_that_lost_seeds_is_named(tmp_path):
    text = said(tmp_path, {"A": 5.0, "B": -5.0}, lost={("A", 0), ("A", 3)})
    assert text.endswith("A row that lost seeds is not called better than one that lost fewer: A (2 of 5 failed).")
    assert not text.startswith("A beats all")


def test_rows_without_a_verdict_are_named_and_not_counted(tmp_path):
    missing = {*(("C", seed) for seed in range(1, 5)), *(("D", seed) for seed in range(5)), ("E", 4)}
    text = said(tmp_path, {"A": 9.0, "B": -9.0, "C": 1.0, "D": 2.0, "E": -5.0}, missing=missing)
    assert text == (
        "A beats all 3 other rows with a verdict. Against the baseline Single task, A is better, and B and E are "
        "worse. No verdict on C: one seed; on D: missing. 10 of 30 runs are not finished yet."
    )
    text = said(tmp_path / "lost", {"A": 9.0, "B": 1.0}, lost={("B", seed) for seed in range(5)})
    assert text.startswith("A beats Single task. No verdict on B: failed.")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"seeds": 1},
            "No verdict: one seed a row. One run cannot tell a difference from chance; a verdict needs two seeds or "
            "more.",
        ),
        ({"demonstration": True}, "No verdict: a demonstration that the path from data to table works."),
        ({"baseline": ""}, "No verdict: the matrix names no baseline."),
        (
            {"missing": {("Single task", seed) for seed in range(5)}},
            "No verdict: no whole run of the baseline Single task (missing). 5 of 10 runs are not finished yet.",
        ),
        (
            {"lost": {("Single task", seed) for seed in range(5)}},
            "No verdict: no whole run of the baseline Single task (failed).",
        ),
        (
            {"controls": [Finding(None, False, (), None)]},
            "No verdict: a control fails, and the text below the table says which.",
        ),
    ],
)
def test_nothing_may_be_claimed(tmp_path, options, why):
    assert said(tmp_path, {"A": 5.0}, **options) == why


def test_it_stands_first_in_markdown_and_on_the_page_and_not_in_the_table_of_a_paper(tmp_path):
    found = report(three_seeds(tmp_path / "store"), [], tmp_path / "out")
    (text,) = [table.claim for table in found.tables]
    assert text and (tmp_path / "out/rooms/table.md").read_text().split("\n\n")[1] == text
    page = (tmp_path / "out/rooms/report.html").read_text()
    first = page.partition("</h1>")[2].lstrip()
    assert first.startswith(f'<p class="claim">{text} <a class="more" href="#rooms-semseg-depth">Table</a></p>')
    assert page.count(text) == 1
    assert text not in (tmp_path / "out/rooms/table.tex").read_text()


def test_the_verdicts_of_all_tables_stand_first_and_lead_to_their_tables(tmp_path):
    found = report(pascal(tmp_path / "store"), [], tmp_path / "out")
    page = (tmp_path / "out/pascal/report.html").read_text()
    lines = [line for line in page.partition("</h1>")[2].strip().splitlines() if line][:2]
    for line, table, tasks in zip(
        lines, found.tables, ("semseg + normals", "semseg + human parts + normals"), strict=True
    ):
        link = f'<a href="#{table.slug}">pascal_context, {tasks}</a>'
        assert line == f'<p class="claim">{link}: {table.claim}</p>'
        assert f'<h2 id="{table.slug}">' in page
