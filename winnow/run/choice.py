"""Measure the choice of pictures on the labels at hand: half of them chosen against half drawn at random, paired."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.classify.classifier import Classifier
from winnow.classify.cross_fit import CrossFitter
from winnow.embeddings import Embeddings
from winnow.metrics.classification import Tally, f1_drawn, standard_error, verdict
from winnow.options import SelectOptions
from winnow.results import ChoiceWorth
from winnow.select.choose import choose
from winnow.select.geometry import whitened

FOLDS = 5
DRAWS = 10  # random halves: one would be mostly luck
FEWEST = 2  # labels that a half has on average for each class, at least: with fewer, the difference would be luck too
MOST, A_CLASS = 4000, 20  # labels, or so many a class, that halves are made of; with more, of so many drawn at random
TOO_FEW = "There are too few labels to compare halves of them, chosen and drawn at random."


def worth_of_choice(
    classifier: Classifier,
    embeddings: Embeddings,
    options: SelectOptions,
    weights: np.ndarray | None = None,
    draws: int = DRAWS,
) -> ChoiceWorth | None:
    """Return the macro F1 of the classifier's head on embeddings with half of its labels: `chosen` by the run's method (herding,
    where that is 'random'), and drawn at `random`; the `rise` between them, and the standard `error` of the rise.

    Halves are of the labels outside a fold and are judged on that fold, all by the same pictures, with the head's default setting and
    five folds: so a classifier on the embeddings and a fine-tuned one say the same of the same labels. The error is that of the judged
    pictures, by bootstrap, and of the luck of a half, by the spread of the drawn ones: a chosen half has as much of it.

    Of more than `MOST` labels, where a choice is no longer
    made by hand, they are halves of a part drawn at random. `weights` (n,) are the pictures' weights in the choice.
    Returns None where labels are too few for halves.
    """
    cross_fitter, seed = classifier.quick.dealt(FOLDS), classifier.seed
    fold = cross_fitter.fold[cross_fitter.rows]
    labelled, features = embeddings[cross_fitter.rows], whitened(embeddings.vectors, of=cross_fitter.rows)
    weights = None if weights is None else weights[cross_fitter.rows]
    method = "herding" if options.method == "random" else options.method
    part = _part(len(fold), max(MOST, A_CLASS * cross_fitter.classes), seed)
    rests = {number: np.flatnonzero((fold != number) & part) for number in cross_fitter.folds}
    if min(map(len, rests.values())) < 2 * FEWEST * cross_fitter.classes:
        return None
    own = {
        number: choose(
            labelled,
            len(rest) // 2,
            method,
            seed=seed,
            pick=options.pick,
            candidates=rest,
            features=features,
            weights=weights,
        ).rows
        for number, rest in rests.items()
    }
    chosen = _tally(cross_fitter, own)
    rng = np.random.default_rng(seed)
    drawn = [
        _tally(cross_fitter, {number: rng.permutation(rest)[: len(rest) // 2] for number, rest in rests.items()})
        for _ in range(draws)
    ]
    labels = round(float(np.mean([len(places) for places in own.values()])))
    of = "half of the labels" if part.all() else f"half of {part.sum():,} of the labels"
    return ChoiceWorth(method, labels, draws, **_compared(chosen, drawn, of, seed))


def _part(n: int, most: int, seed: int) -> np.ndarray:
    """Return which (n,) of n labels halves are made of: all, or `most` drawn at random."""
    part = np.ones(n, bool)
    if n > most:
        part[np.random.default_rng(seed).permutation(n)[most:]] = False
    return part


def _tally(cross_fitter: CrossFitter, halves: dict[int, np.ndarray]) -> Tally:
    """Return the tally of heads that learnt, for each fold, from the labelled pictures at its `halves` alone."""
    fold_targets = np.full((len(halves), len(cross_fitter.features)), -1)
    for number, places in halves.items():
        rows = cross_fitter.rows[places]
        fold_targets[number, rows] = cross_fitter.target[rows]
    return cross_fitter.measured(fold_targets).tally


def _compared(chosen: Tally, drawn: list[Tally], of: str, seed: int) -> dict[str, Any]:
    """Return the rise from the mean of the drawn, with its standard error by a paired bootstrap over units, and in words.

    `of` what the halves are.
    """
    random = float(np.mean([tally.macro_f1 for tally in drawn]))
    gain = chosen.macro_f1 - random
    repeats = f1_drawn([chosen, *drawn], seed)
    luck = np.std([tally.macro_f1 for tally in drawn], ddof=1) if len(drawn) > 1 else 0.0
    error = float(np.hypot(standard_error(repeats[0] - repeats[1:].mean(axis=0)), luck * np.sqrt(1 + 1 / len(drawn))))
    says = (
        f"On embeddings, {of} reach macro F1 {chosen.macro_f1:.3f} when chosen, {random:.3f} when drawn at "
        f"random: {verdict('choosing', gain, error)}."
    )
    return {"chosen": chosen.macro_f1, "random": random, "rise": gain, "error": error, "says": says}
