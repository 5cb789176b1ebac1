"""Summaries and tables of a store, for tests of what is made of records."""

from mtlbench.results.records.reading import read
from mtlbench.results.report.tables import table
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise

TASKS = ("semseg", "depth")


def summaries(store, name="rooms"):
    results = read(store, name)
    return [summarise(comparison, store) for comparison in comparisons(results)], results.manifest


def shown(store, name="rooms"):
    """The tables of a store."""
    found, manifest = summaries(store, name)
    return [table(summary, manifest) for summary in found]


def cells(one, label):
    """A row of a table as text by column title, with its footnotes spelled out and bold in asterisks."""
    (row,) = [row for row in one.rows if row[0].text == label]
    notes = dict(one.notes)
    text = {}
    for column, cell in zip(one.columns, row, strict=True):
        body = f"**{cell.text}**" if cell.bold else cell.text
        text[column.title] = " | ".join([body, *(notes[mark] for mark in cell.marks)])
    return text
