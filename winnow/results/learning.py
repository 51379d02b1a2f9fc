"""What the steps that learn return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from winnow.results.tabular import Result

Interval = tuple[float, float]
"""A 95 % confidence interval, low and high."""


@dataclass(frozen=True)
class Ingested(Result):
    """What the pool holds after `ingest`.

    `pictures`, `videos` and `frames` of them, `patches` (or squares of strips: `unit`, "picture" where each is judged whole) and
    `crops` that they were cut into, `empty` ones that show no object;
    `refused` files, `copies` of other pictures, `skipped` other files; `groups`. `fingerprint` changes with pictures and
    pixels, `table_fingerprint` with groups, splits and status, `label_fingerprint` with the labels of the sources.
    `tracks` are the persons that the crops were linked to over time, 0 where frames are too far apart for that.
    `alike` pictures are near-identical to one of another file, and `joined` are the groups when those that share such are one;
    `flat` pictures show one colour, `still` ones differ from the mean of all by noise alone. `notes` say what was recognised
    of the folders, passed over and refused, and what is alike.
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
    alike: int = 0
    joined: int = 0
    flat: int = 0
    still: int = 0
    notes: list[str] = field(default_factory=list)
    unit: str = "patch"
    tracks: int = 0


@dataclass(frozen=True)
class Training:
    """Outcome of one training; losses and active units are those of the best validation, `seconds` those of all sessions.

    `threads` is the number that each of the `processes` computed with on a CPU, 0 where it was not recorded.
    """

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
    threads: int = 0
    processes: int = 1


@dataclass(frozen=True)
class Trained(Result):
    """What `train` left: a network of so many `parameters`, frozen or trained (then its `training`).

    `split` counts the pictures (or patches: `unit`) that train, validate and calibrate; `fast` is the training of the fast
    network, None without one. `latent_weight` is the one that was chosen, and `chosen_because` a sentence; None where none was to be.
    """

    step: ClassVar[str] = "train"
    parameters: int
    warnings: list[str]
    unit: str = "picture"
    split: dict[str, int] = field(default_factory=dict)
    training: Training | None = None
    fast: Training | None = None
    latent_weight: float | None = None
    chosen_because: str = ""


@dataclass(frozen=True)
class Encoded(Result):
    """What `encode` left: embeddings of so many `pictures` (or patches: `unit`) and `dimensions`, and the names of their `losses`.

    `engine` computed them and computes those of new pictures on a CPU: "onnxruntime" or "torch"; `why` not onnxruntime, of a
    frozen network on a CPU. `note`: by what the shards differ that unlike machines made.
    """

    step: ClassVar[str] = "encode"
    pictures: int
    unit: str
    dimensions: int
    losses: list[str]
    engine: str = "torch"
    why: str = ""
    note: str = ""


@dataclass(frozen=True)
class Promise:
    """A threshold: the false-alarm rate that it promises, from how many held-out scores, and a note where that is not what was asked.

    So many of those scores are `above` it, the `extremes` (the first few, by their sources) among them; without those pictures
    the threshold would be `without`. `estimated`: the rate is no promise but an estimate.
    """

    threshold: float
    false_alarm_rate: float
    calibrated_on: int
    note: str
    above: int = 0
    extremes: list[str] = field(default_factory=list)
    without: float | None = None
    estimated: bool = False


@dataclass(frozen=True)
class Mode:
    """How a mode decides: its scorer and threshold.

    For pictures cut into patches also the promise per picture (`whole`), and, where the mode has an anomaly map, its median
    over held-out patches (`map_usual`) and the level that only the asked-for share of pictures exceeds (`map_level`).
    `elected` has the AUROC on synthetic defects of each scorer that it was chosen from; empty where one was named. `differences` is the
    mean anomaly map (rows, columns) of good pictures that a scorer of places has not seen; empty for another scorer.
    """

    scorer: str
    promise: Promise
    whole: Promise | None = None
    map_usual: float | None = None
    map_level: float | None = None
    elected: dict[str, float] = field(default_factory=dict)
    differences: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True)
class Finds:
    """What a threshold would find: the share `found` of so many made-up `pictures` of each kind that cannot belong.

    `curves` are the shares, by kind, at thresholds that promise the false-alarm `rates`.
    """

    WEAK: ClassVar[float] = 0.5

    pictures: int
    found: dict[str, float]
    rates: list[float]
    curves: dict[str, list[float]]
    inspects: bool = True

    @property
    def weak(self) -> bool:
        """Return whether half of the generic pictures would pass or, where damage is looked for, half of every other kind.

        One of the others alone says little: exchanged quarters of a cloth are cloth. Where what is shown counts, both say nothing: a
        scratched photograph of a match is one of a match.
        """
        generic, *others = self.found.values()
        return generic < self.WEAK or (self.inspects and max(others, default=1.0) < self.WEAK)


@dataclass(frozen=True)
class Calibrated(Result):
    """What `calibrate` left: each mode's threshold, its AUROC on `synthetic` defects by kind, and its `speed` in pictures a second.

    `mode` is the run's own, by which it decides unless a call names another: `finds` is what that would find (None with too few
    pictures), review.csv lists what holds its threshold up. `left_out` is how many pictures a person left out. `unit`: what is
    judged by itself, where pictures are judged in parts. `regions` is the promise of whole pictures together with their halves and
    quarters, None where these are not judged.
    """

    step: ClassVar[str] = "calibrate"
    modes: dict[str, Mode]
    synthetic: dict[str, dict[str, float]]
    speed: dict[str, float]
    finds: Finds | None = None
    left_out: int = 0
    mode: str = "full"
    unit: str = "patch"
    regions: Promise | None = None

    @property
    def own(self) -> Mode:
        """Return the mode by which the run decides."""
        return self.modes[self.mode]

    def finds_by(self, mode: str) -> Finds | None:
        """Return what a mode would find, None where that was not tried: it is for the run's own."""
        return self.finds if mode == self.mode else None

    @property
    def full(self) -> Mode:
        """Return the mode that every run has."""
        return self.modes["full"]


@dataclass(frozen=True)
class LeftOut:
    """Pictures that come last: near-duplicates of others and outliers; and those labelled or skipped already, which are not chosen."""

    duplicates: int
    outliers: int
    labelled: int


@dataclass(frozen=True)
class Selected(Result):
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

    @property
    def pictures(self) -> int:
        """Return the number of pictures there are, candidates and those set apart."""
        return self.candidates + self.left_out.duplicates + self.left_out.outliers


@dataclass(frozen=True)
class ClassScore:
    """A class: its labels, its F1 by folds, and the interval of that by bootstrap over groups (None with one group)."""

    labels: int
    f1: float
    interval: Interval | None


@dataclass(frozen=True)
class LearningCurve:
    """Macro F1 with a part of the labels (`points`: how many, F1), in the order they were given or (`in_order` false) drawn;
    whether more labels pay (None: it cannot be told), and a sentence that says so."""

    points: list[tuple[int, float]]
    in_order: bool
    pays: bool | None
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
class Classified(Result):
    """What `classify` left: a classifier learnt from `labelled` pictures (labels from `origin`) `by` a head, measured by folds.

    `confusion` has a row for each true class; `reliability` is (mean probability, share right, pictures) a bin;
    `against_head` compares fine-tuning with a head on embeddings, `choice` chosen labels with drawn ones, `by_track` probabilities
    averaged over tracks with those of single crops; `to_check` tracks have crops of several classes. `label_files` are
    those that the labels were read from (none: the run's own), and `label_key` changes with what they say.
    """

    step: ClassVar[str] = "classify"
    origin: str
    label_files: list[str]
    label_key: str
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
    by_track: Comparison | None = None
    to_check: int = 0

    @property
    def checks(self) -> str:
        """Return a sentence on the tracks to be checked, "" where there are none."""
        if not self.to_check:
            return ""
        one = self.to_check == 1
        return (
            f"The crops of {self.to_check:,} track{'' if one else 's'} are taken for several classes: look whether "
            f"{'it shows' if one else 'each shows'} one person (classifier/tracks-to-check.csv)."
        )
