"""The order in which the features of tasks are concatenated. It never depends on the order of the tasks in a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtlbench.methods.method import Target

MTL_ORDER = ("semseg", "human_parts", "saliency", "normals", "edge", "depth")  # MTL-PyTorch, SCA-MTL
ATRC_ORDER = ("semseg", "human_parts", "saliency", "depth", "normals", "edge")


def in_order(targets: Mapping[str, Target], order: Sequence[str] = MTL_ORDER) -> dict[str, Target]:
    """`targets` in the published order. Tasks that are not in `order` come last, sorted by name."""
    known = [task for task in order if task in targets]
    return {task: targets[task] for task in known + sorted(set(targets) - set(known))}
