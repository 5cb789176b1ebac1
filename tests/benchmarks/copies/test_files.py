"""One file in, one array out: what is accepted, what it becomes, and what is refused by name."""

import io
import re

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from fixtures import eight_bits
from mtlbench.benchmarks.copies.files import (
    load_npy,
    picture_size,
    read_image,
    read_indices,
    read_mat,
    to_depth,
    to_normals,
    to_normals_8bit,
)
from mtlbench.benchmarks.nyuv2_13 import to_image
from mtlbench.benchmarks.pascal_context import read_saliency
from mtlbench.benchmarks.rendering.scenes import render

BORDER = (slice(0, 12), slice(None))  # rows of a map


@pytest.fixture(scope="module")
def room():
    """Unit vectors [96, 128, 3] with zero vectors in windows."""
    return np.moveaxis(render((7, 0, 5), (96, 128), 0.5)["normals"], 0, -1)


def pickled():
    """A .npy of Python objects."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], object), allow_pickle=True)
    return buffer.getvalue()


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


ORIENTATION = 0x0112  # the tag of EXIF
STORED = {  # orientation -> an upright picture as a camera stores it
    1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1), 6: lambda p: np.rot90(p), 7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, -1),
}  # fmt: skip


def photo(path, picture, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(np.ascontiguousarray(picture)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", STORED)
def test_a_photo_is_turned_upright_where_that_is_asked_for_and_only_there(orientation, tmp_path):
    upright = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    stored = STORED[orientation](upright)
    path = photo(tmp_path / "a.png", stored, orientation)
    assert np.array_equal(read_image(path).permute(1, 2, 0).numpy(), stored)
    assert np.array_equal(read_image(path, upright=True).permute(1, 2, 0).numpy(), upright)
    plain = tmp_path / "b.png"
    Image.fromarray(upright).save(plain)
    assert torch.equal(read_image(plain), read_image(plain, upright=True))


@pytest.mark.parametrize("pixels", [1500, 3000])  # Pillow warns of the first, and refuses the second
def test_a_picture_that_is_too_large_is_refused_by_name(pixels, tmp_path, monkeypatch):
    Image.fromarray(np.zeros((pixels // 50, 50), np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (3, pixels // 50, 50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1001)
    for read in (read_image, picture_size, read_indices):
        with pytest.raises(ValueError, match=r"a\.png: a picture of more than 0\.001 million pixels; make it smaller"):
            read(tmp_path / "a.png")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html><html><body>Quota exceeded</body></html>"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LFS, "; it is a pointer of Git LFS; fetch the file itself with `git lfs pull`"),
        (PAGE, "; it is a page of a web site, as a failed download leaves it; download the file again"),
        (b"", "; it is empty"),
    ],
)
def test_what_is_no_data_at_all_is_called_what_it_is(content, said, tmp_path):
    for name, read in (
        ("a.png", read_image),
        ("a.jpg", picture_size),
        ("a.npy", load_npy),
        ("a.mat", lambda path: read_mat(path, "x")),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path / name))}: not a .*{re.escape(said)}$"):
            read(tmp_path / name)


@pytest.mark.parametrize("userblock", [0, 512])
def test_a_mat_file_of_version_7_3_is_called_so(userblock, tmp_path):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file["depth"] = np.ones((3, 4))
    if userblock:  # as MATLAB writes it
        with path.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    with pytest.raises(ValueError, match=r"a\.mat: not a readable \.mat file; it has MATLAB's version 7\.3, .*'-v7'"):
        read_mat(path, "depth")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_greatest_number_of_16_bits_is_no_depth(dtype):
    depth = np.full((4, 5), 3.0, dtype)
    depth[0, :3] = 65.535
    with pytest.raises(
        ValueError, match=r"a\.npy: depth 65\.535 in 3 pixels \(15\.0%\), which is no distance but 65535"
    ):
        to_depth(depth, "a.npy")
    depth[0, :3] = 65.5
    assert to_depth(depth, "a.npy").max() == 65.5


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


UNREADABLE = {
    "junk.npy": (b"kitchen", "not a whole .npy file; it does not begin like one"),
    "empty.npy": (b"", "not a whole .npy file; it is empty"),
    "page.npy": (b"<html>", "not a whole .npy file; it is a page of a web site"),
    "objects.npy": (pickled(), "not a whole .npy file; it holds Python objects and not numbers"),
    "folder.npy": (None, "not a whole .npy file; it is a folder"),
    "junk.mat": (b"kitchen" * 50, "not a readable .mat file; it does not begin like one"),
    "folder.mat": (None, "not a readable .mat file; it is a folder"),
    "junk.png": (b"kitchen", "not a whole picture; it begins like no known kind of picture, such as JPEG or PNG"),
    "empty.png": (b"", "not a whole picture; it is empty"),
    "folder.png": (None, "not a whole picture; it is a folder"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_is_named_once_and_no_library_is_quoted(name, tmp_path):
    content, expected = UNREADABLE[name]
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    read = {".npy": load_npy, ".mat": lambda path: read_mat(path, "x"), ".png": read_indices}[path.suffix]
    with pytest.raises(ValueError) as raised:
        read(path)
    said = str(raised.value)
    assert said.startswith(f"{path}: {expected}") and said.count(name) == 1
    assert "Error" not in said and "allow_pickle" not in said
