"""The network of a cell, and its tasks with their weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from safetensors.torch import load

from mtlbench import methods
from mtlbench.benchmarks.benchmark import Benchmark
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data import learning
from mtlbench.harness.matrix import weights as initial
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.store import provenance
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.methods.method import Method, Target
from mtlbench.results.records import files as named

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

    The weights of other cells, from which it may start, are not in it yet: see `load_starts`.

    files: sha256:..., as a cell names a file of weights -> the path.
    """
    targets = {name: Target(task.channels, task.classes) for name, task in tasks.items()}
    return methods.build(
        cell.method,
        targets,
        backbone=cell.backbone.name,
        pretrained=cell.backbone.weights == "imagenet" and not cell.starts,
        weights=None if cell.starts else initial.locate(cell.backbone, files),
        bn_momentum=cell.backbone.bn_momentum,
        output_stride=cell.backbone.output_stride,
        image_size=make_benchmark(cell.benchmark).size,
        seed=cell.seed,
        **cell.options,
    )


def load_starts(network: Method, cell: Cell, store: Store) -> dict[str, dict[str, str]]:
    """Fill a network with the trained weights that its cell starts from.

    Returns what a record says of them: task -> the cell that trained them, and the SHA-256 of its file. Raises
    StoreError where a file is not there, and ValueError where its weights do not fit the network.
    """
    found: dict[str, dict[str, str]] = {}
    for before in dict.fromkeys(cell.starts.values()):
        tasks = [task for task, cell_id in cell.starts.items() if cell_id == before]
        try:
            content = store.get(named.weights(before))
        except FileNotFoundError:
            raise StoreError(
                f"{store.path(named.weights(before))} is not there, and {cell.id} starts from it; train that cell anew "
                f"by --rerun all --only {before}"
            ) from None
        network.load_start(tasks, load(content))
        found |= {task: {"cell": before, "sha256": hashlib.sha256(content).hexdigest()} for task in tasks}
    return found
