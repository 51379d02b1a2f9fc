"""The model card of an exported file: its outputs, how they were measured, how to use it, and its limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from winnow.deploy.runtime import INPUT
from winnow.detect.parts import PARTS
from winnow.results import Classified, Exported, Mode
from winnow.results.words import false_alarms, percent

MARK, TAIL = b"\n\x06winnow\x12", 1 << 20  # the key of the metadata, which protocol buffers write after the graph


def card(
    about: dict[str, Any],
    result: Exported,
    *,
    recipe: str,
    versions: dict[str, str],
    measured: Classified | None,
    promised: Mode | None,
) -> str:
    """Return the card in Markdown.

    `about` is the file's metadata, `result` that of the export, `measured` and `promised` what the run found of its
    classifier and promises of its threshold, None without them.
    """
    parts = [
        f"# {Path(result.file).name}",
        f"Written by Winnow {about['version']}" + (f" from a run of the recipe `{recipe}`." if recipe else "."),
        *(_classifier(measured) if measured else []),
        *(_anomaly_model(about, promised) if promised else []),
        *_inputs(about, result),
        *_example(about, result),
        *_limits(about, measured, promised),
        "## Checked",
        _parity(result),
        *([_int8(result)] if result.int8 else []),
        "Versions: "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; ONNX opset {result.opset}.",
    ]
    return "\n\n".join(parts) + "\n"


def is_card(file: Path) -> bool:
    """Return whether the card of an exported file, existing or not, is there and is one that `card` wrote."""
    path, head = file.with_suffix(".md"), f"# {file.name}\n\nWritten by Winnow ".encode()
    if not path.is_file():
        return False
    with path.open("rb") as card_file:
        return card_file.read(len(head)) == head


def is_exported(file: Path) -> bool:
    """Return whether a file is one that `winnow export` wrote: by what it says of itself, or, when it is damaged, by its card."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - TAIL))
        return MARK in stream.read() or is_card(file)


def _classifier(measured: Classified) -> list[str]:
    rows = [
        f"| {_cell(name)} | {part.labels:,} | {part.f1:.3f} | {_range(part.interval)} |"
        for name, part in measured.classes.items()
    ]
    return [
        "## Which class",
        f"{len(measured.classes)} classes, learnt from {measured.labelled:,} labels ({measured.origin}). "
        f"Macro F1 {measured.macro_f1:.3f} ({_interval(measured.interval)}), accuracy {measured.accuracy:.3f}, measured on "
        f"labelled pictures that the classifier had not seen: {measured.folds} folds of {measured.groups:,} groups. "
        f"Probabilities are calibrated; they are off by {measured.calibration_error:.3f} on average.",
        "\n".join(["| class | labels | F1 | 95 % interval |", "|---|---|---|---|", *rows]),
    ]


def _anomaly_model(about: dict[str, Any], promised: Mode) -> list[str]:
    whole, each = promised.whole, promised.promise
    what = (
        "-log p of the most anomalous of a picture, its halves and its quarters, each" if about["regions"] else "that"
    )
    lines = [
        f"`score` is {what} by the scorer `{promised.scorer}`, higher = more anomalous. A score above {about['threshold']:.6g} means "
        f"that a {_unit(about) if whole else 'picture'} does not belong; "
        f"{false_alarms(each.false_alarm_rate, each.calibrated_on, estimated=each.estimated)}. `p_value` is the share of held-out "
        "normal ones that are at least as anomalous."
    ]
    if whole:
        lines.append(
            f"{_whole(about)} threshold is {about['picture_threshold']:.6g}: "
            f"{false_alarms(whole.false_alarm_rate, whole.calibrated_on, estimated=whole.estimated)}."
        )
    return ["## What belongs", *lines]


def _unit(about: dict[str, Any]) -> str:
    return "patch" if about["ingest"]["patches"] else "picture (or one of the squares that a strip is cut into)"


def _whole(about: dict[str, Any]) -> str:
    if about["ingest"]["patches"]:
        return "A picture is as anomalous as its most anomalous patch; its"
    return "A strip is as anomalous as its most anomalous square; a picture's"


def _inputs(about: dict[str, Any], result: Exported) -> list[str]:
    height, width = about["size"]
    patches, kind = about["ingest"]["patches"], "grey" if about["channels"] == 1 else "RGB"
    shape = f"n, {height}, {width}" if patches else "n, height, width"
    scaling = (
        f"Pictures are cut into patches of {height}x{width} at their own resolution; each patch is one input."
        if patches
        else f"Any size: it is scaled to {height}x{width} inside, as by Pillow's BILINEAR; pictures of that size pass unchanged."
    )
    if about.get("blank"):
        scaling += (
            f" Of good pictures up to {percent(about['blank']['usual'], 0)} of the patches is blank (`--blank`); one with clearly more is "
            "damaged there, whatever the file says of blank patches: `winnow predict --onnx` judges it so."
        )
    deep = f"{about['ingest']['white'] or 65535:g} in pictures of 16 bits is 255. "
    people = "Inputs are crops of persons, as the run made them. " if about["ingest"]["people"] else ""
    known = {
        "probabilities": f"float32 (n, {len(about['classes'] or ())}): calibrated, in the order of `classes`",
        "score": "float32 (n,): higher = more anomalous; belongs when at most `threshold`",
        "p_value": "float32 (n,): small = anomalous",
        "regions": f"float32 (n, {len(PARTS)}): -log p of each part: {', '.join(PARTS)}",
        "directions": "float32 (n, directions): where the embedding lies along the principal directions of those of held-out pictures, "
        "in standard deviations from their medians. `winnow watch --drift-alarm` and `winnow serve --drift-alarm` say by them what changed",
        "anomaly_map": "float32 (n, rows, columns), coarser than the picture"
        + (
            ""
            if about["map_level"] is None
            else f": {about['map_usual']:.6g} where it is as usual, above {about['map_level']:.6g} where it "
            "is damaged, if the picture does not belong. `winnow predict --onnx FILE --heatmaps DIR` draws it"
        ),
    }
    return [
        "## Input and outputs",
        f"Input `{INPUT}`: uint8 ({shape}, {about['channels']}), {kind}, values as decoded, 0 to 255, with EXIF orientation applied. "
        f"{deep}{people}{scaling}",
        "\n".join(f"- `{name}`: {known[name]}" for name in result.outputs),
        "In the file's metadata: `winnow`, JSON with everything else that a program needs"
        + (", `classes`" if about["classes"] else "")
        + (", `threshold`" if about["threshold"] is not None else "")
        + ".",
    ]


def _example(about: dict[str, Any], result: Exported) -> list[str]:
    name, (height, width) = Path(result.file).name, about["size"]
    crop = f".crop((0, 0, {width}, {height}))" if about["ingest"]["patches"] else ""
    white = about["ingest"]["white"]
    mode = f".convert('{'L' if about['channels'] == 1 else 'RGB'}'){crop}"
    upright = "ImageOps.exif_transpose(Image.open(sys.argv[1]))"
    deep = [
        f"picture = {upright}",
        "if picture.mode[0] in 'IF':  # 16 bits or more",
        f"    picture = Image.fromarray((np.asarray(picture) * (255 / {white})).clip(0, 255).round().astype(np.uint8))",
        f"picture = picture{mode}",
    ]
    lines = [
        "import json, sys",
        "import numpy as np, onnxruntime",
        "from PIL import Image, ImageOps",
        "",
        f"model = onnxruntime.InferenceSession({json.dumps(name, ensure_ascii=False)})",
        "about = json.loads(model.get_modelmeta().custom_metadata_map['winnow'])",
        *(deep if white else [f"picture = {upright}{mode}"]),
        f"pixels = np.asarray(picture).reshape(1, picture.height, picture.width, {about['channels']})",
        f"found = dict(zip([one.name for one in model.get_outputs()], model.run(None, {{'{INPUT}': pixels}})))",
    ]
    if about["classes"]:
        lines.append("print(about['classes'][found['probabilities'][0].argmax()], found['probabilities'][0].max())")
    if about["threshold"] is not None:
        lines.append(
            "print('belongs' if found['score'][0] <= about['threshold'] else 'anomalous', found['p_value'][0])"
        )
    return ["## Use", "\n".join(["```python", *lines, "```"])]


def _limits(about: dict[str, Any], measured: Classified | None, promised: Mode | None) -> list[str]:
    promises = [promised.promise, promised.whole] if promised else []
    notes = [*(measured.notes if measured else []), *(promise.note for promise in promises if promise and promise.note)]
    if measured and not promised:
        notes.append("The file does not detect anomalous pictures: every picture gets one of its classes.")
    if measured and promised:
        notes.append("Pictures that do not belong get a class too, which then means little.")
    notes.append(
        "All figures are for pictures like those of the run: other cameras, places or seasons must be measured anew."
    )
    if not about["ingest"]["patches"]:
        notes.append(
            "Large JPEG files are best scaled while they are decoded, as Winnow does; results may differ by a grey level's worth."
        )
    return ["## Limits", "\n".join(f"- {note}" for note in dict.fromkeys(notes))]


def _parity(result: Exported) -> str:
    differences = ", ".join(f"`{name}` {value:.1e}" for name, value in result.parity.items())
    stepped = ""
    if result.stepped:
        stepped = (
            f"; {percent(result.stepped, 2)} of the values lie on a calibration score and stepped to the next rank"
        )
    return f"Largest relative difference between onnxruntime and the run, on pictures of its pool and on noise: {differences}{stepped}."


def _int8(result: Exported) -> str:
    found = result.int8
    assert found is not None
    units = {
        "score": " standard deviations of the calibration scores",
        "regions": " standard deviations of the calibration scores",
        "directions": " standard deviations",
        "anomaly_map": " of the distance between its two levels",
    }
    differences = "; ".join(
        f"`{name}` {found.mean[name]:.2g} on average, {value:.2g} at most{units.get(name, '')}"
        for name, value in found.largest.items()
    )
    return (
        f"The file is in int8: weights and activations of its networks are rounded to 8 bits ({result.bytes / 1e6:.1f} MB, in "
        f"float32 {found.bytes_before / 1e6:.1f} MB). The differences above are those of the same file in float32. Of "
        f"{found.pictures:,} held-out pictures {found.changed:,} get another verdict by int8 "
        f"({percent(found.changed / max(found.pictures, 1))}). Differences between the two files on them: {differences}."
    )


def _interval(interval: Any) -> str:
    return f"95 % interval {_range(interval)}" if interval else "no interval: too few groups"


def _range(interval: Any) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
