"""Several tables together: how often each row is better than the baseline, and its rank.

A table is a benchmark with a task set, in one matrix. It is the unit of generalisation: more seeds say more of the same
tables, and only more tables say more of other benchmarks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mtlbench.results.statistics.strata import stratified_interval
from mtlbench.results.summary.summary import Summary

Array = NDArray[np.float64]

ENOUGH = 5  # tables; with fewer, nothing is said of other benchmarks


class Place(NamedTuple):
    """A table of a report."""

    matrix: str
    benchmark: str
    tasks: tuple[str, ...]


class Bounds(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Together:
    """A row over several tables."""

    counts: Mapping[Place, tuple[int, int]]  # runs better than the baseline, of how many; {} for the baseline
    ranks: Mapping[Place, float]  # the mean of its ranks with each seed; {} for a row that a table lacks
    improvement: float  # the mean over tables of the share of runs that are better; NaN for the baseline
    improvement_bounds: Bounds | None  # 95 %, over the runs of these tables
    rank: float  # the mean over tables; NaN where there are no ranks
    rank_bounds: Bounds | None


@dataclass(frozen=True)
class Several:
    """Tables that have the same baseline."""

    baseline: str
    places: tuple[Place, ...]
    rows: Mapping[str, Together]  # by label: the baseline, and the rows that occur in at least two tables
    ranked: tuple[str, ...]  # the labels that all tables share, which are ranked among each other
    other_methods: tuple[str, ...] = ()  # labels that name one method here and another one there
    unpaired: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)  # tables in which no run has a partner


def several(tables: Sequence[tuple[str, Summary]]) -> list[Several]:
    """tables: (matrix, summary). One result for each baseline that at least two tables share, in the tables' order.

    A table in which the baseline has no whole run is passed over, and a baseline without a row in two tables too.
    """
    usable = {
        Place(matrix, summary.comparison.benchmark, summary.comparison.tasks): summary
        for matrix, summary in tables
        if summary.comparison.baseline and not summary.rows[summary.comparison.baseline].delta.problem
    }
    found = []
    for baseline in dict.fromkeys(summary.comparison.baseline for summary in usable.values()):
        shared = {place: one for place, one in usable.items() if one.comparison.baseline == baseline}
        together = _several(baseline, shared)
        if len(together.rows) > 1:
            found.append(together)
    return found


def _several(baseline: str, tables: Mapping[Place, Summary]) -> Several:
    methods: dict[str, set[str]] = {}
    counts: dict[str, dict[Place, tuple[int, int]]] = {}
    unpaired: dict[str, list[Place]] = {}
    for place, summary in tables.items():
        for label, row in summary.rows.items():
            methods.setdefault(label, set()).add(row.row.method)
            if label != baseline and not row.delta.paired:
                unpaired.setdefault(label, []).append(place)
            elif label != baseline and row.delta.compared:
                counts.setdefault(label, {})[place] = (row.delta.improved, row.delta.compared)
    other = [label for label, names in methods.items() if len(names) > 1]
    labels = [label for label, by_place in counts.items() if len(by_place) > 1 and label not in other]
    ranked = [baseline, *(label for label in labels if len(counts[label]) == len(tables))]
    by_seed = {place: _ranks(summary, ranked) for place, summary in tables.items()}
    if len(ranked) < 2 or not all(ranks.size for ranks in by_seed.values()):
        ranked, by_seed = [], {}
    rows = {}
    for label in (baseline, *labels):
        of_row = counts.get(label, {})
        outcomes = [np.repeat([1.0, 0.0], [better, runs - better]) for better, runs in of_row.values()]
        ranks = {place: found[:, ranked.index(label)] for place, found in by_seed.items() if label in ranked}
        rows[label] = Together(
            of_row,
            {place: float(of_place.mean()) for place, of_place in ranks.items()},
            *_over(outcomes),
            *_over(list(ranks.values())),
        )
    split = {label: tuple(places) for label, places in unpaired.items() if label in labels}
    return Several(baseline, tuple(tables), rows, tuple(ranked), tuple(other), split)


def _over(tables: Sequence[Array]) -> tuple[float, Bounds | None]:
    """The mean over tables of the means over runs, with its interval.

    There is no interval where the runs of each table are all the same, since no draw of them is different.
    """
    if not tables:
        return math.nan, None
    mean = float(np.mean([values.mean() for values in tables]))
    drawn = stratified_interval(tables)
    if drawn is None or all((values == values[0]).all() for values in tables):
        return mean, None
    return mean, Bounds(*drawn)


def _ranks(summary: Summary, labels: Sequence[str]) -> Array:
    """[seeds, rows]: the ranks of these rows with each seed that all of them finished or broke in, by Delta_m.

    A run that failed or diverged is behind all others, and equal runs share the mean of their ranks. The baseline has
    a Delta_m of 0 with each of its seeds.
    """
    baseline, deltas = summary.comparison.baseline, {label: summary.rows[label].delta for label in labels}
    values = {
        label: {seed: 0.0 for seed in delta.against}
        if label == baseline
        else {**{seed: -math.inf for seed in delta.broken}, **delta.values}
        for label, delta in deltas.items()
    }
    seeds = [seed for seed in summary.comparison.seeds if all(seed in of_row for of_row in values.values())]
    matrix = np.array([[values[label][seed] for label in labels] for seed in seeds])
    return np.asarray(stats.rankdata(-matrix, axis=1)) if seeds else np.empty((0, len(labels)))
