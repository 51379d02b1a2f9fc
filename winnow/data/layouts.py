"""One reader of the folders that data sets come in: what is learnt from, what does not belong, splits, classes and masks.

Known are MVTec AD's, BTAD's and VisA's folders, imagefolders with or without splits (YOLO's among them), and good pictures
beside bad ones, by the usual names and at any depth. What is recognised is said; what is unclear is refused, for a defect among
the pictures that set a threshold is not noticed afterwards.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from winnow.data.folder_names import (
    ANOMALOUS,
    NORMAL,
    Said,
    class_of,
    is_container,
    mask_of,
    opposites,
    said_by,
    split_name,
    split_of,
)
from winnow.data.globs import WILD, root_of
from winnow.data.lists import LIST_SUFFIXES
from winnow.errors import InputError, did_you_mean
from winnow.options import IngestOptions

Look = Callable[[str], Literal["drawn", "photograph", ""]]
LOOKED_AT = 3  # files by which a folder is found to hold masks
_DRAWN, _TAKEN = frozenset((".png", ".bmp", ".tif", ".tiff", ".gif")), frozenset((".jpg", ".jpeg"))


@dataclass(frozen=True)
class Reading:
    """What is read: "everything" but masks; what is "normal" alone; all, as "classes"; or the "labels" that folders give.

    `only`: nothing but folders, or labels, of these names; what the user calls by name belongs. `flags`: the command that
    reads has the options --only and --keep-anomalous, which a remedy may name.
    """

    purpose: Literal["everything", "normal", "classes", "labels"] = "everything"
    only: tuple[str, ...] = ()
    flags: bool = False

    @classmethod
    def of(cls, options: IngestOptions) -> Reading:
        """Return what a run that learns reads."""
        only = tuple(name for name in options.only if name.strip("/"))
        return cls("classes" if options.keep_anomalous else "normal", only, flags=True)


@dataclass(frozen=True, slots=True)
class Described:
    """What a table says of a file: its label and its split, "" where it says nothing."""

    label: str = ""
    split: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """What is known of a file: label, split, whether it belongs (`NORMAL`, `ANOMALOUS` or ""), and what says so (`at`).

    `out`: why it is not read, "masks", "anomalous" or "only"; `doubt`: why that is unclear, "beside" a folder of pictures to
    train on, or "unclear" whether it belongs, with the folder `of` which that is true. `named`: what --only calls by name.
    """

    name: str
    label: str
    split: str
    verdict: str
    at: str
    out: str = ""
    doubt: str = ""
    of: str = ""
    named: str = ""


@dataclass(frozen=True, slots=True)
class _Folder:
    """What the names on the way from the root down to a folder say of the files in it.

    `named`: the folder that `Reading.only` calls by name, None where none is; `settled`: the label is not to be taken from a
    deeper folder; `first`: the first name that is that of a class.
    """

    path: str = ""
    named: str | None = ""
    split: str = ""
    parted: bool = False
    verdict: str = ""
    at: str = ""
    masks: str = ""
    beside: str = ""
    opposed: str = ""
    label: str = ""
    settled: bool = False
    first: str = ""


def read_layout(
    root: str,
    names: Sequence[str],
    reading: Reading,
    *,
    described: Mapping[str, Described] | None = None,
    tables: bool = False,
    look: Look = lambda name: "",
) -> list[Placed]:
    """Return what the folders below `root`, and tables (`described`), say of the files `names`, paths relative to it.

    `tables`: the root has a table, so that a folder "test" is a split; `look` looks at a file where names leave it open.
    Raises `InputError` for a name in `reading.only` that nothing has.
    """
    about = described or {}
    tree = _Tree(root, names, reading, tables, look, {row.label for row in about.values()} - {""})
    masks = set(_mask_files(names, look))
    files = [tree.placed(name, about.get(name, Described()), name in masks) for name in names]
    if reading.only and not any(file.out != "only" for file in files):
        known = sorted({part for name in names for part in name.split("/")[:-1]} | set(tree.labels))
        raise InputError(
            f"Nothing in {root} is called {' or '.join(reading.only)} (--only).", did_you_mean(reading.only[0], known)
        )
    if reading.purpose in ("everything", "labels"):
        return [replace(file, doubt="") for file in files]
    return _judged(files, reading.purpose == "normal")


def out_by_folder(found: Sequence[Placed], folder: str, uris: Mapping[str, str]) -> list[Placed]:
    """Return what is known of the files of a list, those left out that lie in folders below its own which are named as bad, unless
    the list says that they belong."""
    start = folder.rstrip("/") + "/"
    below = list(dict.fromkeys(uri.removeprefix(start) for uri in uris.values() if uri.startswith(start)))
    bad = {
        start + file.name: file.at
        for file in read_layout(folder, below, Reading("everything"))
        if file.verdict == ANOMALOUS
    }
    return [
        replace(file, out="anomalous", at=bad[uris[file.name]], doubt="")
        if uris[file.name] in bad and not file.out and file.verdict != NORMAL
        else file
        for file in found
    ]


def folder_classes(given: Sequence[str], uris: Sequence[str]) -> list[str]:
    """Return the class of each picture of `uris` by the folders below the source, of those `given`, that it was found in.

    That of a picture in the source itself is the source's name; "" for one whose folders are splits and no classes.
    """
    folders = {one.rstrip("/") for one in map(_folder_of_source, given)}
    inside: dict[str, list[str]] = {}
    for uri in dict.fromkeys(uris):
        above = posixpath.dirname(uri)
        while above not in folders and len(above) > 1:
            above = posixpath.dirname(above)
        inside.setdefault(above if above in folders else posixpath.dirname(uri), []).append(uri)
    found = {}
    for root, files in inside.items():
        names = [uri[len(root.rstrip("/")) + 1 :] for uri in files]
        own = "" if split_of(posixpath.basename(root)) else class_of(posixpath.basename(root))
        for uri, placed in zip(files, read_layout(root, names, Reading("labels")), strict=True):
            found[uri] = placed.label or ("" if "/" in placed.name else own)
    return [found[uri] for uri in uris]


def _folder_of_source(given: str) -> str:
    """Return the folder that a source's folders are read from: that of a list, that before the wildcards of a glob, else itself."""
    if WILD & set(given):
        return root_of(given)
    return posixpath.dirname(given) if posixpath.splitext(given)[1].lower() in LIST_SUFFIXES else given


class _Tree:
    """The folders that files are in, and what their names say beside one another."""

    def __init__(
        self, root: str, names: Sequence[str], reading: Reading, tables: bool, look: Look, labels: set[str]
    ) -> None:
        self.labels, self.opposed_labels = said_by(labels), opposites(labels)
        self.reading, self.names = reading, names
        self.base = posixpath.basename(root.rstrip("/"))
        below: dict[str, set[str]] = {}
        loose = set()
        for folder in {posixpath.dirname(name) for name in names}:
            loose.add(folder)
            while folder:
                above, name = posixpath.split(folder)
                below.setdefault(above, set()).add(name)
                folder = above
        self.said = {
            folder: said_by(inside, splits=tables and not folder, alone=len(inside) == 1 and folder not in loose)
            for folder, inside in below.items()
        }
        self.opposed = {folder: opposites(inside) for folder, inside in below.items()}
        self.parted = {
            folder for folder, said in self.said.items() if any(one.split == "train" for one in said.values())
        }
        self.judged = {folder for folder, said in self.said.items() if any(one.verdict for one in said.values())}
        self.judged |= {folder for folder, opposed in self.opposed.items() if opposed}
        self.classed = {folder for folder in self.parted if self._has_classes(folder, below)}
        self.masked = {
            posixpath.join(folder, name)
            for folder, inside in self.said.items()
            for name, said in inside.items()
            if said.masks and self._holds_masks(posixpath.join(folder, name), said, look)
        }
        self.known: dict[str, _Folder] = {"": _Folder(named=self._named("", None))}

    def _has_classes(self, folder: str, below: Mapping[str, set[str]]) -> bool:
        """Return whether folders of classes are in those of splits, rather than the other way round."""
        parts = (posixpath.join(folder, name) for name, said in self.said[folder].items() if said.split)
        return any(not is_container(name) for part in parts for name in below.get(part, ()))

    def _holds_masks(self, path: str, said: Said, look: Look) -> bool:
        """Return whether a folder whose name leaves it open holds masks, by some of its files."""
        files = [] if said.masks == "yes" else [file for file in self.names if file.startswith(f"{path}/")]
        if said.masks == "maybe":
            return _are_drawn(files, look)
        return not any(look(file) == "photograph" for file in _some(files))

    def folder(self, path: str) -> _Folder:
        """Return what is said of the files in a folder."""
        if path not in self.known:
            above, name = posixpath.split(path)
            self.known[path] = self._entered(self.folder(above), name, path)
        return self.known[path]

    def _entered(self, above: _Folder, name: str, path: str) -> _Folder:
        said: Said = self.said[above.path][name]
        named = self._named(path, above.named)
        by_name = bool(self.reading.only) and named == path  # what the user calls by name is no mask and belongs
        now = replace(above, path=path, named=named)
        if path in self.masked and not by_name:
            now = replace(now, masks=above.masks or path)
        if said.verdict and not above.verdict and not by_name:
            now = replace(now, verdict=said.verdict, at=path)
        if name in self.opposed[above.path] and not by_name:
            now = replace(now, opposed=above.opposed or path)
        if said.split and not above.parted:
            label = said.verdict or ("" if above.path in self.classed else above.first)
            return replace(now, split=said.split, parted=True, label=label, settled=bool(said.verdict))
        if above.path in self.parted and not above.parted:
            now = replace(now, beside=path, split="train" if by_name else "")
        is_class = not is_container(name)
        if is_class and not now.first:
            now = replace(now, first=class_of(name))
        if is_class and not now.settled and (now.parted or above.path in self.judged):
            now = replace(now, label=class_of(name), settled=True)
        return now

    def _named(self, path: str, above: str | None) -> str | None:
        """Return the folder that --only calls by name, the highest of them, on the way to `path`."""
        if not self.reading.only:
            return ""
        parts = [self.base, *(path.split("/") if path else [])]
        ends = ([part for part in wanted.split("/") if part] for wanted in self.reading.only)
        return path if above is None and any(end and parts[-len(end) :] == end for end in ends) else above

    def placed(self, name: str, row: Described, is_mask: bool) -> Placed:
        """Return what is known of a file, whether it is read not yet considered but for masks and --only."""
        folder = self.folder(posixpath.dirname(name))
        called = bool(self.reading.only) and row.label in self.reading.only
        label = row.label or folder.label or (folder.first if self.reading.purpose == "labels" else "")
        split = row.split or folder.split
        verdict, at = folder.verdict, folder.at
        if not verdict and row.label:
            verdict, at = (NORMAL if called else self.labels[row.label].verdict), f"label {row.label}"
        beside = folder.beside if not split else ""
        if folder.path in self.parted and not (folder.parted or split):
            beside = folder.path or "."
            if self.reading.only and folder.named == folder.path:
                beside, split = "", "train"
        out = (
            "only"
            if folder.named is None and not called
            else "masks"
            if is_mask or (folder.masks and not row.label)
            else ""
        )
        opposed = folder.opposed or (f"label {row.label}" if row.label in self.opposed_labels and not called else "")
        doubt = "beside" if beside else "unclear" if opposed and not verdict else ""
        at = (folder.masks or posixpath.dirname(name) or ".") if out == "masks" else at
        return Placed(name, label, split, verdict, at, out, doubt, beside or opposed, folder.named or "")


def _mask_files(names: Sequence[str], look: Look) -> Iterator[str]:
    """Yield the masks that lie beside their pictures: x_mask.png beside x.png, and x.png beside x.jpg where it is drawn."""
    folders: dict[str, dict[str, list[str]]] = {}
    for name in names:
        folder, file = posixpath.split(name)
        folders.setdefault(folder, {}).setdefault(posixpath.splitext(file)[0], []).append(name)
    for stems in folders.values():
        for stem, files in stems.items():
            of, sure = mask_of(stem)
            if of in stems and (sure or _are_drawn(files, look)):
                yield from files
        drawn = [name for files in stems.values() if len(files) == 2 for name in _drawn(files)]
        if drawn and _are_drawn(drawn, look):
            yield from drawn


def _are_drawn(files: Sequence[str], look: Look) -> bool:
    return all(look(file) == "drawn" for file in _some(files))


def _drawn(files: Sequence[str]) -> list[str]:
    """Return which of two files of one name is drawn where the other was taken by a camera, by their suffixes."""
    suffixes = {posixpath.splitext(name)[1].lower(): name for name in files}
    drawn = [name for suffix, name in suffixes.items() if suffix in _DRAWN]
    return drawn if len(drawn) == 1 and suffixes.keys() & _TAKEN else []


def _some(names: Sequence[str]) -> list[str]:
    """Return a few of the names, spread over all."""
    return [names[place * (len(names) - 1) // max(1, LOOKED_AT - 1)] for place in range(min(LOOKED_AT, len(names)))]


def _judged(files: Sequence[Placed], normal: bool) -> list[Placed]:
    """Return the files, those that are not read or in doubt marked so: where some are known to belong, what else is read
    must be known too."""
    some_belong = {file.named for file in files if file.verdict == NORMAL and not file.out}
    found = []
    for file in files:
        unknown = file.named in some_belong and not file.verdict
        if file.out:
            file = replace(file, doubt="")
        elif normal and (file.verdict == ANOMALOUS or (unknown and file.split == "test")):
            file = replace(file, out="anomalous", doubt="", at=file.at or _below_split(file.name))
        elif normal and not file.doubt and unknown:
            file = replace(file, doubt="unclear", of=file.at or posixpath.dirname(file.name) or ".")
        elif file.doubt == "unclear" and (not normal or file.split == "test"):
            file = replace(file, doubt="")
        found.append(file)
    return found


def _below_split(name: str) -> str:
    """Return the folder below the split that a file is in, as what says that the file does not belong."""
    folders = name.split("/")[:-1]
    place = next((place for place, folder in enumerate(folders) if split_name(folder)), 0)
    return "/".join(folders[: place + 2])
