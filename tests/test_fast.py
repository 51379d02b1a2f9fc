"""The fast mode: what it learns, that it is resumed to the same bits, and that it is sound as a model."""

import hashlib
import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch
from test_defects import cloth
from test_texture import images_of

from winnow.check import check_model
from winnow.errors import DataError, ModelError, RunError
from winnow.learn import fast as learning
from winnow.learn.encode import anomaly_maps, encode
from winnow.learn.fast import FastTrainer, train_fast
from winnow.learn.feed import as_source
from winnow.metrics.detection import auroc
from winnow.models.fast import Fast
from winnow.models.registry import load_model, save_model
from winnow.models.windows import enlarged, top_local_error
from winnow.options import TrainOptions
from winnow.synthetic.defects import damage

pytestmark = pytest.mark.slow

ROWS = {"train": np.arange(48), "validate": np.arange(48, 64)}


def small(channels=1):
    return cloth(n=64, height=24, width=20, channels=channels)


def options(steps=20, **given):
    return TrainOptions(fast=steps, device="cpu", precision="float32", **given)


def weights_of(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def lines_of(folder):
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def test_it_learns_to_see_damage_and_where(tmp_path):
    pixels = cloth(n=160)
    rows = {"train": np.arange(100), "validate": np.arange(100, 120)}
    result = train_fast(pixels, rows, options(120, seed=1), tmp_path)
    assert result.validation_loss < 0.9 * lines_of(tmp_path)[0]["validation_loss"]
    assert {"step", "train_loss", "validation_loss"} <= lines_of(tmp_path)[0].keys()
    model = load_model(tmp_path)
    assert isinstance(model, Fast)
    clean = pixels[120:]
    damaged, masks, _ = damage(clean, np.random.default_rng(9))
    scores = [encode(model, part, decode=False, quiet=True).losses["top_error"] for part in (clean, damaged)]
    seen = masks.sum(axis=(1, 2)) >= 15
    bad = scores[1][seen]
    assert auroc(np.r_[scores[0], bad], np.r_[np.ones(len(clean), bool), np.zeros(len(bad), bool)]) > 0.85
    maps = anomaly_maps(model, damaged)[seen]
    assert auroc(maps.ravel(), ~masks[seen].ravel()) > 0.85
    sides = model.sides(images_of(pixels[100:120])).transpose(0, 1).flatten(1)
    torch.testing.assert_close(sides.mean(dim=1), model.middle, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(sides.std(dim=1), model.spread, rtol=1e-2, atol=1e-3)


def test_options_that_count_and_those_that_do_not(tmp_path):
    for name, given in {
        "a": {},
        "b": {"lr": 0.1, "batch_size": 5, "translate": 0.3},
        "c": {"seed": 1},
        "d": {"steps": 21},
    }.items():
        train_fast(small(), ROWS, options(**{"steps": 20, **given}), tmp_path / name)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")
    assert len({weights_of(tmp_path / name) for name in "acd"}) == 3


def test_the_loss_is_that_of_a_slow_loop(tmp_path):
    pixels = small(3)
    trainer = FastTrainer(Fast((24, 20), 3, width=2), as_source(pixels), ROWS, options(iterations=4), tmp_path)
    damaged, masks, _ = damage(pixels[:5], np.random.default_rng(0))
    found = trainer.loss(*trainer.losses(damaged, masks))[0].item()
    chance = torch.sigmoid(trainer.model.logits(images_of(damaged))).detach().numpy()
    assert chance.shape == (5, 6, 5)
    total = []
    for row, y, x in np.ndindex(chance.shape):
        target = min(1.0, 2 * masks[row, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean())
        total.append(-target * np.log(chance[row, y, x]) - (1 - target) * np.log(1 - chance[row, y, x]))
    assert found == pytest.approx(np.mean(total), rel=1e-4)


def test_a_fifth_of_each_batch_is_undamaged_and_512_pictures_validate(tmp_path):
    pixels = np.concatenate([small(3)] * 10)
    rows = {"train": np.arange(50), "validate": np.arange(50, len(pixels))}
    trainer = FastTrainer(
        Fast((24, 20), 3, width=2), as_source(pixels), rows, options(iterations=4, batch_size=50), tmp_path
    )
    assert len(trainer.clean) == len(trainer.damaged) == 512
    harmed = trainer.draw()[1].any(axis=(1, 2))
    assert (
        len(harmed) == 50 and not harmed[:10].any() and harmed[10:13].any() and harmed[10:].mean() > 0.5
    )  # some damage is not seen


def test_stopped_and_resumed_it_ends_the_same(tmp_path, monkeypatch):
    train_fast(small(), ROWS, options(), tmp_path / "whole")

    class Stop(Exception):
        pass

    step = FastTrainer.step

    def until(self):
        if self.state.step == 13:
            self.save()
            raise Stop
        step(self)

    monkeypatch.setattr(FastTrainer, "step", until)
    with pytest.raises(Stop):
        train_fast(small(), ROWS, options(), tmp_path / "parts")
    monkeypatch.setattr(FastTrainer, "step", step)
    with pytest.raises(RunError, match="other options: seed"):
        train_fast(small(), ROWS, options(seed=7), tmp_path / "parts", resume=True)
    train_fast(small(), ROWS, options(), tmp_path / "parts", resume=True)
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")
    assert [line["validation_loss"] for line in lines_of(tmp_path / "parts")] == [
        line["validation_loss"] for line in lines_of(tmp_path / "whole")
    ]


def _work(folder):
    torch.set_num_threads(1)
    learning.FastTrainer.save_is_due = lambda self: True
    train_fast(small(), ROWS, options(60), folder)


def test_killed_it_goes_on_to_the_same_bits(tmp_path):
    train_fast(small(), ROWS, options(60), tmp_path / "whole")
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(tmp_path / "killed",))
    process.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "checkpoints" / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL and not (tmp_path / "killed" / "model.json").exists()
    train_fast(small(), ROWS, options(60), tmp_path / "killed", resume=True)
    assert weights_of(tmp_path / "killed") == weights_of(tmp_path / "whole")


@pytest.mark.parametrize(("size", "channels"), [((16, 16), 1), ((21, 34), 3)])
def test_it_is_a_sound_model_of_any_size(size, channels, tmp_path):
    torch.manual_seed(0)
    model = Fast(size, channels, width=4).eval()
    pixels = cloth(n=12, height=size[0], width=size[1], channels=channels)
    model.texture.fit(pixels)
    images = images_of(pixels)
    with torch.no_grad():
        model.weigh([model.sides(images)])
        check_model(model)
        found = model(images, decode=False)
        sides = (model.sides(images) - model.middle[:, None, None]) / model.spread[:, None, None]
        windows = torch.log1p(torch.exp(sides[:, 0] + sides[:, 1]))
        torch.testing.assert_close(found.top_error, top_local_error(windows))
        torch.testing.assert_close(found.top_local_error, found.top_error)
        torch.testing.assert_close(model.anomaly_map(images), enlarged(windows, *size))
        brighter = model(images + 0.1).top_error
        torch.testing.assert_close(brighter, found.top_error, rtol=1e-2, atol=1e-2)
    save_model(model, tmp_path)
    torch.testing.assert_close(load_model(tmp_path)(images).top_error, found.top_error)


def test_flat_pictures_have_a_finite_anomaly_map(tmp_path):
    flat = np.full((64, 16, 16, 1), 128, np.uint8)
    train_fast(flat, ROWS, options(3), tmp_path)
    model = load_model(tmp_path)
    assert np.isfinite(anomaly_maps(model, flat)).all()
    assert np.isfinite(
        anomaly_maps(model, np.random.default_rng(0).integers(0, 256, (8, 16, 16, 1), dtype=np.uint8))
    ).all()


def test_models_and_pictures_that_cannot_be_trained_are_refused(tmp_path):
    with pytest.raises(ModelError, match="too small for the fast network"):
        Fast((15, 64), 1)
    with pytest.raises(DataError, match="no pictures to validate"):
        train_fast(small(), {**ROWS, "validate": np.empty(0, int)}, options(), tmp_path)
    with pytest.raises(ModelError, match="cannot rebuild"):
        Fast((16, 16), 1).rebuild(torch.zeros(1, 1, 16, 16))
