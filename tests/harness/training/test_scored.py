"""A cell says that its network is scored, and how much of it, also where no score is left for later."""

from functools import partial

import pytest

from cells import small_cell
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.training import judge, train
from mtlbench.harness.training.environment import Environment
from mtlbench.harness.training.progress import ImagesScored, Progress, Scoring

pytestmark = pytest.mark.usefixtures("undrawn")


def test_a_cell_reports_that_it_is_validated_and_scored(tmp_path, rooms, monkeypatch):
    monkeypatch.setattr(judge, "ImagesScored", partial(ImagesScored, seconds=0.0))
    cell, told = small_cell(train={"epochs": 2, "batch": 1, "accumulate": 1}), []
    place = Environment(str(tmp_path), {"rooms": rooms}, Resources(validate_every=2))
    train.train(cell, place, told.append)
    first = next(place for place, said in enumerate(told) if isinstance(said, Scoring))
    assert all(isinstance(said, Progress) for said in told[:first]) and told[first - 1].epoch == 2
    val = [Scoring(done, 2, "val") for done in range(3)]
    assert told[first:] == [*val, *(Scoring(done, 4, "test") for done in range(5))]


@pytest.mark.parametrize(("alone", "later"), [(True, 1), (False, 0)])
def test_reports_are_rare_and_a_group_makes_none_that_only_one_of_its_processes_may_make(monkeypatch, alone, later):
    now, told = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    scored = ImagesScored(told.append, "test", 200, alone=alone)
    for second in range(1, 10):
        now[0] = float(second)
        scored.add(8)
    assert told == [Scoring(0, 200, "test"), Scoring(40, 200, "test")][: 1 + later]
