"""Cheap shading of the points that a camera sees, with solid textures, Lambert's law and Blinn's gloss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mtlbench.benchmarks.rendering.raycast import (
    Floats,
    Hit,
    Light,
    Number,
    Part,
    Pattern,
    Vector,
    View,
    places,
    rays,
)


def enlarge(coarse: Floats, size: tuple[int, int]) -> Floats:
    """Interpolates bilinearly between pixel centres: [h, w] -> [H, W]."""

    def weights(pixels: int, cells: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
        position = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
        low = np.minimum(position.astype(np.intp), max(cells - 2, 0))
        return low, np.minimum(low + 1, cells - 1), (position - low).astype(np.float32)

    top, bottom, down = weights(size[0], coarse.shape[0])
    left, right, across = weights(size[1], coarse.shape[1])
    rows = coarse[top] + (coarse[bottom] - coarse[top]) * down[:, None]
    enlarged: Floats = rows[:, left] + (rows[:, right] - rows[:, left]) * across
    return enlarged


def _step(wave: Floats, sharpness: float) -> Floats:
    share: Floats = np.clip(wave * sharpness + 0.5, 0, 1)
    return share


# Each function maps three phases, which grow along the axes of a part, to the share of the second colour in [0, 1].
_PATTERNS: dict[Pattern, Callable[[Floats, Floats, Floats], Floats]] = {
    Pattern.PLAIN: lambda a, b, c: 0.1 + 0.1 * np.sin(a + np.sin(b + c)),
    Pattern.STRIPES: lambda a, b, c: _step(np.sin(a + b + c), 4),
    Pattern.CHECKS: lambda a, b, c: _step(np.sin(a) * np.sin(b) * np.sin(c), 8),
    Pattern.WOOD: lambda a, b, c: (
        0.5 + 0.5 * np.sin(a + 1.3 * np.sin(0.11 * b + 0.2 * c) + 0.7 * np.sin(0.27 * b + 0.9))
    ),
    Pattern.BLOTCHES: lambda a, b, c: 0.5 + 0.25 * (np.sin(a + 2 * np.sin(b)) + np.sin(c + b + 2 * np.sin(0.7 * a))),
    Pattern.DOTS: lambda a, b, c: _step(np.abs(np.cos(a) * np.cos(b) * np.cos(c)) - 0.35, 8),
    Pattern.PANES: lambda a, b, c: _step(0.12 - np.abs(np.sin(a) * np.sin(c)), 40),
}


def albedo(parts: Sequence[Part], view: View, hit: Hit) -> Floats:
    """Linear RGB [3, H, W] of the surfaces seen."""
    textures = [part.texture for part in parts]
    lengths = np.sqrt((view.axes**2).sum(-1))  # of the half axes: unit coordinates times these lengths are metres
    frequency = (np.array([texture.frequency for texture in textures]) * lengths).astype(np.float32)
    phase = np.array([texture.phase for texture in textures], dtype=np.float32)
    colours = np.array([texture.colours for texture in textures], dtype=np.float32)
    pattern = np.array([texture.pattern for texture in textures], dtype=np.intp)
    index = hit.part.ravel()
    phases = hit.unit.reshape(3, -1) * np.take(frequency.T, index, axis=1) + np.take(phase.T, index, axis=1)
    share = np.empty(index.shape, dtype=np.float32)
    for kind, mix in _PATTERNS.items():
        chosen = np.flatnonzero(pattern[index] == kind)
        if len(chosen):
            share[chosen] = mix(*phases[:, chosen])
    first = np.take(colours[:, 0].T, index, axis=1)
    second = np.take(colours[:, 1].T, index, axis=1)
    mixed: Floats = first + share * (second - first)
    return mixed.reshape(3, *hit.part.shape)


def shade(
    parts: Sequence[Part], view: View, hit: Hit, lights: Sequence[Light], lit: Sequence[Floats], ambient: Vector
) -> Floats:
    """Linear RGB [3, H, W] under point lights and an ambient light from above: Lambert's law and Blinn's gloss.

    lit: the result of `raycast.lit` for each light, at any size; it is interpolated.
    """
    size = hit.depth.shape
    x, y = rays(view.camera.focal, size)
    point = [hit.depth * x, hit.depth * y, hit.depth]
    distance = _norm(point)
    normal = list(hit.normal)
    up = [axis[2] for axis in (view.camera.right, view.camera.down, view.camera.ahead)]
    glow = np.array([part.texture.glow for part in parts], dtype=np.float32)[hit.part]
    gloss = np.array([part.texture.gloss for part in parts], dtype=np.float32)[hit.part]

    sky = 0.75 + 0.25 * _dot(normal, up)  # a surface that faces down gets half of the ambient light
    received = [level * sky + glow for level in ambient]
    shine = [np.zeros(size, dtype=np.float32) for _ in range(3)]
    for light, place, seen in zip(lights, places(view, lights), lit, strict=True):
        way = [place[k] - point[k] for k in range(3)]
        length = _norm(way)
        # The constant keeps a wall beside a light from burning out.
        arriving = enlarge(seen, size) / (length * length + 0.4)
        diffuse = arriving * np.maximum(_dot(normal, way) / length, 0)
        half = [way[k] / length - point[k] / distance for k in range(3)]
        glint = np.maximum(_dot(normal, half) / _norm(half), 0)
        for _ in range(4):  # the 16th power, computed by IEEE products alone
            glint = glint * glint
        glossy = arriving * gloss * glint
        for k in range(3):
            received[k] = received[k] + light.power[k] * diffuse
            shine[k] = shine[k] + light.power[k] * glossy
    radiance: Floats = albedo(parts, view, hit) * np.stack(received) + np.stack(shine)
    return radiance


def _dot(a: Sequence[Floats], b: Sequence[Number]) -> Floats:
    product: Floats = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product


def _norm(a: Sequence[Floats]) -> Floats:
    norm: Floats = np.sqrt(_dot(a, a))
    return norm
