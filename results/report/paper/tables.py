"""The tables of a paper at its exact width: scores with Delta_m, and costs.

A table that is too wide gets narrower gaps and smaller letters, then loses the standard deviation of Delta_m, and then
its interval in exchange for the standard deviation. What is still too wide is broken into blocks below each other. A
table is never scaled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from mtlbench.results.report.captions import SIMULTANEOUS
from mtlbench.results.report.formats import escape_latex
from mtlbench.results.report.paper.measure import width
from mtlbench.results.report.paper.widths import Paper
from mtlbench.results.report.tables import CONSTANT, Cell, Column, Notes, Table

POINTS = 72.27  # of TeX, in an inch
SPARE = 2.0  # points that a measure of letters alone may lack
GAPS = (12.0, 8.0, 6.0)  # points between columns
INTERVAL = "95 % interval"
SHORT = "Constant"  # the constant predictor, whose footnote says what it is
HEADS = {"delta": "Δm", "size": "Size", "time": "Time"}


class Field(NamedTuple):
    """A column of the paper's table."""

    group: str  # what stands above it, over all columns of its group
    head: str
    cells: tuple[Cell, ...]
    wrap: float = 0.0  # points after which a line of a cell is broken; 0 means never

    def width(self, size: str) -> float:
        bodies = [width(cell.text, size, bold=cell.bold) + 4.0 * len(cell.marks) for cell in self.cells]
        return max([width(self.head, size), *bodies])


class Layout(NamedTuple):
    size: str
    gap: float
    blocks: tuple[tuple[Field, ...], ...]  # of columns, without the names of rows


def scores(one: Table, paper: Paper, caption: Sequence[str]) -> str:
    """The table of scores and Delta_m."""
    fields = [_field(one, index) for index, column in enumerate(one.columns) if column.part in ("score", "delta")]
    return _table(one, paper, fields, (f"{one.title}.", *caption), "")


def costs(one: Table, paper: Paper) -> str:
    """The table of costs. The constant predictor has none."""
    fields = [_field(one, index) for index, column in enumerate(one.columns) if column.part in ("size", "time")]
    caption = "Cost: the networks of a row together, and means over its seeds."
    return _table(one, paper, fields, (f"{one.title}.", caption), "-costs")


def _field(one: Table, index: int) -> Field:
    column = one.columns[index]
    cells = tuple(row[index] for row in one.rows)
    if column.part == "score":
        return Field(column.task.replace("_", " "), f"{column.metric} {column.suffix}".strip(), cells)
    if column.part == "delta":
        cells = tuple(_footnoted(cell) for cell in cells)
        return Field(f"{HEADS['delta']} {_delta(one).suffix}", "mean" if column.arrow else INTERVAL, cells)
    return Field(HEADS[column.part], column.text, cells)


def _footnoted(cell: Cell) -> Cell:
    """The seeds that a row lost, which stand in brackets behind its Delta_m, as a footnote that has its own text."""
    found = re.fullmatch(r"(.*) \((.*)\)", cell.text)
    return cell if found is None else cell._replace(text=found[1], marks=(*cell.marks, found[2]))


def _delta(one: Table) -> Column:
    return next(column for column in one.columns if column.part == "delta" and column.arrow)


def _table(one: Table, paper: Paper, fields: Sequence[Field], caption: Sequence[str], suffix: str) -> str:
    kept = [index for index, row in enumerate(one.rows) if not suffix or row[0].text != CONSTANT]
    fields = [field._replace(cells=tuple(field.cells[index] for index in kept)) for field in fields]
    names = Field("", "Method", tuple(_named(one.rows[index][0]) for index in kept))
    if suffix:  # what became of a row's seeds is said below its scores
        names = names._replace(cells=tuple(Cell(cell.text) for cell in names.cells))
    found, notes = fit(names, fields, POINTS * paper.inches - SPARE), Notes()
    sentences = dict(one.notes)
    room = POINTS * paper.inches - SPARE
    wrapped = [_wrapped(names, block, found, room) for block in found.blocks]
    blocks = [_block(*pair, paper, (notes, sentences)) for pair in zip(wrapped, found.blocks, strict=True)]
    below = [
        rf"\textsuperscript{{{notes.mark(sentence)}}}~{_breakable(escape_latex(sentence))}"
        for sentence in list(notes.sentences)
    ]
    foot = [rf"\par\vspace{{3pt}}\parbox{{{paper.text}}}{{\scriptsize\raggedright", "\\\\\n".join(below) + "}"]
    lost = [] if any(field.head == INTERVAL for block in found.blocks for field in block) else _intervals(names, fields)
    told = [sentence for sentence in caption if not (lost and sentence == SIMULTANEOUS)]
    return "\n".join(
        [
            *comment(lost),
            r"\begin{table}[t]",
            r"\centering\emergencystretch=3em",
            rf"\caption{{{escape_latex(' '.join(told))}}}",
            rf"\label{{tab:{one.label}{suffix}}}",
            r"\par\vspace{6pt}",
            rf"\{found.size}\setlength{{\tabcolsep}}{{{found.gap / 2:g}pt}}",
            "\n\\par\\vspace{6pt}\n".join(blocks),
            *(foot if below else []),
            r"\end{table}",
            "",
        ]
    )


def _intervals(names: Field, fields: Sequence[Field]) -> list[str]:
    """A line with the intervals of all rows."""
    of_rows = [zip(names.cells, field.cells, strict=True) for field in fields if field.head == INTERVAL]
    told = [f"{name.text} {cell.text}" for rows in of_rows for name, cell in rows if cell.text]
    return [f"Without room for the {INTERVAL} of Δm: {'; '.join(told)}"] if told else []


def _named(cell: Cell) -> Cell:
    return cell._replace(text=SHORT) if cell.text == CONSTANT else cell


def fit(names: Field, fields: Sequence[Field], room: float) -> Layout:
    """The largest letters and gaps with which the columns fit into `room` points."""
    whole = list(fields)
    lean = [_without_sd(field) if field.head == "mean" and len(fields) > 1 else field for field in whole]
    bare = [field for field in whole if field.head != INTERVAL]
    if len(bare) == len(whole):
        lean = whole  # the standard deviation is all there is to say of the spread
    tries = [(size, one) for one in (whole, lean) for size in ("small", "footnotesize")]
    tries += [("scriptsize", lean), ("small", bare), ("footnotesize", bare), ("scriptsize", bare)]
    for size, columns in tries:
        for gap in GAPS:
            if _natural(names, columns, size, gap) <= room:
                return Layout(size, gap, (tuple(columns),))
    size, gap = "footnotesize", GAPS[1]
    blocks: list[list[Field]] = [[]]
    for _, group in groupby(lean, key=lambda field: field.group):
        columns = list(group)
        if blocks[-1] and _natural(names, [*blocks[-1], *columns], size, gap) > room:
            blocks.append([])
        blocks[-1] += columns
    return Layout(size, gap, tuple(tuple(block) for block in blocks))


def _natural(names: Field, columns: Sequence[Field], size: str, gap: float) -> float:
    """The width of a table that is not stretched, in points. A group is as wide as its head where this is wider."""
    total = names.width(size) + gap * len(columns)
    for group, members in groupby(columns, key=lambda field: field.group):
        widths = [field.width(size) for field in members]
        total += max(sum(widths), width(group, size) - gap * (len(widths) - 1))
    return total


def _wrapped(names: Field, block: Sequence[Field], found: Layout, room: float) -> Field:
    """The names of rows, broken into lines where a block of one group is too wide with them."""
    over = _natural(names, block, found.size, found.gap) - room
    return names if over <= 0 else names._replace(wrap=max(40.0, names.width(found.size) - over))


def _without_sd(field: Field) -> Field:
    return field._replace(cells=tuple(cell._replace(text=re.sub(r" ± [\d.]+", "", cell.text)) for cell in field.cells))


def _block(names: Field, block: Sequence[Field], paper: Paper, noted: tuple[Notes, dict[str, str]]) -> str:
    """A tabular with the names of the rows and some columns."""
    heads, rules, place = [""], [], 2
    for group, members in groupby(block, key=lambda field: field.group):
        span = len(list(members))
        heads.append(rf"\multicolumn{{{span}}}{{c}}{{{escape_latex(group)}}}")
        rules.append(rf"\cmidrule({'l' if place + span > len(block) + 1 else 'lr'}){{{place}-{place + span - 1}}}")
        place += span
    spread = any("±" in cell.text for field in block if field.head == "mean" for cell in field.cells)
    titles = [names.head, *("mean ± sd" if spread and field.head == "mean" else field.head for field in block)]
    rows = [
        " & ".join([_broken(names, index, noted), *(_cell(field.cells[index], *noted) for field in block)]) + r" \\"
        for index in range(len(names.cells))
        if names.cells[index].text != SHORT or any(field.cells[index].text for field in block)
    ]
    if names.cells[-1].text == SHORT and any(field.cells[-1].text for field in block):
        rows.insert(-1, r"\midrule")
    lines = [
        rf"\begin{{tabular*}}{{{paper.text}}}{{@{{\extracolsep{{\fill}}}}l{''.join(_aligned(f) for f in block)}@{{}}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        " ".join(rules),
        " & ".join(
            [escape_latex(titles[0]), *(_head(title, field) for title, field in zip(titles[1:], block, strict=True))]
        )
        + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular*}",
    ]
    return "\n".join(lines)


def _aligned(field: Field) -> str:
    """Numbers of different lengths, as of costs, end at one place."""
    return "r" if field.group in (HEADS["size"], HEADS["time"]) else "c"


def _head(title: str, field: Field) -> str:
    return rf"\multicolumn{{1}}{{{_aligned(field)}}}{{{escape_latex(title)}}}"


def _broken(names: Field, index: int, noted: tuple[Notes, dict[str, str]]) -> str:
    text = _cell(names.cells[index], *noted)
    return rf"\parbox[t]{{{names.wrap:.1f}pt}}{{\raggedright\strut {text}\strut}}" if names.wrap else text


def _cell(cell: Cell, notes: Notes, sentences: dict[str, str]) -> str:
    text = escape_latex(cell.text)
    text = rf"\textbf{{{text}}}" if cell.bold and text else text
    marks = [notes.mark(sentences.get(mark, mark)) for mark in cell.marks]
    return text + (rf"\textsuperscript{{{' '.join(marks)}}}" if marks else "")


def _breakable(text: str) -> str:
    """A text that may break within long names, such as paths."""
    return re.sub(r"(/|\\_|\.)(?=\w)", r"\1\\allowbreak{}", text)


def comment(lines: Sequence[str]) -> Iterator[str]:
    """Lines as LaTeX's comments."""
    yield from (f"% {' '.join(line.split())}" for line in lines)
