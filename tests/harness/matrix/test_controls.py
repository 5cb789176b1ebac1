"""Controls of a matrix: their cells, what the manifest says of them, and mistakes."""

import pytest

from mtlbench.harness.driver.work import title
from mtlbench.harness.matrix.expand import expand, manifest
from mtlbench.harness.matrix.file import check
from mtlbench.harness.matrix.text.written import MatrixError
from mtlbench.results.records.record import Manifest

BASE = {
    "name": "m",
    "benchmark": {"name": "rooms", "options": {"train": 8, "val": 2, "test": 2}},
    "tasks": ["semseg", "normals"],
    "methods": [{"name": "single_task", "label": "Single"}, {"name": "multi_task", "label": "Multi"}],
    "seeds": [0, 1],
    "train": {"epochs": 2},
}
FOREIGN = {"tasks": ["semseg", "normals"], "options": {"foreign": ["normals"]}}
ALL = {
    "row": "Multi",
    "other_seeds": [5, 6],
    "more_images": {"train": 16},
    "relatedness": [{"tasks": ["depth", "normals"]}, {"tasks": ["normals", "semseg"]}, FOREIGN],
}


def matrix(controls, **changes):
    return check({**BASE, "controls": controls, **changes}, "m.yaml")


def test_without_controls_cells_are_as_before_and_tables_share_theirs_with_controls():
    plain, controlled = expand(check(BASE, "m.yaml")), expand(matrix(ALL))
    assert controlled[: len(plain)] == plain
    extra = controlled[len(plain) :]
    assert len({item.cell.id for item in controlled}) == len(controlled)
    assert all(item.control for item in extra) and not any(item.control for item in plain)
    counts = {name: sum(item.control == name for item in extra) for name in dict.fromkeys(i.control for i in extra)}
    assert counts == {
        "other seeds": 2,
        "more images": 2,
        "depth + normals": 4,  # a single-task network of depth and a joint network, twice; normals alone is a table's
        "semseg + normals, foreign normals": 6,
    }
    assert {item.cell.seed for item in extra if item.control == "other seeds"} == {5, 6}
    assert {item.cell.benchmark.options["train"] for item in extra if item.control == "more images"} == {16}


def test_the_manifest_says_what_each_control_expects_and_names_every_cell_once():
    found = Manifest.from_json(manifest(matrix(ALL), {}).to_json(), "m.json")
    assert [(control.expects, control.row, len(control.tables)) for control in found.controls] == [
        ("same", "Multi", 1), ("better", "Multi", 1), ("falls", "Multi", 3)
    ]  # fmt: skip
    assert sorted(found.ids) == sorted(item.cell.id for item in expand(matrix(ALL)))
    own = {item.cell.id: item for item in expand(matrix(ALL))}
    for cell_id in found.ids:
        assert title(own[cell_id]).startswith(found.entries_of(cell_id)[0].label)


def test_a_manifest_from_before_controls_is_read():
    text = manifest(check(BASE, "m.yaml"), {}).to_json().replace(' "controls": [],\n', "")
    assert "controls" not in text and Manifest.from_json(text, "m.json").controls == ()


@pytest.mark.parametrize(
    ("controls", "changes", "expected"),
    [
        ({**ALL, "row": "Single"}, {}, "controls.row: 'Single' is no row beside the baseline; these are: Multi"),
        ({**ALL, "other_seeds": [1, 5]}, {}, "controls.other_seeds: 1 is one of the matrix's seeds"),
        (
            {**ALL, "row": "A"},
            {"methods": [{"name": "multi_task", "label": "A"}]},
            "controls: they are compared with a",
        ),
        ({"row": "Multi"}, {}, "controls: none is asked for; give other_seeds, more_images or relatedness"),
        ({"row": "Multi", "relatedness": [FOREIGN]}, {}, "controls.relatedness: one set of tasks has no order"),
        ({"row": "Multi", "relatedness": [FOREIGN, FOREIGN]}, {}, "is there more than once"),
        ({**ALL, "judged_on": ["normals", "depth"]}, {}, "controls.relatedness.1.tasks: depth is not among"),
        ({"row": "Multi", "other_seeds": [5], "judged_on": ["depth"]}, {}, "controls.judged_on: it is of relatedness"),
        ({"row": "Multi", "more_images": {"trane": 9}}, {}, "rooms has no option 'trane'"),
        ({**ALL, "relatedness": [{"tasks": ["semseg", "flow"]}, FOREIGN]}, {}, "rooms has no task 'flow'"),
        (ALL, {"tasks": [["semseg", "normals"], ["semseg", "depth"]]}, "controls: they are of one table"),
        (
            {**ALL, "other_seed": [7]},
            {},
            "controls.other_seed: unknown key, perhaps other_seeds is meant; allowed: judged_on, more_images",
        ),
    ],
)
def test_mistakes_are_named(controls, changes, expected):
    with pytest.raises(MatrixError, match=r"[\s\S]*" + expected):
        matrix(controls, **changes)
