"""Where a cell runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mtlbench.harness.training.progress import Progress


@dataclass(frozen=True)
class Place:
    """Where a cell runs. Nothing here changes a number."""

    store: str
    root: Path  # of the data
    cache: Path | None = None  # where prepared data may be, besides this node's scratch
    weights: Mapping[str, str] = field(default_factory=dict)  # what a cell calls a file of weights -> its path
    device: str = "cpu"
    loaders: int = 0
    checkpoint_every: int = 1
    validate_every: int | None = None
    save_predictions: bool = False  # of all test images
    report: Callable[[Progress], None] = lambda progress: None
