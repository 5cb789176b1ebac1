"""Is a copy of a data set stored under the conventions that its reader assumes? What files cannot say, pictures can.

Tested on a few images, evenly spaced over the splits:

* width and height: labels against their images, and images against the size that the layout is known for; where rows
  and columns are wrong, what follows from where a surface is seen is left out;
* class ids: floors lie low and face up, ceilings lie high and face down, and of objects before a background most pixels
  are background; ids one too high or too low break this;
* depth: metres have a room's size; and normals derived from depth agree with stored ones in some frame, but not if the
  depth is inverted;
* normals: of the 48 signed permutations of their axes, the one that agrees with depth-derived normals best.

Depth-derived normals need the camera: the Kinect of NYUD-v2 is assumed, focal length 0.81 of the uncropped width, and
the principal point in the middle. A focal length that is wrong by a tenth moves normals by some degrees, and frames
are 30 and more apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks import frames
from benchmarks.benchmark import Benchmark, Sample
from benchmarks.layout import FolderBenchmark, Split

Verdict = Literal["right", "wrong", "undecided"]
Array = NDArray[Any]

FOCAL = 518.86 / 640  # of the frame's width: NYU Depth V2's calibration of the colour camera
UNCROPPED = {(425, 560): 640}  # size -> width of the frame that it was cut from
PIXELS = 4000  # of an image that enter the comparison of normals
MARGIN = 5.0  # degrees by which one frame must be better than every other
AGREE = 30.0  # degrees, mean over pixels: derived and stored normals worse than this do not agree
STRANGERS = 35.0  # degrees: nor were they taken of the same surfaces
ROOM = (0.5, 15.0)  # metres that the median depth of indoor images lies between


SIZES = "width and height"
GEOMETRY = {"depth": "sense of depth", "normals": "frame of normals"}


class Finding(NamedTuple):
    """What one test found, and what can be done."""

    convention: str
    verdict: Verdict
    detail: str
    remedy: str = ""


@dataclass
class Picture:
    """What is looked at of one image; labels as they are stored, or None where there are none.

    normals [3, H, W] are in the frame of samples.
    """

    id: str
    size: tuple[int, int]
    stored: dict[str, Array]  # task -> rows and columns first
    normals: Array | None
    refused: str = ""  # by the reader: why there are no normals


def examine(
    benchmark: Benchmark, root: Path, tasks: Sequence[str], images: int = 24, focal: float | None = None
) -> list[Finding]:
    """Findings on `images` images of a copy, read with the labels of `tasks`.

    focal: in pixels of the stored images; None: that of NYUD-v2's camera.
    """
    pictures = _pictures(benchmark, root, tasks, images)
    findings, turned = _sizes(benchmark, root, pictures)
    refused = [picture.refused for picture in pictures if picture.refused]
    if refused:
        findings.append(Finding("length of normals", "wrong", refused[0], "store unit vectors, and 0 where unknown"))
    if "semseg" in tasks:
        findings.append(_classes(benchmark, pictures))
    if "depth" in tasks:
        findings.append(_unit(pictures))
    if turned:
        skipped = "not looked at while rows and columns are wrong: where a surface is seen tells which way it faces"
        findings += [Finding(of, "undecided", skipped) for task, of in GEOMETRY.items() if task in tasks]
    elif {"depth", "normals"} <= set(tasks):
        findings += _geometry(benchmark, pictures, focal)
    elif "depth" in tasks:
        findings.append(_nearer_below(pictures))
    elif "normals" in tasks:
        findings.append(_facing(pictures))
    return findings


def derived_normals(inverse_depth: Array, focal: float) -> tuple[Array, NDArray[np.bool_]]:
    """Normals of surfaces from 1 / depth [H, W], 0 where unknown: [3, H, W] in our frame, and where they hold.

    A plane n . P = d seen by a camera has an inverse depth that is linear in the pixel (x, y) from the principal point,
    q = (n_x x / f + n_y y / f + n_z) / d, so n is its smoothed gradient and value: (f q_x, f q_y, q - x q_x - y q_y).
    Kept away from holes and from jumps of more than a fifth.
    """
    rows, columns = inverse_depth.shape
    sigma = max(1.0, columns / 200)
    reach = round(4 * sigma)  # of the filter
    window = 2 * reach + 1
    known = ndimage.binary_erosion(inverse_depth > 0, np.ones((window, window)), border_value=0)
    high, low = ndimage.maximum_filter(inverse_depth, window), ndimage.minimum_filter(inverse_depth, window)
    known &= high - low < 0.2 * high
    q = ndimage.gaussian_filter(inverse_depth, sigma)
    q_x = ndimage.gaussian_filter(inverse_depth, sigma, order=(0, 1))
    q_y = ndimage.gaussian_filter(inverse_depth, sigma, order=(1, 0))
    x = np.arange(columns) - (columns - 1) / 2
    y = np.arange(rows)[:, None] - (rows - 1) / 2
    # Along (right, down, ahead) this points away from the camera; left, up and back are its negatives and towards it.
    normals = np.stack([focal * q_x, focal * q_y, q - x * q_x - y * q_y])
    length = np.sqrt(np.square(normals).sum(0))
    known &= length > 0
    return normals / np.where(length > 0, length, 1), known


def assumed_focal(size: tuple[int, int]) -> float:
    """In pixels, of NYUD-v2's camera for images of a size: cut from its frame, or else the whole of it made smaller."""
    return FOCAL * UNCROPPED.get(size, size[1])


def _pictures(benchmark: Benchmark, root: Path, tasks: Sequence[str], images: int) -> list[Picture]:
    pictures = []
    for split in benchmark.splits:
        samples = benchmark.open(root, split, tasks)
        count = min(len(samples), -(-images // len(benchmark.splits)))
        for index in np.unique(np.linspace(0, len(samples) - 1, count).astype(int)).tolist():
            pictures.append(_picture(samples, index, tasks))
    return pictures


def _picture(samples: Sequence[Sample], index: int, tasks: Sequence[str]) -> Picture:
    if not isinstance(samples, Split):
        sample = samples[index]
        size = (sample.image.shape[-2], sample.image.shape[-1])
        stored = {task: np.moveaxis(label.numpy(), 0, -1) if label.ndim == 3 else label.numpy()
                  for task, label in sample.labels.items()}  # fmt: skip
        return Picture(sample.id, size, stored, sample.labels["normals"].numpy() if "normals" in tasks else None)
    image = samples.image(index)
    stored = {task: samples.stored(index, task) for task in tasks}
    size = (image.shape[-2], image.shape[-1])
    if "normals" not in tasks:
        return Picture(samples.ids[index], size, stored, None)
    try:
        return Picture(samples.ids[index], size, stored, samples.label(index, "normals").numpy())
    except ValueError as error:
        return Picture(samples.ids[index], size, stored, None, str(error))


def _sizes(benchmark: Benchmark, root: Path, pictures: Sequence[Picture]) -> tuple[list[Finding], bool]:
    """Also whether labels do not lie over their images, or these on their side."""
    what, remedy = SIZES, "turn rows and columns of the stored arrays round; readers do not guess"
    swapped: dict[str, str] = {}
    odd: dict[str, str] = {}
    for picture in pictures:
        for task, array in picture.stored.items():
            if array.shape[:2] != picture.size:
                kind = swapped if array.shape[:2] == picture.size[::-1] else odd
                kind.setdefault(task, f"{array.shape[:2]} for an image of {picture.size} in {picture.id}")
    findings = [Finding(what, "wrong", f"{task} is {text}: swapped", remedy) for task, text in swapped.items()]
    findings += [
        Finding(what, "wrong", f"{task} is {text}", "labels must have their images' size") for task, text in odd.items()
    ]
    known = benchmark.layout(root).size if isinstance(benchmark, FolderBenchmark) else benchmark.size
    sizes = dict.fromkeys(picture.size for picture in pictures if picture.size != known)
    on_side = known is not None and [*sizes] == [known[::-1]]
    if known is not None and sizes:
        detail = f"images are {next(iter(sizes))}, and this layout has {known}"
        findings.append(
            Finding(what, "wrong", f"{detail}: swapped", remedy)
            if on_side
            else Finding(what, "wrong", detail, "take the images and labels of the data set's own archive")
        )
    if not findings:
        detail = "labels have the size of their images" + (f", {known}" if known else "")
        findings.append(Finding(what, "right", detail))
    return findings, bool(swapped or odd or on_side)


def _classes(benchmark: Benchmark, pictures: Sequence[Picture]) -> Finding:
    """Evidence for each shift of the stored ids, in [0, 1]; what is where it is known to be speaks for a shift."""
    names = getattr(benchmark.tasks["semseg"].metric, "names", ())
    first = benchmark.first_class if isinstance(benchmark, FolderBenchmark) else 0
    evidence = {shift: _evidence(pictures, names, first + shift) for shift in (0, -1, 1)}
    seen = sorted({int(value) for picture in pictures for value in np.unique(picture.stored["semseg"])})
    ids = f"ids {_ranges(seen)} occur"
    if all(not found for found in evidence.values()):
        return Finding("class ids", "undecided", f"{ids}; no floor, ceiling or background is labelled")
    score = {shift: sum(found.values()) / max(1, len(evidence[0] | found)) for shift, found in evidence.items()}
    best = max(score, key=lambda shift: score[shift])
    words = "; ".join(f"{what} {share:.0%}" for what, share in evidence[best].items())
    if best != 0 and score[best] > 0.6 and score[best] - score[0] > 0.25:
        return Finding(
            "class ids",
            "wrong",
            f"{ids}; they fit the classes if read {'one lower' if best > 0 else 'one higher'} ({words}), "
            f"{score[best]:.2f} against {score[0]:.2f} as they are",
            f"store class c as c + {first}",
        )
    others = max(score[-1], score[1])
    if best == 0 and score[0] - others > 0.15:
        return Finding("class ids", "right", f"{ids}; {words}; {others:.2f} at most if shifted by one")
    detail = ", ".join(f"{score[shift]:.2f} if read {-shift:+d}" for shift in (0, -1, 1))
    return Finding("class ids", "undecided", f"{ids}; floors and ceilings agree {detail}")


def _evidence(pictures: Sequence[Picture], names: Sequence[str], first: int) -> dict[str, float]:
    """Shares of pixels that are as their class has them, if class c is stored as c + first."""
    if "background" in names:
        stored = np.concatenate([picture.stored["semseg"].ravel() for picture in pictures])
        return {"of all pixels are background:": float((stored == first % 256).mean())}
    shares = {}
    for name, sign in (("floor", 1), ("ceiling", -1)):
        if name not in names:
            continue
        lies, faces, count = 0.0, 0.0, 0
        facing = 0
        for picture in pictures:
            label = picture.stored["semseg"]
            mask = label.reshape(label.shape[:2]) == names.index(name) + first
            rows = np.broadcast_to(np.arange(mask.shape[0])[:, None] / mask.shape[0], mask.shape)[mask]
            lies += float((sign * (rows - 0.5) > 0).sum())
            count += int(mask.sum())
            if picture.normals is not None and picture.normals.shape[1:] == mask.shape:
                up = picture.normals[:, mask]
                up = up[1, (up != 0).any(0)]
                faces += float((sign * up > 0.5).sum())
                facing += len(up)
        if count >= 200:
            shares[f"{name} {'low' if sign > 0 else 'high'} in the image:"] = lies / count
        if facing >= 200:
            shares[f"{name} facing {'up' if sign > 0 else 'down'}:"] = faces / facing
    return shares


def _ranges(values: Sequence[int]) -> str:
    """As in 0 to 12, 255."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], value]
        else:
            runs.append([value, value])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in runs)


def _depths(picture: Picture) -> Array:
    """As stored, [H, W], with 0 for what is not a positive number."""
    depth = picture.stored["depth"]
    depth = depth.reshape(depth.shape[:2]).astype(np.float64)
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0)


def _unit(pictures: Sequence[Picture]) -> Finding:
    what = "unit of depth"
    values = np.concatenate([depth[depth > 0] for depth in map(_depths, pictures)])
    if not len(values):
        return Finding(what, "undecided", "no valid depth")
    low, median, high = np.percentile(values, [1, 50, 99])
    detail = f"median {median:.4g}, 98 % between {low:.4g} and {high:.4g}"
    if ROOM[0] <= median <= ROOM[1] and high > 1:
        return Finding(what, "right", f"{detail}: metres")
    for name, scale in (("millimetres", 1000), ("centimetres", 100)):
        if ROOM[0] <= median / scale <= ROOM[1]:
            return Finding(what, "wrong", f"{detail}: {name}", f"divide the stored depth by {scale}")
    return Finding(what, "wrong", f"{detail}: not metres in a room", "store metres; a room's are some 0.5 to 10")


# What 1 / depth would be if the stored numbers were depth, its inverse, or a picture with near and far exchanged
_READINGS = {
    "depth": lambda z, top: 1 / z,
    "inverse depth": lambda z, top: z,
    "depth subtracted from its greatest value": lambda z, top: 1 / np.maximum(top - z, 1e-6 * top),
}


def _geometry(benchmark: Benchmark, pictures: Sequence[Picture], focal: float | None) -> list[Finding]:
    """Depth inverted, and the frame of the normals: whatever makes derived and stored normals agree."""
    angles: dict[str, Array] = {}
    top = max(float(_depths(picture).max()) for picture in pictures)
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
    # The pictures hold normals as the reader turned them: what they were stored in is one more turn away.
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
        depth = _depths(picture)
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
    """Mean angle in degrees between derived normals and stored ones read in each of the 48 frames, [48]."""
    means = []
    for frame in frames.FRAMES:
        turned = frames.to_ours(torch.from_numpy(stored), frame).numpy()
        means.append(np.degrees(np.arccos((derived * turned).sum(0).clip(-1, 1))).mean())
    return np.array(means)


def _nearer_below(pictures: Sequence[Picture]) -> Finding:
    """Without normals: what stands on the floor is seen nearer in the lowest rows than in the middle ones."""
    nearer = total = 0
    for depth in map(_depths, pictures):
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


def _facing(pictures: Sequence[Picture]) -> Finding:
    """Without depth: what is seen faces the viewer, and what lies low, or right, faces up, or left, more than the rest.

    So it is in a room, which is seen from within.
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
