"""The best constant predictor: the scores of a network that does not look at the image. Every cell must beat them.

The constant is learnt from the training labels: the most frequent class, the mean of the valid depths, the mean normal,
the share of positive pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data.copy import Copy
from mtlbench.harness.data.loading import Evaluation, evaluation_batches, in_order
from mtlbench.harness.data.view import view_of
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.scoring import expensive, per_image, statistics
from mtlbench.harness.scoring.protocol import conditions_of, protocol_of
from mtlbench.harness.store import provenance
from mtlbench.results.records.record import Record, Score

IMAGES_PER_PROCESS = 20  # with fewer images, a process that computes expensive scores does not pay


def record_id(config: BenchmarkConfig, benchmark: Benchmark, tasks: Sequence[str], holdout: float = 0.0) -> str:
    """The id of a constant prediction's record. Another definition of a score gives another id, and so a new record."""
    taken = conditions_of(config, benchmark, images=0, holdout=holdout)  # the number of images follows from the rest
    scored = [benchmark.tasks[name] for name in tasks if benchmark.tasks[name].metric is not None]
    protocols = {task.name: protocol_of(task, taken) for task in scored}
    content = json.dumps([config.model_dump(mode="json", exclude_defaults=True), protocols], sort_keys=True)
    return f"constant-{config.slug}-{hashlib.sha256(content.encode()).hexdigest()[:10]}-{'-'.join(tasks)}"


def record(
    config: BenchmarkConfig,
    copy: Copy,
    tasks: Sequence[str],
    holdout: float = 0.0,
    report: Callable[[int, int], None] = lambda done, images: None,
) -> Record:
    """The scores of the best constant prediction on the test split, learnt from what is not held out of train.

    `report` is told (images read, images in all).
    """
    benchmark, view = copy.benchmark, view_of(config, copy.benchmark)
    chosen = {name: benchmark.tasks[name] for name in tasks}
    (train, _), test = copy.train(tasks, holdout), copy.split("test", tasks)
    read = 0

    def count(images: int) -> None:
        nonlocal read
        read += images
        report(read, len(train) + len(test))

    constants = fit(train, chosen, lambda: count(1))

    def predict(image: Tensor) -> Mapping[str, Tensor]:
        batch, _, rows, columns = image.shape
        count(batch)
        return {name: value.view(1, -1, 1, 1).expand(batch, -1, rows, columns) for name, value in constants.items()}

    slow: list[per_image.Row] = []
    processes = min(os.cpu_count() or 1, 1 + len(test) // IMAGES_PER_PROCESS)
    with expensive.Pool(chosen, processes, slow.append) as pool:
        batches = evaluation_batches(Evaluation(test, chosen, view), in_order(range(len(test))))
        rows = statistics.collect(predict, batches, chosen, view, keep=pool.add)
    taken = conditions_of(config, benchmark, len(test), holdout=holdout)
    cell: dict[str, Any] = {"method": "constant", "tasks": list(tasks), "benchmark": config.model_dump(mode="json")}
    return Record(
        id=record_id(config, benchmark, tasks, holdout),
        cell=cell,
        scores=statistics.scores([*rows, *slow], chosen, taken),
        cost={"parameters": float(sum(value.numel() for value in constants.values()))},
        provenance=provenance.describe(torch.device("cpu"), data=copy.identity),
        findings={name: value.tolist() for name, value in constants.items()},
    )


def fit(
    samples: Sequence[Sample], tasks: Mapping[str, Task], tick: Callable[[], None] = lambda: None
) -> dict[str, Tensor]:
    """task -> the constant prediction, [channels]: logits of classes, values of fields; 0 where nothing is labelled.

    `tick` is called for each image. Raises ValueError naming the image of a label that is no class of its task.
    """
    sums: dict[str, Tensor] = {}
    counts = dict.fromkeys(tasks, 0)
    for sample in samples:
        for name, label in sample.labels.items():
            task = tasks[name]
            task.check(label, sample.id)
            total, pixels = task.kind.sums(label, task.channels)
            sums[name] = sums[name] + total if name in sums else total
            counts[name] += pixels
        tick()
    return {
        name: task.kind.constant(sums[name] / counts[name], task.channels).float()
        if counts[name]
        else torch.zeros(task.channels)
        for name, task in tasks.items()
    }


def not_beaten(scores: Sequence[Score], constant: Record) -> list[str]:
    """The tasks whose primary scores do not beat the constant prediction. A demonstration must have none."""
    floor = constant.primary()
    problems = []
    for score in scores:
        bar = floor.get(score.task)
        if not score.primary or score.value is None or bar is None or bar.value is None:
            continue
        if score.value <= bar.value if score.higher_is_better else score.value >= bar.value:
            problems.append(f"{score.task} {score.metric} {score.value:.4g}, the best constant {bar.value:.4g}")
    return problems
