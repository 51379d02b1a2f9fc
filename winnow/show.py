"""What a step's result looks like in a terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from winnow.results import (
    WEIGHT_SCORES,
    Evaluated,
    Exported,
    LabelsExported,
    LabelsImported,
    Predicted,
    Scored,
    WeightSearch,
)


def count(number: int, noun: str) -> str:
    """1 video, 1,200 videos, 2 patches."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """videos, patches."""
    return noun + ("es" if noun.endswith("ch") else "s")


def ingest(result: dict[str, Any]) -> str:
    """One line on what was read, and one on what was not."""
    patches = f", cut into {count(result['patches'], 'patch')}," if result["patches"] else ""
    lines = [
        f"Ingested {count(result['pictures'], 'picture')} and {count(result['frames'], 'frame')} of "
        f"{count(result['videos'], 'video')}{patches} in {count(result['groups'], 'group')} ({result['seconds']:.1f} s)."
    ]
    if result.get("crops"):
        without = f"; {result['empty']:,} of the pictures and frames show none" if result["empty"] else ""
        lines.append(f"  Found {count(result['crops'], 'crop')}{without}.")
    left_out = [
        f"{result[name]:,} {text}"
        for name, text in (
            ("refused", "refused, see pool/quarantine.csv"),
            ("copies", "exact copies, not used twice"),
            ("skipped", "other files in the folders skipped"),
        )
        if result[name]
    ]
    return "\n".join([*lines, *(["  " + "; ".join(left_out) + "."] if left_out else [])])


def train(result: dict[str, Any]) -> str:
    """What was trained, for how long, and every warning."""
    if not result["trained"]:
        return f"Loaded a pretrained network of {result['parameters']:,} parameters; no training is needed."
    split, unit = result["split"], result.get("unit", "picture")
    lines = [
        f"Trained {result['parameters']:,} parameters on {count(split['train'], unit)} ({split['validate']:,} validate, "
        f"{split['calibrate']:,} kept for the threshold): {result['steps']:,} iterations, best at {result['best_step']:,}, "
        f"{result['pictures_per_second']:,.0f} {plural(unit)}/s, {result['seconds']:.0f} s, {result['precision']} on {result['device']}."
    ]
    if result["active_units"] is not None:
        lines.append(f"  Active latent units: {result['active_units']}.")
    return "\n".join([*lines, *(f"  Note: {warning}" for warning in result["warnings"])])


def encode(result: dict[str, Any]) -> str:
    """How many embeddings of how many dimensions."""
    what = count(result["pictures"], result.get("unit", "picture"))
    return f"Encoded {what} into {result['dimensions']:,} dimensions; measures: {', '.join(result['losses'])}."


def calibrate(result: dict[str, Any]) -> str:
    """The threshold and what it promises, per picture where pictures were cut into patches."""
    whole = result["modes"]["full"].get("pictures")
    if whole:
        return (
            f"Threshold {whole['threshold']:.4g} of scorer '{result['scorer']}' for the worst patch of a picture: "
            f"{whole['false_alarm_rate']:.2%} false alarms per picture, from {count(whole['calibrated_on'], 'held-out picture')}. "
            f"Decisions: {', '.join(result['modes'])}." + (f"\n  {whole['note']}" if whole["note"] else "")
        )
    line = (
        f"Threshold {result['threshold']:.4g} of scorer '{result['scorer']}': {result['false_alarm_rate']:.2%} false alarms, "
        f"from {count(result['calibrated_on'], 'held-out picture')}."
    )
    return line + (f"\n  {result['note']}" if result["note"] else "")


def select(result: dict[str, Any], run: Any) -> str:
    """How many were chosen, by what, what was left out, and what to do next."""
    left = result["left_out"]
    lines = [
        f"Chose {count(result['chosen'], 'picture')} of {result['candidates']:,} by '{result['method']}' "
        f"on the embeddings of {result['vectors']}"
        + (f"; the first {result['kept']:,} were chosen before" if result["kept"] else "")
        + f". Left out: {count(left['duplicates'], 'duplicate')}, {count(left['outliers'], 'outlier')}, {left['labelled']:,} labelled.",
    ]
    if result["chosen"] > result["asked"]:
        lines.append(
            f"  The list holds {result['chosen']:,} already; its first {result['asked']:,} are the choice of {result['asked']:,}."
        )
    lines += [f"  Note: {note}" for note in result["notes"]]
    lines.append(f"  List, contact sheet, map: {run}/selection.csv, selection.png, selection-map.png")
    return "\n".join([*lines, f"  Label them: winnow label --run {run} --classes ..."])


def classify(result: dict[str, Any], run: Any) -> str:
    """F1 of each class with its interval, what the measures cannot promise, and whether more labels would pay."""
    lines = [
        f"Learnt {len(result['classes'])} classes from {count(result['labelled'], 'label')} ({result['origin']}) by {result['by']}: "
        f"macro F1 {result['macro_f1']:.3f}{_between(result['interval'])}, "
        f"{count(result['folds'], 'fold')} of {count(result['groups'], 'group')}.",
        *(
            f"  {name[:30]:30} {part['labels']:6,} labels  F1 {part['f1']:.3f}{_between(part['interval'])}"
            for name, part in result["classes"].items()
        ),
        f"  {result['curve']['says']}",
        *(f"  {result[name]['says']}" for name in ("beside", "choice") if result[name]),
    ]
    pseudo = result["pseudo"]
    if pseudo["asked"]:
        last = pseudo["rounds"][-1]
        change = f"{last['rise']:+.3f} (standard error {last['error']:.3f})"
        tried = "" if last["kept"] else f"; {last['added']:,} would have changed macro F1 by {change}"
        lines.append(f"  Pseudo-labels: {sum(pseudo['added'].values()):,} stay{tried}.")
    for name, what in (("known", "the sources know"), ("audited", "were checked")):
        if share := pseudo[name]:
            lines.append(
                f"  Of {share['of']:,} pseudo-labels that {what}, {share['right']:,} are right{_between(share['interval'])}."
            )
    lines += [f"  Note: {note}" for note in result["notes"]]
    return "\n".join(
        [*lines, f"  Next: winnow predict NEW --run {run}, or more labels: winnow round --run {run} --more 50"]
    )


def _between(interval: Any) -> str:
    return f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""


def predict(result: Predicted) -> str:
    """Return how many of each class, and how many do not belong, where these are known."""
    parts = []
    if result.classes is not None:
        parts.append(", ".join(f"{number:,} {name}" for name, number in result.classes.items()))
    if result.anomalous is not None:
        parts.append(f"{result.anomalous:,} do not belong")
    if result.refused:
        parts.append(f"{result.refused:,} refused")
    return f"{count(result.pictures, 'picture')}: {'; '.join(parts)}. Results: {result.folder}"


def export(result: Exported) -> str:
    """Return what the file computes, how near to the run, and where it is."""
    apart = max(result.parity.values())
    return (
        f"Exported {', '.join(result.outputs)} ({result.bytes / 1e6:.1f} MB); onnxruntime differs from the run by {apart:.1e} at "
        f"most, relatively. File: {result.file}, its card: {result.card}"
    )


def score(result: Scored) -> str:
    """Return how much belongs, and the first segments of each video."""
    lines = [
        f"{result.belong:,} of {result.pictures:,} belong"
        + (f"; {result.refused:,} refused" if result.refused else "")
        + (
            f"; {count(result.defects, 'defect')} in {count(result.patches, 'patch')}"
            if result.defects is not None and result.patches is not None
            else ""
        )
        + f". Results: {result.folder}"
    ]
    if result.note:
        lines.append(f"  Note: {result.note}")
    for video in result.videos:
        lines.append(f"{video.source}:")
        lines += [
            f"  {part.start:9.1f} to {part.end:9.1f} s  {'in' if part.belongs else 'out':3}  mean score {part.score:.3g}"
            for part in video.segments[:20]
        ]
        if len(video.segments) > 20:
            lines.append(f"  ... and {len(video.segments) - 20} more in segments.csv")
    return "\n".join(lines)


def evaluate(result: Evaluated) -> str:
    """Return a table of the anomalous groups: AUROC, average precision, rates at the threshold."""
    lines = [
        f"Scorer '{result.scorer}', threshold {result.threshold:.4g} for {result.false_alarm_rate_asked:.1%} false alarms: "
        f"{result.false_alarm_rate:.1%} of {result.pictures:,} normal pictures flagged.",
        f"{'anomalous group':24} {'pictures':>8} {'detected':>9} {'AUROC':>7} {'AP':>7} {'AUROC of sharpness alone':>25}",
    ]
    for name, row in result.anomalous.items():
        lines.append(
            f"{name[:24]:24} {row.pictures:8,} {row.detection_rate:9.1%} {row.auroc:7.3f} {row.average_precision:7.3f} "
            + (f"{result.baseline[name]:25.3f}" if name in result.baseline else f"{'-':>25}")
        )
    for name, value in asdict(result.masks).items() if result.masks else ():
        lines.append(
            f"  {name.replace('_', ' ')}: {'-' if value is None else format(value, ',' if isinstance(value, int) else '.3f')}"
        )
    if result.seen_in_training:
        lines.append(
            f"  Note: {result.seen_in_training:,} of the pictures given as belonging are in the run's own pool; their scores flatter."
        )
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
    command = f"winnow train --run {run}" + ("" if result.used else f" --latent-weight {result.chosen:g}")
    return "\n".join([*lines, f"{'It is set; train' if result.used else 'Train with it'}: {command}"])


def imported(result: LabelsImported) -> str:
    """Return what an import changed, and the first items it did not know."""
    line = (
        f"Imported {count(result.new + result.changed, 'label')} of {result.file}: {result.new:,} new, "
        f"{result.changed:,} in place of an earlier one (which is kept in the log); {result.same:,} were the same"
        + (f"; {count(result.notes, 'note')}" if result.notes else "")
        + "."
    )
    unknown = result.unknown
    if not unknown:
        return line
    more = " ..." * (len(unknown) > 3)
    return f"{line}\n  {count(len(unknown), 'item')} not of this run, or not told apart: {'; '.join(unknown[:3])}{more}"


def exported(result: LabelsExported) -> str:
    """Return how many labels went where."""
    gone = f" {count(result.gone, 'label')} of items that the pool has no more stayed out." if result.gone else ""
    return f"Exported {count(result.labels, 'label')} as {result.format}: {result.path}.{gone}"
