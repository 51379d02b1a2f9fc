"""Models by name, and a saved model that comes back whole or not at all."""

import json
import random
import sys

import pytest
import torch

from winnow.errors import Damaged, ModelError, OptionError, RunError
from winnow.models.auxiliary import Linear, Texture
from winnow.models.contract import Model, ModelOutput
from winnow.models.fast import Fast
from winnow.models.registry import MODELS, build, describe_model, find_model, load_model, save_model
from winnow.options import ModelOptions


class Mean(Model):
    """A user's own model: its embedding is the mean colour."""

    def __init__(self, size, channels, times=1.0):
        super().__init__()
        self.size, self.channels, self.times = tuple(size), channels, times
        self.weight = torch.nn.Parameter(torch.full((channels,), times))

    def forward(self, images, decode=True, noise=None):
        return ModelOutput(images.mean(dim=(2, 3)) * self.weight)

    def config(self):
        return {"times": self.times}


class NotAModel:
    pass


SMALL = ModelOptions(latent=3, width=2, variational=True)


def images():
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_every_registered_name_is_a_model():
    for name in MODELS:
        assert issubclass(find_model(name), Model)


@pytest.mark.parametrize(("name", "make"), [("linear", Linear), ("texture", Texture), ("fast", Fast)])
def test_auxiliary_models_are_saved_by_name_and_not_offered_as_models(name, make, tmp_path):
    model = make((16, 16), 1).eval()
    save_model(model, tmp_path)
    assert describe_model(tmp_path)["class"] == name
    assert type(load_model(tmp_path)) is make
    with pytest.raises(OptionError, match=f"no model '{name}'"):
        find_model(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("autoencodr", "'autoencodr'.*\n.*'autoencoder'"),
        ("no_such_module_at_all:Net", "'no_such_module_at_all:Net' cannot be imported"),
        (f"{__name__}:Absent", "has no 'Absent'"),
        (f"{__name__}:NotAModel", "is not a model"),
        (":", "There is no model ':'"),
    ],
)
def test_wrong_names_have_different_messages(name, message):
    with pytest.raises(OptionError, match=message):
        find_model(name)


def test_the_seed_draws_the_weights_and_leaves_torch_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (build(SMALL, (8, 8), 3, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_saved_model_gives_the_same_numbers(tmp_path):
    model = build(SMALL, (8, 8), 3).eval().to(memory_format=torch.channels_last)
    save_model(model, tmp_path, note="Größe 模型", steps=7)
    loaded = load_model(tmp_path)
    assert not loaded.training
    assert describe_model(tmp_path)["about"] == {"note": "Größe 模型", "steps": 7}
    for own, theirs in zip(model(images()), loaded(images()), strict=True):
        torch.testing.assert_close(own, theirs)


def test_no_flipped_bit_goes_unseen(tmp_path):
    save_model(build(ModelOptions(latent=2, width=1), (8, 8), 1), tmp_path, steps=7)
    rng = random.Random(0)
    for _ in range(300):
        path = tmp_path / rng.choice(["model.safetensors", "model.json"])
        whole = path.read_bytes()
        bit = rng.randrange(8 * len(whole))
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        with pytest.raises(Damaged):
            load_model(tmp_path)
        path.write_bytes(whole)
    assert load_model(tmp_path).size == (8, 8)


@pytest.mark.parametrize("cut", ["model.safetensors", "model.json"])
def test_a_truncated_or_missing_file_is_refused(tmp_path, cut):
    save_model(build(SMALL, (8, 8), 3), tmp_path)
    path = tmp_path / cut
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Damaged):
        load_model(tmp_path)
    path.unlink()
    with pytest.raises(RunError):
        load_model(tmp_path)


def test_ones_own_model_is_built_by_name_and_loaded_only_with_its_class(tmp_path):
    name = f"{__name__}:Mean"
    model = build(ModelOptions(model=name), (8, 8), 3)
    save_model(model, tmp_path)
    with pytest.raises(ModelError, match=rf"{name}.*\n.*own="):
        load_model(tmp_path)
    torch.testing.assert_close(load_model(tmp_path, own=Mean)(images()).vectors, model(images()).vectors)
    with pytest.raises(ModelError, match="not one of Winnow's"):
        load_model(tmp_path, own=type("Other", (Mean,), {}))


def test_loading_imports_nothing_that_the_file_names(tmp_path, monkeypatch):
    folder, module = tmp_path / "model", tmp_path / "evil_module_of_a_test.py"
    save_model(build(SMALL, (8, 8), 3), folder)
    module.write_text("raise SystemExit('code was run')")
    monkeypatch.syspath_prepend(tmp_path)
    from winnow.files import seal

    content = json.loads((folder / "model.json").read_text())
    content.pop("seal")
    content["class"] = "evil_module_of_a_test:Model"
    (folder / "model.json").write_text(json.dumps({**content, "seal": seal(content)}))
    with pytest.raises(ModelError, match="not one of Winnow's"):
        load_model(folder)
    assert "evil_module_of_a_test" not in sys.modules


def test_a_model_of_another_shape_is_refused(tmp_path):
    from winnow.files import seal

    save_model(build(SMALL, (8, 8), 3), tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    content.pop("seal")
    content["config"]["latent"] = 4
    (tmp_path / "model.json").write_text(json.dumps({**content, "seal": seal(content)}))
    with pytest.raises(ModelError, match="do not fit"):
        load_model(tmp_path)
