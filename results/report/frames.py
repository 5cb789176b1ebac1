"""The data frames of a summary, with unrounded numbers. The CSV files hold these frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from mtlbench.results.questions.classes import ByClass
from mtlbench.results.records.record import Manifest, Score
from mtlbench.results.report.tables import CONSTANT
from mtlbench.results.summary.runs import UNFINISHED
from mtlbench.results.summary.summary import Summary
from mtlbench.results.summary.transfer import by_task


def scores(summaries: Sequence[Summary], manifest: Manifest) -> pd.DataFrame:
    """Every score as it was recorded: one row for each (benchmark, task set, label, seed, task, metric).

    A cell without a record has one row per task, with the status of the task and no metric. The constant predictor has
    no seed.
    """
    found: list[dict[str, Any]] = []
    for summary in summaries:
        comparison = summary.comparison
        head = {"matrix": manifest.name, "benchmark": comparison.benchmark, "task_set": "+".join(comparison.tasks)}
        for label, row in comparison.rows.items():
            for seed, run in row.runs.items():
                of_run = {**head, "label": label, "method": row.method, "seed": seed}
                for entry in run.entries:
                    of_cell = {**of_run, "cell": entry.id}
                    record = run.records.get(entry.id)
                    if record is None:
                        found += [{**of_cell, "status": run.status_of(task), "task": task} for task in entry.tasks]
                        continue
                    of_record = [score for score in record.scores if score.task in comparison.tasks]
                    found += [{**of_cell, "status": "finished", **_fields(score)} for score in of_record]
        if comparison.constant is not None:
            of_record = [score for score in comparison.constant.scores if score.task in comparison.tasks]
            of_constant = {**head, "label": CONSTANT, "cell": comparison.constant.id, "status": "finished"}
            found += [{**of_constant, **_fields(score)} for score in of_record]
    columns = ["matrix", "benchmark", "task_set", "label", "method", "seed", "cell", "status"]
    columns += ["task", "metric", "value", "higher_is_better", "primary", "definition", "protocol"]
    frame = pd.DataFrame(found, columns=columns)
    return frame.astype({"seed": "Int64", "higher_is_better": "boolean", "primary": "boolean"})


def rows(summary: Summary) -> pd.DataFrame:
    """The table as unrounded numbers, one row per label.

    A row has a mean and an sd for each task, Delta_m with its intervals, and the cost.
    """
    comparison = summary.comparison
    found: list[dict[str, Any]] = []
    for label, row in summary.rows.items():
        statuses = [run.status for run in row.row.runs.values()]
        fields: dict[str, Any] = {
            "benchmark": comparison.benchmark,
            "task_set": "+".join(comparison.tasks),
            "label": label,
            **{status: statuses.count(status) for status in ("finished", *UNFINISHED)},
        }
        for task, score in row.scores.items():
            fields |= {f"{task}_seeds": len(score.values), f"{task}_mean": score.mean}
            fields |= {f"{task}_sd": score.sd, f"{task}_best": score.best}
        fields |= {"delta_m_seeds": len(row.delta.values), "delta_m": row.delta.mean, "delta_m_sd": row.delta.sd}
        fields |= {"delta_m_best": row.delta.best, "improved": row.delta.improved, "compared": row.delta.compared}
        fields |= {"lost": len(row.delta.lost)}
        for name, interval in (("seeds", row.delta.seeds), ("seeds_images", row.delta.images)):
            fields |= {
                f"low_{name}": math.nan if interval is None else interval.low,
                f"high_{name}": math.nan if interval is None else interval.high,
            }
        found.append(
            {
                **fields,
                "paired": row.delta.paired,
                "log_delta": row.delta.log,
                **row.cost,
                "devices": "; ".join(row.devices),
            }
        )
    if summary.constant:
        head = {"benchmark": comparison.benchmark, "task_set": "+".join(comparison.tasks), "label": CONSTANT}
        found.append({**head, **{f"{task}_mean": score.mean for task, score in summary.constant.items()}})
    frame = pd.DataFrame(found)
    counts = [
        "finished",
        *UNFINISHED,
        *(f"{name}_seeds" for name in (*comparison.tasks, "delta_m")),
        "improved",
        "compared",
        "lost",
    ]
    frame[counts] = frame[counts].astype("Int64")  # Int64 can be missing: the constant predictor has no counts
    return frame


def deltas(summary: Summary) -> pd.DataFrame:
    """Delta_m of every run, and each task's term of Delta_m, in percent. The field task is empty in rows of Delta_m.

    Runs without a Delta_m are left out. Where paired is true, a row is against the baseline's run of the same seed.
    Otherwise it is against the mean of the baseline's runs.
    """
    comparison = summary.comparison
    head = {"benchmark": comparison.benchmark, "task_set": "+".join(comparison.tasks)}
    return pd.DataFrame(
        [
            {**head, "label": label, "seed": seed, "paired": row.delta.paired, "task": task, "gain": gain}
            for label, row in summary.rows.items()
            for seed, value in row.delta.values.items()
            for task, gain in [("", value), *((t, by_seed[seed]) for t, by_seed in row.delta.gains.items())]
        ],
        columns=["benchmark", "task_set", "label", "seed", "paired", "task", "gain"],
    )


def gains(summary: Summary) -> pd.DataFrame:
    """The mean gain of every row on each task, with the paired 95 % interval and the number of harmed runs."""
    comparison = summary.comparison
    head = {"benchmark": comparison.benchmark, "task_set": "+".join(comparison.tasks)}
    found = []
    for label, row in summary.rows.items():
        for task, gain in by_task(row.delta).items():
            low, high = (math.nan, math.nan) if gain.interval is None else (gain.interval.low, gain.interval.high)
            of_task = {"mean": gain.mean, "low": low, "high": high, "harmed": gain.harmed, "runs": gain.runs}
            found.append({**head, "label": label, "task": task, **of_task})
    return pd.DataFrame(
        found, columns=["benchmark", "task_set", "label", "task", "mean", "low", "high", "harmed", "runs"]
    )


def classes(summary: Summary, found: Sequence[ByClass]) -> pd.DataFrame:
    """The score of every row on every class: mean and 95 % interval over seeds. Each interval stands for itself."""
    comparison = summary.comparison
    head = {"benchmark": comparison.benchmark, "task_set": "+".join(comparison.tasks)}
    return pd.DataFrame(
        [
            {
                **head,
                "task": of_task.task,
                "metric": of_task.metric,
                "class": name,
                "pixels": None if of_task.pixels is None else of_task.pixels[name],
                "label": label,
                "seeds": len(of_row[name].values),
                "mean": of_row[name].mean,
                "low": math.nan if (interval := of_row[name].interval) is None else interval.low,
                "high": math.nan if interval is None else interval.high,
            }
            for of_task in found
            for name in of_task.classes
            for label, of_row in of_task.rows.items()
            if name in of_row
        ],
        columns=["benchmark", "task_set", "task", "metric", "class", "pixels", "label", "seeds", "mean", "low", "high"],
    ).astype({"pixels": "Int64"})


def contrasts(summary: Summary) -> pd.DataFrame:
    """Every pair of rows, compared on Delta_m.

    Each pair has the difference in points, the simultaneous 95 % interval, and the verdict on the first row.
    """
    comparison = summary.comparison
    return pd.DataFrame(
        [
            {
                "benchmark": comparison.benchmark,
                "task_set": "+".join(comparison.tasks),
                "first": first,
                "second": second,
                "difference": pair.difference,
                "low": pair.low,
                "high": pair.high,
                "verdict": pair.verdict,
                "first_lost": len(summary.rows[first].delta.lost),
                "second_lost": len(summary.rows[second].delta.lost),
            }
            for first, second, pair in summary.contrasts
        ],
        columns=[
            "benchmark",
            "task_set",
            "first",
            "second",
            "difference",
            "low",
            "high",
            "verdict",
            "first_lost",
            "second_lost",
        ],
    )


def _fields(score: Score) -> dict[str, Any]:
    return {
        "task": score.task,
        "metric": score.metric,
        "value": score.value,
        "higher_is_better": score.higher_is_better,
        "primary": score.primary,
        "definition": score.definition,
        "protocol": score.protocol,
    }
