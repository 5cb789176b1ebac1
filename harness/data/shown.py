"""The few test images that are shown beside their predictions: the same for every cell, evenly spaced in the split."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data.copy import Copy
from mtlbench.results.records import files

SHOWN = 8


def places(images: int) -> list[int]:
    """The places of the shown images in a split."""
    return sorted(set(np.linspace(0, images - 1, min(SHOWN, images)).round().astype(int).tolist()))


def truth(copy: Copy, names: Sequence[str]) -> bytes:
    """What the predictions of the shown images are compared with, as `files.Shown` reads it.

    names: of tasks. Images are uint8 [H, W, 3]. Labels are float32 [C, H, W] or [H, W] at their stored sizes, NaN where
    a pixel has none. Raises OSError or ValueError where the data cannot be read.
    """
    tasks = {name: copy.benchmark.tasks[name] for name in names}
    split = copy.split("test", names)
    arrays: dict[str, np.ndarray] = {}
    for sample in (split[place] for place in places(len(split))):
        arrays[f"{sample.id}/{files.PIXELS}"] = sample.image.permute(1, 2, 0).numpy()
        arrays |= {f"{sample.id}/{name}": marked(tasks[name], label) for name, label in sample.labels.items()}
    classes = {name: class_names(task) for name, task in tasks.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{files.CLASSES: np.array(json.dumps(classes))}, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def marked(task: Task, label: Tensor) -> np.ndarray:
    """A label as float32 of its own shape, NaN where a pixel has none."""
    return label.float().masked_fill(~task.kind.valid(label), float("nan")).numpy()


def class_names(task: Task) -> list[str]:
    """The names of the classes among which a prediction chooses; [] where its values are no classes."""
    if not task.several_classes:
        return []
    return list(getattr(task.metric, "names", None) or map(str, range(task.channels)))
