"""Measure the choice of pictures on the labels at hand: half of them chosen against half drawn at random, paired."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.classify.classifier import Classifier
from winnow.classify.cross_fit import CrossFitter
from winnow.embeddings import Embeddings
from winnow.metrics.classification import Tally, verdict
from winnow.options import SelectOptions
from winnow.results import ChoiceWorth
from winnow.select.choose import choose
from winnow.select.geometry import whitened

DRAWS = 10  # random halves: one would be mostly luck
FEWEST = 2  # labels that a half has on average for each class, at least: with fewer, the difference would be luck too
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

    Halves are of the labels outside a fold and are judged on that fold, all by the same pictures and with the setting that was
    tuned on all labels (for a fine-tuned classifier: the default one). `weights` (n,) are the pictures' weights in the choice.
    Returns None where labels are too few for halves.
    """
    cross_fitter, fold, seed = classifier.quick, classifier.held_out.fold, classifier.seed
    labelled, features = embeddings[cross_fitter.rows], whitened(embeddings.vectors)[cross_fitter.rows]
    weights = None if weights is None else weights[cross_fitter.rows]
    method = "herding" if options.method == "random" else options.method
    rests = {number: np.flatnonzero(fold != number) for number in cross_fitter.folds}
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
    return ChoiceWorth(method, labels, draws, **_compared(chosen, drawn, seed))


def _tally(cross_fitter: CrossFitter, halves: dict[int, np.ndarray]) -> Tally:
    """Return the tally of heads that learnt, for each fold, from the labelled pictures at its `halves` alone."""
    fold_targets = np.full((len(halves), len(cross_fitter.features)), -1)
    for number, places in halves.items():
        rows = cross_fitter.rows[places]
        fold_targets[number, rows] = cross_fitter.target[rows]
    return cross_fitter.measured(fold_targets).tally


def _compared(chosen: Tally, drawn: list[Tally], seed: int) -> dict[str, Any]:
    """Return the rise from the mean of the drawn, with its standard error by a paired bootstrap over units, and in words."""
    random = float(np.mean([tally.macro_f1 for tally in drawn]))
    gain = chosen.macro_f1 - random
    repeats = chosen.drawn(seed).mean(axis=1) - np.mean([tally.drawn(seed).mean(axis=1) for tally in drawn], axis=0)
    error = float(repeats.std())
    says = (
        f"On embeddings, half of the labels reach macro F1 {chosen.macro_f1:.3f} when chosen, {random:.3f} when drawn at "
        f"random: {verdict('choosing', gain, error)}."
    )
    return {"chosen": chosen.macro_f1, "random": random, "rise": gain, "error": error, "says": says}
