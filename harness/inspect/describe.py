"""What each method costs on a benchmark's task sets, without training: the command `mtlbench describe`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from pydantic import ValidationError

from mtlbench import methods
from mtlbench.benchmarks.benchmark import Benchmark
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.matrix.cell import TrainConfig
from mtlbench.harness.matrix.entries import BenchmarkEntry, make_benchmark
from mtlbench.harness.matrix.text.words import in_words
from mtlbench.harness.training.cost import count_step, measure, network_cost
from mtlbench.methods import Method, Target
from mtlbench.methods.outside import is_outside, mistakes_of


@dataclass(frozen=True)
class Description:
    """One network: a method for the tasks that it is trained on together."""

    method: str
    tasks: tuple[str, ...]
    parameters: int
    backbone_parameters: int
    macs: float  # multiply-accumulates of one image
    step_bytes: float  # memory of a training step of `batch` images in float32, counted
    step_operators: int  # counted
    batch: int
    measured_seconds: float | None = None  # of a training step on this machine's GPU
    measured_bytes: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def named_benchmark(name: str, size: str | None) -> Benchmark:
    """A benchmark from the words of a command line: its name, and its size as "480x640". Raises ValueError."""
    try:
        return make_benchmark(BenchmarkEntry.model_validate({"name": name, "size": _size(size)}))
    except ValidationError as error:
        raise ValueError("; ".join(map(in_words, error.errors()))) from None


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    rows, _, columns = text.partition("x")
    if not (rows.isdigit() and columns.isdigit()):
        raise ValueError(f"--size {text}: write ROWSxCOLUMNS, for example 480x640")
    return int(rows), int(columns)


def describe(
    names: Sequence[str],
    benchmark: Benchmark,
    task_sets: Sequence[Sequence[str]],
    *,
    backbone: str,
    batch: int,
    measured: bool = False,
) -> Iterator[Description]:
    """Describe each method on each task set; a method of one task on each task, once.

    task_sets: without one, the benchmark's own. measured: also run steps on the GPU. Raises ValueError for an unknown
    task, method or backbone, and where there is no GPU to run steps on.
    """
    if measured and not torch.cuda.is_available():
        raise ValueError("--measure runs training steps on a GPU, and torch sees none here; leave it out to count them")
    task_sets = task_sets or [benchmark.default_tasks]
    for task_set in task_sets:
        for task in task_set:
            if task not in benchmark.tasks:
                raise ValueError(f"{benchmark.name} has no task {task!r}; it has: {', '.join(benchmark.tasks)}")
    chosen = (
        (name, tasks)
        for name in names
        for task_set in task_sets
        for tasks in ([(task,) for task in task_set] if methods.one_task(name) else [tuple(task_set)])
    )
    recipe = TrainConfig(epochs=1, batch=batch)
    for name, together in dict.fromkeys(chosen):
        if not (kind := methods.resolve(name)).takes(len(together)):
            raise ValueError(f"{name} takes {kind.counted()} tasks, and not {'+'.join(together)}")
        tasks = {task: benchmark.tasks[task] for task in together}
        network = on_meta(name, tasks, backbone=backbone, image_size=benchmark.size)
        with mistakes_of([name] if is_outside(name) else [], f"counting a training step on {'+'.join(together)}"):
            counted = network_cost(network, benchmark.size)
            step = count_step(network, tasks, benchmark.size, recipe)
        ran = None
        if measured:
            whole = build(name, tasks, backbone=backbone, image_size=benchmark.size)
            ran = measure(whole, tasks, benchmark.size, recipe)
        yield Description(
            method=name,
            tasks=together,
            parameters=int(counted["parameters"]),
            backbone_parameters=int(counted["backbone_parameters"]),
            macs=counted["macs"],
            step_bytes=step.peak_bytes,
            step_operators=step.operators,
            batch=batch,
            measured_seconds=ran.seconds if ran else None,
            measured_bytes=ran.peak_bytes if ran else None,
        )


def build(name: str, tasks: Mapping[str, Task], *, backbone: str, **options: Any) -> Method:
    """A network with random weights, whose cost does not depend on the weights."""
    targets = {task: Target(it.channels, it.classes) for task, it in tasks.items()}
    return methods.build(name, targets, backbone=backbone, **options)


def on_meta(name: str, tasks: Mapping[str, Task], *, backbone: str, **options: Any) -> Method:
    """A network on the meta device, which has sizes but no values, in the memory layout of training."""
    network = build(name, tasks, backbone=backbone, **options)
    return network.to("meta").to(memory_format=torch.channels_last)


# The columns that a narrow terminal goes without, the first of them first. --json has them all.
DISPENSABLE = ("operators", "rest", "backbone")


def table(rows: Sequence[Description], width: int | None = None) -> str:
    """Aligned columns under their names and units; where all are wider than `width`, a line says what is left out."""
    titles = [
        "method",
        "tasks",
        "parameters",
        "backbone",
        "rest",
        "GMAC",
        f"step at batch {rows[0].batch}",
        "operators",
    ]
    lines = [
        [
            row.method,
            "+".join(row.tasks),
            f"{row.parameters:,}",
            f"{row.backbone_parameters:,}",
            f"{row.parameters - row.backbone_parameters:,}",
            f"{row.macs / 1e9:.1f}",
            f"{row.step_bytes / 2**30:.2f} GiB",
            f"{row.step_operators:,}",
        ]
        for row in rows
    ]
    if rows[0].measured_seconds is not None:
        titles += ["measured", "memory"]
        for line, row in zip(lines, rows, strict=True):
            assert row.measured_seconds is not None and row.measured_bytes is not None
            line += [f"{1e3 * row.measured_seconds:.1f} ms", f"{row.measured_bytes / 2**30:.2f} GiB"]
    columns = list(zip(titles, *lines, strict=True))
    whole = _space(columns)
    left_out: list[str] = []
    while width is not None and _space(columns) > width and len(left_out) < len(DISPENSABLE):
        left_out.append(DISPENSABLE[len(left_out)])
        columns = [column for column in columns if column[0] != left_out[-1]]
    shown = align(list(zip(*columns, strict=True)), left=2)
    return f"{shown}\n\nleft out: {', '.join(left_out)}; see --json, or widen to {whole} columns" if left_out else shown


def _space(columns: Sequence[Sequence[str]]) -> int:
    """The characters of a line of `align`."""
    return sum(2 + max(map(len, column)) for column in columns) - 2


def align(lines: Sequence[Sequence[str]], left: int) -> str:
    """Columns two spaces apart: the first `left` flush left, the others, which are numbers, flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
