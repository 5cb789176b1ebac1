"""Layouts with one row for each image, in parquet files whose columns are nested lists."""

from __future__ import annotations

import functools
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.benchmarks.copies.files import numbers
from mtlbench.benchmarks.copies.layout import Layout, Split, Stat, probes, stat

NAME = re.compile(r".*-(\d+)-of-(\d+)(-[0-9a-f]+)?")  # train-00000-of-00008-8a4ce2ff5b5ba0e5.parquet


class Column(NamedTuple):
    """A column, and how its array is read: read(array, place) returns the array as a `Sample` holds it."""

    name: str
    read: Callable[[NDArray[Any], str], Tensor]


@dataclass(frozen=True, kw_only=True)
class ParquetLayout(Layout):
    """lists: our split -> a pattern of its files, below the root or its folder data. They are read in order of name.

    A row is read with its whole row group, and the last group stays in memory. So reading in order is quick, and
    reading in another order is slow until `mtlbench data prepare` has kept the split decoded.
    """

    slow: ClassVar[str] = "each image is read with its whole row group, about a second in training's order"
    lists: Mapping[str, str]  # "train-*.parquet"
    image: Column
    fields: Mapping[str, Column]
    origin: str

    def describe(self) -> str:
        lines = [f"  data/{pattern} or {pattern}  ({split})" for split, pattern in self.lists.items()]
        columns = {"image": self.image, **self.fields}
        lines.append(f"  columns {', '.join(f'{column.name} ({task})' for task, column in columns.items())}")
        return f"layout {self.name}:\n" + "\n".join(lines)

    def score(self, root: Path) -> int:
        return 2 * sum(bool(self._files(root, split)) for split in self.lists)

    def open(self, root: Path, split: str, tasks: Sequence[str], *, whole: bool = True) -> ParquetSplit:
        files = self._complete(root, split)
        columns = {"image": self.image, **{task: self.fields[task] for task in tasks}}
        groups = []
        for file in files:
            description = _description(file)
            for task, column in columns.items():
                if column.name not in description.schema.to_arrow_schema().names:
                    needed = "every task" if task == "image" else task
                    found = ", ".join(description.schema.to_arrow_schema().names)
                    raise ValueError(
                        f"{file}: no column {column.name!r}, but {needed} needs it; it has {found}; "
                        f"usual source: {self.origin}"
                    )
            groups += [
                Group(file, number, description.row_group(number).num_rows)
                for number in range(description.num_row_groups)
            ]
        rows = sum(group.rows for group in groups)
        if rows == 0:
            raise ValueError(f"{files[0]}: no row in it and the other files of {split}")
        return ParquetSplit(
            root=root, ids=tuple(map(str, range(rows))), tasks=tuple(tasks), groups=tuple(groups), columns=columns
        )

    def contents(self, root: Path) -> Iterator[bytes]:
        for split in self.lists:
            files = self._files(root, split)
            yield f"\n{split} {len(files)}".encode()
            for file in files:
                yield f"\n{file.name} {file.stat().st_size}".encode()
                # The last bytes hold the statistics of every column of the file.
                with file.open("rb") as opened:
                    opened.seek(-min(file.stat().st_size, 1 << 16), os.SEEK_END)
                    yield opened.read()
            for position in probes(len(files)):
                with files[position].open("rb") as opened:
                    yield opened.read(1 << 20)

    def files(self, root: Path) -> Iterator[tuple[str, Stat]]:
        for split in self.lists:
            for file in self._files(root, split):
                yield str(file.relative_to(root)), stat(file)

    def _files(self, root: Path, split: str) -> list[Path]:
        for pattern in (f"data/{self.lists[split]}", self.lists[split]):
            if found := sorted(path for path in root.glob(pattern) if path.is_file()):
                return [path for path in found if NAME.fullmatch(path.stem)] or found  # others are copies of them
        return []

    def _complete(self, root: Path, split: str) -> list[Path]:
        files = self._files(root, split)
        if not files:
            raise FileNotFoundError(
                f"{root / 'data' / self.lists[split]}: no such file, but every task needs it; {self.describe()}\n"
                f"usual source: {self.origin}"
            )
        for position, file in enumerate(files):
            match = NAME.fullmatch(file.stem)
            if match and (int(match[1]) != position or int(match[2]) != len(files)):
                raise FileNotFoundError(
                    f"{file}: is one of {int(match[2])} files by its name, but {len(files)} are there, "
                    f"and not all of them follow each other; usual source: {self.origin}"
                )
        return files


class Group(NamedTuple):
    """A row group of a file."""

    file: Path
    number: int
    rows: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ParquetSplit(Split):
    """columns: task, or "image" -> its column."""

    groups: Sequence[Group]
    columns: Mapping[str, Column]

    def image(self, index: int) -> Tensor:
        return self._read(index, "image")

    def read(self, index: int, task: str) -> Tensor:
        return self._read(index, task)

    def stored(self, index: int, task: str) -> NDArray[Any]:
        array = self._array(index, task)
        return np.moveaxis(array, 0, -1) if array.ndim == 3 else array

    def place(self, index: int, task: str) -> str:
        group, row = self._find(index)
        before = sum(other.rows for other in self.groups if other.file == group.file and other.number < group.number)
        return f"{group.file} ({self.columns[task].name} of row {before + row})"

    def _read(self, index: int, task: str) -> Tensor:
        return self.columns[task].read(self.stored(index, task), self.place(index, task))

    def _array(self, index: int, task: str) -> NDArray[Any]:
        group, row = self._find(index)
        names = tuple(column.name for column in self.columns.values())
        column = _group(group, names).column(self.columns[task].name)
        return _nested(column.slice(row, 1), self.place(index, task))

    def _find(self, index: int) -> tuple[Group, int]:
        ends = list(accumulate(group.rows for group in self.groups))
        position = range(ends[-1])[index]
        which = bisect_right(ends, position)
        return self.groups[which], position - (ends[which] - self.groups[which].rows)


def _description(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file}: not a whole parquet file ({error})") from error


@functools.lru_cache(maxsize=1)
def _group(group: Group, columns: tuple[str, ...]) -> pa.Table:
    try:
        with pq.ParquetFile(group.file) as file:
            return file.read_row_group(group.number, columns=list(columns), use_threads=False)
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{group.file}: row group {group.number} cannot be read ({error})") from error


def _nested(column: pa.ChunkedArray, place: str) -> NDArray[Any]:
    """One row of nested lists -> an array. Raises ValueError naming `place` for lists of unequal lengths."""
    values = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    shape = []
    while (
        pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)
    ):
        lengths = set(pc.list_value_length(values).to_pylist())
        if len(lengths) != 1 or None in lengths:
            raise ValueError(f"{place}: nested lists of {len(lengths)} different lengths; an array is needed")
        shape.append(lengths.pop())
        values = values.flatten()
    if values.null_count:
        raise ValueError(f"{place}: {values.null_count} values are missing")
    return numbers(np.array(values).reshape(shape), place)  # copied, because Arrow's memory may not be written to
