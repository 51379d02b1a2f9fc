"""The commands: one a step. They turn flags into options, call the step and print; `winnow.cli` lists them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from winnow import show
from winnow.arguments import (
    Classify,
    Detect,
    Files,
    Ingest,
    LocalPath,
    Model,
    Resume,
    RunPath,
    Score,
    Segments,
    Select,
    Train,
    Trust,
    Tune,
    given_options,
    judging,
    named_sources,
    refuse_idle,
    say,
)
from winnow.errors import OptionError
from winnow.run.folder import RunFolder
from winnow.run.working_copy import refuse_page
from winnow.stages import STAGES


def run(
    recipe: str,
    /,
    *sources: str,
    to: str,
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
) -> None:
    """All steps of a recipe in one command: ingest, train, encode, calibrate, choose pictures to label (--number), report.

    Args:
        recipe: A recipe's name (winnow recipes lists them) or a .toml file.
        sources: Folders, pictures, videos, globs, lists (.txt, .csv, .parquet), s3:// addresses, mixed.
        to: The run folder to make.
        overwrite: Begin anew where there is a run already; it is refused where it holds labels, marks or files of yours.
        from_scratch: Train a network from scratch, also where weights of a pretrained one are at hand (recipe oneclass).
    """
    from winnow.run.recipe import choose_recipe
    from winnow.steps.run import run as run_steps

    if resume and overwrite:
        raise OptionError("--resume and --overwrite do not go together.", "Leave one of them out.")
    given = given_options(
        ingest=ingest, model=model, train=train, detect=detect, score=score, select=select, classify=classify, tune=tune
    )
    if resume:
        folder = RunFolder.begun(to, recipe, given=given, from_scratch=from_scratch)
    else:
        chosen = choose_recipe(recipe, given, from_scratch=from_scratch)
        folder = RunFolder.create(to, chosen.recipe, chosen.name, overwrite, chosen.why)
    folder.update(given)
    for line in run_steps(folder, sources, resume=resume):
        say(line)


def ingest(*sources: str, run: RunPath, recipe: str = "", options: Ingest = None) -> None:
    """Read sources into a run folder's pool; run it again to add more.

    Args:
        sources: Folders, pictures, videos, globs, lists (.txt, .csv, .parquet), s3:// addresses, mixed.
        recipe: The recipe whose options a new run folder starts from.
    """
    step = STAGES["ingest"]

    folder = RunFolder.begun(run, recipe)
    folder.update(given_options(ingest=options))
    say(show.ingest(step(folder, sources)))


def train(
    *, run: RunPath, resume: Resume = False, model: Model = None, options: Train = None, trust: Trust = ()
) -> None:
    """Train the model on normal pictures (a pretrained one is only loaded)."""
    step = STAGES["train"]

    folder = RunFolder.open(run, trust)
    folder.update(given_options(model=model, train=options))
    say(show.train(step(folder, resume=resume)))


def encode(*, run: RunPath, resume: Resume = False, trust: Trust = ()) -> None:
    """Write the embedding and the losses of every picture of the pool."""
    step = STAGES["encode"]

    say(show.encode(step(RunFolder.open(run, trust), resume=resume)))


def calibrate(*, run: RunPath, resume: Resume = False, options: Detect = None, trust: Trust = ()) -> None:
    """Fit the scorer and set the threshold for a stated false-alarm rate."""
    step = STAGES["calibrate"]

    folder = RunFolder.open(run, trust)
    folder.update(given_options(detect=options))
    say(show.calibrate(step(folder, resume=resume), run))


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

    folder = RunFolder.open(run, trust)
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

    folder = RunFolder.open(run, trust)
    folder.update(given_options(classify=options, tune=tune))
    say(show.classify(step(folder, labels=labels or []), folder.path))
    say(f"Report: {write_report(folder)}")


def predict(
    *sources: str,
    run: str | None = None,
    onnx: LocalPath | None = None,
    to: str | None = None,
    heatmaps: str | None = None,
    object_detector: str = "",
    options: Score = None,
    trust: Trust = (),
) -> None:
    """Tell the class of new pictures and videos, how probable it is, and what does not belong.

    Args:
        sources: Folders, pictures, videos, globs, lists (.txt, .csv, .parquet), s3:// addresses, mixed.
        run: The run folder; or give --onnx.
        onnx: A file that winnow export wrote, in place of a run: it needs no torch.
        to: Folder for the results [default: predictions in the run folder, with --onnx in the current one].
        heatmaps: With --onnx, a folder for an anomaly map, a mask and an overlay of each picture, where the file looks for damage.
        object_detector: What finds persons, for an exported file that wants them [default: the file named by WINNOW_OBJECT_DETECTOR].
    """
    if run is not None and onnx is None:
        from winnow.steps.predict import predict as step

        refuse_idle("--run", "--object-detector", object_detector)
        refuse_idle(
            "--run", "--heatmaps", heatmaps, f"Of a run: winnow score SOURCES --run {run} --heatmaps {heatmaps}"
        )
        say(show.predict(step(judging(run, trust, options), sources, to=to)))
    elif onnx is not None and run is None:
        from winnow.steps.predict_onnx import predict_onnx

        refuse_idle("--onnx", "--trust", trust)
        refuse_idle("--onnx", "--mode", given_options(score=options))
        given = partial(predict_onnx, heatmaps=heatmaps, object_detector=object_detector)
        say(show.predict(given(onnx, sources, to=to or "predictions")))
    else:
        raise OptionError(f"Of --run and --onnx {'none' if run is None else 'both'} were given.", "Give one of them.")


def export(
    *,
    run: RunPath,
    to: str | None = None,
    only: Literal["classifier", "anomaly-model"] | None = None,
    options: Score = None,
    trust: Trust = (),
) -> None:
    """Write what the run has learnt as one ONNX file that gives the same results, with a model card; refuse if it does not.

    Args:
        to: The file, NAME.onnx; the card is NAME.md beside it [default: export/model.onnx in the run folder].
        only: The classifier or the anomaly model (network, scorer and threshold) alone [default: all that the run has].
    """
    from winnow.steps.export import export as step

    say(show.export(step(judging(run, trust, options), to, only=only or "")))


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

    folder = RunFolder.open(run, trust)
    say(show.select(next_round(folder, more, also=also or []), folder.path))


def report(*, run: RunPath, to: str | None = None, options: Score = None, trust: Trust = ()) -> None:
    """Write the run folder's report.html, a single file that needs no network.

    Args:
        to: The file to write [default: report.html in the run folder].
    """
    from winnow.steps.report.page import report as step

    say(f"Report: {step(judging(run, trust, options), to)}")


def score(
    *sources: str,
    run: RunPath,
    to: str | None = None,
    heatmaps: str | None = None,
    options: Score = None,
    segments: Segments = None,
    trust: Trust = (),
) -> None:
    """Judge new pictures and videos: a row each, the defects of a picture, the segments of a video with a cut list.

    Args:
        sources: Folders, pictures, videos, globs, lists (.txt, .csv, .parquet), s3:// addresses, mixed.
        to: Folder for the results [default: scores in the run folder].
        heatmaps: Folder for an anomaly map, a mask and an overlay of every picture (of a run that looks for damage).
    """
    from winnow.steps.score import score as step

    folder = judging(run, trust, options, segments=segments)
    say(show.score(step(folder, sources, to=to, heatmaps=heatmaps)))


def evaluate(
    *,
    run: RunPath,
    normal: Annotated[list[str], Parameter(consume_multiple=True)],
    anomalous: Annotated[list[str], Parameter(consume_multiple=True)],
    masks: LocalPath | None = None,
    to: str | None = None,
    options: Score = None,
    trust: Trust = (),
) -> None:
    """Measure a run where the truth is known: AUROC, average precision, rates at the threshold, for each anomalous group.

    Args:
        normal: Sources of normal pictures that were not trained on.
        anomalous: NAME=SOURCE of pictures that do not belong; the same NAME may come again.
        masks: Folder of masks, named as the anomalous pictures, black or transparent where all is good (of a run that looks for damage).
        to: Folder for the results [default: evaluation in the run folder].
    """
    from winnow.steps.evaluate import evaluate as step

    folder = judging(run, trust, options)
    groups = named_sources("--anomalous", anomalous)
    say(show.evaluate(step(folder, normal, groups, masks=masks, to=to)))


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

    folder = RunFolder.begun(run, default="inspect-vae")
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
        import_: Labels to take over instead: .csv, .json (Label Studio, COCO) or a folder with a folder for each class.
        export: File (.csv, .json) or folder to write the labels to instead.
        format: Format of the export [default: csv for .csv, imagefolder for a folder].
        from_pool: Export the run's own small copies of pictures whose originals are missing or have changed [default: refuse].
    """
    from winnow.label.classes import class_list
    from winnow.label.exchange import check_options
    from winnow.steps import label as steps

    folder = RunFolder.open(run, trust)
    named = class_list(classes or "")
    given: dict[str, Any] = {"port": port, "who": who, "open_browser": open_, "classes": named}
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

    folder = RunFolder.open(run, trust)
    say(show.result(do_own_step(folder, name, resume=resume), folder.path))
