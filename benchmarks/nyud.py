"""NYUD-v2 with 40 classes, in the copies that multi-task papers pass on.

Silberman et al., ECCV 2012; classes and crop (425 x 560) of Gupta et al., CVPR 2013; 795 training and 654 test
images. There is no validation split: the list called val is the test set.

Normals point x left, y up, z to the viewer. They are an estimate from depth and differ between sources, so numbers
compare only within one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from benchmarks import tasks
from benchmarks.files import read_indices, read_npy, to_classes, to_depth, to_normals
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
ARCHIVE = "NYUD_MT.tgz of the multi-task loaders (images, segmentation, depth and normals together)"


def read_segmentation(path: Path) -> Tensor:
    """0 void, 1..40 -> uint8 [H, W], 0..39 with 255 void."""
    return to_classes(read_indices(path), path, len(CLASSES), first=1, void=0)


def read_depth(path: Path) -> Tensor:
    """.npy of metres, 0 invalid -> float32 [1, H, W]."""
    return to_depth(read_npy(path, (2, 3)), path)


def read_normals(path: Path) -> Tensor:
    """.npy [H, W, 3] of unit vectors, zero invalid -> float32 [3, H, W]."""
    return to_normals(read_npy(path, (3,)), path)


NYUD_MT = Layout(
    name="NYUD_MT",
    image="images/{id}.jpg",
    lists={"train": "gt_sets/train.txt", "test": "gt_sets/val.txt"},
    fields={
        "semseg": (Field(("segmentation/{id}.png",), read_segmentation, ARCHIVE),),
        "depth": (Field(("depth/{id}.npy",), read_depth, ARCHIVE),),
        "normals": (Field(("normals/{id}.npy",), read_normals, ARCHIVE),),
    },
)


class NYUD(FolderBenchmark):
    """Semantic segmentation, depth and normals of 1449 rooms; see the module."""

    name = "nyud"
    layouts = (NYUD_MT,)
    default_tasks = ("semseg", "depth", "normals")
    splits: Mapping[str, int | None] = {"train": 795, "test": 654}
    augmentations: Mapping[str, Augmentation] = {
        "mtl": Augmentation(flip=0.5, zooms=(1.0, 1.2, 1.5)),
        "atrc": Augmentation(flip=0.5, zoom_range=(0.5, 2.0), crop=Crop(), photometric=True),
    }

    def __init__(self, size: tuple[int, int] = (480, 640), layout: str | None = None) -> None:
        super().__init__(size, layout)
        made = (tasks.semseg(len(CLASSES), class_names=CLASSES), tasks.depth(*DEPTH_RANGE), tasks.normals())
        self.tasks: Mapping[str, Task] = {task.name: task for task in made}
