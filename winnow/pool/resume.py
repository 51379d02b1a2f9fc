"""Find the parts of a pool that need not be made again: those whose sources are unchanged, by their marks or content."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from winnow.data import storage
from winnow.data.pieces import check_boxes, places, together
from winnow.data.sources import Source
from winnow.errors import Damaged, RunError, Unreadable
from winnow.files import as_written, read_json, replacing, sealed, sha256, unsealed, write_json
from winnow.pool.parts import Part, record
from winnow.pool.pool import shard_name
from winnow.scale.local import run_local

PENDING = "again.json"
"""In a pool's folder, the sources of dropped parts that are still to be done again."""


def finished(
    folder: Path, sources: list[Source], left_out: Collection[str], key: dict[str, Any], workers: int
) -> tuple[dict[int, list[str]], list[Source]]:
    """Return the sources of every finished part that stays, by its number, and all sources that the pool is to have.

    These are the sources asked for, what the pool holds of them already added, after those to do again unasked.

    A part is dropped when its pixels are missing, or a source of it changed, was moved or is left out now; its other sources
    are then done again. Raises `Damaged` when a part cannot be read and is not to be read again.
    """
    asked = {source.uri: source for source in sources}
    left_out = {*left_out, *_moved(folder, asked)}
    _check_readable(folder, {*asked, *left_out})
    for held in (source for part in _parts(folder) for source in part.sources if source.uri in asked):
        pieces = together(asked[held.uri].pieces, held.pieces)
        check_boxes(held.uri, pieces)
        asked[held.uri] = replace(asked[held.uri], pieces=pieces)
    kept: dict[int, list[str]] = {}
    again = {source.uri: source for source in _pending(folder)}
    named: set[Path] = set()
    for part in _parts(folder):
        _check_key(folder, part.key, key)
        (folder / "pool.json").unlink(missing_ok=True)  # from here on the pool is not whole until it is assembled
        stays = [source for source in part.sources if source.uri not in left_out]
        if len(stays) < len(part.sources) or not _pixels_there(folder, part) or not _unchanged(part, asked, workers):
            again |= {source.uri: source for source in stays if source.uri not in asked}
            continue
        _save_known(folder, part, asked)
        kept[part.number] = [source.uri for source in part.sources]
        named |= _files(folder, part)
    covered = {uri for uris in kept.values() for uri in uris}
    done = asked.keys() | covered | left_out
    pending = [source for source in again.values() if source.uri not in done]
    if pending:
        write_json(folder / PENDING, sealed({"sources": [asdict(source) for source in pending]}))
    _sweep(folder, named)
    return kept, pending + list(asked.values())


def _moved(folder: Path, asked: dict[str, Source]) -> set[str]:
    """Return the pictures of a pool whose files are gone, and whose content is that of a file that is asked for now.

    A video is another one in another place, for its frames have its address in their ids, and a person may have labelled them.
    """
    held, gone = set(), {}
    for part in _parts(folder):
        for source, digest in zip(part.sources, part.digests, strict=True):
            held.add(source.uri)
            known = digest and source.kind == "image" and source.uri not in asked
            if known and not storage.is_remote(source.uri) and not os.path.lexists(source.uri):
                gone[source.uri] = digest
    here = {_content(uri) for uri in asked if uri not in held} if gone else set()
    return {uri for uri, digest in gone.items() if digest in here}


def _content(uri: str) -> str:
    """Return the SHA-256 of a local file, "" where it cannot be told."""
    try:
        return "" if storage.is_remote(uri) else storage.digest(uri)
    except Unreadable:
        return ""


def _check_readable(folder: Path, asked: Collection[str]) -> None:
    """Raise `Damaged` when the record of a part cannot be read, and what it holds would be lost, not being asked for."""
    broken = [path for path in sorted((folder / "parts").glob("*.json")) if _load(path) is None]
    items = folder / "items.parquet"
    if not broken or not items.exists():
        return
    again = "Run ingest again on all the sources that the pool was made of."
    with as_written(items, again):
        held = set(pq.read_table(items, columns=["source"]).column(0).to_pylist())
    lost = held.difference(asked, (source.uri for part in _parts(folder) for source in part.sources))
    if lost:
        raise Damaged(
            f"{broken[0]} is damaged, and files of the pool that are not among these sources would be lost: {min(lost)}"
            f"{f' and {len(lost) - 1:,} more' if len(lost) > 1 else ''}.",
            again,
        )


def taken_over(
    folder: Path, earlier: Path | None, plan: list[list[Source]], key: dict[str, Any], workers: int
) -> dict[int, list[str]]:
    """Return the sources of every part of the plan that need not be made, by its number, and remove all others.

    A part is taken over when it has the same sources in the same order, with the same content, and its pixels are to the
    byte what was written; from the `earlier` pool by links, as the files of a pool are replaced and never changed.
    """
    (folder / "pool.json").unlink(missing_ok=True)
    (folder / PENDING).unlink(missing_ok=True)
    asked = {source.uri: source for todo in plan for source in todo}
    wanted = {tuple(source.uri for source in todo) for todo in plan}
    found: dict[tuple[str, ...], tuple[Path, Part]] = {}
    for pool in [folder, *([earlier] if earlier else [])]:
        for part in _parts(pool):
            uris = tuple(source.uri for source in part.sources)
            if (
                uris in wanted
                and uris not in found
                and part.key == key
                and _pixels_whole(pool, part)
                and _unchanged(part, asked, workers)
            ):
                found[uris] = pool, part
    own = [part for pool, part in found.values() if pool == folder]
    _sweep(folder, {path for part in own for path in _files(folder, part)})
    taken = {part.number for part in own}
    free = (number for number in count() if number not in taken)
    for pool, part in found.values():
        if pool != folder:
            _link(pool, part, folder, next(free))
        _save_known(folder, part, asked)
    return {part.number: list(uris) for uris, (_, part) in found.items()}


def _parts(folder: Path) -> Iterator[Part]:
    """Return the parts of a pool whose records can be read; the others are made again."""
    for path in sorted((folder / "parts").glob("*.json")):
        part = _load(path)
        if part is not None and part.sources and path == record(folder, part.number):
            yield part


def _files(folder: Path, part: Part) -> set[Path]:
    return {record(folder, part.number), *(folder / shard["file"] for shard in part.shards)}


def _sweep(folder: Path, named: set[Path]) -> None:
    """Remove records, pixels and temporary files that no part in use names."""
    patterns = ("parts/*.json", "pixels-*.npy", ".*.tmp", "parts/.*.tmp")
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        if path not in named:
            path.unlink()


def _save_known(folder: Path, part: Part, asked: dict[str, Source]) -> None:
    """Save the part with its sources as they are now: another label or group, or another mark of the same content."""
    now = [asked.get(source.uri, source) for source in part.sources]
    if now != part.sources or not record(folder, part.number).exists():
        part.sources = now
        part.save(folder)


def _unchanged(part: Part, asked: dict[str, Source], workers: int) -> bool:
    """Return whether the same is wanted of the part's sources, and they are unchanged: by their marks or, where these are
    unsure, by their content."""
    now = [asked.get(source.uri, source) for source in part.sources]
    if any(places(one.pieces) != places(other.pieces) for one, other in zip(now, part.sources, strict=True)):
        return False
    doubtful = [
        place
        for place, source in enumerate(part.sources)
        if source.uri in asked and (asked[source.uri].mark != source.mark or source.mark.endswith(storage.UNSURE))
    ]
    with contextlib.closing(run_local(partial(_same_content, part), doubtful, workers)) as same:
        return all(same)


def _same_content(part: Part, place: int) -> bool:
    known = part.digests[place]
    return bool(known) and _content(part.sources[place].uri) == known


def _link(earlier: Path, part: Part, folder: Path, number: int) -> None:
    """Link the pixels of another pool's part into this one under a new number; its record is not saved yet."""
    for place, shard in enumerate(part.shards):
        old, shard["file"] = earlier / shard["file"], shard_name(number, place)
        try:
            os.link(old, folder / shard["file"])
        except OSError:  # a file system without links
            with replacing(folder / shard["file"]) as temporary:
                shutil.copyfile(old, temporary)
    part.number = number


def _pending(folder: Path) -> list[Source]:
    """Return the sources of dropped parts that a killed ingest had not done again yet."""
    path = folder / PENDING
    if not path.exists():
        return []
    again = "Remove it, and run ingest again on the same inputs: what was to be done again is missing until then."
    return [Source.of(source) for source in unsealed(path, read_json(path), again)["sources"]]


def _load(path: Path) -> Part | None:
    """Return a part's record; None when it is damaged, so that the part is made again."""
    try:
        part = Part.load(path)
    except (RunError, KeyError, TypeError, IndexError):
        return None
    return part if len(part.digests) == len(part.sources) else None


def _pixels_there(folder: Path, part: Part) -> bool:
    return all(
        (folder / shard["file"]).exists() and (folder / shard["file"]).stat().st_size == shard["bytes"]
        for shard in part.shards
    )


def _pixels_whole(folder: Path, part: Part) -> bool:
    return _pixels_there(folder, part) and all(
        sha256(folder / shard["file"]) == shard["sha256"] for shard in part.shards
    )


def _check_key(folder: Path, held: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in wanted | held:
        if held.get(name) != wanted.get(name):
            raise RunError(
                f"{folder} was ingested with {_flag(name, held.get(name))}, not with {_flag(name, wanted.get(name))}.",
                "Give the same options again, choose another run folder, or delete that pool folder.",
            )


def _flag(name: str, value: Any) -> str:
    if name == "size":
        return f"--size {value[0]} {value[1]}"
    flag = name.replace("_", "-")
    if isinstance(value, bool) or name == "people":
        return f"--{'' if value else 'no-'}{flag}"
    return f"--{flag} {'(default)' if value is None else value}"
