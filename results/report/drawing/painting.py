"""Values of a task as colours, the same wherever predictions are shown: in a report, and by `mtlbench predict`.

Letters: C channels, H W rows and columns. NaN is a pixel that has no label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Normalize
from numpy.typing import NDArray

Array = NDArray[Any]
Color = tuple[float, float, float]

NO_LABEL = (0.85, 0.85, 0.85)
FIELD, ERROR = "viridis", "Reds"  # colour maps

# The colour of each class by its number. Each is as far as can be (CIE 1976) from all before it, from white and from
# NO_LABEL: any two of the first 14 differ by 43, and any two of all 40 by 25.
CLASSES = (
    *("#4b78a5", "#c30f00", "#00a50f", "#f02db4", "#ffc300", "#4b3c00", "#002db4", "#00f0c3", "#780f3c", "#e1a5ff"),
    *("#f09669", "#b4c369", "#1e785a", "#ff0f69", "#1ee1ff", "#0087ff", "#693c87", "#f087a5", "#b4d200", "#3c6900"),
    *("#ff870f", "#968769", "#b45ae1", "#a57800", "#781e00", "#87f087", "#875a69", "#a5c3ff", "#a5e1b4", "#00a55a"),
    *("#d24b4b", "#960078", "#0f96a5", "#004b5a", "#003c78", "#ffd287", "#d23c78", "#965a3c", "#b469a5", "#ffc3f0"),
)


class Reading(NamedTuple):
    """What the values of a task say, and so what the colours of its pictures mean."""

    classes: Sequence[str]  # their names; () where values are no ids of classes
    unit: str  # of values that are no classes; "" for a number without a unit
    low: float  # the value of the darkest colour
    high: float  # the value of the brightest colour
    directions: bool = False  # unit vectors [3, H, W]: x left, y up, z to the viewer


def reading(values: Iterable[Array], classes: Sequence[str], unit: str) -> Reading:
    """How pictures of these values are read, from the least to the greatest of them.

    unit: of the task's score. A score in percent is one of decisions, and says nothing of the values.
    """
    arrays = list(values)
    if not classes and arrays and all(array.ndim == 3 and len(array) == 3 for array in arrays):
        return Reading((), "°", 0.0, 1.0, directions=True)
    flat = np.concatenate([magnitude(array).ravel() for array in arrays]) if arrays and not classes else np.zeros(0)
    known = flat[np.isfinite(flat)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return Reading(tuple(classes), "" if unit == "%" else unit, low, high)


def painted(values: Array, meaning: Reading) -> Array:
    """RGB [H, W, 3] of labels or predictions [H, W] or [C, H, W], with gray where there is none."""
    whole = values.astype(float)
    missing = ~np.isfinite(whole.reshape(-1, *whole.shape[-2:])).all(0)
    if meaning.directions:
        length = np.linalg.norm(whole, axis=0)
        shades = (whole / np.where(length == 0, 1, length)).transpose(1, 2, 0) / 2 + 0.5
    elif meaning.classes:
        shades = np.array(class_colors(len(meaning.classes)))[np.where(missing, 0, plane(whole)).astype(int)]
    else:
        scaled = Normalize(meaning.low, meaning.high, clip=True)(np.where(missing, meaning.low, magnitude(whole)))
        shades = np.asarray(mpl.colormaps[FIELD](scaled))[..., :3]
    return np.where(missing[..., None], NO_LABEL, shades)


def shaded(error: Array, worst: float) -> Array:
    """RGB [H, W, 3] of errors [H, W] from 0, white, to `worst`, dark; gray where there is no label."""
    shades = np.asarray(mpl.colormaps[ERROR](np.nan_to_num(error / worst).clip(0, 1)))[..., :3]
    return np.where(np.isnan(error)[..., None], NO_LABEL, shades)


def error(prediction: Array, label: Array, classes: bool) -> Array:
    """[H, W]: 1 for a wrong class, degrees between directions [C, H, W], or the size of a difference."""
    if label.ndim == 3 and len(label) > 1:
        length = np.linalg.norm(prediction, axis=0) * np.linalg.norm(label, axis=0)
        cosine = (prediction * label).sum(0) / np.where(length == 0, 1, length)
        angles: Array = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        return angles
    known, found = plane(label), plane(prediction)
    return np.where(np.isnan(known), np.nan, found != known) if classes else np.abs(found - known)


class Worst(NamedTuple):
    """The error that is darkest in pictures of errors, and whether there are greater ones."""

    value: float
    exceeded: bool


def darkest(errors: Sequence[Array]) -> Worst:
    """The error that is darkest: few are greater."""
    whole = np.concatenate([e.ravel() for e in errors])
    if not np.isfinite(whole).any():
        return Worst(1.0, exceeded=False)
    value = float(np.nanpercentile(whole, 98)) or 1.0
    return Worst(value, exceeded=bool(np.nanmax(whole) > value))


def occurring(values: Iterable[Array]) -> list[int]:
    """The classes that occur in any of these arrays, in ascending order."""
    found: set[int] = set()
    for array in values:
        found |= {int(number) for number in np.unique(array[np.isfinite(array)])}
    return sorted(found)


def class_colors(count: int) -> list[Color]:
    """A colour for each class, whatever their count. Past the last one they come again, half as light."""
    colors: list[Color] = []
    for place in range(count):
        red, green, blue = mpl.colors.to_rgb(CLASSES[place % len(CLASSES)])
        light = 0.5 ** (place // len(CLASSES))
        colors.append((light * red, light * green, light * blue))
    return colors


def ball(pixels: int) -> Array:
    """RGBA [pixels, pixels, 4] of a ball, whose surface has each direction that can be seen once."""
    right, up = np.meshgrid(np.linspace(-1, 1, pixels), np.linspace(1, -1, pixels))
    seen = 1 - right**2 - up**2
    directions = np.stack([-right, up, np.sqrt(np.maximum(seen, 0))])  # x points left
    shades = painted(directions, Reading((), "", 0.0, 1.0, directions=True))
    return np.concatenate([shades, (seen >= 0)[..., None].astype(float)], axis=-1)


def plane(values: Array) -> Array:
    """[H, W] of [1, H, W] or [H, W]."""
    return values.reshape(values.shape[-2:])


def magnitude(values: Array) -> Array:
    """[H, W] of [H, W] or [1, H, W]; of several channels their length."""
    return plane(values) if values.ndim == 2 or len(values) == 1 else np.linalg.norm(values, axis=0)
