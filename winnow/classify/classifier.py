"""From embeddings and a few labels to a classifier with calibrated probabilities, measured by folds of whole groups."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from winnow.arrays import read_arrays
from winnow.classify.cross_fit import CrossFit, CrossFitter, HeldOut, probabilities
from winnow.classify.folds import CHECKED, deal, leaks
from winnow.classify.heads import HEADS
from winnow.classify.tracks import Tracks
from winnow.embeddings import finite, unit_length
from winnow.errors import DataError, OptionError, did_you_mean
from winnow.estimator import Estimator, check_whole
from winnow.files import as_written, read_sealed, replacing, write_sealed
from winnow.metrics.classification import rise

if TYPE_CHECKING:
    from winnow.classify.fine_tuned import FineTuning
    from winnow.models.contract import Model

FORMAT = 1
FITTED = (
    "held_out",
    "by_track",
    "cross_fitter",
    "quick",
    "pseudo_rows",
    "pseudo_target",
    "fitted",
    "centre",
    "temperature",
    "head_name",
)
NETWORK = "network"  # the folder of a tuned network
FEWEST = 3  # labels of a class below which only the nearest class mean is learnt
# Standard errors by which F1 must rise with pseudo-labels: with one, chance alone kept rounds that did harm (docs/log.md).
ERRORS = 2.0
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the labels, on the learning curve
FEW_SHARES = SHARES[1::2]  # where each point of the curve is a training of minutes


@dataclass(frozen=True)
class Round:
    """A round of pseudo-labels: counts per class, the rise of macro F1, its standard error, and whether the round is kept."""

    counts: tuple[int, ...]
    rise: float
    error: float
    kept: bool


class Classifier(Estimator):
    """Learns classes from a few labelled embeddings, and predicts those of others with calibrated probabilities.

        classifier = Classifier().fit(embeddings, labels, groups)  # (n, d); label "", None or NaN (-1 among numbers): unlabelled
        classifier.predict(new), classifier.predict_proba(new)     # (m,) classes, (m, classes) in the order of .classes

    Embeddings are centred on the mean of all n and scaled to length 1. `head`: a name in `HEADS`, or 'auto': the nearest
    class mean when a class has fewer than three labels, else logistic regression. `folds` of whole groups choose its
    setting and the temperature of its probabilities (Guo et al. 2017). `pseudo`: at most so many unlabelled pictures
    become pseudo-labels, in `rounds`, see `winnow.classify.pseudo`.

    With a `tuning` (`winnow.classify.fine_tuned.FineTuning`) the network is trained as well: `fit` then takes embeddings of
    the starting network, `predict` those of the tuned one, `network`.

    After `fit`: `held_out` (probabilities of the labelled by heads that had not seen them), `by_track` (the same averaged over
    tracks, None without), `notes` (the limits of the
    metrics), `done` (a `Round` each), `pseudo_rows` and `pseudo_target` (the pseudo-labels that are kept, as class numbers).

    It works in scikit-learn's pipelines and searches (`clone`, `cross_val_score`); `score` is the accuracy.
    """

    KIND = "classifier"

    def __init__(
        self,
        head: str = "auto",
        *,
        folds: int = 5,
        pseudo: int = 0,
        rounds: int = 3,
        seed: int = 0,
        tuning: FineTuning | None = None,
    ) -> None:
        if not isinstance(head, str) or head not in ("auto", *HEADS):
            raise OptionError(f"There is no head '{head}'.", did_you_mean(str(head), ["auto", *HEADS]))
        check_whole(folds=(folds, 2), pseudo=(pseudo, 0), rounds=(rounds, 1))
        if tuning is not None and head not in ("auto", "logistic"):
            raise OptionError(
                f"The head '{head}' cannot be fine-tuned.",
                "Give --head auto, or --fine-tune '' to learn on the embeddings.",
            )
        self.head, self.folds, self.pseudo, self.rounds, self.seed, self.tuning = (
            head,
            folds,
            pseudo,
            rounds,
            seed,
            tuning,
        )
        self.network: Model | None = None
        self.classes = np.empty(0, object)
        self.notes: tuple[str, ...] = ()
        self.done: tuple[Round, ...] = ()

    def __getattr__(self, name: str) -> Any:
        """Say of what only fitting finds that it has not been found, as `DataError`."""
        if name not in FITTED:
            raise AttributeError(f"'{type(self).__name__}' has no '{name}'")
        if len(self.classes):
            raise DataError(
                f"A loaded classifier predicts; it has no '{name}'.",
                "Call fit(embeddings, labels), or read classifier.json.",
            )
        raise DataError("This classifier has not been fitted.", "Call fit(embeddings, labels) first.")

    def fit(
        self,
        vectors: Any,
        labels: Any,
        groups: Any = None,
        *,
        anomalous: Any = None,
        twins: Any = None,
        tracks: Any = None,
    ) -> Self:
        """Learn from the labelled among n embeddings in order of time; `groups` (n,), by default each picture its own.

        `twins` (n,) are equal for near-identical pictures, which are in one fold even where groups have to be divided. `tracks` (n,)
        are names, "" where there is none: a label counts for its whole track, which counts as one picture and is in one fold.
        `anomalous` (n,) bool: pictures that do not belong and never become pseudo-labels. Raises `DataError` for embeddings
        that are not finite, lists of other lengths, no label, one class alone, or a class with one label.
        """
        vectors = finite(vectors)
        self.classes, target = numbered(labels, len(vectors))
        groups = _column(np.arange(len(vectors)) if groups is None else groups, len(vectors), "groups").astype(str)
        twins = _column(np.arange(len(vectors)) if twins is None else twins, len(vectors), "twins").astype(str)
        anomalous = _column(
            np.zeros(len(vectors)) if anomalous is None else anomalous, len(vectors), "anomalous"
        ).astype(bool)
        self.centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        features, rows = self._features(vectors), np.flatnonzero(target >= 0)
        few = np.bincount(target[rows]).min() < FEWEST and self.tuning is None
        self.head_name = self.head if self.head != "auto" else "nearest_mean" if few else "logistic"
        names = tuple(str(name) for name in self.classes)
        tracked = Tracks.named(None if tracks is None else _column(tracks, len(vectors), "tracks"), len(vectors))
        whole = tracked.of[rows] if tracked else None
        folds = deal(target[rows], groups[rows], names, self.folds, self.seed, twins[rows], whole)
        self.notes = (*folds.notes, *_leak(leaks(features[rows], target[rows], folds.fold), len(rows)))
        self.cross_fitter = self.quick = CrossFitter(
            HEADS[self.head_name](), features, target, groups, folds, self.seed, twins, tracked
        )
        if self.tuning is not None:
            head = self.tuning.begin(features, self.centre, tracked.taught(target)[0])
            self.cross_fitter = CrossFitter(
                head, np.arange(len(vectors)), target, groups, folds, self.seed, twins, tracked
            )
        cross_fit = self.cross_fitter.tuned()
        self.done = ()
        if self.pseudo:
            cross_fit = self._with_pseudo(cross_fit, ~tracked.labelled(target) & (target < 0) & ~anomalous)
        # A head of its own: later measurements, such as the learning curve, fit the cross-fitter's head anew.
        own: Any = self.cross_fitter.final(cross_fit)
        self.fitted, self.network = (own, None) if self.tuning is None else (own.linear, own.tuned)
        self.by_track = self.cross_fitter.by_track(cross_fit) if tracked else None
        self.temperature, self.held_out = cross_fit.temperature, cross_fit.held_out
        self.pseudo_rows = np.flatnonzero((cross_fit.target >= 0) & (target < 0))
        self.pseudo_target = cross_fit.target[self.pseudo_rows]
        return self

    def _with_pseudo(self, cross_fit: CrossFit, free: np.ndarray) -> CrossFit:
        """Add more and more pseudo-labels in rounds, each with heads fitted anew, until F1 by folds rises no more.

        Source: Cascante-Bonilla et al. 2021, Curriculum Labeling.
        """
        for number in range(1, self.rounds + 1):
            after = self.cross_fitter.with_pseudo(cross_fit, -(-self.pseudo * number // self.rounds), free)
            gain, error = rise(cross_fit.held_out.tally, after.held_out.tally, self.seed)
            kept = gain > ERRORS * error
            counts = tuple(np.bincount(after.target[free & (after.target >= 0)], minlength=len(self.classes)).tolist())
            self.done = (*self.done, Round(counts, gain, error, kept))
            if not kept:
                break
            cross_fit = after
        self.notes = (*self.notes, *_without(self.classes, counts))
        return cross_fit

    def learning_curve(self, order: Any = None) -> list[tuple[int, HeldOut]]:
        """Return number of labels and held-out predictions with the first 25, 50, 75 and 100 % of the labels.

        `order` (m,) ranks the m labelled pictures in the order of their rows; without it the order is drawn. Folds and
        evaluated pictures are the same for all. Without pseudo-labels.
        """
        cross_fitter = self.cross_fitter
        rows = cross_fitter.rows
        order = np.random.default_rng(self.seed).permutation(len(rows)) if order is None else np.asarray(order)
        found = []
        for share in SHARES if self.tuning is None else FEW_SHARES:
            count = round(share * len(rows))
            target = np.full(len(cross_fitter.features), -1)
            first = rows[np.argsort(order, kind="stable")[:count]]
            target[first] = cross_fitter.target[first]
            found.append((count, cross_fitter.measured(cross_fitter.fold_targets(target))))
        return found

    def _features(self, vectors: np.ndarray) -> np.ndarray:
        return unit_length(vectors - self.centre)

    def predict_proba(self, vectors: Any) -> np.ndarray:
        """Return calibrated probabilities (n, classes), in the order of `classes`, of embeddings (n, d)."""
        if not len(self.classes):
            raise DataError("This classifier has not been fitted.", "Call fit(embeddings, labels) first.")
        vectors = finite(vectors)
        if vectors.shape[1] != len(self.centre):
            raise DataError(
                f"The embeddings have {vectors.shape[1]:,} dimensions; the classifier was fitted with {len(self.centre):,}.",
                "Encode the pictures with the model that it was fitted with.",
            )
        return probabilities(self.fitted.logits(self._features(vectors)), self.temperature)

    def predict(self, vectors: Any) -> np.ndarray:
        """Return the most probable class (n,) of embeddings (n, d): as numbers where the labels were such, else as objects."""
        found = self.classes[self.predict_proba(vectors).argmax(axis=1)]
        return found if isinstance(self.classes[0], str) else np.array(found.tolist())

    def score(self, vectors: Any, labels: Any) -> float:
        """Return the share (accuracy) of embeddings (n, d) whose most probable class is their label (n,)."""
        return float((self.predict(vectors) == np.asarray(labels, object)).mean())

    @property
    def classes_(self) -> np.ndarray:
        """Return the classes by the name that scikit-learn gives them."""
        return self.classes

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether it can predict."""
        return bool(len(self.classes))

    def save(self, folder: Path, **about: Any) -> None:
        """Write classifier.npz, a tuned network's folder and, last, classifier.json with `about` and their SHA-256; no pickle."""
        if not len(self.classes):
            raise DataError("This classifier has not been fitted.", "Call fit(embeddings, labels) first.")
        folder = Path(folder)
        (folder / "classifier.json").unlink(missing_ok=True)
        arrays = {f"head/{name}": array for name, array in self.fitted.state().items()}
        with replacing(folder / "classifier.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, centre=self.centre, **arrays)
        shutil.rmtree(folder / NETWORK, ignore_errors=True)
        files = ["classifier.npz"]
        if self.network is not None:
            from winnow.models.registry import save_model

            save_model(self.network, folder / NETWORK)
            files.append(f"{NETWORK}/model.json")  # it holds the hash of the weights
        content = {
            "format": FORMAT,
            "head": self.head_name,
            "setting": self.fitted.setting,
            "temperature": self.temperature,
            "classes": self.classes.tolist(),
            "notes": list(self.notes),
            **about,
        }
        write_sealed(folder / "classifier.json", content, files)

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Read what `save` wrote, to predict with; `RunError` when absent, `Damaged` when changed on disk."""
        folder = Path(folder)
        about = read_sealed(folder / "classifier.json", "classifier", "Run: winnow classify --run RUN", FORMAT)
        again = "Run: winnow classify --run RUN"
        arrays = read_arrays(folder / "classifier.npz", again)
        with as_written(folder / "classifier.json", again):
            classifier = cls(about["head"])
            classifier.head_name, classifier.temperature = about["head"], float(about["temperature"])
            classifier.classes, classifier.notes = np.array(about["classes"], object), tuple(about["notes"])
            head = HEADS[about["head"]](about["setting"])
            has_network = f"{NETWORK}/model.json" in about["sha256"]
        with as_written(folder / "classifier.npz", again):
            classifier.centre = arrays.pop("centre")
            classifier.fitted = head.restore({name.removeprefix("head/"): array for name, array in arrays.items()})
            found = classifier.predict_proba(np.zeros((1, len(classifier.centre))))
            if found.shape != (1, len(classifier.classes)) or not np.isfinite(found).all():
                raise ValueError(f"probabilities {found.shape} of {len(classifier.classes)} classes")
        if has_network:
            from winnow.models.registry import load_model

            classifier.network = load_model(folder / NETWORK)
        return classifier


def numbered(labels: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes, sorted, and the class number (n,) of each label, -1 where it is missing: "", None, NaN or, among
    numbers, -1.

    Raises `DataError` unless there are two classes or more, each with two labels or more.
    """
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()
    given = _column(np.array(list(labels), object), n, "labels")
    has = np.array([not _is_missing(label) for label in given], bool)
    if not has.any():
        raise DataError("There is no label to learn from.", "Label some pictures of each class: winnow label --run RUN")
    try:
        classes = np.array(sorted(set(given[has])), object)
    except TypeError:
        raise DataError("The labels are of several types.", "Give all as text, or all as numbers.") from None
    if len(classes) == 1:
        raise DataError(
            f"All {has.sum():,} labels are of one class, '{classes[0]}'.", "Label pictures of another class as well."
        )
    number = {name: place for place, name in enumerate(classes)}
    target = np.array([number[label] if there else -1 for label, there in zip(given, has, strict=True)])
    single = np.flatnonzero(np.bincount(target[has]) == 1)
    if len(single):
        names = ", ".join(f"'{classes[place]}'" for place in single)
        raise DataError(
            f"{names} {'has' if len(single) == 1 else 'have'} one label: nothing could be measured with it.",
            "Label at least two pictures of each class (better ten), or leave the class out.",
        )
    return classes, target


def _is_missing(label: Any) -> bool:
    """Return whether a label is none, as tables of other libraries have it too: their missing values equal nothing."""
    if label is None or type(label).__name__ == "NAType":
        return True
    return bool(label != label or label == "" or label == -1)


def _column(values: Any, n: int, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (n,):
        raise DataError(f"'{name}' has shape {values.shape}; with {n:,} embeddings it must have shape ({n},).")
    return values


def _without(classes: np.ndarray, counts: tuple[int, ...]) -> tuple[str, ...]:
    names = ", ".join(f"'{name}'" for name, count in zip(classes, counts, strict=True) if not count)
    if not names:
        return ()
    return (
        f"No pseudo-label of {names} was found: too few of the unlabelled pictures are predicted as that class. Label more of it.",
    )


def _leak(found: int, labelled: int) -> tuple[str, ...]:
    if not found:
        return ()
    of = f"the {labelled:,} labelled pictures"
    if labelled > CHECKED:
        of = f"{CHECKED:,} pictures drawn at random from {of}"
    return (
        f"{found:,} of {of} have a near-identical one in another fold: the folds leak, and F1 "
        "on new pictures will be lower than stated.",
    )
