"""Controls of a matrix as they are written."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from mtlbench.harness.matrix.cell import Config, plain


class TaskSet(Config):
    """Tasks of a control, with options of the benchmark over those of the matrix."""

    tasks: Annotated[list[str], Field(min_length=2)]
    """The tasks that are trained together."""
    options: Annotated[dict[str, Any], AfterValidator(plain)] = Field(default_factory=dict)
    """Options of the benchmark, over those of the matrix."""

    @property
    def name(self) -> str:
        changes = [
            f"{name} {' and '.join(map(str, value)) if isinstance(value, list) else value}"
            for name, value in self.options.items()
        ]
        return ", ".join([" + ".join(self.tasks), *changes])


class Controls(Config):
    """Comparisons whose result is known before: what a matrix shows of itself, so that its table can be believed."""

    row: str
    """The label of the row that the controls repeat."""
    other_seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(default_factory=list)
    """The row once more, with these seeds: it must be neither better nor worse."""
    more_images: Annotated[dict[str, Any], AfterValidator(plain)] = Field(default_factory=dict)
    """The row with these options of the benchmark, which give it more training images: it must be better."""
    relatedness: list[TaskSet] = Field(default_factory=list)
    """Sets of tasks from the most related to the least: Delta_m of the row must fall."""
    judged_on: list[str] = Field(default_factory=list)
    """The tasks whose mean gain stands for Delta_m in `relatedness`. A task that no network can learn, such as one with
    labels of other images, neither gains nor loses, and would hide what it does to its neighbours. Default: all tasks
    of a set."""
