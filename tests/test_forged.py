"""Files whose sums fit what should not be in them end in a sentence: impossible shapes, other types, keys that are missing."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from winnow.arrays import map_array, read_arrays
from winnow.classify.classifier import Classifier
from winnow.detect.detector import Detector
from winnow.embeddings import Embeddings
from winnow.errors import Damaged, ModelError, WinnowError, did_you_mean
from winnow.files import sha256
from winnow.models.pretrained import Pretrained
from winnow.models.registry import load_model
from winnow.pool.pool import Pool

from small_runs import judged_run
from spoiling import rewrite


def npy(shape: object, kind: str = "<f4", data: bytes = bytes(64)) -> bytes:
    """Return an .npy file with a header of any kind."""
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


ARRAYS = {
    "of terabytes": npy((10**12, 64)),
    "beyond numbers": npy((2**62, 2**10)),
    "of objects": npy((4,), "|O"),
    "negative": npy((-3, 4)),
    "short": npy((40, 4)),
    "complex": npy((4,), "<c16"),
    "text": b"hello",
    "nothing": b"",
    "half a header": b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 100,
    "a pickle": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00]\x94.",
}


@pytest.mark.parametrize("what", ARRAYS)
def test_an_array_that_cannot_be_is_one_sentence(what: str, tmp_path: Path):
    (tmp_path / "a.npy").write_bytes(ARRAYS[what])
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", ARRAYS[what])
    for read, name in ((map_array, "a.npy"), (read_arrays, "a.npz")):
        with pytest.raises(Damaged, match=name) as error:
            read(tmp_path / name, "Make it again.")
        assert error.value.remedy == "Make it again." and "\n" not in error.value.message


@pytest.mark.parametrize("content", [b"", b"PK nonsense", None])
def test_a_file_that_is_no_archive_or_a_packed_one_is_one_sentence(content: bytes | None, tmp_path: Path):
    if content is None:
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", npy((10**6,), data=bytes(4 * 10**6)))  # a thousandth of it on the disk
    else:
        (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(Damaged, match=r"a\.npz"):
        read_arrays(tmp_path / "a.npz", "")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forged")
    judged_run(folder)
    return folder / "run"


READERS: dict[str, Callable[[Path], object]] = {
    "model": lambda run: load_model(run / "model"),
    "embeddings": lambda run: Embeddings.load(run / "embeddings"),
    "detector": lambda run: Detector.load(run / "detector").score(Embeddings.load(run / "embeddings")),
    "classifier": lambda run: Classifier.load(run / "classifier").predict(Embeddings.load(run / "embeddings").vectors),
    "pool": lambda run: Pool.open(run / "pool").pixels([0]),
}


@pytest.mark.parametrize("folder", ["model", "embeddings", "detector", "classifier", "pool"])
def test_a_key_that_lacks_or_has_a_value_of_another_type_is_no_traceback(folder: str, base: Path, tmp_path: Path):
    keys = json.loads((base / folder / f"{folder}.json").read_text())
    shutil.copytree(base / folder, tmp_path / folder)
    if folder != "embeddings":
        shutil.copytree(base / "embeddings", tmp_path / "embeddings")
    about = tmp_path / folder / f"{folder}.json"
    told = 0
    for key in sorted(set(keys) - {"seal"}):
        for value in (None, [], {}, "x", -1, 10**12, [1, 2, 3], ...):
            about.write_bytes((base / folder / f"{folder}.json").read_bytes())

            def change(content: dict[str, Any], key: str = key, value: Any = value) -> dict[str, Any]:
                kept = {name: known for name, known in content.items() if name != key}
                return kept if value is ... else {**kept, key: value}

            rewrite(about, change)
            try:
                READERS[folder](tmp_path)  # as before, where the key is for people to read
            except WinnowError:
                told += 1
    assert told


def test_a_network_of_any_size_takes_no_memory_before_its_weights_are_looked_at(base: Path, tmp_path: Path):
    for name in ("latent", "width"):
        shutil.copytree(base / "model", tmp_path / name)
        rewrite(
            tmp_path / name / "model.json",
            lambda content, name=name: {**content, "config": {**content["config"], name: 10**9}},
        )
        with pytest.raises((ModelError, Damaged)):
            load_model(tmp_path / name)
    shutil.copytree(base / "model", tmp_path / "other")
    save_file({"x": torch.zeros(3)}, tmp_path / "other" / "model.safetensors")
    digest = sha256(tmp_path / "other" / "model.safetensors")
    rewrite(
        tmp_path / "other" / "model.json",
        lambda content: {**content, "sha256": {"model.safetensors": digest}},
    )
    with pytest.raises(ModelError, match="do not fit"):
        load_model(tmp_path / "other")


@pytest.mark.parametrize("name", ["zzz", "mobilnet_v2", "x" * 500, "resnet fifty"])
def test_an_unknown_backbone_is_told_the_nearest_few(name: str):
    with pytest.raises(ModelError, match="There is no backbone") as error:
        Pretrained((32, 32), 3, name)
    assert error.value.remedy and len(error.value.remedy) < 250
    assert "mobilenet_v2" in error.value.remedy or name != "mobilnet_v2"


def test_few_known_words_are_all_listed():
    assert did_you_mean("q", ["b", "a"]) == "Known are: a, b."
    assert did_you_mean("a1", [f"a{number}" for number in range(9)]).startswith("Did you mean 'a1'")
