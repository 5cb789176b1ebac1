"""The few test images that are shown beside their predictions: the same for every cell, evenly spaced in the split."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtlbench.benchmarks.tasks.kinds import Scalar, Vector
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data.copy import Copy
from mtlbench.results.records import files

SHOWN = 8


def places(images: int) -> list[int]:
    """The places of the shown images in a split."""
    return sorted(set(np.linspace(0, images - 1, min(SHOWN, images)).round().astype(int).tolist()))


def truth(copy: Copy, names: Sequence[str]) -> bytes:
    """What the predictions of the shown images are compared with, as `files.Shown` reads it.

    names: of tasks. Images are uint8 [H, W, 3]. Labels have their stored sizes and the values of their kind. Raises
    OSError or ValueError where the data cannot be read.
    """
    tasks = {name: copy.benchmark.tasks[name] for name in names}
    split = copy.split("test", names)
    arrays: dict[str, np.ndarray] = {}
    for sample in (split[place] for place in places(len(split))):
        arrays[f"{sample.id}/{files.IMAGE}"] = sample.image.permute(1, 2, 0).numpy()
        arrays |= {f"{sample.id}/{name}": label.numpy() for name, label in sample.labels.items()}
    about = {name: _about(task) for name, task in tasks.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{files.ABOUT: np.array(json.dumps(about))}, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _about(task: Task) -> Mapping[str, Any]:
    """What the values of a task mean: the name of each class, or the kind of the field."""
    if task.several_classes:
        names = getattr(task.metric, "names", None)
        return {"kind": "classes", "classes": list(names or map(str, range(task.channels)))}
    if task.kind.discrete:
        return {"kind": "probability"}
    return {"kind": {Scalar: "scalar", Vector: "vector"}.get(type(task.kind), "unknown")}
