"""Connected regions by numpy alone, against scipy's."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, label

from winnow.inspect.regions import grown, regions
from winnow.report.overlays import _inferno


def test_regions_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        mask = rng.random(rng.integers(1, 30, 2)) < rng.random()
        np.testing.assert_array_equal(regions(mask), label(mask, np.ones((3, 3)))[0])
        by = int(rng.integers(1, 6))
        np.testing.assert_array_equal(grown(mask, by), binary_dilation(mask, np.ones((3, 3)), by))
    assert not regions(np.zeros((0, 5), bool)).size and not regions(np.zeros((3, 4), bool)).any()


def test_the_colours_are_those_of_matplotlib() -> None:
    from matplotlib import colormaps

    np.testing.assert_array_equal(_inferno(), (colormaps["inferno"](np.linspace(0, 1, 256))[:, :3] * 255).round())
