"""Tables of a LaTeX source, read with pylatexenc."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

from pylatexenc import latex2text, latexwalker, macrospec

from mtlbench.results.papers.reading.grid import BadTable, Grid, Merged, attempt, build
from mtlbench.results.papers.reading.numbers import clean

# Environments that hold rows, and the arguments between their name and the first cell.
TABLES = {
    **dict.fromkeys(("tabular", "array", "longtable", "supertabular", "NiceTabular", "tabu", "longtabu"), "[{"),
    **dict.fromkeys(("tabular*", "tabularx", "tabulary", "xltabular", "NiceTabularX"), "{[{"),
    **dict.fromkeys(("tblr", "longtblr", "talltblr"), "[{"),
}
RULES = re.compile(
    r"\\(?:(?:top|mid|bottom|heavy|light)rule(?:\[[^\]]*\])?|hline|hdashline(?:\[[^\]]*\])?|Xhline\{[^}]*\}|hhline\{[^}]*\}"
    r"|c(?:dash)?line\{[^}]*\}|cmidrule(?:\[[^\]]*\])?\s*(?:\([^)]*\))?\s*\{[^}]*\}|specialrule(?:\{[^}]*\}){3}"
    r"|addlinespace(?:\[[^\]]*\])?|noalign\{[^{}]*\}|arrayrulecolor\{[^}]*\}|endfirsthead|endhead|endfoot|endlastfoot"
    r"|morecmidrules|rule(?:\[[^\]]*\])?\{[^}]*\}\{[^}]*\})(?![A-Za-z])"
)
COUNT = {"multicolumn": 0, "multirow": 1}  # which argument says how many cells are spanned
# name -> arguments, and what is printed of them: the number of an argument from the end, "" for nothing, or a text.
MACROS: dict[str, tuple[str, str]] = {
    "multicolumn": ("{{{", "%(3)s"),
    "multirow": ("[{[{[{", "%(6)s"),
    "multirowcell": ("{[{", "%(3)s"),
    "rowcolor": ("[{[[", ""),
    "cellcolor": ("[{", ""),
    "columncolor": ("[{[[", ""),
    "color": ("[{", ""),
    "textcolor": ("[{{", "%(3)s"),
    "colorbox": ("[{{", "%(3)s"),
    "fcolorbox": ("[{{{", "%(4)s"),
    "makecell": ("*[{", "%(3)s"),
    "thead": ("[{", "%(2)s"),
    "shortstack": ("[{", "%(2)s"),
    "rotatebox": ("[{{", "%(3)s"),
    "scalebox": ("{[{", "%(3)s"),
    "resizebox": ("{{{", "%(3)s"),
    "raisebox": ("{[[{", "%(4)s"),
    "parbox": ("[{{", "%(3)s"),
    "adjustbox": ("{{", "%(2)s"),
    "num": ("[{", "%(2)s"),
    "SI": ("[{{", "%(2)s"),
    "qty": ("[{{", "%(2)s"),
    "textsuperscript": ("{", "^{%(1)s}"),
    "textsubscript": ("{", "_%(1)s"),
    "tnote": ("{", "^{%(1)s}"),
    "tablefootnote": ("[{", ""),
    "footnote": ("[{", ""),
    "footnotemark": ("[", ""),
    "phantom": ("{", ""),
    "hphantom": ("{", ""),
    "vphantom": ("{", ""),
    "vspace": ("*{", ""),
    "hspace": ("*{", ""),
    "kern": ("", ""),
    "label": ("{", ""),
    "setlength": ("{{", ""),
    "textminus": ("", "-"),
    "texttt": ("{", "%(1)s"),
    "textuparrow": ("", "\u2191"),
    "textdownarrow": ("", "\u2193"),
    "triangle": ("", "\u0394"),
    "bigtriangleup": ("", "\u0394"),
    "vartriangle": ("", "\u0394"),
    "hlf": ("", ""),
    "quad": ("", " "),
    "qquad": ("", " "),
    **dict.fromkeys(("smaller", "larger", "small", "tiny", "scriptsize", "footnotesize", "bfseries", "bf"), ("", "")),
    **dict.fromkeys(
        ("cite", "citep", "citet", "citealp", "citealt", "citeauthor", "citeyear", "citeyearpar"), ("*[[{", "")
    ),
    **dict.fromkeys(("parencite", "textcite", "autocite", "footcite", "Cite", "citenum"), ("*[[{", "")),
    **dict.fromkeys(("ref", "cref", "Cref"), ("*{", "")),
}  # fmt: skip
_CITATION = re.compile(r"\s*\[\d+(?:\s*[,\u2013-]\s*\d+)*\]$")  # typed by hand; \cite prints nothing either
_DEFINITION = re.compile(
    r"\\(?:re)?(?:new|provide)command\*?\s*\{?\\([A-Za-z]+)\}?\s*(?:\[(\d)\])?\s*(?=\{)|\\def\s*\\([A-Za-z]+)\s*(?=\{)"
)


@cache
def _contexts() -> tuple[Any, Any]:
    walker, text = latexwalker.get_default_latex_context_db(), latex2text.get_default_latex_context_db()
    walker.add_context_category(
        "tables",
        macros=[macrospec.MacroSpec(name, arguments) for name, (arguments, _) in MACROS.items()],
        environments=[macrospec.EnvironmentSpec(name, arguments) for name, arguments in TABLES.items()],
        prepend=True,
    )
    text.add_context_category(
        "tables",
        macros=[latex2text.MacroTextSpec(name, simplify_repl=_printing(shown)) for name, (_, shown) in MACROS.items()],
        environments=[latex2text.EnvironmentTextSpec(name, simplify_repl="%(body)s") for name in TABLES],
        prepend=True,
    )
    return walker, text


def _printing(shown: str) -> Callable[..., str]:
    """A function that writes what a macro prints, also where the source lacks arguments of it."""

    def printed(node: Any, l2tobj: Any) -> str:
        arguments = _arguments(node)

        def argument(found: re.Match[str]) -> str:
            place = int(found[1]) - 1
            known = place < len(arguments) and arguments[place] is not None
            return str(l2tobj.nodelist_to_text([arguments[place]])) if known else ""

        return re.sub(r"%\((\d)\)s", argument, shown)

    return printed


def _walker(source: str) -> Any:
    return latexwalker.LatexWalker(source, latex_context=_contexts()[0], tolerant_parsing=True)


def _text(nodes: Sequence[Any]) -> str:
    """What a list of nodes prints, in one line. A macro that nobody knows prints its name where nothing else is."""
    converter = latex2text.LatexNodes2Text(latex_context=_contexts()[1], keep_comments=False, math_mode="text")
    said = _CITATION.sub("", clean(converter.nodelist_to_text(list(nodes)).replace("<cit.>", "")))
    if said:
        return said
    known = _contexts()[0]
    macros = [node.macroname for node in nodes if node.isNodeType(latexwalker.LatexMacroNode)]
    return " ".join(name for name in macros if name.isalpha() and not known.get_macro_spec(name))


def inline(text: str) -> str:
    """A cell of another form whose text has LaTeX in it, as `$\\Delta_m$`."""
    if not re.search(r"\$[^$]*\$|\\[A-Za-z%(]", text):
        return clean(text)
    text = re.sub(r"\$([^$]+)\$", lambda found: f"${_unspaced(found[1])}$", text)
    return _text(_walker(re.sub(r"(?<!\\)%", r"\\%", text)).get_latex_nodes()[0])


def _unspaced(formula: str) -> str:
    """A formula without the spaces that programs which read pages write between all its letters, as in 7 4 . 0 1."""
    words = re.findall(r"\\[A-Za-z]+|\\.|[^\s{}\\]+", formula)
    if len(words) < 2 or any(len(word) > 1 and word[0] != "\\" for word in words):
        return formula
    return re.sub(r"(\\[A-Za-z]+)?\s+(?=(.))", lambda gap: gap[1] + " " * gap[2].isalpha() if gap[1] else "", formula)


def tables(source: str) -> list[Grid | BadTable]:
    """Every table of a source, or why it cannot be read. Rows that stand in no environment are one too."""
    source = RULES.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), _expanded(source))
    walker = _walker(source)
    nodes = walker.get_latex_nodes()[0]
    found = [grid for grid in _tables(walker, nodes, "") if grid]
    if not found and re.search(r"(?<!\\)&", source):
        grid = attempt(partial(_grid, walker, nodes, 0, ""), source)
        found = [grid] if grid else []
    return found


def _expanded(source: str) -> str:
    """A source in which the macros that it defines for itself are replaced by what they stand for."""
    definitions: dict[str, tuple[int, str]] = {}
    for found in _DEFINITION.finditer(source):
        body = _group(source, found.end())
        definitions[found[1] or found[3]] = (int(found[2] or 0), body[1:-1])
    for name, (arguments, body) in definitions.items():
        if arguments <= 1 and f"\\{name}" not in body:
            use = re.compile(
                rf"\\{name}(?![A-Za-z])(?P<rest>\s*(?=\{{)|)" if arguments else rf"\\{name}(?![A-Za-z])(?:\{{\}})?"
            )
            source = _replaced(source, use, body, arguments)
    return source


def _replaced(source: str, use: re.Pattern[str], body: str, arguments: int) -> str:
    parts, last = [], 0
    for found in use.finditer(source):
        before = source[max(0, found.start() - 20) : found.start()]
        if found.start() < last or re.search(r"(command\*?\s*\{?|\\def\s*)$", before):
            continue
        group = _group(source, found.end()) if arguments else ""
        parts += [source[last : found.start()], "{" + body.replace("#1", group[1:-1]).replace("\n", " ") + "}"]
        last = found.end() + len(group)
    return "".join([*parts, source[last:]])


def _group(source: str, start: int) -> str:
    """The text from a brace to the one that closes it."""
    depth = 0
    for end in range(start, len(source)):
        depth += {"{": 1, "}": -1}.get(source[end], 0) * (source[end - 1 : end] != "\\")
        if depth <= 0:
            return source[start : end + 1]
    return source[start:]


def _tables(walker: Any, nodes: Sequence[Any], caption: str) -> Iterator[Grid | BadTable | None]:
    caption = next(_captions(nodes), caption)
    for node in nodes or []:
        if node is None:
            continue
        if node.isNodeType(latexwalker.LatexEnvironmentNode) and node.environmentname in TABLES:
            yield attempt(partial(_grid, walker, node.nodelist, node.pos, caption), node.latex_verbatim())
        elif getattr(node, "nodelist", None):
            yield from _tables(walker, node.nodelist, caption)
        elif getattr(node, "nodeargd", None) and node.nodeargd.argnlist:
            yield from _tables(walker, [argument for argument in node.nodeargd.argnlist if argument], caption)


def _captions(nodes: Sequence[Any]) -> Iterator[str]:
    for position, node in enumerate(nodes or []):
        if node is not None and node.isNodeType(latexwalker.LatexMacroNode) and node.macroname == "caption":
            arguments = [a for a in (node.nodeargd.argnlist if node.nodeargd else []) if a]
            yield _text(arguments[-1:] or list(nodes[position + 1 : position + 2]))


def _grid(walker: Any, nodes: Sequence[Any], position: int, caption: str) -> Grid | None:
    rows: list[tuple[int, list[Merged]]] = []
    row: list[list[Any]] = [[]]

    def end() -> None:
        cells = [_cell(cell) for cell in row]
        if any(cell.text for cell in cells):
            first = next(node for cell in row for node in cell if node.latex_verbatim().strip())
            start = first.pos + len(first.latex_verbatim()) - len(first.latex_verbatim().lstrip())
            rows.append((walker.pos_to_lineno_colno(start)[0], cells))
        row[:] = [[]]

    for node in nodes:
        if node.isNodeType(latexwalker.LatexSpecialsNode) and node.specials_chars == "&":
            row.append([])
        elif node.isNodeType(latexwalker.LatexMacroNode) and node.macroname in ("\\", "tabularnewline", "cr"):
            end()
        elif not node.isNodeType(latexwalker.LatexCommentNode):
            row[-1].append(node)
    end()
    line = walker.pos_to_lineno_colno(position)[0]
    return build(rows, line, caption=caption, pushes=False, pads=True)


def _cell(nodes: Sequence[Any]) -> Merged:
    """A cell, with the spans of the \\multirow and \\multicolumn around it, in whichever order they are written."""
    spans = {"multirow": 1, "multicolumn": 1}
    inside = list(nodes)
    while True:
        spanning = [node for node in inside if node.isNodeType(latexwalker.LatexMacroNode) and node.macroname in spans]
        if not spanning:
            return Merged(_text(nodes), max(1, spans["multirow"]), spans["multicolumn"])
        name, arguments = spanning[0].macroname, _arguments(spanning[0])
        count = arguments[COUNT[name]] if len(arguments) > COUNT[name] else None
        if count is None or arguments[-1] is None:
            raise BadTable(f"\\{name} has too few arguments; write what it spans, its alignment, and its text")
        spans[name] = _count(count.latex_verbatim().strip("{}[] "), name)
        inside = list(getattr(arguments[-1], "nodelist", None) or [])


def _arguments(node: Any) -> list[Any]:
    return list(node.nodeargd.argnlist or []) if node.nodeargd else []


def _count(text: str, name: str) -> int:
    try:
        count = int(float(text))
    except ValueError:
        raise BadTable(f"\\{name}{{{text}}}: {text!r} is no number of cells; write a whole number") from None
    if name == "multicolumn" and not 0 < count < 1000:
        raise BadTable(f"\\{name}{{{text}}}: a cell spans from 1 to 999 columns; correct the number")
    return count if 0 < count < 1000 else 1  # a cell that spans rows above it is as good as one in its own row
