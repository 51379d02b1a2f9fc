"""The AE and the VAE: shapes, published sizes, and losses against slow obvious versions."""

import numpy as np
import pytest
import torch
from torch import nn

from winnow.check import check_model
from winnow.errors import ModelError, OptionError
from winnow.models.autoencoder import AutoEncoder, mean_of_top


def network(size=(24, 20), channels=3, **config):
    torch.manual_seed(0)
    return AutoEncoder(size, channels, **{"latent": 6, "width": 4, **config}).eval()


def pictures(n=5, size=(24, 20), channels=3, seed=1):
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(seed))


def test_football_has_the_published_encoder():
    with torch.device("meta"):
        model = AutoEncoder((80, 60), 3, "football", variational=True, latent=256)
    assert sum(parameter.numel() for parameter in model.encoder.parameters()) == 99_872_576
    assert model.encoder[-1].in_features == 194_304
    assert model.decoder[0].out_features == 40 * 30 * 32
    kinds = [
        (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride)
        for layer in model.decoder
        if isinstance(layer, torch.nn.ConvTranspose2d)
    ]
    assert kinds == [
        (32, 32, (3, 3), (2, 2)),
        (32, 64, (3, 3), (1, 1)),
        (64, 128, (3, 3), (1, 1)),
        (128, 256, (3, 3), (1, 1)),
        (256, 3, (3, 3), (1, 1)),
    ]


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (15, 17), (28, 28), (33, 47), (8, 50), (64, 64), (61, 83)])
@pytest.mark.parametrize("channels", [1, 3])
def test_strided_rebuilds_every_size(size, channels):
    model, images = network(size, channels), pictures(2, size, channels)
    assert model.rebuild(images).shape == images.shape
    assert model(images).vectors.shape == (2, 6)


@pytest.mark.parametrize("size", [(15, 15), (16, 21), (31, 24)])
def test_football_takes_other_sizes(size):
    model = network(size, 1, architecture="football")
    assert model.rebuild(pictures(1, size, 1)).shape == (1, 1, *size)


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (64, 64), (50, 33)])
def test_inspection_rebuilds_every_size(size):
    model = network(size, 1, architecture="inspection", variational=True)
    assert model.rebuild(pictures(2, size, 1)).shape == (2, 1, *size)


def test_inspection_is_vgg_like_with_doubling_channels_and_tanh():
    model = network((64, 64), 1, architecture="inspection", width=8)
    layers = [layer for layer in model.encoder if isinstance(layer, torch.nn.Conv2d)]
    assert [(layer.out_channels, layer.kernel_size, layer.stride) for layer in layers] == [
        (width, (3, 3), (2, 2)) for width in (8, 16, 32, 64)
    ]
    vectors = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    logits = model.decoder[:-1](vectors)
    torch.testing.assert_close(model.decode(vectors), (torch.tanh(logits) + 1) / 2)


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (64, 64), (50, 33), (16, 131)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("variational", [False, True])
def test_selection_rebuilds_every_size_and_keeps_the_contract(size, channels, variational):
    model = network(size, channels, architecture="selection", variational=variational)
    assert model.rebuild(pictures(2, size, channels)).shape == (2, channels, *size)
    check_model(model)


def test_selection_has_the_layers_of_the_article():
    model = network((64, 64), architecture="selection", width=8, latent=512)
    kinds = [type(layer).__name__ for layer in model.encoder]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"] * 4 + ["Flatten", "Linear"]
    assert [layer.out_channels for layer in model.encoder if isinstance(layer, nn.Conv2d)] == [8, 16, 32, 64]
    ups = [type(layer).__name__ for layer in model.decoder[3:]]
    assert ups == ["Upsample", "Conv2d", "BatchNorm2d", "ReLU"] * 3 + ["Upsample", "Conv2d"]
    assert [layer.out_channels for layer in model.decoder if isinstance(layer, nn.Conv2d)] == [32, 16, 8, 3]
    assert model(pictures(2, (64, 64))).vectors.shape == (2, 512)
    deep = network((128, 128), architecture="selection", width=2)
    assert max(layer.out_channels for layer in deep.encoder if isinstance(layer, nn.Conv2d)) == 16


def test_the_first_block_of_selection_against_plain_numpy():
    model, image = network((17, 16), architecture="selection"), pictures(1, (17, 16))
    convolution, normal = model.encoder[0], model.encoder[1]
    with torch.no_grad():
        normal.running_mean.uniform_(-1, 1)
        normal.running_var.uniform_(0.5, 2)
        found = model.encoder[:4](image)[0].numpy()
    padded = np.pad(image[0].double().numpy(), ((0, 0), (1, 1), (1, 1)))
    weights = convolution.weight.detach().double().numpy()
    values = (
        np.array(
            [
                [[(padded[:, y : y + 3, x : x + 3] * kernel).sum() for x in range(16)] for y in range(17)]
                for kernel in weights
            ]
        )
        + convolution.bias.detach().double().numpy()[:, None, None]
    )
    mean, variance = (value.double().numpy()[:, None, None] for value in (normal.running_mean, normal.running_var))
    values = np.maximum((values - mean) / np.sqrt(variance + normal.eps), 0)
    pooled = [
        [[plane[y : y + 2, x : x + 2].max() for x in range(0, 16, 2)] for y in range(0, 17, 2)] for plane in values
    ]
    np.testing.assert_allclose(found, pooled, rtol=1e-4, atol=1e-5)


def test_neighbours_count_in_selection_while_it_trains_and_never_after():
    model, images = network(architecture="selection"), pictures(6)
    torch.testing.assert_close(model(images[:1]).vectors, model(images).vectors[:1], rtol=1e-4, atol=1e-6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(images)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.train()
    assert not torch.allclose(model(images[:1]).vectors, model(images).vectors[:1], rtol=1e-2)
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("size", [(16, 16), (17, 19)])
def test_selection_trains_on_a_batch_of_one(size):
    model = network(size, architecture="selection").train()
    model(pictures(1, size)).reconstruction.mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("architecture", "size"),
    [("football", (14, 60)), ("strided", (7, 64)), ("inspection", (64, 15)), ("selection", (15, 64))],
)
def test_too_small_pictures_are_refused_with_the_smallest_size(architecture, size):
    with pytest.raises(ModelError, match=f"{size[0]}x{size[1]} are too small.*\n.*--size"):
        network(size, architecture=architecture)


def test_an_unknown_architecture_is_named():
    with pytest.raises(OptionError, match=r"'stride'.*\n.*'strided'"):
        network(architecture="stride")


def test_losses_against_plain_numpy():
    model, images = network(variational=True), pictures()
    losses = model(images)
    mean, log_variance = (value.detach().double().numpy() for value in model.posterior(images))
    error = (model.rebuild(images).detach().double().numpy() - images.double().numpy()) ** 2
    places = np.sort(error.mean(axis=1).reshape(5, -1), axis=1)[:, ::-1]
    np.testing.assert_allclose(losses.vectors.detach(), mean, rtol=1e-6)
    np.testing.assert_allclose(losses.reconstruction.detach(), error.mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(losses.top_error.detach(), places[:, : round(0.05 * 480)].mean(axis=1), rtol=1e-5)
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    np.testing.assert_allclose(losses.latent.detach(), divergence, rtol=1e-5)


def test_the_divergence_is_that_of_two_gaussians():
    model, images = network(variational=True), pictures()
    mean, log_variance = model.posterior(images)
    own = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(model(images).latent, expected, rtol=1e-4, atol=1e-6)


def test_a_plain_autoencoder_has_no_latent_loss_and_no_noise():
    model, images = network(), pictures()
    assert model(images).latent is None
    torch.testing.assert_close(model(images, noise=torch.ones(5, 6)).vectors, model(images).vectors)


def test_noise_samples_the_posterior_and_its_absence_gives_the_mean():
    model, images = network(variational=True), pictures()
    mean, log_variance = model.posterior(images)
    noise = torch.randn(5, 6, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(model(images, noise=noise).vectors, mean + noise * (0.5 * log_variance).exp())
    torch.testing.assert_close(model(images).vectors, mean)
    assert not torch.equal(model(images, noise=noise).reconstruction, model(images).reconstruction)


def test_without_the_decoder_only_what_the_encoder_knows():
    losses = network(variational=True)(pictures(), decode=False)
    assert losses.reconstruction is None
    assert losses.top_error is None
    assert losses.latent.shape == (5,)


def test_neighbours_in_the_batch_change_nothing():
    model, images = network(variational=True), pictures(32)
    alone = [model(images[i : i + 1]) for i in range(32)]
    for column, together in enumerate(model(images)):
        if together is None:  # an autoencoder has no cells
            continue
        torch.testing.assert_close(torch.cat([one[column] for one in alone]), together, rtol=1e-4, atol=1e-6)


def test_a_small_defect_shows_in_the_top_error():
    error = torch.full((1, 3, 20, 20), 0.01)
    error[:, :, :4, :5] = 1.0
    assert mean_of_top(error).item() == pytest.approx(1.0)
    assert error.mean().item() < 0.07


def test_pictures_unlike_any_keep_finite_losses():
    model = network(variational=True)
    with torch.no_grad():
        model.encoder[-1].bias.fill_(1e4)
    assert torch.isfinite(model(pictures()).latent).all()


@pytest.mark.parametrize(
    "change",
    [{"latent": 7}, {"width": 5}, {"variational": True}, {"architecture": "football"}, {"architecture": "selection"}],
)
def test_every_argument_changes_the_network_and_config_rebuilds_it(change):
    first, second = network(), network(**change)
    assert {name: value.shape for name, value in first.state_dict().items()} != {
        name: value.shape for name, value in second.state_dict().items()
    }
    twin = AutoEncoder(second.size, second.channels, **second.config())
    twin.load_state_dict(second.state_dict())
    torch.testing.assert_close(twin.eval()(pictures()).vectors, second(pictures()).vectors)
