"""Vision transformers of the DINOv2 family: pictures at the run's own size, whole patches, weights that were trained at another."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import winnow
from winnow.errors import ModelError
from winnow.models.dense import Dense
from winnow.models.pretrained import Pretrained

DINO = "vit_small_patch14_dinov2"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of random weights as they are published: position embeddings of 37x37 patches, and a token that is not needed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        held = timm.create_model(DINO, num_classes=0).state_dict()
    file = tmp_path_factory.mktemp("weights") / "dinov2_vits14_pretrain.pth"
    torch.save(held | {"mask_token": torch.zeros(1, 384)}, file)
    return file


def test_the_network_sees_pictures_at_their_size_as_timm_itself_would(weights: Path) -> None:
    model = Pretrained((40, 28), 3, DINO)
    model.load_weights(weights)
    assert model.input_size == (42, 28)
    theirs = timm.create_model(DINO, num_classes=0, dynamic_img_size=True).eval()
    theirs.load_state_dict({name: value for name, value in torch.load(weights).items() if name != "mask_token"})
    images = torch.rand(1, 3, 40, 28, generator=torch.Generator().manual_seed(0))
    enlarged = torch.nn.functional.interpolate(images, (42, 28), mode="bilinear", antialias=True)
    with torch.no_grad():
        wanted = theirs((enlarged - model.mean) / model.std)
    torch.testing.assert_close(model(images).vectors, wanted, rtol=1e-5, atol=1e-6)


def test_tokens_of_a_layer_and_the_places_of_a_picture(weights: Path) -> None:
    images = torch.rand(2, 3, 28, 56, generator=torch.Generator().manual_seed(0))
    middle = Pretrained((28, 56), 3, DINO, "blocks.5")
    middle.load_weights(weights)
    assert middle.features(images).shape == (2, 1 + 2 * 4, 384)
    places = Dense((28, 56), 3, DINO)
    places.load_weights(weights)
    whole = Dense((28, 56), 3, "vit_small_patch14_reg4_dinov2")  # of random weights; four tokens more are of no place
    for model in (places, whole):
        cells = model(images).cells
        assert cells is not None and cells.shape == (2, 2, 4, 128)
    # A patch is at its place: a picture that differs on the left alone differs more there.
    other = images.clone()
    other[:, :, :, :14] = 0
    change = (places._map(places.features(images)) - places._map(places.features(other))).norm(dim=1)[0]
    assert change[:, 0].min() > change[:, 2:].max()


def test_weights_of_another_network_are_refused(weights: Path) -> None:
    with pytest.raises(ModelError, match=r"has another shape for .*cls_token"):
        Pretrained((32, 32), 3, "vit_tiny_patch16_224").load_weights(weights)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, count in (("good", 16), ("new", 4), ("bad", 4)):
        (folder / name).mkdir()
        for number in range(count):
            pixels = rng.integers(50, 130, (28, 28, 3)).astype(np.uint8)
            if name == "bad":
                pixels[7:21] += 120
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def scores(run: winnow.Run, pictures: Path, to: Path) -> list[list[float]]:
    """Return the scores of the new and of the bad pictures."""
    for name in ("new", "bad"):
        run.score(pictures / name, to=to / name)
    files = (to / name / "scores.csv" for name in ("new", "bad"))
    return [[float(row["score"]) for row in csv.DictReader(file.read_text().splitlines())] for file in files]


@pytest.mark.parametrize(("recipe", "dimensions"), [("oneclass", 384), ("inspect", 128)])
def test_from_pictures_to_scores_by_onnxruntime(
    weights: Path, pictures: Path, tmp_path: Path, recipe: str, dimensions: int
) -> None:
    run = winnow.Run(tmp_path / "run", recipe, backbone=DINO, weights=weights, size=(28, 28))
    run.ingest(pictures / "good")
    run.train()
    made = run.encode()
    assert (made.engine, made.dimensions) == ("onnxruntime", dimensions)  # whose numbers were compared with torch's
    run.calibrate()
    new, bad = scores(run, pictures, tmp_path)
    assert np.isfinite([*new, *bad]).all()
    assert recipe == "inspect" or max(new) < min(bad)  # random weights know light, not places


@pytest.mark.slow
def test_the_exported_file_is_checked_against_the_run(weights: Path, pictures: Path, tmp_path: Path) -> None:
    run = winnow.Run(tmp_path / "run", "oneclass", backbone=DINO, weights=weights, size=(28, 28), layer="blocks.1")
    run.fit(pictures / "good")
    assert run.export(tmp_path / "model.onnx").outputs == ["score", "p_value", "directions"]
