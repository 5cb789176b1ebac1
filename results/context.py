"""What the papers print for the same benchmark, beside our numbers."""

from __future__ import annotations

from results.audit import published
from results.grids import Grid
from results.summary import Summary
from results.tables import METRICS, display

SINGLE = "Single task"  # how the papers' rows of single-task models begin


def weak_baselines(summary: Summary) -> list[str]:
    """A sentence for each task in which our single-task models are worse than the best ones printed.

    Where the metric's name is the same; a gain over a weak baseline is easily had.
    """
    label = next((label for label, row in summary.comparison.rows.items() if row.method == "single_task"), None)
    if label is None:
        return []
    rows = published()
    rows = rows[(rows["benchmark"] == summary.comparison.benchmark) & rows["method"].str.startswith(SINGLE)]
    found = []
    for task, entry in summary.rows[label].scores.items():
        if entry.score is None or not entry.values:
            continue
        same = rows[(rows["task"] == task) & (rows["metric"] == entry.score.metric)]
        sign = 1.0 if entry.score.higher_is_better else -1.0
        order = (sign * same["value"].astype(float)).sort_values(ascending=False, kind="stable")
        if order.empty or sign * entry.mean >= order.iloc[0]:
            continue
        best, shown = same.loc[order.index[0]], display(entry.score.metric)
        found.append(
            f"{label}: our {task} {shown.title} of {entry.mean:.{shown.decimals}f} is weaker than the {best['value']} "
            f"that is printed for single-task models ({best['source']}, {best['table']}), so a gain is easier here."
        )
    return found


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
    metric = {str(row["task"]): str(row["metric"]) for row in rows.to_dict("records")}
    heads = [f"{task} {METRICS[metric[task]].title}" if task in metric else task for task in comparison.tasks]
    caption = (
        "As printed there, with the backbone, protocol and baseline of the source: context, not a comparison. "
        "`python -m results audit` says which printed deltas cannot follow from the numbers beside them."
    )
    return Grid(["Method", *heads, "printed Δm", "source", "note"], lines, caption)
