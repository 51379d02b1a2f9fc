"""What the steps that judge return."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

from winnow.results.learning import Interval
from winnow.results.tabular import Result
from winnow.results.words import plural


@dataclass(frozen=True)
class Segment:
    """A segment of a video, `start` to `end` in seconds: whether it belongs, and the mean score of its frames.

    `region`: the part of the picture that most often does not belong, where parts are judged.
    """

    start: float
    end: float
    belongs: bool
    score: float
    region: str = ""


@dataclass(frozen=True)
class VideoScored:
    """A video, its segments, and a note where it has no cut list, or one that cuts early."""

    source: str
    segments: list[Segment]
    note: str = ""


@dataclass(frozen=True)
class Drifted:
    """Whether the threshold held over so many `blocks`: with a chance of at most `alarm` this says wrongly that it did not.

    `highest` is the logarithm (base 10) of the highest capital of the bets. `at` is the block of the alarm, None without one, `where` the
    picture, `since` the block from which on the pictures seem to be others, `changes` what is different about them, in words.
    """

    alarm: float
    blocks: int
    highest: float
    at: int | None = None
    where: str = ""
    since: int | None = None
    changes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Offender:
    """A picture or frame that does not belong: its source, with time or page where it has one, its p-value and, where parts
    of pictures are judged, the part that belongs least."""

    name: str
    p_value: float
    region: str = ""


MOST_OFFENDERS = 10


@dataclass(frozen=True)
class Scored(Result):
    """What `score` found: of so many `pictures` how many `belong` at the `threshold` of a `mode`; files `refused`.

    `patches` (or squares of strips: `unit`, "picture" where each is judged whole) and `defects` are None in a run that does not
    look for damage. The tables are in `folder`. `key` changes with the
    model and the threshold that judged. With a rate of `false_discoveries` so many pictures of the batch are `flagged`, of which on
    average at most that share belongs; both are None without. `drift` says whether the threshold held, None where that was not asked.
    `worst` are the few that belong least, the worst first.
    """

    TABLE: ClassVar[str] = "scores.csv"

    mode: str
    key: str
    pictures: int
    belong: int
    refused: int
    threshold: float
    folder: Path
    patches: int | None = None
    defects: int | None = None
    note: str = ""
    videos: list[VideoScored] = field(default_factory=list)
    unit: str = "patch"
    false_discoveries: float | None = None
    flagged: int | None = None
    drift: Drifted | None = None
    worst: list[Offender] = field(default_factory=list)


@dataclass(frozen=True)
class ThresholdCompared:
    """A threshold: the false-alarm rate that it promises, from how many scores, a note where that is not what was asked, and how many
    of the new pictures and of the run's own held-out ones it refuses."""

    threshold: float
    false_alarm_rate: float
    calibrated_on: int
    note: str
    new_refused: int
    own_refused: int


@dataclass(frozen=True)
class Recalibrated(Result):
    """What reviewed `pictures` of some sources make of the threshold of a mode: the `old` one, of `winnow calibrate`, and the `new` one,
    which decides once it is `in_force`. `own_pictures` are those that set the old one."""

    mode: str
    in_force: bool
    sources: list[str]
    pictures: int
    own_pictures: int
    old: ThresholdCompared
    new: ThresholdCompared


@dataclass(frozen=True)
class AnomalousGroup:
    """How a group of anomalous pictures is told from normal ones; `interval` has a 95 % interval a metric (None with one group)."""

    auroc: float
    average_precision: float
    detection_rate: float | None
    pictures: int
    groups: int
    interval: dict[str, Interval] | None


@dataclass(frozen=True)
class MaskMetrics:
    """What masks of the true damage say, AUROCs None where there is nothing to tell apart.

    `auroc_good_pictures`: so many `damaged_patches` against those of normal pictures, `auroc_same_pictures`: against good
    ones of the same pictures; `pixel_auroc` and `aupro` of the anomaly maps of all pictures, None for a mode without a map.
    """

    damaged_patches: int
    auroc_good_pictures: float | None
    auroc_same_pictures: float | None
    pixel_auroc: float | None
    aupro: float | None
    unit: str = "patch"

    def named(self) -> list[tuple[str, float | None]]:
        """Return each figure with its name in words, of pictures or squares of strips where these are judged, not patches."""
        figures = {name: value for name, value in asdict(self).items() if name != "unit"}
        return [
            (name.replace("patches", plural(self.unit)).replace("_", " "), value) for name, value in figures.items()
        ]


@dataclass(frozen=True)
class Evaluated(Result):
    """What `evaluate` found: of so many normal `pictures` in `groups` the share flagged, and each anomalous group ("all": together).

    `false_alarm_rate_asked` is what was asked for, `false_alarm_rate_promised` what the threshold promises, or, where it
    is `false_alarm_rate_estimated`, what is estimated. `refused` counts the
    files, by group ("belongs": the normal ones), that could not be judged and are in no rate.
    `baseline` is the AUROC of sharpness alone by group, `seen_in_training` how many of the normal pictures are the run's own;
    `masks` what masks of the true damage say (None without); `notes` what was recognised of the folders given, passed over and
    refused, and odd masks.
    Tables and figures are in `folder`. `key` changes with the model and the threshold that judged.
    """

    TABLE: ClassVar[str] = "scores.csv"

    mode: str
    key: str
    scorer: str
    threshold: float
    false_alarm_rate_asked: float
    false_alarm_rate_promised: float
    false_alarm_rate_estimated: bool
    false_alarm_rate: float
    false_alarm_rate_interval: Interval | None
    pictures: int
    groups: int
    anomalous: dict[str, AnomalousGroup]
    baseline: dict[str, float]
    seen_in_training: int
    folder: Path
    refused: dict[str, int] = field(default_factory=dict)
    masks: MaskMetrics | None = None
    notes: list[str] = field(default_factory=list)

    def named(self) -> dict[str, AnomalousGroup]:
        """Return the anomalous groups by name, and all of them together where there are several."""
        return (
            self.anomalous if len(self.anomalous) > 2 else {n: part for n, part in self.anomalous.items() if n != "all"}
        )


@dataclass(frozen=True)
class Predicted(Result):
    """What `predict` found: of so many `pictures` how many of each class, how many anomalous and how many `defects` (None where
    that is not known); `notes` say what was recognised of the folders given, passed over and refused; `worst` are the few that belong
    least, the worst first. With a rate of `false_discoveries` so many rows are `flagged`, both None without."""

    TABLE: ClassVar[str] = "predictions.csv"

    pictures: int
    refused: int
    folder: Path
    classes: dict[str, int] | None = None
    anomalous: int | None = None
    defects: int | None = None
    notes: list[str] = field(default_factory=list)
    worst: list[Offender] = field(default_factory=list)
    false_discoveries: float | None = None
    flagged: int | None = None


@dataclass(frozen=True)
class Int8:
    """How far a file in int8 is from the same in float32, on held-out pictures: of how many the verdict `changed`.

    `mean` and `largest` differences by output: of probabilities and p-values, of scores in standard deviations of the calibration
    scores, of anomaly maps in what lies between their two levels. `bytes_before`: the size in float32.
    """

    pictures: int
    changed: int
    mean: dict[str, float]
    largest: dict[str, float]
    bytes_before: int


@dataclass(frozen=True)
class Exported(Result):
    """An exported file and its card: its `outputs`, and the `mode` that its anomaly model judges by (None without one).

    `parity`: how far onnxruntime is from the run at most, by output, relatively; `stepped`: the share of values that lie on a
    calibration score and stepped to the next rank. `int8`: how far the file is from float32, None of one that is float32;
    `triton`: the model's folder in a repository for Triton, None where none was wanted.
    """

    file: str | Path
    card: str | Path
    outputs: list[str]
    mode: str | None
    parity: dict[str, float]
    stepped: float
    bytes: int
    seconds: float
    opset: int
    int8: Int8 | None = None
    triton: str | Path | None = None


WEIGHT_SCORES = ("error", "latent", "both")
"""What an autoencoder's weight of the latent loss is judged by: the error, the latent loss, and their standardised sum."""


@dataclass(frozen=True)
class WeightTrial:
    """A weight of the latent loss: AUROC on `synthetic` and (None without) `real` defects by error, latent loss and both.

    Trained for so many `steps` and `seconds`.
    """

    weight: float
    synthetic: dict[str, float]
    real: dict[str, float] | None
    steps: int
    active_units: int | None
    seconds: float

    def on(self, kind: str) -> dict[str, float]:
        """Return the AUROCs on 'synthetic' or 'real' defects, none where there were none."""
        return self.synthetic if kind == "synthetic" else self.real or {}


@dataclass(frozen=True)
class WeightSearch(Result):
    """What the search for the weight of a VAE's latent loss found: the `chosen` weight and the `reason`.

    `chosen_by_real`: what real defects would choose, and how much AUROC on them the choice `lost` (None without any);
    `trained` a trial a weight, `sigma` the sigma-VAE; `loss` the loss that is called error; `used`: the weight is now the run's.
    """

    step: ClassVar[str] = "weight"
    chosen: float
    reason: str
    chosen_by_real: float | None
    lost: float | None
    loss: str
    iterations: int
    synthetic_defects: int
    real_defects: int | None
    fingerprint: str
    trained: list[WeightTrial]
    sigma: WeightTrial
    used: bool

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of defects that the weights were judged on."""
        return ("synthetic",) if self.sigma.real is None else ("synthetic", "real")

    @property
    def curves(self) -> dict[str, list[float]]:
        """Return AUROC over the weights, by each score on each kind of defect."""
        return {
            f"{score}, {kind}": [trial.on(kind)[score] for trial in self.trained]
            for kind in self.kinds
            for score in WEIGHT_SCORES
        }


@dataclass(frozen=True)
class LabelsImported(Result):
    """What an import of labels changed: new ones, changed ones, the same ones, notes.

    `matched` says how many items were found by what, `unknown` where labels without an item of the run are, and why.
    """

    file: str
    new: int
    changed: int
    same: int
    notes: int
    matched: str
    unknown: list[str]


@dataclass(frozen=True)
class LabelsExported(Result):
    """An export of labels: how many went where, in which format; `gone`: labels of items that the pool has no more.

    `from_pool`: how many pictures are the pool's, as their originals are missing or changed.
    """

    path: str
    format: str
    labels: int
    gone: int
    from_pool: int = 0


@dataclass(frozen=True)
class Shared:
    """What one machine did of a step that many share: of `shards` in all its share was `made` here or `there` already.

    `missing` are not there yet, whoever is to make them; `folder` is where they are. `refused` is told of what could not be read of
    its shards, in sentences.
    """

    step: str
    index: int
    of: int
    shards: int
    made: int
    there: int
    missing: int
    folder: str
    refused: list[str] = field(default_factory=list)
