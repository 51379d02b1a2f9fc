"""The part of the report on the pictures chosen for labelling: contact sheet, map, outliers, how many of each kind."""

from __future__ import annotations

from winnow.pool.pool import Pool
from winnow.report.html import Card, Figure, Gallery, Section, Share, Table
from winnow.results import Selected
from winnow.run.current import selection_is_current
from winnow.run.folder import RunFolder
from winnow.run.labels import label_command
from winnow.run.working_copy import in_command
from winnow.show import count
from winnow.steps.report.pictures import OwnPictures
from winnow.tables import read_table

MEANING = (
    "Best first: every beginning of the list is a choice of its own. Under each picture its rank, and how many pictures are "
    "nearer to it than to any other chosen or labelled one, itself among them (alike)."
)
SHOWN, OUT = 40, 16  # pictures drawn of the list, and of the outliers


def stale_selection(run: RunFolder) -> str:
    """Return a sentence when the last choice is left out, being of other options, embeddings or another detector."""
    if run.record("select") is None or selection_is_current(run):
        return ""
    return (
        "The last choice of pictures to label was made before the run's options, pictures or detector were last changed; this "
        "report leaves it out, and winnow select makes another."
    )


def selection_sections(run: RunFolder, pool: Pool, pictures: OwnPictures) -> list[Section]:
    """Return what the last `winnow select` chose; no section when there was none, or it is `stale_selection`."""
    if run.record("select") is None or not selection_is_current(run):
        return []
    made = run.result(Selected)
    path = run.path / "selection-map.png"
    title = "Where the chosen pictures lie among all"
    alt = f"A map of the pictures by what they look like; {made.chosen:,} chosen ones are ringed, all over it"
    kinds = Table(
        ("kind", "pictures", "chosen", "share of the kind"),
        [(kind, pictures, chosen, Share(chosen / pictures)) for kind, (pictures, chosen) in made.kinds.items()],
        title="Chosen of each kind",
        caption="A kind is a coarse cluster of the embeddings; it has no meaning beyond the pictures in it.",
        folded=True,
    )
    return [
        Section(
            "Chosen for labelling",
            text=[_summary(made), *made.notes],
            galleries=[
                Gallery("The first of the chosen, by rank", _chosen(run, pool, pictures), caption=MEANING),
                Gallery("The outliers, most anomalous first", _outliers(run, pool, pictures)),
            ],
            tables=[kinds],
            commands=[
                label_command(run.path),
                f"winnow select --run {in_command(run.path)} -n {2 * made.chosen}",
            ],
        ),
        Section(title, figures=[Figure(title, path.read_bytes(), alt=alt)] if path.exists() else []),
    ]


def _chosen(run: RunFolder, pool: Pool, pictures: OwnPictures) -> list[Card]:
    rows = read_table(run.path / "selection.csv")[:SHOWN]
    alike = [int(row["stands_for"]) for row in rows]
    lines = [[f"rank {row['rank']}, {n:,} alike"] for row, n in zip(rows, alike, strict=True)]
    return pictures.cards(pool.rows_of(row["id"] for row in rows), lines)


def _outliers(run: RunFolder, pool: Pool, pictures: OwnPictures) -> list[Card]:
    path = run.path / "outliers.csv"
    rows = read_table(path)[:OUT] if path.exists() else []
    return pictures.cards(pool.rows_of(row["id"] for row in rows), [[f"p {float(row['p_value']):.2g}"] for row in rows])


def _summary(made: Selected) -> str:
    left = made.left_out
    return (
        f"{made.chosen:,} of {count(made.pictures, 'picture')} by the method '{made.method}', "
        f"on the embeddings of {made.embeddings}. "
        f"Set apart: {count(left.duplicates, 'duplicate')}, {count(left.outliers, 'outlier')}, "
        f"{left.labelled:,} labelled or skipped already."
    )
