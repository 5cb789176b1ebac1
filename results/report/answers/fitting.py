"""The table of the page that sets training losses against test scores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from mtlbench.results.questions.fitting import LAST, Fitting, Pair, fitting
from mtlbench.results.records.reading import history
from mtlbench.results.report.display import fixed, signed
from mtlbench.results.report.grids import Grid
from mtlbench.results.statistics.intervals import mean_and_sd
from mtlbench.results.summary.summary import Summary

WORSE, BETTER = (False, True)

# The heads of the columns that count seeds, by whether the run fits better and whether it scores better.
COUNTED = {
    (WORSE, WORSE): "fits and tests worse",
    (BETTER, WORSE): "fits better, tests worse",
    (WORSE, BETTER): "fits worse, tests better",
    (BETTER, BETTER): "fits and tests better",
}


def grid(summary: Summary, store: str) -> Grid:
    """One line for each row and task whose training loss can be compared with the baseline's."""
    found, baseline = fitting(summary, cache(lambda cell_id: history(store, cell_id))), summary.comparison.baseline
    rows = []
    for (label, task), by_seed in found.pairs.items():
        pairs = list(by_seed.values())
        spread = [_spread([pair.fit for pair in pairs]), _spread([pair.test for pair in pairs])]
        counts = [f"{sum(_kind(pair) == kind for pair in pairs)} of {len(pairs)}" for kind in COUNTED]
        loss = mean_and_sd([pair.loss for pair in pairs])[0]
        rows.append([label, task, f"{loss:#.4g}", *spread, *counts])
    columns = ["Method", "task", "training loss", "fit [%]", "test gain [%]", *COUNTED.values()]
    worse = ["training loss", *(COUNTED[kind] for kind in ((WORSE, WORSE), (BETTER, WORSE)))]
    return Grid(columns, rows, " ".join(_sentences(baseline, found)), lower=worse)


def _kind(pair: Pair) -> tuple[bool, bool] | None:
    """A column of COUNTED; None where one of the two is exactly the baseline's."""
    return (pair.fit > 0, pair.test > 0) if pair.fit and pair.test else None


def _spread(values: Sequence[float]) -> str:
    mean, sd = mean_and_sd(values)
    return signed(mean) + (f" ± {fixed(sd, 2)}" if len(values) > 1 else "")


def _sentences(baseline: str, found: Fitting) -> list[str]:
    sentences = [
        f"Training loss: of the task's final prediction, without weights, mean over the last "
        f"{100 * LAST:.0f} % of the steps. Fit: how much lower it is than {baseline}'s of the same seed; test gain: "
        f"the task's term of Δm; both positive where better{_means(found)}. The last columns count seeds "
        "and are no test.",
        "A row that fits better and tests worse than the baseline generalises worse, and one that fits and tests worse "
        "need not; how much of a lost score either costs cannot be said, since a loss and a score have different units "
        "and the loss is of augmented images, in training mode, with weights that still move.",
    ]
    for reason, labels in found.left_out.items():
        sentences.append(f"Without runs of {', '.join(labels)}: {reason}.")
    return sentences


def _means(found: Fitting) -> str:
    several = any(len(pairs) > 1 for pairs in found.pairs.values())
    return ", mean ± standard deviation over seeds" if several else ", of one seed a row"
