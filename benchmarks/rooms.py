"""Rooms: procedural indoor scenes with exact labels for six tasks. This benchmark is embedded and downloads nothing.

All cores render the scenes once, into a cache. scenes.py says what is in a scene, and raycast.py how it is rendered.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.copies import cache
from mtlbench.benchmarks.rendering.scenes import render
from mtlbench.benchmarks.rendering.stage import BODY_PARTS, CLASSES
from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.transforms.augmentation import Augmentation, Crop

# This number goes up with every change that moves a pixel, so that a cache or a record of older rooms is not taken for
# one of these rooms.
RENDERER = 2
# The split enters the key that a scene is drawn from, so that splits share no scene.
_SPLITS = {"train": 0, "val": 1, "test": 2}
_IMAGES_PER_PROCESS = 8  # a process is not worth its start for fewer images

Progress = Callable[[int, int], None]
Key = tuple[int, int, int]  # seed, split, index


class Rooms(Benchmark):
    """A benchmark of as many rooms as are asked for, 795 / 100 / 654 in train / val / test by default as in NYUD-v2.

    size: rows and columns of the images; the scenes are the same at every size. tie: the probability that a texture is
    typical of its class; at 0 the colour says nothing about the class, at 1 it says much. seed: the seed of all scenes.
    foreign: tasks whose labels are those of another image of the split, so that these tasks have nothing to do with
    the other tasks. A comparison shows with them that its Delta_m falls where tasks are unrelated.
    """

    name = "rooms"
    needs_root = False
    default_tasks = ("semseg", "depth", "normals")

    def __init__(
        self,
        size: tuple[int, int] = (96, 128),
        *,
        train: int = 795,
        val: int = 100,
        test: int = 654,
        tie: float = 0.5,
        seed: int = 0,
        foreign: Sequence[str] = (),
    ) -> None:
        if len(size) != 2 or any(side < 32 or side % 32 for side in size):
            raise ValueError(f"rooms: size is {size}; it takes (rows, columns), multiples of 32 from 32 on")
        self._images = {"train": train, "val": val, "test": test}
        self.splits = self._images
        for split, images in self._images.items():
            if not isinstance(images, int) or images < 1:
                raise ValueError(f"rooms: {split} is {images!r}; it takes a number of images, 1 or more")
        if not 0 <= tie <= 1:
            raise ValueError(f"rooms: tie is {tie}; it is a probability, in [0, 1]")
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"rooms: seed is {seed!r}; it takes an integer, 0 or more")
        self.size = (size[0], size[1])
        self.tie = float(tie)
        self.seed = seed
        made = (
            factories.semseg(len(CLASSES), class_names=CLASSES),
            factories.human_parts(len(BODY_PARTS), class_names=BODY_PARTS),
            factories.depth(0.6, 8.0),
            # Of 1, 3, 5 and 10, the weight 3 gives the best mean gain over single-task networks on validation images:
            # 0.3 to 0.8 points above that of 10, NYUD-v2's, and 2.3 above that of 1. Measured with Multi-task on semseg
            # and normals, with a pretrained EfficientNet-Lite0 at 64 x 96, one to three runs each.
            factories.normals(weight=3.0),
            # The tolerance is NYUD-v2's. At 96 x 128 it is 1.8 pixels, which covers a pixel and its eight neighbours.
            factories.edge(positive_weight=0.95, max_distance=0.011),
            factories.saliency(),
        )
        self.tasks = {task.name: task for task in made}
        if isinstance(foreign, str) or not set(foreign) <= self.tasks.keys():
            raise ValueError(f"rooms: foreign is {foreign!r}; it takes a list of tasks: {', '.join(self.tasks)}")
        self.foreign = frozenset(foreign)
        self.augmentations = {
            "mtl": Augmentation(flip=0.5, zooms=(1.0, 1.2, 1.5)),
            "atrc": Augmentation(flip=0.5, zoom_range=(0.5, 2.0), crop=Crop(), photometric=True),
        }

    def open(
        self, root: Path, split: str, tasks: Sequence[str], *, progress: Progress | None = None
    ) -> Sequence[Sample]:
        """The samples of a split with the labels of `tasks`, rendered into a folder below `root` the first time.

        `progress` is told (images done, images in all) while rendering. If nobody is in view, human_parts is 255
        everywhere. Raises ValueError for an unknown split or task, and OSError when the cache cannot be written.
        """
        if split not in self._images:
            raise ValueError(f"rooms: there is no split {split!r}; there are {', '.join(self.splits)}")
        unknown = [task for task in tasks if task not in self.tasks]
        if unknown:
            raise ValueError(f"rooms: no task {', '.join(unknown)}; there are {', '.join(self.tasks)}")
        height, width = self.size
        folder = Path(root) / f"rooms-{height}x{width}-{self._hash(self._rendered)[:8]}" / split
        if not cache.exists(folder):
            with closing(self._samples(split)) as samples:
                cache.write(folder, samples, self._images[split], progress)
        own = cache.Cache(folder, tasks)
        return Foreign(own, self.foreign) if self.foreign & {*tasks} else own

    def make(self, root: Path, progress: Progress) -> None:
        """Render all splits; `progress` is told (images done, images in all)."""
        images, done = sum(self._images.values()), 0

        def told(of_split: int, _: int) -> None:
            progress(done + of_split, images)

        for split, count in self._images.items():
            self.open(root, split, (), progress=told)
            done += count
            progress(done, images)

    def fingerprint(self, root: Path) -> str:
        """A hash of the options and of the renderer's version, which determine the samples wherever the cache lies."""
        foreign = {"foreign": sorted(self.foreign)} if self.foreign else {}
        return self._hash({**self._rendered, **foreign})

    @property
    def _rendered(self) -> dict[str, Any]:
        return {"renderer": RENDERER, "size": self.size, "tie": self.tie, "seed": self.seed, **self._images}

    @staticmethod
    def _hash(facts: dict[str, Any]) -> str:
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def _samples(self, split: str) -> Generator[Sample]:
        keys = [(self.seed, _SPLITS[split], index) for index in range(self._images[split])]
        with closing(frames(keys, self.size, self.tie)) as rendered:
            for index, frame in enumerate(rendered):
                fields = {name: torch.from_numpy(array) for name, array in frame.items()}
                yield Sample(f"{split}-{index:05d}", fields.pop("image"), fields)


class Foreign(Sequence[Sample]):
    """The samples of a split where some tasks have the labels of the sample that is half of the split away."""

    def __init__(self, samples: Sequence[Sample], tasks: frozenset[str]) -> None:
        self.samples, self.tasks = samples, tasks

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        sample, other = self.samples[index], self.samples[(index + len(self) // 2) % len(self)]
        foreign = {task: other.labels[task] for task in sample.labels if task in self.tasks}
        return Sample(sample.id, sample.image, {**sample.labels, **foreign})


Frame = dict[str, NDArray[np.uint8] | NDArray[np.float32]]


def frames(keys: Sequence[Key], size: tuple[int, int], tie: float, processes: int | None = None) -> Generator[Frame]:
    """Renders keys, in order, in as many processes as there are cores, or in `processes` processes.

    The bytes do not depend on the number of processes. A process renders ahead only as far as its pipe can hold the
    frames. Raises RuntimeError when a process dies.
    """
    if processes is None:
        processes = min(_cores(), math.ceil(len(keys) / _IMAGES_PER_PROCESS))
    if processes <= 1:
        for key in keys:
            yield render(key, size, tie)
        return
    # The processes are forked, so that nothing is imported again and no script needs a guard; they use NumPy alone.
    context = multiprocessing.get_context("fork")
    receivers: list[Connection] = []
    workers = []
    try:
        for first in range(processes):
            receiver, sender = context.Pipe(duplex=False)
            receivers.append(receiver)
            arguments = (keys[first::processes], size, tie, sender, tuple(receivers))
            workers.append(context.Process(target=_work, args=arguments, daemon=True))
            workers[-1].start()
            sender.close()  # now only the child holds this end, so that its death ends the pipe
        for position in range(len(keys)):
            try:
                yield receivers[position % processes].recv()
            except EOFError:
                worker = workers[position % processes]
                worker.join()
                key = keys[position]
                raise RuntimeError(
                    f"rooms: the process rendering {key} ended with exit code {worker.exitcode}"
                ) from None
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
        for receiver in receivers:
            receiver.close()


def _work(
    keys: Sequence[Key], size: tuple[int, int], tie: float, sender: Connection, inherited: Sequence[Connection]
) -> None:
    # The parent decides when to stop. The fork copied the parent's signal handlers, so they are replaced here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for receiver in inherited:  # otherwise the parent's death would not end the pipe
        receiver.close()
    try:
        for key in keys:
            sender.send(render(key, size, tie))
    except BrokenPipeError:
        return  # the parent is gone, and nobody wants the rest


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
