"""Everything that would make a run fail and can be known before it starts. All of it is said at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.copies.layout import Split
from mtlbench.harness.data import places
from mtlbench.harness.data.copy import copy_of, held_out
from mtlbench.harness.data.view import view_of
from mtlbench.harness.inspect.describe import on_meta
from mtlbench.harness.matrix.cell import BackboneConfig, Cell
from mtlbench.harness.matrix.entries import Matrix, Resources, make_benchmark
from mtlbench.harness.training.network import chosen_tasks
from mtlbench.methods import Method, resolve
from mtlbench.methods.backbone import Backbone
from mtlbench.methods.weights import require_pretrained


def missing(
    matrix: Matrix, cells: Sequence[Cell], given: Sequence[str], *, alone: bool
) -> tuple[dict[str, Path], list[str]]:
    """The folders of the data that are here, and everything that is missing on this machine, each with the way out.

    given: NAME=PATH of data. alone: cells will run on this machine.
    """
    folders, found = places.available_roots(matrix, given)
    found += data([c for c in cells if c.benchmark.name in folders and make_benchmark(c.benchmark).needs_root], folders)
    found += batches(cells, matrix.resources)
    found += starts(cells)
    found += weights(matrix.backbone, fetch=False)
    if alone:
        here = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
        found += feasible(matrix.resources, here, [here])
    return folders, found


def data(cells: Sequence[Cell], folders: Mapping[str, Path]) -> list[str]:
    """What is wrong with the data of the cells: layout, missing files, too few images for a batch."""
    from mtlbench.harness.matrix.length import length

    problems: list[str] = []
    configs = {cell.benchmark.model_dump_json(): cell.benchmark for cell in cells}
    for key, config in configs.items():
        copy = copy_of(config, folders[config.name])
        its_cells = [cell for cell in cells if cell.benchmark.model_dump_json() == key]
        tasks = [task for task in copy.benchmark.tasks if any(task in cell.tasks for cell in its_cells)]
        try:
            images = len(copy.split("train", tasks))
            test = copy.split("test", tasks)
            if view_of(config, copy.benchmark).placement == "pad":
                problems += _too_large(copy.benchmark, test)
            for cell in its_cells:
                length(cell, images - held_out(images, cell.train.holdout))
        except (OSError, ValueError) as error:
            problems.append(str(error))
    return problems


def _too_large(benchmark: Benchmark, test: Sequence[Sample]) -> list[str]:
    """Test images that do not fit into a padded input. Training would not notice them."""
    rows, columns = benchmark.size
    sizes = test.sizes() if isinstance(test, Split) else set()  # made images have the input's size
    beyond = sorted(size for size in sizes if size[0] > rows or size[1] > columns)
    if not beyond:
        return []
    resizing = [name for name, each in benchmark.augmentations.items() if each.placement == "stretch"]
    otherwise = f", or protocol to {' or '.join(resizing)}" if resizing else ""
    least = [-(-max(size[axis] for size in sizes) // 32) * 32 for axis in (0, 1)]
    return [
        f"{benchmark.name}: test images of {beyond[-1][0]} x {beyond[-1][1]} do not fit into a padded input of "
        f"{rows} x {columns}; set size to [{least[0]}, {least[1]}] or more{otherwise}"
    ]


def weights(backbone: BackboneConfig, *, fetch: bool = True) -> list[str]:
    """Why a backbone's initial weights cannot be had. fetch: ImageNet's are downloaded now rather than in each cell."""
    try:
        if backbone.weights == "imagenet":
            require_pretrained(backbone.name)
            if fetch:
                Backbone(backbone.name, pretrained=True)
        elif backbone.weights != "none":
            Backbone(backbone.name, weights=backbone.weights)
    except (ValueError, FileNotFoundError) as error:
        return [str(error)]
    return []


def feasible(resources: Resources, available: Mapping[str, float], nodes: Sequence[Mapping[str, float]]) -> list[str]:
    """Resources that a cell asks for and that the cluster does not have at all. Its trial would wait for ever.

    available: the resources of all nodes together.
    """
    if not available.get("CPU"):
        return ["no node of the cluster has a CPU for cells; start workers, or give --autoscaled where it adds nodes"]
    problems = []
    for kind, one in (("CPU", resources.cpus), ("GPU", resources.gpus)):
        asked = one * resources.workers
        if asked > available.get(kind, 0):
            parts = f" ({resources.workers} workers x {one:g})" if resources.workers > 1 else ""
            asks = f"a cell asks for {asked:g} {kind}{'s' * (asked != 1)}{parts}"
            there = available.get(kind, 0)
            are = "is" if there == 1 else "are"
            problems.append(f"{asks}, and there {are} {there:g}; change resources in the matrix")
    fits = (node.get("CPU", 0) >= resources.cpus and node.get("GPU", 0) >= resources.gpus for node in nodes)
    if not problems and not any(fits):
        problems.append(
            f"a process asks for {resources.cpus} CPUs and {resources.gpus:g} GPUs, and no node has as many; change "
            "resources in the matrix"
        )
    return problems


def slots(resources: Resources, available: Mapping[str, float]) -> int:
    """How many cells run at once."""
    fits = [available.get("CPU", 1) // (resources.cpus * resources.workers)]
    if resources.gpus:
        fits.append(available.get("GPU", 0) // (resources.gpus * resources.workers))
    return max(1, int(min([*fits, resources.max_concurrent or fits[0]])))


def batches(cells: Sequence[Cell], resources: Resources) -> list[str]:
    """Batches that cannot be divided among the processes of a cell, or that leave a network too few images at once."""
    problems = []
    for cell in cells:
        parts = resources.workers * cell.train.accumulate
        if cell.train.batch % parts:
            problems.append(
                f"train.batch {cell.train.batch} is not a multiple of workers x accumulate "
                f"({resources.workers} x {cell.train.accumulate})"
            )
        elif cell.train.batch == parts and (reason := resolve(cell.method).needs_two_images(cell.options)):
            problems.append(
                f"train.batch {cell.train.batch} leaves a process one image at once (workers {resources.workers}, "
                f"accumulate {cell.train.accumulate}), and {cell.method} needs two, because {reason}; "
                "take a larger batch"
            )
    return list(dict.fromkeys(problems))


def starts(cells: Sequence[Cell]) -> list[str]:
    """Cells whose network cannot take over the weights of the cells that it starts from. Each form is tried once."""
    by_id, problems = {cell.id: cell for cell in cells}, {}
    for cell in (each for each in cells if each.starts):
        before = {task: by_id[cell_id] for task, cell_id in cell.starts.items() if cell_id in by_id}
        forms = {
            (each.method, json.dumps(each.options, sort_keys=True), each.tasks) for each in (cell, *before.values())
        }
        key = (*sorted(forms), cell.benchmark.name)
        if key in problems:
            continue
        problems[key] = ""
        network = on_meta_of(cell)
        for earlier in {each.id: each for each in before.values()}.values():
            tasks = [task for task, each in before.items() if each.id == earlier.id]
            try:
                network.load_start(tasks, on_meta_of(earlier).state_dict())
            except ValueError as error:
                problems[key] = (
                    f"methods: {cell.method} cannot start from {earlier.method} ({'+'.join(cell.tasks)}): {error}; "
                    "name a row whose network has the same parameters, or the same backbone"
                )
    return [line for line in problems.values() if line]


def on_meta_of(cell: Cell) -> Method:
    """A cell's network on the meta device, which has sizes but no values."""
    benchmark = make_benchmark(cell.benchmark)
    return on_meta(
        cell.method,
        chosen_tasks(benchmark, cell),
        backbone=cell.backbone.name,
        output_stride=cell.backbone.output_stride,
        image_size=benchmark.size,
        **cell.options,
    )
