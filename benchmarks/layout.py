"""Data sets as folders of files: what a layout is, which one a folder has, and its samples."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, overload

from torch import Tensor

from benchmarks.benchmark import Benchmark, Sample
from benchmarks.files import read_image

PROBED = 8  # files of each kind whose bytes enter a fingerprint


@dataclass(frozen=True)
class Field:
    """The labels of one task: where they lie and how they are read.

    Each of `files` is a path below the root with "{id}" in it; all are needed. read(*paths) returns the label as a
    `Sample` holds it; it is a module-level function or a partial of one, so that samples can be read by workers.
    """

    files: tuple[str, ...]
    read: Callable[..., Tensor]
    origin: str  # where these files usually come from, for the one who lacks them


@dataclass(frozen=True)
class Layout:
    """A way in which a data set is spread over files. Paths are relative to the root, with "/"."""

    name: str
    image: str  # "images/{id}.jpg"
    lists: Mapping[str, str]  # our split -> its file of ids, one a line
    fields: Mapping[str, tuple[Field, ...]]  # task -> alternatives; for each image the first that exists is read

    def describe(self) -> str:
        """The files that are expected, as one line a kind."""
        lines = [f"  {path}  (ids of {split}, one a line)" for split, path in self.lists.items()]
        lines.append(f"  {self.image}")
        for task, fields in self.fields.items():
            lines.append(f"  {' or '.join(' with '.join(field.files) for field in fields)}  ({task})")
        return f"layout {self.name}:\n" + "\n".join(lines)

    def score(self, root: Path) -> int:
        """How many kinds of its files are there."""
        kinds = {*self.lists.values(), self.image}
        kinds |= {path for fields in self.fields.values() for field in fields for path in field.files}
        return sum(next(root.glob(path.replace("{id}", "*")), None) is not None for path in kinds)


class FolderBenchmark(Benchmark):
    """A benchmark whose data lie in folders, in one of several layouts.

    layout: the name of one of `layouts`, or None to recognise it. A subclass is data: its layouts, tasks and splits.
    """

    needs_root = True
    layouts: ClassVar[tuple[Layout, ...]]

    def __init__(self, size: tuple[int, int], layout: str | None = None) -> None:
        names = [known.name for known in self.layouts]
        if layout is not None and layout not in names:
            raise ValueError(f"{self.name}: no layout {layout!r}; it has {', '.join(names)}")
        if len(size) != 2 or any(side <= 0 or side % 32 for side in size):
            raise ValueError(f"{self.name}: size is {size}; (rows, columns), both multiples of 32, are needed")
        self.size = size
        self.forced = layout

    def layout(self, root: Path) -> Layout:
        """The layout of a copy of the data: that which has most kinds of its files there, or the one forced.

        Raises FileNotFoundError if the folder does not exist or holds nothing of any layout.
        """
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder; {self.name} expects one with\n{self._expected()}")
        if self.forced is not None:
            return next(layout for layout in self.layouts if layout.name == self.forced)
        best = max(self.layouts, key=lambda layout: layout.score(root))  # the first of equals: the published one
        if best.score(root) == 0:
            found = ", ".join(sorted(os.listdir(root))[:10]) or "nothing"
            raise FileNotFoundError(f"{root}: {self.name} expects\n{self._expected()}\nfound: {found}")
        return best

    def open(self, root: Path, split: str, tasks: Sequence[str]) -> Folder:
        """The samples of a split with the labels of `tasks`, read when asked for. Nothing is written below `root`.

        Raises ValueError for an unknown split or task and for a list that is empty or names an image twice;
        FileNotFoundError for the first missing folder or file, with the number of files that are missing.
        """
        if split not in self.splits:
            raise ValueError(f"{self.name}: no split {split!r}; it has {', '.join(self.splits)}")
        unknown = [task for task in tasks if task not in self.tasks]
        if unknown:
            raise ValueError(f"{self.name}: no task {unknown[0]!r}; it has {', '.join(self.tasks)}")
        root = Path(root)
        layout = self.layout(root)
        absent = [task for task in tasks if task not in layout.fields]
        if absent:
            raise ValueError(f"{root}: layout {layout.name} has no labels for {absent[0]}; {layout.describe()}")
        return _open(root, layout, split, tuple(tasks))

    def fingerprint(self, root: Path) -> str:
        """Sixteen hexadecimal digits over this copy of the data.

        They cover the layout, the lists, the path and size of every file that a listed image has (so a missing,
        added, cut or re-encoded file shows), and the bytes of eight images and their labels, evenly spaced over the
        lists (so a set derived anew shows even where files of fixed size stay as large). Not seen: a change that
        leaves a file's size and spares those eight.
        """
        root = Path(root)
        layout = self.layout(root)
        digest = hashlib.sha256(layout.name.encode())
        patterns = [layout.image]
        patterns += [path for fields in layout.fields.values() for field in fields for path in field.files]
        patterns = list(dict.fromkeys(patterns))
        sizes = {pattern: _sizes(root, pattern) for pattern in patterns}
        listed = []
        for split, path in layout.lists.items():
            if (root / path).exists():
                ids = _ids(root / path, layout)
                digest.update(f"\n{split} {len(ids)}".encode())
                listed += ids
        for name in listed:
            for pattern in patterns:
                path = pattern.format(id=name)
                digest.update(f"\n{path} {sizes[pattern].get(os.path.basename(path))}".encode())
        for name in listed[:: max(1, -(-len(listed) // PROBED))]:
            for pattern in patterns:
                if os.path.basename(pattern.format(id=name)) in sizes[pattern]:
                    digest.update((root / pattern.format(id=name)).read_bytes())
        return digest.hexdigest()[:16]

    def _expected(self) -> str:
        return "\nor ".join(layout.describe() for layout in self.layouts)


@dataclass(frozen=True)
class Folder(Sequence[Sample]):
    """The samples of one split, read when asked for; picklable."""

    root: Path
    image: str
    fields: tuple[tuple[str, tuple[Field, ...]], ...]  # task -> the alternatives in use
    ids: tuple[str, ...]
    choices: tuple[tuple[int, ...], ...]  # for each image, which alternative of each task

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Folder: ...
    def __getitem__(self, index: int | slice) -> Sample | Folder:
        """A sample, or the folder of some. Raises ValueError naming a file that does not hold what it should."""
        if isinstance(index, slice):
            return replace(self, ids=self.ids[index], choices=self.choices[index])
        name = self.ids[index]
        image = read_image(self.root / self.image.format(id=name))
        labels = {}
        for (task, fields), choice in zip(self.fields, self.choices[index], strict=True):
            field = fields[choice]
            paths = [self.root / path.format(id=name) for path in field.files]
            label = field.read(*paths)
            if label.shape[-2:] != image.shape[-2:]:
                raise ValueError(
                    f"{paths[0]}: {task} of {tuple(label.shape[-2:])} for an image of {tuple(image.shape[-2:])} "
                    "(rows, columns)"
                )
            labels[task] = label
        return Sample(name, image, labels)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))


def _open(root: Path, layout: Layout, split: str, tasks: tuple[str, ...]) -> Folder:
    ids = _ids(root / layout.lists[split], layout)
    patterns = {layout.image, *(path for task in tasks for field in layout.fields[task] for path in field.files)}
    there = {pattern: _sizes(root, pattern).keys() for pattern in patterns}

    def has(pattern: str, name: str) -> bool:
        return os.path.basename(pattern.format(id=name)) in there[pattern]

    missing = [(layout.image, name) for name in ids if not has(layout.image, name)]
    if missing:
        raise _missing(root, missing, len(ids), "every task", "the data set's own archive")
    choices: list[list[int]] = [[] for _ in ids]
    for task in tasks:
        fields = layout.fields[task]
        missing = []
        for name, chosen in zip(ids, choices, strict=True):
            choice = next((i for i, field in enumerate(fields) if all(has(path, name) for path in field.files)), None)
            if choice is None:
                missing.append((next(path for path in fields[0].files if not has(path, name)), name))
            else:
                chosen.append(choice)
        if missing:
            sources = [fields[0].origin, *(" with ".join(field.files) for field in fields[1:])]
            raise _missing(root, missing, len(ids), task, "; or ".join(sources))
    fields_in_use = tuple((task, layout.fields[task]) for task in tasks)
    return Folder(root, layout.image, fields_in_use, tuple(ids), tuple(map(tuple, choices)))


def _missing(root: Path, missing: Sequence[tuple[str, str]], count: int, task: str, source: str) -> FileNotFoundError:
    """missing: (pattern, id), one for each image that lacks a file."""
    pattern, name = missing[0]
    folder = root / _folder(pattern)
    if not folder.is_dir():
        return FileNotFoundError(f"{folder}: no such folder, but {task} needs {pattern}; usual source: {source}")
    return FileNotFoundError(
        f"{root / pattern.format(id=name)}: no such file, but {task} needs it; {len(missing)} of {count} images lack "
        f"theirs; usual source: {source}"
    )


def _ids(path: Path, layout: Layout) -> list[str]:
    """The ids of a list, whatever its line ends, without blank lines."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of image ids; {layout.describe()}")
    ids = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not ids:
        raise ValueError(f"{path}: no image ids in it; one a line is needed")
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f"{path}: {len(twice)} ids occur more than once, {twice[0]!r} first; each image counts once")
    return ids


def _folder(pattern: str) -> str:
    return pattern.rpartition("/")[0]


def _sizes(root: Path, pattern: str) -> dict[str, int]:
    """File name -> bytes, of the folder of a pattern; one listing, since a network file system is slow to ask often."""
    folder = root / _folder(pattern)
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
