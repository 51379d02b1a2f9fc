"""The linear autoencoder of small windows against plain principal components, and errors in windows against loops."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from test_defects import cloth

from winnow.check import check_model
from winnow.errors import DataError, ModelError
from winnow.learn.encode import anomaly_maps, encode
from winnow.models.autoencoder import AutoEncoder
from winnow.models.auxiliary import Linear, Texture
from winnow.models.registry import load_model, save_model
from winnow.models.windows import enlarged, local_error, top_local_error


def images_of(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_error_of_windows_is_that_of_their_rebuilding():
    """Pythagoras: the energy of projections against windows that are cut out, projected and rebuilt one by one."""
    pixels = cloth(n=3, height=22, width=19, channels=3)
    model = Texture((22, 19), 3).fit(pixels)
    images, basis = images_of(pixels).numpy(), model.basis.flatten(1).numpy()
    found = model.errors(images_of(pixels)).numpy()
    assert found.shape == (3, 4, 3)
    for row in range(3):
        for y in range(4):
            for x in range(3):
                window = images[row, :, 4 * y : 4 * y + 8, 4 * x : 4 * x + 8]
                flat = (window - window.mean(axis=(1, 2), keepdims=True)).ravel()
                residual = flat - basis.T @ (basis @ flat)
                assert found[row, y, x] == pytest.approx((residual**2).mean(), rel=1e-3, abs=1e-8)


def test_its_components_explain_what_principal_components_do():
    pixels = cloth(n=40)
    model = Texture((48, 48), 1).fit(pixels)
    views = np.lib.stride_tricks.sliding_window_view(pixels[..., 0], (8, 8), axis=(1, 2)) / 255
    windows = views[:, ::3, ::3].reshape(-1, 64)
    windows = windows - windows.mean(axis=1, keepdims=True)
    basis = model.basis.flatten(1).double().numpy()
    np.testing.assert_allclose(basis @ basis.T, np.eye(8), atol=1e-5)
    ours = ((windows @ basis.T) ** 2).sum()
    assert ours == pytest.approx((PCA(8).fit_transform(windows) ** 2).sum(), rel=0.01)


def test_brightness_does_not_count_and_small_damage_does():
    pixels = cloth(n=40)
    model = Texture((48, 48), 1).fit(pixels[:30])
    clean = model(images_of(pixels[30:])).top_local_error
    brighter = model(images_of(pixels[30:]) + 0.2).top_local_error
    torch.testing.assert_close(brighter, clean, rtol=1e-3, atol=1e-7)
    spotted = pixels[30:].copy()
    spotted[:, 20:24, 30:34] = 250
    assert model(images_of(spotted)).top_local_error.min() > 3 * clean.max()
    hottest = np.array([np.unravel_index(one.argmax(), one.shape) for one in anomaly_maps(model, spotted)])
    assert (np.abs(hottest - [21.5, 31.5]) <= 4).all()


def test_it_rebuilds_and_keeps_and_is_sound(tmp_path):
    pixels = cloth(n=20, height=21, width=18, channels=3)
    model = Texture((21, 18), 3).fit(pixels)
    check_model(model)
    images = images_of(pixels)
    assert (model.rebuild(images) - images).square().mean() < 0.3 * images.var()
    save_model(model, tmp_path)
    torch.testing.assert_close(
        load_model(tmp_path)(images).top_local_error, model(images).top_local_error, rtol=0, atol=0
    )
    torch.testing.assert_close(Texture((21, 18), 3).fit(pixels).basis, model.basis, rtol=0, atol=0)
    few = Texture((21, 18), 3, components=2).fit(pixels)
    assert (few(images).top_local_error > model(images).top_local_error).all()


def test_flat_tiny_and_no_pictures():
    flat = np.full((4, 16, 16, 1), 90, np.uint8)
    model = Texture((16, 16), 1).fit(flat)
    assert (model(images_of(flat)).top_local_error < 1e-9).all() and not model.basis.any()
    with pytest.raises(ModelError, match="smaller than a window"):
        Texture((7, 16), 1)
    with pytest.raises(DataError, match="no pictures"):
        model.fit(flat[:0])


def test_the_error_of_an_auxiliary_texture_is_recorded_under_its_name():
    pixels = cloth(n=20)
    texture = Texture((48, 48), 1).fit(pixels)
    found = encode(Linear((48, 48), 1).fit(pixels), pixels, auxiliary={"texture": texture}, quiet=True)
    np.testing.assert_allclose(found.losses["texture"], texture(images_of(pixels)).top_local_error, rtol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_windows_against_loops(channels):
    residual = torch.randn(2, channels, 21, 18, generator=rng())
    found = local_error(residual)
    centred = residual - residual.mean(dim=(2, 3), keepdim=True)
    slow = torch.tensor(
        [
            [
                [centred[row, :, 4 * y : 4 * y + 8, 4 * x : 4 * x + 8].square().mean() for x in range(3)]
                for y in range(4)
            ]
            for row in range(2)
        ]
    )
    torch.testing.assert_close(found, slow)
    torch.testing.assert_close(local_error(residual + 3), found, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        top_local_error(found), torch.stack([row.flatten().sort().values[-8:].mean() for row in found])
    )
    torch.testing.assert_close(top_local_error(found[:, :1, :2]), found[:, :1, :2].mean(dim=(1, 2)))


@pytest.mark.parametrize("size", [(16, 16), (19, 34), (64, 23)])
def test_a_map_enlarged_has_its_values_at_the_middles_of_windows(size):
    height, width = size
    windows = torch.rand(2, (height - 8) // 4 + 1, (width - 8) // 4 + 1, generator=rng())
    fine = enlarged(windows, height, width)
    assert fine.shape == (2, height, width)
    for y in range(windows.shape[1]):
        for x in range(windows.shape[2]):
            around = fine[:, 4 * y + 3 : 4 * y + 5, 4 * x + 3 : 4 * x + 5]
            near = windows[:, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].flatten(1)
            assert (around.flatten(1).amax(1) <= near.amax(1) + 1e-6).all()
            assert (around.flatten(1).amin(1) >= near.amin(1) - 1e-6).all()
    ramp = torch.arange(windows.shape[2]).float().expand(1, *windows.shape[1:])
    middle = enlarged(ramp, height, width)[0, 0, 4 : 4 * windows.shape[2]]
    torch.testing.assert_close(middle, (torch.arange(len(middle)) + 0.5) / 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Linear((16, 20), 3).fit(cloth(height=16, width=20, channels=3)),
        lambda: AutoEncoder((16, 20), 3, latent=2, width=2).eval(),
    ],
)
def test_top_local_error_is_of_the_map_that_anomaly_map_enlarges(make):
    model, images = make(), torch.rand(3, 3, 16, 20, generator=rng())
    with torch.no_grad():
        windows = local_error(model.rebuild(images) - images)
        torch.testing.assert_close(model(images).top_local_error, top_local_error(windows))
        torch.testing.assert_close(model.anomaly_map(images), enlarged(windows, 16, 20))
