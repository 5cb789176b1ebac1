"""The numbers of a table: for each row its scores, its Delta_m against the baseline, the intervals, and the cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from mtlbench.results.records.reading import influence
from mtlbench.results.statistics.intervals import Interval, paired_interval
from mtlbench.results.statistics.verdicts import Contrast
from mtlbench.results.summary.columns import Column, ScoreSummary, column
from mtlbench.results.summary.costs import costs, devices
from mtlbench.results.summary.gains import DeltaSummary, gains_of
from mtlbench.results.summary.images import Influences, NoInfluences, over_images
from mtlbench.results.summary.pairs import Block, block, rebased
from mtlbench.results.summary.runs import Comparison, Row


@dataclass(frozen=True)
class RowSummary:
    row: Row
    scores: Mapping[str, ScoreSummary]  # by task
    delta: DeltaSummary
    cost: Mapping[str, float]  # COSTS, means over finished runs; NaN where unknown
    devices: tuple[str, ...]  # the devices that the finished runs trained on


@dataclass(frozen=True)
class Summary:
    """A comparison with its numbers."""

    comparison: Comparison
    columns: Mapping[str, Column]  # by task
    rows: Mapping[str, RowSummary]  # by label
    block: Block
    contrasts: tuple[tuple[str, str, Contrast], ...]  # pairs of labels, on Delta_m
    rebased: Mapping[str, Mapping[int, float]]  # label -> seed of the baseline -> mean Delta_m against that one run

    @property
    def constant(self) -> dict[str, ScoreSummary]:
        """The constant predictor's scores by task; {} where there is none."""
        return {task: column.constant for task, column in self.columns.items() if column.constant is not None}


def summarise(comparison: Comparison, store: str) -> Summary:
    """Everything that a table says of a comparison. The per-image files of its cells lie in `store`."""
    columns = {task: column(comparison, task) for task in comparison.tasks}
    influences = cache(lambda cell_id: influence(store, cell_id))
    deltas, compared = judged(comparison, columns)
    best = compared.best()
    for label, row in comparison.rows.items():
        deltas[label] = _with_images(deltas[label], row, comparison, influences)
    rows = {
        label: RowSummary(
            row,
            {task: columns[task].entries[label] for task in comparison.tasks},
            replace(deltas[label], best=label in best),
            costs(row, comparison.parents),
            devices(row),
        )
        for label, row in comparison.rows.items()
    }
    pairs = tuple(compared.contrasts())
    return Summary(comparison, columns, rows, compared, pairs, rebased(comparison, columns, deltas))


def judged(comparison: Comparison, columns: Mapping[str, Column]) -> tuple[dict[str, DeltaSummary], Block]:
    """Delta_m of each row with its interval over seeds, and the block that judges all pairs of rows."""
    deltas = {label: gains_of(row, comparison, columns) for label, row in comparison.rows.items()}
    compared = block(comparison, columns, deltas)
    beside = compared.against(comparison.baseline)
    for label, delta in deltas.items():
        if delta.paired and label in beside:
            deltas[label] = replace(delta, seeds=beside[label])
    return deltas, compared


def _with_images(delta: DeltaSummary, row: Row, comparison: Comparison, influences: Influences) -> DeltaSummary:
    """The interval over seeds and images is widened as the one over seeds is, for all pairs at once."""
    if delta.seeds is None:
        return delta
    if not delta.paired:
        return replace(delta, no_images="runs are not paired with the baseline's")
    baseline = comparison.rows[comparison.baseline]
    try:
        interval = over_images(row, baseline, delta.values, comparison.tasks, influences)
    except NoInfluences as error:
        return replace(delta, no_images=str(error))
    alone = paired_interval(list(delta.values.values()))
    if alone is None or alone.half == 0:
        return replace(delta, images=max(interval, delta.seeds, key=lambda found: found.half))
    wide = interval.half * max(delta.seeds.half / alone.half, 1.0)
    return replace(delta, images=Interval(interval.estimate, wide, interval.df))
