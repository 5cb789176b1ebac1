"""A store as it is read: its matrices, the records of their cells, and the files beside them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
import pandas as pd

from mtlbench.results.records.record import CorruptRecord, Manifest, Record


@dataclass(frozen=True)
class Results:
    """A manifest with what its store holds for it."""

    store: str
    manifest: Manifest
    records: Mapping[str, Record]  # by cell id; finished cells, and those that they are derived from
    failures: Mapping[str, dict[str, Any]]  # by cell id: {"error", "traceback", "attempts", "log"}
    constants: Mapping[str, Record]  # by benchmark


def open_store(store: str) -> tuple[Any, str]:
    """The file system of a store and its root there. Raises FileNotFoundError naming it where it cannot be opened."""
    try:
        fs, root = fsspec.core.url_to_fs(store)
    except (ImportError, ValueError) as error:  # the driver of a protocol is not installed, or there is none
        raise FileNotFoundError(f"{store}: no store can be opened there: {error}") from error
    return fs, root


def _text(fs: Any, path: str) -> str:
    """Raises CorruptRecord naming the file."""
    try:
        return str(fs.cat_file(path).decode())
    except UnicodeDecodeError as error:
        raise CorruptRecord(f"{path}: not text in UTF-8 ({error})") from error


def read(store: str, matrix: str) -> Results:
    """Everything the store knows of a matrix. Raises FileNotFoundError with the matrices there are."""
    fs, root = open_store(store)
    path = f"{root}/matrices/{matrix}.json"
    if not fs.exists(path):
        known = matrices(store)
        raise FileNotFoundError(
            f"{store}: no matrix {matrix!r} was run into this store; it holds: {', '.join(known) or 'none'}"
        )
    manifest = Manifest.from_json(_text(fs, path), path)
    records: dict[str, Record] = {}
    failures: dict[str, dict[str, Any]] = {}
    waiting = sorted({entry.id for entry in manifest.entries}, reverse=True)
    while waiting:
        cell_id = waiting.pop()
        folder = f"{root}/cells/{cell_id}"
        if fs.exists(f"{folder}/record.json"):
            record = Record.from_json(_text(fs, f"{folder}/record.json"), f"{folder}/record.json")
            records[cell_id] = record
            waiting += [parent for parent in record.derived_from if parent not in records]
        elif fs.exists(f"{folder}/failure.json"):
            failures[cell_id] = _failure(_text(fs, f"{folder}/failure.json"), f"{folder}/failure.json")
    constants = {
        benchmark: Record.from_json(_text(fs, f"{root}/constants/{name}.json"), f"constants/{name}.json")
        for benchmark, name in manifest.constants.items()
        if fs.exists(f"{root}/constants/{name}.json")
    }
    return Results(store, manifest, records, failures, constants)


def _failure(text: str, source: str) -> dict[str, Any]:
    try:
        failure = json.loads(text)
    except json.JSONDecodeError as error:
        raise CorruptRecord(f"{source}: not JSON ({error})") from error
    if not isinstance(failure, dict):
        raise CorruptRecord(f"{source}: not an object")
    return failure


def matrices(store: str) -> list[str]:
    """Names of the matrices that were run into a store."""
    fs, root = open_store(store)
    folder = f"{root}/matrices"
    if not fs.isdir(folder):
        return []
    names = (path.rsplit("/", 1)[-1] for path in fs.ls(folder, detail=False))
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith("."))


def history(store: str, cell_id: str) -> list[dict[str, Any]]:
    """The rows of a cell's history.jsonl; [] where there is none. A last line cut short by a kill is left out.

    Raises CorruptRecord naming the file and the line.
    """
    fs, root = open_store(store)
    path = f"{root}/cells/{cell_id}/history.jsonl"
    if not fs.exists(path):
        return []
    rows = []
    lines = _text(fs, path).splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise CorruptRecord(f"{path}:{number}: not JSON ({error})") from error
        if not isinstance(row, dict) or not {"name", "epoch", "value"} <= row.keys():
            raise CorruptRecord(f"{path}:{number}: not an event with name, epoch and value: {line[:80]}")
        rows.append(row)
    return rows


def influence(store: str, cell_id: str) -> dict[str, pd.Series[float]] | None:
    """What each test image contributes to a cell's primary scores: task -> value by image id, sorted.

    N times the derivative of the score by the image's weight, N the images that have the task's label; in the score's
    unit, with a mean of 0. NaN where the score is undefined or has no derivative. None where the cell has no
    per_image.parquet. Raises CorruptRecord naming the file, as where an image occurs twice for a task.
    """
    fs, root = open_store(store)
    path = f"{root}/cells/{cell_id}/per_image.parquet"
    if not fs.exists(path):
        return None
    try:
        rows = pd.read_parquet(io.BytesIO(fs.cat_file(path)), columns=["image", "task", "influence"])
    except (ValueError, KeyError, OSError) as error:  # pyarrow's errors are among these
        raise CorruptRecord(f"{path}: not a table of image, task, influence ({error})") from error
    if rows.duplicated(["image", "task"]).any():
        raise CorruptRecord(f"{path}: an image occurs twice for a task")
    return {
        str(task): group.set_index("image")["influence"].astype(float).sort_index()
        for task, group in rows.groupby("task")
    }
