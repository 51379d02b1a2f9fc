"""Pretrained networks: the right layer, nothing run after it, and every wrong file of weights refused in one sentence."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from winnow.errors import ModelError
from winnow.models.pretrained import Pretrained, read_weights
from winnow.models.registry import build, load_model, save_model
from winnow.options import ModelOptions

WEIGHTS = Path(os.environ.get("WINNOW_DATA", "../shared/data")) / "weights"


def images(n=2, size=(64, 48), channels=3):
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(0))


def normalised(pictures):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (pictures - mean) / std


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    """Return a seeded random network of torchvision and the file of its weights."""
    torch.manual_seed(1)
    network = models.squeezenet1_1(weights=None).eval()
    path = tmp_path_factory.mktemp("weights") / "größe 模型.pth"
    torch.save(network.state_dict(), path)
    return network, path


@pytest.mark.slow
def test_vgg16_gives_the_first_fully_connected_layer_after_relu():
    torch.manual_seed(1)
    network = models.vgg16(weights=None, init_weights=False).eval()
    model = Pretrained((32, 32), 3, "vgg16")
    assert not [name for name in model.state_dict() if "classifier.3" in name or "classifier.6" in name]
    model.network.load_state_dict(
        {name: value for name, value in network.state_dict().items() if name in model.network.state_dict()}
    )
    pictures = images(size=(32, 32))
    with torch.no_grad():
        plain = network.classifier[1](
            network.classifier[0](network.avgpool(network.features(normalised(pictures))).flatten(1))
        )
    assert plain.shape == (2, 4096)
    torch.testing.assert_close(model(pictures).vectors, plain, rtol=1e-4, atol=1e-5)


def test_squeezenet_is_pooled_and_a_middle_layer_stops_there(squeezenet):
    network, path = squeezenet
    model = Pretrained((64, 48), 3, "squeezenet1_1")
    model.load_weights(path)
    torch.testing.assert_close(model(images()).vectors, network.features(normalised(images())).mean((2, 3)))
    middle = Pretrained((64, 48), 3, "squeezenet1_1", "features.4")
    middle.load_weights(path)
    torch.testing.assert_close(middle(images()).vectors, network.features[:5](normalised(images())).mean((2, 3)))
    assert {name.split(".")[1] for name in middle.network.state_dict()} == {"0", "3", "4"}


def test_grey_pictures_are_three_equal_channels(squeezenet):
    grey, colour = (Pretrained((64, 48), channels, "squeezenet1_1") for channels in (1, 3))
    for model in (grey, colour):
        model.load_weights(squeezenet[1])
    one = images(channels=1)
    torch.testing.assert_close(grey(one).vectors, colour(one.repeat(1, 3, 1, 1)).vectors)


def test_it_is_frozen_and_stays_in_evaluation_mode():
    model = Pretrained((32, 32), 3, "mobilenet_v2").train()
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(ModelError, match="has no decoder"):
        model.rebuild(images())


def test_half_precision_prefix_and_wrappers_are_understood(squeezenet, tmp_path):
    network, path = squeezenet
    part = {name: value.half() for name, value in network.state_dict().items() if name.startswith("features.")}
    save_file(part, tmp_path / "half.safetensors")
    torch.save({"epoch": 3, "state_dict": part}, tmp_path / "wrapped.pth")
    whole = Pretrained((64, 48), 3, "squeezenet1_1")
    whole.load_weights(path)
    for name in ("half.safetensors", "wrapped.pth"):
        model = Pretrained((64, 48), 3, "squeezenet1_1")
        model.load_weights(tmp_path / name)
        assert all(value.dtype == torch.float32 for value in model.parameters())
        torch.testing.assert_close(model(images()).vectors, whole(images()).vectors, rtol=1e-2, atol=1e-2)


class Trap:
    def __reduce__(self):
        return (os.system, ("exit 3",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.pth", b"", "is empty"),
        ("page.pth", b"\n<!DOCTYPE html><html>404</html>", "is a web page"),
        ("pointer.safetensors", b"version https://git-lfs.github.com/spec/v1", "or a pointer"),
        ("noise.pth", np.random.default_rng(0).bytes(1000), "damaged|cannot be read"),
        ("noise.safetensors", np.random.default_rng(0).bytes(1000), "cannot be read"),
        ("trap.pth", pickle.dumps(Trap()), "would run code"),
        ("picture.pth", b"\x89PNG\r\n\x1a\n" + bytes(50), "damaged|cannot be read"),
    ],
)
def test_files_that_are_no_weights(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        read_weights(tmp_path / name)
    assert name in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.remedy


def test_a_cut_off_file_a_missing_one_and_one_without_names(squeezenet, tmp_path):
    whole = squeezenet[1].read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    for name, message in (
        ("cut.pth", "cannot be read|damaged"),
        ("list.pth", "no weights by name"),
        ("absent.pth", "There is no file"),
    ):
        with pytest.raises(ModelError, match=message):
            read_weights(tmp_path / name)


def test_weights_of_another_network_list_a_few_missing_names(squeezenet):
    with pytest.raises(
        ModelError, match=r"lacks \d+ of the \d+ .*'mobilenet_v2' needs: features.0.0.weight, .*\.\.\.\."
    ):
        Pretrained((32, 32), 3, "mobilenet_v2").load_weights(squeezenet[1])


def test_weights_of_another_shape_are_refused(squeezenet, tmp_path):
    state = dict(squeezenet[0].state_dict())
    state["features.0.weight"] = torch.zeros(64, 1, 3, 3)
    torch.save(state, tmp_path / "grey.pth")
    with pytest.raises(ModelError, match=r"another shape for 1 of .*features.0.weight\."):
        Pretrained((64, 48), 3, "squeezenet1_1").load_weights(tmp_path / "grey.pth")


@pytest.mark.parametrize(
    ("backbone", "layer", "size", "message"),
    [
        ("mobilnet_v2", "", (64, 64), "'mobilnet_v2'.*\n.*'mobilenet_v2'"),
        ("squeezenet1_1", "features.40", (64, 64), "no layer 'features.40'.*\n.*'features.4'"),
        ("squeezenet1_1", "", (8, 8), r"cannot take pictures of 8x8.*\n.*--size"),
    ],
)
def test_unknown_names_and_small_pictures(backbone, layer, size, message):
    with pytest.raises(ModelError, match=message):
        Pretrained(size, 3, backbone, layer)


@pytest.mark.parametrize(
    ("backbone", "size"), [("mobilenetv3_small_050", (64, 48)), ("vit_tiny_patch16_224", (48, 48))]
)
def test_timm_networks(backbone, size, tmp_path):
    import timm

    torch.manual_seed(1)
    network = timm.create_model(backbone, pretrained=False).eval()
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, tmp_path / "w.safetensors")
    model = Pretrained(size, 3, backbone)
    model.load_weights(tmp_path / "w.safetensors")
    mean, std = (torch.tensor(network.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    pictures = images(size=size)
    if network.pretrained_cfg["fixed_input_size"]:  # a transformer takes any number of whole patches
        network.set_input_size(img_size=size)
    with torch.no_grad():
        plain = network.forward_head(network.forward_features((pictures - mean) / std), pre_logits=True)
    torch.testing.assert_close(model(images(size=size)).vectors, plain, rtol=1e-4, atol=1e-5)
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_without_a_network_it_says_which_file_to_fetch(monkeypatch, tmp_path):
    import socket

    def refuse(*_args, **_kwargs):
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for backbone, wanted in (
        ("squeezenet1_1", "squeezenet1_1-.*--weights squeezenet1_1-.*pth"),
        ("mobilenetv3_small_050", "model.safetensors of .*mobilenetv3_small_050.*--weights"),
    ):
        with pytest.raises(ModelError, match=rf"could not be downloaded.*\n.*{wanted}"):
            Pretrained((64, 64), 3, backbone).load_weights()


def test_weights_of_another_network_are_told_by_its_name(squeezenet):
    with pytest.raises(ModelError, match="the weights of 'squeezenet1_1': add --backbone squeezenet1_1, or"):
        Pretrained((64, 64), 3, "tf_efficientnet_lite0").load_weights(squeezenet[1])


def test_a_saved_one_comes_back_without_its_file(squeezenet, tmp_path):
    options = ModelOptions(model="pretrained", backbone="squeezenet1_1", layer="features.4", weights=squeezenet[1])
    model = build(options, (64, 48), 3)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    torch.testing.assert_close(loaded(images()).vectors, model(images()).vectors, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "file", "dimensions"),
    [
        ("mobilenet_v2", "mobilenet_v2_imagenet_bnrecal_fp16.pth", 1280),
        ("squeezenet1_1", "squeezenet1_1_features_imagenet_fp32.pth", 512),
    ],
)
def test_real_weights(backbone, file, dimensions):
    if not (WEIGHTS / file).exists():
        pytest.skip(f"{file} is not in {WEIGHTS}")
    model = build(ModelOptions(model="pretrained", backbone=backbone, weights=WEIGHTS / file), (64, 64), 3)
    vectors = model(images(4, (64, 64))).vectors
    assert vectors.shape == (4, dimensions)
    assert vectors.isfinite().all()
    assert vectors.std(dim=0).mean() > 0
