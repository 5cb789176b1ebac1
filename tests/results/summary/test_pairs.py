"""Which rows are bold: those that no other row is shown to be better than, all pairs judged at once."""

import json

import numpy as np
import pytest
from scipy import stats

from make_records import CENTRE, Store, pascal, score, three_seeds, value
from mtlbench.results.report import formats, frames
from mtlbench.results.report.captions import limits
from mtlbench.results.report.display import MINUS
from mtlbench.results.report.grids import contrasts
from mtlbench.results.report.page import section
from mtlbench.results.report.paper.tables import latex
from mtlbench.results.report.tables import table
from mtlbench.results.report.write import report
from mtlbench.results.statistics.planner import seeds_needed
from mtlbench.results.summary.transfer import by_task
from tables_of import TASKS, cells, shown, summaries

pytestmark = pytest.mark.usefixtures("undrawn")


def test_verdicts_need_two_seeds_and_no_more(tmp_path):
    (summary,), _ = summaries(three_seeds(tmp_path))
    compared = {label for first, second, _ in summary.contrasts for label in (first, second)}
    assert compared == {"Single task", "Multi task", "PAD-Net", "SCA-MTL"}
    verdicts = frames.contrasts(summary).set_index(["first", "second"])["verdict"].to_dict()
    assert verdicts["Multi task", "SCA-MTL"] == "worse"
    assert any("With one seed, in no verdict on Δm: MTI-Net." in s for s in shown(str(tmp_path))[0].caption)


def test_a_failed_cell_takes_the_bold_from_no_other_row(tmp_path):
    store = Store(tmp_path)
    for seed in range(5):  # every row lacks another seed, the baseline one task of one
        store.run("Single task", ("semseg",), seed, task_set=TASKS)
        store.run("Single task", ("depth",), seed, task_set=TASKS, status="failed" if seed == 4 else "finished")
        for lacks, label in enumerate(("PAD-Net", "MTI-Net", "SCA-MTL")):
            store.run(label, TASKS, seed, status="failed" if seed == lacks else "finished")
    path = store.close()
    (summary,), _ = summaries(path)
    assert len(summary.contrasts) == 6
    row = cells(shown(path)[0], "SCA-MTL")
    assert all(row[title].startswith("**") for title in ("semseg mIoU", "depth RMSE", "Δm"))
    assert [label for label, entry in summary.rows.items() if entry.delta.best] == ["SCA-MTL"]


def test_where_no_two_rows_have_the_same_runs_of_the_baseline_each_says_which(tmp_path):
    store = Store(tmp_path)
    for seed in range(5):
        store.single(TASKS, seed)
        for lacks, label in enumerate(("PAD-Net", "MTI-Net", "SCA-MTL")):
            store.run(label, TASKS, seed, status="failed" if seed == lacks else "finished")
    (one,) = shown(store.close())
    for label, seeds in (("PAD-Net", "1, 2, 3, 4"), ("MTI-Net", "0, 2, 3, 4"), ("SCA-MTL", "0, 1, 3, 4")):
        assert f"against the baseline's seeds {seeds}; other rows" in cells(one, label)["Δm"]


def test_no_row_is_bold_beside_one_with_fewer_seeds_that_is_better(tmp_path):
    store = Store(tmp_path)
    for seed in range(5):
        store.single(TASKS, seed)
        store.run("PAD-Net", TASKS, seed)
        store.run("SCA-MTL", TASKS, seed, status="missing" if seed == 4 else "finished")
    (one,) = shown(store.close())
    assert cells(one, "SCA-MTL")["Δm"].startswith("**+4.")
    assert not any("**" in cells(one, label)["Δm"] for label in ("Single task", "PAD-Net"))


def orders_of_a_table_with_another_baseline_run(tmp_path):
    """A and B score 38 and 39 with seed 0; B has no seed 1, in which the baseline is worse."""
    store = Store(tmp_path)
    for seed, base in enumerate((40.0, 30.0)):
        store.run("Single task", ("semseg",), seed, task_set=TASKS, scores=(score("semseg", base),))
        store.run("Single task", ("depth",), seed, task_set=TASKS, scores=(score("depth", 0.6),))
    for seed in range(2):
        store.run("A", TASKS, seed, scores=(score("semseg", 38.0), score("depth", 0.6)))
    store.run("B", TASKS, 0, scores=(score("semseg", 39.0), score("depth", 0.6)))
    store.run("B", TASKS, 1, status="missing")
    return store.close()


def test_a_row_with_fewer_runs_of_the_baseline_says_which(tmp_path):
    store = orders_of_a_table_with_another_baseline_run(tmp_path)
    (one,) = shown(store)
    assert (
        cells(one, "B")["Δm"] == f"{MINUS}1.25 | against the baseline's seed 0; other rows are against other runs of it"
    )
    assert "|" not in cells(one, "A")["Δm"]
    report(store, [], tmp_path / "out")
    page = (tmp_path / "out/rooms/report.html").read_text()
    assert "Differences between log Δm do not depend on the baseline among rows that are compared with the same" in page


def test_no_pair_is_printed_on_a_delta_that_is_undefined(tmp_path):
    store = Store(tmp_path)
    for seed in range(2):
        store.run("Single task", ("semseg",), seed, task_set=TASKS, scores=(score("semseg", float(seed)),))
        store.run("Single task", ("depth",), seed, task_set=TASKS)
        store.run("SCA-MTL", TASKS, seed)
    (summary,), _ = summaries(store.close())
    assert summary.rows["SCA-MTL"].delta.problem == "semseg: the baseline's mIoU is 0 in seed 0"
    assert summary.contrasts == ()


def test_the_interval_beside_a_row_is_the_one_of_its_verdict_against_the_baseline(tmp_path):
    store = Store(tmp_path)
    for seed in range(5):
        for label in ("PAD-Net", "MTI-Net", "SCA-MTL"):
            store.run(label, TASKS, seed)
        store.single(TASKS, seed)  # the baseline is the last row, so that the pairs are turned
    (summary,), _ = summaries(store.close())
    pairs = {first: pair for first, second, pair in summary.contrasts if second == "Single task"}
    assert len(pairs) == 3
    for label, pair in pairs.items():
        delta = summary.rows[label].delta
        assert (delta.seeds.low, delta.seeds.high) == (pytest.approx(pair.low), pytest.approx(pair.high))
        assert delta.mean == pytest.approx(pair.difference)
        assert pair.verdict == ("better" if delta.seeds.low > 0 else "worse" if delta.seeds.high < 0 else "undecided")
        assert delta.images.half >= delta.seeds.half


def diverging(tmp_path, lost=3, error="Diverged: loss is nan at step 7"):
    """SCA-MTL is far better than all others with the seeds that it did not lose."""
    store = Store(tmp_path)
    for seed in range(6):
        store.single(TASKS, seed)
        store.run("PAD-Net", TASKS, seed)
        cell = store.run("SCA-MTL", TASKS, seed, status="failed" if seed < lost else "finished")
        if seed < lost:
            (store.root / "cells" / cell / "failure.json").write_text(
                json.dumps({"error": error, "traceback": "", "attempts": 1, "log": ""})
            )
    return store.close()


def test_a_row_that_lost_seeds_is_not_better_than_one_that_lost_none(tmp_path):
    (sound,), _ = summaries(diverging(tmp_path / "sound", lost=0))
    assert [pair.verdict for *labels, pair in sound.contrasts if "SCA-MTL" in labels] == ["worse", "worse"]
    assert sound.rows["SCA-MTL"].delta.best
    store = diverging(tmp_path / "lost")
    (summary,), _ = summaries(store)
    found = [pair for *labels, pair in summary.contrasts if "SCA-MTL" in labels]
    assert [pair.verdict for pair in found] == ["undecided", "undecided"]
    assert found[0].high < 0  # the runs that are left alone would have won
    row = summary.rows["SCA-MTL"]
    assert not row.delta.best
    assert not any(score.best for score in row.scores.values())
    assert summary.rows["Single task"].delta.best  # nor does the row take the bold from those that lost nothing
    assert (row.delta.improved, row.delta.compared) == (3, 6)
    assert {(gain.harmed, gain.runs) for gain in by_task(row.delta).values()} == {(3, 6)}


def test_the_table_and_the_verdict_say_how_many_seeds_were_lost(tmp_path):
    store = diverging(tmp_path)
    (one,) = shown(store)
    assert "(3 of 6 diverged)" in cells(one, "SCA-MTL")["Δm"]
    assert any("that it is not better than a row that lost fewer" in sentence for sentence in one.caption)
    (summary,), _ = summaries(store)
    assert {row[4] for row in contrasts(summary, None).rows if "SCA-MTL" in row} == {
        "undecided: SCA-MTL 3 of 6 diverged"
    }
    (failed,) = shown(diverging(tmp_path / "failed", error="OSError: no space left"))
    assert "(3 of 6 failed)" in cells(failed, "SCA-MTL")["Δm"]


def test_a_row_that_lost_seeds_can_be_worse(tmp_path):
    store = Store(tmp_path)
    for seed in range(6):
        store.single(TASKS, seed)
        store.run("SCA-MTL", TASKS, seed)
        store.run("Multi task", TASKS, seed, status="failed" if seed == 0 else "finished")
    (summary,), _ = summaries(store.close())
    verdicts = {(first, second): pair.verdict for first, second, pair in summary.contrasts}
    assert verdicts["SCA-MTL", "Multi task"] == "better"


def test_the_margin_of_equivalence_is_the_matrixs(tmp_path):
    def verdicts(margin):
        store = Store(tmp_path / str(margin), margin=margin)
        for seed in range(5):
            store.single(TASKS, seed)
            scores = tuple(score(task, value("Single task", task, 2 * seed % 5)) for task in TASKS)
            store.run("PAD-Net", TASKS, seed, scores=scores)
        (summary,), _ = summaries(store.close())
        caption = contrasts(summary, None).caption
        assert f"inside ±{margin:g} points" in caption
        return [pair.verdict for *_, pair in summary.contrasts], caption

    assert verdicts(20.0)[0] == ["equivalent"]
    found, caption = verdicts(0.2)
    assert found != ["equivalent"]
    assert int(caption.split("calls two equal rows equivalent: ")[1].split(".")[0]) > 5


def test_bold_is_for_several_seeds_only(tmp_path):
    many, single = shown(three_seeds(tmp_path / "many"))[0], shown(pascal(tmp_path / "one"), "pascal")[0]
    assert cells(many, "SCA-MTL")["Δm"].startswith("**+4.9")
    assert [row[0].text for row in many.rows if row[4].bold] == ["SCA-MTL"]
    assert not any(cell.bold for row in single.rows for cell in row)
    assert any("One seed a row: there is no interval, nothing is bold" in sentence for sentence in single.caption)
    assert "95 % interval" not in {column.title for column in single.columns}


def spread(root, gap, seeds=3):
    """PAD-Net's gains over the baseline are `gap` percent apart from seed to seed."""
    store = Store(root)
    for seed in range(seeds):
        for task in TASKS:
            store.run("Single task", (task,), seed, task_set=TASKS, scores=(score(task, CENTRE[task]),))
        gains = {"semseg": 1 + gap * (seed - 1) / 100, "depth": 1 - gap * (seed - 1) / 100}
        scores = tuple(score(task, CENTRE[task] * gains[task]) for task in TASKS)
        store.run("PAD-Net", TASKS, seed, scores=scores)
    return store.close()


def test_the_caption_says_how_far_the_interval_of_a_pair_reaches(tmp_path):
    store = spread(tmp_path, 0.5)
    (summary,), _ = summaries(store)
    half = stats.t.isf(0.025, 2) * 0.5 / np.sqrt(3)  # of three differences with a standard deviation of 0.5
    assert summary.block.half_width == pytest.approx(half, rel=1e-3)
    (one,) = shown(store)
    sentence = f"A pair's difference is known to about ±{half:.2f} points (half the width of its interval, "
    sentence += "median over the pairs)."
    assert sentence in one.caption
    assert sentence in formats.markdown([one]) and formats.escape_latex(sentence) in latex([one])


@pytest.mark.parametrize(("gap", "warns"), [(0.5, False), (1.0, True)])
def test_the_page_warns_where_a_table_is_blind_to_two_points(tmp_path, gap, warns):
    (summary,), manifest = summaries(spread(tmp_path, gap))
    warnings = section(summary, table(summary, manifest), [])["warnings"]
    told = "This table cannot tell methods apart that differ by less than 2.5 points of Δm, which is half"
    assert any(warning.startswith(told) for warning in warnings) == warns


def test_the_page_says_what_few_seeds_could_have_found_and_how_many_would_find_more(tmp_path):
    (summary,), _ = summaries(spread(tmp_path / "few", 1.0))
    (said,) = [sentence for sentence in limits(summary) if "undecided" in sentence]
    assert said.startswith("1 of 1 pairs of rows are undecided, with 3 seeds.")
    one, two = (seeds_needed(points, 1.0, rows=2) for points in (1, 2))
    assert f"with a probability of 80 % takes {one} seeds for 1, and {two} seeds for 2 points." in said
    (many,), _ = summaries(spread(tmp_path / "many", 1.0, seeds=4))
    assert not [sentence for sentence in limits(many) if "undecided" in sentence]


def test_nothing_is_said_of_seeds_that_left_no_pair_undecided(tmp_path):
    (summary,), _ = summaries(three_seeds(tmp_path / "alone", gaps=False))
    undecided = [pair for *_, pair in summary.contrasts if pair.verdict == "undecided"]
    assert bool(undecided) == any("undecided" in sentence for sentence in limits(summary))
    store = Store(tmp_path / "one")
    store.single(TASKS, 0)
    store.run("PAD-Net", TASKS, 0)
    (single,), _ = summaries(store.close())
    assert list(limits(single)) == []
    assert not any("is known to about" in sentence for sentence in shown(str(tmp_path / "one"))[0].caption)
