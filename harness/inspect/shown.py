"""A record in words for a terminal: scores with their units, and where the numbers come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mtlbench.results.records.record import Record, Score
from mtlbench.results.report.display import fixed, titled

# What the provenance of a record is called for people. What is not here has its own name, without underscores.
NAMES = {
    "commit": "commit of mtlbench",
    "composition": "published on",
    "data.fingerprint": "hash of the data",
    "data.rows": "images scored",
    "data.learnt": "hash of what labels taught",
    "data.unlabelled": "training images left out",
    "diverged": "diverged because",
    "parts": "parts of a micro-batch",
    "plugin": "hash of your own files",
    "source": "hash of mtlbench's code",
    "threads": "threads of a process",
    "weights.sha256": "SHA-256 of the weights",
    "weights.file": "weights from the file",
    "weights.package": "weights from the package",
    "weights.tag": "weights from the tag",
}
LISTED = ("versions", "variables", "initial_weights", "data.rows")  # mappings that are shown on one line


def scores(record: Record) -> list[str]:
    """A line for each score, as tables print it."""
    rows = [(score, titled(score), _value(score)) for score in record.scores]
    tasks = max((len(score.task) for score in record.scores), default=0)
    titles = max((len(title) for _, title, _ in rows), default=0)
    values = max((len(value) for *_, value in rows), default=0)
    lines = [
        f"{'*' if score.primary else ' '} {score.task:{tasks}}  {title:{titles}}  {value:>{values}} {score.unit:4}"
        f"  {'higher' if score.higher_is_better else 'lower'} is better"
        for score, title, value in rows
    ]
    return [*lines, "  * enters Δm"] if any(score.primary for score in record.scores) else lines


def _value(score: Score) -> str:
    return "undefined" if score.value is None else fixed(score.value, score.decimals)


def provenance(record: Record) -> list[str]:
    """A line for everything that a record says of where it comes from: a name and a value, in columns."""
    pairs = list(_pairs(record.provenance))
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"{name:{width}}  {value}" for name, value in pairs]


def _pairs(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in found.items():
        path = f"{before}{key}"
        if path == "data.images":
            yield "images", f"{value[0]:,} to train, {value[1]:,} to test"
        elif isinstance(value, Mapping) and path not in LISTED:
            yield from _pairs(value, f"{path}.")
        else:
            yield NAMES.get(path, _words(path)), _text(value)


def _words(path: str) -> str:
    return path.replace("_", " ").replace(".", ", ")


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
