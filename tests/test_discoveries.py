"""A batch's false discoveries: against the slow definition, simulated batches of known truth, and a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from winnow import show
from winnow.detect.detector import Detector
from winnow.detect.discoveries import flagged, note_of, q_values
from winnow.detect.threshold import p_values
from winnow.errors import OptionError
from winnow.tables import read_table

from small_runs import command, judged_run, small_run
from videos import write


def slow_flagged(p: np.ndarray, rate: float) -> list[bool]:
    """Flag the k smallest of m p-values, for the largest k whose k-th smallest is at most k/m of the rate."""
    ordered = sorted(p)
    most = max([0, *(k for k in range(1, len(p) + 1) if ordered[k - 1] <= rate * k / len(p) + 1e-12)])
    return [value <= ordered[most - 1] if most else False for value in p]


def test_what_is_flagged_is_by_the_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        m, n = rng.integers(1, 40), rng.integers(1, 60)
        p = rng.integers(1, n + 2, m) / (n + 1) * rng.choice([1, 0.2])  # with ties
        for rate in (0.01, 0.1, 0.3, 0.9):
            assert flagged(q_values(p), rate).tolist() == slow_flagged(p, rate)
    assert q_values([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert len(q_values([])) == 0


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2])
def test_of_the_flagged_at_most_the_rate_belongs_and_what_is_far_is_found(share: float) -> None:
    """400 batches of 200 pictures by 2,500 good ones: the mean share of false discoveries is that of the rate that is good, or less."""
    rng, rate = np.random.default_rng(1), 0.1
    false, found = [], []
    for _ in range(400):
        foreign = np.arange(200) < share * 200
        p = p_values(rng.normal(size=2500), rng.normal(size=200) + 4.5 * foreign)
        chosen = flagged(q_values(p), rate)
        false.append((chosen & ~foreign).sum() / max(1, chosen.sum()))
        found.append(chosen[foreign].mean() if share else 1.0)
    assert np.mean(false) <= rate * (1 - share) + 2 * np.std(false) / 20
    assert np.mean(false) >= rate * (1 - share) / 3  # and not by flagging next to nothing
    assert np.mean(found) > (0.85 if share != 0.02 else 0.7)


def test_a_batch_that_the_good_pictures_are_too_few_for_is_told() -> None:
    normal = np.random.default_rng(0).normal(size=(49, 3))
    detector = Detector("mahalanobis").fit(normal)
    note = note_of(detector, 0.1, 100, related=False)
    assert "No p-value is below 0.02" in note and "unless 20 are" in note and "with 999 of these a single one" in note
    few = np.where(np.arange(100) < 19, 1 / 50, 1.0)
    assert not flagged(q_values(few), 0.1).any()
    few[19] = 1 / 50
    assert flagged(q_values(few), 0.1).sum() == 20
    assert note_of(detector, 0.1, 5, related=False) == "" and "taken independently" in note_of(
        detector, 0.1, 5, related=True
    )
    guessed = Detector("mahalanobis", estimate=True, false_alarm_rate=0.001).fit(normal)
    assert "is an estimate" in note_of(guessed, 0.1, 100, related=False)
    detector.unpromised = "one picture"
    assert "not promised" in note_of(detector, 0.1, 100, related=False)


def test_score_flags_of_a_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = small_run(tmp_path)
    found = run.score([tmp_path / "good", tmp_path / "bad"], to=tmp_path / "a", false_discoveries=0.9)
    rows = read_table(tmp_path / "a" / "scores.csv")
    p = np.array([float(row["p_value"]) for row in rows])
    assert [row["flagged"] == "yes" for row in rows] == slow_flagged(p, 0.9)
    assert np.array([float(row["q_value"]) for row in rows]) == pytest.approx(q_values(p), rel=1e-4)
    assert (found.false_discoveries, found.flagged) == (
        0.9,
        sum(row["flagged"] == "yes" for row in rows),
    ) and found.flagged
    assert f"{found.flagged} flagged: on average at most 90 % of" in show.score(found)
    plain = run.score(tmp_path / "bad", to=tmp_path / "b")
    assert "flagged" not in read_table(tmp_path / "b" / "scores.csv")[0] and plain.flagged is None
    write(tmp_path / "film.mp4", 30)
    assert "taken independently" in run.score(tmp_path / "film.mp4", to=tmp_path / "c", false_discoveries=0.1).note
    words = ("score", tmp_path / "bad", "--run", run.folder.path, "--to", tmp_path / "d", "--false-discoveries")
    for index in range(2):
        assert command(*words, 0.9, "--shard", f"{index}/2") == 0
    assert command("join", tmp_path / "d") == 0 and "flagged" in read_table(tmp_path / "d" / "scores.csv")[0]
    capsys.readouterr()
    assert command(*words, 1) == 1 and "--false-discoveries is 1; it must be above 0" in capsys.readouterr().err
    with pytest.raises(OptionError, match="--false-discoveries"):
        run.score("no such folder", false_discoveries=-0.1)


def test_predict_flags_of_a_batch_as_score_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = judged_run(tmp_path)
    sources = [tmp_path / "good", tmp_path / "bad"]
    found = run.predict(sources, to=tmp_path / "a", false_discoveries=0.9)
    rows, scored = read_table(tmp_path / "a" / "predictions.csv"), run.score(sources, false_discoveries=0.9)
    same = read_table(scored.folder / "scores.csv")
    assert [(row["q_value"], row["flagged"]) for row in rows] == [(row["q_value"], row["flagged"]) for row in same]
    assert (found.false_discoveries, found.flagged) == (0.9, scored.flagged) and found.flagged
    assert f"{found.flagged} flagged: on average at most 90 % of" in show.predict(found)
    plain = run.predict(tmp_path / "bad", to=tmp_path / "b")
    assert "flagged" not in read_table(tmp_path / "b" / "predictions.csv")[0] and plain.flagged is None
    words = ("predict", *sources, "--run", run.folder.path, "--to", tmp_path / "c", "--false-discoveries")
    for index in range(2):
        assert command(*words, 0.9, "--shard", f"{index}/2") == 0
    assert command("join", tmp_path / "c") == 0
    assert read_table(tmp_path / "c" / "predictions.csv") == rows
    capsys.readouterr()
    assert command(*words, 2) == 1 and "--false-discoveries is 2; it must be" in capsys.readouterr().err
    (tmp_path / "model.onnx").touch()
    beside = ("predict", tmp_path / "good", "--onnx", tmp_path / "model.onnx")
    assert command(*beside, "--false-discoveries", 0.1) == 1
    assert "--false-discoveries has nothing to do with --onnx" in capsys.readouterr().err
    assert command(*beside, "--regions") == 1 and "--regions has nothing to do with --onnx" in capsys.readouterr().err
