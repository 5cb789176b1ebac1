"""Printed tables whose deltas are honest, in every form in which people have them."""

import random
from typing import NamedTuple

NAMES = ("Single task", "Multi task", "PCGrad", "Nash-MTL", "Ours")


class Metric(NamedTuple):
    title: str
    higher: bool
    baseline: float
    decimals: int

    @property
    def arrow(self):
        return "↑" if self.higher else "↓"

    @property
    def header(self):
        return f"{self.title} {self.arrow}"


DENSE = (
    Metric("Semseg mIoU", True, 37.99, 2),
    Metric("Depth RMSE", False, 0.625, 3),
    Metric("Normal mErr", False, 20.87, 2),
    Metric("Boundary odsF", True, 77.6, 2),
)
NYUV2 = (  # two levels of header: the task, and its metric
    Metric("mIoU", True, 38.3, 2),
    Metric("Pix Acc", True, 63.76, 2),
    Metric("Abs Err", False, 0.6754, 4),
    Metric("Rel Err", False, 0.278, 4),
    Metric("Mean", False, 25.01, 2),
    Metric("Median", False, 19.21, 2),
    Metric("11.25", True, 30.14, 2),
    Metric("22.5", True, 57.2, 2),
    Metric("30", True, 69.15, 2),
)
NYUV2_TASKS = ((0, 1), (2, 3), (4, 5, 6, 7, 8))


class Row(NamedTuple):
    name: str
    metrics: list[str]
    delta: str | None  # None: the baseline


def honest(metrics=DENSE, names=NAMES, *, lower=False, tasks=None, seed=0):
    """Rows as a paper has them: metrics with noise, and Eq. (6) of the numbers before they are rounded.

    lower: print the delta so that lower is better. tasks: groups of metrics whose means are averaged.
    """
    noise = random.Random(seed)
    before = [metric.baseline + noise.uniform(-0.49, 0.49) * 10**-metric.decimals for metric in metrics]
    rows = []
    for position, name in enumerate(names):
        scores = before if not position else [value * (1 + noise.uniform(-0.15, 0.1)) for value in before]
        gains = [
            (score / base - 1) * (1 if metric.higher else -1)
            for score, base, metric in zip(scores, before, metrics, strict=True)
        ]
        groups = tasks or [(index,) for index in range(len(metrics))]
        delta = 100 * sum(sum(gains[index] for index in group) / len(group) for group in groups) / len(groups)
        printed = [f"{score:.{metric.decimals}f}" for score, metric in zip(scores, metrics, strict=True)]
        rows.append(Row(name, printed, None if not position else f"{-delta if lower else delta:.2f}"))
    return rows


def cells(rows, missing="-"):
    return [[row.name, *row.metrics, row.delta or missing] for row in rows]


def header(metrics=DENSE, delta="Δm (%)"):
    return ["Method", *(metric.header for metric in metrics), delta]


def markdown(table):
    first, *rest = table
    return "\n".join(f"| {' | '.join(row)} |" for row in (first, ["---"] * len(first), *rest)) + "\n"


def latex(table):
    rows = " \\\\\n".join(" & ".join(row) for row in table)
    return f"\\begin{{tabular}}{{l{'c' * (len(table[0]) - 1)}}}\n{rows} \\\\\n\\end{{tabular}}\n".replace("%", "\\%")


def html(table, head=""):
    rows = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in table)
    return f"<table>{head}\n{rows}</table>"


def separated(table, delimiter=","):
    return "\n".join(delimiter.join(row) for row in table) + "\n"


def lines(table):
    """As the text of a PDF often has it: every cell on a line of its own."""
    first, *rest = table
    return "\n".join(first) + "\n\n" + "\n".join("\n".join(row) for row in rest) + "\n"


def layout(table, width=22):
    return "\n".join(
        "".join(cell.rjust(width) if i else cell.ljust(width) for i, cell in enumerate(row)) for row in table
    )
