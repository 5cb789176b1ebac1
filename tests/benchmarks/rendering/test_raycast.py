"""The ray caster against solids marched point by point."""

from math import inf

import numpy as np
import pytest

from mtlbench.benchmarks.rendering import raycast, shading
from mtlbench.benchmarks.rendering.raycast import Camera, Light, Part, Pattern, Shape, Texture

GREY = Texture(Pattern.PLAIN, ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
LEVEL = Camera((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0), 0.8)  # looks along y


def solid(shape, centre, half):
    return Part(shape, centre, ((half[0], 0, 0), (0, half[1], 0), (0, 0, half[2])), GREY)


def enclosed(*parts):
    """Parts in front of a wall that fills the view."""
    return [solid(Shape.CUBE, (0, 10, 1), (50, 0.1, 50)), *parts]


def inside(shape, x, y, z):
    if shape == Shape.CUBE:
        return np.maximum(np.maximum(abs(x), abs(y)), abs(z)) <= 1
    if shape == Shape.CYLINDER:
        return (x**2 + y**2 <= 1) & (abs(z) <= 1)
    return x**2 + y**2 + z**2 <= 1


@pytest.mark.parametrize("shape", Shape)
def test_a_ray_enters_a_solid_where_marching_along_it_first_gets_inside(shape):
    generator = np.random.default_rng(int(shape))
    origin = generator.uniform(-3, 3, (3, 400))
    origin = origin[:, ~inside(shape, *origin)]
    direction = generator.uniform(-1, 1, origin.shape) - 0.4 * origin
    steps = np.linspace(0, 20, 20001)[:, None, None]
    marched = inside(shape, *np.moveaxis(origin + steps * direction, 1, 0))  # [steps, rays]
    expected = np.where(marched.any(0), steps[marched.argmax(0), 0, 0], inf)
    t = raycast.intersect(shape, list(origin.astype(np.float32)), list(direction.astype(np.float32)))
    assert 50 < np.isfinite(expected).sum() < 350
    # A march of finite steps misses a chord shorter than a step.
    assert (np.isfinite(t) == np.isfinite(expected)).mean() > 0.99
    both = np.isfinite(t) & np.isfinite(expected)
    assert np.abs(t[both] - expected[both]).max() < 1.1e-3


@pytest.mark.parametrize("shape", Shape)
def test_a_ray_that_starts_inside_or_points_away_does_not_enter(shape):
    for origin, direction in (((0, 0, 0), (0.3, 0.2, 0.9)), ((3, 0, 0), (1, 0.1, 0.1))):
        t = raycast.intersect(shape, origin, [np.full(1, d, dtype=np.float32) for d in direction])
        assert t[0] == inf


def test_depth_is_the_distance_along_the_axis_of_view_and_not_along_the_ray():
    view = raycast.view(enclosed(), LEVEL)
    depth = raycast.cast(view, (32, 64)).depth
    assert np.allclose(depth, 9.9, atol=1e-5)


def test_normals_of_a_sphere_point_from_its_centre_to_the_point_seen():
    part = solid(Shape.SPHERE, (0.2, 3.0, 1.1), (0.8, 0.8, 0.8))
    view = raycast.view(enclosed(part), LEVEL)
    hit = raycast.surface(view, raycast.cast(view, (64, 96)))
    x, y = raycast.rays(LEVEL.focal, (64, 96))
    point = np.stack([hit.depth * x, hit.depth * y, hit.depth])
    on_sphere = hit.part == 1
    expected = (point - np.array([0.2, -0.1, 3.0])[:, None, None]) / 0.8
    assert on_sphere.sum() > 500
    assert np.abs(hit.normal - expected)[:, on_sphere].max() < 1e-4


def test_windows_hide_nothing(monkeypatch):
    generator = np.random.default_rng(0)
    parts = enclosed(
        *(
            solid(
                Shape(k % 3), tuple(generator.uniform((-4, -2, -1), (4, 8, 3))), tuple(generator.uniform(0.05, 1.0, 3))
            )
            for k in range(60)
        )
    )
    view = raycast.view(parts, LEVEL)
    windowed = raycast.cast(view, (60, 80))
    assert len(np.unique(windowed.part)) > 20
    monkeypatch.setattr(raycast, "windows", lambda view, size: np.array([[0, size[0], 0, size[1]]] * len(parts)))
    whole = raycast.cast(view, (60, 80))
    assert np.array_equal(windowed.part, whole.part)
    assert np.array_equal(windowed.depth, whole.depth)


def test_a_scene_with_a_hole_is_a_mistake_of_the_programmer():
    with pytest.raises(AssertionError, match="left the scene"):
        raycast.cast(raycast.view([solid(Shape.SPHERE, (0, 3, 1), (0.5, 0.5, 0.5))], LEVEL), (32, 32))


def test_a_ball_shades_the_floor_below_it_and_nothing_beside_it():
    floor = solid(Shape.CUBE, (0, 5, -0.1), (50, 50, 0.1))
    ball = solid(Shape.SPHERE, (0, 4, 1), (0.5, 0.5, 0.5))
    view = raycast.view(enclosed(floor, ball), LEVEL)
    seen = raycast.cast(view, (60, 80))
    light = Light((0.0, 4.0, 5.0), (1.0, 1.0, 1.0))
    (reached,) = raycast.lit(view, np.array([2]), seen.depth, [light])
    x, y = raycast.rays(LEVEL.focal, (60, 80))
    world_x, world_y = seen.depth * x, seen.depth * np.ones_like(y)
    on_floor = seen.part == 1
    radius = np.hypot(world_x, world_y - 4)
    # The tangents from the light, 4 m above the ball's centre, touch the ball and meet the floor at this radius.
    shadow = 5 * 0.5 / np.sqrt(4**2 - 0.5**2)
    assert (on_floor & (radius < 0.98 * shadow)).sum() > 10
    assert not reached[on_floor & (radius < 0.98 * shadow)].any()
    assert reached[on_floor & (radius > 1.02 * shadow)].all()


def test_enlarging_a_linear_field_keeps_it_linear_between_the_outer_centres():
    coarse = (np.arange(6, dtype=np.float32)[:, None] * 2 + np.arange(8, dtype=np.float32))[:, :]
    fine = shading.enlarge(coarse, (18, 24))
    rows, columns = (np.arange(18) + 0.5) / 3 - 0.5, (np.arange(24) + 0.5) / 3 - 0.5
    expected = 2 * rows[:, None] + columns
    assert np.allclose(fine[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-5)
    assert fine.min() == coarse.min() and fine.max() == coarse.max()
