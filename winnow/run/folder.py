"""The run folder: which options it has, which steps are done, and whether what they wrote still fits together."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from winnow.errors import RunError
from winnow.files import read_json, write_json
from winnow.options import Options, Recipe, Section
from winnow.version import __version__

BEFORE = {"train": "ingest", "encode": "train", "calibrate": "encode", "select": "calibrate", "classify": "calibrate"}
FOLDERS = {
    "ingest": "pool",
    "train": "model",
    "encode": "embeddings",
    "calibrate": "detector",
    "classify": "classifier",
}
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "Pillow", "av", "scikit-learn", "faiss-cpu", "onnxruntime")


class RunFolder:
    """A folder with `run.json` and what the steps wrote; every step reads and writes through it.

    `run.json` holds the recipe's name, every resolved option and who set it, the versions, and for each finished step a
    key: a hash of its options and of the key of the step before. A step is done when its key is the one its inputs give now.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.content = content
        self.trusted: set[str] = set()

    @classmethod
    def create(
        cls, path: str | Path, recipe: Recipe | None = None, name: str = "", overwrite: bool = False
    ) -> RunFolder:
        """A new run folder; `RunError` when one is there already, unless `overwrite` empties it first."""
        path = Path(path)
        if (path / "run.json").exists():
            empty = [entry.name for entry in path.iterdir()] == ["run.json"]  # the call that made it failed at once
            if not overwrite and not empty:
                raise RunError(
                    f"{path} already holds a run.",
                    "Add --resume to go on with it, --overwrite to begin anew, or choose another folder.",
                )
            shutil.rmtree(path)
        elif path.exists() and any(path.iterdir()):
            raise RunError(f"{path} is not empty and not a run of Winnow.", "Choose a new or an empty folder.")
        options = recipe.options if recipe else Options()
        origin = dict.fromkeys(recipe.set_by_recipe, "recipe") if recipe else {}
        run = cls(path, {"recipe": name, "options": options.model_dump(mode="json"), "set_by": origin, "steps": {}})
        run.save()
        return run

    @classmethod
    def open(cls, path: str | Path, trust: Sequence[str] = ()) -> RunFolder:
        """An existing run folder, `RunError` when there is none; `trust` names parts 'module:Class' it may load."""
        path = Path(path)
        if not (path / "run.json").exists():
            raise RunError(
                f"{path} is not a run folder: it has no run.json.", "Make one: winnow run RECIPE SOURCES --to FOLDER"
            )
        run = cls(path, read_json(path / "run.json"))
        run.trusted |= set(trust)
        return run

    def save(self) -> None:
        """Writes run.json, whole or not at all."""
        self.content["winnow"] = __version__
        self.content["versions"] = {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}}
        write_json(self.path / "run.json", self.content)

    @property
    def options(self) -> Options:
        """The resolved options."""
        return Options().updated(self.content["options"], f"{self.path / 'run.json'}")

    def update(self, given: dict[str, dict[str, Any]]) -> Options:
        """Takes over options the user gave (section to option to value) and returns the resolved ones."""
        options = self.options.updated(given, "Command line")
        self.trusted |= {value for values in given.values() for value in values.values() if _is_own(value)}
        self.content["options"] = options.model_dump(mode="json")
        self.content["set_by"].update(
            {f"{section}.{name}": "you" for section, values in given.items() for name in values}
        )
        self.save()
        return options

    def folder(self, step: str) -> Path:
        """Where a step writes."""
        return self.path / FOLDERS[step]

    def key(self, step: str) -> str:
        """The key a step has when it is done with the options and inputs of now."""
        options = self.options
        if step == "ingest":
            return self.result("ingest").get("fingerprint", "")
        used: dict[str, tuple[Section, ...]] = {
            "train": (options.model, options.train),
            "encode": (),
            "calibrate": (options.detect,),
            "select": (options.select,),
            "classify": (options.classify, *((options.tune,) if options.tune.fine_tune else ())),
        }
        shown = [section.model_dump(mode="json") for section in used[step]]
        before = self.key(BEFORE[step])
        return hashlib.sha256(json.dumps([step, shown, before], sort_keys=True).encode()).hexdigest()[:16]

    def done(self, step: str) -> bool:
        """Whether the step was finished with the options and inputs of now."""
        record = self.content["steps"].get(step)
        return record is not None and record["key"] == self.key(step)

    def require(self, step: str) -> None:
        """`RunError` unless the step, and all before it, are done and still fit together."""
        if step in BEFORE:
            self.require(BEFORE[step])
        if step not in self.content["steps"]:
            raise RunError(f"{self.path}: the step '{step}' is not done.", f"Run: winnow {step} --run {self.path}")
        if not self.done(step):
            raise RunError(
                f"{self.path}: what '{step}' wrote is older than the options or inputs of now.",
                f"Run it again: winnow {step} --run {self.path}",
            )

    def record(self, step: str, started: float, **result: Any) -> None:
        """Notes that a step is done, with its results; `started` is its `time.perf_counter()` at the beginning."""
        entry = {
            "result": result,
            "seconds": round(time.perf_counter() - started, 2),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.content["steps"][step] = {"key": "", **entry}
        self.content["steps"][step]["key"] = self.key(step)
        self.save()

    def result(self, step: str) -> dict[str, Any]:
        """What a step recorded, or nothing when it was not run."""
        return self.content["steps"].get(step, {}).get("result", {})


def _is_own(value: Any) -> bool:
    """Whether an option's value names a part of the user's own, 'module:Class'."""
    return isinstance(value, str) and ":" in value


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"
