"""Copies of data sets: kept decoded by `prepare`, and opened from there where that was done.

A prepared split is a cache (benchmarks/cache.py) below CACHE/prepared/NAME-LAYOUT-KEY. The key covers the copy's
fingerprint, the code that reads it and the library that decodes its pictures, so that whatever would make other samples
makes another cache. What is prepared and what is read from files are the same bits, and no record says which it was.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL

import benchmarks
from benchmarks import cache
from benchmarks.benchmark import Benchmark, Sample

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much

# The modules between a file and its sample, besides the benchmark's own.
_READERS = ("cache", "files", "folders", "frames", "labelled_mat", "layout", "parquet", "thinning")


@dataclass(frozen=True)
class Prepared:
    """What `prepare` left: the folder, its splits' numbers of images, its size, and the tasks that the copy lacks."""

    folder: Path
    images: dict[str, int]
    bytes: int
    tasks: tuple[str, ...]
    lacking: dict[str, str]  # task -> what is missing


def caches(cache_root: Path | None) -> tuple[Path, ...]:
    """Where prepared data may be: this node's scratch ($MTLBENCH_SCRATCH or $TMPDIR) first, then the cache."""
    scratch = (os.environ.get(name) for name in ("MTLBENCH_SCRATCH", "TMPDIR"))
    return tuple(Path(path) for path in [*scratch, cache_root] if path)


def open_split(
    benchmark: Benchmark, root: Path, split: str, tasks: Sequence[str], fingerprint: str, places: Sequence[Path] = ()
) -> Sequence[Sample]:
    """The samples of a split with the labels of `tasks`: prepared ones below the first of `places` that has them all,
    and else those of the files. Both are equal bit for bit.

    Raises what `Benchmark.open` raises, and ValueError for a prepared split that is damaged.
    """
    if benchmark.needs_root:
        for place in places:
            folder = prepared_folder(benchmark, root, fingerprint, place) / split
            if cache.exists(folder) and set(tasks) <= set(cache.Cache(folder).known):
                return cache.Cache(folder, tasks)
    return benchmark.open(root, split, tasks)


def prepared_folder(benchmark: Benchmark, root: Path, fingerprint: str, place: Path) -> Path:
    """Where the prepared splits of a copy belong below a cache or scratch folder."""
    package = Path(inspect.getfile(benchmarks)).parent
    sources = [Path(inspect.getfile(type(benchmark))), *(package / f"{name}.py" for name in _READERS)]
    digest = hashlib.sha256(f"{cache.FORMAT} {fingerprint} Pillow {PIL.__version__}".encode())
    for source in sources:
        digest.update(source.read_bytes())
    names = [benchmark.name, *benchmark.reading(root).values(), digest.hexdigest()[:16]]
    return place / "prepared" / "-".join(names)


def available(benchmark: Benchmark, root: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """The tasks whose labels every split of a copy has, and for the others what is missing.

    Raises FileNotFoundError or ValueError where not even the images are there.
    """
    for split in benchmark.splits:
        benchmark.open(root, split, ())
    lacking = {}
    for task in benchmark.tasks:
        try:
            for split in benchmark.splits:
                benchmark.open(root, split, (task,))
        except (FileNotFoundError, ValueError) as error:
            lacking[task] = str(error)
    return tuple(task for task in benchmark.tasks if task not in lacking), lacking


def prepare(
    benchmark: Benchmark, root: Path, cache_root: Path, progress: Progress, *, scratch: Path | None = None
) -> Prepared:
    """Decode every split of a copy once, with the labels of all the tasks that it has, below `cache_root`.

    scratch: a node-local folder that gets a copy. A split that is there already is left as it is, so a killed run
    goes on with the split that it was at, from that split's first image. Raises OSError naming the folder that cannot
    be written, and ValueError naming a file that does not hold what it should: nothing of its split is kept.
    """
    tasks, lacking = available(benchmark, root)
    fingerprint = benchmark.fingerprint(root)
    folder = prepared_folder(benchmark, root, fingerprint, cache_root)
    images = {}
    for split in benchmark.splits:
        samples = benchmark.open(root, split, tasks)
        images[split] = len(samples)
        cache.write(folder / split, samples, len(samples), _named(progress, f"{split}, images"))
    if scratch is not None:
        folder, source = prepared_folder(benchmark, root, fingerprint, scratch), folder
        for split in benchmark.splits:
            cache.copy(source / split, folder / split, _named(progress, f"{split}, bytes to {scratch}"))
    size = sum(file.stat().st_size for split in images for file in (folder / split).iterdir())
    return Prepared(folder, images, size, tasks, lacking)


def _named(progress: Progress, what: str) -> Callable[[int, int], None]:
    def told(done: int, total: int) -> None:
        progress(what, done, total)

    return told
