"""Every misuse ends in one sentence and at most a remedy, and leaves everything as it was; `misuse*.py` are the tables."""

from __future__ import annotations

import json
import re
import resource
import shlex
import shutil
from itertools import product
from pathlib import Path

import pytest
from misused_inputs import INPUTS
from misused_options import CALLS, IMPORTS, PLACES, RECIPES, VALUES
from misuses import RECORDS, SPOILT
from tiny_runs import tiny_runs, tree, winnow

from spoiling import Misuse, each_step, rewrite, without_seal
from unprivileged import unprivileged_command

MISUSES = [*RECORDS, *SPOILT, *PLACES, *IMPORTS, *RECIPES, *VALUES, *CALLS, *INPUTS]

RESULTS = r"out(/|$)"
DECODED = r"new(/run\.json|/\.staging(/.*)?|/pool(/.*)?)?$"  # what an ingest goes on from that has decoded a part of its inputs


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the finished runs and their inputs, which no test changes."""
    return tiny_runs(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, without what the environment could add: a detector, a reachable hub."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("WINNOW_OBJECT_DETECTOR", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return folder


def filled(words: str, here: Path, base: Path) -> list[str]:
    """Return the words of a command with their places filled in."""
    places = {
        **{name: base / name for name in ("good", "bad", "plain")},
        **{name: here / name for name in ("run", "new", "out", "none")},
        "tiny": base / "tiny.toml",
        "patched": here / "run",
        "picture": here / "picture.png",
        "text": here / "notes.txt.bak",
        "long": here / (300 * "n"),
        "here": here,
    }
    return [word.format(**places) for word in shlex.split(words)]


def refused(status: int, said: str, says: str = "") -> None:
    """Assert that a command refused in one sentence, with at most one remedy."""
    assert status in (1, 2), said
    lines = said.splitlines()
    assert lines and lines[0].startswith("winnow: "), said
    assert len(lines) <= 2, said
    assert len(lines[0]) > len("winnow: .") and re.search(says, said), said


@pytest.mark.parametrize("case", MISUSES, ids=lambda case: case.name)
def test_a_misuse_is_one_sentence_and_changes_nothing(
    case: Misuse, base: Path, here: Path, capsys: pytest.CaptureFixture[str]
):
    if case.of:
        shutil.copytree(base / case.of, here / "run")
    case.prepare(here)
    before = tree(here)
    status = winnow(*filled(case.words, here, base))
    said = capsys.readouterr().err
    if case.may_work and status == 0:
        return
    refused(status, said, case.says)
    after = tree(here)
    may_stay = rf"{RESULTS}|{DECODED}" if any(here.glob("new/pool/pixels-*.npy")) else RESULTS
    assert {name: what for name, what in after.items() if not re.match(may_stay, name)} == before
    assert not [name for name in after if name.endswith((".tmp", "-wal", "-shm"))]


def test_no_name_comes_twice():
    names = [case.name for case in MISUSES]
    assert len(set(names)) == len(names) >= 150


SCORE, SELECT, LABEL = (
    "score {bad} --run {run} --to {out}",
    "select --run {run} -n 8",
    "label --run {run} --export {out}/labels.csv",
)


@pytest.mark.parametrize(
    ("where", "words"),
    [*product(("run.json", "step"), (SCORE, SELECT, LABEL)), ("result", SCORE)],
    ids=lambda word: word.split()[0],
)
def test_a_record_that_lacks_a_key_ends_in_no_traceback(
    where: str, words: str, base: Path, here: Path, capsys: pytest.CaptureFixture[str]
):
    """Whether a key is needed is the command's own affair; what it may not do is to end in a traceback."""
    keys = keys_of(copied(base / "plain", here), where)
    assert len(keys) >= 4
    for key in keys:
        run = copied(base / "plain", here)
        without(run, where, key)
        before = tree(run)
        status = winnow(*filled(words, here, base))
        said = capsys.readouterr().err
        if status:
            refused(status, said)
            assert tree(run) == before, key


def copied(run: Path, here: Path) -> Path:
    """Empty `here` and put a copy of a run into it."""
    for entry in here.iterdir():
        shutil.rmtree(entry)
    return Path(shutil.copytree(run, here / "run"))


def keys_of(run: Path, where: str) -> list[str]:
    if where == "run.json":
        return sorted(without_seal(json.loads((run / "run.json").read_text())))
    found: set[str] = set()
    for step in ("train", "calibrate"):  # a result of each of them is read by what judges
        record = json.loads((run / "steps" / f"{step}.json").read_text())
        found |= set(without_seal(record) if where == "step" else record["result"])
    return sorted(found)


def without(run: Path, where: str, key: str) -> None:
    def lacking(content: dict) -> dict:
        return {name: value for name, value in content.items() if name != key}

    if where == "run.json":
        rewrite(run / "run.json", lacking)
    else:
        each_step(run, lacking if where == "step" else lambda step: {**step, "result": lacking(step["result"])})


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("train --run {run}", "--device gpu0"),
        ("train --run {run}", "--model autoencodr"),
        ("train --run {run}", "--background nofolder"),
        ("calibrate --run {run}", "--scorer neighbors"),
        ("select --run {run} -n 5", "--method hearding"),
        ("classify --run {run}", "--fine-tune mobilenet_v2 --fine-tune-weights nofile.pth"),
        ("score {bad} --run {run} --to {out}", "--mode fast"),
    ],
)
def test_a_refused_option_is_not_there_next_time(
    words: str, wrong: str, base: Path, here: Path, capsys: pytest.CaptureFixture[str]
):
    """A wrong device, model, scorer: the command without it works as if it had never been given."""
    copied(base / "plain", here)
    status = winnow(*filled(f"{words} {wrong}", here, base))
    refused(status, capsys.readouterr().err)
    assert winnow(*filled(words, here, base)) == 0, capsys.readouterr().err
    if words.startswith("calibrate"):
        assert winnow(*filled("score {bad} --run {run} --to {out}", here, base)) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", ["nofolder", "{here}/half", "{good} --device gpu0", "{good} --people --object-detector nofile.onnx"]
)
def test_the_corrected_command_simply_works(wrong: str, base: Path, here: Path, capsys: pytest.CaptureFixture[str]):
    picture = next((base / "good").rglob("*.png"))
    (here / "half").mkdir()
    (here / "half" / "a.png").write_bytes(picture.read_bytes()[:500])
    refused(winnow(*filled(f"run {{tiny}} {wrong} --to {{new}}", here, base)), capsys.readouterr().err)
    assert winnow(*filled("run {tiny} {good} --to {new} --number 0", here, base)) == 0, capsys.readouterr().err


@pytest.mark.parametrize("given", ["--latent 1000000000", f"--latent {10**30}", "--width 100000000"])
@pytest.mark.parametrize("words", ["run {tiny} {good} --to {new}", "train --run {run}"], ids=["run", "train"])
def test_a_network_beyond_memory_is_refused_before_memory_is_taken(
    words: str, given: str, base: Path, here: Path, capsys: pytest.CaptureFixture[str]
):
    run = copied(base / "plain", here)
    before, taken = tree(here), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limits = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 30), limits[1]))  # spares the machine where it is not refused
    try:
        status = winnow(*filled(f"{words} {given}", here, base))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    refused(status, capsys.readouterr().err, "latent|width|memory")
    assert tree(here) == before and run.exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - taken < 512 << 10  # KiB


@pytest.mark.parametrize(
    ("locked", "words"),
    [
        ("run/steps", "score {bad} --run {run} --to {out}"),
        ("run/pool", "classify --run {run}"),
        ("run/detector", "score {bad} --run {run} --to {out}"),
        ("pictures", "run {tiny} {here}/pictures/*.png --to {new}"),
        ("run/run.json", "score {bad} --run {run} --to {out}"),
        ("run/model", "score {bad} --run {run} --to {out}"),
        ("pictures", "run {tiny} {here}/pictures --to {new}"),
        ("shut", "run {tiny} {good} --to {here}/shut/new"),
        ("shut", "score {bad} --run {run} --to {here}/shut/out"),
        ("shut", "export --run {run} --to {here}/shut/model.onnx"),
        ("shut", "label --run {run} --export {here}/shut/labels.csv"),
    ],
)
def test_what_may_not_be_read_or_written_is_a_sentence(locked: str, words: str, base: Path, here: Path):
    shutil.copytree(base / "plain", here / "run")
    shutil.copytree(base / "good", here / "pictures")
    (here / "shut").mkdir()
    (here / locked).chmod(0)
    try:
        done = unprivileged_command(*filled(words, here, base))
    finally:
        (here / locked).chmod(0o700)
    refused(done.returncode, done.stderr, re.escape(Path(locked).name))


def test_a_pattern_tells_of_the_folders_that_may_not_be_looked_into(base: Path, here: Path):
    pictures = shutil.copytree(base / "good", here / "pictures")
    (pictures / "clip1").chmod(0)
    try:
        done = unprivileged_command("ingest", f"{pictures}/*/*.png", "--run", here / "run")
    finally:
        (pictures / "clip1").chmod(0o700)
    assert done.returncode == 0 and "1 refused" in done.stdout and "clip1" in done.stdout
