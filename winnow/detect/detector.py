"""A scorer with its threshold: fitted on normals, calibrated on the same normals held out in turn, saved in a folder."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from winnow.arrays import read_arrays
from winnow.detect.registry import make_scorer, remake_scorer
from winnow.detect.scorer import as_scorer, folds_of
from winnow.detect.tail import Tail, tail_of
from winnow.detect.threshold import Threshold, check_rate, conformal, group_weights, p_values
from winnow.embeddings import Embeddings, blocks
from winnow.errors import DataError, OptionError, RunError
from winnow.estimator import Estimator, check_whole, within
from winnow.files import as_written, read_sealed, replacing, write_sealed

FORMAT = 4
ALONE = (
    "One good picture leaves none to hold out, so that nothing can be promised of new ones: the threshold is an estimate, the score of its "
    "mirrored copies. It may refuse half of the good pictures, or find little; 19 good pictures promise 5 % false alarms."
)


class Detector(Estimator):
    """Finds what does not belong, at a stated false-alarm rate, after seeing only what does.

        detector = Detector(false_alarm_rate=0.05).fit(normal)      # Embeddings, or (n, d) embeddings
        detector.score(new), detector.p_values(new), detector.predict(new)     # predict: True = belongs

    `scorer` is what `make_scorer` takes, such as 'knn(metric=cosine)' or one's own as 'module:Class', or an unfitted object
    with `fit` and `score`. The calibration scores are cross-fitted (Vovk, Cross-conformal predictors, 2015): pictures the
    network has not seen are dealt into `folds` by whole groups, each fold scored by a scorer fitted without it; no group
    weighs more than the median one.

    `estimate`: a rate that the calibration pictures are too few to promise is estimated. Without a `false_alarm_rate` it is the usual
    one of `winnow.detect.threshold.conformal`. `contamination` is the share of the normals that may not belong: after a first fit that
    share, the most anomalous, is set aside, and all is fitted again without it. `ids` are those of the calibration pictures.
    `unpromised` says why no rate can be promised, "" where one can be: one picture alone cannot be held out, so that its threshold is
    the scorer's estimate (`Scorer.fit_alone`).

    It works in scikit-learn's pipelines and searches: `fit` takes a `y`, which it ignores. `predict` says True and False, not the +1 and
    -1 of scikit-learn's outlier detectors, which `numpy.where(belongs, 1, -1)` gives; their `decision_function` (0 or more: belongs) and
    `score_samples` are there, by which scikit-learn measures.
    """

    KIND = "outlier_detector"

    def __init__(
        self,
        scorer: str | Any = "fisher",
        *,
        false_alarm_rate: float | None = None,
        confidence: float = 0.0,
        estimate: bool = False,
        contamination: float = 0.0,
        folds: int = 10,
        seed: int = 0,
    ) -> None:
        check_whole(folds=(folds, 2))
        check_rate(false_alarm_rate, confidence)
        if not within(contamination, 0, 0.5):
            raise OptionError(
                f"contamination is {contamination}; it must be from 0 to below 0.5.", "0.1 sets a tenth aside."
            )
        self._asked = scorer
        self.scorer = make_scorer(scorer) if isinstance(scorer, str) else copy.copy(as_scorer(scorer))
        self.scorer_name = scorer if isinstance(scorer, str) else self.scorer.spec()
        self.false_alarm_rate, self.confidence, self.folds, self.seed = false_alarm_rate, confidence, folds, seed
        self.contamination, self.estimate = contamination, estimate
        self.unpromised = ""
        self.before: Detector | None = None  # what it was calibrated on before `recalibrated`: the run's own pictures
        self.patch_tail: Tail | None = None
        self.parts = np.empty(0, int)  # patches of each calibration picture, where they are pictures cut into patches
        self.calibration = self.weights = np.empty(0)
        self.groups = self.ids = np.empty(0, dtype=object)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the options by name; the scorer as it was given, not as it was fitted."""
        return {**super().get_params(deep), "scorer": self._asked}

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether it can judge."""
        return bool(len(self.calibration))

    def fit(self, normal: Embeddings | Any, y: Any = None) -> Self:
        """Fit the scorer on all normals and calibrate it on those not seen in training (on all, where all were seen); `y` is ignored.

        Raises `DataError` when they are fewer than the scorer takes, not finite or lack a loss that it needs.
        """
        normal = normal if isinstance(normal, Embeddings) else Embeddings.of(normal)
        fewest = min(2, self.scorer.calibrates_from)
        if len(normal) < fewest:
            raise DataError(
                f"A detector needs at least {fewest} normal picture{'s' if fewest > 1 else ''}, not {len(normal)}.",
                "Give more pictures of what belongs.",
            )
        self.unpromised = ALONE if len(normal) == 1 else ""
        if self.contamination:
            normal = normal[self._clean(normal)]
        scores = self._held_out(normal)
        rows = np.flatnonzero(~np.isnan(scores))
        self.calibration, self.groups, self.ids = scores[rows], normal.groups[rows], normal.ids[rows]
        self.weights = group_weights(self.groups)
        return self

    def _held_out(self, normal: Embeddings) -> np.ndarray:
        if len(normal) == 1:
            return self.scorer.fit_alone(normal)
        return self.scorer.fit_held_out(normal, folds_of(normal, self.folds, self.seed))

    def _clean(self, normal: Embeddings) -> np.ndarray:
        """Return the rows that stay without the share `contamination` of highest scores, which is taken from seen and unseen
        pictures separately, because the network knows the seen ones better."""
        scores = self._held_out(normal)
        scores = np.where(np.isnan(scores), self.scorer.score(normal), scores)
        stay = [
            part[np.argsort(scores[part], kind="stable")[: len(part) - int(self.contamination * len(part))]]
            for part in (np.flatnonzero(normal.seen), np.flatnonzero(~normal.seen))
        ]
        return np.sort(np.concatenate(stay))

    @property
    def threshold(self) -> Threshold:
        """Return the conformal threshold at this detector's false-alarm rate."""
        self._require_fitted()
        found = self._conformal(slice(None))
        return replace(found, achieved=1.0, note=self.unpromised) if self.unpromised else found

    def _conformal(self, rows: Any) -> Threshold:
        return conformal(
            self.calibration[rows],
            self.false_alarm_rate,
            self.confidence,
            groups=self.groups[rows],
            weights=self.weights[rows],
            estimate=self.estimate and not self.unpromised,
        )

    @property
    def tail(self) -> Tail | None:
        """Return the tail that p-values below those of all calibration scores are estimated by; None where the threshold is promised."""
        return tail_of(self.calibration, self.weights) if self.estimate and self.threshold.estimated else None

    @property
    def extremes(self) -> np.ndarray:
        """Return the rows (k,) of the calibration pictures above the threshold, most anomalous first: they hold it up."""
        rows = np.flatnonzero(self.calibration > self.threshold.value)
        return rows[np.argsort(-self.calibration[rows], kind="stable")]

    def without_extremes(self) -> float:
        """Return what the threshold would be, had the pictures above it not been among the calibration."""
        stay = self.calibration <= self.threshold.value
        return self._conformal(stay).value

    def with_threshold(self, false_alarm_rate: float, confidence: float | None = None) -> Detector:
        """Return the same fitted detector at another false-alarm rate; nothing is fitted again."""
        other = copy.copy(self)
        other.false_alarm_rate, other.confidence = (
            false_alarm_rate,
            self.confidence if confidence is None else confidence,
        )
        return other

    def recalibrated(self, scores: Any, groups: Any, ids: Any) -> Detector:
        """Return the same fitted detector with its threshold set by other good pictures: their scores, groups and ids (n,).

        The run's own held-out pictures stay known: `before` is this detector. `DataError` for scores that are not finite, or none.
        """
        other = copy.copy(self)
        other.calibration = np.asarray(scores, dtype=np.float64)
        other.groups, other.ids = np.asarray(groups, dtype=object), np.asarray(ids, dtype=object)
        if not (len(other.calibration) and np.isfinite(other.calibration).all()):
            raise DataError(
                "A threshold needs at least one finite score.", "Give pictures of what belongs, as they come now."
            )
        other.weights, other.unpromised, other.parts, other.before = group_weights(groups), "", np.empty(0, int), self
        return other

    def score(self, embeddings: Embeddings | Any, y: Any = None) -> np.ndarray:
        """Return scores (n,), higher = more anomalous, of `Embeddings` or (n, d) embeddings; `y` is ignored."""
        self._require_fitted()
        return self.scorer.score(embeddings)

    def score_own(self, embeddings: Embeddings) -> np.ndarray:
        """Return scores (n,) of pictures it was fitted on, for those of the calibration their held-out scores."""
        own = self.before or self
        held_out = dict(zip(own.ids.astype(str), own.calibration, strict=True))
        scores = np.array([held_out.get(str(name), np.nan) for name in embeddings.ids])
        rest = np.flatnonzero(self.without_score(embeddings))
        for part in blocks(len(rest)):
            scores[rest[part]] = self.score(embeddings[rest[part]])
        return scores

    def without_score(self, embeddings: Embeddings) -> np.ndarray:
        """Return which pictures (n,) bool have no held-out score, so that `score_own` needs all of their embeddings."""
        return ~np.isin(embeddings.ids.astype(str), (self.before or self).ids.astype(str))

    def p_values(self, embeddings: Embeddings | Any) -> np.ndarray:
        """Return conformal p-values (n,), small = anomalous, of `Embeddings`, (n, d) embeddings, or scores (n,) from `score`."""
        self._require_fitted()
        scores = (
            embeddings
            if not isinstance(embeddings, Embeddings) and np.ndim(embeddings) == 1
            else self.score(embeddings)
        )
        return p_values(self.calibration, scores, self.weights, self.tail)

    def predict(self, embeddings: Embeddings | Any) -> np.ndarray:
        """Return whether each picture belongs (n,) bool."""
        return self.score(embeddings) <= self.threshold.value

    def decision_function(self, embeddings: Embeddings | Any) -> np.ndarray:
        """Return how far (n,) each score is below the threshold: 0 or more belongs."""
        return self.threshold.value - self.score(embeddings)

    def score_samples(self, embeddings: Embeddings | Any) -> np.ndarray:
        """Return the scores (n,) with scikit-learn's sign, higher = belongs more."""
        return -self.score(embeddings)

    def _require_fitted(self) -> None:
        if not len(self.calibration):
            raise DataError("This detector has not been fitted.", "Call fit(normal) first.")

    def save(self, folder: Path) -> None:
        """Write detector.npz and, last, detector.json with its SHA-256; nothing is pickled."""
        self._require_fitted()
        folder = Path(folder)
        arrays = {f"scorer/{name}": array for name, array in self.scorer.state().items()}
        arrays.update(
            calibration=self.calibration, weights=self.weights, groups=self.groups.astype(str), ids=self.ids.astype(str)
        )
        unsafe = [name for name, array in arrays.items() if array.dtype.hasobject]
        if unsafe:
            raise DataError(
                f"The state of the scorer '{self.scorer_name}' holds Python objects in '{unsafe[0]}'.",
                "Let state() return arrays of numbers or fixed-width strings.",
            )
        (folder / "detector.json").unlink(missing_ok=True)
        with replacing(folder / "detector.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        content = {
            "format": FORMAT,
            "scorer": self.scorer_name,
            "spec": self.scorer.spec(),
            "false_alarm_rate": self.false_alarm_rate,
            "confidence": self.confidence,
            "estimate": self.estimate,
            "contamination": self.contamination,
            "folds": self.folds,
            "seed": self.seed,
            "unpromised": self.unpromised,
        }
        write_sealed(folder / "detector.json", content, ["detector.npz"])

    @classmethod
    def load(cls, folder: Path, *, own: type | Collection[type] = ()) -> Detector:
        """Read what `save` wrote; one's own scorers must be passed as the classes `own`, because no file may name code to run.

        Raises `RunError` when it is missing or has an unknown scorer, `Damaged` when it was changed on disk.
        """
        folder = Path(folder)
        about = read_sealed(folder / "detector.json", "detector", "Run: winnow calibrate --run RUN", FORMAT)
        again = "Run: winnow calibrate --run RUN"
        arrays = read_arrays(folder / "detector.npz", again)
        with as_written(folder / "detector.json", again):
            scorer = remake_scorer(str(about["spec"]), [own] if isinstance(own, type) else own)
            if isinstance(scorer, str):
                raise RunError(
                    f"The detector in {folder} uses the scorer '{scorer}', which is not one of Winnow's.",
                    f"If you trust it: --trust {scorer}, or in Python Detector.load(folder, own=YourScorer).",
                )
            options = ("false_alarm_rate", "confidence", "estimate", "contamination", "folds", "seed")
            detector = cls(scorer, **{name: about[name] for name in options})
            detector.scorer_name, detector.unpromised = str(about["scorer"]), str(about["unpromised"])
        with as_written(folder / "detector.npz", again):
            detector.scorer = scorer.restore(
                {name.removeprefix("scorer/"): array for name, array in arrays.items() if name.startswith("scorer/")}
            )
            detector.calibration, detector.weights = arrays["calibration"], arrays["weights"]
            detector.groups, detector.ids = arrays["groups"].astype(object), arrays["ids"].astype(object)
            columns = (detector.calibration, detector.weights, detector.groups, detector.ids)
            if {column.shape for column in columns} != {(len(detector.calibration),)}:
                raise ValueError("its columns differ in length")
            _ = detector.threshold  # of which numbers are made here and not at the first picture
        return detector
