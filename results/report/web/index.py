"""The page over all matrices of a store: what each may claim, side by side, and what can be held against each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd

from mtlbench.results.papers.audit import published
from mtlbench.results.questions.several import Several
from mtlbench.results.records.reading import Results
from mtlbench.results.records.record import Record, in_words
from mtlbench.results.report import captions, recipe
from mtlbench.results.report.answers import several as overview
from mtlbench.results.report.baselines import cells, same_metric
from mtlbench.results.report.display import UNDEFINED, fixed, interval_text, signed, titled, with_unit
from mtlbench.results.report.grids import Grid
from mtlbench.results.report.tables import Table
from mtlbench.results.summary.summary import RowSummary, Summary

# Names in published.csv of what our matrices call SCA-MTL; "Teacher" and "+all" are the full model.
PRINTED_AS = {"Ours": "SCA-MTL", "Ours Teacher": "SCA-MTL", "+all": "SCA-MTL"}


class Matrix(NamedTuple):
    """A matrix of the store, with its tables."""

    results: Results
    summaries: Sequence[Summary]
    tables: Sequence[Table]
    runs: str = ""  # where MLflow shows its rows; "" where the report has no links to MLflow

    @property
    def name(self) -> str:
        return self.results.manifest.name

    @property
    def link(self) -> str:
        return f"{self.name}/report.html"


def contents(matrices: Sequence[Matrix]) -> dict[str, Any]:
    """What the template shows of a store, except for what several tables say together."""
    rows = [_line(matrix) for matrix in matrices]
    caption = (
        "Cells: finished of all that the matrix and its controls ask for. A commit ends in + where files differed."
    )
    columns = ["Matrix", "tables", "rows", "seeds", "cells", "finished", "commit"]
    return {
        "contents": {"columns": columns, "rows": rows, "links": [m.link for m in matrices], "caption": caption},
        "cards": [_card(*each) for matrix in matrices for each in _tables(matrix)],
    }


def parts(matrices: Sequence[Matrix], together: Sequence[Several]) -> list[dict[str, Any]]:
    """The sections below the cards: tables against what papers print, against each other, and over all."""
    found = [_against_print(*each) for matrix in matrices for each in _tables(matrix)]
    everything = [each for matrix in matrices for each in _tables(matrix)]
    found += [_two(one, other) for one, other in combinations(everything, 2)]
    found += [(overview.title(one), overview.grid(one)) for one in together]
    return [{"title": title, "grid": grid} for title, grid in found if grid.rows]


def _tables(matrix: Matrix) -> Iterator[tuple[Matrix, Summary, Table]]:
    for summary, table in zip(matrix.summaries, matrix.tables, strict=True):
        yield matrix, summary, table


def _line(matrix: Matrix) -> list[str]:
    manifest, records = matrix.results.manifest, _records(matrix)
    labels = {label for summary in matrix.summaries for label in summary.rows}
    seeds = {seed for summary in matrix.summaries for seed in summary.comparison.seeds}
    days = sorted(str(record.provenance["finished"])[:10] for record in records if record.provenance.get("finished"))
    when = UNDEFINED if not days else days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    counts = [len(matrix.tables), len(labels), len(seeds)]
    return [manifest.name, *map(str, counts), f"{len(records)} of {len(manifest.ids)}", when, _commits(records)]


def _records(matrix: Matrix) -> list[Record]:
    """The finished cells that the matrix asks for."""
    found = matrix.results.records
    return [found[cell_id] for cell_id in matrix.results.manifest.ids if cell_id in found]


def _commits(records: Sequence[Record]) -> str:
    """The commits of records; where there are several, with the number of records of each."""
    found = [recipe.short_commit(record.provenance["commit"]) for record in records if record.provenance.get("commit")]
    counts = pd.Series(found, dtype=str).value_counts(sort=False).sort_index()
    if len(counts) == 1:
        return str(counts.index[0])
    return ", ".join(f"{commit} ({count})" for commit, count in counts.items()) or UNDEFINED


def _card(matrix: Matrix, summary: Summary, table: Table) -> dict[str, Any]:
    judged = any(row.delta.seeds is not None for row in summary.rows.values())
    rows = []
    for (label, row), verdict in zip(summary.rows.items(), table.verdicts, strict=False):  # the constant comes last
        interval = row.delta.seeds
        text = UNDEFINED if interval is None else interval_text(interval.low, interval.high)
        rows.append([label, _delta(row), *([text, verdict] if judged else [])])
    columns = ["Method", "Δm [%]", *(["95 % interval", "Verdict"] if judged else [])]
    caption = f"Matrix {matrix.name}, against {summary.comparison.baseline or 'no baseline'}."
    return {
        "title": table.title,
        "claim": table.claim,
        "link": f"{matrix.link}#{table.slug}",
        "runs": matrix.runs,
        "grid": Grid(columns, rows, caption),
    }


def _delta(row: RowSummary) -> str:
    """Delta_m with its standard deviation, or why it has none."""
    delta = row.delta
    if not delta.values:
        return UNDEFINED if delta.problem else fixed(delta.mean, 2)
    return signed(delta.mean) + (f" ± {fixed(delta.sd, 2)}" if len(delta.values) > 1 else "")


def _against_print(matrix: Matrix, summary: Summary, table: Table) -> tuple[str, Grid]:
    """Our rows beside the rows of the table that the matrix's caption names; without rows where it names none."""
    comparison, caption = summary.comparison, matrix.results.manifest.caption
    rows = published()
    same_tasks = rows["task_set"].map(lambda text: set(text.split("+")) == set(comparison.tasks))
    rows = rows[(rows["benchmark"] == comparison.benchmark) & same_tasks]
    tables = rows[["source", "table"]].drop_duplicates().astype(str).to_numpy().tolist()
    named = [key for key in tables if _names(caption, ", ".join(key))]
    if not named:
        return "", Grid([], [], "")
    (source, number), *_ = named
    rows = rows[(rows["source"] == source) & (rows["table"] == number)]
    methods = {str(method): rows[rows["method"] == method] for method in rows["method"].unique()}
    printed = {_plain(PRINTED_AS.get(method, method)): of_method for method, of_method in methods.items()}
    lines = [
        [label, *_beside(summary, row, printed[_plain(label)])]
        for label, row in summary.rows.items()
        if _plain(label) in printed
    ]
    heads = [
        f"{in_words(task)} {_title(summary, task)}, {whose}"
        for task in comparison.tasks
        for whose in ("ours", "printed")
    ]
    alone = [label for label in summary.rows if _plain(label) not in printed]
    told = f" Not printed there: {', '.join(alone)}." if alone else ""
    text = (
        f"Printed: {source}, {number}. Ours: {_ours(summary)}. The file of the matrix says what is done in another way "
        f"than there.{told}"
    )
    return f"{table.title}: ours against print", Grid(
        ["Method", *heads, "Δm ours", "Δm printed"], lines, text, lower=_lower(summary, heads)
    )


def _ours(summary: Summary) -> str:
    return "one seed a row" if captions.alone(summary) else "mean ± standard deviation over seeds"


def _beside(summary: Summary, row: RowSummary, printed: pd.DataFrame) -> Iterator[str]:
    """For each task our score and the printed one, and then both Delta_m."""
    for task in summary.comparison.tasks:
        yield _score(summary, row, task)
        reference = summary.columns[task].reference
        same = printed[:0] if reference is None else same_metric(printed, reference)
        yield UNDEFINED if same.empty else str(same["value"].iloc[0])
    yield _delta(row)
    delta = str(printed["printed_delta"].iloc[0])
    yield signed(float(delta)) if delta else UNDEFINED


def _two(one: tuple[Matrix, Summary, Table], other: tuple[Matrix, Summary, Table]) -> tuple[str, Grid]:
    """The rows that two tables share, where their records are of two commits; without rows where they are not."""
    (matrix, summary, _), (matrix_too, summary_too, _) = one, other
    here, there = summary.comparison, summary_too.comparison
    commits = [dict(recipe.provenance(each)).get("commit", "") for each in (summary, summary_too)]
    same = here.benchmark == there.benchmark and set(here.tasks) == set(there.tasks)
    if not same or matrix.name == matrix_too.name or not all(commits) or commits[0] == commits[1]:
        return "", Grid([], [], "")
    names, lines = (matrix.name, matrix_too.name), []
    for label, row in summary.rows.items():
        again = summary_too.rows.get(label)
        if again is None or again.row.method != row.row.method or cells(again.row) == cells(row.row):
            continue
        pairs = [[_score(s, r, task) for s, r in ((summary, row), (summary_too, again))] for task in here.tasks]
        lines.append([label, *(text for pair in pairs for text in pair), _delta(row), _delta(again)])
    heads = [
        f"{what}, {name}" for what in (*(f"{t} {_title(summary, t)}" for t in here.tasks), "Δm [%]") for name in names
    ]
    told = " and ".join(f"{name} (commit {commit})" for name, commit in zip(names, commits, strict=True))
    text = f"Rows of the same label and method, in {told}. {_differences(summary, summary_too)}"
    return f"{matrix.name} and {matrix_too.name}: two commits", Grid(
        ["Method", *heads], lines, text, lower=_lower(summary, heads)
    )


def _differences(one: Summary, other: Summary) -> str:
    """What else than the commit the records of two tables say differently."""
    first, second = (_said(summary) for summary in (one, other))
    told = [
        f"{name} {first.get(name, 'unknown')} or {second.get(name, 'unknown')}"
        for name in dict.fromkeys((*first, *second))
        if first.get(name) != second.get(name)
    ]
    if one.comparison.baseline != other.comparison.baseline:
        told.insert(0, f"baseline {one.comparison.baseline} or {other.comparison.baseline}")
    return f"They differ in: {'; '.join(told)}." if told else "Their recipes and their data are the same."


def _said(summary: Summary) -> Mapping[str, str]:
    found = dict(recipe.provenance(summary))
    said = {**dict(recipe.box(summary)), "seeds": ", ".join(map(str, summary.comparison.seeds))}
    return said | {name: found[name] for name in ("data", "device", "torch") if name in found}


def _score(summary: Summary, row: RowSummary, task: str) -> str:
    entry = row.scores[task]
    shown = summary.columns[task].printed_as(entry)
    if entry.problem or shown is None:
        return UNDEFINED
    text = fixed(entry.mean, shown.decimals)
    return text + (f" ± {fixed(entry.sd, shown.decimals)}" if len(entry.values) > 1 else "")


def _title(summary: Summary, task: str) -> str:
    reference = summary.columns[task].reference
    return "" if reference is None else with_unit(titled(reference), reference.unit)


def _lower(summary: Summary, heads: Sequence[str]) -> list[str]:
    """The headings of scores of which lower ones are better."""
    found = [(task, column.reference) for task, column in summary.columns.items()]
    tasks = [f"{in_words(task)} " for task, score in found if score is not None and not score.higher_is_better]
    return [head for head in heads if head.startswith(tuple(tasks))]


def _plain(name: str) -> str:
    """A name without what papers write differently: "Multi task baseline" and "Multi-task" are the same."""
    return re.sub(r"baseline$|[^a-z+]", "", name.lower())


def _names(caption: str, table: str) -> bool:
    return re.search(rf"{re.escape(table)}(?!\d)", caption) is not None
