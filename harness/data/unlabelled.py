"""Training images without a label of any trained task. They teach nothing, and are left out of training.

This matters where a task is trained alone: most images of PASCAL-Context show nobody, so a network of human parts would
spend most of its steps on batches with hardly a label. Its authors leave images without people out there, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data.copy import Copy
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.store.provenance import modules_hash
from mtlbench.harness.store.source import reading_hash
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.results.records import files

NONE: frozenset[int] = frozenset()

Tick = Callable[[int, int], None]  # is told (images read, images in all)


def unlabelled(
    store: Store, copy: Copy, cell: Cell, tick: Tick = lambda done, images: None, *, read: bool = True
) -> frozenset[int]:
    """The places in the train split of the images that a cell leaves out; none if its benchmark says to keep them.

    What each task lacks comes from the store. What the store does not know is read from the labels, once, and put
    there. A task is looked at only while all tasks before it leave images without a label. With read=False nothing is
    read, and the answer is none where the store does not know.

    Raises what `Copy.split` raises, ValueError where no image has a label, and StoreError for a file that does not say
    what a task lacks.
    """
    if cell.benchmark.unlabelled == "keep":
        return NONE
    found: frozenset[int] | None = None
    images = 0
    for name in cell.tasks:
        if found is None or found:
            if not read and not store.exists(_file(copy, name)):
                return NONE
            images, lacking = _of_task(store, copy, name, tick)
            found = lacking if found is None else found & lacking
    if found and len(found) == images:
        raise ValueError(f"{copy.root}: none of {images} training images has a label of {' or '.join(cell.tasks)}")
    return found or NONE


def _of_task(store: Store, copy: Copy, name: str, tick: Tick) -> tuple[int, frozenset[int]]:
    """The number of training images, and the places of those without a label of a task."""
    file = _file(copy, name)
    if not store.exists(file):
        samples, task = copy.split("train", (name,)), copy.benchmark.tasks[name]
        lacking = []
        for place, sample in enumerate(samples):
            if not _has_label(task, sample):
                lacking.append(place)
            tick(place + 1, len(samples))
        content = {"data": copy.fingerprint, "images": len(samples), "unlabelled": lacking}
        store.put(file, json.dumps(content) + "\n")
    try:
        content = json.loads(store.get(file))
        images, places = content["images"], content["unlabelled"]
        if not isinstance(places, list) or not all(type(place) is int and 0 <= place < images for place in places):
            raise ValueError("the places are no list of images")
        return images, frozenset(places)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{store.path(file)}: does not say which images have no label ({type(error).__name__}: {error}); remove it "
            "to have the labels read again"
        ) from error


def _has_label(task: Task, sample: Sample) -> bool:
    return task.name in sample.labels and task.labels(sample.labels[task.name])


def _file(copy: Copy, task: str) -> str:
    module = type(copy.benchmark).__module__
    code = [reading_hash(module), modules_hash([module])]  # other code may read other labels
    content = json.dumps([copy.fingerprint, copy.benchmark.reading(copy.root), code])
    return files.unlabelled(copy.benchmark.name, task, hashlib.sha256(content.encode()).hexdigest()[:10])
