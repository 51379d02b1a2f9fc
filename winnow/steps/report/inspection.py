"""The parts of the report on pictures cut into patches: modes, losses, synthetic defects, inspected pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from winnow.embeddings import Embeddings
from winnow.metrics.detection import cross_entropy
from winnow.pool.pool import Pool
from winnow.report import inspection
from winnow.report.html import Figure, Gallery, Section, Table, chart
from winnow.results import Calibrated, Encoded, Scored
from winnow.results.words import count, elected, percent, plural
from winnow.run.artifacts import folder_of, load_detector, modes
from winnow.run.folder import RunFolder
from winnow.run.judge import most_anomalous_of, wholes_of
from winnow.run.split import split_of
from winnow.run.synthetic import held_out_scores, sheet
from winnow.run.working_copy import in_command
from winnow.steps.report.coverage import close_up, coverage_section, drawn_small
from winnow.steps.report.judged import last_evaluation
from winnow.steps.report.pictures import card_of, named
from winnow.steps.report.weight import weight_section

BINS = 50
SHEET = 2  # examples of a kind
SHOWN = 9  # pictures of the last `winnow score`
LARGE = 540  # pixels of the longer side of each


def inspection_sections(run: RunFolder) -> list[Section]:
    """Return the sections on how a run of patches decides, cross entropies last; none for another run."""
    if not run.options.ingest.cuts:
        return []
    search = weight_section(run)
    losses = [_losses(run)] if "reconstruction" in run.result(Encoded).losses else []
    return [
        _decisions(run),
        _synthetic(run),
        coverage_section(run),
        *([search] if search else []),
        *losses,
    ]


def _decisions(run: RunFolder) -> Section:
    """Return speed, thresholds and agreement of the modes."""
    found = run.result(Calibrated)
    speed = found.speed
    own = run.options.score.mode
    loaded = {name: load_detector(run, name) for name in sorted(modes(run), key=lambda name: name != own)}
    detectors = {name: one.before or one for name, one in loaded.items()}  # they are compared on the run's own pictures
    units = _units(run)
    scores = held_out_scores(detectors)
    rows = []
    drawn = []
    first, *others = detectors
    alarms = {name: scores[name] > detector.threshold.value for name, detector in detectors.items()}
    for name in detectors:
        about = found.modes[name]
        whole = about.whole or about.promise
        rows.append((name, about.scorer, round(speed[name]), round(speed[name] / speed[first], 1),
                     whole.threshold, "-" if whole.false_alarm_rate >= 1 else percent(whole.false_alarm_rate),
                     found.synthetic[name]["all"], percent((alarms[name] == alarms[first]).mean())))  # fmt: skip
    for name in others:
        pair = [-np.log10(detectors[part].p_values(scores[part])) for part in (first, name)]
        limits = [-np.log10(detectors[part].threshold.level) for part in (first, name)]
        # A picture is refused when its p-value is at most the level: the line stands a hair to the left.
        names = (first, name)
        png = inspection.agreement(pair[0], pair[1], limits[0] - 1e-9, limits[1] - 1e-9, names)
        drawn.append(Figure(f"{first} and {name} on held-out {units}", png))
    columns = ("mode", "scorer", f"{units}/s", "speed", "threshold", "false alarms", "AUROC", "agrees")
    return Section(
        "Modes" if others else "What decides",
        text=[
            *(["The same question answered in several ways: with the whole network, with its encoder alone, and by the small network "
               f"trained to see damage. This report goes by the mode {own}."] if others else []),
            *([elected(found.own.elected)] if found.own.elected else []),
        ],
        figures=drawn,
        tables=[Table(columns, rows, caption="Speed: times that of the first. Threshold and false alarms: per picture. AUROC: "
                      f"on the synthetic defects below. Agrees: with {first}, on held-out good {units}; the figures show their "
                      "-log10 p-values.")],
        commands=[f"winnow score PICTURES --run {in_command(run.path)} --mode {others[-1]}"] if others else [],
    )  # fmt: skip


def _losses(run: RunFolder) -> Section:
    """Return histograms of the losses of training, validation and damaged patches, and their cross entropies."""
    own = Embeddings.load(run.folder("encode"))
    evaluation, _ = last_evaluation(run)
    real = run.path / "evaluation" / "damaged"
    is_real = evaluation is not None and (real / "embeddings.json").exists()
    damaged = Embeddings.load(real if is_real else folder_of(run, "calibrate", "synthetic"))
    kind = "damaged (real)" if is_real else "damaged (synthetic)"
    pool = Pool.open(run.folder("ingest"))
    split = split_of(run, pool).split
    split = split[split != "test"]
    figures, rows = [], []
    for measure, label in (("reconstruction", "reconstruction loss"), ("latent", "latent loss")):
        if measure not in own.losses:
            continue
        values = own.losses[measure]
        samples = {
            "training": values[split == "train"],
            "validation": values[split == "calibrate"],
            kind: damaged.losses[measure],
        }
        drawn = chart(f"Distributions of the {label}", inspection.loss_distributions, samples, label=label)
        figures.append(drawn)
        rows.append((label, *entropies(*samples.values())))
    table = Table(
        ("loss", "H(T, V)", "H(T, D)", "H(V, D)"), rows, title="Cross entropy H(p, q) in nats",
        caption=f"T training, V held-out, D {kind} {_units(run)}; {BINS} equal bins over all three, a floor of 1e-9 where q has none. "
        "A loss that tells damage has a small H(T, V) and a large H(V, D).")  # fmt: skip
    return Section(f"Losses of good and damaged {_units(run)}", figures=figures, tables=[table])


def entropies(training: np.ndarray, validation: np.ndarray, damaged: np.ndarray) -> tuple[float, float, float]:
    """Return H(T, V), H(T, D), H(V, D) of three samples of a loss on one axis of equal bins (Soukup & Pinetz 2018, Table I)."""
    whole = np.concatenate([training, validation, damaged])
    edges = np.linspace(whole.min(), max(whole.max(), whole.min() + 1e-12), BINS + 1)
    return (
        cross_entropy(training, validation, edges),
        cross_entropy(training, damaged, edges),
        cross_entropy(validation, damaged, edges),
    )


def _synthetic(run: RunFolder) -> Section:
    """Return the synthetic defects, and how well each mode finds each kind."""
    shown = sheet(run, SHEET)
    drawn = (shown.clean, shown.damaged, shown.masks, list(shown.kinds))
    judged = run.result(Calibrated).synthetic
    kinds = ["all", *sorted({kind for of_mode in judged.values() for kind in of_mode} - {"all"})]
    copies = Embeddings.load(folder_of(run, "calibrate", "synthetic")).ids
    table = Table(
        ("kind", *judged), [(kind, *(judged[name].get(kind) for name in judged)) for kind in kinds],
        title="AUROC on synthetic defects",
        caption=f"{len(copies):,} damaged copies of {len(set(copies)):,} held-out {_units(run)}, against these.")  # fmt: skip
    fast = "; the fast mode learnt from such ones on training patches" if "fast" in judged else ""
    return Section(
        "Synthetic defects",
        text=[f"Drawn on held-out good {_units(run)}{fast}. Do they resemble "
              "what goes wrong on your line? A kind of damage that is not among them may be found less well than the table says."],
        figures=[chart(f"Good {_units(run)}, the same damaged, and where", inspection.defect_sheet, *drawn, pictures=True)],
        tables=[table],
    )  # fmt: skip


def _units(run: RunFolder) -> str:
    """Return what is judged by itself, in the plural."""
    pool = Pool.open(run.folder("ingest"))
    return plural(run.options.ingest.unit(len(pool), len(pool.pictures)))


def inspected(run: RunFolder, scored: Scored) -> tuple[list[Gallery], str]:
    """Return the most anomalous pictures of the last `winnow score` with their defects, of strips also where they are worst, and a note."""
    pool, cards, near = Pool.open(scored.folder / "pool"), [], []
    wholes = wholes_of(run, pool, named=False)
    for picture, score in most_anomalous_of(run, scored.folder, pool, SHOWN, wholes):
        name = named(picture.source, picture.time, picture.page)
        drawn, boxes = drawn_small(picture)
        found = count(len(picture.defects), "defect")
        card = replace(
            card_of(name, drawn, [f"score {score:.4g}, {found}"], longest=LARGE), alt=f"{name} with {found} framed"
        )
        cards.append(card)
        if card.wide and boxes:
            near.append(replace(card_of(name, close_up(drawn, boxes[0])), alt=f"The worst defect of {name}, framed"))
    galleries = [
        Gallery("The most anomalous pictures, their defects framed, under their anomaly maps", cards, size="large"),
        Gallery("Where they are worst, enlarged", near),
    ]
    return galleries, wholes.note if wholes else ""
