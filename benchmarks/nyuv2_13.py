"""NYUv2 with 13 classes at 288 x 384, the copy that the literature on balancing the losses of tasks trains on.

The images are the images of NYUD-v2 (Silberman et al., ECCV 2012); the classes are by Couprie et al., ICLR 2013. The
copy was published as arrays with MTAN (Liu et al., CVPR 2019), and later as parquet files. There are 795 training and
654 test images. The folder or file called val is the test set, so its images must not be used to choose anything. This
benchmark differs from nyud in classes, images and normals, so no score of one compares with a score of the other.

The published images are floating point in [0, 1]. They are rounded to eight bits, which moves no value by more than
1/510. The published training cuts its zoomed window at a random place; the protocol "mtl" cuts it about the centre, as
it does for every benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.benchmarks.copies import axes as frames
from mtlbench.benchmarks.copies.files import load_npy, one_channel, to_classes, to_depth, to_normals
from mtlbench.benchmarks.copies.folders import Field, FolderLayout
from mtlbench.benchmarks.copies.layout import FolderBenchmark
from mtlbench.benchmarks.copies.parquet import Column, ParquetLayout
from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms.augmentation import Augmentation, Crop

CLASSES = (
    *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv"),
    *("wall", "window"),
)
DEPTH_RANGE = (0.7, 10.0)  # metres; only the bins of a discretised depth depend on it
SIZE = (288, 384)
ROUNDING = 1e-3  # an interpolated image may leave [0, 1] by this much: a quarter of a grey level
ARCHIVE = "nyuv2.zip, linked from MTAN's page"
MIRROR = "the data set tanganke/nyuv2 of the Hugging Face hub, its folder data"


def to_image(stored: NDArray[Any], place: Path | str) -> Tensor:
    """Floating point [H, W, 3] in [0, 1] -> uint8 [3, H, W]. Raises ValueError naming `place`."""
    if stored.ndim != 3 or stored.shape[2] != 3:
        raise ValueError(f"{place}: an image of shape {stored.shape}; [H, W, 3] is needed")
    low, high = float(stored.min()), float(stored.max())
    if not -ROUNDING <= low <= high <= 1 + ROUNDING:  # NaN compares false
        raise ValueError(f"{place}: values from {low:.9g} to {high:.9g}; an image from 0 to 1 is needed")
    return torch.from_numpy(np.round(np.moveaxis(stored, -1, 0) * 255).clip(0, 255).astype(np.uint8))


def to_segmentation(stored: NDArray[Any], place: Path | str) -> Tensor:
    """Ids 0..12, -1 void, of any number type -> uint8 [H, W], ids 0..12, 255 void."""
    return to_classes(one_channel(stored, place), place, len(CLASSES), first=0, void=-1)


def read_image_npy(path: Path) -> Tensor:
    return to_image(load_npy(path), path)


def read_segmentation_npy(path: Path) -> Tensor:
    return to_segmentation(load_npy(path), path)


def read_depth_npy(path: Path) -> Tensor:
    return to_depth(load_npy(path), path)


def read_normals_npy(path: Path) -> Tensor:
    return to_normals(load_npy(path), path)


NPY = FolderLayout(
    name="MTAN_npy",
    size=SIZE,
    image="{split}/image/{id}.npy",
    read_image=read_image_npy,
    lists={"train": "train/image/", "test": "val/image/"},
    splits={"train": "train", "test": "val"},
    fields={
        "semseg": (Field(("{split}/label/{id}.npy",), read_segmentation_npy, load_npy, ARCHIVE),),
        "depth": (Field(("{split}/depth/{id}.npy",), read_depth_npy, load_npy, ARCHIVE),),
        "normals": (Field(("{split}/normal/{id}.npy",), read_normals_npy, load_npy, ARCHIVE),),
    },
)
PARQUET = ParquetLayout(
    name="parquet",
    size=SIZE,
    lists={"train": "train-*.parquet", "test": "val-*.parquet"},
    image=Column("image", to_image),
    fields={
        "semseg": Column("segmentation", to_segmentation),
        "depth": Column("depth", to_depth),
        "normals": Column("normal", to_normals),
    },
    origin=MIRROR,
)


class NYUv2With13Classes(FolderBenchmark):
    """Semantic segmentation of 13 classes, depth and normals of 1449 rooms at 288 x 384; see the module."""

    name = "nyuv2_13"
    layouts = (NPY, PARQUET)
    default_tasks = ("semseg", "depth", "normals")
    splits: Mapping[str, int | None] = {"train": 795, "test": 654}
    augmentations: Mapping[str, Augmentation] = {
        "mtl": Augmentation(flip=0.5, zooms=(1.0, 1.2, 1.5)),
        "atrc": Augmentation(flip=0.5, zoom_range=(0.5, 2.0), crop=Crop(), photometric=True),
    }

    def __init__(self, size: tuple[int, int] = SIZE, layout: str | None = None, frame: str = frames.OURS) -> None:
        super().__init__(size, layout, frame)
        made = (
            factories.semseg(len(CLASSES), class_names=CLASSES),
            factories.depth(*DEPTH_RANGE),
            factories.normals(),
        )
        self.tasks: Mapping[str, Task] = {task.name: task for task in made}
