"""Readers of single files: one file becomes one array. If anything is wrong with the file, the error names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import IGNORE

_STRAY = 254  # marks an id that is neither a class nor void
# Lengths between these count as 1; these shares of a map may be shorter or longer
_SHORT, _LONG, _LONG_8BIT = 0.9, 1.1, 1.3
_MANY_SHORT, _MANY_LONG = 0.25, 0.01
_DARK = 32  # black is below this value of 255 in all three channels
_ROWS = 32  # so many rows of normals at a time, so that intermediate results stay in the processor's cache


def read_image(path: Path) -> Tensor:
    """An RGB picture, uint8 [3, H, W]. Raises ValueError naming a file that is cut short or is no 8-bit picture."""
    picture = _picture(path)
    if picture.mode[0] in "IF":  # Pillow would clip these to 8 bits
        raise ValueError(f"{path}: a picture of mode {picture.mode}; 8 bits a channel are needed")
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)


def picture_size(path: Path) -> tuple[int, int]:
    """(rows, columns), from the header of a picture. Raises ValueError naming a file that is no picture."""
    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged header surfaces as one of several types
        raise ValueError(f"{path}: not a readable picture ({error})") from error


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
        raise ValueError(f"{path}: not a whole .npy file ({type(error).__name__}: {error})") from error
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
        raise ValueError(f"{path}: not a readable .mat file ({type(error).__name__}: {error})") from error
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

    Raises ValueError naming `place` for a value that is not finite, is negative, or is above `greatest` metres, which
    means another unit.
    """
    depth = one_channel(stored, place)
    if not (depth.min() >= 0 and depth.max() <= greatest):  # NaN compares false
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


def _picture(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged file surfaces as any of several types, SyntaxError and struct's among them
        raise ValueError(f"{path}: not a whole picture ({type(error).__name__}: {error})") from error
