"""Which printed deltas the rounding of the metrics beside them allows, and how a table of them is to be read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

from mtlbench.results.papers import vocabulary
from mtlbench.results.papers.columns import Choices, Delta, Entry, Metric, Table
from mtlbench.results.papers.reading.grid import BadTable
from mtlbench.results.papers.reading.numbers import Number

SLACK = 1e-9  # of floating point, at the ends of an interval
FREE = 1.0  # readings that cost less contradict nothing that the table says
MOST_BASELINES = 40  # that are tried for a whole table
MOST_UNKNOWN = 5  # metrics of unknown direction; each doubles the readings

POSSIBLE, IMPOSSIBLE, BASELINE, NOT_JUDGED = "possible", "impossible", "baseline", "not judged"


class Range(NamedTuple):
    """What the metrics of a row give, in percent: from themselves, and the ends of what their rounding allows."""

    value: float
    low: float
    high: float

    def allows(self, printed: Number) -> bool:
        return self.low - SLACK <= printed.high and printed.low <= self.high + SLACK


@dataclass(frozen=True)
class Reading:
    """A way to read a column of deltas: which mean of which metrics, against which row, and with which sign."""

    metrics: tuple[Metric, ...]
    baselines: tuple[int, ...]  # entries; a row is measured against the nearest one above, or else the first
    lower: bool  # whether lower is better
    mean: str = "metric"  # or "task"
    log: bool = False
    scale: float = 100.0
    cost: float = 0.0
    said: tuple[str, ...] = ()  # how it departs from what the table says

    def baseline_of(self, row: int) -> int:
        return max((base for base in self.baselines if base <= row), default=self.baselines[0])

    def departs(self, cost: float, said: str, **changes: object) -> Reading:
        return replace(self, cost=self.cost + cost, said=(*self.said, said) if said else self.said, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Verdict:
    entry: Entry
    delta: int  # position among the deltas of the table
    printed: Number | None
    verdict: str
    why: str
    range: Range | None
    against: str  # the baseline

    @property
    def is_baseline(self) -> bool:
        return self.verdict == BASELINE or (self.range is not None and self.range == Range(0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Judged:
    """A column of deltas with the reading that was taken, and a verdict for each row."""

    delta: Delta
    reading: Reading
    verdicts: tuple[Verdict, ...]


def measure(row: Entry, base: Entry, reading: Reading) -> Range | None:
    """What Eq. (6) allows for a row; None where a number is missing or the baseline may be 0."""
    weights = weights_of(reading)
    values, lows, highs = [], [], []
    for metric in reading.metrics:
        number, under = row.numbers.get(metric.index), base.numbers.get(metric.index)
        if number is None or under is None or under.low <= 0 <= under.high:
            return None
        weight = weights[metric.index] * (1 if metric.higher else -1) * (-1 if reading.lower else 1)
        changes = [weight * change for change in _changes(number, under, reading.log)]
        if not all(map(math.isfinite, changes)):
            return None
        values.append(changes[0])
        lows.append(min(changes[1:]))
        highs.append(max(changes[1:]))
    return Range(math.fsum(values), math.fsum(lows), math.fsum(highs))


def weights_of(reading: Reading) -> dict[int, float]:
    """The weight of each metric, in percent: equal by metric, or by task and in it by metric."""
    tasks = [metric.task for metric in reading.metrics]
    if reading.mean == "task":
        return {m.index: reading.scale / len(set(tasks)) / tasks.count(m.task) for m in reading.metrics}
    return {m.index: reading.scale / len(tasks) for m in reading.metrics}


def _changes(number: Number, under: Number, log: bool) -> list[float]:
    """The relative change of the printed numbers, and of the four corners that their rounding allows."""
    pairs = [(number.value, under.value), *product((number.low, number.high), (under.low, under.high))]
    if log:
        return [math.log(value / base) if value / base > 0 else math.nan for value, base in pairs]
    return [(value - base) / base for value, base in pairs]


def judge(table: Table, choices: Choices) -> list[Judged]:
    """Every column of deltas of a table. Raises BadTable that names the line, where there is no baseline."""
    return [_column(table, position, delta, choices) for position, delta in enumerate(table.deltas)]


def _column(table: Table, position: int, delta: Delta, choices: Choices) -> Judged:
    free = list(_free(table, delta, choices))
    best = max(free, key=lambda reading: (fitting(table, delta, reading), -reading.cost))
    judged, fit = judged_rows(table, delta, best), fitting(table, delta, best)
    if 2 * fit < judged:
        others = [reading for reading in _costly(table, delta, best, choices) if reading.cost < 2 * FREE + best.cost]
        other = max(others, key=lambda reading: (fitting(table, delta, reading), -reading.cost), default=best)
        explained = fitting(table, delta, other)
        if explained >= max(fit + 2, 0.6 * judged):
            best = other
    for base in best.baselines:
        _check(table, table.entries[base], best)
    return Judged(delta, best, tuple(_verdict(table, position, delta, best, row) for row in range(len(table.entries))))


def _check(table: Table, base: Entry, reading: Reading) -> None:
    for metric in reading.metrics:
        under = base.numbers.get(metric.index)
        if under and under.low <= 0 <= under.high:
            raise BadTable(
                f"line {base.line}: the baseline {base.method!r} prints {under.text} for {metric.title!r}, and Eq. (6) "
                "divides by it; print more decimals, or leave the column out with --metrics"
            )


def judged_rows(table: Table, delta: Delta, reading: Reading) -> int:
    return sum(1 for _ in _evidence(table, delta, reading))


def fitting(table: Table, delta: Delta, reading: Reading) -> int:
    return sum(1 for printed, found in _evidence(table, delta, reading) if found.allows(printed))


def _evidence(table: Table, delta: Delta, reading: Reading) -> Iterator[tuple[Number, Range]]:
    """The rows that can be judged, which speak for a reading or against it."""
    for row, entry in enumerate(table.entries):
        printed, base = entry.numbers.get(delta.index), reading.baseline_of(row)
        if printed is None or entry.short:
            continue
        if row == base:
            if printed.value != 0:
                yield printed, Range(0.0, 0.0, 0.0)
            continue
        found = measure(entry, table.entries[base], reading)
        if found is not None:
            yield printed, found


def candidates(table: Table, delta: Delta) -> list[tuple[float, int]]:
    """The rows that may be the baseline, the likeliest first, with what each costs. A gain is no baseline's."""
    found = []
    scope = delta.scopes[0]
    for row, entry in enumerate(table.entries):
        printed = entry.numbers.get(delta.index)
        if not all(metric.index in entry.numbers for metric in scope):
            continue
        single, multi = vocabulary.single_task(entry.method), vocabulary.MULTI.search(entry.method)
        if single and printed is not None and printed.value != 0:
            found.append((1.2, row))
        elif single:
            found.append((0.0, row))
        elif printed is not None and printed.value == 0:
            found.append((0.2 + 0.05 * bool(multi), row))
        elif printed is None:
            found.append(((0.4 if row == 0 else 0.6) + 0.05 * bool(multi), row))
    if not found:  # no row of the whole scope: perhaps a baseline lacks a metric that is not counted
        found = [(0.9, row) for row, entry in enumerate(table.entries) if vocabulary.single_task(entry.method)]
    return sorted(found)


def _baselines(table: Table, delta: Delta, choices: Choices) -> list[tuple[float, tuple[int, ...]]]:
    if choices.baseline_row is not None:
        return [(0.0, (_named_row(table, choices.baseline_row),))]
    found = candidates(table, delta)
    if not found or (found[0][0] >= FREE and table.entries[found[0][1]].numbers.get(delta.index) is None):
        names = ", ".join(entry.method for entry in table.entries)
        raise BadTable(
            f"line {table.entries[0].line}: no baseline for {delta.title!r}: no row is named single task, and none "
            f"prints 0 or - there; the rows are {names[:200]}; name one with --baseline-row ROW"
        )
    ways: list[tuple[float, tuple[int, ...]]] = [
        (cost + 0.01 * place, (row,)) for place, (cost, row) in enumerate(found[:20])
    ]
    for most in sorted({cost for cost, _ in found if cost < FREE}):
        rows = tuple(sorted(row for cost, row in found if cost <= most))
        if len(rows) > 1:
            ways.append((most - 0.005 if most == 0 else most, rows))
    return ways


def _named_row(table: Table, name: str) -> int:
    names = [entry.method for entry in table.entries]
    found = [row for row, known in enumerate(names) if known.lower() == name.lower()] or [
        row for row, known in enumerate(names) if name.lower() in known.lower()
    ]
    if len(found) != 1:
        what = "no row" if not found else "more than one row"
        raise BadTable(f"line {table.entries[0].line}: --baseline-row {name!r} fits {what} of {', '.join(names)[:300]}")
    return found[0]


def _free(table: Table, delta: Delta, choices: Choices) -> Iterator[Reading]:
    """The readings that contradict nothing that the table says."""
    mean, log = ("metric", True) if delta.mean == "log" else (delta.mean or "metric", False)
    signs = [(0.0, delta.lower)] if delta.lower is not None else [(0.0, False), (0.1, True)]
    for (cost, baselines), (more, lower) in product(_baselines(table, delta, choices), signs):
        scope = _printed_by(delta.scopes[0], table.entries[baselines[0]]) or delta.scopes[0]
        for metrics in _directed(scope, table):
            lacking = [
                f"{m.title!r} left out: the baseline prints no number" for m in delta.scopes[0] if m not in scope
            ]
            reading = Reading(metrics, baselines, lower, mean, log, cost=cost + more, said=tuple(lacking))
            yield reading
            if delta.mean is None and len(table.deltas) > 1 and len({m.task for m in metrics}) < len(metrics):
                yield reading.departs(0.5, "", mean="task")


def _printed_by(metrics: tuple[Metric, ...], entry: Entry) -> tuple[Metric, ...]:
    return tuple(metric for metric in metrics if metric.index in entry.numbers)


def _directed(metrics: tuple[Metric, ...], table: Table) -> Iterator[tuple[Metric, ...]]:
    """Metrics whose direction nobody knows, in both directions."""
    unknown = [metric for metric in metrics if metric.higher is None]
    if len(unknown) > MOST_UNKNOWN:
        named = ", ".join(metric.title for metric in unknown)
        raise BadTable(
            f"line {table.entries[0].line}: nothing says whether higher or lower is better in {named[:200]}; "
            "say it with --direction COLUMN=up or COLUMN=down, or leave columns out with --metrics"
        )
    for ways in product((True, False), repeat=len(unknown)):
        known = {metric.index: way for metric, way in zip(unknown, ways, strict=True)}
        yield tuple(replace(metric, higher=known.get(metric.index, metric.higher)) for metric in metrics)


def _costly(table: Table, delta: Delta, base: Reading, choices: Choices) -> Iterator[Reading]:
    """The readings that depart once from what the table says, and from the best one that does not."""
    if choices.lower_is_better is None:
        sign = "higher" if base.lower else "lower"
        yield base.departs(
            1.5, f"{sign} is better in its values, although the header says otherwise", lower=not base.lower
        )
    if choices.mean is None:
        yield from ways_to_average(base)
    if delta.scopes[-1] != delta.scopes[0] and not choices.metrics:
        scope = _printed_by(delta.scopes[-1], table.entries[base.baselines[0]])
        if all(metric.higher is not None for metric in scope):
            yield base.departs(1.2, "of all metrics", metrics=scope)
    if "%" not in delta.title:
        yield base.departs(1.4, "a fraction, and not percent", scale=1.0)
    if not choices.metrics:
        yield from fewer_metrics(base)
        yield from other_directions(base)
    if choices.baseline_row is None:
        for row, entry in list(enumerate(table.entries))[:MOST_BASELINES]:
            if (row,) != base.baselines:
                yield base.departs(1.8, f"against {entry.method!r}", baselines=(row,))


def ways_to_average(base: Reading) -> Iterator[Reading]:
    other = "metric" if base.mean == "task" else "task"
    if len({metric.task for metric in base.metrics}) < len(base.metrics):
        yield base.departs(1.2, f"the mean by {other}", mean=other)
    if base.log:
        yield base.departs(1.5, "the mean of relative changes, and not of logarithms", log=False)
    else:
        yield base.departs(1.5, "the mean of logarithms", log=True)


def fewer_metrics(base: Reading) -> Iterator[Reading]:
    """Without one of the metrics, and with the first one of each task."""
    if len(base.metrics) < 2:
        return
    first = tuple({metric.task: metric for metric in reversed(base.metrics)}.values())[::-1]
    if 1 < len(first) < len(base.metrics):
        yield base.departs(1.5, "of the first metric of each task", metrics=first)
    for left_out in base.metrics:
        rest = tuple(metric for metric in base.metrics if metric is not left_out)
        yield base.departs(1.6, f"without {left_out.title!r}", metrics=rest)


def other_directions(base: Reading) -> Iterator[Reading]:
    for turned in (metric for metric in base.metrics if not metric.fixed):
        said = f"{'lower' if turned.higher else 'higher'} is better in {turned.title!r}"
        metrics = tuple(replace(m, higher=not m.higher) if m is turned else m for m in base.metrics)
        yield base.departs(1.7 if turned.stated else 1.3, said, metrics=metrics)


def _verdict(table: Table, position: int, delta: Delta, reading: Reading, row: int) -> Verdict:
    entry, printed = table.entries[row], table.entries[row].numbers.get(delta.index)
    base = table.entries[reading.baseline_of(row)]

    def say(verdict: str, why: str = "", found: Range | None = None) -> Verdict:
        return Verdict(entry, position, printed, verdict, why, found, base.method)

    if entry is base:
        if printed is None:
            return say(BASELINE)
        found = Range(0.0, 0.0, 0.0)
        fits = found.allows(printed)
        return say(POSSIBLE if fits else IMPOSSIBLE, "" if fits else "it is the baseline, whose gain is 0", found)
    if entry.short:
        return say(NOT_JUDGED, f"the row has fewer cells than the {len(table.columns)} columns of the table")
    lacking = [metric.title for metric in reading.metrics if metric.index not in entry.numbers]
    if lacking:
        return say(NOT_JUDGED, f"it prints no single number for {', '.join(lacking)}")
    found_range = measure(entry, base, reading)
    if printed is None:
        return say(NOT_JUDGED, f"it prints no number for {delta.title}", found_range)
    if found_range is None:
        return say(NOT_JUDGED, "a ratio of its numbers is not defined")
    return say(POSSIBLE if found_range.allows(printed) else IMPOSSIBLE, "", found_range)
