"""Morphological thinning (Guo and Hall, Comm. ACM 1989; conditions as in Lam, Lee and Suen, PAMI 1992)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# x1..x8: the neighbours, counter-clockwise from the east; neighbour k contributes 2 ** (k - 1) to a pixel's code
_WEIGHTS = np.array([[8, 4, 2], [16, 0, 1], [32, 64, 128]], dtype=np.uint8)


def _removable() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each of the two sub-iterations, which of the 256 neighbourhoods lose their pixel: two arrays [256]."""
    x = [(np.arange(256) >> k & 1).astype(bool) for k in range(8)]  # x[k] is the paper's x_(k+1)
    crossings = sum((~x[k] & (x[k + 1] | x[(k + 2) % 8])).astype(int) for k in (0, 2, 4, 6))
    n1 = sum((x[k] | x[k + 1]).astype(int) for k in (0, 2, 4, 6))
    n2 = sum((x[k + 1] | x[(k + 2) % 8]).astype(int) for k in (0, 2, 4, 6))
    ends = np.minimum(n1, n2)
    either = (crossings == 1) & (ends >= 2) & (ends <= 3)
    return either & ~((x[1] | x[2] | ~x[7]) & x[0]), either & ~((x[5] | x[6] | ~x[3]) & x[4])


_REMOVABLE = _removable()


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Peels a mask [H, W] until its lines are one pixel wide; connected components stay connected."""
    left = mask.astype(np.uint8)
    while True:
        before = int(left.sum())
        for removable in _REMOVABLE:
            code = ndimage.correlate(left, _WEIGHTS, mode="constant", cval=0)
            left[removable[code]] = 0
        if int(left.sum()) == before:
            return left.astype(bool)
