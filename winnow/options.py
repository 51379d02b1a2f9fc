"""One declaration of every option: recipes, flags, run.json, docs and error messages are read off it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from winnow.errors import OptionError, did_you_mean


class Section(BaseModel):
    """A group of options that belongs to one step; unknown names and wrong values are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """Return the values, as JSON, that a step's results depend on."""
        return self.model_dump(mode="json")


def absolute(address: str | Path) -> str:
    """Return an address as it can be found from any folder: a local path absolute, another as it is."""
    text = os.fspath(address)
    return text if "://" in text else os.path.abspath(os.path.expanduser(text))


def _file(name: str) -> str:
    """Return the name of an object detector, absolute where it is that of a file: others are names of torchvision's."""
    is_file = name and (name.endswith(".onnx") or os.path.exists(os.path.expanduser(name)))
    return absolute(name) if is_file else name


def _background(given: str) -> str:
    if not given:  # which would be the current folder
        raise ValueError("must be 'generic' or name a folder or list; it is empty")
    return given if given == "generic" else absolute(given)


Side = Annotated[int, Field(ge=8, le=4096)]
Weights = Annotated[Path, AfterValidator(lambda path: Path(absolute(path)))]


class IngestOptions(Section):
    size: tuple[Side, Side] = Field((64, 64), description="Height and width of the pictures the model sees, in pixels.")
    grey: bool = Field(False, description="Keep one grey channel instead of three colours.")
    patches: bool = Field(
        False, description="Cut each picture, at its own resolution, into patches of --size instead of scaling it."
    )
    tiles: bool = Field(
        False,
        description="Scale each picture to --size and find where it is damaged; one more than four times as long as wide is cut into "
        "squares first.",
    )
    stride: int = Field(0, ge=0, le=4096, description="Pixels from one patch to the next [default: 0, side by side].")
    blank: float = Field(
        3.0,
        ge=0,
        description="Drop patches at the border with columns or rows of a smaller standard deviation, in grey levels (0: none).",
    )
    border: int = Field(
        0, ge=0, le=4096, description="Drop patches within so many pixels of a blank one too: a selvage, a frame."
    )
    people: bool = Field(
        False, description="Find persons in each picture or frame, and keep the crops of them, scaled to --size."
    )
    object_detector: Annotated[str, AfterValidator(_file)] = Field(
        "",
        description="What finds them: an ONNX file of YOLOX or FastestDet, or a torchvision detector by name "
        "[default: the file named by the environment variable WINNOW_OBJECT_DETECTOR].",
    )
    objects: str = Field("person", description="Classes of the detector whose boxes are kept, with commas between.")
    box_confidence: float = Field(0.4, gt=0, lt=1, description="Least confidence of a box.")
    margin: float = Field(
        0.1, ge=0, le=2, description="What a crop shows round its box, as a share of the box's sides."
    )
    every: float = Field(1.0, ge=0.001, description="Seconds between the frames taken from a video.")
    only: tuple[str, ...] = Field(
        (),
        description="Read only folders of this name, such as good or train/good, or rows of a list with this label; may be given "
        "several times.",
    )
    keep_anomalous: bool = Field(
        False,
        description="Read folders named as what does not belong (bad, ng, defect, rejected, ...) too, as classes; otherwise they are "
        "left out.",
    )
    keyframes: bool = Field(False, description="Take a video's key frames only (fastest; ignores --every).")
    white: float | None = Field(
        None,
        gt=0,
        description="Value shown as white in 16-bit and float pictures "
        "[default: 65535 for 16 bit; 1, 255 or 65535 for float, by its largest value].",
    )
    pixel_limit: float = Field(
        200.0,
        gt=0,
        description="Refuse pictures of more than this many million pixels; "
        "half for all but JPEG, which are decoded as a whole, a quarter for WebP, JPEG 2000 and video.",
    )
    on_error: Literal["skip", "stop"] = Field(
        "skip", description="List a broken file in quarantine.csv and go on, or stop."
    )
    max_refused: float = Field(0.2, ge=0, le=1, description="Share of files that may be refused before it is an error.")
    workers: int = Field(0, ge=0, description="Threads that decode [default: 0, one a core].")

    @property
    def cuts(self) -> bool:
        """Return whether pictures are judged in parts, patches or tiles, of which each has its place."""
        return self.patches or self.tiles

    def unit(self, pieces: int, pictures: int) -> str:
        """Return what is judged by itself: a picture, a patch of one, or, where tiles are more than pictures, a square of a strip."""
        if self.patches:
            return "patch"
        return "square" if self.tiles and pieces > pictures else "picture"


class ModelOptions(Section):
    model: str = Field(
        "autoencoder",
        description="autoencoder, pretrained, dense (a pretrained network's embeddings of each place), or your own as 'module:name'.",
    )
    architecture: Literal["strided", "football", "inspection", "selection"] = Field(
        "strided", description="Layers of the autoencoder."
    )
    variational: bool = Field(False, description="Variational autoencoder (VAE) instead of a plain one (AE).")
    latent: int = Field(32, ge=1, description="Latent dimensions.")
    width: int = Field(16, ge=1, description="Channels of the first layer (not of 'football').")
    backbone: str = Field(
        "mobilenet_v2", description="Pretrained network: vgg16, mobilenet_v2, squeezenet1_1 or a timm name."
    )
    layer: str = Field(
        "", description="Layer of the backbone whose output is the embedding [default: its last before the classes]."
    )
    weights: Weights | None = Field(
        None, description="File of the backbone's weights (.pth, .safetensors) instead of the hub."
    )


class TrainOptions(Section):
    iterations: int = Field(1500, ge=1, description="Optimiser steps.")
    batch_size: int = Field(32, ge=1, description="Pictures in an optimiser step.")
    optimizer: Literal["adam", "adadelta"] = Field("adam", description="Adam, or Adadelta (decay 0.95; its --lr is 1).")
    lr: float = Field(2e-3, gt=0, description="Learning rate of the optimiser.")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="How the learning rate goes on.")
    loss: Literal["squared", "mean", "sigma"] = Field(
        "squared",
        description="Squared error summed over the picture, its mean, or the "
        "sigma-VAE's D/2 log(mean squared error), which needs no weight.",
    )
    latent_weight: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        1.0,
        description="Weight (lambda, beta) of the latent loss of a VAE; 'auto' trains one for each of several and takes the best on "
        "synthetic defects, as winnow lambda does.",
    )
    free_bits: float = Field(0.0, ge=0, description="Nats of latent loss a dimension that are not punished.")
    translate: float = Field(
        0.05, ge=0, le=0.5, description="Random shift of training pictures, as a share of their shorter side."
    )
    hflip: bool = Field(False, description="Mirror training pictures left to right at random.")
    background: Annotated[str, AfterValidator(_background)] = Field(
        "generic",
        description="Pictures that tell how hard any picture is: 'generic' (drawn by Winnow), or a folder or list of your own.",
    )
    validate_share: float = Field(
        0.1, gt=0, lt=0.5, description="Share of the pictures, by whole groups, that choose the best checkpoint."
    )
    calibrate_share: float = Field(
        0.25, gt=0, lt=0.9, description="Share of the pictures, by whole groups, kept from training for the threshold."
    )
    check_every: int = Field(200, ge=1, description="Optimiser steps between two validations.")
    patience: int = Field(10, ge=0, description="Validations without progress before training stops early (0: never).")
    fast: int = Field(
        0,
        ge=0,
        description="Optimiser steps of a small network beside the autoencoder that finds damage without a decoder (0: none).",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="Number format of the arithmetic.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps.")
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="Threads of a training or fine-tuning on a CPU, in each process; the weights are the same to the bit only with the "
        "same number [default: 0, as many as torch takes].",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of every random choice.")

    def identity(self) -> dict[str, Any]:
        """Return the values, as JSON, that a step's results depend on: the number of threads only where it was asked for."""
        values = super().identity()
        if not self.threads:
            del values["threads"]
        return values


class DetectOptions(Section):
    scorer: str = Field(
        "fisher",
        description="What tells the anomalous: a scorer of docs/calibrate.md or your own as 'module:Class', its options or components "
        "in brackets: 'knn(k=3, metric=cosine)', 'fisher(error, knn)'.",
    )
    false_alarm_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of what belongs that may be called anomalous [default: 0.05, or with few pictures up to 0.1, so that "
        "the threshold does not rest on one or two of them].",
    )
    contamination: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="Share of the run's own pictures that may not belong: after a first fit so many of the most anomalous "
        "are set aside.",
    )
    estimate: bool = Field(
        False,
        description="Where less was asked than the held-out pictures can promise, extrapolate the tail of their scores, and call it an "
        "estimate (docs/calibrate.md).",
    )
    confidence: float = Field(
        0.0, ge=0, lt=1, description="Keep the false-alarm rate with this confidence, such as 0.95 (0: on average)."
    )


class ScoreOptions(Section):
    mode: Literal["full", "encoder", "fast"] = Field(
        "full",
        description="What decides: the whole network by --scorer, its encoder alone, or the small network of --fast (the recipe "
        "inspect-texture's default).",
    )
    regions: bool = Field(
        False,
        description="Judge halves and quarters of each picture beside the whole, at one false-alarm rate for all together, and name the "
        "part that does not belong: an advert beside the match. winnow calibrate --regions fits what judges them.",
    )


class SelectOptions(Section):
    number: int = Field(0, ge=0, description="Pictures to choose for labelling (0: winnow run chooses none).")
    method: str = Field(
        "herding",
        description="How: herding, kmeans, typiclust, k-center, anomalous, random, or your own as 'module:name'.",
    )
    pick: Literal["nearest", "random"] = Field(
        "nearest", description="Which picture of a cluster of 'kmeans': the nearest to its centre, or a random one."
    )
    per_group: int = Field(0, ge=0, description="Most pictures of one group, such as a video (0: any number).")
    random_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the choice drawn at random, for an unbiased estimate of how often what occurs.",
    )
    duplicate_distance: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Pictures whose embeddings are nearer than this share of the median distance are duplicates: one of them is "
        "chosen (0: each may be).",
    )
    duplicate_seconds: float = Field(
        1.5,
        ge=0,
        description="Frames and crops of one video this close in time are duplicates at four times that distance.",
    )
    outliers: float = Field(
        3.0,
        ge=0,
        description="Robust standard deviations above the median anomaly score from which on a picture is an outlier, listed apart "
        "(0: none is).",
    )


class ClassifyOptions(Section):
    head: Literal["auto", "logistic", "nearest_mean", "knn", "label_spreading"] = Field(
        "auto",
        description="What learns from the embeddings: logistic regression, the nearest class mean, a vote of neighbours, label spreading; "
        "'auto' is the first, or the second when a class has fewer than three labels.",
    )
    folds: int = Field(
        0,
        ge=0,
        le=50,
        description="Folds of whole groups that measure the classifier and calibrate it [default: 0, five, or three with --fine-tune].",
    )
    pseudo: int = Field(
        0,
        ge=0,
        description="Most pseudo-labels in all, taken from the unlabelled pictures, if F1 by folds rises with them (0: none are tried).",
    )
    rounds: int = Field(
        3, ge=1, le=20, description="Rounds in which pseudo-labels grow to that number, each from a new start."
    )
    folders: bool = Field(
        False,
        description="winnow run classifies as well; where no picture is labelled, the name of its folder is its class.",
    )
    tracks: bool = Field(
        True, description="A label of a crop counts for all crops of its track (persons in videos that were followed)."
    )

    def identity(self) -> dict[str, Any]:
        """Return the values, as JSON, that a step's results depend on: tracks only where they are not to count."""
        values = super().identity()
        if self.tracks:
            del values["tracks"]
        return values


class TuneOptions(Section):
    fine_tune: str = Field(
        "",
        description="Network to fine-tune as a whole instead of a head on the run's embeddings: mobilenet_v2, squeezenet1_1, vgg16 or a "
        "timm name [default: none].",
    )
    fine_tune_weights: Weights | None = Field(
        None,
        description="File of the weights that fine-tuning starts from [default: those of the run's own network where it is the same, "
        "else the hub's].",
    )
    fine_tune_iterations: int = Field(
        150, ge=1, description="Optimiser steps of fine-tuning, however many labels there are."
    )
    fine_tune_batch_size: int = Field(32, ge=1, description="Labelled pictures in a step of fine-tuning.")
    fine_tune_lr: float = Field(1e-4, gt=0, description="Highest learning rate of fine-tuning.")
    fine_tune_hflip: bool = Field(True, description="Mirror labelled pictures left to right at random.")
    fine_tune_rotate: float = Field(
        10.0, ge=0, le=180, description="Turn labelled pictures by at most so many degrees at random."
    )
    fine_tune_translate: float = Field(
        0.1, ge=0, le=1, description="Move labelled pictures by at most this share of their sides at random."
    )

    def identity(self) -> dict[str, Any]:
        """Return the values, as JSON, that a step's results depend on: none without a network to fine-tune."""
        return super().identity() if self.fine_tune else {}


class SegmentOptions(Section):
    smooth: float = Field(3.0, ge=0, description="Seconds of the running median over a video's scores.")
    min_length: float = Field(2.0, ge=0, description="Shortest segment of a video, in seconds.")
    hysteresis: float = Field(
        2.0, ge=1, description="A segment ends only when the p-value is this many times the false-alarm rate."
    )


class Options(BaseModel):
    """Every option of a run, resolved: defaults, then the recipe, then what the user gave."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ingest: IngestOptions = IngestOptions()
    model: ModelOptions = ModelOptions()
    train: TrainOptions = TrainOptions()
    detect: DetectOptions = DetectOptions()
    score: ScoreOptions = ScoreOptions()
    select: SelectOptions = SelectOptions()
    classify: ClassifyOptions = ClassifyOptions()
    tune: TuneOptions = TuneOptions()
    segments: SegmentOptions = SegmentOptions()

    def updated(self, values: dict[str, dict[str, Any]], origin: str) -> Options:
        """These options with some replaced; `values` is section to option to value, `origin` says who set them.

        Raises `OptionError` for an unknown section or option (with the closest known one) or a value that does not fit.
        """
        sections = {}
        for section, given in values.items():
            if section not in Options.model_fields:
                raise OptionError(
                    f"{origin}: there is no section '{section}'.", did_you_mean(section, list(Options.model_fields))
                )
            current: Section = getattr(self, section)
            for name in given:
                if name not in type(current).model_fields:
                    raise OptionError(
                        f"{origin}: section '{section}' has no option '{name}'.",
                        did_you_mean(name, list(type(current).model_fields)),
                    )
            try:
                sections[section] = type(current).model_validate({**current.model_dump(), **given})
            except ValidationError as error:
                raise OptionError(
                    f"{origin}: {explain(error)}", "winnow STEP --help lists every option and its values."
                ) from None
        return self.model_copy(update=sections)


def explain(error: ValidationError) -> str:
    """Return the first thing pydantic found wrong, in one sentence with the option's name and the user's value."""
    first = error.errors()[0]
    name = "--" + str(first["loc"][0] if first["loc"] else "option").replace("_", "-")
    return f"{name} {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}."
