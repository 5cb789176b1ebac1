"""The audit of tables in long form, which name everything: the values of Delta_m that rounding allows."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mtlbench.results.papers.judge import BASELINE, IMPOSSIBLE, POSSIBLE
from mtlbench.results.papers.reading.grid import BadTable
from mtlbench.results.papers.rows import TABLE, Part, Rows
from mtlbench.results.records.record import Score
from mtlbench.results.statistics.delta import delta_m

PUBLISHED = Path(__file__).with_name("published.csv")
KEY = ["source", "table", "benchmark", "task_set"]
COLUMNS = [*KEY, "method", "task", "metric", "higher_is_better", "value", "baseline", "printed_delta"]
OPTIONAL = ["title", "unit", "decimals"]


class Printed(NamedTuple):
    """A number as a table prints it. The number before rounding lies in value +- half."""

    value: float
    half: float


def is_long(text: str) -> bool:
    """Whether the first line of a text names the columns of the long form, most of them at least."""
    named = {word.strip().strip('"') for word in text.partition("\n")[0].split(",")}
    return len(named.intersection(COLUMNS)) > len(COLUMNS) / 2


def load(source: str | Path, text: str | None = None) -> pd.DataFrame:
    """A table in long form. Each row has one printed number, and every field is text, so that its decimals are known.

    The columns are source, table, benchmark, task_set, method, task, metric, higher_is_better (true or false), value,
    baseline (the method whose row Eq. (6) divides by; empty where no delta is printed) and printed_delta.

    Three more columns may be left out or have empty fields: title (of the metric; default: its name), unit, and
    decimals (how many all values of the task are printed with; default: as many as the longest value has). Other
    columns are kept. text: what the file holds, if it was read already. Raises FileNotFoundError, or BadTable that
    names the file, the row and the field.
    """
    try:
        table = pd.read_csv(source if text is None else io.StringIO(text), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, IsADirectoryError) as error:
        raise BadTable(f"{source}: not a CSV table ({error})") from error
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise BadTable(f"{source}: no column {', '.join(missing)}; a table has the columns {', '.join(COLUMNS)}")
    for name in (name for name in OPTIONAL if name not in table):
        table[name] = ""
    table["title"] = table["title"].where(table["title"] != "", table["metric"])
    for line, row in enumerate(table.to_dict("records"), start=2):
        for name in ("value", "printed_delta"):
            text = str(row[name])
            if not (_is_decimal(text) or (name == "printed_delta" and text == "")):
                raise BadTable(f"{source}:{line}: {name} is {text!r}; write a number as it is printed, like 37.50")
        if row["higher_is_better"] not in ("true", "false"):
            raise BadTable(f"{source}:{line}: higher_is_better is {row['higher_is_better']!r}; write true or false")
        decimals = str(row["decimals"])
        if decimals and not decimals.isdecimal():
            raise BadTable(
                f"{source}:{line}: decimals is {decimals!r}; write a whole number, like 2, or leave it empty"
            )
        if decimals and _decimals(str(row["value"])) > int(decimals):
            raise BadTable(f"{source}:{line}: value is {row['value']!r}, and decimals is {decimals}; make them agree")
    duplicated = table.duplicated([*KEY, "method", "task"])
    if duplicated.any():
        first = table[duplicated].iloc[0]
        where = f"{source}: {first['table']}, {first['method']!r}"
        raise BadTable(f"{where}: two values of {first['task']}; keep one")
    return table


def published() -> pd.DataFrame:
    """The table of every number that the papers of the field print, each with its source (see `load`)."""
    return load(PUBLISHED)


def audit(table: pd.DataFrame) -> pd.DataFrame:
    """Find which printed deltas can follow from the metrics that are printed beside them.

    table: see `load`. A metric printed as 37.5 in a column of two decimals is taken as 37.50 +- 0.005. Such intervals
    form a box. Eq. (6) is monotone in each of its numbers, so the corners of this box give the interval of deltas that
    the rounding allows. Tables without a baseline print no delta and are left out.

    Returns a row per table and method: source, table, benchmark, task_set, method, is_baseline, printed, recomputed,
    low, high (the last four in percent) and fits. Raises BadTable that names the table, where the row of the baseline
    or a task is missing, or where a column holds two metrics.
    """
    rows = []
    for key, group in groups(table):
        name, baseline_name = " ".join(key[:2]), _baseline(group, key)
        if not baseline_name:
            continue
        numbers, direction = printed_numbers(group), directions(group, key)
        baseline = numbers[baseline_name]
        for method, scores in numbers.items():
            if set(scores) != set(baseline):
                raise BadTable(f"{name}: {method!r} and the baseline {baseline_name!r} print different tasks")
            printed = {str(text) for text in group.loc[group["method"] == method, "printed_delta"]}
            if len(printed) != 1:
                raise BadTable(f"{name}: {method!r} has several printed deltas: {', '.join(sorted(printed))}")
            text = printed.pop()
            if text == "":
                continue
            low, high = _feasible(scores, None if method == baseline_name else baseline, direction)
            half = _half_unit(_decimals(text))
            rows.append(
                {
                    **dict(zip(KEY, key, strict=True)),
                    "method": method,
                    "is_baseline": method == baseline_name,
                    "printed": float(text),
                    "recomputed": delta_of(scores, baseline, direction),
                    "low": low,
                    "high": high,
                    "fits": low - half <= float(text) <= high + half,
                }
            )
    found = pd.DataFrame(rows, columns=[*KEY, "method", "is_baseline", "printed", "recomputed", "low", "high", "fits"])
    return found.astype({"is_baseline": bool, "fits": bool})


def audited(table: pd.DataFrame, source: object) -> pd.DataFrame:
    """The audit of a table. Raises BadTable that names `source` where there is nothing to audit, too."""
    found = audit(table)
    if found.empty:
        raise BadTable(f"{source}: no row has both a baseline and a printed_delta, so there is nothing to audit")
    return found


def as_json(found: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """An audit for `json.dumps`, with the rows of each printed table. table: what was audited."""
    texts = {(*(row[key] for key in KEY), row["method"]): row["printed_delta"] for row in table.to_dict("records")}
    tables = []
    for key, rows in groups(found):
        verdicts = [
            {
                "method": row["method"],
                "delta_column": 0,
                "printed": texts[*key, row["method"]],
                **{name: round(row[name], 4) + 0.0 for name in ("recomputed", "low", "high")},
                "verdict": _verdict(row),
            }
            for row in rows.to_dict("records")
        ]
        baseline = next(iter(rows.loc[rows["is_baseline"], "method"]), None)
        tables.append({**dict(zip(KEY, key, strict=True)), "baseline": baseline, "rows": verdicts})
    judged = found[~found["is_baseline"]]
    return {"tables": tables, "impossible": int((~found["fits"]).sum()), "compared": len(judged), "unread": []}


def _verdict(row: Mapping[Any, Any]) -> str:
    if not row["fits"]:
        return IMPOSSIBLE
    return BASELINE if row["is_baseline"] else POSSIBLE


def parts(found: pd.DataFrame) -> list[Part]:
    """An audit as rows, with the number of misfits below."""
    cells = [
        (
            f"{row['source']}, {row['table']}, {row['task_set']}",
            row["method"],
            f"{row['printed']:+.2f}",
            f"{row['recomputed']:+.2f}",
            f"[{row['low']:+.2f}, {row['high']:+.2f}]",
            _verdict(row),
        )
        for row in found.to_dict("records")
    ]
    misfits, compared = int((~found["fits"]).sum()), int((~found["is_baseline"]).sum())
    return [
        Rows((TABLE, "Method", "printed", "recomputed", "possible", "verdict"), cells),
        f"{misfits} of {compared} printed deltas cannot follow from the metrics printed beside them.",
    ]


def groups(table: pd.DataFrame) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """The rows of each printed table and task set, with the values of KEY that they share."""
    return [
        (tuple(str(part) for part in key) if isinstance(key, tuple) else (str(key),), group)
        for key, group in table.groupby(KEY, sort=False)
    ]


def _baseline(group: pd.DataFrame, key: tuple[str, ...]) -> str:
    """The method that the deltas of a table are against; "" where the table prints no deltas."""
    by_method = dict(zip(group["method"].map(str), group["baseline"].map(str), strict=True))
    names = {name for name in by_method.values() if name}
    if len(names) > 1:
        raise BadTable(f"{' '.join(key[:2])}: more than one baseline: {', '.join(sorted(names))}")
    if not names:
        return ""
    (name,) = names
    without = [method for method, baseline in zip(group["method"], group["baseline"], strict=True) if not baseline]
    if without:
        raise BadTable(f"{' '.join(key[:2])}: {without[0]!r} names no baseline; write {name!r}, as in the other rows")
    if name not in by_method:
        raise BadTable(f"{' '.join(key[:2])}: no row of the baseline {name!r}")
    return name


def printed_numbers(group: pd.DataFrame) -> dict[str, dict[str, Printed]]:
    """method -> task -> number. A column that does not say its decimals has as many as its longest entry."""
    decimals = {
        str(task): int(column["decimals"].iloc[0] or max(_decimals(str(text)) for text in column["value"]))
        for task, column in group.groupby("task")
    }
    numbers: dict[str, dict[str, Printed]] = {}
    for row in group.to_dict("records"):
        task = str(row["task"])
        numbers.setdefault(str(row["method"]), {})[task] = Printed(float(row["value"]), _half_unit(decimals[task]))
    return numbers


def directions(group: pd.DataFrame, key: tuple[str, ...]) -> dict[str, bool]:
    """task -> whether higher is better. Raises BadTable where a column has two metrics, or prints one in two ways."""
    for task, column in group.groupby("task", sort=False):
        for field in ("higher_is_better", "metric", *OPTIONAL):
            found = list(dict.fromkeys(column[field]))
            if len(found) > 1:
                method = column.loc[column[field] == found[1], "method"].iloc[0]
                raise BadTable(
                    f"{' '.join(key[:2])}: {task} of {method!r} has {field} {found[1]!r}, and {found[0]!r} above it; "
                    "a column has only one"
                )
    return {str(row["task"]): row["higher_is_better"] == "true" for row in group.to_dict("records")}


def delta_of(scores: Mapping[str, Printed], baseline: Mapping[str, Printed], direction: Mapping[str, bool]) -> float:
    return delta_m(
        {task: Score(task, "printed", number.value, direction[task], True) for task, number in scores.items()},
        {task: Score(task, "printed", number.value, direction[task], True) for task, number in baseline.items()},
    )


def _feasible(
    scores: Mapping[str, Printed], baseline: Mapping[str, Printed] | None, direction: Mapping[str, bool]
) -> tuple[float, float]:
    """Smallest and largest Delta_m, in percent. baseline None: the row is its own baseline, so both are 0."""
    if baseline is None:
        return 0.0, 0.0
    low, high = [], []
    for task, score in scores.items():
        base = baseline[task]
        if base.value - base.half <= 0 or score.value - score.half < 0:
            raise BadTable(f"{task}: {score.value} over {base.value} is not a ratio of positive numbers")
        smallest = (score.value - score.half) / (base.value + base.half) - 1
        largest = (score.value + score.half) / (base.value - base.half) - 1
        low.append(smallest if direction[task] else -largest)
        high.append(largest if direction[task] else -smallest)
    return 100 * math.fsum(low) / len(low), 100 * math.fsum(high) / len(high)


def _is_decimal(text: str) -> bool:
    whole, _, fraction = text.strip().lstrip("+-").partition(".")
    return (whole + fraction).isdecimal()


def _decimals(text: str) -> int:
    return len(text.strip().partition(".")[2])


def _half_unit(decimals: int) -> float:
    return 0.5 * 10.0**-decimals
