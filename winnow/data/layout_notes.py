"""What is said of the folders that were read, and the refusal of those of which it is not clear what is meant."""

from __future__ import annotations

import posixpath
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from winnow.data.folder_names import NORMAL
from winnow.data.layouts import Placed, Reading
from winnow.errors import InputError
from winnow.results.words import verb

NAMED = 3  # folders that a sentence names
LABEL = "label "
USES = {
    "train": "to train on",
    "validate": "to choose the checkpoint",
    "calibrate": "to set the threshold",
    "test": "kept for testing",
    "": "without a split",
}


def refuse_doubt(root: str, files: Sequence[Placed], reading: Reading) -> None:
    """Raise `InputError` when nothing is read, or when it is not clear of some files what they are for."""
    read = [file for file in files if not file.out]
    doubtful = [file for file in read if file.doubt]
    if doubtful:
        kind = doubtful[0].doubt
        places = _folders(file.of for file in doubtful if file.doubt == kind)
        if kind == "beside":
            meant = sorted({_top(file.name) for file in read if file.split == "train"})
            problem = f"{root} has folders of splits ({_few(meant)}), and beside them {places}: it is not clear what these are for."
        else:
            meant = sorted({file.at for file in read if file.verdict == NORMAL and file.split != "test"})
            beside = f", beside {_few(meant)}," if meant else ""
            problem = (
                f"{root}: it is not clear whether the pictures of {places}{beside} belong to what is to be learnt."
            )
        raise InputError(problem, _remedy(root, meant or [file.of for file in doubtful[:1]], reading))
    if files and not read:
        raise InputError(
            f"{root} holds nothing that is read: {', '.join(_left_out(files, reading))}.",
            _remedy(root, [file.at for file in files[:1]], reading),
        )


def note_of(root: str, files: Sequence[Placed], reading: Reading) -> str:
    """Return what was recognised, what of it is read and what is left out, in a sentence; "" where folders are only groups."""
    read, left = [file for file in files if not file.out], _left_out(files, reading)
    known = _known(files)
    if reading.purpose == "everything":
        return f"{root}: left out: {', '.join(left)}." if left else ""
    if not known and not left:
        return ""
    splits, labels = Counter(file.split for file in read), Counter(file.label for file in read if file.label)
    parts = [f"{number:,} {USES[split]}" for split, number in splits.items()]
    shown = verb(len(read), "file is read", "files are read") + (f" ({', '.join(parts)})" if set(splits) - {""} else "")
    if reading.purpose == "classes" and labels:
        shown += f", as the classes {_few(list(labels))}"
    elif len(labels) > 1 and not any(file.verdict for file in files):
        shown += (
            f", {_few(list(labels))} together as what belongs (one alone: --only {shlex.quote(next(iter(labels)))})"
        )
    what = f"{root} is {known}: " if known else f"{root}: "
    return what + shown + (f"; left out: {', '.join(left)}" if left else "") + "."


def _left_out(files: Sequence[Placed], reading: Reading) -> list[str]:
    """Return how many files are not read, and why, by kinds."""
    out = Counter(file.out for file in files if file.out)
    at = {kind: _few(list(dict.fromkeys(file.at for file in files if file.out == kind))) for kind in out}
    how = "; --keep-anomalous reads them as classes" if reading.flags else ""
    said = {
        "anomalous": f"{out['anomalous']:,} that do not belong ({at.get('anomalous')}{how})",
        "masks": f"{out['masks']:,} masks ({at.get('masks')})",
        "only": f"{out['only']:,} that --only does not name",
    }
    return [sentence for kind, sentence in said.items() if out[kind]]


def _known(files: Sequence[Placed]) -> str:
    """Return the name of the layout, "" where there is none."""
    judged = {posixpath.basename(file.at).lower() for file in files if file.verdict and file.out != "masks"}
    by_label = any(file.at.startswith(LABEL) for file in files if file.verdict)
    parted = any(file.split for file in files)
    if parted and judged and any(file.out == "masks" for file in files):
        return "in the layout of BTAD" if judged <= {"ok", "ko"} else "in the layout of MVTec AD"
    if judged and any("/Data/Images/" in f"/{file.name}" for file in files):
        return "in the layout of VisA"
    if judged and not by_label:
        return "in folders of good and bad pictures" + (", and of splits" if parted else "")
    if judged:
        return "a table of good and bad pictures"
    return "in folders of splits" if parted and any("/" in file.name for file in files) else ""


def _remedy(root: str, folders: Sequence[str], reading: Reading) -> str:
    names = [folder.removeprefix(LABEL) for folder in folders if folder not in ("", ".")][:NAMED]
    if not names:
        return "Put the pictures that are meant into a folder of their own, and name that."
    labels = any(folder.startswith(LABEL) for folder in folders)
    words = " ".join(f"--only {shlex.quote(name)}" for name in names)
    itself = (
        "Take the others out of the table"
        if labels
        else f"Name the folder that is meant, such as {posixpath.join(root, names[0])}"
    )
    return f"{itself}, or say it: {words}" if reading.flags else f"{itself}."


def _top(name: str) -> str:
    return posixpath.dirname(name).split("/")[0]


def _folders(names: Iterable[str]) -> str:
    """Return folders with the number of their pictures, the first of them by name."""
    found = Counter(names)
    shown = [f"{name if name != '.' else 'its own'} ({number:,})" for name, number in list(found.items())[:NAMED]]
    return ", ".join(shown) + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
