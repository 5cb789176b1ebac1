"""Where cells live: a folder over fsspec. The store is the truth; Tune schedules and MLflow shows.

A cell is finished when its record exists. The record is written last. The names of the files are in
results/records/files.py. Nothing here renames or locks files on the store, because object
stores can do neither. On a local disk a file is written under a temporary name first; elsewhere a put is atomic.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from fsspec.implementations.local import LocalFileSystem
from pydantic import ValidationError

from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.store.patience import PATIENCE, DiskFull, Found, patiently, room, unwritten
from mtlbench.results.records import files
from mtlbench.results.records.reading import open_store
from mtlbench.results.records.record import CorruptRecord, Record, first_mistake
from mtlbench.results.records.remote import StoreError as StoreError

LONGEST_ERROR = 400  # characters; the rest is in the traceback and in the log of the cell

_guards: dict[str, Callable[[], None]] = {}  # root of a store -> what says whether this process may change it

# trained: only scores are missing that take long and need no GPU
State = Literal["new", "started", "trained", "finished", "failed"]


def shortened(error: str) -> str:
    """An error in at most `LONGEST_ERROR` characters."""
    return error if len(error) <= LONGEST_ERROR else f"{error[: LONGEST_ERROR - 3]}..."


class Store:
    """Cells, matrices and data bindings under one URL. Paths given to the methods are relative to it."""

    def __init__(self, url: str | Path) -> None:
        self.fs, self.root = open_store(str(url))
        self.local = isinstance(self.fs, LocalFileSystem)
        self.url = os.path.abspath(self.root) if self.local else str(url)
        if self.local:
            self.root = self.url

    # files ------------------------------------------------------------------------------------------------------------

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def put(self, name: str, content: bytes | str, *, patience: float = PATIENCE) -> None:
        """Write a file so that a reader sees either the old content or all of the new.

        patience: for how many seconds to wait for room on a full disk, or for a store that does not answer. Raises
        StoreError naming the file and the disk, or the store.
        """
        data, path = content.encode() if isinstance(content, str) else content, self.path(name)

        def write() -> None:
            self._ask(name)
            self._write(path, data)

        try:
            patiently(self.root, write, patience)
        except OSError as error:
            raise unwritten(path, len(data), error, self.url) from error

    def _write(self, path: str, data: bytes) -> None:
        if not self.local:
            self.fs.pipe_file(path, data)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.{uuid.uuid4().hex[:8]}{files.UNFINISHED}"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:  # also Ctrl-C
            with contextlib.suppress(OSError):
                os.remove(temporary)
            raise

    def _read(self, read: Callable[[], Found], patience: float | None = None) -> Found:
        """What `read` returns. Without a `patience`, a process that drives the store, or works for one that does, waits
        for a store that does not answer. A command that only looks does not.
        """
        if self.local:
            return read()
        return patiently(self.root, read, (PATIENCE if self.root in _guards else 0) if patience is None else patience)

    def get(self, name: str, *, patience: float | None = None) -> bytes:
        """The content of a file. Raises FileNotFoundError where there is none, and StoreError."""
        return bytes(self._read(lambda: self.fs.cat_file(self.path(name)), patience))

    def get_those_there(self, names: Iterable[str]) -> dict[str, bytes]:
        """The content of each of the files that exists. An object store is asked for all of them at once."""
        by_path = {self.path(name): name for name in names}
        found: dict[str, bytes] = {}
        contents = self._read(lambda: self.fs.cat(list(by_path), on_error="return")) if by_path else {}
        for path, content in contents.items():
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                raise content
            if not isinstance(content, Exception):
                found[by_path[path]] = bytes(content)
        return found

    def exists(self, name: str) -> bool:
        return bool(self._read(lambda: self.fs.exists(self.path(name))))

    def names(
        self, folder: str, kind: Literal["file", "directory"] | None = None, *, patience: float | None = None
    ) -> list[str]:
        """Names of the files and folders in a folder, sorted; [] where it does not exist. kind: only of one of them.

        Hidden ones are left out: a file manager or a notebook has put them there.
        """
        try:
            found = self._read(lambda: self.fs.ls(self.path(folder), detail=True, refresh=True), patience)
        except FileNotFoundError:
            return []
        names = [str(each["name"]).rstrip("/").rsplit("/", 1)[-1] for each in found if kind in (None, each["type"])]
        return sorted(name for name in names if not name.startswith(".") and not name.endswith(files.UNFINISHED))

    def remove(self, name: str) -> None:
        self._ask(name)
        if self.exists(name):
            with contextlib.suppress(FileNotFoundError):  # where an answer was lost, it is gone at the next try
                self._read(lambda: self.fs.rm(self.path(name), recursive=True))

    def set_aside(self, name: str) -> str:
        """Rename a corrupt file or folder out of the way, and return its new name."""
        self._ask(name)
        aside = f"{name}{files.ASIDE}{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
        self.fs.mv(self.path(name), self.path(aside), recursive=True)
        return aside

    def probe(self) -> None:
        """Raise StoreError unless a file can be written, read back and removed; leaves no new folder behind."""
        name = f"{files.PROBE}{uuid.uuid4().hex[:8]}"
        missing = [folder for folder in (Path(self.root), *Path(self.root).parents) if not folder.exists()]
        try:
            self.put(name, b"probe", patience=0)
        except StoreError as error:  # of the store, and not of a file that nobody knows
            why = str(error).replace(f"write {self.path(name)}", f"write into the store {self.url}")
            raise type(error)(why if isinstance(error, DiskFull) else f"{why}; give another --store") from error
        if self.get(name) != b"probe":
            raise StoreError(f"{self.url}: a file written there reads back differently")
        self.remove(name)
        for folder in missing if self.local else []:
            folder.rmdir()

    def refusal(self) -> str:
        """Why nothing can be written here, as far as it is known without writing; "" where nothing is known.

        `probe` finds more, since it writes. What it says begins with the same words.
        """
        if not self.local:
            return ""
        there = next(folder for folder in (Path(self.root), *Path(self.root).parents) if os.path.lexists(folder))
        if not there.is_dir():
            why = f"{there} is no folder"
        elif not os.access(there, os.W_OK | os.X_OK):
            why = f"{there} may not be written to"
        elif not shutil.disk_usage(there).free:  # also below /proc and /sys, which are no disks
            why = f"there is no room in {there} ({room(f'{there}/x')})"
        else:
            return ""
        return f"cannot write into the store {self.url}: {why}; give another --store"

    def guard(self, check: Callable[[], None]) -> bool:
        """Have `check` called before this process changes anything here, through whichever Store object.

        It raises StoreError where the process must not. Returns False where there is another check, which stays.
        """
        return _guards.setdefault(self.root, check) == check

    def unguard(self, check: Callable[[], None]) -> None:
        """End what `guard` began."""
        if _guards.get(self.root) == check:
            del _guards[self.root]

    def _ask(self, name: str) -> None:
        check = _guards.get(self.root)
        if check and not name.startswith(f"{files.LEASE}/"):  # the check itself writes there
            check()

    # cells ------------------------------------------------------------------------------------------------------------

    @staticmethod
    def folder(cell_id: str) -> str:
        return files.cell(cell_id)

    def put_cell(self, cell: Cell) -> None:
        self.put(files.config(cell.id), yaml.safe_dump(cell.model_dump(mode="json"), sort_keys=False))

    def cell(self, cell_id: str) -> Cell:
        """Read a cell. Raises FileNotFoundError where there is none, CorruptRecord where the file holds none."""
        name = files.config(cell_id)
        try:
            return Cell.model_validate(yaml.safe_load(self.get(name)))
        except (yaml.YAMLError, ValueError) as error:  # mistakes that pydantic or UTF-8 find are ValueErrors
            what = first_mistake(error) if isinstance(error, ValidationError) else str(error).splitlines()[0]
            raise CorruptRecord(
                f"{self.path(name)}: not a cell ({what}); a run that trains the cell writes it anew"
            ) from error

    def cells(self) -> list[str]:
        return self.names(files.CELLS, "directory")

    def folders(self) -> dict[str, set[str]]:
        """cell id -> the names in its folder, for all cells. An object store lists them all at once."""
        if self.local:
            return {cell_id: {*self.names(self.folder(cell_id))} for cell_id in self.cells()}
        found: dict[str, set[str]] = {}
        for path in self._read(lambda: self.fs.find(self.path(files.CELLS))):
            cell_id, *below = path.removeprefix(self.path(f"{files.CELLS}/")).split("/")
            found.setdefault(cell_id, set()).update(below[:1])
        return found

    def state(self, cell_id: str) -> State:
        return state_of(self.names(self.folder(cell_id)))

    def record(self, cell_id: str) -> Record | None:
        """The record of a finished cell; None where there is none. Raises CorruptRecord, naming the file."""
        content = self.get_those_there([files.record(cell_id)]).get(files.record(cell_id))
        return None if content is None else self.read_record(cell_id, content)

    def read_record(self, cell_id: str, content: bytes) -> Record:
        """The record in the content of a finished cell's file. Raises CorruptRecord, naming the file."""
        try:
            return self._parsed(cell_id, files.record(cell_id), content)
        except CorruptRecord as error:
            raise CorruptRecord(f"{error}; `mtlbench run` sets it aside and trains the cell again") from error

    def trained(self, cell_id: str) -> Record | None:
        """The record of a cell whose expensive scores are still missing. Raises CorruptRecord, naming the file."""
        return self._record(cell_id, files.trained(cell_id))

    def _record(self, cell_id: str, name: str) -> Record | None:
        content = self.get_those_there([name]).get(name)
        return None if content is None else self._parsed(cell_id, name, content)

    def _parsed(self, cell_id: str, name: str, content: bytes) -> Record:
        record = Record.from_json(content.decode(errors="replace"), self.path(name))
        if record.id != cell_id:
            raise CorruptRecord(f"{self.path(name)}: holds the record of {record.id}")
        return record

    def records(self, cell_ids: Iterable[str]) -> tuple[dict[str, Record], list[str]]:
        """The records of the finished cells. A corrupt one is set aside with a warning, and its cell runs again."""
        records, warnings = {}, []
        for cell_id in cell_ids:
            try:
                record = self._record(cell_id, files.record(cell_id))
            except CorruptRecord as error:
                aside = self.set_aside(files.record(cell_id))
                warnings.append(f"{error}; kept as {aside}, and the cell runs again")
                continue
            if record is not None:
                records[cell_id] = record
        return records, warnings

    def put_record(self, record: Record) -> None:
        self.put(files.record(record.id), record.to_json())
        self.remove(files.trained(record.id))
        self.remove(files.failure(record.id))

    def put_trained(self, record: Record) -> None:
        """Keep a record whose expensive scores are still missing."""
        self.put(files.trained(record.id), record.to_json())
        self.remove(files.failure(record.id))

    def put_failure(self, cell_id: str, error: str, traceback: str, attempts: int | None = None) -> None:
        """Write down why a cell has no record, shortened. attempts: how many have failed by now; None: one more."""
        attempts = 1 + self.failures(cell_id) if attempts is None else attempts
        log = self.path(files.log(cell_id))
        content = {
            "error": shortened(error),
            "traceback": traceback,
            "attempts": attempts,
            "log": log,
            "time": time.time(),
        }
        self.put(files.failure(cell_id), json.dumps(content, indent=1) + "\n")

    def failure(self, cell_id: str) -> dict[str, Any] | None:
        """Why a cell failed, as `files.read_failure` returns it; None where nothing says that it has."""
        name = files.failure(cell_id)
        content = self.get_those_there([name]).get(name)
        return None if content is None else files.read_failure(content, self.path(name))

    def failures(self, cell_id: str) -> int:
        """How many attempts at a cell have failed since it was last begun by a run."""
        return int((self.failure(cell_id) or {"attempts": 0})["attempts"])

    def forget(self, cell_id: str) -> None:
        """Remove what a cell has produced, so that it starts anew."""
        decisive = (files.RECORD, files.TRAINED)  # first, or a kill would leave a cell that looks finished
        names = self.names(self.folder(cell_id))
        for name in [*decisive, *(name for name in names if name not in decisive and name != files.CONFIG)]:
            self.remove(f"{self.folder(cell_id)}/{name}")

    # one copy of the data, one driver --------------------------------------------------------------------------------

    def bind(self, benchmark: str, fingerprint: str) -> None:
        """Tie a benchmark's configuration to one copy of the data. Raises StoreError where it is tied to another."""
        name = files.data(hashlib.sha256(benchmark.encode()).hexdigest()[:12])
        if not self.exists(name):
            self.put(name, json.dumps({"benchmark": benchmark, "fingerprint": fingerprint}, indent=1) + "\n")
            return
        try:
            bound = json.loads(self.get(name))["fingerprint"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.path(name)}: does not say which copy of {benchmark} the store's results are on; remove it if "
                "they are on this one"
            ) from error
        if bound != fingerprint:
            raise StoreError(
                f"{self.url} holds results on another copy of {benchmark}: data fingerprint {bound}, "
                f"here {fingerprint}; use another --store for this copy"
            )


def state_of(names: Collection[str]) -> State:
    """The state of a cell, from the names in its folder."""
    if files.RECORD in names:
        return "finished"
    if files.FAILURE in names:
        return "failed"
    if files.TRAINED in names:
        return "trained"
    return "started" if {files.CHECKPOINTS, files.HISTORY} & {*names} else "new"
