"""The commands: one a step. They turn flags into options, call the step and print; `winnow.cli` lists them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from winnow import show, torchrun
from winnow.arguments import (
    SOURCES,
    Classify,
    Detect,
    Files,
    Ingest,
    LocalPath,
    MaxRefused,
    Model,
    Resume,
    Runner,
    RunPath,
    Score,
    Select,
    ShardOf,
    Sources,
    Train,
    Trust,
    Tune,
    Workers,
    begin_run,
    given_options,
    open_run,
    say,
    share_of,
)
from winnow.errors import OptionError
from winnow.stages import STAGES


def run(
    recipe: str,
    /,
    *sources: Annotated[str, Parameter(help=f"{SOURCES} May be left out with --resume.")],
    to: Annotated[
        str,
        Parameter(
            name=("--to", "--run"), metavar="RUN", help="The run folder to make, or its address s3://bucket/run."
        ),
    ],
    resume: Resume = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    from_scratch: Annotated[bool, Parameter(negative="")] = False,
    ingest: Ingest = None,
    model: Model = None,
    train: Train = None,
    detect: Detect = None,
    score: Score = None,
    select: Select = None,
    classify: Classify = None,
    tune: Tune = None,
    runner: Runner = "local",
) -> None:
    """All steps of a recipe in one command: ingest, train, encode, calibrate, choose pictures to label (--number), report.

    Args:
        recipe: A recipe's name (winnow recipes lists them) or a .toml file.
        overwrite: Begin anew where there is a run already; it is refused where it holds labels, marks or files of yours.
        from_scratch: Train a network from scratch, also where weights of a pretrained one are at hand (recipes oneclass, inspect, select).
    """
    from winnow.run.folder import RunFolder
    from winnow.run.recipe import choose_recipe
    from winnow.steps.run import run as run_steps

    if resume and overwrite:
        raise OptionError("--resume and --overwrite do not go together.", "Leave one of them out.")
    given = given_options(
        ingest=ingest, model=model, train=train, detect=detect, score=score, select=select, classify=classify, tune=tune
    )
    if resume:
        folder = begin_run(to, recipe, given=given, from_scratch=from_scratch)
    else:
        chosen = choose_recipe(recipe, given, from_scratch=from_scratch)
        folder = RunFolder.create(to, chosen.recipe, chosen.name, overwrite, chosen.why)
    folder.update(given)
    for line in run_steps(folder, sources, resume=resume, runner=runner):
        say(line)


def ingest(
    *sources: Sources,
    run: RunPath,
    recipe: str = "",
    options: Ingest = None,
    runner: Runner = "local",
    shard: ShardOf = None,
) -> None:
    """Read sources into a run folder's pool; run it again to add more.

    Args:
        recipe: The recipe whose options a new run folder starts from.
    """
    step = STAGES["ingest"]

    share = None if shard is None else share_of(shard, runner)
    folder = begin_run(run, recipe)
    folder.update(given_options(ingest=options))
    if share:
        from winnow.steps.shards import share_ingest

        say(show.shared(share_ingest(folder, sources, share, recipe)))
        return
    say(show.ingest(step(folder, sources, runner=runner)))


def train(
    *, run: RunPath, resume: Resume = False, model: Model = None, options: Train = None, trust: Trust = ()
) -> None:
    """Train the model on normal pictures (a pretrained one is only loaded)."""
    step = STAGES["train"]

    folder = open_run(run, trust)
    folder.update(given_options(model=model, train=options))
    say(show.train(step(folder, resume=resume)))


def encode(
    *,
    run: RunPath,
    resume: Resume = False,
    trust: Trust = (),
    runner: Runner = "local",
    workers: Workers = 0,
    shard: ShardOf = None,
) -> None:
    """Write the embedding and the losses of every picture of the pool."""
    step = STAGES["encode"]

    folder = open_run(run, trust)
    if shard is not None:
        from winnow.steps.shards import share_encode

        say(show.shared(share_encode(folder, share_of(shard, runner))))
        return
    say(show.encode(step(folder, resume=resume, runner=runner, workers=workers)))


def calibrate(
    *, run: RunPath, resume: Resume = False, options: Detect = None, score: Score = None, trust: Trust = ()
) -> None:
    """Fit the scorer and set the threshold for a stated false-alarm rate."""
    step = STAGES["calibrate"]

    folder = open_run(run, trust)
    folder.update(given_options(detect=options, score=score))
    say(show.calibrate(step(folder, resume=resume), run))


def recalibrate(
    *,
    run: RunPath,
    from_: Annotated[Files, Parameter(name="--from")] = None,
    confirm: Annotated[bool, Parameter(negative="")] = False,
    undo: Annotated[bool, Parameter(negative="")] = False,
    trust: Trust = (),
) -> None:
    """Set the threshold anew by reviewed pictures that came since; the old one decides until the new one is confirmed.

    Args:
        from_: Pictures of what belongs, as winnow score takes them, or the folder of a winnow watch --keep, whose sample was reviewed.
        confirm: Have the new threshold decide, that of --from or the one proposed before.
        undo: Have the threshold of winnow calibrate decide again.
    """
    from winnow.steps.recalibrate import recalibrate as step

    folder = open_run(run, trust)
    say(show.recalibrated(step(folder, from_ or [], confirmed=confirm, undo=undo), run))


def select(
    *,
    run: RunPath,
    n: Annotated[int | None, Parameter(name="-n", validator=validators.Number(gte=1))] = None,
    also: Files = None,
    options: Select = None,
    trust: Trust = (),
) -> None:
    """Choose the pictures worth a person's time: an ordered list, a contact sheet and a map; ask for more later, and it grows.

    Args:
        n: How many in all; the same as --number.
        also: Labels given elsewhere (CSV, imagefolder, Label Studio, COCO): the choice starts from them.
    """
    step = STAGES["select"]

    folder = open_run(run, trust)
    folder.update(given_options(select=options))
    say(show.select(step(folder, n, also=also or []), folder.path))


def classify(
    *,
    run: RunPath,
    labels: Files = None,
    options: Classify = None,
    tune: Tune = None,
    trust: Trust = (),
) -> None:
    """Learn classes from a few labels, on the embeddings or by fine-tuning; measure by folds whether more labels pay.

    Args:
        labels: Labels given elsewhere (CSV, imagefolder, Label Studio, COCO), instead of the run's own.
    """
    step = STAGES["classify"]
    from winnow.steps.report.page import report as write_report

    folder = open_run(run, trust)
    folder.update(given_options(classify=options, tune=tune))
    say(show.classify(step(folder, labels=labels or []), folder.path))
    if not torchrun.rank():  # of several processes the others have only trained along
        say(f"Report: {write_report(folder)}")


def round(
    *,
    run: RunPath,
    more: Annotated[int, Parameter(validator=validators.Number(gte=1))],
    also: Files = None,
    trust: Trust = (),
) -> None:
    """Choose the next pictures to label: those whose class is uncertain, and not all of one kind.

    Args:
        more: How many; they are added to the list of winnow select.
        also: Labels given elsewhere (CSV, imagefolder, Label Studio, COCO): these pictures are not chosen again.
    """
    from winnow.steps.round import next_round

    folder = open_run(run, trust)
    say(show.select(next_round(folder, more, also=also or []), folder.path))


def lambda_(
    *sources: str,
    run: RunPath,
    lambdas: Annotated[list[float] | None, Parameter(consume_multiple=True)] = None,
    defects: str | None = None,
    masks: LocalPath | None = None,
    iterations: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    use: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Search the weight of a VAE's latent loss (lambda) by synthetic defects, without a real one.

    Args:
        sources: Pictures of what belongs, for a run folder that has none yet.
        lambdas: Weights to try [default: 0 1e-7 1e-6 1e-5 1e-4 1e-3].
        defects: Sources of damaged pictures, to compare the choice with.
        masks: Folder of masks, named as the damaged pictures, black or transparent where all is good.
        iterations: Optimiser steps of each training [default: those of the run].
        use: Make the chosen weight the run's own; train it again then.
    """
    from winnow.steps.run import search_weight

    folder = begin_run(run, default="inspect-vae")
    given: dict[str, Any] = {"defects": defects, "masks": masks, "iterations": iterations, "use": use}
    found = search_weight(folder, sources, weights=lambdas, tell=say, **given)
    say(show.weight(found, folder.path))


def label(
    *,
    run: RunPath,
    classes: str | None = None,
    port: Annotated[int | None, Parameter(validator=validators.Number(gte=0, lte=65535))] = None,
    who: str | None = None,
    open_: Annotated[bool, Parameter(name="--open", negative="")] = False,
    blind: Annotated[bool, Parameter(negative="")] = False,
    import_: Annotated[LocalPath | None, Parameter(name="--import")] = None,
    export: LocalPath | None = None,
    format: Literal["csv", "imagefolder", "label-studio", "coco"] | None = None,
    trust: Trust = (),
    from_pool: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Label pictures on a page of this machine, and take labels to and from other tools.

    Args:
        classes: Names of the classes, with commas between ("in quotes" where a name holds one); those the run has already are kept.
        port: Port on 127.0.0.1; when it is taken, the next free one (0: any free one) [default: 8765].
        who: Your name, kept with every label [default: that of your account].
        open_: Open the page in the browser.
        blind: Show no suggestions, so that labels owe nothing to them.
        import_: Labels to take over instead: .csv, .json (Label Studio, COCO) or a folder with a folder for each class.
        export: File (.csv, .json) or folder to write the labels to instead.
        format: Format of the export [default: csv for .csv, imagefolder for a folder].
        from_pool: Export the run's own small copies of pictures whose originals are missing or have changed [default: refuse].
    """
    from winnow.label.classes import class_list
    from winnow.label.exchange import check_options
    from winnow.run.working_copy import refuse_page
    from winnow.steps import label as steps

    folder = open_run(run, trust)
    named = class_list(classes or "")
    given: dict[str, Any] = {"port": port, "who": who, "open_browser": open_, "blind": blind, "classes": named}
    check_options(
        importing=import_ is not None, exporting=export is not None, form=format, from_pool=from_pool, **given
    )
    if import_ is None and export is None:
        refuse_page(folder.path)
        page = {**given, "port": 8765 if port is None else port, "who": who or ""}
        return steps.label(folder, tell=say, **page)
    if import_ is not None:
        say(show.imported(steps.import_labels(folder, import_, classes=named)))
    if export is not None:
        say(show.exported(steps.export_labels(folder, export, format or "", from_pool=from_pool)))


def step(name: str, /, *, run: RunPath, resume: Resume = False, trust: Trust = ()) -> None:
    """Do a step of your own, a winnow.stages.Stage, with the guarantees of Winnow's steps.

    Args:
        name: 'module:NAME', installed or in the current folder, or the name by which an installed package offers it.
    """
    from winnow.run.own_step import do_own_step

    folder = open_run(run, trust)
    say(show.result(do_own_step(folder, name, resume=resume), folder.path))


def join(folder: Annotated[str, Parameter(name=("--run", "--to"))], *, max_refused: MaxRefused = None) -> None:
    """Do the steps of which a folder holds shards, made by `--shard`, with those; what is missing is named.

    Args:
        folder: The run, or the place of results (--to), that the shares were made in: a folder or s3://bucket/folder.
    """
    from winnow.steps.shards import join as join_shards

    for found in join_shards(folder, max_refused):
        say(show.result(found, folder))
