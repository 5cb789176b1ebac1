"""Why a printed delta may be impossible: another reading that fits, or the one printed number whose change would do."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mtlbench.results.papers.columns import Entry, Metric, Table
from mtlbench.results.papers.judge import (
    IMPOSSIBLE,
    SLACK,
    Judged,
    Range,
    Reading,
    Verdict,
    fewer_metrics,
    measure,
    other_directions,
    ways_to_average,
    weights_of,
)
from mtlbench.results.papers.reading.numbers import Number

WEAK = 1.0  # points: a range that is wider lets much through
MOST_TRIED = 2000  # numbers among which a misprint is looked for
MOST_BASELINES = 3  # that a message names


@dataclass(frozen=True)
class Change:
    """Another number in one place of a row, with which its printed delta would be possible."""

    where: str
    printed: str
    nearest: str
    low: str
    high: str
    misprint: bool  # whether one digit, the sign, or two neighbouring digits differ
    also: str = ""  # the row that prints the same number there


def readings(table: Table, judged: Judged, verdict: Verdict) -> list[str]:
    """The other readings under which an impossible row fits: sign, baseline, mean, direction, or metrics left out."""
    printed, row, reading = verdict.printed, verdict.entry, judged.reading
    if printed is None or verdict.range is None:
        return []
    base = table.entries[reading.baseline_of(table.entries.index(row))]
    if row is base:
        return []
    found = ["with the other sign"] if verdict.range.allows(printed.negative()) else []
    others = [*ways_to_average(reading), *other_directions(reading), *fewer_metrics(reading)]
    for other in others:
        possible = measure(row, base, other)
        if possible and possible.allows(printed):
            found.append(f"with {other.said[-1]}" if other.said[-1].startswith("the mean") else f"if {_clause(other)}")
    rows = [
        entry.method
        for entry in table.entries
        if entry is not row
        and entry is not base
        and (possible := measure(row, entry, reading))
        and possible.allows(printed)
    ]
    if rows:
        more = f" and {len(rows) - MOST_BASELINES} more" if len(rows) > MOST_BASELINES else ""
        found.append(f"against {' or '.join(map(repr, rows[:MOST_BASELINES]))}{more}")
    return found


def _clause(reading: Reading) -> str:
    said = reading.said[-1]
    if said.startswith("without"):
        return f"{said.removeprefix('without ')} is left out"
    return "only the first metric of each task counts" if said.startswith("of the first") else said


def changes(table: Table, judged: Judged, verdict: Verdict) -> list[Change]:
    """What one other number would make an impossible row possible, the likeliest misprint first."""
    printed, row, possible = verdict.printed, verdict.entry, verdict.range
    if printed is None or possible is None:
        return []
    base = table.entries[judged.reading.baseline_of(table.entries.index(row))]
    found = (
        []
        if row is base
        else [c for metric in judged.reading.metrics if (c := _metric(table, judged.reading, verdict, metric))]
    )
    unit = 2 * printed.half
    low, high = (
        math.ceil((possible.low - printed.half) / unit - SLACK),
        math.floor((possible.high + printed.half) / unit + SLACK),
    )
    found.append(_change(judged.delta.title, printed, range(low, high + 1), unit))
    return sorted(found, key=lambda c: (not c.misprint, not c.also, c.where == judged.delta.title, _distance(c)))


def _distance(change: Change) -> float:
    old, new = float(change.printed), float(change.nearest)
    return abs(new - old) / (abs(old) or 1.0)


def _metric(table: Table, reading: Reading, verdict: Verdict, metric: Metric) -> Change | None:
    """The numbers that a metric could print, so that the row's delta is possible. Eq. (6) is linear in each of them."""
    printed, row = verdict.printed, verdict.entry
    if printed is None or reading.log:
        return None
    base = table.entries[reading.baseline_of(table.entries.index(row))]
    number, under = row.numbers[metric.index], base.numbers[metric.index]
    weight = weights_of(reading)[metric.index] * (1 if metric.higher else -1) * (-1 if reading.lower else 1)
    whole = measure(row, base, reading)
    corners = [weight * (value / b - 1) for value in (number.low, number.high) for b in (under.low, under.high)]
    if whole is None or under.low <= 0:
        return None
    rest_low, rest_high = whole.low - min(corners), whole.high - max(corners)
    ratios = sorted(1 + share / weight for share in (printed.low - rest_high, printed.high - rest_low))
    ends = [
        ratio * b for ratio, b in ((ratios[0], under.low if ratios[0] > 0 else under.high), (ratios[1], under.high))
    ]
    unit = 2 * number.half
    low, high = math.ceil((ends[0] - number.half) / unit - SLACK), math.floor((ends[1] + number.half) / unit + SLACK)
    if high < max(low, 0):
        return None
    twin = next(
        (
            e.method
            for e in table.entries
            if e is not row and (n := e.numbers.get(metric.index)) and n.text == number.text
        ),
        "",
    )
    return _change(metric.title, number, range(max(low, 0), high + 1), unit, twin)


def _change(where: str, printed: Number, units: range, unit: float, also: str = "") -> Change:
    decimals = max(0, round(-math.log10(unit)))
    texts = [
        f"{count * unit:.{decimals}f}"
        for count in (units if units.stop - units.start < MOST_TRIED else (units[0], units[-1]))
    ]
    misprints = [text for text in texts if _misprint(printed.text, text)]
    nearest = min(misprints or texts, key=lambda text: abs(float(text) - printed.value))
    return Change(where, printed.text, nearest, texts[0], texts[-1], bool(misprints), also)


def _misprint(printed: str, other: str) -> bool:
    """Whether two numbers differ by one digit, by the order of two neighbours, or by the sign."""
    if (printed[0] == "-") != (other[0] == "-"):
        return printed.lstrip("+-") == other.lstrip("+-")
    one, two = printed.lstrip("+-"), other.lstrip("+-")
    if len(one) != len(two):
        return False
    differ = [place for place, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
    swapped = (
        len(differ) == 2
        and differ[1] == differ[0] + 1
        and one[differ[0]] == two[differ[1]]
        and one[differ[1]] == two[differ[0]]
    )
    return len(differ) == 1 or swapped


def baseline_change(table: Table, judged: Judged) -> Change | None:
    """The one number of the baseline whose change would make every judged row possible, if most are impossible now."""
    wrong = [v for v in judged.verdicts if v.verdict == IMPOSSIBLE and v.range]
    rows = [
        v
        for v in judged.verdicts
        if v.range and v.printed and v.entry is not table.entries[judged.reading.baselines[0]]
    ]
    if len(judged.reading.baselines) > 1 or len(wrong) < 2 or 2 * len(wrong) <= len(rows) or judged.reading.log:
        return None
    base = table.entries[judged.reading.baselines[0]]
    for metric in judged.reading.metrics:
        under = base.numbers[metric.index]
        unit = 2 * under.half
        near = range(max(1, math.floor(0.5 * under.value / unit)), math.ceil(2 * under.value / unit) + 1)
        first, end = 0, len(near)
        for verdict in rows:
            one, other = _fitting(verdict, base, judged.reading, metric, near)
            first, end = max(first, one), min(end, other)
        if first < end:
            return _change(f"{metric.title} of {base.method!r}", under, near[first:end], unit)
    return None


def _fitting(verdict: Verdict, base: Entry, reading: Reading, metric: Metric, near: range) -> tuple[int, int]:
    """Which of the numbers `near`, in units, a metric of the baseline may be for a row to be possible: from, to.

    Both ends of the range move one way with the number of the baseline, so that bisection finds where they pass.
    """
    under, printed = base.numbers[metric.index], verdict.printed

    def ends(count: int) -> tuple[bool, bool]:
        """Whether the range reaches up to the printed delta, and down to it."""
        number = Number(under.text, 2 * under.half * count, under.half)
        found = measure(verdict.entry, replace(base, numbers={**base.numbers, metric.index: number}), reading)
        if found is None or printed is None:
            return False, False
        return found.high + SLACK >= printed.low, found.low - SLACK <= printed.high

    up, down = (0, 1) if metric.higher != reading.lower else (1, 0)
    first = bisect.bisect_left(near, True, key=lambda count: ends(count)[down])
    return first, bisect.bisect_left(near, True, key=lambda count: not ends(count)[up])


def _text(entry: Entry, column: int) -> str:
    return entry.numbers[column].text if column in entry.numbers else "-"


def notes(table: Table, judged: Sequence[Judged]) -> Iterator[str]:
    """What else a reader of the table should know: rows that are equal, and tests that are weak."""
    equal: dict[tuple[str, ...], list[Entry]] = {}
    for entry in table.entries:
        if len(table.metrics) > 1 and all(metric.index in entry.numbers for metric in table.metrics):
            equal.setdefault(tuple(entry.numbers[metric.index].text for metric in table.metrics), []).append(entry)
    for rows in equal.values():
        if len(rows) > 1:
            names = " and ".join(repr(row.method) for row in rows)
            differ = [
                f"{column.title} ({', '.join(texts)})"
                for column in (*table.others, *(table.columns[delta.index] for delta in table.deltas))
                if len(texts := list(dict.fromkeys(_text(row, column.index) for row in rows))) > 1
            ]
            but = f" but different {', '.join(differ)}" if differ else ""
            yield f"rows {names} print the same {len(table.metrics)} metrics{but}"
    for column in table.unjudged:
        yield f"column {column.index} {column.title!r} is not judged: the metrics that it is of are not printed"
    for each in judged:
        widths = sorted(
            v.range.high - v.range.low for v in each.verdicts if v.range and v.printed and v.range != Range(0, 0, 0)
        )
        if widths and widths[len(widths) // 2] > WEAK:
            yield (
                f"a weak test of {each.delta.title!r}: the printed digits allow {widths[len(widths) // 2]:.2f} points "
                "(median width of the ranges), so that a smaller error may stay unseen"
            )
        change = baseline_change(table, each)
        if change:
            yield f"one number would explain all rows: {change.where} {change.printed} as {change.nearest}"
