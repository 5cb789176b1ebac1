"""What a benchmark is: tasks, splits, and a sequence of samples for each split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from torch import Tensor

from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms.augmentation import Augmentation


class Sample(NamedTuple):
    """One image as it is stored, before any resize.

    image: uint8 [3, H, W], RGB. labels: task -> label at the image's size; by the task's kind
    `Label` uint8 [H, W] (255 invalid), `Scalar` float32 [1, H, W] (0 invalid),
    `Vector` float32 [3, H, W] (zero vector invalid). A missing label is a missing key.
    """

    id: str
    image: Tensor
    labels: dict[str, Tensor]


class Benchmark(ABC):
    """A data set with its tasks. Subclasses are constructed as ``BENCHMARKS[name](size=(H, W), **options)``.

    ``size`` is the network's input size (rows, columns), multiples of 32. Splits are called ``train``, ``val`` and
    ``test`` whatever the files say; ``val`` exists only where the data set has one of its own.
    """

    name: ClassVar[str]
    needs_root: ClassVar[bool]  # False: the data are made, and `root` is the folder to keep them in
    size: tuple[int, int]
    tasks: Mapping[str, Task]
    default_tasks: Sequence[str]  # trained where a matrix names none
    splits: Mapping[str, int | None]  # known number of images of the full data set
    augmentations: Mapping[str, Augmentation]  # by protocol: "mtl", "atrc"

    @abstractmethod
    def open(self, root: Path, split: str, tasks: Sequence[str]) -> Sequence[Sample]:
        """The samples of a split with the labels of `tasks`.

        Raises FileNotFoundError or ValueError, naming the path and the layout expected, before the first sample is
        read where the layout itself is incomplete.
        """

    @property
    def balance(self) -> str:
        """The task by whose labels a `Crop` is drawn, whatever tasks are trained; "" if none has several classes."""
        return next((task.name for task in self.tasks.values() if task.several_classes), "")

    def make(self, root: Path, progress: Callable[[int, int], None]) -> None:  # noqa: B027
        """Make all splits, where a benchmark makes its data; `progress` is told (images done, images in all)."""

    @abstractmethod
    def fingerprint(self, root: Path) -> str:
        """A short hash of this copy of the data: two copies with equal fingerprints hold the same samples."""

    def state(self, root: Path) -> str:
        """A hash of what a file system says of this copy's files, which is another after any of them was written.

        Sooner another than `fingerprint`: what was made of the files may be old where it has changed.
        """
        return self.fingerprint(root)

    def reading(self, root: Path) -> dict[str, str]:
        """How this copy is read, where that is a matter of choice: its layout, and the options that change samples."""
        return {}
