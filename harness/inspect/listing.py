"""The texts of `mtlbench list`: what a matrix can choose, with a few words on each."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import NamedTuple

from mtlbench.harness.matrix.text.written import embedded, find
from mtlbench.harness.store.kept import remembered
from mtlbench.harness.store.source import state


class Entry(NamedTuple):
    """A name that a matrix can have, and what is said of it, each text on lines of its own."""

    name: str
    texts: list[str]


class Section(NamedTuple):
    """A kind of thing that a matrix chooses."""

    title: str
    entries: list[Entry]


def sections(before: Callable[[], None] = lambda: None) -> list[Section]:
    """All that a matrix can choose, in the order in which it is shown.

    Where our code has changed since a list was made, classes and functions are imported, and PyTorch with them.
    before: is called before that.
    """

    def find_anew() -> str:
        before()
        from mtlbench.harness.inspect.choices import choices

        return json.dumps(choices())

    found = json.loads(remembered("list", state(), find_anew))
    kept = [Section(title, [Entry(*entry) for entry in entries]) for title, entries in found]
    return [*kept, Section("Matrices", [Entry(name, [first_sentence(find(name).read_text())]) for name in embedded()])]


def first_sentence(text: str) -> str:
    """Of the comment that a file begins with; "" where it begins with none."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return re.split(r"(?<=[.?!])\s", " ".join(line.lstrip("# ") for line in lines))[0]
