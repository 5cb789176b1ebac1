"""A small analytic ray caster: cubes, cylinders and spheres under affine maps, with exact geometry.

It uses only NumPy, element by element over pixels, so the bytes depend neither on the number of threads nor on BLAS.
The direction of a ray has camera-z 1, so the parameter along a ray is z-depth.

Letters: P parts, H W rows and columns. Camera frame: x right, y down, z ahead, metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]

Floats = NDArray[np.float32]

Number = float | Floats


class Shape(IntEnum):
    """Unit solids: |x|, |y|, |z| <= 1; x^2 + y^2 <= 1 and |z| <= 1; x^2 + y^2 + z^2 <= 1."""

    CUBE = 0
    CYLINDER = 1
    SPHERE = 2


class Pattern(IntEnum):
    """How a solid texture mixes its two colours."""

    PLAIN = 0
    STRIPES = 1
    CHECKS = 2
    WOOD = 3
    BLOTCHES = 4
    DOTS = 5
    PANES = 6


class Texture(NamedTuple):
    """A solid texture in a part's own axes. Colours are linear RGB in [0, 1], frequencies radians per metre."""

    pattern: Pattern
    colours: tuple[Vector, Vector]
    frequency: Vector = (0.0, 0.0, 0.0)
    phase: Vector = (0.0, 0.0, 0.0)
    gloss: float = 0.0
    glow: float = 0.0  # the light that the surface sends out by itself


class Part(NamedTuple):
    """A unit solid whose axes are mapped to three orthogonal half axes around a centre; all in metres, world frame."""

    shape: Shape
    centre: Vector
    axes: tuple[Vector, Vector, Vector]
    texture: Texture


class Light(NamedTuple):
    """A point light with inverse-square decay. Its position is in metres, in the world frame."""

    position: Vector
    power: Vector


class Camera(NamedTuple):
    """A pinhole at `eye` with orthonormal axes in the world frame. The focal length is in widths of the image."""

    eye: Vector
    right: Vector
    down: Vector
    ahead: Vector
    focal: float


class View(NamedTuple):
    """Parts as the camera sees them. In each part a point p has the unit coordinates to_unit @ p + offset."""

    shape: NDArray[np.intp]  # [P]
    axes: NDArray[np.float64]  # [P, 3 axes, 3 coordinates], half axes in the camera frame
    centre: NDArray[np.float64]  # [P, 3], camera frame
    to_unit: Floats  # [P, 3 unit coordinates, 3 camera coordinates]
    offset: Floats  # [P, 3]; the eye in unit coordinates
    camera: Camera


class Hit(NamedTuple):
    """The part and the point that each pixel sees, with the geometry of the point."""

    part: NDArray[np.intp]  # [H, W]
    depth: Floats  # [H, W], z-depth in metres
    unit: Floats  # [3, H, W], unit coordinates of the point in its part
    normal: Floats  # [3, H, W], unit length, camera frame, facing the camera


class Seen(NamedTuple):
    """The part that each pixel sees, [H, W], and its z-depth, [H, W] in metres."""

    part: NDArray[np.intp]
    depth: Floats


def view(parts: Sequence[Part], camera: Camera) -> View:
    """Moves parts into the camera frame."""
    shape = np.array([part.shape for part in parts], dtype=np.intp)
    axes = _to_camera(camera, np.array([part.axes for part in parts]))
    centre = _to_camera(camera, np.array([part.centre for part in parts]) - camera.eye)
    # The axes are orthogonal, so the inverse of the affine map is their transpose over the squared lengths.
    to_unit = axes / (axes**2).sum(-1, keepdims=True)
    offset = -(to_unit * centre[:, None]).sum(-1)
    return View(shape, axes, centre, to_unit.astype(np.float32), offset.astype(np.float32), camera)


def _to_camera(camera: Camera, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """World directions [..., 3] in the camera frame. A matrix product is avoided: its last bit depends on the BLAS."""
    turned: NDArray[np.float64] = (vectors[..., None, :] * np.array([camera.right, camera.down, camera.ahead])).sum(-1)
    return turned


def rays(focal: float, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Camera x [1, W] and y [H, 1] of the ray through the centre of each pixel, at z = 1.

    A ratio of integers is rounded once, so a pixel centre that two sizes share gets the same ray in both.
    """
    height, width = size
    x = ((2 * np.arange(width) + 1) / width - 1) / (2 * focal)
    y = ((2 * np.arange(height) + 1) / height - 1) * (height / width) / (2 * focal)
    return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]


def intersect(shape: int, origin: Sequence[Number], direction: Sequence[Floats]) -> Floats:
    """Where rays origin + t direction, in unit coordinates, enter a unit solid: t > 0, or inf where they do not.

    Each solid is an intersection of slabs and quadrics. The way of a ray through the solid is the intersection of its
    ways through these slabs and quadrics. A ray that misses a quadric has a NaN here, and comparisons with NaN are
    false.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if shape == Shape.CUBE:
            spans = [_slab(origin[k], direction[k]) for k in range(3)]
        elif shape == Shape.CYLINDER:
            spans = [_quadric(origin[:2], direction[:2]), _slab(origin[2], direction[2])]
        else:
            spans = [_quadric(origin, direction)]
        enter = reduce(np.maximum, [span[0] for span in spans])
        leave = reduce(np.minimum, [span[1] for span in spans])
        return np.where((enter > 0) & (enter < leave), enter, np.float32(np.inf))


def _slab(origin: Number, direction: Floats) -> tuple[Floats, Floats]:
    inverse: Floats = np.reciprocal(direction)
    middle, half = -origin * inverse, np.abs(inverse)
    return middle - half, middle + half


def _quadric(origin: Sequence[Number], direction: Sequence[Floats]) -> tuple[Floats, Floats]:
    a = reduce(np.add, [d * d for d in direction])
    b = reduce(np.add, [o * d for o, d in zip(origin, direction, strict=True)])
    c = sum((o * o for o in origin), start=-1.0)
    root = np.sqrt(b * b - a * c)
    return (-b - root) / a, (root - b) / a


_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])


def windows(view: View, size: tuple[int, int]) -> NDArray[np.intp]:
    """[P, 4]: for each part, the rows (first, end) and columns (first, end) outside of which it cannot be seen."""
    height, width = size
    corners = view.centre[:, None] + (_CORNERS[:, :, None] * view.axes[:, None]).sum(2)  # [P, 8, 3]
    z = corners[..., 2]
    behind = z <= 1e-3
    bounds = np.empty((len(z), 4), dtype=np.intp)
    for first, coordinate, pixels in ((0, corners[..., 1], height), (2, corners[..., 0], width)):
        reach = z * (pixels / width / (2 * view.camera.focal))
        outside = (coordinate > reach).all(1) | (coordinate < -reach).all(1) | behind.all(1)
        position = coordinate / np.where(behind, 1.0, z) * view.camera.focal * width + pixels / 2
        low = np.where(behind.any(1), 0, position.min(1) - 1)
        high = np.where(behind.any(1), pixels, position.max(1) + 1)
        bounds[:, first] = np.clip(low, 0, pixels)
        bounds[:, first + 1] = np.where(outside, bounds[:, first], np.clip(np.ceil(high), 0, pixels))
    return bounds


def cast(view: View, size: tuple[int, int]) -> Seen:
    """The nearest part along the ray of each pixel. The scene must enclose the camera."""
    x, y = rays(view.camera.focal, size)
    depth = np.full(size, np.inf, dtype=np.float32)
    part = np.full(size, -1, dtype=np.intp)
    to_unit, offset = view.to_unit.tolist(), view.offset.tolist()
    for index, (top, bottom, left, right) in enumerate(windows(view, size).tolist()):
        if top >= bottom or left >= right:
            continue
        window = slice(top, bottom), slice(left, right)
        x_window, y_window = x[:, left:right], y[top:bottom]
        direction = [a * x_window + (b * y_window + c) for a, b, c in to_unit[index]]
        t = intersect(view.shape[index], offset[index], direction)
        closer = t < depth[window]
        np.copyto(depth[window], t, where=closer)
        np.copyto(part[window], index, where=closer)
    assert (part >= 0).all(), "a ray left the scene"
    return Seen(part, depth)


def surface(view: View, seen: Seen) -> Hit:
    """Adds the unit coordinates and the normals of the seen points to a cast."""
    part, depth = seen
    x, y = rays(view.camera.focal, depth.shape)
    matrix = np.take(view.to_unit.reshape(-1, 9).T, part, axis=1)  # [9, H, W]
    offset = np.take(view.offset.T, part, axis=1)
    way = [matrix[3 * k] * x + (matrix[3 * k + 1] * y + matrix[3 * k + 2]) for k in range(3)]
    unit = np.stack([offset[k] + depth * way[k] for k in range(3)])
    shape = view.shape[part]
    # In unit coordinates the normal is the point itself, without the coordinates along which the face is flat. Rounding
    # must not choose a face that looks away from the camera, so only coordinates that point against the ray count.
    against = [-unit[k] * np.sign(way[k]) for k in range(3)]
    face = np.stack(against).argmax(0)
    away = unit[0] * way[0] + unit[1] * way[1] >= 0
    cap = (against[2] > 0) & (away | (against[2] ** 2 >= unit[0] ** 2 + unit[1] ** 2))
    cube, cylinder = shape == Shape.CUBE, shape == Shape.CYLINDER
    gradient = [np.where(np.where(cube, face == k, ~cylinder | (cap == (k == 2))), unit[k], 0) for k in range(3)]
    # Points go through a map, and normals go through its transposed inverse.
    normal = np.stack(
        [gradient[0] * matrix[j] + gradient[1] * matrix[3 + j] + gradient[2] * matrix[6 + j] for j in range(3)]
    )
    normal /= np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    return Hit(part, depth, unit, normal)


def lit(view: View, casters: NDArray[np.intp], depth: Floats, lights: Sequence[Light]) -> list[Floats]:
    """For each light, 1 where it reaches the points of a depth map [h, w] past the casters, and 0 elsewhere: [h, w]."""
    x, y = rays(view.camera.focal, depth.shape)
    points = [(depth * x).ravel(), (depth * y).ravel(), depth.ravel()]
    reached = [np.ones(depth.size, dtype=np.bool_) for _ in lights]
    for shape in Shape:
        group = casters[view.shape[casters] == shape]
        if not len(group):
            continue
        matrix, offset = view.to_unit[group][..., None], view.offset[group][..., None]  # [G, 3, 3, 1], [G, 3, 1]
        start = [
            matrix[:, k, 0] * points[0] + matrix[:, k, 1] * points[1] + matrix[:, k, 2] * points[2] + offset[:, k]
            for k in range(3)
        ]  # 3 x [G, N]
        for seen, light in zip(reached, places(view, lights), strict=True):
            end = (view.to_unit[group] * light).sum(-1) + view.offset[group]  # [G, 3]
            way = [end[:, k, None] - start[k] for k in range(3)]
            # A ray from a point that faces the light leaves its own convex part, so no part shades itself.
            seen &= ~(intersect(shape, start, way) < 1).any(0)
    return [seen.reshape(depth.shape).astype(np.float32) for seen in reached]


def places(view: View, lights: Sequence[Light]) -> Floats:
    """[L, 3]: the positions of lights in the camera frame."""
    return _to_camera(view.camera, np.array([light.position for light in lights]) - view.camera.eye).astype(np.float32)
