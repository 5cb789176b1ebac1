"""Delta_m of every cell whose baselines are in."""

from __future__ import annotations

import math

from mtlbench.harness.store.store import Store
from mtlbench.results.records.reading import read
from mtlbench.results.statistics.delta import IncomparableScores, delta_m, relative_gain
from mtlbench.results.summary.runs import comparisons


def deltas(store: Store, matrix: str) -> dict[str, dict[str, float]]:
    """cell id -> Delta_m and each task's gain in percent, against the baseline of the same seed, where both are in."""
    found: dict[str, dict[str, float]] = {}
    for comparison in comparisons(read(store.url, matrix)):
        baseline = comparison.rows.get(comparison.baseline)
        if baseline is None:
            continue
        for row in comparison.rows.values():
            for seed, run_ in row.runs.items():
                reference = baseline.runs.get(seed)
                if len(run_.entries) > 1 or run_.status != "finished" or reference is None:
                    continue
                if reference.status != "finished":
                    continue
                scores, base = run_.scores(), reference.scores()
                try:
                    values = {f"delta/{task}": relative_gain(scores[task], base[task]) for task in comparison.tasks}
                    values["delta/m"] = delta_m(scores, base)
                except IncomparableScores:  # the tables name these scores and the reason
                    continue
                found[run_.entries[0].id] = {name: value for name, value in values.items() if math.isfinite(value)}
    return found
