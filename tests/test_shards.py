"""Shards: whole or absent, cut by the content alone, and joined to the same bytes whoever made them."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from dying import die, die_once
from PIL import Image
from tiny_runs import tiny_runs, tree, winnow
from torchvision import models

from winnow.check import check_runner
from winnow.data.remote import Remote
from winnow.embeddings import Embeddings, save_joined
from winnow.errors import Damaged, OptionError, RunError
from winnow.learn import encode as encoding
from winnow.pool import shared
from winnow.scale import shards as shards_module
from winnow.scale.runners import run_processes
from winnow.scale.shards import Job, Place, Shards, Share, make_shard
from winnow.steps.encode import ORIGINS

from conftest import blocks, stripes, write_pictures
from videos import write

SAME = ("pool/", "embeddings/", "detector/", "model/")  # of a run, but for the records, which hold times


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_runs(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch):
    """Cut everything into shards of a few pictures."""
    monkeypatch.setattr("winnow.pool.plan.PART_PICTURES", 4)
    monkeypatch.setattr("winnow.steps.encode.LEAST", 3)
    monkeypatch.setattr("winnow.steps.encode.MOST", 3)


def content(folder: Path, *parts: str) -> dict[str, str]:
    """Return the SHA-256 of the files of a folder whose names begin so."""
    found = {name: value for name, value in tree(folder).items() if name.startswith(parts or "")}
    return {name: value for name, value in found.items() if value != "folder" and not name.endswith(".lock")}


# ---- the protocol


class Squares:
    """Work of ten shards, each a file with a square; every third fails where it is told to."""

    step = "squares"
    sizes = [1] * 10

    def __init__(self, folder: Path, fails: bool = False) -> None:
        self.folder, self.fails = folder, fails
        self.shards = Shards(Place(folder), self.step, "key")

    @property
    def opened(self):
        return "test_shards:Squares", {"folder": str(self.folder)}

    def make(self, number: int, folder: Path, advance) -> None:
        (folder / "square").write_text(str(number**2))
        if self.fails and number % 3 == 2:
            raise ValueError(f"shard {number}")
        advance()


def test_a_shard_is_there_whole_or_not_at_all(tmp_path: Path):
    work = Squares(tmp_path, fails=True)
    with pytest.raises(ValueError, match="shard 2"):
        [make_shard(work, number) for number in range(10)]
    assert work.shards.finished() == {0, 1} and sorted(path.name for path in work.shards.folder.iterdir()) == [
        "00000",
        "00001",
    ]
    work.fails = False
    for number in range(10):
        make_shard(work, number)
    assert work.shards.finished() == set(range(10))
    assert [int((work.shards.path(number) / "square").read_text()) for number in range(10)] == [
        n * n for n in range(10)
    ]
    work.shards.remove()
    assert not (tmp_path / ".shards").exists()


def test_of_two_makers_of_one_shard_the_first_stays(tmp_path: Path):
    shards = Shards(Place(tmp_path), "squares", "key")
    with shards.making(3) as mine:
        with shards.making(3) as other:
            (other / "square").write_text("other")
        (mine / "square").write_text("mine")
    assert (shards.path(3) / "square").read_text() == "other"
    assert [path.name for path in shards.folder.iterdir()] == ["00003"]


def test_shares_are_every_nth_shard_and_all_of_them_once():
    numbers = [number for index in range(4) for number in Share.read(f"{index}/4").numbers(11)]
    assert sorted(numbers) == list(range(11)) and list(Share.read("1/4").numbers(11)) == [1, 5, 9]
    assert len(Share.read("9/64").numbers(3)) == 0


@pytest.mark.parametrize("text", ["4/4", "-1/4", "a/4", "1/0", "1/b", "1.5/4"])
def test_a_share_that_is_none_is_told_of(text: str):
    with pytest.raises(OptionError, match="--shard"):
        Share.read(text)


def test_an_array_job_says_which_share_it_is(monkeypatch: pytest.MonkeyPatch):
    for name in shards_module.ARRAY_INDEXES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OptionError, match="JOB_COMPLETION_INDEX"):
        Share.read("/8")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "5")
    assert Share.read("/8") == Share(2, 8)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")
    assert Share.read("/8") == Share(3, 8) and Share.read("8") == Share(3, 8)


def test_the_first_plan_is_that_of_all_and_another_job_is_refused(tmp_path: Path):
    place = Place(tmp_path)
    first = Job.begun(place, "score", {"sources": ["a"]}, lambda: {"plan": 1})
    assert Job.begun(place, "score", {"sources": ["a"]}, lambda: {"plan": 2}) == first == Job.at(place, "score")
    with pytest.raises(RunError, match="another 'score', with sources") as error:
        Job.begun(place, "score", {"sources": ["b"]}, dict)
    assert "winnow join" in error.value.remedy
    assert Job.begun(place, "score", {"sources": ["b"]}, lambda: {"plan": 3}, alone=True).plan == {"plan": 3}
    path = tmp_path / ".shards" / "score" / "job.json"
    path.write_text(path.read_text().replace('"b"', '"c"'))
    with pytest.raises(Damaged, match=r"job\.json"):
        Job.at(place, "score")


def test_processes_keep_the_contract_of_a_runner():
    check_runner(run_processes)


def test_items_of_a_killed_process_are_done_again(tmp_path: Path):
    assert list(run_processes(partial(die_once, str(tmp_path)), range(8), 2)) == list(range(8))
    with pytest.raises(RunError, match="killed again and again"):
        list(run_processes(die, range(4), 2))


def test_a_process_that_is_killed_when_all_is_done_is_not_waited_for():
    """One that is idle may hold the lock by which the others take their work, and their end."""
    for _ in range(2):
        made = run_processes(abs, range(3), 2)
        assert [next(made) for _ in range(3)] == [0, 1, 2]
        for process in multiprocessing.active_children()[:1]:
            os.kill(process.pid, signal.SIGKILL)
        begun = time.monotonic()
        assert list(made) == [] and time.monotonic() - begun < 30


def test_errors_of_a_process_keep_their_remedy():
    with pytest.raises(OptionError) as error:
        list(run_processes(Share.read, ["1/2", "2/2"], 1))
    assert "I from 0 to N - 1" in error.value.remedy


# ---- embeddings


def test_parts_are_saved_as_numpy_saves_the_whole(tmp_path: Path):
    rng = np.random.default_rng(0)
    whole = Embeddings.of(
        rng.normal(size=(23, 5)),
        losses={"latent": rng.normal(size=23)},
        cells=rng.normal(size=(23, 2, 3, 4)),
        seen=rng.random(23) < 0.5,
    )
    whole.save(tmp_path / "whole")
    parts = [whole[start : start + 7] for start in range(0, 23, 7)]
    save_joined(parts, tmp_path / "parts")
    assert content(tmp_path / "whole") == content(tmp_path / "parts")
    np.save(tmp_path / "plain.npy", whole.vectors)
    assert (tmp_path / "plain.npy").read_bytes() == (tmp_path / "parts" / "vectors.npy").read_bytes()
    loaded = Embeddings.load(tmp_path / "parts", cells=True)
    assert np.array_equal(loaded.vectors, whole.vectors) and np.array_equal(loaded.cells, whole.cells)


@pytest.fixture
def plain(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base / "plain", tmp_path / "run"))


@pytest.mark.parametrize("name", ["plain", "patched"])
def test_embeddings_by_shards_are_the_same_bytes(name: str, base: Path, tmp_path: Path, small: None):
    run = shutil.copytree(base / name, tmp_path / "run")
    before = content(run, *SAME)
    (run / "embeddings" / "embeddings.json").unlink()  # or nothing would be new
    for index in (2, 0, 3):
        assert winnow("encode", "--run", run, "--shard", f"{index}/4") == 0
    assert winnow("join", run) == 1  # one share is missing
    assert winnow("encode", "--run", run, "--shard", "1/4") == 0
    assert winnow("join", run) == 0
    assert content(run, *SAME) == before
    assert not (run / ".shards").exists()


def test_a_killed_encode_goes_on_where_it_stopped(plain: Path, small: None, monkeypatch: pytest.MonkeyPatch):
    before = content(plain, *SAME)
    shutil.rmtree(plain / "embeddings")
    from winnow.steps.encode import EncodeWork

    real, made = EncodeWork.make, []

    def make(self, number, folder, advance):
        made.append(number)
        if len(made) == 4:
            raise KeyboardInterrupt
        real(self, number, folder, advance)

    monkeypatch.setattr(EncodeWork, "make", make)
    assert winnow("encode", "--run", plain) == 130
    assert winnow("encode", "--run", plain) == 0
    assert made[:5] == [0, 1, 2, 3, 3] and len(made) == len(set(made)) + 1
    assert content(plain, *SAME) == before


def test_of_a_frozen_network_only_new_pictures_are_encoded(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(1)
    torch.save(models.squeezenet1_1(weights=None).state_dict(), tmp_path / "weights.pth")
    frozen = ("--model", "pretrained", "--backbone", "squeezenet1_1", "--weights", tmp_path / "weights.pth")
    pictures, run = shutil.copytree(base / "good", tmp_path / "pictures"), tmp_path / "run"
    encoded, real = [], encoding.encode
    monkeypatch.setattr(
        encoding,
        "encode",
        lambda model, pool, rows, **more: encoded.append(len(rows)) or real(model, pool, rows, **more),
    )

    def embeddings() -> Embeddings:
        assert winnow("ingest", pictures, "--run", run, "--recipe", base / "tiny.toml") == 0
        assert winnow("train", "--run", run, *frozen) == 0 and winnow("encode", "--run", run) == 0
        return Embeddings.load(run / "embeddings")

    first = embeddings()
    write_pictures(pictures / "more", 1, 4, partial(stripes, size=32), seed=9)
    assert len(first) == 30 and len(embeddings()) == 34 and encoded == [30, 4]
    Image.fromarray(blocks(np.random.default_rng(5), 32)).save(
        pictures / "clip2" / "3.png"
    )  # another content of a name
    changed = embeddings()
    assert encoded == [30, 4, 30]  # its whole part is decoded again
    shutil.rmtree(run / "embeddings")
    assert winnow("encode", "--run", run) == 0
    assert np.array_equal(Embeddings.load(run / "embeddings").vectors, changed.vectors)
    (run / "embeddings" / ORIGINS).write_bytes(b"damaged")
    assert winnow("encode", "--run", run) == 0 and encoded[3:] == [34, 34]


# ---- pools and verdicts


@pytest.mark.parametrize("runner", ["shares", "processes"])
def test_pool_embeddings_and_verdicts_are_the_same_bytes(runner: str, base: Path, tmp_path: Path, small: None):
    """Of pictures and a video, cut into nine parts; new machines make them in any order."""
    sources = shutil.copytree(base / "good", tmp_path / "good")
    write(sources / "b.mp4", 60)
    (sources / "broken.png").write_bytes(b"no picture")
    here, there = tmp_path / "here", tmp_path / "there"
    assert winnow("ingest", sources, "--run", here, "--recipe", base / "tiny.toml") == 0
    if runner == "processes":
        assert winnow("ingest", sources, "--run", there, "--recipe", base / "tiny.toml", "--runner", "processes") == 0
    else:
        for index in (1, 2, 0):
            assert (
                winnow("ingest", sources, "--run", there, "--recipe", base / "tiny.toml", "--shard", f"{index}/3") == 0
            )
        assert winnow("join", there) == 0
    assert content(here, "pool/") == content(there, "pool/") and not (there / ".shards").exists()
    assert json.loads((here / "run.json").read_text()) == json.loads((there / "run.json").read_text())
    run = base / "plain"
    # Both are judged by the same work, and processes take seconds to begin.
    for step in ("score", "predict") if runner == "shares" else ("score",):
        one, two = tmp_path / f"{step} here", tmp_path / f"{step} there"
        assert winnow(step, sources, "--run", run, "--to", one) == 0
        if runner == "processes":
            assert winnow(step, sources, "--run", run, "--to", two, "--runner", "processes") == 0
        else:
            for index in (2, 0, 1):
                assert winnow(step, sources, "--run", run, "--to", two, "--shard", f"{index}/3") == 0
            assert winnow("join", two) == 0
        assert content(one) == content(two) and not (one / "pool").exists() and not (two / ".shards").exists()


def test_a_sharded_inspection_draws_what_a_whole_one_does(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("winnow.pool.plan.PART_CUT", 2)
    run = base / "patched"
    assert winnow("score", base / "bad", "--run", run, "--to", tmp_path / "one") == 0
    for index in range(2):
        assert winnow("score", base / "bad", "--run", run, "--to", tmp_path / "two", "--shard", f"{index}/2") == 0
    assert winnow("join", tmp_path / "two") == 0
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert one == two and "patches.csv" in one


def test_what_is_missing_is_named_and_nothing_is_changed(
    base: Path, tmp_path: Path, small: None, capsys: pytest.CaptureFixture[str]
):
    to = tmp_path / "out"
    assert winnow("score", base / "bad", "--run", base / "plain", "--to", to, "--shard", "0/2") == 0
    before = content(to)
    capsys.readouterr()
    assert winnow("join", to) == 1
    said = capsys.readouterr().err
    assert "1 of 2 shards of 'score'" in said and ": 1." in said and content(to) == before
    assert winnow("score", base / "good", "--run", base / "plain", "--to", to, "--shard", "1/2") == 1
    assert "shards of another 'score'" in capsys.readouterr().err
    assert winnow("join", tmp_path) == 1 and "no shards to join" in capsys.readouterr().err
    assert winnow("score", base / "bad", "--run", base / "plain", "--shard", "1/2") == 1
    assert "--to FOLDER" in capsys.readouterr().err


def test_a_killed_share_and_a_killed_join_are_gone_on_with(base: Path, tmp_path: Path, small: None):
    """Killed for real, at every shard: what is there stays, and the rest is made."""

    def killed(dies: Callable[[], None], *words: object) -> None:
        child = os.fork()
        if child == 0:
            try:
                dies()
                winnow(*words)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    def after_a_shard() -> None:
        real = shared.Parts.make

        def make(self, number, folder, advance):
            real(self, number, folder, advance)
            os.kill(os.getpid(), signal.SIGKILL)

        shared.Parts.make = make

    def after_moves(left: int) -> None:
        real = os.replace

        def replace(one, other):
            nonlocal left
            real(one, other)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = replace

    here, there = tmp_path / "here", tmp_path / "there"
    ingest = ("ingest", base / "good", "--recipe", base / "tiny.toml", "--run")
    assert winnow(*ingest, here) == 0
    killed(after_a_shard, *ingest, there, "--shard", "0/1")
    assert winnow(*ingest, there, "--shard", "0/1") == 0
    for moved in (3, 4):
        killed(partial(after_moves, moved), "join", there)
    assert winnow("join", there) == 0
    assert content(here, "pool/") == content(there, "pool/")


@pytest.mark.slow
def test_shares_meet_in_a_bucket(bucket: str, base: Path, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch):
    """Each machine has a cache of its own, and they have nothing in common but the bucket."""
    run, to = f"{bucket}/run", f"{bucket}/new"
    here, recipe = tmp_path / "here", ("--recipe", base / "tiny.toml")

    def on(machine: str, *words: object) -> None:
        monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / machine))
        assert winnow(*words) == 0

    def shared(*words: object, place: str) -> None:
        for index in (1, 0):
            on(f"machine {index}", *words, "--shard", f"{index}/2")
        on("joiner", "join", place)

    ingest = ("ingest", base / "good")
    assert winnow(*ingest, "--run", here, *recipe) == 0
    shared(*ingest, *recipe, "--run", run, place=run)
    for step in ("train", "encode"):
        assert winnow(step, "--run", here) == 0
    on("joiner", "train", "--run", run)
    shared("encode", "--run", run, place=run)
    assert winnow("calibrate", "--run", here) == 0
    on("joiner", "calibrate", "--run", run)
    on("joiner", "pull", run, tmp_path / "there")
    same = ("pool/", "embeddings/vectors", "embeddings/losses", "detector/detector.npz")
    assert content(tmp_path / "there", *same) == content(here, *same)
    assert winnow("score", base / "bad", "--run", here, "--to", tmp_path / "one") == 0
    shared("score", base / "bad", "--run", run, "--to", to, place=to)
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "looking"))
    left = [name for name, _ in Remote(f"{bucket}/").listing() if "shards/" in name]
    assert left == [] and Remote(to).read("scores.csv")[0] == (tmp_path / "one" / "scores.csv").read_bytes()


def test_shards_that_were_judged_by_what_a_run_held_before_are_not_joined(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, to = shutil.copytree(base / "plain", tmp_path / "run"), tmp_path / "scores"
    assert winnow("score", base / "bad", "--run", run, "--to", to, "--shard", "0/1") == 0
    assert winnow("calibrate", "--run", run, "--false-alarm-rate", 0.4) == 0
    capsys.readouterr()
    assert winnow("join", to) == 1
    assert "trained, calibrated or taught anew since" in capsys.readouterr().err
    assert not (to / "scores.csv").exists()


@pytest.mark.parametrize("runner", ["local", "processes"])
def test_a_call_of_its_own_does_not_touch_what_machines_share(
    runner: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, recipe, to = tmp_path / "run", ("--recipe", base / "tiny.toml"), tmp_path / "scores"
    assert winnow("ingest", base / "good", "--run", run, *recipe, "--shard", "0/1") == 0
    assert winnow("score", base / "bad", "--run", base / "plain", "--to", to, "--shard", "0/1") == 0
    before = content(run), content(to)
    capsys.readouterr()
    for words in (
        ("ingest", base / "bad", "--run", run),
        ("score", base / "good", "--run", base / "plain", "--to", to),
    ):
        assert winnow(*words, "--runner", runner) == 1
        assert "that several machines make" in capsys.readouterr().err
    assert (content(run), content(to)) == before
    assert winnow("join", run) == 0 and winnow("join", to) == 0


def test_machines_of_one_job_may_have_other_numbers_of_cores(base: Path, tmp_path: Path):
    for index in (0, 1):
        words = ("--recipe", base / "tiny.toml", "--shard", f"{index}/2", "--workers", index + 1)
        assert winnow("ingest", base / "good", "--run", tmp_path, *words) == 0


def test_a_share_is_made_by_one_process_and_an_index_is_a_number(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert winnow("ingest", base / "good", "--run", tmp_path / "run", "--shard", "0/2", "--runner", "ray") == 1
    assert "--runner has nothing to do with --shard" in capsys.readouterr().err and not (tmp_path / "run").exists()
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "abc")
    with pytest.raises(OptionError, match="JOB_COMPLETION_INDEX is 'abc'"):
        Share.read("/3")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert Share.read("/3").index == 2


# ---- what can go wrong


@pytest.fixture
def mixed(base: Path, tmp_path: Path) -> Path:
    """Return a folder of five pictures and three files that are none."""
    folder = Path(shutil.copytree(base / "good" / "clip0", tmp_path / "mixed"))
    for number in range(3):
        (folder / f"broken{number}.png").write_bytes(b"no picture")
    return folder


def test_a_share_says_what_it_refused_and_more_may_be_refused_when_all_are_joined(
    base: Path, mixed: Path, tmp_path: Path, small: None, capsys: pytest.CaptureFixture[str]
):
    for place, words in (
        (tmp_path / "run", ("ingest", mixed, "--recipe", base / "tiny.toml", "--run", tmp_path / "run")),
        (tmp_path / "new", ("score", mixed, "--run", base / "plain", "--to", tmp_path / "new")),
    ):
        for index in range(2):
            assert winnow(*words, "--shard", f"{index}/2") == 0
        assert "3 refused, first" in capsys.readouterr().out
        assert winnow("join", place) == 1
        assert "allow more with --max-refused" in capsys.readouterr().err
        assert winnow("join", place, "--max-refused", 0.5) == 0
        assert "3 refused" in capsys.readouterr().out and not (place / ".shards").exists()
    whole = ("ingest", mixed, "--recipe", base / "tiny.toml", "--max-refused", 0.5)
    assert winnow(*whole, "--run", tmp_path / "whole") == 0
    assert content(tmp_path / "run", "pool/") == content(tmp_path / "whole", "pool/")
    run = shutil.copytree(base / "plain", tmp_path / "encoded")
    assert winnow("encode", "--run", run, "--shard", "0/1") == 0
    assert winnow("join", run, "--max-refused", 0.5) == 1
    assert "nothing to do with shards of 'encode'" in capsys.readouterr().err


def test_what_judges_may_refuse_more_in_one_call(base: Path, mixed: Path, tmp_path: Path):
    run = base / "plain"
    before = content(run)
    for words in (
        ("score", mixed),
        ("predict", mixed),
        ("evaluate", "--normal", mixed, "--anomalous", f"bad={base / 'bad'}"),
    ):
        assert winnow(*words, "--run", run, "--to", tmp_path / "to") == 1
        assert winnow(*words, "--run", run, "--to", tmp_path / words[0], "--max-refused", 0.4) == 0
    assert content(run) == before


def test_shards_of_a_run_that_was_trained_anew_are_told_of(plain: Path, capsys: pytest.CaptureFixture[str]):
    assert winnow("encode", "--run", plain, "--shard", "0/1") == 0
    assert winnow("train", "--run", plain, "--iterations", 5) == 0
    assert winnow("join", plain) == 1
    said = capsys.readouterr().err
    assert "before the run was trained anew" in said and "Run all shares again" in said
    assert winnow("encode", "--run", plain, "--shard", "0/1") == 0 and winnow("join", plain) == 0
    assert not (plain / ".shards").exists()


def test_shares_judged_by_different_things_are_never_mixed(
    base: Path, plain: Path, tmp_path: Path, small: None, capsys: pytest.CaptureFixture[str]
):
    """The user is told which of two it is: other sources, which can be joined first, or another detector or classifier."""
    scores, classes = tmp_path / "scores", tmp_path / "classes"
    for step, to in (("score", scores), ("predict", classes)):
        assert winnow(step, base / "bad", "--run", plain, "--to", to, "--shard", "0/2") == 0
    assert winnow("classify", "--run", plain, "--head", "nearest_mean") == 0
    capsys.readouterr()
    for words in (("predict", base / "bad", "--run", plain, "--to", classes, "--shard", "1/2"), ("join", classes)):
        assert winnow(*words) == 1
        said = capsys.readouterr().err
        assert "taught anew since" in said and f"remove {classes}/.shards/predict" in said
    assert winnow("calibrate", "--run", plain, "--false-alarm-rate", 0.4) == 0
    assert winnow("score", base / "bad", "--run", plain, "--to", scores, "--shard", "1/2") == 1
    said = capsys.readouterr().err
    assert "calibrated or taught anew since" in said and "key" not in said


def test_a_share_checks_all_before_it_makes_anything(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "holiday.txt").write_text("sun")
    new = ("--run", tmp_path / "run", "--recipe", base / "tiny.toml")
    for words, told in (
        (("ingest", tmp_path / "absent", *new, "--shard", "0/2"), "absent does not exist"),
        (("ingest", base / "good", *new, "--shard", "-1/3"), "--shard '-1/3' is no share"),
        (("ingest", base / "good", *new, "--shard", ""), "--shard '' does not say which share"),
        (("score", base / "bad", "--run", base / "plain", "--to", theirs, "--shard", "0/2"), "not written by Winnow"),
        (
            ("score", base / "bad", "--run", base / "plain", "--to", base / "patched" / "x", "--shard", "0/2"),
            "another run",
        ),
        (("predict", base / "bad", "--run", base / "patched", "--to", tmp_path / "to", "--shard", "0/2"), "'classify'"),
    ):
        assert winnow(*words) == 1
        assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"] and [*theirs.iterdir()] == [theirs / "holiday.txt"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("os:getcwd", "'os:getcwd' is not a runner"),
        ("os:sep", "'os:sep' is not a runner"),
        ("my_runners:silent", "returned no results"),
        ("my_runners:lazy", "left 1 of 1 shards unmade"),
    ],
)
def test_what_is_no_runner_is_told_of(
    name: str,
    told: str,
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "my_runners.py").write_text(
        "def silent(function, items, workers):\n    [function(item) for item in items]\n"
        "def lazy(function, items, workers):\n    return iter([])\n"
    )
    monkeypatch.chdir(tmp_path)
    (plain / "embeddings" / "embeddings.json").unlink()
    assert winnow("encode", "--run", plain, "--runner", name) == 1
    assert told in capsys.readouterr().err


def test_machines_of_which_some_have_weights_at_hand_make_one_run(
    base: Path, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
):
    """The first decides which recipe it is, for all."""
    for index, place in enumerate(("", "the hub's cache", "")):
        monkeypatch.setattr("winnow.models.pretrained.weights_at_hand", lambda _, place=place: place)
        words = ("--run", tmp_path / "run", "--recipe", "oneclass", "--shard", f"{index}/3")
        assert winnow("ingest", base / "good", *words) == 0
    assert winnow("join", tmp_path / "run") == 0
    made = json.loads((tmp_path / "run" / "run.json").read_text())
    assert made["recipe"] == "oneclass-from-scratch" and "the hub does not answer" in made["why"]
