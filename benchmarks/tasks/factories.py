"""The tasks that benchmarks are made of, with the losses, metrics and weights of their published loaders.

The default weights come from the code of MTI-Net and ATRC. The `positive_weight` of edges is 0.95 for both data sets in
MTI-Net's code, and 0.8 for NYUD-v2 in ATRC's code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mtlbench.benchmarks.tasks.clusters import NUM_NORMAL_CLUSTERS, normal_centroids
from mtlbench.benchmarks.tasks.depth_errors import DepthErrors
from mtlbench.benchmarks.tasks.edges import EdgeODS
from mtlbench.benchmarks.tasks.kinds import IGNORE, Label, Scalar, Vector
from mtlbench.benchmarks.tasks.losses import (
    DepthBins,
    NormalClusters,
    TwoClasses,
    WeightedBinaryCrossEntropy,
    balanced_binary_cross_entropy,
    cross_entropy,
    l1,
    normals_l1,
)
from mtlbench.benchmarks.tasks.miou import MeanIoU
from mtlbench.benchmarks.tasks.normal_errors import NormalErrors
from mtlbench.benchmarks.tasks.saliency import Saliency
from mtlbench.benchmarks.tasks.task import Task

NUM_DEPTH_BINS = 40  # ATRC


def semseg(num_classes: int, *, weight: float = 1.0, class_names: Sequence[str] | None = None) -> Task:
    """Semantic segmentation: logits [B, C, H, W], label integer [B, H, W] with 255 void."""
    return _classes("semseg", num_classes, weight, class_names)


def human_parts(num_classes: int = 7, *, weight: float = 2.0, class_names: Sequence[str] | None = None) -> Task:
    """Human part segmentation with a background class. An image or a crop without a person is 255 everywhere."""
    task = _classes("human_parts", num_classes, weight, class_names)
    return replace(task, background_alone_is_void=True)


def depth(minimum: float, maximum: float, *, weight: float = 1.0) -> Task:
    """Depth in metres [B, 1, H, W], 0 invalid. The range, in metres, sets only the bins of the label loss."""
    if not 0 < minimum < maximum:
        raise ValueError(f"depth: the range is [{minimum}, {maximum}] metres; 0 < minimum < maximum is needed")
    bins = DepthBins(minimum, maximum, NUM_DEPTH_BINS)
    return Task("depth", Scalar(), 1, NUM_DEPTH_BINS, l1, bins, DepthErrors(), weight)


def normals(centroids: Sequence[Sequence[float]] | None = None, *, weight: float = 10.0) -> Task:
    """Surface normals [B, 3, H, W]: x left, y up, z to the viewer; the zero vector is invalid.

    centroids [40, 3] are the clusters of ATRC's label loss. They are learnt from training labels with
    ``task.fitted(task.learn(labels))``. Before that the label loss cannot be used; everything else can.
    """
    task = Task(
        "normals",
        Vector(),
        3,
        NUM_NORMAL_CLUSTERS,
        normals_l1,
        NormalClusters(None),
        NormalErrors(),
        weight,
        learn=normal_centroids,
        complete=_with_centroids,
    )
    return task if centroids is None else task.fitted({"centroids": centroids})


def edge(positive_weight: float, *, weight: float = 50.0, max_distance: float | None = None) -> Task:
    """Boundaries: one logit [B, 1, H, W], label integer [B, H, W] in {0, 1} with 255 void.

    max_distance is the tolerance of the odsF, as a fraction of the image's diagonal. With None the task is trained but
    not scored.
    """
    if not 0 < positive_weight < 1:
        raise ValueError(f"edge: positive_weight is {positive_weight}; it must lie between 0 and 1")
    loss = WeightedBinaryCrossEntropy(positive_weight)
    metric = None if max_distance is None else EdgeODS(max_distance)
    return Task("edge", Label(), 1, 2, loss, TwoClasses(loss), metric, weight)


def saliency(*, weight: float = 5.0) -> Task:
    """Salient objects: one logit [B, 1, H, W], label integer [B, H, W] in {0, 1} with 255 void."""
    loss = balanced_binary_cross_entropy
    return Task("saliency", Label(), 1, 2, loss, TwoClasses(loss), Saliency(), weight)


def _classes(name: str, num_classes: int, weight: float, class_names: Sequence[str] | None) -> Task:
    if not 2 <= num_classes <= IGNORE:
        raise ValueError(
            f"{name}: num_classes is {num_classes}; it must lie in 2..{IGNORE} ({IGNORE} is the void label)"
        )
    metric = MeanIoU(num_classes, None if class_names is None else tuple(class_names))
    return Task(name, Label(), num_classes, num_classes, cross_entropy, cross_entropy, metric, weight)


def _with_centroids(task: Task, findings: Mapping[str, Any]) -> Task:
    centroids = tuple((float(x), float(y), float(z)) for x, y, z in findings["centroids"])
    if len(centroids) != task.classes:
        raise ValueError(f"{task.name}: {len(centroids)} centroids were given; {task.classes} are needed")
    return replace(task, label_loss=NormalClusters(centroids))
