"""What a matrix can choose, with a few words on each: the texts of `mtlbench list`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from mtlbench.benchmarks import BENCHMARKS
from mtlbench.harness.matrix.optimization import OPTIMIZERS, SCHEDULES
from mtlbench.harness.matrix.reference.options import described, text_of
from mtlbench.harness.matrix.reference.pages import tasks_of
from mtlbench.harness.matrix.text.written import embedded, find
from mtlbench.methods import METHODS, Method
from mtlbench.methods.weights import WEIGHTS_TAG

OUTSIDE = "package.module:Name"  # how a matrix names what is no part of the package


class Entry(NamedTuple):
    """A name that a matrix can have, and what is said of it, each text on lines of its own."""

    name: str
    texts: list[str]


class Section(NamedTuple):
    """A kind of thing that a matrix chooses."""

    title: str
    entries: list[Entry]


def sections() -> Iterator[Section]:
    """All that a matrix can choose, in the order in which it is shown."""
    yield Section(
        f"Methods (or {OUTSIDE}). What options mean: docs/methods.md",
        [Entry(name, [*_of_method(method)]) for name, method in METHODS.items()],
    )
    yield Section(
        f"Backbones (any network of timm with maps at strides 4, 8, 16 and 32, or {OUTSIDE})",
        [Entry(name, [f"`weights: imagenet` means {name}.{tag}"]) for name, tag in WEIGHTS_TAG.items()],
    )
    yield Section(f"Benchmarks (or {OUTSIDE})", [Entry(name, [*_of_benchmark(name)]) for name in BENCHMARKS])
    yield Section(f"Optimisers (or {OUTSIDE}): {', '.join(OPTIMIZERS)}", [])
    yield Section(f"Schedules (or {OUTSIDE}): {', '.join(SCHEDULES)}", [])
    yield Section("Matrices", [Entry(name, [first_sentence(find(name).read_text())]) for name in embedded()])


def _of_method(method: type[Method]) -> Iterator[str]:
    yield text_of(method)[0]
    if method.published_on:
        yield f"published on {method.published_on}; anything else is a composition of ours"
    if method.task_counts not in ((1, 1), (1, None)):
        yield tasks_of(method)
    if remark := method.remark({}):
        yield remark
    for option in described(method):
        yield f"{option.name}: {option.type.replace('`', '')} (default {option.default})"


def _of_benchmark(name: str) -> Iterator[str]:
    benchmark = BENCHMARKS[name]()
    tasks = ", ".join(task if it.metric else f"{task} (not scored)" for task, it in benchmark.tasks.items())
    source = "--data needed" if benchmark.needs_root else "embedded"
    yield f"{source}; {benchmark.size[0]}x{benchmark.size[1]}; tasks: {tasks}"
    yield f"protocol: {', '.join(benchmark.augmentations)}"


def first_sentence(text: str) -> str:
    """Of the comment that a file begins with; "" where it begins with none."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return re.split(r"(?<=[.?!])\s", " ".join(line.lstrip("# ") for line in lines))[0]
