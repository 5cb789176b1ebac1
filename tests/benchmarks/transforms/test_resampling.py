"""Images are resampled by the weights that a benchmark asks for; the cubic ones are those of the published loaders."""

import numpy as np
import pytest
import torch

from mtlbench.benchmarks.transforms.augmentation import Augmentation, draw
from mtlbench.benchmarks.transforms.geometry import MEAN_COLOUR, Draw, apply, resize

NATIVE, SIZE = (27, 34), (32, 64)
CUBIC = {"resampling": "cubic", "borders": "background"}


@pytest.fixture(scope="module")
def image():
    """Blurred noise with a hard edge, uint8 [3, 27, 34]."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (3, 9, 12)).repeat(3, 1).repeat(3, 2)[:, : NATIVE[0], : NATIVE[1]]
    noise = (noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2)) / 3
    noise[:, :, 20:] = 255 * (np.arange(NATIVE[0]) > 12)[:, None]
    return torch.from_numpy(noise.astype(np.uint8))


def keys(t, a=-0.75):
    """The weight of a sample at distance t in cubic convolution (Keys, 1981, Eq. 4)."""
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def at(pixels, y, x, fill):
    """[3, H, W] float at a position in pixels, where pixel 0 has its centre at 0.5. fill: beyond the borders, or None
    to repeat the last pixel.
    """
    total = np.zeros(len(pixels))
    y, x = y - 0.5, x - 0.5
    for i in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
        for j in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
            rows, columns = pixels.shape[1:]
            inside = 0 <= i < rows and 0 <= j < columns
            value = pixels[:, np.clip(i, 0, rows - 1), np.clip(j, 0, columns - 1)] if inside or fill is None else fill
            total += keys(y - i) * keys(x - j) * np.asarray(value)
    return total


def moved(pixels, zoom, degrees, fill):
    """The picture turned and enlarged about its centre, at its own size."""
    (rows, columns), angle = pixels.shape[1:], np.deg2rad(degrees)
    result = np.zeros_like(pixels)
    for i in range(rows):
        for j in range(columns):
            y, x = (i + 0.5 - rows / 2) / zoom, (j + 0.5 - columns / 2) / zoom
            source = (
                np.sin(angle) * x + np.cos(angle) * y + rows / 2,
                np.cos(angle) * x - np.sin(angle) * y + columns / 2,
            )
            result[:, i, j] = at(pixels, *source, fill)
    return result


def stretched(pixels, size):
    (rows, columns), result = pixels.shape[1:], np.zeros((len(pixels), *size))
    for i in range(size[0]):
        for j in range(size[1]):
            result[:, i, j] = at(pixels, (i + 0.5) * rows / size[0], (j + 0.5) * columns / size[1], None)
    return result


def slope(picture):
    """The mean absolute difference of neighbours."""
    values = np.asarray(picture, dtype=float)
    return (np.abs(np.diff(values, axis=1)).mean() + np.abs(np.diff(values, axis=2)).mean()) / 2


@pytest.mark.parametrize(("zoom", "degrees"), [(1.0, 0.0), (1.25, 0.0), (0.75, 0.0), (1.0, 17.0), (1.25, -20.0)])
def test_cubic_images_are_moved_at_the_stored_size_and_then_resized(image, zoom, degrees):
    native = (27, 27)
    image = image[:, :, :27]
    found, _ = apply(image, {}, {}, Draw(zoom=zoom, degrees=degrees, **CUBIC), SIZE)
    pixels = image.double().numpy()
    if (zoom, degrees) != (1.0, 0.0):
        pixels = moved(pixels, zoom, degrees, (0, 0, 0))
    assert pixels.shape[1:] == native
    expected = stretched(pixels, SIZE).clip(0, 255)
    assert np.abs(found.numpy() - np.floor(expected + 1e-3)).max() <= 1
    assert np.abs(found.numpy() - np.floor(expected + 1e-3)).mean() < 0.01  # rounding at whole numbers alone


def test_test_images_are_resized_by_the_same_weights(image):
    found = resize(image, SIZE, resampling="cubic").numpy()
    expected = np.floor(stretched(image.double().numpy(), SIZE).clip(0, 255) + 1e-3)
    assert np.abs(found - expected).mean() < 0.01
    padded = resize(image, SIZE, "pad", "cubic")
    assert torch.equal(padded, resize(image, SIZE, "pad"))  # nothing is resampled there


def test_cubic_images_are_as_sharp_as_published_and_bilinear_ones_are_not(image):
    expected = slope(stretched(image.double().numpy(), SIZE).clip(0, 255))
    assert slope(resize(image, SIZE, resampling="cubic")) == pytest.approx(expected, rel=0.03)
    assert slope(resize(image, SIZE)) < 0.95 * expected


DRAWS = {
    "resize": Draw(),
    "zoom": Draw(zoom=1.37, flip=True),
    "shrink": Draw(zoom=0.71),
    "turn": Draw(zoom=1.1, degrees=13.0),
    "window": Draw(zoom=1.9, window=(0.3, 0.8)),
    "padded window": Draw(zoom=0.8, window=(0.3, 0.8), flip=True),
    "turned window": Draw(zoom=2.2, window=(0.5, 0.5), degrees=-9.0),
}


@pytest.mark.parametrize("name", DRAWS)
def test_both_ways_of_resampling_move_a_picture_to_the_same_place(name):
    y, x = torch.meshgrid(torch.linspace(0, 5, 85), torch.linspace(0, 7, 112), indexing="ij")
    smooth = torch.stack([128 + 100 * torch.sin(x + k) * torch.cos(y - k) for k in range(3)]).to(torch.uint8)
    one, other = (
        apply(smooth, {}, {}, DRAWS[name]._replace(resampling=each), (64, 96))[0].float()
        for each in ("bilinear", "cubic")
    )
    near = (one - other).abs().amax(0)
    assert near.median() <= 1 and (near > 3).float().mean() < 0.06  # along the borders of the picture


def test_overshoot_is_clipped_and_does_not_wrap_round():
    edge = torch.zeros(3, 8, 16, dtype=torch.uint8)
    edge[:, :, 8:] = 255
    row = resize(edge, (32, 64), resampling="cubic")[0, 16].int().tolist()
    assert row[:28] == [0] * 28 and row[36:] == [255] * 28
    assert row == sorted(row)  # 255 + 9 would become 8


@pytest.mark.parametrize("resampling", ["bilinear", "cubic"])
def test_an_image_of_the_networks_size_is_left_as_it_is(resampling):
    image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
    assert torch.equal(resize(image, SIZE, resampling=resampling), image)
    flipped, _ = apply(image, {}, {}, Draw(flip=True, resampling=resampling), SIZE)
    assert torch.equal(flipped, image.flip(2))


def test_flat_colours_stay_what_they_are_and_borders_are_filled():
    image = torch.full((3, *NATIVE), 200, dtype=torch.uint8)
    for drawn in (Draw(zoom=1.3, resampling="cubic"), Draw(zoom=1.4, degrees=9.0, resampling="cubic")):
        found, _ = apply(image, {}, {}, drawn, SIZE)
        assert (found[:, 8:-8, 16:-16] == 200).all()
    black, _ = apply(image, {}, {}, Draw(zoom=0.5, **CUBIC), SIZE)
    mean, _ = apply(image, {}, {}, Draw(zoom=0.5, resampling="cubic"), SIZE)
    assert black[:, 0, 0].tolist() == [0, 0, 0] and tuple(mean[:, 0, 0].tolist()) == MEAN_COLOUR


def test_a_protocol_hands_its_resampling_to_every_draw():
    generator = np.random.default_rng(0)
    assert draw(Augmentation(resampling="cubic"), generator, SIZE).resampling == "cubic"
    assert draw(Augmentation(), generator, SIZE).resampling == "bilinear"
