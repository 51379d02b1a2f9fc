"""Label a run's pictures: the page and its server, and the labels to and from other tools."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from winnow.errors import DataError, OptionError, Unreadable
from winnow.label.catalogue import Catalogue
from winnow.label.store import LONGEST, check_who, class_name
from winnow.pool.patches import write_box
from winnow.pool.pool import Pool
from winnow.results import LabelsExported, LabelsImported
from winnow.run.folder import RunFolder
from winnow.run.labels import catalogue_of, open_store, read_store
from winnow.run.manifest import check_place

SMALL, LARGE = 160, 1280  # longest sides, in pixels, of the pictures that the page shows
QUALITY, EXPORT_QUALITY = 90, 95


def label(
    run: RunFolder,
    *,
    port: int,
    classes: Sequence[str] = (),
    who: str = "",
    open_browser: bool = False,
    tell: Callable[[str], None] = print,
) -> None:
    """Serve the labelling page on 127.0.0.1 until Ctrl-C; `classes` are added to those the run has.

    The items are the pool's; `selection.csv` and `outliers.csv`, where the run has them, make the lanes "chosen" and "outliers".
    Raises `OptionError` when the run has no class, and when no port from `port` on is free, both before anything is written;
    `StoreLost` when the store is moved, deleted or replaced meanwhile.
    """
    from winnow.label.guard import start_token
    from winnow.label.server import LabelSession, listen, serve

    pool = Pool.open(run.folder("ingest"))
    catalogue = catalogue_of(run, pool)
    who = who or _user()
    check_who(who)
    classes = [class_name(name) for name in classes]
    with read_store(run) as before:
        if not (classes or before.classes):
            raise OptionError(f"{run.path} has no classes to label with.", "Name them: --classes staff,customer")
    with contextlib.closing(listen(port)) as listening:
        taken = listening.getsockname()[1]
        if port not in (0, taken):
            tell(f"Port {port} is taken; using {taken}.")
        token = start_token(run.path / "labels.token")
        with open_store(run) as store:
            store.add_classes(who, classes)
            home = hashlib.sha256(token.encode()).hexdigest()[:16]
            session = LabelSession(run.path.resolve().name, store, catalogue, who, home)
            serve(session, pictures_of(pool, catalogue, run), token, listening, tell=tell, open_browser=open_browser)


def import_labels(run: RunFolder, path: Path, *, classes: Sequence[str] = ()) -> LabelsImported:
    """Take over the labels of a file or folder, see `winnow.label.formats`; `classes` are added to the run's first.

    Nothing is written when one of them cannot be.
    """
    from winnow.label.exchange import planned, take_over
    from winnow.label.formats import read

    records = read(path)
    pool = Pool.open(run.folder("ingest"))
    catalogue = catalogue_of(run, pool)
    with read_store(run) as before:
        planned(before, catalogue, records, classes)  # what is wrong is told before a store is begun
    with open_store(run) as store:
        return LabelsImported(str(path), **take_over(store, catalogue, records, _importer(path), classes))


def _importer(path: Path) -> str:
    """Return who an import is by; a file's name need not be text, and may hold control characters."""
    name = path.name.encode(errors="replace").decode()
    return f"import {''.join(letter if letter.isprintable() else '?' for letter in name)}"[: LONGEST["who"]]


def export_labels(run: RunFolder, path: Path, form: str = "") -> LabelsExported:
    """Write the run's labels as CSV, imagefolder, Label Studio's JSON or COCO; `DataError` when there are none.

    The run may be read-only. The format follows from the name unless `form` is one of `winnow.label.formats.FORMATS`.
    """
    from winnow.label.exchange import records_of
    from winnow.label.formats import format_of, write

    form = format_of(path, form)
    check_place(path, "--export", run.path, ())
    pool = Pool.open(run.folder("ingest"))
    catalogue = catalogue_of(run, pool)
    with read_store(run) as store:
        records, gone = records_of(store, catalogue)
    if not records:
        raise DataError(
            f"{run.path} has no labels to export.",
            f"Label first: winnow label --run {run.path} --classes staff,customer",
        )
    limit = run.options.ingest.pixel_limit
    write(path, records, form, lambda item: _file_of(pool, catalogue, catalogue.row(item), limit))
    return LabelsExported(str(path), form, len(records), gone)


def _file_of(pool: Pool, catalogue: Catalogue, row: int, pixel_limit: float) -> tuple[bytes, str]:
    """Return an item's picture as a file: the bytes of its own where that is all of it, else a JPEG."""
    source = Path(catalogue.source(row))
    whole = catalogue.time(row) is None and catalogue.box(row) is None
    if whole and source.suffix.lower() in (".jpg", ".jpeg", ".png") and source.is_file():
        return source.read_bytes(), source.suffix.lower()
    pixels = pixels_of(pool, catalogue, row, pixel_limit)
    return _jpeg(pixels, max(pixels.shape), EXPORT_QUALITY), ".jpg"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "me"


def pictures_of(pool: Pool, catalogue: Catalogue, run: RunFolder) -> Callable[[int, bool], bytes]:
    """Return what makes the JPEG of a row: of the original where that can still be read, else of the pool's pixels."""

    def picture(row: int, large: bool) -> bytes:
        return _jpeg(pixels_of(pool, catalogue, row, run.options.ingest.pixel_limit), LARGE if large else SMALL)

    return picture


def pixels_of(pool: Pool, catalogue: Catalogue, row: int, pixel_limit: float) -> np.ndarray:
    """Return the pixels (h, w, 3 or 1) uint8 of an item at its own resolution, at the pool's where its source is gone."""
    from winnow.pool.originals import original

    box = catalogue.box(row)
    try:
        return original(
            catalogue.source(row), catalogue.time(row), None if box is None else write_box(box), pixel_limit=pixel_limit
        )
    except Unreadable:
        return pool.pixels([row])[0]


def _jpeg(pixels: np.ndarray, longest: int, quality: int = QUALITY) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((longest, longest))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
