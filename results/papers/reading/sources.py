"""A file, or standard input, as the tables that it holds, whatever form they have."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mtlbench.results.papers.reading import delimited
from mtlbench.results.papers.reading.grid import BadTable, Grid

STANDARD_INPUT = "-"
# What begins a table of LaTeX. The reader of LaTeX knows more of each, and takes a moment to import.
ENVIRONMENTS = (
    *("tabular", "tabularx", "tabulary", "array", "longtable", "supertabular", "xltabular", "tabu", "longtabu"),
    *("tblr", "longtblr", "talltblr", "NiceTabular", "NiceTabularX"),
)
NEEDED = "give LaTeX, Markdown, HTML, CSV, or the text of a PDF"
# How files begin that hold no text.
BINARY = {
    b"\x89PNG": ("a picture (PNG)", "type the table as CSV, or copy it from the paper's text"),
    b"\xff\xd8\xff": ("a picture (JPEG)", "type the table as CSV, or copy it from the paper's text"),
    b"GIF8": ("a picture (GIF)", "type the table as CSV, or copy it from the paper's text"),
    b"BM": ("a picture (BMP)", "type the table as CSV, or copy it from the paper's text"),
    b"II*\x00": ("a picture (TIFF)", "type the table as CSV, or copy it from the paper's text"),
    b"MM\x00*": ("a picture (TIFF)", "type the table as CSV, or copy it from the paper's text"),
    b"RIFF": ("a picture (WebP)", "type the table as CSV, or copy it from the paper's text"),
    b"%PDF": ("a PDF", "give its text: pdftotext -layout FILE.pdf - | mtlbench audit -"),
    b"PK\x03\x04": ("an archive, as of an office program", "save the table as CSV"),
    b"\x1f\x8b": ("a compressed file", "unpack it first"),
    b"\xd0\xcf\x11\xe0": ("a file of an office program", "save the table as CSV"),
}


def text_of(source: str | Path) -> str:
    """What a file holds, or standard input for "-". Raises BadTable for what is no text, and OSError."""
    if str(source) == STANDARD_INPUT:
        data = sys.stdin.buffer.read()
    else:
        path = Path(source)
        if path.is_dir():
            raise BadTable(f"{source}: a folder, and no table; {NEEDED}")
        data = path.read_bytes()
    name = name_of(source)
    for start, (what, way_out) in BINARY.items():
        if data.startswith(start) and (start != b"BM" or b"\0" in data[:64]):
            raise BadTable(f"{name}: {what}, and no text; {way_out}")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        byte = data[error.start]
        raise BadTable(f"{name}:{line}: byte 0x{byte:02x} is no UTF-8 text; save the table as UTF-8") from None
    if re.match(r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<svg", text, re.DOTALL):
        raise BadTable(
            f"{name}: a picture (SVG), and no table; type the table as CSV, or copy it from the paper's text"
        )
    if "\0" in text:
        raise BadTable(f"{name}: a file of bytes, and no text; {NEEDED}")
    if not text.strip():
        raise BadTable(f"{name}: empty; {NEEDED}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def name_of(source: str | Path) -> str:
    return "standard input" if str(source) == STANDARD_INPUT else str(source)


def tables(text: str, name: str) -> list[Grid | BadTable]:
    """The tables of a text, in the order in which it prints them. Raises BadTable that names the line."""
    try:
        return _tables(text)
    except BadTable as error:
        line = re.match(r"line (\d+): ", str(error))
        raise BadTable(f"{name}:{line[1]}: {str(error)[line.end() :]}" if line else f"{name}: {error}") from None


def _tables(text: str) -> list[Grid | BadTable]:
    """The form is told by what the text says, and not by the name of the file, which standard input does not have.

    HTML comes first, because its formulas hold LaTeX.
    """
    markdown = re.search(r"^\s*\|?\s*:?-{2,}:?\s*\|[\s|:-]*$", text, re.MULTILINE)
    if re.search(r"<t[dh][\s>]|ltx_td", text, re.IGNORECASE):
        from mtlbench.results.papers.reading.markup import from_html, from_markdown

        page = re.search(r"<(?:html|!doctype|body)", text, re.IGNORECASE)
        return from_markdown(text) if (markdown and not page) else from_html(text)
    if re.search(rf"\\begin\s*\{{(?:{'|'.join(ENVIRONMENTS)})\*?\}}", text):
        return _latex(text)
    if markdown:
        from mtlbench.results.papers.reading.markup import from_markdown

        return from_markdown(text)
    if len(re.findall(r"(?<!\\)&.*\\\\", text)) > 1:
        return _latex(text)
    delimiter = delimited.delimiter_of(text)
    if delimiter:
        return delimited.tables(text, delimiter)
    from mtlbench.results.papers.reading import pdf_text

    return pdf_text.tables(text)


def _latex(text: str) -> list[Grid | BadTable]:
    from mtlbench.results.papers.reading import latex

    return latex.tables(text)
