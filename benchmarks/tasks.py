"""A task: what is predicted, how it is trained and how it is scored. Behaviour that follows a task's name lives here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from benchmarks.metrics import Metric

Kind = Literal["label", "scalar", "vector"]
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # prediction [B, C, H, W], label -> (sum, count), scalars


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
