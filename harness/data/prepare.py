"""Copies of data sets: kept decoded by `prepare`, and opened from there where that was done.

A prepared split is a cache (benchmarks/copies/cache.py) below CACHE/prepared/NAME-LAYOUT-KEY. The key covers the copy's
fingerprint, the code that reads it and the library that decodes its pictures, so that whatever would make other samples
makes another cache. What is prepared and what is read from files are the same bits, and no record says which it was.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.copies import cache
from mtlbench.benchmarks.copies.layout import FolderBenchmark
from mtlbench.benchmarks.transforms.augmentation import Augmentation
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.matrix.entries import make_benchmark

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much

PREPARED = "prepared"  # the folder, below a cache or scratch, that holds one folder for each copy that was prepared

# The modules between a file and its sample, besides the benchmark's own.
_READERS = ("axes", "cache", "files", "folders", "labelled_mat", "layout", "parquet", "thinning")


@dataclass(frozen=True)
class Prepared:
    """What `prepare` left: the folder, its splits' numbers of images, its size, and the tasks that the copy lacks."""

    folder: Path
    images: dict[str, int]
    bytes: int
    tasks: tuple[str, ...]
    lacking: dict[str, str]  # task -> what is missing


def open_split(
    benchmark: Benchmark, root: Path, split: str, tasks: Sequence[str], fingerprint: str, places: Sequence[Path] = ()
) -> Sequence[Sample]:
    """The samples of a split with the labels of `tasks`: prepared ones below the first of `places` that has them all,
    and else those of the files. Both are equal bit for bit.

    Raises what `Benchmark.open` raises, and ValueError for a prepared split that is damaged.
    """
    places = [place for place in places if (place / PREPARED).is_dir()]  # else nobody needs to look at all the files
    if places and benchmark.needs_root:
        kept = prepared_name(benchmark, root, fingerprint)
        for folder in (place / PREPARED / kept / split for place in places):
            if cache.holds(folder, tasks):
                return cache.Cache(folder, tasks)
    return benchmark.open(root, split, tasks)


def advice(config: BenchmarkConfig, root: Path, tasks: Sequence[str], places: Sequence[Path]) -> str:
    """What would make training much quicker, in a line; "" where nothing is known to."""
    benchmark = make_benchmark(config)
    slow = benchmark.layout(root).slow if isinstance(benchmark, FolderBenchmark) else ""
    if not slow:
        return ""
    if isinstance(open_split(benchmark, root, "train", tasks, benchmark.fingerprint(root), places), cache.Cache):
        return ""
    options = "".join(f" --set {name}={value}" for name, value in config.options.items())
    return f"{root}: {slow}; prepare it first: mtlbench data prepare {config.name} --data {root}{options}"


def for_training(benchmark: Benchmark, root: Path, tasks: Sequence[str], augmentation: Augmentation) -> tuple[str, ...]:
    """The tasks to open the train split with: `tasks`, and the one by whose labels crops are drawn if the copy has it.

    A `Crop` looks at the same labels whatever is trained, so that all cells see the same windows.
    """
    if augmentation.crop is None or not benchmark.balance or benchmark.balance in tasks:
        return tuple(tasks)
    try:
        benchmark.open(root, "train", (benchmark.balance,))
    except (FileNotFoundError, ValueError):
        return tuple(tasks)
    return (*tasks, benchmark.balance)


def prepared_name(benchmark: Benchmark, root: Path, fingerprint: str) -> str:
    """What the folder of a copy's prepared splits is called: another name once a file was written or a reader changed.

    A fingerprint reads the bytes of a few images only, so a repaired file may leave it; the times of files do not.
    """
    package = Path(inspect.getfile(cache)).parent
    sources = [Path(inspect.getfile(type(benchmark))), *(package / f"{name}.py" for name in _READERS)]
    digest = hashlib.sha256(f"{cache.FORMAT} {fingerprint} {benchmark.state(root)} Pillow {PIL.__version__}".encode())
    for source in sources:
        digest.update(source.read_bytes())
    names = [benchmark.name, benchmark.reading(root)["layout"], digest.hexdigest()[:16]]
    return "-".join(names)


def available(benchmark: Benchmark, root: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """The tasks whose labels every split of a copy has, and for the others what is missing.

    Raises OSError or ValueError where not even the images are there.
    """
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
    benchmark: Benchmark,
    root: Path,
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
    tasks, lacking = available(benchmark, root)
    for task in only:
        if task not in benchmark.tasks:
            raise ValueError(f"{benchmark.name}: no task {task!r}; it has {', '.join(benchmark.tasks)}")
        if task in lacking:
            raise ValueError(lacking[task])
    if only:
        tasks, lacking = tuple(task for task in tasks if task in only), {}
    fingerprint = benchmark.fingerprint(root)
    folder = cache_root / PREPARED / prepared_name(benchmark, root, fingerprint)
    images = {}
    for split in benchmark.splits:
        kept = cache.Cache(folder / split).known if cache.exists(folder / split) else []
        wanted = [task for task in benchmark.tasks if task in tasks or task in kept]
        samples = benchmark.open(root, split, wanted)
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
