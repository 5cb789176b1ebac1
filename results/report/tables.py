"""A table as text in cells, with what is bold and what has a footnote; `formats` and the page write it down.

Equal records give equal text: nothing here looks at a clock, and the rows have the order of the manifest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mtlbench.results.records.record import Manifest, Score, in_words
from mtlbench.results.report import captions, recipe
from mtlbench.results.report.display import UNDEFINED, fixed, interval_text, signed, task_set, time_unit, titled
from mtlbench.results.summary.columns import ScoreSummary
from mtlbench.results.summary.controls import Finding
from mtlbench.results.summary.gains import DeltaSummary
from mtlbench.results.summary.runs import UNFINISHED, Comparison, Row
from mtlbench.results.summary.summary import RowSummary, Summary

CONSTANT = "Constant predictor"


class Cell(NamedTuple):
    text: str
    bold: bool = False
    marks: tuple[str, ...] = ()  # letters of footnotes


class Column(NamedTuple):
    title: str
    unit: str = ""
    arrow: str = ""  # ↑ higher is better, ↓ lower is better
    part: str = ""  # "score", "delta", "size" or "time"
    task: str = ""  # of a score
    metric: str = ""  # of a score, without its task

    @property
    def better(self) -> str:
        """Which values a reader looks for first: those that the arrow names, and low costs. "" for neither."""
        return self.arrow or ("↓" if self.part in ("size", "time") else "")

    @property
    def suffix(self) -> str:
        return " ".join(part for part in (f"[{self.unit}]" if self.unit else "", self.arrow) if part)

    @property
    def text(self) -> str:
        return f"{self.title} {self.suffix}".strip()


@dataclass(frozen=True)
class Table:
    """Text in cells. Each cell says too whether it is bold and which footnotes it has, for every format to write."""

    slug: str  # the slug of the comparison, for file names
    label: str  # for \ref in LaTeX; it contains the matrix's name, since two matrices may compare the same tasks
    title: str
    lead: tuple[str, ...]  # the first sentences of the caption; `caption` is all of them
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[tuple[str, str], ...]  # (letter, sentence)
    controls: tuple[str, ...] = ()  # sentences on controls that hold
    intervals: tuple[str, ...] = ()  # how pairs of rows are judged, in plain words
    records: tuple[str, ...] = ()  # where the numbers are from
    exact: tuple[str, ...] = ()  # how what the caption says is computed, with the names of the methods
    claim: str = ""  # what may be claimed from the table, in sentences
    headline: str = ""  # the first of these sentences
    verdicts: tuple[str, ...] = ()  # on each row against the baseline: better, worse, equivalent, undecided, or ""

    @property
    def caption(self) -> tuple[str, ...]:
        return (*self.lead, *self.controls, *self.intervals, *self.records)

    @property
    def details(self) -> tuple[str, ...]:
        """The sentences that a reader of the table can do without at first."""
        return (*self.intervals, *self.exact, *self.records)

    @property
    def about(self) -> str:
        """What `details` tell."""
        told = "How the intervals are made, and where the records come from"
        return told if self.intervals else "Where the records come from"


@dataclass
class Notes:
    """Footnotes in the order in which they are first needed; equal sentences share a letter."""

    sentences: list[str] = field(default_factory=list)

    def mark(self, sentence: str) -> str:
        if sentence not in self.sentences:
            self.sentences.append(sentence)
        return _letter(self.sentences.index(sentence))


def table(summary: Summary, manifest: Manifest, controls: Sequence[Finding] = ()) -> Table:
    """The table of a summary, with primary scores, Delta_m and cost.

    There is one row per label, in the manifest's order, and the constant predictor comes last. Where a cell failed,
    is corrupt or is missing, the text says so. An undefined score is a dash with a footnote that says why. A score
    whose definition or protocol differs from the rest of its column has a mark.
    """
    comparison, notes = summary.comparison, Notes()
    baseline, usual = summary.rows.get(comparison.baseline), captions.usual_runs(summary)
    longest = max((row.cost["train_seconds"] for row in summary.rows.values()), default=math.nan, key=_nan_first)
    unit, seconds = time_unit(longest)
    several = len(comparison.seeds) > 1
    columns = (
        Column("Method"),
        Column("Seeds"),
        *(_score_column(task, summary.columns[task].reference) for task in comparison.tasks),
        Column("Δm", "%", "↑", "delta"),
        *([Column("95 % interval", "%", "", "delta")] if several else []),
        Column("Parameters", "M", "", "size"),
        Column("MACs", "G", "", "size"),
        Column("Step", "s", "", "time"),
        Column("Training", unit, "", "time"),
    )
    rows = []
    for label, row in summary.rows.items():
        head = (Cell(label, marks=_status_marks(row.row, notes)), Cell(_seeds(row.row, comparison)))
        scores = _score_cells(row.scores, summary, row.row, notes)
        delta = (_delta_cell(row.delta, row.row, usual, notes), *([_interval_cell(row, notes)] if several else []))
        cost, timed = row.cost, _time_marks(row, baseline, notes)
        rows.append(
            (
                *head,
                *scores,
                *delta,
                Cell(fixed(cost["parameters"] / 1e6, 2)),
                Cell(fixed(cost["macs"] / 1e9, 2)),
                Cell(fixed(cost["seconds_per_step"], 3), marks=timed),
                Cell(fixed(cost["train_seconds"] / seconds, 2 if unit == "h" else 1), marks=timed),
            )
        )
    if summary.constant:
        sentence = "the best prediction that does not look at the image; a method no better than it has learnt nothing"
        head = (Cell(CONSTANT, marks=(notes.mark(sentence),)), Cell(""))
        scores = _score_cells(summary.constant, summary, None, notes)
        rows.append((*head, *scores, *[Cell("")] * (len(columns) - len(head) - len(scores))))
    title = f"{manifest.title}: {comparison.benchmark}, {task_set(comparison.tasks)}"
    letters = tuple((_letter(index), sentence) for index, sentence in enumerate(notes.sentences))
    label = f"{manifest.name}-{comparison.slug}"
    return Table(
        slug=comparison.slug,
        label=label,
        title=title,
        **captions.caption(summary, manifest, controls)._asdict(),
        columns=columns,
        rows=tuple(rows),
        notes=letters,
        exact=captions.exact(summary),
        verdicts=tuple(_against(summary, row[0].text) for row in rows),
    )


def _against(summary: Summary, label: str) -> str:
    """The verdict on a row against the baseline; "" where there is none."""
    return summary.block.verdicts(label).get(summary.comparison.baseline, "")


def with_verdicts(written: Table) -> Table:
    """The table with a column of the verdicts behind that of the intervals; as it is where it has no verdict.

    The terminal and the page show this column. In the other formats, the sentences above the table say it.
    """
    if not any(written.verdicts):
        return written
    titles = [column.title for column in written.columns]
    place = next((index for index, title in enumerate(titles) if "interval" in title), len(titles) - 1) + 1
    rows = [
        (*row[:place], Cell(verdict), *row[place:]) for row, verdict in zip(written.rows, written.verdicts, strict=True)
    ]
    columns = (*written.columns[:place], Column("Verdict", part="delta"), *written.columns[place:])
    return replace(written, columns=columns, rows=tuple(rows), verdicts=())


def _score_column(task: str, score: Score | None) -> Column:
    if score is None or score.metric == "undefined":
        return Column(in_words(task), part="score", task=task)
    arrow = "↑" if score.higher_is_better else "↓"
    return Column(f"{in_words(task)} {titled(score)}", score.unit, arrow, "score", task, titled(score))


def _score_cells(entries: Mapping[str, ScoreSummary], summary: Summary, row: Row | None, notes: Notes) -> list[Cell]:
    """One cell for each task."""
    return [
        _score_cell(entries[task], column.printed_as(entries[task]), row, notes)
        for task, column in summary.columns.items()
    ]


def _score_cell(entry: ScoreSummary, shown: Score | None, row: Row | None, notes: Notes) -> Cell:
    if entry.problem in UNFINISHED:
        return Cell(entry.problem)
    if entry.problem:
        return Cell(UNDEFINED, marks=(notes.mark(entry.problem),))
    assert shown is not None
    text = fixed(entry.mean, shown.decimals)
    if len(entry.values) > 1:
        text += f" ± {fixed(entry.sd, shown.decimals)}"
    marks = [notes.mark(f"not comparable with its column: {difference}") for difference in entry.strange]
    if entry.left_out:
        marks.append(notes.mark(captions.left_out(len(entry.values), entry.left_out)))
    more = sorted(set(entry.values) - set(row.finished())) if row else []
    if more:
        marks.append(notes.mark(f"with {captions.seeds(more)}, where another task's cell has not finished"))
    return Cell(text, entry.best, tuple(dict.fromkeys(marks)))


def _delta_cell(delta: DeltaSummary, row: Row, usual: tuple[int, ...] | None, notes: Notes) -> Cell:
    if delta.problem in UNFINISHED:
        return Cell(delta.problem)
    if delta.problem:
        return Cell(UNDEFINED, marks=(notes.mark(f"Δm is undefined: {delta.problem}"),))
    text = signed(delta.mean) if delta.values else fixed(delta.mean, 2)
    if len(delta.values) > 1:
        text += f" ± {fixed(delta.sd, 2)}"
    if delta.lost:
        text += f" ({captions.lost(delta.lost, len(row.runs))})"
    if not delta.values:
        return Cell(text, delta.best)
    sentences = []
    if delta.left_out:
        sentences.append(f"Δm {captions.left_out(len(delta.values), delta.left_out)}")
    if not delta.paired:
        sentences.append("against the mean of the baseline's runs, since no seed has both")
    elif delta.against != usual:
        sentences.append(
            f"against the baseline's {captions.seeds(delta.against)}; other rows are against other runs of it"
        )
    return Cell(text, delta.best, tuple(notes.mark(sentence) for sentence in sentences))


def _interval_cell(row: RowSummary, notes: Notes) -> Cell:
    delta = row.delta
    if delta.problem or not delta.values:
        return Cell("")
    if delta.seeds is not None:
        return Cell(interval_text(delta.seeds.low, delta.seeds.high))
    if len(delta.values) == 1:
        return Cell("one seed")
    why = "too few seeds in common with the others" if delta.paired else "the baseline has a single run of some task"
    return Cell(UNDEFINED, marks=(notes.mark(f"no interval: {why}"),))


def _time_marks(row: RowSummary, baseline: RowSummary | None, notes: Notes) -> tuple[str, ...]:
    """A mark where a row was timed on several devices, or on other devices than the baseline."""
    theirs = () if baseline is None else baseline.devices
    if not row.devices or (len(row.devices) == 1 and theirs in ((), row.devices)):
        return ()
    sentence = f"timed on {', '.join(row.devices)}"
    if theirs and row is not baseline and theirs != row.devices:
        sentence += f"; the baseline on {', '.join(theirs)}"
    return (notes.mark(sentence),)


def _status_marks(row: Row, notes: Notes) -> tuple[str, ...]:
    marks = []
    for status in UNFINISHED:
        runs = [run for run in row.runs.values() if run.status == status]
        if runs:
            sentence = f"{row.label}: {status} {len(runs)} of {len(row.runs)} seeds"
            errors = recipe.distinct(error for run in runs for error in run.why(status))
            marks.append(notes.mark(sentence + (f" ({errors})" if errors else "")))
    return tuple(marks)


def _seeds(row: Row, comparison: Comparison) -> str:
    finished = len(row.finished())
    expected = len(comparison.seeds)
    return str(finished) if finished == expected else f"{finished} of {expected}"


def _nan_first(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _letter(index: int) -> str:
    """The letter of a footnote: a, b, ..., z, aa, ab, ..."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
