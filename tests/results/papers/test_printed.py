"""The command on printed tables: its words, its JSON and its exit status, and tables of real papers."""

import io
import json
import random
import sys

import pytest

from command import main
from mtlbench.results.papers import wording
from mtlbench.results.papers.columns import Choices
from mtlbench.results.papers.printed import audit_file, audit_text
from mtlbench.results.papers.reading.grid import BadTable
from paths import PRINTED
from printed_tables import cells, header, honest, html, latex, layout, lines, markdown, separated

TABLE = [header(), *cells(honest())]
EXPECTED = json.loads((PRINTED / "expected.json").read_text()) if PRINTED.is_dir() else {}


def wrong():
    rows = [list(row) for row in TABLE]
    rows[3][-1] = "55.55"
    return rows


@pytest.fixture
def audit(tmp_path, capsys):
    """A function that audits a text and returns the exit status, the output and the errors."""

    def call(text, *flags, name="table.txt"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        status = main(["audit", str(path), *flags])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.mark.parametrize("make", [latex, markdown, separated, lines])
def test_the_exit_status_says_whether_something_is_impossible(audit, make):
    status, out, err = audit(make(TABLE))
    assert (status, err) == (0, "") and "\n0 of 4 printed deltas cannot follow" in out
    status, out, err = audit(make(wrong()))
    assert (status, err) == (1, "") and "\n1 of 4 printed deltas cannot follow" in out
    assert next(line for line in out.splitlines() if "impossible" in line).startswith("| PCGrad | 55.55 |")


def test_one_line_says_what_was_taken_for_what_and_the_flags_that_overrule_it(audit):
    _, out, _ = audit(separated(TABLE))
    (taken,) = [line for line in out.splitlines() if line.startswith("Taken: ")]
    for part in (
        "baseline 'Single task'",
        "1 Semseg mIoU ↑",
        "2 Depth RMSE ↓",
        "column 5 'Δm (%)'",
        "higher is better",
        "by metric",
    ):
        assert part in taken
    for flag in ("--baseline-row", "--metrics", "--direction", "--delta", "--sign", "--mean"):
        assert flag in taken


def test_each_flag_overrules(audit):
    text = separated(TABLE)
    for flags in (
        ("--baseline-row", "PCGrad"), ("--sign", "down"), ("--direction", "RMSE=up"), ("--metrics", "1,2"),
        ("--mean", "log"), ("--delta", "4"),
    ):  # fmt: skip
        status, out, _ = audit(text, *flags)
        assert status == 1 and "impossible" in out, flags
        assert audit(text, *flags, "--table", "1")[0] == 1
    for flags, message in (
        (("--sign", "left"), "--sign 'left'"), (("--mean", "mode"), "--mean 'mode'"),
        (("--direction", "1"), "--direction '1'"),
        (("--baseline-row", "nobody"), "--baseline-row 'nobody' fits no row"), (("--table", "2"), "--table is 2"),
        (("--metrics", "9"), "'9' is no column"),
    ):  # fmt: skip
        status, out, err = audit(text, *flags)
        assert (status, out, err.count("\n")) == (2, "", 1) and message in err


def test_json_has_a_row_for_each_printed_delta(audit):
    status, out, _ = audit(separated(wrong()), "--json")
    found = json.loads(out)
    assert status == 1 and (found["impossible"], found["compared"], found["unread"]) == (1, 4, [])
    (table,) = found["tables"]
    assert table["baseline"] == "Single task" and table["delta_lower_is_better"] == [False]
    assert [[index, towards] for index, _, towards in table["metric_columns"]] == [
        [1, "up"],
        [2, "down"],
        [3, "down"],
        [4, "up"],
    ]
    rows = {row["method"]: row for row in table["rows"]}
    assert rows["Single task"] == {
        "method": "Single task",
        "line": 2,
        "delta_column": 0,
        "printed": None,
        "verdict": "baseline",
    }
    assert rows["PCGrad"]["verdict"] == "impossible" and rows["PCGrad"]["printed"] == "55.55"
    assert rows["PCGrad"]["off_by"] == pytest.approx(55.55 - rows["PCGrad"]["high"], abs=0.006)
    assert rows["PCGrad"]["changes"][0]["printed"]
    assert rows["Ours"]["low"] <= rows["Ours"]["recomputed"] <= rows["Ours"]["high"]


def test_standard_input_is_a_table_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(markdown(wrong()).encode())))
    assert main(["audit", "-"]) == 1
    assert "1 of 4" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"nothing\n")))
    assert main(["audit", "-"]) == 2
    assert "standard input: no table" in capsys.readouterr().err


def test_several_tables_of_a_file_are_judged_and_what_is_none_is_left_out(audit):
    other = "\\begin{tabular}{lc} Option & Value \\\\ lr & 0.1 \\\\ \\end{tabular}\n"
    broken = latex([[*row, "5"] if i == 2 else row for i, row in enumerate(TABLE)])
    status, out, err = audit(other + latex(TABLE) + latex(wrong()), name="paper.tex")
    assert status == 1 and err == "" and "1 of 8" in out and "left out: 1" in out
    status, out, err = audit(latex(TABLE) + latex([header(), *cells(honest())[1:]]), name="paper.tex")
    assert status == 2 and "0 of 4" in out
    assert err.count("\n") == 1 and "paper.tex:11: no baseline" in err
    assert audit(broken, name="paper.tex")[0] == 2


def test_a_printed_table_can_be_measured_against_another_baseline(audit):
    baseline = ",".join(f"{index}={value}" for index, value in enumerate(honest()[1].metrics, start=1))
    status, out, _ = audit(separated(TABLE), "--baseline", baseline)
    assert status == 0 and "| 1 | Multi task |" in out
    assert next(line for line in out.splitlines() if "Multi task" in line).endswith("| +0.00 |")
    status, out, err = audit(separated(TABLE), "--baseline", "1=40")
    assert (status, out) == (2, "") and "no value for Depth RMSE" in err


def test_flags_of_printed_tables_do_not_go_with_the_long_form(capsys):
    assert main(["audit", "--sign", "up"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("make", [latex, markdown, separated, lines, html, layout])
def test_a_mutilated_table_is_audited_or_refused_in_one_line(make):
    chance = random.Random(1)
    pieces = [
        "{",
        "}",
        "$",
        "<td>",
        "</tr>",
        "|",
        "\n",
        "&",
        "\\\\",
        "-",
        "Δm",
        '"',
        ",",
        "\\multicolumn{2",
        "colspan=9",
        "1e999",
    ]
    refused = 0
    for _ in range(120):
        text = make(wrong())
        for _ in range(chance.randint(1, 5)):
            start, length = chance.randrange(len(text)), chance.randint(0, 30)
            text = text[:start] + chance.choice([*pieces, ""]) + text[start + length :]
        try:
            file = audit_text(text, "it", Choices())
            json.dumps(wording.as_json(file))
            assert wording.parts(file)
        except BadTable as error:
            refused += 1
            assert str(error).startswith("it") and "\n" not in str(error)
    assert 0 < refused < 120


@pytest.mark.parametrize("name", EXPECTED or [pytest.param("", marks=pytest.mark.skip("needs the printed tables"))])
def test_tables_of_real_papers_are_judged_rightly(name):
    expected = EXPECTED[name]
    path = PRINTED / expected["file"].rpartition("/")[2]
    (table,) = wording.as_json(audit_file(path, Choices()))["tables"]
    assert table["baseline"] == expected["baseline"]
    assert table["delta_lower_is_better"] == expected["delta_lower_is_better"]
    assert [(i, way) for i, _, way in table["metric_columns"]] == [(i, way) for i, _, way in expected["metric_columns"]]
    rows = {(row["method"], row["delta_column"]): row for row in table["rows"]}
    for row in expected["rows"]:
        found = rows[row["method"], row["delta_column"]]
        assert {key: found.get(key) for key in row} == row
