"""Pictures of more than 8 bits are read alike everywhere: in the pool, on the page, in exports, by an exported model's example."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from winnow.deploy.card import _example, _inputs
from winnow.options import IngestOptions
from winnow.pool.ingest import ingest
from winnow.pool.pool import Pool
from winnow.steps.label import _Pictures, pictures_of

GREYS = np.kron(np.array([[4095, 3000], [1500, 200]]), np.ones((12, 16), int)).astype(np.uint16)
SHOWN = np.rint(GREYS * (255 / 4095))
OPTIONS = IngestOptions(size=(24, 32), white=4095.0)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    Image.fromarray(GREYS).save(tmp_path / "a.png")
    Image.fromarray(GREYS).save(tmp_path / "b.tif")
    (tmp_path / "c.pgm").write_bytes(b"P5 32 24 4095\n" + GREYS.astype(">u2").tobytes())
    ingest([tmp_path / name for name in ("a.png", "b.tif", "c.pgm")], tmp_path / "pool", OPTIONS)
    return Pool.open(tmp_path / "pool")


def read(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"), float)


def test_pool_page_and_export_show_the_same(pool):
    """With `--white 4095` the pool was right, and the page and exported folders were black."""
    run = SimpleNamespace(options=SimpleNamespace(ingest=OPTIONS), trusted=set())
    for row in range(3):
        assert np.abs(pool.pixels([row])[0, ..., 0] - SHOWN).max() <= 1
        shown, state = pictures_of(pool, run)(row, "large")
        assert state == "same" and np.abs(read(shown) - SHOWN).max() < 12  # JPEG
        data, suffix = _Pictures(run, pool, False).file(row)
        assert suffix == ".jpg" and np.abs(read(data) - SHOWN).max() < 12
        assert _Pictures(run, pool, False).size(row) == (24, 32)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_example_of_an_exported_model_reads_them_so_too(pool, channels, tmp_path):
    about = {"size": (24, 32), "channels": channels, "classes": None, "threshold": None, "map_level": None,
             "ingest": {"patches": False, "people": False, "white": 4095.0}}  # fmt: skip
    result = SimpleNamespace(file=Path("model.onnx"), outputs=[])
    code = _example(about, result)[1].split("\n")
    code = [line for line in code if not line.startswith(("```", "model =", "about =", "found ="))]
    for name in ("a.png", "b.tif"):
        names: dict = {}
        exec("\n".join(code).replace("sys.argv[1]", repr(str(tmp_path / name))), names)
        assert names["pixels"].shape == (1, 24, 32, channels)
        assert np.abs(names["pixels"][0, ..., 0] - SHOWN).max() <= 1
    assert "4095 in pictures of 16 bits is 255" in "\n".join(_inputs(about, result))
