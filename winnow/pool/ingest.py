"""Read pictures and videos into a pool, in parts that survive any interruption.

The sources are cut into parts: up to 1024 pictures, or one video. A part is its pixels and, written last, its record
`parts/00000.json`; an ingest that was killed finds the finished parts and cuts the rest exactly as it would have been
cut, so that the pool is the same to the byte. `pool.json` is written when every part is there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, groupby
from pathlib import Path
from typing import Any

from winnow.data.layouts import Reading
from winnow.data.sources import Source, expand
from winnow.errors import OptionError, RunError
from winnow.objects.crops import Finder
from winnow.options import IngestOptions
from winnow.pool.assemble import assemble
from winnow.pool.parts import Part, make_pictures, make_video, stop, whole_size
from winnow.pool.pool import Pool
from winnow.pool.resume import finished, taken_over
from winnow.progress import progress
from winnow.results import Ingested
from winnow.scale.local import cores, run_local

PART_PICTURES = 1024
PART_CUT = (
    64  # pictures of a part when each is cut into patches, of which there can be hundreds, or looked at for persons
)


def ingest(
    inputs: Sequence[str | Path],
    folder: Path,
    options: IngestOptions,
    *,
    reading: Reading | None = None,
    keep_others: bool = True,
    earlier: Path | None = None,
    detector: str = "",
    usual: float | None = None,
    check: Callable[[str], None] = lambda uri: None,
) -> Ingested:
    """Read the pictures and the videos' frames of `inputs` into the pool in `folder`, and return what it holds then.

    `reading` says what of folders and lists is read, by default everything but masks. It resumes a killed ingest, adds new
    sources and redoes changed ones; those not among `inputs` stay when `keep_others`, but for what is left out now. Without
    `keep_others` the rows are those of `inputs` in their order, as a new pool would have them; parts that this pool or an
    `earlier` one holds with the same content are taken over. `detector` is the identity that the object detector must have;
    `usual`, of pictures to be judged, the largest share of a good one that is blank: clearly blanker ones keep their blank patches;
    `check` is called with every address that only the pool names. Files that cannot be read are listed in quarantine.csv. Raises
    `InputError` at the first of them with `on_error="stop"`, when more than `max_refused` of the files are refused, or when no picture
    is left; `OptionError` or `ModelError` when persons are wanted and there is no detector that can find them, or another one;
    `RunError` when the pool was made with other options and is to keep its pictures, is being written by another, or cannot be written.
    """
    started = time.monotonic()
    folder = Path(folder)
    find = _finder(options, detector)
    expansion = expand(inputs, reading)
    if options.on_error == "stop" and expansion.refused:
        stop(expansion.refused[0])
    key = _key(options, find, usual)
    most = PART_PICTURES if whole_size(options) else PART_CUT
    with _writing(folder), _alone(folder):
        if keep_others:
            kept, sources = finished(folder, expansion.sources, expansion.left_out, key, cores(options.workers))
            given = {source.uri for source in expansion.sources}
            for uri in [source.uri for source in sources if source.uri not in given]:
                check(uri)
        else:
            sources = expansion.sources
            kept = taken_over(folder, earlier, _plan(sources, set(), most), key, cores(options.workers))
        plan = _plan(sources, {uri for uris in kept.values() for uri in uris}, most)
        free = (number for number in count() if number not in kept)
        parts = [Part(number, key, todo) for todo, number in zip(plan, free, strict=False)]
        _decode_all(folder, parts, options, find)
        order = _in_order(kept, parts, sources)
        found = assemble(folder, order, expansion, {source.uri for source in sources}, options, key, learn=keep_others)
    pool = Pool.open(folder)
    return Ingested(
        fingerprint=pool.fingerprint,
        table_fingerprint=pool.table_fingerprint,
        label_fingerprint=pool.label_fingerprint,
        **found.totals,
        groups=len(found.groups),
        skipped=expansion.skipped,
        refused=len(found.unread),
        notes=[*expansion.notes, *found.said()],
        seconds=time.monotonic() - started,
        unit=options.unit(found.totals["patches"], found.totals["pictures"] + found.totals["frames"]),
    )


# ---- what is there and what is to do


def _finder(options: IngestOptions, identity: str) -> Finder | None:
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


def _plan(sources: list[Source], covered: set[str], most: int) -> list[list[Source]]:
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


# ---- decoding


def _decode_all(folder: Path, parts: list[Part], options: IngestOptions, find: Finder | None) -> None:
    """Make the parts: the pictures of a part in parallel, and videos in parallel.

    Finding persons takes longer than decoding, so threads without a video of their own help with the frames.
    """
    workers = cores(options.workers)
    videos = any(part.sources[0].kind == "video" for part in parts)
    total = None if videos else sum(len(part.sources) for part in parts)
    stopped = threading.Event()
    with progress("ingest", total, "frames" if videos else "pictures") as advance:
        for kind, run in groupby(parts, key=lambda part: part.sources[0].kind):
            alike = list(run)
            make = partial(
                make_video,
                folder=folder,
                options=options,
                find=find,
                threads=max(1, workers // len(alike)) if find else 1,
                advance=advance,
                stopped=stopped,
            )
            made = (
                run_local(make, alike, workers, stopped)
                if kind == "video"
                else (make_pictures(part, folder, options, find, workers, advance) for part in alike)
            )
            with contextlib.closing(made):
                for part in made:
                    part.save(folder)
                    if part.refused and options.on_error == "stop":
                        stop(part.refused[0])


# ---- the whole


def _in_order(kept: dict[int, list[str]], parts: list[Part], sources: list[Source]) -> list[int]:
    """Return the numbers of the parts in the order of the sources, first those without a source of this call."""
    firsts = {number: uris[0] for number, uris in kept.items()} | {part.number: part.sources[0].uri for part in parts}
    place = {source.uri: place for place, source in enumerate(sources)}
    return sorted(firsts, key=lambda number: (place.get(firsts[number], -1), number))


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        (folder / "parts").mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        what = error.filename2 or error.filename or folder
        raise RunError(
            f"{what} cannot be written ({(error.strerror or str(error)).lower()}).",
            "Free disk space, correct the permissions or choose another run folder, and run it again: "
            "it goes on where it stopped.",
        ) from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the pool's lock, which the system releases when the process ends, however it ends."""
    import fcntl

    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"Another ingest is writing {folder}.", "Wait until it has ended, or choose another run folder."
            ) from None
        yield
