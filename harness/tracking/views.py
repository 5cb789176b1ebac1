"""What MLflow is to show of a cell and of a matrix, made from the store alone. Nothing here speaks to MLflow.

A run's metrics, by the prefix that groups its charts:

    test/TASK_METRIC   final scores          delta/m, delta/TASK   Eq. (6), percent
    val/...  train/... the history           cost/...              parameters, seconds, bytes
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.files import Events
from mtlbench.results.records.reading import history
from mtlbench.results.records.record import Entry, Manifest, Record, Score
from mtlbench.results.report.formats import escape_markdown
from mtlbench.results.summary.tuning import is_trial

State = Literal["waiting", "running", "finished", "failed"]

LONGEST = 6000  # characters of a parameter that MLflow keeps
HISTORY, RECORD = "mtlbench.history", "mtlbench.record"  # tags: how far a run is projected


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
    config: dict[str, Any] | None  # as harness/matrix/cell.py dumps it; None before it was written
    history: Events
    record: Record | None
    failure: dict[str, Any] | None

    @property
    def ended(self) -> int | None:
        """When the cell ended, in milliseconds since 1970; None while it runs, and where nothing says when."""
        if self.record is not None:
            with suppress(KeyError, TypeError, ValueError):  # older records, and those that people have written into
                return int(1000 * datetime.fromisoformat(self.record.provenance["finished"]).timestamp())
        return int(1000 * self.failure["time"]) or None if self.failure else None


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
    return View(entries, state, config, history(store, cell_id), record, failure)


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
    if view.history.unreadable:
        tags["history"] = f"without {len(view.history.unreadable)} lines that cannot be read"
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


def progress(view: View, rows: int) -> dict[str, str]:
    """The tags that say how far a run is projected. A history may be shorter than what was projected of it, after a
    training that was cut short resumed from its last checkpoint."""
    count = max(rows, len(view.history.rows))
    tags = {HISTORY: f"{count} {digest(view.history.rows[:count])}"} if count == len(view.history.rows) else {}
    return tags | ({RECORD: digest(view.record.to_json())} if view.record else {})


def contradicts(params: Mapping[str, str], tags: Mapping[str, str], view: View) -> bool:
    """Whether a run shows what the store no longer says: the cell was run again, or resumed to other numbers. MLflow
    only appends, so such a run is deleted and made anew."""
    rows = projected(tags)
    if len(view.history.rows) < rows:
        other_history = view.record is not None  # otherwise it may yet catch up
    else:
        other_history = rows > 0 and tags[HISTORY] != f"{rows} {digest(view.history.rows[:rows])}"
    other_record = RECORD in tags and tags[RECORD] != progress(view, 0).get(RECORD)
    other_config = any(params.get(key, value) != value for key, value in flatten(view.config or {}))
    return other_history or other_record or other_config


def digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def note(manifest: Manifest, scores: Mapping[str, Score], links: Mapping[str, str], claim: str = "") -> str:
    """Markdown above the runs: what the matrix is, what may be claimed, how its numbers read, and where to look.

    scores: by metric, any run's. links: text -> address. claim: '' before there is a report.
    """
    # The first line is what a folded description shows.
    first = " · ".join([escape_markdown(manifest.title), *(f"[{text}]({address})" for text, address in links.items())])
    lines = [f"### {first}", f"**{escape_markdown(claim)}**" if claim else "", escape_markdown(manifest.caption)]
    if manifest.demonstration:
        lines.append("**A demonstration**: it shows that the path works and compares nothing.")
    lines.append(
        f"`delta/m` is Eq. (6): the mean over tasks of the relative gain on **{escape_markdown(manifest.baseline)}**, "
        "in percent; `delta/TASK` is one task's part. Positive is better, whatever the direction of the metric."
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
