"""One table in every form gives the same grid, and what people write into LaTeX, HTML and Markdown is understood."""

import pytest

from mtlbench.results.papers.reading import sources
from mtlbench.results.papers.reading.grid import BadTable
from mtlbench.results.papers.reading.latex import TABLES, inline
from mtlbench.results.papers.reading.numbers import number
from printed_tables import cells, header, honest, html, latex, layout, lines, markdown, separated

TABLE = [header(), *cells(honest())]
FORMS = {
    "latex": latex(TABLE),
    "latex rows": " \\\\\n".join(" & ".join(row) for row in TABLE).replace("%", r"\%") + r" \\",
    "markdown": "# A page\n\nSome *text*.\n\n" + markdown(TABLE) + "\nMore text.\n",
    "html": "<html><body><p>Text</p>" + html(TABLE) + "</body></html>",
    "html alone": html(TABLE),
    "csv": separated(TABLE),
    "tsv": separated(TABLE, "\t"),
    "semicolons": separated(TABLE, ";"),
    "bars": separated(TABLE, " | "),
    "windows": separated(TABLE).replace("\n", "\r\n"),
    "pdf, a cell a line": lines(TABLE),
    "pdf, a row a line": "Table 3: Results.\n\n" + separated(TABLE, " ") + "\nAs the table shows, ours is best.\n",
    "pdf, columns kept": layout(TABLE),
}


def grids(text):
    return sources.tables(text, "it")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_grid(form):
    (grid,) = grids(FORMS[form])
    assert [row.texts() for row in grid.rows] == TABLE


@pytest.mark.parametrize("form", FORMS)
def test_a_row_knows_its_line(form):
    text = FORMS[form]
    (grid,) = grids(text)
    for row in grid.rows[1:]:
        assert row.cells[0].text in text.splitlines()[row.line - 1]


@pytest.mark.parametrize(
    "text",
    [
        "Method\nSemseg\nmIoU ↑\nDepth\nRMSE ↓\nMean Δ (%)\n↑\nA\n40.0\n0.6\n-\nB\n41.0\n0.6\n1.2\n",
        "Table 4: Results.\nMethod\nSemseg\nmIoU\n↑\nDepth\nRMSE\n↓\nMean Δ (%) ↑\n\nA\n40.0\n0.6\n"
        "\u2013\n\nB\n41.0\n0.6\n1.2\n",
        "Method Semseg mIoU ↑ Depth RMSE ↓ Mean Δ (%) ↑\nA 40.0 0.6 -\nB 41.0 ± 0.1 0.6 ± 0.01 1.2\n",
        "Method Semseg Depth Mean Δ\nmIoU ↑ RMSE ↓ (%) ↑\nA [4] 40.0 0.6 \u2212\nB (r = 64) 41.0 (0.1) 0.6 (0.0) 1.2\n",
        "            Semseg     Depth     Mean Δ\nMethod      mIoU ↑     RMSE ↓    (%) ↑\nA           40.0       0.6\n"
        "B           41.0       0.6       1.2\n",
    ],
)
def test_names_of_columns_in_the_text_of_a_pdf_are_put_together(text):
    (grid,) = grids(text)
    texts = [row.texts() for row in grid.rows]
    columns = [" ".join(dict.fromkeys(row[place] for row in texts[:-2])).strip() for place in range(4)]
    assert columns == ["Method", "Semseg mIoU ↑", "Depth RMSE ↓", "Mean Δ (%) ↑"]
    assert [number(cell) and number(cell).value for cell in texts[-1][1:]] == [41.0, 0.6, 1.2]
    assert [number(cell) and number(cell).value for cell in texts[-2][1:]] == [40.0, 0.6, None]


def test_text_is_decoded_with_or_without_a_mark_of_its_encoding(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = tmp_path / encoding
        path.write_bytes(FORMS["csv"].encode(encoding))
        (grid,) = sources.tables(sources.text_of(path), "it")
        assert [row.texts() for row in grid.rows] == TABLE


def test_latex_spans_rules_colours_comments_and_macros_of_the_paper():
    (grid,) = grids(
        r"""
\newcommand{\ours}{\textsc{SuperNet}}
\newcommand{\best}[1]{\textbf{#1}}
\begin{table}\caption{Results on \textbf{NYUv2}.}\resizebox{\linewidth}{!}{
\begin{tabularx}{\linewidth}{l cc XX c}
\toprule
% a comment with & in it
\multirow{2}{*}{\textbf{Method}} & \multicolumn{2}{c|}{Seg.} & \multicolumn{2}{c}{Depth} &
\multirow{2}{*}{\makecell{$\Delta_m$\\(\%)}} \\
\cmidrule(lr){2-3} \cmidrule(lr){4-5}
 & mIoU $\uparrow$ & PAcc $\uparrow$ & \shortstack{Abs\\Err} $\downarrow$ & Rel & \\[2pt]
\midrule
STL~\cite{a, b} & 40.0 & 60.0 & 0.60 & 0.30 & -- \\
\multicolumn{6}{c}{\textit{Transformers}} \\ \hline
\rowcolor[gray]{.9} \ours{} (w/ CNN) & \best{42.0} & \cellcolor{blue!10}\best{63.0} & 0.60 & 0.30 & $\mathbf{+2.5}$ \\
\bottomrule
\end{tabularx}}
\end{table}
"""
    )
    assert grid.caption == "Results on NYUv2."
    assert [row.texts() for row in grid.rows] == [
        ["Method", "Seg.", "Seg.", "Depth", "Depth", "Δ_m (%)"],
        ["Method", "mIoU ↑", "PAcc ↑", "Abs Err ↓", "Rel", "Δ_m (%)"],
        ["STL", "40.0", "60.0", "0.60", "0.30", "\u2013"],
        ["Transformers"] * 6,
        ["SuperNet (w/ CNN)", "42.0", "63.0", "0.60", "0.30", "+2.5"],
    ]
    assert grid.rows[0].cells[1] is grid.rows[0].cells[2]  # one cell in two places
    assert [row.line for row in grid.rows] == [8, 11, 13, 14, 15]


def test_a_latex_file_may_hold_several_tables():
    found = grids(f"\\documentclass{{article}}\n{latex(TABLE)}\nSome text, 5\\% \\& more.\n{latex(TABLE[:3])}")
    assert [len(grid.rows) for grid in found] == [len(TABLE), 3]


def test_html_spans_entities_breaks_raised_letters_and_formulas():
    head = (
        '<tr><th rowspan="2">Method</th><th colspan="2">Seg<br>mentation</th>'
        "<th rowspan=2>&Delta;<sub>m</sub>&nbsp;&darr;</th></tr><tr><th>mIoU&uarr;</th>"
        '<th>&lt;11.25<math alttext="^{\\circ}"><mo>∘</mo><annotation>junk</annotation></math></th></tr>'
    )
    (grid,) = grids(html([["STL<sup>1</sup>", "74.01<sub>0.3</sub>", "12.3<sup>2</sup>", "&mdash;"]], head))
    assert [row.texts() for row in grid.rows] == [
        ["Method", "Seg mentation", "Seg mentation", "Δm ↓"],
        ["Method", "mIoU↑", "<11.25^∘", "Δm ↓"],
        ["STL¹", "74.01 ±0.3", "12.3²", "—"],
    ]


def test_a_page_made_from_latex_may_have_tables_without_the_elements_of_tables():
    def span(name, inside, more=""):
        return f'<span class="ltx_{name}{more}">{inside}</span>'

    rows = [
        span("td", "Method", " ltx_rowspan ltx_rowspan_2") + span("td", "Seg.", " ltx_colspan ltx_colspan_2"),
        span("td", "mIoU") + span("td", "Δm"), span("td", "STL") + span("td", "40.0") + span("td", "-"),
    ]  # fmt: skip
    (grid,) = grids(f"<html>{span('tabular', ''.join(span('tr', row) for row in rows))}</html>")
    assert [row.texts() for row in grid.rows] == [
        ["Method", "Seg.", "Seg."],
        ["Method", "mIoU", "Δm"],
        ["STL", "40.0", "-"],
    ]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (r"$\mathbf { M R } \downarrow$", "MR↓"), (r"$7 4 . 0 1 \pm 0 . 3$", "74.01±0.3"), (r"$- 0 . 5 9$", "-0.59"),
        (r"$\Delta _ { m }$", "Δ_m"), (r"$\text{Abs Err} \downarrow$", "Abs Err↓"),
    ],
)  # fmt: skip
def test_letters_that_a_reader_of_pages_has_spaced_out_are_words(cell, text):
    assert inline(cell) == text


def test_the_latex_of_a_formula_makes_no_page_a_latex_file():
    formula = '<math alttext="\\begin{array}{c}x\\end{array}"><mi>x</mi></math>'
    (grid,) = grids(f"<html><p>{formula}</p>{html(TABLE)}</html>")
    assert [row.texts() for row in grid.rows] == TABLE


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_environment_of_latex_is_known_to_be_one(name):
    arguments = {"[{": "{lc}", "{[{": "{9cm}{lc}"}[TABLES[name]]
    (grid,) = grids(f"\\begin{{{name}}}{arguments}\nM & mIoU \\\\\nSTL & 40.0 \\\\\n\\end{{{name}}}")
    assert [row.texts() for row in grid.rows] == [["M", "mIoU"], ["STL", "40.0"]]


def test_a_table_within_a_table_is_read_once():
    (grid,) = grids(f"<table><tr><td>{html(TABLE)}</td></tr></table>")
    assert len(grid.rows) == len(TABLE)


def test_a_formula_of_latex_is_read_in_every_form():
    assert inline(r"$\Delta_m\%$ $\downarrow$") == "Δ_m% ↓"
    assert inline("costs $5") == "costs $5"
    for make in (markdown, html, separated):
        (grid,) = grids(
            make([["Method", r"mIoU $\uparrow$", r"$\Delta_{m}$"], ["STL", "40.0", "-"], ["A", "41.0", "$-5.03$"]])
        )
        assert grid.rows[0].texts()[1:] == ["mIoU ↑", "Δ_m"]
        assert grid.rows[2].texts()[2] == "-5.03"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<table><tr><td>M</td><td>mIoU</td><td>Δm</td></tr>\n<tr><td>A</td><td colspan="2">4</td><td>5</td></tr>\n'
         "<tr><td>B</td><td>4</td><td>5</td></tr></table>",
         "line 2: the row that begins with 'A' has 4 columns, and most rows have 3"),
        ('<table><tr><td>Δm</td><td rowspan="2">x</td><td>y</td></tr>\n'
         '<tr><td colspan="3">4</td></tr></table>', "line 2: the merged cell"),
        ('<table><tr><td colspan="x">Δm</td></tr></table>', "line 1: colspan is 'x'"),
        ('<table><tr><td colspan="99999999">Δm</td></tr></table>', "line 1: colspan is '99999999'"),
        ("| M | Δm |\n|---|---|\n| A | 4 | 5 |\n", "line 3: the row has 3 cells, and the header has 2"),
        (latex([["M", "$\\Delta_m$"], ["B", "4"], ["A", "5", "6"]]), "line 4: the row that begins with 'A'"),
        (latex([["M", "\\multicolumn{x}{c}{$\\Delta_m$}"]]), r"multicolumn\{x\}: 'x' is no number"),
        (latex([["M", "\\multicolumn{2"], ["$\\Delta_m$", "4"]]), "multicolumn has too few arguments"),
        ("Method mIoU Δm\nA 1 2 3 4 5\nB 1 2 3 4 5\n", "line 2: 5 columns of numbers, and above them 'Method mIoU Δm'"),
        ("Method\nmIoU ↑\nΔm\nA\n1\n2\n3\nB\n1\n2\n3\n", "3 columns of numbers, and above them"),
        ("Method\nmIoU ↑\nRMSE ↓\nΔm\nA\n1\n2\n3\nB\n1\n2\n", "line 9: 'B' has 2 numbers, and other rows have 3"),
    ],
)  # fmt: skip
def test_what_does_not_add_up_is_named_with_its_line(text, message):
    (found,) = grids(text)
    assert isinstance(found, BadTable)
    with pytest.raises(BadTable, match=message):
        raise found


def test_a_bad_table_keeps_no_other_from_being_read():
    bad = "\\begin{tabular}{lc}\na & b \\\\\n1 & 2 \\\\\n3 & 4 \\\\\n5 & 6 & 7 \\\\\n\\end{tabular}\n"
    first, second = grids(bad + latex(TABLE))
    assert isinstance(first, BadTable)
    assert [row.texts() for row in second.rows] == TABLE


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a picture"),
        (b"\xff\xd8\xff\xe0" + bytes(range(256)), "a picture"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"><text>3</text></svg>', "a picture"),
        (b"%PDF-1.5\n" + bytes(range(256)), "pdftotext"),
        (b"PK\x03\x04" + bytes(100), "save the table as CSV"),
        (b"abc\0def", "a file of bytes"),
        ("Method,mIoU\nNaïve,3\n".encode("latin-1"), ":2: byte 0xef is no UTF-8 text"),
        (b" \n\n", "empty"),
    ],
)
def test_what_is_no_text_is_named_with_what_is_needed(tmp_path, data, what):
    path = tmp_path / "table.tex"
    path.write_bytes(data)
    with pytest.raises(BadTable, match=what) as raised:
        sources.text_of(path)
    assert "table.tex" in str(raised.value) and "\n" not in str(raised.value)
