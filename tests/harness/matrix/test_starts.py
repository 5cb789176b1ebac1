"""Rows that start from the trained networks of other rows: whose, in what order, and what is refused."""

import pytest

from cells import small_matrix
from mtlbench.harness.matrix.expand import expand, plan, waiting
from mtlbench.harness.matrix.file import MatrixError

SINGLE, MULTI = {"name": "single_task", "label": "Single task"}, {"name": "multi_task", "label": "Multi-task"}
CROSS = {"name": "cross_stitch", "label": "Cross-stitch"}
TUNED = {**MULTI, "label": "Tuned", "starts": "Multi-task", "train": {"lr": 1e-4}}
TWO = {"name": "rooms", "tasks": ["semseg", "depth"], "options": {"train": 6, "val": 2, "test": 4}}


def matrix(*methods, **changes):
    return small_matrix(**{"benchmark": TWO, "methods": list(methods), "backbone": "test_resnet", **changes})


def by_row(planned):
    found = {}
    for item in planned:
        found.setdefault((item.entry.label, item.cell.seed), []).append(item.cell)
    return found


def test_a_stitched_network_starts_from_the_single_task_cells_of_its_seed_and_head():
    found = by_row(expand(matrix(SINGLE, CROSS, seeds=[0, 1])))
    for seed in (0, 1):
        (cell,) = found["Cross-stitch", seed]
        assert cell.starts == {single.tasks[0]: single.id for single in found["Single task", seed]}
    assert len({cells[0].id for (label, _), cells in found.items() if label == "Cross-stitch"}) == 2


def test_another_recipe_of_the_cells_before_makes_another_cell():
    usual, longer = (by_row(expand(matrix({**SINGLE, "train": t}, CROSS))) for t in ({}, {"steps": 2}))
    assert usual["Cross-stitch", 0][0].id != longer["Cross-stitch", 0][0].id


def test_a_row_may_start_from_any_row_and_from_one_that_started_itself():
    again = {**TUNED, "label": "Again", "starts": "Tuned"}
    found = by_row(expand(matrix(SINGLE, again, TUNED, MULTI)))  # in any order
    (multi,), (tuned,), (last,) = (found[label, 0] for label in ("Multi-task", "Tuned", "Again"))
    assert multi.starts == {} and set(tuned.starts.values()) == {multi.id} and set(last.starts.values()) == {tuned.id}
    assert list(tuned.starts) == ["semseg", "depth"]


def test_a_cell_is_not_to_run_before_the_cells_that_it_starts_from():
    whole = matrix(SINGLE, CROSS)
    planned = expand(whole)
    *before, after = planned
    cells, lines = plan(whole, {})
    assert [cell.id for cell in cells] == [item.cell.id for item in before]
    assert lines == ["Cross-stitch, semseg+depth, seed 0: starts from 2 cells, 0 trained"]
    half = {before[0].cell.id: None}
    assert waiting(planned, half) == ["Cross-stitch, semseg+depth, seed 0: starts from 2 cells, 1 trained"]
    cells, lines = plan(whole, {item.cell.id: None for item in before})
    assert [cell.id for cell in cells] == [after.cell.id] and lines == []


@pytest.mark.parametrize(
    ("rows", "changes", "line"),
    [
        (
            [MULTI, CROSS],
            {"baseline": "Multi-task"},
            r"row Cross-stitch: it starts from trained networks of single_task \(head: hrnet\), and no row is one; add "
            "the row, or set option init: backbone",
        ),
        (
            [{**SINGLE, "options": {"head": "fcn_atrc"}}, CROSS],
            {},
            r"it starts from trained networks of single_task \(head: hrnet\), and no row is one",
        ),
        (
            [SINGLE, {**SINGLE, "label": "Longer", "train": {"steps": 3}}, CROSS],
            {"baseline": "Single task"},
            "it could start from Single task or Longer; name one of them in `starts`",
        ),
        ([SINGLE, {**TUNED, "starts": "Nobody"}], {}, "row Tuned: no row is called 'Nobody'; rows: Single task, Tuned"),
        ([SINGLE, {**TUNED, "starts": "Tuned"}], {}, "row Tuned: it starts from itself, by way of Tuned"),
        (
            [SINGLE, {**TUNED, "starts": "Single task"}],
            {},
            "it has one network for all tasks and cannot start from",
        ),
        (
            [SINGLE, {**CROSS, "options": {"init": "backbone"}, "starts": "Single task"}],
            {},
            "its options say that it starts from no other row; leave out starts: Single task",
        ),
        (
            [SINGLE, MULTI, {**TUNED, "train": {"holdout": 0.5}}],
            {},
            "train.holdout is 0.5, and 0.0 for Multi-task, from which it starts",
        ),
        (
            [SINGLE, CROSS],
            {"tune": {"trials": 2, "space": {"lr": [1e-4, 1e-2]}, "holdout": 0.3}},
            "its trials would start from networks that have seen what is held out; leave out tune",
        ),
    ],
)
def test_what_cannot_be_is_refused(rows, changes, line):
    with pytest.raises(MatrixError, match=line):
        matrix(*rows, **changes)


def test_what_starts_from_the_backbone_needs_no_other_row():
    alone = {**CROSS, "options": {"init": "backbone"}}
    (cell,) = by_row(expand(matrix(MULTI, alone, baseline="Multi-task")))["Cross-stitch", 0]
    assert cell.starts == {} and cell.options == {"init": "backbone"}
