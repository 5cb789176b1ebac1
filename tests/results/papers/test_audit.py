"""The audit of printed tables: against the recomputed rows, by brute force, and with tables that are wrong."""

import itertools
import json

import pandas as pd
import pytest

from command import main
from mtlbench.results.papers.audit import BadTable, audit, load, published
from mtlbench.results.papers.rebase import parse, rebase

# What the metrics printed in the paper's five tables give, recomputed apart from this code: (low, high) and whether the
# printed value lies inside, for the 25 rows that are not their own baseline.
RECOMPUTED = {
    ("Table 1", "Multi task baseline"): (-2.34, -2.44, -2.24),
    ("Table 1", "PADNet"): (3.95, 3.85, 4.05),
    ("Table 1", "MTINet"): (5.66, 5.56, 5.75),
    ("Table 1", "ATRC"): (10.90, 10.80, 10.99),
    ("Table 1", "Ours Student"): (11.03, 10.93, 11.12),
    ("Table 1", "Ours Teacher"): (12.08, 11.99, 12.18),
    ("Table 2", "Multi task baseline"): (-5.05, -5.13, -4.97),
    ("Table 2", "PADNet"): (-3.42, -3.50, -3.34),
    ("Table 2", "MTINet"): (0.07, -0.02, 0.15),
    ("Table 2", "ATRC"): (1.01, 0.93, 1.10),
    ("Table 2", "Ours"): (4.84, 4.75, 4.92),
    ("Table 3", "Multi task baseline"): (-2.07, -2.12, -2.03),
    ("Table 3", "PADNet"): (-2.41, -2.46, -2.36),
    ("Table 3", "MTINet"): (2.60, 2.56, 2.65),
    ("Table 3", "ATRC"): (2.73, 2.69, 2.78),
    ("Table 3", "Ours"): (5.70, 5.66, 5.75),
    ("Table 4", "Multi task baseline"): (-2.59, -2.63, -2.55),
    ("Table 4", "PADNet"): (-1.44, -1.48, -1.40),
    ("Table 4", "MTINet"): (1.66, 1.62, 1.70),
    ("Table 4", "ATRC"): (1.85, 1.81, 1.88),
    ("Table 4", "Ours"): (2.71, 2.67, 2.75),
    ("Table 5", "+att"): (2.22, 2.12, 2.32),
    ("Table 5", "+att+FPMA"): (2.49, 2.39, 2.59),
    ("Table 5", "+att+FPMA+CTAM"): (3.08, 2.98, 3.18),
    ("Table 5", "+all"): (6.11, 6.01, 6.21),
}
IMPOSSIBLE = {("Table 1", "Multi task baseline"), ("Table 2", "PADNet"), ("Table 3", "Multi task baseline")}


@pytest.fixture(scope="module")
def rows():
    return {(row["table"], row["method"]): row for row in audit(published()).to_dict("records")}


def test_all_printed_rows_are_audited(rows):
    assert len(rows) == 25 + 5
    assert {key for key, row in rows.items() if row["printed"] == 0} == set(rows) - set(RECOMPUTED)


@pytest.mark.parametrize("key", RECOMPUTED, ids=" ".join)
def test_published_delta_follows_from_its_metrics_unless_it_is_one_of_three(rows, key):
    row, (recomputed, low, high) = rows[key], RECOMPUTED[key]
    assert row["recomputed"] == pytest.approx(recomputed, abs=0.0051)
    assert (row["low"], row["high"]) == (pytest.approx(low, abs=0.011), pytest.approx(high, abs=0.011))
    assert row["fits"] == (key not in IMPOSSIBLE)


def test_a_baseline_row_can_only_print_zero(rows):
    assert all(row["fits"] and row["low"] == row["high"] == 0 for key, row in rows.items() if key not in RECOMPUTED)


def test_the_interval_is_that_of_all_roundings(rows):
    half, points = {"rmse": 0.0005, "miou": 0.005}, (-1, -0.3, 0.4, 1)
    deltas = []
    for a, b, c, d in itertools.product(points, repeat=4):
        depth, semseg = 0.674 + a * half["rmse"], 35.03 + b * half["miou"]
        base_depth, base_semseg = 0.644 + c * half["rmse"], 35.04 + d * half["miou"]
        deltas.append(50 * (1 - depth / base_depth + semseg / base_semseg - 1))
    row = rows["Table 1", "Multi task baseline"]
    assert (row["low"], row["high"]) == (pytest.approx(min(deltas)), pytest.approx(max(deltas)))


def test_rebasing_table_1_on_the_single_task_models_of_table_2():
    table = published()
    found = rebase(table[table["table"] == "Table 1"], {"depth": 0.625, "semseg": 37.99}).set_index("method")["rebased"]
    expected = {"Multi task baseline": -7.82, "PADNet": -1.59, "MTINet": 0.09, "ATRC": 4.91}
    expected |= {"Ours Student": 5.16, "Ours Teacher": 6.08}
    assert {name: round(found[name], 2) for name in expected} == expected


def test_rebasing_takes_the_tables_with_exactly_its_tasks_and_names_those_there_are():
    found = rebase(published(), {"depth": 0.625, "semseg": 37.99})
    assert set(found["table"]) == {"Table 1", "Table 5"}
    with pytest.raises(BadTable, match=r"exactly the tasks depth; there are: depth\+semseg, .*human_parts\+normals"):
        rebase(published(), {"depth": 0.625})


def test_a_baseline_on_the_command_line_is_a_positive_value_a_task():
    assert parse("depth=0.625, semseg=37.99") == {"depth": 0.625, "semseg": 37.99}
    for wrong in ("depth", "depth=", "=1", "depth=x", "depth=0", "depth=nan", "depth=1,depth=2", ""):
        with pytest.raises(BadTable, match="write one positive value per task"):
            parse(wrong)


def changed(tmp_path, change):
    table = published()
    table = change(table[table["table"] == "Table 1"].copy())
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    return path


def drop_baseline(table):
    return table[table["method"] != "Single task baseline"]


def test_title_unit_and_decimals_may_be_left_out(tmp_path):
    whole = load(changed(tmp_path, lambda t: t))
    without = load(changed(tmp_path, lambda t: t.drop(columns=["title", "unit", "decimals"])))
    assert list(without["title"]) == list(without["metric"])
    assert set(without["unit"]) == set(without["decimals"]) == {""}
    pd.testing.assert_frame_equal(audit(without), audit(whole))


def test_decimals_that_a_table_says_outdo_those_of_its_longest_value(tmp_path):
    def rounded(table):
        return table.assign(value=table["value"].map(lambda text: f"{float(text):.1f}"))

    one, two = (load(changed(tmp_path, lambda t, n=n: rounded(t).assign(decimals=n))) for n in ("", "2"))
    width = [(found["high"] - found["low"]).max() for found in (audit(one), audit(two))]
    assert width[0] == pytest.approx(10 * width[1], rel=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="metric"), "no column metric"),
        (lambda t: t.assign(value="3,5"), r"table\.csv:2: value is '3,5'"),
        (lambda t: t.assign(higher_is_better="up"), "write true or false"),
        (lambda t: pd.concat([t, t.head(1)]), "two values of depth"),
        (drop_baseline, "no row of the baseline 'Single task baseline'"),
        (lambda t: t.drop(index=t.index[3]), "print different tasks"),
        (
            lambda t: t.assign(baseline=[*t["baseline"][:-1], ""]),
            "'Ours Teacher' names no baseline; write 'Single task baseline'",
        ),
        (
            lambda t: t.assign(higher_is_better=[*t["higher_is_better"][:-1], "false"]),
            "semseg of 'Ours Teacher' has higher_is_better 'false', and 'true' above it",
        ),
        (lambda t: t.assign(metric=[*t["metric"][:-1], "maxf"]), "has metric 'maxf', and 'miou' above it"),
        (
            lambda t: t.assign(decimals="two"),
            r"table\.csv:2: decimals is 'two'; write a whole number, like 2, or leave",
        ),
        (lambda t: t.assign(decimals="-1"), "decimals is '-1'"),
        (lambda t: t.assign(decimals="2"), r"table\.csv:2: value is '0\.644', and decimals is 2; make them agree"),
        (lambda t: t.assign(unit=[*t["unit"][:-1], ""]), "semseg of 'Ours Teacher' has unit '', and '%' above it"),
        (lambda t: t.assign(value="0"), "not a ratio of positive numbers"),
        (lambda t: t.assign(printed_delta=[str(i) for i in range(len(t))]), "several printed deltas"),
    ],
)
def test_a_wrong_table_is_named_with_its_mistake(tmp_path, change, message):
    with pytest.raises(BadTable, match=message):
        audit(load(changed(tmp_path, change)))


def test_the_command_prints_a_verdict_a_row_and_the_count(capsys, tmp_path):
    assert main(["audit"]) == 1  # something is impossible
    out = capsys.readouterr().out
    said = [line.split("|")[-2].strip() for line in out.splitlines() if line.startswith("| SCA-MTL")]
    assert {word: said.count(word) for word in said} == {"baseline": 5, "possible": 22, "impossible": 3}
    assert "3 of 25 printed deltas cannot follow" in out
    assert main(["audit", str(changed(tmp_path, lambda t: t))]) == 1
    assert "1 of 6 printed deltas" in capsys.readouterr().out
    assert main(["audit", str(changed(tmp_path, lambda t: t[t["method"] != "Multi task baseline"]))]) == 0
    assert "0 of 5 printed deltas" in capsys.readouterr().out


def test_the_long_form_gives_the_same_json_as_printed_tables(capsys):
    assert main(["audit", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["impossible"], found["compared"]) == (3, 25)
    second = found["tables"][1]
    assert second["baseline"] == "Single task baseline"
    wrong = {row["method"]: row for row in second["rows"]}["PADNet"]
    assert (wrong["printed"], wrong["verdict"], wrong["recomputed"]) == ("-4.41", "impossible", -3.4203)
    assert [row["verdict"] for row in second["rows"]].count("baseline") == 1


def test_the_command_rebases_and_plans(capsys):
    assert main(["audit", "--baseline", "depth=0.625,semseg=37.99"]) == 0
    out = capsys.readouterr().out
    assert "| SCA-MTL paper, Table 1, nyud | Ours Teacher | +12.07 | +6.08 |" in out
    assert "had the baseline been depth 0.625, semseg 37.99." in out
    assert main(["plan", "--difference", "1", "--sd", "0.82"]) == 0
    assert capsys.readouterr().out.startswith("8 seeds find a true difference of 1 with a probability of 83.9 %, by")
    for wrong in (["audit", "--baseline", "depth=x"], ["plan", "--difference", "0", "--sd", "1"]):
        assert main(wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_the_command_ends_with_2_and_one_line_for_what_it_cannot_read(capsys, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    for path in (
        tmp_path / "none.csv",
        tmp_path,
        tmp_path / "empty.csv",
        changed(tmp_path, lambda t: t.assign(baseline="")),
    ):
        assert main(["audit", str(path)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert path.name in captured.err
