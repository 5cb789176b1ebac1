"""Scores of finished cells computed anew: from the statistics of each image, or from saved predictions and the data."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data import places
from mtlbench.harness.data.copy import Copy
from mtlbench.harness.data.loading import Evaluation, evaluation_batches, in_order
from mtlbench.harness.data.view import view_of
from mtlbench.harness.matrix.cell import Cell, Evaluate
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.scoring import per_image, statistics
from mtlbench.harness.scoring.expensive import Pool, read_arrays
from mtlbench.harness.scoring.per_image import Row, counts, read_origins, read_rows, require_counts
from mtlbench.harness.scoring.protocol import Conditions, conditions_of_cell, origin
from mtlbench.harness.store.kept import cache_folder
from mtlbench.harness.store.source import source_hash
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.reading import read
from mtlbench.results.records.record import Record, Score, differences
from mtlbench.results.summary.tuning import is_trial

KEPT = (files.weights, files.history, files.samples)  # files that a cell scored under another rule shares


class Rescored(NamedTuple):
    old: Record
    new: Record  # it belongs to another cell where the rule of evaluation differs
    per_image: bytes

    @property
    def rounded(self) -> list[str]:
        """The tasks that were scored from predictions of float16: their last digits are not the trained cell's."""
        found: list[str] = self.new.provenance["rescored"].get("rounded", [])
        return found

    @property
    def differences(self) -> list[str]:
        """A line for each score that has changed, is new, is gone, or is defined otherwise; [] where no bit differs."""
        old = {(score.task, score.metric): score for score in self.old.scores}
        new = {(score.task, score.metric): score for score in self.new.scores}
        return [_line(old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)]


class Finished(NamedTuple):
    """A finished cell."""

    record: Record
    cell: Cell  # the record's, or the same under another rule of evaluation
    benchmark: Benchmark

    @property
    def tasks(self) -> dict[str, Task]:
        return {name: self.benchmark.tasks[name] for name in self.cell.tasks}

    @property
    def conditions(self) -> Conditions:
        return conditions_of_cell(self.cell, self.benchmark, self.record.provenance["data"]["images"][1])

    def under(self, rule: Evaluate) -> Finished:
        """The same cell as it is scored under another rule of evaluation."""
        config = self.cell.benchmark.model_copy(update={"evaluate": rule})
        return self._replace(cell=self.cell.model_copy(update={"benchmark": config}), benchmark=make_benchmark(config))

    def taken_otherwise(self, origins: Mapping[str, str]) -> dict[str, Task]:
        """The scored tasks whose `origins` are not those of this version and this rule."""
        scored = {name: task for name, task in self.tasks.items() if task.metric is not None}
        return {name: task for name, task in scored.items() if origins.get(name) != origin(task, self.conditions)}


def chosen(store: Store, names: Sequence[str], find: Callable[[Store, str], str]) -> list[str]:
    """Ids of the finished cells of matrices that were run into the store, and of cells, which `find` finds by name.

    Raises FileNotFoundError for a matrix without a finished cell, and for a cell that is not finished.
    """
    ids: dict[str, None] = {}
    for name in names:
        if store.exists(files.matrix(name)):
            results = read(store.url, name)
            trials = {cell_id for cell_id, record in results.records.items() if is_trial(record)}  # scored on val
            scored = [cell_id for cell_id in results.manifest.ids if cell_id not in trials]
            done = [cell_id for cell_id in scored if store.state(cell_id) == "finished"]
            if not done:
                raise FileNotFoundError(f"{name}: none of its {len(scored)} cells is finished; `mtlbench run` it first")
            ids |= dict.fromkeys(done)
        else:
            cell_id = find(store, name)
            if store.state(cell_id) != "finished":
                raise _unfinished(store, cell_id)
            ids[cell_id] = None
    return list(ids)


def from_statistics(store: Store, cell_id: str) -> Rescored:
    """Score a cell by this version's formulas, from per_image.parquet.

    Raises ValueError naming a task whose statistics were not taken as this version takes them, or of fewer images.
    """
    finished = _load(store, cell_id)
    content, where = per_image.fetch(store, cell_id)
    if others := finished.taken_otherwise(read_origins(content, where)):
        raise ValueError(
            f"{cell_id}: the statistics of {next(iter(others))} were taken by another definition of its metric; score "
            "it again from saved predictions (--predictions), or train it anew"
        )
    rows = read_rows(content, where)
    require_counts(counts(rows, finished.tasks), finished.record, where)
    return _rescored(finished, rows, "statistics")


def from_predictions(store: Store, cell_id: str, root: Path, rule: Evaluate | None = None) -> Rescored:
    """Score a cell by this version's metrics, or by another `rule` of evaluation, on the data at `root`.

    Predictions were rounded to float16 when they were saved. So they are used only for tasks whose metric or rule
    has changed; for all other tasks the statistics that the cell kept are exact. Raises FileNotFoundError
    where none were saved, ValueError where the data are not those that the cell was scored on, or a file is damaged.
    """
    finished = _load(store, cell_id)
    if not store.names(files.predictions(cell_id)):
        raise FileNotFoundError(
            f"{cell_id} has saved no predictions; training it by `mtlbench run --save-predictions` saves them"
        )
    copy, scored_on = Copy(finished.benchmark, root), finished.record.provenance["data"]["fingerprint"]
    if copy.fingerprint != scored_on:
        raise ValueError(f"{cell_id} was scored on data with fingerprint {scored_on}; {root} has {copy.fingerprint}")
    if rule is not None:
        finished = finished.under(rule)
    content, where = per_image.fetch(store, cell_id)
    others = finished.taken_otherwise(read_origins(content, where))
    scored = {name for name, task in finished.tasks.items() if task.metric is not None}
    kept = [row for row in read_rows(content, where) if row.task in scored - others.keys()]
    rows = [*_from_saved(store, finished, copy.split("test", finished.cell.tasks), others), *kept]
    require_counts(counts(rows, finished.tasks), finished.record, store.path(store.folder(cell_id)))
    return _rescored(finished, rows, "predictions" if others else "statistics", others)


def _from_saved(store: Store, finished: Finished, split: Sequence[Sample], tasks: Mapping[str, Task]) -> list[Row]:
    """The statistics of `tasks` from the saved predictions for a split."""
    folder = files.predictions(finished.record.id)
    saved = store.names(folder)
    if saved != [files.image(number, files.ARRAYS) for number in range(len(split))]:
        raise ValueError(
            f"{finished.record.id} has predictions for {len(saved)} images, and the test split {len(split)}"
        )
    if not tasks:
        return []
    view, slow = view_of(finished.cell.benchmark, finished.benchmark), list[Row]()
    batches = evaluation_batches(Evaluation(split, tasks, view), in_order(range(len(split))))
    with Pool(tasks, os.cpu_count() or 1, slow.append) as pool:
        predict = _replay(store, [f"{folder}/{file}" for file in saved], tasks)
        rows = statistics.collect(predict, batches, tasks, view, keep=pool.add)
    return [*rows, *slow]


def write(store: Store, rescored: Rescored) -> None:
    """Put the new record into the store, and the files of its cell where this is another cell.

    Raises FileExistsError where that cell has a record of its own.
    """
    old, new = rescored.old, rescored.new
    if new.id != old.id:
        if store.record(new.id) is not None:
            raise FileExistsError(f"{new.id} has a record already; nothing is written over it")
        store.put_cell(Cell.model_validate(new.cell))
        for file in KEPT:
            store.put(file(new.id), store.get(file(old.id)))
    store.put(files.per_image(new.id), rescored.per_image)
    store.put_record(new)


def roots(store: Store, cell_ids: Iterable[str], data: Sequence[str]) -> dict[str, Path]:
    """cell id -> the folder of its data, from NAME=PATH arguments. Raises NotReady naming each that is not given."""
    given, problems = places.arguments(data)
    found = {}
    for cell_id in cell_ids:
        config = store.cell(cell_id).benchmark
        if config.name in given:
            found[cell_id] = given[config.name]
        elif make_benchmark(config).needs_root:
            problems.append(f"benchmark {config.name} reads data from disk: give --data {config.name}=PATH")
        else:
            found[cell_id] = cache_folder() / config.slug
    if problems:
        raise places.NotReady(list(dict.fromkeys(problems)))
    return found


def _load(store: Store, cell_id: str) -> Finished:
    record = store.record(cell_id)
    if record is None:
        raise _unfinished(store, cell_id)
    cell = Cell.model_validate(record.cell)
    return Finished(record, cell, make_benchmark(cell.benchmark))


def _unfinished(store: Store, cell_id: str) -> FileNotFoundError:
    return FileNotFoundError(f"{cell_id} is {store.state(cell_id)}: only a finished cell can be scored again")


def _rescored(finished: Finished, rows: list[Row], source: str, rounded: Iterable[str] = ()) -> Rescored:
    """rounded: the tasks that were scored from predictions of float16."""
    old = finished.record
    how: dict[str, Any] = {
        "from": source,
        **({"rounded": list(rounded)} if rounded else {}),
        "of": old.id,
        "source": source_hash(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    cell, renamed = finished.cell, old
    if cell.id != old.id:  # scored under another rule
        renamed = replace(old, id=cell.id, cell=cell.model_dump(mode="json"))
    new = replace(
        renamed,
        scores=statistics.scores(rows, finished.tasks, finished.conditions),
        provenance={**old.provenance, "rescored": how},
    )
    return Rescored(old, new, per_image.encode(rows, finished.tasks, finished.conditions))


def _replay(store: Store, names: Sequence[str], tasks: Iterable[str]) -> statistics.Predict:
    """A predictor that gives the saved predictions in the order of the images and ignores its input."""

    def held() -> Iterator[dict[str, Tensor]]:
        for file in names:
            arrays = read_arrays(store, file)
            if lacking := [name for name in tasks if name not in arrays]:
                raise ValueError(f"{store.path(file)}: no predictions of {lacking[0]}; it holds {', '.join(arrays)}")
            yield {name: torch.from_numpy(arrays[name]).float() for name in tasks}

    remaining = held()

    def predict(image: Tensor) -> Mapping[str, Tensor]:
        batch = list(itertools.islice(remaining, len(image)))
        return {name: torch.stack([one[name] for one in batch]) for name in batch[0]}

    return predict


def _line(old: Score | None, new: Score | None) -> str:
    score = new or old
    assert score is not None
    text = f"{score.task} {score.metric}: {_value(old)} -> {_value(new)}"
    if old is not None and new is not None and old.value == new.value:
        if differences(new, old):
            text += f", defined otherwise: protocol {old.protocol or 'unknown'} -> {new.protocol}"
        else:
            text += f", printed otherwise: {new.title} in {new.unit or 'no unit'}, {new.decimals} decimals"
    return text


def _value(score: Score | None) -> str:
    if score is None:
        return "absent"
    return "undefined" if score.value is None else repr(score.value)
