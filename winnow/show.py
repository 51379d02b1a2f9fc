"""What a step's result looks like in a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from winnow.files import quoted
from winnow.results import (
    WEIGHT_SCORES,
    Calibrated,
    Classified,
    Drifted,
    Encoded,
    Evaluated,
    Exported,
    Finds,
    Ingested,
    LabelsExported,
    LabelsImported,
    Offender,
    Predicted,
    Recalibrated,
    Scored,
    Selected,
    Shared,
    Trained,
    WeightSearch,
)
from winnow.results.words import count, elected, false_alarms, percent, plural, promised, verb


def result(found: Any, run: Any) -> str:
    """Return what a step's result looks like in a terminal, by its class; `run` is the path of the run folder."""
    lines: dict[type[Any], Callable[[], str]] = {
        Ingested: lambda: ingest(found),
        Trained: lambda: train(found),
        Encoded: lambda: encode(found),
        Calibrated: lambda: calibrate(found, run),
        Selected: lambda: select(found, run),
        Classified: lambda: classify(found, run),
        Scored: lambda: score(found),
        Predicted: lambda: predict(found),
    }
    known = lines.get(type(found))
    return known() if known else str(found)


def ingest(found: Ingested) -> str:
    """Return one line on what was read, and one on what was not."""
    patches = f", cut into {count(found.patches, found.unit)}," if found.patches and found.unit != "picture" else ""
    frames = f"{count(found.frames, 'frame')} of {count(found.videos, 'video')}" if found.videos else ""
    pictures = count(found.pictures, "picture") if found.pictures or not frames else ""
    read = " and ".join(filter(None, (pictures, frames)))
    lines = [f"Ingested {read}{patches} in {count(found.groups, 'group')} ({found.seconds:.1f} s)."]
    if found.crops:
        without = f"; {found.empty:,} of the pictures and frames show none" if found.empty else ""
        tracks = f" in {count(found.tracks, 'track')}" if found.tracks else ""
        lines.append(f"  Found {count(found.crops, 'crop')}{tracks}{without}.")
    left_out = [
        f"{number:,} {text}"
        for number, text in (
            (found.refused, "refused, see pool/quarantine.csv"),
            (found.copies, "exact copies, not used twice"),
        )
        if number
    ]
    lines += [f"  Note: {note}" for note in found.notes]
    return "\n".join([*lines, *(["  " + "; ".join(left_out) + "."] if left_out else [])])


def shared(found: Shared) -> str:
    """Return what was done of a machine's share, and what comes next."""
    line = f"Share {found.index} of {found.of}: {count(found.made, 'shard')} of '{found.step}' made, {found.there:,} were there."
    line = "\n  Note: ".join([line, *found.refused])
    if found.missing:
        missing = f"{verb(found.missing, 'is', 'are')} missing of {found.shards:,}"
        return f"{line}\n  {missing}; when all shares are done: winnow join {found.folder}"
    there = "It is" if found.shards == 1 else f"All {found.shards:,} are"
    return f"{line}\n  {there} there: winnow join {found.folder}"


def train(found: Trained) -> str:
    """Return what was trained, for how long, and every warning."""
    training, split, unit = found.training, found.split, found.unit
    if training is None:
        return f"Loaded a frozen network of {found.parameters:,} parameters; no training is needed."
    lines = [
        f"Trained {found.parameters:,} parameters on {count(split['train'], unit)} ({split['validate']:,} validate, "
        f"{split['calibrate']:,} kept for the threshold): {training.steps:,} iterations, best at {training.best_step:,}, "
        f"{training.pictures_per_second:,.0f} {plural(unit)}/s, {training.seconds:.0f} s, {training.precision} on {training.device}."
    ]
    if found.fast is not None:
        lines.append(
            f"  And the small network of the mode 'fast': {found.fast.steps:,} iterations, {found.fast.seconds:.0f} s."
        )
    if found.chosen_because:
        lines.append(f"  Weight of the latent loss, chosen of several: {found.chosen_because}")
    if training.active_units is not None:
        lines.append(f"  Active latent units: {training.active_units}.")
    return "\n".join([*lines, *(f"  Note: {warning}" for warning in found.warnings)])


def encode(found: Encoded) -> str:
    """Return how many embeddings of how many dimensions, the losses beside them, and why it was not done faster."""
    line = (
        f"Encoded {count(found.pictures, found.unit)} into {found.dimensions:,} dimensions; losses and image statistics: "
        f"{', '.join(found.losses) or 'none'}."
    )
    slow = f"torch runs the network, slower than onnxruntime would: {found.why}" if found.why else ""
    return "\n  Note: ".join(filter(None, (line, slow, found.note)))


def calibrate(found: Calibrated, run: Any) -> str:
    """Return the threshold, what it promises, what it would find, and the own pictures that hold it up."""
    own = found.own
    promise, of = (own.whole, " per picture") if own.whole else (own.promise, "")
    each = f" for the worst {found.unit} of a picture" if own.whole and found.unit != "picture" else ""
    lines = [
        f"Threshold {promise.threshold:.4g} of scorer '{own.scorer}'{each}: "
        f"{false_alarms(promise.false_alarm_rate, promise.calibrated_on, of, promise.estimated)}."
        + (f" Modes: {', '.join(found.modes)}; '{found.mode}' decides." if len(found.modes) > 1 else "")
    ]
    if promise.note:
        lines.append(f"  {promise.note}")
    if found.regions:
        by = found.regions
        alarms = false_alarms(by.false_alarm_rate, by.calibrated_on, estimated=by.estimated)
        lines.append(f"  Pictures are judged with their halves and quarters, all together at {alarms}.")
        lines += [f"  {by.note}"] if by.note and by.note != promise.note else []
    if own.elected:
        lines.append(f"  {elected(own.elected)}")
    if found.finds:
        lines.append(f"  {would_find(found.finds)}")
    if promise.above:
        names = ", ".join(promise.extremes) + (", ..." if promise.above > len(promise.extremes) else "")
        # More than the rate allows lie above only where pictures have weights.
        weighted = promise.above > promise.false_alarm_rate * promise.calibrated_on
        less = ", more than the rate says, since pictures of large groups count for less" if weighted else ""
        them = "it" if promise.above == 1 else "them"
        lines.append(
            f"  {count(promise.above, 'own picture')} above it ({names}){less}; without {them} the threshold would be "
            f"{promise.without:.4g}. The report shows {them}; mark what does not belong in {run}/review.csv, then winnow calibrate "
            f"--run {quoted(run)}"
        )
    if found.left_out:
        lines.append(f"  {count(found.left_out, 'picture')} left out, being marked in {run}/review.csv.")
    return "\n".join(lines)


def would_find(found: Finds) -> str:
    """Return what a threshold would find of made-up pictures, whether that is weak, and then what helps."""
    helps = (
        " More good pictures help, and where the network was trained from scratch, weights of a pretrained one (--weights FILE)."
        if found.weak
        else ""
    )
    shares = ", ".join(f"{percent(share, 0)} of {kind}" for kind, share in found.found.items())
    return f"{'WEAK: it' if found.weak else 'It'} would find {shares} (made up from {found.pictures:,} of the run's own).{helps}"


def select(found: Selected, run: Any) -> str:
    """Return how many were chosen, by what, what was left out, and what to do next."""
    from winnow.run.labels import label_command

    left = found.left_out
    lines = [
        f"Chose {found.chosen:,} of {count(found.pictures, 'picture')} by '{found.method}' on the embeddings of {found.embeddings}"
        + (f"; the first {found.kept:,} were chosen before" if found.kept else "")
        + f". Set apart: {count(left.duplicates, 'duplicate')}, {count(left.outliers, 'outlier')}, {left.labelled:,} labelled or skipped.",
    ]
    if found.chosen > found.asked:
        lines.append(
            f"  The list holds {found.chosen:,} already; its first {found.asked:,} are the choice of {found.asked:,}."
        )
    lines += [f"  Note: {note}" for note in found.notes]
    lines.append(f"  List, contact sheet, map: {run}/selection.csv, selection.png, selection-map.png")
    return "\n".join([*lines, f"  Label them: {label_command(run)}"])


def classify(found: Classified, run: Any) -> str:
    """Return F1 of each class with its interval, what the metrics cannot promise, and whether more labels would pay."""
    lines = [
        f"Learnt {count(len(found.classes), 'class')} from {count(found.labelled, 'label')} ({found.origin}) by {found.by}: "
        f"macro F1 {found.macro_f1:.3f}{_between(found.interval)}, "
        f"{count(found.folds, 'fold')} {'of' if found.groups >= found.folds else 'cut from'} {count(found.groups, 'group')}.",
        *(
            f"  {name[:30]:30} {part.labels:6,} label{' ' if part.labels == 1 else 's'}  F1 {part.f1:.3f}{_between(part.interval)}"
            for name, part in found.classes.items()
        ),
        f"  {found.curve.says}",
        *(f"  {compared.says}" for compared in (found.against_head, found.choice, found.by_track) if compared),
    ]
    pseudo = found.pseudo
    if pseudo.asked:
        last = pseudo.rounds[-1]
        change = f"{last.rise:+.3f} (standard error {last.error:.3f})"
        tried = "" if last.kept else f"; {last.added:,} would have changed macro F1 by {change}"
        lines.append(f"  Pseudo-labels: {sum(pseudo.added.values()):,} stay{tried}.")
    for share, what in ((pseudo.known, "the sources know"), (pseudo.audited, "were checked")):
        if share:
            right = f"{share.right:,} are right{_between(share.interval)}"
            lines.append(f"  Of {share.of:,} pseudo-labels that {what}, {right}.")
    lines += [f"  {found.checks}"] if found.to_check else []
    lines += [f"  Note: {note}" for note in found.notes]
    more = "" if found.curve.pays is False else f", or more labels: winnow round --run {quoted(run)} --more 50"
    return "\n".join([*lines, f"  Next: winnow predict NEW --run {quoted(run)}{more}"])


def _between(interval: Any, said: Callable[[float], str] = "{:.3f}".format) -> str:
    return f" ({said(interval[0])} to {said(interval[1])})" if interval else ""


def predict(result: Predicted) -> str:
    """Return how many of each class, and how many do not belong, where these are known."""
    parts = []
    if result.classes is not None:
        parts.append(", ".join(f"{number:,} {name}" for name, number in result.classes.items()))
    if result.anomalous is not None:
        parts.append(verb(result.anomalous, "does not belong", "do not belong"))
    if result.defects is not None:
        parts.append(count(result.defects, "defect"))
    if result.refused:
        parts.append(f"{result.refused:,} refused")
    line = f"{count(result.pictures, 'picture')}: {'; '.join(parts)}. Results: {result.folder}"
    left = None if result.anomalous is None else result.anomalous - len(result.worst)
    offenders = worst(result.worst, left or 0, "predictions.csv")
    return "\n".join([line, *offenders, *_flagged(result), *(f"  Note: {note}" for note in result.notes)])


def _flagged(result: Scored | Predicted) -> list[str]:
    """Return how many were flagged as a batch, nothing where that was not asked."""
    if result.false_discoveries is None or result.flagged is None:
        return []
    share = f"{100 * result.false_discoveries:.3g} %"
    return [f"{result.flagged:,} flagged: on average at most {share} of the flagged belong after all."]


def worst(found: Sequence[Offender], left: int, table: str) -> list[str]:
    """Return a short table of what belongs least, a line each, and in which file the rest is."""
    if not found:
        return []
    here = os.getcwd() + os.sep
    lines = ["  What belongs least, by p-value:"]
    lines += [
        f"    {one.p_value:8.3g}  {one.name.removeprefix(here)}" + (f", {one.region}" if one.region else "")
        for one in found
    ]
    return [*lines, f"    ... and {left:,} more in {table}"] if left > 0 else lines


def export(result: Exported) -> str:
    """Return what the file computes, how near to the run, and where it is."""
    apart, found = max(result.parity.values()), result.int8
    rounded = ""
    if found:
        rounded = (
            f" In int8 {found.changed:,} of {found.pictures:,} held-out pictures get another verdict; in float32 the file has "
            f"{found.bytes_before / 1e6:.1f} MB."
        )
    return (
        f"Exported {', '.join(result.outputs)} ({result.bytes / 1e6:.1f} MB); onnxruntime differs from the run by {apart:.1e} at "
        f"most, relatively{', in float32' if found else ''}.{rounded} File: {result.file}, its card: {result.card}"
        + (f", for Triton: {result.triton}" if result.triton else "")
    )


def score(result: Scored) -> str:
    """Return how much belongs, and the first segments of each video."""
    lines = [
        f"{result.belong:,} of {result.pictures:,} belong{'s' if result.pictures == 1 else ''}"
        + (f"; {result.refused:,} refused" if result.refused else "")
        + (f"; {count(result.defects, 'defect')}" if result.defects is not None else "")
        + (
            f" in {count(result.patches, result.unit)}"
            if result.patches is not None and result.unit != "picture"
            else ""
        )
        + f". Results: {result.folder}"
    ]
    lines += worst(result.worst, result.pictures - result.belong - len(result.worst), "scores.csv")
    lines += _flagged(result)
    if result.drift is not None:
        lines.append(_drifted(result.drift))
    if result.note:
        lines.append(f"  Note: {result.note}")
    for video in result.videos:
        lines.append(f"{video.source}:")
        lines += [
            f"  {part.start:9.1f} to {part.end:9.1f} s  {'belongs' if part.belongs else 'does not belong':15}  mean score {part.score:.3g}"
            + (f", {part.region}" if part.region else "")
            for part in video.segments[:20]
        ]
        if len(video.segments) > 20:
            lines.append(f"  ... and {len(video.segments) - 20} more in segments.csv")
        lines += [f"  Note: {video.note}"] if video.note else []
    return "\n".join(lines)


def recalibrated(found: Recalibrated, run: Any) -> str:
    """Return both thresholds, what each refuses, and which decides."""
    mode = "" if found.mode == "full" else f", by the mode {found.mode}"
    lines = [f"{count(found.pictures, 'reviewed picture')} of {', '.join(found.sources)}{mode}:"]
    for name, one in (("old", found.old), ("new", found.new)):
        promise = false_alarms(one.false_alarm_rate, one.calibrated_on)
        lines.append(
            f"  {name} threshold {one.threshold:.4g} ({promise}): refuses {one.new_refused:,} of the {found.pictures:,} reviewed pictures "
            f"and {one.own_refused:,} of the run's own {found.own_pictures:,} held-out ones."
        )
    lines += [f"  Note: {found.new.note}"] if found.new.note else []
    lines.append(
        f"The new one decides. To take it back: winnow recalibrate --run {quoted(run)} --undo"
        if found.in_force
        else f"The old one decides. To have the new one decide: winnow recalibrate --run {quoted(run)} --confirm"
    )
    return "\n".join(lines)


def _drifted(found: Drifted) -> str:
    """Return whether the threshold held, and what changed where it did not."""
    if found.at is None:
        return f"The threshold holds, as far as {count(found.blocks, 'block')} can tell (drift.html)."
    changed = f" The pictures since are {'; '.join(found.changes)}." if found.changes else ""
    return f"THE THRESHOLD DOES NOT HOLD ANY MORE since about block {found.since:,} of {found.blocks:,} (told at {found.where}).{changed}"


def evaluate(result: Evaluated) -> str:
    """Return a table of what was found in each anomalous group, at which false-alarm rate, and then how well it ranks."""
    promise = promised(result.false_alarm_rate_promised, result.false_alarm_rate_estimated)
    lines = [
        f"False alarms: {promise}, {percent(result.false_alarm_rate)} seen{_between(result.false_alarm_rate_interval, percent)}, "
        f"on {count(result.pictures, 'normal picture')}. Scorer '{result.scorer}', threshold {result.threshold:.4g}.",
        f"{'anomalous group':24} {'pictures':>8} {'found':>7} {'':19} {'AUROC':>7} {'AP':>7} {'AUROC of sharpness alone':>25}",
    ]
    for name, row in result.named().items():
        between = _between((row.interval or {}).get("detection_rate"), percent)
        found = "-" if row.detection_rate is None else percent(row.detection_rate)
        lines.append(
            f"{name[:24]:24} {row.pictures:8,} {found:>7} {between:19} {row.auroc:7.3f} {row.average_precision:7.3f} "
            + (f"{result.baseline[name]:25.3f}" if name in result.baseline else f"{'-':>25}")
        )
    if result.refused:
        named = ", ".join(
            f"{number:,} {'normal' if name == 'belongs' else name}" for name, number in result.refused.items()
        )
        lines.append(f"  Refused, so in no rate: {named}; why is in quarantine.csv of the results.")
    known = [(name, value) for name, value in (result.masks.named() if result.masks else ()) if value is not None]
    lines += [f"  {name}: {format(value, ',' if isinstance(value, int) else '.3f')}" for name, value in known]
    if result.seen_in_training:
        lines.append(
            f"  Note: {result.seen_in_training:,} of the pictures given as belonging are in the run's own pool; their scores flatter."
        )
    lines += [f"  Note: {note}" for note in result.notes]
    return "\n".join([*lines, f"Results: {result.folder}"])


def weight(result: WeightSearch, run: Any) -> str:
    """Return a table of the weights tried, the choice and its reason."""
    lines = [f"{'weight':>10}" + "".join(f"{name:>19}" for name in result.curves)]
    for name, trial in [*((f"{trial.weight:g}", trial) for trial in result.trained), ("sigma-VAE", result.sigma)]:
        values = [trial.on(kind)[score] for kind in result.kinds for score in WEIGHT_SCORES]
        lines.append(f"{name:>10}" + "".join(f"{value:19.3f}" for value in values))
    lines += ["AUROC of held-out patches against damaged ones.", result.reason]
    if result.real_defects is not None:
        lines.append(
            f"{count(result.real_defects, 'real defect')} would choose {result.chosen_by_real:g}; "
            f"the choice by synthetic ones costs {result.lost:.3f} of AUROC on them."
        )
    command = f"winnow train --run {quoted(run)}" + ("" if result.used else f" --latent-weight {result.chosen:g}")
    return "\n".join([*lines, f"{'It is set; train' if result.used else 'Train with it'}: {command}"])


def imported(result: LabelsImported) -> str:
    """Return what an import changed, and the first items it did not know."""
    line = (
        f"Imported {count(result.new + result.changed, 'label')} of {result.file}: {result.new:,} new, "
        f"{result.changed:,} in place of an earlier one (which is kept in the log); {result.same:,} were the same"
        + (f"; {count(result.notes, 'note')}" if result.notes else "")
        + f".\n  Matched: {result.matched}."
    )
    unknown = result.unknown
    if not unknown:
        return line
    more = " ..." * (len(unknown) > 3)
    return f"{line}\n  {count(len(unknown), 'label')} left out, without an item of this run: {'; '.join(unknown[:3])}{more}"


def exported(result: LabelsExported) -> str:
    """Return how many labels went where."""
    gone = f" {count(result.gone, 'label')} of items that the pool has no more stayed out." if result.gone else ""
    pool = (
        f" {count(result.from_pool, 'picture')}, whose originals are missing or changed, at the run's own size."
        if result.from_pool
        else ""
    )
    return f"Exported {count(result.labels, 'label')} as {result.format}: {result.path}.{gone}{pool}"
