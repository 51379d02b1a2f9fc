"""What is near-identical in a pool, over all its parts, and which groups are one because of that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from winnow.options import IngestOptions
from winnow.pool.parts import Part, group_of
from winnow.pool.twins import joined, looks_of, still, twins

MOSTLY, FEWEST = 0.9, 3  # share of the pictures, and number of them, that look the same where that is said


@dataclass(frozen=True)
class Alike:
    """The joined group and the twin of every picture, part by part, and how many pictures are alike, as `Ingested` has it,
    also in words."""

    totals: dict[str, int]
    columns: dict[int, tuple[list[str], list[str]]]
    notes: list[str]

    @classmethod
    def of(cls, parts: Iterable[Part], options: IngestOptions, *, learn: bool = True) -> Alike:
        """Compare the pictures of all parts; `columns` has the groups and the twins of each part's rows. `learn`: the notes may speak
        of what can be learnt from them."""
        found: list[_Picture] = []
        looks: list[str] = []
        for part in parts:
            found += _pictures(part, options)
            looks += part.looks
        if not found:
            return cls({"alike": 0, "joined": 0, "flat": 0, "still": 0}, {}, [])
        # What is the same to the byte is compared once, or ten copies would be the usual distance of a picture.
        _, once, same = np.unique([one.content for one in found], return_index=True, return_inverse=True)
        kept = np.sort(once)
        first = np.searchsorted(kept, once)[same]
        vectors = looks_of([looks[row] for row in kept])
        twin = kept[twins(vectors)][first]
        groups = joined([one.group for one in found], twin)
        columns: dict[int, tuple[list[str], list[str]]] = {}
        for one, group, of in zip(found, groups, twin, strict=True):
            names, ids = columns.setdefault(one.part, ([], []))
            names += [group] * one.rows
            ids += [found[of].name] * one.rows
        totals = {
            "alike": _elsewhere(twin[kept], [found[row].source for row in kept]),
            "joined": len(set(groups)),
            "flat": looks.count(""),
            "still": still(vectors),
        }
        near = _near(len(found), len({one.group for one in found}), totals["alike"], totals["joined"], learn)
        plain = _plain(len(found), len(kept), totals["flat"], totals["still"]) if learn else []
        return cls(totals, columns, [*near, *plain])


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture of a part, and how many `rows` it has there."""

    part: int
    name: str
    content: str
    group: str
    source: str
    rows: int


def _pictures(part: Part, options: IngestOptions) -> Iterator[_Picture]:
    """Yield the pictures of a part: its rows, or what they were cut from."""
    sizes = [about["patches"] for about in part.cut] if part.cut else [1] * len(part.rows)
    contents, start = contents_of(part), 0
    for number, size in enumerate(sizes):
        name, place, time, _, page = part.rows[start]
        source, content = part.sources[place], contents[start]
        if part.cut:
            name = part.cut[number]["id"]
            content = _content(part, place, time) or name
        yield _Picture(part.number, name, content, group_of(source, page, options), source.uri, size)
        start += size


def contents_of(part: Part) -> list[str]:
    """Return a name of the content of each row: the hash of the video, with its time and box, else the row's id."""
    return [
        f"{content}#{box}" if (content := _content(part, place, time)) else name
        for name, place, time, box, _ in part.rows
    ]


def _content(part: Part, place: int, time: float | None) -> str:
    """Return what names the content of a frame, "" for a picture, whose id does, and where a video's hash is not known."""
    return f"{part.digests[place]}@{time:.3f}" if time is not None and part.digests[place] else ""


def _elsewhere(twin: np.ndarray, sources: Sequence[str]) -> int:
    """Count the pictures that have a near-identical one in an earlier file."""
    kind = np.unique(twin, return_inverse=True)[1]
    file = np.unique(sources, return_inverse=True)[1]
    first = np.full(kind.max() + 1, -1)
    first[kind[::-1]] = file[::-1]
    return int((file != first[kind]).sum())


def _near(pictures: int, groups: int, alike: int, joined: int, learn: bool) -> list[str]:
    """Return a sentence where pictures are near-identical to one of another file."""
    if not alike:
        return []
    apart = f"their {groups:,} groups count as {joined:,}" if joined < groups else "their groups stay as they are"
    held = ", and wherever pictures are held out, near-identical ones are on one side" if learn else ""
    return [
        f"{alike:,} of {pictures:,} pictures {'is' if alike == 1 else 'are'} near-identical to one of another file, "
        f"such as saved again or smaller: {apart}{held}."
    ]


def _plain(pictures: int, different: int, flat: int, still: int) -> list[str]:
    """Return sentences on pictures that teach little; `different` are not the same to the byte."""
    notes = []
    if flat:
        notes.append(
            f"{flat:,} of {pictures:,} pictures show one even colour, such as black: nothing can be learnt from them."
        )
    if still > MOSTLY * (different - flat) and different - flat >= FEWEST:
        notes.append(
            f"{still:,} of {different:,} pictures look the same: what is learnt from them holds for this one view, and a "
            "picture that differs at all will not belong."
        )
    return notes
