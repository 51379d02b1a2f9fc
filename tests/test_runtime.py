"""An exported file predicts without torch: the same table, the same pictures read, and clear words for what is wrong."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import winnow
from winnow import show
from winnow.deploy.runtime import Deployed, with_sum
from winnow.errors import EXTRAS, DataError, InputError, MissingExtra, ModelError, OptionError
from winnow.files import sha256
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest
from winnow.pool.patches import picture_of
from winnow.pool.pool import Pool
from winnow.steps.predict_onnx import predict_onnx

from conftest import winnow_command
from exported import COLOURS, ODD, expected, metadata, write_exported
from tiny_detectors import BLUE, write_yolox
from videos import plain, write

ROOT = Path(__file__).parent.parent
ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from winnow.cli import main
main(sys.argv[1:])
"""
BLOCKED = tuple(sorted(set(EXTRAS) - {"onnxruntime"}))


def without(names: tuple[str, ...], *words: object, **options) -> subprocess.CompletedProcess[str]:
    """Run the command `winnow` where these libraries cannot be imported."""
    code = [sys.executable, "-c", ABSENT.format(names=names), *map(str, words)]
    return subprocess.run(code, capture_output=True, text=True, timeout=120, check=False, **options)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_exported(tmp_path_factory.mktemp("exported") / "modèle 模型.onnx")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return three pictures of one colour each, one white, a broken one, and a film of two seconds of red and two of blue."""
    folder = tmp_path_factory.mktemp("sources") / "Straße"
    folder.mkdir()
    for name, colour in (
        ("red", (200, 20, 20)),
        ("green", (10, 180, 30)),
        ("blue", (10, 20, 220)),
        ("white", (250, 251, 252)),
    ):
        Image.new("RGB", (50, 41), colour).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    write(folder / "film.mp4", [plain((200, 30, 30))] * 20 + [plain((30, 30, 200))] * 20, rate=10)
    return folder


# ---- the file


def test_it_gives_what_the_graph_says(model: Path):
    deployed = winnow.Deployed.open(str(model))
    assert (deployed.classes, deployed.threshold, deployed.false_alarm_rate) == (COLOURS, 0.6, 0.01)
    assert (deployed.size, deployed.channels, deployed.version, deployed.picture_threshold) == (
        (24, 32),
        3,
        "0.1.0",
        None,
    )
    assert deployed.ingest == IngestOptions(size=(24, 32), workers=1)
    pictures = np.random.default_rng(0).integers(0, 256, (7, 30, 17, 3), dtype=np.uint8)
    found, right = deployed(pictures), expected(pictures)
    assert list(found) == [name for name in right if name not in ("directions", "anomaly_map")]
    for name, values in found.items():
        assert values.dtype == np.float32 and np.allclose(values, right[name], atol=1e-5)
    none = deployed(pictures[:0])
    assert {name: values.shape for name, values in none.items()} == {
        "probabilities": (0, 3),
        "score": (0,),
        "p_value": (0,),
    }


def test_a_file_may_have_a_classifier_or_a_detector_alone(tmp_path: Path):
    pictures = np.zeros((2, 24, 32, 1), np.uint8)
    grey = IngestOptions(size=(24, 32), grey=True)
    detector = winnow.Deployed.open(write_exported(tmp_path / "a.onnx", classes=None, ingest=grey))
    assert detector.classes is None and set(detector(pictures)) == {"score", "p_value"}
    classifier = winnow.Deployed.open(write_exported(tmp_path / "b.onnx", classes=["one"], threshold=None, ingest=grey))
    assert classifier.threshold is None and set(classifier(pictures)) == {"probabilities"}


@pytest.mark.parametrize(
    "pictures",
    [
        np.zeros((24, 32, 3), np.uint8),
        np.zeros((2, 3, 24, 32), np.uint8),
        np.zeros((2, 24, 32, 1), np.uint8),
        np.zeros((2, 24, 32, 3), np.float32),
        np.zeros((2, 0, 32, 3), np.uint8),
        [["no picture"]],
        None,
    ],
)
def test_other_arrays_are_refused(pictures, model: Path):
    with pytest.raises(DataError, match=r"uint8 of shape \(n, height, width, 3\)"):
        winnow.Deployed.open(model)(pictures)


def test_a_file_of_patches_takes_patches_alone(tmp_path: Path):
    deployed = winnow.Deployed.open(
        write_exported(tmp_path / "a.onnx", ingest=IngestOptions(size=(16, 16), patches=True))
    )
    assert len(deployed(np.zeros((3, 16, 16, 3), np.uint8))["score"]) == 3
    with pytest.raises(DataError, match=r"\(n, 16, 16, 3\), not uint8 \(3, 16, 17, 3\)"):
        deployed(np.zeros((3, 16, 17, 3), np.uint8))


def test_outputs_that_are_not_finite_are_refused(tmp_path: Path):
    import onnx

    graph = onnx.load(write_exported(tmp_path / "a.onnx"))
    next(one for one in graph.graph.initializer if one.name == "one").CopyFrom(
        onnx.numpy_helper.from_array(np.float32("nan"), "one")
    )
    (tmp_path / "b.onnx").write_bytes(with_sum(graph.SerializeToString()))
    with pytest.raises(DataError, match="p_value of picture 0 is not finite"):
        winnow.Deployed.open(tmp_path / "b.onnx")(np.zeros((2, 24, 32, 3), np.uint8))


# ---- files that are none


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 4096, b"pictures of cats\n", np.random.default_rng(0).bytes(5000), b"\x08\x08", b"\xff\xd8\xff"],
)
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path):
    path = tmp_path / "größe.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"größe\.onnx") as caught:
        winnow.Deployed.open(path)
    assert caught.value.remedy and "\n" not in caught.value.message


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    for path in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(ModelError, match=f"There is no file {re.escape(str(path))}"):
            winnow.Deployed.open(path)


def test_a_truncated_file_is_refused(model: Path, tmp_path: Path):
    content, cut = model.read_bytes(), tmp_path / "cut.onnx"
    for length in (*range(0, len(content), 7), len(content) - 1):
        cut.write_bytes(content[:length])
        with pytest.raises(ModelError, match="not written by winnow export, or it is not whole"):
            winnow.Deployed.open(cut)


def test_one_flipped_bit_or_a_byte_more_is_told_of(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    content, changed = model.read_bytes(), tmp_path / "changed.onnx"
    for place in (*range(0, len(content), 5), len(content) - 1):
        changed.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        with pytest.raises(ModelError, match=r"changed\.onnx (is damaged|was not written)"):
            winnow.Deployed.open(changed)
    changed.write_bytes(content + b"\0")
    with pytest.raises(ModelError, match=r"changed\.onnx was not written"):
        winnow.Deployed.open(changed)
    done = winnow_command("predict", tmp_path, "--onnx", changed, "--to", tmp_path / "out")
    assert done.returncode == 1 and "changed.onnx" in done.stderr and not (tmp_path / "out").exists()


def test_other_programs_can_read_a_file_with_its_sum(model: Path):
    import onnx

    last = onnx.load(model).metadata_props[-1]
    assert (last.key, len(last.value)) == ("winnow_sha256", 64)
    onnx.checker.check_model(onnx.load(model))


GOOD = metadata(COLOURS, 0.6, IngestOptions(size=(24, 32)))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "not written by winnow export"),
        ("no JSON", "damaged"),
        ("[1, 2]", "damaged"),
        ("[" * 100_000, "damaged"),
        ('{"format": 1}', "damaged"),
        ({**GOOD, "format": 4}, "format 4, this version of Winnow reads 3"),
        ({**GOOD, "calibration": {"scores": [0.1], "looks": {}, "directions": 3}}, r"promise .*directions \(1, 3\)"),
        ({**GOOD, "map_level": 0.5}, "of the two levels of its anomaly maps one is missing"),
        (
            {**GOOD, "map_usual": 0.1, "map_level": 0.5},
            r"promise probabilities \(1, 3\), score \(1,\), p_value \(1,\), anomaly_map",
        ),
        ({**GOOD, "classes": ["a", 7, "c"]}, "damaged"),
        ({**GOOD, "threshold": "high"}, "damaged"),
        ({**GOOD, "threshold": float("nan")}, "damaged"),
        ({**GOOD, "ingest": {"size": [24, 32], "colour": 3}}, "damaged"),
        ({**GOOD, "size": [24, 24]}, "size and channels"),
        ({**GOOD, "channels": 1}, "size and channels"),
        ({**GOOD, "classes": COLOURS[:2]}, r"probabilities \(1, 3\).* promise probabilities \(1, 2\)"),
        ({**GOOD, "classes": None}, r"promise score \(1,\)"),
        ({**GOOD, "threshold": None}, r"promise probabilities \(1, 3\)\."),
    ],
)
def test_wrong_metadata_are_refused(said, words: str, tmp_path: Path):
    with pytest.raises(ModelError, match=words) as caught:
        winnow.Deployed.open(write_exported(tmp_path / "a.onnx", said=said))
    assert "a.onnx" in caught.value.message and caught.value.remedy


def test_a_network_of_another_program_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="not written by winnow export"):
        winnow.Deployed.open(write_yolox(tmp_path / "yolox.onnx"))


def test_without_onnxruntime_it_says_what_to_install(model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"needs onnxruntime.*\n.*winnow-vision\[runtime\]"):
        winnow.Deployed.open(model)


# ---- the table


def test_pictures_and_a_video_by_a_command_without_torch(model: Path, sources: Path, tmp_path: Path):
    done = without(BLOCKED, "predict", sources, "--onnx", model, "--to", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"8 pictures: 3 red, 1 {ODD}, 4 blue; 1 does not belong; 1 refused." in done.stdout
    rows = table(tmp_path / "out")
    names = [f"p_{name}" for name in COLOURS]
    assert list(rows[0]) == ["id", "source", "time", "class", "probability", *names, "p_value", "belongs"]
    for row, pixels in zip(rows, pool_of(model, sources, tmp_path / "pool").pixels(slice(None)), strict=True):
        right = expected(pixels[None])
        chance = right["probabilities"][0]
        assert row["class"] == COLOURS[chance.argmax()]
        assert [float(row[name]) for name in ("probability", *names)] == pytest.approx(
            [chance.max(), *chance], abs=1e-4
        )
        assert float(row["p_value"]) == pytest.approx(right["p_value"][0], rel=1e-4)
        assert row["belongs"] == ("yes" if right["score"][0] <= 0.6 else "no")
    assert [(row["time"], row["class"]) for row in rows if row["time"]] == [
        ("0.000", "red"), ("1.000", "red"), ("2.000", "blue"), ("3.000", "blue"),
    ]  # fmt: skip
    counts = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert counts == {
        "pictures": 8,
        "classes": dict(zip(COLOURS, (3, 1, 4), strict=True)),
        "anomalous": 1,
        "defects": None,
        "refused": 1,
        "notes": counts["notes"],
        "worst": [
            {"name": row["source"], "p_value": float(row["p_value"]), "region": ""}
            for row in rows
            if row["belongs"] == "no"
        ],
        "false_discoveries": None,
        "flagged": None,
        "sha256": {name: sha256(tmp_path / "out" / name) for name in ("predictions.csv", "quarantine.csv")},
        "seal": counts["seal"],
    }
    assert any(f"1 refused, {sources}/broken.png: it is not a picture" in note for note in counts["notes"])


def pool_of(file: Path, source: Path, folder: Path) -> Pool:
    """Return a source read as the file reads it."""
    ingest([source], folder, Deployed.open(file).ingest)
    return Pool.open(folder)


def test_more_pictures_than_a_batch_keep_their_order(model: Path, pictures: Path, tmp_path: Path):
    result = predict_onnx(model, [pictures], to=tmp_path)
    scores = [1 - float(row["p_value"]) for row in table(tmp_path)]
    assert result.pictures == len(scores) == 96
    assert scores == pytest.approx(
        expected(pool_of(model, pictures, tmp_path / "pool").pixels(slice(None)))["score"], abs=1e-5
    )


def test_only_what_the_file_has_is_in_the_table(sources: Path, tmp_path: Path):
    ingest = IngestOptions(size=(24, 32), every=0.5)
    for name, has, columns in (
        ("detector", {"classes": None}, ["id", "source", "time", "p_value", "belongs"]),
        (
            "classifier",
            {"threshold": None},
            ["id", "source", "time", "class", "probability", *(f"p_{one}" for one in COLOURS)],
        ),
    ):
        file = write_exported(tmp_path / f"{name}.onnx", ingest=ingest, **has)
        result = predict_onnx(file, [sources / "film.mp4", sources / "white.png"], to=tmp_path / name)
        rows = table(tmp_path / name)
        assert list(rows[0]) == columns and len(rows) == result.pictures == 9  # a frame each half second
        assert (result.classes is not None, result.anomalous is not None) == (name == "classifier", name == "detector")
        assert ("red" in show.predict(result), "belong" in show.predict(result)) == (
            name == "classifier",
            name == "detector",
        )


def test_patches_are_judged_as_pictures_or_each_by_its_class(tmp_path: Path):
    ingest = IngestOptions(size=(16, 16), patches=True, blank=0)
    (tmp_path / "in").mkdir()
    dark, rng = np.full((32, 48, 3), 40, np.uint8), np.random.default_rng(0)
    for name, bright in (("a", 200), ("b", 0), ("copy of b", 0), ("c", 130)):
        picture = dark.copy()
        picture[16:, 32:] = np.maximum(picture[16:, 32:], bright)
        picture[:16, :16] += rng.integers(0, 9, (16, 16, 3), dtype=np.uint8) if "b" not in name else 0
        Image.fromarray(picture).save(tmp_path / "in" / f"{name}.png")
    file = write_exported(tmp_path / "whole.onnx", classes=None, threshold=0.3, ingest=ingest, picture_threshold=0.6)
    assert predict_onnx(file, [tmp_path / "in"], to=tmp_path / "whole").pictures == 4
    rows = table(tmp_path / "whole")
    assert [Path(row["source"]).stem for row in rows] == ["a", "b", "c", "copy of b"]
    assert [row["belongs"] for row in rows] == [
        "no",
        "yes",
        "yes",
        "yes",
    ]  # by the threshold of pictures, not of patches
    assert [float(row["p_value"]) for row in rows] == pytest.approx(
        [1 - level / 255 for level in (200, 40, 130, 40)], abs=1e-4
    )
    ids = pool_of(file, tmp_path / "in", tmp_path / "pool").column("id")
    assert {row["id"] for row in rows} == set(picture_of(ids)) and len(ids) == 24
    file = write_exported(tmp_path / "each.onnx", threshold=0.3, ingest=ingest, picture_threshold=0.6)
    assert predict_onnx(file, [tmp_path / "in"], to=tmp_path / "each").pictures == 24
    assert sum(row["belongs"] == "no" for row in table(tmp_path / "each")) == 2


def marked(path: Path, *places: tuple[int, int]) -> Path:
    """Write a dark picture of 48x32 with bright spots of 4x4."""
    pixels = np.full((32, 48, 3), 40, np.uint8)
    for x, y in places:
        pixels[y : y + 4, x : x + 4] = 250
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_heatmaps_are_drawn_without_torch(tmp_path: Path):
    ingest = IngestOptions(size=(16, 16), patches=True, blank=0, workers=1)
    limits = {"threshold": 0.2, "picture_threshold": 0.2, "levels": (0.1, 0.5)}
    file = write_exported(tmp_path / "a.onnx", classes=None, ingest=ingest, **limits)
    marked(tmp_path / "in" / "good.png")
    marked(tmp_path / "in" / "two.png", (4, 4), (40, 22))
    words = ("predict", tmp_path / "in", "--onnx", file, "--to", tmp_path / "out", "--heatmaps", tmp_path / "maps")
    done = without(BLOCKED, *words)
    assert done.returncode == 0, done.stderr
    assert "2 pictures: 1 does not belong; 2 defects." in done.stdout
    names = [f"{place:05d}-{name}" for place, name in enumerate(("good", "two"))]
    kinds = ("map", "mask", "overlay")
    drawn = {f"{name}.{kind}.png" for name in names for kind in kinds}
    assert {path.name for path in (tmp_path / "maps").glob("*.png")} == drawn
    with (tmp_path / "out" / "defects.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["source", "time", "x", "y", "width", "height", "score"]
    assert {tuple(int(row[side]) for side in ("x", "y", "width", "height")) for row in rows} == {
        (4, 4, 4, 4),
        (40, 22, 4, 4),
    }
    mask, values = (np.asarray(Image.open(tmp_path / "maps" / f"{names[1]}.{kind}.png")) for kind in ("mask", "map"))
    assert mask.sum() == 32 and mask[4:8, 4:8].all() and mask[22:26, 40:44].all()
    assert set(values[~mask]) == {18} and set(values[mask]) == {255}  # (40 / 255 - 0.1) / 0.8 of 255


def test_defects_are_listed_without_heatmaps_as_well(tmp_path: Path):
    ingest = IngestOptions(size=(24, 32), tiles=True, workers=1)
    limits = {"threshold": 0.16, "picture_threshold": 0.16, "levels": (0.15, 0.5)}
    file = write_exported(tmp_path / "a.onnx", classes=None, ingest=ingest, **limits)
    marked(tmp_path / "in" / "good.png")
    marked(tmp_path / "in" / "one.png", (8, 8))
    found = predict_onnx(file, [tmp_path / "in"], to=tmp_path / "out")
    assert found.defects == 1 and len((tmp_path / "out" / "defects.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"format": 1, "picture_threshold": 0.5},
            r"anomaly maps, which .*a\.onnx, written by Winnow 0\.1\.0, does not have.*\n.*winnow export",
        ),
        ({"ingest": IngestOptions(size=(24, 32))}, r"a run that looks for damage.*\n.*winnow export"),
        ({"classes": COLOURS, "threshold": None}, r"a run that looks for damage.*\n.*anomaly model"),
    ],
    ids=["of an earlier version", "whole pictures", "a classifier alone"],
)
def test_a_file_that_does_not_say_where_draws_nothing(changed, words: str, sources: Path, tmp_path: Path):
    given = {"classes": None, "ingest": IngestOptions(size=(24, 32), tiles=True), **changed}
    file = write_exported(tmp_path / "a.onnx", **given)
    with pytest.raises(OptionError, match=words):
        predict_onnx(file, [sources / "red.png"], to=tmp_path / "out", heatmaps=tmp_path / "maps")
    assert not (tmp_path / "out").exists() and not (tmp_path / "maps").exists()
    found = predict_onnx(file, [sources / "red.png"], to=tmp_path / "out")
    assert found.pictures == 1 and found.defects is None and not (tmp_path / "out" / "defects.csv").exists()
    with pytest.raises(ModelError, match="has no anomaly maps"):
        winnow.Deployed.open(file).anomaly_maps(np.zeros((1, 24, 32, 3), np.uint8))


def test_persons_are_found_by_the_detector_given_or_that_of_the_variable(tmp_path: Path):
    scene = np.zeros((64, 64, 3), np.uint8)
    scene[8:16, 8:16] = scene[40:48, 40:48] = BLUE
    Image.fromarray(scene).save(tmp_path / "two.png")
    detector = write_yolox(tmp_path / "yolox.onnx")
    file = write_exported(tmp_path / "a.onnx", ingest=IngestOptions(size=(24, 16), people=True, margin=0.0))
    words = ("predict", tmp_path / "two.png", "--onnx", file, "--to")
    unnamed = {name: value for name, value in os.environ.items() if name != "WINNOW_OBJECT_DETECTOR"}
    done = without(BLOCKED, *words, tmp_path / "none", env=unnamed)
    assert done.returncode == 1 and "WINNOW_OBJECT_DETECTOR" in done.stderr and "--object-detector" in done.stderr
    done = without(BLOCKED, *words, tmp_path / "given", "--object-detector", detector, env=unnamed)
    assert done.returncode == 0, done.stderr
    assert [row["class"] for row in table(tmp_path / "given")] == ["blue", "blue"]
    done = without(BLOCKED, *words, tmp_path / "named", env={**unnamed, "WINNOW_OBJECT_DETECTOR": str(detector)})
    assert table(tmp_path / "named") == table(tmp_path / "given")
    done = without(BLOCKED, *words, tmp_path / "hub", "--object-detector", "fasterrcnn_resnet50_fpn", env=unnamed)
    assert done.returncode == 1 and "winnow predict needs torchvision, which is not installed." in done.stderr


def test_the_table_is_replaced_whole(model: Path, sources: Path, tmp_path: Path):
    predict_onnx(model, [sources / "red.png", sources / "blue.png"], to=tmp_path)
    assert predict_onnx(model, [sources / "blue.png"], to=tmp_path).pictures == 1
    assert [row["class"] for row in table(tmp_path)] == ["blue"]
    before = (tmp_path / "predictions.csv").read_bytes()
    with pytest.raises(InputError, match="absent"):
        predict_onnx(model, [tmp_path / "absent"], to=tmp_path)
    assert (tmp_path / "predictions.csv").read_bytes() == before
    counts = json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
    assert counts["pictures"] == 1 and not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
def test_killed_and_called_again_it_writes_the_same(model: Path, pictures: Path, tmp_path: Path):
    predict_onnx(model, [pictures], to=tmp_path / "whole")
    words = ["predict", str(pictures), "--onnx", str(model), "--to", str(tmp_path / "killed")]
    for seconds in (0.5, 0.8, 1.1):
        process = subprocess.Popen([sys.executable, "-m", "winnow.cli", *words], stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        process.kill()
        process.wait()
        for name in ("predictions.json", "predictions.csv"):  # there and whole, or not there
            path = tmp_path / "killed" / name
            assert not path.exists() or path.read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert winnow_command(*words).returncode == 0
    for name in ("predictions.json", "predictions.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_folder_that_cannot_be_written_and_a_detector_without_use_are_refused(
    model: Path, sources: Path, tmp_path: Path
):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"--to .*file is no folder"):
        predict_onnx(model, [sources], to=tmp_path / "file")
    with pytest.raises(OptionError, match="whole pictures"):
        predict_onnx(model, [sources], to=tmp_path / "out", object_detector="yolox.onnx")


# ---- the command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--onnx", "{model}", "--run", "x"], "Of --run and --onnx both were given"),
        ([], "Of --run and --onnx none were given"),
        (["--onnx", "absent.onnx"], "There is no file absent.onnx"),
        (["--onnx", "{model}", "--trust", "a:B"], "--trust has nothing to do with --onnx"),
        (["--run", "x", "--heatmaps", "maps"], "--heatmaps has nothing to do with --run"),
        (["--run", "x", "--object-detector", "y.onnx"], "--object-detector has nothing to do with --run"),
        (["--onnx", "{text}"], "was not written by winnow export"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_a_remedy(
    words: list[str], said: str, model: Path, sources: Path, tmp_path: Path
):
    (tmp_path / "text").write_text("no network")
    done = winnow_command("predict", sources, *(word.format(model=model, text=tmp_path / "text") for word in words), cwd=tmp_path,
                          env={"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 2
    assert not (tmp_path / "predictions").exists()


def test_results_go_to_the_current_folder_unless_told(model: Path, sources: Path, tmp_path: Path):
    done = without(
        BLOCKED,
        "predict",
        sources / "red.png",
        "--onnx",
        model,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0 and "1 picture: 1 red" in done.stdout, done.stderr
    assert len(table(tmp_path / "predictions")) == 1


# ---- the small environment


@pytest.mark.slow
def test_commands_that_need_more_say_so(model: Path, sources: Path, tmp_path: Path):
    about = {"format": 2, "recipe": "oneclass-from-scratch", "options": {}, "set_by": {}, "sources": []}
    (tmp_path / "run.json").write_text(json.dumps(about))
    for words in (
        ["train", "--run", tmp_path],
        ["run", "oneclass-from-scratch", sources, "--to", tmp_path / "new"],
        ["report", "--run", tmp_path],
    ):
        done = without(BLOCKED, *words)
        assert done.returncode == 1
        assert re.fullmatch(
            rf"winnow: winnow {words[0]} needs \w+, which is not installed\.\n  Install it: pip install 'winnow-vision\[learn\]'\n",
            done.stderr,
        ), done.stderr
    assert "Traceback" in without(BLOCKED, "train", "--run", tmp_path, "--debug").stderr
    done = without((*BLOCKED, "onnxruntime"), "predict", sources, "--onnx", model, "--to", tmp_path / "out")
    assert done.returncode == 1 and "winnow-vision[runtime]" in done.stderr and "Traceback" not in done.stderr


def test_a_module_that_is_no_extra_is_not_explained_away():
    done = without((*BLOCKED, "winnow.options"), "recipes")
    assert "Traceback" in done.stderr and "winnow-vision[" not in done.stderr


@pytest.mark.parametrize("words", [["recipes"], ["--help"], ["--version"], ["predict", "--help"]])
def test_the_rest_works_without_any_extra(words: list[str]):
    done = without((*BLOCKED, "onnxruntime"), *words)
    assert done.returncode == 0 and done.stdout and not done.stderr


def test_what_the_small_environment_installs():
    """An extra's requirements, and those of the extras it names, bring torch only where something is learnt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    small = {name_of(one) for one in (*project["dependencies"], *extras["runtime"])}
    assert small == {"numpy", "Pillow", "av", "pyarrow", "pydantic", "cyclopts", "rich", "onnxruntime"}
    packages = {
        "sklearn": "scikit-learn",
        "faiss": "faiss-cpu",
        "jinja2": "Jinja2",
        "array_api_compat": "array-api-compat",
        "python_multipart": "python-multipart",
    }
    brought = {extra: {name_of(one) for one in wanted} for extra, wanted in extras.items()}
    for library, extra in EXTRAS.items():
        assert library == "starlette" or packages.get(library, library) in brought[extra]  # FastAPI brings starlette
    assert "winnow-vision[runtime]" in extras["serve"] and "winnow-vision[serve]" in extras["learn"]
    assert "winnow-vision[learn]" in extras["export"]


def name_of(requirement: str) -> str:
    return re.split(r"[><=\[;]", requirement)[0].strip()


def test_no_module_of_the_path_imports_another_library():
    """What is imported on the way is installed by the small environment: the base libraries and what these bring."""
    code = "import sys, winnow.steps.predict_onnx, winnow.commands, winnow.steps.doctor; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not set(EXTRAS) & {name.partition(".")[0] for name in loaded}
