"""The doctor asks if a copy of a data set is stored as its reader assumes. The files do not say this, but pictures do.

It tests a few images, evenly spaced over the splits:

* width and height: labels must have the size of their images, and images must have the size that the layout is known
  for. If rows and columns are wrong, the tests that depend on where a surface is seen are left out.
* class ids: floors lie low and face up, ceilings lie high and face down, and where objects stand before a background
  most pixels are background. None of this holds if ids are one too high or too low.
* depth: pixels without a measurement hold 0, and not the greatest number. In metres, depth has the size of a room.
  Normals derived from depth agree with stored normals in some frame, unless the depth is inverted.
* normals: their axes have 48 signed permutations, and the right one agrees best with the depth-derived normals.

To derive normals from depth the camera must be known. The Kinect of NYUD-v2 is assumed: its focal length is 0.81 of the
uncropped width, and its principal point is in the middle. A focal length that is wrong by a tenth moves normals by some
degrees, but frames are 30 degrees or more apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.copies.evidence import (
    GEOMETRY,
    Finding,
    Picture,
    depths,
    facing,
    geometry,
    nearer_below,
)
from mtlbench.benchmarks.copies.layout import FolderBenchmark, Split

ROOM = (0.5, 15.0)  # metres; the median depth of indoor images lies between these


SIZES = "width and height"

SIXTEEN_BITS = [65535 * unit for unit in (1, 1e-1, 1e-2, 1e-3, 1e-4)]  # "no value" of cameras, in some unit
HEAPED = 0.01  # a share of pixels from which on one greatest value is no coincidence


class Findings(NamedTuple):
    """What was found, and on how many images."""

    findings: list[Finding]
    images: int


def examine(
    benchmark: Benchmark, root: Path, tasks: Sequence[str], images: int = 24, focal: float | None = None
) -> Findings:
    """The findings on about `images` images of a copy, or on all where it has fewer, read with the labels of `tasks`.

    focal: the focal length in pixels of the stored images; None takes the focal length of NYUD-v2's camera.
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
        findings += _no_value(pictures)
    if turned:
        skipped = "not looked at while rows and columns are wrong: where a surface is seen tells which way it faces"
        findings += [Finding(of, "undecided", skipped) for task, of in GEOMETRY.items() if task in tasks]
    elif {"depth", "normals"} <= set(tasks):
        findings += geometry(benchmark, pictures, focal)
    elif "depth" in tasks:
        findings.append(nearer_below(pictures))
    elif "normals" in tasks:
        findings.append(facing(pictures))
    return Findings(findings, len(pictures))


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
    """The findings, and whether labels do not lie over their images or images lie on their side."""
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
    """Finds the shift of the stored ids under which most classes lie where such classes are known to lie."""
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
            f"{score[best]:.0%} on average, against {score[0]:.0%} as they are",
            f"store class c as c + {first}",
        )
    others = max(score[-1], score[1])
    if best == 0 and score[0] - others > 0.15:
        elsewhere = f"read one lower or one higher, the ids would fit such places by {others:.0%} at most"
        return Finding("class ids", "right", f"{ids}; {words}; {elsewhere}")
    read = {0: "as they are", -1: "if read one higher", 1: "if read one lower"}
    detail = ", ".join(f"by {score[shift]:.0%} {how}" for shift, how in read.items())
    return Finding("class ids", "undecided", f"{ids}; floors and ceilings lie where they should {detail}")


def _evidence(pictures: Sequence[Picture], names: Sequence[str], first: int) -> dict[str, float]:
    """The shares of pixels, in [0, 1], that lie and face as their class does, if class c is stored as c + first."""
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
    """The values as text, such as "0 to 12, 255"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], value]
        else:
            runs.append([value, value])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in runs)


def _unit(pictures: Sequence[Picture]) -> Finding:
    what = "unit of depth"
    values = np.concatenate([depth[depth > 0] for depth in map(depths, pictures)])
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


def _no_value(pictures: Sequence[Picture]) -> list[Finding]:
    """Looks for pixels that hold the greatest number of their kind, where nothing was measured."""
    what, all_depths = "depth without a value", [depths(picture) for picture in pictures]
    top = max((float(depth.max()) for depth in all_depths), default=0.0)
    at_top = [int((depth >= top * (1 - 1e-6)).sum()) for depth in all_depths] if top else []
    share = sum(at_top) / max(1, sum(int((depth > 0).sum()) for depth in all_depths))
    counted = f"{top:.6g} in {sum(at_top)} pixels ({share:.1%}) of {sum(map(bool, at_top))} of {len(pictures)} images"
    remedy = "store 0 where nothing was measured"
    if any(abs(top - value) < 1e-5 * value for value in SIXTEEN_BITS):
        return [Finding(what, "wrong", f"{counted}: 65535, the greatest number of 16 bits, in some unit", remedy)]
    if share >= HEAPED:
        return [Finding(what, "undecided", f"{counted}: a limit of the sensor, or its sign for no value", remedy)]
    return []
