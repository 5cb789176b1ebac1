"""Verify that a copy of a data set is whole: counts, sizes, ranges, invalid pixels, twins, unreadable files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.copies.layout import FolderBenchmark, Layout, Split
from mtlbench.benchmarks.tasks.kinds import Kind

SHOWN = 20  # so many problems of one kind are listed; further problems are counted

Progress = Callable[[str, int, int], None]  # split, images read, images in all


class Gap(NamedTuple):
    """What a split lacks of a field, and whether the field cannot be read at all."""

    reason: str
    whole: bool


@dataclass
class FieldReport:
    """One field of a split. The range and the shares describe its values as a `Sample` holds them."""

    name: str  # "image", or a task
    read: int = 0  # images whose field could be read
    dtypes: list[str] = field(default_factory=list)
    least: float | None = None  # of the valid values; None: no value is valid
    greatest: float | None = None
    invalid: float = 0.0  # share of pixels
    blank: int = 0  # images without a valid pixel
    classes: int | None = None  # how many classes occur, if the task has classes


@dataclass
class SplitReport:
    name: str
    images: int
    expected: int | None
    sizes: dict[str, int]  # "rows x columns" -> images
    fields: list[FieldReport]


@dataclass
class Report:
    benchmark: str
    root: str
    reading: dict[str, str]  # the layout and other choices
    fingerprint: str | None  # None: a file that it covers cannot be read
    splits: list[SplitReport]
    lacking: dict[str, str]  # task that the copy lacks, and may lack -> what is missing
    problems: list[str]  # what is wrong; empty if nothing is wrong


def verify(benchmark: Benchmark, root: Path, progress: Progress, tasks: Sequence[str] | None = None) -> Report:
    """Read every image of every split with its labels, and report what is there and what is wrong.

    tasks: the tasks whose labels must be there. None means all tasks of the benchmark, except for the tasks whose
    labels the layout does not have or may lack.

    Raises OSError or ValueError if nothing can be read, or for an unknown task.
    """
    wanted = tuple(benchmark.tasks if tasks is None else tasks)
    for task in wanted:
        if task not in benchmark.tasks:
            raise ValueError(f"{benchmark.name}: no task {task!r}; it has {', '.join(benchmark.tasks)}")
    missing = {split: _missing(benchmark, root, split, wanted) for split in benchmark.splits}
    spared = set() if tasks is not None else _may_lack(benchmark, root)
    lacking = {task: gap.reason for found in missing.values() for task, gap in found.items() if task in spared}
    problems = [gap.reason for found in missing.values() for name, gap in found.items() if name not in lacking]
    twins = _Twins()
    reports = []
    for split, found in missing.items():
        there = tuple(task for task in wanted if task not in lacking and not (task in found and found[task].whole))
        report, wrong = _split(benchmark, split, _open(benchmark, root, split, there), there, twins, progress)
        reports.append(report)
        problems += wrong
    if isinstance(benchmark, FolderBenchmark):
        problems += _odd_sizes(reports, benchmark.layout(root))
    fingerprint = None
    try:
        fingerprint = benchmark.fingerprint(root)
    except (OSError, ValueError) as error:
        problems.append(str(error))
    return Report(
        benchmark.name,
        str(root),
        benchmark.reading(root),
        fingerprint,
        reports,
        lacking,
        list(dict.fromkeys(problems)),
    )


def _open(benchmark: Benchmark, root: Path, split: str, tasks: Sequence[str]) -> Sequence[Sample]:
    if isinstance(benchmark, FolderBenchmark):
        return benchmark.open(root, split, tasks, whole=False)
    return benchmark.open(root, split, tasks)


def _missing(benchmark: Benchmark, root: Path, split: str, tasks: Sequence[str]) -> dict[str, Gap]:
    """The gaps of a split: "image" or a task -> its gap."""
    found = {}
    for task in ("", *tasks):
        try:
            samples = _open(benchmark, root, split, (task,) if task else ())
        except (OSError, ValueError) as error:
            if not task:
                raise
            found[task] = Gap(str(error), whole=True)
            continue
        if isinstance(samples, Split):
            found |= {name: Gap(reason, whole=False) for name, reason in samples.lacking.items()}
    return found


def _odd_sizes(reports: Sequence[SplitReport], layout: Layout) -> list[str]:
    """Images that do not have the one size of their layout: their scores could not be compared with any others."""
    if layout.size is None:
        return []
    known = f"{layout.size[0]} x {layout.size[1]}"
    return [
        f"{report.name}: {count} of {report.images} images are {size}; those of layout {layout.name} are {known} "
        "(rows x columns)"
        for report in reports
        for size, count in report.sizes.items()
        if size != known
    ][:SHOWN]


def _may_lack(benchmark: Benchmark, root: Path) -> set[str]:
    if not isinstance(benchmark, FolderBenchmark):
        return set()
    layout = benchmark.layout(root)
    return {*layout.absent, *layout.optional}


class _Tally:
    """Counts the values of one field of a split."""

    def __init__(self, name: str, kind: Kind | None) -> None:
        self.report = FieldReport(name)
        self.kind = kind  # None: the image
        self.pixels, self.invalid = 0, 0
        self.classes: set[int] = set()

    def add(self, value: Tensor) -> None:
        """Count one image's field [..., H, W]."""
        valid = torch.ones(value.shape[-2:], dtype=torch.bool) if self.kind is None else self.kind.valid(value)
        report, kept = self.report, value[..., valid]
        report.read += 1
        report.dtypes = sorted({*report.dtypes, str(value.dtype).removeprefix("torch.")})
        self.pixels += valid.numel()
        self.invalid += valid.numel() - int(valid.sum())
        report.invalid = self.invalid / max(1, self.pixels)
        report.blank += not kept.numel()
        if kept.numel():
            least, greatest = float(kept.min()), float(kept.max())
            report.least = least if report.least is None else min(report.least, least)
            report.greatest = greatest if report.greatest is None else max(report.greatest, greatest)
        if self.kind is not None and self.kind.discrete:
            self.classes |= set(torch.bincount(kept.flatten().long()).nonzero().flatten().tolist())

    def problems(self, split: str) -> Iterator[str]:
        """What is wrong with the field in the whole split."""
        name = self.report.name
        if self.report.read and self.report.blank == self.report.read:
            yield f"{split}: no image has a valid pixel for {name}, so that its score would be undefined"
        if len(self.classes) == 1:
            (only,) = self.classes
            yield f"{split}: every labelled pixel of {name} is of class {only}; are its ids stored otherwise?"


class _Twins:
    """Finds images that have the same picture or labels, over all splits. Labels of a single value do not count."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], str] = {}  # field, digest of its values -> the first image with these values
        self.shared: dict[tuple[str, str], list[str]] = {}  # two images -> the fields that they share

    def add(self, name: str, value: Tensor, here: str) -> None:
        """Look at the field `name` of the image called `here`."""
        if name != "image" and not bool((value != value.flatten()[0]).any()):
            return
        digest = hashlib.sha256(value.numpy().tobytes()).hexdigest()
        first = self.seen.setdefault((name, digest), here)
        if first != here:
            self.shared.setdefault((first, here), []).append(name)

    def take(self) -> list[str]:
        """A line for each pair that was found since the last call."""
        lines = [
            f"{first} and {here} "
            + ("are the same picture" if names == ["image"] else f"have the same {', '.join(names)}")
            for (first, here), names in self.shared.items()
        ]
        self.shared.clear()
        return lines


def _split(
    benchmark: Benchmark, split: str, samples: Sequence[Sample], tasks: Sequence[str], twins: _Twins, progress: Progress
) -> tuple[SplitReport, list[str]]:
    """Read every field of a split, and say what is there and what is wrong."""
    kinds = {"image": None, **{task: benchmark.tasks[task].kind for task in tasks}}
    tallies = {name: _Tally(name, kind) for name, kind in kinds.items()}
    sizes: Counter[str] = Counter()
    wrong: list[str] = []
    known_missing = samples.lacking if isinstance(samples, Split) else {}
    for index in range(len(samples)):
        size: tuple[int, ...] | None = None
        for name, place, read in _fields(samples, index, tasks):
            try:
                value = read()
            except (OSError, ValueError) as error:
                if not (isinstance(error, FileNotFoundError) and name in known_missing):
                    wrong.append(str(error))
                continue
            twins.add(name, value, f"{split} {_id(samples, index)}")
            if name == "image":
                size = tuple(value.shape[-2:])
                sizes[f"{size[0]} x {size[1]}"] += 1
            elif size is not None and tuple(value.shape[-2:]) != size:
                wrong.append(f"{place}: {name} of {tuple(value.shape[-2:])} for an image of {size} (rows, columns)")
                continue
            tallies[name].add(value)
        progress(split, index + 1, len(samples))
    for name, tally in tallies.items():
        if name != "image" and benchmark.tasks[name].several_classes:
            tally.report.classes = len(tally.classes)
        wrong += tally.problems(split)
    expected = benchmark.splits[split]
    if expected is not None and len(samples) != expected:
        wrong.insert(0, f"{split}: {len(samples)} images; the whole data set has {expected}")
    fields = [tally.report for tally in tallies.values()]
    found = SplitReport(split, len(samples), expected, dict(sizes.most_common()), fields)
    return found, [*_first(wrong, f"more problems with {split}"), *_first(twins.take(), f"more twins in {split}")]


def _first(messages: list[str], more: str) -> list[str]:
    extra = len(messages) - SHOWN
    return [*messages[:SHOWN], *([f"{extra} {more}"] if extra > 0 else [])]


def _fields(
    samples: Sequence[Sample], index: int, tasks: Sequence[str]
) -> Iterator[tuple[str, str, Callable[[], Tensor]]]:
    """Name, place and reader of each field of a sample, so that an unreadable field hides no other field."""
    if isinstance(samples, Split):
        split = samples
        yield "image", split.ids[index], lambda: split.image(index)
        for task in tasks:
            yield task, split.place(index, task), lambda task=task: split.label(index, task)  # type: ignore[misc]
        return
    sample = samples[index]
    for name, value in {"image": sample.image, **sample.labels}.items():
        yield name, sample.id, lambda value=value: value  # type: ignore[misc]


def _id(samples: Sequence[Sample], index: int) -> str:
    return samples.ids[index] if isinstance(samples, Split) else samples[index].id
