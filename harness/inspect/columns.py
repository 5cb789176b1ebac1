"""Lines of a name and numbers, as wide as a terminal: a long name takes several lines beside its numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

GAP = 2  # characters between columns
LEAST = 20  # characters that a name has for itself, before a column of numbers gives way


def table(lines: Sequence[Sequence[str]], width: int | None, optional: Sequence[str]) -> str:
    """Lines as columns; the first has names and is flush left, the others are flush right.

    width: of the terminal; None: as wide as need be. optional: titles of columns that are left out, the first first,
    where the terminal has no room for them.
    """
    shown = [list(line) for line in lines]
    leaving = iter(optional)
    while width is not None and _room(shown, width) < min(LEAST, max(len(line[0]) for line in shown)):
        title = next(leaving, None)
        if title is None:
            break
        place = shown[0].index(title)
        shown = [[*line[:place], *line[place + 1 :]] for line in shown]
    widths = _widths(shown)
    name = max(len(line[0]) for line in shown)
    if width is not None:
        name = max(min(name, _room(shown, width)), LEAST)
    return "\n".join(
        line
        for first, *rest in shown
        for line in beside(first, name, [cell.rjust(each) for cell, each in zip(rest, widths, strict=True)])
    )


def beside(name: str, width: int, rest: Sequence[str]) -> Iterator[str]:
    """A name in so many characters, with the rest behind its first line."""
    first, *more = broken(name, width)
    yield (" " * GAP).join([first.ljust(width), *rest])
    yield from (f"  {line}" for line in more)


def broken(name: str, width: int) -> list[str]:
    """A name in lines: they end behind a word or a plus, and those after the first have two characters less."""
    lines = [""]
    for part in re.split(r"(?<=[+ ])(?=[^ ])", name):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width - 2 * (len(lines) > 1):
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    """Of the columns of numbers."""
    return [max(map(len, column)) for column in zip(*(line[1:] for line in lines), strict=True)]


def _room(lines: Sequence[Sequence[str]], width: int) -> int:
    """What is left for the names."""
    return width - sum(GAP + each for each in _widths(lines))
