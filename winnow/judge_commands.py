"""The commands that use what a run has learnt: they store nothing in it. `winnow.commands` holds those that learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from winnow import show
from winnow.arguments import (
    File,
    Folder,
    JudgedRun,
    LocalPath,
    MaxRefused,
    Runner,
    RunOrFile,
    Score,
    Segments,
    ShardOf,
    Sources,
    Trust,
    Workers,
    flags_of,
    given_options,
    judging,
    named_sources,
    refuse_idle,
    say,
    share_of,
)
from winnow.errors import OptionError
from winnow.files import quoted
from winnow.watch.log import Kind

if TYPE_CHECKING:
    from winnow.results import Shared
    from winnow.run.folder import RunFolder
    from winnow.scale.shards import Share


def report(*, run: JudgedRun, to: File = None, options: Score = None, trust: Trust = ()) -> None:
    """Write the run folder's report.html, a single file that needs no network.

    Args:
        to: The file to write [default: report.html in the run folder].
    """
    from winnow.steps.report.page import report as step

    say(f"Report: {step(judging(run, trust, options), to)}")


def score(
    *sources: Sources,
    run: JudgedRun,
    to: Folder = None,
    heatmaps: Folder = None,
    false_discoveries: float | None = None,
    drift_alarm: float | None = None,
    drift_block: float | None = None,
    options: Score = None,
    segments: Segments = None,
    max_refused: MaxRefused = None,
    trust: Trust = (),
    runner: Runner = "local",
    workers: Workers = 0,
    shard: ShardOf = None,
) -> None:
    """Judge new pictures and videos: a row each, the defects of a picture, the segments of a video with a cut list.

    Args:
        to: Folder for the results, which --shard needs [default: scores in the run folder].
        heatmaps: Folder for an anomaly map, a mask and an overlay of every picture (of a run that looks for damage).
        false_discoveries: Flag pictures of these sources so that on average at most this share of the flagged ones belongs, such as 0.1.
        drift_alarm: Say whether the threshold still holds for these pictures, in their order, with this chance of a false alarm (0.01).
        drift_block: Seconds of a video that count as one picture in that [default: 60].
    """
    from winnow.detect.discoveries import check_discoveries
    from winnow.steps.score import score as step

    check_discoveries(false_discoveries)
    how: dict[str, Any] = _drift_options(drift_alarm, drift_block)
    how |= _discoveries(false_discoveries)

    folder = judging(run, trust, options, max_refused, segments=segments)
    if shard is not None:
        refuse_idle("--shard", "--heatmaps", heatmaps)
        say(show.shared(_share_of(folder, "score", sources, to, share_of(shard, runner), **how)))
        return
    say(show.score(step(folder, sources, to=to, heatmaps=heatmaps, runner=runner, workers=workers, **how)))
    if to is None:  # of results elsewhere the report knows nothing
        say(f"  On the report's page: winnow report --run {quoted(run)}")


def predict(
    *sources: Sources,
    run: RunOrFile = None,
    onnx: LocalPath | None = None,
    to: Folder = None,
    heatmaps: Folder = None,
    object_detector: str = "",
    by: Literal["picture", "track"] = "picture",
    false_discoveries: float | None = None,
    options: Score = None,
    max_refused: MaxRefused = None,
    trust: Trust = (),
    runner: Runner = "local",
    workers: Workers = 0,
    shard: ShardOf = None,
) -> None:
    """Tell the class of new pictures and videos, how probable it is, and what does not belong.

    Args:
        run: The run folder; or give --onnx.
        onnx: A file that winnow export wrote, in place of a run: it needs no torch.
        to: Folder for the results, which --shard needs [default: predictions in the run folder, with --onnx in the current one].
        heatmaps: With --onnx, a folder for an anomaly map, a mask and an overlay of each picture, where the file looks for damage.
        object_detector: What finds persons, for an exported file that wants them [default: the file named by WINNOW_OBJECT_DETECTOR].
        by: What has a class: each picture or crop, or the crops of a person's track together, whose probabilities are averaged.
        false_discoveries: With --run, flag pictures of these sources so that on average at most this share of the flagged ones belongs.
    """
    from winnow.detect.discoveries import check_discoveries

    check_discoveries(false_discoveries)
    if run is not None and onnx is None:
        from winnow.steps.predict import predict as step

        refuse_idle("--run", "--object-detector", object_detector)
        refuse_idle(
            "--run",
            "--heatmaps",
            heatmaps,
            f"Of a run: winnow score SOURCES --run {quoted(run)} --heatmaps {quoted(heatmaps or '')}",
        )
        folder = judging(run, trust, options, max_refused)
        how: dict[str, Any] = {"by": by} | _discoveries(false_discoveries)
        if shard is not None:
            say(show.shared(_share_of(folder, "predict", sources, to, share_of(shard, runner), **how)))
            return
        say(show.predict(step(folder, sources, to=to, runner=runner, workers=workers, **how)))
    elif onnx is not None and run is None:
        from winnow.steps.predict_onnx import predict_onnx

        refuse_idle("--onnx", "--trust", trust)
        refuse_idle("--onnx", "--shard", shard is not None)
        refuse_idle("--onnx", "--runner", "" if runner == "local" else runner)
        refuse_idle("--onnx", flags_of(options), given_options(score=options))
        refuse_idle("--onnx", "--false-discoveries", false_discoveries is not None)
        given: dict[str, Any] = {"heatmaps": heatmaps, "object_detector": object_detector, "by": by}
        say(show.predict(predict_onnx(onnx, sources, to=to or "predictions", max_refused=max_refused, **given)))
    else:
        raise OptionError(f"Of --run and --onnx {'none' if run is None else 'both'} were given.", "Give one of them.")


def evaluate(
    *,
    run: JudgedRun,
    normal: Annotated[list[str], Parameter(consume_multiple=True)],
    anomalous: Annotated[list[str], Parameter(consume_multiple=True)],
    masks: LocalPath | None = None,
    to: Folder = None,
    options: Score = None,
    max_refused: MaxRefused = None,
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

    folder = judging(run, trust, options, max_refused)
    groups = named_sources("--anomalous", anomalous)
    say(show.evaluate(step(folder, normal, groups, masks=masks, to=to)))


def export(
    *,
    run: JudgedRun,
    to: File = None,
    only: Literal["classifier", "anomaly-model"] | None = None,
    int8: Annotated[bool, Parameter(negative="")] = False,
    max_changed: Annotated[float | None, Parameter(validator=validators.Number(gte=0, lt=1))] = None,
    triton: LocalPath | None = None,
    options: Score = None,
    trust: Trust = (),
) -> None:
    """Write what the run has learnt as one ONNX file that gives the same results, with a model card; refuse if it does not.

    Args:
        to: The file, NAME.onnx; the card is NAME.md beside it [default: export/model.onnx in the run folder].
        only: The classifier or the anomaly model (network, scorer and threshold) alone [default: all that the run has].
        int8: Round the networks to 8-bit integers: a smaller file, faster on many processors, and measured differences in the card.
        max_changed: Share of held-out pictures that may get another verdict by --int8, or nothing is written [default: 0.01].
        triton: Folder of a model repository for Triton, which gets the file and its configuration too.
    """
    from winnow.steps.export import MAX_CHANGED
    from winnow.steps.export import export as step

    if not int8:
        refuse_idle("a file in float32", "--max-changed", max_changed is not None, "Leave it out, or give --int8.")
    share = MAX_CHANGED if max_changed is None else max_changed
    how: dict[str, Any] = {"only": only or "", "int8": int8, "max_changed": share, "triton": triton}
    say(show.export(step(judging(run, trust, options), to, **how)))


def serve(
    file: LocalPath | None = None,
    /,
    *,
    run: RunOrFile = None,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 8000,
    token: str = "",
    name: str = "",
    workers: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=64))] = 1,
    threads: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=1024))] = 0,
    batch: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1024))] = 16,
    wait: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1000))] = 2.0,
    queue: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=100_000))] = 128,
    max_bytes: Annotated[float, Parameter(validator=validators.Number(gt=0, lte=2000))] = 32.0,
    max_pixels: Annotated[float, Parameter(validator=validators.Number(gt=0, lte=1000))] = 50.0,
    max_seconds: Annotated[float, Parameter(validator=validators.Number(gt=0, lte=3600))] = 30.0,
    object_detector: str = "",
    drift_alarm: float | None = None,
    drift_block: float | None = None,
    options: Score = None,
    trust: Trust = (),
) -> None:
    """Answer over HTTP what pictures are and what does not belong, by an exported file or a run, until Ctrl-C.

    Args:
        file: A file that winnow export wrote; or give --run. When it is replaced, the new one is checked and served.
        run: The run folder, of which a file is exported first.
        host: Address to listen at; other machines reach one that is theirs to reach, and need a token.
        port: Port to listen at (0: any free one, which is printed).
        token: What requests must bear, Authorization: Bearer TOKEN [default: that in the environment variable WINNOW_TOKEN].
        name: The model's name in addresses and answers [default: that of the file or run].
        workers: Processes that answer.
        threads: Cores for the network of each [default: 0, its share of them, and one left for all else].
        batch: Most pictures that the network sees at once.
        wait: Milliseconds that a picture waits for others, and only while others are under way.
        queue: Most requests under way in each process; the next is told to come back in a second.
        max_bytes: Most million bytes of a request.
        max_pixels: Most million pixels of a picture, as --pixel-limit counts them; a smaller one of the run holds.
        max_seconds: Most seconds that a request may take to come, and then to be answered.
        object_detector: What finds persons, for a model that wants them [default: the file named by WINNOW_OBJECT_DETECTOR].
        drift_alarm: Tell when the threshold does not hold any more for what is asked, with this chance of a false alarm (0.01).
        drift_block: Seconds in which what is asked counts as one picture in that [default: 60].
    """
    from winnow.deploy.serve.limits import Limits
    from winnow.steps.serve import serve as step

    folder = _run_beside_file("FILE.onnx", file, run, trust, score=options)
    limits = Limits(round(max_bytes * 1e6), max_pixels, max_seconds, queue, batch, wait / 1000, threads)
    given: dict[str, Any] = {"host": host, "port": port, "token": token, "name": name, "workers": workers}
    given |= _drift_options(drift_alarm, drift_block)
    step(file, folder, **given, limits=limits, object_detector=object_detector, tell=say)


def watch(
    *sources: Annotated[
        str, Parameter(required=True, help="Folders, videos, cameras: rtsp://, http(s):// or /dev/video0.")
    ],
    run: RunOrFile = None,
    onnx: LocalPath | None = None,
    to: LocalPath = Path("watched"),
    post: str = "",
    run_on: tuple[tuple[Kind, str], ...] = (),
    keep: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1440))] = 0.0,
    poll: Annotated[float, Parameter(validator=validators.Number(gte=0.05, lte=3600))] = 1.0,
    away: Annotated[float, Parameter(validator=validators.Number(gte=1, lte=3600))] = 15.0,
    open_within: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=3600))] = 30.0,
    object_detector: str = "",
    drift_alarm: float | None = None,
    drift_block: float | None = None,
    page: Annotated[bool, Parameter(negative="")] = False,
    port: Annotated[int | None, Parameter(validator=validators.Number(gte=0, lte=65535))] = None,
    options: Score = None,
    segments: Segments = None,
    trust: Trust = (),
) -> None:
    """Judge what comes, until Ctrl-C: a folder that fills, a video that is written, a camera, by an exported file or a run.

    Args:
        run: The run folder, of which a file is exported first; or give --onnx.
        onnx: A file that winnow export wrote, in place of a run: it needs no torch. When it is replaced, the new one is checked and used.
        to: Folder for what is found; the same command goes on there where it stopped.
        post: Address that gets every event as JSON, again and again until it has it.
        run_on: Kind of event and a command that is run for each, with the event on its standard input; may be given several times.
        keep: Minutes for which pictures that do not belong are kept as JPEG, in the folder's ring [default: 0, none].
        poll: Seconds between two looks into a folder; what has not changed in between is read.
        away: Seconds without a picture after which a camera is opened again.
        open_within: Seconds in which a camera must open at the start (0: it is waited for).
        object_detector: What finds persons, for a model that wants them [default: the file named by WINNOW_OBJECT_DETECTOR].
        drift_alarm: Tell when the threshold does not hold any more for what comes, with this chance of a false alarm (0.01).
        drift_block: Seconds of a video or camera that count as one picture in that [default: 60].
        page: Show it in a browser of this machine, too; the address is printed.
        port: Port of the page; when it is taken, the next free one is used (0: any) [default: 8100].
    """
    from winnow.steps.watch import watch as step

    folder = _run_beside_file("--onnx", onnx, run, trust, score=options, segments=segments)
    given: dict[str, Any] = {"to": to, "post": post, "run_on": run_on, "keep": keep, "poll": poll, "away": away}
    given |= _drift_options(drift_alarm, drift_block)
    if not page:
        refuse_idle("a call without --page", "--port", port is not None)
    given["page"] = (8100 if port is None else port) if page else None
    step(onnx, sources, folder, **given, open_within=open_within, object_detector=object_detector, tell=say)


def _discoveries(rate: float | None) -> dict[str, float]:
    """Return the rate of false discoveries where one was given, so that shares of a job without one are those of before."""
    return {} if rate is None else {"false_discoveries": rate}


def _drift_options(drift_alarm: float | None, drift_block: float | None) -> dict[str, float]:
    """Return the options of the drift that were given; `OptionError` for a block without an alarm, and a chance that is none."""
    from winnow.detect.drift import check_alarm

    if drift_alarm is None:
        refuse_idle("a call without --drift-alarm", "--drift-block", drift_block is not None)
    else:
        check_alarm(drift_alarm)
    given = {"drift_alarm": drift_alarm, "drift_block": drift_block}
    return {name: value for name, value in given.items() if value is not None}


def _run_beside_file(
    name: str, file: Path | None, run: str | None, trust: tuple[str, ...], **given: Any
) -> RunFolder | None:
    """Return the run that judges, or None where the `file` given as `name` does; `OptionError` for both, neither, or options of a run
    (`given`, by group) beside a file."""
    if (file is None) == (run is None):
        raise OptionError(f"Of {name} and --run {'none' if run is None else 'both'} was given.", "Give one of them.")
    if run is not None:
        return judging(run, trust, given["score"], segments=given.get("segments"))
    refuse_idle(name, "--trust", trust)
    refuse_idle(name, flags_of(given["score"]), given_options(score=given["score"]))
    refuse_idle(name, "--smooth, --min-length, --hysteresis", given_options(segments=given.get("segments")))
    return None


def _share_of(run: RunFolder, step: str, sources: Sequence[str], to: str | None, share: Share, **given: Any) -> Shared:
    """Judge one machine's share of sources; `OptionError` without a folder for what all machines make."""
    from winnow.steps.shards import share_judging

    if to is None:
        raise OptionError("--shard needs the folder that all shares are to be in.", "Give it: --to FOLDER")
    return share_judging(run, step, sources, to, share, **given)
