"""Persons found in pictures and frames, cut out, and kept as items; killed and resumed, added to, and without any."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_pool import contents

from winnow import show
from winnow.data import video
from winnow.errors import InputError, ModelError, OptionError, RunError
from winnow.objects.crops import Finder, widened
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest
from winnow.pool.originals import Originals
from winnow.pool.patches import read_boxes
from winnow.pool.pool import Pool
from winnow.results import Ingested

from conftest import winnow_command
from tiny_detectors import BLUE, RED, write_fastestdet, write_other, write_yolox
from videos import write

DATA = Path(os.environ.get("WINNOW_DATA", "../shared/data"))


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    return write_yolox(tmp_path_factory.mktemp("detector") / "größe 模型.onnx")


def wanting(detector: Path, **changed: object) -> IngestOptions:
    return IngestOptions(size=(24, 16), people=True, object_detector=str(detector), margin=0.0, **changed)


def scene(
    *blocks: tuple[int, int, tuple[int, int, int]], seed: int = 0, height: int = 64, width: int = 64
) -> np.ndarray:
    """Return a dark picture with some grain and blocks of 8x8 at (x, y): a person each where blue, a bicycle where red."""
    picture = np.random.default_rng(seed).integers(0, 30, (height, width, 3), dtype=np.uint8)
    for x, y, colour in blocks:
        picture[y : y + 8, x : x + 8] = colour
    return picture


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return two persons and a bicycle; nobody; one person; and a film whose every second second shows somebody."""
    made = tmp_path / "Straße"
    made.mkdir()
    for name, blocks in (("a", [(8, 8, BLUE), (40, 40, BLUE), (8, 40, RED)]), ("b", []), ("c", [(24, 16, BLUE)])):
        Image.fromarray(scene(*blocks, seed=ord(name))).save(made / f"{name}.png")
    frames = [
        scene((16 + 8 * second, 24, BLUE), seed=second) if second % 2 == 0 else scene(seed=second)
        for second in range(6)
    ]
    write(made / "film.mkv", frames, codec="ffv1", form="bgr0", rate=1)
    return made


def test_persons_become_items_with_source_time_box_and_confidence(folder, detector, tmp_path):
    result = ingest([folder], tmp_path / "pool", wanting(detector))
    assert (result.pictures, result.videos, result.frames, result.crops, result.empty) == (3, 1, 6, 6, 4)
    assert (result.patches, result.refused, result.copies, result.groups) == (0, 0, 0, 2)
    pool = Pool.open(tmp_path / "pool")
    film = str(folder / "film.mkv")
    assert pool.column("box").tolist() == ["4,4,16,16", "36,36,16,16", "20,12,16,16"] + [
        f"{x},20,16,16" for x in (12, 28, 44)
    ]
    assert pool.column("source").tolist() == [str(folder / "a.png")] * 2 + [str(folder / "c.png")] + [film] * 3
    assert np.isnan(pool.column("time")[:3]).all() and pool.column("time")[3:].tolist() == [0, 2, 4]
    assert pool.column("id")[4] == f"{film}@2.000#28,20,16,16" and pool.column("id")[0].endswith("#4,4,16,16")
    assert set(pool.column("group")) == {str(folder), film} and pool.usable.all()
    np.testing.assert_allclose(pool.column("confidence"), (250 / 255) ** 2, rtol=1e-5)
    about = pool.pictures.to_pylist()
    assert [(row["patches"], row["width"], row["height"], row["colour"]) for row in about] == [(2, 64, 64, True)] + [
        (1, 64, 64, True)
    ] * 4
    assert [row["id"] for row in about[-3:]] == [f"{film}@{second:.3f}" for second in (0, 2, 4)]


def test_crops_are_the_original_scaled_as_a_picture_is(folder, detector, tmp_path):
    ingest([folder], tmp_path / "pool", wanting(detector, objects="person,bicycle"))
    pool = Pool.open(tmp_path / "pool")
    originals = Originals(pool, wanting(detector, objects="person,bicycle"))
    for row in range(len(pool)):
        whole = originals.pixels(row)
        Image.fromarray(whole).save(tmp_path / "crop.png")
        ingest([tmp_path / "crop.png"], tmp_path / f"alone{row}", IngestOptions(size=(24, 16)))
        assert np.array_equal(pool.pixels([row]), Pool.open(tmp_path / f"alone{row}").pixels([0]))


def test_grey_crops(folder, detector, tmp_path):
    ingest([folder], tmp_path / "pool", wanting(detector, grey=True))
    pool = Pool.open(tmp_path / "pool")
    assert pool.pixels([0]).shape == (1, 24, 16, 1) and len(pool) == 6
    assert (pool.column("source")[2], pool.column("box")[2]) == (str(folder / "c.png"), "20,12,16,16")
    whole = Originals(pool, wanting(detector, grey=True)).pixels(2)
    grey = Image.fromarray(whole).convert("L").resize((16, 24), Image.Resampling.BILINEAR)
    assert np.array_equal(pool.pixels([2])[0, ..., 0], np.asarray(grey))


@pytest.mark.parametrize(("box", "margin", "expected"), [
    ((10, 20, 30, 40), 0.0, (10, 20, 30, 40)),
    ((10, 20, 30, 40), 0.1, (7, 16, 36, 48)),
    ((10.5, 20.5, 3.2, 4.2), 0.0, (10, 20, 4, 5)),
    ((10, 20, 30, 40), 2.0, (0, 0, 100, 80)),
    ((-5, -5, 20, 20), 0.0, (0, 0, 15, 15)),
    ((90, 70, 30, 40), 0.5, (75, 50, 25, 30)),
    ((120, 20, 10, 10), 0.1, (100, 19, 0, 12)),
])  # fmt: skip
def test_boxes_are_widened_and_clipped(box, margin, expected):
    assert tuple(widened(np.array([box], float), margin, (80, 100))[0]) == expected


def test_margin_confidence_and_objects_say_what_is_kept(folder, detector):
    picture = scene((0, 0, BLUE), (40, 40, BLUE), (8, 40, (10, 20, 150)), (40, 8, RED))

    def found(**changed: object) -> list[list[int]]:
        return sorted(Finder(wanting(detector).model_copy(update=changed))(picture)[0].tolist())

    assert found() == [[0, 0, 12, 12], [36, 36, 16, 16]]
    assert found(margin=0.5) == [[0, 0, 20, 20], [28, 28, 32, 32]]
    assert found(box_confidence=0.3) == [[0, 0, 12, 12], [4, 36, 16, 16], [36, 36, 16, 16]]
    assert found(objects="bicycle") == [[36, 4, 16, 16]]
    assert len(found(objects=" person , bicycle ")) == 3
    boxes, confidence = Finder(wanting(detector, box_confidence=0.3))(picture)
    assert boxes.shape == (3, 4) and (np.diff(confidence) <= 0).all()
    nothing = Finder(wanting(detector))(scene())
    assert nothing[0].shape == (0, 4) and nothing[1].shape == (0,)


def test_a_detector_that_is_missing_or_wrong_is_refused(folder, detector, tmp_path, monkeypatch):
    monkeypatch.delenv("WINNOW_OBJECT_DETECTOR", raising=False)
    with pytest.raises(OptionError, match="no detector that finds them is named") as raised:
        ingest([folder], tmp_path / "pool", wanting(Path("")).model_copy(update={"object_detector": ""}))
    for word in (
        "--object-detector",
        "WINNOW_OBJECT_DETECTOR",
        "Megvii-BaseDetection/YOLOX",
        "dog-qiuqiu/FastestDet",
        "fasterrcnn",
    ):
        assert word in raised.value.remedy
    for path, error, said in (
        (tmp_path / "gone.onnx", OptionError, "gone.onnx does not exist"),
        (tmp_path, OptionError, "is a folder"),
        (write_other(tmp_path / "other.onnx"), ModelError, "other.onnx is neither YOLOX nor FastestDet"),
        (folder / "a.png", ModelError, "a.png cannot be loaded as an ONNX file"),
    ):
        with pytest.raises(error, match=said):
            ingest([folder], tmp_path / "pool", wanting(path))
    with pytest.raises(OptionError, match=r"--objects 'persom'") as raised:
        ingest([folder], tmp_path / "pool", wanting(detector, objects="car,persom"))
    assert raised.value.remedy == "Did you mean 'person'?"
    with pytest.raises(OptionError, match="--people and --patches"):
        ingest([folder], tmp_path / "pool", wanting(detector, patches=True))
    assert not (tmp_path / "pool").exists()
    monkeypatch.setenv("WINNOW_OBJECT_DETECTOR", str(detector))
    assert ingest([folder], tmp_path / "pool", IngestOptions(people=True)).crops == 6


def test_nobody_anywhere(folder, detector, tmp_path):
    with pytest.raises(InputError, match="No box of cat,dog was found in 9 pictures or frames") as raised:
        ingest([folder], tmp_path / "pool", wanting(detector, objects="cat,dog"))
    assert "--box-confidence" in raised.value.remedy
    assert ingest([folder], tmp_path / "other", wanting(detector, objects="bicycle")).empty == 8


def test_broken_files_are_listed_and_a_film_without_anybody_is_not(folder, detector, tmp_path):
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "e.mp4").write_bytes(b"no film")
    write(folder / "f.mkv", [scene(seed=9)] * 3, codec="ffv1", form="bgr0", rate=1)
    result = ingest([folder], tmp_path / "pool", wanting(detector, max_refused=0.5))
    assert (result.videos, result.frames, result.empty, result.refused) == (2, 9, 7, 2)
    listed = (tmp_path / "pool" / "quarantine.csv").read_text(encoding="utf-8")
    assert "d.png" in listed and "e.mp4" in listed and "f.mkv" not in listed and "b.png" not in listed


@pytest.mark.parametrize("workers", [2, 5])
def test_any_number_of_workers_gives_the_same_bytes(folder, detector, tmp_path, workers):
    ingest([folder], tmp_path / "one", wanting(detector, workers=1))
    ingest([folder], tmp_path / "more", wanting(detector, workers=workers))
    assert contents(tmp_path / "one") == contents(tmp_path / "more")


def test_a_film_that_breaks_off_keeps_the_crops_before(detector, tmp_path):
    frames = [scene((8 * (second % 5) + 8, 24, BLUE), seed=second) for second in range(40)]
    film = write(tmp_path / "film.mkv", frames, codec="ffv1", form="bgr0", rate=1)
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    counts = {ingest([film], tmp_path / f"{n}", wanting(detector, workers=n)).crops for n in (1, 4)}
    assert len(counts) == 1 and 10 < counts.pop() < 30
    assert contents(tmp_path / "1") == contents(tmp_path / "4")


# ---- the same pool, resumed, added to, asked for otherwise


@pytest.mark.parametrize(("changed", "said"), [
    ({"people": False}, "--people, not with --no-people"),
    ({"objects": "bicycle"}, "--objects person, not with --objects bicycle"),
    ({"box_confidence": 0.5}, "--box-confidence 0.4, not with --box-confidence 0.5"),
    ({"margin": 0.2}, "--margin 0.0, not with --margin 0.2"),
])  # fmt: skip
def test_other_options_are_refused(folder, detector, tmp_path, changed, said):
    ingest([folder], tmp_path / "pool", wanting(detector))
    before = contents(tmp_path / "pool")
    with pytest.raises(RunError, match=said):
        ingest([folder], tmp_path / "pool", wanting(detector).model_copy(update=changed))
    assert contents(tmp_path / "pool") == before


def test_a_pool_without_persons_is_not_mixed_with_them(folder, detector, tmp_path):
    ingest([folder], tmp_path / "pool", IngestOptions(size=(24, 16)))
    with pytest.raises(RunError, match="--no-people, not with --people"):
        ingest([folder], tmp_path / "pool", wanting(detector))


def test_a_detector_is_known_by_its_content(folder, detector, tmp_path):
    ingest([folder], tmp_path / "pool", wanting(detector))
    (tmp_path / "renamed.onnx").write_bytes(detector.read_bytes())
    ingest([folder], tmp_path / "pool", wanting(tmp_path / "renamed.onnx"))
    with pytest.raises(RunError, match="--object-detector sha256:"):
        ingest([folder], tmp_path / "pool", wanting(write_fastestdet(tmp_path / "renamed.onnx")))


def test_more_files_add_only_what_is_new(folder, detector, tmp_path, monkeypatch):
    ingest([folder / "a.png", folder / "b.png"], tmp_path / "pool", wanting(detector))
    looked: list[tuple[int, ...]] = []
    call = Finder.__call__
    monkeypatch.setattr(
        Finder, "__call__", lambda self, picture: (looked.append(picture.shape), call(self, picture))[1]
    )
    result = ingest([folder], tmp_path / "pool", wanting(detector))
    assert (len(looked), result.crops, result.empty) == (7, 6, 4)
    ingest([folder], tmp_path / "pool", wanting(detector))
    assert len(looked) == 7
    Image.fromarray(scene((40, 8, BLUE))).save(folder / "b.png")
    result = ingest([folder], tmp_path / "pool", wanting(detector))
    assert (result.crops, result.empty) == (7, 3)


def test_copies_are_seen(folder, detector, tmp_path):
    (folder / "again.png").write_bytes((folder / "a.png").read_bytes())
    assert ingest([folder], tmp_path / "pool", wanting(detector)).copies == 2


SCRIPT = textwrap.dedent("""
    import sys, time
    from winnow.pool import ingest as ingesting
    from winnow.pool import plan as planning
    from winnow.objects.crops import Finder
    from winnow.options import IngestOptions
    planning.PART_CUT = 5
    call = Finder.__call__
    def slowly(self, picture):
        time.sleep(0.004)
        return call(self, picture)
    Finder.__call__ = slowly
    print("ready", flush=True)
    ingesting.ingest([sys.argv[1]], sys.argv[2], IngestOptions(people=True, object_detector=sys.argv[3], every=0.1, workers=2))
""")


@pytest.mark.slow
def test_killed_at_any_time_the_pool_ends_the_same(detector, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(60):
        blocks = [(8 * (number % 6), 24, BLUE)] if number % 3 else []
        Image.fromarray(scene(*blocks, seed=number)).save(many / f"{number}.png")
    for name in "mn":
        frames = [scene((8 * (number % 7), 8, BLUE), seed=number) for number in range(30)]
        write(many / f"{name}.mkv", frames, codec="ffv1", form="bgr0", rate=10)

    def start(pool: Path) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(many), str(pool), str(detector)],
                                   stdout=subprocess.PIPE, text=True)  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    assert start(tmp_path / "whole").wait() == 0
    rng, stages, pool = random.Random(0), set(), tmp_path / "pool"
    for parts in (0, 2, 5, 8):  # finished when it is killed: how long that takes depends on the machine
        process = start(pool)
        while process.poll() is None and len(list((pool / "parts").glob("*.json"))) < parts:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
        stages.add(len(list((pool / "parts").glob("*.json"))) if pool.exists() else 0)
    assert start(pool).wait() == 0
    there, whole = contents(pool), contents(tmp_path / "whole")
    assert {name for name in there | whole if there.get(name) != whole.get(name)} == set()
    assert len(stages) > 1
    assert Pool.open(pool).items.num_rows == 100


# ---- the command, and the real thing


@pytest.mark.slow
def test_the_command_says_how_many_and_opens_no_connection(folder, detector, tmp_path):
    from test_offline import guarded

    done = guarded(
        "ingest", folder, "--people", "--object-detector", detector, "--margin", "0", "--run", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    assert "Found 6 crops; 4 of the pictures and frames show none." in done.stdout
    done = winnow_command("ingest", folder, "--people", "--run", tmp_path / "none", env={"WINNOW_OBJECT_DETECTOR": ""})
    assert (
        done.returncode != 0
        and "no detector that finds them is named" in done.stderr
        and "Traceback" not in done.stderr
    )


def test_a_run_without_a_detector_says_nothing_else_first(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("WINNOW_OBJECT_DETECTOR", raising=False)
    done = winnow_command("run", "select", folder, "--from-scratch", "--people", "--to", tmp_path / "none")
    assert done.returncode == 1 and not done.stdout and done.stderr.startswith("winnow: Persons are to be cut out")
    assert not (tmp_path / "none").exists()


def test_doctor_tries_the_detector(detector, folder):
    done = winnow_command("doctor", env={"WINNOW_OBJECT_DETECTOR": str(detector)})
    assert done.returncode == 0 and f"ok       detector for --people: {detector}, 80 classes" in done.stdout
    done = winnow_command("doctor", env={"WINNOW_OBJECT_DETECTOR": str(folder / "a.png")})
    assert done.returncode != 0 and "FAILS    detector for --people: ModelError: " in done.stdout
    assert "detector for --people: none" in winnow_command("doctor", env={"WINNOW_OBJECT_DETECTOR": ""}).stdout


def test_one_crop_is_called_one():
    numbers = dict.fromkeys(("videos", "frames", "patches", "empty", "refused", "copies", "skipped"), 0)
    said = show.ingest(Ingested("", "", "", pictures=1, crops=1, groups=1, seconds=0.0, **numbers))
    assert said.endswith("Found 1 crop.")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "film", "fewest"), [
    ("yolox_nano.onnx", "people-walking.mp4", 100), ("FastestDet.onnx", "people-walking.mp4", 100),
    ("yolox_nano.onnx", "store-aisle-detection.gif", 8), ("FastestDet.onnx", "store-aisle-detection.gif", 8),
])  # fmt: skip
def test_persons_of_real_films(name, film, fewest, tmp_path):
    for path in (DATA / "weights" / name, DATA / "videos" / film):
        if not path.exists():
            pytest.skip(f"{path} is not here")
    options = IngestOptions(people=True, object_detector=str(DATA / "weights" / name))
    result = ingest([DATA / "videos" / film], tmp_path / "pool", options)
    pool = Pool.open(tmp_path / "pool")
    assert fewest < result.crops == len(pool) < 20 * result.frames
    height, width = next(iter(video.frames(str(DATA / "videos" / film), None))).image.shape[:2]
    boxes = read_boxes(pool.column("box"))
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] > 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= width).all() and (boxes[:, 1] + boxes[:, 3] <= height).all()
    assert (boxes[:, 3] > boxes[:, 2]).mean() > 0.8  # persons stand
    assert ((pool.column("confidence") >= 0.4) & (pool.column("confidence") <= 1)).all()
    ingest([DATA / "videos" / film], tmp_path / "again", options.model_copy(update={"workers": 3}))
    assert contents(tmp_path / "pool") == contents(tmp_path / "again")
