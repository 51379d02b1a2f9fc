"""winnow export: twins against the scorers and heads they stand for, resizing against Pillow, files against the runs they come
from, and everything that must be refused."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

import winnow
from winnow.check import obvious
from winnow.classify.classifier import Classifier
from winnow.classify.heads import HEADS, Neighbours
from winnow.data.pool import Pool
from winnow.deploy import export as exporting
from winnow.deploy import heads, scorers
from winnow.deploy.export import INPUT, TOLERANCE, check, export, session_of
from winnow.deploy.graph import Graph, Resize
from winnow.detect.combine import Surprise
from winnow.detect.detector import Detector
from winnow.detect.pictures import by_picture
from winnow.detect.scorer import Scorer
from winnow.detect.scorers import SCORERS, make_scorer
from winnow.detect.threshold import group_weights, p_values
from winnow.errors import MissingExtra, ModelError, OptionError, RunError
from winnow.learn.encode import encode
from winnow.learn.encodings import Encodings
from winnow.models.autoencoder import AutoEncoder
from winnow.models.contract import Measures, Model
from winnow.models.pretrained import Pretrained
from winnow.steps.export import _up
from winnow.steps.parts import load_detector, load_network, load_way

from cloth import write_cloth
from conftest import blocks, stripes, winnow_command

SIZE = (32, 32)


# --- twins -------------------------------------------------------------------------------------------------------------


def with_linear(encodings: Encodings, seed: int) -> Encodings:
    """The same with the error of a linear autoencoder beside the network."""
    linear = encodings.measures["reconstruction"] * np.exp(0.1 * np.random.default_rng(seed).normal(size=len(encodings)))
    return Encodings.of(encodings.codes, measures={**encodings.measures, "linear": linear})


NORMAL = obvious(200, 0, False)
NEW = Encodings.of(
    # Usual ones, foreign ones, codes far away in one direction, a code of zeros, one of the bank itself.
    np.concatenate([obvious(40, 1, False).codes, obvious(40, 2, True).codes, np.full((2, 8), 1e4), np.zeros((1, 8)), NORMAL.codes[:1]]),
    measures={
        name: np.concatenate([values, obvious(40, 2, True).measures[name], [0.0, 1e-9, 1.0, 50.0]])
        for name, values in obvious(40, 1, False).measures.items()
    },
)


def tensors(encodings: Encodings) -> dict[str, torch.Tensor]:
    return {"codes": torch.from_numpy(encodings.codes.astype(np.float32))} | {
        name: torch.from_numpy(values.astype(np.float32)) for name, values in encodings.measures.items()
    }


def as_float32(encodings: Encodings) -> Encodings:
    """What the numpy route gets: measures come from the network as float32."""
    return Encodings.of(encodings.codes, measures={name: values.astype(np.float32) for name, values in encodings.measures.items()})


@pytest.mark.parametrize("name", SCORERS)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "with linear"])
def test_every_scorer_has_a_twin_that_scores_the_same(name: str, beside: bool) -> None:
    normal, new = (with_linear(part, 3) if beside else part for part in (NORMAL, as_float32(NEW)))
    scorer = make_scorer(name).fit(normal)
    found = scorers.twin_of(scorer)(tensors(new)).numpy()
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, scorer.score(new), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("count", [1, 3, 300])
def test_neighbours_far_from_the_origin_and_fewer_than_asked_for(offset: float, count: int) -> None:
    bank, new = (offset + np.random.default_rng(seed).normal(size=(n, 16)) for seed, n in ((0, count), (1, 30)))
    for name in ("neighbours", "cosine"):
        scorer = make_scorer(name).fit(bank.astype(np.float32))
        codes = torch.from_numpy(new.astype(np.float32))
        np.testing.assert_allclose(scorers.twin_of(scorer)({"codes": codes}), scorer.score(new), rtol=2e-4)


def test_ones_own_scorer_and_a_scorer_without_a_twin_are_refused() -> None:
    class Own(Scorer):
        learned = ()

        def _fit(self, normal: Encodings) -> None: ...

        def _score(self, encodings: Encodings) -> np.ndarray:
            return encodings.codes[:, 0]

    with pytest.raises(ModelError, match=r"'Own' is not one of Winnow's.*\n.*--only classifier"):
        scorers.twin_of(Own().fit(NORMAL))
    assert set(scorers.TWINS) == set(SCORERS.values())
    assert set(heads.TWINS) == set(HEADS.values())


@pytest.mark.parametrize("n", [1, 2, 3, 10, 100, 101])
def test_places_among_numbers_are_those_of_searchsorted(n: int) -> None:
    ascending = np.sort(np.random.default_rng(n).integers(0, 50, n).astype(float))
    values = np.r_[np.arange(-1, 52) / 1.0, np.arange(0, 50) + 0.5, -np.inf, np.inf, ascending]
    places = scorers.Order(ascending)(torch.from_numpy(values)).numpy()
    assert places.tolist() == np.searchsorted(ascending, values, side="left").tolist()


@pytest.mark.parametrize("sizes", [[40], [30, 2, 8], [1]])
def test_surprise_and_p_values_step_where_they_step(sizes: list[int]) -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=sum(sizes)), 1)  # with ties
    weights = group_weights(np.repeat(np.arange(len(sizes)), sizes))
    new = np.r_[scores, scores + 1e-9, scores - 1e-9, -100, 100, 1e6]
    surprise = Surprise(scores, weights)
    np.testing.assert_allclose(scorers.SurpriseTwin(surprise)(torch.from_numpy(new)), surprise.of_new(new), rtol=1e-12)
    detector = Detector("neighbours").fit(rng.normal(size=(30, 2)))
    detector.calibration, detector.weights = scores, weights
    np.testing.assert_allclose(scorers.PValues(detector)(torch.from_numpy(new)), p_values(scores, new, weights), rtol=1e-12)


def labelled(classes: int, head: str) -> tuple[Classifier, np.ndarray]:
    """A classifier fitted on codes of some classes, and other codes of them; a code of zeros among these."""
    rng = np.random.default_rng(classes)
    middles = rng.normal(size=(classes, 12)) * 2
    codes = (np.repeat(middles, 12, axis=0) + rng.normal(size=(12 * classes, 12))).astype(np.float32)
    labels = np.array([f"ü{number}" if place % 3 else "" for number in range(classes) for place in range(12)], object)
    classifier = Classifier(head).fit(codes, labels)
    return classifier, np.concatenate([codes + 0.3, np.zeros((1, 12))]).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 9])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_has_a_twin_of_the_same_probabilities(head: str, classes: int) -> None:
    classifier, codes = labelled(classes, head)
    found = heads.ClassifierTwin(classifier)(torch.from_numpy(codes)).numpy()
    np.testing.assert_allclose(found, classifier.predict_proba(codes), rtol=1e-4, atol=1e-6)
    at_centre = heads.ClassifierTwin(classifier)(torch.from_numpy(classifier.centre[None]))  # as near to all: no order of its own
    assert torch.isfinite(at_centre).all()


@pytest.mark.parametrize("head", HEADS)
def test_a_class_that_was_not_seen_has_no_probability(head: str) -> None:
    classifier, codes = labelled(3, head)
    target = np.where(classifier.learner.target == 1, -1, classifier.learner.target)
    classifier.fitted = HEADS[head]().fit(classifier.learner.points, target, 3)
    found = heads.ClassifierTwin(classifier)(torch.from_numpy(codes)).numpy()
    assert (found[:, 1] == 0).all() and np.isfinite(found).all()
    np.testing.assert_allclose(found, classifier.predict_proba(codes), rtol=1e-4, atol=1e-6)


class Everything(nn.Module):
    """All twins at once, so that one export tries every operation they are made of in onnxruntime."""

    def __init__(self, detectors: list[Detector], classifiers: list[Classifier], names: list[str]) -> None:
        super().__init__()
        self.scorers = nn.ModuleList(scorers.twin_of(detector.scorer) for detector in detectors)
        self.p_values = nn.ModuleList(scorers.PValues(detector) for detector in detectors)
        self.heads = nn.ModuleList(heads.ClassifierTwin(classifier) for classifier in classifiers)
        self.names = names

    def forward(self, codes: torch.Tensor, measures: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = {"codes": codes, **dict(zip(self.names, measures.unbind(1), strict=True))}
        scores = [scorer(given) for scorer in self.scorers]
        return (*scores, *(p(s) for p, s in zip(self.p_values, scores, strict=True)), *(head(points) for head in self.heads))


def test_onnxruntime_computes_every_twin_as_numpy_does(tmp_path: Path) -> None:
    normal, new = with_linear(NORMAL, 3), with_linear(as_float32(NEW), 4)
    detectors = [Detector(name, false_alarms=0.1).fit(normal) for name in SCORERS]
    fitted = [labelled(4, head) for head in HEADS]
    names = list(new.measures)
    module = Everything(detectors, [classifier for classifier, _ in fitted], names).eval()
    measures = np.stack([new.measures[name] for name in names], axis=1).astype(np.float32)
    codes, points = new.codes.astype(np.float32), fitted[0][1][: len(new)]
    codes, measures = codes[: len(points)], measures[: len(points)]
    given = {"codes": codes, "measures": measures, "points": points}
    example, n = tuple(torch.from_numpy(values[:3]) for values in given.values()), torch.export.Dim("n")
    with exporting._quiet():
        program = torch.onnx.export(module, example, dynamo=True, dynamic_shapes=({0: n}, {0: n}, {0: n}),
                                    input_names=list(given), opset_version=exporting.OPSET)  # fmt: skip
    (tmp_path / "all.onnx").write_bytes(program.model_proto.SerializeToString())
    found = iter(session_of(tmp_path / "all.onnx").run(None, given))
    rows = Encodings.of(codes, measures=dict(zip(names, measures.T, strict=True)))
    scores = [next(found) for _ in detectors]
    for detector, got in zip(detectors, scores, strict=True):
        np.testing.assert_allclose(got, detector.score(rows), rtol=1e-5, atol=1e-5, err_msg=detector.scorer_name)
    for detector, got in zip(detectors, scores, strict=True):
        np.testing.assert_allclose(next(found), detector.p_values(got), rtol=1e-9)
    for classifier, _ in fitted:
        np.testing.assert_allclose(next(found), classifier.predict_proba(points), rtol=1e-4, atol=1e-6)


# --- resizing ----------------------------------------------------------------------------------------------------------


def test_resizing_is_pillows_within_a_grey_level() -> None:
    rng, apart = np.random.default_rng(0), []
    for _ in range(60):
        height, width, down, right = (int(side) for side in rng.integers(1, 150, 4))
        picture = rng.integers(0, 256, (height, width, 3), np.uint8)
        # Pillow chooses which side comes first; each side for itself is in ours the same to a rounding.
        across = Image.fromarray(picture).resize((right, height), Image.Resampling.BILINEAR)
        there = np.asarray(across.resize((right, down), Image.Resampling.BILINEAR), int)
        whole = np.asarray(Image.fromarray(picture).resize((right, down), Image.Resampling.BILINEAR), int)
        found = Resize((down, right))(torch.from_numpy(picture)[None])[0].numpy().astype(int)
        assert found.shape == there.shape
        assert abs(found - whole).max() <= 1
        apart.append(float((found != there).mean()))
        assert abs(found - there).max() <= 1
    assert np.mean(apart) < 0.01


def test_pictures_of_the_right_size_pass_unchanged() -> None:
    for size in ((7, 5), (32, 40), (224, 224)):
        pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8))
        assert torch.equal(Resize(size)(pictures), pictures)


# --- graphs ------------------------------------------------------------------------------------------------------------


def drawn(n: int, size: tuple[int, int] = SIZE, channels: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pictures = [Image.fromarray((stripes if place % 2 else blocks)(rng)).resize(size[::-1]) for place in range(n)]
    return np.stack([np.asarray(picture) for picture in pictures])[..., :channels]


def graph_of(model: Model, pixels: np.ndarray, *, head: str = "auto", scorer: str = "combined", **given) -> Graph:
    """A graph with detector and classifier, fitted on the pictures: stripes and blocks in turn."""
    encodings = encode(model, pixels, quiet=True)
    labels = np.array(["blocks", "größe"] * (len(pixels) // 2), object)
    return Graph(
        model, detector=Detector(scorer, false_alarms=0.1).fit(encodings), classifier=Classifier(head).fit(encodings.codes, labels), **given
    )


def random_autoencoder(**given) -> AutoEncoder:
    torch.manual_seed(0)
    return AutoEncoder(SIZE, 3, width=4, latent=6, **given).eval()


def same_as_the_run(graph: Graph, pixels: np.ndarray) -> None:
    """What the graph gives in torch is what the run's own route gives."""
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
    same_as_the_run(graph_of(random_autoencoder(variational=head == "mean"), pixels, head=head), pixels)


def test_a_classifier_with_a_network_of_its_own() -> None:
    torch.manual_seed(1)
    pixels, other = drawn(40), Pretrained(SIZE, 3, "squeezenet1_1")
    labels = np.array(["blocks", "stripes"] * 20, object)
    classifier = Classifier().fit(encode(other, pixels, quiet=True).codes, labels)
    first = graph_of(random_autoencoder(), pixels)
    graph = Graph(first.model, detector=first.detector, classifier=classifier, classifier_network=other)
    same_as_the_run(graph, pixels)
    alone = Graph(other, decode=False, classifier=classifier)
    assert (graph.outputs, alone.outputs) == (("probabilities", "score", "p_value"), ("probabilities",))
    torch.testing.assert_close(alone(torch.from_numpy(pixels))[0], graph(torch.from_numpy(pixels))[0])


# --- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a random SqueezeNet on two kinds of pictures, with a classifier, and its file, exported twice by command."""
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_1

    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    save_file(squeezenet1_1(weights=None).state_dict(), folder / "squeezenet.safetensors")
    rng = np.random.default_rng(0)
    for clip in range(6):
        for kind, draw in (("größe 绿", stripes), ("blocks", blocks)):
            (folder / "in" / kind).mkdir(parents=True, exist_ok=True)
            for number in range(6):
                Image.fromarray(draw(rng)).save(folder / "in" / kind / f"{clip} {number}.png")
    run = winnow.Run(folder / "run", "codes", size=SIZE, backbone="squeezenet1_1", weights=folder / "squeezenet.safetensors")
    run.ingest(folder / "in")
    run.train()
    run.encode()
    run.calibrate()
    run.classify(labels=folder / "in")
    done = winnow_command("export", "--run", folder / "run")
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout + "\n---\n" + done.stderr, encoding="utf-8")
    return folder


def run_of(shop: Path) -> winnow.Run:
    return winnow.Run(shop / "run")


def pixels_of(run: winnow.Run) -> np.ndarray:
    return Pool.open(run.folder.folder("ingest")).pixels(slice(None))


def test_the_command_says_one_line_and_nothing_of_the_exporter(shop: Path) -> None:
    told, errors = (shop / "said").read_text(encoding="utf-8").split("\n---\n")
    assert re.fullmatch(r"Exported probabilities, score, p_value \(\d+\.\d MB\); onnxruntime differs from the run by .*\n?", told)
    assert errors == ""


def test_the_file_gives_what_the_run_gives_and_says_what_it_is(shop: Path) -> None:
    run, session = run_of(shop), session_of(shop / "run" / "export" / "model.onnx")
    pixels = pixels_of(run)
    found = dict(zip(("probabilities", "score", "p_value"), session.run(None, {INPUT: pixels}), strict=True))
    np.testing.assert_allclose(found["probabilities"], run.classifier.predict_proba(run.encodings.codes), rtol=1e-4, atol=1e-5)
    within = abs(found["score"] - run.detector.score(run.encodings)) < 1e-3
    assert within.mean() > 0.95  # the others have stepped to the next rank
    meta = session.get_modelmeta().custom_metadata_map
    about = json.loads(meta["winnow"])
    assert json.loads(meta["classes"]) == about["classes"] == ["blocks", "größe 绿"]
    assert float(meta["threshold"]) == about["threshold"] == pytest.approx(run.detector.threshold.value)
    assert about["format"] == 1 and about["version"] == winnow.__version__
    assert (about["size"], about["channels"], about["picture_threshold"]) == (list(SIZE), 3, None)
    assert about["ingest"] == run.folder.options.ingest.model_dump(mode="json", exclude={"detector"})
    assert about["false_alarms"] == run.detector.threshold.achieved
    model = onnx.load(shop / "run" / "export" / "model.onnx")
    onnx.checker.check_model(model)
    assert [[dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]] == [["n", "height", "width", 3]]
    assert str(Path(winnow.__file__).parent).encode() not in (shop / "run" / "export" / "model.onnx").read_bytes()


def test_two_hundred_pictures_of_odd_sizes(shop: Path) -> None:
    run, session, rng = run_of(shop), session_of(shop / "run" / "export" / "model.onnx"), np.random.default_rng(0)
    given, scaled = [], []
    for number in range(200):
        size = tuple(int(side) for side in rng.integers(5, 120, 2))
        picture = Image.fromarray((stripes if number % 2 else blocks)(rng)).resize(size, Image.Resampling.BICUBIC)
        given.append(session.run(["probabilities", "score"], {INPUT: np.asarray(picture)[None]}))
        scaled.append(np.asarray(picture.resize(SIZE[::-1], Image.Resampling.BILINEAR)))
    encodings = encode(load_network(run.folder), np.stack(scaled), decode=False, quiet=True)
    own = run.classifier.predict_proba(encodings.codes)
    assert abs(np.concatenate([one for one, _ in given]) - own).max() < 0.01
    scores = run.detector.score(encodings)
    apart = abs(np.concatenate([one for _, one in given]) - scores) / np.maximum(abs(scores), run.detector.calibration.std())
    assert np.median(apart) < 1e-3 and np.quantile(apart, 0.95) < 0.05


def test_again_the_same_bytes_and_one_output_alone(shop: Path, tmp_path: Path) -> None:
    run = run_of(shop)
    result = run.export(tmp_path / "größe 绿.onnx")
    assert result["file"].read_bytes() == (shop / "run" / "export" / "model.onnx").read_bytes()
    assert result["bytes"] == result["file"].stat().st_size and result["seconds"] > 0 and result["opset"] == 18
    assert all(value < TOLERANCE for name, value in result["parity"].items() if name != "steps")
    alone = run.export(tmp_path / "alone.onnx", only="classifier")
    assert alone["outputs"] == ["probabilities"] and alone["bytes"] < result["bytes"]
    session = session_of(tmp_path / "alone.onnx")
    assert "threshold" not in session.get_modelmeta().custom_metadata_map
    assert "tells no foreign pictures" in alone["card"].read_text(encoding="utf-8")


def test_the_card_says_what_was_measured_and_its_example_runs(shop: Path, tmp_path: Path) -> None:
    run, card = run_of(shop), (shop / "run" / "export" / "model.md").read_text(encoding="utf-8")
    measured = run.folder.result("classify")
    for fact in (f"{measured['macro_f1']:.3f}", f"{measured['labelled']:,} labels", "größe 绿", f"{run.detector.threshold.value:.6g}",
                 "onnxruntime", *measured["notes"], run.folder.content["versions"]["torch"]):  # fmt: skip
        assert fact in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code and len(code[1].splitlines()) <= 11
    picture = next((shop / "in" / "blocks").iterdir())
    done = subprocess.run(
        [sys.executable, "-c", code[1], picture], cwd=shop / "run" / "export", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = run.predict(picture, to=tmp_path / "predictions")
    assert done.stdout.startswith("blocks") == (told["classes"]["blocks"] == 1)
    assert ("foreign" in done.stdout) == (told["foreign"] == 1)


KILLED = """
import os, sys, winnow
def stop(*args): os.kill(os.getpid(), 9)
run = winnow.Run(sys.argv[1])
os.replace = stop
run.export(sys.argv[2], only="classifier")
"""


def test_killed_in_between_the_old_file_stays(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, shop / "run", tmp_path / "model.onnx"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "model.onnx").read_bytes() == b"old"
    assert not (tmp_path / "model.md").exists()


@pytest.fixture(scope="module")
def cloths(tmp_path_factory: pytest.TempPathFactory) -> winnow.Run:
    """A small inspection by a VAE: grey patches, all three decisions, and a classifier of the rolls' halves."""
    folder = tmp_path_factory.mktemp("cloths")
    write_cloth(folder / "good", 24)
    run = winnow.Run(folder / "run", "inspection-vae", size=(16, 16), width=4, latent=4, batch=16, iterations=20, check_every=10, fast=20)
    run.ingest(folder / "good")
    run.train()
    run.encode()
    run.calibrate()
    return run


def test_of_patches_the_size_is_fixed_and_a_picture_has_a_threshold(cloths: winnow.Run, tmp_path: Path) -> None:
    cloths.set(decision="reconstruction")
    cloths.export(tmp_path / "patches.onnx")
    session, pixels = session_of(tmp_path / "patches.onnx"), pixels_of(cloths)
    assert session.get_inputs()[0].shape == ["n", 16, 16, 1]
    detector = load_detector(cloths.folder)
    about = json.loads(session.get_modelmeta().custom_metadata_map["winnow"])
    assert about["picture_threshold"] == pytest.approx(by_picture(detector).threshold.value)
    assert about["ingest"]["patches"] is True and about["channels"] == 1
    way = load_way(cloths.folder, "reconstruction", detector.scorer.reads())
    check(tmp_path / "patches.onnx", Graph(way.model, beside=way.beside, detector=detector), pixels, any_size=False)
    assert "most foreign patch" in (tmp_path / "patches.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("decision", ["latent", "fast", "reconstruction"])
def test_every_decision_has_its_graph(cloths: winnow.Run, decision: str) -> None:
    detector = load_detector(cloths.folder, decision)
    way, pixels = load_way(cloths.folder, decision, detector.scorer.reads()), pixels_of(cloths)
    network = load_network(cloths.folder)
    codes = encode(network, pixels, decode=False, quiet=True).codes
    labels = np.array(["left", "right"] * (len(pixels) // 2) + [""] * (len(pixels) % 2), object)
    graph = Graph(way.model, beside=way.beside, decode=way.decode, detector=detector, classifier=Classifier().fit(codes, labels),
                  classifier_network=network if decision == "fast" else None)  # fmt: skip
    same_as_the_run(graph, pixels[:50])


def test_the_fast_decision_and_a_classifier_have_two_networks_in_one_file(cloths: winnow.Run, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    pool = Pool.open(cloths.folder.folder("ingest"))
    rows = [f'"{name}",{"odd" if place % 2 else "even"}' for place, name in enumerate(pool.column("id"))]
    labels.write_text("\n".join(["id,label", *rows]), encoding="utf-8")
    run = winnow.Run(shutil.copytree(cloths.folder.path, tmp_path / "run"))
    run.classify(labels=labels, folds=2)
    result = run.set(decision="fast").export()
    assert result["outputs"] == ["probabilities", "score", "p_value"] and result["decision"] == "fast"
    found = session_of(result["file"]).run(["probabilities"], {INPUT: pool.pixels(slice(0, 20))})[0]
    np.testing.assert_allclose(found, run.classifier.predict_proba(run.encodings.codes)[:20], rtol=1e-3, atol=1e-4)


# --- what is refused -----------------------------------------------------------------------------------------------------


class Noisy(Model):
    """A user's own model that gives something else every time."""

    def __init__(self, size, channels) -> None:
        super().__init__()
        self.size, self.channels = size, channels
        self.register_buffer("weight", torch.ones(1))

    def forward(self, images, decode=True, noise=None) -> Measures:
        return Measures(images.mean(dim=(2, 3)) + 0.05 * torch.rand(1) * self.weight)

    def config(self) -> dict:
        return {}


class Choosy(Noisy):
    """One that looks at its pictures before it decides what to compute."""

    def forward(self, images, decode=True, noise=None) -> Measures:
        return Measures(images.mean(dim=(2, 3)) * (2.0 if float(images.mean()) > 0.4 else 1.0))


@pytest.mark.parametrize(("kind", "message"), [(Noisy, "another (probabilities|score)"), (Choosy, "cannot write the network 'Choosy'")])
def test_a_network_that_does_not_give_the_same_is_refused_and_nothing_written(kind: type[Model], message: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"old")
    pixels = drawn(20)
    with pytest.raises(ModelError, match=message):
        export(graph_of(kind(SIZE, 3), pixels, scorer="gaussian"), tmp_path / "model.onnx", pixels=pixels, metadata={})
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"old"


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
    pixels, graph = drawn(8), graph_of(random_autoencoder(), drawn(20), scorer="reconstruction")
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
    run.set(decision="fast")
    with pytest.raises(OptionError, match="no decision 'fast'"):
        run.export()
    run.set(decision="reconstruction", false_alarms=0.2)
    with pytest.raises(RunError, match="'calibrate' wrote is older"):
        run.export()
    with pytest.raises(RunError, match="is not done"):
        winnow.Run(tmp_path / "empty", recipe="match").export()
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


def test_a_vote_of_fewer_pictures_than_asked_for() -> None:
    points = np.eye(3, dtype=np.float32)
    head = Neighbours(10).fit(points, np.array([0, 1, 1]), 2)
    found = heads.TWINS[Neighbours](head)(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(found, head.logits(points), rtol=1e-6)


def test_a_match_by_its_decoder_at_other_sizes(finished_run: Path, tmp_path: Path) -> None:
    run = winnow.Run(finished_run)
    result = run.export(tmp_path / "match.onnx")
    assert result["outputs"] == ["score", "p_value"] and result["parity"]["score"] < TOLERANCE
    assert onnxruntime.InferenceSession(str(result["file"])).run(None, {INPUT: np.zeros((1, 1, 1, 3), np.uint8)})[0].shape == (1,)
