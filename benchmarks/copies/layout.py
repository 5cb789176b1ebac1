"""Layouts of data sets on disk: what a layout is, which layout a folder has, and the samples of a split."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, overload

from numpy.typing import NDArray
from torch import Tensor

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.copies import axes as frames


class Stat(NamedTuple):
    """What a file system says of a file."""

    size: int  # bytes
    written: int  # when it was last written, in nanoseconds


def stat(entry: Path | os.DirEntry[str]) -> Stat:
    found = entry.stat()
    return Stat(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, kw_only=True, eq=False)
class Split(Sequence[Sample], ABC):
    """The samples of one split of a copy. They are read on demand. A split can be pickled, so that workers can read it.

    If something cannot be read, a ValueError or an OSError names the file.
    """

    root: Path
    ids: Sequence[str]
    tasks: Sequence[str]
    frames: Mapping[str, str] = field(default_factory=dict)  # task -> the frame its vectors are stored in
    lacking: Mapping[str, str] = field(default_factory=dict)  # "image" or a task -> which of its files are missing

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """uint8 [3, H, W]."""

    @abstractmethod
    def stored(self, index: int, task: str) -> NDArray[Any]:
        """The label of a task as it lies on disk, before any check or conversion: rows and columns come first."""

    @abstractmethod
    def read(self, index: int, task: str) -> Tensor:
        """The label of a task as a `Sample` holds it, but with its vectors still in the stored frame."""

    @abstractmethod
    def place(self, index: int, task: str) -> str:
        """Where the label of a task lies, in words for people."""

    def sizes(self) -> set[tuple[int, int]]:
        """(rows, columns) of the images, without decoding all images; here all are taken to be like the first image."""
        return {(rows, columns) for _, rows, columns in [self.image(0).shape]}

    def label(self, index: int, task: str) -> Tensor:
        """The label of a task as a `Sample` holds it."""
        label = self.read(index, task)
        return frames.to_ours(label, self.frames[task]) if task in self.frames else label

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        name = self.ids[index]  # raises IndexError before a file is opened
        image = self.image(index)
        labels = {}
        for task in self.tasks:
            labels[task] = label = self.label(index, task)
            if label.shape[-2:] != image.shape[-2:]:
                raise ValueError(
                    f"{self.place(index, task)}: {task} of {tuple(label.shape[-2:])} for an image of "
                    f"{tuple(image.shape[-2:])} (rows, columns)"
                )
        return Sample(name, image, labels)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True, kw_only=True)
class Layout(ABC):
    """A way in which a data set is spread over files."""

    name: str
    slow: ClassVar[str] = ""  # why it is slow to read in another order than the order of the list; "" if it is not
    size: tuple[int, int] | None = None  # rows, columns of its images, if all images have the same
    absent: Mapping[str, str] = field(default_factory=dict)  # task that it has no labels for -> a source of labels
    optional: tuple[str, ...] = ()  # tasks whose labels a whole copy may lack

    @abstractmethod
    def describe(self) -> str:
        """The files that are expected, with one line for each kind of file."""

    @abstractmethod
    def score(self, root: Path) -> int:
        """How many kinds of the expected files exist below `root`."""

    @abstractmethod
    def open(self, root: Path, split: str, tasks: Sequence[str], *, whole: bool = True) -> Split:
        """A split of the copy. Raises FileNotFoundError or ValueError, naming the file or folder, if it is incomplete.

        whole: False opens a split although files are missing. The split names these files, and reading one raises.
        """

    @abstractmethod
    def contents(self, root: Path) -> Iterator[bytes]:
        """The bytes that tell copies apart, for a fingerprint."""

    @abstractmethod
    def files(self, root: Path) -> Iterator[tuple[str, Stat]]:
        """The path below the root and the `Stat` of every file that exists and that samples are read from."""


class FolderBenchmark(Benchmark):
    """A benchmark whose data lie in a folder, in one of several layouts.

    layout: the name of one of `layouts`, or None to recognise the layout. frame: where the three channels of the stored
    normals point (see axes.py). A subclass consists of data: its layouts, tasks and splits.
    """

    needs_root = True
    layouts: ClassVar[tuple[Layout, ...]]
    first_class: ClassVar[int] = 0  # the id under which class 0 of semseg is stored

    def __init__(self, size: tuple[int, int], layout: str | None = None, frame: str = frames.OURS) -> None:
        names = [known.name for known in self.layouts]
        if layout is not None and layout not in names:
            raise ValueError(f"{self.name}: no layout {layout!r}; it has {', '.join(names)}")
        if frame not in frames.FRAMES:
            raise ValueError(f"{self.name}: frame is {frame!r}; {frames.EXPECTED}")
        if len(size) != 2 or any(side <= 0 or side % 32 for side in size):
            raise ValueError(f"{self.name}: size is {size}; (rows, columns), both multiples of 32, are needed")
        self.size = size
        self.forced = layout
        self.frame = frame

    def layout(self, root: Path) -> Layout:
        """The layout of a copy of the data: the layout with the most kinds of files there, or the forced layout.

        Raises FileNotFoundError if the folder does not exist or holds nothing of any layout.
        """
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder; {self.name} expects one with\n{self._expected()}")
        if self.forced is not None:
            return next(layout for layout in self.layouts if layout.name == self.forced)
        best = max(self.layouts, key=lambda layout: layout.score(root))  # the first among equals, which is published
        if best.score(root) == 0:
            found = ", ".join(sorted(os.listdir(root))[:10]) or "nothing"
            raise FileNotFoundError(f"{root}: {self.name} expects\n{self._expected()}\nfound: {found}")
        return best

    def open(self, root: Path, split: str, tasks: Sequence[str], *, whole: bool = True) -> Split:
        """The samples of a split with the labels of `tasks`, read when asked for. Nothing is written below `root`.

        whole: False opens a split although files are missing; `Split.lacking` says which.

        Raises ValueError for an unknown split or task, for a task that the layout has no labels for, and for a list
        that is empty or names an image twice. Raises FileNotFoundError for the first missing folder or file, with the
        number of missing files.
        """
        if split not in self.splits:
            raise ValueError(f"{self.name}: no split {split!r}; it has {', '.join(self.splits)}")
        unknown = [task for task in tasks if task not in self.tasks]
        if unknown:
            raise ValueError(f"{self.name}: no task {unknown[0]!r}; it has {', '.join(self.tasks)}")
        root = Path(root)
        layout = self.layout(root)
        for task in tasks:
            if task in layout.absent:
                raise ValueError(
                    f"{root}: layout {layout.name} has no labels for {task}; usual source: {layout.absent[task]}"
                )
        stored = {name: self.frame for name in tasks if self.tasks[name].kind.directed and self.frame != frames.OURS}
        return replace(layout.open(root, split, tasks, whole=whole), frames=stored)

    def fingerprint(self, root: Path) -> str:
        """Sixteen hexadecimal digits over this copy of the data.

        They cover the layout, the lists, and the path and size of every file of every listed image. So a missing,
        added, cut or re-encoded file changes them. They also cover the bytes of eight images and their labels, evenly
        spaced over the lists. So labels that were derived anew change them, even if their files have the same fixed
        size. They miss a change that keeps the size of a file and does not touch those eight images. A frame other than
        ours enters too, because it makes other samples.
        """
        layout = self.layout(root)
        digest = hashlib.sha256(layout.name.encode())
        if self.frame != frames.OURS:
            digest.update(self.frame.encode())
        for content in layout.contents(Path(root)):
            digest.update(content)
        return digest.hexdigest()[:16]

    def state(self, root: Path) -> str:
        """See `Benchmark.state`. It covers path, size and time of every file, so a copy that keeps times is equal."""
        digest = hashlib.sha256()
        for path, (size, written) in self.layout(root).files(Path(root)):
            digest.update(f"\n{path} {size} {written}".encode())
        return digest.hexdigest()[:16]

    def reading(self, root: Path) -> dict[str, str]:
        return {"layout": self.layout(root).name, "frame": self.frame}

    def _expected(self) -> str:
        return "\nor ".join(layout.describe() for layout in self.layouts)


PROBED = 8  # so many images enter a fingerprint with their bytes


def probes(count: int) -> range:
    """The positions of a list that enter a fingerprint with their bytes."""
    return range(0, count, max(1, -(-count // PROBED)))
