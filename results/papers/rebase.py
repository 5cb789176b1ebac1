"""Printed tables against another baseline, which shows what the choice of the baseline alone changes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from mtlbench.results.papers.audit import KEY, Printed, delta_of, directions, groups, printed_numbers
from mtlbench.results.papers.columns import Entry, resolve
from mtlbench.results.papers.judge import measure
from mtlbench.results.papers.printed import Audited, File
from mtlbench.results.papers.reading.grid import BadTable
from mtlbench.results.papers.reading.numbers import Number
from mtlbench.results.papers.rows import TABLE, Part, Rows


def parse(text: str) -> dict[str, float]:
    """Read a text like depth=0.625,semseg=37.99 into a mapping task -> value. Raises BadTable."""
    baseline: dict[str, float] = {}
    for part in text.split(","):
        task, equals, number = (piece.strip() for piece in part.partition("="))
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not (task and equals and 0 < value < math.inf) or task in baseline:
            raise BadTable(f"--baseline: {part!r}: write one positive value per task, as depth=0.625,semseg=37.99")
        baseline[task] = value
    return baseline


def rebase(table: pd.DataFrame, baseline: Mapping[str, float]) -> pd.DataFrame:
    """Δm against `baseline` (task -> value), for every printed table that has exactly the tasks of `baseline`.

    table: see `audit.load`. Returns a row per table and method: source, table, benchmark, task_set, method, printed
    (NaN where no delta is printed), rebased (percent). Raises BadTable that lists the existing task sets, where no
    table has these tasks.
    """
    rows = []
    other = {task: Printed(value, 0.0) for task, value in baseline.items()}
    for key, group in groups(table):
        direction = directions(group, key)
        if set(direction) != set(other):
            continue
        for method, scores in printed_numbers(group).items():
            if set(scores) != set(other):
                raise BadTable(
                    f"{' '.join(key[:2])}: {method!r} does not print {', '.join(sorted({*other} - {*scores}))}"
                )
            printed = str(group.loc[group["method"] == method, "printed_delta"].iloc[0])
            rows.append(
                {
                    **dict(zip(KEY, key, strict=True)),
                    "method": method,
                    "printed": float(printed) if printed else math.nan,
                    "rebased": delta_of(scores, other, direction),
                }
            )
    if not rows:
        known = ", ".join(dict.fromkeys("+".join(sorted(set(group["task"]))) for _, group in groups(table)))
        raise BadTable(f"--baseline: no table has exactly the tasks {'+'.join(sorted(baseline))}; there are: {known}")
    return pd.DataFrame(rows, columns=[*KEY, "method", "printed", "rebased"])


HEADS = (TABLE, "Method", "printed", "rebased")


def of_long(table: pd.DataFrame, baseline: str) -> list[Part]:
    """The rebased tables as rows. table: see `audit.load`. baseline: a text that `parse` reads."""
    other = parse(baseline)
    cells = [
        (
            f"{row['source']}, {row['table']}, {row['benchmark']}",
            row["method"],
            "" if math.isnan(row["printed"]) else f"{row['printed']:+.2f}",
            f"{row['rebased']:+.2f}",
        )
        for row in rebase(table, other).to_dict("records")
    ]
    return [Rows(HEADS, cells), _against(other)]


def of_printed(file: File, baseline: str) -> list[Part]:
    """Printed tables against another baseline, whose values name the columns by number or title. Raises BadTable."""
    other = parse(baseline)
    cells = [(str(audited.number), *row) for audited in file.tables for row in _rebased(audited, other)]
    return [Rows(HEADS, cells), _against(other)]


def _against(baseline: Mapping[str, float]) -> str:
    said = ", ".join(f"{task} {value:g}" for task, value in baseline.items())
    return f"Rebased: Δm of the metrics as printed, had the baseline been {said}."


def _rebased(audited: Audited, baseline: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """A row for each row of each column of deltas, with the sign and the mean that the table uses."""
    lines = []
    values = {resolve(audited.table.columns, name).index: value for name, value in baseline.items()}
    base = Entry(0, "", {index: Number(f"{value:g}", value, 0.0) for index, value in values.items()}, (), False)
    for judged in audited.judged:
        lacking = [metric.title for metric in judged.reading.metrics if metric.index not in values]
        if lacking:
            raise BadTable(f"--baseline: no value for {', '.join(lacking)}; write one for each metric of the table")
        for verdict in judged.verdicts:
            found = measure(verdict.entry, base, judged.reading)
            printed = verdict.printed.text if verdict.printed else ""
            lines.append((verdict.entry.method, printed, f"{found.value:+.2f}" if found else ""))
    return lines
