"""A benchmark has tasks, splits, and a sequence of samples for each split."""

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

    image: uint8 [3, H, W], RGB. labels: task -> label at the size of the image. The kind of the task says what a label
    is: a `Label` is uint8 [H, W] (255 invalid), a `Scalar` is float32 [1, H, W] (0 invalid), a `Vector` is float32
    [3, H, W] (the zero vector is invalid). Where a label is missing, its key is missing.
    """

    id: str
    image: Tensor
    labels: dict[str, Tensor]


class Benchmark(ABC):
    """A data set with its tasks. Subclasses are constructed as ``Class(size=(H, W), **options)``, or without a size.

    ``size`` is the input size of the network (rows, columns); both are multiples of 32. Splits are called ``train``,
    ``val`` and ``test``, whatever names the files use. ``val`` exists only where the data set has a validation split of
    its own.
    """

    name: ClassVar[str]  # part of file names
    needs_root: ClassVar[bool]  # False: the benchmark makes its data, and keeps them in `root`
    size: tuple[int, int]
    tasks: Mapping[str, Task]
    default_tasks: Sequence[str]  # these are trained where a matrix names no tasks
    splits: Mapping[str, int | None]  # known number of images of the full data set
    augmentations: Mapping[str, Augmentation]  # by protocol; a matrix that names no protocol gets "mtl"

    @abstractmethod
    def open(self, root: Path, split: str, tasks: Sequence[str]) -> Sequence[Sample]:
        """The samples of a split with the labels of `tasks`. They are the same images in the same order for any tasks.

        Where the layout itself is incomplete, raises FileNotFoundError or ValueError before the first sample is read.
        The message names the path and the expected layout.
        """

    @property
    def balance(self) -> str:
        """The task whose labels a `Crop` looks at, whatever tasks are trained; "" if no task has several classes."""
        return next((task.name for task in self.tasks.values() if task.several_classes), "")

    def make(self, root: Path, progress: Callable[[int, int], None]) -> None:  # noqa: B027
        """Make all splits, if the benchmark makes its data; `progress` is told (images done, images in all)."""

    @abstractmethod
    def fingerprint(self, root: Path) -> str:
        """A short hash of this copy of the data: two copies with equal fingerprints hold the same samples."""

    def state(self, root: Path) -> str:
        """A hash of what the file system says of the files of this copy. It changes when any of the files is written.

        It may change where `fingerprint` does not. After a change, whatever was made from the files may be out of date.
        """
        return self.fingerprint(root)

    def reading(self, root: Path) -> dict[str, str]:
        """What was chosen for reading this copy: its layout, and the options that change samples."""
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


# The name of an attribute of a benchmark, a test of its value, and a description of the values that pass the test.
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
    """How a benchmark breaks the contract of its attributes, one sentence for each. Its data are not looked at."""
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
