"""Training by several processes: the same bytes whatever their number, and one end for all of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import winnow

from winnow import Run
from winnow.classify import fine_tuned
from winnow.classify.fine_tuned import FineTuning
from winnow.errors import Interrupted, OptionError, TrainingError
from winnow.learn import processes as several
from winnow.learn import train as training
from winnow.learn.fast import FastTrainer, train_fast
from winnow.learn.feed import Pixels
from winnow.learn.finetune import LinearHead
from winnow.learn.losses import batch_losses
from winnow.learn.pieces import check_shared, learn_in_pieces, looks_at_the_batch, pieces_of
from winnow.learn.processes import Processes, joined
from winnow.learn.train import Trainer, train
from winnow.models.registry import build
from winnow.options import ModelOptions, TrainOptions

from conftest import blocks, stripes, write_pictures

pytestmark = pytest.mark.slow

SIZE = 16
ROWS = {"train": np.arange(70), "validate": np.arange(70, 90)}
SHORT = {"iterations": 30, "check_every": 8, "batch_size": 33, "device": "cpu", "precision": "float32", "hflip": True}
VAE = {"variational": True, "latent": 4, "width": 4}
TIMES = ("pictures_per_second", "seconds")


def pictures() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([np.asarray(stripes(rng, size=SIZE)) for _ in range(90)])


def network(**given):
    return build(ModelOptions(**{**VAE, **given}), (SIZE, SIZE), 3)


def options(**given):
    return TrainOptions(**{**SHORT, "loss": "sigma", **given})


# ---- several processes, forked from one that has imported torch already


def work(rank, count, port, folder, stop, kill, resume, kind):
    """Train in one of `count` processes; that of the highest rank gets Ctrl-C at step `stop`, or dies at step `kill`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run behind a script
    torch.set_num_threads(1)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "WORLD_SIZE": count}
    os.environ.update({name: str(value) for name, value in place.items()})
    training.SAVE_SECONDS = 0.0
    step = Trainer.step

    def cut_off(trainer):
        if rank == count - 1 and trainer.state.step in (stop, kill):
            os.kill(os.getpid(), signal.SIGINT if trainer.state.step == stop else signal.SIGKILL)
        step(trainer)

    Trainer.step = cut_off
    try:
        if kind == "fast":
            train_fast(pictures(), ROWS, options(fast=12), folder, resume=resume)
        else:
            result = train(network(), pictures(), ROWS, options(), folder, resume=resume)
            assert (result.processes, result.threads) == (count, 1)
    except (Interrupted, TrainingError) as error:
        (folder / f"told-{rank}.txt").write_text(f"{type(error).__name__}: {error}")


@pytest.fixture(scope="module")
def grouped():
    """Return a function that calls another in several processes and returns how they ended."""
    context = multiprocessing.get_context("forkserver")
    # The last but one is what torch's optimisers import when they are made: two seconds.
    context.set_forkserver_preload(["winnow.learn.fast", "winnow.models.autoencoder", "torch._dynamo", "pytest"])

    def start(function, count, *arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        group = [context.Process(target=function, args=(rank, count, port, *arguments)) for rank in range(count)]
        for process in group:
            process.start()
        for process in group:
            process.join(60)
        assert not any(process.is_alive() for process in group), "a process hangs"
        return [process.exitcode for process in group]

    return start


@pytest.fixture(scope="module")
def together(grouped):
    def start(folder, count, *, stop=-1, kill=-1, resume=False, kind="vae"):
        return grouped(work, count, folder, stop, kill, resume, kind)

    return start


@pytest.fixture(scope="module")
def alone(together, tmp_path_factory):
    """Return the folder of a training by one process under torchrun."""
    folder = tmp_path_factory.mktemp("alone")
    assert together(folder, 1) == [0]
    return folder


def log_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def same(one: Path, other: Path) -> bool:
    files = ("model.safetensors", "model.json")
    return log_of(one) == log_of(other) and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in files
    )


@pytest.mark.parametrize("count", [2, 4])
def test_any_number_of_processes_gives_the_same_bytes(together, alone, tmp_path, count):
    assert together(tmp_path, count) == [0] * count
    assert same(tmp_path, alone)
    assert len(log_of(alone)) == 4


def test_the_fast_network_is_shared_too(together, tmp_path):
    for count in (1, 2):
        (tmp_path / str(count)).mkdir()
        assert together(tmp_path / str(count), count, kind="fast") == [0] * count
    assert same(tmp_path / "1", tmp_path / "2")


def test_stopped_and_resumed_with_other_numbers_it_ends_the_same(together, alone, tmp_path):
    for count, stop in ((1, 5), (2, 13), (4, -1)):
        assert together(tmp_path, count, stop=stop, resume=count > 1) == [0] * count
        told = sorted(path.name for path in tmp_path.glob("told-*"))
        assert told == [f"told-{rank}.txt" for rank in range(count if stop > 0 else 0)]
        for name in told:  # all stop at the same step, whoever got Ctrl-C
            assert f"stopped at step {stop + 1} of 30" in (tmp_path / name).read_text()
            (tmp_path / name).unlink()
    assert same(tmp_path, alone)


def test_a_process_that_is_killed_ends_all_and_loses_nothing(together, alone, tmp_path):
    assert together(tmp_path, 2, kill=17) == [0, -signal.SIGKILL]
    told = (tmp_path / "told-0.txt").read_text()
    assert told.startswith("TrainingError: Another process of this training has ended")
    assert "\n" in told and "--resume" in told.splitlines()[1]
    assert together(tmp_path, 1, resume=True) == [0]
    assert same(tmp_path, alone)


def test_one_process_goes_on_with_it_without_torchrun(together, alone, tmp_path):
    together(tmp_path, 2, stop=9)
    before = torch.get_num_threads()
    result = train(network(), pictures(), ROWS, options(), tmp_path, resume=True)
    assert (result.threads, result.processes, torch.get_num_threads()) == (1, 1, before)
    assert same(tmp_path, alone)


# ---- in one process


def test_a_batch_in_one_piece_is_the_same_to_rounding(alone, tmp_path):
    train(network(), pictures(), ROWS, options(threads=1), tmp_path)
    for one, other in zip(log_of(tmp_path), log_of(alone), strict=True):
        assert one.keys() == other.keys()
        assert one["validation_loss"] == pytest.approx(other["validation_loss"], rel=1e-3)
    assert not same(tmp_path, alone)


@pytest.mark.parametrize("loss", ["squared", "mean", "sigma"])
@pytest.mark.parametrize("pieces", [1, 2, 8])
def test_the_gradient_of_pieces_is_that_of_the_batch(loss, pieces):
    trainer = Trainer(network(), Pixels(pictures()), ROWS, options(loss=loss, free_bits=0.1), Path("none"))
    trainer.model.train()
    drawn, parameters = trainer.draw(), list(trainer.model.parameters())
    value, numbers = trainer.loss(*trainer.losses(*drawn))
    expected = torch.autograd.grad(value, parameters)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 9.0)  # of an earlier step
    found = learn_in_pieces(drawn, trainer.losses, trainer.loss, parameters, pieces, Processes())
    torch.testing.assert_close(found, numbers, rtol=1e-5, atol=1e-6)
    for parameter, slope in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, slope, rtol=1e-3, atol=1e-4 * float(slope.abs().max()))


def test_a_loss_without_latent_part_and_a_parameter_without_gradient():
    used, idle = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    chosen = TrainOptions(loss="mean")
    numbers = learn_in_pieces(
        (torch.arange(12.0).reshape(6, 2),),
        lambda images: [(images * used).mean(dim=1)],
        lambda errors: batch_losses(errors, None, 2, 2, chosen),
        [used, idle],
        2,
        Processes(),
    )
    assert numbers.tolist() == [5.5, 5.5, 0.0]
    assert used.grad.tolist() == [2.5, 3.0]
    assert idle.grad.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("batch", "pieces"), [(1, 1), (2, 2), (3, 2), (4, 4), (32, 4), (64, 4), (127, 4), (128, 8), (256, 16), (1000, 32)]
)
def test_a_batch_is_cut_by_its_size_alone(monkeypatch, batch, pieces):
    assert pieces_of(batch) == 1  # without torchrun it stays whole
    for processes in ("1", "4"):
        monkeypatch.setenv("WORLD_SIZE", processes)
        monkeypatch.setenv("RANK", "0")
        assert pieces_of(batch) == pieces


def test_processes_that_cannot_share_a_batch_are_refused():
    assert looks_at_the_batch(network(architecture="selection", variational=False))
    assert not looks_at_the_batch(network())
    for processes in (1, 2, 4):
        check_shared(4, 32, processes)
    check_shared(1, 32, 1, looks=True)
    with pytest.raises(OptionError, match=r"3 processes .* of 32 .* 4 pieces.\n  Start one of 1, 2, 4 processes.$"):
        check_shared(4, 32, 3)
    with pytest.raises(OptionError, match="or give --batch-size 128"):
        check_shared(4, 32, 8)
    with pytest.raises(OptionError, match=r"batch normalisation .*\n.*another --architecture"):
        check_shared(1, 32, 2, looks=True)
    with pytest.raises(OptionError, match=r"takes each in one piece.\n.*without --resume"):
        check_shared(1, 32, 2)


def test_devices_of_several_processes(monkeypatch):
    two = Processes(2, 1)
    assert two.device(torch.device("cpu")) == torch.device("cpu")
    assert Processes().device(torch.device("cuda:3")) == torch.device("cuda:3")
    for name in ("cuda:0", "mps"):
        with pytest.raises(OptionError, match=f"--device {name} is one device, and 2 processes"):
            two.device(torch.device(name))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(OptionError, match=r"a machine with 0 GPUs.\n.*--nproc-per-node gpu"):
        two.device(torch.device("cuda"))


def test_without_torchrun_there_is_one_process():
    assert joined() == Processes(1, 0)
    assert Processes().any(True) and not Processes().any(False)
    assert Processes().from_first(lambda: None) is None


def test_the_number_of_threads_is_an_option_and_kept(tmp_path):
    seen = []
    look = lambda path: seen.append(torch.get_num_threads())  # noqa: E731
    before = torch.get_num_threads()
    result = train(network(), pictures(), ROWS, options(threads=3), tmp_path, on_grid=look)
    assert result.threads == 3 and set(seen) == {3} and torch.get_num_threads() == before
    about = json.loads((tmp_path / "model.json").read_text())
    assert about["about"]["threads"] == 3
    assert train(network(), pictures(), ROWS, options(), tmp_path / "b").threads == before
    assert "threads" not in TrainOptions().identity() and TrainOptions(threads=2).identity()["threads"] == 2


# ---- the command


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    write_pictures(folder / "in", 6, 12, lambda rng: stripes(rng, size=SIZE))
    assert winnow("ingest", folder / "in", "--run", folder / "run", "--size", 16, 16) == 0
    return folder / "run"


GIVEN = (
    "--iterations",
    6,
    "--check-every",
    3,
    "--width",
    4,
    "--device",
    "cpu",
    "--precision",
    "float32",
    "--threads",
    1,
)


def test_the_command_by_torchrun(pool, tmp_path, monkeypatch):
    runs = [Path(shutil.copytree(pool, tmp_path / f"{count}")) for count in (1, 2)]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "winnow"]
    words = [str(word) for word in ("--", "train", "--run", runs[1], *GIVEN)]
    done = subprocess.run([*launch, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Trained") == 1  # the first alone prints
    written = (runs[1] / "steps" / "train.json").read_bytes()
    assert winnow("train", "--run", runs[1], "--resume") == 0  # finished: left as it is
    assert (runs[1] / "steps" / "train.json").read_bytes() == written
    assert winnow("encode", "--run", runs[1]) == 0
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert winnow("--", "train", "--run", runs[0], *GIVEN) == 0
    assert same(runs[0] / "model", runs[1] / "model")
    for name in ("linear", "background"):
        files = [run / "model" / name / "model.safetensors" for run in runs]
        assert files[0].read_bytes() == files[1].read_bytes()


def command(rank, count, port, folder, words):
    """Run `winnow` in one of `count` processes, what it prints into a file."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "WORLD_SIZE": count}
    os.environ.update({name: str(value) for name, value in place.items()})
    with (folder / f"printed-{rank}.txt").open("w", buffering=1) as file:
        sys.stdout = sys.stderr = file
        sys.exit(winnow(*words))


def test_an_error_is_told_once_and_the_run_is_as_before(grouped, pool, tmp_path):
    run = Path(shutil.copytree(pool, tmp_path / "run"))
    before = (run / "run.json").read_bytes()
    words = ("train", "--run", run, *GIVEN, "--architecture", "selection")
    assert grouped(command, 2, tmp_path, words) == [1, 1]
    told = "".join((tmp_path / f"printed-{rank}.txt").read_text() for rank in range(2))
    assert (
        told.startswith("winnow: The network's batch normalisation looks at the whole batch") and told.count("\n") == 2
    )
    assert (run / "run.json").read_bytes() == before and not (run / "model").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_when_torchrun_has_gone_the_first_process_tells(monkeypatch, rank):
    """As after Ctrl-C, which torchrun gets too: nobody answers where it kept the store."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "WORLD_SIZE": 2}
    for name, value in {**place, "TORCHELASTIC_USE_AGENT_STORE": "True"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(several, "LINGER", timedelta(seconds=0.2))
    assert several.tells() == (rank == 0)


def test_a_training_that_goes_on_keeps_its_threads(pool, tmp_path, monkeypatch):
    run = Run(shutil.copytree(pool, tmp_path / "run"), iterations=8, check_every=4, width=4, device="cpu")
    step = Trainer.step

    def stopped(trainer):
        step(trainer)
        if trainer.state.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    before = torch.get_num_threads()
    try:
        monkeypatch.setattr(Trainer, "step", stopped)
        torch.set_num_threads(2)
        with pytest.raises(Interrupted, match="step 3 of 8"):
            run.train()
        monkeypatch.setattr(Trainer, "step", step)
        torch.set_num_threads(1)
        found = run.train(resume=True)
    finally:
        torch.set_num_threads(before)
    assert found.training.threads == 2
    assert [note for note in found.warnings if "2 threads that it was begun with" in note and "would take 1" in note]


@pytest.mark.parametrize("name", ["encode", "run", "ingest"])
def test_other_commands_are_not_started_twice(monkeypatch, capsys, name):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert winnow(name, "--run", "nowhere") == 1
    assert capsys.readouterr().err.startswith(f"winnow: 2 processes of 'winnow {name}' were started, and only")


def test_the_fast_trainer_draws_a_batch_once(tmp_path):
    from winnow.models.fast import Fast

    given = TrainOptions(**{**SHORT, "batch_size": 8})
    trainer = FastTrainer(Fast((SIZE, SIZE), 3, width=2), Pixels(pictures()), ROWS, given, tmp_path)
    pixels, masks = trainer.draw()
    whole, _ = trainer.loss(*trainer.losses(pixels, masks))
    halves = [trainer.losses(pixels[part], masks[part])[0] for part in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(trainer.loss(torch.cat(halves))[0], whole)


# ---- fine-tuning


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> tuple[Path, Path]:
    """Return an encoded and calibrated run of a small frozen network, and a file of labels."""
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_1

    folder, rng = tmp_path_factory.mktemp("labelled"), np.random.default_rng(0)
    rows = ["source,label"]
    for number in range(40):
        path = folder / "in" / f"clip{number // 10}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((stripes, blocks)[number % 2](rng, size=32)).save(path)
        rows.append(f"{path},{'ab'[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(0)
    save_file(squeezenet1_1(weights=None).state_dict(), folder / "weights.safetensors")
    given = {"size": (32, 32), "backbone": "squeezenet1_1", "weights": folder / "weights.safetensors", "threads": 1}
    run = Run(folder / "run", "oneclass", device="cpu", **given)
    run.ingest(folder / "in")
    run.train()
    run.encode()
    run.calibrate()
    return folder / "run", folder / "labels.csv"


def test_a_fine_tuning_is_shared(grouped, labelled, tmp_path):
    tune = ("--fine-tune", "squeezenet1_1", "--fine-tune-iterations", 4, "--fine-tune-batch-size", 8, "--folds", 2)
    runs = [Path(shutil.copytree(labelled[0], tmp_path / f"{count}")) for count in (1, 2)]
    for count, run in enumerate(runs, start=1):
        words = ("classify", "--run", run, "--labels", labelled[1], *tune)
        assert grouped(command, count, run, words) == [0] * count, (run / "printed-0.txt").read_text()
    printed = [(runs[1] / f"printed-{rank}.txt").read_text() for rank in (0, 1)]
    assert "by fine-tuned squeezenet1_1" in printed[0] and not printed[1]
    networks = [(run / "classifier" / "network" / "model.safetensors").read_bytes() for run in runs]
    assert networks[0] == networks[1]
    heads = [np.load(run / "classifier" / "classifier.npz") for run in runs]
    assert all(np.array_equal(heads[0][name], heads[1][name]) for name in heads[0].files)


def test_a_fine_tuning_takes_the_threads_of_the_run(monkeypatch):
    seen = []

    def look(*arguments, **given):
        seen.append(torch.get_num_threads())
        return {}

    monkeypatch.setattr(fine_tuned, "fine_tune", look)
    tuning = FineTuning(network(), pictures(), device="cpu", threads=3)
    before = torch.get_num_threads()
    tuning._trained(np.zeros(90, int), np.zeros(90, bool), LinearHead(np.zeros(4), np.zeros((1, 4)), np.zeros(1)), None)
    assert seen == [3] and torch.get_num_threads() == before
    others = [FineTuning(network(), pictures(), device="cpu", threads=number) for number in (0, 3)]
    for one in others:
        one.begin(np.zeros((90, 4)), np.zeros(4), np.zeros(90, int))
    assert others[0]._key(np.zeros(90, int), None) != others[1]._key(np.zeros(90, int), None)


def test_a_head_on_embeddings_is_learnt_by_one_process(grouped, labelled, tmp_path):
    words = ("classify", "--run", labelled[0], "--labels", labelled[1])
    assert grouped(command, 2, tmp_path, words) == [1, 1]
    told = "".join((tmp_path / f"printed-{rank}.txt").read_text() for rank in range(2))
    assert told.startswith("winnow: 2 processes were started, and a head") and told.count("\n") == 2
