"""The sentences below a table: what it shows, what its bold and its intervals mean, its controls, and its origin.

A sentence is there only where it is true of the table.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mtlbench.results.records.record import Manifest, in_words
from mtlbench.results.report import recipe
from mtlbench.results.report.display import fixed, interval_text, signed
from mtlbench.results.statistics.verdicts import OWN
from mtlbench.results.summary.columns import BOLD
from mtlbench.results.summary.controls import Finding
from mtlbench.results.summary.costs import before_the_start
from mtlbench.results.summary.gains import DeltaSummary
from mtlbench.results.summary.summary import Summary
from mtlbench.results.summary.tuning import searches

FEW = 3  # seeds; with so few, the page says what they could have found
WIDE = 2.0  # points of Delta_m: half the width of an interval from which on the page warns
ALONE = "One seed a row has no interval: it cannot tell a difference from chance."
ASKED = (1.0, 2.0)  # points; the differences for which the page says how many seeds find them


class Caption(NamedTuple):
    """The sentences below a table, by what a reader wants to know."""

    lead: tuple[str, ...]  # what makes the table doubtful, what it shows, what its numbers and its bold mean
    controls: tuple[str, ...]  # those that hold; a control that fails is the first sentence of the lead
    intervals: tuple[str, ...]  # how pairs of rows are judged, in plain words
    records: tuple[str, ...]  # where the numbers are from

    @property
    def whole(self) -> tuple[str, ...]:
        return (*self.lead, *self.controls, *self.intervals, *self.records)


def caption(summary: Summary, manifest: Manifest, controls: Sequence[Finding] = ()) -> Caption:
    held = [_told(finding) for finding in controls if finding.passed]
    found = dict(recipe.provenance(summary))
    told = [f"{name} {found[name]}" for name in ("commit", "torch", "data", "device") if name in found]
    return Caption(
        (*_shown(summary, manifest, controls), *_marked(summary)),
        (f"Controls that hold: {'; '.join(held)}.",) if held else (),
        tuple(_judged(summary)),
        (f"Records: {'; '.join(told)}.",) if told else (),
    )


def exact(summary: Summary) -> tuple[str, ...]:
    """How the intervals and the bold are computed: what a reader gets, and the method's name in brackets."""
    if max(_seed_counts(summary), default=0) <= 1:
        return ()
    sentences = [rule_exact(len(summary.block.values))] if summary.block.values else []
    if _without_common_seeds(summary):
        sentences.append(
            "The interval of a row that shares no seed with the baseline is over the runs of both, and wide enough for "
            "all such rows at once (Student's t with Bonferroni's correction)."
        )
    if _bold(summary):
        sentences.append(
            "A row loses its bold in a column of scores on stronger evidence than in that of Δm: of 100 tables of "
            f"equal rows, at most {round(100 * (0.05 + BOLD))} have a row that lacks its bold in any column."
        )
    return tuple(sentences)


SIMULTANEOUS = "The 95 % interval is simultaneous over all pairs of rows."


def short(summary: Summary, manifest: Manifest, controls: Sequence[Finding] = ()) -> tuple[str, ...]:
    """The caption for a paper: what must not be missing below a table. `caption` has the details and the provenance."""
    sentences = [*_shown(summary, manifest, controls)]
    if any(row.delta.paired and row.delta.seeds is not None for row in summary.rows.values()):
        sentences.append(SIMULTANEOUS)
    if _bold(summary):
        sentences.append("Bold: no other row is shown to be better.")
    if not alone(summary):
        sentences += [*_unpaired(summary), *_left_out(summary)]
    return tuple(sentences)


def _shown(summary: Summary, manifest: Manifest, controls: Sequence[Finding]) -> Iterator[str]:
    """What makes the table doubtful, what it compares, and over how many seeds."""
    comparison = summary.comparison
    yield from _failed(controls)
    if manifest.demonstration:
        yield "A demonstration that the path from data to table works; it compares nothing."
    if manifest.caption:
        yield manifest.caption
    if comparison.baseline:
        yield f"Δm: mean over tasks of the relative gain over {comparison.baseline}; positive is better."
    yield from _recipes(summary)
    yield from _networks(summary)
    counts = _seed_counts(summary)
    if counts and max(counts) > 1:
        over = f"{counts.pop()} seeds" if len(counts) == 1 else "the seeds that a row has"
        yield f"Mean ± standard deviation over {over}."
    elif counts:
        yield "One seed a row: there is no interval, nothing is bold, and no order is implied."


def alone(summary: Summary) -> bool:
    """Whether no row has two seeds, so that nothing has an interval."""
    return max(_seed_counts(summary), default=0) <= 1


def _seed_counts(summary: Summary) -> set[int]:
    """How many finished seeds rows have, 0 left out."""
    return {len(row.row.finished()) for row in summary.rows.values()} - {0}


def _networks(summary: Summary) -> Iterator[str]:
    """What records say of the networks of rows: that they are no published ones but ours, and remarks of a method."""
    for on, labels in _said(summary, "composition").items():
        yield f"Not as published but a composition of ours: {', '.join(labels)} (published on {on})."
    for remark, labels in _said(summary, "remark").items():
        yield f"{', '.join(labels)}: {remark}."
    rows, records = summary.comparison.rows, summary.comparison.parents
    before = {label: before_the_start(row, records) for label, row in rows.items()}
    if told := [f"{label} {fixed(seconds, 1)} s" for label, seconds in before.items() if seconds]:
        yield f"Training times include those of the networks that a row starts from: {', '.join(told)}."


def _recipes(summary: Summary) -> Iterator[str]:
    """What rows do differently in training, where they do. What a tuning has chosen is told elsewhere."""
    made = searches(summary.comparison.trained(), summary.comparison.parents)
    tuned = {name for by_seed in made.values() for found in by_seed.values() for one in found for name in one.chosen()}
    if told := recipe.differences(summary, tuned):
        yield f"Rows differ in their recipe: {'; '.join(told)}."


def _said(summary: Summary, key: str) -> dict[str, list[str]]:
    """What the records say under a key of their provenance -> the labels of their rows."""
    found: dict[str, list[str]] = {}
    for label, row in summary.comparison.rows.items():
        records = [record for run in row.runs.values() for record in run.records.values()]
        for said in dict.fromkeys(r.provenance[key] for r in records if r.provenance.get(key)):
            found.setdefault(said, []).append(label)
    return found


def _failed(controls: Sequence[Finding]) -> Iterator[str]:
    """What makes the order of a table doubtful: controls that fail, and controls that are not finished."""
    if failed := [_told(finding) for finding in controls if finding.passed is False]:
        yield f"The order of these rows is not to be believed, since a control fails: {'; '.join(failed)}."
    if unknown := [f"{_NAMES[finding.control.expects]}: {finding.problem}" for finding in controls if finding.problem]:
        yield f"Controls that are not judged: {'; '.join(unknown)}."


_NAMES = {"same": "other seeds", "better": "more training images", "falls": "relatedness of tasks"}


def _told(finding: Finding) -> str:
    """What a control expects and what was found, such as "Multi-task with other seeds is not better (+0.31 ...)"."""
    control, difference = finding.control, finding.difference
    assert difference is not None
    found = f"{signed(difference.estimate)} points {interval_text(difference.low, difference.high)}"
    if control.expects == "falls":
        order = ", then ".join(
            f"{signed(mean)} with {table.name}" for table, mean in zip(control.tables, finding.means, strict=True)
        )
        what = (
            f"the gain of {control.row} on {' and '.join(map(in_words, control.tasks))}"
            if control.tasks
            else f"Δm of {control.row}"
        )
        wish = "falls" if finding.passed else "should fall"
        return f"{what} {wish} from task set to task set: {order} (first minus last {found})"
    if control.expects == "better":
        wish = "is better" if finding.passed else "should be better"
        return f"{control.row} with more training images {wish} ({found})"
    wish = "is neither better nor worse" if finding.passed else "should be neither better nor worse"
    return f"{control.row} with other seeds {wish} ({found})"


def rule(rows: int) -> str:
    """The one rule of bold, intervals and verdicts, for a table of so many rows that are judged."""
    every = (
        ""
        if rows == 2
        else (
            " The intervals are wide enough for all pairs at once: in about 95 of 100 such tables, every one of them "
            "holds the true difference."
        )
    )
    return f"Two rows differ where the 95 % interval of the difference of their means excludes 0.{every}"


def rule_exact(rows: int) -> str:
    """How the interval of a pair is computed: what a reader gets, and the method's name in brackets."""
    own = 95 if rows == 2 else round(100 * (1 - OWN * 0.05))
    return (
        "The interval of a pair is over the seeds that both rows have, and all intervals hold together (Tukey's "
        "studentised range). A pair whose few seeds happen to agree is not taken at its word: its variance is moved "
        "towards that of all rows (moderated variances). No interval is narrower than the pair's seeds alone would "
        f"make it (its own {own} % t interval)."
    )


def choosing(summary: Summary) -> str:
    """Who chose a trial, and for which seeds; "" where every row has one network and one search."""
    made = searches(summary.comparison.trained(), summary.comparison.parents)
    of_runs = [(label, choices) for label, by_seed in made.items() for choices in by_seed.values()]
    alone = list(dict.fromkeys(label for label, choices in of_runs if len(choices) > 1))
    shared = list(dict.fromkeys(label for label, choices in of_runs if any(len(each.cells) > 1 for each in choices)))
    sentences = []
    if shared:
        sentences.append(f"The networks of {', '.join(shared)} share one choice, by the sum over all of them.")
    if alone:
        sentences.append(f"Each network of {', '.join(alone)} chose for itself, which gives it more chances.")
    if any(len(by_seed) > 1 for by_seed in made.values()):
        sentences.append("A search is part of each seed.")
    return " ".join(sentences)


def _judged(summary: Summary) -> Iterator[str]:
    """The rule of all intervals, and how much is known of a pair."""
    block = summary.block
    if alone(summary) or not block.values:
        return
    yield rule(len(block.values))
    if not math.isnan(block.half_width):
        yield (
            f"A pair's difference is known to about ±{fixed(block.half_width, 2)} points (half the width of its "
            "interval, median over the pairs)."
        )


def _marked(summary: Summary) -> Iterator[str]:
    """What the interval beside a row and the bold mean, and the rows of which they say nothing."""
    if not alone(summary):
        if any(row.delta.paired and row.delta.seeds is not None for row in summary.rows.values()):
            yield f"The interval beside a row is of its difference to {summary.comparison.baseline}."
        if _bold(summary):
            yield "Bold: no other row is shown to be better."
        else:
            yield "Nothing is bold: no two rows have two seeds each, with enough of them in common."
        yield from _unpaired(summary)
        yield from _left_out(summary)
    if log := [f"{first} and {second}" for first, second, delta, other in _orders(summary) if delta * other < 0]:
        yield f"On the scale of log Δm, whose order depends on no baseline, the order is reversed: {'; '.join(log)}."


def _bold(summary: Summary) -> bool:
    return any(row.delta.best or any(score.best for score in row.scores.values()) for row in summary.rows.values())


def _unpaired(summary: Summary) -> Iterator[str]:
    """The rows that share no seed with the baseline, and what their interval is."""
    if unpaired := _without_common_seeds(summary):
        yield (
            "Without a seed in common with the baseline, so that the interval is over the runs of both, and no verdict "
            f"against the baseline: {', '.join(unpaired)}."
        )


def _without_common_seeds(summary: Summary) -> list[str]:
    return [label for label, row in summary.rows.items() if not row.delta.paired and row.delta.seeds is not None]


def _left_out(summary: Summary) -> Iterator[str]:
    """The rows that no verdict is about, and those that lost seeds."""
    for reason in dict.fromkeys(summary.block.left_out.values()):
        rows_out = [label for label, why in summary.block.left_out.items() if why == reason]
        yield f"With {reason}, in no verdict on Δm: {', '.join(rows_out)}."
    if lossy := [label for label, row in summary.rows.items() if row.delta.lost]:
        yield (
            "The numbers of a row that lost seeds are of the runs that are left, so that it is not better than a row "
            f"that lost fewer, nor equivalent to it: {', '.join(lossy)}."
        )


def limits(summary: Summary) -> Iterator[str]:
    """What the seeds of a table cannot find: where its intervals are wide, or few seeds leave pairs undecided."""
    block = summary.block
    half, seeds = block.half_width, max((len(values) for values in block.values.values()), default=0)
    if half > WIDE:
        yield (
            f"This table cannot tell methods apart that differ by less than {fixed(half, 1)} points of Δm, which is "
            "half the width of a pair's interval (median over the pairs)."
        )
    undecided = sum(pair.verdict == "undecided" for *_, pair in summary.contrasts)
    if not undecided or seeds > FEW:
        return
    asked = ", and ".join(f"{count} seeds for {points:g}" for points, count in block.planned() if points in ASKED)
    yield (
        f"{undecided} of {len(summary.contrasts)} pairs of rows are undecided, with {seeds} seeds. Undecided does not "
        f"mean equal: these seeds find differences above {fixed(half, 1)} points (half the width of a pair's interval, "
        "median over the pairs), and seldom smaller ones."
        + (f" To find a true difference with a probability of 80 % takes {asked} points." if asked else "")
    )


def lost(seeds_lost: Mapping[int, str], asked: int) -> str:
    """A text like "2 of 5 diverged", or "1 of 5 failed, 1 of 5 corrupt"."""
    counts = Counter(seeds_lost.values())
    return ", ".join(f"{counts[what]} of {asked} {what}" for what in ("failed", "diverged", "corrupt") if counts[what])


def left_out(kept: int, reasons: Mapping[int, str]) -> str:
    """A text like: over 2 of 3 finished seeds; without seed 2 (why)"""
    by_reason: dict[str, list[int]] = {}
    for seed, reason in sorted(reasons.items()):
        by_reason.setdefault(reason, []).append(seed)
    told = "; ".join(f"{seeds(numbers)} ({reason})" for reason, numbers in by_reason.items())
    return f"over {kept} of {kept + len(reasons)} finished seeds; without {told}"


def seeds(numbers: Sequence[int]) -> str:
    """A text like "seed 0" or "seeds 0, 1, 2"."""
    return f"seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def usual_runs(summary: Summary) -> tuple[int, ...] | None:
    """The seeds of the baseline with which a row is compared, unless a footnote of the row names other seeds.

    These are all seeds of the baseline where at least one row is compared with all. Otherwise they are the seeds that
    more than half of the rows are compared with. None where there are no such seeds, so that each row has to name its
    own.
    """
    deltas = [row.delta for row in summary.rows.values() if row.delta.values]
    found = Counter(delta.against for delta in deltas if delta.paired)
    if not found or not all(delta.paired for delta in deltas):
        return None
    every = summary.rows[summary.comparison.baseline].delta.against
    (most, count), *_ = found.most_common(1)
    if every in found:
        return every
    return most if 2 * count > len(deltas) else None


def comparable_logs(one: DeltaSummary, other: DeltaSummary) -> bool:
    """Whether the difference of two log deltas is free of the baseline, since both are against the same runs."""
    return (one.paired, one.against) == (other.paired, other.against)


def _orders(summary: Summary) -> Iterator[tuple[str, str, float, float]]:
    """Pairs of labels with the difference of their deltas and of their log deltas."""
    rows = [(label, row.delta) for label, row in summary.rows.items() if not row.delta.problem]
    for index, (first, one) in enumerate(rows):
        for second, other in rows[index + 1 :]:
            if comparable_logs(one, other):
                yield first, second, one.mean - other.mean, one.log - other.log
