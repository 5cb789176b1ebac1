"""Expensive scores: a trained cell leaves the data that they need, and processes without a GPU compute them.

Until they are computed, the folder of the cell has more files than usual, named in results/records/files.py:

    TRAINED                   the record without these scores; RECORD takes its place
    TO_SCORE/TASK, ARRAYS     what the statistics of an image depend on
    TO_SCORE/TASK, STATISTICS the statistics of an image, once they are computed

A cell that saves predictions keeps, from then on,

    PREDICTIONS, ARRAYS       task -> float16 [C, H, W] at the network's size, for each test image
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.benchmarks.tasks.metric import ExpensiveMetric
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.scoring import per_image, statistics
from mtlbench.harness.scoring.per_image import BRING_BACK, Row
from mtlbench.harness.scoring.protocol import conditions_of_cell
from mtlbench.harness.store.source import source_hash
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.record import Record

Statistics = NDArray[np.float64]


def is_expensive(task: Task) -> bool:
    return task.metric is not None and task.metric.expensive


def keeper(store: Store, cell_id: str) -> statistics.Keep:
    """Puts what an image's statistics depend on into the cell's folder."""

    def keep(task: str, number: int, image: str, condensed: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, image=np.array(image), condensed=condensed)
        store.put(f"{files.to_score_of(cell_id, task)}/{files.image(number, files.ARRAYS)}", buffer.getvalue())

    return keep


def saver(store: Store, cell_id: str) -> statistics.Save:
    """Puts all predictions of an image into the cell's folder, rounded to float16."""

    def save(number: int, predictions: Mapping[str, Tensor]) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, **{name: value.half().cpu().numpy() for name, value in predictions.items()})  # type: ignore[arg-type]
        store.put(f"{files.predictions(cell_id)}/{files.image(number, files.ARRAYS)}", buffer.getvalue())

    return save


def finish(
    store: Store, cell_id: str, processes: int = 1, report: Callable[[int, int], None] = lambda done, images: None
) -> Record:
    """Compute the scores that a trained cell lacks, and put its record into the store.

    An image whose statistics are there is not computed again, unless the code has changed since the cell was trained.
    `report` is told (images done, images in all). Raises FileNotFoundError where the cell has not been trained,
    ValueError where images that it was trained to score are missing, BrokenProcessPool where a process was killed.
    """
    where = store.path(store.folder(cell_id))
    trained = store.trained(cell_id)
    if trained is None:
        raise FileNotFoundError(f"{where} has no {files.TRAINED}: the cell is not trained yet")
    cell = Cell.model_validate(trained.cell)
    benchmark = make_benchmark(cell.benchmark)
    tasks = {name: benchmark.tasks[name] for name in cell.tasks}
    expensive = {name: task for name, task in tasks.items() if is_expensive(task)}
    same_code = trained.provenance["source"] == source_hash()  # earlier statistics may be of another metric
    kept = {name: _kept(store, cell_id, name) for name in expensive}
    images, done = sum(len(numbers) for numbers in kept.values()), 0
    rows = [row for row in per_image.read_rows(*per_image.fetch(store, cell_id)) if row.task not in expensive]
    per_image.require_counts(counts(store, cell_id, rows, tasks), trained, where)

    def add(row: Row) -> None:
        nonlocal done
        rows.append(row)
        done += 1
        report(done, images)

    def computed(row: Row) -> None:
        content = {"image": row.image, "statistics": row.statistics.tolist()}
        store.put(
            f"{files.to_score_of(cell_id, row.task)}/{files.image(row.number, files.STATISTICS)}", json.dumps(content)
        )
        add(row)

    with Pool(expensive, processes, computed) as pool:
        for name, numbers in kept.items():
            folder = files.to_score_of(cell_id, name)
            earlier = set(files.image_numbers(store.names(folder), files.STATISTICS)) if same_code else set()
            for number in numbers:
                if number in earlier:
                    content = json.loads(store.get(f"{folder}/{files.image(number, files.STATISTICS)}"))
                    add(Row(name, number, content["image"], np.array(content["statistics"])))
                    continue
                arrays = read_arrays(store, f"{folder}/{files.image(number, files.ARRAYS)}")
                pool.add(name, number, str(arrays["image"]), arrays["condensed"])
    conditions = conditions_of_cell(cell, benchmark, trained.provenance["data"]["images"][1])
    record = replace(trained, scores=statistics.scores(rows, tasks, conditions))
    store.put(files.per_image(cell_id), per_image.encode(rows, tasks, conditions))
    store.put_record(record)
    store.remove(files.to_score(cell_id))
    return record


def counts(store: Store, cell_id: str, rows: Iterable[Row], tasks: Mapping[str, Task]) -> dict[str, int]:
    """task -> how many images can be scored: those in `rows`, and for an expensive task those with a file."""
    found = per_image.counts(rows, (name for name, task in tasks.items() if task.metric is not None))
    return found | {name: len(_kept(store, cell_id, name)) for name, task in tasks.items() if is_expensive(task)}


def _kept(store: Store, cell_id: str, task: str) -> list[int]:
    """The places in the split of the images that the cell has left to be scored."""
    return files.image_numbers(store.names(files.to_score_of(cell_id, task)), files.ARRAYS)


def read_arrays(store: Store, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file of the store. Raises ValueError naming the file where it is damaged."""
    content = store.get(name)
    try:
        with np.load(io.BytesIO(content)) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except Exception as error:  # zip, zlib or NumPy raise, depending on where the file was cut
        raise ValueError(f"{store.path(name)}: damaged ({type(error).__name__}: {error}); {BRING_BACK}") from error


class Pool:
    """Computes the statistics of images in several processes. It is a context manager whose end waits for all.

    `computed` is called in this process with the row of each image, in the order in which they were added. Few images
    are held at once: `add` waits when all processes are busy. Tasks without an expensive metric are left alone.
    """

    def __init__(self, tasks: Mapping[str, Task], processes: int, computed: Callable[[Row], None]) -> None:
        self.metrics = {name: task.metric for name, task in tasks.items() if isinstance(task.metric, ExpensiveMetric)}
        self.processes, self.computed = processes, computed
        self.waiting: deque[tuple[str, int, str, Future[Statistics]]] = deque()
        self.executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool:
        if self.processes > 1 and self.metrics:
            # Forked children import nothing again, and no script needs a guard. They use NumPy and SciPy only.
            context = multiprocessing.get_context("fork")
            self.executor = ProcessPoolExecutor(self.processes, context, _child, (os.getpid(),))
        return self

    def add(self, task: str, number: int, image: str, condensed: NDArray[np.uint8]) -> None:
        """Have the statistics of an image computed; a `statistics.Keep`."""
        metric = self.metrics[task]
        if self.executor is None:
            self.computed(Row(task, number, image, metric.statistics_of(condensed)))
            return
        self.waiting.append((task, number, image, self.executor.submit(metric.statistics_of, condensed)))
        if len(self.waiting) > 2 * self.processes:
            self._take()

    def _take(self) -> None:
        task, number, image, future = self.waiting.popleft()
        self.computed(Row(task, number, image, future.result()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self.waiting and kind is None:
                self._take()
        finally:
            if self.executor is not None:
                self.executor.shutdown(cancel_futures=True)


def _child(parent: int) -> None:
    """Let the parent decide when to stop. A child whose parent has died ends by itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
