"""Mistakes in values are told in our words, at the entry that has them, for every field of a matrix."""

import pytest
from pydantic import ValidationError

from mtlbench.harness.matrix.cell import BackboneConfig
from mtlbench.harness.matrix.entries import (
    FORM_ONLY,
    BenchmarkEntry,
    Controls,
    Matrix,
    MethodEntry,
    Recipe,
    Resources,
    TaskSet,
)  # fmt: skip
from mtlbench.harness.matrix.text.first_look import first_look
from mtlbench.harness.matrix.text.words import WORDS, as_yaml, in_words
from mtlbench.harness.matrix.text.written import MatrixError, Written
from mtlbench.harness.matrix.tuning import Tuning

MODELS = [BackboneConfig, BenchmarkEntry, Controls, Matrix, MethodEntry, Recipe, Resources, TaskSet, Tuning]
VALUES = [
    True, False, None, "", "x", "x" * 99, -1, 0, 0.5, 1, 1e30, 10**40, float("inf"), float("nan"),
    [], {}, [True, "x", 0.5, -1], {"x": True}, {"lr": [1, True]}, {"x": "y"}, {1: 2}, [[]], [None], [{}], [{"x": 1}],
]  # fmt: skip
OURS = {*WORDS, "value_error", "missing", "extra_forbidden"}


@pytest.mark.parametrize("model", MODELS)
def test_no_value_of_a_field_is_told_in_words_of_pydantic(model):
    found = set()
    for field in model.model_fields:
        for value in VALUES:
            try:
                model.model_validate({field: value}, context=FORM_ONLY)
            except ValidationError as error:
                found |= {mistake["type"] for mistake in error.errors()}
                said = [in_words(each) for each in error.errors() if each["type"] in WORDS]
                assert [line for line in said if "Input" in line or "True" in line or "valid" in line] == []
    assert "missing" in found or model in (BackboneConfig, Recipe, Resources)
    assert found <= OURS


def problems(**changes):
    content = {"name": "m", "benchmark": "rooms", "methods": ["single_task"], "train": {"epochs": 1}} | changes
    with pytest.raises(MatrixError) as caught:
        first_look(Written("m.yaml", content, []))
    return caught.value.problems


def test_each_wrong_entry_of_a_list_is_named():
    assert problems(seeds=[0.5, True, "x", -1, 7]) == [
        "seeds.0: 0.5 is no whole number; write one",
        "seeds.1: true is no whole number; write one",
        "seeds.2: 'x' is no whole number; write one",
        "seeds.3: -1 is too small; give 0 or more",
    ]
    assert problems(tune={"trials": 2, "space": {"lr": [False, 2]}}) == [
        "tune.space.lr.0: false is no number; write one"
    ]


def test_limits_and_choices_are_told_with_what_is_allowed():
    assert problems(margin=0) == ["margin: 0 is too small; give a number above 0"]
    assert problems(resources={"save_predictions": 3}) == [
        "resources.save_predictions: 3 is neither true nor false; write one of them"
    ]
    assert problems(train={"epochs": 1, "momentum": 1.5}) == ["train.momentum: 1.5 is too large; give a number below 1"]


def test_values_are_written_as_in_a_matrix():
    assert as_yaml([True, None, {"a": [False, "b"]}, 1.5]) == "[true, null, {a: [false, 'b']}, 1.5]"
