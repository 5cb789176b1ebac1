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


def text(table: pd.DataFrame, baseline: str) -> str:
    """The rebased tables as Markdown. table: see `audit.load`. baseline: a text that `parse` reads."""
    other = parse(baseline)
    return markdown(rebase(table, other), other)


def markdown(found: pd.DataFrame, baseline: Mapping[str, float]) -> str:
    """A rebased table as Markdown, with a sentence below it that says what the baseline is."""
    lines = ["| Table | Method | printed | rebased |", "| --- | --- | ---: | ---: |"]
    for row in found.to_dict("records"):
        name = f"{row['source']}, {row['table']}, {row['benchmark']}"
        printed = "" if math.isnan(row["printed"]) else f"{row['printed']:+.2f}"
        lines.append(f"| {name} | {row['method']} | {printed} | {row['rebased']:+.2f} |")
    against = ", ".join(f"{task} {value:g}" for task, value in baseline.items())
    return "\n".join([*lines, "", f"Rebased: Δm of the metrics as printed, had the baseline been {against}."])


def printed_text(file: File, baseline: str) -> str:
    """Printed tables against another baseline, whose values name the columns by number or title. Raises BadTable."""
    other = parse(baseline)
    lines = ["| Table | Method | printed | rebased |", "| --- | --- | ---: | ---: |"]
    for audited in file.tables:
        lines += [f"| {audited.number} | {line}" for line in _rebased(audited, other)]
    against = ", ".join(f"{task} {value:g}" for task, value in other.items())
    return "\n".join([*lines, "", f"Rebased: Δm of the metrics as printed, had the baseline been {against}."])


def _rebased(audited: Audited, baseline: Mapping[str, float]) -> list[str]:
    """A line for each row of each column of deltas, with the sign and the mean that the table uses."""
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
            lines.append(f"{verdict.entry.method} | {printed} | {f'{found.value:+.2f}' if found else ''} |")
    return lines
