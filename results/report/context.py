"""The numbers that papers print for the same benchmark, which the page shows beside ours."""

from __future__ import annotations

from mtlbench.results.papers.audit import published
from mtlbench.results.records.record import in_words
from mtlbench.results.report.display import with_unit
from mtlbench.results.report.grids import Grid
from mtlbench.results.summary.summary import Summary


def printed(summary: Summary) -> Grid:
    comparison = summary.comparison
    rows = published()
    same_tasks = rows["task_set"].map(lambda text: set(text.split("+")) == set(comparison.tasks))
    rows = rows[(rows["benchmark"] == comparison.benchmark) & same_tasks]
    lines = []
    for (source, table, method), group in rows.groupby(["source", "table", "method"], sort=False):
        values = dict(zip(group["task"], group["value"], strict=True))
        lines.append([method, *(values[task] for task in comparison.tasks), group["printed_delta"].iloc[0]])
        lines[-1] += [f"{source}, {table}", group["note"].iloc[0]]
    titles = {str(row["task"]): with_unit(row["title"], row["unit"]) for row in rows.to_dict("records")}
    heads = [f"{in_words(task)} {titles.get(task, '')}".strip() for task in comparison.tasks]
    caption = (
        "As printed there, with the backbone, protocol and baseline of the source: context, not a comparison. "
        "The command mtlbench audit says which printed deltas cannot follow from the numbers beside them."
    )
    lower = {str(row["task"]) for row in rows.to_dict("records") if row["higher_is_better"] == "false"}
    worse = [head for task, head in zip(comparison.tasks, heads, strict=True) if task in lower]
    return Grid(["Method", *heads, "printed Δm", "source", "note"], lines, caption, lower=worse)
