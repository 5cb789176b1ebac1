"""What does a cell cost beside its training? Part of python -m mtlbench.harness.bench, as `cells`.

`mtlbench run` trains cells of one step of a tiny network into a new store. Plain Ray Tune, in turns with it, runs as
many trials, each of which imports the same modules and makes the same step. A cell also scores test images and writes
a checkpoint, weights, scores and a record, of which MLflow is told. A further cell costs the time between the first and
the last end, over the others. The driver's memory is looked at while it runs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import yaml

from mtlbench.harness.bench.loading import Row
from mtlbench.harness.matrix.cell import BackboneConfig, BenchmarkConfig, Cell, TrainConfig
from mtlbench.harness.training.environment import Environment
from mtlbench.results.records import files

GOAL, MOST_MEMORY, MOST_GROWTH = 1.3, 1.5e9, 1e6  # times plain Tune; bytes; bytes a cell
SIZE, IMAGES = (32, 64), {"train": 6, "val": 2, "test": 4}
BACKBONE = "test_efficientnet"
TRAIN = {"steps": 1, "batch": 2, "lr": 1e-3}


class Measured(NamedTuple):
    """A run of many cells, or of as many trials."""

    each: float  # seconds of a further one
    whole: float  # seconds of the process, from its start to its end
    peak: float  # bytes of memory that the driver had at most
    growth: float  # bytes for each that ended


def rows(rounds: int, count: int = 100) -> list[Row]:
    """The lines of the table. count: cells of a run. Raises RuntimeError where a run fails."""
    with tempfile.TemporaryDirectory(prefix="mtlbench-cells-") as folder:
        root = Path(folder)
        ours, plain = partial(_ours, count), partial(_plain, count)
        found: list[tuple[Measured, Measured]] = []
        ours(root / "warm", cells=2)  # not timed, because it renders the rooms
        for number in range(rounds):
            first, second = ours(root / f"a{number}"), plain(root / f"b{number}")
            fourth, third = plain(root / f"c{number}"), ours(root / f"d{number}")
            found += [(first, second), (third, fourth)]
    return table(found)


def table(found: Sequence[tuple[Measured, Measured]]) -> list[Row]:
    """found: runs of ours, each with one of plain Tune that ran beside it."""
    each = [ours.each / plain.each for ours, plain in found]
    whole = [ours.whole / plain.whole for ours, plain in found]
    peak, growth = [ours.peak for ours, _ in found], [ours.growth for ours, _ in found]
    cell, trial = (f"{statistics.median(run.each for run in runs):.2f} s" for runs in zip(*found, strict=True))
    growing = statistics.median(growth) <= MOST_GROWTH
    return [
        Row("cells", f"a further cell, {cell}, over a trial of plain Ray Tune, {trial}", *_figures(each, "x"),
            f"at most {GOAL:g}x", statistics.median(each) <= GOAL),
        Row("", "the whole run, likewise", *_figures(whole, "x"), "", True),
        Row("cells_memory", "memory of the driver, at most", *_figures(peak, " GB", 1e9), f"{MOST_MEMORY / 1e9:g} GB",
            max(peak) <= MOST_MEMORY),
        Row("cells_growth", "its growth with a cell", *_figures(growth, " MB", 1e6), f"{MOST_GROWTH / 1e6:g} MB",
            growing),
    ]  # fmt: skip


def _figures(values: Sequence[float], unit: str, scale: float = 1.0) -> tuple[str, str]:
    scaled = [value / scale for value in values]
    return f"{statistics.median(scaled):.2f}{unit}", f"{min(scaled):.2f}-{max(scaled):.2f}"


def _ours(count: int, folder: Path, cells: int = 0) -> Measured:
    """Run `cells` cells, or `count`."""
    count = cells or count
    folder.mkdir()
    matrix = folder / "cells.yaml"
    content = {
        "benchmark": {"name": "rooms", "tasks": ["depth"], "options": IMAGES}, "size": list(SIZE), "backbone": BACKBONE,
        "methods": [{"name": "single_task", "label": "Single task"}], "train": TRAIN, "seeds": list(range(count)),
    }  # fmt: skip
    matrix.write_text(yaml.safe_dump(content))
    command = ["-m", "mtlbench", "run", str(matrix), "--store", str(folder / "store"), "--out", str(folder / "out")]
    return measure(command, folder, lambda: _times(folder.glob(f"store/{files.record('*')}")), count)


def _plain(count: int, folder: Path) -> Measured:
    folder.mkdir()
    code = f"from mtlbench.harness.bench.cells import plain; plain({str(folder)!r}, {count})"
    return measure(["-c", code], folder, lambda: _times(folder.glob("*.done")), count)


def _times(written: Iterable[Path]) -> list[float]:
    return sorted(file.stat().st_mtime for file in written)


def measure(command: Sequence[str], folder: Path, ends: Callable[[], list[float]], count: int) -> Measured:
    """Run Python to its end. ends: when each cell or trial has ended so far."""
    seen: list[tuple[float, float]] = []  # time, bytes
    started = time.time()
    environment = {**os.environ, "MTLBENCH_CACHE": str(folder.parent / "cache")}
    with (folder / "said.txt").open("wb") as said:
        process = psutil.Popen([sys.executable, *command], stdout=said, stderr=subprocess.STDOUT, env=environment)
        while process.poll() is None:
            try:
                seen.append((time.time(), float(process.memory_info().rss)))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.25)
    whole, status, ended = time.time() - started, process.wait(), ends()
    if status or len(ended) != count:
        last = (folder / "said.txt").read_text(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"{len(ended)} of {count} ended, and the process with status {status}: {' '.join(last)}")
    return Measured(
        each=(ended[-1] - ended[0]) / (count - 1),
        whole=whole,
        peak=max(size for _, size in seen),
        growth=growth(seen, ended),
    )


def growth(seen: Sequence[tuple[float, float]], ended: Sequence[float]) -> float:
    """The slope of memory over what has ended, from the second quarter on: before, modules are still being imported."""
    within = [(when, size) for when, size in seen if ended[len(ended) // 4] <= when <= ended[-1]]
    done = np.searchsorted(ended, [when for when, _ in within], side="right").astype(float)
    if len(set(done.tolist())) < 2:
        return 0.0
    return float(np.polyfit(done, [size for _, size in within], 1)[0])


def plain(folder: str, count: int) -> None:
    """The other side: trials of plain Ray Tune that make the same step."""
    from mtlbench.harness.cluster.plain import trials

    trials(partial(step, folder), count)


def step(folder: str, number: int) -> None:
    """One training step of cell `number` and no more, with the modules that a cell imports."""
    from mtlbench.harness.data import loading
    from mtlbench.harness.data.copy import copy_of
    from mtlbench.harness.data.view import view_of
    from mtlbench.harness.matrix.entries import Resources
    from mtlbench.harness.training import judge, optimizers, train  # noqa: F401  # a cell imports `judge` too
    from mtlbench.harness.training.network import build, chosen_tasks

    benchmark = BenchmarkConfig(name="rooms", size=SIZE, options=IMAGES)
    cell = Cell(
        method="single_task", tasks=("depth",), benchmark=benchmark, backbone=BackboneConfig(name=BACKBONE),
        train=TrainConfig.model_validate(TRAIN), seed=number,
    )  # fmt: skip
    (root,) = (Path(folder).parent / "cache").glob("rooms*")
    copy = copy_of(benchmark, root)
    accelerator = train.join(cell.train, Environment(folder, {"rooms": root}, Resources()))
    tasks = chosen_tasks(copy.benchmark, cell)
    network = build(cell, tasks)
    own = optimizers.make(network, cell.train)
    model, *wrapped = accelerator.prepare(network, *own)
    splits = copy.splits(cell, ())
    dataset = loading.Training(splits.train, tasks, view_of(benchmark, copy.benchmark), cell.seed)
    keys = loading.micro_batches(cell.train, cell.seed, len(splits.train), range(1), 0, 1)
    batches = iter(loading.training_batches(dataset, keys, loaders=0, pin=False))
    losses = train.Losses(accelerator, tasks)
    model.train()
    train.add_gradients(accelerator, model, batches, tasks, 1, losses)
    for optimizer in wrapped:
        optimizer.step()
    losses.means(1)
    Path(folder, f"{number}.done").touch()
