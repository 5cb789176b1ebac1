"""Copies of data sets, decoded once and kept, so that `Copy.split` opens them from there.

A prepared split is a cache (benchmarks/copies/cache.py) below CACHE/prepared/NAME-LAYOUT-KEY. The key covers the copy's
fingerprint, the code that reads it and the library that decodes its pictures, so that whatever would make other samples
makes another cache. What is prepared and what is read from files are the same bits, and no record says which it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlbench.benchmarks.copies import cache
from mtlbench.harness.data.copy import PREPARED, Copy

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much


@dataclass(frozen=True)
class Prepared:
    """What `prepare` left: the folder, its splits' numbers of images, its size, and the tasks that the copy lacks."""

    folder: Path
    images: dict[str, int]
    bytes: int
    tasks: tuple[str, ...]
    lacking: dict[str, str]  # task -> what is missing


def available(copy: Copy) -> tuple[tuple[str, ...], dict[str, str]]:
    """The tasks whose labels every split of a copy has, and for the others what is missing.

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

    only: tasks, of which alone labels are read. scratch: a node-local folder that gets a copy.

    A split that is there with these labels is left as it is, so a killed run goes on with the split that it was at,
    from that split's first image. One that is there with fewer is made anew with what it had and what it lacked.

    Raises OSError naming the folder that cannot be written, and ValueError naming an unknown task, what is missing of
    one in `only`, or a file that does not hold what it should: nothing of its split is kept, and no split is lost.
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
