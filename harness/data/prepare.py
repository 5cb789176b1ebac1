"""Copies of data sets, decoded once and kept, so that `Copy.split` opens them from there.

A prepared split is a cache (benchmarks/copies/cache.py) below CACHE/prepared/NAME-LAYOUT-KEY. The key covers the copy's
fingerprint, the code that reads it and the library that decodes its pictures, so that a change of the
samples leads to another cache. Prepared samples and samples read from files are equal bit for bit, and no record says
which of the two were used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlbench.benchmarks.copies import cache
from mtlbench.harness.data.copy import PREPARED, Copy

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, how much there is


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`: the folder, the images of each split, the size, and the tasks that the copy lacks."""

    folder: Path
    images: dict[str, int]
    bytes: int
    tasks: tuple[str, ...]
    lacking: dict[str, str]  # task -> what is missing


def available(copy: Copy) -> tuple[tuple[str, ...], dict[str, str]]:
    """The tasks whose labels every split of a copy has, and for every other task what is missing.

    Raises OSError or ValueError where not even the images are there.
    """
    benchmark, root = copy.benchmark, copy.root
    for split in benchmark.splits:
        benchmark.open(root, split, ())
    lacking = {}
    for task in benchmark.tasks:
        try:
            for split in benchmark.splits:
                benchmark.open(root, split, (task,))
        except (OSError, ValueError) as error:
            lacking[task] = str(error)
    return tuple(task for task in benchmark.tasks if task not in lacking), lacking


def prepare(
    copy: Copy,
    cache_root: Path,
    progress: Progress,
    *,
    only: Sequence[str] = (),
    scratch: Path | None = None,
) -> Prepared:
    """Decode every split of a copy once, with the labels of all the tasks that it has, below `cache_root`.

    only: the tasks whose labels are read; () means all. scratch: a folder of this node that gets a second copy.

    A split that is already there with these labels stays as it is. So a killed run goes on with the split at which it
    was killed, from its first image. A split with fewer labels is made anew, with the old labels and the new ones.

    Raises OSError naming a folder that cannot be written. Raises ValueError naming an unknown task, what is missing of
    a task in `only`, or a damaged file: nothing of its split is kept then, and no earlier split is lost.
    """
    benchmark = copy.benchmark
    tasks, lacking = available(copy)
    for task in only:
        if task not in benchmark.tasks:
            raise ValueError(f"{benchmark.name}: no task {task!r}; it has {', '.join(benchmark.tasks)}")
        if task in lacking:
            raise ValueError(lacking[task])
    if only:
        tasks, lacking = tuple(task for task in tasks if task in only), {}
    folder = cache_root / PREPARED / copy.prepared_name()
    images = {}
    for split in benchmark.splits:
        kept = cache.Cache(folder / split).known if cache.exists(folder / split) else []
        wanted = [task for task in benchmark.tasks if task in tasks or task in kept]
        samples = benchmark.open(copy.root, split, wanted)
        images[split] = len(samples)
        cache.write(folder / split, samples, len(samples), _named(progress, f"{split}, images"), wanted)
    if scratch is not None:
        folder, source = scratch / PREPARED / folder.name, folder
        for split in benchmark.splits:
            cache.copy(source / split, folder / split, _named(progress, f"{split}, bytes to {scratch}"))
    size = sum(file.stat().st_size for split in images for file in (folder / split).iterdir())
    return Prepared(folder, images, size, tasks, lacking)


def _named(progress: Progress, what: str) -> Callable[[int, int], None]:
    def told(done: int, total: int) -> None:
        progress(what, done, total)

    return told
