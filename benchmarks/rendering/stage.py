"""A stage is a scene under construction: its pieces, and the draws and textures that make the pieces.

In the world frame x and y lie on the floor and z points up, in metres. In the own frame of a thing x points to its
side, y to its front and z up, and the origin is on the floor below the thing. Everything is drawn from the raw doubles
of one generator, because NumPy keeps these doubles stable between releases, but not its distributions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from mtlbench.benchmarks.rendering.raycast import Part, Pattern, Shape, Texture, Vector
from mtlbench.benchmarks.tasks.kinds import IGNORE

CLASSES = (
    "wall", "floor", "ceiling", "person", "cabinet", "bed", "sofa",
    "door", "chair", "table", "window", "lamp", "picture", "object",
)  # fmt: skip

BODY_PARTS = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")

BACKGROUND, HEAD, TORSO, UPPER_ARM, LOWER_ARM, UPPER_LEG, LOWER_LEG = range(7)

T = TypeVar("T")


class Draws:
    """A stream of raw doubles."""

    def __init__(self, key: Sequence[int]) -> None:
        self.generator = np.random.default_rng(list(key))

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.generator.random()

    def chance(self, probability: float) -> bool:
        return self.generator.random() < probability

    def below(self, end: int) -> int:
        return int(self.generator.random() * end)

    def choice(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]


class Pose(NamedTuple):
    """Where the own frame of a thing stands in the world: its origin, and its turn about the vertical."""

    origin: Vector
    cos: float
    sin: float

    @classmethod
    def turned(cls, x: float, y: float, angle: float) -> Pose:
        return cls((x, y, 0.0), math.cos(angle), math.sin(angle))

    def vector(self, x: float, y: float, z: float) -> Vector:
        return self.cos * x - self.sin * y, self.sin * x + self.cos * y, z

    def point(self, x: float, y: float, z: float) -> Vector:
        right, front, up = self.vector(x, y, z)
        return self.origin[0] + right, self.origin[1] + front, self.origin[2] + up

    def at(self, x: float, y: float, z: float, angle: float = 0.0) -> Pose:
        """The pose in the world of a pose that is given in the frame of this pose."""
        cos, sin = math.cos(angle), math.sin(angle)
        return Pose(self.point(x, y, z), self.cos * cos - self.sin * sin, self.sin * cos + self.cos * sin)


class Piece(NamedTuple):
    """A part with its labels."""

    part: Part
    instance: int
    label: int  # index into CLASSES, or IGNORE
    body: int  # index into BODY_PARTS
    solid: bool  # casts a shadow


@dataclass
class Thing:
    """One instance. It adds parts, given in its own frame, to the pieces of a scene."""

    pieces: list[Piece]
    instance: int
    label: int
    pose: Pose
    solid: bool = True

    def add(
        self, shape: Shape, centre: Vector, axes: tuple[Vector, Vector, Vector], texture: Texture, body: int
    ) -> None:
        world = (self.pose.vector(*axes[0]), self.pose.vector(*axes[1]), self.pose.vector(*axes[2]))
        part = Part(shape, self.pose.point(*centre), world, texture)
        self.pieces.append(Piece(part, self.instance, self.label, body, self.solid))

    def upright(self, shape: Shape, centre: Vector, half: Vector, texture: Texture, body: int = BACKGROUND) -> None:
        """Adds a solid along the axes of the frame."""
        self.add(shape, centre, ((half[0], 0, 0), (0, half[1], 0), (0, 0, half[2])), texture, body)

    def box(self, centre: Vector, half: Vector, texture: Texture) -> None:
        self.upright(Shape.CUBE, centre, half, texture)

    def drum(self, centre: Vector, radius: float, half_height: float, texture: Texture) -> None:
        self.upright(Shape.CYLINDER, centre, (radius, radius, half_height), texture)

    def limb(self, start: Vector, end: Vector, radius: float, texture: Texture, body: int) -> None:
        """Adds an ellipsoid from joint to joint, a little longer than the bone."""
        along = (end[0] - start[0], end[1] - start[1], end[2] - start[2])
        length = math.hypot(*along)
        unit = (along[0] / length, along[1] / length, along[2] / length)
        across = (1.0, 0.0, 0.0) if abs(unit[0]) < 0.8 else (0.0, 1.0, 0.0)
        side = cross(unit, across)
        side = scaled(side, 1 / math.hypot(*side))
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
        axes = (scaled(side, radius), scaled(cross(unit, side), radius), scaled(unit, 0.58 * length))
        self.add(Shape.SPHERE, middle, axes, texture, body)


def cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def scaled(a: Vector, factor: float) -> Vector:
    return a[0] * factor, a[1] * factor, a[2] * factor


class Palette(NamedTuple):
    """The looks that are typical of a class: patterns, and ranges of hue, saturation and value."""

    patterns: tuple[Pattern, ...]
    hue: tuple[float, float]
    saturation: tuple[float, float]
    value: tuple[float, float]


_ALL = (Pattern.PLAIN, Pattern.STRIPES, Pattern.CHECKS, Pattern.WOOD, Pattern.BLOTCHES, Pattern.DOTS)

_ANY = Palette(_ALL, (0, 1), (0.05, 0.7), (0.25, 0.95))

_PALETTES = {
    "wall": Palette((Pattern.PLAIN, Pattern.PLAIN, Pattern.STRIPES), (0.08, 0.18), (0.05, 0.3), (0.7, 0.95)),
    "floor": Palette((Pattern.WOOD, Pattern.CHECKS, Pattern.BLOTCHES), (0.04, 0.11), (0.3, 0.6), (0.3, 0.6)),
    "ceiling": Palette((Pattern.PLAIN,), (0, 1), (0, 0.08), (0.85, 0.97)),
    "person": Palette((Pattern.PLAIN, Pattern.STRIPES, Pattern.CHECKS), (0, 1), (0.4, 0.9), (0.3, 0.9)),
    "cabinet": Palette((Pattern.WOOD, Pattern.PLAIN), (0.05, 0.1), (0.3, 0.6), (0.4, 0.8)),
    "bed": Palette((Pattern.STRIPES, Pattern.DOTS, Pattern.PLAIN), (0.55, 0.85), (0.2, 0.6), (0.5, 0.95)),
    "sofa": Palette((Pattern.BLOTCHES, Pattern.PLAIN), (0.3, 0.65), (0.2, 0.6), (0.25, 0.6)),
    "door": Palette((Pattern.WOOD, Pattern.PLAIN), (0.06, 0.12), (0.1, 0.5), (0.5, 0.9)),
    "chair": Palette((Pattern.PLAIN, Pattern.WOOD), (0.9, 1.08), (0.4, 0.8), (0.3, 0.8)),
    "table": Palette((Pattern.WOOD,), (0.05, 0.13), (0.4, 0.7), (0.5, 0.85)),
    "window": Palette((Pattern.PANES,), (0.5, 0.62), (0.02, 0.35), (0.75, 1.0)),
    "lamp": Palette((Pattern.PLAIN, Pattern.STRIPES), (0.1, 0.16), (0.1, 0.5), (0.8, 1.0)),
    "picture": Palette((Pattern.BLOTCHES, Pattern.DOTS, Pattern.CHECKS), (0, 1), (0.3, 0.9), (0.3, 0.95)),
    "object": Palette((Pattern.PLAIN, Pattern.DOTS, Pattern.STRIPES), (0, 1), (0.5, 0.95), (0.4, 0.95)),
}

# The length of a period in metres, for each pattern.
_PERIODS = {
    Pattern.PLAIN: (0.3, 1.5),
    Pattern.STRIPES: (0.08, 0.5),
    Pattern.CHECKS: (0.15, 0.8),
    Pattern.WOOD: (0.05, 0.18),
    Pattern.BLOTCHES: (0.25, 1.2),
    Pattern.DOTS: (0.15, 0.5),
    Pattern.PANES: (0.5, 1.2),
}


def _colour(draws: Draws, palette: Palette) -> Vector:
    hue = draws.uniform(*palette.hue) % 1.0
    red, green, blue = hsv_to_rgb(hue, draws.uniform(*palette.saturation), draws.uniform(*palette.value))
    return red**2, green**2, blue**2  # the inverse of the renderer's gamma


def _texture(draws: Draws, palette: Palette, glow: float = 0.0) -> Texture:
    pattern = draws.choice(palette.patterns)
    first = _colour(draws, palette)
    # The second colour is a shade of the first, or sometimes quite another colour.
    second = _colour(draws, palette) if draws.chance(0.4) else scaled(first, draws.uniform(0.35, 0.8))
    period = draws.uniform(*_PERIODS[pattern])
    rates = [2 * math.pi / (period * draws.uniform(0.8, 1.25)) for _ in range(3)]
    if pattern == Pattern.STRIPES:  # they run along one axis of the part, or across all three
        along = draws.below(4)
        rates = [rate if along in (axis, 3) else 0.0 for axis, rate in enumerate(rates)]
    phase = (draws.uniform(0, 2 * math.pi), draws.uniform(0, 2 * math.pi), draws.uniform(0, 2 * math.pi))
    gloss = draws.uniform(0.1, 0.5) if draws.chance(0.3) else 0.0
    return Texture(pattern, (first, second), (rates[0], rates[1], rates[2]), phase, gloss, glow)


class Stage:
    """The pieces of a scene under construction, and the draws that make the pieces.

    tie: the probability that a texture is typical of its class. Below 1, colour hints at a class but does not tell it.
    """

    def __init__(self, draws: Draws, tie: float) -> None:
        self.draws = draws
        self.tie = tie
        self.pieces: list[Piece] = []
        self.instances = 0

    def texture(self, name: str, glow: float = 0.0) -> Texture:
        """A texture from the palette of the class with probability `tie`, otherwise any texture."""
        return _texture(self.draws, _PALETTES[name] if self.draws.chance(self.tie) else _ANY, glow)

    def thing(self, label: str, pose: Pose, solid: bool = True) -> Thing:
        """A new instance of a class of CLASSES, or of "void", which is not annotated."""
        self.instances += 1
        return Thing(self.pieces, self.instances - 1, IGNORE if label == "void" else CLASSES.index(label), pose, solid)
