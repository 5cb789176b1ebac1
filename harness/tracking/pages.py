"""What MLflow's pages of a matrix say and show: the description of its experiment, and prepared pages of runs.

Nothing here speaks to MLflow.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtlbench.harness.tracking.rows import AGGREGATE, ENDS, INTERVAL, VERDICT, WHY
from mtlbench.harness.tracking.views import CELL, KIND
from mtlbench.results.records.record import Manifest, Score
from mtlbench.results.report.formats import escape_markdown

# The prepared pages, by their names, and what the description and MLflow's menu "Views" call them.
PAGES = {"rows": "rows", "charts": "charts of rows", "methods": "curves, means over seeds", "cells": "all cells"}
VIEW = "mlflow.sharedViewState."  # begins the tag of an experiment that holds a view
CHARTS = {"charts": "rows", "methods": "methods"}  # pages that open as charts -> the view that they show
DELTA = "metrics.`delta/m`"
NAME, CREATED, DURATION = "attributes.`Run Name`", "runDateAndNestInfo", "duration"  # columns of every list of MLflow
SECTIONS = (("delta", 3), ("test", 3), ("val", 3), ("train/loss", 3), ("train", 3), ("cost", 3))  # columns of charts


# Of columns, in pixels. MLflow puts CREATED second wherever the order has it: of a row, only its mark is shown, so that
# the scores of three tasks fit into a page of 1500 pixels. The name of a cell has its seed and its tasks.
WIDTHS = {
    AGGREGATE: {NAME: 190, CREATED: 44, "tags.`interval`": 120, "tags.`seeds`": 70},
    CELL: {NAME: 350, CREATED: 150},
}
NARROWEST = 96  # -0.0123456


@dataclass(frozen=True)
class Claim:
    """What may be claimed from the tables of a matrix. Both are empty before there is a report."""

    headline: str = ""  # the first sentence on each table
    text: str = ""  # all sentences


NO_CLAIM = Claim()


def note(manifest: Manifest, scores: Mapping[str, Score], links: Mapping[str, str], claim: Claim = NO_CLAIM) -> str:
    """Markdown above the runs: what the matrix is, what may be claimed, how its numbers read, and where to look.

    scores: by metric, any run's. links: text -> address.
    """
    # The first line is what a folded description shows. MLflow's list of experiments shows how it begins, unrendered.
    title, headline = escape_markdown(manifest.title), escape_markdown(claim.headline)
    first = " · ".join([headline or title, *(f"[{text}]({address})" for text, address in links.items())])
    rest = escape_markdown(claim.text.removeprefix(claim.headline).strip())
    lines = [first, rest, f"**{title}**" if headline else "", escape_markdown(manifest.caption)]
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


def views(manifest: Manifest, scores: Mapping[str, Score]) -> dict[str, str]:
    """The views of the prepared pages, as MLflow keeps them in tags that VIEW begins.

    ``rows`` shows the rows of the tables, ``methods`` shows means over seeds that MLflow makes of cells, and ``cells``
    shows cells. All show delta and the primary scores first, and the best run on top.
    """
    found = states(manifest, scores)
    # MLflow lists the newest view first. The times are no real ones, so that the same view has the same text.
    return {name: _kept(PAGES[name], len(found) - place, state) for place, (name, state) in enumerate(found.items())}


def _kept(title: str, time: int, state: Mapping[str, Any]) -> str:
    """A view as MLflow keeps one that a user has saved under a title. A tag holds 20,000 characters, hence packed."""
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    return json.dumps({"name": title, "createdAt": time, "updatedAt": time, "state": f"deflate;{packed}"})


def states(manifest: Manifest, scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    """What is in a view. The keys are those of MLflow 3.17's own pages; a page that knows others shows its defaults."""
    primary = [name for name, score in scores.items() if score.primary]
    tasks = dict.fromkeys(task for entry in manifest.entries for task in entry.task_set)
    first = ["delta/m", *(f"delta/{task}" for task in tasks), *primary]
    several_sets = len({entry.task_set for entry in manifest.entries}) > 1
    several_benchmarks = len({entry.benchmark for entry in manifest.entries}) > 1
    groups = ["label"] + ["tasks"] * several_sets + ["benchmark"] * several_benchmarks
    scored = [f"metrics.`{name}`" for name in primary]
    cells = _state(CELL, [DELTA, *scored, *_tags("state")])
    rows = _state(AGGREGATE, [*_tags(VERDICT), DELTA, *_tags(INTERVAL), *scored, *_tags("seeds", WHY, *groups[1:])])
    sections = {
        "runListHidden": True,  # beside a list, a chart is too narrow for its title
        "isAccordionReordered": True,
        "compareRunSections": [
            {"uuid": name, "name": name, "display": True, "isReordered": True, "deleted": False, "isGenerated": True}
            | {"columns": columns, "cardHeight": 340}
            for name, columns in SECTIONS
        ],
    }
    charts = [_chart(name) for name in first]  # charts that are not listed follow these
    ends = [f"{name}_{end}" for name in dict.fromkeys([*first, *scores]) for end in ENDS]
    hidden = [_chart(name, deleted=True) for name in (*ends, "seeds")]  # these are columns, and no charts
    grouped = {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "tag", "groupByData": group} for group in groups],
    }
    return {
        "rows": rows | sections | {"compareRunCharts": charts + hidden},
        "methods": cells | sections | {"compareRunCharts": charts, "groupBy": grouped},
        "cells": cells,
    }


def _chart(name: str, *, deleted: bool = False) -> dict[str, Any]:
    section = name.rpartition("/")[0]
    chart = {"uuid": name, "type": "BAR", "metricKey": name, "displayName": name, "metricSectionId": section}
    return chart | {"deleted": deleted, "isGenerated": True}


def _tags(*names: str) -> list[str]:
    """The columns of tags."""
    return [f"tags.`{name}`" for name in names]


def _state(kind: str, shown: Sequence[str]) -> dict[str, Any]:
    """A list of the runs of a kind. shown: what stands behind the name of a run."""
    order = [NAME, CREATED, *shown, DURATION]
    return {
        "searchFilter": f"tags.{KIND} = '{kind}'",
        "orderByKey": "metrics.`delta/m`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(shown),
        "columnOrder": order,
        "columnWidths": {name: max(NARROWEST, int(36 + 6.5 * len(name.partition("`")[2]))) for name in order}
        | WIDTHS[kind],
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


def page(experiment_id: str, name: str) -> str:
    """Where a prepared page is, under the server's address."""
    charts = "&compareRunsMode=CHART" if name in CHARTS else ""
    view = CHARTS.get(name, name)
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={view}{charts}"
