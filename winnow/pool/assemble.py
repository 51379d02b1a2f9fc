"""Assemble a pool from its parts: one table of the items, what was refused, and last pool.json, which says that it is whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.data.pieces import labels_of
from winnow.data.sources import Expansion, Refusal, Source
from winnow.errors import InputError
from winnow.files import replacing, write_sealed
from winnow.options import IngestOptions
from winnow.pool.alike import Alike, contents_of
from winnow.pool.parts import Part, group_of, notes_of, record, said, shape, whole_size
from winnow.pool.pool import FORMAT, ITEMS, PICTURES, USED, column_fingerprint, fingerprint
from winnow.pool.resume import PENDING
from winnow.results.words import count
from winnow.tables import write_table

COUNTED = ("pictures", "videos", "frames", "patches", "crops", "empty", "copies", "tracks")


@dataclass
class Gathered:
    """What the parts of a pool hold together.

    `refused` files and `lost` ones among those asked for; `partly`: what was refused of files that were read in part;
    `shards` of pixels and `cut` pictures; `seen` contents and `groups`; `totals` and `notes` on what is alike; `apart`: seconds between
    the frames of each video whose persons were not followed; `listed`: the first picture of each track, by group and name.
    """

    refused: list[Refusal]
    lost: set[str]
    totals: dict[str, int]
    notes: list[str]
    partly: dict[Refusal, None] = field(default_factory=dict)
    shards: list[dict[str, Any]] = field(default_factory=list)
    cut: list[dict[str, Any]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    apart: list[float] = field(default_factory=list)
    listed: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, part: Part, asked: set[str], options: IngestOptions) -> None:
        """Take in what a part holds beside its rows."""
        read = {part.sources[place].uri for _, place, *_ in part.rows}
        self.refused += part.refused
        self.lost |= {one.source for one in part.refused if one.source in asked and one.source not in read}
        self.partly |= {one: None for one in part.refused if one.source in read}
        self.shards += part.shards
        self.cut += part.cut
        if not (part.rows or part.empty):
            return
        moving, totals = part.sources[0].kind == "video", self.totals
        totals["videos"] += int(moving)
        totals["frames" if moving else "pictures"] += (len(part.cut) or len(part.rows)) + part.empty
        totals["patches"] += len(part.rows) if options.cuts else 0
        totals["crops"] += len(part.rows) if options.people else 0
        totals["empty"] += part.empty
        totals["tracks"] += len(set(part.tracks))  # those of lists are counted as the table is written
        self.apart += [part.step] if part.rows and not part.tracks and part.step is not None else []

    def first_of(self, source: Source, name: str) -> str | None:
        """Return the id of the first picture of the track that a list gives a source, whose own is `name`; None without one."""
        if not source.track or source.kind == "video":
            return None
        if (source.group, source.track) not in self.listed:
            self.listed[source.group, source.track] = name
            self.totals["tracks"] += 1
        return self.listed[source.group, source.track]

    @property
    def unread(self) -> list[Refusal]:
        """Return what was refused of files of which nothing was read."""
        return [one for one in self.refused if one not in self.partly]

    def said(self) -> list[str]:
        """Return notes on what was refused, read in part, and alike."""
        return [
            *notes_of(self.unread),
            *([_in_part(list(self.partly))] if self.partly else []),
            *self.notes,
            *([_not_followed(self.apart)] if self.apart else []),
        ]


def assemble(
    folder: Path,
    numbers: list[int],
    expansion: Expansion,
    asked: set[str],
    options: IngestOptions,
    key: dict[str, Any],
    *,
    learn: bool = True,
) -> Gathered:
    """Write items.parquet, quarantine.csv and, last, pool.json, with one part in memory at a time; `learn`: notes speak of learning.

    Raises `InputError` when too much was refused or nothing is left.
    """
    alike = Alike.of((Part.load(record(folder, number)) for number in numbers), options, learn=learn)
    lost = {refusal.source for refusal in expansion.refused}
    found = Gathered(list(expansion.refused), lost, dict.fromkeys(COUNTED, 0) | alike.totals, alike.notes)
    with replacing(folder / "items.parquet") as temporary, pq.ParquetWriter(temporary, ITEMS) as writer:
        for number in numbers:
            part = Part.load(record(folder, number))
            found.add(part, asked, options)
            if part.rows:
                table = _table(part, found, options, *alike.columns[number])
                writer.write_table(table)
                found.groups.update(table.column("group").to_pylist())
                found.totals["copies"] += table.column("status").to_pylist().count("copy")
    write_table(folder / "quarantine.csv", ("source", "reason"), ((one.source, one.reason) for one in found.refused))
    _check(folder, found, len(asked | found.lost), options)
    _write_about(folder, found, options, key)
    (folder / PENDING).unlink(missing_ok=True)
    return found


def _check(folder: Path, found: Gathered, files: int, options: IngestOptions) -> None:
    """Raise `InputError` when more of the files were refused than may be, or no picture is left."""
    if len(found.lost) > options.max_refused * files:
        first = "; ".join(map(said, found.refused[:3]))
        raise InputError(
            f"{len(found.lost)} of {files} files could not be read, more than --max-refused {options.max_refused:g} "
            f"allows: {first}.",
            f"All are listed in {folder / 'quarantine.csv'}: repair or remove them, or allow more with --max-refused.",
        )
    if found.totals["empty"] and not found.seen:
        raise InputError(
            f"No box of {options.objects} was found in {found.totals['empty']} pictures or frames.",
            "Try a lower --box-confidence, other --objects or a larger detector.",
        )
    if not found.seen:
        raise InputError("No picture was found in the inputs.", "Give pictures, videos, or folders or lists of them.")


def _write_about(folder: Path, found: Gathered, options: IngestOptions, key: dict[str, Any]) -> None:
    """Write pictures.parquet, where pictures were cut, and pool.json."""
    files = ["items.parquet"]
    (folder / "pictures.parquet").unlink(missing_ok=True)
    if not whole_size(options):
        with replacing(folder / "pictures.parquet") as temporary:
            pq.write_table(pa.Table.from_pylist(found.cut, schema=PICTURES), temporary)
        files.append("pictures.parquet")
    about = {
        "format": FORMAT,
        "size": list(options.size),
        "channels": shape(options)[2],
        "options": key,
        **found.totals,
        "fingerprint": fingerprint(options.size, shape(options)[2], _ids(folder), found.shards),
        "table_fingerprint": column_fingerprint(_batches(folder, (*USED, "track") if found.totals["tracks"] else USED)),
        "label_fingerprint": column_fingerprint(_batches(folder, ("label",))),
        "shards": found.shards,
    }
    write_sealed(folder / "pool.json", about, files)


def _in_part(broken: list[Refusal]) -> str:
    """Return a note on files that were read only in part."""
    one = len(broken) == 1
    return (
        f"{'1 file was' if one else f'{len(broken)} files were'} read only in part: {'; '.join(map(said, broken[:3]))}"
        + (f"; and {len(broken) - 3} more, see pool/quarantine.csv." if len(broken) > 3 else ".")
    )


def _not_followed(apart: list[float]) -> str:
    """Return a note on videos whose frames are so many seconds apart that persons were not followed in them."""
    frames = "its frames are" if len(apart) == 1 else "their frames are"
    return (
        f"Persons were not followed from frame to frame in {count(len(apart), 'video')}: {frames} {min(apart):g} s apart"
        f"{' or more' if len(apart) > 1 else ''}. With --every 0.1 the crops of a person are one track, and one label counts for all."
    )


def _ids(folder: Path) -> Iterator[str]:
    for batch in _batches(folder, ("id",)):
        yield from batch.column(0).to_pylist()


def _batches(folder: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(folder / "items.parquet") as file:
        yield from file.iter_batches(columns=list(columns))


def _table(
    part: Part, gathered: Gathered, options: IngestOptions, joined: Sequence[str], twin: Sequence[str]
) -> pa.Table:
    """Return the part's rows; of pictures and videos that are the same to the byte the first is "ok" and the others are "copy"."""
    status, seen = [], gathered.seen
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
            pa.array(_tracks(part, gathered), pa.string()),
        ],
        schema=ITEMS,
    )


def _tracks(part: Part, gathered: Gathered) -> list[str | None]:
    """Return the id of the first crop of the track of each row of a part: persons followed in a video, or whole pictures that a list
    says are of one track of their group."""
    first: dict[int, str] = {}
    for track, (name, *_) in zip(part.tracks, part.rows, strict=False):
        first.setdefault(track, name)
    followed: list[str | None] = [first[track] for track in part.tracks]
    return [
        gathered.first_of(part.sources[place], name) if box is None and known is None else known
        for known, (name, place, _, box, _) in zip(followed or [None] * len(part.rows), part.rows, strict=True)
    ]


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
