"""Delta_m of every cell whose baselines are in: the deltas of the report, for MLflow."""

from __future__ import annotations

import math

from mtlbench.harness.store.store import Store
from mtlbench.results.records.reading import read
from mtlbench.results.summary.columns import column
from mtlbench.results.summary.gains import complete_pairs
from mtlbench.results.summary.runs import comparisons


def deltas(store: Store, matrix: str) -> dict[str, dict[str, float]]:
    """cell id -> Delta_m and each task's gain in percent, against the baseline of the same seed, where both are in."""
    found: dict[str, dict[str, float]] = {}
    for comparison in comparisons(read(store.url, matrix)):
        baseline = comparison.rows.get(comparison.baseline)
        if baseline is None:
            continue
        columns = {task: column(comparison, task) for task in comparison.tasks}
        for row in comparison.rows.values():
            for seed, pair in complete_pairs(row, baseline, columns).items():
                if len(row.runs[seed].entries) > 1:
                    continue
                values = {"delta/m": pair.delta} | {f"delta/{task}": gain for task, gain in pair.gains.items()}
                (entry,) = row.runs[seed].entries
                found[entry.id] = {name: value for name, value in values.items() if math.isfinite(value)}
    return found
