"""One part of an ingest that is a video: its frames decoded, cut where that is wanted, and the crops of a person linked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np

from winnow.data import containers, storage, video
from winnow.data.growing import Growing
from winnow.data.sources import Refusal
from winnow.errors import RunError, Unreadable
from winnow.objects.crops import Finder
from winnow.objects.tracks import Tracks
from winnow.options import IngestOptions
from winnow.pool.given import Due, boxes_of_pieces
from winnow.pool.parts import Blank, Decoded, Part, cut_up, in_colour, rows_of, shape, whole_size
from winnow.pool.pool import write_shards
from winnow.scale.local import run_local

LARGE_VIDEO = 1 << 30  # bytes


def make_video(
    part: Part,
    *,
    folder: Path,
    options: IngestOptions,
    find: Finder | None,
    threads: int,
    advance: Callable[..., None],
    stopped: threading.Event,
) -> Part:
    """Return a video's part, its frames cut by several threads and the crops of persons linked into tracks; blank frames are left
    out, and the refusal of the first is kept."""
    uri = part.sources[0].uri
    part.digests = [""]
    blank: list[str] = []
    tracks = Tracks()
    frames = _frames_of(part, options, find, advance, stopped)

    def cut(one: tuple[video.Frame, np.ndarray | None]) -> tuple[float, Decoded | str]:
        frame, boxes = one
        try:
            return frame.time, cut_up(f"{uri}@{frame.time:.3f}", frame.image, options, find, part.usual, boxes)
        except Blank as error:
            return frame.time, error.message

    def pixels() -> Generator[np.ndarray, None, None]:
        try:
            with contextlib.closing(run_local(cut, frames, threads)) as decoded:
                for time, found in decoded:
                    if isinstance(found, str):
                        blank.append(f"at {time:.3f} s {found}")
                        continue
                    if find and found.boxes is not None:
                        tracks.add(time, found.boxes, found.pieces)
                    yield from rows_of(part, 0, time, None, found)
        except Unreadable as error:
            part.refused.append(Refusal(uri, error.message))

    with contextlib.closing(pixels()) as made:
        part.shards = write_shards(folder, part.number, made, shape(options))
    part.tracks, part.step = tracks.numbers, tracks.step
    if blank:
        more = f"; so {len(blank)} frames are left out" if len(blank) > 1 else ""
        part.refused.append(Refusal(uri, blank[0] + more))
    return part


def _frames_of(
    part: Part, options: IngestOptions, find: Finder | None, advance: Callable[..., None], stopped: threading.Event
) -> Iterator[tuple[video.Frame, np.ndarray | None]]:
    """Yield the frames of a part's video, each with the boxes that are to be cut from it, None for all of it.

    What cannot be read is added to what the part refused.
    """
    uri, pieces = part.sources[0].uri, part.sources[0].pieces
    due, boxes = Due(pieces), boxes_of_pieces(pieces)
    try:
        # Before decoding: what is changed meanwhile must differ from it.
        part.digests = [_digest(uri, options.pixel_limit)]
        for frame in video.frames(
            uri,
            whole_size(options) if boxes is None else None,
            every=options.every,
            keyframes=options.keyframes,
            times=due.times,
            alone=bool(pieces) and all(time is not None for time, _, _ in pieces),  # no frames but those of the times
            grey=options.grey and not in_colour(options, find, boxes),
            pixel_limit=options.pixel_limit,
            on_loss=lambda missing: part.refused.append(Refusal(uri, missing)),
        ):
            if stopped.is_set():
                raise RunError("The ingest was stopped.")
            advance()
            yield frame, boxes_of_pieces(due.at(frame.time))
        for time in due.missing():
            part.refused.append(Refusal(uri, f"it has no frame at {time:.3f} s"))
    except Unreadable as error:  # caught here, or frames under way in other threads would be lost
        part.refused.append(Refusal(uri, error.message))


def frames_while_written(
    uri: str,
    options: IngestOptions,
    find: Finder | None,
    *,
    after: float | None,
    growing: Callable[[], Growing],
    whole: bool,
) -> Iterator[video.Frame]:
    """Yield the frames that the ingest of a video would take, those up to `after` seconds left out, while its file is still written.

    With `whole` each comes at its own size too. Raises what `winnow.data.video.frames` raises.
    """
    yield from video.frames(
        uri,
        whole_size(options),
        every=options.every,
        keyframes=options.keyframes,
        grey=options.grey and not in_colour(options, find, None),
        pixel_limit=options.pixel_limit,
        after=after,
        growing=growing,
        whole=whole,
    )


def _digest(uri: str, pixel_limit: float) -> str:
    """Return a video's SHA-256, "" on s3, where its mark suffices; `Unreadable` when it cannot be read."""
    if storage.is_remote(uri):
        return ""
    if storage.stat(uri).size > LARGE_VIDEO:
        with containers.opened(uri, pixel_limit):  # what is no video is not read to its end
            pass
    return storage.digest(uri)
