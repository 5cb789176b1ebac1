"""What a table's columns and rows are taken for, in the styles of several journals."""

import pytest

from mtlbench.results.papers.columns import Choices, tables
from mtlbench.results.papers.reading import sources
from mtlbench.results.papers.reading.grid import BadTable, NoDelta
from printed_tables import markdown, separated

GROUPS = ["Method", "Segmentation", "", "Depth", "", "Surface Normal", "", "", "Δm"]
NAMES = ["", "mIoU", "Pix Acc", "Abs Err", "Rel Err", "Mean", "Median", "11.25", "%"]
NUMBERS = [
    ["STL", "38.30", "63.76", "0.6754", "0.2780", "25.01", "19.21", "30.14", "-"],
    ["LS", "39.29", "65.33", "0.5493", "0.2263", "28.15", "23.96", "22.09", "5.59"],
]


def table(text, choices=None):
    (grid,) = sources.tables(text, "it")
    (found,) = tables(grid, choices or Choices())
    return found


def directions(found):
    return {metric.index: metric.higher for metric in found.metrics}


def named(*titles, numbers=None):
    """A table with these columns, the first of which is the method and the last the delta."""
    rows = numbers or [
        ["STL", *("40.0" for _ in titles[1:-1]), "-"], ["A", *("41.0" for _ in titles[1:-1]), "2.5"]
    ]  # fmt: skip
    return table(separated([list(titles), *rows], "\t"))


def test_names_of_two_rows_without_merged_cells_are_put_together():
    found = table(markdown([GROUPS, NAMES, *NUMBERS]))
    assert [column.title for column in found.columns][1:4] == [
        "Segmentation mIoU",
        "Segmentation Pix Acc",
        "Depth Abs Err",
    ]
    assert directions(found) == {1: True, 2: True, 3: False, 4: False, 5: False, 6: False, 7: True}
    assert {metric.task for metric in found.metrics} == {"Segmentation", "Depth", "Surface Normal"}
    assert found.deltas[0].title == "Δm %"
    assert [entry.method for entry in found.entries] == ["STL", "LS"]


@pytest.mark.parametrize(
    ("title", "higher"),
    [
        ("mIoU", True), ("IoU [%]", True), ("Pix. Acc.", True), ("PAcc", True), ("F1", True), ("odsF", True),
        ("maxF", True), ("δ < 1.25", True), ("AP50", True), ("SemSeg", True), ("Human Parts", True), ("Saliency", True),
        ("Boundary", True), ("within 11.25°", True), ("R²", True), ("AUC", True),
        ("RMSE", False), ("Abs Err", False), ("AbsRel", False), ("Rel.", False), ("mErr", False), ("Mean", False),
        ("Median", False), ("MAE", False), ("MSE", False), ("L1 [px]", False), ("Depth", False), ("Normals", False),
        ("Disparity", False), ("Acc. Err.", False), ("loss", False),
        ("mIoU ↓", False), ("RMSE ↑", True), ("Depth (higher is better)", True), ("mIoU (Lower Better)", False),
    ],
)  # fmt: skip
def test_a_metric_tells_its_direction_by_an_arrow_or_else_by_its_name(title, higher):
    assert directions(named("Method", title, "Acc", "Δm"))[1] == higher


@pytest.mark.parametrize(
    "title",
    [
        "MR ↓", "Mean Rank", "Params (M)", "#P.", "# Params", "FLOPs (G)", "GFLOPs ↓", "MACs", "Epochs",
        "Time (s)", "FPS ↑", "Memory", "GPU hours", "Trainable Parameters (M)", "Year", "Iterations", "Model Size (MB)",
        "Avg.", "Average ↑", "Training time ↓",
    ],
)  # fmt: skip
def test_a_count_a_cost_or_a_rank_is_no_metric(title):
    found = named("Method", "mIoU", title, "RMSE", "Δm")
    assert sorted(directions(found)) == [1, 3]
    assert [column.index for column in found.others] == [2]


@pytest.mark.parametrize(
    "title",
    [
        "Δm", "∆m% ↓", "Δ_m ↑ (%)", r"$\Delta_{\mathrm{MTL}}$", "Mean ∆(%) ↑", "Delta_m", "delta m", "ΔMTL (%)", "△m",
        "Avg. relative improvement", "MTL gain (%)", "Average gain", "Multi-task performance (%)", "Improvement (%)",
    ],
)  # fmt: skip
def test_a_column_of_deltas_is_known_by_its_name(title):
    assert [delta.index for delta in named("Method", "mIoU", "RMSE", title).deltas] == [3]


def test_a_change_of_a_count_and_a_threshold_are_no_deltas():
    found = named("Method", "δ<1.25", "mIoU", "ΔParams", "Δm")
    assert [delta.index for delta in found.deltas] == [4]
    assert sorted(directions(found)) == [1, 2]


@pytest.mark.parametrize(
    ("title", "lower"), [("Δm ↓", True), ("Δm ↑", False), ("Δm (lower is better)", True), ("Δm", None)]
)
def test_a_delta_says_its_sign_or_leaves_it_open(title, lower):
    assert named("Method", "mIoU", "RMSE", title).deltas[0].lower is lower


def test_the_method_may_stand_behind_another_column():
    found = named(
        "#P.", "Method", "mIoU", "RMSE", "Δm",
        numbers=[["3", "Independent", "40.0", "0.60", "-"], ["≈3", "Cross-Stitch", "41.0", "0.60", "1.25"]],
    )  # fmt: skip
    assert [entry.method for entry in found.entries] == ["Independent", "Cross-Stitch"]
    assert sorted(directions(found)) == [2, 3]


def test_methods_in_groups_are_named_by_their_own_column():
    text = """<table><tr><td colspan="2">Method</td><td>mIoU</td><td>Δm</td></tr>
    <tr><td colspan="2">STL</td><td>40.0</td><td>-</td></tr>
    <tr><td rowspan="2">Losses</td><td>UW</td><td>41.0</td><td>2.5</td></tr>
    <tr><td>DWA</td><td>42.0</td><td>5.0</td></tr></table>"""
    assert [entry.method for entry in table(text).entries] == ["STL", "UW", "DWA"]


def test_rows_without_a_name_of_their_own_are_named_by_all_their_text():
    found = named(
        "CTAM", "FPMA", "mIoU", "RMSE", "Δm",
        numbers=[
            ["✗", "✗", "40.0", "0.60", "-"], ["✓", "✗", "41.0", "0.60", "1.25"], ["✗", "✓", "42.0", "0.60", "2.5"],
        ],
    )  # fmt: skip
    assert [entry.method for entry in found.entries] == ["✗ ✗", "✓ ✗", "✗ ✓"]


SIDE_BY_SIDE = """<table><tr><td rowspan="3">Method</td><td colspan="4">CityScapes</td><td colspan="{}">CelebA</td></tr>
<tr><td colspan="2">Seg.</td><td rowspan="2">MR ↓</td><td rowspan="2">Δm% ↓</td>{}</tr>
<tr><td>mIoU ↑</td><td>PAcc ↑</td></tr>
<tr><td>STL</td><td>70.0</td><td>90.0</td><td></td><td></td>{}</tr></table>"""


def test_a_delta_is_of_the_metrics_under_its_own_header():
    other = '<td rowspan="2">Acc ↑</td><td rowspan="2">Δm% ↓</td>'
    row = "<td>80.0</td><td>0.0</td></tr><tr><td>A</td>" + "".join(
        f"<td>{number}</td>" for number in (7, 9, 1, 2, 80, 0)
    )
    found = table(SIDE_BY_SIDE.format(2, other, row))
    assert [[metric.index for metric in delta.scopes[0]] for delta in found.deltas] == [[1, 2], [5]]


def test_a_delta_of_another_benchmark_whose_metrics_are_not_printed_is_left_out():
    other = '<td rowspan="2">MR ↓</td><td rowspan="2">Δm% ↓</td>'
    row = "<td></td><td></td></tr><tr><td>A</td><td>7.0</td><td>9.0</td><td>1</td><td>2.0</td><td>1</td><td>3.0</td>"
    found = table(SIDE_BY_SIDE.format(2, other, row))
    assert [delta.index for delta in found.deltas] == [4]
    assert [column.title for column in found.unjudged] == ["CelebA Δm% ↓"]


def test_a_table_whose_rows_are_metrics_is_turned():
    found = table("Metric,STL,A\nmIoU ↑,40.0,41.0\nRMSE ↓,0.60,0.60\nDelta_m,-,1.25\n")
    assert [entry.method for entry in found.entries] == ["STL", "A"]
    assert directions(found) == {1: True, 2: False}


def test_a_table_that_repeats_its_header_is_several():
    text = markdown(
        [
            ["Method", "mIoU ↑", "Δm"],
            ["STL", "40.0", "-"],
            ["Method", "RMSE ↓", "Δm"],
            ["STL", "0.6", "-"],
            ["A", "0.5", "9"],
        ]
    )
    (grid,) = sources.tables(text, "it")
    with pytest.raises(BadTable, match="'Δm' has no number"):
        list(tables(grid, Choices()))
    (grid,) = sources.tables(text.replace("| 40.0 | - |", "| 40.0 | 0 |"), "it")
    assert [directions(found) for found in tables(grid, Choices())] == [{1: True}, {1: False}]


def test_a_user_overrules_what_was_found():
    text = separated([["Method", "Foo", "Bar", "Gap"], ["STL", "40.0", "0.60", "-"], ["A", "41.0", "0.60", "1.25"]])
    with pytest.raises(NoDelta, match="line 2: no column of Δm among Method, Foo, Bar, Gap"):
        table(text)
    found = table(
        text, Choices(metrics=("1", "bar"), directions={"Bar": False, "1": True}, deltas=("Gap",), lower_is_better=True)
    )
    assert directions(found) == {1: True, 2: False}
    assert found.deltas[0].lower is True
    with pytest.raises(BadTable, match="'9' is no column; there are: 0 Method, 1 Foo, 2 Bar, 3 Gap"):
        table(text, Choices(deltas=("9",)))
    with pytest.raises(BadTable, match="'o' is more than one column"):
        table(text, Choices(metrics=("o",), deltas=("3",)))
