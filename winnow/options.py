"""One declaration of every option: recipes, flags, run.json, docs and error messages are read off it."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from winnow.errors import OptionError, did_you_mean


class Section(BaseModel):
    """A group of options that belongs to one step; unknown names and wrong values are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class IngestOptions(Section):
    size: tuple[int, int] = Field((64, 64), description="Height and width of the pictures the model sees, in pixels.")
    grey: bool = Field(False, description="Keep one grey channel instead of three colours.")
    every: float = Field(1.0, gt=0, description="Seconds between the frames taken from a video.")
    keyframes: bool = Field(False, description="Take a video's key frames only (fastest; ignores --every).")
    white: float | None = Field(None, gt=0, description="Value shown as white in 16-bit and float pictures "
                                "[default: 65535 for 16 bit; 1, 255 or 65535 for float, by its largest value].")
    pixel_limit: float = Field(200.0, gt=0, description="Refuse pictures of more than this many million pixels.")
    on_error: Literal["skip", "stop"] = Field("skip", description="List a broken file in quarantine.csv and go on, or stop.")
    max_refused: float = Field(0.2, ge=0, le=1, description="Share of files that may be refused before it is an error.")
    workers: int = Field(0, ge=0, description="Threads that decode [default: 0, one a core].")


class ModelOptions(Section):
    model: str = Field("autoencoder", description="autoencoder, pretrained, or your own as 'module:name'.")
    architecture: Literal["strided", "football"] = Field("strided", description="Layers of the autoencoder.")
    variational: bool = Field(False, description="Variational autoencoder (VAE) instead of a plain one (AE).")
    latent: int = Field(64, ge=1, description="Latent dimensions.")
    width: int = Field(32, ge=1, description="Channels of the first layer of the strided architecture.")
    backbone: str = Field("mobilenet_v2", description="Pretrained network: vgg16, mobilenet_v2, squeezenet1_1 or a timm name.")
    layer: str = Field("", description="Layer of the backbone whose output is the code [default: its last before the classes].")
    weights: Path | None = Field(None, description="File of the backbone's weights (.pth, .safetensors) instead of the hub.")


class TrainOptions(Section):
    iterations: int = Field(3000, ge=1, description="Optimiser steps.")
    batch: int = Field(64, ge=1, description="Pictures in an optimiser step.")
    rate: float = Field(1e-3, gt=0, description="Learning rate of Adam.")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="How the learning rate goes on.")
    loss: Literal["squared", "sigma"] = Field("squared", description="Squared error summed over the picture, or the "
                                              "sigma-VAE's D/2 log(mean squared error), which needs no weight.")
    latent_weight: float = Field(1.0, ge=0, description="Weight (lambda, beta) of the latent loss of a VAE.")
    free_bits: float = Field(0.0, ge=0, description="Nats of latent loss a dimension that are not punished.")
    validate_share: float = Field(0.1, gt=0, lt=0.5, description="Share of the pictures, by whole groups, that choose the best checkpoint.")
    calibrate_share: float = Field(0.25, gt=0, lt=0.9, description="Share of the pictures, by whole groups, kept from training for the threshold.")
    check_every: int = Field(200, ge=1, description="Optimiser steps between two validations.")
    patience: int = Field(10, ge=0, description="Validations without progress before training stops early (0: never).")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="Number format of the arithmetic.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps.")
    seed: int = Field(0, ge=0, description="Seed of every random choice.")


class DetectOptions(Section):
    scorer: str = Field("combined", description="What tells the foreign: a scorer's name, or your own as 'module:name'.")
    neighbours: int = Field(5, ge=1, description="Neighbours whose mean distance the 'neighbours' scorer takes.")
    false_alarms: float = Field(0.01, gt=0, lt=1, description="Share of what belongs that may be called foreign.")
    confident: bool = Field(False, description="Keep the false-alarm rate with 95 % confidence, not only on average.")


class SegmentOptions(Section):
    smooth: float = Field(3.0, ge=0, description="Seconds of the running median over a video's scores.")
    min_length: float = Field(2.0, ge=0, description="Shortest segment of a video, in seconds.")
    hysteresis: float = Field(3.0, ge=1, description="A segment ends only when the p-value is this many times the false-alarm rate.")


class Options(BaseModel):
    """Every option of a run, resolved: defaults, then the recipe, then what the user gave."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ingest: IngestOptions = IngestOptions()
    model: ModelOptions = ModelOptions()
    train: TrainOptions = TrainOptions()
    detect: DetectOptions = DetectOptions()
    segments: SegmentOptions = SegmentOptions()
