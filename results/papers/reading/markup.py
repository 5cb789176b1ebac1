"""Tables of HTML pages, read with lxml, and of Markdown, which markdown-it turns into HTML."""

from __future__ import annotations

import re
from functools import partial

from lxml import etree, html
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mtlbench.results.papers.reading.grid import BadTable, Grid, Merged, attempt, build
from mtlbench.results.papers.reading.latex import inline
from mtlbench.results.papers.reading.numbers import SUPERSCRIPTS

LINE = "data-line"  # where a row of Markdown stands in its file
EXCESS = "data-excess"  # what is wrong with a row of Markdown
SPANS = ("rowspan", "colspan")
LATEXML = {"ltx_tabular": "table", "ltx_tr": "tr", "ltx_td": "td"}  # what pages made from LaTeX call their parts
SPAN = 1000  # a browser takes no larger one


def from_html(source: str) -> list[Grid | BadTable]:
    """Every table of a page that holds no table itself, or why it cannot be read. Raises BadTable with the line."""
    parser = html.HTMLParser(remove_comments=True, remove_pis=True, recover=True)
    try:
        page = html.document_fromstring(source, parser=parser)
    except (etree.ParserError, ValueError) as error:
        raise BadTable(f"line 1: not a page of HTML ({error}); save the page, or copy the table as CSV") from None
    for name, tag in LATEXML.items():
        for element in page.iter("span", "div"):
            classes = (element.get("class") or "").split()
            if name in classes:
                element.tag = tag
                spans = {word.rpartition("_")[0]: word.rpartition("_")[2] for word in classes}
                element.attrib.update({span: spans[f"ltx_{span}"] for span in SPANS if f"ltx_{span}" in spans})
    for element in list(page.iter()):
        if isinstance(element, html.HtmlElement):
            _as_text(element)
    found = [
        table for table in page.iter("table") if table.find(".//table") is None and isinstance(table, html.HtmlElement)
    ]
    grids = [attempt(partial(_table, table), table.text_content()) for table in found]
    return [grid for grid in grids if grid is not None]


def from_markdown(source: str) -> list[Grid | BadTable]:
    """Every table of a Markdown file: those with bars, and those in HTML; or why it cannot be read."""
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    lines = source.splitlines()
    tokens = reader.parse(source)
    columns = 0
    for token in tokens:
        if token.type == "tr_open" and token.map:
            number = token.map[0] + 1
            token.attrSet(LINE, str(number))
            count = _cells_of(lines[token.map[0]])
            if _is_header(tokens, token):
                columns = count
            elif count > columns:  # Markdown leaves the rest out, and with it numbers
                token.attrSet(EXCESS, f"the row has {count} cells, and the header has {columns}; make them agree")
    return from_html(f"<body>{reader.renderer.render(tokens, reader.options, {})}</body>")


def _is_header(tokens: list[Token], token: Token) -> bool:
    return tokens[tokens.index(token) - 1].type == "thead_open"


def _cells_of(line: str) -> int:
    line = re.sub(r"^\s*\|?|(?<!\\)\|?\s*$", "", line)
    return len(re.findall(r"(?<!\\)\|", line)) + 1


def _as_text(element: html.HtmlElement) -> None:
    """Write what an element means into its text: raised and lowered letters, breaks, and formulas as their LaTeX."""
    name = element.tag.lower()
    if name in ("sup", "sub") and not element.xpath("ancestor::math"):
        said = element.text_content().strip()
        if name == "sup":
            said = "\u00b0" if said in ("\u2218", "o", "\u25e6") else said.translate(SUPERSCRIPTS)
        elif re.match(r"[\d\u00b1(+-]", said):
            said = f" \u00b1{said.lstrip(chr(0xB1))}"
        _replace(element, said)
    elif name == "math":
        formula = element.get("alttext") or "".join(element.xpath(".//*[local-name()='annotation']/text()"))
        _replace(element, f"${formula}$" if formula else element.text_content())
    elif name in ("br", "p", "div", "li"):
        element.tail = f" {element.tail or ''}"
    elif name in ("script", "style", "annotation"):
        element.text = ""


def _replace(element: html.HtmlElement, text: str) -> None:
    for child in list(element):
        element.remove(child)
    element.text = text


def _table(table: html.HtmlElement) -> Grid | None:
    rows = []
    for row in table.iter("tr"):
        line = int(row.get(LINE) or row.sourceline or 1)
        if row.get(EXCESS):
            raise BadTable(f"line {line}: {row.get(EXCESS)}")
        cells = [cell for cell in row if cell.tag in ("td", "th")]
        if cells:
            rows.append((line, [_cell(cell, line) for cell in cells]))
    caption = table.find("caption")
    said = "" if caption is None else inline(caption.text_content())
    line = rows[0][0] if rows else int(table.sourceline or 1)
    return build(rows, line, caption=said, pushes=True, pads=False)


def _cell(cell: html.HtmlElement, line: int) -> Merged:
    return Merged(inline(cell.text_content()), _span(cell, "rowspan", line), _span(cell, "colspan", line))


def _span(cell: html.HtmlElement, name: str, line: int) -> int:
    written = (cell.get(name) or "1").strip()
    if not written.isdecimal() or int(written) > SPAN:
        raise BadTable(f"line {line}: {name} is {written!r}; write a whole number from 1 to {SPAN}")
    return max(1, int(written))
