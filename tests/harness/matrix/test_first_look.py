"""Slips of the pen in a matrix are said before torch is imported, in the words that the whole check has for them."""

import pytest

from mtlbench.benchmarks import BENCHMARKS
from mtlbench.harness.matrix.file import check
from mtlbench.harness.matrix.optimization import OPTIMIZERS, SCHEDULES
from mtlbench.harness.matrix.text import first_look
from mtlbench.harness.matrix.text.names import known_names
from mtlbench.harness.matrix.text.written import MatrixError, Written, embedded, load
from mtlbench.methods import METHODS

SLIPS = {
    "name": "m",
    "benchmark": "kitti",
    "methods": ["single_task", {"name": "padnet", "train": {"schedule": "cosine"}}, {"name": "my.module:Mine"}],
    "train": {"epochss": 2, "epochs": 2, "optimizer": "adm"},
    "resources": {"worker": 2},
    "seeds": [-1],
}


def lines(look):
    with pytest.raises(MatrixError) as caught:
        look()
    return caught.value.problems


def test_what_is_said_without_torch_is_what_the_whole_check_says():
    said = lines(lambda: first_look.first_look(Written("m.yaml", SLIPS, [])))
    paths = {line.partition(":")[0] for line in said}
    assert paths == {
        "benchmarks.0.name", "methods.1.name", "methods.1.train.schedule", "train.epochss", "train.optimizer",
        "resources.worker", "seeds.0",
    }  # fmt: skip
    assert set(said) <= set(lines(lambda: check(SLIPS, "m.yaml")))


@pytest.mark.parametrize("name", embedded())
def test_a_matrix_without_slips_passes_unchanged(name):
    written = load(name)
    assert first_look.first_look(written) is written


def test_the_names_are_those_of_the_dictionaries():
    for (_, file, dictionary), held in (
        (first_look.METHODS, METHODS),
        (first_look.BENCHMARKS, BENCHMARKS),
        (first_look.OPTIMIZERS, OPTIMIZERS),
        (first_look.SCHEDULES, SCHEDULES),
    ):
        assert known_names(file, dictionary) == tuple(held)
