"""A store as a report reads it: its matrices, the records of their cells, and the files beside the records."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import pandas as pd
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from mtlbench.results.records import damage, files
from mtlbench.results.records.addresses import holds_secret, refusal
from mtlbench.results.records.files import Events, Shown
from mtlbench.results.records.record import CorruptRecord, Manifest, NewerRecord, Record
from mtlbench.results.records.remote import Remote, StoreError, refused


@dataclass(frozen=True)
class Results:
    """A manifest, together with everything that the store holds for its matrix."""

    store: str
    manifest: Manifest
    records: Mapping[str, Record]  # by cell id: of finished cells, and of the cells that these are derived from
    failures: Mapping[str, dict[str, Any]]  # by cell id, as `files.read_failure` returns them
    unreadable: Mapping[str, str]  # cell id, or name of a constant -> why its record cannot be read, and the way out
    constants: Mapping[str, Record]  # by benchmark
    text: str = ""  # the matrix as it was asked for, in YAML; "" in stores of old versions


# What has a meaning of its own in the addresses that fsspec, SQLAlchemy and MLflow read, or in patterns of file names.
_MEANT_OTHERWISE = ("::", "%", "?", "#", "*", "[", "]", "\\")


def open_store(store: str) -> tuple[Any, str]:
    """The file system of a store, and the root of the store there.

    Raises FileNotFoundError that names the store where it cannot be opened, or where its path has a character that
    addresses read as something else. MLflow's database in a folder called `a%2Fb` would be one in the folder `a`.
    Raises StoreError for an address with a password, which claims, pages and MLflow would show, and whenever a store
    that is not on a local disk does not answer.
    """
    if holds_secret(store):
        raise StoreError(refusal(store))
    if "://" not in store:
        path = os.path.abspath(store)
        found = next((part for part in _MEANT_OTHERWISE if part in path), None) or re.search(r"[\x00-\x1f\x7f]", path)
        if found:
            named = found if isinstance(found, str) else found.group()
            raise FileNotFoundError(
                f"store {store!r}: its path {path!r} has {named!r}, which means something else in the addresses of "
                "databases and artifacts; rename the folder, or give another --store"
            )
    try:
        # Without a cache of listings: other processes write to the store all the time.
        fs, root = fsspec.core.url_to_fs(store, use_listings_cache=False)
    except (ImportError, ValueError) as error:  # the driver of the protocol is not installed, or does not exist
        raise FileNotFoundError(f"{store}: no store can be opened there: {error}") from error
    except Exception as error:  # some libraries connect at once, and each has classes of its own
        raise refused(store, error) from error
    return (fs if isinstance(fs, LocalFileSystem) else Remote(fs, store)), root


def _text(fs: Any, path: str, shown: str) -> str:
    """The text of a file. Raises CorruptRecord that names the file as `shown` where it is not UTF-8."""
    try:
        return str(fs.cat_file(path).decode())
    except UnicodeDecodeError as error:
        raise CorruptRecord(f"{shown}: not text in UTF-8 ({error})") from error


def read(store: str, matrix: str) -> Results:
    """Everything that the store knows of a matrix.

    A record that cannot be read does not hide the others: its cell counts as corrupt. Raises FileNotFoundError that
    lists the matrices of the store where it does not hold this one, and CorruptRecord that names the file of a matrix.
    """
    fs, root = open_store(store)
    path = f"{root}/{files.matrix(matrix)}"
    if not fs.exists(path):
        known = ", ".join(matrices(store))
        if not known:
            raise FileNotFoundError(f"{store}: no such store, or no matrix was run into it; check its address")
        raise FileNotFoundError(f"{store}: no matrix {matrix!r} was run into this store; it holds: {known}")
    manifest = Manifest.from_json(_text(fs, path, path), path)
    records: dict[str, Record] = {}
    failures: dict[str, dict[str, Any]] = {}
    unreadable: dict[str, str] = {}
    waiting = sorted(manifest.ids, reverse=True)
    while waiting:
        cell_id = waiting.pop()
        of_record, of_failure = f"{root}/{files.record(cell_id)}", f"{root}/{files.failure(cell_id)}"
        if fs.exists(of_record):
            try:
                # The message has the file's name inside the store, so that a report is the same wherever the store is.
                record = _record(_text(fs, of_record, files.record(cell_id)), cell_id)
            except (CorruptRecord, NewerRecord) as error:
                command = f"the command {manifest.command or 'mtlbench run'}"
                unreadable[cell_id] = _with_way_out(error, f"{command} sets it aside and trains the cell again")
                continue
            records[cell_id] = record
            waiting += [parent for parent in record.derived_from if parent not in records]
        elif fs.exists(of_failure):
            failures[cell_id] = files.read_failure(fs.cat_file(of_failure), files.failure(cell_id))
    constants = {}
    for benchmark, name in manifest.constants.items():
        if fs.exists(f"{root}/{files.constant(name)}"):
            try:
                text = _text(fs, f"{root}/{files.constant(name)}", files.constant(name))
                constants[benchmark] = Record.from_json(text, files.constant(name))
            except (CorruptRecord, NewerRecord) as error:
                unreadable[name] = _with_way_out(
                    error, "remove it, and the next mtlbench run of the matrix makes it anew"
                )
    asked = f"{root}/{files.matrix_text(matrix)}"
    yaml = str(fs.cat_file(asked).decode(errors="replace")) if fs.exists(asked) else ""
    return Results(store, manifest, records, failures, unreadable, constants, yaml)


def _with_way_out(error: CorruptRecord | NewerRecord, way_out: str) -> str:
    """Why a record cannot be read, and what to do. way_out: where the record is damaged."""
    return f"{error}; {way_out if isinstance(error, CorruptRecord) else 'update mtlbench to read it'}"


def _record(text: str, cell_id: str) -> Record:
    record = Record.from_json(text, files.record(cell_id))
    if record.id != cell_id:
        raise CorruptRecord(f"{files.record(cell_id)}: holds the record of {record.id}")
    return record


def matrices(store: str) -> list[str]:
    """Names of the matrices that were run into a store."""
    fs, root = open_store(store)
    folder = f"{root}/{files.MATRICES}"
    if not fs.isdir(folder):
        return []
    return files.matrix_names(path.rsplit("/", 1)[-1] for path in fs.ls(folder, detail=False))


def history(store: str, cell_id: str) -> Events:
    """The history of a cell. It has no rows where the store has no history of this cell."""
    fs, root = open_store(store)
    name = files.history(cell_id)
    path = f"{root}/{name}"
    found = files.read_history(fs.cat_file(path)) if fs.exists(path) else Events([], [])
    if found.unreadable:
        lines = f"{len(found.unreadable)} of its {len(found.unreadable) + len(found.rows)} lines cannot be read"
        damage.notice(name, f"{name} is damaged, and {lines} and are left out; {again(cell_id)}")
    return found


def shown(store: str, benchmark: str) -> Shown | None:
    """The test images of a benchmark that are shown. None where the store has none, or where their file is damaged."""
    way_out = "remove it, and the next `mtlbench run` of a matrix with the benchmark writes it anew"
    return _shown(store, files.shown(benchmark), f"no predictions are shown; {way_out}")


def samples(store: str, cell_id: str) -> Shown | None:
    """What a cell predicts for the shown images. None where the store has none, or where the file is damaged."""
    return _shown(store, files.samples(cell_id), f"its predictions are not shown; {again(cell_id)}")


def again(cell_id: str) -> str:
    """The way out where a file of a finished cell is damaged."""
    return f"`mtlbench run ... --rerun all --only {cell_id}` trains the cell anew"


def _shown(store: str, name: str, then: str) -> Shown | None:
    fs, root = open_store(store)
    if not fs.exists(f"{root}/{name}"):
        return None
    try:
        return files.read_shown(fs.cat_file(f"{root}/{name}"), name)
    except CorruptRecord:
        damage.notice(name, f"{name} is damaged, so that {then}")
        return None


def totals(store: str, cell_id: str) -> dict[str, NDArray[np.float64]] | None:
    """The statistics of a cell, summed over its test images: task -> [S].

    Returns None where the cell has no per_image.parquet. Raises CorruptRecord that names the file where the file cannot
    be read.
    """
    fs, root = open_store(store)
    path = f"{root}/{files.per_image(cell_id)}"
    if not fs.exists(path):
        return None
    with _of_images(cell_id):
        rows = files.read_per_image(fs.cat_file(path), ["task", "statistics"], path).to_pandas()
        try:
            return {str(task): np.stack(list(of["statistics"])).sum(0) for task, of in rows.groupby("task")}
        except (ValueError, TypeError) as error:
            raise CorruptRecord(f"{path}: the statistics of a task differ in length ({error})") from error


def influence(store: str, cell_id: str) -> dict[str, pd.Series[float]] | None:
    """What each test image contributes to the primary scores of a cell: task -> value by image id, sorted.

    The value is N times the derivative of the score by the weight of the image, where N images have a label of the
    task. It has the unit of the score, and its mean over the images is 0. It is NaN where the score is undefined or has
    no derivative. Returns None where the cell has no per_image.parquet. Raises CorruptRecord that names the file where
    the file cannot be read, or where an image occurs twice for a task.
    """
    fs, root = open_store(store)
    path = f"{root}/{files.per_image(cell_id)}"
    if not fs.exists(path):
        return None
    with _of_images(cell_id):
        rows = files.read_per_image(fs.cat_file(path), ["image", "task", "influence"], path).to_pandas()
        values, of = rows.set_index("image")["influence"].astype(float), rows["task"].to_numpy()
        found = {str(task): values[of == task].sort_index() for task in sorted(set(of))}
        if any(each.index.has_duplicates for each in found.values()):
            raise CorruptRecord(f"{path}: an image occurs twice for a task")
    return found


@contextlib.contextmanager
def _of_images(cell_id: str) -> Iterator[None]:
    """Have it noticed where the block finds the per_image.parquet of a cell damaged."""
    try:
        yield
    except CorruptRecord:
        name = files.per_image(cell_id)
        damage.notice(name, f"{name} is damaged, so that no interval over images has the cell; {again(cell_id)}")
        raise
