"""The F-measure of boundaries under a tolerance in position (Martin, Fowlkes and Malik, PAMI 2004), without MATLAB.

A map of probabilities is cut at 99 thresholds. The pixels above a threshold are thinned to lines one pixel wide. The
pixels of these lines are then paired one to one with the pixels of the thinned label. No pair may be further apart than
the tolerance, and there are as many pairs as possible.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import IGNORE, require_same_shape
from mtlbench.benchmarks.tasks.metric import ScoreType

NUM_THRESHOLDS = 99  # 0.01, 0.02, ..., 0.99
PLANES = 50  # thresholds in a word of 64 bits; 64 would need 2^64

Planes = NDArray[np.unsignedinteger[Any]]  # uint64 [H, W]; each bit is a binary map of its own


@dataclass(frozen=True)
class EdgeODS:
    """Boundary F-measures in percent: ``odsf`` at the best threshold of the split, ``oisf`` at the best of each image.

    prediction logit [B, 1, H, W]; label integer [B, H, W] in {0, 1} with 255 void, where no prediction counts.
    max_distance is the tolerance as a fraction of the image's diagonal: 0.0075 on PASCAL, 0.011 on NYUD-v2.
    With M pairs between P predicted and L labelled pixels, precision is M / P, recall M / L and F = 2 M / (P + L).

    As in the BSDS evaluation, thresholds are inclusive, and the map above a threshold is thinned as MATLAB's
    ``bwmorph`` does it. The following departs from the BSDS evaluation:
    - The label is thinned too, because a thin line can recall only half of a label that is two pixels wide. A label
      that is a line already stays as it is.
    - Probabilities are not rounded to 8 bits, there is no non-maximum suppression before, and F is not interpolated
      between thresholds.
    - Only the number of pairs enters the scores, and here it is the largest possible number. BSDS pairs pixels at least
      cost, and leaving a pixel out costs a hundred times the tolerance. So its number of pairs is the largest possible
      only up to exchanges along hundreds of pixels.
    """

    max_distance: float

    _NUM_THRESHOLDS: ClassVar[int] = NUM_THRESHOLDS  # constants of the class are part of the protocol
    primary: ClassVar[str] = "odsf"
    expensive: ClassVar[bool] = True
    score_types: ClassVar[Mapping[str, ScoreType]] = {
        "odsf": ScoreType(True, "odsF", "%", 2),
        "oisf": ScoreType(True, "oisF", "%", 2),
    }

    def __post_init__(self) -> None:
        if not 0 < self.max_distance < 1:
            raise ValueError(f"max_distance is {self.max_distance}; it is a fraction of the diagonal, between 0 and 1")

    @property
    def definition(self) -> str:
        return (
            f"F of boundary pixels that are not {IGNORE}, paired one to one within {self.max_distance:g} of the image "
            f"diagonal, prediction and label thinned; {NUM_THRESHOLDS} thresholds 0.01, 0.02, ..., 0.99 (>=) on the "
            "sigmoid, counts summed over images; odsf: one threshold for the split, oisf: one for each image; percent."
        )

    def condense(self, prediction: Tensor, label: Tensor) -> Tensor:
        """How many thresholds each pixel reaches, 0..99, and the label: uint8 [B, 2, H, W].

        The statistics depend on nothing else, so the bytes lose nothing. 255 marks a void pixel in the label, and a
        pixel whose prediction is not a number.
        """
        probability = prediction.double().sigmoid().squeeze(1)  # [B, H, W]
        require_same_shape(probability, label)
        thresholds = torch.arange(1, NUM_THRESHOLDS + 1, device=prediction.device, dtype=torch.float64)
        reached = torch.bucketize(probability, thresholds / (NUM_THRESHOLDS + 1), right=True)
        reached = torch.where(probability.isnan(), IGNORE, reached)
        return torch.stack([torch.where(label != IGNORE, reached, 0), label], dim=1).to(torch.uint8)

    def statistics_of(self, condensed: NDArray[np.uint8]) -> NDArray[np.float64]:
        """[2, H, W] -> [201]: labelled pixels; pairs and predicted pixels at 99 thresholds; both at the best one."""
        reached, label = condensed[0].astype(np.intp), condensed[1]
        if (reached == IGNORE).any():
            return np.full(2 * NUM_THRESHOLDS + 3, math.nan)
        lines = thin((label == 1).astype(np.uint64)) > 0
        near, reach = _near(lines, self.max_distance * math.hypot(*lines.shape))
        pairs, predicted = [0] * NUM_THRESHOLDS, [0] * NUM_THRESHOLDS
        occurs = np.bincount(reached.ravel(), minlength=NUM_THRESHOLDS + 1) > 0
        for first in range(0, NUM_THRESHOLDS, PLANES):
            count = min(PLANES, NUM_THRESHOLDS - first)
            reached_here = np.clip(reached - first, 0, count).astype(np.uint64)
            planes = thin((np.uint64(1) << reached_here) - np.uint64(1))  # bit t: threshold first + t is reached
            planes = np.pad(planes, reach).ravel()
            line, column = np.nonzero(planes[near])
            pixel = near[line, column]
            at_pixel = planes[pixel]
            for t in range(first, first + count):
                if t and not occurs[t]:  # no pixel stops between this threshold and the one before
                    pairs[t], predicted[t] = pairs[t - 1], predicted[t - 1]
                    continue
                bit = np.uint64(1) << np.uint64(t - first)
                edge = np.flatnonzero(at_pixel & bit)
                pairs[t] = largest_matching(line[edge], pixel[edge])
                predicted[t] = int(np.count_nonzero(planes & bit))
        labelled = int(np.count_nonzero(lines))
        best = _best(np.array(pairs), np.array(predicted), labelled)
        return np.array([labelled, *pairs, *predicted, pairs[best], predicted[best]], dtype=np.float64)

    def statistics(self, prediction: Tensor, label: Tensor) -> Tensor:
        """The result of `statistics_of` for each image: [B, 201]."""
        rows = [self.statistics_of(image) for image in self.condense(prediction, label).cpu().numpy()]
        return torch.from_numpy(np.stack(rows)).to(prediction.device)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        labelled, pairs, predicted, best = total.split_with_sizes([1, NUM_THRESHOLDS, NUM_THRESHOLDS, 2])
        some = torch.where(labelled > 0, labelled, math.nan)
        return {
            "odsf": 100 * (2 * pairs / (predicted + some)).amax(),
            "oisf": 100 * (2 * best[0] / (best[1] + some)).squeeze(),
        }


def _best(pairs: NDArray[np.integer], predicted: NDArray[np.integer], labelled: int) -> int:
    """The threshold with the greatest F; among equals, the one with the fewest predicted pixels."""
    f = 2 * pairs / np.maximum(predicted + labelled, 1)
    return int(np.lexsort((-predicted, f))[-1])


def _near(lines: NDArray[np.bool_], tolerance: float) -> tuple[NDArray[np.intp], int]:
    """All positions within the tolerance of each of L pixels on lines [H, W], and the reach of the tolerance.

    The positions are flat indices [L, K] into the image padded by the reach on every side, so that none lies outside.
    """
    reach = int(tolerance)
    stride = lines.shape[1] + 2 * reach
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = dy**2 + dx**2 <= tolerance**2
    return np.flatnonzero(np.pad(lines, reach))[:, None] + (dy * stride + dx)[disc], reach


def largest_matching(left: NDArray[np.integer], right: NDArray[np.integer]) -> int:
    """The size of the largest one-to-one pairing along the edges left[i] - right[i]. Each edge is given once.

    It is found as a flow of unit capacities by Dinic's algorithm, which needs O(E sqrt(V)) steps. On two nearly
    parallel lines SciPy's own bipartite matching takes seconds, and Dinic's algorithm takes milliseconds.
    """
    left, num_left = _renumbered(left)
    right, num_right = _renumbered(right)
    if num_right < num_left:  # with fewer sources, fewer searches end nowhere
        left, num_left, right, num_right = right, num_right, left, num_left
    sink = 1 + num_left + num_right
    tail = np.concatenate([np.zeros(num_left), 1 + left, np.arange(1 + num_left, sink)])
    head = np.concatenate([np.arange(1, 1 + num_left), 1 + num_left + right, np.full(num_right, sink)])
    capacity = np.ones(len(tail), dtype=np.int32)
    network = csr_array((capacity, (tail.astype(np.int32), head.astype(np.int32))), shape=(sink + 1, sink + 1))
    return int(maximum_flow(network, 0, sink, method="dinic").flow_value)


def _renumbered(index: NDArray[np.integer]) -> tuple[NDArray[np.intp], int]:
    """The indices renumbered from 0 in their order without gaps, and how many different indices there are."""
    occurs = np.zeros(index.max(initial=-1) + 1, dtype=bool)
    occurs[index] = True
    number = occurs.cumsum()
    return number[index] - 1, int(number[-1]) if number.size else 0


def thin(planes: Planes) -> Planes:
    """Thins every bit of a map to lines one pixel wide, as ``bwmorph(map, 'thin', Inf)``: [H, W] -> [H, W].

    This is the parallel algorithm A1 of Guo and Hall (CACM 1989) as described by Lam, Lee and Suen (PAMI 1992), whom
    MATLAB cites: two passes alternate until neither of them deletes a pixel. A pixel is looked at again only after one
    of its neighbours changed, and one look serves all 64 maps of a word.
    """
    height, width = planes.shape
    stride = width + 2
    pixels = np.pad(planes, 1).ravel()
    # east, north-east, north, north-west, west, south-west, south, south-east
    around = np.array([1, 1 - stride, -stride, -stride - 1, -1, stride - 1, stride, stride + 1])
    passes = [around, np.roll(around, -4)]
    stale = np.ones((2, pixels.size), dtype=bool)  # by pass: the pixels not looked at since a neighbour changed
    while stale.any():
        for offsets, mine in zip(passes, stale, strict=True):
            looked_at = np.flatnonzero(mine & (pixels != 0))
            mine[:] = False
            deleted = _deletable(pixels, looked_at, offsets)
            changed = deleted != 0
            where = looked_at[changed]
            pixels[where] ^= deleted[changed]
            for offset in around:
                stale[:, where + offset] = True
    return pixels.reshape(height + 2, stride)[1:-1, 1:-1].copy()


def _deletable(pixels: Planes, index: NDArray[np.intp], offsets: NDArray[np.intp]) -> Planes:
    """The bits of pixels[index] that a pass deletes; offsets to the neighbours x1..x8, counter-clockwise.

    A pixel is deleted if the circle of its neighbours changes from empty to set exactly once (G1), if it has two or
    three neighbours, counted in pairs (G2), and if (x2 or x3 or not x8) and x1 is false (G3). The second pass is the
    first pass turned by 180 degrees.
    """
    centre: Planes = pixels[index]
    x1, x2, x3, x4, x5, x6, x7, x8 = (pixels[index + offset] for offset in offsets)
    # an empty neighbour on an axis, followed by a set one
    b1, b2, b3, b4 = ~x1 & (x2 | x3), ~x3 & (x4 | x5), ~x5 & (x6 | x7), ~x7 & (x8 | x1)
    one_crossing = ((b1 ^ b2) & ~(b3 | b4)) | ((b3 ^ b4) & ~(b1 | b2))
    two_n, four_n = _two_and_four(x1 | x2, x3 | x4, x5 | x6, x7 | x8)
    two_m, four_m = _two_and_four(x2 | x3, x4 | x5, x6 | x7, x8 | x1)
    not_inside = two_n & two_m & ~(four_n & four_m)
    free = ~((x2 | x3 | ~x8) & x1)
    deletable: Planes = centre & one_crossing & not_inside & free
    return deletable


def _two_and_four(a: Planes, b: Planes, c: Planes, d: Planes) -> tuple[Planes, Planes]:
    """The bits that are set in at least two of the maps, and the bits that are set in all four."""
    one_pair: Planes = (a & b) | (c & d)
    across: Planes = (a | b) & (c | d)
    return one_pair | across, a & b & c & d
