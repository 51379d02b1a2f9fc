"""An exported file in use: pictures in, probabilities and scores out, by numpy and onnxruntime alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from winnow.detect.limits import Limits
from winnow.detect.parts import PARTS
from winnow.errors import DataError, ModelError, in_one_line
from winnow.files import reason
from winnow.onnx import no_more, session_of
from winnow.options import IngestOptions, SegmentOptions
from winnow.pool.usual import Usual

FORMAT = 3
WITHOUT_MAPS = 1  # the format of files that cannot have anomaly maps; those of 2 have neither directions nor regions
INPUT, MAP, DIRECTIONS, REGIONS = "pictures", "anomaly_map", "directions", "regions"
NO_MAPS = "Export a run that looks for damage, in its mode 'full' or 'fast', with this version: winnow export --run RUN --to FILE.onnx"
REMEDY = "Give a file that winnow export wrote; if this one was copied, copy it again from its origin."


# The last entry of the file's metadata, as protocol buffers write it: a key and the SHA-256 of all bytes before it, in
# hexadecimal. What is appended to such a file joins its metadata, so that the sum needs no library to be written or read.
SUM = b"\x72\x51\x0a\x0dwinnow_sha256\x12\x40"
SUM_BYTES = len(SUM) + 64


class Blank(BaseModel):
    """What is blank in good pictures that are cut into patches, at most (`usual`, a share), and what a patch gets that is blank beyond
    that: at least just above `score`, no calibration score being higher, and at most `p_value`."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    usual: float
    score: float
    p_value: float


class Calibration(BaseModel):
    """What says whether the threshold still holds: scores of held-out normal pictures, drawn at random where they are many, and the
    mean and standard deviation of what `looked` of them look like (`winnow.detect.changes.looks`); along so many `directions` of their
    embeddings the file says where a picture lies (`winnow.detect.changes.Directions`). Files of before hold medians, and 0 `looked`."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    scores: list[float]
    looks: dict[str, tuple[float, float]]
    looked: int = 0
    directions: int = 0


class About(BaseModel):
    """The description of an exported file, JSON in its metadata under the key `winnow`."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    format: int
    version: str
    classes: list[str] | None
    threshold: float | None
    false_alarm_rate: float | None
    level: float | None = None
    segments: SegmentOptions = SegmentOptions()
    picture_threshold: float | None
    picture_limits: Limits | None = None
    blank: Blank | None = None
    usual: Usual | None = None
    map_usual: float | None = None
    map_level: float | None = None
    calibration: Calibration | None = None
    regions: bool = False
    size: tuple[int, int]
    channels: Literal[1, 3]
    ingest: IngestOptions
    object_detector: str | None = None
    precision: Literal["float32", "int8"] = "float32"

    @model_validator(mode="after")
    def _agree(self) -> About:
        if self.size != self.ingest.size or self.channels != (1 if self.ingest.grey else 3):
            raise ValueError("its size and channels are not those of its reading options")
        if (self.map_usual is None) != (self.map_level is None):
            raise ValueError("of the two levels of its anomaly maps one is missing")
        return self


class Deployed:
    """An exported classifier, anomaly model or both; called with pictures it returns what its run would.

        model = Deployed.open("model.onnx")
        found = model(pictures)                                  # uint8 (n, height, width, channels), RGB or grey
        model.classes[found["probabilities"][0].argmax()], found["score"][0] <= model.threshold

    `classes` are the names of the columns of `probabilities`, None where the file has no classifier. A picture belongs when its
    `score` is at most `threshold`, None where the file has no anomaly model; a share `false_alarm_rate` of normal pictures is
    flagged.

    Of runs that look for damage `picture_threshold` is that of the most anomalous patch or tile of a whole picture,
    `picture_limits` those of pictures with more patches than the run's own, `blank` how much of a picture may be blank,
    `map_usual` what their anomaly maps have where a picture is as usual, and `map_level` what normal ones keep below; None
    where there are none.

    `usual` are the sizes of the run's own pictures (None in files of before), `size` (height,
    width) and `channels` are the network's input, `ingest` the options with which the run read its pictures, `object_detector`
    the identity of what found the persons in them, `version` the Winnow that wrote the file, `format` that of the file, `sha256` the
    sum of its content and `about` all that it says of itself.
    """

    def __init__(self, path: Path, session: Any, about: About, sha256: str = "") -> None:
        self.path, self.about, self.sha256 = path, about, sha256
        self.format, self.version = about.format, about.version
        self.classes = about.classes
        self.threshold = about.threshold
        self.false_alarm_rate = about.false_alarm_rate
        self.picture_threshold, self.picture_limits = about.picture_threshold, about.picture_limits
        self.blank, self.usual = about.blank, about.usual
        self.map_usual, self.map_level = about.map_usual, about.map_level
        self.size = about.size
        self.channels = about.channels
        self.ingest = about.ingest
        self.object_detector = about.object_detector
        self._session = session
        self._none = self._promised()

    @classmethod
    def open(cls, path: str | Path, *, threads: int = 0) -> Deployed:
        """Load a file of `winnow export` and run it once, so that its faults are reported now.

        `threads` is how many cores onnxruntime may use, and leaves at rest while it has nothing to do; 0: all that it likes.
        `ModelError` when there is no such file, when it is no ONNX file or a damaged one, when Winnow did not write it or
        wrote it in another format, or when its outputs are not those of its metadata; `MissingExtra` without onnxruntime.
        """
        path = Path(path)
        if not path.is_file():
            raise ModelError(f"There is no file {path}.", "Write one: winnow export --run RUN --to FILE.onnx")
        sha256 = _check_sum(path)  # before onnxruntime reads it: a damaged graph may do anything
        session = session_of(path, remedy=REMEDY, threads=threads, spin=not threads)
        return cls(path, session, _about(path, session.get_modelmeta().custom_metadata_map.get("winnow")), sha256)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Return the names of all that the file computes."""
        return tuple(self._none)

    @property
    def verdict_names(self) -> tuple[str, ...]:
        """Return the names of those outputs that verdicts are made of."""
        return tuple(name for name in self._none if name not in (MAP, DIRECTIONS))

    @property
    def drift_names(self) -> tuple[str, ...]:
        """Return the same, and that of the positions along directions, where the file has them."""
        return tuple(name for name in self._none if name != MAP)

    def limits(self, parts: np.ndarray) -> np.ndarray | None:
        """Return the thresholds (n,) of whole pictures with so many patches (n,), None where pictures are not cut."""
        if self.picture_limits is not None:
            return self.picture_limits.of(parts)
        return None if self.picture_threshold is None else np.full(len(parts), self.picture_threshold)

    def __call__(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        """Return the file's outputs for pictures uint8 (n, height, width, channels), float32.

        These are `probabilities` (n, classes), `score` (n,), `p_value` (n,) and `regions` (n, parts): -log p of each of
        `winnow.detect.parts.PARTS`, or those of them that the file has. Pictures
        of any size are scaled to `size` as Winnow scales them; for a run cut into patches they must be patches of `size`.
        `DataError` for an array of another shape or type, and when a result is not finite.
        """
        return self.outputs(pictures, self.verdict_names)

    def anomaly_maps(self, pictures: np.ndarray) -> np.ndarray:
        """Return the anomaly maps (n, rows, columns) float32 of the same pictures, coarser than they: `map_usual` where a
        picture is as usual, above `map_level` where it is damaged. `ModelError` when the file has none."""
        if self.map_level is None:
            raise ModelError(f"{self.path} has no anomaly maps.", NO_MAPS)
        return self.outputs(pictures, [MAP])[MAP]

    def outputs(self, pictures: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return some outputs for pictures, both checked: raises what calling the file raises."""
        pictures = np.asarray(pictures)
        self.check_pictures(pictures)
        found = self._run(pictures, names) if len(pictures) else {name: self._none[name] for name in names}
        for name, values in found.items():
            wrong = np.unique(np.nonzero(~np.isfinite(values))[0])
            if len(wrong):
                raise DataError(
                    f"{self.path}: the {name} of picture {wrong[0]} is not finite.", "Look at that picture."
                )
        return found

    def check_pictures(self, pictures: np.ndarray) -> None:
        """Raise `DataError` unless an array is of the shape and type that the file takes."""
        height, width = self.size if self.ingest.patches else ("height", "width")
        fits = pictures.dtype == np.uint8 and pictures.ndim == 4 and pictures.shape[3] == self.channels
        if not fits or 0 in pictures.shape[1:3] or (self.ingest.patches and pictures.shape[1:3] != self.size):
            raise DataError(
                f"Pictures must be uint8 of shape (n, {height}, {width}, {self.channels}), not {pictures.dtype} {pictures.shape}."
            )

    def _run(self, pictures: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        try:
            return dict(zip(names, self._session.run(list(names), {INPUT: pictures}, no_more()), strict=True))
        except Exception as error:  # onnxruntime raises classes of its own
            raise ModelError(f"{self.path} cannot be run ({in_one_line(error)}).", REMEDY) from error

    def _promised(self) -> dict[str, np.ndarray]:
        """Return the outputs for no picture at all; `ModelError` unless those for one are as in the metadata."""
        names = [one.name for one in self._session.get_outputs()]
        found = self._run(np.zeros((1, *self.size, self.channels), np.uint8), names)
        promised: dict[str, tuple[int, ...]] = {} if self.classes is None else {"probabilities": (1, len(self.classes))}
        promised |= {} if self.threshold is None else {"score": (1,), "p_value": (1,)}
        promised |= {REGIONS: (1, len(PARTS))} if self.about.regions else {}
        if self.about.calibration is not None and self.about.calibration.directions:
            promised[DIRECTIONS] = (1, self.about.calibration.directions)
        given = {name: np.shape(values) for name, values in found.items()}
        if self.map_level is not None:  # of which only the first of three dimensions is known
            promised |= {MAP: (1, *given[MAP][1:])} if len(given.get(MAP, ())) == 3 else {MAP: (1, 0, 0)}
        if given != promised:
            raise ModelError(
                f"{self.path} returns {_shapes(given)}, though its metadata promise {_shapes(promised)}.", REMEDY
            )
        return {name: values[:0] for name, values in found.items()}


def with_sum(content: bytes) -> bytes:
    """Return an ONNX file's bytes with their SHA-256 as the last entry of its metadata."""
    return content + SUM + hashlib.sha256(content).hexdigest().encode()


def _check_sum(path: Path) -> str:
    """Return the sum of a file; `ModelError` unless it is, to the byte, what `with_sum` returned."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            left = max(path.stat().st_size - SUM_BYTES, 0)
            while left and (part := file.read(min(left, 1 << 20))):
                digest.update(part)
                left -= len(part)
            end = file.read()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({reason(error)}).", REMEDY) from error
    if not end.startswith(SUM):
        raise ModelError(f"{path} was not written by winnow export, or it is not whole.", REMEDY)
    if end != SUM + digest.hexdigest().encode():
        raise ModelError(f"{path} is damaged: it is not what winnow export wrote.", REMEDY)
    return digest.hexdigest()


def _about(path: Path, text: str | None) -> About:
    if text is None:
        raise ModelError(f"{path} was not written by winnow export: its metadata have no 'winnow'.", REMEDY)
    try:
        content = json.loads(text)
        if content["format"] not in range(WITHOUT_MAPS, FORMAT + 1):
            raise ModelError(
                f"{path} is of format {content['format']}, this version of Winnow reads {FORMAT}.",
                f"Export the run again with this version, or install the one that wrote it ({content.get('version')}).",
            )
        return About.model_validate(content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:  # of JSON of another kind
        raise ModelError(f"{path}: its metadata under 'winnow' are damaged ({in_one_line(error)}).", REMEDY) from error


def _shapes(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
