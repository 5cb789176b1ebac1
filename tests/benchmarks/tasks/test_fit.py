import json

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.tasks.clusters import normal_centroids
from mtlbench.harness.data.learning import fit


def samples(count=12):
    """Images whose normals lie around one of 40 directions each pixel; the second has no label, the third is void."""
    axes = normalize(torch.randn(40, 3, generator=torch.Generator().manual_seed(1)))
    made = []
    for number in range(count):
        which = torch.randint(40, (9, 11))
        label = normalize(axes[which].movedim(2, 0) + 0.005 * torch.randn(3, 9, 11), dim=0)
        label[:, torch.rand(9, 11) < 0.3] = 0
        labels = {} if number == 1 else {"normals": label * (number != 2)}
        made.append(Sample(str(number), torch.zeros(3, 9, 11, dtype=torch.uint8), labels))
    return axes, made


def test_centroids_lie_where_the_normals_do():
    axes, train = samples(30)
    found = fit({"normals": factories.normals()}, train)["normals"]
    distance = torch.cdist(torch.tensor(found["centroids"]), axes)
    assert distance.min(1).values.max() < 0.05  # each centroid is near a direction
    assert len(distance.argmin(1).unique()) >= 30  # one run of k-means may put two centroids into one cluster


def test_a_task_completed_with_its_findings_has_a_label_loss():
    task = factories.normals()
    _, train = samples()
    findings = json.loads(json.dumps(fit({"normals": task, "depth": factories.depth(1, 10)}, train)))
    assert list(findings) == ["normals"]
    completed = task.fitted(findings["normals"])
    total, count = completed.label_loss(torch.randn(1, 40, 9, 11), train[0].labels["normals"][None])
    assert total.isfinite() and count > 0


def test_the_same_labels_give_the_same_centroids():
    _, train = samples()
    assert fit({"normals": factories.normals()}, train) == fit({"normals": factories.normals()}, train)


def test_invalid_pixels_make_no_centroid():
    _, train = samples()
    centroids = np.array(fit({"normals": factories.normals()}, train)["normals"]["centroids"])
    assert np.linalg.norm(centroids, axis=1).min() > 0.5


@pytest.mark.parametrize("labels", [[], [torch.zeros(3, 4, 4)], [torch.ones(3, 20, 20)]])
def test_too_few_normals_are_refused_with_their_number(labels):
    with pytest.raises(ValueError, match=r"[01] different normals .* 40 clusters"):
        normal_centroids(labels)
