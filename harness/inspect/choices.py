"""What a matrix can choose that is a class or a function, with a few words on each, found in the code itself."""

from __future__ import annotations

from collections.abc import Iterator

from mtlbench.benchmarks import BENCHMARKS
from mtlbench.harness.matrix.optimization import OPTIMIZERS, SCHEDULES
from mtlbench.harness.matrix.reference.options import described, text_of
from mtlbench.harness.matrix.reference.pages import tasks_of
from mtlbench.methods import METHODS, Method
from mtlbench.methods.weights import WEIGHTS_TAG

OUTSIDE = "package.module:Name"  # how a matrix names what is no part of the package
Entry = tuple[str, list[str]]  # a name that a matrix can have, and what is said of it


def choices() -> list[tuple[str, list[Entry]]]:
    """Titles with their entries, in the order in which they are shown."""
    return [
        (
            f"Methods (or {OUTSIDE}). What options mean: docs/methods.md",
            [(name, [*_of_method(method)]) for name, method in METHODS.items()],
        ),
        (
            f"Backbones (any network of timm with maps at strides 4, 8, 16 and 32, or {OUTSIDE})",
            [(name, [f"`weights: imagenet` means {name}.{tag}"]) for name, tag in WEIGHTS_TAG.items()],
        ),
        (f"Benchmarks (or {OUTSIDE})", [(name, [*_of_benchmark(name)]) for name in BENCHMARKS]),
        (f"Optimisers (or {OUTSIDE}): {', '.join(OPTIMIZERS)}", []),
        (f"Schedules (or {OUTSIDE}): {', '.join(SCHEDULES)}", []),
    ]


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
