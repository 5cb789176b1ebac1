"""Equal tuning: every row gets the same trials, which are judged on images that no test score depends on.

A trial is an ordinary cell. A share of train is kept from its training, and the trial is scored on this share. The
hyperparameters of the best trial are then trained on all of train. The table shows the cell of this last training.

A row of single-task networks has a cell for each task, and trial number k draws the same hyperparameters for all of
them. With `budget: row` the row chooses one number, as a multi-task network does. With `budget: cell` each network
chooses for itself, which gives the row more chances than a multi-task network has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from mtlbench.harness.matrix.cell import Cell, Config, TrainConfig

if TYPE_CHECKING:
    from mtlbench.results.records.record import Record

DIMENSIONS = ("lr", "weight_decay", "power", "clip", "weights")


class Tuning(Config):
    """How rows are tuned: each gets the same number of trials, which are judged on images that no test score has."""

    trials: Annotated[int, Field(ge=2)]
    """Trials of every row, task set and benchmark."""
    space: Annotated[dict[str, tuple[float, float]], Field(min_length=1)]
    """What is drawn, each log-uniform from [low, high]: `lr`, `weight_decay`, `power`, `clip`, or `weights`, which
    draws one number for each task."""
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The share of the training images that judges the trials. 0 takes the benchmark's own val split."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of the draws and of the trials' training."""
    searches: Literal["once", "per_seed"] = "once"
    """One search for all seeds together, or one for each seed of the matrix."""
    budget: Literal["row", "cell"] = "row"
    """Who chooses a trial: the networks of a row together, or each network for itself."""

    @field_validator("space")
    @classmethod
    def _ranges(cls, space: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in space.items():
            if name not in DIMENSIONS:
                raise ValueError(f"{name} cannot be tuned; what can: {', '.join(DIMENSIONS)}")
            if not 0 < low < high:
                raise ValueError(f"{name}: [{low:g}, {high:g}] is no range; give [low, high] with 0 < low < high")
        return space

    def search(self, seed: int) -> Tuning:
        """The search that serves a seed of the matrix: the same one for all seeds, or one whose seed is tuning.seed +
        `seed`. Searches of two seeds have other draws and other trainings, and are judged on the same images.
        """
        return self if self.searches == "once" else self.model_copy(update={"seed": self.seed + seed})

    def together(self, cells: Sequence[Cell]) -> list[list[Cell]]:
        """The cells of a row at one seed, in groups that choose a trial together."""
        return [list(cells)] if self.budget == "row" else [[cell] for cell in cells]

    def sentences(self, *, several_networks: bool, several_seeds: bool) -> str:
        """What the caption of a table says. several_networks: whether a row has a network for each of several tasks."""
        ranges = ", ".join(
            f"{name} in [{low:g}, {high:g}]{' where several tasks are trained' if name == 'weights' else ''}"
            for name, (low, high) in self.space.items()
        )
        judged = f"{self.holdout:.0%} of train" if self.holdout else "the val split"
        said = [
            f"Every row was tuned by the same {self.trials} trials, log-uniform in {ranges}, and trained with those of "
            f"the best by the sum over tasks of the signed logarithms of its scores on {judged}."
        ]
        if several_networks and self.budget == "row":
            said.append("The single-task networks of a row share one choice, by the sum over all of them.")
        elif several_networks:
            said.append(
                "Each single-task network chose for itself, so that a row of them had more chances than a multi-task "
                "network."
            )
        if several_seeds and self.searches == "once":
            said.append(
                "One search serves all seeds: intervals are conditional on it and do not contain the spread of "
                "repeating it."
            )
        elif several_seeds:
            said.append(
                "A search is part of each seed, with its own draws and trainings: intervals contain its spread."
            )
        return " ".join(said)


def draw(tuning: Tuning, trial: int, tasks: Sequence[str]) -> dict[str, Any]:
    """The changes that trial number `trial` makes in a recipe. They are the same for all rows and task sets.

    Each value comes from its own generator, so that one more dimension moves no other value. A network of one task
    draws no weight, because it has none to balance.
    """
    from mtlbench.harness import seeds  # which brings torch, and the form of a matrix is checked without it

    def value(name: str, dimension: str) -> float:
        low, high = tuning.space[dimension]
        fraction = seeds.generator(tuning.seed, "tuning", trial, seeds.code(name)).random()
        return float(f"{low * (high / low) ** fraction:.3g}")  # three digits say what was tried

    drawn: dict[str, Any] = {name: value(name, name) for name in tuning.space if name != "weights"}
    if "weights" in tuning.space and len(tasks) > 1:
        drawn["weights"] = {task: value(f"weights.{task}", "weights") for task in tasks}
    return drawn


def trials(cell: Cell, tuning: Tuning) -> list[Cell]:
    """The trials of a cell. All seeds of the cell have the same trials, or each has its own; see `Tuning.search`."""
    search = tuning.search(cell.seed)
    return [
        cell.model_copy(
            update={
                "train": _recipe(cell.train, draw(search, number, cell.tasks) | {"holdout": tuning.holdout}),
                "seed": search.seed,
                "trial": True,
            }
        )
        for number in range(tuning.trials)
    ]


def tuned(cells: Sequence[Cell], tuning: Tuning, records: Mapping[str, Record]) -> list[Cell] | None:
    """Cells of one row and seed, each with the hyperparameters of the trial number that is the best for all of them.

    Of numbers that are as good, the first is the best. Each cell is derived from the trials of all of the cells, those
    of the first cell first. None while a trial has no record, and where no number is the best; see `unjudged`.
    """
    from mtlbench.results.summary.tuning import goodness, unjudged  # which bring scipy

    tried = [trials(cell, tuning) for cell in cells]
    ids = tuple(trial.id for of_cell in tried for trial in of_cell)
    if not all(cell_id in records for cell_id in ids):
        return None
    numbered = [[records[trial.id] for trial in same] for same in zip(*tried, strict=True)]
    if unjudged(numbered):
        return None
    worth = [goodness(*same) for same in numbered]
    best = worth.index(max(worth))
    drawn = [draw(tuning.search(cell.seed), best, cell.tasks) for cell in cells]
    return [
        cell.model_copy(update={"train": _recipe(cell.train, changes), "derived_from": ids})
        for cell, changes in zip(cells, drawn, strict=True)
    ]


def _recipe(train: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    return TrainConfig.model_validate({**train.model_dump(), **changes})
