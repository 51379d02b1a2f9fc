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

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.data.layouts import Reading
from winnow.data.pieces import labels_of
from winnow.data.sources import Expansion, Refusal, Source, expand
from winnow.errors import InputError, OptionError, RunError
from winnow.files import replacing, write_sealed
from winnow.objects.crops import Finder
from winnow.options import IngestOptions
from winnow.pool.alike import Alike, contents_of
from winnow.pool.parts import Part, group_of, make_pictures, make_video, notes_of, record, said, shape, stop, whole_size
from winnow.pool.pool import FORMAT, ITEMS, PICTURES, USED, Pool, column_fingerprint, fingerprint
from winnow.pool.resume import PENDING, finished, taken_over
from winnow.progress import progress
from winnow.results import Ingested
from winnow.scale.local import cores, run_local
from winnow.tables import write_table

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
    check: Callable[[str], None] = lambda uri: None,
) -> Ingested:
    """Read the pictures and the videos' frames of `inputs` into the pool in `folder`, and return what it holds then.

    `reading` says what of folders and lists is read, by default everything but masks. It resumes a killed ingest, adds new
    sources and redoes changed ones; those not among `inputs` stay when `keep_others`, but for what is left out now. Without
    `keep_others` the rows are those of `inputs` in their order, as a new pool would have them; parts that this pool or an
    `earlier` one holds with the same content are taken over. `detector` is the identity that the object detector must have;
    `check` is called with every address that only the pool names. Files that cannot be read are listed in quarantine.csv.
    Raises `InputError` at the first of them with `on_error="stop"`, when more than `max_refused` of the files are refused,
    or when no picture is left; `OptionError` or `ModelError` when persons are wanted and there is no detector that can find
    them, or another one; `RunError` when the pool was made with other options and is to keep its pictures, is being written
    by another ingest, or cannot be written.
    """
    started = time.monotonic()
    folder = Path(folder)
    find = _finder(options, detector)
    expansion = expand(inputs, reading)
    if options.on_error == "stop" and expansion.refused:
        stop(expansion.refused[0])
    sources = expansion.sources
    key = _key(options, find)
    with _writing(folder), _alone(folder):
        most = PART_PICTURES if whole_size(options) else PART_CUT
        if keep_others:
            asked = {source.uri for source in sources}
            kept, sources = finished(folder, sources, expansion.left_out, key, cores(options.workers))
            for source in sources:
                if source.uri not in asked:
                    check(source.uri)
        else:
            kept = taken_over(folder, earlier, _plan(sources, set(), most), key, cores(options.workers))
        plan = _plan(sources, {uri for uris in kept.values() for uri in uris}, most)
        free = (number for number in count() if number not in kept)
        parts = [Part(number, key, todo) for todo, number in zip(plan, free, strict=False)]
        _decode_all(folder, parts, options, find)
        firsts = {number: uris[0] for number, uris in kept.items()} | {
            part.number: part.sources[0].uri for part in parts
        }
        totals, refused, broken, alike = _assemble(
            folder, _in_order(firsts, sources), expansion, {source.uri for source in sources}, options, key
        )
    pool = Pool.open(folder)
    return Ingested(
        fingerprint=pool.fingerprint,
        table_fingerprint=pool.table_fingerprint,
        label_fingerprint=pool.label_fingerprint,
        **totals,
        skipped=expansion.skipped,
        refused=len(refused),
        notes=[*expansion.notes, *notes_of(refused), *([_in_part(broken)] if broken else []), *alike],
        seconds=time.monotonic() - started,
    )


# ---- what is there and what is to do


def _finder(options: IngestOptions, identity: str) -> Finder | None:
    if options.people and options.patches:
        raise OptionError("--people and --patches do not go together.", "Leave one of them out.")
    find = Finder(options) if options.people else None
    if find and identity and find.identity != identity:
        raise OptionError(
            f"The object detector {find.name} is not the one that the run's own pictures were cut with: its content is another.",
            f"Put the file back whose identity is {identity}, or make the run anew with this one.",
        )
    return find


def _key(options: IngestOptions, find: Finder | None) -> dict[str, Any]:
    """Return the options that change pixels or rows; all pictures of a pool share them."""
    key = {
        "size": list(options.size),
        "grey": options.grey,
        "every": options.every,
        "keyframes": options.keyframes,
        "white": options.white,
        "patches": options.patches,
    }
    if find:
        key |= {
            "people": True,
            "object_detector": find.identity,
            "objects": options.objects,
            "box_confidence": options.box_confidence,
            "margin": options.margin,
        }
    return (
        {**key, "stride": options.stride, "blank": options.blank, "border": options.border} if options.patches else key
    )


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


def _in_order(firsts: dict[int, str], sources: list[Source]) -> list[int]:
    """Return the numbers of the parts in the order of the sources, first those without a source of this call."""
    place = {source.uri: place for place, source in enumerate(sources)}
    return sorted(firsts, key=lambda number: (place.get(firsts[number], -1), number))


def _assemble(
    folder: Path, numbers: list[int], expansion: Expansion, asked: set[str], options: IngestOptions, key: dict[str, Any]
) -> tuple[dict[str, int], list[Refusal], list[Refusal], list[str]]:
    """Write items.parquet, quarantine.csv and, last, pool.json, with one part in memory at a time.

    Returns the totals, what was refused, what was read in part, and notes on what is alike.
    """
    refused = list(expansion.refused)
    lost = {refusal.source for refusal in refused}
    broken: dict[Refusal, None] = {}
    shards: list[dict[str, Any]] = []
    seen: set[str] = set()
    groups: set[str] = set()
    alike = Alike.of((Part.load(record(folder, number)) for number in numbers), options)
    totals = {
        "pictures": 0,
        "videos": 0,
        "frames": 0,
        "patches": 0,
        "crops": 0,
        "empty": 0,
        "copies": 0,
        **alike.totals,
    }
    cut: list[dict[str, Any]] = []
    with replacing(folder / "items.parquet") as temporary, pq.ParquetWriter(temporary, ITEMS) as writer:
        for number in numbers:
            part = Part.load(record(folder, number))
            refused += part.refused
            partly = {part.sources[place].uri for _, place, *_ in part.rows}
            lost |= {refusal.source for refusal in part.refused if refusal.source in asked - partly}
            broken |= {refusal: None for refusal in part.refused if refusal.source in partly}
            shards += part.shards
            cut += part.cut
            if part.rows:
                table = _table(part, seen, options, *alike.columns[number])
                writer.write_table(table)
                groups.update(table.column("group").to_pylist())
                totals["copies"] += table.column("status").to_pylist().count("copy")
            if part.rows or part.empty:
                _count(totals, part, options)
    write_table(folder / "quarantine.csv", ("source", "reason"), ((one.source, one.reason) for one in refused))
    _check_refused(folder, refused, len(lost), len(asked | lost), options)
    if totals["empty"] and not seen:
        raise InputError(
            f"No box of {options.objects} was found in {totals['empty']} pictures or frames.",
            "Try a lower --box-confidence, other --objects or a larger detector.",
        )
    if not seen:
        raise InputError("No picture was found in the inputs.", "Give pictures, videos, or folders or lists of them.")
    files = ["items.parquet"]
    (folder / "pictures.parquet").unlink(missing_ok=True)
    if not whole_size(options):
        with replacing(folder / "pictures.parquet") as temporary:
            pq.write_table(pa.Table.from_pylist(cut, schema=PICTURES), temporary)
        files.append("pictures.parquet")
    about = {
        "format": FORMAT,
        "size": list(options.size),
        "channels": shape(options)[2],
        "options": key,
        **totals,
        "fingerprint": fingerprint(options.size, shape(options)[2], _ids(folder), shards),
        "table_fingerprint": column_fingerprint(_batches(folder, USED)),
        "label_fingerprint": column_fingerprint(_batches(folder, ("label",))),
        "shards": shards,
    }
    write_sealed(folder / "pool.json", about, files)
    (folder / PENDING).unlink(missing_ok=True)
    return {**totals, "groups": len(groups)}, [one for one in refused if one not in broken], list(broken), alike.notes


def _in_part(broken: list[Refusal]) -> str:
    """Return a note on files that were read only in part."""
    one = len(broken) == 1
    return (
        f"{'1 file was' if one else f'{len(broken)} files were'} read only in part: {'; '.join(map(said, broken[:3]))}"
        + (f"; and {len(broken) - 3} more, see pool/quarantine.csv." if len(broken) > 3 else ".")
    )


def _ids(folder: Path) -> Iterator[str]:
    for batch in _batches(folder, ("id",)):
        yield from batch.column(0).to_pylist()


def _batches(folder: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(folder / "items.parquet") as file:
        yield from file.iter_batches(columns=list(columns))


def _table(part: Part, seen: set[str], options: IngestOptions, joined: Sequence[str], twin: Sequence[str]) -> pa.Table:
    """Return the part's rows; of pictures and videos that are the same to the byte the first is "ok" and the others are "copy"."""
    status = []
    for name in contents_of(part):
        status.append("copy" if name in seen else "ok")
        seen.add(name)
    names, places, times, boxes, pages = zip(*part.rows, strict=True)
    of = [part.sources[place] for place in places]
    confidence = pa.array(part.confidence, pa.float64()) if part.confidence else pa.nulls(len(of), pa.float64())
    groups = [group_of(source, page, options) for source, page in zip(of, pages, strict=True)]
    return pa.table(
        [
            names,
            [source.uri for source in of],
            groups,
            joined,
            twin,
            pa.array(times, pa.float64()),
            pa.array(pages, pa.int64()),
            pa.array(boxes, pa.string()),
            _labels(part),
            [source.split for source in of],
            status,
            confidence,
        ],
        schema=ITEMS,
    )


def _labels(part: Part) -> list[str]:
    """Return the label of each row of a part."""
    found = [part.sources[place].label for _, place, *_ in part.rows]
    inside: dict[int, list[int]] = {}
    for row, (_, place, *_) in enumerate(part.rows):
        if part.sources[place].pieces:
            inside.setdefault(place, []).append(row)
    for place, rows in inside.items():
        source = part.sources[place]
        labels = labels_of(source.pieces, source.label, [part.rows[row][2:4] for row in rows])
        for row, label in zip(rows, labels, strict=True):
            found[row] = label
    return found


def _count(totals: dict[str, int], part: Part, options: IngestOptions) -> None:
    moving = part.sources[0].kind == "video"
    totals["videos"] += int(moving)
    totals["frames" if moving else "pictures"] += (len(part.cut) or len(part.rows)) + part.empty
    totals["patches"] += len(part.rows) if options.patches else 0
    totals["crops"] += len(part.rows) if options.people else 0
    totals["empty"] += part.empty


def _check_refused(folder: Path, refused: list[Refusal], lost: int, files: int, options: IngestOptions) -> None:
    if lost > options.max_refused * files:
        first = "; ".join(map(said, refused[:3]))
        raise InputError(
            f"{lost} of {files} files could not be read, more than --max-refused {options.max_refused:g} "
            f"allows: {first}.",
            f"All are listed in {folder / 'quarantine.csv'}: repair or remove them, or allow more.",
        )


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
