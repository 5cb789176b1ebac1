"""Damaged files of a store that hide no record: readers go on without them, and whoever asks is told of each once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

MOST = 8  # files that are named

_noticed: ContextVar[dict[str, str] | None] = ContextVar("noticed", default=None)


@contextlib.contextmanager
def noticing() -> Iterator[dict[str, str]]:
    """Yields the damaged files that readers meet inside the block: the name in the store -> a line with the way out."""
    found: dict[str, str] = {}
    token = _noticed.set(found)
    try:
        yield found
    finally:
        _noticed.reset(token)


def notice(name: str, line: str) -> None:
    """Tell who listens that a file is damaged. line: what is left out because of it, and the way out."""
    found = _noticed.get()
    if found is not None:
        found[name] = line


def told(found: Mapping[str, str]) -> list[str]:
    """The lines of the first files, sorted, and the number of the other files."""
    lines = [found[name] for name in sorted(found)]
    more = len(lines) - MOST
    return [*lines[:MOST], *([f"{more} more files of the store are damaged"] if more > 1 else lines[MOST:])]
