"""The figures of a report, each drawn from a summary. Equal records give equal bytes.

A new figure is a function (summary, store, colors) -> Picture or None, and a line in FIGURES.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from mtlbench.results.questions.fitting import fitting
from mtlbench.results.records.reading import history
from mtlbench.results.records.record import in_words
from mtlbench.results.report import captions
from mtlbench.results.report.display import titled
from mtlbench.results.report.drawing.classes import classes
from mtlbench.results.report.drawing.direct import Point, draw_frontier, label_points
from mtlbench.results.report.drawing.learning import learning_curves, reference_of
from mtlbench.results.report.drawing.looks import NARROW, STYLE, Looks, Picture, palette
from mtlbench.results.report.drawing.panels import SHEETS, panels
from mtlbench.results.statistics.intervals import paired_interval
from mtlbench.results.summary.summary import RowSummary, Summary
from mtlbench.results.summary.tuning import by_row, searches

ZERO = 0.9  # the layer of lines at 0: above the grid, which is at 0.5, and below what is drawn
SEED = 0.45  # of the size of a mean's marker; the marker of a seed
ROOM = (0.0, 0.4, 0.8, 1.2, 1.6)  # inches by which a chart may grow

__all__ = ["FIGURES", "Draw", "Looks", "Picture", "palette", "save"]

Draw = Callable[[Summary, str, Looks], Picture | None]  # summary, store, colours; None where there is nothing to show


def gains(summary: Summary, store: str, colors: Looks) -> Picture | None:
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
    tasks, baseline = summary.comparison.tasks, summary.comparison.baseline
    with mpl.rc_context(colors.style):
        size = (max(6.0, 2.2 * len(tasks) + 2.2), 3.8) if colors.width is None else (colors.width, 2.2)
        figure, axis = plt.subplots(figsize=size, layout="constrained")
        for t, task in enumerate(tasks):
            for i, label in enumerate(labels):
                values = frame.loc[(frame["label"] == label) & (frame["task"] == task), "gain"].tolist()
                place, width = t + ((i + 0.5) / len(labels) - 0.5) * 0.8, 0.8 / len(labels)
                interval = paired_interval(values) if summary.rows[label].delta.paired else None
                _bar(axis, place, width, values, label, colors)
                if interval is not None:
                    axis.errorbar(place, interval.estimate, interval.half, color="0.25", capsize=2, lw=0.9, zorder=2)
        axis.axhline(0, color="black", lw=0.8)
        axis.set_xticks(
            range(len(tasks)),
            [_named(summary, task) for task in tasks],
            linespacing=colors.spacing,
        )
        axis.grid(visible=False, axis="x")
        axis.set(ylabel=f"gain over {baseline} [%]")
        if colors.width is None:
            axis.set_title("Relative gain by task (up is better)")
        colors.legend(figure, labels, "bar")
        colors.note(figure, _gains_note(summary))
    return Picture(figure, _gains_caption(summary))


def _named(summary: Summary, task: str) -> str:
    """A task and, below it, its metric."""
    score = reference_of(summary, task)
    return f"{in_words(task)}\n{titled(score)}" if score else in_words(task)


def _bar(axis: Axes, place: float, width: float, values: list[float], label: str, colors: Looks) -> None:
    """The mean of the seeds as a bar, and each seed as a dot."""
    mean = sum(values) / len(values)
    axis.bar(
        place, mean, width * 0.92, color=colors[label], alpha=0.75, hatch=colors.hatch(label), edgecolor="white",
        linewidth=0,
    )  # fmt: skip
    # A frame in the colour itself, which is darker: on white paper it can be seen as well as a line.
    axis.bar(place, mean, width * 0.92, fill=False, edgecolor=colors[label], linewidth=0.8)
    dots = [place + ((j + 0.5) / len(values) - 0.5) * width * 0.5 for j in range(len(values))]
    size = colors.size(label, 0.4)
    axis.scatter(
        dots, values, s=size**2, color=colors[label], marker=colors.marker(label), ec="black", lw=0.5, zorder=3
    )


def _gains_note(summary: Summary) -> str:
    rows = [row.delta for row in summary.rows.values() if len(row.delta.values) > 1]
    if not rows:
        return f"Up is better. {captions.ALONE}"
    whiskers = "; whiskers: paired 95 % intervals" if any(delta.paired for delta in rows) else ""
    return f"Bars: means; dots: seeds{whiskers}; up is better."


def _gains_caption(summary: Summary) -> str:
    text = "Each task's term of Δm, signed so that up is better."
    rows = [row.delta for row in summary.rows.values() if len(row.delta.values) > 1]
    text += " Bars: mean over seeds; dots: the seeds." if rows else f" {captions.ALONE}"
    if any(delta.paired for delta in rows):
        text += " Whiskers: 95 % interval over seeds, paired with the baseline's."
    without = [label for label, row in summary.rows.items() if row.delta.values and not row.delta.paired]
    if rows and without:
        text += f" No whiskers where runs are not paired with the baseline's: {', '.join(without)}."
    return text


def delta_against_cost(summary: Summary, store: str, colors: Looks) -> Picture | None:
    """Delta_m over parameters and over multiply-accumulates, on a log scale, with the 95 % interval over seeds.

    The baseline is at 0 with the cost of all its cells. Returns None where no row has both a Delta_m and a cost.
    """
    costs = {"parameters": ("parameters [M]", 1e6), "macs": ("multiply-accumulates [G]", 1e9)}
    defined = {label: row for label, row in summary.rows.items() if not math.isnan(row.delta.mean)}
    names = [name for name in costs if any(row.cost[name] > 0 for row in defined.values())]
    if not names or set(defined) <= {summary.comparison.baseline}:
        return None
    several = any(row.delta.seeds is not None for row in summary.rows.values())
    told = "Whiskers: simultaneous 95 % intervals; dashed" if several else "Dashed"
    told += f": the best Δm up to a cost.{f' {captions.ALONE}' if captions.alone(summary) else ''}"
    with mpl.rc_context(colors.style):
        for taller in ROOM:  # until the names beside the points cover nothing
            figure, charts = _against_cost(defined, {name: costs[name] for name in names}, colors, taller)
            colors.note(figure, told)
            size = max(map(colors.size, defined))
            if label_points(figure, charts, size, colors.small, colors.spacing) or taller == ROOM[-1]:
                break
            plt.close(figure)
    caption = f"Δm against cost; {summary.comparison.baseline} is at 0 with the cost of all its cells."
    if several:
        caption += " Whiskers: 95 % interval over seeds."
    best = "Δm" if captions.alone(summary) else "mean Δm"
    caption += f" Dashed: the best {best} up to a cost (Pareto)."
    return Picture(figure, f"{caption} {captions.ALONE}" if captions.alone(summary) else caption)


def _against_cost(
    defined: Mapping[str, RowSummary], costs: Mapping[str, tuple[str, float]], colors: Looks, taller: float
) -> tuple[Figure, list[tuple[Axes, dict[str, Point], list[tuple[float, float]]]]]:
    """The figure without names beside its points, and what `label_points` asks for.

    costs: name -> title and scale. taller: inches for each line of panels, which more names need.
    """
    below = colors.width is not None and colors.width < NARROW
    lines = len(costs) if below else 1
    size = (4.6 * len(costs) + 0.4, 3.8 + taller)
    if colors.width is not None:
        size = (colors.width, (1.4 + 0.07 * len(defined) + taller) * lines + 0.2)
    figure, axes = plt.subplots(
        lines, len(costs) // lines, figsize=size, sharey=not below, squeeze=False, layout="constrained"
    )
    charts = []
    for axis, (name, (title, scale)) in zip(axes.ravel(), costs.items(), strict=True):
        points = {}
        for label, row in defined.items():
            if row.cost[name] > 0:
                half = 0.0 if row.delta.seeds is None else row.delta.seeds.half
                mean = row.delta.mean
                points[label] = Point(row.cost[name] / scale, mean, mean - half, mean + half)
        _points(axis, points, colors)
        axis.axhline(0, color="black", lw=0.8, zorder=ZERO)
        _log_ticks(axis)
        axis.set(xlabel=title)
        axis.margins(y=0.12)
        charts.append((axis, points, draw_frontier(axis, points)))
    for axis in axes[:, 0]:
        axis.set_ylabel("Δm [%] (up is better)")
    if colors.width is None:
        figure.suptitle("Gain against cost", fontsize=11)
    return figure, charts


def _points(axis: Axes, points: dict[str, Point], colors: Looks) -> None:
    for label, point in points.items():
        axis.errorbar(
            point.x, point.y, (point.high - point.y) or None, color=colors[label], marker=colors.marker(label),
            markersize=colors.size(label, edge=0.6), markeredgecolor="white", markeredgewidth=0.6,
            capsize=3 if colors.width is None else 2, lw=1.2 if colors.width is None else 0.9,
        )  # fmt: skip


def fit_against_test(summary: Summary, store: str, colors: Looks) -> Picture | None:
    """The gain on test images over the gain in training loss, by task. Small dots are seeds.

    Returns None where fewer than two rows have a training loss that can be compared with the baseline's.
    """
    pairs = fitting(summary, cache(lambda cell_id: history(store, cell_id))).pairs
    labels = list(dict.fromkeys(label for label, _ in pairs))
    if len(labels) < 2:
        return None
    tasks = [task for task in summary.comparison.tasks if any(of == task for _, of in pairs)]
    with mpl.rc_context(colors.style):
        figure, axes = colors.grid(len(tasks), 1, (4.0 * len(tasks) + 1.8, 3.8), 1.9)
        for axis, task in zip(axes, tasks, strict=True):
            for label in (label for label in labels if (label, task) in pairs):
                runs = pairs[label, task].values()
                fits, tests = [run.fit for run in runs], [run.test for run in runs]
                axis.scatter(
                    fits, tests, s=colors.size(label, SEED) ** 2, color=colors[label], marker=colors.marker(label),
                    alpha=0.55, lw=0,
                )  # fmt: skip
                axis.plot(
                    sum(fits) / len(fits), sum(tests) / len(tests), color=colors[label], marker=colors.marker(label),
                    markersize=colors.size(label, edge=0.6), markeredgecolor="white", markeredgewidth=0.6,
                )  # fmt: skip
            axis.axhline(0, color="black", lw=0.8, zorder=ZERO)
            axis.axvline(0, color="black", lw=0.8, zorder=ZERO)
            axis.set(xlabel="lower training loss [%]", title=in_words(task))
        axes[0].set_ylabel("gain on test images [%]")
        if colors.width is None:
            figure.suptitle("Train against test (right: fits better; up: tests better)", fontsize=11)
        colors.legend(figure, labels, "point")
        alone = all(len(of_row) < 2 for of_row in pairs.values())
        told = "One seed a row." if alone else "Small: seeds; large: their means."
        colors.note(figure, f"{told} Right fits better, up tests better.")
    told = captions.ALONE if alone else "Small markers: seeds; large ones: their means."
    return Picture(
        figure,
        f"Right: how much lower the loss of the final prediction on training images is than that of "
        f"{summary.comparison.baseline} with the same seed, in percent; up: the gain over it on test images. {told}",
    )


def tuning(summary: Summary, store: str, colors: Looks) -> Picture | None:
    """What the best of k trials is worth on validation images: the mean over all choices of k of the trials.

    The value is the log delta in percent, against the baseline that is tuned with all its trials. Returns None where
    the baseline was not tuned.
    """
    worth = by_row(searches(summary.comparison.trained(), summary.comparison.parents))
    if summary.comparison.baseline not in worth:
        return None
    reference, num_tasks = worth[summary.comparison.baseline][-1], len(summary.comparison.tasks)
    with mpl.rc_context(colors.style):
        size = (6.4, 3.8) if colors.width is None else (colors.width, 2.2)
        figure, axis = plt.subplots(figsize=size, layout="constrained")
        for label, values in worth.items():
            axis.plot(
                range(1, len(values) + 1), 100 / num_tasks * (values - reference), color=colors[label],
                ls=colors.dash(label), marker=colors.marker(label), markersize=colors.size(label, 0.6),
            )  # fmt: skip
        axis.axhline(0, color="black", lw=0.8, zorder=ZERO)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(xlabel="trials k", ylabel="log Δm, validation [%]")
        if colors.width is None:
            axis.set_title("Expected best of k trials")
        colors.legend(figure, list(worth))
        colors.note(
            figure, "Mean over all choices of k trials of the best one's score on validation images; up is better."
        )
    sentences = [
        "What a budget of k trials is worth: the mean over all choices of k of a row's trials of the best one's log Δm "
        "on validation images, against the baseline with its whole budget.",
        captions.choosing(summary),
        "A curve that still rises at its end was tuned with too few trials.",
    ]
    return Picture(figure, " ".join(filter(None, sentences)))


def predictions(summary: Summary, store: str, colors: Looks, sheet: int = 0) -> Picture | None:
    """A few test images, with what each row predicts for them. Many tasks need several sheets."""
    with mpl.rc_context(colors.style):
        drawn = panels(summary, store, colors, sheet)
    return None if drawn is None else Picture(*drawn)


# The figures of each table, in their order on the page. The file of a figure is named after its key.
FIGURES: dict[str, Draw] = {
    "gains": gains,
    "cost": delta_against_cost,
    "learning": learning_curves,
    "fit": fit_against_test,
    "tuning": tuning,
    "classes": classes,
    "predictions": predictions,
    **{f"predictions_{sheet + 1}": partial(predictions, sheet=sheet) for sheet in range(1, SHEETS)},
}


def save(
    figure: Figure,
    path: Path,
    formats: tuple[str, ...] = ("png", "pdf"),
    *,
    dots: float | None = None,
    style: Any = STYLE,
) -> list[Path]:
    """Write path.png and path.pdf without dates or versions, and close the figure. Returns the paths.

    dots: for each inch of pictures; None for those of all figures. style: the one that the figure was drawn in. In
    another one, an axis may get other ticks, for which the layout has no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    undated: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    }
    paths = [path.with_name(f"{path.name}.{ending}") for ending in formats]
    with mpl.rc_context(style):
        for written, ending in zip(paths, formats, strict=True):
            figure.savefig(written, metadata=undated[ending], dpi=dots or STYLE["savefig.dpi"])
    plt.close(figure)
    return paths


def _log_ticks(axis: Axes) -> None:
    """Give the x axis a log scale with plain numbers: 5, 10, 20 instead of powers."""
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    room = max(1.25, (high / low) ** 0.15)  # for labels
    axis.set_xlim(low / room, high * room)
    axis.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
