"""The next pictures to label: those whose class is uncertain, and not all of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from winnow.embeddings import Embeddings
from winnow.errors import OptionError
from winnow.files import quoted
from winnow.pool.pool import Pool
from winnow.results import Selected
from winnow.run.artifacts import load_classifier
from winnow.run.fine_tuning import vectors_for
from winnow.run.folder import RunFolder
from winnow.run.selection import Selection
from winnow.select.uncertain import uncertainty
from winnow.steps.select import grow


def next_round(run: RunFolder, number: int, *, also: Sequence[str | Path] = ()) -> Selected:
    """Add `number` pictures to selection.csv, as `winnow.steps.select.select` does, by herding in which each picture counts
    as the entropy of its class: uncertain and diverse at once.

    What is listed or labelled already is not chosen, and counts as covered. Raises `RunError` without a classifier,
    `OptionError` for a number below one.
    """
    if number < 1:
        raise OptionError(
            f"{number} is no number of pictures.", f"Say how many: winnow round --run {quoted(run.path)} --more 50"
        )
    classifier = load_classifier(run)
    pool, embeddings = Pool.open(run.folder("ingest")), Embeddings.load(run.folder("encode"))
    vectors = vectors_for(
        classifier.network,
        pool,
        pool.rows_of(embeddings.ids),
        embeddings.vectors,
        run.options.train.device,
        quiet=False,
    )
    probabilities = classifier.predict_proba(vectors)
    return grow(Selection(run, uncertainty(probabilities)), number, also)
