"""A threshold set by pictures that came later: proposed, in force once it was confirmed, or taken back.

    RUN/recalibration/proposed.json    scores of reviewed pictures, and of which detector they are
    RUN/recalibration/in-force.json    the same, once confirmed

Confirming and taking back rename the file, so that one of them is there, whole, at any moment. Both belong to the detector that the
scores are of: once `winnow calibrate` has made another one, or another false-alarm rate, they count no more.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from winnow.detect.detector import Detector
from winnow.errors import RunError
from winnow.files import as_written, make_folder, quoted, read_json, sealed, sha256, sync, told, unsealed, write_json
from winnow.run.folder import RunFolder

FOLDER, PROPOSED, IN_FORCE = "recalibration", "proposed.json", "in-force.json"
FORMAT = 1


@dataclass(frozen=True)
class Recalibration:
    """Scores (n,) of reviewed pictures, or of their patches, with their groups and ids, the mode and the SHA-256 of the detector that
    gave them, and the sources they came from; `map_levels` are those of their anomaly maps (`winnow.run.map_levels`)."""

    mode: str
    detector: str
    sources: list[str]
    scores: list[float]
    groups: list[str]
    ids: list[str]
    map_levels: list[float] | None = None
    format: int = FORMAT

    def applied(self, detector: Detector) -> Detector:
        """Return a detector with the threshold that these scores set."""
        return detector.recalibrated(self.scores, self.groups, self.ids)


def proposed(run: RunFolder, mode: str) -> Recalibration | None:
    """Return what waits to be confirmed, None where nothing does."""
    return _read(run, mode, PROPOSED)


def in_force(run: RunFolder, mode: str) -> Recalibration | None:
    """Return what has set the threshold since the run was calibrated, None where nothing has."""
    return _read(run, mode, IN_FORCE)


def propose(run: RunFolder, found: Recalibration) -> None:
    """Have a threshold wait to be confirmed, in the place of any other that waits."""
    make_folder(run.path / FOLDER, "--run")
    with told(run.path):
        write_json(run.path / FOLDER / PROPOSED, sealed(asdict(found)))


def confirm(run: RunFolder) -> None:
    """Put the proposed threshold in force, in the place of any other that is."""
    _rename(run, PROPOSED, IN_FORCE)


def take_back(run: RunFolder) -> None:
    """Put the threshold that `winnow calibrate` set in force again; the other one waits to be confirmed."""
    _rename(run, IN_FORCE, PROPOSED)


def detector_key(run: RunFolder, mode: str) -> str:
    """Return what changes with the detector of a mode and its options."""
    return sha256(run.folder("calibrate") / ("" if mode == "full" else mode) / "detector.json")


def _read(run: RunFolder, mode: str, name: str) -> Recalibration | None:
    path = run.path / FOLDER / name
    if not path.exists():
        return None
    again = f"Remove it, and run again: winnow recalibrate --run {quoted(run.path)} --from FOLDER"
    with as_written(path, again):
        found = Recalibration(**unsealed(path, read_json(path), again))
        if found.format != FORMAT:
            raise RunError(f"{path} is of another version of Winnow.", again)
    return found if found.mode == mode and found.detector == detector_key(run, mode) else None


def _rename(run: RunFolder, old: str, new: str) -> None:
    folder = run.path / FOLDER
    with told(folder):
        os.replace(folder / old, folder / new)
        sync(Path(folder))
