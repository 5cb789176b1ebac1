"""The tables of a paper at its exact width: scores with Delta_m, and costs. And those of `table.tex`, with everything.

A table that is too wide gets narrower gaps and smaller letters, then loses the standard deviation of Delta_m. Then its
spreads and units become fine print, as in the papers of the field, and long names stand in two lines. Only then it
loses the interval of Delta_m in exchange for the standard deviation. What is still too wide is broken into blocks below
each other. A table is never scaled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from mtlbench.results.records.record import in_words
from mtlbench.results.report.captions import SIMULTANEOUS
from mtlbench.results.report.formats import escape_latex
from mtlbench.results.report.paper.layout import EXPLAINED, HANG, THIN, Field, Layout, fit, runs
from mtlbench.results.report.paper.widths import Paper
from mtlbench.results.report.tables import CONSTANT, Cell, Column, Notes, Table

POINTS = 72.27  # of TeX, in an inch
SPARE = 2.0  # points that a measure of letters alone may lack
INTERVAL = "95 % interval"
SHORT = "Constant"  # the constant predictor, whose footnote says what it is
HEADS = {"delta": "Δm", "size": "Size", "time": "Time"}
BETWEEN = rf"\kern{THIN}em{{}}"  # between a number and its fine print
EDGE = "@{}"  # the last column ends where the table ends, and its head too
PLAIN = Paper(r"\linewidth", 345 / POINTS)  # a text of LaTeX's own classes with letters of 10 points
WHOLE = (
    "% All columns, for an appendix: scores, and then costs. They fit the width of a plain article of 10 points, and",
    "% any that is wider. `mtlbench report --paper neurips` (or cvpr, ieee, a width) writes the tables of a paper.",
    r"% needs \usepackage{booktabs}",
)


def scores(one: Table, paper: Paper, caption: Sequence[str]) -> str:
    """The table of scores and Delta_m."""
    fields = [_field(one, index) for index, column in enumerate(one.columns) if column.part in ("score", "delta")]
    return _table(one, paper, fields, (f"{one.title}.", *caption), "")


def costs(one: Table, paper: Paper) -> str:
    """The table of costs. The constant predictor has none."""
    fields = [_field(one, index) for index, column in enumerate(one.columns) if column.part in ("size", "time")]
    caption = "Cost: the networks of a row together, and means over its seeds."
    return _table(one, paper, fields, (f"{one.title}.", caption), "-costs")


def latex(tables: Sequence[Table]) -> str:
    r"""Tables with all columns and the full caption, to be read by \input; the document needs \usepackage{booktabs}."""
    parts = [part for one in tables for part in (_whole(one), costs(one, PLAIN))]
    return "\n".join([*WHOLE, *parts])


def _whole(one: Table) -> str:
    kept = [index for index, column in enumerate(one.columns) if index and column.part not in ("size", "time")]
    fields = [_field(one, index) for index in kept]
    caption = (f"{one.title}.", *one.lead, *one.controls)
    return _table(one, PLAIN, fields, caption, "", complete=True)


def _field(one: Table, index: int) -> Field:
    column = one.columns[index]
    cells = tuple(row[index] for row in one.rows)
    if column.part == "score":
        head = f"{column.metric} {column.suffix}".strip()
        return Field(in_words(column.task), head, cells, "score")
    if column.part == "delta":
        cells = tuple(_footnoted(cell) for cell in cells)
        head, role = ("mean", "delta") if column.arrow else (INTERVAL, "interval")
        head += " ± sd" if column.arrow and any("±" in cell.text for cell in cells) else ""
        return Field(f"{HEADS['delta']} {_delta(one).suffix}", head, cells, role)
    if column.part:
        return Field(HEADS[column.part], column.text, cells, "cost")
    return Field("", column.title, cells)


def _footnoted(cell: Cell) -> Cell:
    """The seeds that a row lost, which stand in brackets behind its Delta_m, as a footnote that has its own text."""
    found = re.fullmatch(r"(.*) \((.*)\)", cell.text)
    return cell if found is None else cell._replace(text=found[1], marks=(*cell.marks, found[2]))


def _delta(one: Table) -> Column:
    return next(column for column in one.columns if column.part == "delta" and column.arrow)


def _table(
    one: Table, paper: Paper, fields: Sequence[Field], caption: Sequence[str], suffix: str, *, complete: bool = False
) -> str:
    kept = [index for index, row in enumerate(one.rows) if not suffix or row[0].text != CONSTANT]
    fields = [replace(field, cells=tuple(field.cells[index] for index in kept)) for field in fields]
    names = Field("", "Method", tuple(_named(one.rows[index][0]) for index in kept))
    if suffix:  # what became of a row's seeds is said below its scores
        names = replace(names, cells=tuple(Cell(cell.text) for cell in names.cells))
    room = POINTS * paper.inches - SPARE
    found, notes = fit(names, fields, room, times=paper.times, complete=complete), Notes()
    blocks = [_block(names, block, paper, found, (notes, dict(one.notes))) for block in found.blocks]
    below = [
        rf"\textsuperscript{{{notes.mark(sentence)}}}~{_breakable(escape_latex(sentence))}"
        for sentence in list(notes.sentences)
    ]
    if complete and one.details:
        below.append(escape_latex(" ".join(one.details)))
    foot = [rf"\par\vspace{{3pt}}\parbox{{{paper.text}}}{{\scriptsize\raggedright", "\\\\\n".join(below) + "}"]
    shown = [field for block in found.blocks for field in block]
    lost = [] if any(field.role == "interval" for field in shown) else _intervals(names, fields)
    told = [sentence for sentence in caption if not (lost and sentence == SIMULTANEOUS)]
    told += [text for word, text in EXPLAINED.items() if any(field.head.startswith(word) for field in shown)]
    return "\n".join(
        [
            *comment([*lost, *([f"In {len(blocks)} blocks: {found.why}."] if found.why else [])]),
            r"\begin{table}[t]",
            r"\centering\emergencystretch=3em",
            rf"\caption{{{escape_latex(' '.join(told))}}}",
            rf"\label{{tab:{one.label}{suffix}}}",
            r"\par\vspace{6pt}",
            rf"\{found.size.name}\setlength{{\tabcolsep}}{{{found.gap / 2:g}pt}}",
            "\n\\par\\vspace{6pt}\n".join(blocks),
            *(foot if below else []),
            r"\end{table}",
            "",
        ]
    )


def _intervals(names: Field, fields: Sequence[Field]) -> list[str]:
    """A line with the intervals of all rows."""
    of_rows = [zip(names.cells, field.cells, strict=True) for field in fields if field.role == "interval"]
    told = [f"{name.text} {cell.text}" for rows in of_rows for name, cell in rows if cell.text]
    return [f"Without room for the {INTERVAL} of Δm: {'; '.join(told)}"] if told else []


def _named(cell: Cell) -> Cell:
    return cell._replace(text=SHORT) if cell.text == CONSTANT else cell


def _block(
    names: Field, block: Sequence[Field], paper: Paper, found: Layout, noted: tuple[Notes, dict[str, str]]
) -> str:
    """A tabular with the names of the rows and some columns."""
    rows = [
        " & ".join([_name(cell, found.wrap, noted), *(_cell(field, index, noted) for field in block)]) + r" \\"
        for index, cell in enumerate(names.cells)
        if cell.text != SHORT or any(field.cells[index].text for field in block)
    ]
    if names.cells[-1].text == SHORT and any(field.cells[-1].text for field in block):
        rows.insert(-1, r"\midrule")
    heads = [
        rf"\multicolumn{{1}}{{{_aligned(field)}{EDGE if field is block[-1] else ''}}}{{{_set(field.head, field.fine)}}}"
        for field in block
    ]
    lines = [
        rf"\begin{{tabular*}}{{{paper.text}}}{{@{{\extracolsep{{\fill}}}}l{''.join(_aligned(f) for f in block)}@{{}}}}",
        r"\toprule",
        *_groups(block),
        " & ".join([escape_latex(names.head), *heads]) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular*}",
    ]
    return "\n".join(lines)


def _groups(block: Sequence[Field]) -> Iterator[str]:
    """The line of heads over groups of columns, and the rules below them."""
    heads, rules, place = [""], [], 2
    for group, members in groupby(block, key=lambda field: field.group):
        found = list(members)
        last = place + len(found) - 1
        edge = EDGE if last > len(block) else ""
        heads.append(rf"\multicolumn{{{len(found)}}}{{c{edge}}}{{{_set(group, found[0].fine)}}}")
        if group:
            rules.append(rf"\cmidrule({'l' if last > len(block) else 'lr'}){{{place}-{last}}}")
        place = last + 1
    yield " & ".join(heads) + r" \\"
    yield " ".join(rules)


def _aligned(field: Field) -> str:
    """Numbers of different lengths, as of costs, end at one place."""
    return "r" if field.role == "cost" else "c"


def _name(cell: Cell, wrap: float, noted: tuple[Notes, dict[str, str]]) -> str:
    text = escape_latex(cell.text) + _marks(cell, noted)
    if not wrap:
        return text
    return rf"\parbox[t]{{{wrap:.1f}pt}}{{\raggedright\hangindent={HANG:g}pt\strut {text}\strut}}"


def _cell(field: Field, index: int, noted: tuple[Notes, dict[str, str]]) -> str:
    cell, (left, right) = field.cells[index], field.padded[index]
    before = rf"\phantom{{{_set(left, field.fine)}}}" if left else ""
    text, marks = _set(cell.text, field.fine, bold=cell.bold), _marks(cell, noted)
    if right:  # the marks stand in the place that the spread leaves free
        lapped = rf"\rlap{{{marks}}}" if marks else ""
        return rf"{before}{text}{lapped}\phantom{{{BETWEEN if field.fine else ''}{_set(right, field.fine)}}}"
    return before + text + marks


def _set(text: str, fine: bool, *, bold: bool = False) -> str:
    """A text in LaTeX. In fine print, units and spreads are tiny, and only the number itself is bold."""
    parts = []
    for part, tiny in runs(text, fine=fine):
        escaped = escape_latex(part)
        if bold and part and not tiny:
            escaped = rf"\textbf{{{escaped}}}"
        parts.append(rf"{{\tiny {escaped}}}" if tiny else escaped)
    return BETWEEN.join(parts)


def _marks(cell: Cell, noted: tuple[Notes, dict[str, str]]) -> str:
    notes, sentences = noted
    marks = [notes.mark(sentences.get(mark, mark)) for mark in cell.marks]
    return rf"\textsuperscript{{{' '.join(marks)}}}" if marks else ""


def _breakable(text: str) -> str:
    """A text that may break within long names, such as paths."""
    return re.sub(r"(/|\\_|\.)(?=\w)", r"\1\\allowbreak{}", text)


def comment(lines: Sequence[str]) -> Iterator[str]:
    """Lines as LaTeX's comments."""
    yield from (f"% {' '.join(line.split())}" for line in lines)
