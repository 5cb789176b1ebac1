"""One file in, one array out: what is accepted, what it becomes, and what is refused by name."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from fixtures import eight_bits
from mtlbench.benchmarks.copies.files import read_image, to_normals, to_normals_8bit
from mtlbench.benchmarks.nyuv2_13 import to_image
from mtlbench.benchmarks.pascal_context import read_saliency
from mtlbench.benchmarks.rendering.scenes import render

BORDER = (slice(0, 12), slice(None))  # rows of a map


@pytest.fixture(scope="module")
def room():
    """Unit vectors [96, 128, 3] with zero vectors in windows."""
    return np.moveaxis(render((7, 0, 5), (96, 128), 0.5)["normals"], 0, -1)


def jpeg(picture, quality):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def degrees(found, truth, where):
    """Mean angle between normals [3, H, W] and [H, W, 3] over pixels [H, W]."""
    return np.degrees(np.arccos((found.permute(1, 2, 0).numpy() * truth).sum(-1)[where].clip(-1, 1))).mean()


def halved(vectors):
    """As a map resized to half by means."""
    return vectors.reshape(48, 2, 64, 2, 3).mean((1, 3))


@pytest.mark.parametrize("void", [0, 127, 128])
@pytest.mark.parametrize("stored", [lambda picture: picture, lambda p: jpeg(p, 95), lambda p: jpeg(p, 75)])
def test_normals_of_eight_bits_are_none_where_the_picture_is_black_or_grey(room, void, stored):
    picture = eight_bits(room)
    picture[BORDER] = void
    found = to_normals_8bit(stored(picture), "a.png")
    length = found.norm(dim=0)
    assert ((length == 0) | ((length - 1).abs() < 1e-5)).all()
    assert not found[:, :10].any()  # JPEG blurs the last rows of the border
    inside = (room != 0).any(-1) & (np.arange(96)[:, None] >= 24)
    assert degrees(found, room, inside) < 12 and (length.numpy()[inside] > 0).mean() > 0.95


@pytest.mark.parametrize(
    "picture",
    [
        lambda room: np.full_like(room, 255, np.uint8),
        lambda room: (255 * np.maximum(room, 0)).astype(np.uint8),
        lambda room: (255 * np.abs(room)).astype(np.uint8),
        lambda room: np.clip(np.round((room * 2 + 1) * 127.5), 0, 255).astype(np.uint8),
    ],
)
def test_pictures_that_hold_no_unit_vectors_are_refused(room, picture):
    with pytest.raises(ValueError, match=r"a.png: a normal of length 1\.\d+ in \d+ of 12288 pixels; unit vectors n"):
        to_normals_8bit(picture(room), "a.png")


def test_a_map_that_was_resized_has_the_directions_of_its_means(room):
    small = halved(room)
    lengths = np.linalg.norm(small, axis=-1)
    assert 0.005 < ((lengths > 0) & (lengths < 0.9)).mean() < 0.25  # so that this is a case of it
    found = to_normals(small, "a.npy")
    assert torch.equal(found.norm(dim=0) > 0, torch.from_numpy(lengths >= 0.5))
    clear = lengths >= 0.5
    assert degrees(found, small / np.maximum(lengths, 0.5)[..., None], clear) < 0.01
    assert ((found.norm(dim=0) - 1).abs() < 1e-5)[torch.from_numpy(clear)].all()


@pytest.mark.parametrize("change", [lambda n: n * 0.8, lambda n: n * 1.2, lambda n: n * 255, lambda n: (n + 1) / 2])
def test_arrays_that_hold_no_unit_vectors_are_refused(room, change):
    with pytest.raises(ValueError, match=r"a.npy: a normal of length \d.* unit vectors are needed"):
        to_normals(change(room), "a.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_one_normal_that_is_not_finite_is_refused(room, value):
    broken = room.copy()
    broken[50, 60, 1] = value
    with pytest.raises(ValueError, match=r"a.npy: a normal of length (nan|inf) in 1 pixels"):
        to_normals(broken, "a.npy")


@pytest.mark.parametrize(
    ("mode", "dtype", "ending"), [("I;16", np.uint16, "png"), ("I", np.int32, "tif"), ("F", np.float32, "tif")]
)
def test_an_image_of_more_than_8_bits_is_refused_and_not_clipped(tmp_path, mode, dtype, ending):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(np.full((4, 5), 1000, dtype)).save(path)
    with pytest.raises(ValueError, match=rf"a.{ending}: a picture of mode {mode}; 8 bits"):
        read_image(path)


def test_saliency_of_zeros_and_ones_is_refused_and_not_read_as_nothing(tmp_path):
    mask = np.zeros((4, 5), np.uint8)
    mask[1:3] = 1
    for factor, salient in ((255, 10), (128, 10), (127, 0), (0, 0)):
        Image.fromarray(mask * np.uint8(factor)).save(tmp_path / "a.png")
        assert int(read_saliency(tmp_path / "a.png").sum()) == salient
    Image.fromarray(mask).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a.png: saliency of 0 and 1; 0 to 255"):
        read_saliency(tmp_path / "a.png")


def test_an_image_of_floats_may_leave_its_range_by_rounding_only():
    image = np.linspace(0, 1, 60, dtype=np.float32).reshape(4, 5, 3)
    over = image * np.float32(1.0000002) - np.float32(1e-7)
    assert over.max() > 1 or over.min() < 0
    assert torch.equal(to_image(over, "a.npy"), to_image(image, "a.npy"))
    for wrong, value in ((image * 1.01, "1.00999"), (image - 0.01, "-0.00999"), (image * 255, "255")):
        with pytest.raises(ValueError, match=rf"a.npy: values from .*{value}.*; an image from 0 to 1"):
            to_image(wrong, "a.npy")
