"""What an ingest is to do: the sources cut into parts, those that are made already, and the options that all pictures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from winnow.data.layouts import Reading
from winnow.data.sources import Expansion, Source, expand
from winnow.errors import OptionError
from winnow.objects.crops import Finder
from winnow.options import IngestOptions
from winnow.pool.parts import Part, stop, whole_size
from winnow.pool.resume import finished, taken_over
from winnow.scale.local import cores

PART_PICTURES = 1024
PART_CUT = (
    64  # pictures of a part when each is cut into patches, of which there can be hundreds, or looked at for persons
)


@dataclass(frozen=True)
class Wanted:
    """What a pool is to hold: the inputs and how they are read, and whether what it holds beside them stays.

    `earlier`: a pool whose parts may be taken over; `detector`: the identity that the object detector must have; `usual`, of
    pictures to be judged: the largest share of a good one that is blank; `check` is called with every address that only the
    pool names; `expansion`: what the inputs are known to name, else they are looked through.
    """

    inputs: Sequence[str | Path]
    options: IngestOptions
    reading: Reading | None = None
    keep_others: bool = True
    earlier: Path | None = None
    detector: str = ""
    usual: float | None = None
    check: Callable[[str], None] = lambda uri: None
    expansion: Expansion | None = None


@dataclass(frozen=True)
class Plan:
    """The sources of a pool in their order, the parts to make, and the addresses in those that are there, by number."""

    expansion: Expansion
    sources: list[Source]
    kept: dict[int, list[str]]
    parts: list[Part]
    key: dict[str, Any]
    find: Finder | None

    @property
    def order(self) -> list[int]:
        """Return the numbers of all parts in the order of the sources, first those without a source of this call."""
        firsts = {number: uris[0] for number, uris in self.kept.items()}
        firsts |= {part.number: part.sources[0].uri for part in self.parts}
        place = {source.uri: place for place, source in enumerate(self.sources)}
        return sorted(firsts, key=lambda number: (place.get(firsts[number], -1), number))


def look_through(wanted: Wanted) -> tuple[Expansion, Finder | None]:
    """Return what the inputs name, and what finds persons in it, before anything is written."""
    find = finder_of(wanted.options, wanted.detector)
    expansion = wanted.expansion or expand(wanted.inputs, wanted.reading)
    if wanted.options.on_error == "stop" and expansion.refused:
        stop(expansion.refused[0])
    return expansion, find


def plan_of(folder: Path, wanted: Wanted, expansion: Expansion, find: Finder | None) -> Plan:
    """Return what is to be done for the pool in `folder`, whose lock is held: from here on it is not whole until it is assembled."""
    options = wanted.options
    key, workers = _key(options, find, wanted.usual), cores(options.workers)
    most = most_of(options)
    if wanted.keep_others:
        kept, sources = finished(folder, expansion.sources, expansion.left_out, key, workers)
        given = {source.uri for source in expansion.sources}
        for uri in [source.uri for source in sources if source.uri not in given]:
            wanted.check(uri)
    else:
        sources = expansion.sources
        kept = taken_over(folder, wanted.earlier, _cut(sources, set(), most), key, workers)
    return _plan(expansion, sources, kept, key, find, most)


def plan_anew(wanted: Wanted, expansion: Expansion, find: Finder | None) -> Plan:
    """Return what is to be done for a new pool of what is wanted."""
    key = _key(wanted.options, find, wanted.usual)
    return _plan(expansion, expansion.sources, {}, key, find, most_of(wanted.options))


def most_of(options: IngestOptions) -> int:
    """Return how many pictures a part has at most."""
    return PART_PICTURES if whole_size(options) else PART_CUT


def _plan(
    expansion: Expansion,
    sources: list[Source],
    kept: dict[int, list[str]],
    key: dict[str, Any],
    find: Finder | None,
    most: int,
) -> Plan:
    todo = _cut(sources, {uri for uris in kept.values() for uri in uris}, most)
    free = (number for number in count() if number not in kept)
    parts = [Part(number, key, some) for some, number in zip(todo, free, strict=False)]
    return Plan(expansion, sources, kept, parts, key, find)


def finder_of(options: IngestOptions, identity: str) -> Finder | None:
    """Return what finds persons, where they are wanted; `OptionError` when it is not the detector with that `identity`."""
    together = [f"--{name}" for name in ("people", "patches", "tiles") if getattr(options, name)]
    if len(together) > 1:
        raise OptionError(f"{' and '.join(together)} do not go together.", "Leave one of them out.")
    find = Finder(options) if options.people else None
    if find and identity and find.identity != identity:
        raise OptionError(
            f"The object detector {find.name} is not the one that the run's own pictures were cut with: its content is another.",
            f"Put the file back whose identity is {identity}, or make the run anew with this one.",
        )
    return find


def _key(options: IngestOptions, find: Finder | None, usual: float | None) -> dict[str, Any]:
    """Return the options that change pixels or rows; all pictures of a pool share them."""
    key = {
        "size": list(options.size),
        "grey": options.grey,
        "every": options.every,
        "keyframes": options.keyframes,
        "white": options.white,
        "patches": options.patches,
    }
    if options.tiles:
        key["tiles"] = True
    if find:
        key |= {
            "people": True,
            "object_detector": find.identity,
            "objects": options.objects,
            "box_confidence": options.box_confidence,
            "margin": options.margin,
        }
    if not options.patches:
        return key
    key |= {"stride": options.stride, "blank": options.blank, "border": options.border}
    return key if usual is None else {**key, "usual_blank": usual}


def _cut(sources: list[Source], covered: set[str], most: int) -> list[list[Source]]:
    """Return the sources of each part still to be made; a finished video still ends a part of pictures, so that a resumed
    ingest cuts alike."""
    plan: list[list[Source]] = []
    pictures: list[Source] = []
    for source in sources:
        if source.kind == "video":
            plan += [pictures] if pictures else []
            pictures = []
            plan += [[source]] if source.uri not in covered else []
        elif source.uri not in covered:
            pictures.append(source)
            if len(pictures) == most:
                plan.append(pictures)
                pictures = []
    return plan + ([pictures] if pictures else [])
