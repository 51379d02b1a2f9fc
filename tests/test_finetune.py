"""Fine-tuning on drawn pictures: what it learns, what it keeps, kills, options, and input that is wrong."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import winnow
from winnow import show
from winnow.classify import fine_tuned
from winnow.classify.classifier import Classifier
from winnow.classify.fine_tuned import FineTuning
from winnow.classify.heads import Logistic
from winnow.embeddings import unit_length
from winnow.errors import Damaged, DataError, Interrupted, ModelError, OptionError, RunError, TrainingError
from winnow.learn import finetune
from winnow.learn.encode import encode
from winnow.learn.feed import as_source
from winnow.learn.finetune import FRESH, LinearHead, _Batches, _schedule, augmented, fine_tune
from winnow.learn.processes import Processes
from winnow.models.pretrained import Pretrained
from winnow.options import TuneOptions
from winnow.pool.pool import Pool
from winnow.progress import silent
from winnow.results import Classified

from conftest import blocks, stripes, winnow_command

pytestmark = pytest.mark.slow

QUICK = {
    "fine_tune": "squeezenet1_1",
    "fine_tune_batch_size": 4,
    "fine_tune_iterations": 12,
    "fine_tune_lr": 3e-4,
    "folds": 2,
}
TUNE = {name: value for name, value in QUICK.items() if name != "folds"}


def network(seed: int = 0) -> Pretrained:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Pretrained((48, 48), 3, "squeezenet1_1")


def drawn(n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures (n, 48, 48, 3), stripes and blocks in turn, and their class names; both as dim as each other."""
    rng = np.random.default_rng(seed)
    return np.stack([(stripes, blocks)[number % 2](rng) for number in range(n)]), np.array(
        ["stripes", "blocks"] * (n // 2), object
    )


def tuned(
    pictures: np.ndarray, labels: np.ndarray, folder: Path | None = None, seed: int = 0, pseudo: int = 0, **options
) -> Classifier:
    start = network()
    tuning = FineTuning(start, pictures, TuneOptions(**{**TUNE, **options}), seed=seed, folder=folder)
    return Classifier(folds=2, tuning=tuning, seed=seed, pseudo=pseudo, rounds=1).fit(
        encode(start, pictures).vectors, labels
    )


def trained(start: Pretrained, pictures: np.ndarray, labels: np.ndarray, seed: int = 0, **options) -> dict:
    """Return the weights after a single training, on all labels."""
    features, target = unit_length(encode(start, pictures).vectors), (labels == "stripes").astype(int)
    tuning = FineTuning(start, pictures, TuneOptions(**{**TUNE, **options}), seed=seed)
    tuning.begin(features, np.zeros(features.shape[1], np.float32), target).fit(np.arange(len(target)), target, 2)
    return tuning.tuned.state_dict()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Path]:
    """Return a classifier fine-tuned on 40 pictures, and the folder of its trainings."""
    folder = tmp_path_factory.mktemp("trainings")
    return tuned(*drawn(), folder), folder


def test_the_network_learns_with_the_head(whole: tuple[Classifier, Path]):
    classifier, _ = whole
    new, truth = drawn(seed=1)
    start = network().state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in classifier.network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in classifier.network.parameters())
    assert (classifier.predict(encode(classifier.network, new).vectors) == truth).mean() > 0.95
    assert classifier.held_out.tally.macro_f1 > 0.8 and classifier.held_out.probabilities.shape == (40, 2)


def test_what_was_held_out_was_not_seen(whole: tuple[Classifier, Path]):
    """Each fold's training is that of the same pictures without the fold, from the same start."""
    classifier, _ = whole
    pictures, labels = drawn()
    held = classifier.held_out
    out = held.rows[held.fold == 0]
    known = labels.copy()
    known[out] = ""
    target = np.array([["blocks", "stripes"].index(name) if name else -1 for name in known])
    tuning = FineTuning(network(), pictures, TuneOptions(**TUNE))
    cross_fitter = classifier.cross_fitter
    tuning.begin(cross_fitter.head.features, classifier.centre, cross_fitter.target).fit(np.arange(40), target, 2)
    found = tuning.logits(out) / classifier.temperature
    powers = np.exp(found - found.max(axis=1, keepdims=True))
    assert np.allclose(powers / powers.sum(axis=1, keepdims=True), held.probabilities[held.fold == 0], atol=1e-5)


def test_the_head_learns_ten_times_as_fast_as_the_layers_after_a_short_rise():
    """Adam's first step moves every weight by its rate, whatever the gradient, and the rate of the first of ten is a tenth."""
    pictures, labels = drawn(12)
    start, rate = network(), 3e-4
    features = unit_length(encode(start, pictures).vectors)
    target = (labels == "stripes").astype(int)
    tuning = FineTuning(
        start, pictures, TuneOptions(fine_tune_batch_size=12, fine_tune_iterations=1, fine_tune_lr=rate)
    )
    tuning.begin(features, np.zeros(features.shape[1], np.float32), target).fit(np.arange(12), target, 2)
    by = [(tuning.tuned.state_dict()[name] - value).abs().max().item() for name, value in start.state_dict().items()]
    head = np.abs(tuning.linear.weights - Logistic().fit(features, target, 2).weights).max()
    assert max(by) == pytest.approx(rate / 10, rel=0.02)
    assert head == pytest.approx(10 * rate / 10, rel=0.02)


def test_the_rate_rises_for_ten_steps_and_falls_by_half_a_cosine():
    shares = [_schedule(step, 1000) for step in range(1000)]
    assert shares[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], rel=1e-3)
    assert shares[500] == pytest.approx(0.5) and 0 < shares[-1] < 1e-5
    assert (np.diff(shares[9:]) < 0).all()


def test_a_rare_class_weighs_as_much_as_a_common_one(monkeypatch: pytest.MonkeyPatch):
    weights, loss = [], finetune.functional.cross_entropy

    def watched(*given: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        weights.append(weight)
        return loss(*given, weight=weight)

    monkeypatch.setattr(finetune.functional, "cross_entropy", watched)
    pictures, target = drawn(12)[0], np.repeat([0, 1], [3, 9])
    start = network()
    features = unit_length(encode(start, pictures).vectors)
    tuning = FineTuning(start, pictures, TuneOptions(fine_tune_batch_size=4, fine_tune_iterations=1))
    tuning.begin(features, np.zeros(features.shape[1], np.float32), target).fit(np.arange(12), target, 2)
    assert [(weight * torch.tensor([3, 9])).tolist() for weight in weights] == [[6.0, 6.0]]


def test_batch_averages_stay():
    start = Pretrained((48, 48), 3, "mobilenet_v2")
    pictures, labels = drawn(12)
    before, after = start.state_dict(), trained(start, pictures, labels, fine_tune_batch_size=2)
    averages = [name for name in before if "running" in name]
    assert averages and all(torch.equal(before[name], after[name]) for name in averages)
    weights = [name for name in before if name.endswith("weight")]
    assert sum(not torch.equal(before[name], after[name]) for name in weights) > 0.9 * len(weights)


def test_kept_and_read_again(whole: tuple[Classifier, Path], tmp_path: Path):
    classifier, _ = whole
    new, _ = drawn(10, seed=2)
    classifier.save(tmp_path)
    again = Classifier.load(tmp_path)
    vectors = encode(classifier.network, new).vectors
    assert np.array_equal(encode(again.network, new).vectors, vectors)
    assert np.array_equal(again.predict_proba(vectors), classifier.predict_proba(vectors))
    path = tmp_path / "network" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(Damaged):
        Classifier.load(tmp_path)
    Classifier().fit(*drawn_codes()).save(tmp_path)  # one on embeddings in its place leaves no network behind
    assert Classifier.load(tmp_path).network is None and not (tmp_path / "network").exists()


def drawn_codes() -> tuple[np.ndarray, list[str]]:
    return np.random.default_rng(0).normal(size=(20, 4)), ["a", "b"] * 10


def test_the_same_seed_gives_the_same_bits_and_finished_trainings_are_not_repeated(
    whole: tuple[Classifier, Path], monkeypatch: pytest.MonkeyPatch
):
    classifier, folder = whole
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == 3  # two folds and all labels
    titles = []
    monkeypatch.setattr(
        "winnow.learn.finetune.progress", lambda title, *of: titles.append(title) or nullcontext(silent)
    )
    again = tuned(*drawn(), folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before and not titles
    elsewhere = tuned(*drawn())
    assert titles == [f"fine-tune, training {number}" for number in (1, 2, 3)]
    for other in (again, elsewhere):
        assert np.array_equal(other.held_out.probabilities, classifier.held_out.probabilities)
        assert all(
            torch.equal(value, classifier.network.state_dict()[name])
            for name, value in other.network.state_dict().items()
        )


FIRST = "network.features.0.weight"


@pytest.fixture(scope="module")
def once() -> dict:
    """Return the weights after a training without another option; the same again from the same seed."""
    first, second = (trained(network(), *drawn()) for _ in range(2))
    assert torch.equal(first[FIRST], second[FIRST])
    return first


@pytest.mark.parametrize(
    "other",
    [
        {"fine_tune_iterations": 13},
        {"fine_tune_batch_size": 5},
        {"fine_tune_lr": 1e-4},
        {"fine_tune_hflip": False},
        {"fine_tune_rotate": 0.0},
        {"fine_tune_translate": 0.0},
        {"seed": 1},
    ],
)
def test_every_option_changes_what_is_learnt(other: dict, once: dict):
    assert not torch.equal(once[FIRST], trained(network(), *drawn(), **other)[FIRST])


def test_true_labels_fill_half_of_each_batch_with_pseudo_labels():
    pseudo = np.arange(30) >= 6
    draw = _Batches(pseudo, 8, seed=0)
    assert draw.size == 8
    drawn_rows = [draw(step) for step in range(60)]
    assert all((~pseudo[rows]).sum() == 4 for rows in drawn_rows)
    assert set(np.concatenate(drawn_rows)) == set(range(30))
    assert all(np.array_equal(draw(step), drawn_rows[step]) for step in (3, 0, 59))
    only = _Batches(np.zeros(5, bool), 8, seed=0)
    assert sorted(only(0)) == list(range(5))
    assert _Batches(np.ones(20, bool), 8, seed=0).size == 8  # of pseudo-labels alone


def test_processes_that_cannot_share_a_batch_are_told_the_option_of_fine_tuning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(finetune, "pieces_of", lambda batch: 4)
    pictures, labels = drawn()
    target, start = (labels == "stripes").astype(int), network()
    head = LinearHead(np.zeros(512, np.float32), np.zeros((2, 512)), np.zeros(2))
    about = {
        "pseudo": np.zeros(len(target), bool),
        "seed": 0,
        "device": torch.device("cpu"),
        "processes": Processes(8, 0),
    }
    with pytest.raises(OptionError, match="or give --fine-tune-batch-size 128"):
        fine_tune(start, as_source(pictures), target, head, TuneOptions(), **about)


def test_pseudo_labels_come_from_the_trainings_of_all_folds(tmp_path: Path):
    pictures, truth = drawn(80)
    labels = truth.copy()
    labels[12:] = ""
    classifier = tuned(pictures, labels, tmp_path, pseudo=40)
    (tried,) = classifier.done
    assert 32 <= sum(tried.counts) <= 34 and max(tried.counts) <= 18  # half of all, fewer than the 40 asked for
    assert (
        not tried.kept or (classifier.classes[classifier.pseudo_target] == truth[classifier.pseudo_rows]).mean() >= 0.9
    )
    assert len(classifier.pseudo_rows) == (sum(tried.counts) if tried.kept else 0)
    # All labels, and each fold held out, of which the pseudo-labels' are the same; then each fold held out once more: of two folds,
    # without both there is no label to learn pseudo-labels from, so that these are the first again.
    assert len(list(tmp_path.iterdir())) == 3 + tried.kept


def test_the_augmentation_translates_rotates_and_flips():
    ramp = torch.arange(32.0).expand(8, 1, 32, 32) / 31
    tuning = FineTuning(network(), drawn(8)[0], TuneOptions(fine_tune_rotate=0, fine_tune_translate=0))
    changed = augmented(ramp, tuning.options, [tuning.seed, FRESH, 0])
    flipped = [torch.allclose(one, ramp[0].flip(2), atol=1e-5) for one in changed]
    assert any(flipped) and all(
        kept or torch.allclose(one, ramp[0], atol=1e-5) for kept, one in zip(flipped, changed, strict=True)
    )
    tuning.options = TuneOptions(fine_tune_rotate=0, fine_tune_translate=0.25, fine_tune_hflip=False)
    by = (augmented(ramp, tuning.options, [tuning.seed, FRESH, 0]) - ramp)[:, 0, 16, 12:20].mean(dim=1) * 31
    assert by.abs().max() <= 8 and by.abs().max() > 2 and by.min() < 0 < by.max()
    tuning.options = TuneOptions(fine_tune_rotate=180, fine_tune_translate=0, fine_tune_hflip=False)
    wide = torch.zeros(6, 1, 16, 64)
    wide[:, :, 8 - 3 : 8 + 3, 32 - 3 : 32 + 3] = 1  # a square stays one, whatever the picture's shape
    turned = augmented(wide, tuning.options, [tuning.seed, FRESH, 0])
    assert torch.allclose(turned.sum(dim=(1, 2, 3)), torch.full((6,), 36.0), atol=3.0)


def test_wrong_input(tmp_path: Path):
    pictures, labels = drawn(12)
    start = network()
    with pytest.raises(DataError, match="11 embeddings for 12 pictures"):
        Classifier(tuning=FineTuning(start, pictures)).fit(encode(start, pictures[:11]).vectors, labels[:11])
    with pytest.raises(OptionError, match="'label_spreading' cannot be fine-tuned"):
        Classifier("label_spreading", tuning=FineTuning(start, pictures))
    with pytest.raises(TrainingError, match="--fine-tune-lr"):
        tuned(pictures, labels, fine_tune_lr=1e30)
    with pytest.raises(DataError, match="must be uint8"):
        FineTuning(start, pictures.astype(float))


# ---- in a run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Return an encoded run of four clips of pictures, a file of labels of half of them, and weights of a SqueezeNet."""
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_1

    folder = tmp_path_factory.mktemp("tuning")
    rng, rows = np.random.default_rng(0), []
    for number in range(48):
        path = folder / "in" / f"clip ü{number // 12}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((stripes, blocks)[number % 2](rng)).save(path)
        rows.append((path, ("stripes", "blocks")[number % 2]))
    torch.manual_seed(0)
    save_file(squeezenet1_1(weights=None).state_dict(), folder / "weights.safetensors")
    run = winnow.Run(
        folder / "run", "oneclass", size=(32, 32), backbone="squeezenet1_1", weights=folder / "weights.safetensors"
    )
    run.ingest(folder / "in")
    run.train()
    run.encode()
    run.calibrate()
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("source", "label"), *rows[::3], *rows[1::3]])
    return folder / "run", folder / "labels.csv", folder / "weights.safetensors"


@pytest.fixture
def run(made: tuple[Path, Path, Path], tmp_path: Path) -> winnow.Run:
    return winnow.Run(shutil.copytree(made[0], tmp_path / "run"))


@pytest.fixture(scope="module")
def learnt(made: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run with a classifier that is fine-tuned."""
    folder = Path(shutil.copytree(made[0], tmp_path_factory.mktemp("learnt") / "run"))
    winnow.Run(folder).classify(labels=made[1], **QUICK)
    return folder


def test_a_run_is_fine_tuned_predicts_and_goes_on(learnt: Path, made: tuple[Path, Path, Path], tmp_path: Path):
    run = winnow.Run(shutil.copytree(learnt, tmp_path / "run"))
    result = run.folder.result(Classified)
    assert result.by == "fine-tuned squeezenet1_1" and result.macro_f1 > 0.9 and result.folds == 2
    assert [count for count, _ in result.curve.points] == [16, 32]
    plain = winnow.Run(shutil.copytree(run.folder.path, tmp_path / "plain")).classify(
        labels=made[1], fine_tune="", head="logistic"
    )
    assert plain.against_head is None and result.against_head.other == pytest.approx(plain.macro_f1, abs=0.04)
    assert result.against_head.rise == pytest.approx(result.macro_f1 - result.against_head.other)
    assert "By the same folds a head on the embeddings" in show.classify(result, run.folder.path)
    folder = run.folder.path
    assert not (folder / "classifier" / "trainings").exists()
    classifier = run.classifier
    pool = Pool.open(folder / "pool")
    run.predict(made[0].parent / "in", to=tmp_path / "out")
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8") as file:
        said = {row["source"]: row for row in csv.DictReader(file)}
    chance = classifier.predict_proba(encode(classifier.network, pool).vectors)
    for row, source in enumerate(pool.column("source")):
        assert float(said[source]["p_blocks"]) == pytest.approx(chance[row, 0], abs=2e-4)
    assert (
        np.mean([(row["class"] == "blocks") == (int(Path(source).stem) % 2 == 1) for source, row in said.items()])
        > 0.95
    )
    assert run.round(3, also=made[1]).chosen == 3
    # Alone, without the run's own network; beside another one: see test_export.py.
    file = run.export(tmp_path / "classifier.onnx", only="classifier").file
    told = winnow.Deployed.open(file)(pool.pixels(np.arange(len(pool))))
    assert list(told) == ["probabilities"] and np.allclose(told["probabilities"], chance, atol=1e-4)
    assert "fine-tuned squeezenet1_1" in run.report().read_text(encoding="utf-8")
    run.classify(labels=made[1], fine_tune="", folds=0)  # and back to the embeddings
    assert run.classifier.network is None and not (folder / "classifier" / "network").exists()


def test_other_weights_than_the_runs_own_start_elsewhere(learnt: Path, made: tuple[Path, Path, Path], tmp_path: Path):
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_1

    torch.manual_seed(1)
    save_file(squeezenet1_1(weights=None).state_dict(), tmp_path / "other.safetensors")
    run = winnow.Run(shutil.copytree(learnt, tmp_path / "run"))
    quick = QUICK | {"folds": 0}  # which what is learnt of all labels does not depend on
    vectors = encode(run.classifier.network, Pool.open(run.folder.folder("ingest"))).vectors
    run.classify(labels=made[1], **quick, fine_tune_weights=made[2])
    same = encode(run.classifier.network, Pool.open(run.folder.folder("ingest"))).vectors
    np.testing.assert_allclose(same, vectors, rtol=1e-4, atol=1e-5)  # the run's own were encoded by another engine
    run.classify(labels=made[1], **quick, fine_tune_weights=tmp_path / "other.safetensors")
    assert not np.allclose(
        encode(run.classifier.network, Pool.open(run.folder.folder("ingest"))).vectors, vectors, atol=1e-3
    )


def test_killed_between_trainings_it_goes_on_to_the_same_bits(
    run: winnow.Run, learnt: Path, made: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
):
    first, weights = winnow.Run(learnt).folder.result(Classified), winnow.Run(learnt).classifier.network.state_dict()
    run.set(**QUICK).folder.store({})
    write, made_here = fine_tuned.write_checkpoint, []

    def counted(*args: object) -> None:
        write(*args)
        made_here.append(1)

    def stopping(*args: object) -> None:
        counted(*args)
        if len(made_here) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            fine_tuned.write_checkpoint = stopping
            run.classify(labels=made[1])
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(list((run.folder.path / ".staging" / "classify" / "scratch" / "trainings").iterdir())) == 2
    monkeypatch.setattr(fine_tuned, "write_checkpoint", counted)
    again = winnow.Run(run.folder.path)
    again.classify(labels=made[1])
    assert len(made_here) == 3  # five in all: two folds, all labels, and the curve's two
    assert again.folder.result(Classified).macro_f1 == first.macro_f1
    assert all(torch.equal(value, weights[name]) for name, value in again.classifier.network.state_dict().items())


def test_a_damaged_training_is_made_anew(whole: tuple[Classifier, Path], tmp_path: Path):
    classifier, folder = whole
    copied = Path(shutil.copytree(folder, tmp_path / "trainings"))
    for path in copied.iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    again = tuned(*drawn(), copied)
    assert np.array_equal(again.held_out.probabilities, classifier.held_out.probabilities)


def test_options_of_fine_tuning_matter_only_with_it(run: winnow.Run, made: tuple[Path, Path, Path]):
    run.classify(labels=made[1])
    run.set(fine_tune_rotate=5.0)
    assert len(run.classifier.classes) == 2
    run.set(fine_tune="squeezenet1_1")
    with pytest.raises(RunError, match="older"):
        run.classifier  # noqa: B018


def test_stopped_by_hand_it_says_how_to_go_on(
    run: winnow.Run, made: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(finetune, "_check", stop)
    with pytest.raises(Interrupted, match="same command"):
        run.classify(labels=made[1], **QUICK)


def test_the_command_and_wrong_options(run: winnow.Run, made: tuple[Path, Path, Path], tmp_path: Path):
    folder = run.folder.path
    words = ["classify", "--run", folder, "--labels", made[1]]
    quick = ["--fine-tune-batch-size", "4", "--fine-tune-iterations", "2", "--folds", "2"]
    done = winnow_command(
        *words,
        "--fine-tune",
        "squeezenet1_1",
        *quick,
        "--no-fine-tune-hflip",
        "--fine-tune-rotate",
        "0",
        "--fine-tune-translate",
        "0",
    )
    assert done.returncode == 0 and "by fine-tuned squeezenet1_1" in done.stdout, done.stderr
    options = json.loads((folder / "run.json").read_text(encoding="utf-8"))["options"]["tune"]
    assert (
        options["fine_tune_hflip"] is False
        and options["fine_tune_rotate"] == 0
        and options["fine_tune"] == "squeezenet1_1"
    )
    done = winnow_command(*words, "--fine-tune", "squeezenet9")
    assert done.returncode == 1 and "squeezenet9" in done.stderr
    (tmp_path / "empty.pth").touch()
    done = winnow_command(*words, "--fine-tune", "squeezenet1_1", "--fine-tune-weights", tmp_path / "empty.pth")
    assert done.returncode == 1 and "empty.pth is empty" in done.stderr
    done = winnow_command(*words, "--fine-tune", "squeezenet1_1", "--fine-tune-weights", tmp_path / "none.pth")
    assert (
        done.returncode == 1
        and "--fine-tune-weights" in done.stderr
        and "--weights" not in done.stderr.replace("--fine-tune-weights", "")
    )
    with pytest.raises(ModelError, match="lacks"):
        run.classify(labels=made[1], fine_tune="mobilenet_v2", fine_tune_weights=made[2])
    with pytest.raises(OptionError, match="fine-tune-iterations"):
        run.set(fine_tune_iterations=0)
