"""A step of one's own: an object `winnow.stages.Stage` in a module of the user's or of an installed package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from winnow.errors import OptionError
from winnow.plugins import find
from winnow.run.folder import RunFolder
from winnow.run.places import OWN
from winnow.stages import STAGES, Stage, command_of

NAME = re.compile(r"[a-z][a-z0-9_-]*")


def do_own_step(run: RunFolder, name: str, *, resume: bool = False) -> Any:
    """Do the step 'module:NAME', or that of an installed package, in a run folder and return its result.

    Its function is called as those of Winnow's steps are: with the run folder and `resume`. Raises `OptionError` when there is
    no such step, when it collides with one of Winnow's, and when its function does not return its result.
    """
    with _among_the_steps(find_own_step(name)) as stage:
        found = stage(run, resume=resume)
    if not isinstance(found, stage.result):
        raise OptionError(
            f"The function '{stage.function}' returned {type(found).__name__}, not {stage.result.__name__}.",
            f"Let it end with: return run.result({stage.result.__name__})",
        )
    return found


def find_own_step(name: str) -> Stage:
    """Return the step 'module:NAME', or that of an installed package; `OptionError` when it cannot be one."""
    stage = find("step", name, STAGES)
    if not isinstance(stage, Stage):
        raise OptionError(f"'{name}' is not a step.", "Make it an object of the class winnow.stages.Stage.")
    if name in STAGES:
        raise OptionError(f"'{name}' is a step of Winnow's.", f"Run: {command_of(name, 'RUN')}")
    if stage.name in STAGES or stage.name == "run":
        raise OptionError(f"'{name}': Winnow has a step '{stage.name}' itself.", "Give yours another name.")
    if not NAME.fullmatch(stage.name):
        raise OptionError(
            f"'{name}': a step cannot be called '{stage.name}'.", "Use small letters, digits, '-' and '_' alone."
        )
    if stage.needs not in STAGES:
        raise OptionError(
            f"'{name}' needs '{stage.needs}', which is no step of Winnow's.", f"Give one of: {', '.join(STAGES)}."
        )
    for place in stage.places:
        _check_place(name, place)
    if not is_dataclass(stage.result) or getattr(stage.result, "step", "") != stage.name:
        raise OptionError(
            f"'{name}': {stage.result!r} is not a dataclass for the results of '{stage.name}'.",
            f'Write in it: step: ClassVar[str] = "{stage.name}"',
        )
    return replace(stage, command=f"step {name}")


def _check_place(name: str, place: str) -> None:
    """Raise `OptionError` unless a place lies in the run folder and is none of Winnow's own."""
    parts = PurePosixPath(place).parts
    if not parts or parts[0] in OWN or parts[0].startswith((".", "/")) or ".." in parts:
        raise OptionError(
            f"'{name}' cannot write '{place}' in a run folder.",
            "Choose a file or folder that has no name of Winnow's own, relative to the run folder.",
        )


@contextmanager
def _among_the_steps(stage: Stage) -> Iterator[Stage]:
    """Have a step in the table of steps for a while."""
    STAGES[stage.name] = stage
    try:
        yield stage
    finally:
        del STAGES[stage.name]
