"""Parts of pictures: `--regions` finds an advert beside what belongs, names the part, and keeps the promise of all together."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import winnow
from winnow import Detector, show
from winnow.deploy.graph import Resize, scaled_part
from winnow.deploy.judge import judged
from winnow.deploy.runtime import Deployed
from winnow.deploy.serve import protocol
from winnow.deploy.serve.answers import Row, picture_answer
from winnow.deploy.serve.served import Served
from winnow.detect.parts import PARTS, name_of
from winnow.detect.regions import Regions
from winnow.embeddings import Embeddings
from winnow.errors import RunError
from winnow.learn.feed import Pixels, Region
from winnow.pool.in_memory import read_picture
from winnow.results import Calibrated, Exported
from winnow.steps.calibrate import calibrate
from winnow.steps.predict_onnx import predict_onnx
from winnow.steps.report.page import report
from winnow.steps.watch import watch
from winnow.tables import read_table
from winnow.watch.judging import verdicts
from winnow.watch.log import VERDICT, Log
from winnow.watch.moments import Moment

from conftest import stripes
from small_runs import command, small_run


def test_a_region_is_that_part_of_each_picture_scaled_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 10, 14, 3), dtype=np.uint8)
    source, rows = Pixels(pixels), np.array([2, 0])
    assert np.array_equal(Region(source, (0, 0, 1, 1)).pixels(rows), pixels[rows])
    found = Region(source, PARTS["bottom right quarter"])
    assert (found.size, found.channels, len(found)) == ((10, 14), 3, 3)
    for one, row in zip(found.pixels(rows), rows, strict=True):
        slow = Image.fromarray(pixels[row, 5:, 7:]).resize((14, 10), Image.Resampling.BILINEAR)
        assert np.array_equal(one, np.asarray(slow))
    grey = Region(Pixels(pixels[..., :1]), (0, 0, 0.5, 1)).pixels(rows)
    assert grey.shape == (2, 10, 14, 1)


def views(rng: np.random.Generator, n: int) -> list[Embeddings]:
    """Return embeddings of n pictures and of their parts, which depend on those of the whole."""
    whole = rng.normal(size=(n, 3))
    groups = np.repeat(np.arange(n // 4), 4).astype(str)
    parts = [0.6 * whole + 0.8 * rng.normal(size=(n, 3)) for _ in PARTS]
    return [Embeddings.of(vectors, groups=groups) for vectors in (whole, *parts)]


def fitted(seen: list[Embeddings]) -> Regions:
    whole, *parts = (Detector("mahalanobis").fit(one) for one in seen)
    return Regions(whole, dict(zip(PARTS, parts, strict=True)))


def scored(regions: Regions, seen: list[Embeddings]) -> np.ndarray:
    return np.column_stack([one.score(part) for one, part in zip(regions.detectors, seen, strict=True)])


def slow_name(log_p: list[float], limit: float) -> str:
    """Return where a picture is foreign, by -log p of the whole and of each part."""
    by_name = dict(zip(PARTS, log_p[1:], strict=True))
    quarters = {name for name in by_name if "quarter" in name and by_name[name] > limit}
    halves = [name for name in by_name if "half" in name]
    worst = max(halves, key=lambda name: by_name[name])
    if not quarters:
        return worst if by_name[worst] > limit else "whole picture"
    for half in halves:
        if quarters == {name for name in by_name if "quarter" in name and half.split()[0] in name}:
            return half
    return "whole picture" if len(quarters) == 4 else " and ".join(name for name in by_name if name in quarters)


def test_all_parts_together_keep_the_promised_rate_and_say_which(tmp_path: Path) -> None:
    rates, found, named = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        regions = fitted(views(rng, 200))
        new = views(rng, 400)
        limit = regions.joint.threshold.value
        scores = scored(regions, new)
        joint, foreign = regions.judge(scores)
        rates.append((joint > limit).mean())
        slow = [
            [tail.of_new(np.array([value]))[0] for tail, value in zip(regions.tails, row, strict=True)]
            for row in scores
        ]
        assert joint == pytest.approx([max(row) for row in slow])
        assert [name_of(row) for row in foreign] == [slow_name(row, limit) for row in slow]
        for place in (2, 6, 7):  # the top right quarter, and the halves that it is in
            new[place] = Embeddings.of(new[place].vectors + 4)
        joint, foreign = regions.judge(scored(regions, new))
        found.append((joint > limit).mean())
        named.append((np.array([name_of(row) for row in foreign]) == "top right quarter").mean())
    assert 0.03 < np.mean(rates) < 0.07 and regions.joint.threshold.achieved <= 0.05
    assert np.mean(found) > 0.95 and np.mean(named) > 0.85
    regions.save(tmp_path)
    again = Regions.load(regions.detectors[0], tmp_path)
    assert np.array_equal(again.judge(scores)[0], regions.judge(scores)[0])
    assert again.joint.calibration == pytest.approx(regions.joint.calibration)


def test_parts_have_names() -> None:
    names = {number: name_of(np.array([number >> place & 1 for place in range(4)], bool)) for number in range(16)}
    assert [names[number] for number in (1, 2, 3, 12, 5, 10)] == [
        "top left quarter",
        "top right quarter",
        "top half",
        "bottom half",
        "left half",
        "right half",
    ]
    assert names[0] == names[15] == "whole picture"
    assert names[9] == "top left quarter and bottom right quarter"
    assert len(set(names.values())) == 15


def with_frames(path: Path, base: Path) -> None:
    """Write a video of a frame a second: eight that belong, then eight with noise in the left half."""
    rng = np.random.default_rng(5)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264rgb", rate=1, options={"qp": "0"})  # without loss
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
        for number in range(16):
            pixels = stripes(rng, 32)
            if number >= 8:
                pixels[:, :16] = rng.integers(0, 256, (32, 16, 3))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode(None))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small run, that run with parts, and pictures with noise beside what belongs."""
    folder = tmp_path_factory.mktemp("parts")
    small_run(folder)
    rng = np.random.default_rng(3)
    for name, rows, columns in (("left half", 32, 16), ("top half", 16, 32), ("whole", 32, 32), ("none", 0, 0)):
        (folder / name).mkdir()
        for number in range(3):
            pixels = stripes(rng, 32)
            pixels[:rows, :columns] = rng.integers(0, 256, (rows, columns, 3))
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run(base: Path) -> winnow.Run:
    shutil.copytree(base / "run", base / "parts")
    run = winnow.Run(base / "parts")
    run.folder.update({"score": {"regions": True}})
    run.calibrate()
    return run


def test_what_lies_beside_what_belongs_is_found_and_named(
    base: Path, run: winnow.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run.score([base / "left half", base / "top half", base / "whole"])
    rows = read_table(found.folder / "scores.csv")
    assert [row["belongs"] for row in rows] == ["no"] * 9
    assert [row["region"] for row in rows] == ["left half"] * 3 + ["top half"] * 3 + ["whole picture"] * 3
    assert found.worst[0].region in {row["region"] for row in rows}
    assert f", {found.worst[0].region}" in show.score(found)
    calibrated = run.folder.result(Calibrated)
    assert calibrated.regions and found.threshold == pytest.approx(calibrated.regions.threshold)
    told = show.calibrate(calibrated, "run")
    assert "with their halves and quarters, all together at" in told and "trained on whole pictures" in told
    page = Path(report(run.folder, base / "parts.html")).read_text(encoding="utf-8")
    assert "left half" in page and "top half" in page
    for row in read_table(run.score([base / "good"], to=base / "own").folder / "scores.csv"):
        assert (row["region"] == "") == (row["belongs"] == "yes")
    alone = run.score(base / "none", to=base / "alone", regions=False)
    assert "region" not in read_table(alone.folder / "scores.csv")[0] and alone.threshold != found.threshold
    assert alone.key != found.key
    words = ("score", base / "left half", base / "none", "--run", run.folder.path, "--to", base / "shares")
    for index in range(2):
        assert command(*words, "--shard", f"{index}/2") == 0
    assert command("join", base / "shares") == 0
    assert read_table(base / "shares" / "scores.csv")[:3] == rows[:3]
    capsys.readouterr()


def test_segments_and_predictions_name_the_part(base: Path, run: winnow.Run) -> None:
    with_frames(base / "film.mp4", base)
    found = run.score(base / "film.mp4", to=base / "film")
    parts = found.videos[0].segments
    assert [(part.belongs, part.region) for part in parts] == [(True, ""), (False, "left half")]
    rows = read_table(base / "film" / "segments.csv")
    assert [row["region"] for row in rows] == ["", "left half"]
    assert "mean score" in show.score(found) and ", left half" in show.score(found)
    run.classify(labels=base / "labels.csv", head="nearest_mean")
    run.predict(base / "left half", to=base / "predicted")
    assert [row["region"] for row in read_table(base / "predicted" / "predictions.csv")] == ["left half"] * 3
    run.predict(base / "left half", to=base / "plain", regions=False)
    assert "region" not in read_table(base / "plain" / "predictions.csv")[0]
    seen = run.evaluate(base / "none", {"beside": base / "left half"})
    assert seen.anomalous["beside"].detection_rate == 1 and seen.threshold == found.threshold


@pytest.fixture(scope="module")
def exported(base: Path, run: winnow.Run) -> Exported:
    return run.export(base / "parts.onnx")


def test_an_exported_file_judges_the_parts_as_its_run_does(base: Path, run: winnow.Run, exported: Exported) -> None:
    sources = [base / "left half", base / "top half", base / "whole", base / "none", base / "good"]
    own = read_table(run.score(sources, to=base / "own scores").folder / "scores.csv")
    predict_onnx(exported.file, sources, to=base / "told")
    told = read_table(base / "told" / "predictions.csv")
    assert [row["region"] for row in told] == [row["region"] for row in own]
    assert {row["region"] for row in told[:9]} == {"left half", "top half", "whole picture"}
    assert [row["belongs"] for row in told] == [row["belongs"] for row in own]
    assert [float(row["p_value"]) for row in told] == pytest.approx([float(row["p_value"]) for row in own], rel=0.05)
    calibrated, model = run.folder.result(Calibrated), Deployed.open(exported.file)
    assert calibrated.regions and model.threshold == pytest.approx(calibrated.regions.threshold)
    assert model.about.calibration and len(model.about.calibration.scores) == calibrated.regions.calibrated_on
    assert max(exported.parity.values()) < 1e-3 and "regions" in exported.parity
    card = exported.card.read_text("utf-8")
    assert "most anomalous of a picture, its halves and its quarters" in card and "top left quarter" in card


def test_parts_are_scaled_in_the_file_as_in_the_run() -> None:
    rng = np.random.default_rng(1)
    pixels = np.stack([stripes(rng, 33) for _ in range(4)])
    for name, box in PARTS.items():
        found = scaled_part(torch.from_numpy(pixels), name, Resize((33, 33))).numpy().astype(int)
        own = Region(Pixels(pixels), box).pixels(np.arange(4)).astype(int)
        assert found.shape == own.shape and np.abs(found - own).max() <= 1 and (found != own).mean() < 0.05


def test_who_serves_and_who_watches_is_told_the_part(base: Path, exported: Exported) -> None:
    served = Served.open(exported.file, threads=1, most_pixels=50.0)
    path = base / "left half" / "0.png"
    pool, refused = read_picture(path.read_bytes(), "a.png", served.options)
    found = served.model(pool.pixels(slice(None)))
    (row,) = picture_answer("a.png", served.model, pool, judged(served.model, pool, found), refused)["rows"]
    assert Row.model_validate(row).region == row["region"] == "left half"
    (((event,), _),) = verdicts(served.model, [Moment("a.png", pool=pool)])
    assert event["region"] == "left half" and VERDICT[-1] == "region"
    about = protocol.about(served.model, "parts")["outputs"]
    assert {"name": "regions", "datatype": "FP32", "shape": [-1, len(PARTS)]} in about


def test_segments_of_a_watch_name_the_part_as_those_of_score(base: Path, run: winnow.Run, exported: Exported) -> None:
    with_frames(base / "watched.mp4", base)
    found = run.score(base / "watched.mp4", to=base / "scored").videos[0].segments
    watch(exported.file, [str(base / "watched.mp4")], to=base / "watch", tell=lambda line: None)
    told = read_table(base / "watch" / "segments.csv")
    assert [(row["verdict"], row["region"]) for row in told] == [("in", ""), ("out", "left half")]
    assert [row["region"] for row in told] == [part.region for part in found]


def test_a_table_that_an_earlier_version_began_keeps_its_columns(tmp_path: Path) -> None:
    begun = "source,start,end,verdict,score\na,0,1,in,0.5\n"
    (tmp_path / "segments.csv").write_text(begun)
    log = Log(tmp_path, {"segments.csv": len(begun)})
    event = {
        "event": "segment",
        "source": "a",
        "start": 1,
        "end": 2,
        "belongs": False,
        "score": 3,
        "region": "left half",
    }
    log.append("2026-01-01", [event])
    assert (tmp_path / "segments.csv").read_text() == begun + "a,1,2,out,3\n"
    (tmp_path / "segments.csv").unlink()  # its owner has read it: the next begins with its columns
    log.append("2026-01-01", [event])
    assert [row["region"] for row in read_table(tmp_path / "segments.csv")] == ["left half"]
    (tmp_path / "new").mkdir()
    Log(tmp_path / "new", {}).append("2026-01-01", [event])
    (row,) = read_table(tmp_path / "new" / "segments.csv")
    assert row["region"] == "left half"


def test_calibrating_with_parts_goes_on_where_it_is_done(run: winnow.Run) -> None:
    path = run.folder.path / "detector" / "regions" / "top-left-quarter" / "detector.json"
    before = path.stat().st_mtime_ns
    run.folder.update({"score": {"regions": True}})
    calibrate(run.folder, resume=True)
    assert path.stat().st_mtime_ns == before


def test_a_damaged_detector_of_a_part_is_told(base: Path, run: winnow.Run) -> None:
    shutil.copytree(run.folder.path, base / "damaged")
    path = base / "damaged" / "detector" / "regions" / "left-half" / "detector.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match="detector"):
        winnow.Run(base / "damaged").score(base / "none", to=base / "unscored")


def test_what_cannot_be_judged_by_parts_is_told(
    base: Path, run: winnow.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: object) -> str:
        assert command(*words) == 1
        return capsys.readouterr().err

    score = ("score", base / "none", "--to", base / "nothing", "--run")
    err = refused(*score, base / "run", "--regions")
    assert "has not learnt what parts" in err and f"winnow calibrate --run {base / 'run'} --regions" in err
    assert "not by --mode encoder" in refused(*score, run.folder.path, "--mode", "encoder")
    err = refused("recalibrate", "--run", run.folder.path, "--from", base / "none")
    assert "sets the threshold of whole pictures" in err and "--no-regions" in err
    err = refused("run", "inspect", base / "good", "--to", base / "inspection", "--regions")
    assert "looks for damage" in err and not (base / "inspection").exists()
    assert not (base / "nothing").exists()
