"""Inspection from end to end: cloth drawn here is cut into patches, judged by patch and picture, and its damage found."""

from __future__ import annotations

import csv
import math
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import betabinom

import winnow
from winnow import show
from winnow.errors import InputError, OptionError, RunError
from winnow.learn.encode import anomaly_maps
from winnow.metrics.pixels import aupro
from winnow.pool.pool import Pool
from winnow.results import Calibrated
from winnow.run.artifacts import load_network, modes
from winnow.run.split import split_of
from winnow.steps import evaluate
from winnow.steps.predict_onnx import predict_onnx

from cloth import HEIGHT, WIDTH, cloth, damaged, write_cloth, write_damaged
from conftest import winnow_command
from videos import write

pytestmark = pytest.mark.slow

RATE = 0.1
SMALL = {
    "size": (16, 16),
    "width": 4,
    "latent": 4,
    "batch_size": 16,
    "check_every": 50,
    "iterations": 150,
    "fast": 0,
    "mode": "full",
    "calibrate_share": 0.25,
    "false_alarm_rate": RATE,
}
FLAGS = (
    "--size",
    "16",
    "16",
    "--width",
    "4",
    "--latent",
    "4",
    "--batch-size",
    "16",
    "--check-every",
    "10",
    "--iterations",
    "30",
    "--fast",
    "0",
    "--mode",
    "full",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good cloths to learn from, new good ones, damaged ones and their masks."""
    made = tmp_path_factory.mktemp("cloth")
    write_cloth(made / "good", 60)
    write_cloth(made / "new", 60, seed=7)
    write_damaged(made / "bad", made / "masks", 12)
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> winnow.Run:
    return winnow.Run(folder / "run", "inspect-texture", **SMALL | {"fast": 60}).fit(folder / "good")


@pytest.fixture(scope="module")
def scored(run: winnow.Run, folder: Path) -> Path:
    """What `score` wrote of new good and of damaged pictures, overlays in the folder 'map'."""
    run.score([folder / "new", folder / "bad"], to=folder / "out", heatmaps=folder / "out" / "map")
    return folder / "out"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def box_of(row: dict[str, str]) -> tuple[int, int, int, int]:
    return int(row["x"]), int(row["y"]), int(row["width"]), int(row["height"])


def true_mask(folder: Path, source: str) -> np.ndarray:
    stem = Path(source).stem
    path = next(path for path in (folder / "masks").iterdir() if path.stem.removesuffix("_mask") == stem)
    return np.asarray(Image.open(path)) > 0


def worst_of(rows: Iterable[tuple[str, float]]) -> dict[str, float]:
    top_error: dict[str, float] = {}
    for name, score in rows:
        top_error[name] = max(score, top_error.get(name, -math.inf))
    return top_error


# ---- scores and thresholds


def test_patches_and_pictures_are_both_scored(scored: Path):
    pictures, patches = table(scored / "scores.csv"), table(scored / "patches.csv")
    assert len(pictures) == 72 and len(patches) == 72 * 40
    top_error = worst_of((row["source"], float(row["score"])) for row in patches)
    assert {row["source"]: float(row["score"]) for row in pictures} == top_error
    assert all(
        row["id"].startswith(row["id"].split("#")[0] + "#") and "#" not in p["id"]
        for row, p in zip(patches, pictures, strict=False)
    )
    for row in patches[:80]:
        x, y, width, height = box_of(row)
        assert row["id"].endswith(f"#{x},{y},{width},{height}") and (width, height) == (16, 16)
    assert {(row["patches"], row["blank"]) for row in pictures} == {("40", "0")}
    assert all(row["belongs"] == "no" for row in pictures if "bad" in row["source"])


def test_good_pictures_of_sixteen_times_the_patches_pass_and_all_commands_agree(
    run: winnow.Run, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    rng = np.random.default_rng(3)
    (tmp_path / "large").mkdir()
    for number in range(16):
        Image.fromarray(cloth(rng, (4 * HEIGHT, 4 * WIDTH))).save(tmp_path / "large" / f"{number:02d}.png")
    torn = np.asarray(cloth(rng, (4 * HEIGHT, 4 * WIDTH))).copy()
    torn[100:112, 200:212] = 0
    Image.fromarray(torn).save(tmp_path / "large" / "torn.png")
    scored = run.score(tmp_path / "large", to=tmp_path / "own")
    rows = {Path(row["source"]).stem: row for row in table(tmp_path / "own" / "scores.csv")}
    refused = [name for name, row in rows.items() if row["belongs"] == "no"]
    assert "torn" in refused and len(refused) <= 5
    assert sum(float(row["score"]) > scored.threshold for row in rows.values()) > len(refused)
    assert "17 of 17 pictures have more patches (up to 640)" in scored.note and "an estimate, no promise" in scored.note
    assert {Path(row["source"]).stem for row in table(tmp_path / "own" / "defects.csv")} == set(refused)
    found = run.evaluate(tmp_path / "large", {"bad": folder / "bad"})
    assert found.false_alarm_rate == pytest.approx(len(refused) / 17)
    exported = run.export(tmp_path / "model.onnx")
    predict_onnx(exported.file, [tmp_path / "large"], to=tmp_path / "other")
    other = {Path(row["source"]).stem: row["belongs"] for row in table(tmp_path / "other" / "predictions.csv")}
    assert other == {name: row["belongs"] for name, row in rows.items()}


def test_the_threshold_is_the_quantile_of_held_out_pictures(run: winnow.Run, scored: Path):
    stored = np.load(run.folder.path / "detector" / "detector.npz")
    held = worst_of(
        (name.split("#")[0], score) for name, score in zip(stored["ids"], stored["calibration"], strict=True)
    )
    pool = Pool.open(run.folder.path / "pool")
    kept_aside = {name.split("#")[0] for name in pool.column("id")[split_of(run.folder, pool).split == "calibrate"]}
    assert set(held) == kept_aside and len(held) == 15
    place = math.ceil((len(held) + 1) * (1 - RATE) - 1e-9)
    threshold = sorted(held.values())[place - 1]
    found = run.folder.result(Calibrated).full.whole
    assert (found.threshold, found.calibrated_on) == (threshold, 15)
    assert found.false_alarm_rate == pytest.approx((16 - place) / 16)
    for row in table(scored / "scores.csv"):
        assert row["belongs"] == ("yes" if float(row["score"]) <= threshold else "no")
        p = (1 + sum(value >= float(row["score"]) for value in held.values())) / 16
        assert float(row["p_value"]) == pytest.approx(p, rel=1e-4)


def test_false_alarms_are_those_of_pictures_not_of_patches(run: winnow.Run, scored: Path):
    """The count on new pictures follows the beta-binomial law of the k-th of n; by patch it would be far beyond it."""
    rows = [row for row in table(scored / "scores.csv") if "new" in row["source"]]
    n, k = 15, math.ceil(16 * (1 - RATE) - 1e-9)
    most = betabinom.ppf(0.999, len(rows), n + 1 - k, k)
    assert sum(row["belongs"] == "no" for row in rows) <= most
    by_patch = run.folder.result(Calibrated).full.promise.threshold
    assert sum(float(row["score"]) > by_patch for row in rows) > most


def test_every_mode_scores_differently(run: winnow.Run, folder: Path, tmp_path: Path):
    shutil.copytree(run.folder.path, tmp_path / "run")
    copy = winnow.Run(tmp_path / "run")
    found = {}
    for mode in modes(copy.folder):
        result = copy.score(folder / "bad", to=tmp_path / mode, mode=mode)
        assert result.mode == mode
        found[mode] = [row["score"] for row in table(tmp_path / mode / "scores.csv")]
    assert set(found) == {"full", "encoder", "fast"}
    assert len(set(map(tuple, found.values()))) == len(found)


def test_a_mode_that_the_run_lacks_is_refused_and_not_kept(folder: Path, tmp_path: Path):
    pretended = winnow.Run(tmp_path / "run", "inspect-texture", **{**SMALL, "iterations": 10})
    with pytest.raises(RunError, match="ingest"):
        pretended.score(folder / "bad", mode="encoder")
    pretended.fit(folder / "good")
    with pytest.raises(OptionError, match=r"no mode 'fast', only full, encoder\.\n.*--fast"):
        pretended.score(folder / "bad", mode="fast")
    with pytest.raises(OptionError, match="--mode 'eye'"):
        pretended.score(folder / "bad", mode="eye")
    assert pretended.score(folder / "bad").mode == "full"
    done = winnow_command("score", folder / "bad", "--run", tmp_path / "run", "--mode", "fast")
    assert done.returncode == 1 and "no mode 'fast'" in done.stderr
    assert winnow_command("score", folder / "bad", "--run", tmp_path / "run").returncode == 0


# ---- where the damage is


def test_the_report_keeps_modes_apart(run: winnow.Run, folder: Path, tmp_path: Path):
    shutil.copytree(folder / "run", tmp_path / "run")
    other = winnow.Run(tmp_path / "run")
    other.evaluate(folder / "new", {"damaged": [folder / "bad"]}, mode="fast")
    other.score(folder / "bad", mode="fast")
    page = other.set(mode="fast").report().read_text(encoding="utf-8")
    assert "leaves it out" not in page and "normal (false alarms)" in page
    other.score(folder / "bad", mode="encoder")
    page = other.set(mode="encoder").report().read_text(encoding="utf-8")
    assert "The last winnow evaluate was by the mode fast; this report is of encoder" in page
    assert "normal (false alarms)" not in page


def test_the_boxes_lie_on_the_damage_and_on_nothing_that_belongs(scored: Path, folder: Path):
    defects, pictures = table(scored / "defects.csv"), table(scored / "scores.csv")
    per_picture = {row["source"]: [d for d in defects if d["source"] == row["source"]] for row in pictures}
    for row in pictures:
        found = per_picture[row["source"]]
        assert len(found) == int(row["defects"])
        assert bool(found) == (row["belongs"] == "no")
        if "bad" not in row["source"]:
            continue
        mask = true_mask(folder, row["source"])
        x, y, width, height = box_of(found[0])
        assert mask[y : y + height, x : x + width].sum() > 0.5 * mask.sum()
        rows, columns = np.nonzero(mask)  # and no further from the damage than a patch
        assert x >= columns.min() - 16 and x + width <= columns.max() + 17
        assert y >= rows.min() - 16 and y + height <= rows.max() + 17
        assert float(found[0]["score"]) == float(row["score"]) == max(float(d["score"]) for d in found)


def test_overlays_have_the_size_and_name_of_their_pictures(scored: Path, folder: Path):
    anomaly_map, defects = scored / "map", table(scored / "defects.csv")
    rows = table(scored / "scores.csv")
    names = {f"{number:05d}-{Path(row['source']).stem}" for number, row in enumerate(rows)}
    assert {path.name for path in anomaly_map.glob("*.png")} == {
        f"{n}.{kind}.png" for n in names for kind in ("map", "mask", "overlay")
    }
    for number, row in enumerate(rows):
        stem = f"{number:05d}-{Path(row['source']).stem}"
        shown = {kind: Image.open(anomaly_map / f"{stem}.{kind}.png") for kind in ("map", "mask", "overlay")}
        assert {picture.size for picture in shown.values()} == {(WIDTH, HEIGHT)}
        marked = np.asarray(shown["mask"])
        inside = np.zeros_like(marked)
        for x, y, width, height in (box_of(d) for d in defects if d["source"] == row["source"]):
            inside[y : y + height, x : x + width] = True
        assert marked.any() == (row["belongs"] == "no") and not (marked & ~inside).any()
        if "bad" in row["source"]:
            values, mask = np.asarray(shown["map"]), true_mask(folder, row["source"])
            assert np.median(values[mask]) > np.quantile(values[~mask], 0.9)
            assert (marked & mask).sum() > 0.5 * mask.sum()


def test_a_mode_without_a_map_marks_whole_patches(run: winnow.Run, folder: Path, tmp_path: Path):
    shutil.copytree(run.folder.path, tmp_path / "run")
    winnow.Run(tmp_path / "run").score(folder / "bad", to=tmp_path / "out", heatmaps=tmp_path / "map", mode="encoder")
    assert not list((tmp_path / "map").glob("*.map.png")) and len(list((tmp_path / "map").glob("*.overlay.png"))) == 12
    patches = table(tmp_path / "out" / "patches.csv")
    limit = winnow.Run(tmp_path / "run").folder.result(Calibrated).modes["encoder"].whole.threshold
    marked = sum(np.asarray(Image.open(path)).sum() for path in (tmp_path / "map").glob("*.mask.png"))
    assert marked == 256 * sum(float(row["score"]) > limit for row in patches)


def test_overlapping_patches_find_the_damage_too(folder: Path, tmp_path: Path):
    overlapping = winnow.Run(tmp_path / "run", "inspect-texture", **SMALL, stride=8).fit(folder / "good")
    result = overlapping.score(folder / "bad", to=tmp_path / "out", heatmaps=tmp_path / "map")
    assert result.patches == 12 * 7 * 19
    defects = table(tmp_path / "out" / "defects.csv")
    for row in table(tmp_path / "out" / "scores.csv"):
        x, y, width, height = box_of(next(d for d in defects if d["source"] == row["source"]))
        assert true_mask(folder, row["source"])[y : y + height, x : x + width].any()


def test_heatmaps_need_patches_and_a_folder(
    finished_run: Path, pictures: Path, run: winnow.Run, folder: Path, tmp_path: Path
):
    with pytest.raises(OptionError, match="--heatmaps needs a run that looks for damage"):
        winnow.Run(finished_run).score(pictures, to=tmp_path / "out", heatmaps=tmp_path / "map")
    assert not (tmp_path / "out").exists() and not (tmp_path / "map").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"--heatmaps .*file"):
        run.score(folder / "bad", to=tmp_path / "out", heatmaps=tmp_path / "file")


# ---- what else a folder may hold


def test_exact_copies_are_both_listed(run: winnow.Run, folder: Path, tmp_path: Path):
    original = folder / "bad" / "bad 00.png"
    (tmp_path / "line").mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(original, tmp_path / "line" / name)
    result = run.score(tmp_path / "line", to=tmp_path / "out", heatmaps=tmp_path / "map")
    rows, defects = table(tmp_path / "out" / "scores.csv"), table(tmp_path / "out" / "defects.csv")
    assert [Path(row["source"]).name for row in rows] == ["a.png", "b.png"]
    assert rows[0]["id"] == rows[1]["id"] and rows[0]["score"] == rows[1]["score"] and rows[0]["belongs"] == "no"
    assert (result.pictures, result.patches, result.defects) == (2, 80, len(defects))
    first, second = ([box_of(d) for d in defects if d["source"].endswith(name)] for name in ("a.png", "b.png"))
    assert first and first == second
    assert len(list((tmp_path / "map").glob("*.overlay.png"))) == 2


def test_scoring_again_replaces_what_was_there(run: winnow.Run, folder: Path, tmp_path: Path):
    places = {"to": tmp_path / "out", "heatmaps": tmp_path / "map"}
    run.score(folder / "bad", **places)
    (tmp_path / "map" / "my notes.png").write_bytes(b"mine")
    one = folder / "bad" / "bad 03.png"
    before = {
        name: [row for row in table(tmp_path / "out" / name) if row["source"] == str(one)]
        for name in ("scores.csv", "patches.csv", "defects.csv")
    }
    anomaly_map = (tmp_path / "map" / "00003-bad 03.map.png").read_bytes()
    run.score(one, **places)
    assert {name: table(tmp_path / "out" / name) for name in before} == before
    kept = {f"00000-bad 03.{kind}.png" for kind in ("map", "mask", "overlay")}
    assert {path.name for path in (tmp_path / "map").glob("*.png")} == {*kept, "my notes.png"}
    assert (tmp_path / "map" / "00000-bad 03.map.png").read_bytes() == anomaly_map


def test_a_long_name_is_cut_in_that_of_its_overlay(run: winnow.Run, folder: Path, tmp_path: Path):
    name = "é" * 120 + ".png"
    (tmp_path / "in").mkdir()
    shutil.copy(folder / "bad" / "bad 00.png", tmp_path / "in" / name)
    run.score(tmp_path / "in", to=tmp_path / "out", heatmaps=tmp_path / "map")
    assert {path.name for path in (tmp_path / "map").glob("*.png")} == {
        f"00000-{'é' * 75}.{kind}.png" for kind in ("map", "mask", "overlay")
    }


def film(path: Path, seconds: int, bad: range, seed: int) -> Path:
    """A lossless video of cloth, a frame a second, damaged in the seconds `bad`."""
    rng = np.random.default_rng(seed)
    frames = [(damaged(rng)[0] if second in bad else cloth(rng)) for second in range(seconds)]
    return write(
        path, [np.repeat(frame[..., None], 3, axis=2) for frame in frames], codec="ffv1", form="yuv444p", rate=1
    )


def test_frames_of_a_video_are_cut_and_the_video_gets_segments(run: winnow.Run, tmp_path: Path):
    path = film(tmp_path / "line.mkv", 30, range(12, 20), seed=5)
    result = run.score(path, to=tmp_path / "out", heatmaps=tmp_path / "map")
    rows, patches = table(tmp_path / "out" / "scores.csv"), table(tmp_path / "out" / "patches.csv")
    assert [float(row["time"]) for row in rows] == [float(second) for second in range(30)]
    assert len(patches) == 30 * 40
    top_error = worst_of((row["time"], float(row["score"])) for row in patches)
    assert [float(row["score"]) for row in rows] == list(top_error.values())
    assert all(row["belongs"] == "no" for row in rows[12:20])
    assert {row["time"] for row in table(tmp_path / "out" / "defects.csv")} >= {
        f"{second}.000" for second in range(12, 20)
    }
    out = [(part.start, part.end) for part in result.videos[0].segments if not part.belongs]
    np.testing.assert_allclose(out, [(12, 20)], atol=1.01)
    assert (tmp_path / "map" / "00012-line-12.000.overlay.png").exists()


def test_grey_pictures_judged_by_colour_are_noted(tmp_path: Path):
    rng = np.random.default_rng(0)
    for name, colour in (("dyed", True), ("grey", False)):
        (tmp_path / name).mkdir()
        for number in range(8):
            picture = cloth(rng)
            dye = np.stack([picture, picture // 2, picture // 3], axis=2) if colour else picture
            Image.fromarray(dye).save(tmp_path / name / f"{number}.png")
    dyed = winnow.Run(tmp_path / "run", "inspect-texture", **{**SMALL, "iterations": 30, "grey": False}).fit(
        tmp_path / "dyed"
    )
    assert dyed.score(tmp_path / "dyed").note == ""
    assert "8 of 16 pictures are grey" in dyed.score([tmp_path / "dyed", tmp_path / "grey"]).note
    done = winnow_command("score", tmp_path / "grey", "--run", tmp_path / "run")
    assert done.returncode == 0 and "Note: 8 of 8 pictures are grey, while the run learnt from colour" in done.stdout


SMALLER = "it is 100x10 pixels, smaller than a patch of 16x16 (--size)"


@pytest.mark.parametrize(
    ("command", "size", "level", "reason"),
    [
        ("run", (40, 100), 200, "blank (--blank 0 keeps them)"),  # to be judged it is damage: see test_blank.py
        ("run", (10, 100), None, SMALLER),
        ("score", (10, 100), None, SMALLER),
    ],
)
def test_pictures_without_a_patch_are_one_sentence(command, size, level, reason, run: winnow.Run, tmp_path: Path):
    (tmp_path / "in").mkdir()
    picture = cloth(np.random.default_rng(0), size) if level is None else np.full(size, level, np.uint8)
    Image.fromarray(picture).save(tmp_path / "in" / "a.png")
    words = (
        ["run", "inspect-texture", tmp_path / "in", "--to", tmp_path / "run", *FLAGS]
        if command == "run"
        else ["score", tmp_path / "in", "--run", run.folder.path, "--to", tmp_path / "out"]
    )
    done = winnow_command(*words)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert reason in done.stderr and "a.png" in done.stderr and len(done.stderr.splitlines()) == 2


def test_one_good_picture_works_and_promises_nothing(tmp_path: Path):
    write_cloth(tmp_path / "good", 1)
    done = winnow_command("run", "inspect-texture", tmp_path / "good", "--to", tmp_path / "run", *FLAGS)
    assert done.returncode == 0, done.stderr
    assert "nothing can be promised of a new picture: give more good pictures" in done.stdout
    assert "no false-alarm rate can be promised" in done.stdout
    assert winnow_command("score", tmp_path / "good", "--run", tmp_path / "run").returncode == 0


def test_pictures_of_one_roll_are_not_torn_apart(folder: Path, tmp_path: Path):
    with (tmp_path / "list.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("path", "group"), *((path, "roll 7") for path in sorted((folder / "good").iterdir()))]
        )
    rolled = winnow.Run(tmp_path / "run", "inspect-texture", **{**SMALL, "iterations": 30})
    rolled.ingest(tmp_path / "list.csv")
    assert set(Pool.open(tmp_path / "run" / "pool").column("group")) == {"roll 7"}
    assert "pictures of the same group" in rolled.train().warnings[0]
    rolled.encode()
    found = rolled.calibrate()
    pool = Pool.open(tmp_path / "run" / "pool")
    pictures = np.array([name.split("#")[0] for name in pool.column("id")])
    split = split_of(rolled.folder, pool).split
    assert all(len(set(split[pictures == name])) == 1 for name in set(pictures))
    assert found.full.whole.calibrated_on == len(set(pictures[split == "calibrate"]))


# ---- masks


def test_metrics_with_masks_are_those_of_a_direct_computation(run: winnow.Run, folder: Path, tmp_path: Path):
    found = run.evaluate(folder / "new", {"bad": folder / "bad"}, masks=folder / "masks").masks
    patches = {}
    for name in ("new", "bad"):
        run.score(folder / name, to=tmp_path / name)
        patches[name] = table(tmp_path / name / "patches.csv")
    torn, same = [], []
    for row in patches["bad"]:
        x, y, width, height = box_of(row)
        pixels = true_mask(folder, row["source"])[y : y + height, x : x + width].sum()
        if pixels >= 15:
            torn.append(float(row["score"]))
        elif pixels == 0:
            same.append(float(row["score"]))
    good = [float(row["score"]) for row in patches["new"]]
    assert found.damaged_patches == len(torn)
    assert found.auroc_good_pictures == pytest.approx(pairs_won(torn, good), abs=1e-4)
    assert found.auroc_same_pictures == pytest.approx(pairs_won(torn, same), abs=1e-4)
    maps, truths = [], []
    for path in [*sorted((folder / "new").iterdir()), *sorted((folder / "bad").iterdir())]:
        maps.append(map_figure(run, np.asarray(Image.open(path))))
        truths.append(true_mask(folder, str(path)) if path.parent.name == "bad" else np.zeros((HEIGHT, WIDTH), bool))
    hot, cold = (np.concatenate([m[t == side] for m, t in zip(maps, truths, strict=True)]) for side in (True, False))
    assert found.pixel_auroc == pytest.approx(pairs_won(hot, cold), abs=1e-4)
    assert found.aupro == pytest.approx(aupro(maps, truths), abs=1e-4)
    assert 0.9 < found.pixel_auroc <= 1 and 0.8 < found.aupro <= 1


def test_the_maps_of_all_pictures_are_not_held_at_once(run: winnow.Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    held = []

    def measured(maps: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> float:
        lines = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, evaluate.__file__)])
        held.append(sum(line.size for line in lines.statistics("filename")))
        return float(len(maps) == len(truths) > 20)

    monkeypatch.setattr("winnow.metrics.pixels.pixel_auroc", measured)
    tracemalloc.start()
    try:
        assert run.evaluate(folder / "new", {"bad": folder / "bad"}, masks=folder / "masks").masks.pixel_auroc == 1
    finally:
        tracemalloc.stop()
    assert held[0] < 10 * HEIGHT * WIDTH  # bytes: two maps, five of a pixel


def test_an_evaluation_that_is_killed_as_it_measures_pixels_is_made_anew(run: winnow.Run, folder: Path):
    before = run.evaluate(folder / "new", {"bad": folder / "bad"}, masks=folder / "masks")
    code = (
        "import os, sys, winnow, winnow.metrics.pixels as pixels\n"
        "pixels.pixel_auroc = lambda *given: os._exit(9)\n"
        "run, new, bad, masks = sys.argv[1:]\n"
        "winnow.Run(run).evaluate(new, {'bad': bad}, masks=masks)"
    )
    given = map(str, (run.folder.path, folder / "new", folder / "bad", folder / "masks"))
    done = subprocess.run([sys.executable, "-c", code, *given], check=False, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert list(run.folder.path.rglob("0*.npy"))  # the maps that it left
    assert run.evaluate(folder / "new", {"bad": folder / "bad"}, masks=folder / "masks").masks == before.masks
    assert not list(run.folder.path.rglob("0*.npy"))


def pairs_won(high: object, low: object) -> float:
    """The share of pairs in which the first is larger, ties one half: the AUROC as it is defined."""
    high, low = np.asarray(high), np.asarray(low)
    return float(np.mean([(value > low).mean() + (value == low).mean() / 2 for value in high]))


def map_figure(run: winnow.Run, picture: np.ndarray) -> np.ndarray:
    """What the network says of each 16x16 patch of a picture, by itself."""
    network, out = load_network(run.folder), np.zeros((HEIGHT, WIDTH))
    for y in range(0, HEIGHT, 16):
        for x in range(0, WIDTH, 16):
            patch = picture[y : y + 16, x : x + 16]
            out[y : y + 16, x : x + 16] = anomaly_maps(network, patch[None, ..., None].copy())[0]
    return out


def test_masks_are_found_by_the_folders_of_their_pictures(run: winnow.Run, folder: Path, tmp_path: Path):
    """Benchmarks call pictures hole/000.png and stain/000.png, and their masks alike."""
    for kind, number in (("hole", 0), ("stain", 1)):
        for part in ("test", "truth"):
            (tmp_path / part / kind).mkdir(parents=True)
        shutil.copy(folder / "bad" / f"bad {number:02d}.png", tmp_path / "test" / kind / "000.png")
        shutil.copy(next((folder / "masks").glob(f"bad {number:02d}*")), tmp_path / "truth" / kind / "000_mask.png")
    found = run.evaluate(folder / "new", {"all of them": tmp_path / "test"}, masks=tmp_path / "truth").masks
    assert found.pixel_auroc > 0.95
    (tmp_path / "truth" / "hole" / "000.png").write_bytes((tmp_path / "truth" / "hole" / "000_mask.png").read_bytes())
    with pytest.raises(InputError, match=r"There are 2 masks for .*hole.000\.png"):
        run.evaluate(folder / "new", {"all of them": tmp_path / "test"}, masks=tmp_path / "truth")


def wrong_masks(kind: str, folder: Path, to: Path) -> Path:
    if kind == "absent":
        return to
    shutil.copytree(folder / "masks", to)
    one = to / "bad 00.png"
    if kind == "empty":
        shutil.rmtree(to)
        to.mkdir()
    elif kind == "missing":
        one.unlink()
    elif kind == "unreadable":
        one.write_bytes(one.read_bytes()[:60])
    elif kind == "other size":
        Image.open(one).resize((80, 32)).save(one)
    return to


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("absent", "--masks .* is not a folder"),
        ("empty", "holds no masks"),
        ("missing", r"There is no mask for .*bad 00\.png.\n.*bad 00_mask\.png"),
        ("unreadable", r"The mask .*bad 00\.png cannot be read: .*[^.]\.\n"),
        ("other size", r"The mask .*bad 00\.png has 80x32 pixels, its picture .* has 160x64\."),
    ],
)
def test_wrong_masks_are_one_clear_sentence(kind: str, words: str, run: winnow.Run, folder: Path, tmp_path: Path):
    masks = wrong_masks(kind, folder, tmp_path / "masks")
    with pytest.raises(InputError, match=words):
        run.evaluate(folder / "new", {"bad": folder / "bad"}, masks=masks)


def test_masks_that_mark_nothing_or_everything_are_named(run: winnow.Run, folder: Path, tmp_path: Path):
    shutil.copytree(folder / "masks", tmp_path / "masks")
    for name, value in (("bad 00.png", 0), ("bad 02.png", 255)):
        Image.new("L", (WIDTH, HEIGHT), value).save(tmp_path / "masks" / name)
    found = run.evaluate(folder / "new", {"bad": folder / "bad"}, masks=tmp_path / "masks")
    assert found.notes == [
        f"In 1 mask everything is damaged: {tmp_path / 'masks' / 'bad 02.png'}.",
        f"In 1 mask nothing is damaged: {tmp_path / 'masks' / 'bad 00.png'}.",
    ]
    assert all(note in show.evaluate(found) for note in found.notes)


def test_masks_need_patches(finished_run: Path, pictures: Path, anomalous: Path, folder: Path):
    with pytest.raises(OptionError, match="--masks needs a run that looks for damage"):
        winnow.Run(finished_run).evaluate(pictures, {"bad": anomalous}, masks=folder / "masks")
