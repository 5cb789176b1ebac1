import numpy as np
import pytest
from scipy import ndimage

from mtlbench.benchmarks.copies.thinning import thin

EIGHT = np.ones((3, 3))


def blobs(seed):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(50, 60)), 2)
    return noise > np.quantile(noise, 0.6)


@pytest.mark.parametrize("seed", range(8))
def test_thinning_keeps_components_and_removes_the_inside(seed):
    mask = blobs(seed)
    thinned = thin(mask)
    assert not (thinned & ~mask).any()
    labels, count = ndimage.label(mask, EIGHT)
    left = ndimage.label(thinned, EIGHT)[1]
    assert left == count and len(np.unique(labels[thinned])) == count
    neighbours = ndimage.correlate(thinned.astype(int), EIGHT, mode="constant") - 1
    assert not (thinned & (neighbours == 8)).any()
    assert np.array_equal(thin(thinned), thinned)


def test_a_bar_becomes_its_middle_line():
    mask = np.zeros((9, 30), dtype=bool)
    mask[3:6, 2:28] = True
    thinned = thin(mask)
    assert set(np.nonzero(thinned)[0]) == {4} and thinned.sum() >= 22


def test_lines_and_points_stay():
    mask = np.zeros((9, 9), dtype=bool)
    mask[4, 1:8] = mask[1, 1] = True
    assert np.array_equal(thin(mask), mask)
    assert not thin(np.zeros((5, 5), dtype=bool)).any()


def test_a_worked_example():
    """The square with a tail of scikit-image's documentation, which thins to a hook."""
    square = np.zeros((7, 7), dtype=bool)
    square[1:-1, 2:-2] = square[0, 1] = True
    assert np.argwhere(thin(square)).tolist() == [[0, 1], [1, 2], [2, 3], [3, 3], [4, 3]]
