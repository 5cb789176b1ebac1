"""A benchmark at a place: the samples of its splits, read from files or from data that were prepared."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import PIL

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.copies import cache
from mtlbench.benchmarks.copies.layout import FolderBenchmark
from mtlbench.benchmarks.transforms.augmentation import Augmentation
from mtlbench.harness import seeds
from mtlbench.harness.data.view import view_of
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.store.provenance import modules_hash
from mtlbench.harness.store.source import reading_hash

PREPARED = "prepared"  # the folder, below a cache or scratch, that holds one folder for each copy that was prepared


class Part(Sequence[Sample]):
    """A part of a split: the images at `indices`."""

    def __init__(self, samples: Sequence[Sample], indices: Sequence[int]) -> None:
        self.samples = samples
        self.indices = list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return self.samples[self.indices[index]]


class Splits(NamedTuple):
    """What a cell is trained and scored on."""

    train: Sequence[Sample]
    val: Sequence[Sample] | None  # the part of train that is held out, or the benchmark's own
    test: Sequence[Sample]
    unlabelled: int = 0  # images that training leaves out of `train`


@dataclass(frozen=True)
class Copy:
    """A benchmark, and the folder that holds its data. The folder is looked at once; changed files need a new `Copy`.

    prepared_in: folders below which splits of it may have been prepared (prepare.py); earlier folders are preferred.
    """

    benchmark: Benchmark
    root: Path
    prepared_in: tuple[Path, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Copies with equal fingerprints hold the same samples."""
        return self.benchmark.fingerprint(self.root)

    @property
    def identity(self) -> dict[str, str]:
        """What a record says of the copy: its fingerprint and how it is read."""
        return {"fingerprint": self.fingerprint, **self.benchmark.reading(self.root)}

    def split(self, name: str, tasks: Sequence[str]) -> Sequence[Sample]:
        """The samples of a split with the labels of `tasks`: prepared ones where a folder has them all, and else those
        of the files. Both are equal bit for bit.

        Raises what `Benchmark.open` raises, and ValueError for a prepared split that is damaged.
        """
        folders = [folder / PREPARED for folder in self.prepared_in]
        folders = [folder for folder in folders if folder.is_dir()]  # without one, no file needs a look
        if folders and self.benchmark.needs_root:
            kept = self.prepared_name()
            for prepared in (folder / kept / name for folder in folders):
                if cache.holds(prepared, tasks):
                    return cache.Cache(prepared, tasks)
        return self.benchmark.open(self.root, name, tasks)

    def train(self, tasks: Sequence[str], holdout: float) -> tuple[Sequence[Sample], Sequence[Sample] | None]:
        """The train split without a share that is held out, and that share; None where nothing is held out."""
        samples = self.split("train", tasks)
        return hold_out(samples, holdout) if holdout else (samples, None)

    def splits(self, cell: Cell, unlabelled: Collection[int] = ()) -> Splits:
        """The splits of a cell. Its train split also has the labels by which crops are drawn, and lacks the images at
        the places `unlabelled`.

        Raises what `split` raises, and ValueError for a trial, which is judged on val, where there is no val.
        """
        drawn = view_of(cell.benchmark, self.benchmark).augmentation
        train, val = self.train(self._with_balance(cell.tasks, drawn), cell.train.holdout)
        if val is None and "val" in self.benchmark.splits:
            val = self.split("val", cell.tasks)
        if cell.trial and val is None:
            raise ValueError(
                f"{self.benchmark.name} has no val split to judge a trial on; set train.holdout, as to 0.1"
            )
        taught = without(train, unlabelled)
        return Splits(taught, val, self.split("test", cell.tasks), len(train) - len(taught))

    def _with_balance(self, tasks: Sequence[str], augmentation: Augmentation) -> tuple[str, ...]:
        """`tasks`, and the task by whose labels crops are drawn, if the copy has these labels.

        A `Crop` looks at the same labels whatever is trained, so that all cells see the same windows.
        """
        balance = self.benchmark.balance
        if augmentation.crop is None or not balance or balance in tasks:
            return tuple(tasks)
        try:
            self.benchmark.open(self.root, "train", (balance,))
        except (FileNotFoundError, ValueError):
            return tuple(tasks)
        return (*tasks, balance)

    def prepared_name(self) -> str:
        """The name of the folder with the prepared splits. It changes once a file or the code that reads files changes.

        A fingerprint reads the bytes of a few images only, and may miss a repaired file; the times of files show it.
        """
        benchmark, module = self.benchmark, type(self.benchmark).__module__
        code = [reading_hash(module), modules_hash([module]) or ""]  # ours, and that of a benchmark from outside
        states = [cache.FORMAT, self.fingerprint, benchmark.state(self.root), f"Pillow {PIL.__version__}", *code]
        digest = hashlib.sha256(" ".join(map(str, states)).encode()).hexdigest()[:16]
        layout = benchmark.reading(self.root).get("layout")
        return "-".join([benchmark.name, *([layout] if layout else []), digest])

    def advice(self, tasks: Sequence[str], options: Mapping[str, Any]) -> str:
        """A line that says how to make training much quicker; "" where no way is known.

        options: of the benchmark, as the command in the line has to repeat them.
        """
        slow = self.benchmark.layout(self.root).slow if isinstance(self.benchmark, FolderBenchmark) else ""
        if not slow or isinstance(self.split("train", tasks), cache.Cache):
            return ""
        words = "".join(f" --set {name}={value}" for name, value in options.items())
        command = f"mtlbench data prepare {self.benchmark.name} --data {self.root}{words}"
        return f"{self.root}: {slow}; prepare it first: {command}"


def copy_of(config: BenchmarkConfig, root: Path, prepared_in: Sequence[Path] = ()) -> Copy:
    """The copy of a configuration's benchmark that lies at `root`."""
    return Copy(make_benchmark(config), root, tuple(prepared_in))


def without(samples: Sequence[Sample], places: Collection[int]) -> Sequence[Sample]:
    """A split, or a part of it, without the images at some places of the split."""
    whole, indices = (samples.samples, samples.indices) if isinstance(samples, Part) else (samples, range(len(samples)))
    return Part(whole, [index for index in indices if index not in places]) if places else samples


def held_out(images: int, share: float) -> int:
    """How many of `images` a share of them is. Raises ValueError where it is none although there is a share, or all."""
    held = round(share * images)
    if not share or 0 < held < images:
        return held
    if images < 2:
        raise ValueError(f"holdout {share:g} of {images} training images: at least 2 are needed")
    if held:
        raise ValueError(f"holdout {share:g} of {images} training images is all of them; train on some")
    raise ValueError(
        f"holdout {share:g} of {images} training images is not one image; give {_least_share(images):g} or more"
    )


def _least_share(images: int) -> float:
    """The smallest share, of two digits, that is an image."""
    step = 10.0 ** (math.floor(math.log10(0.5 / images)) - 1)
    least = math.ceil(0.5 / images / step)
    return next(share for count in (least, least + 1) if round((share := float(f"{count * step:.6g}")) * images))


def hold_out(samples: Sequence[Sample], share: float) -> tuple[Part, Part]:
    """A split without a share of its images, and the share. Both are the same for all methods and seeds.

    Raises ValueError where one of them has no image.
    """
    kept, held = _parted(len(samples), share)
    return Part(samples, kept), Part(samples, held)


def trained_on(images: int, holdout: float, unlabelled: Collection[int]) -> int:
    """How many of the `images` of a train split are neither held out nor at the places `unlabelled`.

    Raises what `held_out` raises.
    """
    return sum(place not in unlabelled for place in _parted(images, holdout)[0])


def _parted(images: int, share: float) -> tuple[list[int], list[int]]:
    """The places in a split that are kept, and those of the share that is held out."""
    order, held = seeds.generator(0, "holdout").permutation(images), held_out(images, share)
    return sorted(order[held:].tolist()), sorted(order[:held].tolist())
