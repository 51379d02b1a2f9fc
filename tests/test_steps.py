"""The steps on video and pictures, from Python, and what they leave in the run folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import winnow
from winnow.errors import DataError, InputError, OptionError, RunError

from conftest import blocks, stripes
from spoiling import set_options
from videos import write

pytestmark = pytest.mark.slow

BREAKS = [(6.0, 10.0), (16.0, 20.0)]


def film(path: Path, seconds: int, breaks: list[tuple[float, float]], seed: int) -> Path:
    """A video of stripes, with coloured blocks in the breaks; four frames a second."""
    rng = np.random.default_rng(seed)
    inside = [any(start <= number / 4 < end for start, end in breaks) for number in range(seconds * 4)]
    return write(path, [blocks(rng) if anomalous else stripes(rng) for anomalous in inside], rate=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> winnow.Run:
    folder = tmp_path_factory.mktemp("film")
    videos = [film(folder / f"season {number}.mp4", 30, [], number) for number in range(6)]
    options = {"size": (32, 32), "width": 8, "latent": 8, "iterations": 150, "every": 0.5, "false_alarm_rate": 0.05}
    return winnow.Run(folder / "run", "oneclass-from-scratch", **options).fit(videos)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_video_is_cut_into_what_belongs_and_what_does_not(run: winnow.Run, tmp_path: Path):
    new = film(tmp_path / "neu, n° 1.mp4", 26, BREAKS, seed=9)
    result = run.score(new, to=tmp_path / "out")
    found = [(part.start, part.end) for part in result.videos[0].segments if not part.belongs]
    assert len(found) == 2
    np.testing.assert_allclose(found, BREAKS, atol=2.0)
    rows = table(tmp_path / "out" / "scores.csv")
    assert [float(row["time"]) for row in rows] == [number / 2 for number in range(52)]
    assert {row["id"] for row in rows} == {f"{new}@{number / 2:.3f}" for number in range(52)}
    assert all(0 < float(row["p_value"]) <= 1 for row in rows)
    segments = table(tmp_path / "out" / "segments.csv")
    assert [row["verdict"] for row in segments] == ["in", "out", "in", "out", "in"]
    cuts = next((tmp_path / "out").glob("*.ffconcat")).read_text(encoding="utf-8")
    assert cuts.count("inpoint") == 2 and cuts.count("outpoint") == 3
    assert next((tmp_path / "out").glob("video-*.png")).read_bytes().startswith(b"\x89PNG")


def test_what_was_calibrated_is_what_is_scored(run: winnow.Run, tmp_path: Path):
    own = str(run.embeddings.ids[0]).rpartition("@")[0]
    run.score(own, to=tmp_path / "out")
    scores = {row["id"]: float(row["score"]) for row in table(tmp_path / "out" / "scores.csv")}
    known = dict(zip(run.embeddings.ids, run.detector.score(run.embeddings), strict=True))
    assert len(scores) == 60
    assert scores == {key: pytest.approx(known[key], rel=1e-4, abs=1e-4) for key in scores}


def test_scoring_again_replaces_the_results_and_gives_the_same(run: winnow.Run, tmp_path: Path):
    first, second = (film(tmp_path / f"{name}.mp4", 8, [], seed) for name, seed in (("a", 1), ("b", 2)))
    run.score([first, second], to=tmp_path / "out")
    before = table(tmp_path / "out" / "scores.csv")
    assert len(list((tmp_path / "out").glob("*.ffconcat"))) == 2
    run.score([second], to=tmp_path / "out")
    after = table(tmp_path / "out" / "scores.csv")
    assert len(list((tmp_path / "out").glob("*.ffconcat"))) == 1
    assert after == [row for row in before if row["source"] == str(second)]


def test_the_page_names_every_part(run: winnow.Run, tmp_path: Path):
    run.score(film(tmp_path / "late.mp4", 20, BREAKS[:1], seed=3))
    run.evaluate(
        film(tmp_path / "good.mp4", 10, [], 4), {"blocks <b>": film(tmp_path / "bad.mp4", 10, [(0.0, 10.0)], 5)}
    )
    page = run.report().read_text(encoding="utf-8")
    for words in (
        "What was found",
        "The threshold, and the own pictures that set it",
        "Evaluation in detail",
        "Segments that do not belong",
        "late.mp4",
        "What belongs most",
        "Originals",
        "Training",
        "What it learnt from",
        "--iterations 150",
        "blocks &lt;b&gt;",
    ):
        assert words in page, words
    assert "http://" not in page
    assert "https://" not in page


def test_a_new_rate_computes_nothing_but_the_threshold(run: winnow.Run, tmp_path: Path):
    path = tmp_path / "copy"
    shutil.copytree(run.folder.path, path)
    other = winnow.Run(path)
    strict, lax = (other.calibrate(false_alarm_rate=rate).full.promise.threshold for rate in (0.05, 0.3))
    assert strict > lax
    assert other.score(film(tmp_path / "x.mp4", 4, [], 7)).pictures == 8


def test_contamination_among_the_runs_own_pictures_is_set_aside(tmp_path: Path):
    videos = [film(tmp_path / f"{number}.mp4", 30, [(10.0, 14.0)], number) for number in range(6)]
    options = {"size": (32, 32), "width": 8, "latent": 8, "iterations": 150, "every": 0.5, "false_alarm_rate": 0.05}
    found = {}
    for contamination in (0.0, 0.15):
        dirty = winnow.Run(
            tmp_path / f"run-{contamination}", "oneclass-from-scratch", **options, contamination=contamination
        ).fit(videos)
        result = dirty.evaluate(
            film(tmp_path / "good.mp4", 15, [], 8), {"blocks": film(tmp_path / "bad.mp4", 15, [(0.0, 15.0)], 9)}
        )
        found[contamination] = result.anomalous["blocks"].detection_rate
    assert found[0.15] > 0.9 >= found[0.0]


def test_the_pieces_alone_on_plain_numbers():
    rng = np.random.default_rng(0)
    normal, anomalous = rng.normal(0, 1, (400, 8)), rng.normal(3, 1, (50, 8))
    detector = winnow.Detector(scorer="knn", false_alarm_rate=0.05).fit(normal)
    assert detector.predict(rng.normal(0, 1, (2000, 8))).mean() > 0.9
    assert detector.predict(anomalous).mean() < 0.1
    assert detector.p_values(anomalous).max() < 0.05


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda run, path: run.score([]), InputError, "No input"),
        (lambda run, path: run.score(path / "absent"), InputError, "absent"),
        (lambda run, path: run.evaluate(path, {}), OptionError, "anomalous"),
        (lambda run, path: run.evaluate(path, {"all": path}), OptionError, "all"),
        (lambda run, path: run.set(iteration=3), OptionError, "iterations"),
        (lambda run, path: winnow.Run(path / "new").train(), RunError, "ingest"),
        (lambda run, path: winnow.Run(run.folder.path, "inspect"), OptionError, "oneclass-from-scratch"),
    ],
)
def test_a_wrong_call_says_what_to_do(call, error, words, run: winnow.Run, tmp_path: Path):
    with pytest.raises(error, match=words):
        call(run, tmp_path)


def test_a_measure_a_model_lacks_is_named(run: winnow.Run, tmp_path: Path):
    shutil.copytree(run.folder.path, tmp_path / "copy")
    with pytest.raises(DataError, match="latent"):
        winnow.Run(tmp_path / "copy").calibrate(scorer="latent")


def test_a_damaged_file_is_found(run: winnow.Run, tmp_path: Path):
    new = film(tmp_path / "new.mp4", 4, [], 5)
    for name in (
        "model/model.safetensors",
        "model/linear/model.safetensors",
        "detector/detector.npz",
        "model/model.json",
    ):
        path = tmp_path / name.replace("/", "-")
        shutil.copytree(run.folder.path, path)
        content = bytearray((path / name).read_bytes())
        content[len(content) // 2] ^= 4
        (path / name).write_bytes(content)
        with pytest.raises(RunError, match=name.split("/")[-1]):
            winnow.Run(path).score(new)


def test_run_json_says_who_set_what(run: winnow.Run):
    content = json.loads((run.folder.path / "run.json").read_text(encoding="utf-8"))
    assert content["set_by"] == {
        "ingest.size": "you",
        "train.hflip": "recipe",
        "model.width": "you",
        "model.latent": "you",
        "train.iterations": "you",
        "ingest.every": "you",
        "detect.false_alarm_rate": "you",
    }
    assert len(content["sources"]) == 6
    versions = json.loads((run.folder.path / "steps" / "train.json").read_text(encoding="utf-8"))["versions"]
    assert versions["torch"] and versions["instructions"] == torch.backends.cpu.get_cpu_capability()


@pytest.mark.parametrize(
    ("step", "section", "name"),
    [("train", "model", "model"), ("calibrate", "detect", "scorer"), ("fit", "detect", "scorer")],
)
def test_a_part_that_only_the_run_folder_names_is_not_imported(
    step: str, section: str, name: str, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(finished_run, tmp_path / "run")
    (tmp_path / "their_part.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    set_options(tmp_path / "run", section, **{name: "their_part:Part"})
    run = winnow.Run(tmp_path / "run")
    with pytest.raises(OptionError, match=rf"--{name} their_part:Part"):
        run.fit([]) if step == "fit" else getattr(run, step)()
    assert not (tmp_path / "ran").exists()
