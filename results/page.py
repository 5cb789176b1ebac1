"""What the page shows below a table: how sure each number is, every pair of rows, and the context."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from results import captions, tables
from results.audit import published
from results.pairs import MARGIN
from results.summary import Summary
from results.tables import CONSTANT, METRICS, UNDEFINED


class Grid(NamedTuple):
    """A table of the page that is plain text."""

    columns: list[str]
    rows: list[list[str]]
    caption: str


def section(summary: Summary, table: tables.Table, figures: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "table": table,
        "figures": figures,
        "sure": _sure(summary),
        "contrasts": _contrasts(summary),
        "rebased": _rebased(summary),
        "secondary": _secondary(summary),
        "definitions": _definitions(summary),
        "published": _published(summary),
        "provenance": captions.provenance(summary),
    }


def _sure(summary: Summary) -> Grid:
    rows = []
    for label, row in summary.rows.items():
        delta = row.delta
        intervals = [UNDEFINED if i is None else tables.interval_text(i) for i in (delta.seeds, delta.images)]
        share = UNDEFINED if math.isnan(delta.share) else f"{100 * delta.share:.0f}"
        runs = ", ".join(tables.signed(value) for value in delta.values.values()) or UNDEFINED
        rows.append([label, tables.signed(delta.mean), *intervals, share, tables.signed(delta.log), runs])
    columns = ["Method", "Δm [%]", "95 % over seeds", "95 % over seeds and test images"]
    columns += ["variance from the baseline [%]", "log Δm [%]", "Δm by seed"]
    deltas = {label: row.delta for label, row in summary.rows.items()}
    sentences = []
    if any(delta.seeds is not None for delta in deltas.values()):
        most = max(len(delta.values) for delta in deltas.values())
        sentences.append(
            "Over seeds: where the mean Δm of ever more training runs would lie. One more run spreads wider than this "
            f"interval of the mean, {math.sqrt(1 + most):.1f} times as wide with {most} seeds."
        )
    if any(delta.images is not None for delta in deltas.values()):
        sentences.append(
            "Over seeds and test images (crossed random effects): with other test images of this kind too."
        )
    for reason in dict.fromkeys(delta.no_images for delta in deltas.values() if delta.no_images):
        labels = [label for label, delta in deltas.items() if delta.no_images == reason]
        sentences.append(f"No interval over test images for {', '.join(labels)}: {reason}.")
    if any(not math.isnan(delta.share) for delta in deltas.values()):
        sentences.append(
            "Variance from the baseline: how much of that of Δm, were runs not paired, comes from the baseline's; more "
            "runs of the baseline help every row."
        )
    defined = [delta for delta in deltas.values() if delta.values]
    if len(defined) > 1 and all(captions.comparable_logs(defined[0], delta) for delta in defined):
        sentences.append("Differences between log Δm do not depend on the baseline.")
    elif len(defined) > 1:
        sentences.append(
            "Differences between log Δm do not depend on the baseline among rows that are compared with the same runs "
            "of it, which not all are here."
        )
    return Grid(columns, rows, " ".join(sentences))


def _contrasts(summary: Summary) -> Grid:
    rows = [
        [first, second, tables.signed(c.difference), f"[{tables.signed(c.low)}, {tables.signed(c.high)}]", c.verdict]
        for first, second, c in summary.contrasts
    ]
    complete = len({tuple(values) for values in summary.block.values.values()}) == 1
    baseline = summary.comparison.baseline
    sentences = [
        "Tukey's studentised range, additive model method + seed with one standard deviation; simultaneous 95 % "
        f"intervals in points of Δm. Equivalent: the interval lies inside ±{MARGIN} points.",
        f"Δm is taken against the mean of {baseline} here, and against its run of the same seed above, so a difference "
        f"from {baseline} is not quite Δm; and all pairs are judged at once, so that an interval here is another than "
        "that of a row by itself.",
    ]
    if not complete:
        sentences.append("Differences are least-squares estimates over the seeds that each row has (Tukey and Kramer).")
    sentences += captions.uneven(summary)
    caption = " ".join(sentences)
    return Grid(["Row", "against", "difference", "95 % interval", "verdict"], rows, caption)


def _rebased(summary: Summary) -> Grid:
    """Empty with fewer than two runs of the baseline, where there is no choice."""
    seeds = sorted({seed for by_seed in summary.rebased.values() for seed in by_seed})
    rows = [[label, *(tables.signed(by_seed[seed]) for seed in seeds)] for label, by_seed in summary.rebased.items()]
    caption = (
        f"Mean Δm of a row's runs, had a single run of {summary.comparison.baseline} been the baseline of all: what "
        "a table with one baseline run leaves to chance."
    )
    columns = ["Method", *(f"against seed {seed} [%]" for seed in seeds)]
    return Grid(columns, rows if len(seeds) > 1 else [], caption)


def _secondary(summary: Summary) -> Grid:
    """Every score but those of single classes (named metric/class), means over seeds."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for label, row in summary.rows.items():
        for run in row.row.runs.values():
            for score in run.all_scores():
                if "/" not in score.metric and score.value is not None:
                    values.setdefault((score.task, score.metric), {}).setdefault(label, []).append(score.value)
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
    caption = "Means over the finished seeds. Scores of single classes are in scores.csv."
    return Grid(["Method", *(f"{task} {metric}" for task, metric in order)], rows, caption)


def _definitions(summary: Summary) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for row in summary.rows.values():
        for task in summary.comparison.tasks:
            score = row.scores[task].score
            if score is not None and score.definition:
                found[f"{task} {score.metric}", score.definition] = None
    return list(found)


def _published(summary: Summary) -> Grid:
    comparison = summary.comparison
    rows = published()
    same_tasks = rows["task_set"].map(lambda text: set(text.split("+")) == set(comparison.tasks))
    rows = rows[(rows["benchmark"] == comparison.benchmark) & same_tasks]
    lines = []
    for (source, table, method), group in rows.groupby(["source", "table", "method"], sort=False):
        values = dict(zip(group["task"], group["value"], strict=True))
        lines.append([method, *(values[task] for task in comparison.tasks), group["printed_delta"].iloc[0]])
        lines[-1] += [f"{source}, {table}", group["note"].iloc[0]]
    metric = {str(row["task"]): str(row["metric"]) for row in rows.to_dict("records")}
    heads = [f"{task} {METRICS[metric[task]].title}" if task in metric else task for task in comparison.tasks]
    caption = (
        "As printed there, with the backbone, protocol and baseline of the source: context, not a comparison. "
        "`python -m results audit` says which printed deltas cannot follow from the numbers beside them."
    )
    return Grid(["Method", *heads, "printed Δm", "source", "note"], lines, caption)
