"""Loss weights that were published together, under a name that a matrix can give instead of numbers."""

from __future__ import annotations

from collections.abc import Sequence

COMMON = "common"  # each benchmark's own weights, the same for all methods

# name -> benchmark -> task -> weight
PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    # The configurations that SCA-MTL's authors published, tuned for two tasks each.
    "sca_author": {
        "nyud": {"semseg": 1.44, "depth": 1.15},
        "pascal_context": {"semseg": 1.1, "normals": 40.0},
    },
}


def weights(preset: str, benchmark: str, tasks: Sequence[str]) -> dict[str, float]:
    """task -> weight in the objective, of `tasks`; {} for "common".

    Raises ValueError for an unknown preset, listing the known ones, and for a task without a weight in the preset.
    """
    require(preset)
    if preset == COMMON:
        return {}
    published = PUBLISHED[preset].get(benchmark, {})
    absent = [task for task in tasks if task not in published]
    if absent:
        raise ValueError(
            f"preset {preset!r} has no weight of {', '.join(absent)} on {benchmark} (it has "
            f"{', '.join(published) or 'none there'}), and none was published; choose other tasks, {COMMON!r}, "
            "or give a mapping task -> weight"
        )
    return {task: published[task] for task in tasks}


def require(preset: str) -> None:
    """Raise ValueError unless there is such a preset."""
    if preset not in (COMMON, *PUBLISHED):
        known = ", ".join((COMMON, *PUBLISHED))
        raise ValueError(f"unknown weights {preset!r}; known: {known}; or give a mapping task -> weight")
