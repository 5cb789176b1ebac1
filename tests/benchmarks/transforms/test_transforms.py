"""Pictures are moved as the camera would have seen them; a small ray-cast scene is the oracle."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import binary_dilation

from mtlbench.benchmarks.tasks.kinds import IGNORE, Label, Scalar, Vector
from mtlbench.benchmarks.transforms.augmentation import Augmentation, Crop, draw
from mtlbench.benchmarks.transforms.colour import Colour
from mtlbench.benchmarks.transforms.geometry import MEAN_COLOUR, Draw, apply, resize, restore

KINDS = {"semseg": Label(), "depth": Scalar(), "normals": Vector()}
NATIVE = (85, 112)
SIZE = (96, 128)
MTL_NYUD = Augmentation(flip=0.5, zooms=(1.0, 1.2, 1.5))
MTL_PASCAL = Augmentation(flip=0.5, zoom_range=(0.75, 1.25), degrees=20.0, borders="background")
ATRC = Augmentation(flip=0.5, zoom_range=(0.5, 2.0), crop=Crop(), photometric=True)
DRAWS = {
    "identity": Draw(),
    "flip": Draw(flip=True),
    "zoom": Draw(zoom=1.5),
    "shrink": Draw(zoom=0.75),
    "turn": Draw(degrees=17.0),
    "turn back": Draw(degrees=-17.0),
    "all": Draw(flip=True, zoom=1.25, degrees=-20.0),
    "window": Draw(window=(0.2, 0.9), zoom=1.7),
    "padded window": Draw(window=(0.2, 0.9), zoom=0.6, flip=True),
}


def scene(drawn, size, native=NATIVE):
    """A sphere before a slanted floor and a wall, as a camera sees it that was zoomed, rolled and mirrored.

    Written from the camera's side (rays), and independent of the image operations under test. Returns image, labels.
    """
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) + 0.5 for n in size), indexing="ij")
    if drawn.flip:
        columns = size[1] - columns
    if drawn.window is None:  # position in the native frame, relative to its centre
        y, x = rows * native[0] / size[0] - native[0] / 2, columns * native[1] / size[1] - native[1] / 2
        y, x = y / drawn.zoom, x / drawn.zoom
    else:
        zoomed = [round(n * drawn.zoom) for n in native]
        tops = [
            int(place * (whole - out + 1)) if whole > out else -((out - whole + 1) // 2)
            for place, whole, out in zip(drawn.window, zoomed, size, strict=True)
        ]
        y = (rows + tops[0]) * native[0] / zoomed[0] - native[0] / 2
        x = (columns + tops[1]) * native[1] / zoomed[1] - native[1] / 2
    angle = np.deg2rad(drawn.degrees)
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # output to world, y down
    x, y = turn[0, 0] * x + turn[0, 1] * y, turn[1, 0] * x + turn[1, 1] * y
    visible = (x.abs() <= native[1] / 2) & (y.abs() <= native[0] / 2)
    focal = 0.8 * native[1]
    ray = torch.stack((x / focal, y / focal, torch.ones_like(x)))  # x right, y down, z ahead
    planes = {0: ((0.0, -0.6, -0.8), 3.6), 1: ((-0.5, 0.0, -0.8660254), 3.1), 2: ((0.6, 0.0, -0.8), 2.9)}
    depth = torch.full(size, np.inf, dtype=torch.float64)
    normal, label = torch.zeros(3, *size, dtype=torch.float64), torch.zeros(size, dtype=torch.uint8)
    for name, (plane, distance) in planes.items():
        n = torch.tensor(plane, dtype=torch.float64)[:, None, None]
        t = -distance / (n * ray).sum(0)
        nearer = (t > 0) & (t < depth)
        depth, label = torch.where(nearer, t, depth), torch.where(nearer, name, label).to(torch.uint8)
        normal = torch.where(nearer, n, normal)
    centre, radius = torch.tensor([0.25, -0.1, 2.2], dtype=torch.float64)[:, None, None], 0.5
    b, square = (ray * centre).sum(0), ray.square().sum(0)
    root = b.square() - square * (centre.square().sum() - radius**2)
    t = (b - root.clamp_min(0).sqrt()) / square
    ball = (root > 0) & (t < depth)
    depth, label = torch.where(ball, t, depth), torch.where(ball, 3, label).to(torch.uint8)
    normal = torch.where(ball, (t * ray - centre) / radius, normal)
    place = depth * ray
    texture = 128 + 100 * torch.stack([torch.sin(2 * place[i] + i) for i in range(3)]) * (0.8 + 0.05 * label)
    image = texture.round().to(torch.uint8)
    normal[:2] = torch.einsum("ij,jhw->ihw", turn.T, normal[:2])
    if drawn.flip:
        normal[0] = -normal[0]
    normal[2] = normal[2] * drawn.zoom  # a nearer surface through the same camera
    normal = -F.normalize(normal, dim=0)  # x left, y up, z to the viewer
    labels = {
        "semseg": torch.where(visible, label, IGNORE),
        "depth": (depth / drawn.zoom * visible).float()[None],
        "normals": (normal * visible).float(),
    }
    return torch.where(visible, image, torch.tensor(MEAN_COLOUR, dtype=torch.uint8)[:, None, None]), labels


def angle(a, b):
    return torch.rad2deg(2 * torch.atan2((a - b).norm(dim=0), (a + b).norm(dim=0)))


@pytest.fixture(scope="module")
def sample():
    return scene(Draw(), NATIVE)


@pytest.mark.parametrize("name", DRAWS)
def test_a_moved_picture_is_the_picture_of_a_moved_camera(sample, name):
    drawn = DRAWS[name]._replace(normals_zoom="consistent")
    size = (64, 80) if drawn.window is not None and drawn.zoom > 1 else SIZE
    image, labels = apply(*sample, KINDS, drawn, size)
    expected_image, expected = scene(drawn, size)
    assert image.shape == (3, *size) and image.dtype == torch.uint8
    assert {k: v.shape for k, v in labels.items()} == {"semseg": size, "depth": (1, *size), "normals": (3, *size)}
    # Nearest neighbours are half an input pixel off at most, so a pixel or two beside a border may take the other side.
    edges = sum(np.abs(np.gradient(expected["semseg"].numpy().astype(float), axis=a)) for a in (0, 1)) > 0
    inner = torch.from_numpy(~binary_dilation(edges, iterations=2))
    assert inner.float().mean() > 0.7
    assert torch.equal(labels["semseg"][inner], expected["semseg"][inner])
    assert (labels["semseg"] != expected["semseg"]).float().mean() < 0.02
    seen = inner & (expected["semseg"] != IGNORE)
    depth, reference = labels["depth"][0][seen], expected["depth"][0][seen]
    assert ((depth - reference).abs() / reference).mean() < 0.006
    error = angle(labels["normals"], expected["normals"])[seen]
    assert error.mean() < 0.4 and error.quantile(0.99) < 6.0  # the sphere's normals turn a degree a pixel
    assert torch.equal(labels["normals"].abs().sum(0) > 0, labels["semseg"] != IGNORE)
    difference = (image.float() - expected_image.float()).abs().amax(0)
    assert difference[seen].mean() < 1.5 and difference[inner].quantile(0.99) < 6


def test_the_oracle_sees_a_normal_that_turns_the_wrong_way(sample):
    _, labels = apply(*sample, KINDS, Draw(degrees=-17.0), SIZE)
    _, expected = scene(Draw(degrees=17.0), SIZE)
    assert angle(labels["normals"], expected["normals"]).mean() > 10


def test_published_normals_ignore_the_zoom(sample):
    zoomed = apply(*sample, KINDS, Draw(zoom=1.5), SIZE)[1]
    consistent = apply(*sample, KINDS, Draw(zoom=1.5, normals_zoom="consistent"), SIZE)[1]
    flat = torch.tensor([-0.6, 0.0, 0.8])[:, None]
    wall = zoomed["semseg"] == 2
    assert torch.allclose(zoomed["normals"][:, wall], flat.expand(3, int(wall.sum())), atol=1e-6)
    assert torch.equal(zoomed["depth"], consistent["depth"])
    assert 5 < angle(zoomed["normals"], consistent["normals"])[wall].mean() < 20
    assert torch.allclose(consistent["normals"].norm(dim=0), torch.ones(SIZE), atol=1e-5)


def test_the_default_draw_at_the_stored_size_changes_nothing(sample):
    image, labels = apply(*sample, KINDS, Draw(), NATIVE)
    assert torch.equal(image, sample[0])
    assert all(torch.equal(labels[task], sample[1][task]) for task in labels)
    for window in ((0.0, 0.0), (0.7, 0.3)):
        assert torch.equal(apply(*sample, KINDS, Draw(window=window), NATIVE)[0], sample[0])


def test_a_flip_is_exact_and_undone_by_a_flip(sample):
    for drawn in (Draw(), Draw(zoom=1.5), Draw(zoom=0.5), Draw(degrees=10.0), Draw(window=(0.3, 0.6), zoom=1.3)):
        image, labels = apply(*sample, KINDS, drawn, SIZE)
        flipped, flipped_labels = apply(*sample, KINDS, drawn._replace(flip=True), SIZE)
        assert torch.equal(flipped.flip(2), image)
        assert torch.equal(flipped_labels["semseg"].flip(1), labels["semseg"])
        back = flipped_labels["normals"].flip(2) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
        assert torch.equal(back, labels["normals"])
    image, labels = apply(*apply(*sample, KINDS, Draw(flip=True), NATIVE), KINDS, Draw(flip=True), NATIVE)
    assert torch.equal(image, sample[0]) and all(torch.equal(labels[t], sample[1][t]) for t in labels)


draws = st.builds(
    Draw,
    flip=st.booleans(),
    zoom=st.floats(0.5, 2.0),
    degrees=st.sampled_from((0.0, 0.0, -20.0, 7.3, 90.0)),
    window=st.none() | st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    borders=st.sampled_from(("ignore", "background")),
    normals_zoom=st.sampled_from(("published", "consistent")),
    colour=st.none(),
)
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(drawn=draws, native=sizes, size=sizes, seed=st.integers(0, 99))
def test_no_invalid_pixel_becomes_valid_and_nothing_is_invented(drawn, native, size, seed):
    rng = np.random.default_rng(seed)
    valid = rng.random(native) < 0.7
    label = torch.from_numpy(np.where(valid, rng.integers(1, 5, native), IGNORE).astype(np.uint8))
    depth = torch.from_numpy((rng.choice([1.0, 2.0, 4.0], native) * valid).astype(np.float32))[None]
    vectors = torch.from_numpy(rng.normal(size=(3, *native)).astype(np.float32))
    vectors = F.normalize(vectors, dim=0) * torch.from_numpy(valid)
    image = torch.full((3, *native), 77, dtype=torch.uint8)
    labels = {"semseg": label, "depth": depth, "normals": vectors}
    moved, result = apply(image, labels, KINDS, drawn, size)
    assert moved.shape == (3, *size)
    inside = result["depth"][0] > 0
    labelled = (result["semseg"] != IGNORE) & (result["semseg"] != 0)
    assert torch.equal(inside, labelled)  # every field has its hole in the same place
    length = result["normals"].norm(dim=0)
    assert torch.equal(length > 0, inside)
    assert torch.allclose(length[inside], torch.ones(int(inside.sum())), atol=1e-5)
    assert set(result["semseg"].unique().tolist()) <= {0, *label.unique().tolist(), IGNORE}
    assert (result["semseg"] == 0).sum() == 0 or drawn.borders == "background"
    found = {round(v, 4) for v in (result["depth"][0][inside] * drawn.zoom).tolist()}
    assert found <= {1.0, 2.0, 4.0}
    if drawn.resampling == "bilinear":  # cubic weights reach further than the border, as published
        assert bool((moved == 77).all(0)[inside].all())  # bilinear weights sum to one up to the border


@settings(max_examples=40, deadline=None, derandomize=True)
@given(drawn=draws, seed=st.integers(0, 99))
def test_a_label_map_moves_as_its_one_hot_field(drawn, seed):
    rng = np.random.default_rng(seed)
    label = torch.from_numpy(rng.integers(0, 4, (23, 31)).astype(np.uint8))
    one_hot = F.one_hot(label.long(), 4).permute(2, 0, 1).float()
    image = torch.zeros(3, 23, 31, dtype=torch.uint8)
    layers = {str(i): one_hot[i : i + 1] for i in range(4)}
    _, result = apply(image, {"semseg": label, **layers}, {**KINDS, **dict.fromkeys(layers, Scalar())}, drawn, (20, 37))
    for i in range(4):
        inside = result["semseg"] == i if drawn.borders == "ignore" or i else result["0"][0] > 0
        assert torch.equal(result[str(i)][0] > 0, inside)


def test_borders_are_ignored_or_background(sample):
    black, labels = apply(*sample, KINDS, Draw(zoom=0.5, borders="background"), SIZE)
    assert int(labels["semseg"][0, 0]) == 0 and black[:, 0, 0].tolist() == [0, 0, 0]
    mean, labels = apply(*sample, KINDS, Draw(zoom=0.5), SIZE)
    assert int(labels["semseg"][0, 0]) == IGNORE and tuple(mean[:, 0, 0].tolist()) == MEAN_COLOUR
    turned, labels = apply(*sample, KINDS, Draw(degrees=20.0), SIZE)
    assert int(labels["semseg"][0, 0]) == IGNORE and tuple(turned[:, 0, 0].tolist()) == MEAN_COLOUR
    assert int((labels["semseg"] == IGNORE).sum()) == int((turned == turned[:, :1, :1]).all(0).sum())


def test_a_map_without_labels_gets_none_from_the_borders(sample):
    nobody = {"semseg": torch.full(NATIVE, IGNORE, dtype=torch.uint8)}
    _, labels = apply(sample[0], nobody, KINDS, Draw(zoom=0.5, degrees=5.0, borders="background"), SIZE)
    assert bool((labels["semseg"] == IGNORE).all())


def test_the_input_is_left_as_it_was(sample):
    image, labels = sample[0].clone(), {task: label.clone() for task, label in sample[1].items()}
    for drawn in (Draw(flip=True, zoom=1.5, normals_zoom="consistent", colour=Colour(brightness=9)), Draw(degrees=9.0)):
        apply(image, labels, KINDS, drawn, NATIVE)
        assert torch.equal(image, sample[0]) and all(torch.equal(labels[t], sample[1][t]) for t in labels)


@pytest.mark.parametrize("size", [(64, 96), (32, 32), (160, 32)])
def test_an_image_is_resized_as_pillow_does_to_one_grey_level(size):
    image = torch.randint(0, 256, (3, 70, 51), dtype=torch.uint8)
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    expected = np.array(picture.resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    found = resize(image, size).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 0.01


def test_an_image_is_antialiased_where_it_shrinks():
    stripes = (torch.arange(128) % 2 * 254).to(torch.uint8).expand(3, 64, 128).contiguous()
    shrunk = resize(stripes, (16, 32))
    assert (shrunk[:, :, 2:-2].float() - 127).abs().max() <= 12


@pytest.mark.parametrize("augmentation", [MTL_NYUD, MTL_PASCAL, ATRC])
def test_draws_depend_on_the_generator_alone(sample, augmentation):
    label = sample[1]["semseg"]
    first, again = (
        [draw(augmentation, g, SIZE, label) for _ in range(20)]
        for g in (np.random.default_rng([7, 3]), np.random.default_rng([7, 3]))
    )
    assert first == again and len(set(first)) > 5
    generators = np.random.default_rng(5), np.random.default_rng(5)
    draw(augmentation, generators[0], SIZE, label)
    draw(augmentation, generators[1], SIZE, torch.zeros_like(label))  # one class: every window is refused
    assert generators[0].random() == generators[1].random()
    assert pickle.loads(pickle.dumps(first)) == first


def test_draws_follow_the_protocol():
    rng = np.random.default_rng(0)
    nyud = [draw(MTL_NYUD, rng, SIZE) for _ in range(2000)]
    assert 0.46 < np.mean([d.flip for d in nyud]) < 0.54
    assert {z: abs(np.mean([d.zoom == z for d in nyud]) - 1 / 3) < 0.04 for z in (1.0, 1.2, 1.5)} == dict.fromkeys(
        (1.0, 1.2, 1.5), True
    )
    assert {(d.degrees, d.window, d.colour) for d in nyud} == {(0.0, None, None)}
    pascal = [draw(MTL_PASCAL, rng, SIZE) for _ in range(2000)]
    zooms, degrees = [d.zoom for d in pascal], [d.degrees for d in pascal]
    assert 0.75 <= min(zooms) < 0.76 and 1.24 < max(zooms) <= 1.25
    assert -20 <= min(degrees) < -19 and 19 < max(degrees) <= 20
    atrc = [draw(ATRC, rng, SIZE) for _ in range(2000)]
    assert 0.4 < np.mean([d.colour.hue == 0 for d in atrc]) < 0.6
    assert all(abs(d.colour.brightness) <= 32 and 0.5 <= d.colour.contrast <= 1.5 for d in atrc)


def test_a_crop_avoids_windows_of_one_class():
    label = torch.zeros(100, 100, dtype=torch.uint8)
    label[:, 80:] = 1
    rng = np.random.default_rng(0)
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)

    def shares(augmentation):
        for _ in range(200):
            drawn = draw(augmentation, rng, (32, 32), label)
            moved = apply(image, {"semseg": label}, KINDS, drawn, (32, 32))[1]["semseg"]
            yield max(float((moved == 0).float().mean()), float((moved == 1).float().mean()))

    balanced = np.mean([share < 0.75 for share in shares(Augmentation(crop=Crop()))])
    first = np.mean([share < 0.75 for share in shares(Augmentation(crop=Crop(tries=1)))])
    assert first < 0.4 and balanced > 0.85


def test_unlabelled_pixels_do_not_count_as_a_class():
    label = torch.full((40, 40), IGNORE, dtype=torch.uint8)
    label[::4, ::2], label[::4, 1::2] = 0, 1  # half and half of the quarter that is labelled
    generators = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(20):
        balanced = draw(Augmentation(crop=Crop()), generators[0], (32, 32), label)
        first = draw(Augmentation(crop=Crop()), generators[1], (32, 32))
        assert balanced == first


def test_windows_reach_every_corner_of_the_image():
    index = torch.arange(36, dtype=torch.uint8).view(6, 6)
    rng = np.random.default_rng(0)
    corners = set()
    for _ in range(300):
        drawn = draw(Augmentation(crop=Crop()), rng, (4, 4))
        moved = apply(torch.zeros(3, 6, 6, dtype=torch.uint8), {"semseg": index}, KINDS, drawn, (4, 4))[1]["semseg"]
        corners.add(int(moved[0, 0]))
    assert corners == {6 * row + column for row in range(3) for column in range(3)}


def test_colour_draws_do_what_their_names_say():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(60, 190, (3, 9, 11)).astype(np.uint8))
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]

    def recoloured(**colour):
        return apply(image, {}, {}, Draw(colour=Colour(**colour)), (9, 11))[0].float()

    x = image.float()
    assert torch.equal(recoloured(), x)
    assert torch.equal(recoloured(brightness=20.0), x + 20)
    assert (recoloured(contrast=0.5) - x / 2).abs().max() <= 0.5
    grey = (x * luma).sum(0, keepdim=True)
    assert (recoloured(saturation=0.0) - grey).abs().max() <= 0.51
    assert (recoloured(saturation=1.25) - (grey + 1.25 * (x - grey))).abs().max() <= 0.51
    assert (recoloured(hue=120.0) - x[[2, 0, 1]]).abs().max() <= 0.51  # red becomes green
    assert recoloured(brightness=90.0).max() == 255  # clipped, not wrapped round


@pytest.mark.parametrize(("placement", "native"), [("stretch", (37, 50)), ("pad", (37, 50)), ("pad", (64, 96))])
def test_restoring_undoes_resizing(placement, native):
    y, x = torch.meshgrid(torch.linspace(40, 200, native[0]), torch.linspace(30, 220, native[1]), indexing="ij")
    image = torch.stack((x, y, (x + y) / 2)).round().to(torch.uint8)
    placed = resize(image, (64, 96), placement)
    assert placed.shape == (3, 64, 96)
    back = restore(placed[None].float(), native, placement)[0]
    assert back.shape == image.shape
    assert (back - image.float()).abs().max() <= (0 if placement == "pad" else 4)


def test_evaluation_sees_the_image_where_training_with_a_crop_pads_it(sample):
    image, _ = apply(*sample, KINDS, Draw(window=(0.9, 0.1)), SIZE)
    assert torch.equal(resize(sample[0], SIZE, "pad"), image)
    assert Augmentation(crop=Crop()).placement == "pad" and MTL_NYUD.placement == "stretch"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Augmentation(flip=1.5), "flip is 1.5"),
        (lambda: Augmentation(zooms=()), r"zooms is \(\)"),
        (lambda: Augmentation(zooms=(1.0, 0.0)), "zooms is"),
        (lambda: Augmentation(zoom_range=(1.2, 0.8)), "zoom_range is"),
        (lambda: Augmentation(zooms=(1.2,), zoom_range=(0.8, 1.2)), "exclude each other"),
        (lambda: Augmentation(degrees=-1.0), "degrees is -1.0"),
        (lambda: Crop(largest_share=0.0), "largest_share is 0.0"),
        (lambda: Crop(tries=0), "tries is 0"),
        (lambda: resize(torch.zeros(3, 70, 70, dtype=torch.uint8), (64, 96), "pad"), r"\(70, 70\) does not fit"),
    ],
)
def test_a_wrong_value_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_frozen_values(sample):
    drawn = draw(ATRC, np.random.default_rng(2024), SIZE, sample[1]["semseg"])
    image, labels = apply(*sample, KINDS, drawn, SIZE)
    assert drawn.zoom == pytest.approx(0.8214848018573865, abs=1e-12)
    assert image.float().mean().item() == pytest.approx(153.740234, abs=0.02)
    assert int(labels["semseg"].long().sum()) == 1502419
    assert labels["depth"].double().sum().item() == pytest.approx(21899.1543, rel=1e-6)
