"""What a benchmark is: tasks, splits, and a sequence of samples for each split."""

from __future__ import annotations

import re
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

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
    """A data set with its tasks. Subclasses are constructed as ``Class(size=(H, W), **options)``, or without a size.

    ``size`` is the network's input size (rows, columns), multiples of 32. Splits are called ``train``, ``val`` and
    ``test`` whatever the files say; ``val`` exists only where the data set has one of its own.
    """

    name: ClassVar[str]  # part of file names
    needs_root: ClassVar[bool]  # False: the data are made, and `root` is the folder to keep them in
    size: tuple[int, int]
    tasks: Mapping[str, Task]
    default_tasks: Sequence[str]  # trained where a matrix names none
    splits: Mapping[str, int | None]  # known number of images of the full data set
    augmentations: Mapping[str, Augmentation]  # by protocol; a matrix that names none asks for "mtl"

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


def _is_mapping(value: Any, of: Callable[[Any, Any], bool]) -> bool:
    return isinstance(value, Mapping) and len(value) > 0 and all(of(key, item) for key, item in value.items())


def _is_size(value: Any) -> bool:
    sides = isinstance(value, tuple) and len(value) == 2 and all(isinstance(side, int) for side in value)
    return sides and all(side >= 32 and side % 32 == 0 for side in value)


def _are_splits(value: Any) -> bool:
    def known(split: Any, images: Any) -> bool:
        return split in ("train", "val", "test") and (images is None or (isinstance(images, int) and images > 0))

    return _is_mapping(value, known) and {"train", "test"} <= value.keys()


# An attribute of a benchmark, what holds of its value, and how to say so.
_ATTRIBUTES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "name",
        lambda v: isinstance(v, str) and bool(re.fullmatch(r"\w[\w.-]*", v)),
        "a word, without a blank or a slash",
    ),
    ("needs_root", lambda v: isinstance(v, bool), "True or False"),
    ("size", _is_size, "(rows, columns), multiples of 32"),
    (
        "tasks",
        lambda v: _is_mapping(v, lambda name, task: isinstance(task, Task) and task.name == name),
        "a mapping from the name of each task to its Task",
    ),
    (
        "default_tasks",
        lambda v: isinstance(v, list | tuple) and len(v) > 0 and all(isinstance(name, str) for name in v),
        "a tuple of names of tasks",
    ),
    ("splits", _are_splits, "a mapping from train, test and perhaps val to a number of images, or to None"),
    (
        "augmentations",
        lambda v: _is_mapping(v, lambda name, each: isinstance(name, str) and isinstance(each, Augmentation)),
        "a mapping from the name of each protocol to its Augmentation",
    ),
)


def shortcomings(benchmark: Benchmark) -> list[str]:
    """By what a benchmark breaks the contract of its attributes, a sentence each. Its data are not looked at."""
    found = []
    for name, holds, wanted in _ATTRIBUTES:
        if not hasattr(benchmark, name):
            found.append(f"{name} is missing; it must be {wanted}")
        elif not holds(getattr(benchmark, name)):
            found.append(f"{name} is {reprlib.repr(getattr(benchmark, name))}; it must be {wanted}")
    if found:
        return found
    unknown = [task for task in benchmark.default_tasks if task not in benchmark.tasks]
    if unknown:
        found.append(f"default_tasks has {', '.join(unknown)}; the tasks are {', '.join(benchmark.tasks)}")
    if not benchmark.needs_root and benchmark.splits["train"] is None:
        found.append("splits says None of train; a benchmark that makes its data must say how many images it makes")
    return found
