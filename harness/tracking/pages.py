"""What MLflow's pages of a matrix say and show: the description of its experiment, and prepared pages of runs.

Nothing here speaks to MLflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mtlbench.harness.tracking.rows import AGGREGATE
from mtlbench.harness.tracking.views import CELL, KIND
from mtlbench.results.records.record import Manifest, Score
from mtlbench.results.report.formats import escape_markdown

# The prepared pages, and what the description calls them. Those of CHARTS open as charts, the others as lists.
PAGES = {
    "rows": "rows",
    "charts": "charts of rows",
    "methods": "curves, means over seeds",
    "cells": "all cells",
}
CHARTS = ("charts", "methods")
SECTIONS = (("delta", 4), ("test", 3), ("val", 3), ("train/loss", 3), ("train", 3), ("cost", 3))  # columns of charts


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
        metrics = dict.fromkeys(
            f"`{_family(name)}`" for name, score in scores.items() if score.higher_is_better is wanted
        )
        lines += [f"{text}: {', '.join(metrics)}."] if metrics else []
    return "\n\n".join(line for line in lines if line)


def _family(metric: str) -> str:
    """A metric, or ``test/semseg_iou/...`` for one of several of a kind, such as the scores of 40 classes."""
    group, _, member = metric.partition("/")[2].partition("/")
    return f"{metric.removesuffix(member)}..." if group and member else metric


def views(manifest: Manifest, scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    """The prepared pages, as MLflow shares them, by the names of PAGES.

    ``rows`` and ``charts`` show the rows of the tables, ``methods`` shows means over seeds that MLflow makes of cells,
    and ``cells`` is a list. All show delta and the primary scores first, and the best run on top. The keys are those of
    MLflow 3.17's own pages; a page that knows others shows its defaults.
    """
    primary = [name for name, score in scores.items() if score.primary]
    tasks = list(dict.fromkeys(task for entry in manifest.entries for task in entry.task_set))
    titles = {"delta/m": "Δm [%] ↑"} | {f"delta/{task}": f"Δ {task} [%] ↑" for task in tasks}
    titles |= {name: _title(score) for name, score in scores.items() if "/" not in score.metric}
    first = ["delta/m", *(name for name in titles if name.startswith("delta/") and name != "delta/m"), *primary]
    first += [name for name in titles if name not in first]
    several_sets = len({entry.task_set for entry in manifest.entries}) > 1
    several_benchmarks = len({entry.benchmark for entry in manifest.entries}) > 1
    groups = ["label"] + ["tasks"] * several_sets + ["benchmark"] * several_benchmarks
    told = [f"tags.`{group}`" for group in groups[1:]]
    cells = _state(CELL, ["delta/m", *primary], ["attributes.`Duration`", "tags.`state`", "tags.`tasks`"])
    rows = _state(AGGREGATE, ["delta/m", "delta/m_low", "delta/m_high", *primary], ["tags.`verdict`", "tags.`seeds`"])
    rows["selectedColumns"] += told
    ends = [f"{name}_{end}" for name in (*titles, *scores) for end in ("low", "high")]
    sections = {
        "isAccordionReordered": True,
        "compareRunSections": [
            {"uuid": name, "name": name, "display": True, "isReordered": True, "deleted": False, "isGenerated": True}
            | {"columns": columns, "cardHeight": 300}
            for name, columns in SECTIONS
        ],
    }
    charts = [_chart(name, titles[name]) for name in first]  # charts that are not listed follow these
    hidden = [_chart(name, name, deleted=True) for name in (*dict.fromkeys(ends), "seeds")]  # columns and no charts
    grouped = {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "tag", "groupByData": group} for group in groups],
    }
    of_rows = rows | sections | {"compareRunCharts": charts + hidden}
    return {
        "rows": of_rows,
        "charts": of_rows,
        "methods": cells | sections | {"compareRunCharts": charts, "groupBy": grouped},
        "cells": cells,
    }


def _title(score: Score) -> str:
    """Of a chart: semseg mIoU [%] ↑."""
    unit = f" [{score.unit}]" if score.unit else ""
    return f"{score.task} {score.title or score.metric}{unit} {'↑' if score.higher_is_better else '↓'}"


def _chart(name: str, title: str, *, deleted: bool = False) -> dict[str, Any]:
    return {
        "uuid": name,
        "type": "BAR",
        "metricKey": name,
        "displayName": title,
        "metricSectionId": name.rpartition("/")[0],
        "deleted": deleted,
        "isGenerated": True,
    }


def _state(kind: str, metrics: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    """A list of the runs of a kind."""
    return {
        "searchFilter": f"tags.{KIND} = '{kind}'",
        "orderByKey": "metrics.`delta/m`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*(f"metrics.`{name}`" for name in metrics), *columns],
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


def page(experiment_id: str, view: str) -> str:
    """Where a prepared page is, under the server's address."""
    charts = "&compareRunsMode=CHART" if view in CHARTS else ""
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={view}{charts}"
