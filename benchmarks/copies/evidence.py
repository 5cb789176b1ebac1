"""Evidence: what the depth and the normals of an image say about each other, and about the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from mtlbench.benchmarks.benchmark import Benchmark
from mtlbench.benchmarks.copies import axes as frames
from mtlbench.benchmarks.copies.layout import FolderBenchmark

Verdict = Literal["right", "wrong", "undecided"]

Array = NDArray[Any]

FOCAL = 518.86 / 640  # of the width of the frame, from NYU Depth V2's calibration of the colour camera

UNCROPPED = {(425, 560): 640}  # size of an image -> width of the frame that it was cut from

PIXELS = 4000  # so many pixels of an image enter the comparison of normals

MARGIN = 5.0  # degrees by which one frame must be better than every other frame

AGREE = 30.0  # degrees, mean over pixels: if derived and stored normals differ by more, they do not agree

STRANGERS = 35.0  # degrees: if they differ by more, they do not show the same surfaces either

GEOMETRY = {"depth": "sense of depth", "normals": "frame of normals"}


class Finding(NamedTuple):
    """What one test found, and what can be done about it."""

    convention: str
    verdict: Verdict
    detail: str
    remedy: str = ""


@dataclass
class Picture:
    """One image as the tests look at it. Labels are as they are stored, or None if there are none.

    normals [3, H, W] are in the frame of samples.
    """

    id: str
    size: tuple[int, int]
    stored: dict[str, Array]  # task -> rows and columns first
    normals: Array | None
    refused: str = ""  # why the reader refused the normals


def derived_normals(inverse_depth: Array, focal: float) -> tuple[Array, NDArray[np.bool_]]:
    """Normals of surfaces from 1 / depth [H, W], 0 where unknown: [3, H, W] in our frame, and where they are valid.

    A camera sees a plane n . P = d with an inverse depth that is linear in the pixel (x, y) from the principal point,
    q = (n_x x / f + n_y y / f + n_z) / d. So n follows from the smoothed gradient and value of q: it is
    (f q_x, f q_y, q - x q_x - y q_y). Pixels near holes, and near jumps of more than a fifth, are not valid.
    """
    rows, columns = inverse_depth.shape
    sigma = max(1.0, columns / 200)
    reach = round(4 * sigma)  # the reach of the filter
    window = 2 * reach + 1
    known = ndimage.binary_erosion(inverse_depth > 0, np.ones((window, window)), border_value=0)
    high, low = ndimage.maximum_filter(inverse_depth, window), ndimage.minimum_filter(inverse_depth, window)
    known &= high - low < 0.2 * high
    q = ndimage.gaussian_filter(inverse_depth, sigma)
    q_x = ndimage.gaussian_filter(inverse_depth, sigma, order=(0, 1))
    q_y = ndimage.gaussian_filter(inverse_depth, sigma, order=(1, 0))
    x = np.arange(columns) - (columns - 1) / 2
    y = np.arange(rows)[:, None] - (rows - 1) / 2
    # In the frame (right, down, ahead) these point away from the camera. The same numbers in our frame (left, up, back)
    # are the opposite vectors, which point towards the camera.
    normals = np.stack([focal * q_x, focal * q_y, q - x * q_x - y * q_y])
    length = np.sqrt(np.square(normals).sum(0))
    known &= length > 0
    return normals / np.where(length > 0, length, 1), known


def assumed_focal(size: tuple[int, int]) -> float:
    """The focal length of NYUD-v2's camera in pixels. An image is a known crop of its frame, or all of it scaled."""
    return FOCAL * UNCROPPED.get(size, size[1])


# What 1 / depth is if the stored numbers are depth, its inverse, or a picture with near and far exchanged
_READINGS = {
    "depth": lambda z, top: 1 / z,
    "inverse depth": lambda z, top: z,
    "depth subtracted from its greatest value": lambda z, top: 1 / np.maximum(top - z, 1e-6 * top),
}


def depths(picture: Picture) -> Array:
    """The depth as it is stored, [H, W], with 0 for a value that is not a positive number."""
    depth = picture.stored["depth"]
    depth = depth.reshape(depth.shape[:2]).astype(np.float64)
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0)


def geometry(benchmark: Benchmark, pictures: Sequence[Picture], focal: float | None) -> list[Finding]:
    """Finds the reading of depth and the frame of normals that make derived and stored normals agree."""
    angles: dict[str, Array] = {}
    top = max(float(depths(picture).max()) for picture in pictures)
    for reading in _READINGS:
        derived, stored = _pairs(pictures, reading, top * 1.02, focal)
        if len(derived[0]) >= 200:
            angles[reading] = _angles(derived, stored)
    if "depth" not in angles:
        return [
            Finding("sense of depth", "undecided", "too few smooth surfaces with both depth and normals"),
            Finding("frame of normals", "undecided", "too few smooth surfaces with both depth and normals"),
        ]
    reading = min(angles, key=lambda name: float(angles[name].min()))
    best = angles[reading]
    order = np.argsort(best)
    found, mean, second = frames.FRAMES[order[0]], best[order[0]], best[order[1]]
    camera = "focal length " + ("0.81 of the uncropped width" if focal is None else f"{focal:g} pixels") + " assumed"
    if mean > AGREE:
        detail = f"no frame agrees: derived normals are {mean:.1f} degrees off at best; {camera}"
        if mean <= STRANGERS:
            return [Finding("sense of depth", "undecided", detail), Finding("frame of normals", "undecided", detail)]
        remedy = "take both from one source, of the same images and turned alike; give --focal if it is another camera"
        return [Finding("depth and normals", "wrong", f"do not belong together: {detail}", remedy)]
    if reading == "depth" or angles["depth"].min() - mean < MARGIN:
        findings = [
            Finding("sense of depth", "right", f"agrees with the normals to {angles['depth'].min():.1f} degrees")
        ]
        best = angles["depth"]
        order = np.argsort(best)
        found, mean, second = frames.FRAMES[order[0]], best[order[0]], best[order[1]]
    else:
        findings = [
            Finding(
                "sense of depth",
                "wrong",
                f"agrees with the normals to {mean:.1f} degrees if read as {reading}, "
                f"{angles['depth'].min():.1f} if read as depth",
                "store depth in metres",
            )
        ]
    ours = best[frames.FRAMES.index(frames.OURS)]
    # The pictures hold normals as the reader turned them, so the frame that they were stored in is one more turn away.
    given = benchmark.frame if isinstance(benchmark, FolderBenchmark) else frames.OURS
    detail = f"{mean:.1f} degrees from depth-derived ones, the next of 48 frames {second:.1f}; {camera}"
    if second - mean < MARGIN:
        findings.append(Finding("frame of normals", "undecided", f"{found}: {detail}"))
    elif found == frames.OURS:
        findings.append(Finding("frame of normals", "right", f"{given}: {detail}"))
    else:
        stored_frame = frames.compose(given, found)
        findings.append(
            Finding(
                "frame of normals",
                "wrong",
                f"{stored_frame}: {detail}; {ours:.1f} as {given}",
                f"set the option frame={stored_frame}",
            )
        )
    return findings


def _pairs(pictures: Sequence[Picture], reading: str, top: float, focal: float | None) -> tuple[Array, Array]:
    """Derived and stored normals of the same pixels, each [3, N]."""
    derived, stored = [], []
    for picture in pictures:
        depth = depths(picture)
        if picture.normals is None or picture.normals.shape[1:] != depth.shape or not depth.any():
            continue
        inverse = np.where(depth > 0, _READINGS[reading](np.where(depth > 0, depth, 1), top), 0)
        normals, known = derived_normals(inverse, focal or assumed_focal(picture.size))
        known &= (picture.normals != 0).any(0)
        chosen = np.flatnonzero(known)
        chosen = chosen[:: max(1, len(chosen) // PIXELS)]
        derived.append(normals.reshape(3, -1)[:, chosen])
        stored.append(picture.normals.reshape(3, -1)[:, chosen].astype(np.float64))
    empty = np.empty((3, 0))
    return np.concatenate([empty, *derived], axis=1), np.concatenate([empty, *stored], axis=1)


def _angles(derived: Array, stored: Array) -> Array:
    """The mean angle in degrees between derived normals and stored normals, for each of the 48 frames, [48]."""
    means = []
    for frame in frames.FRAMES:
        turned = frames.to_ours(torch.from_numpy(stored), frame).numpy()
        means.append(np.degrees(np.arccos((derived * turned).sum(0).clip(-1, 1))).mean())
    return np.array(means)


def nearer_below(pictures: Sequence[Picture]) -> Finding:
    """Tests depth without normals: on the floor, the lowest rows of an image are nearer than the middle rows."""
    nearer = total = 0
    for depth in map(depths, pictures):
        rows = depth.shape[0]
        below, middle = depth[rows * 9 // 10 :], depth[rows * 4 // 10 : rows * 6 // 10]
        if (below > 0).any() and (middle > 0).any():
            nearer += np.median(below[below > 0]) < np.median(middle[middle > 0])
            total += 1
    detail = f"nearer at the bottom than in the middle in {nearer} of {total} images"
    if total < 4 or 0.3 * total <= nearer <= 0.7 * total:
        return Finding("sense of depth", "undecided", f"{detail}; no normals to compare with")
    if nearer > 0.7 * total:
        return Finding("sense of depth", "right", detail)
    return Finding("sense of depth", "wrong", detail, "store depth in metres, larger where farther away")


def facing(pictures: Sequence[Picture]) -> Finding:
    """Tests normals without depth: what is seen faces the viewer, what lies low faces up, what lies right faces left.

    This holds on average in a room, because a room is seen from within.
    """
    what = "frame of normals"
    values, rows, columns = [], [], []
    for picture in pictures:
        if picture.normals is not None:
            valid = (picture.normals != 0).any(0)
            values.append(picture.normals[:, valid])
            rows.append(np.nonzero(valid)[0] / valid.shape[0])
            columns.append(np.nonzero(valid)[1] / valid.shape[1])
    vectors = np.concatenate([np.empty((3, 0)), *values], axis=1)
    row, column = (np.concatenate([np.empty(0), *places]) for places in (rows, columns))
    if len(row) < 200:
        return Finding(what, "undecided", "too few normals")
    towards = [
        float((sign * vectors[axis] > 0).mean()) for axis, sign in ((2, 1), (0, 1), (0, -1), (1, 1), (1, -1), (2, -1))
    ]
    rising, inward = (
        float(np.corrcoef(values, places)[0, 1]) if values.std() > 0 else 0.0
        for values, places in ((vectors[1], row), (vectors[0], column))
    )
    detail = (
        f"channel 2 faces the viewer in {towards[0]:.0%} of pixels; facing up and lying low correlate by {rising:.2f}, "
        f"facing left and lying right by {inward:.2f}"
    )
    if max(towards) != towards[0] and max(towards) - towards[0] > 0.1:
        return Finding(what, "wrong", f"{detail}; another channel does in {max(towards):.0%}", "set the option frame")
    if towards[0] > 0.8 and rising < -0.1:
        return Finding(what, "wrong", f"{detail}: channel 1 points down", "set the option frame")
    if towards[0] > 0.8 and rising > 0.1 and inward < -0.1:
        return Finding(what, "wrong", f"{detail}: channel 0 points right", "set the option frame")
    if towards[0] > 0.8 and rising > 0.1 and inward > 0.1:
        return Finding(what, "right", detail)
    return Finding(what, "undecided", f"{detail}; no depth to compare with")
