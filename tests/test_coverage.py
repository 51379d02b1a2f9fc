"""What the report says was looked at: the share of each picture that lies in a patch, and where good pictures differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import winnow
from winnow.pool.pool import Pool
from winnow.steps.report.coverage import coverage_section, judged_shares


def test_blank_parts_are_told_and_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "good").mkdir()
    for number in range(8):
        pixels = rng.integers(90, 160, (64, 256), dtype=np.uint8)
        pixels[:, : 64 * (number % 3)] = 128  # none, one or two of four patches
        Image.fromarray(pixels).save(tmp_path / "good" / f"{number}.png")
    few = {"iterations": 20, "check_every": 10, "fast": 10, "border": 0}
    run = winnow.Run(tmp_path / "run", "inspect-texture", **few).fit(tmp_path / "good")
    shares = judged_shares(Pool.open(run.folder.folder("ingest")))
    assert shares.tolist() == [1 - 0.25 * (number % 3) for number in range(8)]
    section = coverage_section(run.folder)
    assert "78 % of the good pictures is judged, of the least covered one 50 %." in section.text
    cards = section.galleries[0].cards
    assert [(card.name, *card.lines) for card in cards] == [("2.png", "50 % judged"), ("5.png", "50 % judged")]
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "What was looked at" in report and "--blank 0 keeps all" in report


def test_where_good_pictures_differ_the_map_is_brightest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import mobilenet_v2

    from winnow.report import inspection

    rng = np.random.default_rng(0)
    (tmp_path / "good").mkdir()
    for number in range(16):
        pixels = np.full((96, 96), 120.0) + rng.normal(0, 2, (96, 96))
        pixels[64:, 64:] += rng.normal(0, 60, (4, 4)).repeat(8, axis=0).repeat(8, axis=1)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "good" / f"{number}.png")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        torch.save(mobilenet_v2(weights=None).state_dict(), tmp_path / "random.pth")
    given = {"weights": tmp_path / "random.pth", "size": (96, 96), "scorer": "padim"}
    run = winnow.Run(tmp_path / "run", "inspect", **given).fit(tmp_path / "good")
    maps, draw = [], inspection.overlay
    monkeypatch.setattr(inspection, "overlay", lambda pixels, seen: maps.append(seen) or draw(pixels, seen))
    section = coverage_section(run.folder)
    assert "100 % of the good pictures is judged, of the least covered one 100 %." in section.text
    assert len(section.figures) == len(maps) == 1 and maps[0].shape == (96, 96)
    assert maps[0][64:, 64:].mean() > 3 * maps[0][:32, :32].mean()
