"""per_image.parquet: what every image adds to every score, written and read."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.scoring.protocol import Conditions, origin
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.record import Record

ORIGINS = b"origins"  # a key of per_image.parquet's metadata

BRING_BACK = "bring back what is missing, or train the cell anew (mtlbench run --rerun)"


class Row(NamedTuple):
    """What one image adds to a task's score. Rows are keyed by (task, number), so an image counts once."""

    task: str
    number: int  # the image's place in the split
    image: str
    statistics: np.ndarray  # float64 [S]


def encode(rows: Iterable[Row], tasks: Mapping[str, Task], taken: Conditions) -> bytes:
    """The content of per_image.parquet: image, task, statistics, and the image's influence on the task's primary score.

    Its metadata hold the `origin` of each task's statistics.

    influence = N grad(score) . statistics. The mean of the squared influences, divided by N, is the variance of the
    score that comes from the choice of the N images, to first order.
    """
    columns: dict[str, list[object]] = {"task": [], "image": [], "statistics": [], "influence": []}
    lookup = list(rows)
    for name, (task, table) in tables(lookup, tasks).items():
        if task.metric is None or not len(table):
            continue
        total = torch.from_numpy(table.sum(axis=0)).requires_grad_()
        score = task.metric.scores(total)[task.metric.primary]
        gradient = torch.autograd.grad(score, total)[0].numpy() if score.requires_grad else np.full(len(total), np.nan)
        influence = len(table) * (table @ gradient)
        images = [row.image for row in sorted((r for r in lookup if r.task == name), key=lambda row: row.number)]
        columns["task"] += [name] * len(table)
        columns["image"] += images
        columns["statistics"] += table.tolist()
        columns["influence"] += [value if math.isfinite(value) else None for value in influence.tolist()]
    schema = pa.schema(
        [
            ("task", pa.string()),
            ("image", pa.string()),
            ("statistics", pa.list_(pa.float64())),
            ("influence", pa.float64()),
        ]
    )
    origins = {name: origin(task, taken) for name, task in tasks.items() if task.metric is not None}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema.with_metadata({ORIGINS: json.dumps(origins)})), buffer)
    return buffer.getvalue()


def read_rows(content: bytes, where: str) -> list[Row]:
    """The rows that `encode` wrote, with the same bits, numbered in their order.

    Raises ValueError naming `where`, where the file lies, if it is damaged.
    """
    with _whole(where):
        table = files.read_per_image(content, ["task", "image", "statistics"], where).to_pydict()
        lines = zip(table["task"], table["image"], table["statistics"], strict=True)
        return [Row(task, number, image, np.array(line)) for number, (task, image, line) in enumerate(lines)]


def counts(rows: Iterable[Row], tasks: Iterable[str]) -> dict[str, int]:
    """task -> how many images have statistics of it."""
    numbers: dict[str, set[int]] = {name: set() for name in tasks}
    for row in rows:
        numbers[row.task].add(row.number)
    return {name: len(found) for name, found in numbers.items()}


def require_counts(found: Mapping[str, int], record: Record, where: str) -> None:
    """Raise ValueError, naming `where`, if images are missing or too many: the scores would not be those of the split.

    found: as `counts`. Counts that an older version did not record are not compared.
    """
    for name, expected in record.provenance.get("data", {}).get("rows", {}).items():
        if found.get(name, 0) != expected:
            raise ValueError(
                f"{where}: statistics of {name} for {found.get(name, 0)} images, and {expected} were taken when the "
                f"cell was trained; {BRING_BACK}"
            )


def read_origins(content: bytes, where: str) -> dict[str, str]:
    """task -> the `origin` of its statistics; {} for a file without origins. Raises ValueError as `read_rows`."""
    with _whole(where):
        metadata = files.read_per_image(content, ["task"], where).schema.metadata or {}
        origins: dict[str, str] = json.loads(metadata.get(ORIGINS, b"{}"))
        return origins


def fetch(store: Store, cell_id: str) -> tuple[bytes, str]:
    """The content of a cell's per_image.parquet, and where the file lies. Raises FileNotFoundError naming it."""
    name = files.per_image(cell_id)
    if not store.exists(name):
        raise FileNotFoundError(f"{store.path(name)}: no such file; {BRING_BACK}")
    return store.get(name), store.path(name)


@contextmanager
def _whole(where: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where}: no statistics of images can be read from it ({error}); {BRING_BACK}") from error


def tables(rows: Iterable[Row], tasks: Mapping[str, Task]) -> dict[str, tuple[Task, np.ndarray]]:
    """task -> its rows as [N, S], in the order of the images, each image once."""
    by_task: dict[str, dict[int, np.ndarray]] = {name: {} for name in tasks}
    for row in rows:
        by_task[row.task][row.number] = row.statistics
    return {
        name: (tasks[name], np.stack([found[index] for index in sorted(found)]) if found else np.empty((0, 0)))
        for name, found in by_task.items()
    }
