"""The report of a store: tables as Markdown, LaTeX and CSV, one self-contained page, and figures."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
from PIL import Image

from mtlbench.results.questions.classes import by_class
from mtlbench.results.questions.moved import Moved
from mtlbench.results.questions.moved import against as held_against
from mtlbench.results.questions.several import Several, several
from mtlbench.results.records import damage, files
from mtlbench.results.records.reading import Results, matrices, read, totals
from mtlbench.results.records.record import CorruptRecord, NewerRecord
from mtlbench.results.report import formats, frames, page, tables
from mtlbench.results.report.answers import against as change
from mtlbench.results.report.answers import several as overview
from mtlbench.results.report.answers.claim import sentences
from mtlbench.results.report.drawing import dark, figures
from mtlbench.results.report.paper import kit, letters
from mtlbench.results.report.paper.tables import comment, latex
from mtlbench.results.report.paper.widths import Paper
from mtlbench.results.report.web import earlier, pages
from mtlbench.results.report.web.index import Matrix
from mtlbench.results.report.web.links import NO_LINKS, Links, linked
from mtlbench.results.summary.controls import findings
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import Summary, summarise


class Unfinished(NamedTuple):
    """A matrix of which cells are missing."""

    matrix: str
    missing: int
    cells: int
    command: str  # that goes on with them, without the store; "" where it is not known


class Report(NamedTuple):
    """What was written."""

    paths: tuple[Path, ...]
    markdown: str  # all tables
    unreadable: tuple[str, ...]  # a line for each record that is missing from the tables because it cannot be read
    tables: tuple[tables.Table, ...]
    overview: str  # of several matrices, as Markdown; "" where there is none
    summaries: tuple[Summary, ...]  # of `tables`, in their order
    start: Path | None = None  # the page over all matrices
    unfinished: tuple[Unfinished, ...] = ()
    letters: tuple[str, ...] = ()  # a line for each label with letters that LaTeX or a font lacks
    moved: Mapping[str, str] = MappingProxyType({})  # matrix -> what it says against another store, in a sentence
    damaged: Mapping[str, str] = MappingProxyType({})  # by file: a line for each that is left out, with the way out
    removed: tuple[Path, ...] = ()  # files of an earlier report that this one does not write


def report(
    store: str,
    names: Sequence[str],
    out: Path,
    paper: Paper | None = None,
    against: str | None = None,
    links: Mapping[str, Links] = MappingProxyType({}),
) -> Report:
    """Write out/MATRIX/ for each of the matrices `names` (all in the store when empty).

    Each folder gets table.md, table.tex, table.csv (the tables unrounded), scores.csv (every score in long form),
    deltas.csv (Delta_m of every run), gains.csv (the gains on each task), contrasts.csv (every pair of rows),
    classes.csv (the scores of classes, where a metric has them), report.html (self-contained) and figures/*.png and
    *.pdf. Where rows occur in several tables of a matrix, its folder has overview.md and overview.csv too, and where
    they occur in several tables of several matrices, `out` has. With a `paper`, each folder has paper/ too: tables,
    figures and BibTeX at the paper's width. Where `names` is empty, out/index.html shows all matrices side by side.
    With `against`, another store, pages say what moved since; against.md, against.csv and against_cells.csv too.
    Pages lead to MLflow where a matrix has `links`. Files of an earlier report that are not written now are removed,
    except for paper/. Equal records, and equal links, give equal bytes. Raises FileNotFoundError that says what the
    store holds, where it does not hold a matrix. Raises CorruptRecord that names the file of a matrix; the cell of a
    record that cannot be read is corrupt.
    """
    found = list(names) or _all(store)
    everything = [read(store, name) for name in found]  # all are read before the first file is written
    moved = {} if against is None else held_against(store, names, against)
    beside = _readable(store, [name for name in matrices(store) if name not in found])
    paths, removed = list[Path](), list[Path]()
    made, damaged = list[Matrix](), dict[str, str]()
    for results in everything:
        name = results.manifest.name
        others = [other for other in (*everything, *beside) if other is not results]
        written = _matrix(results, others, moved.get(name), links.get(name, NO_LINKS), out / name, paper)
        made.append(written.matrix)
        paths += written.paths
        removed += written.removed
        damaged |= written.damaged
    texts = [formats.markdown(matrix.tables) for matrix in made]
    shown = [(matrix.name, summary) for matrix in made for summary in matrix.summaries]
    overall = ""
    together = several(shown) if len(everything) > 1 else []
    if together:
        paths += _overview(together, out)
        texts.append(overall := overview.markdown(together))
    said = {name: change.answer(of_matrix) for name, of_matrix in moved.items()}
    start = None if names else _write(out / "index.html", pages.store(made, together, said))
    paths += [start] if start else []
    return Report(
        tuple(paths),
        "\n".join(texts),
        tuple(dict.fromkeys(line for results in everything for line in results.unreadable.values())),
        tuple(table for matrix in made for table in matrix.tables),
        overall,
        tuple(summary for _, summary in shown),
        start,
        tuple(left for results in everything if (left := _left(results)).missing),
        tuple(line for matrix in made for line in letters.remarks(matrix.results.manifest, matrix.tables)),
        said,
        damaged,
        tuple(removed),
    )


def _all(store: str) -> list[str]:
    if found := matrices(store):
        return found
    raise FileNotFoundError(
        f"{store}: no matrix was run into this store (it has no {files.matrix('*')}); check --store"
    )


def _left(results: Results) -> Unfinished:
    manifest = results.manifest
    missing = sum(cell_id not in results.records for cell_id in manifest.ids)
    return Unfinished(manifest.name, missing, len(manifest.ids), manifest.command)


def _readable(store: str, names: Sequence[str]) -> list[Results]:
    """The readable matrices among `names`. They only lend baselines, so a broken matrix does not stop the report."""
    found = []
    for name in names:
        with contextlib.suppress(CorruptRecord, NewerRecord):
            results = read(store, name)
            comparisons(results)
            found.append(results)
    return found


class _Material(NamedTuple):
    """What the files of a matrix are made from."""

    results: Results
    summaries: Sequence[Summary]
    others: Sequence[Results]  # matrices that lend baselines
    moved: Moved | None  # against another store
    damaged: Mapping[str, str]  # as in `Report`: of the files that were read up to now
    links: Links  # to MLflow


class _Written(NamedTuple):
    """What was written of a matrix. `damaged` and `removed` are those of `Report`."""

    matrix: Matrix
    paths: Sequence[Path]
    damaged: Mapping[str, str]
    removed: Sequence[Path]


def _matrix(
    results: Results, others: Sequence[Results], moved: Moved | None, links: Links, folder: Path, paper: Paper | None
) -> _Written:
    """Write the files of a matrix. others: matrices that lend baselines."""
    before = earlier.files_of_earlier(folder)
    with letters.quiet(), damage.noticing() as noticed:
        summaries = [summarise(comparison, results.store) for comparison in comparisons(results)]
        if not summaries:
            raise CorruptRecord(f"{results.manifest.name}: its manifest has no cells; no run writes such a one")
        written, shown = _report(_Material(results, summaries, others, moved, noticed, links), folder, paper)
    return _Written(Matrix(results, summaries, shown, links.first), written, noticed, earlier.remove(before, written))


def _report(material: _Material, folder: Path, paper: Paper | None) -> tuple[list[Path], list[tables.Table]]:
    results, summaries, others, moved, damaged, links = material
    manifest, store = results.manifest, results.store
    found = findings(results)
    claims = [sentences(summary, manifest, found) for summary in summaries]
    shown = [
        replace(tables.table(summary, manifest, found), claim=" ".join(claim), headline=claim[0])
        for summary, claim in zip(summaries, claims, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [
        _write(folder / "table.md", formats.markdown(shown)),
        _write(folder / "table.tex", "\n".join([*comment(letters.remarks(manifest, shown)), latex(shown)])),
        _write(folder / "table.csv", _csv(pd.concat([frames.rows(summary) for summary in summaries]))),
        _write(folder / "scores.csv", _csv(frames.scores(summaries, manifest), exact=True)),
        _write(folder / "deltas.csv", _csv(pd.concat([frames.deltas(summary) for summary in summaries]))),
        _write(folder / "gains.csv", _csv(pd.concat([frames.gains(summary) for summary in summaries]))),
        _write(folder / "contrasts.csv", _csv(pd.concat([frames.contrasts(summary) for summary in summaries]))),
    ]
    of_classes = [frames.classes(summary, by_class(summary, partial(totals, store))) for summary in summaries]
    if any(len(frame) for frame in of_classes):
        paths.append(_write(folder / "classes.csv", _csv(pd.concat(of_classes))))
    colors = figures.palette(list(dict.fromkeys(entry.label for entry in manifest.entries)))
    sections: list[dict[str, Any]] = []
    for summary, table in zip(summaries, shown, strict=True):
        drawn, saved = _figures(summary, table.slug, store, colors, folder)
        paths += saved
        sections.append(linked(page.section(summary, table, drawn, others, store, colors), summary, links))
    together = several([(manifest.name, summary) for summary in summaries])
    if together:
        paths += _overview(together, folder)
    if moved is not None:
        paths += _change(moved, folder)
    if results.text:
        paths.append(_write(folder / pages.MATRIX, results.text))
    beside = [path.name for path in paths if path.parent == folder]
    around = pages.Around(beside, change.section(moved) if moved else None, damage.told(damaged), links)
    paths.append(_write(folder / "report.html", pages.report(results, together, sections, around)))
    if paper is not None:
        of_kit = kit.Material(manifest, store, found, list(zip(summaries, shown, strict=True)))
        paths += kit.write(of_kit, paper, folder)
    return paths, shown


def _figures(
    summary: Summary, slug: str, store: str, colors: figures.Looks, folder: Path
) -> tuple[list[page.Drawn], list[Path]]:
    """Draw and save the figures of a table. Returns them for the page, and the paths of their files."""
    drawn, paths = [], []
    for name, draw in figures.FIGURES.items():
        picture = draw(summary, store, colors)
        if picture is None:
            continue
        width = round(100 * picture.figure.get_size_inches()[0])  # CSS pixels, so that all text has one size
        png, pdf = figures.save(picture.figure, folder / "figures" / f"{slug}-{name}")
        paths += [png, pdf]
        drawn.append(
            page.Drawn(
                name,
                picture.caption,
                width,
                pdf.relative_to(folder).as_posix(),
                _data_uri(png.read_bytes()),
                _data_uri(dark.png(picture.figure)),
                name in page.LIVE,
                picture.numbers,
            )
        )
    return drawn, paths


def _overview(found: Sequence[Several], folder: Path) -> list[Path]:
    """What several tables say together."""
    text, frame = overview.markdown(found), overview.frame(found)
    return [_write(folder / "overview.md", text), _write(folder / "overview.csv", _csv(frame))]


def _change(moved: Moved, folder: Path) -> list[Path]:
    """What a matrix says against another store."""
    return [
        _write(folder / "against.md", change.markdown(moved)),
        _write(folder / "against.csv", _csv(change.frame(moved))),
        _write(folder / "against_cells.csv", _csv(change.cells(moved), exact=True)),
    ]


def _csv(frame: pd.DataFrame, *, exact: bool = False) -> str:
    """A frame as CSV. exact: write all digits. Otherwise twelve digits are written.

    The last of sixteen digits depend on the linear algebra of the machine.
    """
    text = frame.to_csv(index=False, lineterminator="\n", float_format=None if exact else "%.12g")
    assert isinstance(text, str)
    return text


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def _data_uri(png: bytes) -> str:
    """The same pixels as WebP, which takes half the space."""
    packed = io.BytesIO()
    Image.open(io.BytesIO(png)).save(packed, "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(packed.getvalue()).decode()
