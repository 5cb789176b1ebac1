"""NYUD-v2 with 40 classes, in the copies that multi-task papers pass on.

Silberman et al., ECCV 2012; classes and crop (425 x 560) of Gupta et al., CVPR 2013; 795 training and 654 test
images. There is no validation split: the list called val is the test set.

Normals point x left, y up, z to the viewer. They are an estimate from depth and differ between sources, so numbers
compare only within one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import tasks
from benchmarks.files import (
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
from benchmarks.layout import Field, FolderBenchmark, Layout
from benchmarks.tasks import Task
from benchmarks.transforms import Augmentation, Crop

CLASSES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture"),
    *("counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes"),
    *("ceiling", "books", "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard"),
    *("person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "other structure", "other furniture"),
    "other prop",
)
DEPTH_RANGE = (0.7, 10.0)  # metres; what the Kinect measures, and only the bins of a discretised depth depend on it
ARCHIVE = "NYUD_MT.tgz of the multi-task loaders (images and all labels together)"
PNG_ARCHIVE = "NYUDv2.tar.gz, the archive of the transformer-based multi-task papers"
MAT_ARCHIVE = "the NYUD_MT.tgz of Maninis et al., CVPR 2019, with .mat files"


def read_segmentation(path: Path) -> Tensor:
    """0 void, 1..40 -> uint8 [H, W], 0..39 with 255 void."""
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


def read_segmentation_mat(path: Path) -> Tensor:
    """As read_segmentation, from the variable ``segmentation`` of a .mat."""
    return to_classes(read_mat(path, "segmentation"), path, len(CLASSES), first=1, void=0)


def read_depth_mat(path: Path) -> Tensor:
    """As read_depth, from the variable ``depth`` of a .mat."""
    return to_depth(read_mat(path, "depth"), path)


def read_normals_picture(path: Path) -> Tensor:
    """Normals of 8 bits, n = 2 x / 255 - 1; grey where there is none."""
    return to_normals_8bit(read_bytes(path))


def read_edge_picture(path: Path) -> Tensor:
    """Picture of 0 and 255 -> uint8 [H, W] in {0, 1}."""
    return _binary(read_indices(path), path, 255)


def _binary(stored: NDArray[Any], path: Path, high: int) -> Tensor:
    edge = one_channel(stored, path)
    wrong = (edge != 0) & (edge != high)
    if wrong.any():
        raise ValueError(f"{path}: edge value {edge[wrong][0]} in {int(wrong.sum())} pixels; 0 or {high} is needed")
    return torch.from_numpy((edge != 0).astype(np.uint8))


LISTS = {"train": "gt_sets/train.txt", "test": "gt_sets/val.txt"}
NYUD_MT = Layout(
    name="NYUD_MT",
    image="images/{id}.jpg",
    lists=LISTS,
    fields={
        "semseg": (Field(("segmentation/{id}.png",), read_segmentation, ARCHIVE),),
        "depth": (Field(("depth/{id}.npy",), read_depth, ARCHIVE),),
        "normals": (Field(("normals/{id}.npy",), read_normals, ARCHIVE),),
        "edge": (Field(("edge/{id}.npy",), read_edge, ARCHIVE),),
    },
)
REPACKED = Layout(
    name="NYUDv2",
    image="images/{id}.png",
    lists=LISTS,
    fields={
        "semseg": (Field(("segmentation/{id}.png",), read_segmentation, PNG_ARCHIVE),),
        "depth": (Field(("depth/{id}.npy",), read_depth, PNG_ARCHIVE),),
        "normals": (Field(("normals/{id}.png",), read_normals_picture, PNG_ARCHIVE),),
        "edge": (Field(("edge/{id}.png",), read_edge_picture, PNG_ARCHIVE),),
    },
)
# Of the same file name as NYUD_MT, but another archive
ASTMT = Layout(
    name="NYUD_MT_mat",
    image="images/{id}.jpg",
    lists=LISTS,
    fields={
        "semseg": (Field(("segmentation/{id}.mat",), read_segmentation_mat, MAT_ARCHIVE),),
        "depth": (Field(("depth/{id}.mat",), read_depth_mat, MAT_ARCHIVE),),
        "normals": (Field(("normals/{id}.jpg",), read_normals_picture, MAT_ARCHIVE),),
        "edge": (Field(("edge/{id}.png",), read_edge_picture, MAT_ARCHIVE),),
    },
)


class NYUD(FolderBenchmark):
    """Semantic segmentation, depth, normals and edges of 1449 rooms; see the module."""

    name = "nyud"
    layouts = (NYUD_MT, REPACKED, ASTMT)
    default_tasks = ("semseg", "depth", "normals")
    splits: Mapping[str, int | None] = {"train": 795, "test": 654}
    augmentations: Mapping[str, Augmentation] = {
        "mtl": Augmentation(flip=0.5, zooms=(1.0, 1.2, 1.5)),
        "atrc": Augmentation(flip=0.5, zoom_range=(0.5, 2.0), crop=Crop(), photometric=True),
    }

    def __init__(self, size: tuple[int, int] = (480, 640), layout: str | None = None) -> None:
        super().__init__(size, layout)
        made = (
            tasks.semseg(len(CLASSES), class_names=CLASSES),
            tasks.depth(*DEPTH_RANGE),
            tasks.normals(),
            tasks.edge(0.95),
        )
        self.tasks: Mapping[str, Task] = {task.name: task for task in made}
