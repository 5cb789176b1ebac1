"""A cache keeps a split decoded, as flat memory-mapped arrays. A node needs one copy, shared through the page cache.

A cache is a folder with

    index.json      the version of the format, the fields with their dtypes and lengths, and for each sample its id and,
                    for each of its fields, where the field begins and its shape
    image.npy       all images, flattened, one after the other
    TASK.npy        all labels of a task, likewise

so images may differ in size and labels may be missing. Values are kept as they come, without loss. The folder gets its
name when it is complete, so a cache that is there is whole.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.benchmarks.benchmark import Sample

FORMAT = 1
_IMAGE = "image"
_CHUNK = 1 << 24  # bytes
PROBED = 8  # after so many samples the size of all samples is estimated


def exists(folder: Path) -> bool:
    """Whether a cache was written to `folder`."""
    return (folder / "index.json").is_file()


def holds(folder: Path, tasks: Iterable[str]) -> bool:
    """Whether a cache with labels of all `tasks` was written to `folder`. Raises ValueError for a damaged cache."""
    needed = {*tasks}
    return exists(folder) and (not needed or needed <= {*Cache(folder).known})


def write(
    folder: Path,
    samples: Iterable[Sample],
    total: int,
    progress: Callable[[int, int], None] | None = None,
    needed: Sequence[str] = (),
) -> None:
    """Write `total` samples to `folder`, one at a time, unless a cache is there already.

    samples: not touched when there is nothing to do. progress: told (samples written, total). needed: names of tasks; a
    cache without labels of one of these tasks is replaced once the new cache is whole.

    If several processes write the same cache, one process writes it and the other processes wait. A writer that dies
    leaves no cache; the next writer removes what the dead writer left.

    Raises OSError naming the folder when it cannot be written or, after a few samples, when the disk has too little
    space for all samples. Raises ValueError when there are too few or too many samples, when one field has two dtypes,
    or when two samples share an id. Raises FileExistsError when something else is at `folder`. Errors that `samples`
    raises pass through.
    """
    if total < 1:
        raise ValueError(f"{folder}: a cache of {total} samples was asked for; it holds at least one")
    with _complete(folder, needed) as partial:
        if partial is not None:
            _fill(partial, folder, samples, total, progress)


def copy(source: Path, folder: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Copy a cache to `folder`, such as a disk of this node, unless a cache with labels of all its tasks is there.

    progress: told (bytes copied, bytes in all). Copying is as safe as `write` against other processes, deaths and full
    disks. Raises FileNotFoundError when there is no cache at `source`, and otherwise the errors of `write`.
    """
    if not exists(source):
        raise FileNotFoundError(f"{source}: there is no cache here (no index.json)")
    with _complete(folder, Cache(source).known) as partial:
        if partial is None:
            return
        files = [source / "index.json", *(source / f"{name}.npy" for name in (_IMAGE, *Cache(source).known))]
        total, done = sum(file.stat().st_size for file in files), 0
        _require(partial, folder, total)
        for file in files:
            with file.open("rb") as original, _explained(folder), (partial / file.name).open("wb") as written:
                while chunk := original.read(_CHUNK):
                    written.write(chunk)
                    done += len(chunk)
                    if progress is not None:
                        progress(done, total)
                _flush(written)
        with _explained(folder):
            _sync(partial)


@contextmanager
def _complete(folder: Path, needed: Iterable[str]) -> Iterator[Path | None]:
    """A folder to fill, which becomes `folder` once it is full; None if a cache with labels of `needed` is there."""
    if holds(folder, needed):  # looked at first, because perhaps nothing may be written here, not even a lock
        yield None
        return
    with _explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if holds(folder, needed):
            yield None
            return
        if folder.exists() and not exists(folder):
            raise FileExistsError(f"{folder}: is there and is no cache (it has no index.json); move it away")
        partial, replaced = (folder.parent / f".{folder.name}.{state}" for state in ("partial", "replaced"))
        with _explained(folder):
            for left in (partial, replaced):
                if left.exists():  # nobody else writes under the lock, so a writer died
                    shutil.rmtree(left)
            partial.mkdir()
        try:
            yield partial
            with _explained(folder):
                if folder.exists():
                    folder.rename(replaced)
                partial.rename(folder)
                _sync(folder.parent)
                if replaced.exists():
                    shutil.rmtree(replaced)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)  # the next writer removes what cannot be removed now
            raise


def _fill(
    partial: Path, folder: Path, samples: Iterable[Sample], total: int, progress: Callable[[int, int], None] | None
) -> None:
    fields: dict[str, _Field] = {}
    index: list[dict[str, Any]] = []
    ids: set[str] = set()
    try:
        for sample in samples:
            if sample.id in ids:
                raise ValueError(f"{folder}: two samples have the id {sample.id!r}")
            ids.add(sample.id)
            if taken := sample.labels.keys() & {"id", _IMAGE}:
                raise ValueError(
                    f"{folder}: a task is called {min(taken)!r}, a name that the index needs; rename the task"
                )
            with _explained(folder):
                entry: dict[str, Any] = {"id": sample.id}
                for name, tensor in {_IMAGE: sample.image, **sample.labels}.items():
                    array = tensor.numpy()
                    if name not in fields:
                        fields[name] = _Field(partial / f"{name}.npy", array.dtype)
                    entry[name] = fields[name].append(array)
                index.append(entry)
            if len(index) == min(PROBED, total):
                written = sum(field.length * field.dtype.itemsize for field in fields.values())
                _require(partial, folder, written * (total - len(index)) // len(index))
            if progress is not None:
                progress(len(index), total)
        if len(index) != total:
            raise ValueError(f"{folder}: {total} samples were announced and {len(index)} came")
        with _explained(folder):
            for field in fields.values():
                field.finish()
            described = {name: {"dtype": field.dtype.str, "length": field.length} for name, field in fields.items()}
            with (partial / "index.json").open("w") as file:
                json.dump({"format": FORMAT, "fields": described, "samples": index}, file)
                _flush(file)
            _sync(partial)
    finally:
        with _explained(folder), ExitStack() as files:  # closing writes the buffers
            for field in fields.values():
                files.callback(field.file.close)


def _require(partial: Path, folder: Path, size: int) -> None:
    """Raise OSError if the disk has less than `size` bytes, rather than at the first image that no longer fits."""
    free = shutil.disk_usage(partial).free
    if size > free:
        with _explained(folder):
            raise OSError(errno.ENOSPC, f"about {size / 1e9:.2f} GB more are needed and {free / 1e9:.2f} GB are free")


class _Field:
    """A flat .npy file that grows."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.length = 0
        self.file = path.open("wb")
        self._header()

    def _header(self) -> None:
        # NumPy pads headers so that the length can grow in place.
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self.file, header)

    def append(self, array: NDArray[Any]) -> list[Any]:
        """Where the array begins, in elements, and its shape."""
        if array.dtype != self.dtype:
            raise ValueError(f"{self.file.name}: holds {self.dtype} and cannot take {array.dtype} as well")
        start = self.length
        self.file.write(np.ascontiguousarray(array).data)
        self.length += array.size
        return [start, list(array.shape)]

    def finish(self) -> None:
        self.file.seek(0)
        self._header()
        _flush(self.file)


class Cache(Sequence[Sample]):
    """The samples of a cache, with the labels of `tasks` (None: of all its tasks). It is pickled as its path.

    A process maps the files when it reads its first sample, and maps only the files of the image and of `tasks`.
    Tensors are copies and may be written to. `known` names the tasks that the cache has labels of.

    Raises FileNotFoundError when there is no cache at `folder`. Raises ValueError naming the file when the index is
    damaged, when a task is missing from it, or (at the first sample) when a file is not as long as the index says.
    """

    def __init__(self, folder: Path, tasks: Sequence[str] | None = None) -> None:
        self.folder = folder
        self.tasks = tasks
        path = folder / "index.json"
        try:
            index = json.loads(path.read_text())
            if index["format"] != FORMAT:
                raise ValueError(f"format {index['format']!r}, and this version reads {FORMAT}")
            self._fields = {
                name: (np.dtype(field["dtype"]), field["length"]) for name, field in index["fields"].items()
            }
            self._samples: list[dict[str, Any]] = index["samples"]
            self.ids: list[str] = [sample["id"] for sample in self._samples]
            for sample in self._samples:
                for name in (_IMAGE, *(key for key in sample if key not in ("id", _IMAGE))):
                    start, shape = sample[name]
                    if not 0 <= start <= start + math.prod(shape) <= self._fields[name][1]:
                        raise ValueError(f"{name} of {sample['id']!r} lies outside of its file")
        except FileNotFoundError:
            raise FileNotFoundError(f"{folder}: there is no cache here (no index.json)") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{path}: not the index of a cache ({reason}); {self._remedy()}") from error
        self.known = [name for name in self._fields if name != _IMAGE]
        self._chosen = self.known if tasks is None else list(tasks)
        unknown = [task for task in self._chosen if task not in self.known]
        if unknown:
            raise ValueError(
                f"{folder}: holds no labels for {', '.join(unknown)}; it has {', '.join(self.known) or 'none'}"
            )
        self._arrays: dict[str, NDArray[Any]] | None = None

    def __reduce__(self) -> tuple[type[Cache], tuple[Path, Sequence[str] | None]]:
        return Cache, (self.folder, self.tasks)

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if self._arrays is None:
            self._arrays = {name: self._map(name) for name in (_IMAGE, *self._chosen)}
        entry = self._samples[index]
        labels = {task: self._read(entry, task) for task in self._chosen if task in entry}
        return Sample(entry["id"], self._read(entry, _IMAGE), labels)

    def _remedy(self) -> str:
        return f"remove {self.folder} to have it made anew"

    def _map(self, name: str) -> NDArray[Any]:
        path = self.folder / f"{name}.npy"
        dtype, length = self._fields[name]
        try:
            array: NDArray[Any] = np.load(path, mmap_mode="r")
        except FileNotFoundError as error:
            raise ValueError(f"{path}: no such file, though the index names it; {self._remedy()}") from error
        except PermissionError:
            raise
        except Exception as error:  # a damaged header surfaces as any of several types, tokenize's among them
            raise ValueError(f"{path}: damaged ({type(error).__name__}: {error}); {self._remedy()}") from error
        if not isinstance(array, np.memmap):
            raise ValueError(f"{path}: not a .npy file but an archive; {self._remedy()}")
        if array.shape != (length,) or array.dtype != dtype:
            raise ValueError(f"{path}: holds {array.shape} {array.dtype}, not ({length},) {dtype}; {self._remedy()}")
        end = path.stat().st_size
        if end != array.offset + array.nbytes:
            raise ValueError(f"{path}: is {end} bytes long, not {array.offset + array.nbytes}; {self._remedy()}")
        return array

    def _read(self, entry: dict[str, Any], name: str) -> Tensor:
        assert self._arrays is not None
        start, shape = entry[name]
        # The values are copied: tensors over a read-only map could not be written to, and torch warns of such tensors.
        values = np.array(self._arrays[name][start : start + math.prod(shape)])
        return torch.from_numpy(values.reshape(shape))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Waits for the lock file beside a folder and holds it. The kernel releases the lock when the process dies."""
    with _explained(folder):
        lock = (folder.parent / f".{folder.name}.lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Makes an OSError (a full disk, no permission) name the folder that should have been written."""
    try:
        yield
    except OSError as error:
        message = f"{error.strerror}: the cache could not be written; free space or choose another folder"
        raise OSError(error.errno, message, str(folder)) from error


def _flush(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
