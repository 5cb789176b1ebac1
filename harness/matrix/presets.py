"""Loss weights that were published together, under a name that a matrix can give instead of numbers.

They are weights of tasks that are trained together. A network of one task has weight 1 under every preset, because the
authors train single tasks without a weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

COMMON = "common"  # each benchmark's own weights, the same for all methods


class Weights(NamedTuple):
    """Weights in the objective. A task that `labels` lacks has one weight for all of its losses."""

    tasks: Mapping[str, float]  # task -> weight of the losses of its predictions
    labels: Mapping[str, float] = {}  # task -> weight of the loss over its discretised label (ATRC)


# name -> benchmark -> weights
PUBLISHED: dict[str, dict[str, Weights]] = {
    # The configurations that SCA-MTL's authors published, tuned for two tasks each.
    "sca_author": {
        "nyud": Weights({"semseg": 1.44, "depth": 1.15}),
        "pascal_context": Weights({"semseg": 1.1, "normals": 40.0}),
    },
    # ATRC's code. It takes the loss of normals for each pixel, and here it is taken for each of the three elements of a
    # vector, which gives a third; so 10 there is 30 here. The loss over the clusters of normals is the same in both.
    "atrc": {
        "nyud": Weights({"semseg": 1.0, "depth": 1.0, "normals": 30.0, "edge": 50.0}, {"normals": 10.0}),
        "pascal_context": Weights(
            {"semseg": 1.0, "human_parts": 2.0, "normals": 30.0, "saliency": 5.0, "edge": 50.0}, {"normals": 10.0}
        ),
    },
}


def weights(preset: str, benchmark: str, tasks: Sequence[str]) -> Weights:
    """The weights of `tasks`; none for "common".

    Raises ValueError for an unknown preset, listing the known ones, and for a task without a weight in the preset.
    """
    require(preset)
    if preset == COMMON:
        return Weights({})
    published = PUBLISHED[preset].get(benchmark, Weights({}))
    absent = [task for task in tasks if task not in published.tasks]
    if absent:
        raise ValueError(
            f"preset {preset!r} has no weight of {', '.join(absent)} on {benchmark} (it has "
            f"{', '.join(published.tasks) or 'none there'}), and none was published; choose other tasks, {COMMON!r}, "
            "or give a mapping task -> weight"
        )
    return Weights(*({task: each[task] for task in tasks if task in each} for each in published))


def require(preset: str) -> None:
    """Raise ValueError unless there is such a preset."""
    if preset not in (COMMON, *PUBLISHED):
        known = ", ".join((COMMON, *PUBLISHED))
        raise ValueError(f"unknown weights {preset!r}; known: {known}; or give a mapping task -> weight")
