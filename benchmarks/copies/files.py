"""Readers of single files: one file becomes one array. If anything is wrong with the file, the error names it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import IGNORE

_STRAY = 254  # marks an id that is neither a class nor void
# Lengths between these count as 1; these shares of a map may be shorter or longer
_SHORT, _LONG, _LONG_8BIT = 0.9, 1.1, 1.3
_MANY_SHORT, _MANY_LONG = 0.25, 0.01
NO_VALUE = 65.535  # metres; 65535 millimetres, by which cameras of 16 bits say that nothing was measured
_DARK = 32  # black is below this value of 255 in all three channels
_ROWS = 32  # so many rows of normals at a time, so that intermediate results stay in the processor's cache


def read_image(path: Path, *, upright: bool = False) -> Tensor:
    """An RGB picture, uint8 [3, H, W]. Raises ValueError naming a file that is cut short or is no 8-bit picture.

    upright: turn it as the camera says in its EXIF data. The pictures of data sets lie as their labels do, and are left
    as they are stored.
    """
    picture = _picture(path)
    if picture.mode[0] in "IF":  # Pillow would clip these to 8 bits
        raise ValueError(
            f"{path}: a picture of mode {picture.mode}; 8 bits a channel are needed, so divide 16 bits by 257"
        )
    if upright:
        picture = _turned(picture, path)
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)


def picture_size(path: Path) -> tuple[int, int]:
    """(rows, columns), from the header of a picture. Raises ValueError naming a file that is no picture."""
    try:
        with _opened(path) as picture:
            return picture.height, picture.width
    except (FileNotFoundError, PermissionError, TooLarge):
        raise
    except Exception as error:  # a damaged header surfaces as one of several types
        raise ValueError(f"{path}: not a readable picture ({error}){what_it_is(path)}") from error


def read_indices(path: Path) -> NDArray[np.uint8]:
    """The stored numbers of an 8-bit grey or palette picture, [H, W]. For a palette they are indices and not colours.

    Raises ValueError for any other kind of picture: the colours of an RGB copy are not class ids.
    """
    picture = _picture(path)
    if picture.mode not in ("L", "P"):
        raise ValueError(f"{path}: a picture of mode {picture.mode}; an 8-bit grey (L) or palette (P) one is needed")
    return np.array(picture)


def load_picture(path: Path) -> NDArray[Any]:
    """The stored numbers of a picture of any mode. Raises ValueError naming a file that is cut short or no picture."""
    return np.array(_picture(path))


def read_bytes(path: Path) -> NDArray[np.uint8]:
    """The stored numbers of a picture of three channels, uint8 [H, W, 3]. Raises ValueError for any other picture."""
    picture = _picture(path)
    if picture.mode != "RGB":
        raise ValueError(f"{path}: a picture of mode {picture.mode}; three 8-bit channels (RGB) are needed")
    return np.array(picture)


def load_npy(path: Path) -> NDArray[Any]:
    """The numbers that a .npy holds. Raises ValueError naming the file."""
    try:
        array = np.load(path, allow_pickle=False)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged header surfaces as any of several types, tokenize's among them
        raise ValueError(f"{path}: not a whole .npy file{_why(error, what_it_is(path))}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{path}: not a .npy file but an archive of several (.npz)")
    return numbers(array, path)


def numbers(array: NDArray[Any], place: Path | str) -> NDArray[Any]:
    """The array, if it holds at least one number and nothing else. Raises ValueError naming `place`."""
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise ValueError(f"{place}: {array.dtype} {array.shape}; numbers are needed, and at least one")
    return array


def read_npy(path: Path, dims: tuple[int, ...]) -> NDArray[Any]:
    """A floating-point .npy whose number of dimensions is in `dims`. Raises ValueError naming the file."""
    array = load_npy(path)
    if array.ndim not in dims or not np.issubdtype(array.dtype, np.floating):
        wanted = " or ".join(str(n) for n in dims)
        raise ValueError(f"{path}: {array.dtype} {array.shape}; floating point of {wanted} dimensions is needed")
    return array


def read_mat(path: Path, variable: str) -> NDArray[Any]:
    """A variable of a MATLAB file older than v7.3. Raises ValueError naming the file and the variables that it has."""
    try:
        path.open("rb").close()  # SciPy does not tell a file that it cannot open from a damaged file
        content = scipy.io.loadmat(path)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged file surfaces as any of some ten types, zlib's and struct's among them
        raise ValueError(f"{path}: not a readable .mat file{_why(error, what_it_is(path, _NEWER))}") from error
    if variable not in content:
        found = ", ".join(name for name in content if not name.startswith("__")) or "nothing"
        raise ValueError(f"{path}: no variable {variable!r}; it holds {found}")
    array: NDArray[Any] = content[variable]
    return array


def to_classes(stored: NDArray[Any], place: Path | str, num_classes: int, *, first: int, void: int) -> Tensor:
    """Stored ids `first`, `first` + 1, ... -> 0 .. num_classes - 1, and `void` (-1 or more) -> 255: uint8 [H, W].

    Raises ValueError naming `place` and the value for any other id.
    """
    least = min(void, 0)
    shifted = stored + -least if least else stored
    table = np.full(256, _STRAY, dtype=np.uint8)
    table[first - least : first - least + num_classes] = np.arange(num_classes)
    table[void - least] = IGNORE
    with np.errstate(invalid="ignore"):
        ids = shifted.astype(np.uint8, copy=False)
    label = table.take(ids)
    wrong = label == _STRAY
    if ids is not shifted:
        wrong |= ids != shifted
    if wrong.any():
        raise ValueError(
            f"{place}: class id {stored[wrong][0]:g} in {int(wrong.sum())} pixels; "
            f"ids are {first} to {first + num_classes - 1}, and {void} where there is no label"
        )
    return torch.from_numpy(label)


def one_channel(stored: NDArray[Any], place: Path | str) -> NDArray[Any]:
    """[H, W] or [H, W, 1] -> [H, W]. Raises ValueError naming `place` for any other shape."""
    if stored.ndim == 2:
        return stored
    if stored.ndim == 3 and stored.shape[2] == 1:
        return stored[..., 0]
    raise ValueError(f"{place}: shape {stored.shape}; one value a pixel is needed")


def to_depth(stored: NDArray[Any], place: Path | str, greatest: float = 100.0) -> Tensor:
    """Metres [H, W] or [H, W, 1] -> float32 [1, H, W], 0 where invalid.

    Raises ValueError naming `place` for a value that is not finite, is negative, is above `greatest` metres, which
    means another unit, or stands for no value.
    """
    depth = one_channel(stored, place)
    top = depth.max()
    if abs(top - NO_VALUE) < 1e-3:
        none = int((abs(depth - NO_VALUE) < 1e-3).sum())
        raise ValueError(
            f"{place}: depth {top:.6g} in {none} pixels ({none / depth.size:.1%}), which is no distance but 65535, the "
            "greatest number of 16 bits, taken for millimetres; store 0 where nothing was measured"
        )
    if not (depth.min() >= 0 and top <= greatest):  # NaN compares false
        wrong = ~((depth >= 0) & (depth <= greatest))
        raise ValueError(
            f"{place}: depth {depth[wrong][0]} in {int(wrong.sum())} pixels; "
            f"metres from 0 (invalid) to {greatest:g} are needed"
        )
    return torch.from_numpy(np.ascontiguousarray(depth, dtype=np.float32))[None]


def to_normals(stored: NDArray[Any], place: Path | str) -> Tensor:
    """Unit vectors [H, W, 3] -> float32 [3, H, W] of length 1, or 0 where invalid. The frame is left as it is.

    A map that was resized holds means of neighbours, which are shorter than 1 where surfaces meet. These means are
    brought to length 1. A mean shorter than one half has no direction left and is invalid.

    Raises ValueError naming `place` for a value that is not finite. Also raises it if more than a quarter of the map is
    shorter than 0.9 or more than a hundredth is longer than 1.1, because no resize makes such a map.
    """
    if stored.ndim != 3 or stored.shape[-1] != 3:
        raise ValueError(f"{place}: normals of shape {stored.shape}; [H, W, 3] is needed")
    vectors = np.empty((3, *stored.shape[:2]), dtype=np.float32)
    for top in range(0, stored.shape[0], _ROWS):
        rows = vectors[:, top : top + _ROWS]
        rows[...] = np.moveaxis(stored[top : top + _ROWS], -1, 0)
        length = _length(rows)
        length[length == 0] = 1
        if not (length.min() >= _SHORT and length.max() <= _LONG):  # NaN compares false
            return _resized_normals(np.moveaxis(stored.astype(np.float32), -1, 0), place)
        rows /= length
    return torch.from_numpy(vectors)


def to_normals_8bit(stored: NDArray[np.uint8], place: Path | str) -> Tensor:
    """Normals stored as n = 2 x / 255 - 1, uint8 [H, W, 3] -> float32 [3, H, W].

    Eight bits cannot hold the zero vector. A pixel without a direction is invalid: grey, whose length is below one
    half, and black, whose length would be 1.7. A colour as dark as JPEG may leave black counts as black.

    Raises ValueError naming `place` if more than a hundredth of the pixels are longer than 1.3, which errors of JPEG do
    not reach.
    """
    vectors = np.moveaxis(stored, -1, 0).astype(np.float32) / 127.5 - 1
    length = _length(vectors)
    long = length > _LONG_8BIT
    if long.any():
        long &= (stored >= _DARK).any(-1)
        if long.mean() > _MANY_LONG:
            raise ValueError(
                f"{place}: a normal of length {length[long][0]:.3g} in {int(long.sum())} of {long.size} pixels; unit "
                "vectors n stored as 255 (n + 1) / 2 are needed, and grey or black where there is none"
            )
        length[(length > _LONG_8BIT) & ~long] = 0
    return torch.from_numpy(np.where(length < 0.5, 0, vectors / np.maximum(length, 0.5)))


def _resized_normals(vectors: NDArray[np.float32], place: Path | str) -> Tensor:
    """Vectors [3, H, W] of any length -> vectors of length 1 or 0; see `to_normals`."""
    length = _length(vectors)
    short, long = (length > 0) & (length < _SHORT), length > _LONG
    wrong = ~np.isfinite(length)
    if not wrong.any() and short.sum() > _MANY_SHORT * (length > 0).sum():
        wrong |= short
    if not wrong.any() and long.mean() > _MANY_LONG:
        wrong |= long
    if wrong.any():
        raise ValueError(
            f"{place}: a normal of length {length[wrong][0]:g} in {int(wrong.sum())} pixels; "
            "unit vectors are needed, and zero vectors where there is none"
        )
    return torch.from_numpy(np.where(length < 0.5, np.float32(0), vectors / np.maximum(length, 0.5)))


def _length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """[3, H, W] -> [H, W]."""
    x, y, z = vectors
    with np.errstate(over="ignore"):
        length: NDArray[np.float32] = np.sqrt(x * x + y * y + z * z)
    return length


class TooLarge(ValueError):
    """A picture of more pixels than Pillow takes for harmless."""


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose header was read. Raises TooLarge, what opening a file raises, and whatever Pillow raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(path)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        most = (Image.MAX_IMAGE_PIXELS or 0) / 10**6
        raise TooLarge(f"{path}: a picture of more than {most:.3g} million pixels; make it smaller") from error
    with picture:
        yield picture


def _picture(path: Path) -> Image.Image:
    try:
        with _opened(path) as picture:
            picture.load()
            return picture
    except (FileNotFoundError, PermissionError, TooLarge):
        raise
    except Exception as error:  # a damaged file surfaces as any of several types, SyntaxError and struct's among them
        raise ValueError(f"{path}: not a whole picture{_why(error, what_it_is(path))}") from error


# Words of the libraries that read files, which name the file again or advise what is unsafe -> ours.
_PLAIN = {
    "cannot identify image file": "; it begins like no known kind of picture, such as JPEG or PNG",
    "Object arrays": "; it holds Python objects and not numbers",
    "allow_pickle": "; it does not begin like one",
    "Unknown mat file type": "; it does not begin like one",
    "Is a directory": "; it is a folder",
    "No data left in file": "",
    "HDF reader": "; it is of MATLAB 7.3",
}


def _why(error: Exception, what_it_is: str) -> str:
    """Why a file could not be read, as the end of a sentence that names the file already.

    what_it_is: what the file's first bytes say, which says more than the library.
    """
    said = next((ours for theirs, ours in _PLAIN.items() if theirs in str(error)), None)
    return f" ({type(error).__name__}: {error}){what_it_is}" if said is None else what_it_is or said


def _turned(picture: Image.Image, path: Path) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception as error:  # damaged EXIF data surface as any of several types
        raise ValueError(
            f"{path}: its EXIF data cannot be read ({type(error).__name__}: {error}); save it without them"
        ) from error


# How a file begins -> what to tell who took it for another one.
_BEGINNINGS = {
    b"version https://git-lfs": "it is a pointer of Git LFS; fetch the file itself with `git lfs pull`",
    b"<": "it is a page of a web site, as a failed download leaves it; download the file again",
}
_HDF5 = "it has MATLAB's version 7.3, which is HDF5; load it in MATLAB and save it with '-v7'"
_NEWER = {b"MATLAB 7.3": _HDF5, b"\x89HDF": _HDF5}


def what_it_is(path: Path, others: Mapping[bytes, str] = MappingProxyType({})) -> str:
    """What the first bytes of a file that could not be read say of it, as the end of a sentence; "" for nothing.

    others: the beginnings of further kinds of files.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:
        return ""
    if not start:
        return "; it is empty"
    kinds = {**_BEGINNINGS, **others}
    return next((f"; {said}" for beginning, said in kinds.items() if start.lstrip().startswith(beginning)), "")
