"""What the name of a folder, or a label, says of the pictures in it: a split, a class, good ones, bad ones, masks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

NORMAL, ANOMALOUS = "normal", "anomalous"
Masks = Literal["", "maybe", "likely", "yes"]

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validate",
    "valid": "validate",
    "validation": "validate",
    "dev": "validate",
    "validate": "validate",
    "calibrate": "calibrate",
    "calibration": "calibrate",
    "calib": "calibrate",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
SPLIT_NAMES = tuple(_SPLITS)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words that say nothing of what is shown: "ok images", "Data", "test_public", "train2017".
_FILLERS = _set(
    "image images img imgs picture pictures pic pics photo photos jpeg jpegs png data dataset set sets sample samples part parts "
    "product products item items piece pieces file files folder public private mixed rgb raw"
)
_GOOD = _set(
    "good goods ok o.k okay okays normal normals pass passed passes accept accepted nominal healthy clean intact perfect flawless io "
    "i.o conforming conform compliant undamaged gut bon bons bonne bueno buena buono buoni 良品 正常 合格 合格品 正常品 양품 정상"
)
_BAD = _set(
    "bad bads ng ngs n.g nok notok nio n.i.o ni.o ko defect defects defective defectives defected def anomaly anomalies anomalous "
    "abnormal abnormals abnormality abnormalities fail failed fails failure failures fault faults faulty reject rejects rejected scrap "
    "scrapped damage damages damaged broken flaw flaws flawed error errors outlier outliers ood nonconformity crack cracks cracked "
    "scratch scratches scratched dent dents dented blowhole blowholes pitting stain stains stained contamination contaminated schlecht "
    "defekt fehler ausschuss 不良 不良品 异常 異常 不合格 不合格品 缺陷 불량 불량품 결함"
)
_PAIRED = _GOOD | {"free"}  # "MT_Free" beside "MT_Crack": alone the word says nothing
_NOT = _set("no not non without")
_MASKS = _set("mask masks gt gts ground.truth ground.truths groundtruth groundtruths")
_MAYBE_MASKS = _set("label labels annotation annotations segmentation segmentations seg segs")
_OPPOSITES = (
    {"positive", "negative"},
    {"positives", "negatives"},
    {"pos", "neg"},
    {"yes", "no"},
    {"true", "false"},
)
_MASK_FILE = re.compile(r"(.+)[_\-. ](masks?|gt|ground[_-]?truth|labels?|seg|segmentation|annotation)$", re.IGNORECASE)

_NOT_IN_FOLDERS = re.compile(r"^\.|[/\\]|%(?=[0-9A-Fa-f]{2})|^metadata\.csv$", re.IGNORECASE)
"""What a folder's name cannot hold or begin with, what would be taken for such an escape, and the name of the folder's table."""
_LONGEST = 200  # bytes of a folder's name; common file systems take 255


@dataclass(frozen=True)
class Said:
    """What a folder's name says: its split ("" for none), `NORMAL`, `ANOMALOUS` or "", and whether it holds `masks`.

    "mask" holds them unless it shows faces ("likely"), "labels" where they are drawn, for it may show bottles ("maybe").
    """

    split: str = ""
    verdict: str = ""
    masks: Masks = ""


def split_name(text: str) -> str | None:
    """Return "train", "validate", "calibrate" or "test" for any of their usual names, else None."""
    return _SPLITS.get(text.strip().lower())


def split_of(folder: str) -> str:
    """Return the split that a folder's name says, such as "train" of "train_images" and "test" of "test_public", else ""."""
    words = _meaning(folder)
    return _SPLITS.get(words[0], "") if len(words) == 1 else ""


def is_container(folder: str) -> bool:
    """Return whether a name only says that pictures are inside, such as "Data" and "images": no class has it."""
    return bool(_words(folder)) and not _meaning(folder)


def folder_of(name: str) -> str:
    """Return the name of a class's folder: its own, with what a folder cannot be called as %XX, shortened where it is too long."""
    folder = _NOT_IN_FOLDERS.sub(lambda found: f"%{ord(found[0][0]):02X}{found[0][1:]}", name)
    if split_of(name) or _masks(_meaning(name), ()):  # a folder of that name would be taken for a split, or for masks
        folder = f"%{ord(name[0]):02X}{name[1:]}"
    if len(folder.encode()) <= _LONGEST:
        return folder
    mark = f"~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return folder.encode()[: _LONGEST - len(mark)].decode(errors="ignore") + mark


def class_of(folder: str) -> str:
    """Return the class whose folder has this name; a name that `folder_of` does not make is one of its own."""
    name = unquote(folder) if "%" in folder else folder
    return name if folder_of(name) == folder else folder


def mask_of(stem: str) -> tuple[str, bool]:
    """Return the stem of the picture whose mask a file's stem names, such as "x" of "x_mask" and "x_GT", "" for none, and
    whether that is sure: "x_label" may show a label."""
    found = _MASK_FILE.match(stem)
    return (found[1], ".".join(_words(found[2])) in _MASKS) if found else ("", False)


def said_by(names: Collection[str], *, splits: bool = False, alone: bool = False) -> dict[str, Said]:
    """Return what the names of folders beside one another say.

    Names of splits count where one of them is "train", or where `splits` says so: a folder "test" alone may be anybody's.
    A folder `alone`, with no other and no picture beside it, holds the masks of nothing.
    """
    own = {name: _words(name) for name in names}
    counted = splits or any(_part(words)[0] == "train" for words in own.values())
    paired = _paired(own)
    found = {}
    for name, words in own.items():
        split, rest = _part(words) if counted else ("", words)
        meaning = _without_fillers(rest)
        masks: Masks = "" if alone else _masks(meaning, names)
        verdict = "" if masks else paired.get(name) or _verdict(meaning)
        found[name] = Said(split, verdict, masks)
    return found


def opposites(names: Iterable[str]) -> set[str]:
    """Return those names that are opposites of which nobody knows which one belongs, such as "positive" and "negative"."""
    known = {name: " ".join(_meaning(name)) for name in names}
    return {name for name, word in known.items() if any(word in pair <= set(known.values()) for pair in _OPPOSITES)}


def _words(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case, without numbers: "NoDefect_images 2" is no, defect, images."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return tuple(word for word in re.split(r"[\W\d_]+", spaced.casefold()) if word)


def _without_fillers(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in _FILLERS)


def _meaning(name: str) -> tuple[str, ...]:
    return _without_fillers(_words(name))


def _part(words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the split that one of the words names, where the others are fillers or a verdict, and the other words."""
    for place, word in enumerate(words):
        rest = words[:place] + words[place + 1 :]
        meaning = _without_fillers(rest)
        if word in _SPLITS and (not meaning or _verdict(meaning) or ".".join(meaning) in _MASKS | _MAYBE_MASKS):
            return _SPLITS[word], rest
    return "", words


def _verdict(words: tuple[str, ...]) -> str:
    whole = ".".join(words)
    if whole in _GOOD:
        return NORMAL
    if whole in _BAD:
        return ANOMALOUS
    if len(words) > 1:
        if words[0] in _NOT:
            return _opposite(_verdict(words[1:]))
        return NORMAL if words[-1] == "free" and _verdict(words[:-1]) == ANOMALOUS else ""
    return _negated(whole)


def _negated(word: str) -> str:
    """Return what one word says that is a known one with a syllable that negates it: "nodefect", "unbroken", "notgood"."""
    for before in ("non", "not", "no", "un"):
        rest = word.removeprefix(before)
        if rest != word and len(rest) > 2 and rest in _GOOD | _BAD:
            return ANOMALOUS if rest in _GOOD else NORMAL
    for after in ("free", "less"):
        if word.removesuffix(after) in _BAD and word.endswith(after):
            return NORMAL
    return ""


def _opposite(verdict: str) -> str:
    return {NORMAL: ANOMALOUS, ANOMALOUS: NORMAL}.get(verdict, "")


def _paired(names: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the verdicts of names that differ in one word alone, a good one in one and a bad one in the other: "ok_front",
    "def_front"."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for name, words in names.items():
        for place, word in enumerate(words):
            verdict = NORMAL if word in _PAIRED else ANOMALOUS if word in _BAD else _negated(word)
            rest = words[:place] + words[place + 1 :]
            if verdict and rest and not (place and words[place - 1] in _NOT):
                found.setdefault(rest, {})[name] = verdict
    return {
        name: verdict
        for pair in found.values()
        if {NORMAL, ANOMALOUS} <= set(pair.values())
        for name, verdict in pair.items()
    }


def _masks(meaning: tuple[str, ...], names: Collection[str]) -> Masks:
    """Return whether the words name masks; a folder "mask" beside "no_mask" shows people, and "xyz" beside "rgb" no colours."""
    whole = ".".join(tuple(word for word in meaning if word not in ("defect", "defects", "anomaly")) or meaning)
    if whole in ("depth", "xyz"):
        return "yes" if "rgb" in {name.casefold() for name in names} else ""
    if whole in _MAYBE_MASKS:
        return "maybe"
    negated = any(_NOT & set(_words(name)) and "mask" in _words(name) for name in names)
    if whole in ("mask", "masks"):
        return "" if negated else "likely"
    return "yes" if whole in _MASKS else ""
