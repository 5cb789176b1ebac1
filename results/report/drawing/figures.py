"""The figures of a report, each drawn from a summary. Equal records give equal bytes.

A new figure is a function (summary, store, colors) -> Picture or None, and a line in FIGURES.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from mtlbench.results.questions.fitting import fitting
from mtlbench.results.records import files
from mtlbench.results.records.reading import history
from mtlbench.results.records.record import Score
from mtlbench.results.report import captions
from mtlbench.results.report.display import titled, with_unit
from mtlbench.results.report.drawing.panels import panels
from mtlbench.results.statistics.intervals import paired_interval
from mtlbench.results.summary.summary import Summary
from mtlbench.results.summary.tuning import by_row, searches

Color = tuple[float, float, float]
Colors = Mapping[str, Color]  # by label; all figures of a matrix share these colours, see `palette`


class Picture(NamedTuple):
    """A figure and the sentences below it."""

    figure: Figure
    caption: str


Draw = Callable[[Summary, str, Colors], Picture | None]  # summary, store, colours; None where there is nothing to show

STYLE: Any = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
}
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p", "h", "8")  # a second cue beside colour


def palette(labels: Sequence[str]) -> dict[str, Color]:
    """A colour per label, in the manifest's order. Colour-blind readers can tell up to ten labels apart."""
    name = "colorblind" if len(labels) <= 10 else "husl"
    return dict(zip(labels, sns.color_palette(name, len(labels)), strict=True))


def learning_curves(summary: Summary, store: str, colors: Colors) -> Picture | None:
    """The training loss by epoch, and the validation scores below it.

    Each task has a panel. Each row of the table has a line, which is the mean over seeds with a band of +-1 sd. Returns
    None where no finished cell has a history. Losses include each method's auxiliary outputs, so the level of a loss
    can be compared within a method only.
    """
    curves, damaged = _curves(summary, store)
    if curves.empty:
        return None
    tasks = [task for task in summary.comparison.tasks if task in set(curves["task"])]
    kinds = [kind for kind in ("training loss", "validation") if kind in set(curves["kind"])]
    labels = list(summary.rows)
    with mpl.rc_context(STYLE):
        size, layout = (4.2 * len(tasks) + 1.6, 2.9 * len(kinds) + 0.3), ConstrainedLayoutEngine(h_pad=0.1)
        figure, axes = plt.subplots(len(kinds), len(tasks), figsize=size, squeeze=False, layout=layout)
        for panels, kind in zip(axes, kinds, strict=True):
            for axis, task in zip(panels, tasks, strict=True):
                panel = curves[(curves["kind"] == kind) & (curves["task"] == task)]
                axis.set_title(f"{task}, {kind}")
                if panel.empty:
                    axis.set_axis_off()
                    continue
                sns.lineplot(
                    panel, x="epoch", y="value", hue="label", hue_order=labels, palette=dict(colors), ax=axis,
                    errorbar=("sd", 1), legend=False, marker="o" if panel["epoch"].nunique() <= 12 else None,
                )  # fmt: skip
                axis.set(xlabel="epoch", ylabel=panel["unit"].iloc[0])
                axis.xaxis.get_major_locator().set_params(integer=True)
        _legend(figure, {label: colors[label] for label in labels if label in set(curves["label"])})
    caption = (
        "Mean over seeds, band ±1 standard deviation. Training losses include each method's auxiliary predictions, so "
        "their level compares within a method only."
    )
    if damaged:
        caption += f" Lines that cannot be read are left out of {', '.join(damaged)}."
    return Picture(figure, caption)


def gains(summary: Summary, store: str, colors: Colors) -> Picture | None:
    """Each task's term of Eq. (6). Bars are means over seeds, dots are seeds, whiskers are paired 95 % intervals.

    Up is better, whatever the direction of the metric. Returns None where no row has a defined Delta_m.
    """
    rows = [
        {"label": label, "task": task, "seed": seed, "gain": gain}
        for label, row in summary.rows.items()
        for task, by_seed in row.delta.gains.items()
        for seed, gain in by_seed.items()
    ]
    if not rows:
        return None
    frame = pd.DataFrame(rows)
    shown = set(frame["label"])
    labels = [label for label in summary.rows if label in shown]
    tasks = summary.comparison.tasks
    width = 0.8 / len(labels)
    with mpl.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(max(6.0, 2.2 * len(tasks) + 2.2), 3.6), layout="constrained")
        for i, label in enumerate(labels):
            for t, task in enumerate(tasks):
                values = frame.loc[(frame["label"] == label) & (frame["task"] == task), "gain"].tolist()
                x = t + (i - (len(labels) - 1) / 2) * width
                axis.bar(x, sum(values) / len(values), width * 0.92, color=colors[label], alpha=0.75)
                offsets = [((j + 0.5) / len(values) - 0.5) * width * 0.5 for j in range(len(values))]
                dots = [x + offset for offset in offsets]
                axis.scatter(dots, values, s=12, color=colors[label], ec="black", lw=0.6, zorder=3)
                interval = paired_interval(values) if summary.rows[label].delta.paired else None
                if interval is not None:
                    axis.errorbar(x, interval.estimate, interval.half, color="0.25", capsize=2.5, lw=1, zorder=2)
        axis.axhline(0, color="black", lw=0.8)
        axis.set_xticks(
            range(len(tasks)),
            [f"{task}\n{titled(score)}" if (score := _reference(summary, task)) else task for task in tasks],
        )
        axis.grid(visible=False, axis="x")
        axis.set(ylabel=f"gain over {summary.comparison.baseline} [%]")
        axis.set_title("Relative gain by task (up is better)")
        _legend(figure, {label: colors[label] for label in labels})
    return Picture(figure, _gains_caption(summary))


def _gains_caption(summary: Summary) -> str:
    text = "Each task's term of Δm, signed so that up is better."
    rows = [row.delta for row in summary.rows.values() if len(row.delta.values) > 1]
    if rows:
        text += " Bars: mean over seeds; dots: the seeds."
    if any(delta.paired for delta in rows):
        text += " Whiskers: 95 % interval over seeds, paired with the baseline's."
    without = [label for label, row in summary.rows.items() if row.delta.values and not row.delta.paired]
    if without:
        text += f" No whiskers where runs are not paired with the baseline's: {', '.join(without)}."
    return text


def delta_against_cost(summary: Summary, store: str, colors: Colors) -> Picture | None:
    """Delta_m over parameters and over multiply-accumulates, on a log scale, with the 95 % interval over seeds.

    The baseline is at 0 with the cost of all its cells. Returns None where no row has both a Delta_m and a cost.
    """
    costs = {"parameters": ("parameters [M]", 1e6), "macs": ("multiply-accumulates [G]", 1e9)}
    defined = {label: row for label, row in summary.rows.items() if not math.isnan(row.delta.mean)}
    panels = [name for name in costs if any(row.cost[name] > 0 for row in defined.values())]
    if not panels or set(defined) <= {summary.comparison.baseline}:
        return None
    markers = dict(zip(colors, MARKERS * (1 + len(colors) // len(MARKERS)), strict=False))
    with mpl.rc_context(STYLE):
        size = (4.0 * len(panels) + 1.8, 3.4)
        figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained")
        for axis, name in zip(axes[0], panels, strict=True):
            title, scale = costs[name]
            for label, row in defined.items():
                if not row.cost[name] > 0:
                    continue
                half = 0.0 if row.delta.seeds is None else row.delta.seeds.half
                axis.errorbar(
                    row.cost[name] / scale, row.delta.mean, half or None, color=colors[label], marker=markers[label],
                    markersize=8, markeredgecolor="white", markeredgewidth=0.6, capsize=3, lw=1.2,
                )  # fmt: skip
            axis.axhline(0, color="black", lw=0.8, zorder=0)
            _log_ticks(axis)
            axis.set(xlabel=title)
            axis.margins(y=0.1)
        axes[0][0].set_ylabel("Δm [%] (up is better)")
        figure.suptitle("Gain against cost", fontsize=11)
        _legend(figure, {label: colors[label] for label in defined}, markers)
    caption = f"Δm against cost; {summary.comparison.baseline} is at 0 with the cost of all its cells."
    if any(row.delta.seeds is not None for row in summary.rows.values()):
        caption += " Whiskers: 95 % interval over seeds."
    return Picture(figure, caption)


def fit_against_test(summary: Summary, store: str, colors: Colors) -> Picture | None:
    """The gain on test images over the gain in training loss, by task. Small dots are seeds.

    Returns None where fewer than two rows have a training loss that can be compared with the baseline's.
    """
    pairs = fitting(summary, cache(lambda cell_id: history(store, cell_id))).pairs
    labels = list(dict.fromkeys(label for label, _ in pairs))
    if len(labels) < 2:
        return None
    tasks = [task for task in summary.comparison.tasks if any(of == task for _, of in pairs)]
    markers = dict(zip(colors, MARKERS * (1 + len(colors) // len(MARKERS)), strict=False))
    with mpl.rc_context(STYLE):
        size = (4.0 * len(tasks) + 1.8, 3.6)
        figure, axes = plt.subplots(1, len(tasks), figsize=size, squeeze=False, layout="constrained")
        for axis, task in zip(axes[0], tasks, strict=True):
            for label in (label for label in labels if (label, task) in pairs):
                runs = pairs[label, task].values()
                fits, tests = [run.fit for run in runs], [run.test for run in runs]
                axis.scatter(fits, tests, s=12, color=colors[label], alpha=0.6, lw=0)
                axis.plot(
                    sum(fits) / len(fits), sum(tests) / len(tests), color=colors[label], marker=markers[label],
                    markersize=8, markeredgecolor="white", markeredgewidth=0.6,
                )  # fmt: skip
            axis.axhline(0, color="black", lw=0.8, zorder=0)
            axis.axvline(0, color="black", lw=0.8, zorder=0)
            axis.set(xlabel="training loss below the baseline's [%]", title=task)
        axes[0][0].set_ylabel("gain on test images [%]")
        figure.suptitle("Train against test (right: fits better; up: tests better)", fontsize=11)
        _legend(figure, {label: colors[label] for label in labels}, markers)
    return Picture(
        figure, f"Against {summary.comparison.baseline} of the same seed; dots: seeds, markers: their means."
    )


def tuning(summary: Summary, store: str, colors: Colors) -> Picture | None:
    """What the best of k trials is worth on validation images: the mean over all choices of k of the trials.

    The value is the log delta in percent, against the baseline that is tuned with all its trials. Returns None where
    the baseline was not tuned.
    """
    worth = by_row(searches(summary.comparison.trained(), summary.comparison.parents))
    if summary.comparison.baseline not in worth:
        return None
    reference, num_tasks = worth[summary.comparison.baseline][-1], len(summary.comparison.tasks)
    with mpl.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
        for label, values in worth.items():
            trials = range(1, len(values) + 1)
            axis.plot(trials, 100 / num_tasks * (values - reference), color=colors[label], marker="o", markersize=4)
        axis.axhline(0, color="black", lw=0.8, zorder=0)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(xlabel="trials k", ylabel="log Δm on validation [%] (up is better)")
        axis.set_title("Expected best of k trials")
        _legend(figure, {label: colors[label] for label in worth})
    sentences = [
        "What a budget of k trials is worth: the mean over all choices of k of a row's trials of the best one's log Δm "
        "on validation images, against the baseline with its whole budget.",
        captions.choosing(summary),
        "A curve that still rises at its end was tuned with too few trials.",
    ]
    return Picture(figure, " ".join(filter(None, sentences)))


def predictions(summary: Summary, store: str, colors: Colors) -> Picture | None:
    """A few test images, with what each row predicts for them."""
    drawn = panels(summary, store)
    return None if drawn is None else Picture(*drawn)


# The figures of each table, in their order on the page. The file of a figure is named after its key.
FIGURES: dict[str, Draw] = {
    "gains": gains,
    "cost": delta_against_cost,
    "learning": learning_curves,
    "fit": fit_against_test,
    "tuning": tuning,
    "predictions": predictions,
}


def save(figure: Figure, path: Path) -> list[Path]:
    """Write path.png and path.pdf without dates or versions, and close the figure. Returns both paths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    png, pdf = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.pdf")
    with mpl.rc_context(STYLE):
        figure.savefig(png, metadata={"Software": None})
        figure.savefig(pdf, metadata={"CreationDate": None, "Producer": None, "Creator": None})
    plt.close(figure)
    return [png, pdf]


def _curves(summary: Summary, store: str) -> tuple[pd.DataFrame, list[str]]:
    """The means over each epoch, and the names of the damaged histories.

    The columns of the means are label, seed, task, kind, unit, epoch and value.
    """
    rows: list[dict[str, Any]] = []
    damaged: list[str] = []
    for label, row in summary.rows.items():
        for seed, run in row.row.runs.items():
            for cell_id in run.records:
                found = history(store, cell_id)
                if found.unreadable:
                    damaged.append(files.history(cell_id))
                for event in found.rows:
                    kind, _, name = str(event["name"]).partition("/")
                    first, _, second = name.partition("/")
                    base = {"label": label, "seed": seed, "epoch": event["epoch"], "value": event["value"]}
                    if kind == "train" and first == "loss" and second:
                        rows.append({**base, "task": second, "kind": "training loss", "unit": "loss of all outputs"})
                    elif kind == "val" and second and (score := _reference(summary, first)) and second == score.metric:
                        rows.append(
                            {**base, "task": first, "kind": "validation", "unit": with_unit(titled(score), score.unit)}
                        )
    columns = ["label", "seed", "task", "kind", "unit", "epoch", "value"]
    frame = pd.DataFrame(rows, columns=columns)
    if rows:
        frame = frame.groupby(columns[:-1], sort=False)["value"].mean().reset_index()
    return frame, sorted(damaged)


def _reference(summary: Summary, task: str) -> Score | None:
    """The reference score of a task's column, which says what the column means."""
    column = summary.columns.get(task)
    return None if column is None else column.reference


def _log_ticks(axis: Axes) -> None:
    """Give the x axis a log scale with plain numbers: 5, 10, 20 instead of powers."""
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    axis.set_xlim(low / 1.15, high * 1.15)
    axis.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, colors: Colors, markers: Mapping[str, str] | None = None) -> None:
    handles = [
        Line2D([], [], color=color, lw=0 if markers else 3, marker=markers[label] if markers else None, markersize=8)
        for label, color in colors.items()
    ]
    figure.legend(handles, list(colors), loc="outside right upper")
