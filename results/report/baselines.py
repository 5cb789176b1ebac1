"""Single-task models other than the table's own: those that papers print, and those of other matrices of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from mtlbench.results.papers.audit import published
from mtlbench.results.records.reading import Results
from mtlbench.results.records.record import Score, in_words
from mtlbench.results.report.captions import seeds
from mtlbench.results.report.display import titled
from mtlbench.results.statistics.delta import delta_m
from mtlbench.results.summary.columns import distance, mean_score
from mtlbench.results.summary.gains import usable
from mtlbench.results.summary.runs import Row, comparisons
from mtlbench.results.summary.summary import Summary

PRINTED = "Single task"  # how the papers' rows of single-task models begin
METHOD = "single_task"


class Baseline(NamedTuple):
    """One score for each task, against which Delta_m can be taken, and the source of these scores."""

    source: str
    scores: Mapping[str, Score]  # by task


def against(summary: Summary, baseline: Baseline) -> dict[str, float]:
    """label -> mean Delta_m of the row's runs against `baseline`, for the rows whose Delta_m is defined."""
    return {
        label: float(
            np.mean([delta_m(scores, baseline.scores) for scores in usable(row.row, summary.columns)[0].values()])
        )
        for label, row in summary.rows.items()
        if not row.delta.problem
    }


def printed(summary: Summary) -> list[Baseline]:
    """Printed single-task models on this benchmark that have all tasks, by metrics of the same name and unit."""
    rows = published()
    rows = rows[(rows["benchmark"] == summary.comparison.benchmark) & rows["method"].str.startswith(PRINTED)]
    found = []
    for (source, table), group in rows.groupby(["source", "table"], sort=False):
        scores = {}
        for task, reference in ((task, column.reference) for task, column in summary.columns.items()):
            if reference is not None and not (same := same_metric(group, reference)).empty:
                scores[task] = replace(reference, value=float(same["value"].iloc[0]))
        if set(scores) == set(summary.columns):
            found.append(Baseline(f"{source}, {table}", scores))
    return found


def same_metric(rows: pd.DataFrame, score: Score) -> pd.DataFrame:
    """The printed numbers of the same task and metric. The unit is the same too, where the score's record has one."""
    same = (rows["task"] == score.task) & (rows["metric"] == score.metric)
    return rows[same & (rows["unit"] == score.unit)] if score.unit else rows[same]


def stored(summary: Summary, others: Sequence[Results]) -> list[Baseline]:
    """Single-task models of other matrices in the same store, each as the mean of its runs.

    Models that were scored in another way are left out. A model that several matrices share occurs once.
    """
    here = cells(summary.rows[summary.comparison.baseline].row) if summary.comparison.baseline in summary.rows else ()
    seen, found = {here}, []
    for results in others:
        for comparison in comparisons(results):
            if comparison.benchmark != summary.comparison.benchmark or comparison.tasks != summary.comparison.tasks:
                continue
            for label, row in comparison.rows.items():
                runs = row.finished()
                if row.method != METHOD or not runs or cells(row) in seen:
                    continue
                seen.add(cells(row))
                by_task = {task: [run[task] for run in runs.values() if task in run] for task in comparison.tasks}
                if all(_compares(scores, summary, task) for task, scores in by_task.items()):
                    scores = {task: mean_score(scores) for task, scores in by_task.items()}
                    found.append(Baseline(f"{results.manifest.name}, {label}, {seeds(sorted(runs))}", scores))
    return found


def _compares(scores: Sequence[Score], summary: Summary, task: str) -> bool:
    reference = summary.columns[task].reference
    return bool(scores) and all(score.value and not distance(score, reference) for score in scores)


def cells(row: Row) -> tuple[str, ...]:
    """The finished cells of a row."""
    return tuple(sorted(cell_id for run in row.runs.values() for cell_id in run.records))


def weak_baselines(summary: Summary) -> list[str]:
    """A sentence for each task in which our single-task models are worse than the best printed single-task model.

    Only numbers of the same metric in the same unit are compared. A gain over a weak baseline is easy to get.
    """
    label = next((label for label, row in summary.comparison.rows.items() if row.method == METHOD), None)
    if label is None:
        return []
    rows = published()
    rows = rows[(rows["benchmark"] == summary.comparison.benchmark) & rows["method"].str.startswith(PRINTED)]
    found = []
    for task, entry in summary.rows[label].scores.items():
        shown = summary.columns[task].printed_as(entry)
        if shown is None or not entry.values:
            continue
        same = same_metric(rows, shown)
        sign = 1.0 if shown.higher_is_better else -1.0
        order = (sign * same["value"].astype(float)).sort_values(ascending=False, kind="stable")
        if order.empty or sign * entry.mean >= order.iloc[0]:
            continue
        best, mean = same.loc[order.index[0]], f"{entry.mean:.{shown.decimals}f}"
        found.append(
            f"{label}: our {in_words(task)} {titled(shown)} of {mean} is weaker than the {best['value']} that "
            f"is printed for single-task models ({best['source']}, {best['table']}), so a gain is easier here."
        )
    return found
