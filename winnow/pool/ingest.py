"""Read pictures and videos into a pool, in parts that survive any interruption.

The sources are cut into parts: up to 1024 pictures, or one video. A part is its pixels and, written last, its record
`parts/00000.json`; an ingest that was killed finds the finished parts and cuts the rest exactly as it would have been
cut, so that the pool is the same to the byte. `pool.json` is written when every part is there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from winnow.errors import RunError
from winnow.objects.crops import Finder
from winnow.options import IngestOptions
from winnow.pool.assemble import assemble
from winnow.pool.films import make_video
from winnow.pool.parts import Part, make_pictures, stop
from winnow.pool.plan import Wanted, look_through, plan_of
from winnow.pool.pool import Pool
from winnow.pool.shared import Parts, make_parts, take_in
from winnow.progress import progress
from winnow.results import Ingested
from winnow.scale.local import cores, run_local
from winnow.scale.shards import Place


def ingest(inputs: Sequence[str | Path], folder: Path, options: IngestOptions, **wanted: Any) -> Ingested:
    """Read the pictures and the videos' frames of `inputs` into the pool in `folder`, and return what it holds then: see `read`."""
    return read(folder, Wanted(inputs, options, **wanted))


def read(
    folder: Path, wanted: Wanted, *, runner: str = "local", place: Place | None = None, made: Parts | None = None
) -> Ingested:
    """Bring the pool in `folder` to what is `wanted`, and return what it holds then.

    It resumes a killed ingest, adds new sources and redoes changed ones; those not among the inputs stay when `keep_others`, but
    for what is left out now. Without it the rows are those of the inputs in their order, as a new pool would have them; parts that
    this pool or an `earlier` one holds with the same content are taken over. Parts are made by a `runner`; any but `local` makes
    them as shards in a `place`; those that others have `made` are taken in first. Files that cannot be read are
    listed in quarantine.csv. Raises `InputError` at the first of them with `on_error="stop"`, when more than `max_refused` of the
    files are refused, or when no picture is left; `OptionError` or `ModelError` when persons are wanted and there is no detector
    that can find them, or another one; `RunError` when the pool was made with other options and is to keep its pictures, is being
    written by another, or cannot be written.
    """
    started, options = time.monotonic(), wanted.options
    folder = Path(folder)
    known = look_through(wanted if made is None else replace(wanted, expansion=made.expansion))
    with writing(folder), alone(folder):
        if made is not None:
            take_in(made.shards, folder)
        plan = plan_of(folder, wanted, *known)
        if runner == "local" or not plan.parts:
            _decode_all(folder, plan.parts, options, plan.find)
        else:
            make_parts(folder, place or Place(folder.parent), plan, wanted, runner)
        asked = {source.uri for source in plan.sources}
        found = assemble(folder, plan.order, plan.expansion, asked, options, plan.key, learn=wanted.keep_others)
    pool = Pool.open(folder)
    return Ingested(
        fingerprint=pool.fingerprint,
        table_fingerprint=pool.table_fingerprint,
        label_fingerprint=pool.label_fingerprint,
        **found.totals,
        groups=len(found.groups),
        skipped=plan.expansion.skipped,
        refused=len(found.unread),
        notes=[*plan.expansion.notes, *found.said()],
        seconds=time.monotonic() - started,
        unit=options.unit(found.totals["patches"], found.totals["pictures"] + found.totals["frames"]),
    )


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


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make the folder of a pool, and turn what the system says while it is written into a sentence."""
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
def alone(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the pool's lock, which the system releases when the process ends, however it ends; `RunError` where another holds it,
    unless this one shall `wait`."""
    import fcntl

    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise RunError(
                f"Another ingest is writing {folder}.", "Wait until it has ended, or choose another run folder."
            ) from None
        yield
