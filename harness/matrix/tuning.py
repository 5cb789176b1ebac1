"""Equal tuning: every row gets the same trials, which are judged on images that no test score depends on.

A trial is an ordinary cell. A share of train is kept from its training, and the trial is scored on this share. The
hyperparameters of the best trial are then trained on all of train. The table shows the cell of this last training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, field_validator

from mtlbench.harness import seeds
from mtlbench.harness.matrix.cell import Cell, Config, TrainConfig
from mtlbench.results.records.record import Record
from mtlbench.results.summary.tuning import goodness, unjudged

DIMENSIONS = ("lr", "weight_decay", "power", "clip", "weights")


class Tuning(Config):
    """`tune:` of a matrix."""

    trials: Annotated[int, Field(ge=2)]  # of every row, task set and benchmark
    space: Annotated[dict[str, tuple[float, float]], Field(min_length=1)]  # log-uniform; weights: a draw for each task
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of train that judges; 0: the benchmark's own val split
    seed: Annotated[int, Field(ge=0)] = 0  # of the draws, and of the trials' training

    @field_validator("space")
    @classmethod
    def _ranges(cls, space: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in space.items():
            if name not in DIMENSIONS:
                raise ValueError(f"{name} cannot be tuned; what can: {', '.join(DIMENSIONS)}")
            if not 0 < low < high:
                raise ValueError(f"{name}: [{low:g}, {high:g}] is no range; give [low, high] with 0 < low < high")
        return space

    @property
    def sentence(self) -> str:
        ranges = ", ".join(
            f"{name} in [{low:g}, {high:g}]{' where several tasks are trained' if name == 'weights' else ''}"
            for name, (low, high) in self.space.items()
        )
        judged = f"{self.holdout:.0%} of train" if self.holdout else "the val split"
        return (
            f"Every row was tuned by the same {self.trials} trials, log-uniform in {ranges}, and trained with those of "
            f"the best by the sum over tasks of the signed logarithms of its scores on {judged}."
        )


def draw(tuning: Tuning, trial: int, tasks: Sequence[str]) -> dict[str, Any]:
    """The changes that trial number `trial` makes in a recipe. They are the same for all rows and task sets.

    Each value comes from its own generator, so that one more dimension moves no other value. A network of one task
    draws no weight, because it has none to balance.
    """

    def value(name: str, dimension: str) -> float:
        low, high = tuning.space[dimension]
        fraction = seeds.generator(tuning.seed, "tuning", trial, seeds.code(name)).random()
        return float(f"{low * (high / low) ** fraction:.3g}")  # three digits say what was tried

    drawn: dict[str, Any] = {name: value(name, name) for name in tuning.space if name != "weights"}
    if "weights" in tuning.space and len(tasks) > 1:
        drawn["weights"] = {task: value(f"weights.{task}", "weights") for task in tasks}
    return drawn


def trials(cell: Cell, tuning: Tuning) -> list[Cell]:
    """The trials of a cell. They are the same for all of its seeds."""
    return [
        cell.model_copy(
            update={
                "train": _recipe(cell.train, draw(tuning, number, cell.tasks) | {"holdout": tuning.holdout}),
                "seed": tuning.seed,
                "trial": True,
            }
        )
        for number in range(tuning.trials)
    ]


def tuned(cell: Cell, tuning: Tuning, records: Mapping[str, Record]) -> Cell | None:
    """The cell with the hyperparameters of its best trial, the first of equals.

    None while a trial has no record, and where no trial has scores that could be compared; see `unjudged`.
    """
    tried = trials(cell, tuning)
    if not all(trial.id in records for trial in tried) or unjudged([records[trial.id] for trial in tried]):
        return None
    worth = [goodness(records[trial.id]) for trial in tried]
    best = worth.index(max(worth))
    recipe = _recipe(cell.train, draw(tuning, best, cell.tasks))
    return cell.model_copy(update={"train": recipe, "derived_from": tuple(trial.id for trial in tried)})


def _recipe(train: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    return TrainConfig.model_validate({**train.model_dump(), **changes})
