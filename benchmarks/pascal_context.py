"""PASCAL-Context with person parts, in the copy that multi-task papers pass on.

The data set is by Mottaghi et al., CVPR 2014 (4998 training and 5105 validation images of VOC 2010), and the parts are
by Chen et al., CVPR 2014. Normals and saliency were distilled from networks by Maninis et al., CVPR 2019. There is no
test set with labels, so the list called val is the test set here, and its images must not be used to choose anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from mtlbench.benchmarks.copies import axes as frames
from mtlbench.benchmarks.copies.files import (
    load_picture,
    numbers,
    picture_size,
    read_bytes,
    read_indices,
    read_mat,
    to_classes,
    to_normals_8bit,
)
from mtlbench.benchmarks.copies.folders import Field, FolderLayout
from mtlbench.benchmarks.copies.layout import FolderBenchmark
from mtlbench.benchmarks.copies.thinning import thin
from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.tasks.kinds import IGNORE
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms.augmentation import Augmentation, Crop

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor"),
)
PARTS = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")
PART_NAMES = {  # PASCAL-Part's 24 parts of a person; ours are symmetric, so that a flip swaps no ids
    **dict.fromkeys(("head", "hair", "lear", "rear", "leye", "reye", "lebrow", "rebrow", "mouth", "nose"), 1),
    **dict.fromkeys(("torso", "neck"), 2),
    **dict.fromkeys(("luarm", "ruarm"), 3),
    **dict.fromkeys(("llarm", "rlarm", "lhand", "rhand"), 4),
    **dict.fromkeys(("luleg", "ruleg"), 5),
    **dict.fromkeys(("llleg", "rlleg", "lfoot", "rfoot"), 6),
}
PERSON = 15
# Normals were distilled from a network that saw only rooms, so they are trusted only on classes that occur in rooms.
# These are the 169 of PASCAL-Context's 459 names that NYUD-v2's 894 names contain too (the 170th, "unknown", is left
# out), and 427, tvmonitor.
INDOOR = (
    *(3, 4, 6, 9, 10, 11, 13, 15, 17, 18, 22, 23, 29, 30, 33, 34, 36, 37, 38, 39, 41, 43, 46, 49, 50, 51, 53, 55, 56),
    *(59, 61, 62, 65, 66, 68, 69, 72, 73, 78, 83, 84, 85, 87, 88, 95, 96, 101, 104, 105, 107, 111, 113, 115, 122, 124),
    *(135, 141, 142, 143, 146, 150, 154, 157, 158, 159, 165, 172, 174, 181, 183, 184, 191, 193, 195, 197, 199, 202),
    *(213, 215, 216, 219, 220, 223, 225, 228, 230, 232, 233, 238, 239, 242, 243, 246, 250, 251, 252, 255, 260, 261),
    *(263, 269, 272, 273, 275, 281, 283, 284, 285, 286, 287, 288, 290, 291, 292, 293, 295, 304, 307, 309, 310, 314),
    *(315, 319, 323, 329, 330, 331, 336, 342, 345, 349, 350, 351, 352, 355, 357, 368, 370, 371, 374, 379, 380, 383),
    *(384, 397, 401, 403, 405, 407, 408, 411, 412, 413, 414, 417, 419, 421, 423, 427, 429, 430, 432, 440, 441, 442),
    *(443, 444, 446, 454, 457),
)
ARCHIVE = "PASCAL_MT.tgz of the multi-task loaders"


def read_segmentation(path: Path) -> Tensor:
    """A palette or grey picture of ids 0..20, 255 void -> uint8 [H, W]."""
    return to_classes(read_indices(path), path, len(CLASSES), first=0, void=IGNORE)


def read_human_parts(path: Path, image: Path) -> Tensor:
    """PASCAL-Part's annotation -> uint8 [H, W], 0..6; all 255 if no person in the image has an annotated part.

    The size is the size of the masks; of the image, if the annotation has no object and so no mask.

    A part overwrites the parts before it. A person without annotated parts, beside a person who has some, is
    background, as published. Raises ValueError naming the file for a part or a mask that is not PASCAL-Part's.
    """
    annotation = read_mat(path, "anno")
    try:
        objects = annotation[0, 0]["objects"].ravel()
        shape = objects[0]["mask"].shape if len(objects) else picture_size(image)
        people = [each for each in objects if int(each["class_ind"].item()) == PERSON]
        parts = [(str(part["part_name"].item()), part["mask"]) for person in people for part in person["parts"].ravel()]
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not an annotation of PASCAL-Part ({type(error).__name__}: {error})") from error
    label = np.zeros(shape, dtype=np.uint8)
    for name, mask in parts:
        if name not in PART_NAMES:
            raise ValueError(f"{path}: a person's part {name!r}; known: {', '.join(PART_NAMES)}")
        if mask.shape != shape:
            raise ValueError(f"{path}: the mask of {name} is {mask.shape}, but the mask of the first object is {shape}")
        label[mask > 0] = PART_NAMES[name]
    if not label.any():
        label.fill(IGNORE)
    return torch.from_numpy(label)


def read_saliency(path: Path) -> Tensor:
    """Distilled saliency, 0..255 -> uint8 [H, W], 1 where the value is above one half.

    Raises ValueError naming a file whose greatest value is 1: it is a mask of zeros and ones, all below one half.
    """
    stored = read_indices(path)
    if stored.max() == 1:
        raise ValueError(f"{path}: saliency of 0 and 1; 0 to 255 are needed, and above 127 is salient")
    return torch.from_numpy((stored > 127).astype(np.uint8))


def read_normals(path: Path, regions: Path) -> Tensor:
    """Distilled normals float32 [3, H, W], zero where the region of PASCAL-Context is of a class that no room has."""
    normals = to_normals_8bit(read_bytes(path), path)
    indoor = np.isin(load_regions(regions), INDOOR)
    if indoor.shape != normals.shape[1:]:
        raise ValueError(f"{regions}: LabelMap of {indoor.shape}, but normals of {tuple(normals.shape[1:])} in {path}")
    return normals * torch.from_numpy(indoor)


def read_edges(path: Path) -> Tensor:
    """The thinned borders between the regions of PASCAL-Context, uint8 [H, W] in {0, 1}."""
    regions = load_regions(path).astype(np.float64)
    return torch.from_numpy(thin(ndimage.laplace(regions, mode="mirror") != 0).astype(np.uint8))


def load_human_parts(path: Path, image: Path) -> NDArray[Any]:
    return read_human_parts(path, image).numpy()


def load_normals(path: Path, regions: Path) -> NDArray[Any]:
    return load_picture(path)


def load_regions(path: Path) -> NDArray[Any]:
    return numbers(read_mat(path, "LabelMap"), path)


IMAGE = "JPEGImages/{id}.jpg"
PASCAL_MT = FolderLayout(
    name="PASCAL_MT",
    image=IMAGE,
    lists={"train": "ImageSets/Context/train.txt", "test": "ImageSets/Context/val.txt"},
    fields={
        "semseg": (
            # VOC's own mask where there is one; the other masks were made from PASCAL-Context and have no void
            Field(("semseg/VOC12/{id}.png",), read_segmentation, load_picture, ARCHIVE),
            Field(("semseg/pascal-context/{id}.png",), read_segmentation, load_picture, ARCHIVE),
        ),
        "human_parts": (
            Field(
                ("human_parts/{id}.mat", IMAGE),
                read_human_parts,
                load_human_parts,
                f"{ARCHIVE}, or PASCAL-Part's trainval",
            ),
        ),
        "normals": (
            Field(
                ("normals_distill/{id}.png", "pascal-context/trainval/{id}.mat"), read_normals, load_normals, ARCHIVE
            ),
        ),
        "saliency": (Field(("sal_distill/{id}.png",), read_saliency, load_picture, ARCHIVE),),
        "edge": (
            Field(
                ("pascal-context/trainval/{id}.mat",),
                read_edges,
                load_regions,
                f"{ARCHIVE}, or PASCAL-Context's trainval",
            ),
        ),
    },
)


class PascalContext(FolderBenchmark):
    """Semantic segmentation, human parts, normals, saliency and edges of 10103 photographs; see the module."""

    name = "pascal_context"
    layouts = (PASCAL_MT,)
    default_tasks = ("semseg", "human_parts")
    splits: Mapping[str, int | None] = {"train": 4998, "test": 5105}
    augmentations: Mapping[str, Augmentation] = {
        "mtl": Augmentation(flip=0.5, zoom_range=(0.75, 1.25), degrees=20.0, borders="background"),
        "atrc": Augmentation(flip=0.5, zoom_range=(0.5, 2.0), crop=Crop(), photometric=True),
    }

    def __init__(self, size: tuple[int, int] = (512, 512), layout: str | None = None, frame: str = frames.OURS) -> None:
        super().__init__(size, layout, frame)
        made = (
            factories.semseg(len(CLASSES), class_names=CLASSES),
            factories.human_parts(len(PARTS), class_names=PARTS),
            factories.normals(),
            factories.saliency(),
            factories.edge(0.95, max_distance=0.0075),
        )
        self.tasks: Mapping[str, Task] = {task.name: task for task in made}
