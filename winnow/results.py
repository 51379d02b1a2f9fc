"""What the steps return: frozen dataclasses, kept as JSON in the records of a run and read back from there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

Interval = tuple[float, float]
"""A 95 % confidence interval, low and high."""


@dataclass(frozen=True)
class Ingested:
    """What the pool holds after `ingest`.

    `pictures`, `videos` and `frames` of them, `patches` and `crops` that they were cut into, `empty` ones that show no object;
    `refused` files, `copies` of other pictures, `skipped` other files; `groups`. `fingerprint` changes with pictures and
    pixels, `table_fingerprint` with groups, splits and status, `label_fingerprint` with the labels of the sources.
    """

    step: ClassVar[str] = "ingest"
    fingerprint: str
    table_fingerprint: str
    label_fingerprint: str
    pictures: int
    videos: int
    frames: int
    patches: int
    crops: int
    empty: int
    refused: int
    copies: int
    skipped: int
    seconds: float
    groups: int


@dataclass(frozen=True)
class Training:
    """Outcome of one training; losses and active units are those of the best validation, `seconds` those of all sessions."""

    steps: int
    best_step: int
    stopped_early: bool
    seconds: float
    pictures_per_second: float
    train_loss: float
    validation_loss: float
    active_units: int | None
    precision: str
    device: str
    parameters: int
    warnings: list[str]


@dataclass(frozen=True)
class Trained:
    """What `train` left: a network of so many `parameters`, frozen or trained (then its `training`).

    `split` counts the pictures (or patches: `unit`) that train, validate and calibrate; `fast` is the training of the fast
    network, None without one.
    """

    step: ClassVar[str] = "train"
    parameters: int
    warnings: list[str]
    unit: str = "picture"
    split: dict[str, int] = field(default_factory=dict)
    training: Training | None = None
    fast: Training | None = None


@dataclass(frozen=True)
class Encoded:
    """What `encode` left: embeddings of so many `pictures` (or patches: `unit`) and `dimensions`, and the names of their `losses`."""

    step: ClassVar[str] = "encode"
    pictures: int
    unit: str
    dimensions: int
    losses: list[str]


@dataclass(frozen=True)
class Promise:
    """A threshold: the false-alarm rate that it promises, from how many held-out scores, and a note where that is not what was asked."""

    threshold: float
    false_alarm_rate: float
    calibrated_on: int
    note: str


@dataclass(frozen=True)
class Mode:
    """How a mode decides: its scorer and threshold.

    For pictures cut into patches also the promise per picture (`whole`), and, where the mode has an anomaly map, its median
    over held-out patches (`map_usual`) and the level that only the asked-for share of pictures exceeds (`map_level`).
    """

    scorer: str
    promise: Promise
    whole: Promise | None = None
    map_usual: float | None = None
    map_level: float | None = None


@dataclass(frozen=True)
class Calibrated:
    """What `calibrate` left: each mode's threshold, its AUROC on `synthetic` defects by kind, and its `speed` in pictures a second."""

    step: ClassVar[str] = "calibrate"
    modes: dict[str, Mode]
    synthetic: dict[str, dict[str, float]]
    speed: dict[str, float]

    @property
    def full(self) -> Mode:
        """The mode that every run has."""
        return self.modes["full"]


@dataclass(frozen=True)
class LeftOut:
    """Pictures that were no candidates: near-duplicates of others, outliers, and those labelled already."""

    duplicates: int
    outliers: int
    labelled: int


@dataclass(frozen=True)
class Selected:
    """What `select` or `round` left: a list of `chosen` pictures, the first `kept` of which were chosen before.

    `embeddings` says by which embeddings, `kinds` maps a cluster's name to its pictures and the chosen ones among them;
    `grown_from` is the SHA-256 of the list before.
    """

    step: ClassVar[str] = "select"
    asked: int
    chosen: int
    kept: int
    method: str
    embeddings: str
    candidates: int
    left_out: LeftOut
    kinds: dict[str, tuple[int, int]]
    notes: list[str]
    grown_from: str


@dataclass(frozen=True)
class ClassScore:
    """A class: its labels, its F1 by folds, and the interval of that by bootstrap over groups (None with one group)."""

    labels: int
    f1: float
    interval: Interval | None


@dataclass(frozen=True)
class LearningCurve:
    """Macro F1 with a part of the labels (`points`: how many, F1), in the order they were given or (`in_order` false) drawn;
    whether more labels pay, and a sentence that says so."""

    points: list[tuple[int, float]]
    in_order: bool
    pays: bool
    says: str


@dataclass(frozen=True)
class Comparison:
    """Macro F1 of the `other` way on the same folds, the `rise` from there and its standard `error`, and a sentence."""

    other: float
    rise: float
    error: float
    says: str


@dataclass(frozen=True)
class ChoiceWorth:
    """Macro F1 on embeddings with half of the labels, as many each (`labels`): `chosen` by a method, and drawn at `random`, the
    mean of several `draws`; the `rise` between them, its standard `error`, and a sentence."""

    method: str
    labels: int
    draws: int
    chosen: float
    random: float
    rise: float
    error: float
    says: str


@dataclass(frozen=True)
class Share:
    """How many are right, of how many, and the Wilson interval of the share."""

    right: int
    of: int
    interval: Interval


@dataclass(frozen=True)
class PseudoRound:
    """A round of pseudo-labels: how many were added, by how much macro F1 rose, its standard error, and whether they stay."""

    added: int
    rise: float
    error: float
    kept: bool


@dataclass(frozen=True)
class PseudoLabels:
    """Pseudo-labels: how many a class were `asked` for, what was tried, how many of each class stay (`added`).

    `known`: how many of them agree with labels that the sources came with; `audit`: how many a person is asked to check;
    `audited`: what the labels of now say of the audit before.
    """

    asked: int
    rounds: list[PseudoRound]
    added: dict[str, int]
    known: Share | None
    audit: int
    audited: Share | None


@dataclass(frozen=True)
class Classified:
    """What `classify` left: a classifier learnt from `labelled` pictures (labels from `origin`) `by` a head, measured by folds.

    `confusion` has a row for each true class; `reliability` is (mean probability, share right, pictures) a bin;
    `against_head` compares fine-tuning with a head on embeddings, `choice` chosen labels with drawn ones.
    """

    step: ClassVar[str] = "classify"
    origin: str
    labelled: int
    by: str
    classes: dict[str, ClassScore]
    macro_f1: float
    interval: Interval | None
    accuracy: float
    groups: int
    folds: int
    confusion: list[list[int]]
    reliability: list[tuple[float, float, int]]
    calibration_error: float
    curve: LearningCurve
    against_head: Comparison | None
    choice: ChoiceWorth | None
    pseudo: PseudoLabels
    notes: list[str]


@dataclass(frozen=True)
class Segment:
    """A segment of a video, `start` to `end` in seconds: whether it belongs, and the mean score of its frames."""

    start: float
    end: float
    belongs: bool
    score: float


@dataclass(frozen=True)
class VideoScored:
    """A video and its segments."""

    source: str
    segments: list[Segment]


@dataclass(frozen=True)
class Scored:
    """What `score` found: of so many `pictures` how many `belong` at the `threshold` of a `mode`; files `refused`.

    `patches` and `defects` are None where pictures are not cut into patches. The tables are in `folder`.
    """

    mode: str
    pictures: int
    belong: int
    refused: int
    threshold: float
    folder: Path
    patches: int | None = None
    defects: int | None = None
    note: str = ""
    videos: list[VideoScored] = field(default_factory=list)


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


@dataclass(frozen=True)
class Evaluated:
    """What `evaluate` found: of so many normal `pictures` in `groups` the share flagged, and each anomalous group ("all": together).

    `baseline` is the AUROC of sharpness alone by group, `seen_in_training` how many of the normal pictures are the run's own;
    `masks` what masks of the true damage say (None without). Tables and figures are in `folder`.
    """

    mode: str
    scorer: str
    threshold: float
    false_alarm_rate_asked: float
    false_alarm_rate: float
    false_alarm_rate_interval: Interval | None
    pictures: int
    groups: int
    anomalous: dict[str, AnomalousGroup]
    baseline: dict[str, float]
    seen_in_training: int
    folder: Path
    masks: MaskMetrics | None = None


@dataclass(frozen=True)
class Predicted:
    """What `predict` found: of so many `pictures` how many of each class and how many anomalous (None where that is not known)."""

    pictures: int
    refused: int
    folder: Path
    classes: dict[str, int] | None = None
    anomalous: int | None = None


@dataclass(frozen=True)
class Exported:
    """An exported file and its card: its `outputs`, and the `mode` that its anomaly model judges by (None without one).

    `parity`: how far onnxruntime is from the run at most, by output, relatively; `stepped`: the share of values that lie on a
    calibration score and stepped to the next rank.
    """

    file: Path
    card: Path
    outputs: list[str]
    mode: str | None
    parity: dict[str, float]
    stepped: float
    bytes: int
    seconds: float
    opset: int


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
class WeightSearch:
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
        """The kinds of defects that the weights were judged on."""
        return ("synthetic",) if self.sigma.real is None else ("synthetic", "real")

    @property
    def curves(self) -> dict[str, list[float]]:
        """AUROC over the weights, by each score on each kind of defect."""
        return {
            f"{score}, {kind}": [trial.on(kind)[score] for trial in self.trained]
            for kind in self.kinds
            for score in WEIGHT_SCORES
        }


@dataclass(frozen=True)
class LabelsImported:
    """What an import of labels changed: new ones, changed ones, the same ones, notes; places of items that are not the run's."""

    file: str
    new: int
    changed: int
    same: int
    notes: int
    unknown: list[str]


@dataclass(frozen=True)
class LabelsExported:
    """An export of labels: how many went where, in which format; `gone`: labels of items that the pool has no more."""

    path: str
    format: str
    labels: int
    gone: int


Result = TypeVar("Result")


def as_json(result: Any) -> dict[str, Any]:
    """Return a result as JSON values."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(result).items()}


def from_json(kind: type[Result], content: Any) -> Result:
    """Return the result that `as_json` wrote; pydantic's `ValidationError` when it is not such a one."""
    found: Result = _reader(kind).validate_python(content)  # type: ignore[arg-type]
    return found


@cache
def _reader(kind: type[Any]) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
