"""The part of the report on the pictures chosen for labelling: contact sheet, map, outliers, how many of each kind."""

from __future__ import annotations

from winnow.report.html import Figure, Section, Table
from winnow.results import Selected
from winnow.run.current import selection_is_current
from winnow.run.folder import RunFolder
from winnow.show import count

MEANING = (
    "Best first: every beginning of the list is a choice of its own. Under each picture its rank, and how many pictures are "
    "nearer to it than to any other chosen or labelled one, itself among them."
)
FIGURES = {
    "selection.png": ("The first of the chosen, by rank", True),
    "selection-map.png": ("Where the chosen pictures lie among all", False),
    "outliers.png": ("The outliers: unlike most by the one-class score, most anomalous first, with p-values", True),
}


def stale_selection(run: RunFolder) -> str:
    """Return a sentence when the last choice is left out, being of other options, embeddings or another detector."""
    if run.record("select") is None or selection_is_current(run):
        return ""
    return (
        "The last choice of pictures to label was made before the run's options, pictures or detector were last changed; this "
        "report leaves it out, and winnow select makes another."
    )


def selection_sections(run: RunFolder) -> list[Section]:
    """Return what the last `winnow select` chose; no section when there was none, or it is `stale_selection`."""
    if run.record("select") is None or not selection_is_current(run):
        return []
    made = run.result(Selected)
    text = [_summary(made), MEANING, *made.notes]
    shown = {name: about for name, about in FIGURES.items() if (run.path / name).exists()}
    figures = [
        Figure(title, (run.path / name).read_bytes(), pictures=pictures) for name, (title, pictures) in shown.items()
    ]
    kinds = Table(
        ("kind", "pictures", "chosen", "share of the kind"),
        [(kind, pictures, chosen, f"{chosen / pictures:.1%}") for kind, (pictures, chosen) in made.kinds.items()],
        title="Chosen of each kind",
        caption="A kind is a coarse cluster of the embeddings; it has no meaning beyond the pictures in it.",
    )
    return [
        Section(
            "Chosen for labelling",
            text=text,
            figures=figures,
            tables=[kinds],
            commands=[
                f"winnow label --run {run.path.name} --classes ...",
                f"winnow select --run {run.path.name} -n {2 * made.chosen}",
            ],
        )
    ]


def _summary(made: Selected) -> str:
    left = made.left_out
    return (
        f"{made.chosen:,} of {count(made.pictures, 'picture')} by the method '{made.method}', "
        f"on the embeddings of {made.embeddings}. "
        f"Set apart: {count(left.duplicates, 'duplicate')}, {count(left.outliers, 'outlier')}, "
        f"{left.labelled:,} labelled already."
    )
