"""How long do images take from files to batches? Part of python -m mtlbench.harness.bench, as `data`.

A copy in the layout NYUD_MT is made of rooms at its 425 x 560 (JPEG, PNG, two .npy). Each form reads every image with
its three labels and brings them to 480 x 640 under the same draws of the protocol "mtl". The reference is the pipeline
as it is usually written: every field floating point, flipped, warped and resized in turn with OpenCV, invalid pixels
set to 255, the image normalised. Ours hands over bytes, which the training step normalises on its device.

What decoding alone takes is measured on the re-pack NYUDv2, of which Pillow decodes all four fields (image, semseg,
normals, edge).
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.copies import cache
from mtlbench.benchmarks.nyud import NYUD
from mtlbench.benchmarks.rendering.scenes import render
from mtlbench.benchmarks.tasks.kinds import IGNORE
from mtlbench.benchmarks.transforms import augmentation, geometry
from mtlbench.benchmarks.transforms.geometry import Draw
from mtlbench.harness.data.loading import normalise
from mtlbench.methods.feature_maps import IMAGENET_MEAN, IMAGENET_STD

TASKS = ("semseg", "depth", "normals")
PICTURES = ("images", "segmentation", "normals", "edge")  # of the re-pack
KINDS = {name: task.kind for name, task in NYUD().tasks.items()}
GOAL, MOST, RATE = 3.0, 2.5, 60.0  # times the reference, times decoding alone, images a second

Fields = dict[str, Tensor]  # image [3, h, w], semseg [h, w], depth [1, h, w], normals [3, h, w]
Step = Callable[[], object]


class Row(NamedTuple):
    """A line of the table: what was measured, its figures, the goal, and whether it was reached."""

    name: str
    title: str
    median: str
    range: str
    goal: str
    reached: bool


def rows(
    rounds: int, *, images: int = 8, stored: tuple[int, int] = (425, 560), size: tuple[int, int] = (480, 640)
) -> list[Row]:
    """The measurements, each with an A/A row. Raises AssertionError where the two forms do not show the same."""
    with tempfile.TemporaryDirectory(prefix="mtlbench-data-") as folder:
        root, pictures, kept = (Path(folder) / name for name in ("copy", "pictures", "cache"))
        write_copies(root, pictures, images, stored)
        samples = NYUD().open(root, "train", TASKS)
        all_pictures = NYUD().open(pictures, "train", ("semseg", "normals", "edge"))
        draws = [draw(index, size) for index in range(len(samples))]
        compare(root, samples, draws, size)
        cache.write(kept, samples, len(samples))
        decoded = cache.Cache(kept, TASKS)

        def obvious() -> None:
            for name, drawn in zip(samples.ids, draws, strict=True):
                obvious_fields(root, name, drawn, size)

        def ours(source: Sequence[Sample] = samples) -> None:
            for index, drawn in enumerate(draws):
                our_fields(source[index], drawn, size)

        def decoding() -> None:
            for name in samples.ids:
                for field in PICTURES:
                    with Image.open(pictures / field / f"{name}.png") as picture:
                        picture.load()

        from_pictures, from_cache = functools.partial(ours, all_pictures), functools.partial(ours, decoded)
        for step in (obvious, ours, decoding, from_pictures, from_cache):
            step()  # not timed, because it fills the page cache
        against = [_round(obvious, ours) for _ in range(rounds)]
        same = [_round(ours, ours) for _ in range(rounds)]
        over = [_round(from_pictures, decoding) for _ in range(rounds)]
        rates = [len(samples) / _seconds(from_cache) for _ in range(rounds)]
    median = statistics.median
    return [
        Row("data", "4 fields from files, against the usual OpenCV pipeline", *_figures(against, "x"), f"{GOAL:g}x",
            median(against) >= GOAL),
        Row("", "A/A", *_figures(same, "x"), "", True),
        Row("data_decoding", "4 pictures read and moved, over Pillow's decoding them", *_figures(over, "x"),
            f"at most {MOST:g}x", median(over) <= MOST),
        Row("data_cache", "images a second and core from prepared data", *_figures(rates), f"{RATE:g}",
            median(rates) >= RATE),
    ]  # fmt: skip


def _figures(values: Sequence[float], unit: str = "") -> tuple[str, str]:
    digits = 2 if unit else 0
    return f"{statistics.median(values):.{digits}f}{unit}", f"{min(values):.{digits}f}-{max(values):.{digits}f}"


def write_copies(root: Path, pictures: Path, images: int, size: tuple[int, int]) -> None:
    """Rooms in the layouts NYUD_MT, as `decode` takes it apart again, and NYUDv2; every image is in both lists."""
    for folder in ("images", "segmentation", "depth", "normals", "edge", "gt_sets"):
        (root / folder).mkdir(parents=True)
        (pictures / folder).mkdir(parents=True)
    names = [f"{index:04d}" for index in range(images)]
    for index, name in enumerate(names):
        frame = render((0, 0, index), size, 0.5)
        image = np.ascontiguousarray(np.moveaxis(frame["image"], 0, -1))
        normals: NDArray[Any] = np.ascontiguousarray(np.moveaxis(frame["normals"], 0, -1))
        semseg = Image.fromarray(np.where(frame["semseg"] == IGNORE, 0, frame["semseg"] + 1).astype(np.uint8))
        Image.fromarray(image).save(root / f"images/{name}.jpg", quality=95)
        semseg.save(root / f"segmentation/{name}.png")
        np.save(root / f"depth/{name}.npy", frame["depth"][0])
        np.save(root / f"normals/{name}.npy", normals)
        Image.fromarray(image).save(pictures / f"images/{name}.png")
        semseg.save(pictures / f"segmentation/{name}.png")
        Image.fromarray(np.round((normals + 1) * 127.5).astype(np.uint8)).save(pictures / f"normals/{name}.png")
        Image.fromarray(np.where(frame["edge"] > 0, 255, 0).astype(np.uint8)).save(pictures / f"edge/{name}.png")
    for copy in (root, pictures):
        for split in ("train", "val"):
            (copy / f"gt_sets/{split}.txt").write_text("\n".join(names))


def draw(index: int, size: tuple[int, int]) -> Draw:
    """A draw of the protocol "mtl", the same for both forms."""
    return augmentation.draw(NYUD().augmentations["mtl"], np.random.default_rng(index), size)


def our_fields(sample: Sample, drawn: Draw, size: tuple[int, int]) -> Fields:
    image, labels = geometry.apply(sample.image, sample.labels, KINDS, drawn, size)
    return {"image": image, **labels}


def obvious_fields(root: Path, name: str, drawn: Draw, size: tuple[int, int]) -> Fields:
    """One field after the other, each flipped, warped about the centre and resized, all of them floating point."""
    cv2 = _opencv()
    how = {"image": cv2.INTER_CUBIC, "semseg": cv2.INTER_NEAREST, "depth": cv2.INTER_NEAREST,
           "normals": cv2.INTER_CUBIC}  # fmt: skip
    fields: dict[str, NDArray[Any]] = {field: array.astype(np.float32) for field, array in decode(root, name).items()}
    fields["semseg"] = np.where(fields["semseg"] == 0, IGNORE, fields["semseg"] - 1)
    if drawn.flip:
        fields = {field: np.fliplr(array).copy() for field, array in fields.items()}
        fields["normals"][..., 0] *= -1
    for field, array in fields.items():
        rows, columns = array.shape[:2]
        matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), 0, drawn.zoom)
        fields[field] = cv2.warpAffine(array, matrix, (columns, rows), flags=how[field])
    fields["depth"] = fields["depth"] / drawn.zoom
    for field, array in fields.items():
        fields[field] = cv2.resize(array, size[::-1], interpolation=how[field])
    length = np.linalg.norm(fields["normals"], axis=2, keepdims=True)
    fields["normals"] = np.where(length == 0, IGNORE, fields["normals"] / np.maximum(length, 1e-12))
    fields["depth"][fields["depth"] == 0] = IGNORE
    fields["image"] = (fields["image"] / 255 - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
    return {
        field: torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 0) if array.ndim == 3 else array))
        for field, array in fields.items()
    } | {"depth": torch.from_numpy(fields["depth"])[None]}


def decode(root: Path, name: str) -> dict[str, NDArray[Any]]:
    """The four files of an image as arrays, without a check: PIL for pictures, NumPy for arrays."""
    with Image.open(root / f"images/{name}.jpg") as picture, Image.open(root / f"segmentation/{name}.png") as label:
        return {
            "image": np.array(picture),
            "semseg": np.array(label),
            "depth": np.load(root / f"depth/{name}.npy"),
            "normals": np.load(root / f"normals/{name}.npy"),
        }


def compare(root: Path, samples: Sequence[Sample], draws: Sequence[Draw], size: tuple[int, int]) -> None:
    """Raise ValueError unless both forms show the same up to interpolation.

    It is raised too where the comparison does not notice a flip or a zoom that differs.
    """
    for sample, drawn in zip(samples, draws, strict=True):
        expected = obvious_fields(root, sample.id, drawn, size)
        if (apart := _apart(expected, our_fields(sample, drawn, size))) is not None:
            raise ValueError(f"{sample.id}: {apart}")
        for control in (drawn._replace(flip=not drawn.flip), drawn._replace(zoom=drawn.zoom * 1.1)):
            if not _apart(expected, our_fields(sample, control, size)):
                raise ValueError(f"{sample.id}: {control} was not noticed")


def _apart(expected: Fields, found: Fields) -> str | None:
    """The fields that differ in more pixels than lie along the borders of regions."""
    expected = expected | {
        name: torch.where(expected[name] == IGNORE, 0, expected[name]) for name in ("depth", "normals")
    }
    differs = {
        "image": (expected["image"] - normalise(found["image"][None])[0]).abs() > 0.5,
        "semseg": expected["semseg"] != found["semseg"],
        "depth": (expected["depth"] - found["depth"]).abs() > 0.1,
        "normals": (expected["normals"] - found["normals"]).abs() > 0.1,
    }
    shares = {field: float(wrong.double().mean()) for field, wrong in differs.items()}
    worst = max(shares, key=lambda field: shares[field])
    return f"{worst} differs in {shares[worst]:.1%} of its values" if shares[worst] > 0.06 else None


def _round(a: Step, b: Step) -> float:
    """Process time of a over that of b, run as A B B A."""
    a1, b1, b2, a2 = (_seconds(step) for step in (a, b, b, a))
    return (a1 + a2) / (b1 + b2)


def _seconds(step: Step) -> float:
    started = time.process_time()
    step()
    return time.process_time() - started


def _opencv() -> Any:
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the data benchmark compares with OpenCV: pip install 'mtlbench[bench]'") from error
    cv2.setNumThreads(1)
    return cv2
