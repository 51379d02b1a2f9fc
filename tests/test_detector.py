"""The detector: calibrated false alarms, thresholds that refit nothing, and a folder that is whole or absent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from winnow.check import obvious
from winnow.detect.detector import Detector
from winnow.detect.registry import SCORERS
from winnow.detect.scorer import Scorer
from winnow.detect.scorers.fisher import Fisher
from winnow.detect.scorers.knn import Knn
from winnow.detect.scorers.mahalanobis import Mahalanobis
from winnow.detect.threshold import conformal, group_weights, p_values
from winnow.embeddings import Embeddings
from winnow.errors import Damaged, DataError, OptionError, RunError

NORMAL, NEW, ANOMALOUS = obvious(300, 0, False), obvious(2000, 1, False), obvious(100, 2, True)


class First(Scorer):
    """One's own scorer: the first dimension."""

    def _fit(self, normal: Embeddings) -> None:
        pass

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        return embeddings.vectors[:, 0]


class Counting(First):
    """Counts how often it is fitted and asked."""

    calls = 0

    def _fit(self, normal: Embeddings) -> None:
        Counting.calls += 1

    def _score(self, embeddings: Embeddings) -> np.ndarray:
        Counting.calls += 1
        return super()._score(embeddings)


@pytest.mark.parametrize(
    "name", [*SCORERS, "knn(metric=cosine)", "mahalanobis(metric=cosine)", "mahalanobis(relative=true)"]
)
def test_false_alarms_are_close_to_those_asked_for_and_anomalies_are_found(name: str) -> None:
    detector = Detector(name, false_alarm_rate=0.05).fit(NORMAL)
    assert 1 - detector.predict(NEW).mean() == pytest.approx(0.05, abs=0.045)
    assert detector.threshold.achieved <= 0.05
    # The anomalous differ most in length; of their directions alone many are ordinary.
    assert detector.predict(ANOMALOUS).mean() < (0.6 if name == "knn(metric=cosine)" else 0.1)
    assert detector.p_values(ANOMALOUS).mean() < 0.2


@pytest.mark.parametrize("name", ["fisher", "knn", "mahalanobis"])
def test_false_alarms_over_many_fits(name: str) -> None:
    """The mean over fits: no more than asked for (training scores would give several times that), and not far less."""
    alarms = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        normal, new = (Embeddings.of(rng.normal(size=(n, 12))) for n in (100, 400))
        alarms.append(1 - Detector(name, false_alarm_rate=0.1).fit(normal).predict(new).mean())
    assert 0.06 < np.mean(alarms) < 0.115


def test_plain_arrays_as_in_scikit_learn() -> None:
    vectors = NORMAL.vectors
    detector = Detector(scorer="knn").fit(vectors)
    belongs = detector.predict(vectors)
    assert belongs.dtype == bool
    assert belongs.mean() > 0.98
    scores = detector.score(ANOMALOUS.vectors)
    assert detector.p_values(scores).tolist() == detector.p_values(ANOMALOUS.vectors).tolist()
    assert (detector.p_values(scores) == p_values(detector.calibration, scores, detector.weights)).all()
    assert (detector.p_values(scores) <= detector.threshold.level).tolist() == (
        ~detector.predict(ANOMALOUS.vectors)
    ).tolist()


def test_another_threshold_refits_nothing() -> None:
    Counting.calls = 0
    detector = Detector(Counting()).fit(NORMAL)
    before = Counting.calls
    strict = detector.with_threshold(0.2)
    confident = detector.with_threshold(0.2, confidence=0.95)
    assert strict.threshold.value < confident.threshold.value < detector.threshold.value
    assert Counting.calls == before
    assert detector.false_alarm_rate is None and strict.false_alarm_rate == 0.2
    with pytest.raises(OptionError, match="false_alarm_rate"):
        _ = detector.with_threshold(2).threshold


def test_the_pictures_that_hold_the_threshold_up_are_known() -> None:
    detector = Detector("knn").fit(NORMAL)
    rows, cut = detector.extremes, detector.threshold.value
    assert len(rows) == detector.threshold.above >= 3
    assert (np.diff(detector.calibration[rows]) <= 0).all() and detector.calibration[rows].min() > cut
    stay = detector.calibration[detector.calibration <= cut]
    assert detector.without_extremes() == conformal(stay).value < cut


def test_every_option_changes_something() -> None:
    usual = Detector("knn").fit(NORMAL)
    for option, value in {
        "scorer": "mahalanobis",
        "false_alarm_rate": 0.2,
        "confidence": 0.95,
        "folds": 2,
        "seed": 1,
    }.items():
        other = Detector(**{"scorer": "knn", option: value}).fit(NORMAL)
        assert (other.threshold, other.calibration.tolist()) != (usual.threshold, usual.calibration.tolist()), option


def test_same_input_same_detector() -> None:
    one, other = Detector().fit(NORMAL), Detector().fit(NORMAL)
    assert one.threshold == other.threshold
    assert one.score(NEW).tolist() == other.score(NEW).tolist()


def test_losses_seen_in_training_do_not_set_the_threshold() -> None:
    seen = np.arange(300) < 150
    losses = {name: np.where(seen, values * 1e-3, values) for name, values in NORMAL.losses.items()}
    detector = Detector("error", false_alarm_rate=0.05).fit(Embeddings.of(NORMAL.vectors, losses=losses, seen=seen))
    assert detector.threshold.n == 150
    assert 1 - detector.predict(NEW).mean() == pytest.approx(0.05, abs=0.045)
    everything = Embeddings.of(NORMAL.vectors, losses=NORMAL.losses, seen=np.ones(300, bool))
    assert Detector("error").fit(everything).threshold.n == 300


def test_groups_stay_whole_and_count_once() -> None:
    """Near copies within a group: by whole groups the neighbours are honest, by rows they would be copies."""
    rng = np.random.default_rng(3)

    def videos(count: int) -> Embeddings:
        centres = np.repeat(rng.normal(size=(count, 6)), 20, axis=0)
        return Embeddings.of(
            centres + 0.01 * rng.normal(size=centres.shape), groups=np.repeat(np.arange(count), 20).astype(str)
        )

    normal, new = videos(40), videos(200)
    honest = Detector("knn", false_alarm_rate=0.1).fit(normal)
    copies = Detector("knn", false_alarm_rate=0.1).fit(Embeddings.of(normal.vectors))
    assert 1 - honest.predict(new).mean() < 0.25
    assert 1 - copies.predict(new).mean() > 0.9
    assert honest.threshold.groups == 40
    assert honest.weights.tolist() == group_weights(normal.groups).tolist()


def test_too_few_normals_say_so() -> None:
    threshold = Detector("mahalanobis").fit(NORMAL[:30]).threshold
    assert "30 held-out pictures" in threshold.note
    assert threshold.achieved > 0.01
    with pytest.raises(DataError, match="at least 2 normal pictures"):
        Detector("mahalanobis").fit(NORMAL[:1])
    for name in set(SCORERS) - {"fisher"}:
        assert np.isfinite(Detector(name).fit(NORMAL[:4]).score(NEW)).all()
    assert np.isfinite(Detector("fisher").fit(NORMAL[:8]).score(NEW)).all()


def test_bad_options_and_unfitted() -> None:
    for options in ({"folds": 1}, {"false_alarm_rate": 0}, {"false_alarm_rate": 1}, {"scorer": "nonesuch"}):
        with pytest.raises(OptionError):
            Detector(**options)
    for call in (lambda d: d.score(NEW), lambda d: d.threshold, lambda d: d.p_values(NEW), lambda d: d.save(Path("x"))):
        with pytest.raises(DataError, match="not been fitted"):
            call(Detector())


@pytest.mark.parametrize("name", [*sorted(SCORERS), "mahalanobis of a background"])
def test_saved_and_loaded_it_scores_the_same(name: str, tmp_path: Path) -> None:
    scorer = Mahalanobis(background=ANOMALOUS.vectors) if name not in SCORERS else name
    groups = np.repeat(["Fußball 1", "試合"], 150)
    normal = Embeddings.of(NORMAL.vectors, losses=NORMAL.losses, groups=groups, cells=NORMAL.cells)
    detector = Detector(scorer, false_alarm_rate=0.07, confidence=0.95).fit(normal)
    detector.save(tmp_path / "detector")
    loaded = Detector.load(tmp_path / "detector")
    assert loaded.score(NEW).tolist() == detector.score(NEW).tolist()
    assert loaded.threshold == detector.threshold
    assert loaded.p_values(NEW).tolist() == detector.p_values(NEW).tolist()
    assert (loaded.folds, loaded.seed, loaded.scorer_name) == (detector.folds, detector.seed, detector.scorer_name)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / "detector.json").read_text() == (tmp_path / "detector" / "detector.json").read_text()


def test_ones_own_scorer_is_loaded_only_when_given(tmp_path: Path) -> None:
    detector = Detector(First()).fit(NORMAL)
    detector.save(tmp_path)
    with pytest.raises(RunError, match="First', which is not one of Winnow's"):
        Detector.load(tmp_path)
    assert Detector.load(tmp_path, own=First).score(NEW).tolist() == detector.score(NEW).tolist()


class Plain:
    """One's own scorer as scikit-learn has them: fit and score alone."""

    def __init__(self, power: float = 2.0) -> None:
        self.power = power

    def fit(self, normal: Embeddings) -> Plain:
        self.mean = normal.vectors.mean(axis=0)
        return self

    def score(self, embeddings: Embeddings) -> np.ndarray:
        return (np.abs(embeddings.vectors - self.mean) ** self.power).sum(axis=1)


def test_fit_and_score_are_enough_for_a_scorer(tmp_path: Path) -> None:
    given = Plain(power=4.0)
    detector = Detector(given, false_alarm_rate=0.05).fit(NORMAL)
    assert not hasattr(given, "mean")  # a copy was fitted
    assert detector.score(NEW) == pytest.approx(Plain(power=4.0).fit(NORMAL).score(NEW))
    assert 1 - detector.predict(NEW).mean() == pytest.approx(0.05, abs=0.045)
    detector.save(tmp_path)
    with pytest.raises(RunError, match=r"Plain', which is not one of Winnow's"):
        Detector.load(tmp_path)
    loaded = Detector.load(tmp_path, own=Plain)
    assert loaded.score(NEW).tolist() == detector.score(NEW).tolist()
    assert loaded.scorer.part.power == 4.0
    with pytest.raises(DataError, match="needs 'reconstruction'"):  # what it was fitted with it may read
        loaded.score(Embeddings.of(NEW.vectors))


@pytest.mark.parametrize("kind", [First, Plain])
def test_a_combination_of_ones_own_and_winnow_s_saves_and_loads(kind: type, tmp_path: Path) -> None:
    detector = Detector(Fisher([kind(), Knn(k=2)]), false_alarm_rate=0.05).fit(NORMAL)
    detector.save(tmp_path)
    with pytest.raises(RunError, match=f"{kind.__name__}', which is not one of Winnow's"):
        Detector.load(tmp_path)
    loaded = Detector.load(tmp_path, own=[kind])
    assert loaded.score(NEW).tolist() == detector.score(NEW).tolist()
    assert loaded.threshold == detector.threshold


def test_loading_imports_nothing_that_the_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile_scorer.py").write_text("raise SystemExit('code was run')")
    monkeypatch.chdir(tmp_path)
    detector = Detector(Fisher([First(), Knn()])).fit(NORMAL)
    monkeypatch.setattr(First, "name", "hostile_scorer:Scorer")
    detector.save(tmp_path / "detector")
    for own in ((), First):
        with pytest.raises(RunError, match="'hostile_scorer:Scorer', which is not one of Winnow's"):
            Detector.load(tmp_path / "detector", own=own)
    assert "hostile_scorer" not in sys.modules


def test_what_cannot_be_saved_of_ones_own_scorer_is_said() -> None:
    class Forgetful(Plain):
        def __init__(self, power: float = 2.0, other: int = 1) -> None:
            super().__init__(power)

    with pytest.raises(DataError, match=r"does not keep the parameter 'other'"):
        Detector(Forgetful())
    with pytest.raises(OptionError, match="is not a scorer"):
        Detector(object())


def test_state_with_python_objects_is_refused(tmp_path: Path) -> None:
    class Pickled(First):
        def state(self) -> dict[str, np.ndarray]:
            return {"things": np.array([{}, []], dtype=object)}

    with pytest.raises(DataError, match="'scorer/things'"):
        Detector(Pickled()).fit(NORMAL).save(tmp_path)
    assert not (tmp_path / "detector.json").exists()


def test_absent_and_damaged_folders(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished detector"):
        Detector.load(tmp_path)
    Detector("mahalanobis").fit(NORMAL).save(tmp_path)
    arrays, about = tmp_path / "detector.npz", tmp_path / "detector.json"
    whole = arrays.read_bytes()
    for spoilt in (
        whole[:-100],
        b"",
        bytes([whole[0] ^ 1]) + whole[1:],
        whole[:500] + bytes([whole[500] ^ 4]) + whole[501:],
    ):
        arrays.write_bytes(spoilt)
        with pytest.raises(Damaged):
            Detector.load(tmp_path)
    arrays.unlink()
    with pytest.raises(RunError, match="missing"):
        Detector.load(tmp_path)
    arrays.write_bytes(whole)
    content = json.loads(about.read_text())
    for spoilt in ({**content, "false_alarm_rate": 0.5}, {**content, "scorer": "latent"}, [], {}):
        about.write_text(json.dumps(spoilt))
        with pytest.raises(Damaged):
            Detector.load(tmp_path)
    about.write_text("{not json")
    with pytest.raises(Damaged):
        Detector.load(tmp_path)


@pytest.mark.slow
def test_killed_while_saving_the_folder_is_whole_or_absent(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom winnow.detect.detector import Detector\n"
        "embeddings = np.random.default_rng(0).normal(size=(400, 300))\n"
        "detectors = [Detector('knn', false_alarm_rate=rate).fit(embeddings) for rate in (0.02, 0.3)]\n"
        "print('ready', flush=True)\n"
        "while True:\n    for detector in detectors: detector.save(Path(sys.argv[1]))\n"
    )
    found = set()
    for delay in (0.02, 0.05, 0.08, 0.13):
        process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if (tmp_path / "detector.json").exists():
            found.add(Detector.load(tmp_path).false_alarm_rate)
        else:
            with pytest.raises(RunError, match="no finished detector"):
                Detector.load(tmp_path)
    assert found <= {0.02, 0.3}


def test_its_own_pictures_are_scored_as_they_were_held_out():
    rng = np.random.default_rng(0)
    embeddings = Embeddings.of(
        rng.normal(size=(60, 4)), groups=np.repeat(np.arange(12), 5).astype(str), seen=np.arange(60) < 20
    )
    detector = Detector("knn").fit(embeddings)
    order = rng.permutation(60)
    own, plain = detector.score_own(embeddings[order]), detector.score(embeddings[order])
    held = dict(zip(detector.ids, detector.calibration, strict=True))
    assert len(held) == 40
    expected = [held.get(name, score) for name, score in zip(embeddings.ids[order], plain, strict=True)]
    np.testing.assert_array_equal(own, expected)
    assert (own != plain).sum() > 20
