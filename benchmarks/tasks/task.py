"""A task says what is predicted, how it is trained and how it is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import Kind
from mtlbench.benchmarks.tasks.losses import Loss
from mtlbench.benchmarks.tasks.metric import HasPublished, Metric


@dataclass(frozen=True)
class Task:
    """One dense prediction task of a benchmark.

    kind says what a batch of labels is: integer [B, H, W] with 255 invalid for a `Label`, float [B, 1, H, W] with 0
    invalid for a `Scalar`, float [B, 3, H, W] with the zero vector invalid for a `Vector`. The kind answers for
    everything that differs between these three, so that no code outside kinds.py tells them apart.
    """

    name: str
    kind: Kind
    channels: int  # of a prediction
    classes: int  # of its label once discretised (ATRC)
    loss: Loss
    label_loss: Loss  # logits [B, classes, H, W] over the discretised label, label -> (sum, count)
    metric: Metric | None  # None: the task is trained but not scored, and shown as undefined
    weight: float  # in the objective
    label_weight: float | None = None  # of `label_loss` in the objective; None: `weight`
    learn: Callable[[Iterable[Tensor]], dict[str, Any]] | None = None  # training labels -> findings; None: no findings
    complete: Callable[[Task, Mapping[str, Any]], Task] | None = None  # with what was learnt
    background_alone_is_void: bool = False  # a training label of background alone is no label

    @property
    def several_classes(self) -> bool:
        """Whether a prediction chooses among several classes, with one logit for each."""
        return self.kind.discrete and self.channels > 1

    @property
    def weight_of_label_loss(self) -> float:
        return self.weight if self.label_weight is None else self.label_weight

    def labels(self, label: Tensor) -> bool:
        """Whether a training label says anything: it has a valid pixel, and one beside the background where that alone
        is no label.
        """
        valid = self.kind.valid(label)
        return bool((valid & (label != 0) if self.background_alone_is_void else valid).any())

    def published(self) -> Task:
        """This task with the metric as the published evaluations define it, where their definition differs."""
        return replace(self, metric=self.metric.published()) if isinstance(self.metric, HasPublished) else self

    def check(self, label: Tensor, image: str) -> None:
        """Raise ValueError, naming this task and `image`, for a value that a label of this task cannot have.

        Call it for labels in the memory of the host; for a label on a GPU the host would have to wait.
        """
        try:
            self.kind.check(label, self.classes)
        except ValueError as error:
            raise ValueError(f"{self.name} of {image}: {error}") from None

    def fitted(self, findings: Mapping[str, Any]) -> Task:
        """This task, completed with what `learn` found in training labels; the same task if `findings` is empty.

        Raises ValueError if this task learns nothing and `findings` is not empty.
        """
        if not findings:
            return self
        if self.complete is None:
            raise ValueError(f"{self.name}: nothing is learnt from its labels, but {', '.join(findings)} was given")
        return self.complete(self, findings)
