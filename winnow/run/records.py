"""What run.json and the records of the steps hold: read through models of their own, so that a damaged one is a sentence."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from winnow.data.storage import UNSURE, digest, stat
from winnow.errors import Damaged, InputError, RunError
from winnow.files import read_json, sealed, sha256, unsealed, write_json
from winnow.options import Options
from winnow.run.recipe import Recipe
from winnow.stages import command_of
from winnow.version import __version__

FORMAT = 2
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "Pillow", "av", "scikit-learn", "faiss-cpu", "onnxruntime")
SMALL = 1 << 20  # bytes below which a file's SHA-256 costs nothing
BY_HAND = (
    'Restore it from a copy. If you have changed it by hand and mean it, remove its line "seal"; options are better changed by '
    "giving them to the command that uses them."
)
LOOSE = {"checkpoints", "grids", "audit.csv", "review.csv", "pool/quarantine.csv"}
"""Files and folders that may change or go without a step being less done: a person fills in audit.csv and review.csv, and no step
reads the others."""


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Asked(_Kept):
    """What a run was asked for (run.json): every option resolved, the seed among them, who set it, and the sources."""

    format: int
    recipe: str
    why: str = ""
    options: Options
    set_by: dict[str, str]
    sources: list[str]

    @classmethod
    def of(cls, recipe: Recipe | None, name: str, why: str = "") -> Asked:
        """Return what a recipe asks for, the defaults without one; `why` says why it was taken, where there was a choice."""
        origin = dict.fromkeys(sorted(recipe.set_by_recipe), "recipe") if recipe else {}
        return cls(
            format=FORMAT,
            recipe=name,
            why=why,
            options=recipe.options if recipe else Options(),
            set_by=origin,
            sources=[],
        )

    @classmethod
    def read(cls, path: Path) -> Asked:
        """Return what run.json holds; `RunError` when another version wrote it, `Damaged` when it is not what was written."""
        remedy = "Restore it from a copy, or make the run anew: winnow run RECIPE SOURCES --to FOLDER"
        content = read_json(path)
        found = content.get("format", 1 if "steps" in content else None) if isinstance(content, dict) else None
        if isinstance(found, int) and found != FORMAT:
            raise RunError(f"{path} was written in format {found}, and this version reads {FORMAT}.",
                           "Make the run anew in another folder, or use the version of Winnow that wrote it.")  # fmt: skip
        if isinstance(content, dict) and "seal" in content:  # without one it was written by hand
            content = unsealed(path, content, BY_HAND)
        return _read(cls, path, content, remedy)

    def write(self, path: Path) -> None:
        """Write run.json, with a seal."""
        write_json(path, sealed(self.model_dump(mode="json")))


class Artefact(_Kept):
    """A file that a step wrote: its size and SHA-256."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Artefact:
        """Return what a file is now."""
        return cls(bytes=path.stat().st_size, sha256=sha256(path))

    def is_at(self, path: Path) -> bool:
        """Return whether the file is there and whole; a large one, which is verified when it is read, by its size."""
        if not path.is_file() or path.stat().st_size != self.bytes:
            return False
        return self.bytes >= SMALL or sha256(path) == self.sha256


class Content(_Kept):
    """The content of a file of the user's that a step read: its mark, see `winnow.data.storage.Entry`, and its SHA-256."""

    mark: str
    sha256: str


class Record(_Kept):
    """What a finished step left (steps/NAME.json): the key of all it read, its result, and the files that it vouches for."""

    key: str
    result: dict[str, Any]
    versions: dict[str, str]
    seconds: float
    finished: str
    artefacts: dict[str, Artefact] = Field(description="By path, relative to the run folder.")
    contents: dict[str, Content] = Field({}, description="Files that options name, such as weights, by their paths.")

    @classmethod
    def read(cls, path: Path) -> Record:
        """Return a step's record; `Damaged` when it is not what was written."""
        again = f"Run the step again: {command_of(path.stem, path.parent.parent)}"
        return _read(cls, path, unsealed(path, read_json(path), again), again)

    def text(self) -> str:
        """Return the record as readable JSON, with a seal."""
        return json.dumps(sealed(self.model_dump(mode="json")), indent=1, ensure_ascii=False) + "\n"


Model = TypeVar("Model", bound=_Kept)


def _read(model: type[Model], path: Path, content: Any, remedy: str) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        value = f" {first['input']!r}"[:60] if isinstance(first["input"], str | int | float) else ""
        raise Damaged(f"{path} is not what Winnow writes ({where}{value}: {first['msg'].lower()}).", remedy) from None


def contents_of(sections: Iterable[BaseModel], known: dict[str, Content]) -> dict[str, Content]:
    """Return the content, now, of every file that options name, by its path; what is `known` of it where the file is gone."""
    named = [value for section in sections for _, value in section if isinstance(value, Path)]
    found = {str(path): _content_of(path, known.get(str(path))) for path in named}
    return {path: content for path, content in found.items() if content is not None}


def _content_of(path: Path, known: Content | None) -> Content | None:
    """Return the content of a file: what is `known` of it where its mark is the same or it is gone."""
    try:
        mark = stat(str(path)).mark
    except InputError:
        return known
    if known is not None and known.mark == mark and not mark.endswith(UNSURE):
        return known
    return Content(mark=mark, sha256=_digest(str(path), mark))


@cache
def _digest(path: str, mark: str) -> str:
    return digest(path)


def artefacts_of(root: Path) -> dict[str, Artefact]:
    """Return the files below a folder that a step vouches for, by their relative paths."""
    found = sorted(path for path in root.rglob("*") if path.is_file())
    names = {path: path.relative_to(root) for path in found}
    return {name.as_posix(): Artefact.of(path) for path, name in names.items() if not LOOSE & set(name.parts)}


def versions() -> dict[str, str]:
    """Return the versions, here and now, of what results depend on."""
    return {"winnow": __version__, "python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}}


def instructions() -> dict[str, str]:
    """Return the instruction set that torch computes with on this processor, as a version; nothing where torch is not loaded.

    Embeddings of torch's differ by rounding between two of them.
    """
    if "torch" not in sys.modules:
        return {}
    own, limit = sys.modules["torch"].backends.cpu.get_cpu_capability(), os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    return {"instructions": f"{own}, oneDNN at most {limit}" if limit else own}


@cache
def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"
