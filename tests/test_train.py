"""The training loop: what it learns, that every option matters, and that a kill at any moment changes nothing."""

import hashlib
import json
import multiprocessing
import os
import random
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

from winnow.errors import DataError, Interrupted, ModelError, OptionError, RunError, TrainingError
from winnow.learn import train as training
from winnow.learn.feed import BatchOrder, Feed, Pixels, Vary, noise_of, to_images
from winnow.learn.losses import total_loss
from winnow.learn.optimizer import rate_at
from winnow.learn.train import Trainer, train
from winnow.models.contract import Model, ModelOutput
from winnow.models.registry import build, describe_model, load_model
from winnow.options import ModelOptions, TrainOptions

pytestmark = pytest.mark.slow

ROWS = {"train": np.arange(48), "validate": np.arange(48, 64)}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Use one thread: networks this small only wait for a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def blobs(n=64, size=12, seed=0):
    """Return soft blobs at random places: easy to learn, uint8 (n, size, size, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    centres = rng.uniform(0.2, 0.8, (n, 2, 1, 1))
    shape = np.exp(-((y - centres[:, 0]) ** 2 + (x - centres[:, 1]) ** 2) / 0.05)
    return (255 * shape[..., None] * np.array([1.0, 0.7, 0.4])).astype(np.uint8)


def options(**given):
    return TrainOptions(
        **{
            "iterations": 40,
            "batch_size": 16,
            "lr": 1e-3,
            "check_every": 10,
            "device": "cpu",
            "precision": "float32",
            "translate": 0.0,
            "hflip": False,
            **given,
        }
    )


def network(**given):
    return build(ModelOptions(**{"latent": 4, "width": 4, **given}), (12, 12), 3)


def weights_of(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def log_of(folder):
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def test_it_learns_and_tells_how(tmp_path):
    model = network()
    result = train(model, blobs(), ROWS, options(iterations=150, check_every=30, lr=1e-2), tmp_path)
    log = log_of(tmp_path)
    assert [line["step"] for line in log] == [30, 60, 90, 120, 150]
    assert result.validation_loss == min(line["validation_loss"] for line in log) < 0.7 * log[0]["validation_loss"]
    assert (result.steps, result.stopped_early, result.active_units, result.warnings) == (150, False, None, [])
    assert result.precision == "float32, channels last"
    assert result.parameters == sum(parameter.numel() for parameter in model.parameters())
    images = to_images(torch.from_numpy(blobs()[48:]))
    loaded = load_model(tmp_path)
    torch.testing.assert_close(loaded(images).vectors, model(images).vectors, rtol=0, atol=0)
    error = loaded(images).reconstruction.mean().item() * 12 * 12 * 3
    assert error == pytest.approx(result.validation_loss, rel=1e-4)
    assert describe_model(tmp_path)["about"]["best_step"] == result.best_step


def test_the_loop_equals_a_plain_one(tmp_path):
    """Same batches, same noise, torch's own Adam without any of our machinery."""
    pictures, chosen = blobs(), options(iterations=12, check_every=12, loss="squared", latent_weight=2.0, free_bits=0.1)
    ours, plain = network(variational=True), network(variational=True).train()
    train(ours, pictures, ROWS, chosen, tmp_path)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1.0)
    for step in range(12):
        optimizer.param_groups[0]["lr"] = 1e-3 * 0.5 * (1 + np.cos(np.pi * step / 12))
        rows = np.random.default_rng([0, 0, step // 3]).permutation(48)[step % 3 * 16 :][:16]
        noise = torch.from_numpy(np.random.default_rng([0, 1, step]).standard_normal((16, 4), dtype=np.float32))
        images = torch.from_numpy(pictures[rows].transpose(0, 3, 1, 2) / np.float32(255))
        mean, log_variance = plain.posterior(images)
        error = (plain.decode(mean + noise * (log_variance / 2).exp()) - images) ** 2
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        loss = error.sum((1, 2, 3)).mean() + 2.0 * torch.maximum(divergence, torch.tensor(0.4)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_adadelta_is_that_of_its_paper(tmp_path):
    """Zeiler 2012, algorithm 1, by hand: decay 0.95, the step scaled by the rate."""
    chosen = options(iterations=6, check_every=6, optimizer="adadelta", lr=0.5, schedule="constant", loss="mean")
    ours, plain = network(), network().train()
    train(ours, blobs(), ROWS, chosen, tmp_path)
    squares = [torch.zeros_like(value) for value in plain.parameters()]
    steps = [torch.zeros_like(value) for value in plain.parameters()]
    order = BatchOrder(48, 16, 0)
    for step in range(6):
        images = to_images(torch.from_numpy(blobs()[order(step)]))
        gradients = torch.autograd.grad(plain(images).reconstruction.mean(), list(plain.parameters()))
        with torch.no_grad():
            for value, gradient, square, moved in zip(plain.parameters(), gradients, squares, steps, strict=True):
                square.mul_(0.95).add_(0.05 * gradient**2)
                change = -((moved + 1e-6) / (square + 1e-6)).sqrt() * gradient
                moved.mul_(0.95).add_(0.05 * change**2)
                value.add_(0.5 * change)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_it_learns_with_batch_normalisation_and_adadelta(tmp_path):
    model = build(ModelOptions(architecture="selection", latent=16, width=4), (16, 16), 3)
    chosen = options(iterations=300, check_every=50, optimizer="adadelta", lr=1.0, schedule="constant", loss="mean")
    result = train(model, blobs(size=16), ROWS, chosen, tmp_path)
    spread = (blobs(size=16)[48:] / 255.0).var(axis=0).mean()  # the error of the mean picture
    assert result.validation_loss < 0.5 * spread
    images = to_images(torch.from_numpy(blobs(size=16)[48:]))
    assert load_model(tmp_path)(images).reconstruction.mean().item() == pytest.approx(result.validation_loss, rel=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "adadelta"},
        {"lr": 2e-3},
        {"schedule": "constant"},
        {"batch_size": 8},
        {"loss": "sigma"},
        {"loss": "mean"},
        {"latent_weight": 0.1},
        {"free_bits": 1.0},
        {"seed": 1},
        {"translate": 0.2},
        {"hflip": True},
        {"precision": "bfloat16"},
        {"iterations": 19},
    ],
)
def test_every_option_changes_the_weights(tmp_path, change):
    base = {"iterations": 20, "schedule": "cosine"}
    for name, given in (("a", base), ("b", base), ("c", base | change)):
        train(network(variational=True), blobs(), ROWS, options(**given), tmp_path / name)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")
    assert weights_of(tmp_path / "a") != weights_of(tmp_path / "c")


def test_patience_stops_and_the_best_weights_are_kept(tmp_path):
    given = options(iterations=400, lr=0.05, schedule="constant", patience=3)
    result = train(network(), blobs(), ROWS, given, tmp_path)
    log = log_of(tmp_path)
    assert result.stopped_early
    assert result.steps == log[-1]["step"] == result.best_step + 30 < 400
    best = min(log, key=lambda line: line["validation_loss"])
    assert best["step"] == result.best_step
    images = to_images(torch.from_numpy(blobs()[48:]))
    assert load_model(tmp_path)(images).reconstruction.mean().item() == pytest.approx(best["reconstruction"], rel=1e-4)


def test_losses_by_hand():
    error, latent = torch.tensor([0.1, 0.3]), torch.tensor([1.0, 5.0])
    chosen = TrainOptions(latent_weight=0.5, free_bits=0.4)
    assert total_loss(error, None, 100, 10, chosen).item() == pytest.approx(20.0)
    assert total_loss(error, latent, 100, 10, chosen).item() == pytest.approx(20 + 0.5 * (4 + 5) / 2)
    mean = chosen.model_copy(update={"loss": "mean"})
    assert total_loss(error, latent, 100, 10, mean).item() == pytest.approx(0.2 + 0.5 * 4.5)
    sigma = chosen.model_copy(update={"loss": "sigma"})
    assert total_loss(error, latent, 100, 10, sigma).item() == pytest.approx(50 * np.log(0.2) + 0.5 * 4.5)
    assert total_loss(0 * error, None, 100, 10, sigma).item() == pytest.approx(50 * np.log(1 / 255**2 / 12), rel=1e-5)


def test_rates():
    cosine, constant = TrainOptions(iterations=100, lr=0.2), TrainOptions(iterations=100, lr=0.2, schedule="constant")
    assert [rate_at(step, cosine) for step in (0, 50)] == [pytest.approx(0.2), pytest.approx(0.1)]
    assert 0 < rate_at(99, cosine) < 1e-3
    assert rate_at(99, constant) == 0.2


def test_an_epoch_shows_every_picture_once_and_repeats_from_any_step():
    order = BatchOrder(12, 4, seed=3)
    first = [order(step) for step in range(6)]
    assert sorted(np.concatenate(first[:3])) == sorted(np.concatenate(first[3:])) == list(range(12))
    assert not np.array_equal(np.concatenate(first[:3]), np.concatenate(first[3:]))
    np.testing.assert_array_equal(BatchOrder(12, 4, seed=3)(4), first[4])
    assert torch.equal(noise_of(0, 5, (2, 3)), noise_of(0, 5, (2, 3)))
    assert not torch.equal(noise_of(0, 5, (2, 3)), noise_of(0, 6, (2, 3)))


def test_pictures_are_the_same_held_or_gathered(monkeypatch):
    pictures = blobs()
    held = Feed(Pixels(pictures), np.arange(10, 30), torch.device("cpu"), False)
    monkeypatch.setattr("winnow.learn.feed.CPU_LIMIT", 0)
    gathered = Feed(Pixels(pictures), np.arange(10, 30), torch.device("cpu"), True)
    assert held.held is not None
    assert gathered.held is None
    at = np.array([3, 3, 19, 0])
    assert torch.equal(held(at), gathered(at))
    np.testing.assert_allclose(held(at).numpy(), pictures[at + 10].transpose(0, 3, 1, 2) / 255.0, atol=1e-6)


def test_translate_and_hflip_against_numpy():
    pictures = torch.from_numpy(blobs(6, 20))
    assert torch.equal(Vary()(pictures, 0, 0), pictures)
    varied = Vary(hflip=True)(pictures, 0, 4)
    which = [bool(torch.equal(new, old.flip(1))) for new, old in zip(varied, pictures, strict=True)]
    assert 0 < sum(which) < 6
    assert all(torch.equal(new, old) for new, old, flipped in zip(varied, pictures, which, strict=True) if not flipped)
    padded = np.pad(pictures.numpy(), ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    windows = {padded[:, y : y + 20, x : x + 20].tobytes() for y in range(7) for x in range(7)}
    moved = [Vary(translate=0.15)(pictures, 0, step).numpy().tobytes() for step in range(20)]
    assert set(moved) <= windows
    assert len(set(moved)) > 8


def test_a_rate_too_high_is_named_with_its_step(tmp_path):
    with pytest.raises(TrainingError, match=r"step \d+ is not finite.*\n.*--lr than 1e\+30") as caught:
        train(network(variational=True), blobs(), ROWS, options(lr=1e30, check_every=5), tmp_path)
    assert "finite" in str(caught.value)
    assert not (tmp_path / "model.json").exists()


def test_after_a_bad_step_the_best_weights_so_far_are_on_disk(tmp_path):
    trainer = Trainer(network(), Pixels(blobs()), ROWS, options(), tmp_path)
    trainer.start()
    trainer.step()
    trainer.check(None)
    trainer.recent.append(torch.full((3,), float("nan")))
    trainer.state.step += 1
    with pytest.raises(TrainingError, match=r"step 2 .*\n.*of step 1, are in"):
        trainer.look()
    assert (tmp_path / "checkpoints" / "best-000001.safetensors").exists()


def test_posterior_collapse_is_a_warning(tmp_path):
    result = train(
        network(variational=True), blobs(), ROWS, options(latent_weight=1e4, lr=1e-2, iterations=60), tmp_path
    )
    assert result.active_units == 0
    assert "--loss sigma" in result.warnings[0]
    healthy = train(
        network(variational=True), blobs(), ROWS, options(loss="sigma", lr=3e-3, iterations=100), tmp_path / "b"
    )
    assert healthy.active_units > 0
    assert healthy.warnings == []


def test_a_unit_is_active_from_a_variance_of_a_hundredth_on(tmp_path):
    trainer = Trainer(network(variational=True), Pixels(blobs()), ROWS, options(batch_size=16), tmp_path)
    forward, spread = trainer.model.forward, torch.tensor([0.05, 0.09, 0.11, 1.0])

    def spread_out(images):
        out = forward(images)
        vectors = torch.tensor([-1.0, 1.0]).repeat(len(images))[: len(images), None] * spread
        return type(out)(vectors=vectors, reconstruction=out.reconstruction, latent=out.latent)

    trainer.model.forward = spread_out
    assert trainer.validate()["active_units"] == 2


def test_1024_pictures_validate_at_most(tmp_path):
    rows = {"train": np.arange(8), "validate": np.arange(8, 1100)}
    trainer = Trainer(network(), Pixels(blobs(1100)), rows, options(), tmp_path)
    assert len(trainer.validation) == 1024


def test_grids_are_few_and_readable(tmp_path):
    told = []
    train(network(), blobs(), ROWS, options(iterations=50, check_every=2), tmp_path, on_grid=told.append)
    files = sorted((tmp_path / "grids").iterdir())
    assert files == told
    assert 5 <= len(files) <= 10
    assert files[-1].name == "step-000050.png"
    picture = np.asarray(Image.open(files[-1]))
    assert picture.shape == (2 * 96, 8 * 96, 3)
    np.testing.assert_array_equal(picture[:96:8, :96:8], blobs()[48])


@pytest.mark.parametrize(
    ("rows", "pictures", "message"),
    [
        ({"train": np.arange(0), "validate": np.arange(4)}, blobs(), "no pictures to train"),
        ({"train": np.arange(4), "validate": np.arange(0)}, blobs(), "no pictures to validate"),
        ({"train": np.arange(4)}, blobs(), "no pictures to validate"),
        (ROWS, blobs(size=16), r"\(16, 16\).*\(12, 12\)"),
        (ROWS, blobs()[..., :1], "1 channels"),
        (ROWS, blobs().astype(np.float32), "must be uint8"),
        (ROWS, blobs()[..., :2], "must be uint8"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(tmp_path, rows, pictures, message):
    with pytest.raises(DataError, match=message):
        train(network(), pictures, rows, options(), tmp_path)


def test_a_handful_of_pictures_is_enough(tmp_path):
    rows = {"train": np.array([0]), "validate": np.array([1])}
    result = train(network(variational=True), blobs(2), rows, options(iterations=3), tmp_path)
    assert result.steps == 3
    assert result.active_units is None


def test_unusable_devices_are_named(tmp_path):
    for name in ("cuda:99", "toaster", "xpu"):
        with pytest.raises(OptionError, match=name):
            train(network(), blobs(), ROWS, options(device=name), tmp_path)


class Frozen(Model):
    """Embeddings without a decoder."""

    def __init__(self, trainable):
        super().__init__()
        self.size, self.channels = (12, 12), 3
        self.weight = torch.nn.Parameter(torch.ones(3), requires_grad=trainable)

    def forward(self, images, decode=True, noise=None):
        return ModelOutput(images.mean(dim=(2, 3)) * self.weight)

    def config(self):
        return {}


@pytest.mark.parametrize(("trainable", "message"), [(False, "nothing to train"), (True, "no reconstruction")])
def test_models_that_cannot_be_trained_are_refused(tmp_path, trainable, message):
    with pytest.raises(ModelError, match=message):
        train(Frozen(trainable), blobs(), ROWS, options(), tmp_path)


# Killing and going on. The children come from a fork server, so that each need not import torch.

LONG = {"iterations": 400, "check_every": 28, "translate": 0.1, "hflip": True, "patience": 0}
# What has a state that must come back: Adam's moments and the noise of a VAE, Adadelta's and running averages.
KINDS = {
    "adam": ({"variational": True}, 12, {}),
    "adadelta": ({"architecture": "selection"}, 16, {"optimizer": "adadelta", "lr": 1.0, "schedule": "constant"}),
}


def child(folder, kind, resume, save_seconds=0.0):
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored where the tests run in the background of a script
    torch.set_num_threads(1)
    training.SAVE_SECONDS = save_seconds
    given, size, differing = KINDS[kind]
    model = build(ModelOptions(latent=4, width=4, **given), (size, size), 3)
    try:
        train(model, blobs(size=size), ROWS, options(**LONG, **differing), folder, resume=resume)
    except Interrupted as stopped:
        (folder / "interrupted.txt").write_text(str(stopped))


@pytest.fixture(scope="module")
def spawn():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["winnow.learn.train", "winnow.models.autoencoder", "pytest"])

    def start(*arguments):
        process = context.Process(target=child, args=arguments)
        process.start()
        return process

    return start


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def uninterrupted(spawn, kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    process = spawn(folder, kind, False, 1e9)
    process.join()
    assert process.exitcode == 0
    return folder


def changed(path, before, process):
    """Wait until the file was written again; return its new time, or None when the process ended first."""
    while process.is_alive():
        if path.exists() and path.stat().st_mtime_ns != before:
            return path.stat().st_mtime_ns
        time.sleep(0.001)
    return None


def same_log(one, other):
    timing = ("pictures_per_second", "seconds")
    plain = [
        [{name: value for name, value in line.items() if name not in timing} for line in log_of(folder)]
        for folder in (one, other)
    ]
    return plain[0] == plain[1]


def test_killed_again_and_again_it_ends_with_the_same_weights(spawn, kind, uninterrupted, tmp_path):
    last, rng, kills = tmp_path / "checkpoints" / "last.safetensors", random.Random(0), 0
    for _ in range(5):
        process = spawn(tmp_path, kind, kills > 0)
        stamp = last.stat().st_mtime_ns if last.exists() else None
        if changed(last, stamp, process) is not None:
            time.sleep(rng.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += not (tmp_path / "model.json").exists()
    assert kills >= 2
    process = spawn(tmp_path, kind, True, 1e9)
    process.join()
    assert process.exitcode == 0
    assert weights_of(tmp_path) == weights_of(uninterrupted)
    assert same_log(tmp_path, uninterrupted)
    assert len(list((tmp_path / "checkpoints").glob("best-*"))) == 1


def test_ctrl_c_saves_between_two_steps_and_goes_on(spawn, kind, uninterrupted, tmp_path):
    process = spawn(tmp_path, kind, False)
    changed(tmp_path / "checkpoints" / "last.safetensors", None, process)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert "--resume" in (tmp_path / "interrupted.txt").read_text()
    assert not (tmp_path / "model.json").exists()
    process = spawn(tmp_path, kind, True, 1e9)
    process.join()
    assert weights_of(tmp_path) == weights_of(uninterrupted)
    assert same_log(tmp_path, uninterrupted)


def test_resuming_what_is_finished_or_never_began(tmp_path):
    first = train(network(), blobs(), ROWS, options(), tmp_path, resume=True)
    weights = weights_of(tmp_path)
    again = train(network(), blobs(), ROWS, options(), tmp_path, resume=True)
    assert weights_of(tmp_path) == weights
    assert again.validation_loss == first.validation_loss
    assert len(log_of(tmp_path)) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.5, "batch_size": 8}, "batch_size was 16, now 8; lr was 0.001, now 0.5"),
        ({"translate": 0.2}, "translate was 0.0, now 0.2"),
    ],
)
def test_resuming_with_other_options_names_them(tmp_path, change, message):
    train(network(), blobs(), ROWS, options(), tmp_path)
    with pytest.raises(RunError, match=message):
        train(network(), blobs(), ROWS, options(**change), tmp_path, resume=True)


def test_resuming_with_another_network_or_other_pictures_is_refused(tmp_path):
    train(network(), blobs(), ROWS, options(), tmp_path)
    with pytest.raises(RunError, match="latent was 4, now 5"):
        train(network(latent=5), blobs(), ROWS, options(), tmp_path, resume=True)
    with pytest.raises(RunError, match="other pictures"):
        train(network(), blobs(seed=1), ROWS, options(), tmp_path, resume=True)
    with pytest.raises(RunError, match="other pictures"):
        train(network(), blobs(), {**ROWS, "train": np.arange(47)}, options(), tmp_path, resume=True)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    from winnow.errors import Damaged

    train(network(), blobs(), ROWS, options(), tmp_path)
    path = tmp_path / "checkpoints" / "last.safetensors"
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(60):
        broken, bit = bytearray(whole), rng.randrange(8 * len(whole))
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        with pytest.raises(Damaged):
            train(network(), blobs(), ROWS, options(), tmp_path, resume=True)


def test_a_new_training_clears_what_an_old_one_left(tmp_path):
    train(network(), blobs(), ROWS, options(), tmp_path)
    train(network(), blobs(), ROWS, options(iterations=10), tmp_path)
    assert [line["step"] for line in log_of(tmp_path)] == [10]
    assert [path.name for path in (tmp_path / "grids").iterdir()] == ["step-000010.png"]
