"""The page over all matrices of a store: every table with what it may claim, beside print and beside another commit."""

import re
from dataclasses import replace

import pytest

from command import main
from devtools import CHROMIUM, Browser
from make_records import Store, record, score, value
from mtlbench.results.records.reading import matrices, read
from mtlbench.results.report.answers.claim import claim
from mtlbench.results.report.tables import table
from mtlbench.results.report.web import pages
from mtlbench.results.report.web.index import Matrix
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise

TWO = ("semseg", "depth")
PLAIN = record("x", ()).provenance


def matrix(root, name, tasks=TWO, commit="a" * 40, seeds=2, **manifest):
    """A matrix of two rows. The order of the tasks keeps the cells of two matrices apart."""
    store = Store(root, name, title=name.title(), **manifest)
    benchmark = "nyud" if "Table" in manifest.get("caption", "") else "rooms"
    changes = {"provenance": {**PLAIN, "commit": commit}, "benchmark": benchmark}
    for seed in range(seeds):
        store.run("Single task", tasks, seed, **changes)
        store.run("SCA-MTL", tasks, seed, **changes)
    store.close()
    return str(root)


def rows(page, title):
    """The rows of the table below a heading."""
    below = page.split(f"<h2>{title}</h2>")[1].split("</table>")[0]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in re.findall(r"(?s)<tr>(.*?)</tr>", below)]


def tables_of(results):
    """A matrix of the index, without drawing a figure."""
    summaries = [summarise(comparison, results.store) for comparison in comparisons(results)]
    manifest = results.manifest
    tables = [replace(table(summary, manifest), claim=claim(summary, manifest)) for summary in summaries]
    return Matrix(results, summaries, tables)


def written(store):
    return pages.store([tables_of(read(store, name)) for name in matrices(store)], [])


def test_every_table_of_a_store_has_its_claim_and_a_link_to_its_page(tmp_path):
    matrix(tmp_path / "s", "first", seeds=3)
    store = matrix(tmp_path / "s", "second", ("semseg",), seeds=1)
    page = written(store)
    claims = [each.claim for name in ("first", "second") for each in tables_of(read(store, name)).tables]
    assert claims[0] != claims[1] and all(f'<p class="claim">{each}</p>' in page for each in claims)
    assert set(re.findall(r'href="([^"#]+)', page)) == {"first/report.html", "second/report.html"}
    assert "http" not in page and "src=" not in page
    assert page == written(store)
    assert "<td>6 of 6</td><td>2026-01-01</td><td>aaaaaaaaaaaa</td>" in page
    assert "two commits" not in page and "against print" not in page


def test_the_rows_of_a_reproduced_table_stand_beside_the_printed_ones(tmp_path):
    store = matrix(tmp_path / "s", "table1", caption="SCA-MTL paper, Table 1.")
    found = rows(written(store), "Table1: nyud, semseg + depth: ours against print")
    assert found[0] == [
        "Method", "semseg mIoU [%], ours", "semseg mIoU [%], printed", "depth RMSE [m], ours",
        "depth RMSE [m], printed", "Δm ours", "Δm printed",
    ]  # fmt: skip
    ours = sum(value("Single task", "semseg", seed) for seed in range(2)) / 2
    assert found[1][0] == "Single task" and found[1][1].startswith(f"{ours:.2f} ± ") and found[1][2] == "35.04"
    assert (found[2][0], found[2][2], found[2][4], found[2][6]) == ("SCA-MTL", "41.33", "0.604", "+12.07")


@pytest.mark.parametrize("caption", ["A Table of ours.", "SCA-MTL paper, Table 11.", "SCA-MTL paper, Table 2."])
def test_a_matrix_that_names_no_table_of_its_tasks_is_not_held_against_print(tmp_path, caption):
    assert "against print" not in written(matrix(tmp_path / "s", "mine", caption=caption))


def test_a_score_of_another_metric_is_not_held_against_print(tmp_path):
    store = Store(tmp_path / "s", "table1", caption="SCA-MTL paper, Table 1.")
    other = type(score("depth", 1.0))("depth", "abs_rel", 0.2, False, True, "", title="absRel")
    store.run("Single task", TWO, 0, benchmark="nyud", scores=(score("semseg", 35.0), other))
    found = rows(written(store.close()), "Rooms: nyud, semseg + depth: ours against print")
    assert found[1][1:5] == ["35.00", "35.04", "0.2000", "—"]


def test_rows_of_two_commits_stand_beside_each_other_and_their_recipes_are_compared(tmp_path):
    matrix(tmp_path / "s", "old", commit="b" * 40)
    store = matrix(tmp_path / "s", "new", TWO[::-1], commit="c" * 40, seeds=3)
    page = written(store)
    found = rows(page, "new and old: two commits")
    assert found[0][-2:] == ["Δm [%], new", "Δm [%], old"] and [row[0] for row in found[1:]] == [
        "Single task",
        "SCA-MTL",
    ]
    assert found[2][-1] != found[2][-2]
    assert "new (commit cccccccccccc) and old (commit bbbbbbbbbbbb). They differ in: seeds 0, 1, 2 or 0, 1." in page


def test_records_of_several_commits_in_one_matrix_are_counted(tmp_path):
    store = Store(tmp_path / "s")
    for seed, commit in enumerate("aab"):
        store.run("Single task", TWO, seed, provenance={**PLAIN, "commit": commit * 40})
    assert "<td>aaaaaaaaaaaa (2), bbbbbbbbbbbb (1)</td>" in written(store.close())


def test_the_command_writes_the_index_only_where_no_matrix_is_named(tmp_path, capsys):
    store, out = Store(tmp_path / "s"), tmp_path / "out"
    store.single(TWO, 0, status="missing")  # so that no figure is drawn
    store = store.close()
    assert main(["report", "rooms", "--store", store, "--out", str(out)]) == 0
    assert not (out / "index.html").exists()
    assert main(["report", "--store", store, "--out", str(out)]) == 0
    assert f"index    {out / 'index.html'}" in capsys.readouterr().out
    assert all((out / link).exists() for link in re.findall(r'href="([^"#]+)', (out / "index.html").read_text()))


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize(("width", "share"), [(1400, 0.5), (420, 1.0)])
def test_the_card_of_a_single_table_is_as_wide_as_in_a_row_of_two_and_full(tmp_path, width, share):
    page = tmp_path / "index.html"
    page.write_text(written(matrix(tmp_path / "store", "rooms", seeds=3)))
    measured = """[".cards", ".card", ".card table", ".card .scroll"].map((name) => {
      const found = document.querySelector(name);
      return [found.getBoundingClientRect().width, found.scrollWidth];
    })"""
    with Browser(tmp_path / "profile", width, 900) as browser:
        browser.open(page.as_uri(), "All matrices of a store")
        (cards, _), (card, _), (table, _), (room, whole) = browser.ask(measured)
    assert card == pytest.approx(share * cards, abs=20)
    assert table == pytest.approx(room, abs=1) and whole <= room + 1  # all columns are seen without scrolling
