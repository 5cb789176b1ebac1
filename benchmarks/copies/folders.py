"""Layouts with one file for each image and each label, and with lists of the ids of the images."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
        return sum(self._exists(root, kind.replace("{split}", "*")) for kind in kinds)

    def _exists(self, root: Path, kind: str) -> bool:
        """Whether there is a folder, or a file that is not hidden; an id is any name."""
        found = root.glob(kind.replace("{id}", "[!.]*").rstrip("/"))
        return any(path.is_dir() if kind.endswith("/") else path.is_file() for path in found)

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
        there = {pattern: _files(root, pattern) for pattern in patterns}

        def has(pattern: str, name: str) -> bool:
            return there[pattern].named(pattern, name) is not None

        missing = [(image, name) for name in ids if not has(image, name)]
        if missing:
            lacking["image"] = _missing(root, missing, len(ids), "every task", "the data set's own archive", there)
        choices: list[list[int]] = [[] for _ in ids]
        for task, alternatives in fields.items():
            missing = []
            for name, chosen in zip(ids, choices, strict=True):
                choice = next(
                    (
                        i
                        for i, field in enumerate(alternatives)
                        if all(has(path, name) for path in field.files if path != image)  # images were looked for above
                    ),
                    None,
                )
                if choice is None:
                    missing.append((next(path for path in alternatives[0].files if not has(path, name)), name))
                chosen.append(choice or 0)
            if missing:
                sources = [alternatives[0].origin, *(" with ".join(field.files) for field in alternatives[1:])]
                lacking[task] = _missing(root, missing, len(ids), task, "; or ".join(sources), there)
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
            spelled={
                path: os.path.join(os.path.dirname(path), found)
                for pattern in patterns
                for path, found in (
                    (pattern.format(id=n), there[pattern].named(pattern, n)) for n in ids if not n.isascii()
                )
                if found is not None and found != os.path.basename(path)
            },
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
                found = there[pattern].of(pattern, name)
                yield f"\n{pattern.format(id=name)} {found and found.size}".encode()
        for position in probes(len(listed)):
            own, name = listed[position]
            for pattern in own:
                if (file := there[pattern].named(pattern, name)) is not None:
                    yield (root / _folder(pattern) / file).read_bytes()

    def files(self, root: Path) -> Iterator[tuple[str, Stat]]:
        there: dict[str, Files] = {}
        for split in self._listed(root):
            ids = self.ids(root, split)
            for pattern in self._patterns(split):
                if pattern not in there:
                    there[pattern] = _files(root, pattern)
                for name in ids:
                    if found := there[pattern].of(pattern, name):
                        yield pattern.format(id=name), found

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
        twice = [name for name, count in Counter(map(_composed, ids)).items() if count > 1]
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
    spelled: Mapping[str, str]  # path by an id -> the path on disk, where it has another normal form of Unicode

    def image(self, index: int) -> Tensor:
        return self.read_image(self._path(self.image_pattern, self.ids[index]))

    def sizes(self) -> set[tuple[int, int]]:
        if self.read_image is not read_image:
            return super().sizes()
        return {picture_size(self._path(self.image_pattern, name)) for name in self.ids}

    def read(self, index: int, task: str) -> Tensor:
        return self._field(index, task).read(*self._paths(index, task))

    def stored(self, index: int, task: str) -> NDArray[Any]:
        return self._field(index, task).load(*self._paths(index, task))

    def place(self, index: int, task: str) -> str:
        return str(self._paths(index, task)[0])

    def _field(self, index: int, task: str) -> Field:
        return self.fields[task][self.choices[index][self.tasks.index(task)]]

    def _paths(self, index: int, task: str) -> list[Path]:
        return [self._path(pattern, self.ids[index]) for pattern in self._field(index, task).files]

    def _path(self, pattern: str, name: str) -> Path:
        path = pattern.format(id=name)
        return self.root / self.spelled.get(path, path)


class Files(dict[str, Stat]):
    """File name -> size and time, of one folder."""

    def named(self, pattern: str, name: str) -> str | None:
        """The name on disk of the file of an id; None if there is none.

        Letters with accents have two forms, and Macs write file names in the form that lists of ids seldom have.
        """
        wanted = os.path.basename(pattern.format(id=name))
        return wanted if wanted in self else self._by_composed.get(_composed(wanted))

    def of(self, pattern: str, name: str) -> Stat | None:
        found = self.named(pattern, name)
        return None if found is None else self[found]

    @cached_property
    def _by_composed(self) -> dict[str, str]:
        return {_composed(name): name for name in self if not name.isascii()}


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _hint(name: str, pattern: str, there: Files) -> str:
    """What is wrong with an id whose file is missing, where another id would find one; "" where none would."""
    ending = os.path.splitext(pattern)[1]
    first = re.split(r"[\s,;]+", name)[0]
    others = {
        f"ids stand alone in their lines; leave out what follows {first!r}": first,
        "ids have no ending; leave it out in the list": os.path.splitext(name)[0],
        "ids have no ending, and stand alone in their lines": os.path.splitext(first)[0],
        "file names have zeros before the number; write them in the list": _with_zeros(name, there),
    }
    for advice, other in others.items():
        if other and other != name and there.named(pattern, other) is not None:
            return f"; {advice}"
    alike = {each.lower(): each for each in there}
    found = alike.get(os.path.basename(pattern.format(id=name)).lower())
    return f"; there is {found}, but capital letters count; rename it to end in {ending}" if found else ""


def _with_zeros(name: str, there: Files) -> str:
    """A number with as many digits as the names of the files have."""
    digits = next((len(os.path.splitext(other)[0]) for other in there if os.path.splitext(other)[0].isdecimal()), 0)
    return name.zfill(digits) if name.isdecimal() else ""


def _missing(
    root: Path, missing: Sequence[tuple[str, str]], count: int, task: str, source: str, there: Mapping[str, Files]
) -> FileNotFoundError:
    """The error for missing files. missing: (pattern, id) for each image that lacks a file."""
    pattern, name = missing[0]
    folder = root / _folder(pattern)
    if not folder.is_dir():
        return FileNotFoundError(f"{folder}: no such folder, but {task} needs {pattern}; usual source: {source}")
    return FileNotFoundError(
        f"{root / pattern.format(id=name)}: no such file, but {task} needs it; {len(missing)} of {count} images lack "
        f"theirs{_hint(name, pattern, there[pattern]) or f'; usual source: {source}'}"
    )


def _numbered(
    folder: Path, pattern: str, layout: Layout, lacking: dict[str, FileNotFoundError] | None = None
) -> list[str]:
    """The numbers of the files of a folder, "0", "1", "2" and so on without a gap."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; {layout.describe()}")
    before, after = pattern.split("{id}")
    there = _files(folder, pattern)
    names = (name for name in there if name.startswith(before) and name.endswith(after))
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


def _files(root: Path, pattern: str) -> Files:
    """The files in the folder of a pattern. It is listed once, as network file systems are slow."""
    folder = root / _folder(pattern)
    if not folder.is_dir():
        return Files()
    with os.scandir(folder) as entries:
        return Files({entry.name: stat(entry) for entry in entries if entry.is_file()})
