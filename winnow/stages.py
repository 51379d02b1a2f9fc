"""The steps of a run in one table: from it come the commands, the order of `winnow run`, and what makes a step out of date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow.files import quoted
from winnow.results import Calibrated, Classified, Encoded, Ingested, Selected, Trained, WeightSearch

Wanted = Callable[[Any], bool]


def _always(options: Any) -> bool:
    return True


def _never(options: Any) -> bool:
    return False


@dataclass(frozen=True)
class Stage:
    """A step: its `function` 'module:name', called with the run folder.

    `needs` is the step whose results it reads, `places` the files and folders of the run that it replaces, its own folder
    first, `options` the sections of options that it depends on. `result` is the dataclass it returns and records. `wanted`
    says by the options whether `winnow run` does it; `keep` names what of a killed call the next one goes on with (`new`:
    what was staged; `scratch`), with --resume or (`goes_on`) always. A step that grows its folder `in_place` replaces
    nothing. `reads_labels`: the labels that the sources came with count too. `command` is what follows `winnow` on the command
    line, where that is not the name.
    """

    name: str
    function: str
    result: type[Any]
    needs: str = ""
    places: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    wanted: Wanted = _never
    keep: tuple[str, ...] = ()
    goes_on: bool = False
    in_place: bool = False
    reads_labels: bool = False
    command: str = ""

    @property
    def replaced(self) -> tuple[str, ...]:
        """Return what a finished step puts in the place of the old."""
        return () if self.in_place else self.places

    def __call__(self, run: Any, *arguments: Any, **options: Any) -> Any:
        """Do the step in a run folder."""
        from importlib import import_module

        from winnow.plugins import load

        module, _, name = self.function.partition(":")
        # Of our own steps a missing library shall be named, which `load` takes for a fault of the part.
        own = module.startswith("winnow.")
        function = getattr(import_module(module), name) if own else load(self.function, "step")
        return function(run, *arguments, **options)


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "ingest",
            "winnow.steps.ingest:ingest",
            Ingested,
            places=("pool",),
            wanted=_always,
            in_place=True,
            command="ingest SOURCES",
        ),
        Stage(
            "train",
            "winnow.steps.train:train",
            Trained,
            needs="ingest",
            places=("model",),
            options=("model", "train"),
            wanted=_always,
            keep=("new",),
        ),
        Stage(
            "encode",
            "winnow.steps.encode:encode",
            Encoded,
            needs="train",
            places=("embeddings",),
            wanted=_always,
        ),
        Stage(
            "calibrate",
            "winnow.steps.calibrate:calibrate",
            Calibrated,
            needs="encode",
            places=("detector", "review.csv"),
            options=("detect",),
            wanted=_always,
        ),
        Stage(
            "select",
            "winnow.steps.select:select",
            Selected,
            needs="calibrate",
            places=(
                "selection.csv",
                "selection.json",
                "outliers.csv",
                "selection.png",
                "selection-map.png",
                "outliers.png",
                "selection-before.csv",
            ),
            options=("select",),
            wanted=lambda options: bool(options.select.number),
        ),
        Stage(
            "classify",
            "winnow.steps.classify:classify",
            Classified,
            needs="calibrate",
            places=("classifier",),
            options=("classify", "tune"),
            wanted=lambda options: bool(options.classify.folders),
            keep=("scratch",),
            goes_on=True,
            reads_labels=True,
        ),
        Stage(
            "weight",
            "winnow.steps.weight:search_weight",
            WeightSearch,
            needs="ingest",
            places=("weight/weight.json", "weight/weight.png"),
            command="lambda",
        ),
    )
}
"""By name, in the order of `winnow run`. A step of one's own joins them while it is done, see `winnow.run.own_step`."""


def command_of(step: str, run: str | Path) -> str:
    """Return the command that does a step in a run folder."""
    command = (
        (STAGES[step].command or step) if step in STAGES else "step module:NAME"
    )  # one of one's own is known in its call
    return f"winnow {command} --run {quoted(run)}"
