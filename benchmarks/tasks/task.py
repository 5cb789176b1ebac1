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

    kind decides dtype and transforms: ``label`` integer [B, H, W] with 255 invalid, ``scalar`` float [B, 1, H, W]
    with 0 invalid, ``vector`` float [B, 3, H, W] with the zero vector invalid.
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

    def fitted(self, findings: Mapping[str, Any]) -> Task:
        """This task, completed with what `learn` found in training labels; itself if that is nothing.

        Raises ValueError if this task learns nothing and `findings` is not empty.
        """
        if not findings:
            return self
        if self.complete is None:
            raise ValueError(f"{self.name}: nothing is learnt from its labels, but {', '.join(findings)} was given")
        return self.complete(self, findings)
