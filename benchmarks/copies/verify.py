"""Does a copy of a data set hold what it should: counts, sizes, ranges, invalid pixels, twins, unreadable files."""

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

SHOWN = 20  # problems of one kind that are listed; the others are counted

Progress = Callable[[str, int, int], None]  # split, images read, images in all


class Gap(NamedTuple):
    """What is missing of a field of a split, and whether nothing of the field can be read for it."""

    reason: str
    whole: bool


@dataclass
class FieldReport:
    """One field of a split. The range and the shares are of its values as a `Sample` holds them."""

    name: str  # "image", or a task
    read: int = 0  # images whose field could be read
    dtypes: list[str] = field(default_factory=list)
    least: float | None = None  # of the valid values; None: there is none
    greatest: float | None = None
    invalid: float = 0.0  # share of pixels
    blank: int = 0  # images without a valid pixel
    classes: int | None = None  # of a task with classes: how many occur


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
    reading: dict[str, str]  # layout and the like
    fingerprint: str | None  # None: what it covers cannot be read
    splits: list[SplitReport]
    lacking: dict[str, str]  # task that the copy may lack, and does -> what is missing
    problems: list[str]  # what is wrong; empty for a copy that is as it should be


def verify(benchmark: Benchmark, root: Path, progress: Progress, tasks: Sequence[str] | None = None) -> Report:
    """Read every image of every split with its labels, and report what is there and what is wrong.

    tasks: whose labels must be there; None: all of the benchmark's but those that the layout has not or need not have.

    Raises OSError or ValueError where there is nothing that could be read, or for an unknown task.
    """
    wanted = tuple(benchmark.tasks if tasks is None else tasks)
    for task in wanted:
        if task not in benchmark.tasks:
            raise ValueError(f"{benchmark.name}: no task {task!r}; it has {', '.join(benchmark.tasks)}")
    missing = {split: _missing(benchmark, root, split, wanted) for split in benchmark.splits}
    spared = set() if tasks is not None else _may_lack(benchmark, root)
    lacking = {task: gap.reason for found in missing.values() for task, gap in found.items() if task in spared}
    problems = [gap.reason for found in missing.values() for name, gap in found.items() if name not in lacking]
    seen: dict[tuple[str, str], str] = {}
    reports = []
    for split, found in missing.items():
        there = tuple(task for task in wanted if task not in lacking and not (task in found and found[task].whole))
        report, wrong = _split(benchmark, split, _open(benchmark, root, split, there), there, seen, progress)
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
    """ "image" or task -> its gap."""
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
    """Images of another size than a layout's, where all of its images are alike: scores would compare with nothing."""
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


def _split(
    benchmark: Benchmark,
    split: str,
    samples: Sequence[Sample],
    tasks: Sequence[str],
    seen: dict[tuple[str, str], str],
    progress: Progress,
) -> tuple[SplitReport, list[str]]:
    """seen: field, digest of its values -> where they were seen, over all splits; labels of one value do not count."""
    reports = {name: FieldReport(name) for name in ("image", *tasks)}
    pixels: Counter[str] = Counter()
    invalid: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    classes: dict[str, set[int]] = {task: set() for task in tasks}
    wrong: list[str] = []
    twins: dict[tuple[str, str], list[str]] = {}  # two images -> the fields that they share
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
            if name == "image" or bool((value != value.flatten()[0]).any()):
                here = f"{split} {_id(samples, index)}"
                digest = hashlib.sha256(value.numpy().tobytes()).hexdigest()
                first = seen.setdefault((name, digest), here)
                if first != here:
                    twins.setdefault((first, here), []).append(name)
            if name == "image":
                size = tuple(value.shape[-2:])
                sizes[f"{size[0]} x {size[1]}"] += 1
            elif size is not None and tuple(value.shape[-2:]) != size:
                wrong.append(f"{place}: {name} of {tuple(value.shape[-2:])} for an image of {size} (rows, columns)")
                continue
            valid = _valid(benchmark, name, value)
            report, kept = reports[name], value[..., valid]
            report.read += 1
            report.dtypes = sorted({*report.dtypes, str(value.dtype).removeprefix("torch.")})
            pixels[name] += valid.numel()
            invalid[name] += valid.numel() - int(valid.sum())
            report.blank += not kept.numel()
            if kept.numel():
                least, greatest = float(kept.min()), float(kept.max())
                report.least = least if report.least is None else min(report.least, least)
                report.greatest = greatest if report.greatest is None else max(report.greatest, greatest)
            if name != "image" and benchmark.tasks[name].kind.discrete:
                classes[name] |= set(torch.bincount(kept.flatten().long()).nonzero().flatten().tolist())
        progress(split, index + 1, len(samples))
    for name, report in reports.items():
        report.invalid = invalid[name] / max(1, pixels[name])
        if name in classes and benchmark.tasks[name].several_classes:
            report.classes = len(classes[name])
        if report.read and report.blank == report.read:
            wrong.append(f"{split}: no image has a valid pixel for {name}, so that its score would be undefined")
        if len(classes.get(name, ())) == 1:
            (only,) = classes[name]
            wrong.append(f"{split}: every labelled pixel of {name} is of class {only}; are its ids stored otherwise?")
    expected = benchmark.splits[split]
    if expected is not None and len(samples) != expected:
        wrong.insert(0, f"{split}: {len(samples)} images; the whole data set has {expected}")
    found = SplitReport(split, len(samples), expected, dict(sizes.most_common()), list(reports.values()))
    same = [
        f"{first} and {here} " + ("are the same picture" if names == ["image"] else f"have the same {', '.join(names)}")
        for (first, here), names in twins.items()
    ]
    return found, [*_first(wrong, f"more problems with {split}"), *_first(same, f"more twins in {split}")]


def _first(messages: list[str], more: str) -> list[str]:
    extra = len(messages) - SHOWN
    return [*messages[:SHOWN], *([f"{extra} {more}"] if extra > 0 else [])]


def _fields(
    samples: Sequence[Sample], index: int, tasks: Sequence[str]
) -> Iterator[tuple[str, str, Callable[[], Tensor]]]:
    """Name, place and reader of each field of a sample, so that one that cannot be read hides no other."""
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


def _valid(benchmark: Benchmark, name: str, value: Tensor) -> Tensor:
    """bool [H, W]."""
    if name == "image":
        return torch.ones(value.shape[-2:], dtype=torch.bool)
    return benchmark.tasks[name].kind.valid(value)
