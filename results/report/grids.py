"""The tables of the page that compare rows: by pairs, tasks, ranks, weights, runs of the baseline, and tuning."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from mtlbench.results.records.record import in_words
from mtlbench.results.report import captions
from mtlbench.results.report.baselines import Baseline, against
from mtlbench.results.report.display import UNDEFINED, fixed, in_points, interval_text, signed
from mtlbench.results.statistics.verdicts import Additive
from mtlbench.results.summary.orders import TaskGains, rank_probabilities, taus
from mtlbench.results.summary.summary import Summary
from mtlbench.results.summary.transfer import any_harmed, by_task
from mtlbench.results.summary.tuning import searches

FAR = 10.0  # standard deviations


class Grid(NamedTuple):
    """A table of the page that is plain text. A table without rows is not shown."""

    columns: list[str]
    rows: list[list[str]]
    caption: str
    lower: Collection[str] = ()  # the columns in which lower is better; in all others, higher is, or nothing is
    exact: str = ""  # how it is computed, in the terms of statistics
    hints: Mapping[str, str] = MappingProxyType({})  # column -> what it says, for a reader who points at its heading


def contrasts(summary: Summary, compared: TaskGains | None) -> Grid:
    """The verdict on each pair of rows. The table is empty where no pair is judged."""
    baseline = summary.comparison.baseline
    rows = []
    for first, second, pair in summary.contrasts:
        flip = None if compared is None else compared.flip(first, second, baseline)
        turned = "never" if flip is None else f"{_deviations(flip[0])} ({flip[1]})"
        verdict = pair.verdict + told(summary, first, second)
        rows.append([first, second, signed(pair.difference), interval_text(pair.low, pair.high), verdict, turned])
    columns = ["Row", "against", "difference", "95 % interval", "verdict"]
    if compared is None or not any(spread > 0 for spread in compared.spread):
        rows = [row[:-1] for row in rows]
    else:
        columns.append("turns at")
    count, margin = len(summary.block.values), summary.block.margin
    sentences = [
        captions.rule(count),
        f"In points of Δm. Equivalent: the interval lies inside ±{in_points(margin)}, the margin of the matrix.",
    ]
    hints = {}
    if not all(len(values) == len(summary.comparison.seeds) for values in summary.block.values.values()):
        sentences.append(
            "Each pair is over the seeds that both rows have, so that differences of pairs need not add up; a pair "
            "with fewer than two such seeds has no verdict."
        )
    sentences += planned(summary)
    if "turns at" in columns:
        hints["turns at"] = (
            f"How far the mean of {baseline} must move in one task for the order of the two rows to turn, in standard "
            "deviations of one of its runs (sd). Below about 1 sd, another seed of the baseline can turn the order. "
            "Never: no positive score turns it."
        )
        sentences.append(f"Turns at: {hints['turns at'][0].lower()}{hints['turns at'][1:]}")
    return Grid(columns, rows, " ".join(sentences), exact=captions.rule_exact(count), hints=hints)


def _deviations(distance: float) -> str:
    """A distance in standard deviations. Far beyond what a run can do, its size says nothing."""
    return f"> {FAR:g} sd" if distance > FAR else f"{distance:.1f} sd"


def told(summary: Summary, first: str, second: str) -> str:
    """What a verdict has to say of seeds that its rows lost, such as ": ATRC 3 of 5 diverged"."""
    rows = [(label, summary.rows[label]) for label in (first, second)]
    lost = [f"{label} {captions.lost(row.delta.lost, len(row.row.runs))}" for label, row in rows if row.delta.lost]
    return f": {'; '.join(lost)}" if lost else ""


def planned(summary: Summary) -> Iterator[str]:
    """How many seeds this table would need, and what pairing by seed is worth to it."""
    block = summary.block
    if found := block.planned():
        numbers = ", ".join(f"{seeds} for {points:g}" for points, seeds in found)
        sentence = (
            f"Seeds with which this verdict finds a true difference in a table of {len(block.values)} rows that vary "
            f"alike, with a probability of 80 %: {numbers} points"
        )
        enough = block.equivalent_from()
        yield sentence + (
            f"; with which it calls two equal rows equivalent: {enough}."
            if enough
            else "; no number of seeds that one can train calls two equal rows equivalent."
        )
    correlation = block.correlation()
    if not math.isnan(correlation):
        text = fixed(correlation, 2)
        yield (
            f"Correlation of two rows over seeds: {text}. Pairing by seed shortens intervals where it is well above 0 "
            "and costs degrees of freedom where it is not."
        )


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
    columns = ["Method", *(f"{task} {head}" for task in map(in_words, tasks) for head in heads)]
    lower = [f"{in_words(task)} runs harmed" for task in tasks]
    sentences = [
        f"Gain: the task's term of Δm. Harmed: worse than {summary.comparison.baseline}, or failed or diverged."
    ]
    if several:
        columns.append("a task is harmed [%]")
        lower.append(columns[-1])
        sentences.append(
            "Intervals over seeds, paired with the baseline's; the last column is the probability that the mean gain "
            "of at least one task is below 0."
        )
    exact = "Intervals and the last column: Student's t over seeds, for each task by itself." if several else ""
    return Grid(columns, rows, " ".join(sentences), lower, exact)


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
        "pairs, with one variance for all rows. Unlike the verdicts, it is not corrected for how many rows are "
        "compared, and the row that came out first was chosen by the same runs: of {count} equal rows the apparent "
        "winner shows about {chance} at rank 1, and is the best with {even}."
    ).format(count=len(labels), chance=_percent(_winner(model)) + " %", even=f"{100 / len(labels):.0f} %")
    if agreement := taus(summary.block):
        told = ", ".join(f"{tau:.2f}" for tau in agreement[:10])
        caption += " How alike two seeds order the rows (1: the same, \N{MINUS SIGN}1: reversed; Kendall's τ): mean "
        caption += f"{math.fsum(agreement) / len(agreement):.2f}"
        caption += f" ({told})." if len(agreement) in range(2, 11) else "."
    columns = [f"rank {rank}" for rank in range(1, len(labels) + 1)]
    return Grid(["Method", *columns], rows, caption, lower=columns[(len(labels) + 1) // 2 :])


def _winner(model: Additive) -> float:
    """The mean probability of rank 1 of the row with the highest mean, among equal rows with the noise of `model`."""
    rng, num_rows = np.random.default_rng(1), len(model.means)
    root = np.linalg.cholesky(model.covariance * max(float(model.variance), 1.0))
    shares = [
        rank_probabilities(
            model._replace(means=root @ rng.standard_normal(num_rows), variance=max(float(model.variance), 1.0)), 1000
        )[:, 0].max()
        for _ in range(200)
    ]
    return float(np.mean(shares))


def weights(summary: Summary, compared: TaskGains | None) -> Grid:
    """The ranks under other weights of the tasks. The table is empty for one task, or where no rows are judged."""
    if compared is None or len(compared.tasks) < 2:
        return Grid([], [], "")
    by_rank = [compared.ranks(), *(compared.ranks(without=task) for task in compared.tasks)]
    rows = [
        [label, *(str(of_rank[row]) for of_rank in by_rank), _percent(share)]
        for row, (label, share) in enumerate(zip(compared.labels, compared.wins(), strict=True))
    ]
    columns = [
        "Method",
        "rank by Δm",
        *(f"without {in_words(task)}" for task in compared.tasks),
        "best under weights [%]",
    ]
    caption = (
        f"Ranks by the mean gain over the mean of {summary.comparison.baseline}, with all tasks and without one. Last: "
        "the share of all weights of the tasks, each as likely, under which the row's weighted gain is the highest."
    )
    if len(compared.tasks) == 2:
        (_, best), *others = compared.winners()
        caption += f" As the weight of {in_words(compared.tasks[0])} grows from 0 to 1, the best is {best}"
        caption += "".join(f", from {low:.2f} on {label}" for low, label in others) + "."
    return Grid(columns, rows, caption, lower=columns[1:-1])


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
    by_row = searches(summary.comparison.trained(), summary.comparison.parents)
    repeated = any(len(made) > 1 for made in by_row.values())
    found = [
        (label, seed, choice, choice.chosen())
        for label, made in by_row.items()
        for seed, choices in made.items()
        for choice in choices
    ]
    names = list(dict.fromkeys(name for *_, values in found for name in values))
    rows = []
    for label, seed, choice, values in found:
        place = [label, "+".join(choice.tasks), *([str(seed)] if repeated else [])]
        numbers = [f"{values[name]:g}" if name in values else "" for name in names]
        rows.append([*place, *numbers, f"{choice.failed} of {len(choice.numbered)}"])
    sentences = [
        "What the best trial of each line had, by its scores on validation images, and how many trials diverged or "
        "found nothing.",
        captions.choosing(summary),
    ]
    columns = ["Method", "tasks", *(["seed"] if repeated else []), *names, "failed"]
    return Grid(columns, rows, " ".join(filter(None, sentences)), lower=["failed"])


def _percent(share: float) -> str:
    return UNDEFINED if math.isnan(share) else f"{100 * share:.0f}"
