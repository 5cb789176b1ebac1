"""Layouts with one file for each image and each label, and with lists of the ids of the images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from mtlbench.benchmarks.copies.files import picture_size, read_image
from mtlbench.benchmarks.copies.layout import Layout, Split, Stat, probes, stat


@dataclass(frozen=True)
class Field:
    """The labels of one task: where they lie and how they are read.

    Each of `files` is a path below the root with "{id}" in it, and all files are needed. read(*paths) returns the label
    as a `Sample` holds it. load(*paths) returns the stored array without a check. Both are functions of a module, or
    partials of such a function, so that workers can read samples.
    """

    files: tuple[str, ...]
    read: Callable[..., Tensor]
    load: Callable[..., NDArray[Any]]
    origin: str  # where these files usually come from, for users who lack them


@dataclass(frozen=True, kw_only=True)
class FolderLayout(Layout):
    """A layout given by paths. They are relative to the root and use "/".

    In a path "{id}" stands for an image, and "{split}" for the folder of its split. lists: our split -> a file with one
    id on each line. If the path ends with "/", it is a folder whose files are numbered from 0, and the numbers are ids.
    """

    image: str  # "images/{id}.jpg"
    lists: Mapping[str, str]
    fields: Mapping[str, tuple[Field, ...]]  # task -> alternatives; for each image the first that exists is read
    read_image: Callable[[Path], Tensor] = read_image
    splits: Mapping[str, str] = field(default_factory=dict)  # our split -> what "{split}" stands for

    def describe(self) -> str:
        lines = []
        for split, path in self.lists.items():
            lines.append(f"  {path}  ({split}: {'files 0, 1, 2, ...' if path.endswith('/') else 'ids, one a line'})")
        lines.append(f"  {self.image}")
        for task, fields in self.fields.items():
            lines.append(f"  {' or '.join(' with '.join(field.files) for field in fields)}  ({task})")
        return f"layout {self.name}:\n" + "\n".join(lines)

    def score(self, root: Path) -> int:
        kinds = {*self.lists.values(), self.image}
        kinds |= {path for fields in self.fields.values() for field in fields for path in field.files}
        patterns = (kind.replace("{id}", "*").replace("{split}", "*").rstrip("/") for kind in kinds)
        return sum(next(root.glob(pattern), None) is not None for pattern in patterns)

    def open(self, root: Path, split: str, tasks: Sequence[str], *, whole: bool = True) -> Folder:
        lacking: dict[str, FileNotFoundError] = {}
        ids = self.ids(root, split, lacking)
        image = self._of(split, self.image)
        fields = {
            task: tuple(
                Field(tuple(self._of(split, path) for path in field.files), field.read, field.load, field.origin)
                for field in self.fields[task]
            )
            for task in tasks
        }
        patterns = {image, *(path for found in fields.values() for field in found for path in field.files)}
        there = {pattern: _files(root, pattern).keys() for pattern in patterns}

        def has(pattern: str, name: str) -> bool:
            return os.path.basename(pattern.format(id=name)) in there[pattern]

        missing = [(image, name) for name in ids if not has(image, name)]
        if missing:
            lacking["image"] = _missing(root, missing, len(ids), "every task", "the data set's own archive")
        choices: list[list[int]] = [[] for _ in ids]
        for task, alternatives in fields.items():
            missing = []
            for name, chosen in zip(ids, choices, strict=True):
                choice = next(
                    (i for i, field in enumerate(alternatives) if all(has(path, name) for path in field.files)), None
                )
                if choice is None:
                    missing.append((next(path for path in alternatives[0].files if not has(path, name)), name))
                chosen.append(choice or 0)
            if missing:
                sources = [alternatives[0].origin, *(" with ".join(field.files) for field in alternatives[1:])]
                lacking[task] = _missing(root, missing, len(ids), task, "; or ".join(sources))
        if whole and lacking:
            raise next(iter(lacking.values()))
        return Folder(
            root=root,
            ids=tuple(ids),
            tasks=tuple(tasks),
            lacking={name: str(reason) for name, reason in lacking.items()},
            image_pattern=image,
            read_image=self.read_image,
            fields=fields,
            choices=tuple(map(tuple, choices)),
        )

    def contents(self, root: Path) -> Iterator[bytes]:
        listed = []
        for split in self._listed(root):
            ids = self.ids(root, split)
            yield f"\n{split} {len(ids)}".encode()
            listed += [(self._patterns(split), name) for name in ids]
        there = {pattern: _files(root, pattern) for own, _ in listed for pattern in own}
        for own, name in listed:
            for pattern in own:
                path = pattern.format(id=name)
                found = there[pattern].get(os.path.basename(path))
                yield f"\n{path} {found and found.size}".encode()
        for position in probes(len(listed)):
            own, name = listed[position]
            for pattern in own:
                if os.path.basename(pattern.format(id=name)) in there[pattern]:
                    yield (root / pattern.format(id=name)).read_bytes()

    def files(self, root: Path) -> Iterator[tuple[str, Stat]]:
        there: dict[str, dict[str, Stat]] = {}
        for split in self._listed(root):
            ids = self.ids(root, split)
            for pattern in self._patterns(split):
                if pattern not in there:
                    there[pattern] = _files(root, pattern)
                for path in (pattern.format(id=name) for name in ids):
                    if found := there[pattern].get(os.path.basename(path)):
                        yield path, found

    def _listed(self, root: Path) -> list[str]:
        """The splits whose lists exist."""
        return [split for split, path in self.lists.items() if (root / path).exists()]

    def _patterns(self, split: str) -> list[str]:
        """The paths of all kinds of files that the images of a split have."""
        patterns = [self.image]
        patterns += [path for fields in self.fields.values() for field in fields for path in field.files]
        return list(dict.fromkeys(self._of(split, pattern) for pattern in patterns))

    def ids(self, root: Path, split: str, lacking: dict[str, FileNotFoundError] | None = None) -> list[str]:
        """The ids of a split, in the order of its list, whatever its line ends are, or in the order of the numbers.

        lacking: if it is given, the error for missing numbers is put into it as "image" and is not raised.

        Raises FileNotFoundError or ValueError naming the list.
        """
        path = root / self.lists[split]
        if self.lists[split].endswith("/"):
            return _numbered(path, os.path.basename(self.image), self, lacking)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such list of image ids; {self.describe()}")
        try:
            ids = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not a text of image ids in UTF-8 ({error})") from error
        if not ids:
            raise ValueError(f"{path}: no image ids in it; one a line is needed")
        folders = [name for name in ids if "/" in name]
        if folders:
            raise ValueError(f"{path}: {folders[0]!r} in {len(folders)} lines; ids are names of files without a folder")
        twice = [name for name, count in Counter(ids).items() if count > 1]
        if twice:
            raise ValueError(
                f"{path}: {len(twice)} ids occur more than once, {twice[0]!r} first; each image counts once"
            )
        return ids

    def _of(self, split: str, path: str) -> str:
        return path.replace("{split}", self.splits.get(split, split))


@dataclass(frozen=True, kw_only=True, eq=False)
class Folder(Split):
    """The samples of one split. Each sample has several files."""

    image_pattern: str
    read_image: Callable[[Path], Tensor]
    fields: Mapping[str, tuple[Field, ...]]  # task -> alternatives
    choices: Sequence[Sequence[int]]  # for each image, the alternative that is read for each task

    def image(self, index: int) -> Tensor:
        return self.read_image(self.root / self.image_pattern.format(id=self.ids[index]))

    def sizes(self) -> set[tuple[int, int]]:
        if self.read_image is not read_image:
            return super().sizes()
        return {picture_size(self.root / self.image_pattern.format(id=name)) for name in self.ids}

    def read(self, index: int, task: str) -> Tensor:
        return self._field(index, task).read(*self._paths(index, task))

    def stored(self, index: int, task: str) -> NDArray[Any]:
        return self._field(index, task).load(*self._paths(index, task))

    def place(self, index: int, task: str) -> str:
        return str(self._paths(index, task)[0])

    def _field(self, index: int, task: str) -> Field:
        return self.fields[task][self.choices[index][self.tasks.index(task)]]

    def _paths(self, index: int, task: str) -> list[Path]:
        return [self.root / path.format(id=self.ids[index]) for path in self._field(index, task).files]


def _missing(root: Path, missing: Sequence[tuple[str, str]], count: int, task: str, source: str) -> FileNotFoundError:
    """The error for missing files. missing: (pattern, id) for each image that lacks a file."""
    pattern, name = missing[0]
    folder = root / _folder(pattern)
    if not folder.is_dir():
        return FileNotFoundError(f"{folder}: no such folder, but {task} needs {pattern}; usual source: {source}")
    return FileNotFoundError(
        f"{root / pattern.format(id=name)}: no such file, but {task} needs it; {len(missing)} of {count} images lack "
        f"theirs; usual source: {source}"
    )


def _numbered(
    folder: Path, pattern: str, layout: Layout, lacking: dict[str, FileNotFoundError] | None = None
) -> list[str]:
    """The numbers of the files of a folder, "0", "1", "2" and so on without a gap."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; {layout.describe()}")
    before, after = pattern.split("{id}")
    names = (path.name for path in folder.iterdir() if path.name.startswith(before) and path.name.endswith(after))
    found = {name[len(before) : len(name) - len(after)] for name in names}
    numbers = {int(name) for name in found if name.isdecimal() and str(int(name)) == name}
    if not numbers:
        raise ValueError(f"{folder}: no file {pattern.format(id=0)}, {pattern.format(id=1)}, ... in it")
    gaps = sorted(set(range(max(numbers) + 1)) - numbers)
    if gaps:
        gap = FileNotFoundError(
            f"{folder / pattern.format(id=gaps[0])}: no such file, but every task needs it; {len(gaps)} of the numbers "
            f"up to {max(numbers)} are missing"
        )
        if lacking is None:
            raise gap
        lacking["image"] = gap
    return [str(number) for number in sorted(numbers)]


def _folder(pattern: str) -> str:
    return pattern.rpartition("/")[0]


def _files(root: Path, pattern: str) -> dict[str, Stat]:
    """File name -> size and time, in the folder of a pattern. It is listed once, as network file systems are slow."""
    folder = root / _folder(pattern)
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: stat(entry) for entry in entries if entry.is_file()}
