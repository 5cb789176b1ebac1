import math
import pickle
import time

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.ndimage import label as components

from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.tasks.edges import NUM_THRESHOLDS, EdgeODS, largest_matching, thin
from mtlbench.benchmarks.tasks.metric import ExpensiveMetric

H, W = 40, 56


def draw(height=H, width=W, seed=0):
    """A smooth field [H, W] in (0, 1) and the outline of another threshold of the same field."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(height, width)), 2.5)
    field = 1 / (1 + np.exp(-25 * field))
    inside = gaussian_filter(rng.normal(size=(height, width)), 4) > 0
    outline = inside ^ np.roll(inside, 1, axis=1)
    return field, outline


def statistics(metric, probability, label):
    logit = torch.from_numpy(probability).logit()[None, None]
    return metric.statistics(logit, torch.from_numpy(np.asarray(label, dtype=np.uint8))[None])[0]


def score(metric, *images):
    total = sum(statistics(metric, probability, label) for probability, label in images)
    return {name: value.item() for name, value in metric.scores(total).items()}


def thin_map(image):
    return thin(np.asarray(image).astype(np.uint64)) > 0


# Thinning


def literal_thin(image):
    """MATLAB's documentation of bwmorph, 'thin', pixel by pixel."""
    image = np.pad(np.asarray(image, dtype=int), 1)
    # x1 is the east neighbour, the rest follow counter-clockwise
    around = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    while True:
        before = image.copy()
        for second in (False, True):
            deleted = []
            for y, x in zip(*np.nonzero(image), strict=True):
                n = [None] + [image[y + dy, x + dx] for dy, dx in around] + [image[y, x + 1]]  # n[1..8], n[9] = n[1]
                crossings = sum(n[2 * i - 1] == 0 and (n[2 * i] or n[2 * i + 1]) for i in (1, 2, 3, 4))
                n1 = sum(n[2 * k - 1] or n[2 * k] for k in (1, 2, 3, 4))
                n2 = sum(n[2 * k] or n[2 * k + 1] for k in (1, 2, 3, 4))
                side = (n[6] or n[7] or not n[4]) and n[5] if second else (n[2] or n[3] or not n[8]) and n[1]
                if crossings == 1 and 2 <= min(n1, n2) <= 3 and not side:
                    deleted.append((y, x))
            for pixel in deleted:
                image[pixel] = 0
        if (image == before).all():
            return image[1:-1, 1:-1] > 0


def shapes():
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:24, :31]
    ring = np.abs(np.hypot(y - 12, x - 15) - 8) < 3
    return {
        "noise": rng.random((24, 31)) < 0.5,
        "dense noise": rng.random((24, 31)) < 0.85,
        "blobs": gaussian_filter(rng.normal(size=(24, 31)), 2) > 0,
        "full": np.ones((24, 31), dtype=bool),
        "ring": ring,
        "diagonal": np.abs(y - x) < 3,
        "empty": np.zeros((24, 31), dtype=bool),
        "point": (y == 0) & (x == 0),
    }


@pytest.mark.parametrize("shape", shapes())
def test_thinning_equals_the_documented_algorithm(shape):
    image = shapes()[shape]
    assert np.array_equal(thin_map(image), literal_thin(image))


@pytest.mark.parametrize("seed", range(5))
def test_thinning_keeps_lines_and_holes_connected_as_they_are(seed):
    image = draw(80, 90, seed)[0] > 0.4
    line = thin_map(image)
    assert not (line & ~image).any()
    assert np.array_equal(thin_map(line), line)
    assert components(line, np.ones((3, 3)))[1] == components(image, np.ones((3, 3)))[1]
    assert (
        components(np.pad(~line, 1, constant_values=True))[1] == components(np.pad(~image, 1, constant_values=True))[1]
    )


@pytest.mark.parametrize("shape", ["ring", "diagonal", "blobs", "full"])
def test_thinned_lines_are_one_pixel_wide(shape):
    line = thin_map(shapes()[shape])
    assert line.any()
    assert not (line[1:, 1:] & line[1:, :-1] & line[:-1, 1:] & line[:-1, :-1]).any()


def test_the_maps_in_a_word_are_thinned_apart_from_each_other():
    images = np.random.default_rng(2).random((64, 20, 30)) < np.linspace(0.05, 0.95, 64)[:, None, None]
    bits = np.uint64(1) << np.arange(64, dtype=np.uint64)[:, None, None]
    words = thin((images * bits).sum(0, dtype=np.uint64))
    for image, bit in zip(images, bits, strict=True):
        assert np.array_equal((words & bit) > 0, thin_map(image))


# Pairing


def literal_matching(edges):
    """Kuhn's algorithm: one augmenting path after another."""
    partner = {}

    def augment(left, seen):
        for right in edges[left]:
            if right not in seen:
                seen.add(right)
                if right not in partner or augment(partner[right], seen):
                    partner[right] = left
                    return True
        return False

    return sum(augment(left, set()) for left in edges)


@pytest.mark.parametrize("seed", range(20))
def test_pairs_are_as_many_as_possible(seed):
    rng = np.random.default_rng(seed)
    left, right = np.nonzero(rng.random((rng.integers(1, 30), rng.integers(1, 30))) < rng.choice([0.05, 0.1, 0.3]))
    edges = {a: [b for c, b in zip(left, right, strict=True) if c == a] for a in left.tolist()}
    # pixels are numbered with gaps
    assert largest_matching(left * 7, right * 3 + 2) == literal_matching(edges)


def test_no_edge_makes_no_pair():
    nothing = np.array([], dtype=np.int64)
    assert largest_matching(nothing, nothing) == 0


def test_pairing_of_dense_maps_takes_no_longer_than_seconds():
    rng = np.random.default_rng(0)
    y, x = np.nonzero(rng.random((425, 560)) < 0.092)
    number = np.where(rng.random((425, 560)) < 0.11, np.arange(425 * 560).reshape(425, 560), -1)
    offsets = [(dy, dx) for dy in range(-7, 8) for dx in range(-7, 8) if math.hypot(dy, dx) <= 7.7]
    near = np.stack([number[(y + dy) % 425, (x + dx) % 560] for dy, dx in offsets], axis=1)  # [L, K]
    left, column = np.nonzero(near >= 0)
    start = time.process_time()
    assert largest_matching(left, near[left, column]) == len(y)
    assert time.process_time() - start < 5


def test_pairing_of_nearly_parallel_lines_takes_no_longer_than_seconds():
    # Each point reaches 15 of the other line; a tenth is missing on either, so that paths are long.
    rng = np.random.default_rng(0)
    one, other = (np.flatnonzero(rng.random(20_000) < 0.9) for _ in range(2))
    present = np.zeros(20_000 + 15, dtype=bool)
    present[other] = True
    left, step = np.nonzero(present[one[:, None] + np.arange(15)])
    start = time.process_time()
    pairs = largest_matching(left, one[left] + step)
    assert time.process_time() - start < 5
    # On a line, pairing each point with the first free one is best.
    greedy, last = 0, -1
    for point in one:
        nearest = np.searchsorted(other, max(point, last + 1))
        if nearest < len(other) and other[nearest] < point + 15:
            greedy, last = greedy + 1, other[nearest]
    assert pairs == greedy


# Scores


def test_statistics_equal_the_literal_evaluation():
    probability, label = draw(20, 26)
    metric = EdgeODS(0.08)
    void = np.zeros_like(label)
    void[:, -4:] = True
    rows = statistics(metric, probability, np.where(void, 255, label))
    tolerance = 0.08 * math.hypot(20, 26)
    lines = np.argwhere(literal_thin(label & ~void))
    pairs, predicted = [], []
    for threshold in np.arange(1, 100) / 100:
        points = np.argwhere(literal_thin((probability >= threshold) & ~void))
        near = {i: [j for j, q in enumerate(lines) if math.dist(p, q) <= tolerance] for i, p in enumerate(points)}
        pairs.append(literal_matching(near))
        predicted.append(len(points))
    assert rows[0] == len(lines)
    assert rows[1 : 1 + NUM_THRESHOLDS].tolist() == pairs
    assert rows[1 + NUM_THRESHOLDS : -2].tolist() == predicted
    f = [2 * m / (p + len(lines)) for m, p in zip(pairs, predicted, strict=True)]
    assert 2 * rows[-2] / (rows[-1] + len(lines)) == max(f)
    assert metric.scores(rows)["odsf"] == pytest.approx(100 * max(f))


def test_a_perfect_prediction_scores_100():
    _, label = draw()
    perfect = np.where(label, 0.999, 0.001)
    assert score(EdgeODS(0.0075), (perfect, label)) == {"odsf": 100, "oisf": 100}
    thick = label | np.roll(label, 1, axis=0)
    assert score(EdgeODS(0.0075), (np.where(thick, 0.999, 0.001), thick)) == {"odsf": 100, "oisf": 100}


@pytest.mark.parametrize(("shift", "expected"), [(0, 100), (3, 100), (4, 0)])
def test_a_shift_is_forgiven_up_to_the_tolerance(shift, expected):
    label = np.zeros((60, 80), dtype=bool)
    label[20] = True
    moved = np.where(np.roll(label, shift, axis=0), 0.9, 0.1)
    tolerance = 3.5 / math.hypot(60, 80)
    assert score(EdgeODS(tolerance), (moved, label))["odsf"] == expected


def test_a_second_line_within_the_tolerance_is_false():
    label = np.zeros((60, 80), dtype=bool)
    label[20] = True
    double = label | np.roll(label, 3, axis=0)
    assert score(EdgeODS(0.05), (np.where(double, 0.9, 0.001), label))["odsf"] == pytest.approx(100 * 2 / 3)


def test_a_probability_on_a_threshold_reaches_it():
    label = torch.zeros(1, 9, 9, dtype=torch.uint8)
    label[0, 4] = 1
    logit = torch.where(label == 1, 0.0, -9.0)[None]  # probability 0.5
    predicted = EdgeODS(0.02).statistics(logit, label)[0, 1 + NUM_THRESHOLDS : -2]
    assert predicted.tolist() == [9] * 50 + [0] * 49  # 0.01 .. 0.5


def test_predictions_at_void_pixels_change_nothing():
    probability, label = draw()
    label = np.where(np.arange(W) < 20, 255, label)
    other = np.where(np.arange(W) < 20, 0.97, probability)
    assert torch.equal(statistics(EdgeODS(0.02), probability, label), statistics(EdgeODS(0.02), other, label))


def test_best_threshold_of_each_image_is_at_least_as_good_as_one_for_all():
    images = [draw(seed=seed) for seed in range(4)]
    images = [(p ** (1 + i), label) for i, (p, label) in enumerate(images)]  # each calibrated in its own way
    found = score(EdgeODS(0.03), *images)
    assert found["oisf"] > found["odsf"] > 0


def test_statistics_do_not_depend_on_the_batch():
    metric = EdgeODS(0.02)
    images = [draw(seed=seed) for seed in range(3)]
    logits = torch.stack([torch.from_numpy(p).logit()[None] for p, _ in images])
    labels = torch.stack([torch.from_numpy(label.astype(np.uint8)) for _, label in images])
    apart = torch.stack([statistics(metric, p, label) for p, label in images])
    assert torch.equal(metric.statistics(logits, labels), apart)
    assert apart.dtype == torch.float64


def test_nothing_predicted_scores_0_and_nothing_labelled_is_undefined():
    probability, label = draw()
    metric = EdgeODS(0.02)
    assert score(metric, (np.full((H, W), 1e-4), label)) == {"odsf": 0, "oisf": 0}
    for empty in (np.zeros((H, W)), np.full((H, W), 255)):
        assert all(math.isnan(value) for value in score(metric, (probability, empty)).values())
    # An image without edges costs what is predicted on it, at its best threshold nothing.
    assert score(metric, (probability * 0.9, np.zeros((H, W))), (probability, label))["oisf"] == pytest.approx(
        score(metric, (probability, label))["oisf"]
    )


def test_a_prediction_that_is_not_a_number_has_no_score():
    probability, label = draw()
    probability[3, 4] = math.nan
    assert all(math.isnan(value) for value in score(EdgeODS(0.02), (probability, label)).values())


def test_the_primary_score_has_a_gradient():
    total = statistics(EdgeODS(0.02), *draw()).requires_grad_()
    (gradient,) = torch.autograd.grad(EdgeODS(0.02).scores(total)["odsf"], total)
    assert gradient.isfinite().all() and gradient.any()
    assert (gradient @ total).item() == pytest.approx(0, abs=1e-9)  # the influence of the only image


def test_the_task_scores_edges_once_a_tolerance_is_known():
    assert factories.edge(0.95).metric is None
    metric = factories.edge(0.95, max_distance=0.0075).metric
    assert metric == EdgeODS(0.0075) == pickle.loads(pickle.dumps(metric))
    assert metric.expensive and list(metric.score_types) == ["odsf", "oisf"]
    with pytest.raises(ValueError, match=r"max_distance is 7\.5"):
        EdgeODS(7.5)


def test_odsf_keeps_its_numbers():
    found = score(EdgeODS(0.02), *(draw(seed=seed) for seed in range(3)))
    assert found == pytest.approx({"odsf": 19.831224, "oisf": 22.032086}, abs=1e-6)


@pytest.mark.slow
def test_an_image_of_nyud_size_takes_seconds_whatever_is_predicted():
    rng = np.random.default_rng(0)
    start = time.process_time()
    rows = statistics(EdgeODS(0.011), rng.random((425, 560)), rng.random((425, 560)) < 0.092)
    assert time.process_time() - start < 60
    assert rows[0] > 20_000


@pytest.mark.parametrize("label_dtype", [torch.uint8, torch.int64])
def test_what_is_kept_of_a_prediction_gives_the_same_bits_as_the_prediction(label_dtype):
    probability, label = draw(seed=4)
    label = torch.from_numpy(np.where(np.arange(W) < 5, 255, label)).to(label_dtype)[None]
    prediction = torch.from_numpy(probability).logit()[None, None].float()
    metric = EdgeODS(0.02)
    kept = metric.condense(prediction, label)
    assert kept.dtype == torch.uint8 and list(kept.shape) == [1, 2, H, W]
    assert isinstance(metric, ExpensiveMetric)
    assert metric.statistics_of(kept[0].numpy()).tolist() == metric.statistics(prediction, label)[0].tolist()
    cut = prediction.sigmoid().double() * 100  # any probability that reaches the same thresholds
    moved = (cut.floor() + 0.5).clamp(max=99.5) / 100
    assert torch.equal(metric.condense(moved.logit(), label), kept)


def test_a_threshold_that_no_pixel_stops_at_has_the_counts_of_the_one_before():
    probability, label = draw(seed=5)
    few = np.where(probability > 0.5, 0.805, 0.205)
    row = statistics(EdgeODS(0.02), few, label).numpy()
    pairs, predicted = row[1 : 1 + NUM_THRESHOLDS], row[1 + NUM_THRESHOLDS : 1 + 2 * NUM_THRESHOLDS]
    whole, part, none = slice(0, 20), slice(20, 80), slice(80, NUM_THRESHOLDS)
    for counts in (pairs, predicted):
        assert all(len(set(counts[of])) == 1 for of in (whole, part, none))
    assert predicted[79] == thin_map(few > 0.5).sum() and predicted[80] == 0 == pairs[80]
