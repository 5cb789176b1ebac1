"""What a change of the code did to the numbers: a store against the store of another commit."""

import re
from dataclasses import replace
from types import MappingProxyType

import pandas as pd
import pytest

from command import invoke
from make_records import Store, record, score, value
from mtlbench.results.questions.moved import NothingInCommon, against
from mtlbench.results.records.record import Control, ControlTable, Entry
from mtlbench.results.report.answers.against import answer, cells, code, frame, grids, markdown
from mtlbench.results.report.display import MINUS
from mtlbench.results.report.write import report

TASKS = ("semseg", "depth")
PLAIN = record("x", ()).provenance
NONE = MappingProxyType({})
LABELS = ("Single task", "PAD-Net", "SCA-MTL")
WAITING = {(label, seed): "missing" for label in LABELS for seed in range(3)}


def made(root, *, seeds=3, moves=NONE, provenance=NONE, status=NONE, extra=(), **manifest):
    """A store of a matrix of three rows.

    moves: (label, task) -> what is added to the score of each seed. status: (label, seed) -> status.
    """
    store = Store(root, **manifest)
    for label in LABELS:
        for seed in range(seeds):
            for tasks in ((task,) for task in TASKS) if label == "Single task" else (TASKS,):
                steps = {task: moves.get((label, task), [0.0] * seeds)[seed] for task in tasks}
                scores = [score(task, value(label, task, seed) + steps[task]) for task in tasks]
                store.run(
                    label, tasks, seed, task_set=TASKS, scores=(*scores, *extra),
                    status=status.get((label, seed), "finished"), provenance={**PLAIN, **provenance},
                )  # fmt: skip
    return store.close()


def one(tmp_path, **changes):
    """What a store with changes says against one without."""
    return against(made(tmp_path / "new", **changes), ["rooms"], made(tmp_path / "old"))["rooms"]


def test_equal_stores_are_equal_to_the_bit(tmp_path):
    found = one(tmp_path)
    assert answer(found) == "All 12 cells are equal to the bit."
    assert code(found).endswith("with the same source code. Data, device and versions are the same.")
    (table, origins) = (part["grid"] for part in grids(found))
    assert [row[4:] for row in table.rows] == [["0", "—", "0 of 3", "equal to the bit"]] * 6
    assert {row[1] for row in origins.rows} == {"same"}


def test_a_score_that_moves_by_its_last_bit_is_seen(tmp_path):
    step = 4 * 38.0 * 2**-53
    found = one(tmp_path, moves={("PAD-Net", "semseg"): [0.0, step, 0.0]})
    assert answer(found).startswith("1 of 3 rows moved: PAD-Net (1 of 12 cells). No difference is shown to be more")
    (row,) = [row for row in grids(found)[0]["grid"].rows if row[:2] == ["PAD-Net", "semseg mIoU [%]"]]
    assert re.fullmatch(rf"\+\d\.\de{MINUS}1[45]", row[4]) and row[6] == "1 of 3" and row[2] == row[3]


def test_a_difference_beyond_the_noise_of_seeds_is_better_or_worse_by_the_direction_of_its_score(tmp_path):
    same = [0.0500, 0.0502, 0.0498]
    moves = {("PAD-Net", "semseg"): [-1.0, 1.2, 0.1], ("SCA-MTL", "depth"): same, ("SCA-MTL", "semseg"): same}
    found = one(tmp_path, moves=moves)
    assert answer(found) == (
        "2 of 3 rows moved: PAD-Net and SCA-MTL (6 of 12 cells). More than the noise of seeds: SCA-MTL on semseg "
        "(+0.05, better) and SCA-MTL on depth (+0.050, worse)."
    )
    table = frame(found).set_index(["label", "task"])
    assert table.loc[("PAD-Net", "semseg"), "verdict"] == "undecided"
    assert table.loc[("PAD-Net", "depth"), "verdict"] == "equal"
    # By hand: three paired differences, t with 2 degrees of freedom at 1 - 0.05 / 3, since three intervals are told.
    low, high = table.loc[("SCA-MTL", "depth"), ["low", "high"]]
    assert (low + high) / 2 == pytest.approx(0.05) and (high - low) / 2 == pytest.approx(
        7.6488 * 0.0002 / 3**0.5, rel=1e-4
    )
    assert table.loc[("SCA-MTL", "depth"), "new_mean"] == pytest.approx(
        sum(value("SCA-MTL", "depth", seed) for seed in range(3)) / 3 + 0.05
    )


def test_an_interval_inside_the_margin_is_equivalent(tmp_path):
    step = [0.001, -0.001, 0.0005]  # of 38 mIoU, of which the margin is 0.19
    found = one(tmp_path, moves={("PAD-Net", "semseg"): step})
    assert set(frame(found)["verdict"]) == {"equal", "equivalent"}
    found = one(tmp_path, moves={("PAD-Net", "semseg"): step}, margin=0.001)
    assert set(frame(found)["verdict"]) == {"equal", "undecided"}
    wider = [0.1, -0.1, 0.0]  # the interval is about ±0.25
    found = one(tmp_path / "wider", moves={("PAD-Net", "semseg"): wider})
    assert set(frame(found)["verdict"]) == {"equal", "undecided"}


def test_a_shift_of_all_seeds_by_their_last_bit_is_no_verdict(tmp_path):
    found = one(tmp_path, moves={("PAD-Net", "semseg"): [4 * 38.0 * 2**-53] * 3})
    assert set(frame(found)["verdict"]) == {"equal", "equivalent"} and len(found.moved) == 3


def test_with_one_seed_nothing_tells_a_difference_from_noise(tmp_path):
    new = made(tmp_path / "new", seeds=1, moves={("PAD-Net", "depth"): [0.1]})
    found = against(new, [], made(tmp_path / "old", seeds=1))["rooms"]
    assert answer(found).endswith("(1 of 4 cells). With one seed, nothing tells a difference from noise.")
    assert "interval" not in " ".join(part["grid"].exact for part in grids(found))


def test_cells_of_one_store_are_named_with_what_the_other_store_says_of_them(tmp_path):
    new = made(tmp_path / "new", status={("PAD-Net", 1): "failed", ("SCA-MTL", 2): "missing"})
    old = made(tmp_path / "old", seeds=2, status={("SCA-MTL", 0): "missing"})
    found = against(new, ["rooms"], old)["rooms"]
    assert answer(found) == (
        "All 6 cells that both stores have are equal to the bit. 5 cells are finished in one store only: 4 in the new "
        "one, 1 in the old one (1 failed in the new one)."
    )
    table = grids(found)[-1]["grid"]
    assert [tuple(row[:4]) for row in table.rows] == [
        ("Single task", "2", "new", "not asked for in the old one"),
        ("Single task", "2", "new", "not asked for in the old one"),
        ("PAD-Net", "2", "new", "not asked for in the old one"),
        ("SCA-MTL", "0", "new", "not finished in the old one"),
        ("PAD-Net", "1", "old", "failed in the new one"),
    ]
    every = cells(found)
    assert len(every) == 6 + 2 * 5  # a score for a single-task cell, two for a multi-task cell
    assert every.loc[every["stores"] != "old+new", "equal"].isna().all()


def test_other_versions_and_commits_are_named(tmp_path):
    provenance = {"commit": "f" * 40 + "+", "source": "beef", "versions": {"python": "3.11.2", "torch": "2.12.0"}}
    found = one(tmp_path, provenance={**provenance, "weights": {"sha256": "abc"}})
    assert code(found) == (
        "Old: commit 0123456789ab; new: commit ffffffffffff+, with other source code. Different too: torch (2.11.0, "
        "now 2.12.0); initial weights (unknown, now abc)."
    )
    rows = {row[0]: row[1:] for row in grids(found)[1]["grid"].rows}
    assert rows["torch"] == ["differs", "2.11.0", "2.12.0"] and rows["python"][0] == "same"


def test_scores_that_measure_something_else_are_moved_and_not_compared(tmp_path):
    old, new = Store(tmp_path / "old"), Store(tmp_path / "new", baseline="PAD-Net")
    for store, definition in ((old, "native resolution"), (new, "half resolution")):
        for seed in range(2):
            store.run("PAD-Net", TASKS, seed, scores=(score("semseg", 40.0, definition), score("depth", None)))
    found = against(new.close(), [], old.close())["rooms"]
    assert answer(found).endswith("1 of 1 row moved: PAD-Net (2 of 2 cells). No difference can be judged.")
    table = grids(found)[0]["grid"]
    assert [row[-1] for row in table.rows] == ["not compared", "not compared"]
    assert "definition is “half resolution” instead of “native resolution”" in table.caption
    assert "Undefined in one store or both: PAD-Net on depth, seeds 0, 1." in table.caption


def test_a_move_of_a_score_beside_the_primary_ones_is_said(tmp_path):
    scores = [replace(score("semseg", 60.0 + step, primary=False), metric="pixel_accuracy") for step in (0, 1)]
    old, new = (made(tmp_path / name, extra=(each,)) for name, each in zip("on", scores, strict=True))
    assert "(12 of 12 cells). No score that enters Δm moved." in answer(against(new, [], old)["rooms"])


def test_cells_of_controls_are_compared_too(tmp_path):
    def with_control(root, step):
        store = Store(root, baseline="PAD-Net")
        for seed in range(4):
            store.run("PAD-Net", TASKS, seed, scores=tuple(score(task, 1.0 + step * (seed == 3)) for task in TASKS))
        last: Entry = store.entries.pop()
        store.manifest["controls"] = (Control("same", "PAD-Net", (ControlTable("other seeds", (last,)),)),)
        return store.close()

    found = against(with_control(tmp_path / "new", 0.5), [], with_control(tmp_path / "old", 0.0))["rooms"]
    assert "1 of 1 row of the controls moved: PAD-Net, other seeds (1 of 4 cells)." in answer(found)


def test_names_of_rows_and_versions_cannot_break_the_markdown(tmp_path):
    text = markdown(one(tmp_path, provenance={"device": "a|b"}))
    assert "a\\|b" in text and "a|b" not in text and text.startswith("## Against the old store")


@pytest.mark.slow  # whole reports are written
@pytest.mark.usefixtures("undrawn")
def test_a_report_has_the_answer_on_its_page_and_in_files_and_equal_bytes(tmp_path):
    new = made(tmp_path / "new", moves={("PAD-Net", "semseg"): [0.1, 0.2, 0.3]})
    old = made(tmp_path / "old")
    plain = report(new, [], tmp_path / "plain")
    first, second = (report(new, [], tmp_path / name, against=old) for name in ("a", "b"))
    assert [path.read_bytes() for path in first.paths] == [path.read_bytes() for path in second.paths]
    added = {path.name for path in first.paths} - {path.name for path in plain.paths}
    assert added == {"against.md", "against.csv", "against_cells.csv"}
    sentence = first.moved["rooms"]
    assert sentence.startswith("1 of 3 rows moved") and plain.moved == {}
    for name in ("rooms/report.html", "rooms/against.md", "index.html"):
        assert sentence in (tmp_path / "a" / name).read_text()
    assert len(pd.read_csv(tmp_path / "a/rooms/against.csv")) == 6
    exact = pd.read_csv(tmp_path / "a/rooms/against_cells.csv").set_index(["cell", "task"])
    assert exact.loc[("pad_net-semseg-depth-rooms-0", "semseg"), "new"] == value("PAD-Net", "semseg", 0) + 0.1
    for name in ("rooms/report.html", "index.html"):
        page = (tmp_path / "plain" / name).read_text()
        assert "old store" not in page and "against.md" not in page


@pytest.mark.slow  # whole reports are written
@pytest.mark.usefixtures("undrawn")
def test_the_command_prints_the_answer_and_refuses_in_one_line(tmp_path):
    new, old = made(tmp_path / "new", name="rooms"), made(tmp_path / "old")
    done = invoke("report", "rooms", "--store", new, "--against", old, "--out", tmp_path / "out")
    assert done.exit_code == 0 and "against  rooms: All 12 cells are equal to the bit." in done.stdout
    other = made(tmp_path / "other", name="another")
    same = f"{tmp_path}/x/../new"
    for asked, store, said in (
        (["rooms"], same, "the store of the report itself"),
        (["rooms"], other, "no matrix 'rooms' was run into this store; it holds: another"),
        ([], other, "it holds no matrix of"),
        (["rooms"], tmp_path / "nothing", "nothing: no such store, or no matrix was run into it"),
        (["rooms"], "s3://a:secret@b/c", "the address holds a password"),
        (["rooms"], made(tmp_path / "waiting", status=WAITING), "no cell of rooms"),
    ):  # fmt: skip
        done = invoke("report", *asked, "--store", new, "--against", store, "--out", tmp_path / "refused")
        assert done.exit_code == 2 and said in done.stderr, done.output
        assert "secret" not in done.output and not (tmp_path / "refused").exists()
        lines = [line for line in done.stderr.splitlines() if "loading" not in line]
        assert len(lines) == 1


def test_of_several_matrices_one_without_a_common_cell_stops_nothing(tmp_path):
    for name in ("new", "old"):
        made(tmp_path / name)
        waiting = Store(tmp_path / name, "waiting", baseline="ATRC")
        waiting.run("ATRC", TASKS, 0, status="missing")
        waiting.close()
    found = against(str(tmp_path / "new"), [], str(tmp_path / "old"))
    assert {name: answer(each) for name, each in found.items()} == {
        "rooms": "All 12 cells are equal to the bit.",
        "waiting": "No cell is finished in both stores.",
    }
    with pytest.raises(NothingInCommon, match="the store of the report itself"):
        against(str(tmp_path / "new"), [], str(tmp_path / "new"))
