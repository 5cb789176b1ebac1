"""Records and manifests: what a finished cell says of itself, and what a matrix expects of a store."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

SCHEMA = 1
FINITE = ConfigDict(allow_inf_nan=False)


class NewerRecord(ValueError):
    """A record that a newer version wrote. The file is whole and must stay as it is. The message names the file."""


class CorruptRecord(ValueError):
    """A file of the store that does not hold what it should. The message names the file."""


def require_name(name: Any) -> str:
    """The name, which becomes a part of a path: of a cell, a matrix, a benchmark, a task, or a constant predictor.

    Raises ValueError for what is no such name. A file of a store that somebody has written into must not lead out of
    the store or out of the folder of a report, and must not be read as a pattern of several files.
    """
    if not isinstance(name, str) or not re.fullmatch(r"(?!\.)[^/\\*?\[\]\x00-\x1f\x7f]+", name):
        raise ValueError(f"{name!r} is no name that can be a part of a path")
    return name


def require_benchmark(name: Any) -> str:
    """The name of a benchmark, of which paths have the part after the colon of package.module:Name.

    Raises ValueError as `require_name` does.
    """
    require_name(require_name(name).rpartition(":")[2])
    return str(name)


@dataclass(frozen=True)
class Score:
    """The value of one metric for one task on the test split."""

    __pydantic_config__ = FINITE

    task: str
    metric: str
    value: float | None  # None where it is undefined: no pixel has a label, or the task has no metric
    higher_is_better: bool
    primary: bool  # enters Eq. (6)
    definition: str = ""  # what was measured and how, in a sentence
    protocol: str = ""  # a hash of all that fixes the number besides the network; "" in records older than this field
    # How the number is printed. Records that are older than these three fields get the default values.
    title: str = ""  # "mIoU"
    unit: str = ""  # "%"
    decimals: int = 4

    @property
    def heading(self) -> str:
        """The name of the score for readers. In a record that is too old to have a title, it is the metric's."""
        return self.title or self.metric


def in_words(task: str) -> str:
    """The name of a task for readers, as in "human parts". Files of numbers have the name as it is: "human_parts"."""
    return task.replace("_", " ")


def differences(score: Score, other: Score) -> list[tuple[str, object, object]]:
    """What keeps two scores from being compared, as (name, value of `score`, value of `other`); [] where nothing does.

    Where the definitions differ, the hashes of the protocols differ too, so the hashes are not named. Two scores that
    are printed in different ways can be compared.
    """
    names = ["task", "metric", "higher_is_better", "definition"]
    if score.definition == other.definition and score.protocol and other.protocol:
        names.append("protocol")
    pairs = [(name, getattr(score, name), getattr(other, name)) for name in names]
    return [(name, ours, theirs) for name, ours, theirs in pairs if ours != theirs]


@dataclass(frozen=True)
class Record:
    """A finished cell."""

    __pydantic_config__ = FINITE

    id: str
    cell: dict[str, Any]  # the whole configuration, as harness/matrix/cell.py dumps it
    scores: tuple[Score, ...]
    cost: dict[str, float]  # parameters, backbone_parameters, macs, seconds_per_step, train_seconds, peak_memory_bytes
    provenance: dict[str, Any]  # commit, source hash, versions, device, data fingerprint, time
    findings: dict[str, Any] = field(default_factory=dict)
    derived_from: tuple[str, ...] = ()
    schema: int = SCHEMA

    def primary(self) -> dict[str, Score]:
        """task -> the score that enters Eq. (6)."""
        return {score.task: score for score in self.scores if score.primary}

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str) -> Record:
        """The record in `text`. Raises CorruptRecord or NewerRecord that names `source`."""
        if (schema := _schema(text)) > SCHEMA:
            raise NewerRecord(f"{source}: written by a newer version of mtlbench (schema {schema}, here {SCHEMA})")
        record = _checked(RECORD, text, f"{source}: not a record")
        with _naming(f"{source}: not a record"):
            for name in (record.id, *record.derived_from):
                require_name(name)
        return record


@dataclass(frozen=True)
class Entry:
    """A cell that a matrix expects, and the row of the table that the cell belongs to."""

    id: str
    label: str  # the row: "PAD-Net"
    method: str
    tasks: tuple[str, ...]  # what this cell trains
    task_set: tuple[str, ...]  # the table it belongs to; a single-task cell belongs to several
    benchmark: str
    seed: int
    preliminary: bool = False  # a search: its row shows the cell that is trained with what the search found
    starts: tuple[str, ...] = ()  # ids of the cells whose trained weights this cell starts from


Expected = Literal["same", "better", "falls"]


@dataclass(frozen=True)
class ControlTable:
    """The cells of one control: those of a row, and of the baseline where the control has its own."""

    name: str  # "other seeds"
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Control:
    """A comparison whose result is known before, by which a matrix shows that it can tell methods apart.

    expects: "same" trains the row once more with other seeds, so that it is not better; "better" gives it more training
    images, so that it is better; "falls" has a table for each task set, from the most related tasks to the least, and
    Delta_m over `tasks` falls in this order.
    """

    expects: Expected
    row: str  # the label that is repeated
    tables: tuple[ControlTable, ...]
    tasks: tuple[str, ...] = ()  # of "falls": the tasks whose mean gain is judged; () means all tasks of a table


@dataclass(frozen=True)
class Manifest:
    """What a matrix expects of a store."""

    name: str
    title: str
    caption: str
    baseline: str  # the label whose scores Eq. (6) divides by; "" where no row can be the baseline
    demonstration: bool  # True where the table shows only that the path works, and compares nothing
    entries: tuple[Entry, ...]
    constants: dict[str, str]  # benchmark -> id of its constant predictor's record
    margin: float = 0.5  # points of Delta_m inside which two rows count as equivalent
    controls: tuple[Control, ...] = ()
    written: str = ""  # a hash of what the matrix was read from; "" where its cells also depend on something else
    command: str = ""  # what was typed to run the matrix, without the store; "" where nobody typed it

    @property
    def ids(self) -> list[str]:
        """The ids of all cells, each once: those of the tables, then those of the controls alone."""
        return list(self.cells())

    def cells(self) -> dict[str, Entry]:
        """Cell id -> an entry of the cell, of a table where a table has it. Labels of the controls name the control."""
        found: dict[str, Entry] = {}
        for entry in (*self.entries, *self._of_controls()):
            found.setdefault(entry.id, entry)
        return found

    def entries_of(self, cell_id: str) -> tuple[Entry, ...]:
        """The entries of a cell in the tables, or in the controls where no table has it."""
        for entries in (self.entries, tuple(self._of_controls())):
            if found := tuple(entry for entry in entries if entry.id == cell_id):
                return found
        return ()

    def _of_controls(self) -> Iterator[Entry]:
        """The entries of the controls, whose labels name the control."""
        for control in self.controls:
            for table in control.tables:
                yield from (replace(entry, label=f"{entry.label}, {table.name}") for entry in table.entries)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str) -> Manifest:
        """The manifest in `text`. Raises CorruptRecord that names `source` and the way out."""
        try:
            manifest = _checked(MANIFEST, text, f"{source}: not a matrix manifest")
            with _naming(f"{source}: not a matrix manifest"):
                manifest.require_names()
        except CorruptRecord as error:
            raise CorruptRecord(f"{error}; move the file away, or run the matrix again") from error
        return manifest

    def require_names(self) -> None:
        """Raise ValueError for a name that could lead out of a folder, and for an entry that lacks tasks."""
        of_controls = [task for control in self.controls for task in control.tasks]
        entries = [*self.entries, *self._of_controls()]
        for entry in entries:
            for name in (entry.id, *entry.starts, *entry.tasks, *entry.task_set):
                require_name(name)
            for tasks in (entry.tasks, entry.task_set):
                if not tasks or len(set(tasks)) < len(tasks):
                    raise ValueError(f"{entry.id}: its tasks are {list(tasks)}; each is named once, and at least one")
        for name in (self.name, *self.constants.values(), *of_controls):
            require_name(name)
        for name in (*self.constants, *(entry.benchmark for entry in entries)):
            require_benchmark(name)


def _schema(text: str) -> int:
    """The schema that a record names; 0 where it names none."""
    try:
        fields = from_json(text)
    except (ValueError, TypeError):  # TypeError: half of a surrogate pair, which is no text
        return 0
    schema = fields.get("schema") if isinstance(fields, dict) else None
    return schema if type(schema) is int else 0


RECORD, MANIFEST = TypeAdapter(Record), TypeAdapter(Manifest)
Kind = TypeVar("Kind")


def _checked(kind: TypeAdapter[Kind], text: str, complaint: str) -> Kind:
    """What is written in `text`, with every field of its type. Raises CorruptRecord that begins with `complaint`.

    Fields that are not known are left out: a newer version has written them, and they change no number.
    """
    try:
        from_json(text, allow_inf_nan=False)  # also where any value is allowed
        return kind.validate_json(text, strict=True)
    except ValidationError as error:
        raise CorruptRecord(f"{complaint} ({first_mistake(error)})") from error
    except (ValueError, TypeError) as error:
        raise CorruptRecord(f"{complaint} ({error})") from error


def first_mistake(error: ValidationError) -> str:
    """The first of the mistakes, in one line that names its place."""
    first = error.errors(include_url=False)[0]
    what = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
    return " ".join(what.split())


@contextlib.contextmanager
def _naming(complaint: str) -> Iterator[None]:
    """Raise CorruptRecord that begins with `complaint` in place of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise CorruptRecord(f"{complaint} ({error})") from error
