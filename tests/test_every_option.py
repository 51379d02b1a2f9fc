"""Every option changes something: a run with it differs from the same run without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import winnow
from winnow.detect.segments import segments
from winnow.errors import InputError, OptionError
from winnow.files import sha256
from winnow.options import Options
from winnow.results import Ingested

from conftest import stripes, write_pictures
from videos import write

pytestmark = pytest.mark.slow

SMALL = {
    "size": (32, 32),
    "width": 4,
    "latent": 4,
    "iterations": 12,
    "batch_size": 8,
    "check_every": 4,
    "precision": "float32",
}
VAE = {"variational": True}
# Option: (what differs in the other run, what both runs have beside).
RUNS: dict[str, tuple[object, dict[str, object]]] = {
    "size": ((40, 32), {}),
    "grey": (True, {}),
    "patches": (True, {"size": (16, 16)}),
    "stride": (8, {"patches": True, "size": (16, 16)}),
    "blank": (0.0, {"patches": True, "size": (16, 16)}),
    "white": (1000.0, {}),
    "every": (0.5, {"video": True}),
    "keyframes": (True, {"video": True}),
    "architecture": ("football", {}),
    "variational": (True, {}),
    "latent": (5, {}),
    "width": (6, {}),
    "iterations": (16, {}),
    "batch_size": (6, {}),
    "optimizer": ("adadelta", {}),
    "lr": (1e-4, {}),
    "schedule": ("constant", {}),
    "loss": ("sigma", VAE),
    "latent_weight": (0.0, VAE),
    "free_bits": (50.0, VAE),
    "translate": (0.3, {}),
    "hflip": (True, {}),
    "background": ("anomalous", {}),
    "validate_share": (0.3, {}),
    "calibrate_share": (0.45, {}),
    "check_every": (3, {}),
    "patience": (1, {"lr": 0.5}),
    "precision": ("bfloat16", {}),
    "seed": (1, {}),
    "scorer": ("error(pool=top_pixels)", {}),
    "false_alarm_rate": (0.3, {}),
    "contamination": (0.2, {}),
    "confidence": (0.95, {"false_alarm_rate": 0.3}),
    "estimate": (True, {"false_alarm_rate": 0.001}),
}
ELSEWHERE = {
    "only": "tests/test_data_sets.py: only names what is read",
    "keep_anomalous": "tests/test_data_sets.py: every layout given by its root",
    "tiles": "tests/test_inspect.py: a picture is one tile, and boxes and maps come with it",
    "border": "tests/test_patches.py: a border drops what is near a blank patch",
    "people": "tests/test_people.py: persons become items",
    "object_detector": "tests/test_people.py: a detector that is missing or wrong is told, and known by its content",
    "objects": "tests/test_people.py: margin, confidence and objects say what is kept",
    "box_confidence": "tests/test_people.py: margin, confidence and objects say what is kept",
    "margin": "tests/test_people.py: margin, confidence and objects say what is kept",
    "model": "test_a_pretrained_model_and_its_options",
    "backbone": "test_a_pretrained_model_and_its_options",
    "layer": "test_a_pretrained_model_and_its_options",
    "weights": "test_a_pretrained_model_and_its_options",
    "pixel_limit": "test_limits_refuse",
    "on_error": "test_limits_refuse",
    "max_refused": "test_limits_refuse",
    "threads": "tests/test_torchrun.py: the number of threads is an option and kept",
    "device": "test_an_unknown_device_is_refused",
    "workers": "tests/test_pool.py: any number gives the same bytes",
    "fast": "tests/test_inspection.py: the fast mode",
    "mode": "tests/test_inspection.py: every mode scores differently",
    "regions": "tests/test_parts_of_pictures.py: what lies beside what belongs is found and named",
    "number": "tests/test_select_step.py: number changes the choice and stays with the run",
    "method": "tests/test_select_step.py: every option changes the choice",
    "pick": "tests/test_select_step.py: every option changes the choice",
    "per_group": "tests/test_select_step.py: every option changes the choice",
    "random_share": "tests/test_select_step.py: every option changes the choice",
    "duplicate_distance": "tests/test_select_step.py: every option changes the choice",
    "outliers": "tests/test_select_step.py: every option changes the choice",
    "duplicate_seconds": "tests/test_select_step.py: seconds of a video change the choice",
    "head": "tests/test_classify.py: every option changes something",
    "folds": "tests/test_classify.py: every option changes something",
    "pseudo": "tests/test_classify.py: pseudo-labels help where they can",
    "rounds": "tests/test_classify.py: every option changes something",
    "fine_tune": "tests/test_finetune.py: a run is fine-tuned, predicts and goes on",
    "fine_tune_weights": "tests/test_finetune.py: other weights than the run's own start elsewhere",
    "fine_tune_iterations": "tests/test_finetune.py: every option changes what is learnt",
    "fine_tune_batch_size": "tests/test_finetune.py: every option changes what is learnt",
    "fine_tune_lr": "tests/test_finetune.py: every option changes what is learnt",
    "fine_tune_hflip": "tests/test_finetune.py: every option changes what is learnt",
    "fine_tune_rotate": "tests/test_finetune.py: every option changes what is learnt",
    "fine_tune_translate": "tests/test_finetune.py: every option changes what is learnt",
    "tracks": "tests/test_track_labels.py: labels count for tracks, unless that is not wanted",
    "folders": "tests/test_classify_step.py: the recipe classify-vgg16",
    "smooth": "test_segments_change",
    "min_length": "test_segments_change",
    "hysteresis": "test_segments_change",
}


def test_no_option_is_forgotten():
    declared = {name for _, section in Options() for name in type(section).model_fields}
    assert declared == set(RUNS) | set(ELSEWHERE)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    write_pictures(folder / "pictures", 6, 6, lambda rng: stripes(rng, 32))
    deep = np.linspace(0, 60_000, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(deep).save(folder / "pictures" / "clip0" / "deep.png")
    write_pictures(folder / "anomalous", 1, 5, lambda rng: rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    write(folder / "film.mp4", 240, rate=10, gop=35)
    return {"pictures": folder / "pictures", "anomalous": folder / "anomalous", "film": folder / "film.mp4"}


def outcome(folder: Path, sources: dict[str, Path], **options: object) -> tuple[object, ...]:
    """Everything a run produced, as hashes and numbers."""
    source = sources["film"] if options.pop("video", False) else sources["pictures"]
    if options.get("background") == "anomalous":
        options["background"] = str(sources["anomalous"])
    run = winnow.Run(folder, "", **{**SMALL, **options})
    run.ingest(source)
    trained = run.train()
    run.encode()
    found = run.calibrate()
    weights = (
        sha256(folder / "model" / "model.safetensors"),
        sha256(folder / "model" / "background" / "model.safetensors"),
    )
    return (
        *weights,
        run.folder.result(Ingested).fingerprint,
        trained.training and trained.training.steps,
        found.full.promise.threshold,
        found.full.promise.calibrated_on,
        run.embeddings.losses["reconstruction"].tolist(),
        len((folder / "model" / "train.jsonl").read_text().splitlines()),
    )


@pytest.fixture(scope="module")
def without() -> dict[str, tuple[object, ...]]:
    """Outcomes of the runs without an option, by what they have beside: most have nothing."""
    return {}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_differs_with_the_option(name: str, sources: dict[str, Path], tmp_path: Path, without: dict):
    value, auxiliary = RUNS[name]
    if str(auxiliary) not in without:
        without[str(auxiliary)] = outcome(tmp_path / "without", sources, **auxiliary)
    assert outcome(tmp_path / "with", sources, **{**auxiliary, name: value}) != without[str(auxiliary)]


def test_the_same_options_give_the_same_run(sources: dict[str, Path], tmp_path: Path):
    assert outcome(tmp_path / "a", sources) == outcome(tmp_path / "b", sources)


def test_a_pretrained_model_and_its_options(sources: dict[str, Path], tmp_path: Path):
    import torch
    from safetensors.torch import save_file
    from torchvision.models import mobilenet_v2, squeezenet1_1

    torch.manual_seed(0)
    files = {}
    for name, make in (("mobilenet_v2", mobilenet_v2), ("other", mobilenet_v2), ("squeezenet1_1", squeezenet1_1)):
        files[name] = tmp_path / f"{name}.safetensors"
        save_file(make(weights=None).state_dict(), files[name])

    def vectors(number: int, **options: object) -> np.ndarray:
        run = winnow.Run(tmp_path / str(number), "", size=(64, 64), model="pretrained", **options)
        run.ingest(sources["pictures"])
        run.train()
        run.encode()
        return run.embeddings.vectors

    base = vectors(0, weights=files["mobilenet_v2"])
    assert base.shape == (37, 1280)
    assert not np.array_equal(base, vectors(1, weights=files["other"]))
    assert vectors(2, weights=files["mobilenet_v2"], layer="features.6").shape == (37, 32)
    assert vectors(3, weights=files["squeezenet1_1"], backbone="squeezenet1_1").shape == (37, 512)


def test_limits_refuse(sources: dict[str, Path], tmp_path: Path):
    Image.new("RGB", (2000, 1000)).save(tmp_path / "large.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    inputs = [sources["pictures"], tmp_path / "large.png", tmp_path / "broken.png"]
    assert winnow.Run(tmp_path / "a", "").ingest(inputs).refused == 1
    assert winnow.Run(tmp_path / "b", "", pixel_limit=1.0).ingest(inputs).refused == 2
    with pytest.raises(InputError, match=r"broken\.png"):
        winnow.Run(tmp_path / "c", "", on_error="stop").ingest(inputs)
    with pytest.raises(InputError, match="1 of 39"):
        winnow.Run(tmp_path / "d", "", max_refused=0.0).ingest(inputs)


def test_an_unknown_device_is_refused(sources: dict[str, Path], tmp_path: Path):
    with pytest.raises(OptionError, match="cuda:99"):
        outcome(tmp_path / "a", sources, device="cuda:99")


def test_segments_change():
    times, scores = np.arange(40.0), np.zeros(40)
    p_values = np.full(40, 0.9)
    p_values[[5, 20, 21, 22, 23, 24, 25, 27, 28]] = 0.001
    p_values[[29, 30, 31]] = 0.02

    def cut(**options: float) -> list[tuple[float, float]]:
        found = segments(times, scores, p_values, **{"smooth": 0, "min_length": 0, "hysteresis": 1, **options})
        return [(part.start, part.end) for part in found if not part.belongs]

    assert cut() == [(5, 6), (20, 26), (27, 29)]
    assert cut(smooth=5) != cut()
    assert cut(min_length=2) == [(20, 29)]
    assert cut(hysteresis=3) == [(5, 6), (20, 26), (27, 32)]
