"""Damage that looks blank, in runs of patches: a picture with clearly more blank than any good one is damaged, there."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_inspection import SMALL

import winnow
from winnow.deploy.runtime import with_sum
from winnow.pool.blank import SPARE, boxes_by_blank, usual_blank
from winnow.pool.patches import boxes_of
from winnow.pool.pool import Pool
from winnow.results import Calibrated
from winnow.steps.predict_onnx import predict_onnx

from cloth import HEIGHT, WIDTH, cloth

pytestmark = pytest.mark.slow

PLACES = {  # rows and columns that are blank, and how bright
    "black": (slice(None), slice(None), 0),
    "white": (slice(None), slice(None), 255),
    "half missing": (slice(None), slice(WIDTH // 2, None), 0),
    "torn third": (slice(None), slice(0, 48), 30),
    "overexposed third": (slice(0, 16), slice(None), 255),
    "middle missing": (slice(None), slice(64, 112), 40),
}


def with_end(rng: np.random.Generator, blank: int) -> np.ndarray:
    """Return a cloth whose first columns are blank, as the end of a strip is."""
    picture = cloth(rng)
    picture[:, :blank] = 250
    return picture


def spoilt(folder: Path, end: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(9)
    for name, (rows, columns, level) in PLACES.items():
        picture = with_end(rng, end)
        if name == "torn third" and end:
            columns = slice(WIDTH - 48, None)
        picture[rows, columns] = level
        Image.fromarray(picture).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module", params=[0, 16])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[winnow.Run, Path]:
    """A run of cloths, blank nowhere or at their ends, with new good ones in `new` and spoilt ones in `bad`."""
    folder, rng = tmp_path_factory.mktemp("blank"), np.random.default_rng(5)
    for kind, count in (("good", 40), ("new", 20)):
        (folder / kind).mkdir()
        for number in range(count):
            Image.fromarray(with_end(rng, request.param)).save(folder / kind / f"{number:02d}.png")
    spoilt(folder / "bad", request.param)
    options = SMALL | {"fast": 60, "mode": "fast", "iterations": 60, "border": 0}
    return winnow.Run(folder / "run", "inspect-texture", **options).fit(folder / "good"), folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def with_metadata(file: Path, to: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write an exported file again whose description of itself was changed."""
    import onnx

    model = onnx.load(file)
    said = next(entry for entry in model.metadata_props if entry.key == "winnow")
    about = json.loads(said.value)
    change(about)
    said.value = json.dumps(about)
    del model.metadata_props[[entry.key for entry in model.metadata_props].index("winnow_sha256")]
    to.write_bytes(with_sum(model.SerializeToString()))
    return to


def least_p_value(run: winnow.Run) -> float:
    whole = run.folder.result(Calibrated).modes["fast"].whole
    assert whole is not None
    return 1 / (whole.calibrated_on + 1)


def test_blank_damage_is_refused_by_score_with_a_box_and_a_mask(made: tuple[winnow.Run, Path], tmp_path: Path):
    run, folder = made
    found = run.score([folder / "bad", folder / "new"], to=tmp_path / "out", heatmaps=tmp_path / "maps")
    rows = {Path(row["source"]).stem: row for row in table(tmp_path / "out" / "scores.csv")}
    assert found.refused == 0 and len(rows) == 26
    assert "6 of 26 pictures have clearly more blank than any good one" in found.note
    assert sum(row["belongs"] == "no" for name, row in rows.items() if name not in PLACES) <= 6
    defects = table(tmp_path / "out" / "defects.csv")
    for number, name in enumerate(sorted(PLACES)):
        assert rows[name]["belongs"] == "no" and float(rows[name]["p_value"]) == pytest.approx(
            least_p_value(run), rel=1e-3
        )
        assert float(rows[name]["score"]) > run.folder.result(Calibrated).modes["fast"].whole.threshold
        blank = np.asarray(Image.open(folder / "bad" / f"{name}.png")).astype(int)
        mask = np.asarray(Image.open(tmp_path / "maps" / f"{number:05d}-{name}.mask.png"))
        drawn = np.asarray(Image.open(tmp_path / "maps" / f"{number:05d}-{name}.map.png"))
        flat = blank == PLACES[name][2]
        assert mask[flat].mean() > 0.95 and drawn[flat].mean() > 200, name
        mine = [row for row in defects if Path(row["source"]).stem == name]
        boxed = np.zeros_like(mask)
        for row in mine:
            x, y, width, height = (int(row[side]) for side in ("x", "y", "width", "height"))
            boxed[y : y + height, x : x + width] = True
        assert mine and boxed[mask].all()
    overlay = np.asarray(Image.open(tmp_path / "maps" / "00000-black.overlay.png"))
    assert overlay.shape[:2] == (HEIGHT, WIDTH)
    run.score([folder / "bad"])
    assert "black" in Path(run.report()).read_text(encoding="utf-8")


def test_blank_damage_is_counted_by_evaluate(made: tuple[winnow.Run, Path], tmp_path: Path):
    run, folder = made
    (tmp_path / "masks").mkdir()
    for path in (folder / "bad").iterdir():
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[:, : WIDTH // 2] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / path.name)
    found = run.evaluate(folder / "new", {"spoilt": folder / "bad"}, masks=tmp_path / "masks")
    assert found.anomalous["spoilt"].detection_rate == 1 and found.refused == {}
    assert any(note.startswith("spoilt: 6 of 6 pictures have clearly more blank") for note in found.notes)
    rows = [row for row in table(run.folder.path / "evaluation" / "scores.csv") if row["group"] == "spoilt"]
    assert len(rows) == 6


@pytest.mark.parametrize("made", [16], indirect=True)
def test_the_exported_file_says_the_same_and_an_older_one_what_it_said(made: tuple[winnow.Run, Path], tmp_path: Path):
    pytest.importorskip("onnxscript")
    run, folder = made
    sources = [folder / "bad", folder / "new"]
    run.score(sources, to=tmp_path / "own", heatmaps=tmp_path / "own maps")
    file = run.export(tmp_path / "model.onnx").file
    assert "of the patches is blank" in file.with_suffix(".md").read_text(encoding="utf-8")
    found = predict_onnx(file, sources, to=tmp_path / "other", heatmaps=tmp_path / "other maps")
    assert found.refused == 0 and "6 of 26 pictures have clearly more blank" in " ".join(found.notes)
    own, other = table(tmp_path / "own" / "scores.csv"), table(tmp_path / "other" / "predictions.csv")
    assert [row["belongs"] for row in other] == [row["belongs"] for row in own]
    boxes = [[row[side] for side in ("x", "y", "width", "height")] for row in table(tmp_path / "own" / "defects.csv")]
    assert len(table(tmp_path / "other" / "defects.csv")) == len(boxes)
    for name in PLACES:
        number = sorted(PLACES).index(name)
        masks = [
            np.asarray(Image.open(tmp_path / f"{by} maps" / f"{number:05d}-{name}.mask.png")) for by in ("own", "other")
        ]
        assert (masks[0] != masks[1]).mean() < 0.01
    assert all(float(row["p_value"]) <= 0.01 for row in other[:6])
    older = with_metadata(file, tmp_path / "older.onnx", lambda about: about.pop("blank"))
    found = predict_onnx(older, sources, to=tmp_path / "older")
    assert found.refused == 2 and len(table(tmp_path / "older" / "predictions.csv")) == 24


def test_blank_frames_of_a_video_are_damage_too(made: tuple[winnow.Run, Path], tmp_path: Path):
    from videos import write

    run, _ = made
    end = 16 if usual_blank(Pool.open(run.folder.folder("ingest"))) else 0
    rng = np.random.default_rng(1)
    frames = [with_end(rng, end) if second % 3 else np.zeros((HEIGHT, WIDTH), np.uint8) for second in range(6)]
    film = write(
        tmp_path / "line.mkv",
        [np.repeat(frame[..., None], 3, axis=2) for frame in frames],
        codec="ffv1",
        form="yuv444p",
        rate=1,
    )
    run.score(film, to=tmp_path / "out")
    rows = table(tmp_path / "out" / "scores.csv")
    assert len(rows) == 6 and rows[0]["belongs"] == rows[3]["belongs"] == "no"


def test_good_pictures_of_another_size_keep_their_ends_and_large_spoilt_ones_are_refused(
    made: tuple[winnow.Run, Path], tmp_path: Path
):
    run = made[0]
    end = 16 if usual_blank(Pool.open(run.folder.folder("ingest"))) else 0
    (tmp_path / "large").mkdir()
    rng = np.random.default_rng(2)
    good = cloth(rng, (4 * HEIGHT, 4 * WIDTH))
    good[:, :end] = 250
    half = good.copy()
    half[:, 2 * WIDTH :] = 0
    for name, picture in (("good", good), ("half", half)):
        Image.fromarray(picture).save(tmp_path / "large" / f"{name}.png")
    found = run.score(tmp_path / "large", to=tmp_path / "out")
    assert "1 of 2 pictures have clearly more blank" in found.note
    assert table(tmp_path / "out" / "scores.csv")[1]["belongs"] == "no"


def test_what_good_pictures_have_blank_may_be_blank():
    picture = np.random.default_rng(0).integers(60, 200, (160, 160, 1), np.uint8)
    picture[:, :32] = 250
    for usual, bare in ((None, 0), (0.2, 0), (0.2 - SPARE, 0), (0.19 - SPARE, 20), (0.0, 20)):
        boxes, counts = boxes_by_blank(picture, (16, 16), 0, 3.0, 0, usual)
        assert counts == {"flat": 20, "blank": 20 - bare, "bare": bare} and len(boxes) == 80 + bare
    boxes, counts = boxes_by_blank(picture, (16, 16), 0, 3.0, 1, 0.0)
    own, more = boxes_of(picture, (16, 16), border=1)
    assert counts == {"flat": 20, "blank": more - 20, "bare": 20} and np.array_equal(boxes[:-20], own)
    picture[64:80, 64:96] = 7
    assert boxes_by_blank(picture, (16, 16), 0, 3.0, 0, 0.2)[1]["bare"] == 0
    boxes, counts = boxes_by_blank(picture, (16, 16), 0, 3.0, 0, 0.0)
    assert (
        counts == {"flat": 22, "blank": 0, "bare": 22} and len(boxes) == 100 and [64, 64, 16, 16] in boxes[78:].tolist()
    )
    assert boxes_by_blank(picture * 0, (16, 16), 0, 3.0, 0, 1.0)[1]["bare"] == 100
    assert boxes_by_blank(picture, (16, 16), 0, 0.0, 0, 0.0)[1]["flat"] == 0
    assert len(boxes_by_blank(picture[:8], (16, 16), 0, 3.0, 0, 0.0)[0]) == 0


def test_pools_that_did_not_count_what_is_blank_say_nothing_of_it(made: tuple[winnow.Run, Path]):
    pool = Pool.open(made[0].folder.folder("ingest"))
    most = usual_blank(pool)
    assert most in (0, 0.1)

    class Older:
        pictures = pool.pictures.drop_columns(["flat", "bare"])

    assert usual_blank(Older()) is None  # type: ignore[arg-type]
