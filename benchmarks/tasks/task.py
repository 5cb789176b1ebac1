"""A task: what is predicted, how it is trained and how it is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import Kind
from mtlbench.benchmarks.tasks.losses import (
    Loss,
)
from mtlbench.benchmarks.tasks.metric import Metric


@dataclass(frozen=True)
class Task:
    """One dense prediction task of a benchmark.

    kind says what a batch of labels is: of a `Label` integer [B, H, W] with 255 invalid, of a `Scalar` float
    [B, 1, H, W] with 0 invalid, of a `Vector` float [B, 3, H, W] with the zero vector invalid. Whatever differs
    between these three is asked of the kind, so that no code outside of kinds.py tells them apart.
    """

    name: str
    kind: Kind
    channels: int  # of a prediction
    classes: int  # of its label once discretised (ATRC)
    loss: Loss
    label_loss: Loss  # logits [B, classes, H, W] over the discretised label, label -> (sum, count)
    metric: Metric | None  # None: trained but not scored; shown as undefined
    weight: float  # in the objective
    learn: Callable[[Iterable[Tensor]], dict[str, Any]] | None = None  # training labels -> findings; None: nothing
    complete: Callable[[Task, Mapping[str, Any]], Task] | None = None  # with findings
    background_alone_is_void: bool = False  # a training label without a pixel of another class counts as no label

    @property
    def several_classes(self) -> bool:
        """Whether a prediction chooses among several classes, a logit for each."""
        return self.kind.discrete and self.channels > 1

    def check(self, label: Tensor, image: str) -> None:
        """Raise ValueError, naming this task and `image`, for a value that a label of this task cannot have.

        For labels in the memory of the host: on a GPU the host would wait for the look.
        """
        try:
            self.kind.check(label, self.classes)
        except ValueError as error:
            raise ValueError(f"{self.name} of {image}: {error}") from None

    def fitted(self, findings: Mapping[str, Any]) -> Task:
        """This task, completed with what `learn` found in training labels; itself if that is nothing.

        Raises ValueError if this task learns nothing and `findings` is not empty.
        """
        if not findings:
            return self
        if self.complete is None:
            raise ValueError(f"{self.name}: nothing is learnt from its labels, but {', '.join(findings)} was given")
        return self.complete(self, findings)
