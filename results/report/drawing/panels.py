"""Test images with their labels, what each row predicts for them, and where it errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from numpy.typing import NDArray

from mtlbench.results.records import files
from mtlbench.results.records.files import PIXELS, Shown, read_shown
from mtlbench.results.records.reading import open_store
from mtlbench.results.report.display import with_unit
from mtlbench.results.summary.summary import Summary

Array = NDArray[Any]

NO_LABEL = (0.85, 0.85, 0.85)
MOST_LINES = 12  # of pictures below each other
TILE = 1.15  # inches
NARROWEST = 0.65  # inches; names do not fit beside each other above narrower pictures


class Scale(NamedTuple):
    """What colours mean in all pictures of a task: values from low to high, and errors from 0 to worst."""

    low: float
    high: float
    worst: float


class Page(NamedTuple):
    """What is drawn, and how large."""

    chosen: Sequence[str]  # images
    scales: Mapping[str, Scale]  # by task
    width: float | None  # of a paper, in inches


class Shots(NamedTuple):
    """What is drawn: truth and predictions of the same images at one seed."""

    truth: Shown
    predicted: dict[str, dict[str, dict[str, Array]]]  # label -> image -> task -> values
    images: list[str]
    seed: int


def panels(summary: Summary, store: str, width: float | None = None) -> tuple[Figure, str] | None:
    """The figure and its caption. None where the store has no images, or no cell's predictions of them.

    width: of a paper, in inches.
    """
    shots = _shots(summary, store)
    if shots is None:
        return None
    tasks = summary.comparison.tasks
    errors = {task: {image: _errors(shots, image, task) for image in shots.images} for task in tasks}
    count = max(1, min(3, MOST_LINES // (2 * len(tasks))))
    chosen = _chosen(errors, shots.images, count)
    scales = {task: _scale(shots, errors[task], chosen, task) for task in tasks}
    figure = _drawn(summary, shots, errors, Page(chosen, scales, width))
    which = {1: "the median", 2: "the best and the worst", 3: "the best, the median and the worst"}[count]
    caption = (
        f"Seed {shots.seed}. Of {len(shots.images)} test images that are evenly spaced over the split, {which} by mean "
        "error over rows and tasks, each task's error divided by its mean. Below each prediction is its error: wrong "
        "pixels of classes, and the size of the error of other tasks, from white to dark. Gray: no label."
    )
    return figure, caption


def _shots(summary: Summary, store: str) -> Shots | None:
    fs, root = open_store(store)

    def read(name: str) -> Shown | None:
        return read_shown(fs.cat_file(f"{root}/{name}"), name) if fs.exists(f"{root}/{name}") else None

    truth = read(files.shown(summary.comparison.benchmark))
    rows = {label: row.row for label, row in summary.rows.items() if row.row.finished()}
    common = set.intersection(*(set(row.finished()) for row in rows.values())) if rows else set[int]()
    if truth is None or not common:
        return None
    seed, predicted = min(common), dict[str, dict[str, dict[str, Array]]]()
    for label, row in rows.items():
        for entry in row.runs[seed].entries:
            found = read(files.samples(entry.id))
            for image, values in ({} if found is None else found.arrays).items():
                predicted.setdefault(label, {}).setdefault(image, {}).update(values)
    needed = set(summary.comparison.tasks)
    predicted = {label: of for label, of in predicted.items() if all(needed <= values.keys() for values in of.values())}
    images = [image for image in truth.arrays if predicted and all(image in of for of in predicted.values())]
    return Shots(truth, predicted, images, seed) if images else None


def _errors(shots: Shots, image: str, task: str) -> dict[str, Array]:
    """label -> the error at each pixel, NaN where it has no label."""
    label, classes = shots.truth.arrays[image][task], bool(shots.truth.classes[task])
    return {row: error(of[image][task].astype(float), label, classes) for row, of in shots.predicted.items()}


def error(prediction: Array, label: Array, classes: bool) -> Array:
    """[H, W]: 1 for a wrong class, degrees between directions [C, H, W], or the size of a difference."""
    if label.ndim == 3 and len(label) > 1:
        length = np.linalg.norm(prediction, axis=0) * np.linalg.norm(label, axis=0)
        cosine = (prediction * label).sum(0) / np.where(length == 0, 1, length)
        angles: Array = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        return angles
    known, found = _plane(label), _plane(prediction)
    return np.where(np.isnan(known), np.nan, found != known) if classes else np.abs(found - known)


def _plane(values: Array) -> Array:
    """[H, W] of [1, H, W] or [H, W]."""
    return values.reshape(values.shape[-2:])


def _mean(values: Array) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _chosen(errors: Mapping[str, Mapping[str, Mapping[str, Array]]], images: Sequence[str], count: int) -> list[str]:
    """The images with the least, the median and the greatest mean error."""
    means = np.array([[np.mean([_mean(e) for e in of[image].values()]) for image in images] for of in errors.values()])
    centres = np.array([[_mean(of_images)] for of_images in means])
    relative = np.nan_to_num(means / centres, nan=1.0).mean(0)  # an image without a label of a task counts as its mean
    order = [images[place] for place in np.argsort(relative, kind="stable")]
    places = {1: [len(order) // 2], 2: [0, -1], 3: [0, len(order) // 2, -1]}[count]
    return list(dict.fromkeys(order[place] for place in places))


def _scale(shots: Shots, errors: Mapping[str, Mapping[str, Array]], chosen: Sequence[str], task: str) -> Scale:
    labels = np.concatenate([shots.truth.arrays[image][task].ravel() for image in chosen]).astype(float)
    known = labels[~np.isnan(labels)]
    if not len(known):
        return Scale(0.0, 1.0, 1.0)
    worst = np.nanpercentile(np.concatenate([e.ravel() for image in chosen for e in errors[image].values()]), 98)
    return Scale(float(known.min()), float(known.max()), float(worst) or 1.0)


def _drawn(
    summary: Summary,
    shots: Shots,
    errors: Mapping[str, Mapping[str, Mapping[str, Array]]],
    page: Page,
) -> Figure:
    lines = [(image, task) for image in page.chosen for task in errors]
    rows, (height, width) = list(shots.predicted), shots.truth.arrays[page.chosen[0]][PIXELS].shape[:2]
    tile, scales = TILE if page.width is None else 0.9 * page.width / (len(rows) + 2), page.scales
    steep = tile < NARROWEST  # names stand upright
    size = (
        TILE * (len(rows) + 2) + 0.9 if page.width is None else page.width,
        (tile * height / width + 0.06) * 2 * len(lines) + (1.1 if steep else 0.7),
    )
    figure, axes = plt.subplots(
        2 * len(lines), len(rows) + 2, figsize=size, squeeze=False,
        layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01),
    )  # fmt: skip
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, title in zip(axes[0], ["image", "label", *rows], strict=True):
        axis.set_title(title, fontsize=8, rotation=90 if steep else 0)
    for number, (image, task) in enumerate(lines):
        names, scale, upper, lower = shots.truth.classes[task], scales[task], axes[2 * number], axes[2 * number + 1]
        truth = shots.truth.arrays[image]
        if task == next(iter(errors)):
            upper[0].imshow(truth[PIXELS], interpolation="nearest")
        upper[1].imshow(_painted(truth[task], names, scale), interpolation="nearest")
        lower[1].text(1, 0.5, f"{task}\nerror", ha="right", va="center", fontsize=7, transform=lower[1].transAxes)
        for place, row in enumerate(rows, start=2):
            upper[place].imshow(_painted(shots.predicted[row][image][task], names, scale), interpolation="nearest")
            lower[place].imshow(_shaded(errors[task][image][row], scale.worst), interpolation="nearest")
    _legends(figure, axes, summary, shots, scales)
    return figure


def _painted(values: Array, names: Sequence[str], scale: Scale) -> Array:
    """RGB [H, W, 3] of labels or predictions, with gray where there is no label. names: of classes, if it has some."""
    whole = values.astype(float)
    if whole.ndim == 3 and len(whole) == 3:  # directions
        length = np.linalg.norm(whole, axis=0)
        shades = (whole / np.where(length == 0, 1, length)).transpose(1, 2, 0) / 2 + 0.5
    elif names:
        shades = np.array(class_colors(len(names)))[np.nan_to_num(_plane(whole)).astype(int)]
    else:
        size = _plane(whole) if len(whole) == 1 or whole.ndim == 2 else np.linalg.norm(whole, axis=0)
        shades = np.asarray(mpl.colormaps["viridis"](Normalize(scale.low, scale.high, clip=True)(size)))[..., :3]
    missing = np.isnan(whole.reshape(-1, *whole.shape[-2:])).any(0)
    return np.where(missing[..., None], NO_LABEL, shades)


def _shaded(error: Array, worst: float) -> Array:
    shades = np.asarray(mpl.colormaps["Reds"](np.nan_to_num(error / worst).clip(0, 1)))[..., :3]
    return np.where(np.isnan(error)[..., None], NO_LABEL, shades)


def class_colors(count: int) -> list[tuple[float, float, float]]:
    """A colour for each class. Neighbours in the list differ in lightness too."""
    hues = sns.husl_palette(count, s=0.85, l=0.6)
    return [tuple(c * (1.0 if place % 2 else 0.68) for c in hue) for place, hue in enumerate(hues)]


def _legends(figure: Figure, axes: Any, summary: Summary, shots: Shots, scales: Mapping[str, Scale]) -> None:
    """The names of the classes below the pictures, and the scale of each field beside them."""
    handles: list[Patch] = []
    for task, scale in scales.items():
        names, column = shots.truth.classes[task], summary.columns[task]
        if names:
            handles += [Patch(color=c, label=name) for c, name in zip(class_colors(len(names)), names, strict=True)]
        elif all(np.prod(of[task].shape[:-2]) == 1 for of in shots.truth.arrays.values()):
            shade = ScalarMappable(Normalize(scale.low, scale.high), "viridis")
            bar = figure.colorbar(shade, ax=axes, shrink=0.5, aspect=30, pad=0.01)
            unit = "" if column.reference is None else column.reference.unit
            bar.set_label(with_unit(task, unit), fontsize=7)
            bar.ax.tick_params(labelsize=7)
    handles.append(Patch(color=NO_LABEL, label="no label"))
    columns = max(1, min(len(handles), int(figure.get_size_inches()[0] / 0.95)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=7, frameon=False)
