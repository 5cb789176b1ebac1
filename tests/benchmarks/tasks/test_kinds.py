"""What holds for every kind of label, and that a new kind is one class."""

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.tasks.kinds import IGNORE, Kind, Label, Scalar, Vector
from mtlbench.benchmarks.tasks.losses import l1
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms import geometry
from mtlbench.benchmarks.transforms.augmentation import Augmentation
from mtlbench.benchmarks.transforms.geometry import Draw

NATIVE, SIZE, CLASSES = (24, 32), (18, 40), 5
DRAWS = {
    "resized": geometry.still("stretch"),
    "padded": geometry.still("pad"),
    "flip": Draw(flip=True),
    "zoom": Draw(zoom=1.5, normals_zoom="consistent"),
    "shrink": Draw(zoom=0.6),
    "turn": Draw(degrees=25.0),
    "background": Draw(zoom=0.6, degrees=-25.0, flip=True, borders="background"),
}


@dataclass(frozen=True)
class Phase(Kind):
    """A fourth kind, of two channels: a flip negates the first. Where nothing is known both are 0."""

    name = "phase"

    def moved(self, label, motion):
        if motion.flip:
            label[0].neg_()
        return label

    def random(self, shape, classes, device=None):
        images, *size = shape
        return 1 + torch.rand(images, 2, *size, device=device)


KINDS = {"label": (Label(), CLASSES), "binary": (Label(), 1), "scalar": (Scalar(), 1), "vector": (Vector(), 3)}
KINDS["phase"] = (Phase(), 2)


@pytest.fixture(params=KINDS)
def case(request):
    """A kind and how many channels a prediction has."""
    return KINDS[request.param]


def draw_label(kind, channels, invalid=0.3):
    """One label at NATIVE of which a share of the pixels is invalid."""
    label = kind.random((1, *NATIVE), max(2, channels))[0]
    return label.masked_fill(torch.rand(NATIVE) < invalid, kind.invalid)


def test_a_kind_is_its_class(case):
    kind, _ = case
    assert kind == type(kind)() == pickle.loads(pickle.dumps(kind))
    assert {kind: "a"}[type(kind)()] == "a"
    assert kind not in {other for other, _ in KINDS.values() if type(other) is not type(kind)}
    with pytest.raises(AttributeError):
        kind.name = "another"


def test_the_names_that_enter_protocol_hashes_stay():
    assert [Label().name, Scalar().name, Vector().name] == ["label", "scalar", "vector"]


def test_a_blank_label_has_no_valid_pixel(case):
    kind, channels = case
    blank = kind.blank(NATIVE, channels)
    assert blank.dtype == kind.dtype and blank.shape == kind.shape(NATIVE, channels)
    valid = kind.valid(blank)
    assert valid.shape == NATIVE and valid.dtype == torch.bool and not valid.any()
    total, count = kind.sums(blank, channels)
    assert count == 0 and not total.any()


def test_random_labels_are_valid_throughout_and_shaped_as_stored_ones(case):
    kind, channels = case
    labels = kind.random((3, *NATIVE), CLASSES)
    assert labels.shape == (3, *kind.shape(NATIVE, channels)) and labels.dtype == kind.dtype
    assert kind.valid(labels).shape == (3, *NATIVE) and kind.valid(labels).all()
    kind.check(labels, CLASSES)
    assert kind.random((3, *NATIVE), CLASSES, torch.device("meta")).is_meta


def test_validity_is_a_matter_of_each_pixel_and_not_of_the_batch(case):
    kind, channels = case
    labels = torch.stack([draw_label(kind, channels), kind.blank(NATIVE, channels), draw_label(kind, channels, 0.0)])
    assert torch.equal(kind.valid(labels), torch.stack([kind.valid(label) for label in labels]))
    assert kind.valid(labels).flatten(1).float().mean(1).tolist() == pytest.approx([0.7, 0, 1], abs=0.1)


def test_a_vector_and_a_value_are_valid_where_one_channel_is_not_zero():
    label = torch.tensor([[0.0, 0.0], [0.0, -0.5], [0.0, 0.0]])[..., None]
    assert Vector().valid(label).tolist() == [[False], [True]]


@pytest.mark.parametrize("name", DRAWS)
def test_the_invalid_code_survives_moving_and_resizing(case, name):
    """A label that marks its valid pixels is moved beside: what was invalid stays so, and nothing else becomes it."""
    kind, channels = case
    label = draw_label(kind, channels)
    mask = Label().blank(NATIVE, 2).masked_fill(kind.valid(label), 1)
    image = torch.zeros(3, *NATIVE, dtype=torch.uint8)
    drawn, size = DRAWS[name], (40, 56) if name == "padded" else SIZE
    _, moved = geometry.apply(
        image,
        {"it": label.clone(), "mask": mask},
        {"it": kind, "mask": Label()},
        drawn._replace(borders="ignore"),
        size,
    )
    assert moved["it"].dtype == kind.dtype and moved["it"].shape == kind.shape(size, channels)
    valid = kind.valid(moved["it"])
    assert torch.equal(valid, moved["mask"] == 1) and valid.any() and not valid.all()
    assert (moved["it"].masked_select(~valid) == kind.invalid).all()


@pytest.mark.parametrize("name", DRAWS)
def test_a_blank_label_stays_blank_however_it_is_moved(case, name):
    kind, channels = case
    image, size = torch.zeros(3, *NATIVE, dtype=torch.uint8), (40, 56) if name == "padded" else SIZE
    _, moved = geometry.apply(image, {"it": kind.blank(NATIVE, channels)}, {"it": kind}, DRAWS[name], size)
    assert torch.equal(moved["it"], kind.blank(size, channels))


def test_background_beyond_the_borders_is_class_0_and_no_value_of_a_field(case):
    kind, channels = case
    label = draw_label(kind, channels)
    assert kind.outside(label, False) == kind.invalid
    assert kind.outside(label, True) == 0


def test_a_zoom_divides_values_and_only_values():
    motion = Draw(zoom=2.0)
    assert Scalar().moved(torch.full((1, 2, 2), 3.0), motion).unique().tolist() == [1.5]
    assert Label().moved(torch.full((2, 2), 3, dtype=torch.uint8), motion).unique().tolist() == [3]
    assert torch.equal(Vector().moved(torch.eye(3)[..., None], motion), torch.eye(3)[..., None])


def test_vectors_turn_with_the_picture():
    """x left, y up, z to the viewer: a flip exchanges left and right, a quarter turn takes up to left."""
    left, up, viewer = torch.eye(3)
    for motion, before, after in (
        (Draw(flip=True), left, -left),
        (Draw(flip=True), up, up),
        (Draw(degrees=90.0), up, left),
        (Draw(degrees=90.0), left, -up),
        (Draw(degrees=90.0, flip=True), up, -left),
        (Draw(zoom=2.0, normals_zoom="consistent"), (left + viewer) / 2**0.5, (left + 2 * viewer) / 5**0.5),
    ):
        assert_close(Vector().moved(before.clone().view(3, 1, 1), motion).flatten(), after, atol=1e-6, rtol=0)


def test_turned_vectors_keep_their_length():
    vectors = Vector().random((1, *NATIVE), 0)[0]
    for drawn in DRAWS.values():
        moved = Vector().moved(vectors.clone(), drawn._replace(zoom=1.3))
        assert_close(moved.norm(dim=0), torch.ones(NATIVE))


@pytest.mark.parametrize("stray", [CLASSES, 254])
def test_a_stray_class_is_refused_and_a_field_may_have_any_value(stray):
    label = torch.zeros(NATIVE, dtype=torch.uint8)
    label[3, 4], label[0, 0] = stray, IGNORE
    with pytest.raises(ValueError, match=f"label {stray} is neither a class in 0..4 nor 255"):
        Label().check(label, CLASSES)
    with pytest.raises(ValueError, match=f"semseg of a.png: label {stray}"):
        factories.semseg(CLASSES).check(label, "a.png")
    Scalar().check(torch.full((1, *NATIVE), float(stray)), CLASSES)
    Vector().check(torch.full((3, *NATIVE), float(stray)), CLASSES)


def test_constants_are_shares_of_classes_and_means_of_values_over_valid_pixels(case):
    kind, channels = case
    labels = [draw_label(kind, channels) for _ in range(3)]
    parts = [kind.sums(label, channels) for label in labels]
    total, count = sum(part[0] for part in parts), sum(part[1] for part in parts)
    constant = kind.constant(total / count, channels)
    assert constant.shape == (channels,) and constant.dtype == torch.float64
    pixels = torch.cat([label[..., kind.valid(label)].double() for label in labels], dim=-1)
    assert count == pixels.shape[-1]
    if not kind.discrete:
        assert_close(constant, pixels.mean(-1))
    elif channels == 1:
        assert_close(constant.sigmoid(), pixels.mean()[None])
    else:
        assert_close(constant.softmax(0), torch.stack([(pixels == c).double().mean() for c in range(channels)]))


def test_classes_that_no_pixel_has_are_counted_as_none():
    """A sum has its length from the task, so that the sums of images add."""
    label = torch.zeros(NATIVE, dtype=torch.uint8)
    for channels, expected in ((1, [label.numel(), 0]), (3, [label.numel(), 0, 0])):
        total, count = Label().sums(label, channels)
        assert total.tolist() == expected and count == label.numel()


def test_answers_of_several_logits_are_classes_and_of_one_a_probability():
    logits = torch.randn(CLASSES, *NATIVE)
    for several in (logits, logits[:2]):
        assert torch.equal(Label().answer(several), several.argmax(0).byte())
    assert torch.equal(Label().answer(logits[:1]), logits[0].sigmoid())
    for kind, channels in ((Scalar(), 1), (Vector(), 3)):
        assert torch.equal(kind.answer(logits[:channels]), logits[:channels])


def test_values_are_what_a_label_could_have(case):
    kind, channels = case
    prediction = torch.randn(channels, *NATIVE)
    values = kind.values(prediction)
    assert values.shape[-2:] == NATIVE
    if type(kind) is Vector:
        assert_close(values.norm(dim=0), torch.ones(NATIVE))
    if type(kind) is Scalar:
        assert torch.equal(values, prediction[0])


def test_a_fourth_kind_is_one_class():
    """The consumers outside of this package take a kind that they have never heard of."""
    from mtlbench.harness.data.loading import Evaluation, Training
    from mtlbench.harness.data.view import View
    from mtlbench.harness.inspect import painted, predict
    from mtlbench.harness.scoring import constant, protocol

    task = Task("phase", Phase(), 2, 1, l1, l1, factories.depth(1, 2).metric, 1.0)
    label = draw_label(Phase(), 2)
    image = torch.zeros(3, *NATIVE, dtype=torch.uint8)
    samples = [Sample("a", image, {"phase": label}), Sample("b", image, {})]
    view = View(NATIVE, Augmentation(flip=1.0), evaluate="network")
    training = Training(samples, {"phase": task}, view, 0)
    flipped = label.flip(2) * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    assert torch.equal(training[0, 0].labels["phase"], flipped)
    assert torch.equal(training[0, 1].labels["phase"], torch.zeros(2, *NATIVE))
    _, scored = Evaluation(samples, {"phase": task}, view)[0]
    assert torch.equal(scored.labels["phase"], label)
    assert_close(constant.fit(samples, {"phase": task})["phase"], label[:, Phase().valid(label)].mean(1))
    values = predict.values(task, label)
    assert np.array_equal(values, label.numpy())
    sheet = painted.sheet(image.permute(1, 2, 0).numpy(), {"phase": values}, {"phase": task})
    assert [axis.get_label() for axis in sheet.axes] == ["image", "phase", "scale"]
    taken = protocol.Conditions("the stored size", "stretch", 2)
    assert protocol.origin(task, taken) != protocol.origin(replace(task, kind=Scalar()), taken)
