"""The order of tasks wherever their features are concatenated, so that it never depends on who names them first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtlbench.methods.method import Target

MTL_ORDER = ("semseg", "human_parts", "saliency", "normals", "edge", "depth")  # MTL-PyTorch, SCA-MTL
ATRC_ORDER = ("semseg", "human_parts", "saliency", "depth", "normals", "edge")


def in_order(targets: Mapping[str, Target], order: Sequence[str] = MTL_ORDER) -> dict[str, Target]:
    """`targets` in the published order; tasks that it does not know come last, by name."""
    known = [task for task in order if task in targets]
    return {task: targets[task] for task in known + sorted(set(targets) - set(known))}
