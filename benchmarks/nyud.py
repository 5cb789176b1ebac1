"""NYUD-v2 with 40 classes, in the copies that multi-task papers pass on.

The data set is by Silberman et al., ECCV 2012; the classes and the crop (425 x 560) are by Gupta et al., CVPR 2013.
There are 795 training and 654 test images. There is no validation split: the list called val is the test set.

In normals x points left, y up and z to the viewer. Normals are estimated from depth and differ between sources, so
scores can be compared only if their normals come from the same source.
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
from mtlbench.benchmarks.copies.files import (
    load_npy,
    load_picture,
    numbers,
    one_channel,
    read_bytes,
    read_indices,
    read_mat,
    read_npy,
    to_classes,
    to_depth,
    to_normals,
    to_normals_8bit,
)
from mtlbench.benchmarks.copies.folders import Field, FolderLayout
from mtlbench.benchmarks.copies.labelled_mat import LabelledMat
from mtlbench.benchmarks.copies.layout import FolderBenchmark
from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms.augmentation import Augmentation, Crop

CLASSES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture"),
    *("counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes"),
    *("ceiling", "books", "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard"),
    *("person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "other structure", "other furniture"),
    "other prop",
)
DEPTH_RANGE = (0.7, 10.0)  # metres, as the Kinect measures; only the bins of a discretised depth depend on it
ARCHIVE = "NYUD_MT.tgz of the multi-task loaders (images and all labels together)"
PNG_ARCHIVE = "NYUDv2.tar.gz, the archive of the transformer-based multi-task papers"
MAT_ARCHIVE = "the NYUD_MT.tgz of Maninis et al., CVPR 2019, with .mat files"


def read_segmentation(path: Path) -> Tensor:
    """A picture of ids 1..40, 0 void -> uint8 [H, W], ids 0..39, 255 void."""
    return to_classes(read_indices(path), path, len(CLASSES), first=1, void=0)


def read_depth(path: Path) -> Tensor:
    """.npy of metres, 0 invalid -> float32 [1, H, W]."""
    return to_depth(read_npy(path, (2, 3)), path)


def read_normals(path: Path) -> Tensor:
    """.npy [H, W, 3] of unit vectors, zero invalid -> float32 [3, H, W]."""
    return to_normals(read_npy(path, (3,)), path)


def read_edge(path: Path) -> Tensor:
    """.npy [H, W] of zeros and ones -> uint8 [H, W]."""
    return _binary(read_npy(path, (2, 3)), path, 1)


def load_segmentation_mat(path: Path) -> NDArray[Any]:
    return numbers(read_mat(path, "segmentation"), path)


def load_depth_mat(path: Path) -> NDArray[Any]:
    return numbers(read_mat(path, "depth"), path)


def read_segmentation_mat(path: Path) -> Tensor:
    """Does as read_segmentation, for the variable ``segmentation`` of a .mat file."""
    return to_classes(load_segmentation_mat(path), path, len(CLASSES), first=1, void=0)


def read_depth_mat(path: Path) -> Tensor:
    """Does as read_depth, for the variable ``depth`` of a .mat file."""
    return to_depth(load_depth_mat(path), path)


def read_normals_picture(path: Path) -> Tensor:
    """Normals stored in 8 bits as n = 2 x / 255 - 1; a pixel without a normal is grey or black."""
    return to_normals_8bit(read_bytes(path), path)


def read_edge_picture(path: Path) -> Tensor:
    """Picture of 0 and 255 -> uint8 [H, W] in {0, 1}."""
    return _binary(read_indices(path), path, 255)


def _binary(stored: NDArray[Any], path: Path, high: int) -> Tensor:
    edge = one_channel(stored, path)
    wrong = (edge != 0) & (edge != high)
    if wrong.any():
        raise ValueError(f"{path}: edge value {edge[wrong][0]} in {int(wrong.sum())} pixels; 0 or {high} is needed")
    return torch.from_numpy((edge != 0).astype(np.uint8))


SIZE = (425, 560)
LISTS = {"train": "gt_sets/train.txt", "test": "gt_sets/val.txt"}
NYUD_MT = FolderLayout(
    name="NYUD_MT",
    image="images/{id}.jpg",
    size=SIZE,
    lists=LISTS,
    fields={
        "semseg": (Field(("segmentation/{id}.png",), read_segmentation, load_picture, ARCHIVE),),
        "depth": (Field(("depth/{id}.npy",), read_depth, load_npy, ARCHIVE),),
        "normals": (Field(("normals/{id}.npy",), read_normals, load_npy, ARCHIVE),),
        "edge": (Field(("edge/{id}.npy",), read_edge, load_npy, ARCHIVE),),
    },
)
REPACKED = FolderLayout(
    name="NYUDv2",
    image="images/{id}.png",
    size=SIZE,
    lists=LISTS,
    fields={
        "semseg": (Field(("segmentation/{id}.png",), read_segmentation, load_picture, PNG_ARCHIVE),),
        "depth": (Field(("depth/{id}.npy",), read_depth, load_npy, PNG_ARCHIVE),),
        "normals": (Field(("normals/{id}.png",), read_normals_picture, load_picture, PNG_ARCHIVE),),
        "edge": (Field(("edge/{id}.png",), read_edge_picture, load_picture, PNG_ARCHIVE),),
    },
)
# The archive has the same file name as that of NYUD_MT, but it is another one
ASTMT = FolderLayout(
    name="NYUD_MT_mat",
    image="images/{id}.jpg",
    size=SIZE,
    lists=LISTS,
    fields={
        "semseg": (Field(("segmentation/{id}.mat",), read_segmentation_mat, load_segmentation_mat, MAT_ARCHIVE),),
        "depth": (Field(("depth/{id}.mat",), read_depth_mat, load_depth_mat, MAT_ARCHIVE),),
        "normals": (Field(("normals/{id}.jpg",), read_normals_picture, load_picture, MAT_ARCHIVE),),
        "edge": (Field(("edge/{id}.png",), read_edge_picture, load_picture, MAT_ARCHIVE),),
    },
)
LABELLED = LabelledMat(
    name="labelled_mat",
    size=SIZE,
    num_classes=len(CLASSES),
    absent={"edge": ARCHIVE},
)


class NYUD(FolderBenchmark):
    """Semantic segmentation, depth, normals and edges of 1449 rooms; see the module."""

    name = "nyud"
    layouts = (NYUD_MT, REPACKED, ASTMT, LABELLED)
    first_class = 1
    default_tasks = ("semseg", "depth", "normals")
    splits: Mapping[str, int | None] = {"train": 795, "test": 654}
    augmentations: Mapping[str, Augmentation] = {
        "mtl": Augmentation(flip=0.5, zooms=(1.0, 1.2, 1.5)),
        "atrc": Augmentation(flip=0.5, zoom_range=(0.5, 2.0), crop=Crop(), photometric=True),
    }

    def __init__(self, size: tuple[int, int] = (480, 640), layout: str | None = None, frame: str = frames.OURS) -> None:
        super().__init__(size, layout, frame)
        made = (
            factories.semseg(len(CLASSES), class_names=CLASSES),
            factories.depth(*DEPTH_RANGE),
            factories.normals(),
            factories.edge(0.95, max_distance=0.011),
        )
        self.tasks: Mapping[str, Task] = {task.name: task for task in made}
