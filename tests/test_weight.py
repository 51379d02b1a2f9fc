"""The search for the weight of the latent loss: the choice, what each weight is judged on, resuming, wrong input."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import winnow
from winnow import show
from winnow.errors import DataError, InputError, OptionError, RunError
from winnow.files import sha256
from winnow.learn.encode import encode
from winnow.models.registry import load_model
from winnow.pool.pool import Pool
from winnow.results import Trained, WeightSearch, WeightTrial
from winnow.run.publish import read_result
from winnow.run.split import split_of
from winnow.steps.report.weight import weight_section
from winnow.steps.weight import WEIGHTS, choose
from winnow.synthetic.defects import damage

from cloth import write_cloth, write_damaged
from conftest import winnow_command

pytestmark = pytest.mark.slow

SMALL = {
    "size": (16, 16),
    "width": 4,
    "latent": 4,
    "batch_size": 16,
    "check_every": 20,
    "iterations": 60,
    "precision": "float32",
}
TRIED = (0.0, 1e-4, 1e-2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("weight")
    write_cloth(made / "good", 20)
    write_damaged(made / "bad", made / "masks", 6)
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> winnow.Run:
    made = winnow.Run(folder / "run", "inspect-vae", **SMALL)
    made.search_weight(folder / "good", lambdas=TRIED, defects=folder / "bad", masks=folder / "masks")
    return made


@pytest.fixture
def copy(run: winnow.Run, tmp_path: Path) -> winnow.Run:
    shutil.copytree(run.folder.path, tmp_path / "run")
    return winnow.Run(tmp_path / "run")


def found(run: winnow.Run) -> WeightSearch:
    return read_result(WeightSearch, run.folder.path / "weight" / "weight.json")


def pairs_won(high: np.ndarray, low: np.ndarray) -> float:
    """The share of pairs in which the first is larger, ties one half: the AUROC as it is defined."""
    return float(np.mean([(value > low).mean() + (value == low).mean() / 2 for value in high]))


# ---- the choice


def rows(both: list[float], real: list[float] | None = None) -> list[WeightTrial]:
    weights = [0.0, 1e-6, 1e-5, 1e-4]
    return [
        WeightTrial(
            weight,
            {"error": 0.5, "latent": 0.9, "both": score},
            None if real is None else {"error": 0.5, "latent": 0.5, "both": real[place]},
            steps=1,
            active_units=None,
            seconds=0.1,
        )
        for place, (weight, score) in enumerate(zip(weights, both, strict=True))
    ]


@pytest.mark.parametrize(
    ("both", "chosen", "words"),
    [
        ([0.8, 0.9, 0.85, 0.7], 1e-6, "Weight 1e-06 has the highest AUROC .*, 0.900"),
        ([0.8, 0.9, 0.8985, 0.7], 1e-5, "Weight 1e-05 is the largest of those within 0.002 .*0.8985; 0.9000 at 1e-06"),
        ([0.9, 0.9, 0.9, 0.9], 1e-4, "Weight 0.0001 is the largest|Weight 0.0001 has"),
        ([0.9, 0.897, 0.8, 0.7], 0.0, "Weight 0 has the highest"),
    ],
)
def test_the_highest_is_chosen_and_of_equals_the_largest(both, chosen, words):
    result = choose(rows(both))
    assert result.weight == chosen and result.by_real is None
    assert re.search(words, result.reason) and result.reason.count(". ") == 0


def test_what_real_defects_would_choose_is_told_beside():
    result = choose(rows([0.8, 0.9, 0.85, 0.7], [0.7, 0.81, 0.85, 0.86]))
    assert (result.weight, result.by_real) == (1e-6, 1e-4)
    assert result.lost == pytest.approx(0.05)


# ---- the search


def test_each_weight_is_judged_as_a_direct_computation_says(run: winnow.Run, folder: Path):
    path, result = run.folder.path, found(run)
    pool = Pool.open(path / "pool")
    held = np.flatnonzero(np.isin(split_of(run.folder, pool).split, ("validate", "calibrate")))
    clean = pool.pixels(held)
    assert len(clean) < 2000
    torn, mask, _ = damage(clean, np.random.default_rng([0, 4]))
    torn = torn[mask.any(axis=(1, 2))]
    assert result.synthetic_defects == len(torn) > 0.7 * len(clean)
    real = damaged_patches(folder)
    assert result.real_defects == len(real)
    assert result.loss == "top_local_error"  # as the run's scorer pools the error
    assert [trial.weight for trial in result.trained] == list(TRIED)
    for name, trial in [*((f"{trial.weight:g}", trial) for trial in result.trained), ("sigma", result.sigma)]:
        model = load_model(path / "weight" / name)
        losses = {
            part: encode(model, pixels).losses
            for part, pixels in (("clean", clean), ("synthetic", torn), ("real", real))
        }
        for kind in ("synthetic", "real"):
            error, latent = (
                [np.log(np.maximum(losses[part][measure], 1e-8)) for part in (kind, "clean")]
                for measure in (result.loss, "latent")
            )
            assert trial.on(kind)["error"] == pytest.approx(pairs_won(*error), abs=1e-9)
            assert trial.on(kind)["latent"] == pytest.approx(pairs_won(*latent), abs=1e-9)
            assert trial.on(kind)["both"] == pytest.approx(
                pairs_won(standardised(losses, kind), standardised(losses, "clean")), abs=1e-9
            )


def standardised(losses: dict, part: str) -> np.ndarray:
    total = np.zeros(len(losses[part]["latent"]))
    for measure in ("reconstruction", "latent"):
        clean, values = (np.log(np.maximum(losses[name][measure], 1e-8)) for name in ("clean", part))
        total += (values - clean.mean()) / clean.std()
    return total


def damaged_patches(folder: Path) -> np.ndarray:
    patches = []
    for path in sorted((folder / "bad").iterdir()):
        picture = np.asarray(Image.open(path))
        mask = np.asarray(Image.open(next((folder / "masks").glob(f"{path.stem}*")))) > 0
        for y in range(0, 64, 16):
            patches += [
                picture[y : y + 16, x : x + 16] for x in range(0, 160, 16) if mask[y : y + 16, x : x + 16].sum() >= 15
            ]
    return np.stack(patches)[..., None]


def test_every_weight_is_trained_with_it_and_the_runs_options_stay(run: winnow.Run):
    losses = set()
    for name, weight, loss in (
        ("0", 0.0, "mean"),
        ("0.0001", 1e-4, "mean"),
        ("0.01", 1e-2, "mean"),
        ("sigma", 1.0, "sigma"),
    ):
        about = json.loads((run.folder.path / "weight" / name / "model.json").read_text())["about"]["train"]
        assert (about["latent_weight"], about["loss"], about["iterations"]) == (weight, loss, 60)
        losses.add((run.folder.path / "weight" / name / "train.jsonl").read_text().splitlines()[-1])
    assert len(losses) == 4
    assert run.folder.options.train.latent_weight == 1e-5 and run.folder.record("train") is None


def test_finished_trainings_are_kept_and_others_are_added(copy: winnow.Run):
    before = found(copy)
    times = {
        path: path.stat().st_mtime_ns for path in (copy.folder.path / "weight").glob("*/checkpoints/last.safetensors")
    }
    result = copy.search_weight(lambdas=(1e-4, 1e-3))
    assert [trial.weight for trial in result.trained] == [1e-4, 1e-3]
    kept, same = result.trained[0], before.trained[1]
    assert kept.synthetic == same.synthetic and kept.seconds == pytest.approx(same.seconds, abs=0.5)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert result.sigma.synthetic == before.sigma.synthetic and result.real_defects is None


def test_other_iterations_train_anew(copy: winnow.Run):
    result = copy.search_weight(lambdas=TRIED[:2], iterations=40)
    assert {trial.steps for trial in (*result.trained, result.sigma)} == {40} and result.iterations == 40
    assert result.trained[0].synthetic != found_rows(TRIED[0], copy, 60)


def found_rows(weight: float, run: winnow.Run, iterations: int) -> dict:
    return run.search_weight(lambdas=(weight, 1.0), iterations=iterations).trained[0].synthetic


def test_without_masks_pictures_are_compared_by_their_worst_patch(copy: winnow.Run, folder: Path):
    result = copy.search_weight(lambdas=TRIED[:2], defects=folder / "bad")
    assert result.real_defects == 6
    pool, path = Pool.open(copy.folder.path / "pool"), copy.folder.path
    names = np.array([name.split("#")[0] for name in pool.column("id")])
    held = np.isin(split_of(copy.folder, pool).split, ("validate", "calibrate"))
    bad = Pool.open(path / "weight" / "defects")
    owners = np.array([name.split("#")[0] for name in bad.column("id")])
    model = load_model(path / "weight" / "0")
    good, torn = (encode(model, source).losses[result.loss] for source in (pool, bad))
    worst = (
        [max(torn[owners == name]) for name in sorted(set(owners))],
        [max(good[names == name]) for name in sorted(set(names[held]))],
    )
    assert result.trained[0].on("real")["error"] == pytest.approx(pairs_won(np.array(worst[0]), np.array(worst[1])))


def test_the_run_takes_the_weight_over_only_when_asked(copy: winnow.Run):
    assert copy.search_weight(lambdas=TRIED).used is False
    assert copy.folder.options.train.latent_weight == 1e-5
    chosen = copy.search_weight(lambdas=TRIED, use=True).chosen
    assert winnow.Run(copy.folder.path).folder.options.train.latent_weight == chosen
    assert copy.folder.set_by["train.latent_weight"] == "you"


def test_the_report_has_a_section_of_it(copy: winnow.Run, folder: Path):
    section = weight_section(copy.folder)
    assert section is not None and section.text[0] == found(copy).reason
    assert "real defects would choose" in section.text[1] and "trained with 1e-05" in section.text[2]
    table = section.tables[0]
    assert [row[0] for row in table.rows] == ["0", "0.0001", "0.01", "sigma-VAE"] and len(table.columns) == 9
    assert [table.rows[number][0] for number in table.marked] == [f"{found(copy).chosen:g}"]
    assert section.figures[0].png.startswith(b"\x89PNG") and "--latent-weight" in section.commands[0]
    write_cloth(folder / "more", 2, seed=5)
    copy.ingest(folder / "more")
    assert weight_section(copy.folder) is None
    (copy.folder.path / "weight" / "weight.json").unlink()
    assert weight_section(copy.folder) is None


# ---- chosen by the training itself


AUTO = SMALL | {"iterations": 30, "check_every": 10, "latent_weight": "auto"}


@pytest.fixture(scope="module")
def chosen(folder: Path) -> winnow.Run:
    """A run that was asked to choose its weight."""
    return winnow.Run(folder / "chosen", "inspect-vae", **AUTO).fit(folder / "good")


def test_the_training_keeps_the_network_of_the_weight_that_the_search_chooses(chosen: winnow.Run, folder: Path):
    path, search, trained = chosen.folder.path, found(chosen), chosen.folder.result(Trained)
    assert [trial.weight for trial in search.trained] == list(WEIGHTS) and search.chosen == trained.latent_weight
    assert search.chosen == choose(search.trained).weight and not search.used
    direct = winnow.Run(folder / "direct", "inspect-vae", **{**AUTO, "latent_weight": search.chosen})
    direct.ingest(folder / "good")
    one = direct.train()
    assert (path / "model" / "train.jsonl").read_text().splitlines()[-1].split('"lr"')[0] == (
        direct.folder.path / "model" / "train.jsonl"
    ).read_text().splitlines()[-1].split('"lr"')[0]
    assert sha256(path / "model" / "model.safetensors") == sha256(direct.folder.path / "model" / "model.safetensors")
    assert (trained.training.steps, trained.training.best_step) == (one.training.steps, one.training.best_step)
    assert search.reason in show.train(trained)
    section = weight_section(chosen.folder)
    assert section is not None and section.text == [search.reason] and not section.commands
    assert search.reason in (path / "report.html").read_text(encoding="utf-8")
    before = (path / "weight" / "weight.json").stat().st_mtime_ns
    chosen.fit(folder / "good", resume=True)
    assert (path / "weight" / "weight.json").stat().st_mtime_ns == before  # nothing is done twice


def test_a_choice_that_was_killed_goes_on_to_the_same_network(chosen: winnow.Run, folder: Path, tmp_path: Path):
    options = {name: value for name, value in AUTO.items() if name != "size"}
    flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    path = tmp_path / "run"
    words = ["run", "inspect-vae", str(folder / "good"), "--to", str(path), "--size", "16", "16", *flags]
    process = subprocess.Popen([sys.executable, "-m", "winnow.cli", *words], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (path / "weight" / "1e-06" / "train.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (path / "weight" / "weight.json").exists() and not (path / "steps" / "train.json").exists()
    done = winnow_command(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert found(chosen).reason in done.stdout
    assert sha256(path / "model" / "model.safetensors") == sha256(chosen.folder.path / "model" / "model.safetensors")


@pytest.mark.parametrize(
    ("recipe", "options", "words"),
    [
        ("inspect-texture", {}, "has no variational autoencoder"),
        ("oneclass-vae", {}, "does not cut its pictures into patches"),
        ("inspect-vae", {"loss": "sigma"}, "which needs no weight"),
    ],
)
def test_a_weight_that_cannot_be_chosen_is_refused_before_anything_is_read(
    recipe: str, options: dict, words: str, folder: Path, tmp_path: Path
):
    with pytest.raises(OptionError, match=words):
        winnow.Run(tmp_path / "run", recipe, latent_weight="auto", **options).fit(folder / "good")
    assert not (tmp_path / "run").exists()


# ---- the command


def test_the_command_begins_a_run_prints_a_table_and_a_reason(copy: winnow.Run, folder: Path):
    done = winnow_command(
        "lambda", folder / "good", "--run", copy.folder.path, "--lambdas", "0", "1e-4", "0.01", "--use"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[5:9]] == ["0", "0.0001", "0.01", "sigma-VAE"]
    assert lines[0].startswith("1 of 4: weight 0: AUROC on synthetic defects error 0.")
    assert found(copy).reason in done.stdout and lines[-1].startswith("It is set; train: winnow train --run")
    assert (copy.folder.path / "weight" / "weight.png").read_bytes().startswith(b"\x89PNG")


def test_killed_and_called_again_it_ends_with_the_same(run: winnow.Run, folder: Path, tmp_path: Path):
    path, words = tmp_path / "killed", ["lambda", str(folder / "good"), "--run", "", "--lambdas", "0", "1e-4", "1e-2"]
    winnow.Run(path, "inspect-vae", **SMALL).ingest(folder / "good")  # options are stored when a step begins
    words[3] = str(path)
    process = subprocess.Popen([sys.executable, "-m", "winnow.cli", *words], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (path / "weight" / "0.0001" / "train.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (path / "weight" / "weight.json").exists()
    done = winnow_command(*words)
    assert done.returncode == 0, done.stderr
    whole, resumed = found(run), read_result(WeightSearch, path / "weight" / "weight.json")
    for one, other in zip((*whole.trained, whole.sigma), (*resumed.trained, resumed.sigma), strict=True):
        assert (one.weight, one.synthetic, one.active_units) == (other.weight, other.synthetic, other.active_units)
    assert resumed.chosen == whole.chosen


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"lambdas": (1e-5, -1e-6)}, OptionError, "--lambdas -1e-06 is no weight"),
        ({"lambdas": (1e-5, float("nan"))}, OptionError, "--lambdas nan is no weight"),
        ({"lambdas": (1e-5, float("inf"))}, OptionError, "--lambdas inf is no weight"),
        ({"lambdas": (1e-5, 1e-5)}, OptionError, "--lambdas: 1 is too few"),
        ({"masks": "absent"}, OptionError, "--masks are given without --defects"),
        ({"defects": "absent"}, InputError, "absent"),
        ({"sources": "elsewhere"}, OptionError, "elsewhere is not among its sources"),
    ],
)
def test_a_wrong_call_says_what_to_do_and_leaves_what_was_there(options, error, words, copy: winnow.Run):
    with pytest.raises(error, match=words):
        copy.search_weight(options.pop("sources", ()), **options)
    assert (copy.folder.path / "weight" / "weight.json").exists()


def test_masks_without_damage_are_refused(copy: winnow.Run, folder: Path, tmp_path: Path):
    shutil.copytree(folder / "masks", tmp_path / "black")
    for path in (tmp_path / "black").iterdir():
        Image.new("1", (160, 64)).save(path)
    with pytest.raises(DataError, match="No patch holds 15 pixels of the masks"):
        copy.search_weight(defects=folder / "bad", masks=tmp_path / "black")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"variational": False}, "has no variational autoencoder"),
        ({"patches": False}, "does not cut its pictures into patches"),
        ({"loss": "sigma"}, "trains with --loss sigma, which needs no weight"),
    ],
)
def test_a_run_without_a_weight_to_search_is_refused(options, words, folder: Path, tmp_path: Path):
    other = winnow.Run(tmp_path / "run", "inspect-vae", **{**SMALL, **options})
    with pytest.raises(OptionError, match=words):
        other.search_weight(folder / "good")
    assert not (tmp_path / "run" / "pool").exists()


def test_a_new_folder_needs_sources(tmp_path: Path):
    done = winnow_command("lambda", "--run", tmp_path / "run")
    assert done.returncode == 1 and "No input" in done.stderr
    done = winnow_command("lambda", "--run", tmp_path / "run", "--lambdas", "x")
    assert done.returncode == 2 and "--lambdas" in done.stderr


def test_one_picture_too_few_to_hold_out_is_refused(tmp_path: Path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8)).save(tmp_path / "one.png")
    with pytest.raises((DataError, RunError), match="too few"):
        winnow.Run(tmp_path / "run", "inspect-vae", **SMALL).search_weight(tmp_path / "one.png")
