"""The clusters of normals, which are learnt from the labels of the training split, once for each copy of the data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

NUM_NORMAL_CLUSTERS = 40  # ATRC
PIXELS_PER_IMAGE = 100  # 80,000 normals from the 795 training images of NYUD-v2


def normal_centroids(labels: Iterable[Tensor]) -> dict[str, Any]:
    """k-means of the normals of all images, labels [3, H, W] -> {"centroids": 40 x 3}, of length at most 1.

    Each image gives 100 valid pixels, evenly spaced in reading order. Only k-means itself uses random numbers, and it
    is seeded. ATRC ships the centroids of its two data sets; here they are derived in the same way from the data at
    hand. Raises ValueError if there are fewer than 40 different normals.
    """
    # The import takes a second, and is needed once for each copy of the data.
    from sklearn.cluster import KMeans

    normals = [np.empty((0, 3))]
    for label in labels:
        valid = label.flatten(1).T.double().numpy()  # [N, 3]
        valid = valid[valid.any(axis=1)]
        normals.append(valid[np.linspace(0, len(valid) - 1, min(PIXELS_PER_IMAGE, len(valid))).round().astype(int)])
    points = np.concatenate(normals)
    different = len(np.unique(points, axis=0))
    if different < NUM_NORMAL_CLUSTERS:
        raise ValueError(
            f"normals: the training labels hold {different} different normals among the {len(points)} that were "
            f"sampled; {NUM_NORMAL_CLUSTERS} clusters need at least as many"
        )
    centroids = KMeans(NUM_NORMAL_CLUSTERS, n_init=1, random_state=0).fit(points).cluster_centers_
    return {"centroids": centroids.round(4).tolist()}  # rounded: the last bits depend on the number of threads
