"""A copy of a data set that is as small as can be: boxes before a wall, drawn anew from a seed."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mtlbench.benchmarks.tasks.kinds import IGNORE

IDS = {"train": ("a1", "a2", "a3", "a4"), "test": ("b1", "b2")}
SIZE = (64, 96)
WALL, FLOOR, BOX = 0, 1, 2


def sample() -> dict[Path, bytes]:
    """The files by their path: lists of ids, images, classes as pictures, and depth in metres as arrays."""
    made: dict[Path, bytes] = {}
    generator = np.random.default_rng(0)
    for split, ids in IDS.items():
        made[Path(f"{split}.txt")] = "".join(f"{name}\n" for name in ids).encode()
        for name in ids:
            image, classes, depth = _scene(generator)
            made[Path(f"images/{name}.png")] = _png(image)
            made[Path(f"semseg/{name}.png")] = _png(classes)
            file = BytesIO()
            np.save(file, depth)
            made[Path(f"depth/{name}.npy")] = file.getvalue()
    return made


def _scene(generator: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """image [H, W, 3], classes [H, W] with a void frame, depth [H, W] in metres with pixels that have none (0)."""
    rows, columns = SIZE
    horizon = int(generator.integers(24, 40))
    classes = np.full(SIZE, WALL, np.uint8)
    depth = np.full(SIZE, 4, np.float32)
    classes[horizon:] = FLOOR
    depth[horizon:] = np.linspace(4, 1, rows - horizon, dtype=np.float32)[:, None]
    top, left = int(generator.integers(10, 30)), int(generator.integers(8, columns - 40))
    place = (slice(top, top + 24), slice(left, left + 24))
    classes[place], depth[place] = BOX, generator.uniform(1, 2)
    colours = np.array([[200, 190, 170], [110, 90, 70], [40, 90, 180]])
    image = (colours[classes] + generator.integers(-15, 16, (*SIZE, 3))).astype(np.uint8)
    classes[:2] = IGNORE
    depth[:, :2] = 0
    return image, classes, depth


def _png(values: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(values).save(file, format="PNG")
    return file.getvalue()
