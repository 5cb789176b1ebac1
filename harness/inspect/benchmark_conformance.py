"""What every benchmark must satisfy, ours and anybody's: run by `mtlbench check`.

A rule is a function that raises Broken with what it found; its docstring is its name. Rules look at the first images of
each split only; `mtlbench data verify` reads every file of a copy.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from mtlbench.benchmarks.benchmark import Sample, shortcomings
from mtlbench.benchmarks.tasks.losses import Loss
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data.copy import Copy
from mtlbench.harness.inspect.conformance import verdicts
from mtlbench.harness.inspect.remedies import Broken, Verdict
from mtlbench.harness.training.cost import fitted

LOOKED_AT = 8  # images of each split
BATCH, SIZE = 2, (32, 64)  # of made predictions and labels; not square, so that a swap of rows and columns shows


def check_benchmark(copy: Copy) -> Iterator[Verdict]:
    """A verdict for every rule, as it is found. The global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield from verdicts(RULES, copy, REMEDIES, NEEDS)


def attributes(copy: Copy) -> None:
    """its attributes are there and fit each other"""
    if problems := shortcomings(copy.benchmark):
        raise Broken("; ".join(problems))


def splits(copy: Copy) -> None:
    """every split opens with all tasks and without any, and then gives the same images under names that differ"""
    for split in copy.benchmark.splits:
        whole, bare = copy.split(split, list(copy.benchmark.tasks)), copy.split(split, ())
        if not len(whole) or len(whole) != len(bare):
            raise Broken(f"{split} has {len(whole)} images with all tasks, and {len(bare)} without any")
        names = [sample.id for sample in _first(whole)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise Broken(f"{split}: two images are called {twice[0]!r}")
        for one, other in zip(_first(whole), _first(bare), strict=True):
            if one.id != other.id or not torch.equal(one.image, other.image):
                raise Broken(f"{split}: {one.id!r} with all tasks is another image than {other.id!r} without any")
            if other.labels:
                raise Broken(f"{split}: {other.id!r} has labels of {', '.join(other.labels)}, which were not asked for")


def samples(copy: Copy) -> None:
    """a sample is an image uint8 [3, H, W], and labels of the same size in the form of their kinds"""
    tasks = copy.benchmark.tasks
    for split in copy.benchmark.splits:
        for sample in _first(copy.split(split, list(tasks))):
            _form(f"{split}: the image of {sample.id!r}", sample.image, torch.uint8, (3, *sample.image.shape[-2:]))
            for name, label in sample.labels.items():
                if name not in tasks:
                    raise Broken(f"{split}: {sample.id!r} has a label of {name!r}, which is no task")
                task, size = tasks[name], (sample.image.shape[-2], sample.image.shape[-1])
                expected = task.kind.shape(size, task.channels)
                _form(f"{split}: {name} of {sample.id!r}", label, task.kind.dtype, expected)
                task.check(label, sample.id)


def _form(what: str, value: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    if value.dtype != dtype or tuple(value.shape) != shape:
        raise Broken(f"{what} is {value.dtype} {list(value.shape)}, not {dtype} {list(shape)}")


def fingerprint(copy: Copy) -> None:
    """the fingerprint is a text, and the same each time"""
    first, second = (copy.benchmark.fingerprint(copy.root) for _ in range(2))
    if not isinstance(first, str) or not first:
        raise Broken(f"it is {first!r}")
    if first != second:
        raise Broken(f"it is {first!r} first, and {second!r} then")


def processes(copy: Copy) -> None:
    """splits and tasks can be sent to other processes"""
    pickle.loads(pickle.dumps(dict(copy.benchmark.tasks)))
    for split in copy.benchmark.splits:
        here = copy.split(split, list(copy.benchmark.tasks))
        there = pickle.loads(pickle.dumps(here))
        if not torch.equal(here[0].image, there[0].image):
            raise Broken(f"{split}: the first image is another one after it was sent")


def losses(copy: Copy) -> None:
    """a loss gives a sum and a count with a finite gradient, and zeros for labels without a valid pixel"""
    for name, task in fitted(copy.benchmark.tasks).items():
        for what, loss, channels in (("loss", task.loss, task.channels), ("label_loss", task.label_loss, task.classes)):
            _check_loss(f"{what} of {name}", loss, channels, task)


def _check_loss(what: str, loss: Loss, channels: int, task: Task) -> None:
    blank = torch.stack([task.kind.blank(SIZE, task.channels)] * BATCH)
    for label, labelled in ((_labels(task), True), (blank, False)):
        prediction = torch.randn(BATCH, channels, *SIZE, requires_grad=True)
        total, count = loss(prediction, label)
        if total.dim() or count.dim():
            raise Broken(f"{what} gives {list(total.shape)} and {list(count.shape)}; both must be scalars")
        value, pixels = total.item(), count.item()
        if labelled and not (math.isfinite(value) and pixels > 0):
            raise Broken(f"{what} gives the sum {value:g} and the count {pixels:g} for valid labels")
        if not labelled and (value != 0 or pixels != 0):
            raise Broken(f"{what} gives the sum {value:g} and the count {pixels:g} without a valid pixel")
        torch.autograd.backward(total)
        if prediction.grad is None or not prediction.grad.isfinite().all():
            raise Broken(f"{what} gives no finite gradient {'' if labelled else 'without a valid pixel'}".rstrip())


def metrics(copy: Copy) -> None:
    """a metric gives statistics of each image, which do not depend on the batch, and the scores that it names"""
    for name, task in copy.benchmark.tasks.items():
        metric = task.metric
        if metric is None:
            continue
        prediction, label = 1 + torch.rand(BATCH, task.channels, *SIZE), _labels(task)
        together = metric.statistics(prediction, label)
        if together.dtype != torch.float64 or together.dim() != 2 or len(together) != BATCH:
            found = f"{together.dtype} {list(together.shape)}"
            raise Broken(f"the statistics of {name} are {found}, not torch.float64 [{BATCH}, S]")
        alone = torch.cat([metric.statistics(prediction[i : i + 1], label[i : i + 1]) for i in range(BATCH)])
        if not torch.equal(together, alone):
            raise Broken(f"the statistics of {name} depend on the other images of the batch")
        scores, known = metric.scores(together.sum(0)), list(metric.score_types)
        if set(scores) != set(known) or metric.primary not in known:
            raise Broken(
                f"{name} has the scores {', '.join(scores)}; score_types names {', '.join(known)}, and the primary "
                f"score is {metric.primary}"
            )


def _labels(task: Task) -> Tensor:
    """Random labels without an invalid pixel."""
    return task.kind.random((BATCH, *SIZE), task.classes)


def _first(split: Sequence[Sample]) -> Iterator[Sample]:
    return (split[index] for index in range(min(LOOKED_AT, len(split))))


RULES: tuple[Callable[[Copy], None], ...] = (attributes, splits, samples, fingerprint, processes, losses, metrics)

NEEDS: dict[str, Sequence[str]] = {
    **{rule.__name__: ("attributes",) for rule in RULES[1:]},
    **{rule.__name__: ("attributes", "splits") for rule in (samples, processes)},
}

REMEDIES: dict[str, str] = {
    "attributes": "set them as attributes of the class, as the file does that `mtlbench new dataset NAME` writes",
    "splits": "let `open(root, split, tasks)` list the same images for any tasks, each with a name of its own, and "
    "read only the labels that it is asked for",
    "samples": "bring images and labels into this form where a file is read; classes are uint8 [H, W] with 255 for "
    "void, and all else is float32 [C, H, W]",
    "fingerprint": "hash what the samples are made of, as names and sizes of files, and nothing that changes by itself",
    "processes": "define losses, metrics and classes at the top of a module: functions in functions and lambdas cannot "
    "be sent",
    "losses": "return `sum, count` over the pixels that are valid, and choose them with `torch.where(valid, x, 0)`, "
    "which gives zeros where none is",
    "metrics": "return float64 [B, S], a row of sums and counts for each image alone; `scores` divides their total, "
    "and `score_types` names every score",
}
