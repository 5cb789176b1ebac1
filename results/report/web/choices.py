"""What a page embeds of a table, so that its reader may choose another baseline and other weights of the tasks.

Scores are embedded, and the page computes Delta_m from them. Intervals and verdicts cannot be computed there: they are
embedded for each row that may be the baseline, with equal weights, from the functions that judge the table itself. The
page shows none with other weights.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from mtlbench.results.records.record import in_words
from mtlbench.results.report.display import titled
from mtlbench.results.report.drawing.colors import DARK
from mtlbench.results.report.drawing.learning import KINDS, Curves
from mtlbench.results.report.drawing.looks import Looks, hexadecimal
from mtlbench.results.summary.columns import mean_score, value_of
from mtlbench.results.summary.costs import COSTS
from mtlbench.results.summary.gains import runs_of_baseline, usable
from mtlbench.results.summary.summary import Summary, judged
from mtlbench.results.summary.transfer import by_task

EPOCHS = 200  # points of a curve, at most
DIGITS = 5  # of a point of a curve
# matplotlib's markers in plotly's words, as letters, and the area that plotly fills at a size of 2.
SYMBOLS = {
    "o": ("circle", "●", math.pi), "s": ("square", "■", 4.0), "^": ("triangle-up", "▲", 1.73),
    "D": ("diamond", "◆", 3.38), "v": ("triangle-down", "▼", 1.73), "X": ("x", "✖", 3.2),
    "<": ("triangle-left", "◀", 1.73), ">": ("triangle-right", "▶", 1.73), "P": ("cross", "✚", 3.2),
    "p": ("pentagon", "⬟", 2.38), "h": ("hexagon", "⬢", 2.6),
}  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot")  # in the order of `looks.DASHES`


def embedded(summary: Summary, looks: Looks, curves: Curves | None) -> dict[str, Any]:
    """The numbers behind the charts of a table. Rows without a score that may be compared are left out."""
    comparison = summary.comparison
    rows = {label: row for label in summary.rows if (row := _row(summary, label, looks))["runs"] or row["means"]}
    choices = [_choice(summary, label, list(rows)) if rows[label]["means"] else None for label in rows]
    return {
        "slug": comparison.slug,
        "baseline": list(rows).index(comparison.baseline) if comparison.baseline in rows else -1,
        "margin": comparison.margin,
        "tasks": [_task(summary, task) for task in comparison.tasks],
        "rows": list(rows.values()),
        "choices": choices,
        "judged": any(each and each["interval"] for of_row in choices if of_row for each in of_row),
        "curves": [] if curves is None else _panels(curves, list(summary.rows), list(rows)),
    }


def _task(summary: Summary, task: str) -> dict[str, Any]:
    reference = summary.columns[task].reference
    higher = reference is None or reference.higher_is_better
    return {"name": in_words(task), "title": "" if reference is None else titled(reference), "higher": higher}


def _row(summary: Summary, label: str, looks: Looks) -> dict[str, Any]:
    """The scores of a row by seed, in the order of the tasks, and their means where the row may be the baseline."""
    tasks, row = summary.comparison.tasks, summary.rows[label]
    runs = usable(row.row, summary.columns)[0]
    of_baseline = runs_of_baseline(row.row, summary.columns)
    values = {task: [value_of(score) for score in scores.values()] for task, scores in of_baseline.items()}
    divides = all(of_task and all(value != 0 for value in of_task) for of_task in values.values())
    means = [value_of(mean_score(of_baseline[task].values())) for task in tasks] if divides else []
    return {
        "label": label,
        **looks_of(label, looks),
        "runs": [[seed, [value_of(scores[task]) for task in tasks]] for seed, scores in sorted(runs.items())],
        "means": means,
        "cost": [None if math.isnan(row.cost[name]) else row.cost[name] for name in COSTS],
    }


def looks_of(label: str, looks: Looks) -> dict[str, Any]:
    """How the charts draw a row."""
    color, (symbol, glyph, area) = hexadecimal(looks[label]), SYMBOLS[looks.marker(label)]
    return {
        "color": color,
        "dark": DARK.get(color, color),
        "symbol": symbol,
        "glyph": glyph,
        "size": round(math.sqrt(math.pi / area), 3),  # times that of a circle, so that all symbols have one area
        "dash": DASHES[looks.round(label) % len(DASHES)],
    }


def _choice(summary: Summary, baseline: str, labels: list[str]) -> list[dict[str, Any] | None]:
    """For each row, its intervals and its verdict against `baseline`; None where its Delta_m is undefined."""
    comparison = summary.comparison
    if baseline == comparison.baseline:
        deltas = {label: row.delta for label, row in summary.rows.items()}
        block = summary.block
    else:
        deltas, block = judged(replace(comparison, baseline=baseline), summary.columns)
    found: list[dict[str, Any] | None] = []
    for label in labels:
        delta = deltas[label]
        if delta.problem:
            found.append(None)
            continue
        gains = by_task(delta)
        of_tasks = [gains[task].interval if task in gains else None for task in comparison.tasks]
        found.append(
            {
                "interval": None if delta.seeds is None else [delta.seeds.low, delta.seeds.high],
                "verdict": block.verdicts(label).get(baseline, ""),
                "tasks": [None if each is None else [each.low, each.high] for each in of_tasks],
            }
        )
    return found


def _panels(curves: Curves, labels: list[str], rows: list[str]) -> list[dict[str, Any]]:
    """The panels of the learning curves: for each row the epochs, the means over seeds and their standard deviation."""
    found = []
    frame = curves.frame
    for kind in KINDS:
        for task in dict.fromkeys(frame["task"]):
            panel = frame[(frame["kind"] == kind) & (frame["task"] == task)]
            if panel.empty:
                continue
            shown = [label for label in labels if label in rows and label in set(panel["label"])]
            lines = [_line(panel[panel["label"] == label], rows.index(label)) for label in shown]
            found.append({"title": f"{in_words(task)}, {kind}", "unit": curves.units[kind, task], "lines": lines})
    return found


def _line(of_row: pd.DataFrame, row: int) -> dict[str, Any]:
    by_epoch = of_row.groupby("epoch")["value"].agg(["mean", "std"])
    by_epoch = by_epoch.iloc[:: -(-len(by_epoch) // EPOCHS)]
    return {
        "row": row,
        "epochs": [int(epoch) for epoch in by_epoch.index],
        "means": [_rounded(value) for value in by_epoch["mean"]],
        "sds": [_rounded(value) for value in by_epoch["std"].fillna(0.0)],
    }


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def costs() -> list[tuple[str, float]]:
    """For each of COSTS its title, and the number by which it is divided for a reader."""
    titles = {
        "parameters": ("parameters [M]", 1e6),
        "macs": ("multiply-accumulates [G]", 1e9),
        "seconds_per_step": ("time of a step [s]", 1.0),
        "train_seconds": ("time of training [min]", 60.0),
    }
    return [titles[name] for name in COSTS]
