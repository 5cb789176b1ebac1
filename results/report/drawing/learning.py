"""Learning curves. Losses that cannot be compared never share an axis as they are."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mtlbench.results.questions.fitting import FINAL_ALONE, images_of
from mtlbench.results.records import files
from mtlbench.results.records.reading import history
from mtlbench.results.records.record import Score, in_words
from mtlbench.results.report.display import titled, with_unit
from mtlbench.results.report.drawing.looks import Looks, Picture
from mtlbench.results.summary.runs import Run
from mtlbench.results.summary.summary import Summary

KINDS = ("training loss", "validation")
FINAL, ALONE = "loss of final prediction", "One seed a row."
LONG = 22  # letters of a title that is too long for one line above a panel of a paper
COLUMNS = ["label", "seed", "task", "kind", "epoch", "value"]


class Curves(NamedTuple):
    """Means over each epoch, and what the caption has to say of them."""

    frame: pd.DataFrame  # COLUMNS
    units: dict[tuple[str, str], str]  # by kind and task
    damaged: list[str]  # names of histories with lines that cannot be read
    relative: list[str]  # tasks whose losses are divided by their own first one
    left_out: list[str]  # labels with a run that has no first loss to divide by


def learning_curves(summary: Summary, store: str, colors: Looks) -> Picture | None:
    """The training loss by epoch, and the validation scores below it.

    Each task has a panel. Each row of the table has a line, which is the mean over seeds with a band of +-1 sd. Returns
    None where no finished cell has a history. Where every row's loss of its final predictions is known, and all rows
    saw the same training images, a panel shows these losses. Otherwise a method's loss is a sum over outputs that other
    methods lack, and each run's loss is divided by its own at the first epoch.
    """
    curves = _curves(summary, store)
    if curves.frame.empty:
        return None
    tasks = [task for task in summary.comparison.tasks if task in set(curves.frame["task"])]
    kinds = [kind for kind in KINDS if kind in set(curves.frame["kind"])]
    seeds = curves.frame.groupby(["label", "task", "kind"])["seed"].nunique()
    with mpl.rc_context(colors.style):
        size = (4.2 * len(tasks) + 1.6, 2.9 * len(kinds) + 0.5)
        figure, axes = colors.grid(len(tasks), len(kinds), size, 1.45)
        places = [(kind, task) for kind in kinds for task in tasks]
        beside = {kind for kind in kinds if colors.width is None or max(map(len, tasks)) + len(kind) < LONG}
        panels = dict(iter(curves.frame.groupby(["kind", "task"], sort=False)))
        for axis, place in zip(axes, places, strict=True):
            task = in_words(place[1])
            title = f"{task}, {place[0]}" if place[0] in beside else f"{task}\n{place[0]}"
            axis.set_title(title, linespacing=colors.spacing)
            panel = panels.get(place, curves.frame[:0])
            if panel.empty:
                axis.set_axis_off()
                continue
            for label in (label for label in summary.rows if label in set(panel["label"])):
                _line(axis, panel[panel["label"] == label], label, colors)
            unit = curves.units[place]
            axis.set(xlabel="epoch", ylabel="loss" if unit == FINAL and colors.width is not None else unit)
            axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
            axis.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
        shown = set(curves.frame["label"])
        colors.legend(figure, [label for label in summary.rows if label in shown])
        told = "Lines: means over seeds; bands: ±1 standard deviation over seeds." if seeds.max() > 1 else ALONE
        if colors.width is not None and FINAL in curves.units.values():  # the axes have no room for it
            told += " Losses are those of the final predictions."
        colors.note(figure, told)
    return Picture(figure, _caption(curves, alone=seeds.max() == 1), curves)


def _line(axis: Axes, of_label: pd.DataFrame, label: str, colors: Looks) -> None:
    by_epoch = of_label.groupby("epoch")["value"].agg(["mean", "std"])
    epochs, means, spread = by_epoch.index.to_numpy(), by_epoch["mean"].to_numpy(), by_epoch["std"].fillna(0).to_numpy()
    axis.fill_between(epochs, means - spread, means + spread, color=colors[label], alpha=0.13, lw=0)
    place = list(colors).index(label)
    every = max(1, len(epochs) // 6)  # markers of different lines lie at different epochs, where there are many
    axis.plot(
        epochs, means, color=colors[label], ls=colors.dash(label), marker=colors.marker(label),
        markersize=colors.size(label, 0.7, edge=0.5), mec="white", mew=0.5, markevery=(place % every, every),
    )  # fmt: skip


def _caption(curves: Curves, *, alone: bool) -> str:
    text = "One seed a row, which has no band." if alone else "Mean over seeds, band ±1 standard deviation."
    trained = sorted(task for kind, task in curves.units if kind == KINDS[0])
    if compared := [task for task in trained if task not in curves.relative]:
        text += (
            f" Training losses of {', '.join(compared)} are those of the final predictions, and can be compared "
            "between methods."
        )
    if curves.relative:
        text += (
            f" Training losses of {', '.join(curves.relative)} are sums over each method's own outputs, so each run's "
            "loss is divided by its own at the first epoch: a line says how fast a method learns, not how well."
        )
    if curves.left_out:
        text += f" Runs without a positive loss at the first epoch are left out of {', '.join(curves.left_out)}."
    if curves.damaged:
        text += f" Lines that cannot be read are left out of {', '.join(curves.damaged)}."
    return text


def _curves(summary: Summary, store: str) -> Curves:
    rows: list[dict[str, Any]] = []
    damaged: list[str] = []
    images: list[object] = []
    for label, row in summary.rows.items():
        for seed, run in row.row.runs.items():
            for cell_id, record in run.records.items():
                images.append(images_of(record))
                found = history(store, cell_id)
                if found.unreadable:
                    damaged.append(files.history(cell_id))
                alone = row.row.method in FINAL_ALONE
                rows += [{"label": label, "seed": seed, **event} for event in _events(found.rows, run, summary, alone)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    if rows:
        frame = frame.groupby(COLUMNS[:-1], sort=False)["value"].mean().reset_index()
    parts, units, relative, left_out = [], dict[tuple[str, str], str](), list[str](), list[str]()
    for task in summary.comparison.tasks:
        of_task = frame[frame["task"] == task]
        final, whole = (of_task[of_task["kind"] == kind] for kind in ("final", "loss"))
        if not whole.empty or not final.empty:
            runs = set(zip(whole["label"], whole["seed"], strict=True))
            if all(each == images[0] for each in images) and runs <= set(
                zip(final["label"], final["seed"], strict=True)
            ):
                loss, units[KINDS[0], task] = final, FINAL
            else:
                loss, without = _relative(whole)
                units[KINDS[0], task] = "loss / own first loss"
                relative.append(task)
                left_out += without
            parts.append(loss.assign(kind=KINDS[0]))
        reference = reference_of(summary, task)
        if reference is not None:
            units[KINDS[1], task] = with_unit(titled(reference), reference.unit)
        parts.append(of_task[of_task["kind"] == KINDS[1]])
    whole = pd.concat(parts) if parts else frame
    return Curves(whole, units, sorted(damaged), relative, list(dict.fromkeys(left_out)))


def _events(rows: list[dict[str, Any]], run: Run, summary: Summary, alone: bool) -> list[dict[str, Any]]:
    """The losses and reference scores of a history. alone: no output but the final ones, so that a loss is final."""
    found = []
    named = {str(event["name"]) for event in rows}
    for event in rows:
        kind, _, name = str(event["name"]).partition("/")
        first, _, second = name.partition("/")
        values = {"epoch": event["epoch"], "value": event["value"]}
        if kind == "train" and first in ("loss", "final") and second:
            found.append({**values, "task": second, "kind": first})
            if first == "loss" and alone and f"train/final/{second}" not in named:
                found.append({**values, "task": second, "kind": "final"})
        elif kind == "val" and second and (score := reference_of(summary, first)) and second == score.metric:
            found.append({**values, "task": first, "kind": KINDS[1]})
    return found


def _relative(losses: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Each run's losses divided by its own at the first epoch, and the labels of runs that have none above 0."""
    if losses.empty:
        return losses, []
    first = losses["epoch"].min()
    base = {
        (label, seed): value
        for label, seed, epoch, value in losses[["label", "seed", "epoch", "value"]].itertuples(index=False)
        if epoch == first and math.isfinite(value) and value > 0
    }
    keys = list(zip(losses["label"], losses["seed"], strict=True))
    kept = [key in base for key in keys]
    divided = losses[kept].assign(
        value=[value / base[key] for value, key in zip(losses["value"], keys, strict=True) if key in base]
    )
    return divided, sorted({label for label, seed in keys if (label, seed) not in base})


def reference_of(summary: Summary, task: str) -> Score | None:
    """The reference score of a task's column, which says what the column means."""
    column = summary.columns.get(task)
    return None if column is None else column.reference
