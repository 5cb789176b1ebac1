"""What MLflow is to show of a cell, made from the store alone. Nothing here speaks to MLflow.

A run's metrics, by the prefix that groups its charts:

    test/TASK_METRIC   final scores          delta/m, delta/TASK   Eq. (6), percent
    val/...  train/... the history           cost/...              parameters, seconds, bytes
    system/...         what the training used of its machine
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import yaml

from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.files import Events
from mtlbench.results.records.reading import history
from mtlbench.results.records.record import Entry, Manifest, Record, Score
from mtlbench.results.report.drawing.colors import color
from mtlbench.results.summary.tuning import is_trial

State = Literal["waiting", "running", "finished", "failed"]

LONGEST = 6000  # characters of a parameter that MLflow keeps
HISTORY, RECORD = "mtlbench.history", "mtlbench.record"  # tags: how far a run is projected
USAGE = "mtlbench.usage"  # tag: the last step whose use of the machine is projected
KIND = "kind"  # tag: CELL, "aggregate" (a row of a table; tracking/rows.py) or "report" (tables and figures)
CELL = "cell"
STRANGE = "not_comparable"  # tag: how the scores of a row differ from the scores of the other rows
NOTE, COLOR = "mlflow.note.content", "mlflow.runColor"  # tags that MLflow's pages read


@dataclass(frozen=True)
class Point:
    """One value of one metric, as MLflow keeps it."""

    name: str
    value: float
    step: int
    time: float | None = None  # in seconds since 1970; None for what has no clock


@dataclass(frozen=True)
class View:
    """What the store says of a cell at one moment."""

    entries: tuple[Entry, ...]  # the rows of the matrix that this cell serves; a single-task cell serves several
    state: State
    config: dict[str, Any] | None  # as harness/matrix/cell.py dumps it; None before it was written
    history: Events
    record: Record | None
    failure: dict[str, Any] | None
    log: str = ""  # of a failed cell
    usage: Sequence[Mapping[str, Any]] = ()  # events, as in a history

    @property
    def ended(self) -> int | None:
        """When the cell ended, in milliseconds since 1970; None while it runs, and where nothing says when."""
        found = None if self.record is None else ended(self.record)
        return found or (int(1000 * self.failure["time"]) or None if self.failure else None)


def ended(record: Record) -> int | None:
    """When a cell with a record ended, in milliseconds since 1970; None where the record does not say."""
    with suppress(KeyError, TypeError, ValueError):  # older records, and those that people have written into
        return int(1000 * datetime.fromisoformat(record.provenance["finished"]).timestamp())
    return None


def started(record: Record, end: int) -> int:
    """When a cell that ended at `end` began, by the time of its training."""
    return end - int(1000 * record.cost.get("train_seconds", 0.0))


def view(store: str, manifest: Manifest, cell_id: str, state: State) -> View:
    """Read a cell. Raises KeyError for a cell that the matrix does not expect, FileNotFoundError for a finished cell
    without a record, CorruptRecord for files that do not hold what they should."""
    entries = manifest.entries_of(cell_id)
    if not entries:
        raise KeyError(f"matrix {manifest.name!r} expects no cell {cell_id!r}")
    source = Store(store)
    record = source.record(cell_id) if state == "finished" else None
    if state == "finished" and record is None:
        raise FileNotFoundError(f"cell {cell_id} is said to be finished and has no record in {source.url}")
    config = record.cell if record else None
    if config is None and source.exists(files.config(cell_id)):
        config = source.cell(cell_id).model_dump(mode="json")
    failure = source.failure(cell_id) if state == "failed" else None
    has_log = failure is not None and source.exists(files.log(cell_id))
    log = source.get(files.log(cell_id)).decode(errors="replace") if has_log else ""
    used = source.get(files.usage(cell_id)) if source.exists(files.usage(cell_id)) else b""
    return View(entries, state, config, history(store, cell_id), record, failure, log, files.read_history(used).rows)


def artifacts(store: str, record: Record) -> dict[str, str]:
    """The files that the run of a finished cell has: its record, its settings, and the log where there is one."""
    log = Store(store).get_those_there([files.log(record.id)]).get(files.log(record.id))
    found = {files.RECORD: record.to_json(), files.CONFIG: yaml.safe_dump(record.cell, sort_keys=False)}
    return found if log is None else {**found, files.LOG: log.decode(errors="replace")}


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """("train.lr", "0.0001"), ...: leaves by their dotted names. What is None or empty is left out.

    A value is cut where MLflow cuts it, so that a run with a long value is not taken for one of another cell.
    """
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            if value:
                yield f"{prefix}{key}", " ".join(str(item) for item in value)[:LONGEST]
        elif value is not None and value != "":
            yield f"{prefix}{key}", str(value)[:LONGEST]


def run_name(entries: Sequence[Entry], manifest: Manifest) -> str:
    """``PAD-Net · seed 0 · semseg+depth``, and the benchmark where the matrix has more than one. The longest part is
    last, for MLflow's lists cut names at their end."""
    entry = entries[0]
    benchmark = [entry.benchmark] if len({each.benchmark for each in manifest.entries}) > 1 else []
    search = ["search"] if entry.preliminary else []
    return " · ".join([entry.label, *search, f"seed {entry.seed}", *benchmark, "+".join(entry.tasks)])


def tags(view: View, manifest: Manifest) -> dict[str, str]:
    """What a run is found, grouped and judged by. Of the provenance the plain values; versions are in record.json."""
    entry = view.entries[0]
    labels = list(dict.fromkeys(entry.label for entry in manifest.entries))
    provenance = view.record.provenance if view.record else {}
    tags = {key: str(value) for key, value in provenance.items() if isinstance(value, str | int | float)}
    tags |= {
        KIND: CELL,
        "matrix": manifest.name,
        "cell_id": entry.id,
        "label": ", ".join(dict.fromkeys(entry.label for entry in view.entries)),
        "method": entry.method,
        "tasks": "+".join(entry.tasks),
        "task_sets": ", ".join(dict.fromkeys("+".join(entry.task_set) for entry in view.entries)),
        "benchmark": entry.benchmark,
        "seed": str(entry.seed),
        "state": view.state,
    }
    tags |= {COLOR: color(labels, entry.label)} if entry.label in labels else {}  # the row of a control has none
    if view.record:
        undefined = [f"{score.task}_{score.metric}" for score in view.record.scores if score.value is None]
        tags |= {"undefined": ", ".join(undefined)} if undefined else {}
        tags |= {"derived_from": " ".join(view.record.derived_from)} if view.record.derived_from else {}
    if view.history.unreadable:
        tags["history"] = f"without {len(view.history.unreadable)} lines that cannot be read"
    if view.failure:
        tags["error"] = str(view.failure["error"])[:500]
        path = _verbatim(" ".join(str(view.failure["log"])[-1000:].split()))
        where = f"artifact `{files.LOG}`, and {path}" if view.log else path
        tags[NOTE] = f"**Failed** after {view.failure['attempts']} attempt(s); log: {where}\n\n" + _verbatim(
            f"\n{str(view.failure['traceback'])[-4000:]}\n", shortest=3
        )
    return tags


def _verbatim(text: str, shortest: int = 1) -> str:
    """A text as code of Markdown, which it cannot leave: no run of backticks in it is as long as the fence.

    A line break after the fence makes it a block. Twenty backticks in a row are all that is kept of more.
    """
    text = re.sub("`{21,}", 20 * "`", text)
    fence = "`" * max([shortest, *(len(run) + 1 for run in re.findall("`+", text))])
    room = " " if "`" in text and shortest == 1 else ""  # Markdown takes one space away
    return f"{fence}{room}{text}{room}{fence}"


def curve(rows: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points of a history; an undefined value has none. val/TASK/METRIC is named as the final scores are."""
    names = {row["name"]: row["name"] for row in rows}
    names |= {name: "val/" + "_".join(name.split("/")[1:]) for name in names if name.startswith("val/")}
    return [
        Point(names[row["name"]], float(row["value"]), int(row["step"]), row.get("time"))
        for row in rows
        if row["value"] is not None
    ]


def metric(score: Score, record: Record) -> str:
    """A trial's scores are of validation images."""
    return f"{'val' if is_trial(record) else 'test'}/{score.task}_{score.metric}"


def rounded(value: float) -> float:
    """To six significant digits: what fits a column of MLflow's tables, and more than any test set resolves."""
    return float(f"{value:.6g}")


def finals(record: Record) -> list[Point]:
    """Test scores and costs, all at step 0: MLflow draws such a metric as a bar and every other one as a curve."""
    defined = [(metric(score, record), score.value) for score in record.scores if score.value is not None]
    scores = [Point(name, rounded(value), 0) for name, value in defined]
    return scores + [Point(f"cost/{name}", float(value), 0) for name, value in record.cost.items()]


def projected(tags: Mapping[str, str]) -> int:
    """How many rows of its history a run holds, by the tag that was written after them."""
    return int(tags.get(HISTORY, "0").split()[0])


def unseen(view: View, tags: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """What a run does not show yet of the history and of the use of the machine.

    A training that resumes measures some epochs anew. The run keeps what it shows of them, since MLflow only appends.
    """
    return [*view.history.rows[projected(tags) :], *(row for row in view.usage if row["step"] > _measured(tags))]


def _measured(tags: Mapping[str, str]) -> int:
    """The last step of which a run shows what it used."""
    return int(tags.get(USAGE, "-1"))


def progress(view: View, have: Mapping[str, str]) -> dict[str, str]:
    """The tags that say how far a run is projected. have: its tags before. A history may be shorter than what was
    projected of it, after a training that was cut short resumed from its last checkpoint."""
    count = max(projected(have), len(view.history.rows))
    tags = {HISTORY: f"{count} {digest(view.history.rows[:count])}"} if count == len(view.history.rows) else {}
    if view.usage:
        tags[USAGE] = str(max(_measured(have), *(int(row["step"]) for row in view.usage)))
    return tags | ({RECORD: digest(view.record.to_json())} if view.record else {})


def contradicts(params: Mapping[str, str], tags: Mapping[str, str], view: View) -> bool:
    """Whether a run shows what the store no longer says: the cell was run again, or resumed to other numbers. MLflow
    only appends, so such a run is deleted and made anew."""
    rows = projected(tags)
    if len(view.history.rows) < rows:
        other_history = view.record is not None  # otherwise it may yet catch up
    else:
        other_history = rows > 0 and tags[HISTORY] != f"{rows} {digest(view.history.rows[:rows])}"
    other_record = RECORD in tags and tags[RECORD] != progress(view, {}).get(RECORD)
    other_config = any(params.get(key, value) != value for key, value in flatten(view.config or {}))
    return other_history or other_record or other_config


def digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
