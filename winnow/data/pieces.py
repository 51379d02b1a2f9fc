"""The frames and parts of a file that lists name, each with its label, and contradictions between what is said of one file."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from winnow.errors import InputError

NEAR = 5  # milliseconds by which a time may be rounded: frames are further apart
Piece = tuple[float | None, str, str]
"""Time in seconds (None: of the whole file), box 'x,y,width,height' ("": of the whole picture), and label."""


@dataclass
class Gathered:
    """What the inputs say of one file: its group, track and split, and its pieces with their labels; `where` each was said first."""

    uri: str
    group: str = ""
    split: str = ""
    track: str = ""
    pieces: dict[tuple[int | None, str], tuple[float | None, str]] = field(default_factory=dict)
    where: dict[object, str] = field(default_factory=dict)

    def add(self, piece: Piece, group: str, split: str, where: str, track: str = "") -> None:
        """Add what one place says; `InputError` where another has said otherwise, what says nothing contradicts nothing."""
        time, box, label = piece
        place = (None if time is None else round(time * 1000), box)
        known = self.pieces.get(place, (time, ""))[1]
        self.group = self._agreed("group", self.group, group, where)
        self.split = self._agreed("split", self.split, split, where)
        if place == (None, ""):  # of frames and boxes a track is not read
            self.track = self._agreed("track", self.track, track, where)
        self.pieces[place] = (time, self._agreed("label", known, label, where, place))

    def _agreed(self, what: str, known: str, given: str, where: str, place: object = None) -> str:
        if known and given and known != given:
            at = "" if place in (None, (None, "")) else f" at {self._at(place)}"
            raise InputError(
                f"{self.uri}{at} has two {what}s: {known!r} in {self.where[what, place]}, {given!r} in {where}.",
                "Decide which is right, and remove the other.",
            )
        if given and not known:
            self.where[what, place] = where
        return known or given

    @staticmethod
    def _at(place: object) -> str:
        time, box = place if isinstance(place, tuple) else (None, "")
        return " and ".join([*([f"{time / 1000:.3f} s"] if time is not None else []), *([f"box {box}"] if box else [])])

    def listed(self) -> tuple[Piece, ...]:
        """Return the pieces in the order of their times, none for the whole file without a part of it.

        Raises `InputError` for labels that contradict one another so near in time that they are of one frame, and for a file
        that is to be read both as it is and by boxes.
        """
        if set(self.pieces) <= {(None, "")}:
            return ()
        found = [(time, box, label) for (_, box), (time, label) in self.pieces.items()]
        found.sort(key=lambda piece: (-1.0 if piece[0] is None else piece[0], piece[1]))
        check_boxes(self.uri, found)
        last: dict[str, Piece] = {}
        for time, box, label in found:
            before = last.get(box)
            close = (
                before is not None and None not in (before[0], time) and (time or 0) - (before[0] or 0) <= NEAR / 1000
            )
            if before is not None and close and before[2] and label and before[2] != label:
                raise InputError(
                    f"{self.uri} has two labels at {time:.3f} s: {before[2]!r} and {label!r}.",
                    "Decide which is right, and remove the other.",
                )
            last[box] = (time, box, label)
        return tuple(found)


def check_boxes(uri: str, pieces: Iterable[Piece]) -> None:
    """Raise `InputError` for pieces of which some have boxes and others none."""
    if len({bool(box) for _, box, _ in pieces}) > 1:
        raise InputError(
            f"{uri} is named both whole and by boxes.", "Leave one of them out, or read them into two runs."
        )


def places(pieces: Iterable[Piece]) -> set[tuple[float | None, str]]:
    """Return what of a file is read, whatever its labels."""
    return {(time, box) for time, box, _ in pieces} or {(None, "")}


def together(one: Sequence[Piece], other: Sequence[Piece]) -> tuple[Piece, ...]:
    """Return the pieces of two readings of a file, the labels of the first before those of the second."""
    if not one and not other:
        return ()
    whole: tuple[Piece, ...] = ((None, "", ""),)
    found = {(time, box): label for time, box, label in other or whole}
    for time, box, label in one or whole:
        found[time, box] = label or found.get((time, box), "")
    pieces = sorted(
        ((time, box, label) for (time, box), label in found.items()), key=lambda piece: (piece[0] or -1.0, piece[1])
    )
    return tuple(pieces)


def labels_of(pieces: Sequence[Piece], label: str, rows: Sequence[tuple[float | None, str | None]]) -> list[str]:
    """Return the label of each row (time, box) that a file gave: that of its piece, else `label`, of the whole file."""
    if not pieces:
        return [label] * len(rows)
    stamps = sorted({round(time * 1000) for time, _ in rows if time is not None})
    known: dict[tuple[int | None, str], str] = {}
    for time, box, own in pieces:
        first = None if time is None else bisect_left(stamps, round(time * 1000) - NEAR)
        if own and (first is None or first < len(stamps)):
            known[None if first is None else stamps[first], box] = own
    found = []
    for time, place in rows:
        stamp = None if time is None else round(time * 1000)
        of_whole = known.get((stamp, ""), known.get((None, ""), label))
        found.append(known.get((stamp, place or ""), of_whole))
    return found
