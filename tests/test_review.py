"""What a calibration says of its threshold: own pictures that hold it up, which a person can leave out, and what it would find."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
from dataclasses import replace
from functools import partial
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import winnow
from winnow import show
from winnow.detect.pictures import by_picture
from winnow.errors import DataError
from winnow.pool.pool import Pool
from winnow.results import AnomalousGroup, Calibrated, Evaluated, Finds, MaskMetrics, Mode, Promise, Trained
from winnow.run.folder import RunFolder
from winnow.run.review import highest_items, left_out
from winnow.run.split import split_of
from winnow.steps.report.origin import sources_section
from winnow.synthetic.near_misses import WAYS, disturb

from conftest import blocks, stripes, write_pictures
from small_runs import OPTIONS, command


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 pictures in as many groups, of which three do not belong, with 48 of them held out."""
    folder, rng = tmp_path_factory.mktemp("review"), np.random.default_rng(5)
    write_pictures(folder / "good", 57, 1, partial(stripes, size=32))
    for number in range(3):
        (folder / "good" / f"odd{number}").mkdir()
        Image.fromarray(blocks(rng, size=32)).save(folder / "good" / f"odd{number}" / f"odd{number}.png")
    run = winnow.Run(folder / "run", **OPTIONS, validate_share=0.05, calibrate_share=0.8)
    run.ingest(folder / "good")
    run.train()
    run.encode()
    run.calibrate(scorer="knn")
    return folder


@pytest.fixture
def run(base: Path, tmp_path: Path) -> winnow.Run:
    return winnow.Run(Path(shutil.copytree(base / "run", tmp_path / "run")))


def rows(run: winnow.Run) -> list[dict[str, str]]:
    with (run.folder.path / "review.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mark(run: winnow.Run, *ids: str) -> None:
    path, found = run.folder.path / "review.csv", rows(run)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, found[0])
        writer.writeheader()
        writer.writerows(row | {"leave_out": "x" if row["id"] in ids else ""} for row in found)


def test_the_own_pictures_above_the_threshold_are_listed_and_drawn(run: winnow.Run):
    promise = run.folder.result(Calibrated).full.promise
    listed = rows(run)
    assert len(listed) == promise.above == 3 and promise.calibrated_on >= 47
    assert promise.extremes[0].startswith("odd")
    assert [row["source"].rpartition("/")[2] for row in listed] == promise.extremes
    assert all(float(row["score"]) > promise.threshold and not row["leave_out"] for row in listed)
    assert promise.without is not None and promise.without < promise.threshold
    page = run.report().read_text(encoding="utf-8")
    assert "3 own pictures above the threshold" in page and "review.csv" in page


def test_a_marked_picture_is_left_out_until_its_mark_goes(run: winnow.Run, capsys: pytest.CaptureFixture):
    before = run.folder.result(Calibrated).full.promise
    odd = rows(run)[0]["id"]
    assert run.folder.done("calibrate")
    mark(run, odd)
    assert not run.folder.done("calibrate")  # other marks, another threshold
    assert command("calibrate", "--run", run.folder.path, "--resume") == 0
    assert "1 picture left out" in capsys.readouterr().out
    after = winnow.Run(run.folder.path).folder.result(Calibrated)
    assert after.left_out == 1 and after.full.promise.threshold < before.threshold
    assert after.full.promise.calibrated_on == before.calibrated_on - 1
    assert rows(run)[0]["id"] == odd and rows(run)[0]["leave_out"] == "x" and left_out(run.folder.path) == [odd]
    assert run.folder.done("calibrate")
    mark(run)
    run.calibrate()
    assert run.folder.result(Calibrated).full.promise == before


def test_a_mark_on_no_picture_of_the_run_and_a_table_without_marks_are_refused(run: winnow.Run):
    path = run.folder.path / "review.csv"
    for text, words in (("leave_out,id\nx,nobody\n", "'nobody'"), ("id\nnobody\n", "no column 'leave_out'")):
        path.write_text(text, encoding="utf-8")
        before = (run.folder.path / "detector" / "detector.json").read_bytes()
        with pytest.raises(DataError, match=words):
            run.calibrate()
        assert (run.folder.path / "detector" / "detector.json").read_bytes() == before
        assert path.read_text(encoding="utf-8") == text


def test_what_a_threshold_would_find_is_measured_and_a_blind_one_called_weak(run: winnow.Run):
    found = run.folder.result(Calibrated)
    assert found.finds is not None and set(found.finds.found) == {
        "generic pictures",
        "synthetic defects",
        "near-misses",
    }
    for shares in found.finds.curves.values():
        assert (np.diff(np.array(shares)[np.argsort(found.finds.rates)]) >= 0).all() and 0 <= min(shares) <= max(
            shares
        ) <= 1
    page = run.report().read_text(encoding="utf-8")
    assert "Found of made-up pictures" in page and "quarters exchanged" in page
    promise = Promise(1.0, 0.05, 100, "", 4, ["a.png"], 0.9)
    for shares, weak in (
        ((0.05, 0.9, 0.9), True),
        ((1.0, 0.1, 0.9), False),
        ((1.0, 0.4, 0.3), True),
        ((0.95, 0.6, 0.1), False),
        ((0.95, 0.0, 0.0), None),
    ):
        kinds = dict(zip(("generic pictures", "synthetic defects", "near-misses"), shares, strict=True))
        curves = {kind: [share] for kind, share in kinds.items()}
        finds = Finds(
            100, kinds, [0.05], curves, inspects=weak is not None
        )  # where what is shown counts, damage is none
        text = show.calibrate(Calibrated({"full": Mode("knn", promise)}, {}, {}, finds), "runs/a")
        assert f"{'WEAK: it' if weak else 'It'} would find {100 * shares[0]:.0f} % of generic pictures" in text
        assert "4 own pictures above it (a.png, ...); without them the threshold would be 0.9" in text
    weighted = Calibrated({"full": Mode("knn", replace(promise, above=20))}, {}, {})
    text = show.calibrate(weighted, "runs/a")
    assert "20 own pictures above it (a.png, ...), more than the rate says, since pictures of large groups" in text


def test_near_misses_keep_what_a_picture_is_made_of(tmp_path: Path):
    own = np.random.default_rng(0).integers(0, 256, (9, 17, 24, 3)).astype(np.uint8)
    wrong, ways = disturb(own, np.random.default_rng(1))
    assert set(ways.tolist()) == set(WAYS) and (wrong != own).any(axis=(1, 2, 3)).all()
    assert (disturb(own, np.random.default_rng(1))[0] == wrong).all()
    for way in ("quarters exchanged", "middle upside down"):
        before, after = own[ways == way], wrong[ways == way]
        assert (np.sort(before.reshape(3, -1)) == np.sort(after.reshape(3, -1))).all()
    with pytest.raises(DataError, match="two or more"):
        disturb(own[:1], np.random.default_rng(0))


def test_an_evaluation_says_first_what_was_found_and_counts_what_was_refused():
    group = AnomalousGroup(0.92, 0.9, 0.27, 60, 3, {"detection_rate": (0.2, 0.34)})
    text = show.evaluate(
        Evaluated(
            mode="full",
            key="",
            scorer="knn",
            threshold=1.5,
            false_alarm_rate_asked=0.05,
            false_alarm_rate_promised=0.0498,
            false_alarm_rate_estimated=False,
            false_alarm_rate=0.043,
            false_alarm_rate_interval=(0.02, 0.06),
            pictures=500,
            groups=9,
            anomalous={"chess": group, "all": group},
            baseline={},
            seen_in_training=0,
            folder=Path("out"),
            refused={"belongs": 3, "chess": 40},
            masks=MaskMetrics(16, 0.756, None, 0.958, 0.917),
        )
    ).splitlines()
    assert text[0].startswith("False alarms: 5.0 % promised, 4.3 % seen (2.0 % to 6.0 %), on 500 normal pictures.")
    assert text[1].index("found") < text[1].index("AUROC") and "27.0 %" in text[2] and "(20.0 % to 34.0 %)" in text[2]
    assert "3 normal, 40 chess" in text[3]
    assert "  aupro: 0.917" in text and not any("same" in line or line.endswith(": -") for line in text)


def test_the_report_says_what_the_terminal_says(run: winnow.Run, monkeypatch: pytest.MonkeyPatch):
    mark(run, rows(run)[0]["id"])
    found = run.calibrate(scorer="knn")
    assert found.finds
    page = run.report().read_text(encoding="utf-8")
    assert "1 picture left out, being marked in review.csv." in page
    assert ("The threshold is WEAK: it would find" in page) == found.finds.weak
    monkeypatch.setattr(Finds, "WEAK", 1.01)  # so that these stripes are weak
    assert found.finds.weak
    assert f"The threshold is {show.would_find(found.finds)}" in unescape(run.report().read_text(encoding="utf-8"))


def test_the_command_of_a_report_makes_the_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = write_pictures(tmp_path / "two words $HOME", 1, 24, partial(stripes, size=32))
    (folder,) = source.iterdir()
    monkeypatch.chdir(tmp_path)
    given = {"scorer": "fisher(error, knn(metric=cosine))", "hflip": False, "grey": True, "only": (folder.name, "b c")}
    run = winnow.Run(tmp_path / "it's a run", "oneclass-from-scratch", **OPTIONS | {"iterations": 4}, **given, smooth=2)
    run.fit(source)
    page = unescape(run.report().read_text(encoding="utf-8"))
    assert "had not seen the picture and its neighbours" in page  # all are of one group
    words = shlex.split(re.findall("winnow run [^<]*", page)[-1])
    words[words.index("--to") + 1] = "again"
    assert command(*words[1:]) == 0
    again = winnow.Run(tmp_path / "again").folder
    assert (
        again.options == run.folder.options.updated({"segments": {"smooth": 3}}, "")
        and again.asked.sources == run.folder.asked.sources
    )


def test_a_frozen_network_sets_the_threshold_by_all_and_the_report_says_so(
    run: winnow.Run, monkeypatch: pytest.MonkeyPatch
):
    pool = Pool.open(run.folder.folder("ingest"))
    split = split_of(run.folder, pool).split
    assert not any("Nothing was trained" in text for text in sources_section(run.folder, pool, split).text)
    usual = RunFolder.result
    monkeypatch.setattr(
        RunFolder,
        "result",
        lambda folder, kind: replace(usual(folder, kind), training=None) if kind is Trained else usual(folder, kind),
    )
    assert any("the column train too" in text for text in sources_section(run.folder, pool, split).text)


def test_crops_of_one_picture_set_the_threshold_each_by_itself():
    rng = np.random.default_rng(0)
    names = [f"picture {number // 2}#{number % 2 * 8},0,8,8" for number in range(60)]
    groups = [f"picture {number // 2}" for number in range(60)]
    crops = winnow.Embeddings.of(rng.normal(size=(60, 4)), ids=names, groups=groups)
    detector = winnow.Detector(scorer="knn").fit(crops)
    highest = sorted(zip(-detector.calibration, detector.ids.astype(str), strict=True))
    shown, items = highest_items(detector, detector, 20, 5)
    assert shown == items == [name for _, name in highest[: len(shown)]] and len(shown) >= 5
    cut, patches = highest_items(detector, by_picture(detector), 20, 5)
    assert all(patch.startswith(f"{name}#") for name, patch in zip(cut, patches, strict=True))
