"""Letters of a user's labels that pdflatex does not set, or that the fonts of the figures lack."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

from mtlbench.results.records.record import Manifest
from mtlbench.results.report.drawing.looks import PAPER
from mtlbench.results.report.formats import escape_latex
from mtlbench.results.report.tables import Table

# What pdflatex sets without a package, besides ASCII: Latin letters with one of these accents, and a few characters.
LATIN = 0x180  # the first character after those of Latin-1 and Latin Extended-A
ACCENTS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c"
OTHERS = "ßæœøłıŁÆŒØçÇşŞ\N{EN DASH}—\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}“”…·§¶©†‡"
SCREEN = "DejaVu Sans"  # matplotlib's own font, which `looks.STYLE` leaves as it is


def set_by_latex(character: str) -> bool:
    parts = unicodedata.normalize("NFD", character)
    accented = len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in ACCENTS
    return character.isascii() or character in OTHERS or (accented and ord(character) < LATIN)


def remarks(manifest: Manifest, tables: Sequence[Table]) -> list[str]:
    """A line for each label, and for the title and the caption of the matrix, that needs another LaTeX or font."""
    labels = dict.fromkeys(row[0].text for table in tables for row in table.rows)
    texts = {f"label {label!r}": label for label in labels}
    texts |= {"title": manifest.title, "caption": manifest.caption}
    return [line for what, text in texts.items() for line in _remarks(what, text)]


def _remarks(what: str, text: str) -> Iterator[str]:
    latin = f"a {what.split()[0]} in Latin letters"
    if lacking := _sorted(character for character in escape_latex(text) if not set_by_latex(character)):
        yield f"{what}: pdflatex does not set {lacking}; use lualatex or xelatex with a font that has them, or {latin}"
    if lacking := _sorted(c for c in text if not all(_has(font, c) for font in (SCREEN, PAPER["font.family"]))):
        yield f"{what}: a font of the figures lacks {lacking}; figures show boxes in their place; use {latin}"


def _sorted(characters: Iterator[str]) -> str:
    return " ".join(sorted(set(characters)))


@cache
def _font(family: str) -> FT2Font:
    return FT2Font(findfont(family))


def _has(family: str, character: str) -> bool:
    return character.isspace() or bool(_font(family).get_char_index(ord(character)))


@contextmanager
def quiet() -> Iterator[None]:
    """Without matplotlib's own warnings of letters that a font lacks, of which there is one for each that is drawn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield
