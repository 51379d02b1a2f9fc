"""The classifier's part of the report: what it is worth by folds, its doubts and errors, and its pseudo-labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from winnow.embeddings import spread
from winnow.pool.pool import Pool
from winnow.report import classification as drawn
from winnow.report.html import Figure, Gallery, Section, Table
from winnow.results import Classified, Interval
from winnow.results.words import percent
from winnow.run.current import labels_have_changed
from winnow.run.folder import RunFolder
from winnow.run.labels import read_store
from winnow.run.tracks import TO_CHECK
from winnow.steps.report.pictures import OwnPictures
from winnow.tables import read_table

SHOWN = 10  # pictures of a gallery
LISTED, STRIPS, STRIP = 20, 8, 8  # tracks of a table, tracks shown, and crops of each


def stale_classifier(run: RunFolder) -> str:
    """Return a sentence when the classifier is left out, being of other embeddings, options or labels than those of now."""
    if run.record("classify") is None:
        return ""
    what = "options or embeddings" if not run.fits("classify") else "labels" if labels_have_changed(run) else ""
    return (
        f"The classifier was learnt from other {what} than those of now; this report leaves it out, and winnow classify learns "
        "another."
        if what
        else ""
    )


def classifier_sections(run: RunFolder, pool: Pool, pictures: OwnPictures) -> list[Section]:
    """Return a section on the run's classifier; none when there is none, or it is a `stale_classifier`."""
    if run.record("classify") is None or stale_classifier(run):
        return []
    found = run.result(Classified)
    labelled = read_table(run.verified("classify", run.folder("classify") / "labelled.csv"))
    figures = [
        Figure("Confusion matrix", drawn.confusion_matrix(found.confusion, list(found.classes)), alt=_confused(found)),
        Figure(
            "Reliability curve",
            drawn.reliability_curve(found.reliability, found.calibration_error),
            alt=f"Share that is right against the probability told: {found.calibration_error:.3f} off on average",
        ),
        Figure(
            "Learning curve",
            drawn.label_curve(found.curve.points),
            alt=f"Learning curve, macro F1 over labels: {found.curve.says}",
        ),
    ]
    compared = [part.says for part in (found.against_head, found.choice, found.by_track) if part]
    split = _to_check(run)
    text = [_summary(found), found.curve.says, *compared, *filter(None, [found.checks]), *found.notes]
    return [
        Section(
            "Classifier",
            text=text,
            figures=figures,
            galleries=[*_sheets(pool, pictures, labelled), *_strips(pool, pictures, split)],
            tables=[_by_class(found), *_pseudo(found), *_tracks(split)],
        )
    ]


def _to_check(run: RunFolder) -> list[dict[str, str]]:
    """Return the rows of tracks-to-check.csv, none where it was not written: without tracks, or by an earlier version."""
    path = run.folder("classify") / TO_CHECK
    return read_table(run.verified("classify", path)) if path.exists() else []


def _tracks(split: list[dict[str, str]]) -> list[Table]:
    if not split:
        return []
    columns = ("from", "to", "crops", "class", "share", "turns", "before", "after", "why", "source")
    return [
        Table(
            columns,
            [tuple(row[name] for name in columns) for row in split[:LISTED]],
            title="Tracks to check",
            caption="Tracks whose crops are taken for several classes. 'turns' is the time, or the file, at which one changes from a "
            "class to another: two persons may have been taken for one. All are in classifier/tracks-to-check.csv.",
        )
    ]


def _strips(pool: Pool, pictures: OwnPictures, split: list[dict[str, str]]) -> list[Gallery]:
    """Return some crops of each of the first tracks to check, in order of time."""
    tracks, times, strips = pool.column("track"), pool.column("time"), []
    for row in split[:STRIPS]:
        rows = np.flatnonzero(tracks == row["track"])
        rows = rows[spread(len(rows), STRIP)]
        cards = [pictures.card(int(place)) for place in rows]
        title = f"Track to check: {Path(row['source']).name}"
        if row["from"]:  # pictures have no time, but names
            cards = [replace(card, name=f"{times[place]:.1f} s") for card, place in zip(cards, rows, strict=True)]
            title += f", {row['from']} to {row['to']} s"
        strips.append(Gallery(title, cards, size="small"))
    return strips


def label_sections(run: RunFolder) -> list[Section]:
    """Return a section on what people did with suggestions; none where nobody was shown any."""
    with read_store(run) as store:
        found = store.suggested()
    text = []
    if found.shown:
        were = "labels were" if found.shown > 1 else "label was"
        text.append(f"{found.shown:,} {were} given where a suggestion was shown; {found.took:,} of them took it.")
    if found.looked:
        what, were = ("labels", "were") if found.looked > 1 else ("label", "was")
        text.append(
            f"{found.looked:,} {what} that held-out predictions contradicted {were} looked at again, and {found.changed:,} changed."
        )
    return [Section("Labels", text=text)] if text else []


def _summary(found: Classified) -> str:
    return (
        f"{found.by}, from {found.labelled:,} labels ({found.origin}): macro F1 {found.macro_f1:.3f}"
        f"{_interval(found.interval, ' (95 % interval ', ')')}, accuracy {found.accuracy:.3f}. "
        f"Every picture was judged by a head that had not seen its fold, in {found.folds:,} folds of {found.groups:,} groups; "
        "intervals by bootstrap over groups, of pictures of new groups like these: of another kind they promise nothing."
    )


def _interval(interval: Interval | None, before: str = "", after: str = "") -> str:
    return f"{before}{interval[0]:.3f} to {interval[1]:.3f}{after}" if interval else ""


def _by_class(found: Classified) -> Table:
    rows = [(name, part.labels, part.f1, _interval(part.interval)) for name, part in found.classes.items()]
    return Table(("class", "labels", "F1", "95 % interval"), rows, title="By class", folded=len(rows) > 30)


def _pseudo(found: Classified) -> list[Table]:
    pseudo = found.pseudo
    rows = [(number, part.added, part.rise, part.error, part.kept) for number, part in enumerate(pseudo.rounds, 1)]
    right = [
        (what, share.right, share.of, _interval(share.interval))
        for share, what in (
            (pseudo.known, "by the sources' own labels"),
            (pseudo.audited, "by the audit of the classifier before"),
        )
        if share
    ]
    return [
        Table(
            ("round", "pseudo-labels", "macro F1 rises by", "standard error", "kept"),
            rows,
            title="Pseudo-labels",
            caption="A round is kept when macro F1 rises by more than two standard errors, and the last that is kept stays. "
            "classifier/audit.csv lists some for a person to check: fill in its column 'label' and import it.",
        ),
        Table(
            ("pseudo-labels", "right", "of", "95 % interval (Wilson)"), right, title="How precise the pseudo-labels are"
        ),
    ]


def _sheets(pool: Pool, pictures: OwnPictures, labelled: list[dict[str, str]]) -> list[Gallery]:
    """Return the pictures whose class is least sure, and those that are wrong with the greatest probability."""
    places = {name: place for place, name in reversed(list(enumerate(pool.column("id"))))}
    sure = np.array([float(row["probability"]) for row in labelled])
    wrong = np.array([row["label"] != row["class"] for row in labelled])
    order = np.argsort(sure, kind="stable")
    lists = {
        "Most confidently wrong": order[::-1][wrong[order[::-1]]][:SHOWN],
        "Most doubtful": order[:SHOWN],
    }
    return [
        Gallery(
            f"{title} of the labelled pictures",
            [
                pictures.card(
                    places[labelled[row]["id"]],
                    [
                        f"taken for {labelled[row]['class']}, {percent(sure[row], 0)}",
                        f"label: {labelled[row]['label']}",
                    ],
                )
                for row in rows
            ],
        )
        for title, rows in lists.items()
    ]


def _confused(found: Classified) -> str:
    """Return what the confusion matrix shows, in words: of each class how many are told right."""
    rows = zip(found.classes, found.confusion, strict=True)
    told = [f"{name} {row[number]:,} of {sum(row):,} right" for number, (name, row) in enumerate(rows)]
    return "Confusion matrix: " + ", ".join(told[:12])
