"""Connected regions by numpy alone, against scipy's."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, label

from winnow.inspect.regions import grown, regions
from winnow.report.heat import HEAT


def test_regions_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        mask = rng.random(rng.integers(1, 30, 2)) < rng.random()
        np.testing.assert_array_equal(regions(mask), label(mask, np.ones((3, 3)))[0])
        by = int(rng.integers(1, 6))
        np.testing.assert_array_equal(grown(mask, by), binary_dilation(mask, np.ones((3, 3)), by))
    assert not regions(np.zeros((0, 5), bool)).size and not regions(np.zeros((3, 4), bool)).any()


def test_the_colours_of_a_map_grow_brighter_throughout() -> None:
    grey = HEAT @ np.array([0.299, 0.587, 0.114])
    assert HEAT.shape == (256, 3) and HEAT[0].tolist() == [0, 0, 0] and np.all(np.diff(grey) >= 0)
    assert len(np.unique(HEAT, axis=0)) == 256
