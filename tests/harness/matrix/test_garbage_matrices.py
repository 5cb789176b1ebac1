"""Whatever a matrix file holds, it is a matrix or a list of its mistakes."""

import pytest

from garbage import cases, changed
from mtlbench.harness.matrix.expand import expand
from mtlbench.harness.matrix.file import check
from mtlbench.harness.matrix.text.first_look import first_look
from mtlbench.harness.matrix.text.written import MatrixError, Written

pytestmark = pytest.mark.slow
MATRIX = {
    "name": "small",
    "title": "Small",
    "benchmark": {"name": "rooms", "tasks": [["semseg", "depth"], ["semseg"]], "options": {"train": 8}},
    "size": [64, 96],
    "methods": [
        {"name": "single_task", "label": "Single task", "train": {"lr": 0.1}},
        "multi_task",
        {"name": "mti_net", "options": {}, "train": {"weights": {"semseg": 2.0}}},
        {"name": "atrc"},
    ],
    "baseline": "Single task",
    "seeds": [0, 1],
    "backbone": {"name": "hrnet_w18_small_v2", "weights": "none"},
    "train": {"lr": 1.0e-3, "batch": 8, "epochs": 2, "weights": {"depth": 1.0}},
    "tune": {"trials": 2, "space": {"lr": [1e-4, 1e-2]}, "holdout": 0.1},
    "controls": {"row": "multi_task", "other_seeds": [5], "more_images": {"train": 16}, "relatedness": []},
    "resources": {"cpus": 1, "workers": 1},
}


def test_the_matrix_is_right_before_it_is_changed():
    changed_names = {key: value for key, value in MATRIX.items() if key not in ("controls", "tune")}
    assert len(expand(check(changed_names, "small"))) > 10


@cases(changed(MATRIX), 500)
def test_a_matrix_is_right_or_its_mistakes_are_listed(content):
    if not isinstance(content, dict):
        return  # `load` says so
    slips = mistakes(lambda: first_look(Written("small.yaml", content, [])))
    found = mistakes(lambda: check(content, "small.yaml"))
    assert set(slips) <= set(found)  # what is said without torch is what would be said with it


def mistakes(look):
    """What a look at a matrix refuses, by lines."""
    try:
        look()
    except MatrixError as error:
        assert str(error).startswith("small.yaml: ")
        return error.problems
    return []
