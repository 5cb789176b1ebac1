"""A table as Markdown, and a text as it is in LaTeX."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from mtlbench.results.report.display import MINUS, UNDEFINED
from mtlbench.results.report.tables import Cell, Table


def markdown(tables: Sequence[Table]) -> str:
    """Tables as GitHub-flavoured Markdown. The columns are aligned in the source too."""
    return "\n".join(_markdown(one) for one in tables)


def _markdown(one: Table) -> str:
    header = [escape_markdown(column.text) for column in one.columns]
    body = [[_markdown_cell(cell) for cell in row] for row in one.rows]
    widths = [max(3, *(len(row[index]) for row in [header, *body])) for index in range(len(header))]
    lines = [
        "| " + " | ".join(f"{text:{'<' if i == 0 else '>'}{widths[i]}}" for i, text in enumerate(row)) + " |"
        for row in [header, *body]
    ]
    rule = "| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |"
    notes = [f"<sup>{letter}</sup> {escape_markdown(sentence)}  " for letter, sentence in one.notes]
    claim = [escape_markdown(one.claim), ""] if one.claim else []
    text = [f"### {escape_markdown(one.title)}", "", *claim, lines[0], rule, *lines[1:], ""]
    text += [*notes, ""] if notes else []
    for paragraph in (one.lead, one.controls):
        text += [" ".join(map(escape_markdown, paragraph)), ""] if paragraph else []
    return "\n".join([*text, *_details(one)])


def _details(one: Table) -> list[str]:
    """Lines that GitHub shows after a click, and that every other reader shows as a list."""
    if not one.details:
        return []
    return [
        f"<details><summary>{one.about}</summary>",
        "",
        *(f"* {escape_markdown(sentence)}" for sentence in one.details),
        "",
        "</details>",
        "",
    ]


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    text = f"**{text}**" if cell.bold and text else text
    return text + (f"<sup>{' '.join(cell.marks)}</sup>" if cell.marks else "")


def escape_markdown(text: str) -> str:
    """A text as Markdown that shows it as it is, on one line, without a link or a picture."""
    # An underscore inside a word, as in human_parts, is plain text. Brackets are too, until a parenthesis follows.
    return re.sub(r"([\\`*<>|]|(?<!\w)_|_(?!\w)|(?<=\])\()", r"\\\1", " ".join(text.splitlines()))


def _mathematical(letter: str) -> str:
    r"""A Greek letter as \alpha or \Gamma."""
    name = unicodedata.name(letter).rpartition(" ")[2].replace("LAMDA", "LAMBDA")
    return rf"$\{name.title() if letter.isupper() else name.lower()}$"


# The letters that mathematics has; an omicron, and a capital that looks as a Latin one, is none of them.
SMALL = [chr(code) for code in range(0x3B1, 0x3CA) if code != 0x3BF]
GREEK = {letter: _mathematical(letter) for letter in (*SMALL, *"ΓΔΘΛΞΠΣΥΦΨΩ")}
LATEX = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "Δm": r"$\Delta_m$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "°": r"$^\circ$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    MINUS: "$-$",
    UNDEFINED: "---",
    **GREEK,
    **{"µ": r"$\mu$", "\N{MULTIPLICATION SIGN}": r"$\times$", "≤": r"$\le$", "≥": r"$\ge$"},
    **{"→": r"$\rightarrow$", "²": "$^2$", "³": "$^3$"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # after a line break, LaTeX reads a bare bracket as the start of an optional argument
    "]": "{]}",
    **{character: "\\" + character for character in "&%$#_{}"},
}
LATEX_PATTERN = re.compile("|".join(re.escape(key) for key in LATEX))


def escape_latex(text: str) -> str:
    """A text as LaTeX that shows it as it is."""
    return LATEX_PATTERN.sub(lambda match: LATEX[match.group()], text)
