"""What MLflow is to show of a row of a table: the means of its runs, their intervals, and the verdict of the report.

A row's metrics are named as those of its cells. Where a value has an interval, `NAME_low` and `NAME_high` are its ends:

    test/TASK_METRIC      the mean over seeds, with its 95 % interval by Student's t
    delta/m               Delta_m in percent, with the interval of the report, which holds for all pairs of rows at once
    delta/TASK            its terms, with the intervals of the report's gains
    cost/...              means over the finished runs
    seeds                 how many seeds have finished

MLflow's lists show tags beside metrics: the verdict in a word or two, the interval of Delta_m as the report writes it,
and why a row has no verdict. A run lasts from the start of the row's first cell to the end of its last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtlbench.harness.tracking.views import COLOR, KIND, NOTE, STRANGE, ended, rounded, started
from mtlbench.results.records.record import Manifest, Score, differences
from mtlbench.results.report.drawing.colors import color
from mtlbench.results.report.formats import escape_markdown
from mtlbench.results.statistics.intervals import Interval, paired_interval
from mtlbench.results.summary.columns import mean_score, value_of
from mtlbench.results.summary.runs import Row
from mtlbench.results.summary.transfer import by_task

if TYPE_CHECKING:
    from mtlbench.results.report.tables import Cell, Table
    from mtlbench.results.summary.summary import RowSummary, Summary

AGGREGATE = "aggregate"  # the value of the tag KIND
ENDS = ("low", "high")
VERDICT, INTERVAL, WHY = "verdict", "interval", "why"  # tags


@dataclass(frozen=True)
class Aggregate:
    """A row of a table, as one run of MLflow."""

    name: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]  # finite
    start: int | None = None  # in milliseconds since 1970; None where no record says when its cell ended
    end: int | None = None

    @property
    def key(self) -> tuple[str, ...]:
        return row_of(self.tags)


def row_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    """By what a row is told from the other rows of a matrix, from the tags of its run."""
    return tuple(tags.get(name, "") for name in ("label", "tasks", "benchmark"))


def aggregates(manifest: Manifest, tables: Sequence[Table], summaries: Sequence[Summary]) -> list[Aggregate]:
    """The rows of a matrix. tables, summaries: those of its report, in one order."""
    several, labels = len(tables) > 1, list(dict.fromkeys(entry.label for entry in manifest.entries))
    found = []
    for table, summary in zip(tables, summaries, strict=True):
        comparison, tasks = summary.comparison, "+".join(summary.comparison.tasks)
        for (label, row), cells, verdict in zip(summary.rows.items(), table.rows, table.verdicts, strict=False):
            delta = _of_delta(table, cells)
            tags = {
                KIND: AGGREGATE,
                "matrix": manifest.name,
                "label": label,
                "method": row.row.method,
                "tasks": tasks,
                "benchmark": comparison.benchmark,
                "seeds": cells[1].text,
                COLOR: color(labels, label),
                **_judged(summary, label, verdict, [f"Δm {' '.join(delta)}", f"seeds: {cells[1].text}"]),
                **({} if row.delta.seeds is None else {INTERVAL: delta[1]}),
            }
            if strange := [f"{task}: {what}" for task, entry in row.scores.items() for what in entry.strange]:
                tags[STRANGE] = "; ".join(strange)
            name = f"{label} · {comparison.benchmark} · {tasks}" if several else label
            found.append(Aggregate(name, tags, dict(_metrics(row)), *_times(row.row)))
    return found


def _of_delta(table: Table, cells: Sequence[Cell]) -> list[str]:
    """Delta_m and its interval, as far as a row has them, as the report writes them."""
    found = [cell.text for column, cell in zip(table.columns, cells, strict=True) if column.part == "delta"]
    return [text for text in found if text]


def _judged(summary: Summary, label: str, verdict: str, more: Sequence[str]) -> dict[str, str]:
    """The verdict against the baseline, or why there is none; and a line with it and more, for the page of the run."""
    baseline, row = summary.comparison.baseline, summary.rows[label]
    tags, told = {VERDICT: verdict}, f"{verdict} against {baseline}"
    if not verdict and label == baseline:
        tags = {VERDICT: "baseline"}
        told = "the baseline"
    elif not verdict:
        tags = {VERDICT: "no verdict", WHY: row.delta.problem or summary.block.left_out.get(label, "not judged")}
        told = f"{tags[WHY]}: no verdict"
    return tags | {NOTE: escape_markdown(" · ".join([told, *more]))}


def _times(row: Row) -> tuple[int | None, int | None]:
    """When the first cell of a row started and its last one ended, by the records that say it."""
    records = [record for run in row.runs.values() for record in run.records.values()]
    ends = [(record, end) for record in records if (end := ended(record)) is not None]
    if not ends:
        return None, None
    return min(started(record, end) for record, end in ends), max(end for _, end in ends)


def _metrics(row: RowSummary) -> Iterator[tuple[str, float]]:
    """delta/m comes first: MLflow's page that compares runs begins with the first metric."""
    yield from _spread("delta/m", row.delta.mean, row.delta.seeds)
    for task, gain in by_task(row.delta).items():
        yield from _spread(f"delta/{task}", gain.mean, gain.interval)
    for scores in (*(list(entry.scores.values()) for entry in row.scores.values()), *_secondary(row.row)):
        if scores:
            interval = paired_interval([value_of(score) for score in scores])
            yield from _spread(f"test/{scores[0].task}_{scores[0].metric}", value_of(mean_score(scores)), interval)
    yield from ((f"cost/{name}", value) for name, value in row.cost.items() if math.isfinite(value))
    yield "seeds", float(len(row.row.finished()))


def _secondary(row: Row) -> Iterator[list[Score]]:
    """For each metric that is not primary, its defined scores over the seeds, where they can be compared."""
    found: dict[tuple[str, str], list[Score]] = {}
    for run in row.runs.values():
        for score in run.all_scores():
            if not score.primary and score.value is not None:
                found.setdefault((score.task, score.metric), []).append(score)
    return (scores for scores in found.values() if not any(differences(score, scores[0]) for score in scores))


def _spread(name: str, mean: float, interval: Interval | None) -> Iterator[tuple[str, float]]:
    if not math.isfinite(mean):
        return
    yield name, rounded(mean)
    if interval is not None:
        yield from ((f"{name}_{end}", rounded(getattr(interval, end))) for end in ENDS)
