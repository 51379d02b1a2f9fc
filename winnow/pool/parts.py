"""One part of an ingest: its pictures decoded, cut where that is wanted, and written with a record; videos: `winnow.pool.films`."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from winnow.data import images, storage
from winnow.data.ahead import Read, read_ahead
from winnow.data.sources import Refusal, Source
from winnow.errors import InputError, Unreadable
from winnow.files import read_json, sealed, unsealed, write_json
from winnow.objects.crops import Finder, crops
from winnow.options import IngestOptions
from winnow.pool.blank import boxes_by_blank
from winnow.pool.given import boxes_of_pieces, cut_given
from winnow.pool.patches import tile_boxes, write_box
from winnow.pool.pool import AGAIN, write_shards
from winnow.pool.twins import look_of
from winnow.scale.local import run_local

Page = tuple[int | None, np.ndarray | str]
"""The number of a page, and its pixels or the reason for none, as `images.pages` yields them."""

REASONS = 3  # for refusals that are told of; quarantine.csv lists all


class Blank(Unreadable):
    """Of a picture or frame nothing is kept: every patch is blank, or a box that was named does not fit."""


@dataclass
class Part:
    """A part's record: its sources and the SHA-256 of the content each was read with ("" where it could not be, and of a
    video on s3), a row (id, place of its source, time, box, page) a picture, patch or crop, what it was cut from, its refusals
    and its pixels; the look (see `winnow.pool.twins`) of each row or, where they were cut, of each of what they were cut from;
    where persons were looked for, the confidence of each row and how many pictures or frames show none; of a video then also the
    track of each row, by number, none where its frames are too far apart, and the median `step` between frames in seconds."""

    number: int
    key: dict[str, Any]
    sources: list[Source]
    rows: list[tuple[str, int, float | None, str | None, int | None]] = field(default_factory=list)
    cut: list[dict[str, Any]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    shards: list[dict[str, Any]] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    empty: int = 0
    digests: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    tracks: list[int] = field(default_factory=list)
    step: float | None = None

    @property
    def usual(self) -> float | None:
        """Return the largest share of a good picture that is blank, None where good pictures are to be learnt from."""
        return self.key.get("usual_blank")

    def save(self, folder: Path) -> None:
        write_json(record(folder, self.number), sealed(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Part:
        saved = unsealed(path, read_json(path), AGAIN)
        return cls(
            saved["number"],
            saved["key"],
            [Source.of(source) for source in saved["sources"]],
            [(row[0], row[1], row[2], row[3], row[4]) for row in saved["rows"]],
            saved["cut"],
            [Refusal(**refusal) for refusal in saved["refused"]],
            saved["shards"],
            saved["confidence"],
            saved["empty"],
            saved["digests"],
            saved["looks"],
            saved.get("tracks", []),  # of a pool that was begun before there were any
            saved.get("step"),
        )


def make_pictures(
    part: Part, folder: Path, options: IngestOptions, find: Finder | None, workers: int, advance: Callable[..., None]
) -> Part:
    """Return a part of pictures, with its pixels written."""
    with contextlib.closing(_pictures(part, options, find, workers, advance)) as pixels:
        part.shards = write_shards(folder, part.number, pixels, shape(options))
    return part


def _pictures(
    part: Part, options: IngestOptions, find: Finder | None, workers: int, advance: Callable[..., None]
) -> Generator[np.ndarray, None, None]:
    """Yield the part's pixels in order, and fill in its rows and refusals."""
    decode = partial(_picture, options=options, find=find, usual=part.usual)
    limit = images.largest_file(options.pixel_limit)
    with (
        contextlib.closing(read_ahead(part.sources, lambda source: source.uri, limit)) as read,
        contextlib.closing(run_local(decode, read, workers)) as decoded,
    ):
        for place, (digest, number, first, others) in enumerate(decoded):
            advance()
            part.digests.append(digest)
            for page, found in chain([(number, first)], _others(digest, others, options, find, part.usual, workers)):
                if isinstance(found, Decoded):
                    yield from rows_of(part, place, None, page, found)
                    continue
                reason = found if page is None else f"page {page}: {found}"
                part.refused.append(Refusal(part.sources[place].uri, reason))
                if options.on_error == "stop":
                    stop(part.refused[-1])


def _others(
    digest: str,
    pages: Iterator[Page],
    options: IngestOptions,
    find: Finder | None,
    usual: float | None,
    workers: int,
) -> Iterator[tuple[int | None, Decoded | str]]:
    """Yield the further pages of a file, decoded one after the other, so that many are never in memory, and cut by several
    threads."""
    second = next(pages, None)
    if second is not None:
        cut = partial(cut_page, digest[:16], options=options, find=find, usual=usual)
        with contextlib.closing(run_local(cut, chain([second], pages), workers)) as found:
            yield from found


@dataclass(frozen=True)
class Decoded:
    """A picture's id and pixels: of the whole picture, or of a piece for each box together with a row about the whole."""

    name: str
    look: str
    pieces: Sequence[np.ndarray]
    boxes: np.ndarray | None = None
    confidence: np.ndarray | None = None
    about: dict[str, Any] = field(default_factory=dict)


def _picture(
    given: tuple[Source, Read], options: IngestOptions, find: Finder | None, usual: float | None
) -> tuple[str, int | None, Decoded | str, Iterator[Page]]:
    """Return the SHA-256 of a picture's file, its first page with the number (None of one only), and the other pages."""
    digest = ""
    source, read = given
    try:
        data = read()
        digest = hashlib.sha256(data).hexdigest()
        boxes = boxes_of_pieces(source.pieces)
        pages = pages_to_cut(data, options, find, boxes)
        page, found = cut_page(digest[:16], next(pages), options=options, find=find, usual=usual, boxes=boxes)
        return digest, page, found, pages if page is not None else iter(())
    except Unreadable as error:
        return digest, None, error.message, iter(())


def pages_to_cut(
    data: bytes, options: IngestOptions, find: Finder | None = None, boxes: np.ndarray | None = None
) -> Iterator[Page]:
    """Yield the pages of a picture file for `cut_page`, at the size and in the colours that it needs; raises what `images.pages` raises."""
    yield from images.pages(
        data,
        whole_size(options) if boxes is None else None,
        grey=options.grey and not in_colour(options, find, boxes),
        white=options.white,
        pixel_limit=options.pixel_limit,
    )


def cut_page(
    content: str,
    page: Page,
    *,
    options: IngestOptions,
    find: Finder | None,
    usual: float | None,
    boxes: np.ndarray | None = None,
) -> tuple[int | None, Decoded | str]:
    """Return the number of a page, and what it was cut into or the reason for nothing; `content` is the hash of its file in its id."""
    number, image = page
    if isinstance(image, str):
        return number, image
    try:
        return number, cut_up(content if number is None else f"{content}/{number}", image, options, find, usual, boxes)
    except Unreadable as error:
        return number, error.message


def whole_size(options: IngestOptions) -> tuple[int, int] | None:
    """Return the size pictures are decoded at: None, their own, where they are to be cut."""
    return None if options.cuts or options.people else options.size


def in_colour(options: IngestOptions, find: Finder | None, boxes: np.ndarray | None) -> bool:
    """Return whether a picture is decoded in colours though grey is wanted: what is cut out of it is made grey later."""
    return bool(find) or options.tiles or (boxes is not None and not options.patches)


def cut_up(
    name: str,
    image: np.ndarray,
    options: IngestOptions,
    find: Finder | None,
    usual: float | None,
    given: np.ndarray | None = None,
) -> Decoded:
    """Return the picture, cut into `given` boxes, or into patches or crops where these are wanted; `Unreadable` when it has no
    patch, or does not hold a box."""
    look = look_of(image)
    if given is not None:
        try:
            pieces = cut_given(image, given, options)
        except Unreadable as error:
            raise Blank(error.message) from None
        about = _about(image, len(given)) if options.cuts or find else {}
        return Decoded(name, look, pieces, given, np.full(len(given), np.nan) if find else None, about)
    if find:
        boxes, confidence = find(image)
        return Decoded(name, look, crops(image, boxes, options), boxes, confidence, _about(image, len(boxes)))
    if options.tiles:
        boxes = tile_boxes(image.shape)
        return Decoded(name, look, crops(image, boxes, options), boxes, None, _about(image, len(boxes)))
    if not options.patches:
        return Decoded(name, look, [image])
    boxes, counts = boxes_by_blank(image, options.size, options.stride, options.blank, options.border, usual)
    if not len(boxes):
        if counts["blank"]:
            raise Blank(f"all its {counts['blank']} patches are blank (--blank 0 keeps them)")
        height, width = image.shape[:2]
        raise Unreadable(
            f"it is {width}x{height} pixels, smaller than a patch of {options.size[1]}x{options.size[0]} (--size)"
        )
    pieces = [image[y : y + high, x : x + wide] for x, y, wide, high in boxes]
    return Decoded(name, look, pieces, boxes, None, _about(image, len(boxes)) | counts)


def _about(image: np.ndarray, pieces: int) -> dict[str, Any]:
    height, width, channels = image.shape
    coloured = any((image[..., 0] != image[..., channel]).any() for channel in range(1, channels))
    return {"width": width, "height": height, "patches": pieces, "blank": 0, "flat": 0, "colour": coloured}


def rows_of(part: Part, place: int, time: float | None, page: int | None, found: Decoded) -> Iterator[np.ndarray]:
    """Add a picture's row, or those of its pieces, to the part, and yield their pixels."""
    if found.boxes is None:
        part.looks.append(found.look)
        part.rows.append((found.name, place, time, None, page))
        yield from found.pieces
        return
    if not len(found.boxes):
        part.empty += 1
        return
    if found.about:
        part.looks.append(found.look)
        about = {"id": found.name, "source": part.sources[place].uri, "time": time, "page": page}
        part.cut.append({**about, **found.about})
    else:
        part.looks += [look_of(piece) for piece in found.pieces]
    part.confidence += [] if found.confidence is None else found.confidence.tolist()
    for box, piece in zip(found.boxes, found.pieces, strict=True):
        part.rows.append((f"{found.name}#{write_box(box)}", place, time, write_box(box), page))
        yield piece


def shape(options: IngestOptions) -> tuple[int, int, int]:
    """Return height, width and channels of the pixels kept."""
    return (*options.size, 1 if options.grey else 3)


def stop(refusal: Refusal) -> None:
    """Raise `InputError` for a refusal, where the user wants to stop at the first."""
    raise InputError(said(refusal) + ".", "Repair or remove it, or go on without it with --on-error skip.")


def said(refusal: Refusal) -> str:
    """Return a refusal as one sentence, which names its file."""
    reason = refusal.reason.rstrip(".")
    return reason if refusal.source in reason else f"{refusal.source}: {reason}"


def notes_of(refused: Sequence[Refusal]) -> list[str]:
    """Return a sentence for each of the commonest reasons, with the first file it concerns."""
    first: dict[str, str] = {}
    count: Counter[str] = Counter()
    for one in refused:
        reason = one.reason.replace(one.source, "it").rstrip(".")
        first.setdefault(reason, one.source)
        count[reason] += 1
    notes = [
        f"{number:,} refused, {'' if number == 1 else 'first '}{first[reason]}: {reason}."
        for reason, number in count.most_common(REASONS)
    ]
    rest = len(refused) - sum(number for _, number in count.most_common(REASONS))
    return (
        [*notes, f"{rest:,} more refused for other reasons: quarantine.csv in the pool lists all."] if rest else notes
    )


def record(folder: Path, number: int) -> Path:
    """Return the path of a part's record."""
    return folder / "parts" / f"{number:05d}.json"


def group_of(source: Source, page: int | None, options: IngestOptions) -> str:
    """Return a picture's group: one of its own where it is cut into patches or is a page of several, unless a list names one."""
    own = options.cuts or page is not None
    return source.uri if own and source.group == storage.parent(source.uri) else source.group
