"""winnow export: graphs and files against the runs they come from, and everything that must be refused."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import winnow
from winnow.classify.classifier import Classifier
from winnow.classify.heads import HEADS
from winnow.deploy import export as exporting
from winnow.deploy.export import TOLERANCE, check, export
from winnow.deploy.graph import Graph
from winnow.deploy.int8 import COMPARED, Wanted, compared, quantised
from winnow.deploy.runtime import DIRECTIONS, INPUT, Deployed
from winnow.detect.detector import Detector
from winnow.detect.pictures import by_picture
from winnow.embeddings import spread
from winnow.errors import MissingExtra, ModelError, OptionError, RunError
from winnow.learn.encode import encode
from winnow.models.autoencoder import AutoEncoder
from winnow.models.contract import Model, ModelOutput
from winnow.models.pretrained import Pretrained
from winnow.onnx import session_of
from winnow.pool.pool import Pool
from winnow.results import Classified, Exported
from winnow.run.artifacts import load_detector, load_encoder, load_network
from winnow.run.folder import RunFolder
from winnow.steps.export import _up, map_levels
from winnow.steps.predict_onnx import predict_onnx
from winnow.steps.serve import serve
from winnow.tables import read_table

from cloth import write_cloth, write_damaged
from conftest import blocks, stripes, winnow_command, winnow_process
from exported import ODD, same_maps

pytestmark = pytest.mark.slow

SIZE = (32, 32)


# --- graphs ------------------------------------------------------------------------------------------------------------


def drawn(n: int, size: tuple[int, int] = SIZE, channels: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pictures = [Image.fromarray((stripes if place % 2 else blocks)(rng)).resize(size[::-1]) for place in range(n)]
    return np.stack([np.asarray(picture) for picture in pictures])[..., :channels]


def graph_of(model: Model, pixels: np.ndarray, *, head: str = "auto", scorer: str = "fisher", **given) -> Graph:
    """Return a graph with detector and classifier, fitted on the pictures: stripes and blocks in turn."""
    embeddings = encode(model, pixels, quiet=True)
    labels = np.array(["blocks", "größe"] * (len(pixels) // 2), object)
    return Graph(
        model,
        detector=Detector(scorer, false_alarm_rate=0.1).fit(embeddings),
        classifier=Classifier(head).fit(embeddings.vectors, labels),
        **given,
    )


def random_autoencoder(**given) -> AutoEncoder:
    torch.manual_seed(0)
    return AutoEncoder(SIZE, 3, width=4, latent=6, **given).eval()


def same_as_the_run(graph: Graph, pixels: np.ndarray) -> None:
    """Check that the graph computes in torch what the run's own route computes."""
    with torch.inference_mode():
        found = dict(zip(graph.outputs, graph(torch.from_numpy(pixels)), strict=True))
    for name, (low, own, high, floor) in exporting._own(graph, pixels).items():
        slack = 1e-4 * np.maximum(abs(own), floor)
        got = found[name].numpy()
        assert got.dtype == np.float32
        assert (got >= low - slack).all() and (got <= high + slack).all(), name


@pytest.mark.parametrize("head", HEADS)
def test_a_graph_gives_what_the_run_gives(head: str) -> None:
    pixels = drawn(40)
    same_as_the_run(graph_of(random_autoencoder(variational=head == "nearest_mean"), pixels, head=head), pixels)


def test_a_classifier_with_a_network_of_its_own() -> None:
    torch.manual_seed(1)
    pixels, other = drawn(40), Pretrained(SIZE, 3, "squeezenet1_1")
    labels = np.array(["blocks", "stripes"] * 20, object)
    classifier = Classifier().fit(encode(other, pixels, quiet=True).vectors, labels)
    first = graph_of(random_autoencoder(), pixels)
    graph = Graph(first.model, detector=first.detector, classifier=classifier, classifier_network=other)
    same_as_the_run(graph, pixels)
    alone = Graph(other, decode=False, classifier=classifier)
    assert (graph.outputs, alone.outputs) == (("probabilities", "score", "p_value"), ("probabilities",))
    torch.testing.assert_close(alone(torch.from_numpy(pixels))[0], graph(torch.from_numpy(pixels))[0])


# --- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a random SqueezeNet on two kinds of pictures, with a classifier, and its file, exported twice by command."""
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_1

    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    save_file(squeezenet1_1(weights=None).state_dict(), folder / "squeezenet.safetensors")
    rng = np.random.default_rng(0)
    for clip in range(6):
        for kind, draw in ((ODD, stripes), ("blocks", blocks)):
            (folder / "in" / kind).mkdir(parents=True, exist_ok=True)
            for number in range(6):
                Image.fromarray(draw(rng)).save(folder / "in" / kind / f"{clip} {number}.png")
    run = winnow.Run(
        folder / "run", "oneclass", size=SIZE, backbone="squeezenet1_1", weights=folder / "squeezenet.safetensors"
    )
    run.ingest(folder / "in")
    run.train()
    run.encode()
    run.calibrate()
    run.classify(labels=folder / "in")
    done = winnow_process("export", "--run", folder / "run")
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout + "\n---\n" + done.stderr, encoding="utf-8")
    return folder


def run_of(shop: Path) -> winnow.Run:
    return winnow.Run(shop / "run")


def pixels_of(run: winnow.Run) -> np.ndarray:
    return Pool.open(run.folder.folder("ingest")).pixels(slice(None))


def test_the_command_says_one_line_and_nothing_of_the_exporter(shop: Path) -> None:
    told, errors = (shop / "said").read_text(encoding="utf-8").split("\n---\n")
    assert re.fullmatch(
        r"Exported probabilities, score, p_value, directions \(\d+\.\d MB\); onnxruntime differs from the run by .*\n?",
        told,
    )
    assert errors == ""


def test_the_file_gives_what_the_run_gives_and_says_what_it_is(shop: Path) -> None:
    run, session = run_of(shop), session_of(shop / "run" / "export" / "model.onnx")
    pixels = pixels_of(run)
    names = ("probabilities", "score", "p_value", "directions")
    found = dict(zip(names, session.run(None, {INPUT: pixels}), strict=True))
    np.testing.assert_allclose(
        found["probabilities"], run.classifier.predict_proba(run.embeddings.vectors), rtol=1e-4, atol=1e-5
    )
    within = abs(found["score"] - run.detector.score(run.embeddings)) < 1e-3
    assert within.mean() > 0.95  # the others have stepped to the next rank
    meta = session.get_modelmeta().custom_metadata_map
    about = json.loads(meta["winnow"])
    assert json.loads(meta["classes"]) == about["classes"] == ["blocks", ODD]
    assert float(meta["threshold"]) == about["threshold"] == pytest.approx(run.detector.threshold.value)
    assert about["format"] == 3 and about["version"] == winnow.__version__
    assert (about["size"], about["channels"], about["picture_threshold"]) == (list(SIZE), 3, None)
    assert about["ingest"] == run.folder.options.ingest.model_dump(mode="json", exclude={"object_detector"})
    assert about["false_alarm_rate"] == run.detector.threshold.achieved
    model = onnx.load(shop / "run" / "export" / "model.onnx")
    onnx.checker.check_model(model)
    assert [[dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]] == [
        ["n", "height", "width", 3]
    ]
    assert str(Path(winnow.__file__).parent).encode() not in (shop / "run" / "export" / "model.onnx").read_bytes()


def test_two_hundred_pictures_of_unusual_sizes(shop: Path) -> None:
    run, session, rng = run_of(shop), session_of(shop / "run" / "export" / "model.onnx"), np.random.default_rng(0)
    given, scaled = [], []
    for number in range(200):
        size = tuple(int(side) for side in rng.integers(5, 120, 2))
        picture = Image.fromarray((stripes if number % 2 else blocks)(rng)).resize(size, Image.Resampling.BICUBIC)
        given.append(session.run(["probabilities", "score"], {INPUT: np.asarray(picture)[None]}))
        scaled.append(np.asarray(picture.resize(SIZE[::-1], Image.Resampling.BILINEAR)))
    embeddings = encode(load_network(run.folder), np.stack(scaled), decode=False, quiet=True)
    own = run.classifier.predict_proba(embeddings.vectors)
    assert abs(np.concatenate([one for one, _ in given]) - own).max() < 0.01
    scores = run.detector.score(embeddings)
    apart = abs(np.concatenate([one for _, one in given]) - scores) / np.maximum(
        abs(scores), run.detector.calibration.std()
    )
    assert np.median(apart) < 1e-3 and np.quantile(apart, 0.95) < 0.05


def test_where_an_embedding_lies_is_told_in_standard_deviations_of_held_out_ones(shop: Path) -> None:
    run, file = run_of(shop), Deployed.open(shop / "run" / "export" / "model.onnx")
    held = Pool.open(run.folder.folder("ingest")).rows_of(run.detector.ids)
    places = file.outputs(pixels_of(run), [DIRECTIONS])[DIRECTIONS][held].astype(float)
    assert file.about.calibration and places.shape[1] == file.about.calibration.directions == 10
    assert np.allclose(places.mean(axis=0), 0, atol=1e-4) and np.allclose(places.std(axis=0), 1, atol=1e-4)
    assert np.allclose(np.cov(places.T, bias=True), np.eye(10), atol=1e-3)
    own = run.embeddings.vectors[held].astype(float)
    middle = own - own.mean(axis=0)
    variances = np.square(np.linalg.lstsq(middle, places - places.mean(axis=0), rcond=None)[0]).sum(axis=0) ** -1
    assert np.allclose(variances, np.linalg.svd(middle)[1][:10] ** 2 / len(held), rtol=1e-3)
    assert DIRECTIONS not in file.verdict_names and DIRECTIONS in file.drift_names


def test_again_the_same_bytes_and_one_output_alone(shop: Path, tmp_path: Path) -> None:
    run = run_of(shop)
    result = run.export(tmp_path / "größe 绿.onnx")
    assert result.file.read_bytes() == (shop / "run" / "export" / "model.onnx").read_bytes()
    assert result.bytes == result.file.stat().st_size and result.seconds > 0 and result.opset == 18
    assert set(result.parity) == set(result.outputs) and max(result.parity.values()) < TOLERANCE
    alone = run.export(tmp_path / "alone.onnx", only="classifier")
    assert alone.outputs == ["probabilities"] and alone.bytes < result.bytes
    session = session_of(tmp_path / "alone.onnx")
    assert "threshold" not in session.get_modelmeta().custom_metadata_map
    assert "does not detect anomalous pictures" in alone.card.read_text(encoding="utf-8")


def test_the_card_says_what_was_measured_and_its_example_runs(shop: Path, tmp_path: Path) -> None:
    run, card = run_of(shop), (shop / "run" / "export" / "model.md").read_text(encoding="utf-8")
    measured, in_a_table = run.folder.result(Classified), "| " + ODD.replace("|", "\\|") + " |"
    for fact in (f"{measured.macro_f1:.3f}", f"{measured.labelled:,} labels", in_a_table, f"{run.detector.threshold.value:.6g}",
                 "onnxruntime", *measured.notes, run.folder.record("train").versions["torch"]):  # fmt: skip
        assert fact in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code and len(code[1].splitlines()) <= 11
    picture = next((shop / "in" / "blocks").iterdir())
    done = subprocess.run(
        [sys.executable, "-c", code[1], picture],
        cwd=shop / "run" / "export",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = run.predict(picture, to=tmp_path / "predictions")
    assert done.stdout.startswith("blocks") == (told.classes["blocks"] == 1)
    assert ("anomalous" in done.stdout) == (told.anomalous == 1)


OLD = b"an earlier file\n\x06winnow\x12"


@pytest.fixture(scope="module")
def cloths(tmp_path_factory: pytest.TempPathFactory) -> winnow.Run:
    """Return a small inspection by a VAE: grey patches, all three modes, and a classifier of the rolls' halves."""
    folder = tmp_path_factory.mktemp("cloths")
    write_cloth(folder / "good", 24)
    run = winnow.Run(
        folder / "run",
        "inspect-vae",
        size=(16, 16),
        width=4,
        latent=4,
        batch_size=16,
        iterations=20,
        check_every=10,
        fast=20,
    )
    run.ingest(folder / "good")
    run.train()
    run.encode()
    run.calibrate()
    return run


def test_killed_in_between_the_old_file_stays(cloths: winnow.Run, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(OLD)
    run = winnow.Run(shutil.copytree(cloths.folder.path, tmp_path / "run")).set(mode="encoder")
    child = os.fork()
    if child == 0:
        os.replace = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
        try:
            run.export(tmp_path / "model.onnx")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert (tmp_path / "model.onnx").read_bytes() == OLD
    assert not (tmp_path / "model.md").exists()


@pytest.mark.parametrize("mode", ["encoder", "fast", "full"])
def test_every_mode_has_its_graph(cloths: winnow.Run, mode: str) -> None:
    detector = load_detector(cloths.folder, mode)
    encoder, pixels = load_encoder(cloths.folder, mode, detector.scorer.reads()), pixels_of(cloths)
    network = load_network(cloths.folder)
    vectors = encode(network, pixels, decode=False, quiet=True).vectors
    labels = np.array(["left", "right"] * (len(pixels) // 2) + [""] * (len(pixels) % 2), object)
    graph = Graph(
        encoder.model,
        auxiliary=encoder.auxiliary,
        decode=encoder.decode,
        detector=detector,
        classifier=Classifier().fit(vectors, labels),
        classifier_network=network if mode == "fast" else None,
    )
    same_as_the_run(graph, pixels[:50])


def test_of_patches_by_two_networks_the_size_is_fixed_and_a_picture_has_a_threshold(
    cloths: winnow.Run, tmp_path: Path
) -> None:
    """The fast mode has its own network, the classifier that of the run; what it draws is compared too."""
    labels = tmp_path / "labels.csv"
    pool = Pool.open(cloths.folder.folder("ingest"))
    rows = [f'"{name}",{"outliers" if place % 2 else "even"}' for place, name in enumerate(pool.column("id"))]
    labels.write_text("\n".join(["id,label", *rows]), encoding="utf-8")
    run = winnow.Run(shutil.copytree(cloths.folder.path, tmp_path / "run"))
    run.classify(labels=labels, folds=2)
    vectors = run.embeddings.vectors  # of the whole network
    result = run.set(mode="fast").export()
    assert (
        result.outputs == ["probabilities", "score", "p_value", "directions", "anomaly_map"] and result.mode == "fast"
    )
    session, pixels = session_of(result.file), pool.pixels(slice(0, 20))
    probabilities, scores = session.run(["probabilities", "score"], {INPUT: pixels})
    np.testing.assert_allclose(probabilities, run.classifier.predict_proba(vectors)[:20], rtol=1e-3, atol=1e-4)
    detector = load_detector(run.folder, "fast")
    own = detector.score(load_encoder(run.folder, "fast", ()).encode(pixels, np.arange(20), "cpu"))
    np.testing.assert_allclose(scores, own, rtol=1e-4)
    assert session.get_inputs()[0].shape == ["n", 16, 16, 1]
    about = json.loads(session.get_modelmeta().custom_metadata_map["winnow"])
    assert about["picture_threshold"] == pytest.approx(by_picture(detector).threshold.value)
    assert about["ingest"]["patches"] is True and about["channels"] == 1
    assert "most anomalous patch" in result.card.read_text(encoding="utf-8")
    run.predict(pictures_of(pool), to=tmp_path / "own")
    predict_onnx(result.file, pictures_of(pool), to=tmp_path / "file")
    own, told = (
        (tmp_path / name / "predictions.csv").read_text(encoding="utf-8").splitlines() for name in ("own", "file")
    )
    verdicts = [[line.split(",")[-2:] for line in lines[1:]] for lines in (own, told)]
    assert [verdict for _, verdict in verdicts[0]] == [verdict for _, verdict in verdicts[1]] and len(
        verdicts[0]
    ) == len(pool) > 0
    np.testing.assert_allclose(
        *([float(value) for value, _ in lines] for lines in verdicts), atol=0.005
    )  # a rank among some 240
    draws_the_same(run, result, tmp_path / "drawn")


def draws_the_same(run: winnow.Run, file: Exported, base: Path) -> None:
    """Check that a file draws what its run draws, of damaged cloths."""
    write_damaged(base / "bad", base / "masks", 4)
    run.score(base / "bad", to=base / "own", heatmaps=base / "own maps")
    predict_onnx(file.file, [base / "bad"], to=base / "told", heatmaps=base / "told maps")
    same_maps(base / "own maps", base / "told maps", has_map="anomaly_map" in file.outputs)
    own, told = (read_table(base / name / "defects.csv") for name in ("own", "told"))
    assert [list(row.values())[:-1] for row in own] == [list(row.values())[:-1] for row in told]


@pytest.fixture(scope="module")
def whole(cloths: winnow.Run, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The file of the mode full."""
    return cloths.export(tmp_path_factory.mktemp("whole") / "a.onnx")


def test_the_file_of_the_whole_network_draws_what_the_run_draws(
    cloths: winnow.Run, whole: Exported, tmp_path: Path
) -> None:
    assert whole.outputs[-1] == "anomaly_map" and whole.parity["anomaly_map"] < TOLERANCE
    draws_the_same(cloths, whole, tmp_path)


def test_the_file_of_an_encoder_draws_masks_alone(cloths: winnow.Run, tmp_path: Path) -> None:
    run = winnow.Run(shutil.copytree(cloths.folder.path, tmp_path / "run")).set(mode="encoder")
    result = run.export(tmp_path / "a.onnx")
    assert result.outputs == ["score", "p_value", "directions"]
    draws_the_same(run, result, tmp_path)


def test_a_file_that_draws_another_map_does_not_pass(
    cloths: winnow.Run, whole: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = load_detector(cloths.folder, "full")
    encoder = load_encoder(cloths.folder, "full", detector.scorer.reads(), in_torch=True)
    parts = {"auxiliary": encoder.auxiliary, "decode": encoder.decode, "detector": detector}
    graph = Graph(encoder.model, **parts, map_levels=map_levels(cloths.folder, "full"))
    pixels = pixels_of(cloths)[:8]
    assert check(whole.file, graph, pixels, any_size=False).difference["anomaly_map"] < TOLERANCE
    draw = exporting.anomaly_maps
    monkeypatch.setattr(exporting, "anomaly_maps", lambda *given: draw(*given) * 1.01)
    with pytest.raises(ModelError, match="another anomaly-map than the run"):
        check(whole.file, graph, pixels, any_size=False)


def pictures_of(pool: Pool) -> list[str]:
    return sorted(set(map(str, pool.column("source"))))


# --- what is refused -----------------------------------------------------------------------------------------------------


class Noisy(Model):
    """A user's own model that gives something else every time."""

    def __init__(self, size, channels) -> None:
        super().__init__()
        self.size, self.channels = size, channels
        self.register_buffer("weight", torch.ones(1))

    def forward(self, images, decode=True, noise=None) -> ModelOutput:
        return ModelOutput(images.mean(dim=(2, 3)) + 0.05 * torch.rand(1) * self.weight)

    def config(self) -> dict:
        return {}


class Choosy(Noisy):
    """One that looks at its pictures before it decides what to compute."""

    def forward(self, images, decode=True, noise=None) -> ModelOutput:
        return ModelOutput(images.mean(dim=(2, 3)) * (2.0 if float(images.mean()) > 0.4 else 1.0))


@pytest.mark.parametrize(
    ("kind", "message"), [(Noisy, "another (probabilities|score)"), (Choosy, "cannot write the network 'Choosy'")]
)
def test_a_network_that_does_not_give_the_same_is_refused_and_nothing_written(
    kind: type[Model], message: str, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(OLD)
    pixels = drawn(20)
    with pytest.raises(ModelError, match=message):
        export(
            graph_of(kind(SIZE, 3), pixels, scorer="mahalanobis"), tmp_path / "model.onnx", pixels=pixels, metadata={}
        )
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == OLD


def test_the_check_sees_a_changed_weight_another_threshold_and_a_changed_head(shop: Path) -> None:
    run, file = run_of(shop), shop / "run" / "export" / "model.onnx"
    pixels = pixels_of(run)[:16]
    given = {"detector": run.detector, "classifier": run.classifier}
    check(file, Graph(load_network(run.folder), decode=True, **given), pixels)
    network = load_network(run.folder)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 0.05
    with pytest.raises(ModelError, match="relative difference"):
        check(file, Graph(network, **given), pixels)
    other = run.classifier
    other.temperature *= 2
    with pytest.raises(ModelError, match="another probabilities"):
        check(file, Graph(load_network(run.folder), detector=run.detector, classifier=other), pixels)
    moved = run.detector
    moved.calibration = moved.calibration + 0.1 * moved.calibration.std()
    with pytest.raises(ModelError, match="another p-value"):
        check(file, Graph(load_network(run.folder), detector=moved, classifier=run.classifier), pixels)


def test_not_a_number_is_not_the_same(tmp_path: Path) -> None:
    pixels, graph = drawn(8), graph_of(random_autoencoder(), drawn(20), scorer="error")
    node = onnx.helper.make_node
    nodes = [node("Shape", [INPUT], ["n"], end=1), node("Expand", ["nan", "n"], ["score"]), node("Identity", ["score"], ["p_value"]),
             node("Concat", ["n", "two"], ["both"], axis=0), node("Expand", ["nan", "both"], ["probabilities"])]  # fmt: skip
    info = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_model(onnx.helper.make_graph(
        nodes, "nan", [info(INPUT, onnx.TensorProto.UINT8, ["n", "h", "w", 3])],
        [info(name, onnx.TensorProto.FLOAT, None) for name in ("probabilities", "score", "p_value")],
        [onnx.numpy_helper.from_array(np.array([np.nan], np.float32), "nan"), onnx.numpy_helper.from_array(np.array([2]), "two")],
    ), opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)  # fmt: skip
    (tmp_path / "nan.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ModelError, match="another"):
        check(tmp_path / "nan.onnx", graph, pixels)


def test_a_file_that_would_be_too_large_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MOST_BYTES", 10_000)
    with pytest.raises(ModelError, match=r"would hold .* GB.*\n.*--scorer"):
        export(graph_of(random_autoencoder(), drawn(20)), tmp_path / "model.onnx", pixels=drawn(4), metadata={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_without_a_library_the_extra_is_named(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(random_autoencoder(), drawn(20))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"winnow-vision\[export\]"):
        export(graph, tmp_path / "model.onnx", pixels=drawn(4), metadata={})
    assert not list(tmp_path.iterdir())


def test_a_name_below_a_file_is_refused_before_the_work(cloths: winnow.Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OptionError, match="Nothing can be written in"):
        cloths.export(tmp_path / "file" / "model.onnx")


def test_runs_that_cannot_be_exported(shop: Path, finished_run: Path, tmp_path: Path) -> None:
    run = winnow.Run(shutil.copytree(finished_run, tmp_path / "run"))
    with pytest.raises(RunError, match=r"has no classifier.*\n.*winnow classify"):
        run.export(only="classifier")
    with pytest.raises(OptionError, match=r"not the name of an ONNX file.*\n.*ends in \.onnx"):
        run.export(tmp_path / "model.bin")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(OptionError, match="not the name"):
        run.export(tmp_path / "folder.onnx")
    with pytest.raises(OptionError, match="neither"):
        run.export(only="both")
    run.set(mode="fast")
    with pytest.raises(OptionError, match="no mode 'fast'"):
        run.export()
    run.set(mode="full", false_alarm_rate=0.2)
    with pytest.raises(RunError, match="'calibrate' wrote is older"):
        run.export()
    with pytest.raises(RunError, match="is not done"):
        winnow.Run(tmp_path / "empty", recipe="oneclass-from-scratch").export()
    old = winnow.Run(shutil.copytree(shop / "run", tmp_path / "shop"))
    (old.folder.folder("classify") / "classifier.json").unlink()
    with pytest.raises(RunError, match="no finished classifier"):
        old.export()
    done = winnow_command("export", "--run", tmp_path / "nowhere")
    assert done.returncode == 1 and "is not a run folder" in done.stderr


def test_a_picture_at_the_threshold_belongs_though_scores_are_float32() -> None:
    for value in (0.1, 1 / 3, -2.7, 1e10 / 3, 5.0):
        up = _up(value)
        assert np.float32(value) <= up and up == float(np.float32(up)) and up >= value
        assert up <= np.nextafter(np.float32(value), np.float32(np.inf))


def test_a_match_by_its_decoder_is_exported_and_served_at_any_size(finished_run: Path) -> None:
    """In this process, which has imported torch."""
    found: list[dict] = []

    def ask(line: str) -> None:
        port = int(line.split(":")[2].split()[0])
        try:
            for size in ((50, 40), (1, 1)):
                body = io.BytesIO()
                Image.new("RGB", size, (10, 200, 30)).save(body, "PNG")
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request("POST", "/v1/predict", body.getvalue())
                found.append(json.loads(connection.getresponse().read()))
                connection.close()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def tell(line: str) -> None:
        if "Serving" in line:
            threading.Thread(target=ask, args=(line,)).start()

    serve(None, RunFolder.open(finished_run), port=0, tell=tell)
    for answer in found:
        (row,) = answer["pictures"][0]["rows"]
        assert row["score"] > 0 and row["belongs"] == (row["score"] <= row["threshold"]) and "class" not in row
        assert answer["model"]["name"] == finished_run.name
    assert len(found) == 2


# --- in 8-bit integers, and for Triton -----------------------------------------------------------------------------------


def test_in_int8_the_networks_alone_are_rounded_and_what_changes_is_told(shop: Path, tmp_path: Path) -> None:
    run = run_of(shop)
    result = run.export(tmp_path / "small.onnx", int8=True, max_changed=0.9, triton=tmp_path / "repository")
    assert (
        result.int8 is not None
        and result.bytes < result.int8.bytes_before
        and result.triton == tmp_path / "repository" / "small"
    )
    assert (tmp_path / "repository" / "small" / "1" / "model.onnx").read_bytes() == result.file.read_bytes()
    model, plain = Deployed.open(result.file), Deployed.open(shop / "run" / "export" / "model.onnx")
    assert model.about.precision == "int8" and plain.about.precision == "float32"
    rounded = [node.op_type for node in onnx.load(result.file).graph.node if "quant" in node.op_type.lower()]
    assert "QuantizeLinear" in rounded and "DequantizeLinear" in rounded
    pool = Pool.open(run.folder.folder("ingest"))
    rows = pool.rows_of(run.detector.ids)
    pixels = pool.pixels(rows[spread(len(rows), COMPARED)])
    own, other = plain(pixels), model(pixels)
    changed = (own["score"] <= plain.threshold) != (other["score"] <= plain.threshold)
    changed |= own["probabilities"].argmax(axis=1) != other["probabilities"].argmax(axis=1)
    assert result.int8.pictures == len(pixels) and result.int8.changed == changed.sum()
    far = np.abs(own["probabilities"] - other["probabilities"])
    assert result.int8.largest["probabilities"] == pytest.approx(far.max(), rel=1e-3) and far.max() > 0
    card = Path(result.card).read_text(encoding="utf-8")
    assert (
        "The file is in int8" in card
        and f"{len(pixels):,} held-out pictures {changed.sum():,} get another verdict" in card
    )
    before, after = (path.read_bytes() for path in (plain.path, model.path))
    middle = float(np.median(own["score"]))  # of which scores lie to both sides, near by
    wanted = Wanted(pixels, np.repeat(pixels, 2, axis=0), (middle, *(own["score"] + 1e-6)), {}, 0.0)
    with pytest.raises(
        ModelError, match=r"held-out pictures get another verdict.*more than --max-changed 0\..*\n.*--int8"
    ):
        compared(before, after, wanted)


def test_int8_is_refused_where_there_is_no_network_and_asks_for_what_it_needs(shop: Path) -> None:
    with pytest.raises(ModelError, match="no layer"):
        quantised(b"", [], drawn(2))
    done = winnow_command("export", "--run", shop / "run", "--max-changed", "0.1")
    assert done.returncode == 1 and "--max-changed has nothing to do with a file in float32" in done.stderr
