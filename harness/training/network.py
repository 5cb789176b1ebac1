"""The network of a cell, and its tasks with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mtlbench import methods
from mtlbench.benchmarks.benchmark import Benchmark
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data import learning
from mtlbench.harness.matrix import weights as initial
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.store import provenance
from mtlbench.methods.method import Method, Target

NO_FILES: Mapping[str, str] = {}


def chosen_tasks(benchmark: Benchmark, cell: Cell, learnt: learning.Findings | None = None) -> dict[str, Task]:
    """The tasks of a cell, with the cell's weights in the objective and with what the tasks have learnt."""
    weights, label_weights = cell.train.weights, cell.train.label_weights
    tasks = {name: benchmark.tasks[name].fitted((learnt or {}).get(name, {})) for name in cell.tasks}
    return {
        name: replace(task, weight=weights.get(name, task.weight), label_weight=label_weights.get(name))
        for name, task in tasks.items()
    }


def of_method(cell: Cell) -> dict[str, str | None]:
    """What a record says of a cell's method, None where there is nothing to say.

    plugin: a hash of the files from outside. composition: on what the method was published, where the cell's network is
    a composition of ours. remark: what else a reader of a table must know.
    """
    method, backbone = methods.resolve(cell.method), cell.backbone
    published = method.is_as_published(cell.options, backbone.name, backbone.output_stride)
    return {
        "plugin": provenance.plugin_hash(cell.model_dump(mode="json")),
        "composition": None if published else method.published_on,
        "remark": method.remark(cell.options) or None,
    }


def build(cell: Cell, tasks: dict[str, Task], files: Mapping[str, str] = NO_FILES) -> Method:
    """The cell's network, initialised from its seed: the backbone first, bit-equal across methods.

    files: sha256:..., as a cell names a file of weights -> the path.
    """
    targets = {name: Target(task.channels, task.classes) for name, task in tasks.items()}
    return methods.build(
        cell.method,
        targets,
        backbone=cell.backbone.name,
        pretrained=cell.backbone.weights == "imagenet",
        weights=initial.locate(cell.backbone, files),
        bn_momentum=cell.backbone.bn_momentum,
        output_stride=cell.backbone.output_stride,
        image_size=make_benchmark(cell.benchmark).size,
        seed=cell.seed,
        **cell.options,
    )
