"""Records, keys and options of a run folder; what is refused leaves it as it was."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import winnow
from winnow.errors import Damaged, DataError, OptionError, RunError, WinnowError
from winnow.learn.checkpoint import read_checkpoint, write_checkpoint
from winnow.results import Ingested, Promise
from winnow.run.folder import RunFolder

from conftest import write_pictures
from small_runs import FLAGS, OPTIONS, command, content, listed, results, small_run, tree


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder")
    small_run(folder)
    return folder


@pytest.fixture
def run(base: Path, tmp_path: Path) -> winnow.Run:
    return winnow.Run(Path(shutil.copytree(base / "run", tmp_path / "run")))


# ---- what is refused


REFUSED: dict[str, tuple[str, ...]] = {
    "a scorer's name": ("calibrate", "--scorer", "neighbors"),
    "a model's name": ("train", "--model", "autoencodr"),
    "a device": ("train", "--device", "gpu0"),
    "a network too large": ("train", "--latent", "1000000000"),
    "weights": ("train", "--model", "pretrained", "--weights", "{tmp}/absent.pth"),
    "options that do not go together": ("train", "--model", "pretrained", "--fast", "4"),
    "a background": ("train", "--background", "{tmp}/absent"),
    "a method": ("select", "-n", "4", "--method", "hearding"),
    "labels beside those of the run": ("select", "-n", "4", "--also", "{tmp}/absent.csv"),
    "labels": ("classify", "--labels", "{tmp}/absent.csv", "--folds", "3"),
    "another pool": ("ingest", "{base}/bad", "--every", "7"),
    "another size": ("ingest", "{base}/bad", "--size", "16", "16"),
    "a source": ("ingest", "{tmp}/absent", "--max-refused", "0.5"),
    "a weight": ("lambda", "--lambdas", "1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refused_command_leaves_the_run_as_it_was(
    what: str, base: Path, run: winnow.Run, tmp_path: Path, capsys: pytest.CaptureFixture
):
    path = run.folder.path
    before = {name: digest for name, (digest, _) in tree(path).items() if not name.endswith(".lock")}
    words = [word.format(tmp=tmp_path, base=base) for word in REFUSED[what]]
    assert command(*words, "--run", path) == 1
    assert "winnow: " in capsys.readouterr().err
    assert {name: digest for name, (digest, _) in tree(path).items() if not name.endswith(".lock")} == before
    assert command("score", base / "bad", "--run", path, "--to", tmp_path / "out") == 0
    assert command("train", "--resume", "--run", path) == 0 and {"pool", "model"} <= {
        entry.name for entry in path.iterdir()
    }
    assert content(path) == content(base / "run")


def test_options_of_a_failed_call_are_forgotten_by_the_object_too(base: Path, run: winnow.Run, tmp_path: Path):
    for call in (
        lambda: run.calibrate(scorer="neighbors"),
        lambda: run.select(400, also=tmp_path / "absent.csv"),
        lambda: run.classify(labels=tmp_path / "absent.csv", head="nearest_mean"),
    ):
        with pytest.raises(WinnowError):
            call()
    assert run.folder.options == winnow.Run(run.folder.path).folder.options
    run.score(base / "bad", to=tmp_path / "out")


WRONG: dict[str, tuple[str, ...]] = {
    "no folder": ("match", "{tmp}/nofolder"),
    "an empty folder": ("match", "{tmp}/empty"),
    "no picture": ("match", "{tmp}/texts"),
    "weights": ("vectors", "{base}/good", "--weights", "{tmp}/absent.pth"),
    "a detector": ("match", "{base}/good", "--people", "--object-detector", "{tmp}/absent.onnx"),
    "a device": ("match", "{base}/good", "--device", "gpu0"),
    "a scorer": ("match", "{base}/good", "--scorer", "neighbors"),
    "a recipe": ("mach", "{base}/good"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_run_that_comes_to_nothing_leaves_nothing(
    what: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt.bak").write_text("no picture")
    words = [word.format(base=base, tmp=tmp_path) for word in WRONG[what]]
    assert command("run", *words, "--to", tmp_path / "deep" / "run") == 1
    assert "already holds" not in capsys.readouterr().err
    assert not (tmp_path / "deep").exists()


def test_a_run_without_a_finished_step_is_none(base: Path, tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").touch()
    (folder / ".run.json.0a1b2c3d.tmp").write_text('{"reci')
    assert command("run", "oneclass-from-scratch", base / "good", "--to", folder, *FLAGS) == 0
    assert not list(folder.rglob("*.tmp"))
    assert command("run", "oneclass-from-scratch", base / "good", "--to", folder, *FLAGS) == 1


def test_a_run_begun_with_other_options_is_begun_anew_while_it_holds_nothing(base: Path, tmp_path: Path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"no picture at all")
    assert (
        command("run", "oneclass-from-scratch", broken, "--to", tmp_path / "run", "--every", "7", "--size", "16", "16")
        == 1
    )
    assert command("run", "oneclass-from-scratch", base / "good", "--to", tmp_path / "run", *FLAGS) == 0
    assert winnow.Run(tmp_path / "run").folder.asked.sources == [str(base / "good")]


def test_evaluate_looks_before_it_computes(base: Path, run: winnow.Run, tmp_path: Path):
    with pytest.raises(WinnowError, match="absent"):
        run.evaluate(base / "good", {"bad": base / "bad", "worse": tmp_path / "absent"})
    assert not (run.folder.path / "evaluation").exists()


# ---- labels are a person's work


def test_overwrite_keeps_away_from_labels(base: Path, run: winnow.Run, tmp_path: Path, capsys: pytest.CaptureFixture):
    run.import_labels(base / "labels.csv", classes=["a", "b"])
    path, before = run.folder.path, tree(run.folder.path)
    assert command("run", "oneclass-from-scratch", base / "good", "--to", path, "--overwrite", *FLAGS) == 1
    told = capsys.readouterr().err
    assert "--export" in told and "labels.sqlite" in told
    assert tree(path) == before
    for store in path.glob("labels.sqlite*"):
        store.unlink()
    assert command("run", "oneclass-from-scratch", base / "good", "--to", path, "--overwrite", *FLAGS) == 0
    assert winnow.Run(path).labels() == {}


def test_overwrite_checks_before_it_deletes(base: Path, run: winnow.Run, tmp_path: Path):
    before = content(run.folder.path)
    assert command("run", "oneclass-from-scratch", tmp_path / "absent", "--to", run.folder.path, "--overwrite") == 1
    assert content(run.folder.path) == before
    assert (
        command("run", "oneclass-from-scratch", base / "good", "--to", run.folder.path, "--overwrite", "--resume") == 1
    )
    assert content(run.folder.path) == before


# ---- done is done


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("train", "model/model.json"),
        ("train", "model/linear/model.safetensors"),
        ("encode", "embeddings/embeddings.json"),
        ("encode", "embeddings/vectors.npy"),
        ("calibrate", "detector/detector.json"),
        ("calibrate", "detector/encoder/detector.npz"),
        ("ingest", "pool/pool.json"),
    ],
)
@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_step_whose_file_is_not_whole_is_not_done(step: str, name: str, how: str, base: Path, run: winnow.Run):
    path = run.folder.path / name
    whole = path.read_bytes()
    assert run.folder.done(step)
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:])
    assert not run.folder.done(step)
    if step == "ingest":
        run.ingest(base / "good")
    else:
        {"train": run.train, "encode": lambda resume: run.encode(), "calibrate": lambda resume: run.calibrate()}[step](
            resume=True
        )
    assert path.read_bytes() == whole and run.folder.done(step)


def test_a_group_or_a_split_that_changed_leads_to_a_new_training(base: Path, tmp_path: Path):
    def write(split: Callable[[int], str], group: Callable[[int], str], label: Callable[[int], str]) -> Path:
        pictures = sorted((base / "good").rglob("*.png"))
        rows = [f"{path},{split(at)},{group(at)},{label(at)}\n" for at, path in enumerate(pictures)]
        (tmp_path / "list.csv").write_text("path,split,group,label\n" + "".join(rows), encoding="utf-8")
        return tmp_path / "list.csv"

    halves = ("train", "calibrate")
    run = winnow.Run(tmp_path / "run", **OPTIONS)
    first = (lambda at: halves[at % 2], lambda at: f"g{at // 4}", lambda at: "")
    for _ in run_all(run, write(*first)):
        pass
    before = results(run.folder.path)
    weights = (run.folder.path / "model" / "model.safetensors").read_bytes()
    assert [run.folder.done(step) for step in ("ingest", "train", "encode", "calibrate")] == [True] * 4
    run_all(run, write(first[0], first[1], lambda at: "ab"[at % 2]))
    assert (run.folder.path / "model" / "model.safetensors").read_bytes() == weights
    assert results(run.folder.path)["train"] == before["train"]
    run_all(run, write(lambda at: halves[(at + 1) % 2], first[1], first[2]))
    assert run.folder.result(Ingested).fingerprint == before["ingest"]["fingerprint"]
    assert (run.folder.path / "model" / "model.safetensors").read_bytes() != weights
    seen = dict(zip(run.embeddings.ids, run.embeddings.seen, strict=True))
    assert sum(seen.values()) == 16
    run.ingest(write(lambda at: halves[(at + 1) % 2], lambda at: f"g{at // 2}", first[2]))
    assert not run.folder.done("train")


def run_all(run: winnow.Run, source: Path) -> list[None]:
    run.ingest(source)
    run.train(resume=True)
    if not run.folder.done("encode"):
        run.encode()
    if not run.folder.done("calibrate"):
        run.calibrate()
    return []


def test_a_step_that_is_at_work_leaves_what_it_replaces_to_others(base: Path, run: winnow.Run, tmp_path: Path):
    def fail() -> None:
        with run.folder.working("calibrate") as step:
            step.folder.mkdir()
            (step.folder / "detector.json").write_text("half")
            winnow.Run(run.folder.path).score(base / "bad", to=tmp_path / "out")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert content(run.folder.path) == content(base / "run")
    assert not (run.folder.path / ".staging" / "calibrate").exists()


# ---- two at once


def test_two_steps_at_once_lose_nothing_and_the_same_step_is_told_who_holds_it(base: Path, run: winnow.Run):
    path = run.folder.path
    other = winnow.Run(path)
    with run.folder.trying({"detect": {"false_alarm_rate": 0.2}}), run.folder.working("calibrate"):
        other.set(number=4, duplicate_distance=0.0)
        other.folder.update({"select": {"outliers": 0.0}})
        with other.folder.working("classify") as step:
            step.folder.mkdir()
            step.finish(Promise(1.0, 0.01, 99, ""))
        with pytest.raises(RunError, match=rf"process {os.getpid()}, since 2"):
            winnow.Run(path).calibrate(false_alarm_rate=0.3)
    assert winnow.Run(path).folder.options.detect.false_alarm_rate == 0.2
    assert winnow.Run(path).folder.options.select.number == 4
    assert winnow.Run(path).folder.record("classify") and winnow.Run(path).folder.record("calibrate")
    assert winnow.Run(path).folder.set_by["detect.false_alarm_rate"] == "you"


def test_options_of_a_call_that_was_stopped_are_forgotten(run: winnow.Run, monkeypatch: pytest.MonkeyPatch):
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(winnow.Run, "_do", stopped)
    with pytest.raises(KeyboardInterrupt):
        run.calibrate(false_alarm_rate=0.2)
    assert run.folder.options.detect.false_alarm_rate is None


def test_options_that_another_call_stored_meanwhile_are_not_taken_back(run: winnow.Run):
    path = run.folder.path

    def fail() -> None:
        with run.folder.trying({"detect": {"false_alarm_rate": 0.2}}), run.folder.working("calibrate"):
            with winnow.Run(path).set(duplicate_distance=0.4).folder.working("select"):
                pass
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    now = winnow.Run(path).folder
    assert (now.options.select.duplicate_distance, now.options.detect.false_alarm_rate) == (0.4, None)
    assert "detect.false_alarm_rate" not in now.set_by and now.set_by["select.duplicate_distance"] == "you"


def test_many_writers_of_options_lose_none(base: Path, run: winnow.Run):
    names = ("duplicate_distance", "duplicate_seconds", "outliers", "random_share")

    def write(name: str) -> None:
        folder = winnow.Run(run.folder.path).folder
        folder.update({"select": {name: 0.25}})
        folder.store({})

    (run.folder.path / ".staging").mkdir(exist_ok=True)
    threads = [threading.Thread(target=write, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    select = winnow.Run(run.folder.path).folder.options.select
    assert [getattr(select, name) for name in names] == [0.25] * 4


def test_a_run_that_a_step_is_writing_is_not_overwritten(base: Path, run: winnow.Run):
    before = content(run.folder.path)
    with (run.folder.path / ".staging" / "encode.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert (
            command("run", "oneclass-from-scratch", base / "good", "--to", run.folder.path, "--overwrite", *FLAGS) == 1
        )
    assert content(run.folder.path) == before


# ---- records that are not what was written


BROKEN: dict[str, object] = {
    "a list": [],
    "empty": "",
    "a number": 3,
    "half": '{"format": 2, "recipe": "ma',
    "deep": "[" * 100_000,
    "no recipe": {"format": 2, "options": {}, "set_by": {}, "sources": []},
    "no options": {"format": 2, "recipe": "", "set_by": {}, "sources": []},
    "an option that is not known": {
        "format": 2,
        "recipe": "",
        "options": {"train": {"iteration": 3}},
        "set_by": {},
        "sources": [],
    },
    "an option that does not fit": {
        "format": 2,
        "recipe": "",
        "options": {"train": {"iterations": "x"}},
        "set_by": {},
        "sources": [],
    },
    "of before": {
        "recipe": "oneclass-from-scratch",
        "options": {},
        "set_by": {},
        "steps": {},
        "winnow": "0.1.0",
        "versions": {},
    },
    "of later": {"format": 3},
    "bytes": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("name", ["run.json", "steps/ingest.json", "steps/calibrate.json", "selection.json"])
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_record_is_one_sentence(what: str, name: str, run: winnow.Run):
    path, broken = run.folder.path / name, BROKEN[what]
    path.write_bytes(
        broken
        if isinstance(broken, bytes)
        else broken.encode()
        if isinstance(broken, str)
        else json.dumps(broken).encode()
    )
    if name == "selection.json":
        (path.parent / "selection.csv").write_text("rank,id\n")

    def read() -> None:
        RunFolder.open(run.folder.path).require("calibrate")
        winnow.Run(run.folder.path).select(3)

    with pytest.raises(RunError, match=path.name) as error:
        read()
    assert error.value.remedy
    if what in ("of before", "of later") and name == "run.json":
        assert "format" in error.value.message and not isinstance(error.value, Damaged)


@pytest.mark.parametrize("name", ["run.json", "steps/train.json"])
def test_a_folder_where_a_record_should_be_is_one_sentence(name: str, run: winnow.Run):
    (run.folder.path / name).unlink()
    (run.folder.path / name).mkdir()
    with pytest.raises(RunError, match=name.split("/")[-1]):
        RunFolder.open(run.folder.path).require("calibrate")


def test_a_log_of_the_training_that_is_gone_is_one_sentence(run: winnow.Run):
    (run.folder.path / "model" / "train.jsonl").unlink()
    with pytest.raises(Damaged, match=r"train\.jsonl"):
        run.report()


def test_a_file_is_no_run_folder(base: Path, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OptionError, match="is a file"):
        RunFolder.create(tmp_path / "file")
    with pytest.raises(RunError):
        winnow.Run(tmp_path / "file" / "below", **OPTIONS).ingest(base / "good")


# ---- files


def test_the_same_checkpoint_has_the_same_bytes_in_every_process(tmp_path: Path):
    import torch

    script = (
        "import sys, torch\nfrom pathlib import Path\nfrom winnow.learn.checkpoint import write_checkpoint\n"
        "for at in range(8): write_checkpoint(Path(sys.argv[1]) / f'{at}', {'b': torch.ones(2), 'a': torch.zeros(3)}, {'step': 3})"
    )
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        subprocess.run([sys.executable, "-c", script, tmp_path / name], check=True)
    assert len({path.read_bytes() for path in tmp_path.glob("*/*")}) == 1
    write_checkpoint(tmp_path / "x", {"a": torch.arange(4)}, {"step": 5})
    assert read_checkpoint(tmp_path / "x")[1] == {"step": 5}
    with safe_open(tmp_path / "x", "pt") as file:
        np.testing.assert_array_equal(file.get_tensor("a").numpy(), range(4))


def test_a_kept_file_that_this_choice_does_not_have_goes(run: winnow.Run):
    run.select(4, outliers=0.01, duplicate_distance=0.0)
    assert (run.folder.path / "outliers.png").exists()
    run.select(4, outliers=0.0)
    assert not (run.folder.path / "outliers.png").exists() and (run.folder.path / "selection-before.csv").exists()
    run.select(5)
    assert len(listed(run.folder.path)) == 5 and (run.folder.path / "selection-before.csv").exists()


def test_a_pool_that_is_not_the_recorded_one_is_told_of(base: Path, run: winnow.Run, tmp_path: Path):
    more = write_pictures(tmp_path / "more", 1, 3, seed=5)
    record = (run.folder.path / "steps" / "ingest.json").read_bytes()
    run.ingest(more)
    (run.folder.path / "steps" / "ingest.json").write_bytes(
        record
    )  # as if it had been killed before its record was there
    with pytest.raises(RunError, match="winnow ingest"):
        run.score(base / "bad", to=tmp_path / "out")
    run.ingest(more)
    assert run.folder.done("ingest") and not run.folder.fits("train")


# ---- from Python


def test_the_public_names_are_listed_before_they_are_loaded():
    code = "import winnow, sys; print(*dir(winnow)); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert {"Run", "Detector", "Classifier", "choose"} <= set(done.stdout.split())


@pytest.mark.parametrize("name", ["held_out", "learning_curve", "pseudo_rows"])
def test_a_classifier_that_has_not_been_fitted_says_so(name: str, base: Path, run: winnow.Run):
    def ask(classifier: winnow.Classifier) -> None:
        found = getattr(classifier, name)
        if callable(found):
            found()

    with pytest.raises(DataError, match="has not been fitted"):
        ask(winnow.Classifier())
    run.classify(labels=base / "labels.csv", head="nearest_mean")
    with pytest.raises(DataError, match="loaded"):
        ask(run.classifier)
    assert not hasattr(winnow.Classifier(), "no_such_thing")
