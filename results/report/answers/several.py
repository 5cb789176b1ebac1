"""Several tables together: a table of the page, the files overview.md and overview.csv, and their data frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from mtlbench.results.questions.several import ENOUGH, Bounds, Place, Several
from mtlbench.results.report import formats, tables
from mtlbench.results.report.display import UNDEFINED, fixed, task_set
from mtlbench.results.report.grids import Grid


def title(found: Several) -> str:
    return f"Over {len(found.places)} tables, against {found.baseline}"


def grid(found: Several) -> Grid:
    """One line for each row. Behind the means, a column for each table has the row's rank and wins there."""
    names = _names(found.places)
    rows = []
    for label, row in found.rows.items():
        cells = [label, str(len(row.counts)) if row.counts else UNDEFINED]
        cells += [fixed(row.improvement, 2), _bounds(row.improvement_bounds)]
        cells += [fixed(row.rank, 2), _bounds(row.rank_bounds)]
        for place in found.places:
            rank = fixed(row.ranks.get(place, math.nan), 2)
            cells.append(f"{rank} ({' of '.join(map(str, row.counts[place]))})" if place in row.counts else rank)
        rows.append(cells)
    columns = ["Method", "tables", "P(improvement)", "95 % interval", "mean rank", "95 % interval of the rank", *names]
    return Grid(columns, rows, " ".join(_sentences(found)), lower=columns[4:])  # ranks, and what begins with one


def markdown(found: Sequence[Several]) -> str:
    """The same as Markdown."""
    shown = [(title(one), grid(one)) for one in found]
    return formats.markdown(
        [
            tables.Table(
                "overview",
                "overview",
                head,
                (one.caption,),
                tuple(tables.Column(column) for column in one.columns),
                tuple(tuple(tables.Cell(text) for text in row) for row in one.rows),
                (),
            )
            for head, one in shown
        ]
    )


def frame(found: Sequence[Several]) -> pd.DataFrame:
    """Unrounded numbers: a line for each row and table, and one without a table for the row over all its tables."""
    lines: list[dict[str, Any]] = []
    for one in found:
        for label, row in one.rows.items():
            head = {"baseline": one.baseline, "label": label}
            for place in one.places:
                improved, runs = row.counts.get(place, (None, None))
                of_place = {"matrix": place.matrix, "benchmark": place.benchmark, "task_set": "+".join(place.tasks)}
                share = improved / runs if improved is not None and runs else math.nan
                values = {"tables": 1, "improved": improved, "compared": runs, "improvement": share}
                lines.append({**head, **of_place, **values, "rank": row.ranks.get(place, math.nan)})
            whole = {"matrix": "", "benchmark": "", "task_set": "", "tables": len(row.counts) or len(row.ranks)}
            whole |= {"improvement": row.improvement, "rank": row.rank}
            for name, bounds in (("improvement", row.improvement_bounds), ("rank", row.rank_bounds)):
                low, high = bounds or (math.nan, math.nan)
                whole |= {f"{name}_low": low, f"{name}_high": high}
            lines.append({**head, **whole})
    columns = ["baseline", "label", "matrix", "benchmark", "task_set", "tables", "improved", "compared"]
    columns += ["improvement", "improvement_low", "improvement_high", "rank", "rank_low", "rank_high"]
    return pd.DataFrame(lines, columns=columns).astype({"improved": "Int64", "compared": "Int64"})


def _names(places: Sequence[Place]) -> list[str]:
    """A table's name; with that of its matrix where the tables come from several."""
    several = len({place.matrix for place in places}) > 1
    return [
        (f"{place.matrix}: " if several else "") + f"{place.benchmark}, {task_set(place.tasks)}" for place in places
    ]


def _bounds(bounds: Bounds | None) -> str:
    return UNDEFINED if bounds is None else f"[{fixed(bounds.low, 2)}, {fixed(bounds.high, 2)}]"


def _sentences(found: Several) -> list[str]:
    count = len(found.places)
    kinds = len({(place.benchmark, place.tasks) for place in found.places})
    benchmarks = len({place.benchmark for place in found.places})
    sentences = [
        f"Here are {count} tables: {kinds} pair{'s' * (kinds > 1)} of a benchmark and a task set, on {benchmarks} "
        f"benchmark{'s' * (benchmarks > 1)}; fewer than about {ENOUGH} tables say nothing of other benchmarks, however "
        "many seeds they have.",
        f"P(improvement): the share of paired runs with a Δm above 0 against {found.baseline}, mean over the tables "
        "that have the row; a run that failed or diverged is not better. Below a table's name: the rank there and, in "
        "parentheses, the runs that are better.",
    ]
    if found.ranked:
        sentences.append(
            f"Rank: by Δm with each seed, among {', '.join(found.ranked)}, which all tables have; 1 is the best, and a "
            f"run that failed or diverged is the last. A table's rank is the mean over the seeds of {found.baseline} "
            "with which each of these rows finished, failed or diverged."
        )
    else:
        sentences.append(
            "There are no ranks: no two rows finished, failed or diverged with a common seed in every table."
        )
    sentences.append(
        "Intervals: stratified bootstrap over the runs of these tables (Agarwal et al., 2021; n - 1 of n runs a draw), "
        "not over tables; none where a table has one run of the row, or where the runs of each table all say the same, "
        "which no draw can doubt."
    )
    if found.other_methods:
        sentences.append(f"Left out, since it names different methods: {', '.join(found.other_methods)}.")
    for label, places in found.unpaired.items():
        sentences.append(f"{label} shares no seed with the baseline in {'; '.join(_names(places))}.")
    return sentences
