"""One flipped bit in any file that a run reads is told of, in a sentence that names the file, and nothing is written."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

import winnow
from winnow.errors import Damaged, RunError
from winnow.files import verify_once
from winnow.learn.training_state import trim_log
from winnow.pool.ingest import ingest
from winnow.pool.pool import Pool
from winnow.run.folder import RunFolder

from exported import write_exported
from small_runs import OPTIONS, command, judged_run, tree
from spoiling import flipped, without_seal

SCORE, PREDICT, REPORT = "score {bad} --to {out}", "predict {bad} --to {out}", "report --to {out}/report.html"
ENCODE, CALIBRATE, MORE = "encode", "calibrate", "select -n 6"
READERS = {
    "run.json": SCORE,
    "steps/ingest.json": SCORE,
    "steps/train.json": REPORT,
    "steps/calibrate.json": SCORE,
    "steps/classify.json": REPORT,
    "steps/select.json": MORE,
    "pool/pool.json": ENCODE,
    "pool/items.parquet": ENCODE,
    "pool/pixels-00000.npy": "train",
    "pool/quarantine.csv": REPORT,
    "model/model.json": SCORE,
    "model/model.safetensors": SCORE,
    "model/linear/model.safetensors": ENCODE,
    "model/train.jsonl": REPORT,
    "embeddings/embeddings.json": PREDICT,
    "embeddings/vectors.npy": CALIBRATE,
    "embeddings/losses.parquet": CALIBRATE,
    "detector/detector.json": SCORE,
    "detector/detector.npz": SCORE,
    "classifier/classifier.json": PREDICT,
    "classifier/classifier.npz": PREDICT,
    "classifier/labelled.csv": REPORT,
    "selection.csv": "label --export {out}/labels.csv",
    "selection.json": MORE,
    "outliers.csv": "label --export {out}/labels.csv",
    "scores/scores.json": REPORT,
    "scores/scores.csv": REPORT,
    "scores/results.json": "score {bad}",
    "evaluation/evaluation.json": REPORT,
    "evaluation/scores.csv": REPORT,
}
"""A file of a run, and the command that reads it."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage")
    run = judged_run(folder)
    run.select(4, outliers=0.01)
    run.score(folder / "bad")
    run.evaluate(folder / "good", {"bad": folder / "bad"})
    ids = [f"{name},a" for name in run.embeddings.ids[:2]]
    (folder / "given.csv").write_text("\n".join(["id,label", *ids]) + "\n")
    run.import_labels(folder / "given.csv", classes=["a"])
    return folder


@pytest.fixture
def run(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base / "run", tmp_path / "run"))


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_told_of(name: str, base: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    flipped(run / name)
    before = kept(run)
    words = [word.format(bad=base / "bad", out=tmp_path / "out") for word in READERS[name].split()]
    assert command(*words, "--run", run) == 1
    said = capsys.readouterr().err
    assert Path(name).stem in said and len(said.splitlines()) == 2, said
    assert kept(run) == before and not (tmp_path / "out" / "scores.csv").exists()


def kept(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder but for what is staged."""
    return {name: found[0] for name, found in tree(folder).items() if not name.startswith(".staging")}


def test_every_file_of_a_run_is_in_the_list_or_read_by_nobody(base: Path):
    unread = (
        "pseudo.csv",
        "audit.csv",
        "review.csv",
        "selection-before.csv",
        ".png",
        ".lock",
        "labels.sqlite",
        "model.json",
    )
    unread += (".staging", ".cache/", "checkpoints", "grids", "pool/.lock", "pool/parts", "encoder/", "origins.parquet")
    alike = {Path(name).name for name in READERS} | {"segments.csv", "encode.json"}
    for path in base.joinpath("run").rglob("*"):
        name = path.relative_to(base / "run").as_posix()
        assert path.is_dir() or Path(name).name in alike or any(part in name for part in unread), name


def test_pixels_are_verified_once_a_process_and_again_when_they_were_written(base: Path, run: Path):
    pool, shard = Pool.open(run / "pool"), run / "pool" / "pixels-00000.npy"
    pool.pixels([0])
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(Damaged, match=shard.name) as error:
        Pool.open(run / "pool").pixels([0])
    assert "Remove that file" in error.value.remedy
    shard.unlink()
    winnow.Run(run).ingest(base / "good")  # the remedy
    assert np.array_equal(Pool.open(run / "pool").pixels([0]), pool.pixels([0])) and winnow.Run(run).folder.done(
        "train"
    )


def test_a_file_is_verified_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read: list[Path] = []
    monkeypatch.setattr("winnow.files.sha256", lambda path: read.append(path) or "sum")
    (tmp_path / "a").write_text("x")
    for _ in range(3):
        verify_once(tmp_path / "a", "sum")
    assert len(read) == 1
    monkeypatch.undo()
    with pytest.raises(Damaged):
        verify_once(tmp_path / "a", "other")
    with pytest.raises(RunError, match="missing"):
        verify_once(tmp_path / "none", "sum")


def test_a_part_whose_record_is_damaged_is_made_again(base: Path, run: Path):
    before = kept(run / "pool")
    part = run / "pool" / "parts" / "00000.json"
    part.write_text(part.read_text().replace("0.png", "9.png", 1))
    winnow.Run(run).ingest(base / "good")
    assert kept(run / "pool") == before


def test_a_part_whose_record_is_damaged_is_not_lost_when_others_are_added(base: Path, run: Path):
    before = kept(run / "pool")
    part = run / "pool" / "parts" / "00000.json"
    content = part.read_bytes()
    flipped(part)
    with pytest.raises(Damaged, match=r"00000\.json is damaged.*would be lost: .* and 31 more"):
        winnow.Run(run).ingest(base / "bad")
    part.write_bytes(content)
    assert kept(run / "pool") == before


def test_sources_to_do_again_that_are_damaged_are_told_of(base: Path, tmp_path: Path):
    options = winnow.Run(tmp_path / "run", **OPTIONS).folder.options.ingest
    ingest([base / "good"], tmp_path / "pool", options)
    for text in ("[", "{}", "[]", '{"sources": [{"uri": 3}]}'):
        (tmp_path / "pool" / "again.json").write_text(text)
        with pytest.raises(Damaged, match=r"again\.json"):
            ingest([base / "good" / "clip0"], tmp_path / "pool", options)


def test_run_json_changed_by_hand_is_read_once_its_seal_is_removed(run: Path, base: Path, tmp_path: Path):
    content = json.loads((run / "run.json").read_text())
    content["options"]["detect"]["false_alarm_rate"] = 0.2
    (run / "run.json").write_text(json.dumps(content))
    with pytest.raises(Damaged, match=r"run\.json is damaged") as error:
        RunFolder.open(run)
    assert '"seal"' in error.value.remedy
    (run / "run.json").write_text(json.dumps(without_seal(content)))
    changed = winnow.Run(run)
    assert changed.folder.options.detect.false_alarm_rate == 0.2 and not changed.folder.fits("calibrate")
    changed.calibrate()
    assert "seal" not in json.loads((run / "run.json").read_text())
    changed.calibrate(false_alarm_rate=0.3)  # what Winnow writes is sealed again
    assert "seal" in json.loads((run / "run.json").read_text())


def test_a_log_that_is_damaged_when_a_training_goes_on_is_told_of(tmp_path: Path):
    for text in ('{"step": "x"}\n', '{"stap": 3}\n', "{]}\n", "3}\n"):
        (tmp_path / "train.jsonl").write_text(text)
        with pytest.raises(Damaged, match=r"train\.jsonl"):
            trim_log(tmp_path / "train.jsonl", 3)


@pytest.mark.slow
def test_a_sample_of_the_fuzzing(base: Path, tmp_path: Path):
    """The whole of it is bench/fuzz_artifacts.py."""
    script = runpy.run_path(str(Path(__file__).parent.parent / "bench" / "fuzz_artifacts.py"))
    for name in ("run", "good", "bad"):
        shutil.copytree(base / name, tmp_path / name)
    for name in ("people", "persons"):
        (tmp_path / name).mkdir()
    write_exported(tmp_path / "model.onnx")
    (tmp_path / "yolox.onnx").touch()
    for kind in ("run/pool/parts/00000.json", "model.onnx"):
        found, wrong = script["fuzz"](tmp_path, kind, 2)
        assert found.total() == 2 and not wrong, wrong
