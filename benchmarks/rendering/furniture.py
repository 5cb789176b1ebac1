"""The furniture of rooms: things made of cubes, cylinders and spheres, with sizes and poses drawn at random."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from mtlbench.benchmarks.rendering.raycast import Pattern, Shape, Vector
from mtlbench.benchmarks.rendering.stage import (
    HEAD,
    LOWER_ARM,
    LOWER_LEG,
    TORSO,
    UPPER_ARM,
    UPPER_LEG,
    Palette,
    Pose,
    Stage,
    _texture,
)


def _clutter(stage: Stage, pose: Pose, size: float) -> None:
    """A small object of about `size` metres: a box, a tin, a ball or a vase."""
    draws = stage.draws
    thing = stage.thing("object", pose)
    texture = stage.texture("object")
    kind = draws.below(4)
    half = size * draws.uniform(0.35, 0.6)
    if kind == 0:
        thing.box((0, 0, half), (size * draws.uniform(0.35, 0.7), size * draws.uniform(0.3, 0.6), half), texture)
    elif kind == 1:
        thing.drum((0, 0, half), size * draws.uniform(0.25, 0.45), half, texture)
    elif kind == 2:
        thing.upright(Shape.SPHERE, (0, 0, half), (half, half, half), texture)
    else:  # a vase
        thing.upright(Shape.SPHERE, (0, 0, 0.8 * half), (0.7 * half, 0.7 * half, 0.8 * half), texture)
        thing.drum((0, 0, 1.6 * half), 0.3 * half, 0.5 * half, texture)


def _on_top(stage: Stage, pose: Pose, width: float, depth: float, height: float) -> None:
    """Clutter, or a lamp, on a flat top."""
    draws = stage.draws
    count = draws.below(4)
    for slot in range(count):
        x = width * ((slot + 0.5) / count - 0.5) * 0.8
        y = depth * draws.uniform(-0.25, 0.25)
        spot = pose.at(x, y, height, draws.uniform(-1, 1))
        if draws.chance(0.15):
            _lamp(stage, spot, 0.0, 0.0, draws.uniform(0.35, 0.6))
        else:
            _clutter(stage, spot, draws.uniform(0.14, 0.34))


def _table(stage: Stage, pose: Pose, width: float, depth: float, height: float) -> None:
    draws = stage.draws
    thing = stage.thing("table", pose)
    top, legs = stage.texture("table"), stage.texture("table")
    x, y, half = width / 2, depth / 2, 0.025
    if draws.chance(0.3):
        thing.drum((0, 0, height - half), y * 1.1, half, top)
        thing.drum((0, 0, height / 2), 0.05, height / 2 - half, legs)
        thing.drum((0, 0, 0.02), 0.5 * y, 0.02, legs)
    else:
        thing.box((0, 0, height - half), (x, y, half), top)
        for right in (-1, 1):
            for front in (-1, 1):
                thing.box(
                    (right * (x - 0.06), front * (y - 0.06), height / 2 - half), (0.03, 0.03, height / 2 - half), legs
                )
    _on_top(stage, pose, width, depth, height)


def _chair(stage: Stage, pose: Pose, width: float, depth: float, height: float, seat: float = 0.45) -> None:
    draws = stage.draws
    thing = stage.thing("chair", pose)
    cover, wood = stage.texture("chair"), stage.texture("chair")
    x, y = width / 2, depth / 2
    thing.box((0, 0, seat - 0.03), (x, y, 0.03), cover)
    thing.box((0, 0.03 - y, (seat + height) / 2), (x, 0.025, (height - seat) / 2), cover)
    if draws.chance(0.25):
        thing.drum((0, 0, seat / 2), 0.04, seat / 2 - 0.03, wood)
        thing.drum((0, 0, 0.03), 0.85 * x, 0.03, wood)
    else:
        for right in (-1, 1):
            for front in (-1, 1):
                thing.box(
                    (right * (x - 0.03), front * (y - 0.03), seat / 2 - 0.03), (0.02, 0.02, seat / 2 - 0.03), wood
                )
    if draws.chance(0.3):
        for right in (-1, 1):
            thing.box((right * x, 0, seat + 0.2), (0.025, 0.8 * y, 0.025), wood)


def _sofa(stage: Stage, pose: Pose, width: float, depth: float, height: float) -> None:
    draws = stage.draws
    thing = stage.thing("sofa", pose)
    cover = stage.texture("sofa")
    cushion = stage.texture("sofa") if draws.chance(0.3) else cover
    x, y, arm, seat = width / 2, depth / 2, 0.1, 0.42
    thing.box((0, 0, 0.15), (x, y, 0.15), cover)
    thing.box((0, 0.1 - y, height / 2), (x, 0.1, height / 2), cover)
    for right in (-1, 1):
        thing.box((right * (x - arm), 0, 0.3), (arm, y, 0.3), cover)
    seats = 1 + int(width / 0.9)
    for slot in range(seats):
        half = (x - 2 * arm) / seats
        thing.box(
            (2 * half * (slot + 0.5) - half * seats, 0.08, (seat + 0.3) / 2),
            (half - 0.01, y - 0.1, (seat - 0.3) / 2),
            cushion,
        )


def _bed(stage: Stage, pose: Pose, width: float, depth: float, height: float) -> None:
    draws = stage.draws
    thing = stage.thing("bed", pose)
    sheet, frame, pillow = stage.texture("bed"), stage.texture("cabinet"), stage.texture("bed")
    x, y, top = width / 2, depth / 2, draws.uniform(0.42, 0.6)
    thing.box((0, 0, top / 4), (x, y, top / 4), frame)
    thing.box((0, 0.02, 0.75 * top), (x - 0.03, y - 0.03, top / 4), sheet)
    thing.box((0, 0.04 - y, height / 2), (x, 0.04, height / 2), frame)
    for slot in range(1 + int(width > 1.2)):
        middle = 0.0 if width <= 1.2 else (slot - 0.5) * x
        thing.upright(Shape.SPHERE, (middle, 0.35 - y, top + 0.04), (0.3, 0.2, 0.09), pillow)


def _cabinet(stage: Stage, pose: Pose, width: float, depth: float, height: float) -> None:
    draws = stage.draws
    thing = stage.thing("cabinet", pose)
    body, front = stage.texture("cabinet"), stage.texture("cabinet")
    if draws.chance(0.6):
        front = body
    x, y, z = width / 2, depth / 2, height / 2
    thing.box((0, 0, z), (x, y, z), body)
    columns, rows = 1 + int(width / 0.6), 1 + int(height / draws.uniform(0.5, 1.2))
    for column in range(columns):
        for row in range(rows):
            half_width, half_height = x / columns, z / rows
            centre_x, centre_z = 2 * half_width * (column + 0.5) - x, 2 * half_height * (row + 0.5)
            thing.box((centre_x, y, centre_z), (half_width - 0.015, 0.012, half_height - 0.015), front)
    if height < 1.2:
        _on_top(stage, pose, width, depth, height)


def _lamp(stage: Stage, pose: Pose, width: float, depth: float, height: float) -> None:
    draws = stage.draws
    thing = stage.thing("lamp", pose, solid=False)  # a shade lets light through
    pole = stage.texture("lamp")
    shade = stage.texture("lamp")._replace(glow=draws.uniform(0.2, 1.2))
    radius = draws.uniform(0.3, 0.42) * min(height, 0.6)
    thing.drum((0, 0, 0.01), 0.7 * radius, 0.01, pole)
    thing.drum((0, 0, height / 2), 0.012 + 0.01 * height, height / 2, pole)
    if draws.chance(0.3):
        thing.upright(Shape.SPHERE, (0, 0, height - radius), (radius, radius, radius), shade)
    else:
        thing.drum((0, 0, height - 0.8 * radius), radius, 0.8 * radius, shade)


def _object(stage: Stage, pose: Pose, width: float, depth: float, height: float) -> None:
    _clutter(stage, pose, width)


def _person(stage: Stage, pose: Pose, width: float, depth: float, height: float) -> None:
    """A person who stands, walks, or sits on a chair of their own, with the feet on the floor and y to the front."""
    draws = stage.draws
    sitting = draws.chance(0.4)
    if sitting:
        _chair(stage, pose, 0.46, 0.44, draws.uniform(0.85, 1.0))
    thing = stage.thing("person", pose)
    skin = Palette((Pattern.PLAIN,), (0.03, 0.09), (0.25, 0.6), (0.35, 0.9))
    bare = _texture(draws, skin)
    hair = _texture(draws, Palette((Pattern.WOOD,), (0.02, 0.12), (0.1, 0.6), (0.05, 0.6)))
    shirt, trousers = stage.texture("person"), stage.texture("person")
    sleeve = shirt if draws.chance(0.6) else bare
    shoe = stage.texture("object")

    tall = height / 1.75
    hip = 0.53 if sitting else 0.92 * tall
    back = 0.05 if sitting else 0.0  # this keeps the person clear of the back of the chair
    shoulder, neck = hip + 0.5 * tall, hip + 0.56 * tall
    head = (0.0, back + 0.02, neck + 0.13 * tall)
    thing.limb((0, back, hip - 0.02), (0, back, neck - 0.04), 0.17 * tall, shirt, TORSO)
    thing.upright(Shape.SPHERE, (0, back, hip), (0.17 * tall, 0.13 * tall, 0.12 * tall), trousers, TORSO)
    thing.upright(Shape.SPHERE, (0, back, shoulder - 0.03), (0.21 * tall, 0.1 * tall, 0.1 * tall), shirt, TORSO)
    thing.upright(Shape.CYLINDER, (0, back, neck), (0.05 * tall, 0.05 * tall, 0.07 * tall), bare, TORSO)
    thing.upright(Shape.SPHERE, head, (0.085 * tall, 0.1 * tall, 0.125 * tall), bare, HEAD)
    crown = (head[0], head[1] - 0.025, head[2] + 0.03 * tall)
    thing.upright(Shape.SPHERE, crown, (0.092 * tall, 0.1 * tall, 0.115 * tall), hair, HEAD)
    stride = draws.uniform(-0.35, 0.35)
    for side in (-1, 1):
        swing, bend, spread = draws.uniform(-0.5, 0.7), draws.uniform(0.1, 1.6), draws.uniform(0.05, 0.35)
        joint = (side * 0.21 * tall, back, shoulder)
        elbow = _reach(joint, 0.28 * tall, swing, side * spread)
        wrist = _reach(elbow, 0.25 * tall, swing + bend, side * spread * 0.3)
        thing.limb(joint, elbow, 0.058 * tall, shirt, UPPER_ARM)
        thing.limb(elbow, wrist, 0.047 * tall, sleeve, LOWER_ARM)
        hand = (wrist[0], wrist[1], wrist[2] - 0.02)
        thing.upright(Shape.SPHERE, hand, (0.04 * tall, 0.05 * tall, 0.055 * tall), bare, LOWER_ARM)
        joint = (side * 0.09 * tall, back, hip)
        if sitting:
            knee = (side * draws.uniform(0.1, 0.2), back + 0.44 * tall, hip - 0.02)
            ankle = (knee[0], knee[1] + draws.uniform(-0.12, 0.1), 0.08)
        else:
            knee = _reach(joint, 0.43 * tall, side * stride, side * 0.04)
            ankle = _reach(knee, 0.42 * tall, side * stride - abs(stride) * draws.uniform(0, 0.8), 0.0)
        thing.limb(joint, knee, 0.088 * tall, trousers, UPPER_LEG)
        thing.limb(knee, ankle, 0.062 * tall, trousers, LOWER_LEG)
        toe = (ankle[0], ankle[1] + 0.06, max(ankle[2] - 0.04, 0.04))
        thing.upright(Shape.SPHERE, toe, (0.05 * tall, 0.13 * tall, 0.045), shoe, LOWER_LEG)


def _reach(joint: Vector, length: float, forward: float, outward: float) -> Vector:
    """The far end of a bone that hangs from a joint and is swung forward and outward by angles in radians."""
    return (
        joint[0] + length * math.sin(outward),
        joint[1] + length * math.cos(outward) * math.sin(forward),
        joint[2] - length * math.cos(outward) * math.cos(forward),
    )


class Item(NamedTuple):
    """A kind of furniture: its builder and the ranges of its width, depth and height in metres."""

    build: Callable[[Stage, Pose, float, float, float], None]
    width: tuple[float, float]
    depth: tuple[float, float]
    height: tuple[float, float]
    by_wall: float  # probability of standing with its back to a wall
    weight: int  # how often it is drawn, relative to the other kinds


ITEMS = (
    Item(_table, (0.8, 1.6), (0.6, 0.95), (0.42, 0.78), 0.2, 4),
    Item(_chair, (0.42, 0.52), (0.42, 0.5), (0.8, 1.1), 0.2, 5),
    Item(_sofa, (1.3, 2.2), (0.75, 0.95), (0.7, 0.95), 0.7, 3),
    Item(_bed, (0.9, 1.7), (1.9, 2.1), (0.7, 1.2), 0.9, 3),
    Item(_cabinet, (0.6, 1.4), (0.35, 0.6), (0.6, 2.1), 0.85, 5),
    Item(_lamp, (0.4, 0.5), (0.4, 0.5), (1.35, 1.75), 0.5, 2),
    Item(_object, (0.25, 0.55), (0.3, 0.5), (0.3, 0.5), 0.2, 3),
    Item(_person, (0.55, 0.7), (0.4, 0.6), (1.5, 1.92), 0.0, 5),
)
