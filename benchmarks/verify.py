"""Does a copy of a data set hold what it should: counts, sizes, ranges, invalid pixels, twins, unreadable files."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.benchmark import Benchmark, Sample
from benchmarks.files import IGNORE
from benchmarks.layout import FolderBenchmark, Split

SHOWN = 20  # problems of one kind that are listed; the others are counted

Progress = Callable[[str, int, int], None]  # split, images read, images in all


@dataclass
class FieldReport:
    """One field of a split. The range and the shares are of its values as a `Sample` holds them."""

    name: str  # "image", or a task
    read: int = 0  # images whose field could be read
    dtypes: list[str] = field(default_factory=list)
    least: float = math.inf  # of the valid values
    greatest: float = -math.inf
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
    fingerprint: str
    splits: list[SplitReport]
    lacking: dict[str, str]  # task that the copy may lack, and does -> what is missing
    problems: list[str]  # what is wrong; empty for a copy that is as it should be


def verify(benchmark: Benchmark, root: Path, progress: Progress, tasks: Sequence[str] | None = None) -> Report:
    """Read every image of every split with its labels, and report what is there and what is wrong.

    tasks: whose labels must be there; None: all of the benchmark's but those that the layout has not or need not have.

    Raises FileNotFoundError or ValueError where there is nothing that could be read, or for an unknown task.
    """
    found: dict[str, Sequence[Sample]] = {}
    lacking: dict[str, str] = {}
    problems: list[str] = []
    wanted = tuple(benchmark.tasks if tasks is None else tasks)
    spared = set() if tasks is not None else _may_lack(benchmark, root)
    for split in benchmark.splits:
        benchmark.open(root, split, ())
    for task in wanted:
        if task not in benchmark.tasks:
            raise ValueError(f"{benchmark.name}: no task {task!r}; it has {', '.join(benchmark.tasks)}")
        for split in benchmark.splits:
            try:
                benchmark.open(root, split, (task,))
            except (FileNotFoundError, ValueError) as error:
                lacking[task] = str(error)
                problems += [] if task in spared else [str(error)]
                break
    there = tuple(task for task in wanted if task not in lacking)
    for split in benchmark.splits:
        found[split] = benchmark.open(root, split, there)
    seen: dict[str, str] = {}
    reports = []
    for split, samples in found.items():
        report, wrong = _split(benchmark, split, samples, there, seen, progress)
        reports.append(report)
        problems += wrong
    return Report(
        benchmark.name,
        str(root),
        benchmark.reading(root),
        benchmark.fingerprint(root),
        reports,
        {task: reason for task, reason in lacking.items() if task in spared},
        problems,
    )


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
    seen: dict[str, str],
    progress: Progress,
) -> tuple[SplitReport, list[str]]:
    """seen: digest of an image -> where it was seen, over all splits."""
    reports = {name: FieldReport(name) for name in ("image", *tasks)}
    pixels: Counter[str] = Counter()
    invalid: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    classes: dict[str, set[int]] = {task: set() for task in tasks}
    wrong: list[str] = []
    twins: list[str] = []
    for index in range(len(samples)):
        size: tuple[int, ...] | None = None
        for name, place, read in _fields(samples, index, tasks):
            try:
                value = read()
            except (OSError, ValueError) as error:
                wrong.append(str(error))
                continue
            if name == "image":
                size = tuple(value.shape[-2:])
                sizes[f"{size[0]} x {size[1]}"] += 1
                here = f"{split} {_id(samples, index)}"
                first = seen.setdefault(hashlib.sha256(value.numpy().tobytes()).hexdigest(), here)
                if first != here:
                    twins.append(f"{first} and {here} are the same picture")
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
                report.least = min(report.least, float(kept.min()))
                report.greatest = max(report.greatest, float(kept.max()))
            if name != "image" and benchmark.tasks[name].kind == "label":
                classes[name] |= set(torch.bincount(kept.flatten().long()).nonzero().flatten().tolist())
        progress(split, index + 1, len(samples))
    for name, report in reports.items():
        report.invalid = invalid[name] / max(1, pixels[name])
        if name in classes and benchmark.tasks[name].kind == "label" and benchmark.tasks[name].channels > 1:
            report.classes = len(classes[name])
        if report.read and report.blank == report.read:
            wrong.append(f"{split}: no image has a valid pixel for {name}, so that its score would be undefined")
    expected = benchmark.splits[split]
    if expected is not None and len(samples) != expected:
        wrong.insert(0, f"{split}: {len(samples)} images; the whole data set has {expected}")
    found = SplitReport(split, len(samples), expected, dict(sizes.most_common()), list(reports.values()))
    return found, [*_first(wrong, f"more problems with {split}"), *_first(twins, f"more pictures of {split} twice")]


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
    if benchmark.tasks[name].kind == "label":
        return value != IGNORE
    return (value != 0).any(0)
