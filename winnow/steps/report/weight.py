"""The part of the report on the search for the weight of the latent loss."""

from __future__ import annotations

from winnow.report.html import Section, Table, chart
from winnow.report.inspection import weight_curve
from winnow.results import WEIGHT_SCORES, Trained, WeightSearch
from winnow.run.current import key_of_search
from winnow.run.folder import RunFolder
from winnow.run.publish import read_result
from winnow.run.working_copy import in_command


def last_search(run: RunFolder) -> tuple[WeightSearch | None, str]:
    """Return what the last `winnow lambda` found, and a sentence when it is left out, being of other pictures or another network."""
    path = run.path / "weight" / "weight.json"
    if not path.exists():
        return None, ""
    found = read_result(WeightSearch, path)
    if found.fingerprint == key_of_search(run):
        return found, ""
    return (
        None,
        "The last winnow lambda was for other pictures or another network than those of now; this report leaves it out.",
    )


def weight_section(run: RunFolder) -> Section | None:
    """Return curve, choice and reason of the last `winnow lambda`; None when there was none for the run of now."""
    found, _ = last_search(run)
    if found is None:
        return None
    rows = [
        (
            name,
            *(trial.on(kind)[score] for kind in found.kinds for score in WEIGHT_SCORES),
            trial.active_units,
            trial.seconds,
        )
        for name, trial in [*((f"{trial.weight:g}", trial) for trial in found.trained), ("sigma-VAE", found.sigma)]
    ]
    columns = ("weight", *found.curves, "active units", "seconds")
    text = [found.reason]
    if found.lost is not None:
        text.append(
            f"The {found.real_defects:,} real defects would choose {found.chosen_by_real:g}; the choice by synthetic ones "
            f"costs {max(0.0, found.lost):.3f} of AUROC on them."
        )
    asked = run.options.train.latent_weight
    used = asked if asked != "auto" else run.result(Trained).latent_weight
    if used != found.chosen:
        text.append(f"This run is trained with {used:g}.")
    weights = [trial.weight for trial in found.trained]
    return Section(
        "Search for the weight of the latent loss",
        text=text,
        figures=[chart("AUROC over the weight", weight_curve, weights, found.curves, found.chosen)],
        tables=[
            Table(
                columns,
                rows,
                marked=[number for number, weight in enumerate(weights) if weight == found.chosen],
                caption=f"AUROC of held-out patches against {found.synthetic_defects:,} synthetic defects"
                f"{' and real ones' if 'real' in found.kinds else ''}. Error: the loss '{found.loss}'; latent: the latent loss; "
                f"both: their standardised sum. {found.iterations:,} iterations each. The sigma-VAE needs no weight.",
            )
        ],
        commands=[f"winnow train --run {in_command(run.path)} --latent-weight {found.chosen:g}"]
        if used != found.chosen
        else [],
    )
