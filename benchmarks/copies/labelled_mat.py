"""NYUD-v2 as its authors publish it: nyu_depth_v2_labeled.mat with the official splits, at Gupta et al.'s crop.

The file has MATLAB's format v7.3, which is HDF5 with the axes in reverse. It holds images [1449, 3, 640, 480] uint8,
in-painted depths [1449, 640, 480] in metres, and labels [1449, 640, 480] of 894 names. Every image is cropped to the
rows 45 to 469 and the columns 40 to 599. The other copies of NYUD-v2 consist of these rows and columns, so that scores
compare. The crop also removes the blank frame.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.benchmarks.copies.files import (
    load_npy,
    read_bytes,
    read_mat,
    to_classes,
    to_depth,
    to_normals,
    to_normals_8bit,
    what_it_is,
)
from mtlbench.benchmarks.copies.layout import Layout, Split, Stat, probes, stat

FILE, SPLITS, MAPPING = "nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat"
NORMALS = ("normals/{id}.npy", "normals/{id}.png")  # at 480 x 640
NAME_OF_NORMALS = re.compile(r"\d{4}\.(npy|png)")  # other files in the folder are nobody's labels
OLDER = {b"MATLAB 5.0": "it has MATLAB's version 5 to 7; take the published file, or save it with '-v7.3'"}
LISTS = {"train": "trainNdxs", "test": "testNdxs"}  # numbers from 1
DATASETS = {"depth": "depths", "semseg": "labels"}  # task -> its data set in FILE
FRAME = (480, 640)
CROP = (slice(45, 470), slice(40, 600))
ORIGIN = {
    FILE: "the data set's own page, as 'labeled dataset'",
    SPLITS: "the data set's own page, as 'train/test split'",
    MAPPING: "the 40 classes of Gupta et al., CVPR 2013, distributed with their rgbdutils",
    "normals": "a second source, as pictures of n = 2 x / 255 - 1 or as arrays; the option frame says how they point",
}


@dataclass(frozen=True, kw_only=True)
class LabelledMat(Layout):
    """nyu_depth_v2_labeled.mat and splits.mat, with classMapping40.mat for semseg and normals from a second source."""

    num_classes: int
    optional: tuple[str, ...] = ("normals",)

    def describe(self) -> str:
        return (
            f"layout {self.name}:\n  {FILE}  (image, depth)\n  {SPLITS}  (train, test: numbers of images)\n"
            f"  {MAPPING}  (semseg)\n  {' or '.join(NORMALS)}  (normals of a second source, 0001 to 1449)"
        )

    def score(self, root: Path) -> int:
        return sum((root / name).is_file() for name in (FILE, SPLITS, MAPPING))

    def open(self, root: Path, split: str, tasks: Sequence[str], *, whole: bool = True) -> LabelledSplit:
        for name in (FILE, SPLITS):
            _present(root / name, "every task", ORIGIN[name])
        numbers = _numbers(root / SPLITS, LISTS[split])
        with _dataset(root / FILE, "images") as images:
            found = len(images)
        if max(numbers) > found:
            raise ValueError(f"{root / SPLITS}: {LISTS[split]} names image {max(numbers)}, and {FILE} has {found}")
        ids = tuple(f"{number:04d}" for number in numbers)
        for task in tasks:
            if task in DATASETS:
                with _dataset(root / FILE, DATASETS[task]):
                    pass
        classes: NDArray[Any] | None = None
        if "semseg" in tasks:
            _present(root / MAPPING, "semseg", ORIGIN[MAPPING])
            classes = np.concatenate([[0], read_mat(root / MAPPING, "mapClass").ravel()]).astype(np.int16)
        lacking = _missing_normals(root, ids) if "normals" in tasks else ""
        if whole and lacking:
            raise FileNotFoundError(lacking)
        return LabelledSplit(
            root=root,
            ids=ids,
            tasks=tuple(tasks),
            lacking={"normals": lacking} if lacking else {},
            numbers=numbers,
            classes=classes,
            num_classes=self.num_classes,
        )

    def contents(self, root: Path) -> Iterator[bytes]:
        for name in (SPLITS, MAPPING):
            if (root / name).is_file():
                yield name.encode() + (root / name).read_bytes()
        if not (root / FILE).is_file():
            return
        yield f"\n{FILE} {(root / FILE).stat().st_size}".encode()
        with _file(root / FILE) as file:
            kept = [name for name in ("images", *DATASETS.values()) if name in file]
        for name in kept:
            with _dataset(root / FILE, name) as planes:
                for position in probes(len(planes)):
                    yield planes[position].tobytes()
        files = self._normals(root)
        for file in files:
            yield f"\n{file.name} {file.stat().st_size}".encode()
        for position in probes(len(files)):
            yield files[position].read_bytes()

    def files(self, root: Path) -> Iterator[tuple[str, Stat]]:
        for path in (*(root / name for name in (FILE, SPLITS, MAPPING)), *self._normals(root)):
            if path.is_file():
                yield str(path.relative_to(root)), stat(path)

    def _normals(self, root: Path) -> list[Path]:
        """The files of the second source that samples can be read from, in the order of their names."""
        there = sorted((root / "normals").iterdir()) if (root / "normals").is_dir() else []
        return [path for path in there if NAME_OF_NORMALS.fullmatch(path.name) and path.is_file()]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledSplit(Split):
    """numbers: the numbers of the images, from 1. classes [895]: the 40 classes of the 894 names."""

    numbers: Sequence[int]
    classes: NDArray[Any] | None
    num_classes: int

    def image(self, index: int) -> Tensor:
        image = self._plane(index, "images")
        if image.dtype != np.uint8 or image.shape != (3, *FRAME):
            place = f"{self.root / FILE} (images of image {self.numbers[index]})"
            raise ValueError(f"{place}: {image.dtype} {image.shape}; uint8 {(3, *FRAME)} is needed")
        return torch.from_numpy(np.ascontiguousarray(image[:, *CROP]))

    def stored(self, index: int, task: str) -> NDArray[Any]:
        if task == "depth":
            return self._plane(index, DATASETS[task])[CROP]
        if task == "semseg":
            assert self.classes is not None
            names = self._plane(index, DATASETS[task])[CROP]
            if names.max() >= len(self.classes):
                raise ValueError(
                    f"{self.place(index, task)}: label {names.max()}, but {MAPPING} has {len(self.classes) - 1}"
                )
            segmentation: NDArray[Any] = self.classes[names]
            return segmentation
        path = self._normals(index)
        normals = load_npy(path) if path.suffix == ".npy" else read_bytes(path)
        if normals.shape[:2] != FRAME:
            raise ValueError(f"{path}: normals of {normals.shape[:2]}; {FRAME} (rows, columns) are needed")
        return normals[CROP]

    def read(self, index: int, task: str) -> Tensor:
        place, stored = self.place(index, task), self.stored(index, task)
        if task == "depth":
            return to_depth(stored, place)
        if task == "semseg":
            return to_classes(stored, place, self.num_classes, first=1, void=0)
        return to_normals_8bit(stored, place) if stored.dtype == np.uint8 else to_normals(stored, place)

    def place(self, index: int, task: str) -> str:
        if task == "normals":
            return str(self._normals(index))
        return f"{self.root / FILE} ({DATASETS[task]} of image {self.numbers[index]})"

    def _normals(self, index: int) -> Path:
        paths = [self.root / pattern.format(id=self.ids[index]) for pattern in NORMALS]
        return next((path for path in paths if path.is_file()), paths[0])

    def _plane(self, index: int, name: str) -> NDArray[Any]:
        """One image of a data set, with the rows in the last dimension but one and the columns in the last."""
        with _dataset(self.root / FILE, name) as planes:
            plane: NDArray[Any] = planes[self.numbers[index] - 1]
        return plane.swapaxes(-1, -2)


@contextmanager
def _file(path: Path) -> Iterator[h5py.File]:
    """Opens the file for each read, which costs a millisecond: an open HDF5 file survives neither fork nor pickle."""
    try:
        with h5py.File(path, "r", locking=False) as file:  # nobody writes the file, and a read-only disk has no locks
            yield file
    except (OSError, KeyError, RuntimeError) as error:  # these are the errors by which h5py reports damage
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise ValueError(f"{path}: not a whole .mat file of version 7.3 ({error}){what_it_is(path, OLDER)}") from error


@contextmanager
def _dataset(path: Path, name: str) -> Iterator[h5py.Dataset]:
    with _file(path) as file:
        if name not in file:
            raise ValueError(f"{path}: no {name!r} in it; it holds {', '.join(file) or 'nothing'}")
        yield file[name]


def _numbers(path: Path, variable: str) -> list[int]:
    numbers: list[int] = read_mat(path, variable).ravel().astype(int).tolist()
    if not numbers:
        raise ValueError(f"{path}: {variable} is empty")
    if len(set(numbers)) < len(numbers) or min(numbers) < 1:
        raise ValueError(f"{path}: {variable} must hold different numbers from 1 on")
    return numbers


def _missing_normals(root: Path, ids: Sequence[str]) -> str:
    """Which files of the second source are missing; "" if none is missing."""
    if not (root / "normals").is_dir():
        return f"{root / 'normals'}: no such folder; usual source: {ORIGIN['normals']}"
    with os.scandir(root / "normals") as entries:
        there = {entry.name for entry in entries if entry.is_file()}
    lacking = [name for name in ids if not {f"{name}.npy", f"{name}.png"} & there]
    if not lacking:
        return ""
    return (
        f"{root / NORMALS[0].format(id=lacking[0])}: no such file, and no .png, but normals needs it; "
        f"{len(lacking)} of {len(ids)} images lack theirs"
    )


def _present(path: Path, task: str, source: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, but {task} needs it; usual source: {source}")
