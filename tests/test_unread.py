"""What lies among the pictures and is not read is told of by every command that reads sources."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import winnow
from winnow import show
from winnow.data import formats
from winnow.errors import InputError

from conftest import blocks, stripes
from small_runs import OPTIONS, judged_run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("unread")
    judged_run(base)
    return base


@pytest.fixture
def without_heif(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats._loaded.cache_clear()
    yield
    formats._loaded.cache_clear()


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(64)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Twenty pictures, two raw files, a HEIC one, one that is no picture, and files that nobody would take for one."""
    rng, folder = np.random.default_rng(0), tmp_path / "new"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(stripes(rng, 32)).save(folder / f"{number}.png")
    for name in ("a.NEF", "b.nef"):
        (folder / name).write_bytes(b"II*\0" + bytes(60))
    (folder / "c.heic").write_bytes(HEIC)
    (folder / "d.png").write_bytes(b"just words")
    for name in ("readme.txt", "boxes.json"):
        (folder / name).write_text("{}")
    return folder


def told(folder: Path) -> list[str]:
    return [
        f"2 other files were passed over (1 .json, 1 .txt), first {folder}/boxes.json.",
        f"2 refused, first {folder}/a.NEF: it is a raw picture of a camera (.nef), which is not read: convert it to PNG, TIFF or JPEG.",
        f"1 refused, {folder}/c.heic: it is a HEIC picture, which needs: pip install 'winnow-vision[heif]'.",
    ]


def test_every_command_that_reads_sources_says_what_it_did_not_read(base, mixed, without_heif, tmp_path):
    run = winnow.Run(base / "run")
    other = shutil.copytree(mixed, tmp_path / "other")
    said = {
        "score": (show.score, run.score(mixed, to=tmp_path / "s")),
        "evaluate": (show.evaluate, run.evaluate(mixed, {"bad": other})),
        "predict": (show.predict, run.predict(mixed, to=tmp_path / "p")),
        "ingest": (show.ingest, winnow.Run(tmp_path / "run", **OPTIONS).ingest(mixed)),
    }
    for name, (text, result) in said.items():
        for sentence in told(mixed):
            assert sentence in text(result), name
        assert "d.png: it is not a picture" in text(result), name
        if name != "evaluate":
            assert result.refused == 4
    assert all(sentence in show.evaluate(said["evaluate"][1]) for sentence in told(other))


def test_a_folder_of_unread_pictures_is_refused_with_the_remedy(base, without_heif, tmp_path):
    """Eighteen HEIC pictures, all defective, beside three good ones: "3 of 3 belong" was all that was said."""
    rng, folder = np.random.default_rng(1), tmp_path / "new"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(stripes(rng, 32)).save(folder / f"{number}.png")
    for number in range(18):
        (folder / f"bad{number}.heic").write_bytes(HEIC)
    with pytest.raises(InputError, match=r"18 of 21 files could not be read.*pip install 'winnow-vision\[heif\]'"):
        winnow.Run(base / "run").score(folder, to=tmp_path / "s")


def test_defects_in_heic_pgm_and_jpeg_2000_are_judged(base, tmp_path):
    heif = pytest.importorskip("pillow_heif")
    rng, folder = np.random.default_rng(1), tmp_path / "new"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(stripes(rng, 32)).save(folder / f"{number}.png")
    for number in range(3):
        bad, file = Image.fromarray(blocks(rng, 32)), io.BytesIO()
        bad.save(folder / f"bad{number}.jp2")
        bad.convert("L").save(folder / f"bad{number}.pgm")
        heif.from_pillow(bad).save(file, quality=90)
        (folder / f"bad{number}.heic").write_bytes(file.getvalue())
    scored = winnow.Run(base / "run").score(folder, to=tmp_path / "s")
    assert (scored.pictures, scored.refused) == (12, 0)
