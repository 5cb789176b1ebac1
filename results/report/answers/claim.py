"""What may be claimed from a table, in one to three sentences, from the verdicts and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtlbench.results.records.record import Manifest
from mtlbench.results.report import captions
from mtlbench.results.report.display import in_points
from mtlbench.results.summary.controls import Finding
from mtlbench.results.summary.pairs import Block
from mtlbench.results.summary.summary import Summary

HINTS = (2.0, 1.0, 0.5)  # points; the first of them that the table's seeds are too few for is named


def claim(summary: Summary, manifest: Manifest, controls: Sequence[Finding] = ()) -> str:
    return " ".join(sentences(summary, manifest, controls))


def sentences(summary: Summary, manifest: Manifest, controls: Sequence[Finding] = ()) -> list[str]:
    """Which row beats which, what is undecided, and how many seeds would decide it; the first one stands by itself.

    Where a control fails, or where the table is a demonstration, nothing may be claimed.
    """
    block = summary.block
    if manifest.demonstration:
        return ["Nothing may be claimed: this shows that the path from data to table works."]
    if any(finding.passed is False for finding in controls):
        return ["Nothing may be claimed from these rows, since a control fails; the text below the table says which."]
    if not block.values:
        return [f"Nothing may be claimed: {_why_nothing(summary)}."]
    subject = _subject(block)
    first = _first(block, subject)
    hinted = bool(hint := _hint(block)) and hint in first
    against = "" if subject == manifest.baseline else _against(block, manifest.baseline, "" if hinted else hint)
    return [sentence for sentence in (first, against, _lost(summary)) if sentence]


def _why_nothing(summary: Summary) -> str:
    """Why no two rows of a table can be compared."""
    finished = max((len(row.row.finished()) for row in summary.rows.values()), default=0)
    if not finished:
        return "no cell is finished yet"
    if finished == 1:
        return "one seed a row decides nothing"
    if len(summary.rows) == 1:
        return "one row has nothing to be compared with"
    return "no two rows have enough seeds in common"


def _subject(block: Block) -> str:
    """The row that beats most; of several such rows the one with the highest mean Delta_m."""
    means = {label: float(np.mean(list(values.values()))) for label, values in block.values.items()}
    return max(means, key=lambda label: (len(_verdicts(block, label)["better"]), means[label]))


def _first(block: Block, subject: str) -> str:
    """What is known of the row that beats most."""
    verdicts = _verdicts(block, subject)
    if not verdicts["better"]:
        if verdicts["undecided"]:
            return f"No row is shown to be better than another{_after(': ', _hint(block))}."
        return f"All rows are equivalent, within {in_points(block.margin)}."
    others = len(block.values) - 1
    if len(verdicts["better"]) == others > 1:
        return f"{subject} beats all {others} other rows."
    parts = [f"{subject} beats {_list(verdicts['better'])}"]
    if verdicts["equivalent"]:
        parts.append(f"it is equivalent to {_list(verdicts['equivalent'])}, within {in_points(block.margin)}")
    if verdicts["undecided"]:
        parts.append(f"against {_list(verdicts['undecided'])} it is undecided{_after(': ', _hint(block))}")
    if verdicts["worse"]:
        parts.append(f"it loses to {_list(verdicts['worse'])}")
    return "; ".join(parts) + "."


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
    told = [("better", found["worse"]), ("worse", found["better"]), ("undecided", found["undecided"])]
    if len(block.values) < 3 or not (found["worse"] or found["better"]):
        return ""
    named = [f"{what}: {_list(rows)}" for what, rows in told if rows]
    return (
        f"Against the baseline {baseline}, {'; '.join(named)}{_after(', where ', hint) if found['undecided'] else ''}."
    )


def _hint(block: Block) -> str:
    """How many seeds would decide a difference that these are too few for."""
    seeds = max(len(values) for values in block.values.values())
    needed = dict(block.planned())
    points = next((points for points in HINTS if needed.get(points, 0) > seeds), None)
    return "" if points is None else f"{needed[points]} seeds would decide a difference of {in_points(points)}"


def _after(before: str, text: str) -> str:
    return before + text if text else ""


def _lost(summary: Summary) -> str:
    lost = [
        f"{label} ({captions.lost(row.delta.lost, len(row.row.runs))})"
        for label, row in summary.rows.items()
        if row.delta.lost
    ]
    return f"A row that lost seeds is not called better than one that lost fewer: {', '.join(lost)}." if lost else ""


def _list(labels: Sequence[str]) -> str:
    """A text like "A", "A and B", or "A, B and C"."""
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
