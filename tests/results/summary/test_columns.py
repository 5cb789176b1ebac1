"""A column holds scores that were taken in one way, and is printed as they say."""

import re
from dataclasses import replace

import pytest

from make_records import Store, score, value
from mtlbench.results.report.display import MINUS
from mtlbench.results.report.page import section
from mtlbench.results.report.tables import table
from mtlbench.results.report.write import report
from tables_of import TASKS, cells, shown, summaries

pytestmark = pytest.mark.usefixtures("undrawn")


def untold(one):
    """A score as it was recorded before scores said how they are printed."""
    return replace(one, title="", unit="", decimals=4)


def scores_of(label, seed, change=lambda one: one):
    return tuple(change(score(task, value(label, task, seed))) for task in TASKS)


def test_a_metric_that_nobody_has_heard_of_is_printed_as_its_scores_say(tmp_path):
    store = Store(tmp_path / "store")
    for label, found in (("Single task", (1 / 3, 0.5)), ("Other", (0.4, 0.25))):
        first, second = (
            replace(score(task, number), metric="novel", title="", decimals=4)
            for task, number in zip(TASKS, found, strict=True)
        )
        store.run(label, TASKS, 0, scores=(replace(first, title="nov", unit="dB", decimals=1), second))
    report(store.close(), [], tmp_path / "out")
    folder = tmp_path / "out" / "rooms"
    assert "| semseg nov [dB] ↑ | depth novel [m] ↓ |" in (folder / "table.md").read_text()
    assert re.search(r"Single task +\|.* 0\.3 \| +0\.5000 \|", (folder / "table.md").read_text())
    heads = (folder / "table.tex").read_text()
    assert r"\multicolumn{1}{c}{semseg}" in heads and r"\multicolumn{1}{c}{nov {[}dB{]} $\uparrow$}" in heads


def test_an_old_record_is_printed_as_the_new_ones_of_its_column_say(tmp_path):
    store = Store(tmp_path)
    store.run("Single task", TASKS, 0, scores=scores_of("Single task", 0, untold))
    store.run("Other", TASKS, 0, scores=scores_of("Other", 0))
    (one,) = shown(store.close())
    assert [column.text for column in one.columns[2:4]] == ["semseg mIoU [%] ↑", "depth RMSE [m] ↓"]
    assert cells(one, "Single task")["semseg mIoU"] == f"{value('Single task', 'semseg', 0):.2f}"
    assert cells(one, "Other")["Δm"].startswith(("+", MINUS))


def test_old_records_alone_are_printed_by_the_names_of_their_metrics(tmp_path):
    store = Store(tmp_path)
    store.run("Single task", TASKS, 0, scores=scores_of("Single task", 0, untold))
    (one,) = shown(store.close())
    assert [column.text for column in one.columns[2:4]] == ["semseg miou ↑", "depth rmse ↓"]
    assert cells(one, "Single task")["depth rmse"] == f"{value('Single task', 'depth', 0):.4f}"


def test_scores_of_another_definition_are_marked_and_enter_no_delta(tmp_path):
    store = Store(tmp_path)
    for seed in range(2):
        store.single(TASKS, seed)
        other = (score("semseg", 45.0 + seed), score("depth", 0.5, "network resolution"))
        store.run("SCA-MTL", TASKS, seed, scores=other)
    (one,) = shown(store.close())
    row = cells(one, "SCA-MTL")
    assert "not comparable with its column: definition is “network resolution” instead of “native" in row["depth RMSE"]
    assert row["Δm"].startswith("— | Δm is undefined: depth: definition is “network resolution”")
    assert not any("**" in cells(one, label)["depth RMSE"] for label in ("Single task", "SCA-MTL"))


def test_scores_of_equal_words_and_another_protocol_are_marked_too(tmp_path):
    store = Store(tmp_path)
    for seed in range(2):
        semseg = replace(score("semseg", 40.0 + seed), protocol="aaaa")
        for label, depth_protocol in (("Single task", "bbbb"), ("SCA-MTL", "cccc")):
            run = (semseg, replace(score("depth", 0.5 + seed / 100), protocol=depth_protocol))
            store.run(label, TASKS, seed, scores=run)
    (one,) = shown(store.close())
    row = cells(one, "SCA-MTL")
    assert "not comparable with its column: protocol is “cccc” instead of “bbbb”" in row["depth RMSE"]
    assert "not comparable" not in row["semseg mIoU"] + cells(one, "Single task")["depth RMSE"]
    assert row["Δm"].startswith("— | Δm is undefined: depth: protocol is “cccc”")


def test_no_mean_is_over_seeds_that_were_scored_differently(tmp_path):
    store = Store(tmp_path)
    for seed in range(3):
        store.single(TASKS, seed)
        words, depth = ("network resolution", 0.9) if seed == 1 else ("native resolution", 0.1)
        store.run("SCA-MTL", TASKS, seed, scores=(score("semseg", 90.0 + seed), score("depth", depth, words)))
    (summary,), manifest = summaries(store.close())
    row = cells(table(summary, manifest), "SCA-MTL")
    reason = "over 2 of 3 finished seeds; without seed 1 (definition is “network resolution” instead of “native"
    assert row["depth RMSE"].startswith(f"**0.100 ± 0.000** | {reason}")
    assert "Δm over 2 of 3 finished seeds; without seed 1 (depth: definition is" in row["Δm"]
    assert row["semseg mIoU"] == "**91.00 ± 1.00**"
    assert set(summary.rows["SCA-MTL"].delta.values) == {0, 2}
    secondary = section(summary, table(summary, manifest), [])["details"][-1]["grid"]
    (means,) = [dict(zip(secondary.columns, row, strict=True)) for row in secondary.rows if row[0] == "SCA-MTL"]
    assert float(means["depth RMSE [m]"]) == 0.1


def test_scores_recorded_before_protocols_compare_by_their_words(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0)
    store.run("SCA-MTL", TASKS, 0, scores=(score("semseg", 45.0), replace(score("depth", 0.5), protocol="cccc")))
    row = cells(shown(store.close())[0], "SCA-MTL")
    assert "not comparable" not in row["depth RMSE"] and "undefined" not in row["Δm"]
