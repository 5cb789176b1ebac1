"""Tables in the plain text of a PDF: a row a line, with or without its columns kept, or a cell a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import NamedTuple

from mtlbench.results.papers import vocabulary
from mtlbench.results.papers.reading.grid import BadTable, Grid, Merged, attempt, build
from mtlbench.results.papers.reading.latex import inline
from mtlbench.results.papers.reading.numbers import clean, missing, number

NEEDED = "write a column name for each column, or give the table as CSV, Markdown, HTML or LaTeX"
ANGLES = {"11.25", "22.5", "22.50", "30", "30.0"}  # degrees: names of columns, and no scores
HEADER_LINES = 6
_UNIT = r"(?:\([^)]*\)|\[[^\]]*\]|%)"
# An arrow, and a unit behind it that has no arrow of its own.
_ARROW = rf"(?:\s*[\u2191\u2193\u25b2\u25bc]\)?(?:\s*{_UNIT}(?!\s*[\u2191\u2193\u25b2\u25bc]))?)"
_UP_TO_ARROW = re.compile(rf"[^\u2191\u2193\u25b2\u25bc]+(?:{_ARROW}|$)")
# Names of more than one word, so that a header with single spaces can be cut.
_PHRASE = re.compile(
    r"(?:(?:pix(?:el)?|abs|rel|sq|mean|angle|angular)\.?\s+(?:acc(?:uracy)?|err(?:or)?|rel|dist(?:ance)?|iou)\.?|mean\s+rank|"
    r"(?:mean|avg\.?|average)\s+\u0394\S*|(?:human|surface)\s+\w+|(?:seg|semantic\s+seg)\w*\.?|params\.?\s*\(\w+\)|\S+)"
    r"(?:\s*" + _UNIT + r")*" + _ARROW + "?",
    re.IGNORECASE,
)


class Line(NamedTuple):
    number: int
    text: str


class Words(NamedTuple):
    """A row of numbers: its label, and its cells with the middle of each in the line."""

    line: int
    label: str
    cells: list[str]
    middles: list[float]


def tables(source: str) -> list[Grid | BadTable]:
    """Every table of a text, or why it cannot be read, as where a header does not name as many columns as there are."""
    lines = [Line(number, _joined(text)) for number, text in enumerate(source.replace("\f", "\n").splitlines(), 1)]
    rows = [row for line in lines if (row := _row(line))]
    found = _by_rows(lines) if len(rows) > 1 else iter([attempt(partial(_by_cells, lines), source)])
    return [grid for grid in found if grid is not None]


def _joined(text: str) -> str:
    """A line in which a number and what belongs to it are one word."""
    text = inline(text) if "\\" in text or text.count("$") > 1 else text
    text = (
        re.sub("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]", "", text)
        .replace("\u00a0", " ")
        .replace("\u2206", "\u0394")
    )
    text = re.sub(r"\s*(\u00b1|\+/-)\s*", r"\1", text)
    text = re.sub(r"(?<=\d) +(?=%)", "", text)
    text = re.sub(r"(?<=\d) +(?=[\u2191\u2193]\s?\d)", "", text)
    return re.sub(r"(?<=\d) +(?=\(\s*[\d.\u00b1+\u2212-]+\s*%?\))", "", text).rstrip()


def _is_cell(word: str) -> bool:
    if word.count("(") != word.count(")"):  # the end of a label, as in (r = 64)
        return False
    return number(word) is not None or missing(word) or word in "\u2713\u2714\u2717\u2718"


def _row(line: Line) -> Words | None:
    """The numbers at the end of a line, if there are two or more."""
    found = list(re.finditer(r"\S+", line.text))
    start = len(found)
    while start and _is_cell(found[start - 1].group()):
        start -= 1
    words = found[start:]
    numbers = [word.group() for word in words if number(word.group())]
    if len(numbers) < 2 or {clean(text).rstrip("\u00b0") for text in numbers} <= ANGLES:
        return None
    label = line.text[: words[0].start()].strip()
    return Words(
        line.number, label, [word.group() for word in words], [(word.start() + word.end()) / 2 for word in words]
    )


def _by_rows(lines: list[Line]) -> Iterator[Grid | BadTable | None]:
    header: list[Line] = []
    rows: list[Words | Line] = []
    caption = ""
    for line in lines:
        row = _row(line)
        if row:
            rows.append(row)
        elif rows and _starts_table(line.text):
            yield attempt(partial(_table, header, rows, caption), " ".join(line.text for line in header))
            header, rows = [line], []
        elif rows and line.text.strip() and len(line.text.split()) <= HEADER_LINES:
            rows.append(line)
        elif not rows:
            if re.match(r"\s*Tab(le|\.)\s*\w", line.text):
                header, caption = [], line.text.strip()
            elif line.text.strip():
                header.append(line)
    if rows:
        yield attempt(partial(_table, header, rows, caption), " ".join(line.text for line in header))


def _starts_table(text: str) -> bool:
    return bool(
        re.search("[\u2191\u2193]", text)
        or vocabulary.DELTA.search(text)
        or re.match(r"\s*(Tab(le|\.)\s*\d|Method|Model)", text)
    )


def _table(header: list[Line], rows: list[Words | Line], caption: str) -> Grid | None:
    numbers = [row for row in rows if isinstance(row, Words)]
    counts = [len(row.cells) for row in numbers]
    width = max(set(counts), key=lambda count: (counts.count(count), count))
    full = [row.middles[-width:] for row in numbers if len(row.cells) >= width]
    middles = [sum(column) / len(column) for column in zip(*full, strict=True)]
    source: list[tuple[int, list[Merged]]] = list(_header(header, width, middles, numbers[0].line))
    for row in rows:
        if isinstance(row, Line):
            source.append((row.number, [Merged(row.text.strip(), 1, width + 1)]))
            continue
        extra = max(0, len(row.cells) - width)
        label = " ".join([row.label, *row.cells[:extra]]).strip()
        cells = row.cells[extra:]
        if len(cells) < width and _keeps_columns(numbers, header):
            placed = [""] * width
            for cell, middle in zip(cells, row.middles[extra:], strict=True):
                placed[min(range(width), key=lambda column: abs(middles[column] - middle))] = cell
            cells = placed
        source.append((row.line, [Merged(label), *map(Merged, cells)]))
    return build(source, source[0][0], caption=caption, pushes=False, pads=True)


def _keeps_columns(rows: list[Words], header: list[Line]) -> bool:
    """Whether the text keeps the columns of the page, with runs of spaces between them."""
    return any(re.search(r"\S\s{2,}\S", line.text) for line in header) and len(rows) > 0


def _header(lines: list[Line], width: int, middles: list[float], first: int) -> Iterator[tuple[int, list[Merged]]]:
    """The rows of a header whose lowest complete line names every column of numbers."""
    lines = lines[-HEADER_LINES:]
    for position in range(len(lines) - 1, -1, -1):
        names = _names(lines[position].text, width)
        if names:
            break
    else:
        joined = " ".join(line.text for line in lines)
        names = _names(joined, width)
        if not names:
            said = joined.strip() or "nothing"
            raise BadTable(f"line {first}: {width} columns of numbers, and above them {said[:80]!r}; {NEEDED}")
        yield first, [Merged("Method"), *map(Merged, names)]
        return
    for index, line in enumerate(lines):
        if index == position:
            yield line.number, [Merged("Method"), *map(Merged, names)]
            continue
        parts = list(re.finditer(r"\S+(?: \S+)*", line.text))
        own = _names(line.text, width)
        scored = [
            column
            for column in range(width)
            if not vocabulary.delta([names[column]]) and not vocabulary.other([names[column]])
        ]
        few = [
            match.group().strip()
            for match in _PHRASE.finditer(line.text)
            if not vocabulary.METHOD.search(match.group())
        ]
        if own:
            yield line.number, [Merged(""), *map(Merged, own)]
        elif len(few) == len(scored):
            by_column = dict(zip(scored, few, strict=True))
            yield line.number, [Merged(""), *(Merged(by_column.get(column, "")) for column in range(width))]
        elif len(parts) > 1 and any(re.search(r"\S\s{2,}\S", other.text) for other in lines):
            parts = [part for part in parts if not vocabulary.METHOD.search(part.group())]
            nearest = [
                min(parts, key=lambda part: abs((part.start() + part.end()) / 2 - middle)).group()
                if parts and column in scored
                else ""
                for column, middle in enumerate(middles)
            ]
            yield line.number, [Merged(""), *(Merged(text, 1, len(list(run))) for text, run in groupby(nearest))]


def _names(text: str, width: int) -> list[str]:
    """The names of the columns in a line, where there is a way to cut it into as many as there are columns."""
    text = text.strip()
    ways = (
        re.split(r"\s{2,}|\t", text),
        [part.strip() for part in _UP_TO_ARROW.findall(text) if part.strip()],
        [match.group() for match in _PHRASE.finditer(text)],
        text.split(),
    )
    for names in ways:
        first = vocabulary.METHOD.match(names[0]) if names else None
        if first and len(names) == width and len(names[0]) > first.end():  # the first arrow closes two names
            return [names[0][first.end() :].strip(), *names[1:]]
        if len(names) == width + 1 or (len(names) == width and not first):
            return names[-width:]
    return []


def _by_cells(lines: list[Line]) -> Grid | None:
    """A table with a line for each cell: labels, each followed by as many numbers as there are columns."""
    filled = [line for line in lines if line.text.strip()]
    runs = [(kind, list(run)) for kind, run in groupby(filled, key=lambda line: _is_cell(line.text.strip()))]
    lengths = [len(run) for kind, run in runs if kind and len(run) > 1]
    if not lengths:
        return None
    width = max(set(lengths), key=lambda length: (lengths.count(length), length))
    start = next(index for index, (kind, run) in enumerate(runs) if kind and len(run) == width)
    before = [line for _, run in runs[:start] for line in run]
    if start == 0 or len(before) < 2:
        raise BadTable(f"line {runs[start][1][0].number}: {width} numbers, and no names of columns above; {NEEDED}")
    names = _merged_names([line for line in before[:-1] if not re.match(r"\s*Tab(le|\.)\s*\w", line.text)], width)
    if not names:
        said = ", ".join(line.text.strip() for line in before[:-1])
        raise BadTable(f"line {before[-1].number}: {width} columns of numbers, and above them {said[:80]!r}; {NEEDED}")
    source: list[tuple[int, list[Merged]]] = [(before[0].number, [Merged("Method"), *map(Merged, names)])]
    label = before[-1]
    for kind, run in runs[start:]:
        if not kind:
            source += [(line.number, [Merged(line.text.strip(), 1, width + 1)]) for line in run[:-1]]
            label = run[-1]
        elif len(run) % width:
            raise BadTable(
                f"line {label.number}: {label.text.strip()!r} has {len(run)} numbers, and other rows have {width}; "
                "write - for what is missing"
            )
        else:
            source.append(
                (label.number, [Merged(label.text.strip()), *(Merged(line.text.strip()) for line in run[:width])])
            )
    return build(source, source[0][0], pushes=False, pads=False)


def _merged_names(lines: list[Line], width: int) -> list[str]:
    """Names of columns from lines that may hold one each, or a task and then its metric with an arrow."""
    texts = [line.text.strip() for line in lines]
    method = next((index for index, text in enumerate(texts) if vocabulary.METHOD.fullmatch(text.strip())), None)
    if method is not None and len(texts) - method - 1 == width:
        return texts[method + 1 :]
    rest = texts if method is None else texts[:method] + texts[method + 1 :]
    if len(rest) == width:
        return rest
    groups: list[list[str]] = [[]]
    for text in rest:
        closed = groups[-1] and vocabulary.arrow(" ".join(groups[-1])) is not None
        starts = vocabulary.delta([text]) or vocabulary.other([text])
        unit = re.fullmatch(r"[^\w]*\w{0,2}[^\w]*", text)  # as (%), (M) or an arrow alone
        ended = groups[-1] and (vocabulary.delta(groups[-1]) or vocabulary.other(groups[-1]))
        if (closed or starts or ended) and not unit:
            groups.append([])
        groups[-1].append(text)
    merged = [" ".join(group) for group in groups if group]
    if len(merged) == width:
        return merged
    one_line = [names for text in texts if (names := _names(text, width))]
    return one_line[-1] if one_line else []
