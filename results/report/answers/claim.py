"""What may be claimed from a table, in a few sentences, from the verdicts and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtlbench.results.records.record import Manifest
from mtlbench.results.report import captions
from mtlbench.results.report.display import in_points
from mtlbench.results.summary.controls import Finding
from mtlbench.results.summary.pairs import Block
from mtlbench.results.summary.runs import UNFINISHED
from mtlbench.results.summary.summary import Summary

HINTS = (2.0, 1.0, 0.5)  # points; the first of them that the table's seeds are too few for is named
NONE = "No verdict"  # begins what is said without a verdict; the reason follows, for displays that cut a sentence
ALONE = "one seed a row"
CHANCE = "One run cannot tell a difference from chance; a verdict needs two seeds or more."


def claim(summary: Summary, manifest: Manifest, controls: Sequence[Finding] = ()) -> str:
    return " ".join(sentences(summary, manifest, controls))


def sentences(summary: Summary, manifest: Manifest, controls: Sequence[Finding] = ()) -> list[str]:
    """Which row beats which, what is undecided, and how many seeds would decide it; the first one stands by itself.

    Where a control fails, or where the table is a demonstration, nothing may be claimed.
    """
    block = summary.block
    if manifest.demonstration:
        return [f"{NONE}: a demonstration that the path from data to table works."]
    if any(finding.passed is False for finding in controls):
        return [f"{NONE}: a control fails, and the text below the table says which."]
    if not block.values:
        why = _why_nothing(summary)
        return [f"{NONE}: {why}.", *([CHANCE] if why == ALONE else []), *filter(None, [_unfinished(summary)])]
    subject = _subject(block)
    first = _first(block, subject, whole=len(block.values) == len(summary.rows))
    hinted = bool(hint := _hint(block)) and hint in first
    against = "" if subject == manifest.baseline else _against(block, manifest.baseline, "" if hinted else hint)
    found = (first, against, _not_judged(summary), _lost(summary), _unfinished(summary))
    return [sentence for sentence in found if sentence]


def _why_nothing(summary: Summary) -> str:
    """Why no two rows of a table can be compared."""
    finished = max((len(row.row.finished()) for row in summary.rows.values()), default=0)
    if not finished:
        return "no run is finished yet"
    if len(summary.rows) == 1:
        return "one row has nothing to be compared with"
    baseline = summary.rows.get(summary.comparison.baseline)
    if baseline is None:
        return "the matrix names no baseline"
    if baseline.delta.problem:
        return f"no whole run of the baseline {baseline.row.label} ({baseline.delta.problem})"
    return ALONE if finished == 1 else "no two rows have enough seeds in common"


def _subject(block: Block) -> str:
    """The row that beats most; of several such rows the one with the highest mean Delta_m."""
    means = {label: float(np.mean(list(values.values()))) for label, values in block.values.items()}
    return max(means, key=lambda label: (len(_verdicts(block, label)["better"]), means[label]))


def _first(block: Block, subject: str, *, whole: bool) -> str:
    """What is known of the row that beats most. whole: all rows of the table are judged."""
    verdicts, others = _verdicts(block, subject), len(block.values) - 1
    if not verdicts["better"]:
        if verdicts["undecided"]:
            return f"No row is shown to be better than another{_after(': ', _hint(block))}."
        every = ("Both" if others == 1 else "All") + (" rows" if whole else " rows with a verdict")
        return f"{every} are equivalent, within {in_points(block.margin)}."
    if len(verdicts["better"]) == others > 1:
        every = "both" if others == 2 else f"all {others}"
        return f"{subject} beats {every} other rows{'' if whole else ' with a verdict'}."
    clauses = {
        "better": "beats {rows}",
        "worse": "loses to {rows}",
        "equivalent": f"is equivalent to {{rows}} (within {in_points(block.margin)})",
        "undecided": "is undecided against {rows}",
    }
    told = [text.format(rows=_list(verdicts[what])) for what, text in clauses.items() if verdicts[what]]
    return f"{subject} {_clauses(told)}{_after(': ', _hint(block)) if verdicts['undecided'] else ''}."


def _verdicts(block: Block, label: str) -> dict[str, list[str]]:
    """verdict -> the rows of which `label` has it, as in "better" than these."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "equivalent": [], "undecided": []}
    for other, verdict in block.verdicts(label).items():
        found[verdict].append(other)
    return found


def _against(block: Block, baseline: str, hint: str) -> str:
    """What is known against the baseline, where a row is shown to be better or worse than it.

    hint: of the seeds that would decide what is undecided; "" where it was given.
    """
    if baseline not in block.values:
        return ""
    found = _verdicts(block, baseline)
    if len(block.values) < 3 or not (found["worse"] or found["better"]):
        return ""
    told = {
        "better": found["worse"],
        "worse": found["better"],
        f"equivalent (within {in_points(block.margin)})": found["equivalent"],
        "undecided": found["undecided"],
    }
    clauses = _clauses([f"{_list(rows)} {_be(rows)} {what}" for what, rows in told.items() if rows])
    return f"Against the baseline {baseline}, {clauses}{_after(': ', hint) if found['undecided'] else ''}."


def _hint(block: Block) -> str:
    """How many seeds would decide a difference that these are too few for, and how many there are."""
    counts = sorted({len(values) for values in block.values.values()})
    needed = dict(block.planned())
    points = next((points for points in HINTS if needed.get(points, 0) > counts[-1]), None)
    if points is None:
        return ""
    now = " to ".join(dict.fromkeys(map(str, (counts[0], counts[-1]))))
    return f"{needed[points]} seeds ({now} now) would decide a difference of {in_points(points)}"


def _after(before: str, text: str) -> str:
    return before + text if text else ""


def _not_judged(summary: Summary) -> str:
    """The rows that no verdict is about, and why."""
    rows: dict[str, list[str]] = {}
    for label, row in summary.rows.items():
        if label not in summary.block.values:
            why = row.delta.problem if row.delta.problem in UNFINISHED else summary.block.left_out.get(label)
            rows.setdefault(why or "Δm is undefined", []).append(label)
    return f"{NONE} on {'; on '.join(f'{_list(labels)}: {why}' for why, labels in rows.items())}." if rows else ""


def _lost(summary: Summary) -> str:
    lost = [
        f"{label} ({captions.lost(row.delta.lost, len(row.row.runs))})"
        for label, row in summary.rows.items()
        if row.delta.lost
    ]
    return f"A row that lost seeds is not called better than one that lost fewer: {', '.join(lost)}." if lost else ""


def _unfinished(summary: Summary) -> str:
    """How many runs of the table may still come, so that the sentences may change."""
    runs = [run for row in summary.rows.values() for run in row.row.runs.values()]
    left = sum(run.status in ("missing", "searching") for run in runs)
    return (
        f"{left} of {len(runs)} runs {'is' if left == 1 else 'are'} not finished yet." if 0 < left < len(runs) else ""
    )


def _be(labels: Sequence[str]) -> str:
    return "is" if len(labels) == 1 else "are"


def _list(labels: Sequence[str]) -> str:
    """A text like "A", "A and B", or "A, B and C"."""
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def _clauses(parts: Sequence[str]) -> str:
    """Parts of a sentence, which may have an "and" of their own: "x", "x, and y", or "x, y, and z"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"
