"""A threshold set anew: against the conformal threshold by hand, which one decides, taken back, and what a watch keeps for it."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_inspection import SMALL

import winnow
from winnow.detect.threshold import conformal, group_weights
from winnow.errors import Damaged, DataError, InputError, OptionError, RunError
from winnow.results import Calibrated
from winnow.run.map_levels import map_levels
from winnow.run.recalibration import FOLDER, PROPOSED, in_force
from winnow.steps.export import _promised, about_file
from winnow.tables import read_table
from winnow.watch.moments import Moment
from winnow.watch.ring import Ring
from winnow.watch.watcher import Watcher

from cloth import HEIGHT, WIDTH, cloth
from conftest import stripes, write_pictures
from small_runs import command, small_run, tree


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, pictures of what belongs that came later and look otherwise, and others of them."""
    folder = tmp_path_factory.mktemp("recalibrate")
    small_run(folder)
    write_pictures(folder / "since", 6, 5, partial(_dim, low=30), seed=7)
    write_pictures(folder / "later", 6, 5, partial(_dim, low=30), seed=8)
    return folder


def _dim(rng: np.random.Generator, low: int) -> np.ndarray:
    return (stripes(rng, size=32).astype(float) * 0.5 + low).astype(np.uint8)


@pytest.fixture
def run(base: Path, tmp_path: Path) -> winnow.Run:
    shutil.copytree(base / "run", tmp_path / "run")
    return winnow.Run(tmp_path / "run")


def verdicts(run: winnow.Run, sources: Path, to: Path) -> tuple[np.ndarray, np.ndarray]:
    run.score(sources, to=to)
    rows = read_table(to / "scores.csv")
    return np.array([float(row["score"]) for row in rows]), np.array([row["belongs"] == "yes" for row in rows])


def test_the_old_threshold_decides_until_the_new_one_is_confirmed(base: Path, run: winnow.Run, tmp_path: Path) -> None:
    before, old = verdicts(run, base / "later", tmp_path / "a"), run.detector
    own = old.score_own(run.embeddings)
    found = run.recalibrate(base / "since")
    scores, _ = verdicts(run, base / "since", tmp_path / "b")
    groups = [Path(row["source"]).parent.name for row in read_table(tmp_path / "b" / "scores.csv")]
    by_hand = conformal(scores, old.false_alarm_rate, old.confidence, groups=groups, weights=group_weights(groups))
    assert found.new.threshold == pytest.approx(by_hand.value, rel=1e-5) and not found.in_force
    assert found.old.threshold == old.threshold.value and found.pictures == 30 == found.new.calibrated_on
    assert found.new.false_alarm_rate == pytest.approx(by_hand.achieved)
    assert found.old.new_refused == int((scores > old.threshold.value).sum()) > 20
    assert found.new.own_refused == int((old.calibration > by_hand.value).sum())
    assert np.array_equal(verdicts(run, base / "later", tmp_path / "c")[1], before[1])  # proposed, and no more
    assert run.recalibrate(confirmed=True).in_force and run.detector.threshold.value == found.new.threshold
    after = verdicts(run, base / "later", tmp_path / "d")
    assert np.array_equal(after[0], before[0]) and np.array_equal(after[1], after[0] <= found.new.threshold)
    assert after[1].mean() > 0.7 > before[1].mean()
    assert np.array_equal(run.detector.score_own(run.embeddings), own)  # of the run's own pictures nothing changes
    page = Path(run.report()).read_text(encoding="utf-8")
    assert "Threshold set anew" in page and "The new one decides" in page
    assert "The threshold of winnow calibrate, and the own pictures that set it" in page
    assert not run.recalibrate(undo=True).in_force and run.detector.threshold.value == old.threshold.value
    assert np.array_equal(verdicts(run, base / "later", tmp_path / "e")[1], before[1])
    assert run.recalibrate(confirmed=True).in_force  # what was taken back waits
    run.folder.update({"detect": {"false_alarm_rate": 0.2}})
    run.calibrate()
    assert in_force(run.folder, "full") is None  # another detector: its own threshold


def test_what_judges_knows_which_threshold_decides(base: Path, run: winnow.Run) -> None:
    found = run.recalibrate(base / "since", confirmed=True)
    about = about_file(run.folder, None, run.detector)  # of an exported file
    assert about["threshold"] == pytest.approx(found.new.threshold, rel=1e-6)
    assert len(about["calibration"]["scores"]) == 30
    promise = _promised(run.folder, "full", run.detector).promise
    assert (promise.threshold, promise.calibrated_on) == (found.new.threshold, 30)
    run.score(base / "later")
    assert "by another model or threshold" not in Path(run.report()).read_text(encoding="utf-8")
    run.recalibrate(undo=True)
    assert "by another model or threshold" in Path(run.report()).read_text(encoding="utf-8")


def test_commands_say_both_and_a_killed_one_leaves_one_whole(
    base: Path, run: winnow.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("recalibrate", "--run", run.folder.path)
    assert command(*words) == 1 and "no other was proposed" in capsys.readouterr().err
    assert command(*words, "--from", base / "since") == 0
    said = capsys.readouterr().out
    assert "old threshold" in said and "new threshold" in said and "--confirm" in said and "The old one decides" in said
    kept = tree(run.folder.path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("winnow.run.recalibration.os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            run.recalibrate(confirmed=True)
    assert tree(run.folder.path) == kept
    assert command(*words) == 0 and "The old one decides" in capsys.readouterr().out
    assert command(*words, "--confirm") == 0 and "--undo" in capsys.readouterr().out
    assert command(*words, "--confirm") == 1 and "waits to be confirmed" in capsys.readouterr().err
    assert command(*words, "--undo") == 0 and command(*words, "--undo") == 1
    path = run.folder.path / FOLDER / PROPOSED
    path.write_text(path.read_text(encoding="utf-8").replace('"mode": "full"', '"mode": "fast"'), encoding="utf-8")
    with pytest.raises(Damaged, match=PROPOSED):
        run.recalibrate(confirmed=True)


def test_what_cannot_set_a_threshold_is_refused(base: Path, run: winnow.Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the run's own"):
        run.recalibrate(base / "good")
    with pytest.raises(OptionError, match="--undo does not go with"):
        run.recalibrate(base / "since", undo=True)
    for wanted in ({"confirmed": True}, {"undo": True}):
        with pytest.raises(RunError, match="has no threshold"):
            run.recalibrate(**wanted)
    watched = tmp_path / "watched"
    (watched / "ring").mkdir(parents=True)
    (watched / "watch.json").write_text('{"format": 1}')
    with pytest.raises(InputError, match=r"no sample(?s:.)*--keep"):
        run.recalibrate(watched)
    with pytest.raises(InputError, match="only pictures that were refused"):
        run.recalibrate(watched / "ring")
    assert not (run.folder.path / FOLDER).exists()
    shutil.copytree(base / "since", watched / "sample")
    assert run.recalibrate(watched).pictures == 30


def test_a_watch_keeps_one_picture_of_each_minute(tmp_path: Path) -> None:
    watcher = Watcher.__new__(Watcher)
    watcher._sampled = {}
    sample, pixels = Ring(tmp_path / "sample", 60.0, whole=True), np.zeros((40, 2000, 3), np.uint8)
    for name in ("a", "b"):
        for second in range(0, 180, 10):
            moment = Moment(name, time=float(second), picture=lambda: pixels)
            watcher._keep_sample(sample, name, moment, f"{name}{second}")
    assert sorted(path.stem for path in (tmp_path / "sample").iterdir()) == ["a0", "a120", "a60", "b0", "b120", "b60"]
    from PIL import Image

    with Image.open(tmp_path / "sample" / "a0.png") as picture:
        assert picture.size == (2000, 40)


def cloths(folder: Path, count: int, seed: int, grain: float = 0, torn: bool = False) -> Path:
    """Write drawn cloths with so much grain of a camera, or torn: noise in a corner."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = (cloth(rng) + rng.normal(0, grain, (HEIGHT, WIDTH))).clip(0, 255).astype(np.uint8)
        if torn:
            pixels[:16, :24] = rng.integers(0, 256, pixels[:16, :24].shape)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder


def test_of_a_run_that_looks_for_damage_pictures_patches_and_maps_have_levels_anew(tmp_path: Path) -> None:
    run = winnow.Run(tmp_path / "run", "inspect-texture", **(SMALL | {"iterations": 60, "border": 0})).fit(
        cloths(tmp_path / "good", 30, 1)
    )
    since, later = cloths(tmp_path / "since", 25, 2, grain=12), cloths(tmp_path / "later", 20, 3, grain=12)
    torn = cloths(tmp_path / "torn", 5, 4, grain=12, torn=True)
    levels = map_levels(run.folder, run.folder.options.score.mode)
    before = verdicts(run, later, tmp_path / "a")[1]
    scores = verdicts(run, since, tmp_path / "b")[0]
    found = run.recalibrate(since)
    by_hand = conformal(scores, run.detector.false_alarm_rate, run.detector.confidence)
    known = run.folder.result(Calibrated).own.whole
    assert known and (found.pictures, found.own_pictures) == (25, known.calibrated_on)
    assert found.new.threshold == pytest.approx(by_hand.value, rel=1e-5)
    assert found.old.new_refused == int((scores > found.old.threshold).sum())
    assert np.array_equal(verdicts(run, later, tmp_path / "c")[1], before)
    run.recalibrate(confirmed=True)
    after = verdicts(run, later, tmp_path / "d")[1]
    assert after.mean() >= 0.8 > before.mean() and not verdicts(run, torn, tmp_path / "e")[1].any()
    assert len(read_table(tmp_path / "e" / "defects.csv")) >= 5
    mode = run.folder.options.score.mode
    assert map_levels(run.folder, mode) != levels
    about = about_file(run.folder, None, run.detector)
    assert about["picture_threshold"] == pytest.approx(by_hand.value, rel=1e-6)
    whole = _promised(run.folder, mode, run.detector).whole
    assert whole and (whole.threshold, whole.calibrated_on) == (pytest.approx(by_hand.value), 25)
    assert "Threshold set anew" in Path(run.report()).read_text(encoding="utf-8")
    run.recalibrate(undo=True)
    assert map_levels(run.folder, mode) == levels
    assert np.array_equal(verdicts(run, later, tmp_path / "f")[1], before)
