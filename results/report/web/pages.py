"""Pages as HTML, from their templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jinja2

from mtlbench.results.questions.several import Several
from mtlbench.results.records.reading import Results
from mtlbench.results.report.answers import several as overview
from mtlbench.results.report.tables import CONSTANT
from mtlbench.results.report.web import choices, index, library
from mtlbench.results.report.web.links import NO_LINKS, Links

MATRIX = "matrix.yaml"  # beside a page: what its matrix asked for
ABOUT = {"table.tex": "all columns, for an appendix"}  # what a file's name does not say
TEMPLATES = Path(__file__).parents[1] / "templates"


class Around(NamedTuple):
    """What a page has besides its tables."""

    beside: Sequence[str]  # the files in its folder to which it leads
    change: Mapping[str, Any] | None = None  # against another store
    damaged: Sequence[str] = ()  # a line for each file of the store that could not be read
    links: Links = NO_LINKS


def report(results: Results, together: Sequence[Several], sections: Sequence[Mapping[str, Any]], around: Around) -> str:
    """The page of a matrix."""
    return _rendered(
        "report.html.j2",
        manifest=results.manifest,
        matrix=results.text,
        file=MATRIX,
        about=ABOUT,
        overviews=[{"title": overview.title(one), "grid": overview.grid(one)} for one in together],
        sections=sections,
        plotly=library.plotly(),
        costs=choices.costs(),
        **around._asdict(),
    )


def store(
    matrices: Sequence[index.Matrix], together: Sequence[Several], moved: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The page over all matrices of a store. It lies beside their folders.

    moved: matrix -> what it says against another store.
    """
    parts = index.parts(matrices, together)
    return _rendered("index.html.j2", **index.contents(matrices), parts=parts, moved=moved)


def _rendered(template: str, **names: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.globals["constant"] = CONSTANT  # what a template imports from another one knows no other name
    return environment.get_template(template).render(**names)
