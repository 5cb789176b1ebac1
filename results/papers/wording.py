"""What an audit says: as text for a reader, and as JSON for a program."""

from __future__ import annotations

from typing import Any

from mtlbench.results.papers.columns import Metric
from mtlbench.results.papers.explain import Change
from mtlbench.results.papers.judge import BASELINE, IMPOSSIBLE, NOT_JUDGED, Judged, Reading
from mtlbench.results.papers.printed import Audited, Explained, File, count
from mtlbench.results.papers.rows import Part, Rows

MOST_CHANGES = 2  # of which one would explain a row, in its line; JSON has all
MOST_EQUAL = 5  # notes of a table that are printed; JSON has all


def parts(file: File) -> list[Part]:
    """The audit of a file: what was taken for what, a row for each printed delta, and the verdict."""
    wrong, compared = count(file.tables)
    verdict = f"{wrong} of {compared} printed deltas cannot follow from the metrics printed beside them."
    if file.without_delta:
        verdict += f" Tables without Δm or without metrics, left out: {file.without_delta}."
    return [*(part for table in file.tables for part in _table(table)), verdict]


def _table(audited: Audited) -> list[Part]:
    table = audited.table
    caption = f" ({table.caption})" if table.caption else ""
    lines = [f"Table {audited.number}, line {table.line}{caption}"]
    lines += [f"Taken: {taken(audited, judged)}" for judged in audited.judged]
    several = len(audited.judged) > 1
    cells = []
    for row in audited.rows:
        verdict = row.verdict
        found, which = verdict.range, [audited.judged[verdict.delta].delta.title] if several else []
        printed = verdict.printed.text if verdict.printed else ""
        numbers = (f"{found.value:+.2f}", f"[{found.low:+.2f}, {found.high:+.2f}]") if found else ("", "")
        cells.append((verdict.entry.method, *which, printed, *numbers, _said(row)))
    heads = ("Method", *(["Delta"] if several else []), "printed", "recomputed", "possible", "verdict")
    notes = list(audited.notes[:MOST_EQUAL])
    if len(audited.notes) > MOST_EQUAL:
        notes.append(f"{len(audited.notes) - MOST_EQUAL} more notes; --json has them all")
    said = ["\n".join(f"Note: {note}." for note in notes)] if notes else []
    return ["\n".join(lines), Rows(heads, cells), *said]


def taken(audited: Audited, judged: Judged) -> str:
    """In one line, what was taken for what, with the flags that overrule it."""
    table, reading = audited.table, judged.reading
    bases = ", ".join(repr(table.entries[base].method) for base in reading.baselines)
    several = " (each row against the nearest above it)" if len(reading.baselines) > 1 else ""
    metrics = ", ".join(f"{metric.index} {_bare(metric.title)} {_arrow(metric)}" for metric in reading.metrics)
    used = {metric.index for metric in reading.metrics}
    left_out = [f"{c.index} {c.title}" for c in table.others] + [
        f"{m.index} {m.title}" for m in table.metrics if m.index not in used
    ]
    said = f"; {'; '.join(reading.said)}" if reading.said else ""
    return (
        f"baseline {bases}{several} (--baseline-row); metrics {metrics} (--metrics, --direction); "
        f"Δm in column {judged.delta.index} {judged.delta.title!r} (--delta), where "
        f"{'lower' if reading.lower else 'higher'} is better (--sign), {_mean(reading)} (--mean)"
        f"{'; left out ' + ', '.join(left_out) if left_out else ''}{said}"
    )


def _bare(title: str) -> str:
    return " ".join(title.translate(dict.fromkeys(map(ord, "\u2191\u2193"))).split())


def _arrow(metric: Metric) -> str:
    return "\u2191" if metric.higher else "\u2193"


def _mean(reading: Reading) -> str:
    if reading.log:
        return "the mean of logarithms"
    if reading.mean == "metric":
        return "the mean by metric"
    tasks: dict[str, list[int]] = {}
    for metric in reading.metrics:
        tasks.setdefault(metric.task, []).append(metric.index)
    return "the mean by task " + " ".join(f"[{','.join(map(str, columns))}]" for columns in tasks.values())


def _said(row: Explained) -> str:
    verdict = row.verdict
    if verdict.verdict == NOT_JUDGED:
        return f"not judged: {verdict.why}"
    if verdict.verdict != IMPOSSIBLE:
        return verdict.verdict
    said = "impossible" + (f": {verdict.why}" if verdict.why else "")
    if row.readings:
        return f"{said}; fits {', or '.join(row.readings)}"
    if row.changes:
        likely = [change for change in row.changes if change.misprint] or row.changes[:1]
        return f"{said}; would fit with {', or '.join(map(_change, likely[:MOST_CHANGES]))}"
    return said


def _change(change: Change) -> str:
    ends = "" if change.low == change.high else f" ({change.low} to {change.high})"
    also = f"; {change.also!r} prints {change.printed} too" if change.also else ""
    return f"{_bare(change.where)} {change.nearest}{ends} instead of {change.printed}{also}"


def as_json(file: File) -> dict[str, Any]:
    """The audit of a file, for `json.dumps`."""
    wrong, compared = count(file.tables)
    return {
        "tables": [_json_of(table) for table in file.tables],
        "impossible": wrong,
        "compared": compared,
        "unread": list(file.unread),
    }


def _json_of(audited: Audited) -> dict[str, Any]:
    table, first = audited.table, audited.judged[0].reading if audited.judged else None
    metrics = {m.index: m for judged in audited.judged for m in judged.reading.metrics}
    return {
        "table": audited.number,
        "line": table.line,
        "caption": table.caption,
        "baseline": table.entries[first.baselines[0]].method if first else None,
        "baselines": [[table.entries[base].method for base in judged.reading.baselines] for judged in audited.judged],
        "delta_lower_is_better": [judged.reading.lower for judged in audited.judged],
        "metric_columns": [[m.index, m.title, "up" if m.higher else "down"] for _, m in sorted(metrics.items())],
        "delta_columns": [
            {
                "index": judged.delta.index,
                "title": judged.delta.title,
                "mean": "log" if judged.reading.log else judged.reading.mean,
                "metrics": [metric.index for metric in judged.reading.metrics],
                "departs": list(judged.reading.said),
            }
            for judged in audited.judged
        ],
        "taken": [taken(audited, judged) for judged in audited.judged],
        "rows": [_json_row(row) for row in audited.rows],
        "notes": list(audited.notes),
    }


def _json_row(row: Explained) -> dict[str, Any]:
    verdict = row.verdict
    said: dict[str, Any] = {
        "method": verdict.entry.method,
        "line": verdict.entry.line,
        "delta_column": verdict.delta,
        "printed": verdict.printed.text if verdict.printed else None,
        "verdict": verdict.verdict,
    }
    if verdict.range and verdict.verdict != BASELINE:
        value, low, high = (round(number, 4) + 0.0 for number in verdict.range)
        said |= {"recomputed": value, "low": low, "high": high}
    if verdict.why:
        said["why"] = verdict.why
    if verdict.verdict == IMPOSSIBLE and verdict.printed and verdict.range:
        value = verdict.printed.value
        said["off_by"] = round(max(verdict.range.low - value, value - verdict.range.high), verdict.printed.decimals)
        said["fits"] = list(row.readings)
        said["changes"] = [
            {
                "where": c.where,
                "printed": c.printed,
                "would_be": c.nearest,
                "from": c.low,
                "to": c.high,
                "also_in": c.also,
            }
            for c in row.changes
        ]
    return said
