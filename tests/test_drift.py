"""Drift: the capital against a slow version, false alarms over streams of known truth, what changed, and a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from winnow import show
from winnow.detect.changes import DIRECTIONS, Directions, changed_rows, changes, in_words, looks, usual_positions
from winnow.detect.drift import JUMP, SHARES, SLOPES, Drift, blocks
from winnow.errors import DataError, OptionError

from small_runs import command, small_run


def slow_capital(calibration: list[float], threshold: float, foreign: float, scores: list[float]) -> float:
    """The same bets with plain capitals: each is divided anew by a share at every step, then multiplied."""
    random, before = np.random.default_rng(0), [one for one in calibration if one <= threshold]
    ranks, refusals = [0.5 / len(SLOPES)] * len(SLOPES), [0.5 / 4] * 4
    for score in scores:
        refused = score > threshold
        mean = sum(refusals) / 4
        refusals = [(1 - JUMP) * part + JUMP * mean for part in refusals]
        for place, share in enumerate(SHARES, 1):
            refusals[place] *= share / foreign if refused else (1 - share) / (1 - foreign)
        if not refused:
            above, equal = sum(one > score for one in before), 1 + sum(one == score for one in before)
            p = (above + random.random() * equal) / (len(before) + 1)
            before.append(score)
            mean = sum(ranks) / len(SLOPES)
            ranks = [
                ((1 - JUMP) * part + JUMP * mean) * (1 + slope * (p - 0.5))
                for part, slope in zip(ranks, SLOPES, strict=True)
            ]
    return float(np.log10(sum(ranks) + sum(refusals)))


def test_the_capital_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        calibration, scores = rng.integers(0, 12, 30).astype(float), rng.integers(0, 14, 80).astype(float)
        drift = Drift(calibration, 10.0)
        curve = drift.extend(scores)
        assert curve[-1] == pytest.approx(slow_capital(calibration.tolist(), 10.0, 0.3, scores.tolist()), abs=1e-9)
        assert drift.at == next((block for block, value in enumerate(curve, 1) if value >= 2), None)
        again = Drift(calibration, 10.0)  # as after a crash: the scores are all that was kept
        again.extend(scores[:50])
        assert again.extend(scores[50:]) == curve[50:]


@pytest.mark.parametrize(("foreign", "ties"), [(0.0, False), (0.05, True), (0.2, False)])
def test_an_unchanged_process_raises_no_more_alarms_than_asked(foreign: float, ties: bool) -> None:
    """200 streams of 300 blocks after 40 calibration scores, at 5 %: at most 10 on average, and 18 with a chance of one in a hundred."""
    rng, alarms = np.random.default_rng(3), 0
    for seed in range(200):
        normal, odd = rng.normal(size=340), rng.random(300) < foreign
        normal = normal.round(1) if ties else normal
        drift = Drift(normal[:40], np.sort(normal[:40])[37], alarm=0.05, seed=seed)
        drift.extend(normal[40:] + 6 * odd)
        alarms += drift.alarmed
    assert alarms <= 18


def test_ranks_among_the_calibration_scores_alone_would_not_do() -> None:
    """The same bets without what came since: of 30 long unchanged streams many raise an alarm."""
    rng, alarms = np.random.default_rng(4), 0
    for seed in range(30):
        calibration = rng.normal(size=40)
        drift = Drift(calibration, np.inf, seed=seed)
        for score in rng.normal(size=1500):
            drift.update(score)
            drift._before = sorted(calibration)
        alarms += drift.alarmed
    assert alarms > 10


@pytest.mark.parametrize(("moved", "most"), [(1.0, 120), (-1.0, 120), (6.0, 25)])
def test_a_change_is_found(moved: float, most: int) -> None:
    rng, found = np.random.default_rng(5), []
    for seed in range(20):
        normal = rng.normal(size=500)
        drift = Drift(normal[:100], np.sort(normal[:100])[95], seed=seed)
        drift.extend(normal[100:300])
        assert not drift.alarmed
        drift.extend(normal[300:] + moved)
        found.append(drift.at - 200 if drift.at else 999)
    assert np.median(found) <= most


def test_a_block_is_a_picture_or_a_minute_of_a_video() -> None:
    sources = ["a.png", *["film"] * 6, "b.png", *["other"] * 2]
    times = [np.nan, 0, 30, 59, 60, 61, 130, np.nan, 0, 59]
    found = blocks(sources, times, 60.0)
    assert (
        len(found) == 6
        and found[0] == 0
        and found[1] in (1, 2, 3)
        and found[2] in (4, 5)
        and found[3:5].tolist() == [6, 7]
    )
    assert len(blocks(sources, times, 1.0)) == 10 and len(blocks([], [], 1.0)) == 0
    assert len({tuple(blocks(sources, times, 60.0, seed)) for seed in range(20)}) > 1


def test_what_changed_is_named() -> None:
    rng = np.random.default_rng(6)
    base = rng.normal(0, 40, (12, 8, 8, 1)).repeat(6, axis=1).repeat(6, axis=2) + 128 + rng.normal(0, 6, (12, 1, 1, 1))
    noisy = base + rng.normal(0, 2, base.shape)
    before = looks(noisy.clip(0, 255).astype(np.uint8))

    def told(pixels: np.ndarray) -> str:
        return changes(before, looks(pixels.clip(0, 255).astype(np.uint8)))[0].text

    soft = (noisy + np.roll(noisy, 1, 1) + np.roll(noisy, 1, 2) + np.roll(noisy, 2, 1) + np.roll(noisy, 2, 2)) / 5
    assert told(noisy - 40).startswith("darker by") and told(noisy + 40).startswith("brighter by")
    assert "smoother" in told(soft) or "blurred" in told(soft)
    assert told(base + rng.normal(0, 15, base.shape)).startswith("noisier by")
    vectors = rng.normal(size=(50, 5)) * [9, 4, 2, 1, 1]
    directions = Directions.of(vectors)
    assert directions
    now = directions.positions(vectors + np.array([0, 20, 0, 0, 0]))
    moved = changed_rows(usual_positions(directions.count), 50, now)
    assert in_words(moved) == [f"the embeddings moved by {abs(moved[0].moved):.1f} standard deviations (direction 2)"]
    assert moved[0].name == "direction 2 of the embedding" and abs(moved[0].moved) > 4


@pytest.mark.parametrize("count", [5, 40, 200])
def test_nothing_is_named_of_pictures_that_did_not_change(count: int) -> None:
    """Light of two cameras in turn: the median of few pictures lies at either one."""
    rng, named = np.random.default_rng(count), 0
    for _ in range(200):
        values = rng.choice([-1, 1], (100 + count, 14)) + rng.normal(0, 0.1, (100 + count, 14))
        before, now = ({f"{k}": part[:, k] for k in range(14)} for part in (values[:100], values[100:]))
        found = changes(before, now)
        named += any(change.told for change in found)
        for change in found:
            spread, later = before[change.name].std(), max(before[change.name].std(), now[change.name].std())
            assert change.moved == pytest.approx((now[change.name].mean() - before[change.name].mean()) / spread)
            assert change.errors == pytest.approx(change.moved * spread / np.sqrt(spread**2 / 100 + later**2 / count))
    assert named <= 8  # a hundredth is expected
    assert changes({name: one[:1] for name, one in before.items()}, now) == []
    assert all(change.told for change in changes(before, {name: one + 4 for name, one in now.items()}))


def test_directions_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(60, 14)) @ rng.normal(size=(14, 14)) + 100
    directions = Directions.of(vectors)
    assert directions and directions.count == DIRECTIONS
    places, (sizes, axes) = directions.positions(vectors), np.linalg.eigh(np.cov(vectors.T, bias=True))
    assert np.allclose(places.mean(axis=0), 0) and np.allclose(places.std(axis=0), 1)
    for number in range(DIRECTIONS):
        axis = axes[:, -1 - number] * np.sign(axes[np.abs(axes[:, -1 - number]).argmax(), -1 - number])
        along = (vectors - vectors.mean(axis=0)) @ axis
        assert np.allclose(places[:, number], along / np.sqrt(sizes[-1 - number]))
    few = Directions.of(vectors[:4])
    assert few and few.count == 3
    flat = vectors.copy()
    flat[:, 2:] = 100  # embeddings that differ along two directions alone
    held = Directions.of(flat)
    assert held and held.count == 2
    assert Directions.of(np.full((9, 4), 0.1)) is None and Directions.of(vectors[:1]) is None
    assert Directions.of(np.empty((9, 0))) is None


def test_bad_input_is_told() -> None:
    with pytest.raises(OptionError, match="--drift-alarm is 1"):
        Drift([1.0], 2.0, alarm=1.0)
    with pytest.raises(OptionError, match="foreign"):
        Drift([1.0], 2.0, foreign=0.5)
    with pytest.raises(DataError, match="finite"):
        Drift([np.nan], 2.0)
    with pytest.raises(DataError, match="finite"):
        Drift([1.0], 2.0).update(float("nan"))


def test_score_says_whether_the_threshold_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = small_run(tmp_path)
    held = run.score(tmp_path / "good", to=tmp_path / "a", drift_alarm=0.01)
    assert (
        held.drift and held.drift.at is None and held.drift.blocks == 32 and "The threshold holds" in show.score(held)
    )
    (tmp_path / "dark").mkdir()
    for number, path in enumerate(sorted((tmp_path / "good").rglob("*.png"))):
        with Image.open(path) as picture:
            picture.point(lambda value: value // 3).save(tmp_path / "dark" / f"{number:03d}.png")
    words = ("score", tmp_path / "good", tmp_path / "dark", "--run", run.folder.path, "--to", tmp_path / "b")
    assert command(*words, "--drift-alarm", 0.01) == 0
    said, page = capsys.readouterr().out, (tmp_path / "b" / "drift.html").read_text(encoding="utf-8")
    assert "THE THRESHOLD DOES NOT HOLD ANY MORE" in said and "darker by" in said, said
    assert "does not hold any more" in page and page.count("<img") == 1 + page.count(
        "<li"
    )  # the chart, and the pictures of both times
    assert (
        run.score(tmp_path / "good", to=tmp_path / "b").drift is None and not (tmp_path / "b" / "drift.html").exists()
    )
    for option, told in ((("--drift-alarm", 0), "--drift-alarm is 0"), (("--drift-block", 5), "--drift-block has nothing to do"),
                         (("--drift-alarm", 0.1, "--drift-block", 0), "--drift-block is 0")):  # fmt: skip
        assert command(*words, *option) == 1 and told in capsys.readouterr().err
