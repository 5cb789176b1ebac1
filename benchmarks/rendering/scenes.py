"""Procedural indoor scenes: a furnished room with a camera and lights, rendered with the labels that follow from it.

The geometry is drawn first, and in metres, so that a key gives the same scene at every size of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtlbench.benchmarks.rendering import raycast, shading
from mtlbench.benchmarks.rendering.furniture import ITEMS
from mtlbench.benchmarks.rendering.raycast import Camera, Light, Shape, Vector
from mtlbench.benchmarks.rendering.stage import CLASSES, Draws, Piece, Pose, Stage, cross
from mtlbench.benchmarks.tasks.kinds import IGNORE

# Everything that stands in the room can be salient. The other classes are the room itself.
SALIENT = ("person", "cabinet", "bed", "sofa", "chair", "table", "lamp", "object")
FOCAL = 0.81  # in image widths, as for the Kinect of NYUD-v2
COARSE = 64  # columns of the grid for shadows and areas, at every size of the image

_LOTTERY = tuple(item for item in ITEMS for _ in range(item.weight))
_SLAB = 0.1  # half the thickness of walls, in metres


class Room:
    """The extents of a room, and the places on its floor that are taken. The camera stands near the wall at y = 0."""

    def __init__(self, draws: Draws) -> None:
        self.length = draws.uniform(3.2, 6.0)  # x
        self.width = draws.uniform(3.6, 6.8)  # y
        self.height = draws.uniform(2.3, 3.0)
        self.taken: list[tuple[float, float, float]] = []  # x, y, radius
        # The three walls in view, with their lengths. The x axis of a pose runs along the wall, its y axis into the
        # room.
        self.walls = (
            (Pose.turned(self.length, self.width, math.pi), self.length),
            (Pose.turned(0, self.width, -math.pi / 2), self.width),
            (Pose.turned(self.length, 0, math.pi / 2), self.width),
        )

    def place(self, draws: Draws, width: float, depth: float, by_wall: bool) -> Pose | None:
        """A free place on the floor, or None if a dozen tries found no free place."""
        radius = 0.42 * math.hypot(width, depth)  # corners may touch
        for _ in range(12):
            if by_wall:
                wall, length = draws.choice(self.walls)
                pose = wall.at(draws.uniform(width / 2, length - width / 2), depth / 2 + 0.02, 0)
            else:
                margin = radius + 0.05
                x, y = draws.uniform(margin, self.length - margin), draws.uniform(margin, self.width - margin)
                pose = Pose.turned(x, y, draws.uniform(-math.pi, math.pi))
            x, y, _ = pose.origin
            if all(math.hypot(x - a, y - b) > radius + r for a, b, r in self.taken):
                self.taken.append((x, y, radius))
                return pose
        return None


class Scene(NamedTuple):
    """A scene, from which a frame is rendered. draws: the rest of the stream, for exposure and noise."""

    pieces: list[Piece]
    camera: Camera
    lights: list[Light]
    ambient: Vector
    draws: Draws


def scene(key: Sequence[int], tie: float) -> Scene:
    """The scene of a key of non-negative integers. tie: the probability that a texture is typical of its class."""
    draws = Draws(key)
    room, stage = Room(draws), Stage(draws, tie)
    eye = (draws.uniform(0.2, 0.8) * room.length, draws.uniform(0.25, 0.9), draws.uniform(1.1, 1.75))
    to_middle = math.atan2(room.length / 2 - eye[0], room.width / 2 - eye[1])
    camera = _camera(eye, to_middle + draws.uniform(-0.5, 0.5), draws.uniform(-0.32, 0.06), draws.uniform(-0.04, 0.04))
    room.taken.append((eye[0], eye[1], 0.7))

    _shell(stage, room)
    _wall_items(stage, room)
    for _ in range(5 + draws.below(5)):
        item = draws.choice(_LOTTERY)
        width, depth, height = draws.uniform(*item.width), draws.uniform(*item.depth), draws.uniform(*item.height)
        pose = room.place(draws, width, depth, draws.chance(item.by_wall))
        if pose is not None:
            item.build(stage, pose, width, depth, height)
    if draws.chance(0.25):
        _trinkets(stage, room)

    lights = []
    for _ in range(1 + draws.below(2)):
        x, y = draws.uniform(0.2, 0.8) * room.length, draws.uniform(0.15, 0.85) * room.width
        z = room.height - draws.uniform(0.25, 0.6)
        power, warmth = draws.uniform(1.5, 4.0), draws.uniform(-0.15, 0.25)
        lights.append(Light((x, y, z), (power * (1 + warmth), power, power * (1 - warmth))))
    level, tint = draws.uniform(0.2, 0.5), draws.uniform(-0.12, 0.12)
    return Scene(stage.pieces, camera, lights, (level * (1 - tint), level, level * (1 + tint)), draws)


def _camera(eye: Vector, heading: float, pitch: float, roll: float) -> Camera:
    """A camera, by three angles in radians. heading: from y towards x. pitch: upwards. roll: about the axis of view."""
    ahead = (math.sin(heading) * math.cos(pitch), math.cos(heading) * math.cos(pitch), math.sin(pitch))
    level = (math.cos(heading), -math.sin(heading), 0.0)
    below = cross(ahead, level)
    cos, sin = math.cos(roll), math.sin(roll)
    right = (cos * level[0] + sin * below[0], cos * level[1] + sin * below[1], cos * level[2] + sin * below[2])
    return Camera(eye, right, cross(ahead, right), ahead, FOCAL)


def _shell(stage: Stage, room: Room) -> None:
    """Adds walls, floor and ceiling as slabs that overlap at the corners. Each wall is an instance of its own."""
    x, y, z = room.length / 2, room.width / 2, room.height / 2
    world = Pose.turned(0, 0, 0)
    common = stage.texture("wall")
    for centre, half in (
        ((-_SLAB, y), (_SLAB, y + 2 * _SLAB)),
        ((2 * x + _SLAB, y), (_SLAB, y + 2 * _SLAB)),
        ((x, -_SLAB), (x + 2 * _SLAB, _SLAB)),
        ((x, 2 * y + _SLAB), (x + 2 * _SLAB, _SLAB)),
    ):
        texture = stage.texture("wall") if stage.draws.chance(0.15) else common
        stage.thing("wall", world, solid=False).box((*centre, z), (*half, z + 2 * _SLAB), texture)
    across = (x + 2 * _SLAB, y + 2 * _SLAB, _SLAB)
    stage.thing("ceiling", world, solid=False).box((x, y, 2 * z + _SLAB), across, stage.texture("ceiling"))
    floor = stage.thing("floor", world, solid=False)
    floor.box((x, y, -_SLAB), across, stage.texture("floor"))
    if stage.draws.chance(0.35):  # a rug is floor, so its edge is in the image but in no label
        half_rug = (stage.draws.uniform(0.5, 1.1), stage.draws.uniform(0.4, 0.9), 0.004)
        middle = (stage.draws.uniform(1, 2 * x - 1), stage.draws.uniform(1.2, 2 * y - 1), 0.004)
        floor.box(middle, half_rug, stage.texture("floor"))


def _wall_items(stage: Stage, room: Room) -> None:
    """Adds doors, windows and pictures, side by side on the walls. Pictures make edges of colour but not of depth."""
    draws = stage.draws
    taken: list[list[tuple[float, float]]] = [[] for _ in room.walls]
    for _ in range(draws.below(10)):
        side = draws.below(len(room.walls))
        wall, length = room.walls[side]
        kind = draws.choice(("door", "window", "picture", "picture"))
        half = draws.uniform(*{"door": (0.38, 0.5), "window": (0.35, 0.8), "picture": (0.15, 0.5)}[kind])
        place = draws.uniform(half + 0.1, length - half - 0.1)
        if any(place - half < end and place + half > start for start, end in taken[side]):
            continue
        taken[side].append((place - half - 0.08, place + half + 0.08))
        thing = stage.thing(kind, wall.at(place, 0, 0))
        if kind == "door":
            up = draws.uniform(0.96, 1.06)
            thing.box((0, 0.02, up), (half, 0.02, up), stage.texture("door"))
            thing.box((0, 0.04, 2 * up + 0.04), (half + 0.07, 0.04, 0.04), stage.texture("door"))
            knob = draws.choice((-1, 1)) * (half - 0.08)
            thing.upright(Shape.SPHERE, (knob, 0.08, 1.0), (0.035, 0.05, 0.035), stage.texture("lamp"))
        elif kind == "window":
            up, height = draws.uniform(0.35, 0.65), draws.uniform(1.3, 1.6)
            pane = stage.texture("window", glow=draws.uniform(0.3, 1.6))
            thing.box((0, 0.015, height), (half, 0.015, up), pane)
        else:
            up, height = draws.uniform(0.15, 0.42), draws.uniform(1.3, 1.75)
            thing.box((0, 0.01, height), (half, 0.01, up), stage.texture("picture"))
            thing.box((0, 0.014, height), (0.85 * half, 0.014, 0.85 * up), stage.texture("picture"))


def _trinkets(stage: Stage, room: Room) -> None:
    """Adds small things on the floor that have no label, as if annotators had left them out."""
    draws = stage.draws
    for _ in range(2 + draws.below(3)):
        pose = room.place(draws, 0.3, 0.3, by_wall=False)
        if pose is not None:
            half, shape = draws.uniform(0.08, 0.2), draws.choice(tuple(Shape))
            stage.thing("void", pose).upright(shape, (0, 0, half), (half, half, half), stage.texture("object"))


def render(key: Sequence[int], size: tuple[int, int], tie: float) -> dict[str, NDArray[np.uint8] | raycast.Floats]:
    """The frame of a key at a size (rows, columns): an image and exact labels for six tasks.

    image: uint8 [3, H, W], RGB. semseg: uint8 [H, W], index into CLASSES, 255 for trinkets. human_parts: uint8
    [H, W], index into BODY_PARTS, 255 everywhere when nobody is in view. depth: float32 [1, H, W], z-depth in metres,
    0 in windows. normals: float32 [3, H, W], unit length, x left, y up, z to the viewer, zero vector in windows.
    edge, saliency: uint8 [H, W] in {0, 1}.

    A pixel centre that two sizes share has the same labels in both. Only edges differ: they are one pixel wide at any
    size.
    """
    pieces, camera, lights, ambient, draws = scene(key, tie)
    parts = [piece.part for piece in pieces]
    view = raycast.view(parts, camera)
    hit = raycast.surface(view, raycast.cast(view, size))
    coarse = raycast.cast(view, (max(1, round(COARSE * size[0] / size[1])), COARSE))
    lit = raycast.lit(view, np.flatnonzero([piece.solid for piece in pieces]), coarse.depth, lights)
    image = _develop(shading.shade(parts, view, hit, lights, lit, ambient), draws)

    label = np.array([piece.label for piece in pieces], dtype=np.uint8)
    body = np.array([piece.body for piece in pieces], dtype=np.uint8)
    instance = np.array([piece.instance for piece in pieces], dtype=np.intp)
    semseg, human_parts = label[hit.part], body[hit.part]
    if not human_parts.any():
        human_parts[:] = IGNORE
    measured = semseg != CLASSES.index("window")  # a Kinect gets no echo from glass
    return {
        "image": image,
        "semseg": semseg,
        "human_parts": human_parts,
        "depth": (hit.depth * measured)[None],
        # The camera frame is x right, y down, z ahead. Subtracting from 0 leaves no negative zeros.
        "normals": np.where(measured, 0 - hit.normal, 0),
        "edge": _edges(instance[hit.part]),
        "saliency": _salient(coarse.part, instance, label)[hit.part],
    }


def _edges(instance: NDArray[np.intp]) -> NDArray[np.uint8]:
    """The edges [H, W]: 1 where the pixel to the right or the pixel below belongs to another instance."""
    edge = np.zeros(instance.shape, dtype=np.uint8)
    edge[:, :-1] |= instance[:, :-1] != instance[:, 1:]
    edge[:-1] |= instance[:-1] != instance[1:]
    return edge


def _salient(part: NDArray[np.intp], instance: NDArray[np.intp], label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """For each part, whether its instance is salient: 0 or 1.

    An instance that stands in the room is salient if its centre-weighted area is at least half of the greatest such
    area. part [h, w]: the parts that are seen on a grid, which does not depend on the size of the image.
    """
    rows, columns = ((2 * np.arange(n) + 1) / n - 1 for n in part.shape)
    weight = (1 - 0.8 * rows[:, None] ** 2) * (1 - 0.8 * columns**2)
    area = np.bincount(instance[part].ravel(), weight.ravel(), minlength=int(instance.max()) + 1)
    stands = np.isin(label, [CLASSES.index(name) for name in SALIENT])
    area[instance[~stands]] = 0
    chosen: NDArray[np.bool_] = (area > 0) & (area >= area.max() / 2)
    return chosen[instance].astype(np.uint8)


def _develop(radiance: raycast.Floats, draws: Draws) -> NDArray[np.uint8]:
    """Applies exposure, white balance, gamma 2 and sensor noise: linear RGB [3, H, W] -> uint8."""
    target, noise = draws.uniform(0.17, 0.36), draws.uniform(0.01, 0.05)
    balance = np.array([[[draws.uniform(0.9, 1.1)]] for _ in range(3)], dtype=np.float32)
    image = np.sqrt(radiance * (balance * (target / float(radiance.mean(dtype=np.float64)))))
    random = draws.generator.random
    grain = random(image.shape, dtype=np.float32) - random(image.shape, dtype=np.float32)
    image = np.clip(image + noise * grain, 0, 1)
    developed: NDArray[np.uint8] = (image * 255 + 0.5).astype(np.uint8)
    return developed
