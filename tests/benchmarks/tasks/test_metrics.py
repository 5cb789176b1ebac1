import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score, mean_squared_error

from mtlbench.benchmarks.tasks.depth_errors import DepthErrors
from mtlbench.benchmarks.tasks.miou import MeanIoU
from mtlbench.benchmarks.tasks.normal_errors import NormalErrors
from mtlbench.benchmarks.tasks.saliency import Saliency

B, H, W, NUM_CLASSES = 5, 6, 8, 7


def segmentation():
    prediction = torch.randn(B, NUM_CLASSES, H, W)
    prediction[:, 5] = -9  # class 5 is never predicted and never labelled
    label = torch.randint(5, (B, H, W))
    label[torch.rand(B, H, W) < 0.2] = 255
    label[2] = 255
    return MeanIoU(NUM_CLASSES), prediction, label


def depth():
    label = torch.rand(B, 1, H, W) * 9 + 0.5
    prediction = label + torch.randn(B, 1, H, W)
    label[torch.rand(B, 1, H, W) < 0.2] = 0
    label[2] = 0
    return DepthErrors(), prediction, label


def normals():
    label = torch.nn.functional.normalize(torch.randn(B, 3, H, W), dim=1)
    prediction = 3 * label + torch.randn(B, 3, H, W)
    label = label * (torch.rand(B, 1, H, W) < 0.8)
    label[2] = 0
    return NormalErrors(), prediction, label


def saliency():
    label = torch.randint(2, (B, H, W))
    label[3] = 0  # nothing is salient
    prediction = 2 * torch.randn(B, 1, H, W) + label[:, None] - 0.5
    label[torch.rand(B, H, W) < 0.2] = 255
    label[2] = 255
    return Saliency(), prediction, label


@pytest.fixture(params=[segmentation, depth, normals, saliency])
def case(request):
    return request.param()


def score(metric, prediction, label):
    return {name: value.item() for name, value in metric.scores(metric.statistics(prediction, label).sum(0)).items()}


def void(label):
    return 255 if label.ndim == 3 else 0


def valid_pixels(label):
    return label != 255 if label.ndim == 3 else (label != 0).any(dim=1)


# Oracles


def test_statistics_of_classes_equal_sklearn_confusion():
    metric, prediction, label = segmentation()
    statistics = metric.statistics(prediction, label).view(B, 3, NUM_CLASSES)
    for b in range(B):
        valid = (label[b] != 255).numpy()
        confusion = (
            confusion_matrix(label[b].numpy()[valid], prediction[b].argmax(0).numpy()[valid], labels=range(NUM_CLASSES))
            if valid.any()
            else np.zeros((NUM_CLASSES, NUM_CLASSES))
        )
        expected = np.stack([confusion.diagonal(), confusion.sum(0), confusion.sum(1)])
        assert np.array_equal(statistics[b].numpy(), expected)


def test_miou_equals_sklearn_without_the_class_that_occurs_nowhere():
    metric, prediction, label = segmentation()
    valid = label != 255
    true, predicted = label[valid].numpy(), prediction.argmax(1)[valid].numpy()
    present = [c for c in range(NUM_CLASSES) if c != 5]
    found = score(metric, prediction, label)
    jaccard = jaccard_score(true, predicted, labels=present, average=None)
    assert found["miou"] == pytest.approx(100 * jaccard.mean(), rel=1e-12)
    assert [found[f"iou/{c}"] for c in present] == pytest.approx((100 * jaccard).tolist(), rel=1e-12)
    assert math.isnan(found["iou/5"])
    assert found["pixel_accuracy"] == pytest.approx(100 * (true == predicted).mean(), rel=1e-12)


def test_depth_errors_equal_the_literal_definitions():
    metric, prediction, label = depth()
    prediction[0, 0, 0, 0], label[0, 0, 0, 0] = -2.0, 3.0
    pairs = [
        (p, d)
        for p, d in zip(prediction.double().flatten().tolist(), label.double().flatten().tolist(), strict=True)
        if d > 0
    ]
    predicted, true = map(list, zip(*pairs, strict=True))
    found = score(metric, prediction, label)
    assert found["rmse"] == pytest.approx(mean_squared_error(true, predicted) ** 0.5, rel=1e-12)
    logs = [math.log(max(p, 1e-9)) - math.log(d) for p, d in pairs]
    assert found["rmse_log"] == pytest.approx(math.sqrt(sum(x * x for x in logs) / len(logs)), rel=1e-12)
    assert found["abs_rel"] == pytest.approx(sum(abs(p - d) / d for p, d in pairs) / len(pairs), rel=1e-12)
    for k in (1, 2, 3):
        share = sum(max(max(p, 1e-9) / d, d / max(p, 1e-9)) < 1.25**k for p, d in pairs) / len(pairs)
        assert found[f"delta{k}"] == pytest.approx(100 * share, rel=1e-12)
    images = [
        mean_squared_error(label[b][label[b] > 0], prediction[b][label[b] > 0]) ** 0.5 for b in range(B) if b != 2
    ]
    assert found["rmse_image_mean"] == pytest.approx(sum(images) / len(images), rel=1e-6)
    assert found["rmse_image_mean"] != pytest.approx(found["rmse"], rel=1e-3)


def test_normal_errors_equal_the_arc_cosine():
    metric, prediction, label = normals()
    valid = (label != 0).any(dim=1).flatten()
    a = prediction.double().movedim(1, 3).reshape(-1, 3)[valid].numpy()
    b = label.double().movedim(1, 3).reshape(-1, 3)[valid].numpy()
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    angle = np.degrees(np.arccos(cosine.clip(-1, 1)))
    found = score(metric, prediction, label)
    assert found["mean_angle"] == pytest.approx(angle.mean(), rel=1e-9)
    assert found["rmse_angle"] == pytest.approx(math.sqrt((angle**2).mean()), rel=1e-9)
    lower_median = np.sort(angle)[(len(angle) - 1) // 2]
    assert found["median_angle"] == pytest.approx(lower_median, abs=0.05 + 1e-9)
    for name, limit in (("within_11_25", 11.25), ("within_22_5", 22.5), ("within_30", 30)):
        assert found[name] == pytest.approx(100 * (angle < limit).mean(), rel=1e-12)


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 0.01, 11.24, 90.0, 179.99, 180.0])
def test_angles_are_exact_from_nothing_to_opposite(degrees):
    radians = math.radians(degrees)
    label = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).view(1, 3, 1, 1)
    prediction = torch.tensor([5 * math.sin(radians), 0.0, 5 * math.cos(radians)], dtype=torch.float64)
    found = score(NormalErrors(), prediction.view(1, 3, 1, 1), label)
    assert found["mean_angle"] == pytest.approx(degrees, rel=1e-9, abs=1e-12)
    assert found["median_angle"] == pytest.approx(degrees, abs=0.05)


def test_a_zero_prediction_of_a_normal_is_90_degrees_off():
    _, _, label = normals()
    assert score(NormalErrors(), torch.zeros(B, 3, H, W), label)["mean_angle"] == pytest.approx(90, rel=1e-12)


def test_saliency_scores_equal_the_literal_definitions():
    metric, prediction, label = saliency()
    prediction[0, 0, 0, :3] = torch.tensor([0.0, math.log(3), -math.log(4)])  # p = 0.5, 0.75, 0.2: on thresholds
    probability = prediction.double().sigmoid()[:, 0].numpy()
    true, valid = (label == 1).numpy(), (label != 255).numpy()

    best_f = 0.0
    for k in range(1, 20):
        predicted = (probability >= k / 20) & valid
        precision = (predicted & true).sum() / predicted.sum()
        recall = (predicted & true).sum() / true.sum()
        best_f = max(best_f, 1.3 * precision * recall / (0.3 * precision + recall))

    best_jaccard = 0.0
    for k in range(4, 19):
        jaccards = []
        for b in range(B):
            if valid[b].any():
                predicted = (probability[b] > k / 20) & valid[b]
                union = (predicted | true[b]).sum()
                jaccards.append((predicted & true[b]).sum() / union if union else 1.0)
        best_jaccard = max(best_jaccard, sum(jaccards) / len(jaccards))

    found = score(metric, prediction, label)
    assert found["maxf"] == pytest.approx(100 * best_f, rel=1e-12)
    assert found["max_miou"] == pytest.approx(100 * best_jaccard, rel=1e-12)


def test_thresholds_of_saliency_are_reached_by_maxf_and_passed_by_max_miou():
    logit = torch.zeros(1, 1, 1, 2)  # p = 0.5 on a salient and on another pixel
    label = torch.tensor([[[1, 0]]])
    true, positive = Saliency().statistics(logit, label)[0, 1:39].view(2, 19)
    jaccard = Saliency().statistics(logit, label)[0, 40:]
    assert true.tolist() == [1] * 10 + [0] * 9  # 0.05 .. 0.5
    assert positive.tolist() == [2] * 10 + [0] * 9
    assert jaccard.tolist() == [0.5] * 6 + [0] * 9  # 0.2 .. 0.45


# Properties


def test_a_perfect_prediction_has_the_best_scores():
    label = torch.randint(NUM_CLASSES, (B, H, W))
    perfect = torch.nn.functional.one_hot(label, NUM_CLASSES).movedim(3, 1).float()
    assert set(score(MeanIoU(NUM_CLASSES), perfect, label).values()) == {100.0}
    _, _, metres = depth()
    assert list(score(DepthErrors(), metres, metres).values()) == [0, 0, 0, 0, 100, 100, 100]
    _, _, unit = normals()
    assert list(score(NormalErrors(), unit, unit).values()) == [0, 0, 0, 100, 100, 100]
    _, _, salient = saliency()
    logit = torch.where(salient[:, None] == 1, 5.0, -5.0)
    assert score(Saliency(), logit, salient) == {"maxf": pytest.approx(100), "max_miou": 100}


def test_scores_and_directions_name_the_same_numbers(case):
    metric, prediction, label = case
    assert list(metric.scores(metric.statistics(prediction, label).sum(0))) == list(metric.score_types)
    assert metric.primary == next(iter(metric.score_types))


def test_every_score_says_how_it_is_printed(case):
    described = case[0].score_types
    assert all(its.title and its.unit in ("", "%", "m", "°") and 2 <= its.decimals <= 3 for its in described.values())
    assert len({its.title for its in described.values()}) == len(described)


def test_statistics_of_an_image_do_not_depend_on_its_batch(case):
    metric, prediction, label = case
    whole = metric.statistics(prediction, label)
    assert whole.dtype == torch.float64
    for size in (1, 2, 3):
        parts = [metric.statistics(p, t) for p, t in zip(prediction.split(size), label.split(size), strict=True)]
        assert torch.equal(torch.cat(parts), whole)
    order = torch.randperm(B)
    assert torch.equal(metric.statistics(prediction[order], label[order]), whole[order])


def test_statistics_do_not_depend_on_the_number_of_threads():
    prediction, label = torch.rand(1, 1, 480, 640), torch.rand(1, 1, 480, 640)
    alone = DepthErrors().statistics(prediction, label)
    torch.set_num_threads(2)
    try:
        assert torch.equal(DepthErrors().statistics(prediction, label), alone)
        several = DepthErrors().statistics(prediction.expand(3, -1, -1, -1), label.expand(3, -1, -1, -1))
        assert torch.equal(several[:1], alone)
    finally:
        torch.set_num_threads(1)


def test_padding_with_invalid_pixels_changes_no_score(case):
    metric, prediction, label = case
    padded = torch.nn.functional.pad(label, (3, 1, 2, 0), value=void(label))
    around = torch.nn.functional.pad(prediction, (3, 1, 2, 0), value=1.5)
    assert score(metric, around, padded) == pytest.approx(score(metric, prediction, label), rel=1e-12, nan_ok=True)


def test_predictions_at_invalid_pixels_change_no_statistic(case):
    metric, prediction, label = case
    invalid = ~valid_pixels(label)[:, None]
    for value in (1e6, math.nan):
        changed = torch.where(invalid, value, prediction)
        assert torch.equal(metric.statistics(changed, label), metric.statistics(prediction, label))


def test_a_split_without_labels_is_undefined(case):
    metric, prediction, label = case
    found = score(metric, prediction, torch.full_like(label, void(label)))
    assert all(math.isnan(value) for value in found.values()), found


def test_an_image_without_labels_changes_no_score(case):
    metric, prediction, label = case
    rest = [0, 1, 3, 4]  # image 2 has no label
    assert not valid_pixels(label)[2].any()
    assert score(metric, prediction[rest], label[rest]) == pytest.approx(score(metric, prediction, label), nan_ok=True)


def test_a_prediction_that_is_not_a_number_has_no_primary_score(case):
    metric, prediction, label = case
    b, y, x = valid_pixels(label).nonzero()[0]
    prediction[b, 0, y, x] = math.nan
    found = score(metric, prediction, label)
    assert all(math.isnan(value) for value in found.values()), found


@pytest.mark.parametrize("value", [math.inf, -math.inf])
@pytest.mark.parametrize("field", [depth, normals])
def test_a_field_that_is_infinite_somewhere_has_no_score(field, value):
    metric, prediction, label = field()
    b, y, x = valid_pixels(label).nonzero()[0]
    prediction[b, 0, y, x] = value
    found = score(metric, prediction, label)
    assert all(math.isnan(value) for value in found.values()), found


def test_metrics_survive_pickling(case):
    metric, prediction, label = case
    copy = pickle.loads(pickle.dumps(metric))
    assert copy == metric and copy.definition == metric.definition
    assert torch.equal(copy.statistics(prediction, label), metric.statistics(prediction, label))


def test_byte_labels_count_as_integers_do():
    for metric, prediction, label in (segmentation(), saliency()):
        assert torch.equal(metric.statistics(prediction, label.to(torch.uint8)), metric.statistics(prediction, label))


@pytest.mark.parametrize(
    ("stray", "dtype"),
    [(NUM_CLASSES, torch.uint8), (254, torch.uint8), (NUM_CLASSES, torch.int64), (254, torch.int64), (-1, torch.int64)],
)
def test_a_label_that_is_no_class_is_refused(stray, dtype):
    metric, prediction, label = segmentation()
    label = label.to(dtype)
    label[0, 0, 0] = stray
    with pytest.raises(ValueError, match=f"label {stray} is neither a class in 0..6 nor 255"):
        metric.statistics(prediction, label)


def test_class_names_name_the_scores():
    metric = MeanIoU(2, ("wall", "floor"))
    assert list(metric.score_types) == ["miou", "pixel_accuracy", "iou/wall", "iou/floor"]
    with pytest.raises(ValueError, match="2 different names"):
        MeanIoU(2, ("wall", "wall"))


# Influence: N * grad(primary score) . row, what the primary score owes to an image


def influence(metric, rows):
    total = rows.sum(0).requires_grad_()
    (gradient,) = torch.autograd.grad(metric.scores(total)[metric.primary], total)
    return len(rows) * rows @ gradient


def test_influence_on_miou_is_the_closed_form():
    metric, prediction, label = segmentation()
    rows = metric.statistics(prediction, label)
    intersection, predicted, labelled = rows.view(B, 3, NUM_CLASSES).unbind(1)
    union = predicted + labelled - intersection
    present = union.sum(0) > 0
    iou = intersection.sum(0) / union.sum(0)
    each = (intersection - iou * union) / union.sum(0)
    expected = 100 * B / present.sum() * each[:, present].sum(1)
    torch.testing.assert_close(influence(metric, rows), expected)


def test_influence_on_rmse_is_the_closed_form():
    metric, prediction, label = depth()
    rows = metric.statistics(prediction, label)
    num_pixels, squared = rows[:, 0], rows[:, 1]
    rmse = (squared.sum() / num_pixels.sum()).sqrt()
    expected = B * (squared - rmse**2 * num_pixels) / (2 * rmse * num_pixels.sum())
    torch.testing.assert_close(influence(metric, rows), expected)


def test_influence_on_the_mean_angle_is_the_closed_form():
    metric, prediction, label = normals()
    rows = metric.statistics(prediction, label)
    num_pixels, angle = rows[:, 0], rows[:, 1]
    expected = B * (angle - angle.sum() / num_pixels.sum() * num_pixels) / num_pixels.sum()
    torch.testing.assert_close(influence(metric, rows), expected)


def test_influence_sums_to_zero(case):
    metric, prediction, label = case
    values = influence(metric, metric.statistics(prediction, label))
    assert values.abs().max() > 0
    assert values.sum().item() == pytest.approx(0, abs=1e-9)


def test_influence_of_a_perfect_prediction_is_zero():
    _, _, label = depth()
    assert not influence(DepthErrors(), DepthErrors().statistics(label, label)).any()


FROZEN = {
    segmentation: {"miou": 9.221381, "pixel_accuracy": 18.709677},
    depth: {
        "rmse": 0.976975,
        "rmse_log": 4.669127,
        "abs_rel": 0.323447,
        "rmse_image_mean": 0.976039,
        "delta1": 65.248227,
        "delta2": 78.723404,
        "delta3": 85.815603,
    },
    normals: {
        "mean_angle": 23.076621,
        "median_angle": 20.7,
        "rmse_angle": 26.587604,
        "within_11_25": 19.354839,
        "within_22_5": 53.548387,
        "within_30": 74.193548,
    },
    saliency: {"maxf": 47.419929, "max_miou": 38.882296},
}


@pytest.mark.parametrize("make", FROZEN)
def test_scores_keep_their_numbers(make):
    torch.manual_seed(3)
    found = score(*make())
    assert {name: found[name] for name in FROZEN[make]} == pytest.approx(FROZEN[make], abs=1e-6)
