"""The sections of the page: what it shows below each table, in order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from mtlbench.results.records.reading import Results
from mtlbench.results.records.record import Score, in_words
from mtlbench.results.report import baselines, captions, context, grids, recipe, tables
from mtlbench.results.report.answers import fitting
from mtlbench.results.report.display import UNDEFINED, interval_text, signed, task_set, titled, with_unit
from mtlbench.results.report.drawing.looks import Looks, palette
from mtlbench.results.report.grids import Grid
from mtlbench.results.report.tables import CONSTANT
from mtlbench.results.report.web import choices
from mtlbench.results.summary.costs import COSTS
from mtlbench.results.summary.orders import task_gains
from mtlbench.results.summary.summary import Summary

LIVE = ("gains", "cost", "learning")  # the figures in whose place the page draws charts that its reader may change

OF_SEEDS = ("95 % over seeds", "95 % over seeds and test images", "variance from the baseline [%]")  # columns


class Drawn(NamedTuple):
    """A figure of the page."""

    name: str
    caption: str
    width: int  # in CSS pixels
    pdf: str  # its file for papers
    uri: str  # the picture itself
    dark: str  # the same for dark pages
    live: bool  # charts take its place where a browser draws them
    numbers: Any  # of `Picture`


def section(
    summary: Summary,
    table: tables.Table,
    figures: Sequence[Drawn],
    others: Sequence[Results] = (),
    store: str | None = None,
    looks: Looks | None = None,
) -> dict[str, Any]:
    """Everything that the template shows of a table.

    others: other matrices of the same store. store: where the histories of its cells lie; without it, no training
    losses are shown. looks: those of the figures, for the charts that take their place.
    """
    compared = task_gains(summary.comparison, summary.columns, summary.block)
    fits = Grid([], [], "") if store is None else fitting.grid(summary, store)
    details = [
        ("Every pair of rows on Δm", grids.contrasts(summary, compared), True),
        ("By task: who gains, who pays", grids.transfer(summary), True),
        ("Train against test: who fits worse, who generalises worse", fits, True),
        ("How stable the order is", grids.ranks(summary), False),
        ("The order with other weights of the tasks", grids.weights(summary, compared), False),
        (
            "What the choice of the baseline run changes",
            grids.rebased(summary, [*baselines.stored(summary, others), *baselines.printed(summary)]),
            False,
        ),
        ("What tuning chose", grids.tuned(summary), False),
        ("All scores", _secondary(summary), False),
    ]
    return {
        "name": f"{summary.comparison.benchmark}, {task_set(summary.comparison.tasks)}",
        "table": tables.with_verdicts(table),
        "figures": figures,
        **_live(summary, figures, looks or palette(list(summary.rows))),
        "warnings": [*captions.limits(summary), *baselines.weak_baselines(summary)],
        "sure": _sure(summary),
        "details": [{"title": title, "grid": grid, "open": shown} for title, grid, shown in details if grid.rows],
        "definitions": _definitions(summary),
        "published": context.printed(summary),
        "boxes": _boxes(summary),
    }


ORIGINS = {"commit": "commit of mtlbench", "source": "hash of its source", "data": "fingerprint of the data"}


def _boxes(summary: Summary) -> list[tuple[str, list[tuple[str, str]]]]:
    """(title, what is said under each name) of the boxes below a table."""
    origin = [(ORIGINS.get(name, name), text) for name, text in recipe.provenance(summary)]
    found = [("How the rows were trained and scored", recipe.box(summary)), ("Where the numbers come from", origin)]
    return [(title, entries) for title, entries in found if entries]


def _live(summary: Summary, figures: Sequence[Drawn], looks: Looks) -> dict[str, Any]:
    """What the charts need that their reader may change; nothing where no row has a gain."""
    by_name = {figure.name: figure for figure in figures}
    if "gains" not in by_name:
        return {"live": None, "captions": {}, "costs": []}
    learning = by_name.get("learning")
    rows = summary.rows.values()
    known = [place for place, name in enumerate(COSTS) if any(row.cost[name] > 0 for row in rows)]
    return {
        "live": choices.embedded(summary, looks, learning.numbers if learning else None),
        "captions": {
            "gains": _gains(summary),
            "cost": _costs(summary),
            "learning": learning.caption if learning else "",
        },
        "costs": [(choices.costs()[place][0], place) for place in known] if "cost" in by_name else [],
    }


def _gains(summary: Summary) -> str:
    """What the chart of gains shows, with the baseline that its reader chooses."""
    if captions.alone(summary):
        return captions.ALONE
    text = (
        "Large: means over seeds; small: the seeds. Whiskers: on Δm, where weights are equal, the simultaneous 95 % "
        "interval against the baseline, on a task the paired 95 % interval over seeds."
    )
    without = [label for label, row in summary.rows.items() if row.delta.values and not row.delta.paired]
    if without:
        text += f" No whiskers on a task where runs share no seed with the baseline's: {', '.join(without)}."
    return text


def _costs(summary: Summary) -> str:
    what = "Δm up to a cost." if captions.alone(summary) else "mean up to a cost. Whiskers: as on Δm above."
    return f"Dashed: the best {what} The baseline is at 0 with the cost of all its cells."


def _sure(summary: Summary) -> Grid:
    rows = []
    for label, row in summary.rows.items():
        delta = row.delta
        intervals = [UNDEFINED if i is None else interval_text(i.low, i.high) for i in (delta.seeds, delta.images)]
        share = UNDEFINED if math.isnan(delta.share) else f"{100 * delta.share:.0f}"
        runs = ", ".join(signed(value) for value in delta.values.values()) or UNDEFINED
        improved = f"{delta.improved} of {delta.compared}" if delta.values else UNDEFINED
        rows.append([label, signed(delta.mean), *intervals, improved, share, signed(delta.log), runs])
    columns = ["Method", "Δm [%]", *OF_SEEDS[:2], "P(improvement)", OF_SEEDS[2], "log Δm [%]", "Δm by seed"]
    deltas = {label: row.delta for label, row in summary.rows.items()}
    sentences = []
    if captions.alone(summary):
        sentences.append(captions.ALONE)
        told = [place for place, title in enumerate(columns) if title not in OF_SEEDS]
        columns, rows = [columns[place] for place in told], [[row[place] for place in told] for row in rows]
    if any(delta.seeds is not None for delta in deltas.values()):
        sentences.append(
            "Over seeds: where the mean Δm of ever more training runs would lie, for all pairs of rows at once; the "
            "verdict against the baseline is of this interval. One more run spreads wider than a mean."
        )
    if any(delta.images is not None for delta in deltas.values()):
        sentences.append(
            "Over seeds and test images: where it would lie with other test images of this kind too; never narrower "
            "than over seeds."
        )
    if any(delta.values for delta in deltas.values()):
        sentences.append(
            "P(improvement): the share of runs that are better than the baseline; a run that failed or diverged is not."
        )
    for reason in dict.fromkeys(delta.no_images for delta in deltas.values() if delta.no_images):
        labels = [label for label, delta in deltas.items() if delta.no_images == reason]
        sentences.append(f"No interval over test images for {', '.join(labels)}: {reason}.")
    if any(not math.isnan(delta.share) for delta in deltas.values()):
        sentences.append(
            "Variance from the baseline: the share of the variance of Δm that the baseline's runs make when they "
            "are not paired with the row's; where it is large, more runs of the baseline sharpen every row."
        )
    defined = [delta for delta in deltas.values() if delta.values]
    if len(defined) > 1 and all(captions.comparable_logs(defined[0], delta) for delta in defined):
        sentences.append("Differences between log Δm do not depend on the baseline.")
    elif len(defined) > 1:
        sentences.append(
            "Differences between log Δm do not depend on the baseline among rows that are compared with the same runs "
            "of it, which not all are here."
        )
    exact = ""
    if any(delta.images is not None for delta in deltas.values()):
        exact = "Over seeds and test images: crossed random effects, widened for all pairs of rows as over seeds."
    return Grid(columns, rows, " ".join(sentences), ["variance from the baseline [%]"], exact)


def _secondary(summary: Summary) -> Grid:
    """Every score as a mean over the seeds of its column, without the scores of single classes (named metric/class)."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    lower: set[tuple[str, str]] = set()
    heads: dict[tuple[str, str], str] = {}
    for label, row in summary.rows.items():
        for seed, run in row.row.runs.items():
            for score in run.all_scores():
                counted = seed in row.scores[score.task].values
                if "/" not in score.metric and score.value is not None and counted:
                    values.setdefault((score.task, score.metric), {}).setdefault(label, []).append(score.value)
                    heads.setdefault((score.task, score.metric), _head(score))
                    if not score.higher_is_better:
                        lower.add((score.task, score.metric))
    labels = list(summary.rows)
    constant = summary.comparison.constant
    if constant is not None:
        labels.append(CONSTANT)
        for score in constant.scores:
            if (score.task, score.metric) in values and score.value is not None:
                values[score.task, score.metric][CONSTANT] = [score.value]
    order = [key for task in summary.comparison.tasks for key in values if key[0] == task]
    rows = []
    for label in labels:
        found = [values[key].get(label, []) for key in order]
        rows.append([label, *(f"{math.fsum(v) / len(v):#.4g}" if v else UNDEFINED for v in found)])
    over = "Of one seed a row." if captions.alone(summary) else "Means over the seeds that the first table is over."
    caption = f"{over} Scores of single classes are in scores.csv."
    return Grid(
        ["Method", *(heads[key] for key in order)], rows, caption, lower=[heads[key] for key in order if key in lower]
    )


def _head(score: Score) -> str:
    return with_unit(f"{in_words(score.task)} {titled(score)}", score.unit)


def _definitions(summary: Summary) -> list[tuple[str, str]]:
    """The definition of each column. Where a row has another definition, a footnote says so."""
    references = {task: column.reference for task, column in summary.columns.items()}
    return [
        (f"{in_words(task)} {titled(score)}", score.definition)
        for task, score in references.items()
        if score and score.definition
    ]
