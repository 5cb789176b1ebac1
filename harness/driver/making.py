"""What a run makes before its cells start: rooms, findings from labels, and constant predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from mtlbench.harness.data import learning, shown
from mtlbench.harness.data.copy import Copy, copy_of, trained_on
from mtlbench.harness.data.places import NotReady, prepared_in
from mtlbench.harness.data.unlabelled import unlabelled
from mtlbench.harness.driver import preflight
from mtlbench.harness.driver.bars import bars
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell
from mtlbench.harness.matrix.entries import Matrix
from mtlbench.harness.matrix.expand import Planned, of_controls, tables
from mtlbench.harness.matrix.length import length
from mtlbench.harness.scoring import constant
from mtlbench.harness.store.kept import cache_folder
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files


def prepare(matrix: Matrix, folders: Mapping[str, Path], cells: Sequence[Cell], console: Console) -> None:
    """Make the data that can be made (rooms are rendered once). Raises NotReady with all that is wrong with the data.

    Raises ValueError or OSError where the data cannot be read.
    """
    problems = preflight.batches(cells, matrix.resources) + preflight.starts(cells) + preflight.weights(matrix.backbone)
    if problems:
        raise NotReady(problems)  # now, and not after minutes of rendering
    with bars(console) as told:
        changed = [entry for _, _, control in of_controls(matrix) for entry in control.benchmarks]
        for entry in (*matrix.benchmarks, *changed):
            copy = copy_here(entry, folders)
            copy.benchmark.make(copy.root, partial(told, f"making {entry.name}"))
    problems = preflight.data(cells, folders)
    if problems:
        raise NotReady(problems)
    each = [(cell.benchmark, cell.tasks) for cell in _of_each(cells)]
    found = [copy_here(config, folders).advice(tasks, config.options) for config, tasks in each]
    for line in filter(None, found):
        console.print(line, markup=False, soft_wrap=True)


def copy_here(config: BenchmarkConfig, folders: Mapping[str, Path]) -> Copy:
    """The copy of a benchmark on this machine. folders: benchmark -> the folder of its data."""
    return copy_of(config, folders[config.name], prepared_in(cache_folder()))


def _of_each(cells: Sequence[Cell]) -> list[Cell]:
    """For each benchmark, a cell with the most tasks."""
    return list({cell.benchmark.name: cell for cell in sorted(cells, key=lambda cell: len(cell.tasks))}.values())


def learn(chosen: Iterable[Planned], store: Store, folders: Mapping[str, Path], console: Console) -> None:
    """Learn from training labels what the tasks need, before the cells start: otherwise all cells would do it at once.

    Raises ValueError naming the task whose labels do not suffice.
    """
    wanted: dict[tuple[str, float], dict[str, Cell]] = {}  # benchmark's configuration, holdout -> task -> a cell
    for item in chosen:
        key = item.cell.benchmark.model_dump_json(), item.cell.train.holdout
        wanted.setdefault(key, {}).update(dict.fromkeys(item.cell.tasks, item.cell))
    for (_, holdout), tasks in wanted.items():
        config = next(iter(tasks.values())).benchmark
        copy = copy_here(config, folders)
        for name in learning.missing(store, copy, tasks, holdout):
            console.print(f"learning what {name} needs from the training labels of {config.name}", markup=False)
        learning.learn(store, copy, tasks, holdout)


def leave_out(chosen: Iterable[Planned], store: Store, folders: Mapping[str, Path], console: Console) -> None:
    """Find the training images that each task set leaves out, once and before the cells start, and say how many.

    Raises ValueError where no image has a label of a task, or too few that are not held out have one for a batch.
    """
    cells, said = [item.cell for item in chosen], set()
    for cell in {(c.benchmark.model_dump_json(), c.tasks, c.train.batch, c.train.holdout): c for c in cells}.values():
        copy = copy_here(cell.benchmark, folders)
        with bars(console) as told:
            left_out = unlabelled(store, copy, cell, partial(told, f"reading labels of {'+'.join(cell.tasks)}"))
        if left_out:
            images = len(copy.split("train", cell.tasks))
            line = (
                f"{cell.benchmark.name}, {'+'.join(cell.tasks)}: {len(left_out):,} of {images:,} training images have "
                "no label and are left out"
            )
            if line not in said:
                console.print(line, markup=False, soft_wrap=True)
            said.add(line)
            left = trained_on(images, cell.train.holdout, left_out)
            if not left:
                raise ValueError(
                    f"{cell.benchmark.name}: all training images with a label of {'+'.join(cell.tasks)} are held out; "
                    f"give another holdout than {cell.train.holdout:g}"
                )
            length(cell, left)


def constants(matrix: Matrix, store: Store, folders: Mapping[str, Path], console: Console) -> dict[str, str]:
    """benchmark -> the id of the record of its best constant prediction. What the store lacks is made."""
    names = {}
    configs = {item.cell.benchmark.name: item.cell.benchmark for item in tables(matrix)}
    holdout = matrix.train.holdout  # the matrix's own, and not that of trials
    for name, config in configs.items():
        copy = copy_here(config, folders)
        tasks = [t for t in copy.benchmark.tasks if any(t in i.cell.tasks for i in tables(matrix))]
        found = constant.record_id(config, copy.benchmark, tasks, holdout)
        if not store.exists(files.constant(found)):
            console.print(f"scoring the best constant prediction on {name}", markup=False)
            with bars(console) as told:
                record = constant.record(config, copy, tasks, holdout, partial(told, f"images of {name}"))
            store.put(files.constant(found), record.to_json())
        names[name] = found
    return names


def show_truth(matrix: Matrix, store: Store, folders: Mapping[str, Path]) -> None:
    """Keep a few test images with their labels, which figures show beside predictions. What is kept already stays."""
    for entry in matrix.benchmarks:
        name = files.shown(entry.name)
        if not store.exists(name):
            tasks = list(dict.fromkeys(task for task_set in entry.task_sets for task in task_set))
            store.put(name, shown.truth(copy_here(entry, folders), tasks))
