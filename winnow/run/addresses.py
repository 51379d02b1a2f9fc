"""Addresses on the network: no file may name one to open a connection to, unless it is named in the same call as well."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winnow.data.storage import is_remote
from winnow.errors import OptionError
from winnow.files import quoted
from winnow.results import Ingested
from winnow.run.folder import RunFolder

if TYPE_CHECKING:
    from winnow.pool.originals import Originals
    from winnow.pool.plan import Wanted
    from winnow.pool.pool import Pool


def is_trusted(run: RunFolder, address: str) -> bool:
    """Return whether an address is on this machine, or was named in this call, as an option or by --trust, itself or a folder of it."""
    named = [name.rstrip("/") for name in run.trusted if "://" in name]
    return not is_remote(address) or any(address == name or address.startswith(f"{name}/") for name in named)


def check_address(run: RunFolder, what: str, address: str) -> None:
    """Raise `OptionError` for an address that is not trusted; `what` names what is there."""
    if not is_trusted(run, address):
        raise OptionError(
            f"{run.path} names {address} as {what}: an address on the network, which you have not given in this call.",
            f"If you trust it, name it again, as an option or a source, or where the command has it: --trust {address}",
        )


def check_object_detector(run: RunFolder) -> None:
    """Raise `OptionError` when the run's object detector is at an address that is not trusted, or would be downloaded though only
    the run names it."""
    from winnow.objects.detectors import to_download

    name = run.options.ingest.object_detector
    if not run.options.ingest.people:
        return
    check_address(run, "its object detector", name)
    named = run.is_new or name in run.trusted or "object_detector" in run.given.get("ingest", {})
    if not named and to_download(name):
        raise OptionError(
            f"{run.path} names {name} as its object detector, whose weights would be downloaded.",
            f"If you want that, name it: winnow ingest SOURCES --run {quoted(run.path)} --object-detector {name}, or --trust {name}",
        )


def trusted_sources(run: RunFolder) -> list[str]:
    """Return the sources that run.json names; `OptionError` for one at an address that is not trusted."""
    for source in run.asked.sources:
        check_address(run, "one of its sources", source)
    return run.asked.sources


def originals_of(run: RunFolder, pool: Pool) -> Originals:
    """Return the originals of a run's pool; those at addresses that are not trusted are not looked at."""
    from winnow.pool.originals import Originals

    return Originals(pool, run.options.ingest, partial(is_trusted, run))


def wanted_as_own(run: RunFolder, sources: Sequence[str | Path], **wanted: Any) -> Wanted:
    """Return that a new pool is to hold sources, read the way the run's own pictures were.

    Raises `OptionError` for an object detector at an address that is not trusted, and for another one than the run's own
    pictures were cut with, though it has the same name.
    """
    from winnow.pool.plan import Wanted

    check_object_detector(run)
    options, own = run.options.ingest, ""
    if options.people:
        own = run.about("ingest")["options"].get("object_detector", "")
    return Wanted(sources, options, keep_others=False, detector=own, **wanted)


def read_as_own(run: RunFolder, sources: Sequence[str | Path], folder: Path, **wanted: Any) -> Ingested:
    """Ingest sources into a pool in `folder` the way the run's own pictures were; raises what `winnow.pool.ingest.read` raises."""
    from winnow.pool.ingest import read

    return read(folder, wanted_as_own(run, sources, **wanted))
