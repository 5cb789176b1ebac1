"""The cells of a table as text, with what is bold and what has a footnote; `formats` and the page write them down.

Equal records give equal text: nothing here looks at a clock, and the order is the manifest's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from results.record import Manifest, Record, Score, differences
from results.runs import UNFINISHED, Comparison, Row
from results.statistics import Interval
from results.summary import DeltaSummary, RowSummary, ScoreSummary, Summary

CONSTANT = "Constant predictor"
UNDEFINED = "—"
MINUS = "\N{MINUS SIGN}"  # as wide as a plus, so that columns line up


class Display(NamedTuple):
    """How a metric is printed."""

    title: str
    unit: str
    decimals: int


METRICS = {
    "miou": Display("mIoU", "%", 2),
    "maxf": Display("maxF", "%", 2),
    "odsf": Display("odsF", "%", 2),
    "rmse": Display("RMSE", "m", 3),
    "mean_angle": Display("mean angle", "°", 2),
}


class Cell(NamedTuple):
    text: str
    bold: bool = False
    marks: tuple[str, ...] = ()  # letters of footnotes


class Column(NamedTuple):
    title: str
    unit: str = ""
    arrow: str = ""  # ↑ higher is better, ↓ lower is better

    @property
    def suffix(self) -> str:
        return " ".join(part for part in (f"[{self.unit}]" if self.unit else "", self.arrow) if part)

    @property
    def text(self) -> str:
        return f"{self.title} {self.suffix}".strip()


@dataclass(frozen=True)
class Table:
    """Text in cells; what is bold and what has a footnote is said beside it, for each format to write its way."""

    slug: str
    title: str
    caption: tuple[str, ...]  # sentences
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[tuple[str, str], ...]  # (letter, sentence)


@dataclass
class Notes:
    """Footnotes in the order in which they are first needed; equal sentences share a letter."""

    sentences: list[str] = field(default_factory=list)

    def mark(self, sentence: str) -> str:
        if sentence not in self.sentences:
            self.sentences.append(sentence)
        return _letter(self.sentences.index(sentence))


def table(summary: Summary, manifest: Manifest) -> Table:
    """A row per label in the manifest's order, the constant predictor last; primary scores, Delta_m, cost.

    A cell that failed or is missing says so; an undefined score is a dash with a footnote that says why; a score whose
    definition or protocol differs from the rest of its column has a mark. Bold: no other row of the column is better.
    """
    comparison, notes = summary.comparison, Notes()
    reference = {task: _reference(summary, task) for task in comparison.tasks}
    longest = max((row.cost["train_seconds"] for row in summary.rows.values()), default=math.nan, key=_nan_first)
    unit, seconds = _time_unit(longest)
    several = len(comparison.seeds) > 1
    columns = (
        Column("Method"),
        Column("Seeds"),
        *(_score_column(task, reference[task]) for task in comparison.tasks),
        Column("Δm", "%", "↑"),
        *([Column("95 % interval", "%")] if several else []),
        Column("Parameters", "M"),
        Column("MACs", "G"),
        Column("Step", "s"),
        Column("Training", unit),
    )
    rows = []
    for label, row in summary.rows.items():
        head = (Cell(label, marks=_status_marks(row.row, notes)), Cell(_seeds(row.row, comparison)))
        scores = [_score_cell(row.scores[task], reference[task], notes) for task in comparison.tasks]
        cost = row.cost
        rows.append(
            (
                *head,
                *scores,
                _delta_cell(row.delta, notes),
                *([_interval_cell(row, notes)] if several else []),
                Cell(_fixed(cost["parameters"] / 1e6, 2)),
                Cell(_fixed(cost["macs"] / 1e9, 2)),
                Cell(_fixed(cost["seconds_per_step"], 3)),
                Cell(_fixed(cost["train_seconds"] / seconds, 2 if unit == "h" else 1)),
            )
        )
    if summary.constant:
        sentence = "the best prediction that does not look at the image; a method no better than it has learnt nothing"
        head = (Cell(CONSTANT, marks=(notes.mark(sentence),)), Cell(""))
        scores = [_score_cell(summary.constant[task], reference[task], notes) for task in comparison.tasks]
        rows.append((*head, *scores, *[Cell("")] * (len(columns) - len(head) - len(scores))))
    title = f"{manifest.title}: {comparison.benchmark}, {' + '.join(comparison.tasks)}"
    letters = tuple((_letter(index), sentence) for index, sentence in enumerate(notes.sentences))
    return Table(comparison.slug, title, caption(summary, manifest), columns, tuple(rows), letters)


def caption(summary: Summary, manifest: Manifest) -> tuple[str, ...]:
    """What the table is, over how many seeds, what bold means, and where its numbers come from."""
    comparison = summary.comparison
    num_seeds = len(comparison.seeds)
    sentences = []
    if manifest.demonstration:
        sentences.append("A demonstration that the path from data to table works; it compares nothing.")
    if manifest.caption:
        sentences.append(manifest.caption)
    if comparison.baseline:
        sentences.append(
            f"Δm (Eq. 6): mean over tasks of the relative gain over {comparison.baseline}; positive is better."
        )
    if num_seeds > 1:
        sentences.append(
            f"Mean ± standard deviation over {num_seeds} seeds; the interval is Student's t over seeds, paired with "
            "the baseline's. Bold: no other row of the column is better (Tukey's studentised range, 95 %)."
        )
    else:
        sentences.append("One seed: there is no interval, nothing is bold, and no order is implied.")
    log = [f"{first} and {second}" for first, second, delta, other in _orders(summary) if delta * other < 0]
    if log:
        sentences.append(f"The log delta, which no choice of baseline can reorder, disagrees on {'; '.join(log)}.")
    found = dict(provenance(summary))
    told = [f"{name} {found[name]}" for name in ("commit", "torch", "data", "device") if name in found]
    return (*sentences, *([f"Records: {'; '.join(told)}."] if told else []))


def provenance(summary: Summary) -> list[tuple[str, str]]:
    """What the records say of code, data, device and versions; all values where records differ, absent where none do.

    A commit ends in + where the files that can move a number differed from it.
    """
    found = [record.provenance for record in _records(summary)]
    versions = sorted({name for p in found for name in p.get("versions", {})})
    values = [
        ("commit", [_short(p["commit"]) for p in found if p.get("commit")]),
        ("source", [str(p["source"]) for p in found if p.get("source")]),
        ("data", [str(p["data"]["fingerprint"]) for p in found if p.get("data", {}).get("fingerprint")]),
        ("device", [str(p["device"]) for p in found if p.get("device")]),
        *((name, [str(p.get("versions", {}).get(name, "unknown")) for p in found]) for name in versions),
    ]
    return [(name, _distinct(of_name)) for name, of_name in values if of_name]


def _score_column(task: str, score: Score | None) -> Column:
    if score is None or score.metric == "undefined":
        return Column(task)
    shown = _display(score.metric)
    return Column(f"{task} {shown.title}", shown.unit, "↑" if score.higher_is_better else "↓")


def _display(metric: str) -> Display:
    return METRICS.get(metric, Display(metric, "", 4))


def _score_cell(entry: ScoreSummary, reference: Score | None, notes: Notes) -> Cell:
    if entry.problem in UNFINISHED:
        return Cell(entry.problem)
    if entry.problem:
        return Cell(UNDEFINED, marks=(notes.mark(entry.problem),))
    assert entry.score is not None and reference is not None
    shown = _display(entry.score.metric)
    text = _fixed(entry.mean, shown.decimals)
    if len(entry.values) > 1:
        text += f" ± {_fixed(entry.sd, shown.decimals)}"
    marks = [
        notes.mark(f"not comparable with its column: {name} is “{ours}” instead of “{theirs}”")
        for score in (entry.score, *entry.others)
        for name, ours, theirs in differences(score, reference)
    ]
    return Cell(text, entry.best, tuple(dict.fromkeys(marks)))


def _delta_cell(delta: DeltaSummary, notes: Notes) -> Cell:
    if delta.problem in UNFINISHED:
        return Cell(delta.problem)
    if delta.problem:
        return Cell(UNDEFINED, marks=(notes.mark(f"Δm is undefined: {delta.problem}"),))
    if not delta.values:
        return Cell(_fixed(delta.mean, 2), delta.best)
    text = signed(delta.mean)
    if len(delta.values) > 1:
        text += f" ± {_fixed(delta.sd, 2)}"
    if delta.paired:
        return Cell(text, delta.best)
    sentence = "against the mean of the baseline's runs, since not every seed has one"
    return Cell(text, delta.best, (notes.mark(sentence),))


def _interval_cell(row: RowSummary, notes: Notes) -> Cell:
    delta = row.delta
    if delta.problem or not delta.values:
        return Cell("")
    if delta.seeds is not None:
        return Cell(interval_text(delta.seeds))
    if len(delta.values) == 1:
        return Cell("one seed")
    return Cell(UNDEFINED, marks=(notes.mark("no interval: the baseline has a single run of some task"),))


def interval_text(interval: Interval) -> str:
    return f"[{signed(interval.low)}, {signed(interval.high)}]"


def _status_marks(row: Row, notes: Notes) -> tuple[str, ...]:
    marks = []
    for status in UNFINISHED:
        runs = [run for run in row.runs.values() if run.status == status]
        if runs:
            sentence = f"{row.label}: {status} {len(runs)} of {len(row.runs)} seeds"
            errors = _distinct(_first_line(failure) for run in runs for _, failure in sorted(run.failures.items()))
            marks.append(notes.mark(sentence + (f" ({errors})" if errors else "")))
    return tuple(marks)


def _seeds(row: Row, comparison: Comparison) -> str:
    finished = len(row.finished())
    expected = len(comparison.seeds)
    return str(finished) if finished == expected else f"{finished} of {expected}"


def _reference(summary: Summary, task: str) -> Score | None:
    """The score that gives a column its metric and definition: the baseline's, or else the first there is."""
    baseline = summary.rows.get(summary.comparison.baseline)
    first = None if baseline is None else baseline.scores[task].score
    others = (row.scores[task].score for row in summary.rows.values())
    constant = summary.constant[task].score if task in summary.constant else None
    return next((score for score in (first, *others, constant) if score is not None), None)


def _orders(summary: Summary) -> Iterable[tuple[str, str, float, float]]:
    """Pairs of labels with the difference of their deltas and of their log deltas."""
    rows = [(label, row.delta) for label, row in summary.rows.items() if not row.delta.problem]
    for index, (first, one) in enumerate(rows):
        for second, other in rows[index + 1 :]:
            yield first, second, one.mean - other.mean, one.log - other.log


def _records(summary: Summary) -> list[Record]:
    found: dict[str, Record] = {}
    for row in summary.comparison.rows.values():
        for run in row.runs.values():
            found |= run.records
    return [found[cell_id] for cell_id in sorted(found)]


def _first_line(failure: dict[str, Any]) -> str:
    return str(failure.get("error", "no error was recorded")).strip().split("\n")[0]


def _short(commit: str) -> str:
    return commit[:12] + ("+" if commit.endswith("+") else "")


def _distinct(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _fixed(value: float, decimals: int) -> str:
    if math.isnan(value):
        return UNDEFINED
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        return text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float) -> str:
    """Two decimals with a sign; a dash for NaN."""
    text = _fixed(value, 2)
    if math.isnan(value):
        return text
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def _time_unit(seconds: float) -> tuple[str, float]:
    if math.isnan(seconds) or seconds < 120:
        return "s", 1.0
    return ("min", 60.0) if seconds < 7200 else ("h", 3600.0)


def _nan_first(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _letter(index: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
