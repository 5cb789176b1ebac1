"""One geometric draw moves image, labels, fields and vectors together.

A draw is one affine map from output pixels to input pixels. It zooms about the centre, rotates in the image plane, and
then either resizes the whole image to the network's size or cuts out a window of that size; a flip comes last. Every
label is resampled once through this map by nearest neighbour. So no class, depth or normal arises that was not
measured, and no invalid pixel becomes valid. (The published loaders resample normals with cubic weights, which turn
invalid pixels beside valid ones into unit normals.) Pixel i covers [i, i + 1) and has its centre at i + 0.5, for images
and labels alike.

Images are resampled in one of two ways. "bilinear" goes through the map once, and is antialiased where an image
shrinks, unless it is rotated: the only protocol that rotates shrinks by a quarter at most. "cubic" is sharper and does
as the published loaders: it zooms and rotates at the stored size, then resizes, both with cubic weights (Keys, 1981,
with a = -0.75) and without antialiasing. Cubic weights overshoot. Values are clipped before they become bytes, where
the published code wraps round.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.sparse import csr_array, diags_array
from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import IGNORE, Kind
from mtlbench.benchmarks.transforms import cubic
from mtlbench.benchmarks.transforms.colour import Colour, recolour

Size = tuple[int, int]  # rows, columns

Placement = Literal["stretch", "pad"]

Borders = Literal["ignore", "background"]

NormalsZoom = Literal["published", "consistent"]

Resampling = Literal["bilinear", "cubic"]

MEAN_COLOUR = (124, 116, 104)  # ImageNet's mean, which is zero after the input is normalised


class Draw(NamedTuple):
    """One draw of an `Augmentation`; the default resizes the whole image to the output."""

    flip: bool = False
    zoom: float = 1.0
    degrees: float = 0.0  # counter-clockwise as seen
    window: tuple[float, float] | None = None  # None: stretch; else where the window lies in its slack, both in [0, 1)
    colour: Colour | None = None
    borders: Borders = "ignore"
    normals_zoom: NormalsZoom = "published"
    resampling: Resampling = "bilinear"  # of the image


def apply(
    image: Tensor, labels: Mapping[str, Tensor], kinds: Mapping[str, Kind], drawn: Draw, size: Size
) -> tuple[Tensor, dict[str, Tensor]]:
    """The image and its labels after a draw, at `size`.

    image: uint8 [3, H, W] -> uint8 [3, h, w]. labels, by kind: `Label` uint8 [H, W] -> [h, w], `Scalar` float
    [1, H, W] -> [1, h, w], `Vector` float [3, H, W] (x left, y up, z to the viewer) -> [3, h, w].

    Depth is divided by the zoom, because a zoomed picture shows a nearer surface through the same camera. The resize to
    the network's size changes neither depth nor normals, as published.
    """
    native = (image.shape[-2], image.shape[-1])
    moved = _warp(image if drawn.colour is None else recolour(image, drawn.colour), drawn, size)
    if not labels:
        return moved, {}
    index, outside = _nearest(native, drawn, size)
    result = {}
    for name, label in labels.items():
        kind = kinds[name]
        fill = kind.outside(label, drawn.borders == "background")
        result[name] = kind.moved(_gather(label, index, outside, fill), drawn)
    return moved, result


def resize(image: Tensor, size: Size, placement: Placement = "stretch", resampling: Resampling = "bilinear") -> Tensor:
    """An image for evaluation, uint8 [3, H, W] -> [3, h, w]: stretched, or centred at its own scale in a margin.

    Raises ValueError for an image that a padded input cannot hold.
    """
    require_room((image.shape[-2], image.shape[-1]), size, placement)
    return _warp(image, still(placement, resampling), size)


def still(placement: Placement, resampling: Resampling = "bilinear") -> Draw:
    """The draw that moves an image and its labels as `resize` does."""
    return Draw(window=None if placement == "stretch" else (0.0, 0.0), resampling=resampling)


def require_room(native: Size, size: Size, placement: Placement) -> None:
    """Raise ValueError if an image of `native` rows and columns is larger than a padded input, which would cut it."""
    if placement == "pad" and (native[0] > size[0] or native[1] > size[1]):
        raise ValueError(f"an image of {native} does not fit into a padded input of {size}; choose a larger size")


def restore(
    prediction: Tensor,
    native: Size,
    placement: Placement = "stretch",
    rule: Literal["nearest", "bilinear"] = "bilinear",
) -> Tensor:
    """Predictions [B, C, h, w] brought back to the stored size of an image, [B, C, H, W]: the inverse of `resize`.

    Nothing is clipped or normalised. "nearest" takes pixel floor(i h / H) for pixel i, as OpenCV does in the published
    evaluations. The margin of a padded input is cut off.
    """
    if placement == "stretch" and rule == "nearest":
        rows, columns = (
            _first_of(length, out, prediction.device) for length, out in zip(prediction.shape[-2:], native, strict=True)
        )
        return prediction.index_select(-2, rows).index_select(-1, columns)
    if placement == "stretch":
        return F.interpolate(prediction, native, mode="bilinear", align_corners=False)
    top, left = (
        -_axis(length, out, 1.0, 0.0).offset for length, out in zip(native, prediction.shape[-2:], strict=True)
    )
    return prediction[..., top : top + native[0], left : left + native[1]]


@functools.lru_cache(maxsize=64)  # cached, because a copy to the device makes the host wait
def _first_of(length: int, out: int, device: torch.device) -> Tensor:
    """For each of `out` pixels the one of `length` pixels in which it begins, int64 [out]."""
    step = 1 / (out / length)  # rounded as OpenCV rounds it
    return (torch.arange(out, dtype=torch.float64) * step).floor().long().clamp_max(length - 1).to(device)


class _Axis(NamedTuple):
    """One axis of a map: position p of the output lies at step * (offset + p) of the input."""

    offset: int  # output pixels
    step: float  # input pixels for each output pixel


def _axis(length: int, out: int, zoom: float, place: float | None) -> _Axis:
    """The zoomed image and the start of the window are whole output pixels, as if a resize came before a crop."""
    zoomed = max(1, round(zoom * (out if place is None else length)))
    slack = zoomed - out
    offset = slack // 2 if place is None or slack < 0 else int(place * (slack + 1))
    return _Axis(offset, length / zoomed)


def _axes(native: Size, drawn: Draw, size: Size) -> tuple[_Axis, _Axis]:
    places = drawn.window or (None, None)
    return _axis(native[0], size[0], drawn.zoom, places[0]), _axis(native[1], size[1], drawn.zoom, places[1])


def _affine(native: Size, drawn: Draw, size: Size) -> tuple[float, float, float, float, float, float]:
    """(a, b, c, d, e, f): output position (x, y) lies at (a x + b y + c, d x + e y + f) of the input, before a flip."""
    rows, columns = _axes(native, drawn, size)
    cos, sin = math.cos(math.radians(drawn.degrees)), math.sin(math.radians(drawn.degrees))
    cy, cx = native[0] / 2, native[1] / 2
    x0, y0 = columns.offset * columns.step - cx, rows.offset * rows.step - cy
    return (
        cos * columns.step,
        -sin * rows.step,
        cos * x0 - sin * y0 + cx,
        sin * columns.step,
        cos * rows.step,
        sin * x0 + cos * y0 + cy,
    )


def _nearest(native: Size, drawn: Draw, size: Size) -> tuple[Tensor, Tensor | None]:
    """int64 [h, w] into the flattened input, and bool [h, w] where the output lies outside of it (None: nowhere)."""
    a, b, c, d, e, f = _affine(native, drawn, size)
    row = torch.arange(size[0], dtype=torch.float64)[:, None] + 0.5
    column = torch.arange(size[1], dtype=torch.float64)[None] + 0.5
    if drawn.degrees == 0:  # then b and d are zero, and one axis at a time will do
        x, y = a * column + c, e * row + f
    else:
        x, y = a * column + (b * row + c), d * column + (e * row + f)
    x, y = x.floor().long(), y.floor().long()
    if drawn.flip:
        x, y = x.flip(1), y.flip(1)
    beside, above = (x < 0) | (x >= native[1]), (y < 0) | (y >= native[0])
    outside = beside | above if bool(beside.any()) or bool(above.any()) else None
    return y.clamp_(0, native[0] - 1) * native[1] + x.clamp_(0, native[1] - 1), outside


def _gather(field: Tensor, index: Tensor, outside: Tensor | None, fill: int) -> Tensor:
    """field [..., H, W] at index [h, w] -> [..., h, w]."""
    # NumPy's take is used because torch's index_select needs six times as long for bytes.
    gathered = torch.from_numpy(field.flatten(-2).numpy().take(index.numpy(), axis=-1))
    return gathered if outside is None else gathered.masked_fill_(outside, fill)


def _warp(image: Tensor, drawn: Draw, size: Size) -> Tensor:
    """uint8 [3, H, W] -> [3, h, w]."""
    fill = (0, 0, 0) if drawn.borders == "background" else MEAN_COLOUR
    native = (image.shape[-2], image.shape[-1])
    if drawn.resampling == "cubic":
        result = _cubic(image, drawn, size, fill)
    elif drawn.degrees == 0:
        result = _place(image, _axes(native, drawn, size), size, fill)
    else:
        picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
        moved = picture.transform(
            size[::-1],
            Image.Transform.AFFINE,
            _affine(native, drawn, size),
            Image.Resampling.BILINEAR,
            fillcolor=fill,
        )
        result = torch.from_numpy(np.array(moved)).permute(2, 0, 1)
    return result.flip(2) if drawn.flip else result


def _place(image: Tensor, axes: tuple[_Axis, _Axis], size: Size, fill: tuple[int, int, int]) -> Tensor:
    """An axis-aligned move: one antialiased resize and a window of it, on a canvas if the image leaves parts free.

    torch resizes the whole image. On bytes with channels last its kernel is four times as fast as Pillow's, and within
    one grey level of it. Pillow can resize a part alone, but this gains less.
    """
    zoomed = [round(length / axis.step) for length, axis in zip(image.shape[-2:], axes, strict=True)]
    channels_last = image[None].contiguous(memory_format=torch.channels_last)
    whole = F.interpolate(channels_last, zoomed, mode="bilinear", antialias=True)[0]
    (top, _), (left, _) = axes
    seen = whole[:, max(0, top) : top + size[0], max(0, left) : left + size[1]]
    if seen.shape[-2:] == size:
        return seen
    canvas = torch.tensor(fill, dtype=torch.uint8).view(3, 1, 1).repeat(1, *size)
    row, column = max(0, -top), max(0, -left)
    canvas[:, row : row + seen.shape[-2], column : column + seen.shape[-1]] = seen
    return canvas


def _cubic(image: Tensor, drawn: Draw, size: Size, fill: tuple[int, int, int]) -> Tensor:
    """A move with cubic weights. What no window is cut from is zoomed and rotated at the stored size, then resized."""
    native = (image.shape[-2], image.shape[-1])
    if drawn.degrees == 0:
        stored = drawn.window is None
        axes = zip(native, _axes(native, drawn, size), size, strict=True)
        rows, columns = (_operator(length, axis, out, stored) for length, axis, out in axes)
        pixels = cubic.resampled(image, rows, columns, fill)
    else:
        turned = native if drawn.window is None else size
        colour = torch.tensor(fill, dtype=torch.float32).view(1, 3, 1, 1)
        grid = _grid(native, drawn, size, turned)
        around = F.grid_sample(image[None] - colour, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
        rows, columns = (_operator(n, _Axis(0, n / out), out, True) for n, out in zip(turned, size, strict=True))
        pixels = cubic.resampled((around + colour)[0], rows, columns, (0, 0, 0))
    return (pixels + 1e-3).clamp_(0, 255).to(torch.uint8)  # fractions are cut off, as published


@functools.lru_cache(maxsize=64)
def _operator(length: int, axis: _Axis, out: int, stored: bool) -> csr_array[Any]:
    """The operator of an axis without rotation, [out, length]. stored: it zooms at the stored size, then resizes."""
    centres = np.arange(out) + 0.5
    if not stored:
        places = axis.step * (axis.offset + centres)
        inside = ((places >= 0) & (places <= length)).astype(np.float32)
        cut: csr_array[Any] = diags_array(inside).tocsr() @ cubic.weights(places, length, repeat=True)
        return cut
    resized = cubic.weights(centres * length / out, length, repeat=True)
    if axis == (0, length / out):
        return resized
    zoomed = axis.step * (axis.offset + (np.arange(length) + 0.5) * out / length)
    both: csr_array[Any] = resized @ cubic.weights(zoomed, length, repeat=False)
    return both


def _grid(native: Size, drawn: Draw, size: Size, target: Size) -> Tensor:
    """Where the pixels of the output lie in the input, as `grid_sample` takes it: float32 [1, *target, 2].

    target: the size that the output has before it is stretched to `size`.
    """
    a, b, c, d, e, f = _affine(native, drawn, size)
    row = (torch.arange(target[0], dtype=torch.float64)[:, None] + 0.5) * (size[0] / target[0])
    column = (torch.arange(target[1], dtype=torch.float64)[None] + 0.5) * (size[1] / target[1])
    x, y = a * column + (b * row + c), d * column + (e * row + f)
    return torch.stack([2 * x / native[1] - 1, 2 * y / native[0] - 1], dim=-1)[None].float()


def largest_share(label: Tensor, drawn: Draw, size: Size) -> float:
    """The share of the most frequent class among the labelled pixels seen; 1 if no pixel is labelled. label [H, W]."""
    index, outside = _nearest((label.shape[-2], label.shape[-1]), drawn, size)
    counts = torch.bincount(_gather(label, index, outside, IGNORE).flatten(), minlength=IGNORE + 1)[:IGNORE]
    total = int(counts.sum())
    return int(counts.max()) / total if total else 1.0
