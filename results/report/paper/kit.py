"""What `mtlbench report --paper` writes: tables, figures and BibTeX, and a document that shows them all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt

from mtlbench.results.records.record import Manifest
from mtlbench.results.report import captions, recipe
from mtlbench.results.report.drawing import figures
from mtlbench.results.report.drawing.figures import Draw
from mtlbench.results.report.drawing.looks import Picture
from mtlbench.results.report.formats import escape_latex
from mtlbench.results.report.paper import letters, tables
from mtlbench.results.report.paper.bibliography import bibtex
from mtlbench.results.report.paper.widths import Paper
from mtlbench.results.report.tables import Table
from mtlbench.results.summary.controls import Finding
from mtlbench.results.summary.summary import Summary

FOLDER = "paper"
TALLEST = 7.4  # inches; the figure of a column, which leaves the rest of a page to its caption
BETWEEN = 1 / 6  # inches between the columns of the document, at least


class Material(NamedTuple):
    """What a report knows of a matrix."""

    manifest: Manifest
    store: str
    controls: Sequence[Finding]
    shown: Sequence[tuple[Summary, Table]]


def write(material: Material, paper: Paper, folder: Path) -> list[Path]:
    """Write folder/paper/ and return its files. Equal records give equal bytes."""
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    paths, inputs = list[Path](), list[str]()
    labels = list(dict.fromkeys(entry.label for entry in material.manifest.entries))
    colors = figures.palette(labels, paper.inches, paper.across)
    for summary, table in material.shown:
        origin = "\n".join(tables.comment(_origin(summary, material, paper)))
        caption = captions.short(summary, material.manifest, material.controls)
        drawn, environments = _figures(summary, table, material.store, colors, place)
        texts = {
            "scores": tables.scores(table, paper, caption),
            "costs": tables.costs(table, paper),
            **({"figures": environments} if environments else {}),
        }
        for name, text in texts.items():
            paths.append(_write(place / f"{table.slug}-{name}.tex", f"{origin}\n{text}"))
            inputs.append(f"{table.slug}-{name}")
        paths += drawn
    methods = {entry.label: entry.method for entry in material.manifest.entries}
    paths.append(_write(place / "methods.bib", bibtex(methods)))
    paths.append(_write(place / "example.tex", _example(inputs, paper)))
    return paths


def _origin(summary: Summary, material: Material, paper: Paper) -> list[str]:
    """Where the numbers are from, and what the full caption says of them."""
    whole = captions.caption(summary, material.manifest, material.controls).whole
    details = [sentence for sentence in whole if not sentence.startswith("Records: ")]
    return [
        f"Written by mtlbench for a width of {paper.text}{' in Times' if paper.times else ''}; "
        "needs \\usepackage{booktabs,graphicx}.",
        *letters.remarks(material.manifest, [table for _, table in material.shown]),
        f"matrix: {material.manifest.name}",
        *(f"{name}: {value}" for name, value in recipe.provenance(summary)),
        "For the text of the paper:",
        *details,
        *captions.exact(summary),
    ]


def _figures(summary: Summary, table: Table, store: str, colors: figures.Looks, place: Path) -> tuple[list[Path], str]:
    """The files of the figures, and their environments in LaTeX."""
    paths, environments = [], []
    for name, draw in figures.FIGURES.items():
        picture = _picture(draw, summary, store, colors)
        if picture is None:
            continue
        wide, high = picture.figure.get_size_inches()
        star = "*" if wide == colors.across else ""
        if not star and wide != colors.width:  # a figure from outside of mtlbench, which knows nothing of papers
            assert colors.width is not None
            picture.figure.set_size_inches(colors.width, high * colors.width / wide)
        (path,) = figures.save(picture.figure, place / "figures" / f"{table.slug}-{name}", ("pdf",), style=colors.style)
        paths.append(path)
        environments += [
            *([f"% Across both columns, {colors.across:.4g}in: in one column it would be too small."] if star else []),
            rf"\begin{{figure{star}}}[t]",
            r"\centering\emergencystretch=3em",
            rf"\includegraphics{{figures/{path.name}}}",
            rf"\caption{{{escape_latex(picture.caption)}}}",
            rf"\label{{fig:{table.label}-{name}}}",
            rf"\end{{figure{star}}}",
            "",
        ]
    return paths, "\n".join(environments)


def _picture(draw: Draw, summary: Summary, store: str, colors: figures.Looks) -> Picture | None:
    """A figure, across both columns where one column makes it taller than a page."""
    picture = draw(summary, store, colors)
    if picture is None or colors.across is None or picture.figure.get_size_inches()[1] <= TALLEST:
        return picture
    plt.close(picture.figure)
    return draw(summary, store, figures.palette(list(colors), colors.across))


def _example(inputs: Sequence[str], paper: Paper) -> str:
    """A document with text of the paper's width, in one column or two, where everything is seen as in the paper."""
    columns, size = "", f"textwidth={paper.text}"
    if paper.across is not None:
        whole = max(paper.across, 2 * paper.inches + BETWEEN)
        columns = "[twocolumn]"
        size = f"textwidth={whole:.4f}in,columnsep={whole - 2 * paper.inches:.4f}in"
    lines = [
        "% Shows all tables and figures at their width. In a paper, use the lines that you need.",
        rf"\documentclass{columns}{{article}}",
        rf"\usepackage[letterpaper,{size},textheight=8.875in]{{geometry}}",
        r"\usepackage{booktabs,graphicx}",
        *([r"\usepackage{times} % as in the template"] if paper.times else []),
        r"\begin{document}",
        r"\nocite{*}",
        *(rf"\input{{{name}}}" for name in inputs),
        r"\clearpage",
        r"\bibliographystyle{plain}",
        r"\bibliography{methods}",
        r"\end{document}",
    ]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
