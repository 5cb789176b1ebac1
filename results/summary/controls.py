"""Controls: comparisons whose result is known before. Where one fails, the order of the table is not to be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import stats

from mtlbench.results.records.reading import Results
from mtlbench.results.records.record import Control, ControlTable, CorruptRecord, Entry, Manifest
from mtlbench.results.statistics.delta import delta_m
from mtlbench.results.statistics.intervals import Interval
from mtlbench.results.summary.columns import column, mean_score
from mtlbench.results.summary.gains import runs_of_baseline, usable
from mtlbench.results.summary.runs import Comparison, Row, comparisons, row_of


class Finding(NamedTuple):
    """What became of a control."""

    control: Control
    passed: bool | None  # None where its runs are not finished, or cannot be compared
    means: tuple[float, ...]  # Delta_m: of the row and of its control; or of each task set, in the order of the matrix
    difference: Interval | None  # of the control minus the row; or of the first task set minus the last
    problem: str = ""  # why `passed` is None


def findings(results: Results) -> list[Finding]:
    """What became of each control of a matrix.

    A Delta_m of a control is against the mean score of the baseline's runs, so that the noise of the baseline is the
    same on both sides of a comparison. Differences have Welch's interval of 95 % over the runs, which share no seed.
    """
    controls = results.manifest.controls
    if not controls:
        return []
    tables = comparisons(results)
    _require_whole(results.manifest, tables)
    return [_finding(control, results, tables[0]) for control in controls]


def _require_whole(manifest: Manifest, tables: Sequence[Comparison]) -> None:
    """Raise CorruptRecord for controls that no run of a matrix writes."""
    if len(tables) != 1:
        raise CorruptRecord(f"{manifest.name}: has controls, and {len(tables)} tables; controls belong to one table")
    rows = tables[0].rows
    for control in manifest.controls:
        where = f"{manifest.name}: the control {control.expects!r} of {control.row!r}"
        if missing := [label for label in (manifest.baseline, control.row) if label not in rows]:
            raise CorruptRecord(f"{where}: the table has no row {missing[0]!r}; its rows: {', '.join(rows)}")
        if not control.tables or (control.expects != "falls" and len(control.tables) > 1):
            raise CorruptRecord(f"{where}: has {len(control.tables)} tables")
        for of_set in control.tables:
            labels = {entry.label == manifest.baseline for entry in of_set.entries}
            if labels != {True, False} if control.expects == "falls" else not labels:
                raise CorruptRecord(f"{where}: its table {of_set.name!r} lacks the cells of a row")


def _finding(control: Control, results: Results, table: Comparison) -> Finding:
    baseline, row = table.rows[table.baseline], table.rows[control.row]
    if control.expects == "falls":
        values = [_of_table(of_set, control.tasks, results, table) for of_set in control.tables]
    else:
        (again,) = control.tables
        values = _deltas(table.tasks, baseline, [row, row_of(results, list(again.entries))])
    if any(len(found) < 2 for found in values):
        missing = sum(len(found) < 2 for found in values)
        return Finding(control, None, (), None, f"{missing} of its {len(values)} rows have fewer than two whole runs")
    means = tuple(float(np.mean(found)) for found in values)
    if control.expects == "falls":
        difference = welch(values[0], values[-1])
        falling = all(one > other for one, other in pairwise(means))
        return Finding(control, falling and difference.low > 0, means, difference)
    difference = welch(values[1], values[0])
    excludes = difference.low > 0 or difference.high < 0
    return Finding(control, difference.low > 0 if control.expects == "better" else not excludes, means, difference)


def _of_table(of_set: ControlTable, judged: Sequence[str], results: Results, table: Comparison) -> list[float]:
    """Delta_m of the repeated row for one task set, against the baseline on the same tasks.

    judged: the tasks that count; () means all of the set.
    """

    def rows(of_baseline: bool) -> list[Entry]:
        return [entry for entry in of_set.entries if (entry.label == table.baseline) == of_baseline]

    tasks = judged or of_set.entries[0].task_set
    (values,) = _deltas(tasks, row_of(results, rows(True)), [row_of(results, rows(False))])
    return values


def _deltas(tasks: Sequence[str], baseline: Row, rows: Sequence[Row]) -> list[list[float]]:
    """For each row the Delta_m of its whole runs against the mean score of the baseline's; [] where there is none."""
    named: Mapping[str, Row] = {"baseline": baseline, **{f"row {place}": row for place, row in enumerate(rows)}}
    comparison = Comparison("", tuple(tasks), "baseline", {n: _called(r, n) for n, r in named.items()}, None, {})
    columns = {task: column(comparison, task) for task in tasks}
    against = runs_of_baseline(comparison.rows["baseline"], columns)
    if not all(against.values()):
        return [[] for _ in rows]
    centre = {task: mean_score(scores.values()) for task, scores in against.items()}
    found = [usable(comparison.rows[label], columns)[0] for label in named if label != "baseline"]
    return [[delta_m(scores, centre) for scores in runs.values()] for runs in found]


def _called(row: Row, label: str) -> Row:
    """The row under another label, as the two rows of a control may have the same."""
    return Row(label, row.method, row.runs)


def welch(first: Sequence[float], second: Sequence[float]) -> Interval:
    """The mean of `first` minus that of `second` with its interval of 95 %, for independent runs that vary unequally.

    Welch (1947). Where no run differs from its mean, the interval has no width.
    """
    estimate = float(np.mean(first) - np.mean(second))
    if np.ptp(first) == np.ptp(second) == 0:
        return Interval(estimate, 0.0, len(first) + len(second) - 2)
    result = stats.ttest_ind(first, second, equal_var=False)
    low, high = result.confidence_interval(0.95)
    return Interval(estimate, float(high - low) / 2, float(result.df))
