"""How a table is made to fit into a width: letters, gaps, fine print, names in lines, and blocks as the last resort."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple

from mtlbench.results.report.display import MINUS
from mtlbench.results.report.paper.measure import Letters, letters, width
from mtlbench.results.report.tables import Cell

GAPS = (12.0, 8.0, 6.0)  # points between columns
CLOSER = (*GAPS, 4.0, 3.0)  # in fine print, which stands apart by its size
MARK = 4.0  # points of the letter of a footnote
THIN = 0.08  # of a size; the space before a unit in fine print
HANG = 4.0  # points by which the second line of a name is indented
LINES, MOST = 3, 99  # in which a name stands where this saves a block, and where it must
NUMBER = re.compile(rf"([+{MINUS}]?)(\d+)(\.\d+)?( ± [\d.]+)?")
# Heads of columns where there is little room. What is no common word has a line in the caption.
ABBREVIATIONS = {
    **{"human parts": "parts", "95 % interval": "95 % CI", "mean angle": "mErr"},
    **{"Parameters": "Params", "Training": "Train"},
}
EXPLAINED = {"mErr": "mErr: mean angle between predicted and true normals."}


class Padded(NamedTuple):
    """What keeps the place of a sign, of digits and of a spread that other cells of the column have."""

    left: str
    right: str


@dataclass(frozen=True)
class Field:
    """A column of the paper's table."""

    group: str  # what stands above it, over all columns of its group
    head: str
    cells: tuple[Cell, ...]
    role: str = ""  # "score", "delta", "interval" or "cost"; "" for what no paper needs
    fine: bool = False  # units, spreads and intervals are in tiny letters

    def width(self, size: Letters) -> float:
        bodies = [
            self._wide(pad.left + cell.text + pad.right, size, bold=cell.bold) + MARK * len(cell.marks)
            for cell, pad in zip(self.cells, self.padded, strict=True)
        ]
        return max([self._wide(self.head, size), *bodies])

    def _wide(self, text: str, size: Letters, *, bold: bool = False) -> float:
        return extent(text, size, fine=self.fine, bold=bold)

    @cached_property
    def padded(self) -> tuple[Padded, ...]:
        """Of each cell, so that the points of all numbers lie below each other. Costs end at one place anyway."""
        found = [NUMBER.fullmatch(cell.text) for cell in self.cells]
        known = [one for one in found if one is not None]
        if self.role not in ("score", "delta") or not known:
            return (Padded("", ""),) * len(self.cells)
        sign, digits = max(len(one[1]) for one in known), max(len(one[2]) for one in known)
        spread = max((one[4] or "" for one in known), key=len)
        return tuple(
            Padded("", "")
            if one is None
            else Padded("+" * (sign - len(one[1])) + "0" * (digits - len(one[2])), "" if one[4] else spread)
            for one in found
        )

    def narrow(self, *, intervals: bool) -> Field:
        """The column in fine print, with short heads. intervals: they are in fine print too."""
        fine = intervals or self.role != "interval"
        return replace(self, group=short(self.group), head=short(self.head), fine=fine)


class Layout(NamedTuple):
    size: Letters
    gap: float
    blocks: tuple[tuple[Field, ...], ...]  # of columns, without the names of rows
    wrap: float = 0.0  # points of the column of names, where they stand in several lines
    why: str = ""  # there are blocks


def short(head: str) -> str:
    """A head whose known words are abbreviated: "mean angle [°] ↓" -> "mErr [°] ↓"."""
    for word, letters_of in ABBREVIATIONS.items():
        if head == word or head.startswith(f"{word} "):
            return letters_of + head.removeprefix(word)
    return head


def runs(text: str, *, fine: bool) -> Iterator[tuple[str, bool]]:
    """The parts of a text, and whether each is in tiny letters."""
    head = re.fullmatch(r"(.+?)( \[.+\])?( [↑↓])?", text)
    if not fine or not text:
        yield text, False
    elif found := re.fullmatch(r"(.*) ± (.*)", text):
        yield from [(found[1], False)] * bool(found[1])
        yield f"±{found[2]}", True
    elif re.fullmatch(r"\[.*\]", text):
        yield text.replace(" ", ""), True
    elif head is not None and (head[2] or head[3]):
        yield head[1], False
        if head[2]:
            yield head[2].strip(), True
        if head[3]:
            yield head[3].strip(), False
    else:
        yield text, False


def extent(text: str, size: Letters, *, fine: bool, bold: bool = False) -> float:
    """The width of a text in points."""
    total = 0.0
    for place, (part, tiny) in enumerate(runs(text, fine=fine)):
        total += width(part, size.tiny if tiny else size, bold=bold and not tiny)
        total += THIN * size.points if place else 0.0
    return total


class Form(NamedTuple):
    """A way to set a table."""

    size: str
    lines: int = 1  # in which the name of a row may stand
    columns: str = "whole"  # or "lean": Delta_m has its interval alone; or "bare": its standard deviation alone
    tiny: str = ""  # or "spreads": these and the units are in fine print; or "intervals": these are too


STEPS = (
    *(Form("small"), Form("footnotesize"), Form("footnotesize", lines=2)),
    *(Form("scriptsize"), Form("scriptsize", lines=2)),
)


def _forms(complete: bool) -> Iterator[Form]:
    """In the order of choice. complete: nothing may be left out."""
    lean = "whole" if complete else "lean"
    yield from STEPS[:2]
    yield from (step._replace(columns=lean) for step in (STEPS[3:4] if complete else STEPS[:2]))
    yield from (step._replace(tiny="spreads") for step in STEPS[:2])
    yield from (step._replace(columns=lean, tiny=what) for what in ("spreads", "intervals") for step in STEPS)
    if not complete:
        last = STEPS[-1]._replace(lines=LINES)
        yield from (step._replace(columns="bare", tiny="intervals") for step in (*STEPS, last))


def fit(names: Field, fields: Sequence[Field], room: float, *, times: bool = False, complete: bool = False) -> Layout:
    """The first form with which the columns fit into `room` points. complete: no column may be left out."""
    contents = _contents(fields)
    for form in _forms(complete):
        columns = list(contents[form.columns])
        if form.tiny:
            columns = [field.narrow(intervals=form.tiny == "intervals") for field in columns]
        size = letters(form.size, times=times)
        for gap in CLOSER if form.tiny else GAPS:
            left = room - _natural(columns, size, gap)
            if names.width(size) <= left:
                return Layout(size, gap, (tuple(columns),))
            if form.lines > 1 and _lines(names, size, left) <= form.lines:
                return Layout(size, gap, (tuple(columns),), left)
    kept, least = ("whole", "whole") if complete else ("lean", "bare")
    size, smallest = letters("footnotesize", times=times), letters("scriptsize", times=times)
    narrowest = _natural([field.narrow(intervals=True) for field in contents[least]], smallest, CLOSER[-1])
    needed = narrowest + _broken(names, smallest, LINES)
    why = f"the narrowest single one is {needed:.0f}pt wide in letters of {smallest.points:g}pt, the paper {room:.0f}pt"
    return _blocks(names, contents[kept], room, size)._replace(why=why)


def _contents(fields: Sequence[Field]) -> Mapping[str, Sequence[Field]]:
    """The columns with all, without the standard deviation of Delta_m, and without its interval."""
    bare = [field for field in fields if field.role != "interval"]
    if len(bare) == len(fields):  # the standard deviation is all there is to say of the spread
        return MappingProxyType({"whole": fields, "lean": fields, "bare": fields})
    lean = [_without_sd(field) if field.role == "delta" else field for field in fields]
    return MappingProxyType({"whole": fields, "lean": lean, "bare": bare})


def _blocks(names: Field, fields: Sequence[Field], room: float, size: Letters) -> Layout:
    """Blocks below each other, as few as can be. Names stand in lines where this saves a block."""
    columns, gap = [field.narrow(intervals=False) for field in fields], GAPS[-1]
    tried = [
        Layout(size, gap, tuple(_parted(columns, room - taken, size, gap)), taken if lines > 1 else 0.0)
        for lines, taken in (
            (1, names.width(size)),
            *((lines, _broken(names, size, lines)) for lines in (2, LINES, MOST)),
        )
    ]
    return min(tried, key=lambda layout: len(layout.blocks))


def _parted(columns: Sequence[Field], room: float, size: Letters, gap: float) -> Iterator[tuple[Field, ...]]:
    """The columns in blocks that fit beside the names. The columns of a group stay together."""
    block: list[Field] = []
    for _, members in groupby(columns, key=lambda field: field.group):
        group = list(members)
        if block and _natural([*block, *group], size, gap) > room:
            yield tuple(block)
            block = []
        block += group
    yield tuple(block)


def _natural(columns: Sequence[Field], size: Letters, gap: float) -> float:
    """The width in points of columns with the gap before each. A group is as wide as its head where this is wider."""
    total = gap * len(columns)
    for group, members in groupby(columns, key=lambda field: field.group):
        found = list(members)
        widths = [field.width(size) for field in found]
        total += max(sum(widths), extent(group, size, fine=found[0].fine) - gap * (len(widths) - 1))
    return total


def _broken(names: Field, size: Letters, lines: int) -> float:
    """The least width in points at which no name needs more lines, and no word is broken."""
    room = _longest(names, size)
    while _lines(names, size, room) > lines:
        room += 1.0
    return room


def _longest(names: Field, size: Letters) -> float:
    """The width of the longest word of the names, in points."""
    return max(_of_name(word, cell, size) for cell in names.cells for word in cell.text.split() or [""]) + HANG


def _lines(names: Field, size: Letters, room: float) -> int:
    """How many lines the longest name needs in so many points."""
    if room < _longest(names, size):
        return MOST
    return max(_lines_of(cell, size, room) for cell in names.cells)


def _lines_of(cell: Cell, size: Letters, room: float) -> int:
    lines, line = 1, ""
    for word in cell.text.split():
        longer = f"{line} {word}".strip()
        if line and _of_name(longer, cell, size) > room - (HANG if lines > 1 else 0.0):
            lines, line = lines + 1, word
        else:
            line = longer
    return lines


def _of_name(text: str, cell: Cell, size: Letters) -> float:
    return width(text, size, bold=cell.bold) + MARK * len(cell.marks)


def _without_sd(field: Field) -> Field:
    cells = tuple(cell._replace(text=re.sub(r" ± [\d.]+", "", cell.text)) for cell in field.cells)
    return replace(field, head=field.head.removesuffix(" ± sd"), cells=cells)
