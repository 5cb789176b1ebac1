"""The tables of the page that compare rows: by pairs, tasks, ranks, weights, runs of the baseline, and tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from mtlbench.results.records.record import Record
from mtlbench.results.report import captions
from mtlbench.results.report.baselines import Baseline, against
from mtlbench.results.report.display import UNDEFINED, interval_text, signed
from mtlbench.results.summary.orders import TaskGains, rank_probabilities, taus
from mtlbench.results.summary.pairs import MARGIN
from mtlbench.results.summary.summary import Summary
from mtlbench.results.summary.transfer import any_harmed, by_task
from mtlbench.results.summary.tuning import chosen, goodness, trials_of


class Grid(NamedTuple):
    """A table of the page that is plain text. A table without rows is not shown."""

    columns: list[str]
    rows: list[list[str]]
    caption: str


def contrasts(summary: Summary, compared: TaskGains | None) -> Grid:
    """The verdict on each pair of rows. The table is empty where no pair is judged."""
    baseline = summary.comparison.baseline
    rows = []
    for first, second, pair in summary.contrasts:
        flip = None if compared is None else compared.flip(first, second, baseline)
        turned = "never" if flip is None else f"{flip[0]:.1f} sd ({flip[1]})"
        rows.append([first, second, signed(pair.difference), interval_text(pair.low, pair.high), pair.verdict, turned])
    columns = ["Row", "against", "difference", "95 % interval", "verdict"]
    if compared is None or not any(spread > 0 for spread in compared.spread):
        rows = [row[:-1] for row in rows]
    else:
        columns.append("turns at")
    complete = len({tuple(values) for values in summary.block.values.values()}) == 1
    sentences = [
        "Tukey's studentised range, additive model method + seed with one standard deviation; simultaneous 95 % "
        f"intervals in points of Δm. Equivalent: the interval lies inside ±{MARGIN} points.",
        "All pairs are judged at once, so that an interval here is another than that of a row by itself.",
    ]
    paired = any(row.delta.paired and row.delta.values for row in summary.rows.values())
    if paired and baseline in summary.block.values:
        sentences.append(
            f"Δm is taken against the mean of {baseline} here, and where runs are paired above against its run of the "
            f"same seed, so that a difference from {baseline} is not quite Δm."
        )
    if not complete:
        sentences.append("Differences are least-squares estimates over the seeds that each row has (Tukey and Kramer).")
    sentences += captions.uneven(summary)
    if planned := summary.block.planned():
        told = ", ".join(f"{seeds} for {points:g}" for points, seeds in planned)
        sentences.append(
            "Seeds that find a true difference between two such rows with a probability of 80 %, by the 95 % interval "
            f"of that pair alone: {told} points."
        )
    if "turns at" in columns:
        sentences.append(
            f"Turns at: how far the mean of {baseline} must move in one task, in standard deviations of one of its "
            "runs, for the order of the two rows to turn; never: no positive score turns it."
        )
    return Grid(columns, rows, " ".join(sentences))


def transfer(summary: Summary) -> Grid:
    """The gain of each row on each task. The table is empty where no row has a Delta_m against another row."""
    tasks, rows = summary.comparison.tasks, []
    deltas = {label: row.delta for label, row in summary.rows.items() if row.delta.values}
    several = any(delta.paired and len(delta.values) > 1 for delta in deltas.values())
    for label, delta in deltas.items():
        cells = [label]
        for gain in by_task(delta).values():
            interval = UNDEFINED if gain.interval is None else interval_text(gain.interval.low, gain.interval.high)
            cells += [signed(gain.mean), *([interval] if several else []), f"{gain.harmed} of {gain.runs}"]
        rows.append([*cells, *([_percent(any_harmed(delta))] if several else [])])
    heads = ["gain [%]", "95 % interval", "runs harmed"] if several else ["gain [%]", "runs harmed"]
    columns = ["Method", *(f"{task} {head}" for task in tasks for head in heads)]
    sentences = [f"Gain: the task's term of Δm. Harmed: worse than {summary.comparison.baseline}."]
    if several:
        columns.append("a task is harmed [%]")
        sentences.append(
            "Intervals over seeds, paired with the baseline's; the last column is the probability that the mean gain "
            "of at least one task is below 0, by Student's t over seeds."
        )
    return Grid(columns, rows, " ".join(sentences))


def ranks(summary: Summary) -> Grid:
    """The probability of each rank of each row. The table is empty where no rows are judged."""
    model, labels = summary.block.model, list(summary.block.values)
    if model is None:
        return Grid([], [], "")
    found = rank_probabilities(model)
    rows = [
        [label, *(_percent(share) for share in shares)] for label, shares in zip(labels, found.tolist(), strict=True)
    ]
    caption = (
        "Probability of each rank by mean Δm, in percent, from the noise over seeds in the model that judges the "
        "pairs; unlike the verdicts, not corrected for how many rows are compared."
    )
    if agreement := taus(summary.block):
        told = ", ".join(f"{tau:.2f}" for tau in agreement[:10])
        caption += f" Kendall's τ between the orders of two seeds: mean {math.fsum(agreement) / len(agreement):.2f}"
        caption += f" ({told})." if len(agreement) in range(2, 11) else "."
    return Grid(["Method", *(f"rank {rank}" for rank in range(1, len(labels) + 1))], rows, caption)


def weights(summary: Summary, compared: TaskGains | None) -> Grid:
    """The ranks under other weights of the tasks. The table is empty for one task, or where no rows are judged."""
    if compared is None or len(compared.tasks) < 2:
        return Grid([], [], "")
    by_rank = [compared.ranks(), *(compared.ranks(without=task) for task in compared.tasks)]
    rows = [
        [label, *(str(of_rank[row]) for of_rank in by_rank), _percent(share)]
        for row, (label, share) in enumerate(zip(compared.labels, compared.wins(), strict=True))
    ]
    columns = ["Method", "rank by Δm", *(f"without {task}" for task in compared.tasks), "best under weights [%]"]
    caption = (
        f"Ranks by the mean gain over the mean of {summary.comparison.baseline}, with all tasks and without one. Last: "
        "the share of all weights of the tasks, each as likely, under which the row's weighted gain is the highest."
    )
    if len(compared.tasks) == 2:
        (_, best), *others = compared.winners()
        caption += f" As the weight of {compared.tasks[0]} grows from 0 to 1, the best is {best}"
        caption += "".join(f", from {low:.2f} on {label}" for low, label in others) + "."
    return Grid(columns, rows, caption)


def rebased(summary: Summary, others: Sequence[Baseline]) -> Grid:
    """Delta_m against each run of the baseline, and against other single-task models.

    The table is empty where there is only one choice of the baseline.
    """
    baseline = summary.comparison.baseline
    runs = sorted({seed for by_seed in summary.rebased.values() for seed in by_seed})
    columns = {f"seed {seed}": {label: found[seed] for label, found in summary.rebased.items()} for seed in runs}
    columns |= {other.source: against(summary, other) for other in others}
    rows = [[label, *(signed(column[label]) for column in columns.values())] for label in summary.rebased]
    caption = (
        f"Mean Δm of a row's runs, had a single run of {baseline} been the baseline of all: what a table with one "
        "baseline run leaves to chance."
    )
    if others:
        caption += (
            " Then, had it been the single-task models of other matrices of this store (the mean of their runs), or "
            "those that a paper prints, with its backbone and protocol."
        )
    heads = ["Method", *(f"against {source} [%]" for source in columns)]
    return Grid(heads, rows if len(columns) > 1 else [], caption)


def tuned(summary: Summary) -> Grid:
    """The hyperparameters that tuning chose. The table is empty where no row was tuned."""
    records = summary.comparison.parents
    found: list[tuple[str, Record, list[Record], dict[str, float]]] = []
    for label, row in summary.rows.items():
        for cell_id in row.row.first_finished():
            record = records[cell_id]
            if trials := trials_of(record, records):
                found.append((label, record, trials, chosen(record, trials)))
    names = list(dict.fromkeys(name for *_, values in found for name in values))
    rows = []
    for label, record, trials, values in found:
        numbers = [f"{values[name]:g}" if name in values else "" for name in names]
        failed = sum(not math.isfinite(goodness(trial)) for trial in trials)
        rows.append([label, "+".join(record.cell["tasks"]), *numbers, f"{failed} of {len(trials)}"])
    caption = (
        "What the best trial of each network had, by its scores on validation images, and how many trials diverged or "
        "found nothing."
    )
    return Grid(["Method", "tasks", *names, "failed"], rows, caption)


def _percent(share: float) -> str:
    return UNDEFINED if math.isnan(share) else f"{100 * share:.0f}"
