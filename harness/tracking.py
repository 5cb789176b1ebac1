"""MLflow shows what the store holds: an experiment a matrix, a run a cell. Only the driver speaks to it.

The store is the truth and MLflow a projection of it. A run is looked up by its cell's id, brought up to date from the
cell's record and history, and made anew where it contradicts them; projecting twice changes nothing. Logging live is
the same projection, called while the history still grows.

A run's metrics, by the prefix that groups its charts:

    test/TASK_METRIC   final scores          delta/m, delta/TASK   Eq. (6), percent
    val/...  train/... the history           cost/...              parameters, seconds, bytes
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from harness.store import Store
from results.record import Entry, Manifest, Record, Score, history

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

State = Literal["waiting", "running", "finished", "failed"]

STATUS = {"waiting": "SCHEDULED", "running": "RUNNING", "finished": "FINISHED", "failed": "FAILED"}

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

# Nobody is told that a run took place, nothing is printed between the lines of the driver's table, and a server that
# is down costs seconds and not the ten minutes of MLflow's own patience.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}

RETRY_SECONDS = 30.0  # how long a tracking server that failed is left alone

HISTORY, RECORD = "mtlbench.history", "mtlbench.record"  # tags: how far a run is projected
OF_A_FAILURE = {"error", "mlflow.note.content"}  # tags that go when a cell is tried again

METRICS_A_CALL, PARAMS_A_CALL, TAGS_A_CALL = 800, 90, 90  # below the limits of log_batch: 1000 in all, 100, 100

log = logging.getLogger(__name__)


# where it is ----------------------------------------------------------------------------------------------------------


def default_uri(store: str) -> str:
    """The database beside a store on a local disk: ``sqlite:////abs/store/mlflow.db``.

    Raises ValueError for a store that is not on a local disk.
    """
    local = Store(store)
    if not local.local:
        raise ValueError(
            f"store {store!r} is not on a local disk, where MLflow's database could lie beside it; "
            "give --tracking-uri sqlite:////absolute/path/mlflow.db or the http:// address of an MLflow server"
        )
    return f"sqlite:///{local.root}/mlflow.db"


def check(uri: str) -> None:
    """Raise ValueError, in one line that says what to give instead, where `uri` is no place to track to.

    A server and a shared database are asked; an sqlite file need not exist yet, but its folder must, or be makeable.
    """
    scheme, shown = urlsplit(uri).scheme.split("+")[0], repr(_public(uri, uri))
    if scheme == "sqlite":
        _check_sqlite(uri)
        return
    if scheme not in ("http", "https", *DATABASES):
        raise ValueError(
            f"tracking URI {shown}: unknown kind; give sqlite:////absolute/path/mlflow.db, the http:// or https:// "
            "address of an MLflow server, or a postgresql:// or mysql:// database"
        )
    unusable: tuple[type[Exception], ...] = (*_tracking_errors(), ImportError)  # a database driver may be missing
    try:
        _client(uri).search_experiments(max_results=1)
    except unusable as error:
        raise ValueError(f"tracking URI {shown} does not answer: {_reason(error, uri)}") from error


def _check_sqlite(uri: str) -> None:
    path = Path(uri.partition("://")[2].removeprefix("/"))
    if not path.is_absolute():
        raise ValueError(f"tracking URI {uri!r}: the path must be absolute: sqlite:///{path.absolute()}")
    if path.is_dir():
        raise ValueError(f"tracking URI {uri!r}: {path} is a folder")
    if path.exists():
        with path.open("rb") as file:
            if file.read(16) not in (b"", b"SQLite format 3\0"):
                raise ValueError(f"tracking URI {uri!r}: {path} is not an sqlite database")
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"tracking URI {uri!r}: {folder} is not a folder that can be written to")


def _mlflow() -> ModuleType:
    """Imports MLflow, quietly; it takes a second, so only what speaks to it calls this."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # MLflow 3.17 maps a relation in a way that SQLAlchemy 2.1 advises against.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy", category=DeprecationWarning)
    import mlflow

    for name in ("mlflow.store.db.utils", "alembic"):  # every migration of a new database is an INFO line
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


def _client(uri: str) -> MlflowClient:
    client: MlflowClient = _mlflow().MlflowClient(uri)
    return client


def _tracking_errors() -> tuple[type[Exception], ...]:
    """What MLflow raises when it cannot do its work: its own errors, and those it lets through from below."""
    _mlflow()
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, RequestException, SQLAlchemyError


def _public(text: str, uri: str) -> str:
    """A text as it may be shown: without the password of the tracking URI."""
    password = urlsplit(uri).password
    return text.replace(f":{password}@", ":***@") if password else text


def _reason(error: Exception, uri: str) -> str:
    """An error's first line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _public(lines[0], uri)[:300]


# what is shown --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """One value of one metric, as MLflow keeps it."""

    name: str
    value: float
    step: int


@dataclass(frozen=True)
class View:
    """What the store says of a cell at one moment."""

    entries: tuple[Entry, ...]  # the rows of the matrix that this cell serves; a single-task cell serves several
    state: State
    config: dict[str, Any] | None  # as harness/cell.py dumps it; None before it was written
    rows: list[dict[str, Any]]  # the history
    record: Record | None
    failure: dict[str, Any] | None


def view(store: str, manifest: Manifest, cell_id: str, state: State) -> View:
    """Read a cell. Raises KeyError for a cell that the matrix does not expect, FileNotFoundError for a finished cell
    without a record, CorruptRecord for files that do not hold what they should."""
    entries = tuple(entry for entry in manifest.entries if entry.id == cell_id)
    if not entries:
        raise KeyError(f"matrix {manifest.name!r} expects no cell {cell_id!r}")
    source = Store(store)
    record = source.record(cell_id) if state == "finished" else None
    if state == "finished" and record is None:
        raise FileNotFoundError(f"cell {cell_id} is said to be finished and has no record in {source.url}")
    config = record.cell if record else None
    if config is None and source.exists(f"{source.folder(cell_id)}/cell.yaml"):
        config = source.cell(cell_id).model_dump(mode="json")
    failure = source.failure(cell_id) if state == "failed" else None
    return View(entries, state, config, history(store, cell_id), record, failure)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """("train.lr", "0.0001"), ...: leaves by their dotted names. What is None or empty is left out."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            if value:
                yield f"{prefix}{key}", " ".join(str(item) for item in value)
        elif value is not None and value != "":
            yield f"{prefix}{key}", str(value)


def run_name(entries: Sequence[Entry], several_benchmarks: bool) -> str:
    """``PAD-Net · seed 0 · semseg+depth``, and the benchmark where the matrix has more than one. The longest part is
    last, for MLflow's lists cut names at their end."""
    entry = entries[0]
    benchmark = [entry.benchmark] if several_benchmarks else []
    search = ["search"] if entry.preliminary else []
    return " · ".join([entry.label, *search, f"seed {entry.seed}", *benchmark, "+".join(entry.tasks)])


def tags(view: View, matrix: str) -> dict[str, str]:
    """What a run is found, grouped and judged by. Of the provenance the plain values; versions are in record.json."""
    entry = view.entries[0]
    provenance = view.record.provenance if view.record else {}
    tags = {key: str(value) for key, value in provenance.items() if isinstance(value, str | int | float)}
    tags |= {
        "matrix": matrix,
        "cell_id": entry.id,
        "label": ", ".join(dict.fromkeys(entry.label for entry in view.entries)),
        "method": entry.method,
        "tasks": "+".join(entry.tasks),
        "task_sets": ", ".join(dict.fromkeys("+".join(entry.task_set) for entry in view.entries)),
        "benchmark": entry.benchmark,
        "seed": str(entry.seed),
        "state": view.state,
    }
    if view.record:
        undefined = [f"{score.task}_{score.metric}" for score in view.record.scores if score.value is None]
        tags |= {"undefined": ", ".join(undefined)} if undefined else {}
        tags |= {"derived_from": " ".join(view.record.derived_from)} if view.record.derived_from else {}
    if view.failure:
        tags["error"] = str(view.failure["error"])[:500]
        tags["mlflow.note.content"] = (
            f"**Failed** after {view.failure['attempts']} attempt(s); log: `{view.failure['log']}`\n\n"
            f"```\n{str(view.failure['traceback'])[-4000:]}\n```"
        )
    return tags


def curve(rows: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points of a history; an undefined value has none. val/TASK/METRIC is named as the final scores are."""
    names = {row["name"]: row["name"] for row in rows}
    names |= {name: "val/" + "_".join(name.split("/")[1:]) for name in names if name.startswith("val/")}
    return [
        Point(names[row["name"]], float(row["value"]), int(row["step"])) for row in rows if row["value"] is not None
    ]


def metric(score: Score) -> str:
    return f"test/{score.task}_{score.metric}"


def rounded(value: float) -> float:
    """To six significant digits: what fits a column of MLflow's tables, and more than any test set resolves."""
    return float(f"{value:.6g}")


def finals(record: Record) -> list[Point]:
    """Test scores and costs, all at step 0: MLflow draws such a metric as a bar and every other one as a curve."""
    scores = [Point(metric(score), rounded(score.value), 0) for score in record.scores if score.value is not None]
    return scores + [Point(f"cost/{name}", float(value), 0) for name, value in record.cost.items()]


def projected(tags: Mapping[str, str]) -> int:
    """How many rows of its history a run holds, by the tag that was written after them."""
    return int(tags.get(HISTORY, "0").split()[0])


def progress(view: View, rows: int) -> dict[str, str]:
    """The tags that say how far a run is projected. A history may be shorter than what was projected of it, after a
    training that was cut short resumed from its last checkpoint."""
    count = max(rows, len(view.rows))
    tags = {HISTORY: f"{count} {_digest(view.rows[:count])}"} if count == len(view.rows) else {}
    return tags | ({RECORD: _digest(view.record.to_json())} if view.record else {})


def contradicts(params: Mapping[str, str], tags: Mapping[str, str], view: View) -> bool:
    """Whether a run shows what the store no longer says: the cell was run again, or resumed to other numbers. MLflow
    only appends, so such a run is deleted and made anew."""
    rows = projected(tags)
    if len(view.rows) < rows:
        other_history = view.record is not None  # otherwise it may yet catch up
    else:
        other_history = rows > 0 and tags[HISTORY] != f"{rows} {_digest(view.rows[:rows])}"
    other_record = RECORD in tags and tags[RECORD] != progress(view, 0).get(RECORD)
    other_config = any(params.get(key, value) != value for key, value in flatten(view.config or {}))
    return other_history or other_record or other_config


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def note(manifest: Manifest, scores: Mapping[str, Score], links: Mapping[str, str]) -> str:
    """Markdown above the runs: what the matrix is, how its numbers read, and where to look. scores: by metric, any
    run's; links: text -> address."""
    # The first line is what a folded description shows.
    first = " · ".join([manifest.title, *(f"[{text}]({address})" for text, address in links.items())])
    lines = [f"### {first}", manifest.caption]
    if manifest.demonstration:
        lines.append("**A demonstration**: it shows that the path works and compares nothing.")
    lines.append(
        f"`delta/m` is Eq. (6): the mean over tasks of the relative gain on **{manifest.baseline}**, in percent; "
        "`delta/TASK` is one task's part. Positive is better, whatever the direction of the metric."
    )
    for text, wanted in (("Higher is better", True), ("Lower is better", False)):
        metrics = [f"`{name}`" for name, score in scores.items() if score.higher_is_better is wanted]
        lines += [f"{text}: {', '.join(metrics)}."] if metrics else []
    return "\n\n".join(line for line in lines if line)


def views(manifest: Manifest, scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    """Two prepared pages, as MLflow shares them: ``methods``, charts of means over seeds, and ``cells``, a table.

    Both show delta and the primary scores first, and the best run on top. The keys are those of MLflow 3.17's own
    pages; a page that knows others shows its defaults.
    """
    primary = [name for name, score in scores.items() if score.primary]
    several_sets = len({entry.task_set for entry in manifest.entries}) > 1
    several_benchmarks = len({entry.benchmark for entry in manifest.entries}) > 1
    groups = ["label"] + ["tasks"] * several_sets + ["benchmark"] * several_benchmarks
    cells: dict[str, Any] = {
        "searchFilter": "",
        "orderByKey": "metrics.`delta/m`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [f"metrics.`{name}`" for name in ["delta/m", *primary]]
        + ["attributes.`Duration`", "tags.`state`", "tags.`tasks`"],
        "columnOrder": [],
        "columnWidths": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "SHOW_ALL",  # by default all but ten runs are missing from the charts
        "viewMaximized": False,
        "runListHidden": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }
    sections = [
        {"uuid": name, "name": name, "display": True, "isReordered": True, "deleted": False, "isGenerated": True}
        | {"columns": columns, "cardHeight": 300}
        for name, columns in (("delta", 5), ("test", 3), ("val", 3), ("train/loss", 3), ("train", 3), ("cost", 3))
    ]
    first = [  # charts that are not listed follow these
        {"uuid": name, "type": "BAR", "metricKey": name, "displayName": name, "metricSectionId": name.split("/")[0]}
        | {"deleted": False, "isGenerated": True}
        for name in ["delta/m", *primary]
    ]
    methods = cells | {
        "compareRunCharts": first,
        "compareRunSections": sections,
        "isAccordionReordered": True,
        "groupBy": {
            "aggregateFunction": "average",
            "groupByKeys": [{"mode": "tag", "groupByData": group} for group in groups],
        },
    }
    return {"methods": methods, "cells": cells}


def page(experiment_id: str, view: str) -> str:
    """Where a prepared page is, under the server's address."""
    charts = "&compareRunsMode=CHART" if view == "methods" else ""
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={view}{charts}"


# the projection -------------------------------------------------------------------------------------------------------


class Projection:
    """The MLflow experiment of one matrix. Making it creates or migrates the database, and finds or makes the
    experiment. Every method waits for MLflow, may be repeated, and raises what MLflow raises.
    """

    def __init__(self, uri: str, store: str, manifest: Manifest, description: str = "") -> None:
        self.client = _client(uri)
        self.store = Store(store).url
        self.manifest = manifest
        self.description = description
        self.scores: dict[str, Score] = {}  # by metric: what is known of its direction
        name, found = _find(self.client, self.store, manifest.name)
        if found is None:
            # A server keeps artifacts where its owner decided; MLflow's default otherwise is the working directory.
            location = None if urlsplit(uri).scheme in ("http", "https") else self._artifacts()
            tags = {"store": self.store, "mlflow.experimentKind": "custom_model_development"}
            self.experiment_id = str(self.client.create_experiment(name, artifact_location=location, tags=tags))
            self._describe()
        else:
            self.experiment_id = str(found.experiment_id)
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
        self.run_ids = {run.data.tags["cell_id"]: run.info.run_id for run in self._runs() if "cell_id" in run.data.tags}

    def expect(self, manifest: Manifest) -> None:
        """Take a newer manifest of the matrix, with cells that its records have led to."""
        self.manifest = manifest

    def cell(self, cell_id: str, state: State) -> None:
        """Bring a cell's run up to date with the store, or make it."""
        now = view(self.store, self.manifest, cell_id, state)
        run = self._run(cell_id)
        if run is not None and contradicts(run.data.params, run.data.tags, now):
            self.client.delete_run(run.info.run_id)
            run = None
        self._update(run or self._create(now), now)
        scores = {metric(score): score for score in now.record.scores} if now.record else {}
        if scores.keys() - self.scores.keys():
            self.scores |= scores
            self._describe()

    def deltas(self, deltas: Mapping[str, Mapping[str, float]]) -> None:
        """cell id -> {"delta/m": percent, "delta/TASK": percent}, for all cells that have one. A delta that is gone,
        since its baseline is, becomes NaN: MLflow can append to a metric and not remove it."""
        for cell_id in deltas.keys() - self.run_ids.keys():
            self.cell(cell_id, "finished")
        for run in self._runs():
            shown = {name: value for name, value in run.data.metrics.items() if name.startswith("delta/")}
            now = deltas.get(run.data.tags.get("cell_id", ""), {})
            wanted = dict.fromkeys(shown, math.nan) | {name: rounded(value) for name, value in now.items()}
            changed = [Point(name, value, 0) for name, value in wanted.items() if not _same(value, shown.get(name))]
            self._log(run.info.run_id, changed, since=_milliseconds())  # of equal steps the newest shows

    def report(self, folder: Path) -> None:
        """Put a folder of tables and figures beside the runs, as the artifacts of a run of their own, and link it from
        the experiment's description."""
        run = next((run for run in self._runs() if run.data.tags.get("kind") == "report"), None)
        run = run or self.client.create_run(self.experiment_id, run_name="Tables and figures")
        self.client.log_artifacts(run.info.run_id, str(folder))
        page = "artifacts/report.html" if (folder / "report.html").exists() else "artifacts"
        self._tag(run.info.run_id, run.data.tags, {"kind": "report", "matrix": self.manifest.name, "page": page})
        self.client.set_terminated(run.info.run_id, "FINISHED")
        self._describe()

    def interrupt(self) -> None:
        """Runs that are not finished and that nobody works on any more."""
        for run in self._runs():
            if run.info.status == "RUNNING":
                self.client.set_tag(run.info.run_id, "state", "interrupted")
                self.client.set_terminated(run.info.run_id, "KILLED")

    def _artifacts(self) -> str:
        store = Store(self.store)
        base = Path(store.root).as_uri() if store.local else store.url.rstrip("/")
        return f"{base}/mlflow/{self.manifest.name}"

    def _runs(self) -> Iterator[Run]:
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _run(self, cell_id: str) -> Run | None:
        """As MLflow has it now; None where it has none, or a user deleted it."""
        if cell_id not in self.run_ids:
            return None
        run = self.client.get_run(self.run_ids[cell_id])
        return run if run.info.lifecycle_stage == "active" else None

    def _create(self, now: View) -> Run:
        """Starts when it is made, or, for a cell that is finished already, as long before as its training took."""
        seconds = now.record.cost.get("train_seconds", 0.0) if now.record else 0.0
        several = len({entry.benchmark for entry in self.manifest.entries}) > 1
        run = self.client.create_run(
            self.experiment_id,
            start_time=_milliseconds() - int(1000 * seconds),
            tags={"cell_id": now.entries[0].id},
            run_name=run_name(now.entries, several),
        )
        self.run_ids[now.entries[0].id] = run.info.run_id
        return run

    def _update(self, run: Run, now: View) -> None:
        run_id, have = run.info.run_id, run.data
        points = curve(now.rows[projected(have.tags) :])
        if now.record and RECORD not in have.tags:
            points += finals(now.record)
            self.client.log_text(run_id, now.record.to_json(), "record.json")
        if now.failure:
            self.client.log_text(run_id, json.dumps(now.failure, indent=1), "failure.json")
        params = {key: value for key, value in flatten(now.config or {}) if key not in have.params}
        # A history has no clock, so a point's time is its step, in milliseconds after the start of the run: a point
        # logged twice, because a driver died before it noted how far it came, is then one point.
        self._log(run_id, points, run.info.start_time, params)
        self._tag(run_id, have.tags, tags(now, self.manifest.name) | progress(now, projected(have.tags)))
        if run.info.status != STATUS[now.state]:
            if now.state in ("finished", "failed"):
                self.client.set_terminated(run_id, STATUS[now.state])
            else:
                self.client.update_run(run_id, status=STATUS[now.state])

    def _log(self, run_id: str, points: Sequence[Point], since: int, params: Mapping[str, str] | None = None) -> None:
        from mlflow.entities import Metric, Param

        metrics = [Metric(point.name, point.value, since + point.step, point.step) for point in points]
        for chunk in _chunks(metrics, METRICS_A_CALL):
            self.client.log_batch(run_id, metrics=chunk)
        for chunk in _chunks([Param(key, value) for key, value in (params or {}).items()], PARAMS_A_CALL):
            self.client.log_batch(run_id, params=chunk)

    def _tag(self, run_id: str, have: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        changed = [RunTag(key, value) for key, value in wanted.items() if have.get(key) != value]
        for chunk in _chunks(changed, TAGS_A_CALL):
            self.client.log_batch(run_id, tags=chunk)
        for gone in OF_A_FAILURE & have.keys() - wanted.keys():
            self.client.delete_tag(run_id, gone)

    def _describe(self) -> None:
        links = {
            "means over seeds": page(self.experiment_id, "methods"),
            "all cells": page(self.experiment_id, "cells"),
        }
        for run in self._runs():
            if run.data.tags.get("kind") == "report":
                links["tables and figures"] = (
                    f"#/experiments/{self.experiment_id}/runs/{run.info.run_id}/{run.data.tags['page']}"
                )
        text = "\n\n".join(filter(None, [note(self.manifest, self.scores, links), self.description]))
        self.client.set_experiment_tag(self.experiment_id, "mlflow.note.content", text)
        for name, state in views(self.manifest, self.scores).items():
            self.client.set_experiment_tag(self.experiment_id, f"mlflow.sharedViewState.{name}", json.dumps(state))


def _find(client: MlflowClient, store: str, matrix: str) -> tuple[str, Experiment | None]:
    """The experiment of a matrix of a store, and its name: the matrix's, unless another store tracks to the same place
    and has it, whose runs would otherwise be taken for this one's and made anew."""
    found = client.get_experiment_by_name(matrix)
    if found is None or found.tags.get("store") == store:
        return matrix, found
    name = f"{matrix} ({_digest(store)[:6]})"
    return name, client.get_experiment_by_name(name)


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _same(a: float, b: float | None) -> bool:
    return b is not None and (a == b or (math.isnan(a) and math.isnan(b)))


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


# the driver's side ----------------------------------------------------------------------------------------------------


Job = Callable[[Projection], None]


class Tracker:
    """A Projection that never holds up nor fails the training it shows.

    Its methods return at once: a thread speaks to MLflow, and of several projections of one cell that wait only the
    newest is made. What fails is warned of once and tried again later. Errors of the store are another matter: `close`
    and `flush` raise them. To be closed, or used as a context manager.
    """

    def __init__(self, uri: str, store: str, manifest: Manifest, description: str = "") -> None:
        self._make: Callable[[], Projection] = lambda: Projection(uri, store, manifest, description)
        self._projection: Projection | None = None
        self._uri, self._store, self._description = uri, store, description
        self._again = f"mtlbench track {manifest.name} --store {store} --tracking-uri {_public(uri, uri)}"
        self._jobs: dict[tuple[str, str], Job] = {}  # what to bring up to date -> how
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tracking")
        self._futures: list[Future[None]] = []
        self._warned = False
        self._rest_until = 0.0
        self._submit(("experiment", ""), lambda projection: None)  # a new database takes seconds: begin now

    def expect(self, manifest: Manifest) -> None:
        """Take a newer manifest of the matrix, before a cell is projected that only this one has."""
        self._make = lambda: Projection(self._uri, self._store, manifest, self._description)
        self._submit(("manifest", ""), lambda projection: projection.expect(manifest))

    def project(self, cell_id: str, state: State) -> None:
        """Show what the store holds of a cell: params, tags, new points of its history; when finished, its scores."""
        self._submit(("cell", cell_id), lambda projection: projection.cell(cell_id, state))

    def project_deltas(self, deltas: Mapping[str, Mapping[str, float]]) -> None:
        """cell id -> {"delta/m": percent, "delta/TASK": percent}: all there are now; rewritten where changed."""
        self._submit(("deltas", ""), lambda projection: projection.deltas(deltas))

    def log_report(self, folder: Path) -> None:
        """Show a folder of tables and figures as the artifacts of one more run, linked from the description. The
        folder is read until `flush` or `close` returns."""
        self._submit(("report", ""), lambda projection: projection.report(folder))

    def flush(self) -> None:
        """Wait until everything was tried. Raises what the store raised."""
        self._futures.append(self._thread.submit(self._work, True))
        futures, self._futures = self._futures, []
        for future in futures:
            future.result()

    def close(self) -> None:
        """Flush, and leave no run running."""
        try:
            self.flush()
        finally:
            self._submit(("interrupt", ""), Projection.interrupt)
            try:
                self.flush()
            finally:
                self._thread.shutdown()
                self._jobs.pop(("interrupt", ""), None)
                if self._jobs:
                    log.warning("MLflow lacks %d updates; show them later with: %s", len(self._jobs), self._again)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, what: tuple[str, str], job: Job) -> None:
        with self._lock:
            self._jobs[what] = job
        self._futures = [future for future in self._futures if not future.done() or future.exception()]
        self._futures.append(self._thread.submit(self._work))

    def _work(self, now: bool = False) -> None:
        """Do what waits. The one place where MLflow may fail: once can be the fault of a job, twice is the server's."""
        if time.monotonic() < self._rest_until and not now:
            return
        failed: dict[tuple[str, str], Job] = {}
        try:
            while self._jobs and len(failed) < 2:
                with self._lock:
                    what = next(iter(self._jobs))
                    job = self._jobs.pop(what)
                try:
                    self._projection = self._projection or self._make()
                    job(self._projection)
                except _tracking_errors() as error:
                    failed[what] = job
                    self._rest_until = time.monotonic() + RETRY_SECONDS
                    self._warn(error)
        finally:
            with self._lock:
                self._jobs = failed | self._jobs  # a newer job for the same thing wins

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            log.warning(
                "MLflow failed (%s); training goes on, and tracking is tried again every %d s. To show everything "
                "later: %s", _reason(error, self._uri), RETRY_SECONDS, self._again,
            )  # fmt: skip
        self._warned = True


# the pages ------------------------------------------------------------------------------------------------------------


def pages(uri: str, store: str, matrix: str, address: str) -> dict[str, str]:
    """The prepared pages of a matrix under a server's address: {"methods": ..., "cells": ...}.

    Raises ValueError where nothing of the matrix was tracked there.
    """
    _, found = _find(_client(uri), Store(store).url, matrix)
    if found is None:
        raise ValueError(
            f"tracking URI {_public(uri, uri)!r} holds nothing of matrix {matrix!r} of {store}; "
            f"show it with: mtlbench track {matrix}"
        )
    return {view: f"{address.rstrip('/')}/{page(found.experiment_id, view)}" for view in ("methods", "cells")}


def server(uri: str, port: int) -> list[str]:
    """The command line that serves a database's pages on this machine's loopback address.

    Raises ValueError for the address of a server, which shows its pages itself.
    """
    if urlsplit(uri).scheme in ("http", "https"):
        raise ValueError(f"tracking URI {_public(uri, uri)!r} is a server already: open it in a browser")
    return [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri,
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip


def serve(uri: str, port: int) -> int:
    """Serve MLflow's pages until interrupted, without its job runner and telemetry; returns the exit status."""
    environment = os.environ | ENVIRONMENT | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return subprocess.run(server(uri, port), env=environment, check=False).returncode
