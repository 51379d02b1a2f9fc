"""The part of the report on the search for the weight of the latent loss."""

from __future__ import annotations

from winnow.files import read_json
from winnow.report.html import Figure, Section, Table
from winnow.report.inspection import weight_curve
from winnow.run.folder import RunFolder
from winnow.steps.weight import SCORES, curves_of


def weight_section(run: RunFolder) -> Section | None:
    """Curve, choice and reason of the last `winnow lambda`; None when there was none for the pictures of now."""
    path = run.path / "weight" / "weight.json"
    if not path.exists():
        return None
    found = read_json(path)
    if found["fingerprint"] != run.result("ingest").get("fingerprint"):
        return None
    kinds = [kind for kind in ("synthetic", "real") if found["sigma"][kind] is not None]
    rows = [
        (name, *(row[kind][score] for kind in kinds for score in SCORES), row["active_units"], row["seconds"])
        for name, row in ((f"{row['weight']:g}", row) for row in found["trained"])
    ]
    sigma = found["sigma"]
    rows.append(
        (
            "sigma-VAE",
            *(sigma[kind][score] for kind in kinds for score in SCORES),
            sigma["active_units"],
            sigma["seconds"],
        )
    )
    columns = ("weight", *(f"{score}, {kind}" for kind in kinds for score in SCORES), "active units", "seconds")
    text = [found["reason"]]
    if found["chosen_by_real"] is not None:
        text.append(
            f"The {found['real_defects']:,} real defects would choose {found['chosen_by_real']:g}; the choice by synthetic ones "
            f"costs {max(0.0, found['lost']):.3f} of AUROC on them."
        )
    used = run.options.train.latent_weight
    if used != found["chosen"]:
        text.append(f"This run is trained with {used:g}.")
    weights = [row["weight"] for row in found["trained"]]
    chosen = [number for number, weight in enumerate(weights) if weight == found["chosen"]]
    return Section(
        "Search for the weight of the latent loss",
        text=text,
        figures=[Figure("AUROC over the weight", weight_curve(weights, curves_of(found), found["chosen"]))],
        tables=[
            Table(
                columns,
                rows,
                marked=chosen,
                caption=f"AUROC of held-out patches against {found['synthetic_defects']:,} synthetic defects"
                f"{' and real ones' if 'real' in kinds else ''}. Error: the measure '{found['measure']}'; latent: the latent loss; "
                f"both: their standardised sum. {found['iterations']:,} iterations each. The sigma-VAE needs no weight.",
            )
        ],
        commands=[f"winnow train --run {run.path.name} --latent-weight {found['chosen']:g}"]
        if used != found["chosen"]
        else [],
    )
