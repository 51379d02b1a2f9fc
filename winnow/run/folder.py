"""The run folder: what it was asked for, which steps are done, and whether what they wrote still fits together."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from winnow.errors import Damaged, Interrupted, OptionError, RunError
from winnow.files import quoted, read_sealed, told, verify_once
from winnow.options import Options
from winnow.results import from_json
from winnow.run.begin import check_free, clear, has_records
from winnow.run.commit import RECORDS, STAGING, Staged, drop, locked, recover, recover_all, remove
from winnow.run.places import EARLY
from winnow.run.recipe import Recipe, choose_recipe, load_recipe, own_parts
from winnow.run.records import LOOSE, Asked, Content, Record, contents_of
from winnow.run.unfinished import pushed
from winnow.run.working import Working
from winnow.run.working_copy import local
from winnow.stages import STAGES, command_of

Kind = TypeVar("Kind")


class RunFolder:
    """A folder with `run.json`, a record a step in `steps/`, and what the steps wrote; every step works through it.

    Options are held in memory until a step that has checked everything begins (`working`); only then are they stored, and
    taken back when that step fails. A step is done when its record has the key of now, a hash of all that the step reads,
    and every file that the record names is there and whole. Reading never writes, so that a run can be judged by where it
    cannot be written.
    """

    def __init__(self, path: Path, asked: Asked, is_new: bool = False, overwrite: bool = False) -> None:
        self.path = path
        self.asked = asked
        self.is_new, self.overwrite = is_new, overwrite
        self.given: dict[str, dict[str, Any]] = {}
        self.trusted: set[str] = set()

    @classmethod
    def create(
        cls, path: str | Path, recipe: Recipe | None = None, name: str = "", overwrite: bool = False, why: str = ""
    ) -> RunFolder:
        """Return a new run, of which nothing is written before its first step begins.

        `path` may be an address s3://bucket/run, as in `open`. A folder that holds no finished step is begun anew, and with
        `overwrite` any run without labels. Raises `RunError` for a run that is there already, labels, and a folder of other things.
        """
        path = local(path)
        with told(path):
            if path.exists() and not path.is_dir():
                raise OptionError(f"--to {path} is a file, not a folder.", "Choose a new or an empty folder.")
            if path.is_dir():
                check_free(path, overwrite)
        run = cls(path, Asked.of(recipe, name, why), is_new=True, overwrite=overwrite)
        if recipe:
            run._trust(recipe)
        return run

    @classmethod
    def open(cls, path: str | Path, trust: Sequence[str] = ()) -> RunFolder:
        """Return an existing run; `RunError` when there is none; `trust` names parts 'module:Class' it may load.

        What a step was killed at while it put new results in the place of old ones is put back first.
        """
        path = local(path)
        if not os.path.exists(path / "run.json"):  # which, unlike that of pathlib, takes names that are too long
            raise RunError(
                f"{path} is not a run folder: it has no run.json.", "Make one: winnow run RECIPE SOURCES --to FOLDER"
            )
        run = cls(path, Asked.read(path / "run.json"))
        recover_all(path)
        run.trusted |= set(trust)
        return run

    @classmethod
    def begun(
        cls,
        path: str | Path,
        recipe: str = "",
        default: str = "",
        *,
        given: dict[str, dict[str, Any]] | None = None,
        from_scratch: bool = False,
    ) -> RunFolder:
        """Return the run in a folder, or a new one of a recipe, else of the `default` one, where there is none.

        `given` are the user's options and `from_scratch` his wish, where a recipe leaves a choice (`choose_recipe`). Raises
        `OptionError` for a recipe that is not known, and for another than the run was made with.
        """
        path = local(path)
        if cls.is_begun(path):
            run = cls.open(path)
            if recipe:
                loaded = load_recipe(recipe)
                if run.recipe not in (recipe, loaded.without_weights, loaded.for_strips):
                    raise OptionError(
                        f"{path} was made with the recipe '{run.recipe}', not '{recipe}'.",
                        "Choose another folder, or leave the recipe out.",
                    )
                run._trust(loaded)
            return run
        if not (recipe or default):
            return cls.create(path)
        chosen = choose_recipe(recipe or default, given or {}, from_scratch=from_scratch)
        return cls.create(path, chosen.recipe, chosen.name, why=chosen.why)

    @staticmethod
    def is_begun(path: str | Path) -> bool:
        """Return whether a folder holds a run, finished or not, that can be gone on with."""
        path = local(path)
        return os.path.exists(path / "run.json") and (has_records(path) or (path / "run.json").stat().st_size > 0)

    def _trust(self, recipe: Recipe) -> None:
        """Count the parts of a recipe that this call names as named themselves."""
        self.trusted |= own_parts(recipe.options.model_dump())

    # ---- what was asked

    @property
    def recipe(self) -> str:
        """Return the name of the recipe that the run was made with, nothing without one."""
        return self.asked.recipe

    @property
    def options(self) -> Options:
        """Return the resolved options, those given in this call among them."""
        return self.asked.options.updated(self.given, "Command line")

    @property
    def set_by(self) -> dict[str, str]:
        """Return who set each option that is not a default: 'recipe' or 'you', by 'section.name'."""
        return {**self.asked.set_by, **dict.fromkeys(_names(self.given), "you")}

    def update(self, given: dict[str, dict[str, Any]]) -> Options:
        """Take options that the user gave (section to option to value) and return the resolved ones; nothing is stored yet."""
        options = self.options.updated(given, "Command line")
        self.trusted |= own_parts(given)
        self.given = {name: {**self.given.get(name, {}), **given.get(name, {})} for name in {**self.given, **given}}
        return options

    def store(self, given: dict[str, dict[str, Any]]) -> None:
        """Store the options given, such as those that a step at work has chosen for the run."""
        self.update(given)
        (self.path / STAGING).mkdir(exist_ok=True)
        self._store(self.asked, ())

    @contextmanager
    def trying(self, given: dict[str, dict[str, Any]]) -> Iterator[None]:
        """Take options for a step, and forget them when it fails or is stopped: in a notebook the run goes on being used."""
        before = self.given
        self.update(given)
        try:
            yield
        except BaseException:
            self.given = before
            raise

    def with_options(self, given: dict[str, dict[str, Any]]) -> RunFolder:
        """Return this run with other options for one call that judges by it: they are never stored."""
        other = RunFolder(self.path, self.asked)
        other.given, other.trusted = self.given, set(self.trusted)
        other.update(given)
        return other

    # ---- what is done

    def folder(self, step: str) -> Path:
        """Return where what a step wrote is."""
        return self.path / STAGES[step].places[0]

    def record(self, step: str) -> Record | None:
        """Return what a finished step left, None when it is not finished."""
        path = self.path / RECORDS / f"{step}.json"
        return Record.read(path) if path.exists() else None

    def result(self, kind: type[Kind]) -> Kind:
        """Return what a finished step recorded, by the class of its result; `RunError` when the step is not finished.

        `Damaged` when the record does not hold such a result.
        """
        step: str = kind.step  # type: ignore[attr-defined]
        record = self.record(step)
        if record is None:
            raise RunError(f"{self.path}: the step '{step}' is not done.", f"Run: {command_of(step, self.path)}")
        try:
            return from_json(kind, record.result)
        except ValidationError as error:
            raise Damaged(
                f"{self.path / RECORDS / f'{step}.json'} holds no result of '{step}' ({error.errors()[0]['msg'].lower()}).",
                f"Run the step again: {command_of(step, self.path)}",
            ) from None

    def key(self, step: str) -> str:
        """Return the key that a step has when it is done with the options and inputs of now."""
        pool = self.record("ingest")
        return self._key(step, pool.result if pool else {})

    def _key(self, step: str, pool: dict[str, Any]) -> str:
        if step == "ingest":
            return _hash([pool.get("fingerprint"), pool.get("table_fingerprint")])
        stage, options = STAGES[step], self.options
        shown = [getattr(options, section).identity() for section in stage.options]
        labels = pool.get("label_fingerprint") if stage.reads_labels else None  # for a person's: winnow.run.current
        made = {} if stage.needs == "ingest" else self.sums(stage.needs)  # by the same options, on another machine
        contents = {name: content.sha256 for name, content in self.contents(step).items()}
        parts = [step, shown, labels, made, contents, self._key(stage.needs, pool)]
        if "review.csv" in stage.places and (self.path / "review.csv").exists():
            from winnow.run.review import left_out

            parts += left_out(self.path)
        return _hash(parts)

    def contents(self, step: str) -> dict[str, Content]:
        """Return the content of every file that a step's options name, by its path; that which was recorded where the file is gone."""
        known: dict[str, Content] = {}
        with suppress(RunError):  # of a damaged record, which the step that is done again replaces
            known = record.contents if (record := self.record(step)) else {}
        return contents_of([getattr(self.options, section) for section in STAGES[step].options], known)

    def fits(self, step: str) -> bool:
        """Return whether the step was finished with the options and inputs of now."""
        record = self.record(step)
        return record is not None and record.key == self.key(step)

    def done(self, step: str) -> bool:
        """Return whether the step was finished with the options and inputs of now, and all that it wrote is there and whole."""
        record = self.record(step)
        return record is not None and record.key == self.key(step) and self._is_whole(record)

    def _is_whole(self, record: Record) -> bool:
        return all(artefact.is_at(self.path / name) for name, artefact in record.artefacts.items() if name not in LOOSE)

    def verified(self, step: str, path: Path) -> Path:
        """Return the path of a file that a finished step wrote; `Damaged` when it is not what the step's record says."""
        record = self.record(step)
        known = record.artefacts.get(path.relative_to(self.path).as_posix()) if record else None
        if known is not None and path.exists():
            verify_once(path, known.sha256, f"Restore it, or run the step again: {command_of(step, self.path)}")
        return path

    def about(self, step: str) -> dict[str, Any]:
        """Return what the JSON file of a step's folder says; the files that it vouches for are not verified."""
        path = self.folder(step) / f"{self.folder(step).name}.json"
        return read_sealed(path, step, f"Run: {command_of(step, self.path)}", verified=False)

    def sums(self, step: str) -> dict[str, str]:
        """Return the SHA-256 of the files that the JSON file of a step's folder vouches for, by their names in it; none without it."""
        exists = (self.folder(step) / f"{self.folder(step).name}.json").exists()
        sums: dict[str, str] = self.about(step)["sha256"] if exists else {}
        return sums

    def require(self, step: str) -> None:
        """Raise `RunError` unless the step, and all before it, are finished and still fit together."""
        if STAGES[step].needs:
            self.require(STAGES[step].needs)
        record = self.record(step)
        if record is None:
            raise RunError(f"{self.path}: the step '{step}' is not done.", f"Run: {command_of(step, self.path)}")
        if step == "ingest" and not self._is_whole(record):
            raise RunError(
                f"{self.path}: the pool is not the one that 'ingest' finished.",
                f"Run it again, it goes on where it stopped: winnow ingest SOURCES --run {quoted(self.path)}",
            )
        if not self.fits(step):
            raise RunError(
                f"{self.path}: what '{step}' wrote is older than the options or inputs of now.",
                f"Run it again: {command_of(step, self.path)}",
            )

    # ---- a step at work

    @contextmanager
    def working(self, step: str, *, resume: bool = False, sources: Sequence[str] = ()) -> Iterator[Working]:
        """Do a step: store the options given, stage what it writes, and put all in the place of the old at the end.

        Without `resume` a training begins anew. Whatever is raised but `Interrupted` and Ctrl-C leaves run.json, records and
        files as they were; a folder made for a run that then fails is removed. Raises `RunError` when another process does
        the same step, and for what cannot be written. A run in a bucket is pushed at the end.
        """
        with pushed(self.path, step, resume=resume), self._working(step, resume=resume, sources=sources) as work:
            yield work

    @contextmanager
    def _working(self, step: str, *, resume: bool, sources: Sequence[str]) -> Iterator[Working]:
        """Do a step in the folder on this disk."""
        stage = STAGES[step]
        made = [path for path in (self.path, *self.path.parents) if not path.exists()]
        staging = self.path / STAGING
        with told(self.path), self._nothing_left(made):
            if self.is_new:
                check_free(self.path, self.overwrite, step)
            staging.mkdir(parents=True, exist_ok=True)
            with locked(staging / f"{step}.lock", f"The step '{step}' of {self.path}"):
                recover(self.path, step)
                for left in staging.glob(f".{step}.json.*.tmp"):
                    left.unlink()
                before = None if self.is_new else Asked.read(self.path / "run.json")
                keep = stage.keep if resume or stage.goes_on else ()
                try:
                    if self.is_new:
                        clear(self.path, step)
                    self._store(before or self.asked, sources)
                    staged = Staged(self.path, step, self.key(stage.needs) if stage.needs else "", keep)
                    # The key of an ingest is made of its own result, which has no record yet.
                    work = Working(
                        self.path,
                        staged,
                        lambda result: self._key(step, result) if step == "ingest" else self.key(step),
                        lambda: self.contents(step),
                    )
                    yield work
                    work.commit()
                except Interrupted:
                    raise
                except Exception:
                    self._fail(step, before, made)
                    raise

    @contextmanager
    def _nothing_left(self, made: Sequence[Path]) -> Iterator[None]:
        """Remove what was made for a new run where not even its lock could be written."""
        try:
            yield
        except OSError:
            if self.is_new:
                self._take_back(None, made)
            raise

    def _fail(self, step: str, before: Asked | None, made: Sequence[Path]) -> None:
        """Make all as it was before a step; what a later call could go on with stays, but for where the disk is full."""
        drop(self.path, step)
        try:
            self._take_back(before, made)
        except RunError:
            remove(self.path / STAGING / step)
            self._take_back(before, made)

    def _store(self, before: Asked, sources: Sequence[str]) -> None:
        """Write run.json: what it holds, with the options and sources of this call."""
        with locked(self.path / STAGING / "run.lock", f"{self.path / 'run.json'}", wait=True):
            for path in self.path.glob(".run.json.*.tmp"):
                path.unlink()
            path = self.path / "run.json"
            held = Asked.read(path) if path.exists() else before
            added = [source for source in sources if source not in held.sources]
            given = dict.fromkeys(_names(self.given), "you")
            options = held.options.updated(self.given, "Command line")
            self.asked = held.model_copy(
                update={"options": options, "set_by": {**held.set_by, **given}, "sources": [*held.sources, *added]}
            )
            if not path.exists() or self.asked != held:
                self.asked.write(path)
            self.is_new = False

    def _take_back(self, before: Asked | None, made: Sequence[Path]) -> None:
        """Make run.json what it was but for what another process has changed since; remove a run that came to nothing."""
        if before is None:
            self.is_new = True
            if not any(self.folder("ingest").glob("pixels-*.npy")):  # hours of decoding may be in them
                for name in EARLY:
                    remove(self.path / name)
                for path in made:
                    with suppress(OSError):
                        path.rmdir()
            return
        with locked(self.path / STAGING / "run.lock", f"{self.path / 'run.json'}", wait=True):
            now = Asked.read(self.path / "run.json")
            old = before.options.model_dump(mode="json")
            values = {section: {name: old[section][name] for name in given} for section, given in self.given.items()}
            names = set(_names(self.given))
            set_by = {name: who for name, who in now.set_by.items() if name not in names}
            set_by |= {name: who for name, who in before.set_by.items() if name in names}
            added = set(self.asked.sources) - set(before.sources)
            self.asked = now.model_copy(
                update={
                    "options": now.options.updated(values, str(self.path / "run.json")),
                    "set_by": {name: set_by[name] for name in [*before.set_by, *set_by] if name in set_by},
                    "sources": [source for source in now.sources if source not in added],
                }
            )
            if self.asked != now:
                self.asked.write(self.path / "run.json")


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _names(given: dict[str, dict[str, Any]]) -> list[str]:
    return [f"{section}.{name}" for section, values in given.items() for name in values]
