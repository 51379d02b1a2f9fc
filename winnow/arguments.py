"""What the commands share: their parameters, and the options that the user gave.

Of Winnow the modules of commands import at their top what a help page shows: options and parameters. What does the work is
imported in functions, for a help page must not wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter, validators

from winnow.errors import OptionError
from winnow.options import (
    ClassifyOptions,
    DetectOptions,
    IngestOptions,
    ModelOptions,
    ScoreOptions,
    Section,
    SegmentOptions,
    SelectOptions,
    TrainOptions,
    TuneOptions,
)

if TYPE_CHECKING:
    from winnow.run.folder import RunFolder
    from winnow.scale.shards import Share


def _runner(_: Any, value: str) -> None:
    if value != "local":  # the others are heavy to import
        from winnow.scale.runners import runner_of

        runner_of(value)


def _on_this_disk(_: Any, value: Any) -> None:
    from winnow.run.working_copy import on_this_disk

    for path in value if isinstance(value, list) else [value]:
        if isinstance(path, Path):
            on_this_disk(path)


PANELS = {
    title: Group.create_ordered(title)
    for title in (
        "Reading",
        "Model",
        "Training",
        "Anomaly score and threshold",
        "Mode",
        "Segments of a video",
        "Choice of pictures to label",
        "Classifier",
        "Fine-tuning",
        "Beyond one process",
    )
}
"""The groups of flags on a help page, in its order."""
THE_RUN = "The run folder, or its address s3://bucket/run."
RunPath = Annotated[str, Parameter(name=("--run", "--to"), metavar="RUN", help=THE_RUN)]
JudgedRun = Annotated[str, Parameter(name="--run", metavar="RUN", help=THE_RUN)]
"""The run of a command whose `--to` says where results go."""
RunOrFile = Annotated[str | None, Parameter(metavar="RUN")]
"""The run of a command that takes an exported file as well."""
File = Annotated[str | None, Parameter(metavar="FILE")]
Folder = Annotated[str | None, Parameter(metavar="FOLDER")]
"""A file and a folder that results go to, or their addresses in a bucket."""
SOURCES = "Folders, pictures, videos, globs, lists (.txt, .csv, .parquet), s3:// addresses, mixed."
Sources = Annotated[str, Parameter(required=True, help=SOURCES)]
"""Each of several sources, of which a call must give one or more."""
LocalPath = Annotated[Path, Parameter(validator=_on_this_disk)]
Resume = Annotated[
    bool, Parameter(help="Go on where an interrupted call stopped; finished steps are left as they are.", negative="")
]
Trust = Annotated[
    tuple[str, ...],
    Parameter(
        name="--trust",
        help="A part of your own, 'module:Class', or an address, s3://..., that the run names and may use.",
    ),
]
Runner = Annotated[
    str,
    Parameter(
        help="Who does the work: 'local' (this process), 'processes', 'ray' (a cluster it starts here), 'ray://HOST:PORT' or your own, "
        "'module:name'.",
        group=PANELS["Beyond one process"],
        validator=_runner,
    ),
]
Workers = Annotated[
    int,
    Parameter(
        help="Workers of the runner [default: 0, one a core].",
        group=PANELS["Beyond one process"],
        validator=validators.Number(gte=0),
    ),
]
ShardOf = Annotated[
    str | None,
    Parameter(
        name="--shard",
        metavar="I/N",
        help="Do one machine's share alone, I/N with I from 0, or /N in an array job (Slurm, Kubernetes, AWS Batch); then: winnow join.",
        group=PANELS["Beyond one process"],
        allow_leading_hyphen=True,  # so that what is said of -1/3 is what is wrong with it
    ),
]
MaxRefused = Annotated[
    float | None,
    Parameter(
        help="Share of the files that may be refused before it is an error, in this call alone [default: that of the run].",
        validator=validators.Number(gte=0, lte=1),
    ),
]
Files = Annotated[list[Path] | None, Parameter(consume_multiple=True, validator=_on_this_disk)]
Ingest = Annotated[IngestOptions | None, Parameter(name="*", group=PANELS["Reading"])]
Model = Annotated[ModelOptions | None, Parameter(name="*", group=PANELS["Model"])]
Train = Annotated[TrainOptions | None, Parameter(name="*", group=PANELS["Training"])]
Detect = Annotated[DetectOptions | None, Parameter(name="*", group=PANELS["Anomaly score and threshold"])]
Score = Annotated[ScoreOptions | None, Parameter(name="*", group=PANELS["Mode"])]
Select = Annotated[SelectOptions | None, Parameter(name="*", group=PANELS["Choice of pictures to label"])]
Classify = Annotated[ClassifyOptions | None, Parameter(name="*", group=PANELS["Classifier"])]
Tune = Annotated[TuneOptions | None, Parameter(name="*", group=PANELS["Fine-tuning"])]
Segments = Annotated[SegmentOptions | None, Parameter(name="*", group=PANELS["Segments of a video"])]


def say(text: object) -> None:
    """Print, with the addresses of runs in buckets in the place of their working copies, and how files are reached there."""
    from winnow.run.working_copy import advised

    print(advised(str(text)), flush=True)


def open_run(run: str, trust: tuple[str, ...] = ()) -> RunFolder:
    """Return the run that a command goes on with."""
    from winnow.run.folder import RunFolder

    return RunFolder.open(run, trust)


def begin_run(run: str, recipe: str = "", **more: Any) -> RunFolder:
    """Return the run that a command goes on with or, where there is none, begins: `RunFolder.begun`."""
    from winnow.run.folder import RunFolder

    return RunFolder.begun(run, recipe, **more)


def given_options(**sections: Section | None) -> dict[str, dict[str, Any]]:
    """Return what the user gave, as section to option to value."""
    return {
        name: section.model_dump(mode="json", include=section.model_fields_set)
        for name, section in sections.items()
        if section is not None and section.model_fields_set
    }


def flags_of(section: Section | None) -> str:
    """Return the flags of a section that the user gave, as he wrote them."""
    given = [] if section is None else sorted(section.model_fields_set)
    return ", ".join(f"--{name.replace('_', '-')}" for name in given)


def judging(
    run: str,
    trust: tuple[str, ...],
    score: ScoreOptions | None,
    max_refused: float | None = None,
    **sections: Section | None,
) -> RunFolder:
    """Return the run with what the user gave for this call alone: judging stores nothing."""
    given = given_options(score=score, **sections)
    more = {} if max_refused is None else {"ingest": {"max_refused": max_refused}}
    return open_run(run, trust).with_options({**given, **more})


def refuse_idle(chosen: str, flag: str, value: Any, remedy: str = "") -> None:
    """Raise `OptionError` when an option was given that has nothing to do with the chosen one."""
    if value:
        raise OptionError(f"{flag} has nothing to do with {chosen}.", remedy or f"Leave {flag} out.")


def share_of(text: str, runner: str) -> Share:
    """Return one machine's share of the work, which one process makes: `OptionError` where a runner is to make it."""
    refuse_idle(
        "--shard", "--runner", runner != "local", "Leave it out, and give each process of a machine a share of its own."
    )
    from winnow.scale.shards import Share

    return Share.read(text)


def named_sources(flag: str, entries: Sequence[str]) -> dict[str, list[str]]:
    """Return the sources of each name from entries NAME=SOURCE; `OptionError` for another form."""
    groups: dict[str, list[str]] = {}
    for entry in entries:
        name, equals, source = entry.partition("=")
        if not (name and equals and source):
            raise OptionError(
                f"{flag} '{entry}' is not of the form NAME=SOURCE.",
                f"Give, for example: {flag} adverts=clips/adverts",
            )
        groups.setdefault(name, []).append(source)
    return groups
