"""A split -> per-image statistics -> scores, the same numbers for any batches and any number of processes."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from benchmarks.benchmark import Benchmark, Sample
from benchmarks.metrics import ExpensiveMetric
from benchmarks.tasks import Task
from benchmarks.transforms import Fit, restore
from harness.cell import BenchmarkConfig
from harness.loading import Scored, augmentation, evaluation_batches, normalise
from results.record import Record, Score

ORIGINS = b"origins"  # a key of per_image.parquet's metadata
BRING_BACK = "bring back what is missing, or train the cell anew (mtlbench run --rerun)"

Predict = Callable[[Tensor], Mapping[str, Tensor]]  # normalised images [B, 3, H, W] -> task -> [B, C, H, W]


Keep = Callable[[str, int, str, np.ndarray], None]  # task, number and id of an image, its condensed prediction
Save = Callable[[int, Mapping[str, Tensor]], None]  # number of an image, task -> prediction [C, H, W] at network size


class Conditions(NamedTuple):
    """What fixes a score besides the task's metric: which maps are compared, of which images, from which weights."""

    resolution: str  # "the stored size", and which one where data are made at it; or the network's rows x columns
    fit: Fit  # how an image came to the network's size
    images: int  # of the split
    split: str = "test"
    holdout: float = 0.0  # share of train that was kept from training
    checkpoint: str = "last"

    @property
    def sentence(self) -> str:
        part = f", without {self.holdout:.1%} of train" if self.holdout else ""
        return (
            f"Scored at {self.resolution}, images {'stretched' if self.fit == 'stretch' else 'padded'} for the "
            f"network; {self.split} split of {self.images} images; {self.checkpoint} checkpoint{part}."
        )


def conditions(
    config: BenchmarkConfig, benchmark: Benchmark, images: int, *, split: str = "test", holdout: float = 0.0
) -> Conditions:
    """Of scoring a split of `images` images."""
    rows, columns = benchmark.size
    resolution = f"{rows}x{columns}"
    if config.evaluate == "native":
        resolution = "the stored size" if benchmark.needs_root else f"the stored size, {resolution}"
    return Conditions(resolution, augmentation(benchmark, config).fit, images, split, holdout)


def protocol(task: Task, conditions: Conditions) -> str:
    """A hash of all that fixes a task's scores besides the network: metric, parameters, classes, conditions."""
    metric = task.metric
    assert metric is not None
    return _hash([origin(task, conditions), metric.definition, dict(metric.higher_is_better)])


def origin(task: Task, conditions: Conditions) -> str:
    """A hash of all that fixes a task's statistics besides the network; scores of equal ones may be computed anew.

    Of the metric: its class, its fields and the constants of its class, whose names are in capitals.
    """
    metric = task.metric
    kind = type(metric)
    constants = {name: value for base in kind.__mro__ for name, value in vars(base).items() if name.isupper()}
    parameters = {**constants, **vars(metric)}
    return _hash([task.name, task.kind, task.channels, kind.__qualname__, parameters, conditions._asdict()])


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=repr).encode()).hexdigest()[:12]


class Row(NamedTuple):
    """What one image adds to a task's score. Rows are keyed by (task, number), so an image counts once."""

    task: str
    number: int  # the image's place in the split
    image: str
    statistics: np.ndarray  # float64 [S]


@torch.no_grad()
def collect(
    predict: Predict,
    samples: Sequence[Sample],
    tasks: Mapping[str, Task],
    size: tuple[int, int],
    fit: Fit,
    *,
    native: bool,
    device: torch.device,
    batch: int,
    indices: Sequence[int] | None = None,
    loaders: int = 0,
    keep: Keep | None = None,
    save: Save | None = None,
) -> list[Row]:
    """The statistics of the images at `indices` (default: all), for the tasks that have a metric.

    native: predictions are brought to each stored image's size, as the published scores are (logits before their
    argmax, fields as they are, bilinear); else labels are brought to the network's. See `collect_from` for the rest.

    Raises ValueError naming the image of a label that is no class.
    """
    indices = range(len(samples)) if indices is None else indices
    scored = {name: task for name, task in tasks.items() if task.metric is not None}
    batches = evaluation_batches(
        samples, scored, size, fit, indices, batch, native=native, loaders=loaders, pin=device.type == "cuda"
    )
    return collect_from(predict, batches, indices, tasks, fit, native=native, device=device, keep=keep, save=save)


@torch.no_grad()
def collect_from(
    predict: Predict,
    batches: Iterable[Scored],
    numbers: Iterable[int],
    tasks: Mapping[str, Task],
    fit: Fit,
    *,
    native: bool,
    device: torch.device,
    keep: Keep | None = None,
    save: Save | None = None,
) -> list[Row]:
    """The statistics of the images of `batches`, whose places in the split are `numbers`.

    An image without a label for a task has no row. Statistics stay on the device until the end.

    keep: takes what an expensive metric will be computed from, and the task has no row; without it, it is computed
    here. save: takes every prediction.
    """
    scored = {name: task for name, task in tasks.items() if task.metric is not None}
    keys: dict[str, list[tuple[int, str]]] = {name: [] for name in scored}
    parts: dict[str, list[Tensor]] = {name: [] for name in scored}
    remaining = iter(numbers)
    for images, ids, stored in batches:
        here = list(itertools.islice(remaining, len(ids)))
        predictions = predict(normalise(images.to(device, non_blocking=True)))
        if save is not None:
            for position, number in enumerate(here):
                save(number, {name: predictions[name][position] for name in tasks})
        for name, task in scored.items():
            metric = task.metric
            assert metric is not None
            for positions, host_labels in stored.get(name, []):
                labels = host_labels.to(device, non_blocking=True)
                whole = len(positions) == len(ids)  # a list as index would make the host wait
                prediction = predictions[name] if whole else torch.stack([predictions[name][i] for i in positions])
                prediction = prediction.float()
                if native:
                    prediction = restore(prediction, (labels.shape[-2], labels.shape[-1]), fit)
                if keep is not None and metric.expensive:
                    assert isinstance(metric, ExpensiveMetric)
                    condensed = metric.condense(prediction, labels).cpu().numpy()
                    for i, image in zip(positions, condensed, strict=True):
                        keep(name, here[i], ids[i], image)
                    continue
                parts[name].append(metric.statistics(prediction, labels))
                keys[name] += [(here[i], ids[i]) for i in positions]
    rows = []
    for name in scored:
        table = torch.cat(parts[name]).cpu().numpy() if parts[name] else np.empty((0, 0))
        rows += [Row(name, number, image, line) for (number, image), line in zip(keys[name], table, strict=True)]
    return rows


def scores(rows: Iterable[Row], tasks: Mapping[str, Task], taken: Conditions) -> tuple[Score, ...]:
    """Rows of any number of processes -> scores. Sums run in the order of the images, so equal rows give equal bits.

    A task without a metric, and a score without a valid pixel, are there with the value None.
    """
    result = []
    for name, (task, table) in _tables(rows, tasks).items():
        if task.metric is None:
            result.append(Score(name, "undefined", None, higher_is_better=True, primary=True))
            continue
        metric = task.metric
        definition, fingerprint = f"{metric.definition} {taken.sentence}", protocol(task, taken)
        values = metric.scores(torch.from_numpy(table.sum(axis=0))) if len(table) else {}
        for score, higher in metric.higher_is_better.items():
            found = float(values.get(score, math.nan))
            value = found if math.isfinite(found) else None
            result.append(Score(name, score, value, higher, score == metric.primary, definition, fingerprint))
    return tuple(result)


def per_image(rows: Iterable[Row], tasks: Mapping[str, Task], taken: Conditions) -> bytes:
    """per_image.parquet: image, task, statistics, and the influence of the image on the task's primary score.

    Its metadata hold the `origin` of each task's statistics.

    influence = N grad(score) . statistics: the mean of squared influences over N is the variance that the choice of
    the N images gives the score, to first order.
    """
    columns: dict[str, list[object]] = {"task": [], "image": [], "statistics": [], "influence": []}
    lookup = list(rows)
    for name, (task, table) in _tables(lookup, tasks).items():
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


def read_rows(per_image_file: bytes, place: str) -> list[Row]:
    """The rows that `per_image` wrote, with the same bits, numbered in their order.

    Raises ValueError naming `place`, where the file lies, if it is damaged.
    """
    with _whole(place):
        table = pq.read_table(io.BytesIO(per_image_file), columns=["task", "image", "statistics"]).to_pydict()
        lines = zip(table["task"], table["image"], table["statistics"], strict=True)
        return [Row(task, number, image, np.array(line)) for number, (task, image, line) in enumerate(lines)]


def counts(rows: Iterable[Row], tasks: Iterable[str]) -> dict[str, int]:
    """task -> how many images have statistics of it."""
    numbers: dict[str, set[int]] = {name: set() for name in tasks}
    for row in rows:
        numbers[row.task].add(row.number)
    return {name: len(found) for name, found in numbers.items()}


def require_counts(found: Mapping[str, int], record: Record, place: str) -> None:
    """Raise ValueError, naming `place`, where images are missing or too many: their scores would pass for the split's.

    found: as `counts`. What a record does not tell, because an older version made it, is not compared.
    """
    for name, expected in record.provenance.get("data", {}).get("rows", {}).items():
        if found.get(name, 0) != expected:
            raise ValueError(
                f"{place}: statistics of {name} for {found.get(name, 0)} images, and {expected} were taken when the "
                f"cell was trained; {BRING_BACK}"
            )


def read_origins(per_image_file: bytes, place: str) -> dict[str, str]:
    """task -> the `origin` of its statistics; {} for a file that does not say it. Raises ValueError as `read_rows`."""
    with _whole(place):
        metadata = pq.read_schema(io.BytesIO(per_image_file)).metadata or {}
        origins: dict[str, str] = json.loads(metadata.get(ORIGINS, b"{}"))
        return origins


@contextmanager
def _whole(place: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{place}: no statistics of images can be read from it ({error}); {BRING_BACK}") from error


def _tables(rows: Iterable[Row], tasks: Mapping[str, Task]) -> dict[str, tuple[Task, np.ndarray]]:
    """task -> its rows as [N, S], in the order of the images, each image once."""
    by_task: dict[str, dict[int, np.ndarray]] = {name: {} for name in tasks}
    for row in rows:
        by_task[row.task][row.number] = row.statistics
    return {
        name: (tasks[name], np.stack([found[index] for index in sorted(found)]) if found else np.empty((0, 0)))
        for name, found in by_task.items()
    }
