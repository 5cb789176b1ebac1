"""Published loss weights reach a cell as numbers, or the matrix is refused."""

import pytest

from mtlbench.harness.matrix import presets
from mtlbench.harness.matrix.expand import expand
from mtlbench.harness.matrix.file import check
from mtlbench.harness.matrix.text.written import MatrixError

BASE = {
    "name": "m",
    "benchmark": "nyud",
    "tasks": [["semseg", "depth"]],
    "methods": ["single_task", "multi_task"],
    "train": {"epochs": 2, "weights": "sca_author"},
}


def weights(**changes):
    planned = expand(check({**BASE, **changes}, "m.yaml"))
    return {(item.entry.label, item.cell.tasks): item.cell.train.weights for item in planned}


def problems(**changes):
    with pytest.raises(MatrixError) as caught:
        check({**BASE, **changes}, "m.yaml")
    return caught.value.problems


def test_a_preset_becomes_the_numbers_that_were_published_for_the_benchmark():
    assert weights() == {
        ("single_task", ("semseg",)): {},
        ("single_task", ("depth",)): {},
        ("multi_task", ("semseg", "depth")): {"depth": 1.15, "semseg": 1.44},
    }
    elsewhere = weights(benchmark="pascal_context", tasks=["semseg", "normals"])
    assert elsewhere["multi_task", ("semseg", "normals")] == {"normals": 40.0, "semseg": 1.1}


def cells(**changes):
    planned = expand(check({**BASE, **changes}, "m.yaml"))
    return {(item.entry.label, item.cell.tasks): item.cell.train for item in planned}


@pytest.mark.parametrize("weights", ["common", "sca_author", "atrc", {"normals": 7.0, "semseg": 3.0}])
def test_a_network_of_one_task_has_weight_1_whatever_the_matrix_says(weights):
    methods = ["single_task", "multi_task"]
    tasks, recipe = [["semseg", "normals"], ["normals"]], {"epochs": 2, "weights": weights}
    found = cells(benchmark="pascal_context", tasks=tasks, methods=methods, train=recipe)
    assert found["single_task", ("normals",)].weights == {"normals": 1.0}
    assert found["single_task", ("semseg",)].weights == {}  # 1 already, so that the cell is the one that it was
    assert found["multi_task", ("normals",)].weights == {"normals": 1.0}  # whatever the method
    assert found["multi_task", ("semseg", "normals")].weights != {"normals": 1.0}


def test_the_row_of_a_network_of_one_task_may_give_it_another_weight():
    row = {"name": "single_task", "train": {"weights": {"normals": 5.0}}}
    found = cells(benchmark="nyud", tasks=["semseg", "normals"], methods=[row], train={"epochs": 2})
    assert found["single_task", ("normals",)].weights == {"normals": 5.0}
    assert found["single_task", ("semseg",)].weights == {}
    named = {"name": "single_task", "train": {"weights": "atrc"}}
    found = cells(benchmark="nyud", tasks=["semseg", "normals"], methods=[named], train={"epochs": 2})
    assert found["single_task", ("normals",)].weights == {"normals": 1.0}  # a preset is for tasks that share a network


def test_atrcs_preset_weighs_normals_by_pixel_and_their_label_loss_apart():
    row = {"name": "atrc", "train": {"weights": "atrc"}}
    tasks = ["semseg", "depth", "normals"]
    found = cells(tasks=tasks, methods=["single_task", row, "multi_task"], train={"epochs": 2})
    recipe = found["atrc", ("semseg", "depth", "normals")]
    assert recipe.weights == {"semseg": 1.0, "depth": 1.0, "normals": 30.0}
    assert recipe.label_weights == {"normals": 10.0}
    assert found["multi_task", ("semseg", "depth", "normals")].label_weights == {}


def test_label_weights_can_be_given_and_are_replaced_with_the_weights_of_a_row():
    shared = {"epochs": 2, "weights": "common", "label_weights": {"depth": 0.25, "semseg": 0.5}}
    row = {"name": "atrc", "train": {"weights": {"depth": 2.0}}}
    found = cells(methods=["single_task", {"name": "atrc", "label": "A"}, row], train=shared)
    assert found["A", ("semseg", "depth")].label_weights == {"depth": 0.25, "semseg": 0.5}
    assert found["atrc", ("semseg", "depth")].label_weights == {}
    assert found["single_task", ("depth",)].label_weights == {}
    assert any(
        "train.label_weights.flow: nyud has no such task" in line
        for line in problems(train={"epochs": 1, "label_weights": {"flow": 1.0}})
    )


def test_common_is_the_default_and_the_same_cell():
    ids = [
        [item.cell.id for item in expand(check({**BASE, "train": train}, "m.yaml"))]
        for train in ({"epochs": 2}, {"epochs": 2, "weights": "common"}, {"epochs": 2, "weights": {}})
    ]
    assert ids[0] == ids[1] == ids[2]


def test_a_preset_is_the_same_cell_as_its_numbers():
    numbers = {"epochs": 2, "weights": {"semseg": 1.44, "depth": 1.15}}
    named, given = (expand(check({**BASE, **changes}, "m.yaml")) for changes in ({}, {"train": numbers}))
    assert [item.cell.id for item in named] == [item.cell.id for item in given]


def test_a_methods_weights_replace_the_matrixs_whichever_way_they_are_given():
    def row(own, shared):
        methods = ["single_task", {"name": "multi_task", "train": {"weights": own}}]
        found = weights(methods=methods, train={"epochs": 2, "weights": shared})
        return found["multi_task", ("semseg", "depth")]

    assert row({"depth": 3.0}, "sca_author") == {"depth": 3.0}
    assert row("sca_author", {"depth": 3.0}) == {"depth": 1.15, "semseg": 1.44}
    assert row("common", "sca_author") == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train": {"epochs": 1, "weights": "sca"}}, "unknown weights 'sca'; known: common, sca_author, atrc"),
        ({"tasks": [["depth", "normals"]]}, "train.weights: preset 'sca_author' has no weight of normals on nyud"),
        ({"benchmark": "rooms"}, "has no weight of semseg, depth on rooms (it has none there)"),
        (
            {"methods": ["single_task", {"name": "multi_task", "train": {"weights": {"flow": 1}}}]},
            "methods.1.train.weights.flow: nyud has no such task",
        ),
        (
            {"methods": ["single_task", {"name": "multi_task", "train": {"weights": "x"}}]},
            "methods.1.train: unknown weights 'x'",
        ),
        ({"train": {"epochs": 1, "weights": {"depth": -1}}}, "train.weights.depth"),
    ],
)  # fmt: skip
def test_what_was_not_published_is_refused_with_the_way_out(changes, expected):
    assert any(expected in line for line in problems(**changes)), problems(**changes)


def test_every_preset_names_benchmarks_and_tasks_that_there_are():
    from mtlbench.benchmarks import BENCHMARKS

    for published in presets.PUBLISHED.values():
        for benchmark, weights in published.items():
            assert set(weights.labels) <= set(weights.tasks) <= set(BENCHMARKS[benchmark]().tasks)
