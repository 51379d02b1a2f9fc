"""Learn classes from a few labels: the classifier, what it is worth, and pseudo-labels for a person to check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from winnow import torchrun
from winnow.classify.classifier import Classifier
from winnow.embeddings import Embeddings
from winnow.errors import DataError
from winnow.metrics.classification import Tally, calibration_error, reliability, rise, wilson
from winnow.options import SelectOptions, absolute
from winnow.pool.pool import Pool
from winnow.results import Classified, ClassScore, LearningCurve, PseudoLabels, PseudoRound, Share, as_json
from winnow.results.words import percent
from winnow.run.cache import Cache
from winnow.run.choice import TOO_FEW, worth_of_choice
from winnow.run.current import key_of_labels
from winnow.run.fine_tuning import (
    against_head,
    check_shared,
    result_of_first,
    start,
    train_along,
    vectors_for,
    wait_for_others,
)
from winnow.run.folder import RunFolder
from winnow.run.foreign import check_audit
from winnow.run.judge import seconds
from winnow.run.labels import read_store
from winnow.run.records import versions
from winnow.run.selection import by_anomaly
from winnow.run.split import HELD_OUT, kept_apart, without
from winnow.run.tracks import COLUMNS, TO_CHECK, over_tracks, said_of_labels, to_check, tracks_of
from winnow.run.truth import Truth, of_sources, order_of, truth_of
from winnow.run.working import Working
from winnow.select.selectors import SELECTORS
from winnow.tables import read_table, write_table

FOLDS, FEW_FOLDS = 5, 3  # by default: heads on embeddings, and fine-tuning as in the article
AUDITED = 50  # pseudo-labels that a person is asked to check: the Wilson interval of 47 right of 50 is 0.84 to 0.98
ITEMS = ("id", "source", "time")
SPEAKS = 10  # labels a class, on average, from which a learning curve says that more pay
MANY = 100  # and from which it says that they pay little
LITTLE = 0.02  # rise of macro F1


def classify(run: RunFolder, *, labels: Sequence[str | Path] = (), resume: bool = False) -> Classified:
    """Learns a classifier from the run's labels, or those of files, and writes it to the run's folder `classifier`.

    Beside it labelled.csv (what held-out heads say of every labelled picture), pseudo.csv (the pseudo-labels that stay) and
    audit.csv (some of them, drawn at random, for a person to fill in), and tracks-to-check.csv where crops have tracks;
    classifier.json, with all measures, is written last.
    Raises what `winnow.run.truth.truth_of` and `winnow.Classifier.fit` raise.
    """
    check_shared(run)
    wait_for_others()
    run.require("calibrate")
    pool, files = Pool.open(run.folder("ingest")), [absolute(path) for path in labels]
    label_key = key_of_labels(run, pool, files)
    if resume and run.done("classify") and run.result(Classified).label_key == label_key:
        return run.result(Classified)
    check_audit(run.path)
    embeddings, truth = Embeddings.load(run.folder("encode")), truth_of(run, pool, labels)
    known = np.array([truth.labels.get(item, "") for item in embeddings.ids.astype(str)], object)
    apart = kept_apart(pool, embeddings, *HELD_OUT)
    if not (known[~apart] != "").any():
        raise DataError(
            f"There is nothing to learn from: all labelled pictures of {run.path} were given as 'validate', 'calibrate' or 'test'.",
            "Label others, or give labelled ones as 'train' or without a split.",
        )
    if torchrun.rank():
        train_along(run, pool, without(embeddings, apart))
    else:
        cache = Cache(run)
        given = {"label_files": files, "label_key": label_key}
        with run.working("classify") as step:
            step.finish(_learnt(run, pool, embeddings, truth, known, apart, step, cache, **given))
        cache.keep()
    return result_of_first(run)


def _learnt(
    run: RunFolder,
    pool: Pool,
    everything: Embeddings,
    truth: Truth,
    given: np.ndarray,
    apart: np.ndarray,
    step: Working,
    cache: Cache,
    **labels: Any,
) -> Classified:
    """Learn the classifier from what the user's splits do not keep `apart` (n,), measure it, and write it and its tables into the
    step's folder."""
    anomalous, weights = _seen_by_detector(run, len(everything), cache)
    anomalous, weights = anomalous[~apart], None if weights is None else weights[~apart]
    embeddings, known = without(everything, apart), given[~apart]
    names = tracks_of(run, pool, embeddings)
    classifier = _fitted(run, pool, embeddings, known, anomalous, names, step.scratch)
    order = order_of(run, truth, embeddings.ids[classifier.held_out.rows].astype(str).tolist())
    choice = worth_of_choice(classifier, embeddings, _known_method(run), weights)
    about = _Items(pool, embeddings)
    audited = _audited(run, truth)
    pseudo = replace(_pseudo(run, classifier, embeddings, about, pool, step.folder), audited=audited)
    _write_labelled(step.folder, classifier, about)
    split = [] if names is None else to_check(run, classifier, pool, embeddings, names, known)
    if names is not None:
        write_table(step.folder / TO_CHECK, COLUMNS, split)
    left_out = len(truth.labels) - int((given != "").sum())
    notes = [
        *truth.notes,
        *said_of_labels(names, known),
        *([f"{left_out:,} labels are of pictures without a code, such as those given as 'test'."] if left_out else []),
        *_on_apart(run, pool, classifier, everything[apart], given[apart]),
    ]
    tuned = run.options.tune.fine_tune
    by = f"fine-tuned {tuned}" if tuned else f"'{classifier.head_name}' on the embeddings"
    result = Classified(
        origin=truth.origin,
        **labels,
        labelled=len(classifier.held_out.rows),
        by=by,
        **_metrics(classifier),
        curve=_curve(classifier, order),
        against_head=against_head(classifier),
        choice=choice,
        by_track=over_tracks(classifier),
        to_check=len(split),
        pseudo=pseudo,
        notes=[*notes, *classifier.notes, *([] if choice else [TOO_FEW])],
    )
    if classifier.tuning is not None:
        classifier.tuning.done()
    vectors = run.sums("encode").get("vectors.npy")
    classifier.save(step.folder, measured=as_json(result), vectors_sha256=vectors, versions=versions())
    return result


def _on_apart(
    run: RunFolder, pool: Pool, classifier: Classifier, apart: Embeddings, labels: np.ndarray
) -> Iterator[str]:
    """Yield what the classifier is worth on labelled pictures that the user gave to hold out; nothing where there are none.

    Of the classes that occur among these alone, which need not be all.
    """
    rows = np.flatnonzero(np.isin(labels, classifier.classes))
    if not (labels != "").any():
        return
    noun = f"{(labels != '').sum():,} labelled pictures given as 'validate' or 'calibrate'"
    if not len(rows):
        yield f"Nothing was learnt from {noun}; they are of other classes."
        return
    places, device = pool.rows_of(apart.ids[rows]), run.options.train.device
    chances = classifier.predict_proba(vectors_for(classifier.network, pool, places, apart.vectors[rows], device))
    target = np.searchsorted(classifier.classes.astype(str), labels[rows].astype(str))
    tally = Tally.of(target, chances.argmax(axis=1), np.arange(len(rows)), len(classifier.classes))
    right = (chances.argmax(axis=1) == target).mean()
    them = "them" if len(rows) == (labels != "").sum() else f"the {len(rows):,} of known classes"
    yield f"Nothing was learnt from {noun}: on {them} macro F1 is {tally.macro_f1_of_present:.3f}, and {percent(right)} are right."


def _fitted(
    run: RunFolder,
    pool: Pool,
    embeddings: Embeddings,
    known: np.ndarray,
    anomalous: np.ndarray,
    tracks: np.ndarray | None,
    scratch: Path,
) -> Classifier:
    """Return the classifier that the run's options ask for, from the labels `known` (n,) of its embeddings and their `tracks` (n,)."""
    options = run.options.classify
    tuning, vectors = start(run, pool, embeddings, scratch)
    classifier = Classifier(
        options.head,
        folds=options.folds or (FOLDS if tuning is None else FEW_FOLDS),
        pseudo=options.pseudo,
        rounds=options.rounds,
        seed=run.options.train.seed,
        tuning=tuning,
    )
    about = {"anomalous": anomalous, "twins": embeddings.twins, "tracks": tracks}
    return classifier.fit(vectors, known, embeddings.groups, **about)


def _known_method(run: RunFolder) -> SelectOptions:
    """Return the run's options of choosing; herding in the place of a method of one's own that was not named in this call."""
    from winnow.run.artifacts import is_trusted

    options = run.options.select
    known = options.method in SELECTORS or is_trusted(run, options.method)
    return options if known else options.model_copy(update={"method": "herding"})


def _seen_by_detector(run: RunFolder, count: int, cache: Cache) -> tuple[np.ndarray, np.ndarray | None]:
    """Return which pictures the one-class score calls anomalous (n,), those of the calibration as they were held out; and how much each
    counts (n,) where pictures are chosen by that score."""
    from winnow.run.artifacts import load_detector, own_scores

    detector = load_detector(run)
    scores = own_scores(run, detector, count, cache)
    anomalous = scores > detector.threshold.value
    return anomalous, by_anomaly(detector.p_values(scores)) if run.options.select.method == "anomalous" else None


class _Items:
    """Id, source and time, as tables have them, of rows of the embeddings."""

    def __init__(self, pool: Pool, embeddings: Embeddings) -> None:
        where = pool.rows_of(embeddings.ids)
        self.ids, self.sources, self.times = embeddings.ids, pool.column("source")[where], pool.column("time")[where]

    def __call__(self, row: Any) -> tuple[str, str, str]:
        return str(self.ids[row]), str(self.sources[row]), seconds(self.times[row])


def _metrics(classifier: Classifier) -> dict[str, Any]:
    """Return what the classifier is worth by folds, as fields of `Classified`."""
    held, names = classifier.held_out, classifier.classes.tolist()
    tally = held.tally
    intervals = tally.intervals(classifier.seed)
    right, sure = held.predicted == held.target, held.probabilities.max(axis=1)
    labels, f1 = np.bincount(held.target, minlength=len(names)), tally.f1
    return {
        "classes": {
            name: ClassScore(
                labels=int(labels[kind]),
                f1=float(f1[kind]),
                interval=None if intervals is None else tuple(intervals[0][kind].tolist()),
            )
            for kind, name in enumerate(names)
        },
        "macro_f1": tally.macro_f1,
        "interval": None if intervals is None else intervals[1],
        "accuracy": float(right.mean()),
        "groups": len(set(held.groups)),
        "folds": len(np.unique(held.fold)),
        "confusion": tally.confusion.tolist(),
        "reliability": reliability(sure, right),
        "calibration_error": calibration_error(sure, right),
    }


def _curve(classifier: Classifier, order: np.ndarray | None) -> LearningCurve:
    """Return macro F1 with the first 25 to 100 % of the labels, and whether more would pay."""
    found = classifier.learning_curve(order)
    (before, less), (now, all_) = found[-2:]
    gain, error = rise(less.tally, all_.tally, classifier.seed)
    pays, says = _more_labels(gain, error, now / len(classifier.classes))
    return LearningCurve(
        points=[(count, held.tally.macro_f1) for count, held in found],
        in_order=order is not None,
        pays=pays,
        says=f"From {before:,} to {now:,} labels macro F1 {'rose' if gain >= 0 else 'fell'} by {abs(gain):.3f} "
        f"(standard error {error:.3f}): {says}.",
    )


def _more_labels(gain: float, error: float, a_class: float) -> tuple[bool | None, str]:
    """Return whether more labels pay, and in words, by the last rise of macro F1 and the labels a class on average.

    Where the rise is lost in two standard errors, nothing is told by it unless labels are many: said of 15 to 250 labels, "more would
    pay little" was wrong in 35 of 74 cases (docs/log.md).
    """
    if a_class < SPEAKS:
        return None, "too few labels to tell whether more would pay"
    if gain > 2 * error:
        return True, "more labels would pay"
    if a_class >= MANY and gain + 2 * error < LITTLE:
        return False, "more labels of the same kind would pay little"
    return None, "whether more labels would pay cannot be told"


def _pseudo(
    run: RunFolder, classifier: Classifier, embeddings: Embeddings, about: _Items, pool: Pool, folder: Path
) -> PseudoLabels:
    """Write pseudo.csv and audit.csv; return what was tried, what stays, and how much of it is right where the sources know."""
    rows, names = classifier.pseudo_rows, classifier.classes
    chance: Any = []
    if len(rows):
        places = pool.rows_of(embeddings.ids[rows])
        vectors = vectors_for(classifier.network, pool, places, embeddings.vectors[rows], run.options.train.device)
        chance = classifier.predict_proba(vectors)[np.arange(len(rows)), classifier.pseudo_target]
    kinds = names[classifier.pseudo_target]
    write_table(
        folder / "pseudo.csv",
        (*ITEMS, "class", "probability"),
        ((*about(row), kind, f"{value:.4f}") for row, kind, value in zip(rows, kinds, chance, strict=True)),
    )
    some = np.random.default_rng(classifier.seed).permutation(len(rows))[:AUDITED]
    write_table(
        folder / "audit.csv", (*ITEMS, "class", "label"), ((*about(rows[place]), kinds[place], "") for place in some)
    )
    known = of_sources(pool)
    right = [
        known[str(embeddings.ids[row])] == kind
        for row, kind in zip(rows, kinds, strict=True)
        if str(embeddings.ids[row]) in known
    ]
    return PseudoLabels(
        asked=classifier.pseudo,
        rounds=[PseudoRound(sum(part.counts), part.rise, part.error, part.kept) for part in classifier.done],
        added={name: int((kinds == name).sum()) for name in names.tolist()},
        known=_share(right),
        audit=len(some),
        audited=None,
    )


def _audited(run: RunFolder, truth: Truth) -> Share | None:
    """Count how many pseudo-labels of the audit of the classifier before are right, by the labels of now; a class that was renamed
    since then is the same."""
    path = run.folder("classify") / "audit.csv"
    if not path.exists():
        return None
    drawn = {row["id"]: row["class"] for row in read_table(path)}
    with read_store(run) as store:
        now = store.former(sorted(set(drawn.values())))
    known = [(truth.labels[item], kind) for item, kind in drawn.items() if item in truth.labels]
    return _share([label in (kind, now.get(kind)) for label, kind in known])


def _share(right: Sequence[bool]) -> Share | None:
    """Return how many are right, of how many, and the Wilson interval of the share."""
    if not len(right):
        return None
    return Share(int(sum(right)), len(right), wilson(int(sum(right)), len(right)))


def _write_labelled(folder: Path, classifier: Classifier, about: _Items) -> None:
    held, names = classifier.held_out, classifier.classes.tolist()
    write_table(
        folder / "labelled.csv",
        (*ITEMS, "group", "label", "fold", "class", "probability", *(f"p_{name}" for name in names)),
        (
            (
                *about(row),
                held.groups[place],
                names[held.target[place]],
                held.fold[place],
                names[held.predicted[place]],
                f"{held.probabilities[place].max():.4f}",
                *(f"{value:.4f}" for value in held.probabilities[place]),
            )
            for place, row in enumerate(held.rows)
        ),
    )
