"""A recipe names an optimiser and a schedule: ours, or those of a module outside of the package."""

import pytest
import torch
from pydantic import ValidationError

from mtlbench.harness.matrix.cell import TrainConfig
from mtlbench.harness.matrix.entries import Recipe
from mtlbench.harness.matrix.optimization import OPTIMIZERS, SCHEDULES, factor, kept_values, make_optimizer
from mtlbench.harness.training import optimizers
from plugin import Fine

RECIPE = TrainConfig(epochs=1)


@pytest.mark.parametrize(("name", "kept"), [("adam", 2), ("adamw", 2), ("sgd", 1), ("torch.optim:RMSprop", 1)])
def test_the_values_that_an_optimiser_keeps_for_each_weight_are_counted(name, kept):
    assert kept_values(name, RECIPE) == kept


def test_without_momentum_nothing_is_kept():
    assert kept_values("sgd", TrainConfig(epochs=1, momentum=0.0)) == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_uses_the_rate_of_its_group(name):
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    make_optimizer(name, [{"params": [weight], "lr": 0.0, "weight_decay": 0.0}], RECIPE).step()
    assert weight.tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_starts_at_the_rate_that_the_recipe_says(name):
    assert factor(name, 0.0, RECIPE) == 1
    assert 0 < factor(name, 0.999, RECIPE) <= 1


def test_the_published_schedule():
    assert factor("poly", 0.25, TrainConfig(epochs=1, power=2.0)) == 0.75**2


MISTAKES = """
def groups_as_they_are(groups, recipe):
    return groups

def one_argument(groups):
    return None

def negative(progress, recipe):
    return -1.0

def text(progress, recipe):
    return "half"
"""


@pytest.mark.parametrize(
    ("field", "name", "expected"),
    [
        ("optimizer", "adamm", r"unknown optimizer 'adamm'; known: adam, adamw, sgd; or package\.module:Name"),
        ("optimizer", "torch.optim:Adamm", r"'torch\.optim:Adamm' cannot be imported: AttributeError"),
        ("optimizer", "torch.optim:LBFGS", r"'torch\.optim:LBFGS' does not update a parameter: TypeError"),
        (
            "optimizer",
            "updates_for_tests:groups_as_they_are",
            "which makes list; it must be a subclass of",
        ),
        ("optimizer", "updates_for_tests:one_argument", "does not update a parameter: TypeError: one_argument"),
        ("schedule", "cosine", r"unknown schedule 'cosine'; known: poly, constant; or package\.module:Name"),
        ("schedule", "updates_for_tests:negative", "gives the factor -1 after 0 of training"),
        ("schedule", "updates_for_tests:text", "gives no factor after 0 of training: ValueError: could not convert"),
    ],
)
def test_what_is_no_optimiser_or_schedule_is_refused_where_the_matrix_is_read(
    field, name, expected, tmp_path, monkeypatch
):
    (tmp_path / "updates_for_tests.py").write_text(MISTAKES)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValidationError, match=expected):
        Recipe.model_validate({"epochs": 1, field: name})


@pytest.mark.parametrize(
    ("group", "expected"),
    [({"optimizer": "lamb"}, "unknown optimizer 'lamb'"), ({"schedule": "cosine"}, "unknown schedule 'cosine'")],
)
def test_a_group_of_a_method_that_names_an_unknown_one_is_told_with_its_method(group, expected):
    class Groups(Fine):
        def __init__(self):
            torch.nn.Module.__init__(self)
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def parameter_groups(self):
            return [{"params": [self.weight], **group}]

    with pytest.raises(ValueError, match=f"parameter groups of Groups: {expected}"):
        optimizers.make(Groups(), RECIPE)
