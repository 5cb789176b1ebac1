"""What commands print on a terminal of 80 columns: no line is longer, and none ends within a word."""

import pytest

from command import invoke
from mtlbench.benchmarks.copies.evidence import Finding
from mtlbench.harness.cli import audit, data, methods, usage
from mtlbench.harness.inspect.describe import Description, table
from mtlbench.results.report.display import MINUS
from printed_tables import cells, header, honest, latex

WIDTH = 80


@pytest.fixture
def terminal(monkeypatch):
    for module in (usage, audit, methods):
        monkeypatch.setattr(module, "terminal_width", lambda **_: WIDTH)


def lines_of(*arguments):
    said = invoke(*arguments).stdout
    assert max(map(len, said.splitlines())) <= WIDTH, said
    return [line.strip() for line in said.splitlines()]


def test_an_audit_has_a_heading_for_each_table_of_the_papers(terminal):
    said = lines_of("audit")
    headings = [line for line in said if line.startswith("SCA-MTL paper, Table ")]
    assert headings[0] == "SCA-MTL paper, Table 1, depth+semseg" and len(headings) == 5
    first = said[said.index(headings[0]) : said.index(headings[1])]
    (row,) = (line.split() for line in first if line.startswith("Multi task baseline"))
    assert " ".join(row[3:]) == "-2.46 -2.34 [-2.44, -2.25] impossible".replace("-", MINUS)
    assert [line for line in said if "|" in line] == []


def test_an_audit_of_a_file_or_against_another_baseline_fits_too(terminal, tmp_path):
    rebased = lines_of("audit", "--baseline", "depth=0.625,semseg=37.99")
    assert "SCA-MTL paper, Table 1, nyud" in rebased
    assert ["Ours", "Teacher", "+12.07", "+6.08"] in [line.split() for line in rebased]
    (tmp_path / "paper.tex").write_text(latex([header(), *cells(honest())]))
    said = lines_of("audit", tmp_path / "paper.tex")
    assert said[0].startswith("Table 1, line 1") and any(line.endswith("possible") for line in said)


def test_a_file_gets_an_audit_as_markdown():
    said = invoke("audit").stdout.splitlines()
    assert "| SCA-MTL paper, Table 1, depth+semseg | PADNet | +3.94 | +3.95 | [+3.86, +4.04] | possible |" in said


def test_a_plan_breaks_between_words(terminal):
    said = lines_of("plan", "--difference", "1", "--sd", "0.8")
    assert len(said) > 1
    assert " ".join(said).startswith("8 seeds find a true difference of 1 with a probability of 85.6 %, by the verdict")


def test_a_table_of_costs_says_what_a_narrow_terminal_leaves_out():
    rows = [Description("pad_net", ("semseg", "depth", "normals"), 41_234_567, 12_345_678, 9.4e9, 2**30, 1909, batch=8)]
    whole, narrow = table(rows, 200), table(rows, WIDTH)
    assert whole == table(rows) and "rest" in whole and "left out" not in whole
    titles, _, _, left_out = narrow.splitlines()
    assert titles.split()[:4] == ["method", "tasks", "parameters", "backbone"] and len(titles) <= WIDTH
    assert left_out == f"left out: operators, rest; see --json, or widen to {len(whole.splitlines()[0])} columns"


def test_an_error_and_a_store_without_a_matrix_break_between_words(terminal, tmp_path):
    said = invoke("status", "nowhere", "--store", tmp_path).stderr
    assert said.count("\n") > 1 and max(map(len, said.splitlines())) <= max(WIDTH, len(str(tmp_path)) + 4)
    empty = invoke("status", "--store", tmp_path).stdout.splitlines()
    assert len(empty) > 1 and empty[-1].endswith("begins one")


def test_findings_of_a_copy_break_between_words(terminal):
    long = "labels have the size of their images, " * 4
    said = data.diagnosis([Finding("width and height", "right", long), Finding("sides", "wrong", long, long)])
    assert max(map(len, said.splitlines())) <= WIDTH
    assert said.startswith("right      width and height: labels") and "\n           " in said
    assert "\n           -> labels" in said
