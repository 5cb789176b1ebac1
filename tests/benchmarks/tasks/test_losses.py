import math
import pickle

import pytest
import torch
from torch.nn.functional import cross_entropy as torch_cross_entropy

from mtlbench.benchmarks.tasks import factories, losses
from mtlbench.benchmarks.tasks.depth_errors import DepthErrors
from mtlbench.benchmarks.tasks.edges import EdgeODS
from mtlbench.benchmarks.tasks.losses import (
    DepthBins,
    NormalClusters,
    TwoClasses,
    WeightedBinaryCrossEntropy,
    balanced_binary_cross_entropy,
    cross_entropy,
    l1,
    normals_l1,
)
from mtlbench.benchmarks.tasks.normal_errors import NormalErrors
from mtlbench.benchmarks.tasks.saliency import Saliency

B, H, W, NUM_CLASSES = 4, 5, 7, 6
# Means of clusters are shorter than the unit vectors that they average.
CENTROIDS = tuple(map(tuple, (torch.rand(40, 3, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.7).tolist()))


def classes(num_classes):
    label = torch.randint(num_classes, (B, H, W))
    label[torch.rand(B, H, W) < 0.3] = 255
    label[1] = 255  # an image without any label
    return label


def depths():
    label = torch.rand(B, 1, H, W) * 12
    label[torch.rand(B, 1, H, W) < 0.3] = 0
    label[1] = 0
    return label


def directions():
    label = torch.nn.functional.normalize(torch.randn(B, 3, H, W), dim=1)
    label = label * (torch.rand(B, 1, H, W) < 0.7)
    label[1] = 0
    return label


# name -> loss, channels of its prediction, a label to draw
CASES = {
    "cross_entropy": (cross_entropy, NUM_CLASSES, lambda: classes(NUM_CLASSES)),
    "l1": (l1, 1, depths),
    "normals_l1": (normals_l1, 3, directions),
    "weighted": (WeightedBinaryCrossEntropy(0.95), 1, lambda: classes(2)),
    "balanced": (balanced_binary_cross_entropy, 1, lambda: classes(2)),
    "weighted, two classes": (TwoClasses(WeightedBinaryCrossEntropy(0.8)), 2, lambda: classes(2)),
    "balanced, two classes": (TwoClasses(balanced_binary_cross_entropy), 2, lambda: classes(2)),
    "depth bins": (DepthBins(0.7, 10), 40, depths),
    "normal clusters": (NormalClusters(CENTROIDS), 40, directions),
}


@pytest.fixture(params=CASES)
def case(request):
    loss, channels, label = CASES[request.param]
    return loss, torch.randn(B, channels, H, W, requires_grad=True), label()


def valid_pixels(label):
    if label.ndim == 3:
        return label != 255
    return (label != 0).any(dim=1)


def test_cross_entropy_equals_the_literal_sum():
    logits, label = torch.randn(B, NUM_CLASSES, H, W), classes(NUM_CLASSES)
    expected, count = 0.0, 0
    for b in range(B):
        for y in range(H):
            for x in range(W):
                if label[b, y, x] != 255:
                    row = logits[b, :, y, x].tolist()
                    expected += math.log(sum(map(math.exp, row))) - row[label[b, y, x]]
                    count += 1
    total, number = cross_entropy(logits, label)
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert number.item() == count


def test_l1_equals_the_literal_sum():
    prediction, label = torch.randn(B, 1, H, W), depths()
    pairs = [(p, d) for p, d in zip(prediction.flatten().tolist(), label.flatten().tolist(), strict=True) if d > 0]
    total, number = l1(prediction, label)
    assert total.item() == pytest.approx(sum(abs(p - d) for p, d in pairs), rel=1e-5)
    assert number.item() == len(pairs)


def test_normals_l1_equals_the_literal_sum_and_counts_elements():
    prediction, label = torch.randn(B, 3, H, W), directions()
    expected, count = 0.0, 0
    for b in range(B):
        for y in range(H):
            for x in range(W):
                n, p = label[b, :, y, x].tolist(), prediction[b, :, y, x].tolist()
                if any(n):
                    expected += sum(abs(i / math.hypot(*p) - j) for i, j in zip(p, n, strict=True))
                    count += 3
    total, number = normals_l1(prediction, label)
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert number.item() == count


def test_normals_l1_ignores_the_length_of_the_prediction():
    prediction, label = torch.randn(B, 3, H, W), directions()
    lengths = torch.rand(B, 1, H, W) * 9 + 0.1
    torch.testing.assert_close(normals_l1(prediction * lengths, label), normals_l1(prediction, label))


@pytest.mark.parametrize("balanced", [False, True])
def test_binary_losses_equal_the_literal_sum(balanced):
    logit, label = torch.randn(B, 1, H, W), classes(2)
    loss = balanced_binary_cross_entropy if balanced else WeightedBinaryCrossEntropy(0.95)
    expected, count = 0.0, 0
    for b in range(B):
        pairs = [
            (z, t) for z, t in zip(logit[b].flatten().tolist(), label[b].flatten().tolist(), strict=True) if t != 255
        ]
        weight = sum(t == 0 for _, t in pairs) / max(len(pairs), 1) if balanced else 0.95
        for z, t in pairs:
            p = 1 / (1 + math.exp(-z))
            expected -= weight * math.log(p) if t else (1 - weight) * math.log(1 - p)
        count += len(pairs)
    total, number = loss(logit, label)
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert number.item() == count


def test_two_classes_equal_the_weighted_softmax_cross_entropy():
    logits, label = torch.randn(B, 2, H, W), classes(2)
    total, _ = TwoClasses(WeightedBinaryCrossEntropy(0.8))(logits, label)
    expected = torch_cross_entropy(logits, label, torch.tensor([0.2, 0.8]), ignore_index=255, reduction="sum")
    torch.testing.assert_close(total, expected)


def test_depth_bins_equal_the_formula_and_are_clamped_to_the_range():
    label = torch.tensor([0.0, 0.1, 0.7, 0.74, 1.0, 2.5, 9.99, 10.0, 80.0]).view(1, 1, 1, -1)
    expected = [255] + [
        min(max(math.floor(40 * math.log(d / 0.7) / math.log(10 / 0.7)), 0), 39) for d in label.flatten().tolist()[1:]
    ]
    assert DepthBins(0.7, 10).bins(label).flatten().tolist() == expected


def test_nearest_cluster_equals_the_smallest_distance():
    label = directions()
    distance = torch.cdist(label.movedim(1, 3).double(), torch.tensor(CENTROIDS).double())  # [B, H, W, K]
    expected = torch.where((label != 0).any(dim=1), distance.argmin(3), 255)
    assert torch.equal(NormalClusters(CENTROIDS).nearest(label), expected)


def test_label_loss_of_normals_without_centroids_says_what_to_do():
    with pytest.raises(ValueError, match=r"centroids.*None.*fitted"):
        factories.normals().label_loss(torch.randn(B, 40, H, W), directions())


def test_losses_add_over_any_split_of_the_batch(case):
    loss, prediction, label = case
    whole = loss(prediction, label)
    for size in (1, 2, 3):
        parts = [loss(p, t) for p, t in zip(prediction.split(size), label.split(size), strict=True)]
        for total, summands in zip(whole, zip(*parts, strict=True), strict=True):
            torch.testing.assert_close(sum(summands), total)


def test_predictions_at_invalid_pixels_change_neither_loss_nor_gradient(case):
    loss, prediction, label = case
    invalid = ~valid_pixels(label)[:, None]  # [B, 1, H, W]
    changed = torch.where(invalid, 100 * torch.randn_like(prediction), prediction.detach()).requires_grad_()
    totals = [loss(p, label)[0] for p in (prediction, changed)]
    gradients = [torch.autograd.grad(total, p)[0] for total, p in zip(totals, (prediction, changed), strict=True)]
    assert torch.equal(*totals)
    assert torch.equal(*gradients)
    assert gradients[0].abs().sum() > 0
    assert not gradients[0][invalid.expand_as(prediction)].any()


def test_a_batch_without_labels_adds_nothing_and_has_a_zero_gradient(case):
    loss, prediction, label = case
    total, count = loss(prediction, torch.full_like(label, 255 if label.ndim == 3 else 0))
    total.backward()
    assert (total.item(), count.item()) == (0, 0)
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


def test_loss_and_count_are_float32_scalars_under_autocast(case):
    loss, prediction, label = case
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss(prediction.bfloat16(), label)
    for value in half:
        assert value.dtype == torch.float32 and value.shape == ()
    torch.testing.assert_close(half, loss(prediction.bfloat16().float(), label))


def test_integer_labels_may_be_bytes(case):
    loss, prediction, label = case
    if label.ndim == 3:
        assert torch.equal(loss(prediction, label)[0], loss(prediction, label.to(torch.uint8))[0])


def test_gradients_equal_finite_differences(case):
    loss, prediction, label = case
    prediction = prediction[:1, :, :2, :3].detach().double().requires_grad_()
    label = label[:1, ..., :2, :3]
    assert valid_pixels(label).any()
    assert loss(prediction, label)[0].dtype == torch.float64
    assert torch.autograd.gradcheck(lambda p: loss(p, label)[0], prediction)


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-12, 1e-7])
def test_normals_shorter_than_any_direction_have_a_bounded_gradient(length):
    prediction = (length * torch.nn.functional.normalize(torch.randn(B, 3, H, W), dim=1)).requires_grad_()
    total, _ = normals_l1(prediction, directions())
    total.backward()
    assert prediction.grad.isfinite().all()
    assert prediction.grad.abs().max() <= 1


def test_a_loss_survives_pickling_with_its_parameters(case):
    loss, prediction, label = case
    assert torch.equal(pickle.loads(pickle.dumps(loss))(prediction, label)[0], loss(prediction, label)[0])


@pytest.mark.parametrize("metric", [DepthErrors(), NormalErrors(), Saliency(), EdgeODS(0.01)], ids=lambda m: m.primary)
def test_a_metric_refuses_labels_of_another_shape(metric):
    channels = 3 if isinstance(metric, NormalErrors) else 1
    with pytest.raises(ValueError, match=r"cannot be compared with labels of shape \[3, .*give the labels the shape"):
        metric.statistics(torch.zeros(1, channels, H, W), torch.zeros(3, channels, H, W))


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"\[1, 1, 5, 7\]"):
        l1(torch.zeros(1, 1, H, W), torch.zeros(3, 1, H, W))
    with pytest.raises(ValueError, match="label"):
        WeightedBinaryCrossEntropy(0.5)(torch.zeros(1, 1, H, W), torch.zeros(3, H, W, dtype=torch.long))


def test_losses_keep_their_numbers():
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(2, 3, 4, 4, generator=generator)
    label = torch.randint(2, (2, 4, 4), generator=generator)
    depth = torch.rand(2, 1, 4, 4, generator=generator) + 1
    unit = torch.nn.functional.normalize(torch.randn(2, 3, 4, 4, generator=generator), dim=1)
    frozen = {
        cross_entropy: (logits, label, 1.491582),
        l1: (logits[:, :1], depth, 1.670239),
        normals_l1: (logits, unit, 0.623109),
        WeightedBinaryCrossEntropy(0.95): (logits[:, :1], label, 0.485598),
        balanced_binary_cross_entropy: (logits[:, :1], label, 0.390369),
    }
    for loss, (prediction, target, value) in frozen.items():
        total, count = loss(prediction, target)
        assert (total / count).item() == pytest.approx(value, rel=1e-5), loss


@pytest.mark.gpu
def test_no_loss_makes_the_host_wait_for_the_device():
    predictions = {name: torch.randn(B, channels, H, W, device="cuda") for name, (_, channels, _) in CASES.items()}
    labels = {name: label().cuda() for name, (_, _, label) in CASES.items()}
    losses._centroids(CENTROIDS, torch.device("cuda", torch.cuda.current_device()))  # once a run, not once a step
    torch.cuda.set_sync_debug_mode("error")
    try:
        for name, (loss, _, _) in CASES.items():
            loss(predictions[name].requires_grad_(), labels[name])[0].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
