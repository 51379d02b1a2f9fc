"""The report of a run: what was found comes first, by the names of files, in a page that a screen reader can follow."""

from __future__ import annotations

import base64
import html
import io
import itertools
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_html import Reader

import winnow
from winnow.pool.pool import Pool
from winnow.steps.report.pictures import GONE, OwnPictures, around, named

import videos
from small_runs import command, small_run

MOST = 2 << 20  # bytes of a report


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that has scored pictures of their own proportions and a video, and was evaluated."""
    folder = tmp_path_factory.mktemp("report")
    run = small_run(folder)
    rng = np.random.default_rng(0)
    (folder / "odd").mkdir()
    for number in range(3):
        pixels = rng.integers(0, 256, (600, 1800 - 600 * number, 3), dtype=np.uint8)  # of noise, which hardly shrinks
        Image.fromarray(pixels).save(folder / "odd" / f"läuft <{number}>.png")
    videos.write(folder / "film.mp4", 60, gop=12)
    run.score([folder / "odd", folder / "film.mp4"])
    run.evaluate(folder / "good", {"bad": folder / "bad"})
    return folder


@pytest.fixture
def run(base: Path, tmp_path: Path) -> winnow.Run:
    return winnow.Run(Path(shutil.copytree(base / "run", tmp_path / "run")))


def read(run: winnow.Run) -> Reader:
    return Reader(run.report().read_text(encoding="utf-8"))


def titles(page: str) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", page)


def picture(reader: Reader, name: str) -> Image.Image:
    """Return the picture of a card."""
    (found,) = [image for image in reader.all("img") if image["alt"] == f"Picture {name}"]
    return Image.open(io.BytesIO(base64.b64decode((found["src"] or "").split(",")[1])))


def test_what_was_found_comes_first_then_the_threshold_and_the_rest_is_folded(run: winnow.Run):
    page = run.report().read_text(encoding="utf-8")
    reader = Reader(page)
    found = titles(page)
    first = [
        "What was found",
        "What was found where the truth is known",
        "The threshold, and the own pictures that set it",
    ]
    assert [title for title in found if title != "Where it was wrong"][:3] == first
    folded = page[page.index('<section class="folded">') :]
    for title in ("Training", "Options, and how to make it again", "What it learnt from", "What belongs most"):
        assert f"<h2>{title}</h2>" in folded
    assert "<h2>What was found</h2>" not in folded and "<h2>The threshold" not in folded
    assert "do not belong" in reader.text and "normal (false alarms)" in reader.text


def test_offenders_are_shown_by_file_name_and_time_in_their_own_proportions(run: winnow.Run):
    reader = read(run)
    for number, aspect in ((1, 2.0), (2, 1.0)):
        name = f"läuft <{number}>.png"
        assert name in reader.words
        width, height = picture(reader, name).size
        assert width / height == pytest.approx(aspect, abs=0.02) and max(width, height) <= 320
    assert picture(reader, "läuft <0>.png").size[0] == 320
    assert any(word.startswith("film.mp4 at 0:0") for word in reader.words)
    hashes = {str(row) for row in run.embeddings.ids}
    assert not hashes & set(re.findall(r"[0-9a-f]{16}", reader.text))


def test_a_screen_reader_can_follow(run: winnow.Run):
    reader = read(run)
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(len(image["alt"] or "") > 8 for image in reader.all("img"))
    assert len(reader.all("main")) == 1 and len(reader.all("summary")) == len(reader.all("details"))
    assert any("above" in (image["alt"] or "") for image in reader.all("img"))  # the histogram says its shares


def test_a_report_is_small_though_the_pictures_are_noise(run: winnow.Run):
    assert run.report().stat().st_size < MOST


def test_a_video_or_picture_that_changed_since_is_named_and_not_shown(base: Path, tmp_path: Path):
    run = winnow.Run(Path(shutil.copytree(base / "run", tmp_path / "run")))
    (base / "film.mp4").touch()  # another one, for all one knows
    reader = read(run)
    assert GONE in reader.text
    assert not [image for image in reader.all("img") if (image["alt"] or "").startswith("Picture film.mp4")]


def test_own_pictures_come_from_their_originals_and_else_from_the_pool(tmp_path: Path):
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    for number in range(2):
        Image.fromarray(pixels // (number + 1)).save(tmp_path / "in" / f"{number}.png")
    made = winnow.Run(tmp_path / "run", size=(16, 16))
    made.ingest(tmp_path / "in")
    pictures = OwnPictures(made.folder, Pool.open(made.folder.folder("ingest")))
    (tmp_path / "in" / "1.png").unlink()
    first, second = pictures.card(0, ["a"]), pictures.card(1, ["b"])
    assert (first.name, second.name) == ("0.png", "1.png")
    assert Image.open(io.BytesIO(first.image)).size == (90, 40) and first.lines == ["a"]
    assert Image.open(io.BytesIO(second.image)).size == (16, 16) and list(second.lines) == ["b", GONE]


def test_a_patch_is_outlined_in_what_is_around_it():
    whole = np.zeros((100, 400, 1), np.uint8)
    shown = around(whole, "100,40,20,20")
    assert shown.shape == (60, 60, 3) and shown[19, 30].tolist() == [255, 214, 0] and not shown[30, 30].any()
    assert around(whole, "0,0,20,20").shape == (40, 40, 3)  # at the edge there is less around
    assert around(whole, None) is whole and around(whole, "0,0,400,100") is whole


def test_names():
    assert named("/a/b.mp4", 65.0) == "b.mp4 at 1:05" and named("b.tif", np.nan, 3) == "b.tif, page 3"


def test_commands_name_the_run_so_that_they_work_as_printed_and_classes_until_there_are_some(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(base / "run", tmp_path / "my runs" / "one")
    monkeypatch.chdir(tmp_path)
    for classes in (" --classes A,B", ""):
        assert command("select", "--run", "my runs/one", "-n", 3) == 0
        assert f"Label them: winnow label --run 'my runs/one'{classes}\n" in capsys.readouterr().out
        assert command("report", "--run", "my runs/one") == 0
        page = Path("my runs/one/report.html").read_text(encoding="utf-8")
        printed = [html.unescape(text) for text in re.findall("<pre>(winnow .*?)</pre>", page)]
        assert f"winnow label --run 'my runs/one'{classes}" in printed
        for text in printed:
            words = shlex.split(text)
            assert words[words.index("--to" if words[1] == "run" else "--run") + 1] == "my runs/one", text
        assert command("label", "--run", "my runs/one", "--import", base / "labels.csv", "--classes", "a,b") == 0
    (Path("my runs/one") / "selection.csv").write_text("rank\n")
    assert command("label", "--run", "my runs/one") == 1
    assert "--run 'my runs/one'" in capsys.readouterr().err
