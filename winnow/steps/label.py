"""Label a run's pictures: the page and its server, and the labels to and from other tools."""

from __future__ import annotations

import contextlib
import getpass
import io
import secrets
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from winnow.errors import DataError, OptionError, RunError, Unreadable
from winnow.files import quoted
from winnow.label.catalogue import Catalogue
from winnow.label.class_history import became
from winnow.label.events import LONGEST, check_who, class_name, is_seen
from winnow.label.live import Live
from winnow.label.pictures import Picture, Size
from winnow.pool.originals import Changed, content_of, pool_pixels
from winnow.pool.patches import picture_of, read_boxes
from winnow.pool.pool import Pool
from winnow.results import LabelsExported, LabelsImported
from winnow.run.addresses import originals_of
from winnow.run.folder import RunFolder
from winnow.run.labels import catalogue_of, label_command, open_store, read_store
from winnow.run.manifest import check_place
from winnow.run.overview import group_lanes, map_of
from winnow.run.working_copy import push, ready

SMALL, FRAME, LARGE = 160, 960, 1280  # longest sides, in pixels, of the pictures that the page shows
QUALITY, EXPORT_QUALITY = 90, 95

Read = TypeVar("Read")


def label(
    run: RunFolder,
    *,
    port: int,
    classes: Sequence[str] = (),
    who: str = "",
    open_browser: bool = False,
    blind: bool = False,
    tell: Callable[[str], None] = print,
) -> None:
    """Serve the labelling page on 127.0.0.1 until Ctrl-C; `classes` are added to those the run has, but for what was renamed or deleted.

    The items are the pool's; `selection.csv` and `outliers.csv`, where the run has them, make the lanes "chosen" and "outliers".
    Where the run has embeddings, a head learns from the labels meanwhile, suggests classes, unless `blind`, and says what to
    label next.
    Raises `OptionError` when the run has no class, and when no port from `port` on is free, both before anything is written;
    `StoreLost` when the store is moved, deleted or replaced meanwhile.
    """
    from winnow.label.server import serve
    from winnow.label.session import LabelSession
    from winnow.web.listen import listen_page

    pool = Pool.open(run.folder("ingest"))
    run.require("ingest")  # or labels would land on the pictures of another pool
    catalogue = catalogue_of(run, pool)
    who = who or _user()
    check_who(who)
    classes = [class_name(name) for name in classes]
    with read_store(run) as before:
        if not (classes or before.classes):
            raise OptionError(f"{run.path} has no classes to label with.", "Name them: --classes staff,customer")
        # What a person renamed or deleted does not come back because the same command is given again.
        former = before.former(classes) if before.classes else {}
    with contextlib.closing(listen_page(port)) as listening:
        taken = listening.getsockname()[1]
        if port not in (0, taken):
            tell(f"Port {port} is taken; using {taken}.")
        for name, now in former.items():
            tell(f"The class '{name}' {became(now)} and is not added again; the page's + adds a new one of that name.")
        with open_store(run) as store:
            store.add_classes(who, [name for name in classes if name not in former])
            live, groups = _live(run, catalogue, blind), group_lanes(run, pool, catalogue)
            picture_map = map_of(run, pool, catalogue)
            session = LabelSession(
                run.path.resolve().name, store, catalogue, who, store.home, live, groups, picture_map
            )
            token = secrets.token_urlsafe(32)  # of this start alone
            with contextlib.closing(live):
                live.start()
                serve(session, pictures_of(pool, run, tell), token, listening, tell=tell, open_browser=open_browser)
            counts = [entry["count"] for entry in session.classes() if entry["count"]]
            if len(counts) > 1 and min(counts) > 1 and run.done("encode"):  # what `classify` asks for
                tell(f"Next: winnow classify --run {quoted(run.path)}")


def _live(run: RunFolder, catalogue: Catalogue, blind: bool) -> Live:
    """Return what learns from the labels in a process of its own; where there is nothing to learn on, it says why."""
    from winnow.run.beside import Beside

    try:
        run.require("encode")
    except RunError as error:
        return Live(catalogue, None, f"No suggestions: {error.message} {error.remedy}".strip(), blind=blind)
    return Live(catalogue, Beside("winnow.run.suggest", str(run.path.resolve())), blind=blind)


def import_labels(run: RunFolder, path: Path, *, classes: Sequence[str] = ()) -> LabelsImported:
    """Take over the labels of a file or folder, see `winnow.label.formats`; `classes` are added to the run's first.

    Nothing is written when one of them cannot be.
    """
    from winnow.label.exchange import planned, take_over
    from winnow.label.formats import read

    records = read(path)
    pool = Pool.open(run.folder("ingest"))
    run.require("ingest")
    catalogue = catalogue_of(run, pool)
    originals = originals_of(run, pool)
    with read_store(run) as before:
        planned(before, catalogue, originals, records, classes)  # what is wrong is told before a store is begun
    ready(run.path)
    with open_store(run) as store:
        found = take_over(store, catalogue, originals, records, _importer(path), classes)
    push(run.path)
    return LabelsImported(str(path), **found)


def _importer(path: Path) -> str:
    """Return who an import is by; a file's name need not be text, and may hold control characters."""
    name = path.name.encode(errors="replace").decode()
    return f"import {''.join(letter if is_seen(letter) else '?' for letter in name)}"[: LONGEST["who"]]


def export_labels(run: RunFolder, path: Path, form: str = "", *, from_pool: bool = False) -> LabelsExported:
    """Write the run's labels as CSV, imagefolder, Label Studio's JSON or COCO; `DataError` when there are none.

    The run may be read-only. The format follows from the name unless `form` is one of `winnow.label.formats.FORMATS`. An imagefolder
    and COCO need the originals: `Unreadable` when one is missing or has changed, unless the pool's pictures are wanted
    in their place (`from_pool`).
    """
    from winnow.label.exchange import records_of
    from winnow.label.formats import WITH_PICTURES, format_of, write

    form = format_of(path, form)
    if from_pool and form not in WITH_PICTURES:
        raise OptionError(f"--from-pool is for pictures, and the format {form} holds none.", "Leave it out.")
    check_place(path, "--export", run.path, ())
    pool = Pool.open(run.folder("ingest"))
    run.require("ingest")
    catalogue = catalogue_of(run, pool)
    with read_store(run) as store:
        records, gone = records_of(store, catalogue)
    if not records:
        raise DataError(
            f"{run.path} has no labels to export.",
            f"Label first: {label_command(run.path)}",
        )
    pictures = _Pictures(run, pool, from_pool)
    write(
        path,
        records,
        form,
        draw=lambda item: pictures.file(catalogue.row(item)),
        size=lambda item: pictures.size(catalogue.row(item)),
    )
    return LabelsExported(str(path), form, len(records), gone, len(pictures.taken))


class _Pictures:
    """The pictures of an export: the originals or, where these are missing or changed and `from_pool` says so, the pool's."""

    def __init__(self, run: RunFolder, pool: Pool, from_pool: bool) -> None:
        self._pool, self._options, self._from_pool = pool, run.options.ingest, from_pool
        self._originals = originals_of(run, pool)
        self.taken: set[int] = set()

    def file(self, row: int) -> tuple[bytes, str]:
        """Return an item's picture as a file: the bytes of its own where that is all of it, else a JPEG."""
        value = self._pool.items.slice(row, 1).to_pylist()[0]
        suffix = Path(value["source"]).suffix.lower()
        # Of a PNG that is deeper than others expect, what the run takes for white is shown as white.
        copied = suffix in (".jpg", ".jpeg") or (suffix == ".png" and self._options.white is None)
        if copied and value["id"] == content_of(value["id"]):  # all of its file
            data = self._or_none(row, self._originals.file)
            if data is not None:
                return data, suffix
        pixels = self._or_none(row, self._originals.pixels)
        pixels = pool_pixels(self._pool, row) if pixels is None else pixels
        return _jpeg(pixels, max(pixels.shape), EXPORT_QUALITY), ".jpg"

    def size(self, row: int) -> tuple[int, int]:
        """Return height and width of the whole picture or frame of an item."""
        if self._cut:
            return self._cut[picture_of([self._pool.items.column("id")[row].as_py()])[0]]
        size = self._or_none(row, self._originals.size)
        return self._pool.size if size is None else size

    @cached_property
    def _cut(self) -> dict[str, tuple[int, int]]:
        """Height and width of the pictures that the pool's items were cut from, by their ids; none where they are whole."""
        return {about["id"]: (about["height"], about["width"]) for about in self._pool.pictures.to_pylist()}

    def _or_none(self, row: int, read: Callable[[int], Read]) -> Read | None:
        try:
            return read(row)
        except Unreadable as error:
            if not self._from_pool:
                raise Unreadable(
                    error.message,
                    "Put the file back as it was ingested, or export the run's own small pictures of what is missing or "
                    "has changed: --from-pool",
                ) from error
            self.taken.add(row)
            return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "me"


def pictures_of(pool: Pool, run: RunFolder, tell: Callable[[str], None] = print) -> Picture:
    """Return what makes the JPEG of a row, and says "same" where it is made of the original.

    Where that is "missing", or has "changed" since it was ingested, it is made of the pool's pixels; `tell` is called at the
    first that has changed. Of a frame, which the pool has not, that is an `Unreadable`.
    """
    originals = originals_of(run, pool)
    told = threading.Event()

    def picture(row: int, size: Size) -> tuple[bytes, str]:
        if size == "frame":
            return _jpeg(framed(originals.whole(row), pool.items.column("box")[row].as_py()), FRAME), "same"
        state = "same"
        try:
            pixels = originals.pixels(row)
        except Unreadable as error:
            state = "changed" if isinstance(error, Changed) else "missing"
            pixels = pool_pixels(pool, row)
            if state == "changed" and not told.is_set():
                told.set()
                tell(f"Note: {error.message} The page shows the run's own small pictures of such files, and says so.")
        return _jpeg(pixels, LARGE if size == "large" else SMALL), state

    return picture


def framed(whole: np.ndarray, box: str | None) -> np.ndarray:
    """Return a picture (h, w, 3) uint8 at most `FRAME` pixels long with a box "x,y,width,height" drawn in, if there is one."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(whole).convert("RGB")
    scale = min(1.0, FRAME / max(image.size))
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    if box is not None:
        x, y, width, height = (float(side) * scale for side in read_boxes([box])[0])
        draw = ImageDraw.Draw(image)
        for out, colour in ((3, "black"), (2, "yellow"), (1, "yellow"), (0, "black")):
            draw.rectangle((x - out, y - out, x + width + out, y + height + out), outline=colour)
    return np.asarray(image)


def _jpeg(pixels: np.ndarray, longest: int, quality: int = QUALITY) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((longest, longest))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
