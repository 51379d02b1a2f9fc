"""Principal components against scikit-learn's, and pictures of anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from winnow.check import check_model
from winnow.errors import DataError
from winnow.models.auxiliary import Linear
from winnow.models.registry import load_model, save_model
from winnow.synthetic.scenes import generic_pictures


def errors(model: Linear, pictures: np.ndarray) -> np.ndarray:
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return model(images).reconstruction.numpy()


def test_its_error_is_that_of_principal_components():
    pictures = generic_pictures(150, (20, 17), 3)
    flat = pictures.reshape(len(pictures), -1) / 255
    slow = PCA(12, svd_solver="full").fit(flat[:100])
    expected = ((slow.inverse_transform(slow.transform(flat)) - flat) ** 2).mean(axis=1)
    found = errors(Linear((20, 17), 3, components=12).fit(pictures[:100]), pictures)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_fewer_pictures_than_components_are_rebuilt_exactly():
    pictures = generic_pictures(5, (16, 16), 1)
    assert errors(Linear((16, 16), 1).fit(pictures), pictures).max() < 1e-6
    same = np.repeat(pictures[:1], 9, axis=0)
    assert errors(Linear((16, 16), 1).fit(same), same).max() < 1e-6


def test_no_pictures_are_an_error():
    with pytest.raises(DataError, match="no pictures"):
        Linear((16, 16), 1).fit(np.empty((0, 16, 16, 1), np.uint8))


def test_it_keeps_the_contract_and_survives_the_disk(tmp_path):
    model = Linear((24, 16), 3).fit(generic_pictures(60, (24, 16), 3))
    check_model(model)
    save_model(model, tmp_path)
    pictures = generic_pictures(7, (24, 16), 3, seed=5)
    np.testing.assert_array_equal(errors(load_model(tmp_path), pictures), errors(model, pictures))


def test_drawn_pictures_are_of_many_kinds_and_the_same_every_time():
    pictures = generic_pictures(200, (32, 24), 3)
    assert pictures.shape == (200, 32, 24, 3)
    assert pictures.dtype == np.uint8
    for n in (1, 7, 125, 130):
        np.testing.assert_array_equal(pictures[:n], generic_pictures(n, (32, 24), 3))
    assert not np.array_equal(pictures, generic_pictures(200, (32, 24), 3, seed=1))
    assert len(np.unique(pictures.reshape(200, -1), axis=0)) > 190
    variance = pictures.reshape(200, -1).var(axis=1)
    assert variance.max() > 50 * max(variance.min(), 1)
    assert generic_pictures(3, (9, 30), 1).shape == (3, 9, 30, 1)
    assert len(generic_pictures(0, (9, 30), 1)) == 0
