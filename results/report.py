"""From a store to files that people read: tables as Markdown, LaTeX, CSV and one self-contained page, and figures."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd

from results import formats, frames, plots, tables
from results.audit import published
from results.record import Manifest, Results, matrices, read
from results.runs import comparisons
from results.summary import MARGIN, Summary, summarise
from results.tables import CONSTANT, METRICS, UNDEFINED

TEMPLATES = Path(__file__).with_name("templates")


class Report(NamedTuple):
    """What was written, and the tables as Markdown."""

    paths: tuple[Path, ...]
    markdown: str


class Grid(NamedTuple):
    """A table of the page that is plain text."""

    columns: list[str]
    rows: list[list[str]]
    caption: str


def report(store: str, names: Sequence[str], out: Path) -> Report:
    """Write out/MATRIX/ for each of the matrices `names` (all in the store when empty).

    Each folder gets table.md, table.tex, table.csv (the tables unrounded), scores.csv (every score, long form),
    contrasts.csv, report.html (self-contained) and figures/*.png and *.pdf. Equal records give equal bytes. Raises
    FileNotFoundError naming what the store holds, and CorruptRecord naming the file.
    """
    found = list(names) or matrices(store)
    if not found:
        raise FileNotFoundError(f"{store}: no matrix was run into this store (it has no matrices/*.json)")
    everything = [read(store, name) for name in found]  # all are read before the first file is written
    paths: list[Path] = []
    texts = []
    for results in everything:
        written, text = _report(results, out / results.manifest.name)
        paths += written
        texts.append(text)
    return Report(tuple(paths), "\n".join(texts))


def _report(results: Results, folder: Path) -> tuple[list[Path], str]:
    manifest, store = results.manifest, results.store
    summaries = [summarise(comparison, store) for comparison in comparisons(results)]
    shown = [tables.table(summary, manifest) for summary in summaries]
    folder.mkdir(parents=True, exist_ok=True)
    markdown = formats.markdown(shown)
    paths = [
        _write(folder / "table.md", markdown),
        _write(folder / "table.tex", formats.latex(shown)),
        _write(folder / "table.csv", _csv(pd.concat([frames.rows(summary) for summary in summaries]))),
        _write(folder / "scores.csv", _csv(frames.scores(summaries, manifest))),
        _write(folder / "contrasts.csv", _csv(pd.concat([frames.contrasts(summary) for summary in summaries]))),
    ]
    colors = plots.palette(list(dict.fromkeys(entry.label for entry in manifest.entries)))
    sections: list[dict[str, Any]] = []
    for summary, table in zip(summaries, shown, strict=True):
        figures = []
        for name, figure, caption in (
            ("gains", plots.gains(summary, colors), _gains_caption(summary)),
            ("cost", plots.delta_against_cost(summary, colors), _cost_caption(summary)),
            ("learning", plots.learning_curves(summary, store, colors), LEARNING),
        ):
            if figure is not None:
                width = round(100 * figure.get_size_inches()[0])  # CSS pixels: the same size of text in every figure
                files = plots.save(figure, folder / "figures" / f"{table.slug}-{name}")
                paths += files
                figures.append({"uri": _data_uri(files[0]), "caption": caption, "width": width})
        sections.append(_section(summary, table, figures))
    paths.append(_write(folder / "report.html", _page(manifest, sections)))
    return paths, markdown


LEARNING = (
    "Mean over seeds, band ±1 standard deviation. Training losses include each method's auxiliary predictions, so "
    "their level compares within a method only."
)


def _gains_caption(summary: Summary) -> str:
    text = "Each task's term of Δm, signed so that up is better."
    if len(summary.comparison.seeds) > 1:
        text += " Bars: mean over seeds; dots: the seeds; whiskers: 95 % interval over seeds."
    return text


def _cost_caption(summary: Summary) -> str:
    text = f"Δm against cost; {summary.comparison.baseline} is at 0 with the cost of all its cells."
    return text + (" Whiskers: 95 % interval over seeds." if len(summary.comparison.seeds) > 1 else "")


def _section(summary: Summary, table: tables.Table, figures: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "table": table,
        "figures": figures,
        "sure": _sure(summary),
        "contrasts": _contrasts(summary),
        "rebased": _rebased(summary),
        "secondary": _secondary(summary),
        "definitions": _definitions(summary),
        "published": _published(summary),
        "provenance": tables.provenance(summary),
    }


def _sure(summary: Summary) -> Grid:
    rows = []
    for label, row in summary.rows.items():
        delta = row.delta
        intervals = [UNDEFINED if i is None else tables.interval_text(i) for i in (delta.seeds, delta.images)]
        runs = ", ".join(tables.signed(value) for value in delta.values.values()) or UNDEFINED
        rows.append([label, tables.signed(delta.mean), *intervals, tables.signed(delta.log), runs])
    columns = ["Method", "Δm [%]", "95 % over seeds", "95 % over seeds and test images", "log Δm [%]", "Δm by seed"]
    caption = (
        "Over seeds: what another training run would change. Over seeds and test images (crossed random effects): what "
        "another run and another test set of this size would change. The log delta does not depend on the baseline in "
        "its differences."
    )
    return Grid(columns, rows, caption)


def _contrasts(summary: Summary) -> Grid:
    rows = [
        [first, second, tables.signed(c.difference), f"[{tables.signed(c.low)}, {tables.signed(c.high)}]", c.verdict]
        for first, second, c in summary.contrasts
    ]
    caption = (
        "Tukey's studentised range over the rows with every seed, additive model method + seed; simultaneous 95 % "
        f"intervals in points of Δm. Equivalent: the interval lies inside ±{MARGIN} points."
    )
    return Grid(["Row", "against", "difference", "95 % interval", "verdict"], rows, caption)


def _rebased(summary: Summary) -> Grid:
    """Empty with fewer than two runs of the baseline, where there is no choice."""
    seeds = sorted({seed for by_seed in summary.rebased.values() for seed in by_seed})
    rows = [[label, *(tables.signed(by_seed[seed]) for seed in seeds)] for label, by_seed in summary.rebased.items()]
    caption = (
        f"Mean Δm of a row's runs, had a single run of {summary.comparison.baseline} been the baseline of all: what "
        "a table with one baseline run leaves to chance."
    )
    columns = ["Method", *(f"against seed {seed} [%]" for seed in seeds)]
    return Grid(columns, rows if len(seeds) > 1 else [], caption)


def _secondary(summary: Summary) -> Grid:
    """Every score but those of single classes (named metric/class), means over seeds."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for label, row in summary.rows.items():
        for run in row.row.runs.values():
            for score in run.all_scores():
                if "/" not in score.metric and score.value is not None:
                    values.setdefault((score.task, score.metric), {}).setdefault(label, []).append(score.value)
    labels = list(summary.rows)
    constant = summary.comparison.constant
    if constant is not None:
        labels.append(CONSTANT)
        for score in constant.scores:
            if (score.task, score.metric) in values and score.value is not None:
                values[score.task, score.metric][CONSTANT] = [score.value]
    order = [key for task in summary.comparison.tasks for key in values if key[0] == task]
    rows = []
    for label in labels:
        found = [values[key].get(label, []) for key in order]
        rows.append([label, *(f"{math.fsum(v) / len(v):#.4g}" if v else UNDEFINED for v in found)])
    caption = "Means over the finished seeds. Scores of single classes are in scores.csv."
    return Grid(["Method", *(f"{task} {metric}" for task, metric in order)], rows, caption)


def _definitions(summary: Summary) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for row in summary.rows.values():
        for task in summary.comparison.tasks:
            score = row.scores[task].score
            if score is not None and score.definition:
                found[f"{task} {score.metric}", score.definition] = None
    return list(found)


def _published(summary: Summary) -> Grid:
    comparison = summary.comparison
    rows = published()
    same_tasks = rows["task_set"].map(lambda text: set(text.split("+")) == set(comparison.tasks))
    rows = rows[(rows["benchmark"] == comparison.benchmark) & same_tasks]
    lines = []
    for (source, table, method), group in rows.groupby(["source", "table", "method"], sort=False):
        values = dict(zip(group["task"], group["value"], strict=True))
        lines.append([method, *(values[task] for task in comparison.tasks), group["printed_delta"].iloc[0]])
        lines[-1] += [f"{source}, {table}", group["note"].iloc[0]]
    metric = {str(row["task"]): str(row["metric"]) for row in rows.to_dict("records")}
    heads = [f"{task} {METRICS[metric[task]].title}" if task in metric else task for task in comparison.tasks]
    caption = (
        "As printed there, with the backbone, protocol and baseline of the source: context, not a comparison. "
        "`python -m results audit` says which printed deltas cannot follow from the numbers beside them."
    )
    return Grid(["Method", *heads, "printed Δm", "source", "note"], lines, caption)


def _page(manifest: Manifest, sections: list[dict[str, Any]]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2").render(manifest=manifest, sections=sections)


def _csv(frame: pd.DataFrame) -> str:
    text = frame.to_csv(index=False, lineterminator="\n")
    assert isinstance(text, str)
    return text


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
