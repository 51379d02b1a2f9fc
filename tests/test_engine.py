"""Frozen networks by onnxruntime: torch's numbers, whatever comes with a picture, chosen once for a run, and torch where not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import winnow
from winnow.errors import WinnowError
from winnow.files import sealed
from winnow.learn.encode import encode
from winnow.learn.exported import FILE, Exported, fastest, write_network
from winnow.learn.feed import as_source
from winnow.models.contract import Model
from winnow.models.dense import Dense
from winnow.models.pretrained import Pretrained
from winnow.models.registry import build
from winnow.options import ModelOptions
from winnow.results import Encoded

SIZE = (64, 48)


def pictures(n: int = 7, size: tuple[int, int] = SIZE, contrast: int = 255) -> np.ndarray:
    drawn = np.random.default_rng(0).integers(0, contrast + 1, (n, *size, 3))
    return (drawn + (255 - contrast) // 2).astype(np.uint8)


def squeezenet(kind: type[Pretrained] = Pretrained, size: tuple[int, int] = SIZE) -> Pretrained:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(size, 3, "squeezenet1_1")


def of(network: Model, pixels: np.ndarray, file: Path, device: str = "cpu") -> tuple[Model, str]:
    return fastest(network, as_source(pixels), np.arange(len(pixels)), device, file)


@pytest.mark.parametrize("kind", [Pretrained, Dense])
def test_the_numbers_are_those_of_torch(kind: type[Pretrained], tmp_path: Path) -> None:
    network, pixels = squeezenet(kind), pictures()
    made, why = of(network, pixels, tmp_path / FILE)
    assert isinstance(made, Exported) and not why and (made.size, made.channels) == (SIZE, 3)
    own, found = encode(network, pixels, device="cpu"), encode(made, pixels, device="cpu")
    np.testing.assert_allclose(found.vectors, own.vectors, rtol=1e-4, atol=1e-5)
    assert (found.cells is None) == (kind is Pretrained)
    if found.cells is not None and own.cells is not None:
        np.testing.assert_allclose(found.cells, own.cells, rtol=1e-4, atol=1e-5)
    assert found.losses.keys() == own.losses.keys()
    for name, values in own.losses.items():
        np.testing.assert_array_equal(found.losses[name], values)
    none = encode(made, pixels, np.arange(0), device="cpu")
    assert none.vectors.shape == (0, own.vectors.shape[1])


def test_dull_pictures_of_many_values_are_told_apart(tmp_path: Path) -> None:
    # Their mean, which is taken off before the contrast is raised, was right to four digits in onnxruntime.
    network, pixels = squeezenet(Dense, (224, 224)), pictures(3, (224, 224), contrast=12)
    write_network(network, tmp_path / FILE)
    own, found = (encode(one, pixels, decode=False, device="cpu").cells for one in (network, Exported(tmp_path / FILE)))
    assert own is not None and found is not None
    assert np.abs(found - own).max() < 1e-4 * own.std()


def test_a_picture_depends_on_no_other_and_on_no_number_of_threads(tmp_path: Path) -> None:
    size = (224, 224)
    pixels, before = pictures(5, size), torch.get_num_threads()
    made, _ = of(squeezenet(Dense, size), pixels, tmp_path / FILE)
    try:
        torch.set_num_threads(1)
        whole = encode(made, pixels, device="cpu")
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            for rows in ([0, 1, 2, 3, 4], [4, 2], [3]):
                some = encode(made, pixels, rows, device="cpu")
                np.testing.assert_array_equal(some.vectors, whole.vectors[rows])
                np.testing.assert_array_equal(some.cells, whole.cells[rows])
                for name, values in whole.losses.items():
                    np.testing.assert_array_equal(some.losses[name], values[rows])
    finally:
        torch.set_num_threads(before)


def test_one_picture_costs_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = of(squeezenet(), pictures(), tmp_path / FILE)
    run, ran = Exported._run, []
    monkeypatch.setattr(Exported, "_run", lambda self, picture: ran.append(len(picture)) or run(self, picture))
    encode(made, pictures(), [3], device="cpu")
    assert ran == [1]


class Rescaled(Pretrained):
    """A network whose pictures are scaled by a filter that an ONNX file cannot hold."""

    def features(self, images):
        return super().features(F.interpolate(images, (32, 32), mode="bilinear", antialias=True))


class Fickle(Pretrained):
    """A network with a number that writing it makes a constant."""

    def features(self, images):
        return super().features(images) * float(images.mean())


@pytest.mark.parametrize(
    ("kind", "says"), [(Rescaled, "torch cannot write the network"), (Fickle, "computes other vectors")]
)
def test_what_onnxruntime_cannot_run_is_left_to_torch(kind: type[Pretrained], says: str, tmp_path: Path) -> None:
    network = squeezenet(kind)
    made, why = of(network, pictures(), tmp_path / FILE)
    assert made is network and says in why
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_without_a_library_torch_does_it(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = squeezenet()
    monkeypatch.setitem(sys.modules, library, None)
    made, why = of(network, pictures(), tmp_path / FILE)
    assert made is network and f"needs {library}, which is not installed" in why


def test_a_network_that_is_trained_and_a_pool_of_no_pictures_are_torchs(tmp_path: Path) -> None:
    trained = build(ModelOptions(latent=5, width=3), SIZE, 3)
    assert of(trained, pictures(), tmp_path / FILE) == (trained, "")
    network = squeezenet()
    assert of(network, pictures(0), tmp_path / FILE) == (network, "")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `good` and `new`, and the file `weights.pth`."""
    folder, rng = tmp_path_factory.mktemp("engine"), np.random.default_rng(0)
    for name, count in (("good", 12), ("new", 3)):
        (folder / name).mkdir()
        for number in range(count):
            Image.fromarray(rng.integers(60, 190, (48, 48, 3), np.uint8)).save(folder / name / f"{number:02d}.png")
    torch.save(squeezenet().network.state_dict(), folder / "weights.pth")
    return folder


def run_in(folders: Path, path: Path) -> winnow.Run:
    given = {"model": "pretrained", "backbone": "squeezenet1_1", "weights": folders / "weights.pth", "device": "cpu"}
    run = winnow.Run(path, size=(48, 48), **given)
    run.ingest(folders / "good")
    run.train()
    run.encode()
    run.calibrate()
    return run


def test_a_run_chooses_once_and_scores_by_the_same(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(folders, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "steps" / "encode.json").read_text())
    assert record["result"]["engine"] == "onnxruntime" and record["result"]["why"] == ""
    assert f"embeddings/{FILE}" in record["artefacts"]
    with monkeypatch.context() as patch:
        patch.setattr("winnow.run.artifacts.load_network", lambda run: pytest.fail("the network was built again"))
        patch.setitem(sys.modules, "onnx", None)  # needed to write, never to read
        run.score(folders / "good", to=tmp_path / "scores")
    held = Exported(tmp_path / "run" / "embeddings" / FILE)
    again = encode(
        held, np.stack([np.asarray(Image.open(f)) for f in sorted((folders / "good").iterdir())]), device="cpu"
    )
    np.testing.assert_array_equal(again.vectors, run.embeddings.vectors)


def test_a_run_that_torch_encoded_is_scored_by_torch(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)
        run = run_in(folders, tmp_path / "run")
    record = tmp_path / "run" / "steps" / "encode.json"
    content = json.loads(record.read_text())
    assert content["result"]["engine"] == "torch" and "needs onnx" in content["result"]["why"]
    for name in ("engine", "why"):  # as earlier versions wrote it
        del content["result"][name]
    del content["seal"]
    record.write_text(json.dumps(sealed(content)))
    monkeypatch.setattr(Exported, "__init__", lambda self, file: pytest.fail("onnxruntime was asked"))
    assert run.score(folders / "new", to=tmp_path / "scores")


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_damaged_file_is_told_of(damage: str, folders: Path, tmp_path: Path) -> None:
    run = run_in(folders, tmp_path / "run")
    file = tmp_path / "run" / "embeddings" / FILE
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content) if damage == "changed" else file.unlink()
    with pytest.raises(WinnowError, match=rf"{FILE}.*\n.*winnow encode"):
        run.score(folders / "new", to=tmp_path / "scores")


def test_what_encode_says(folders: Path) -> None:
    from winnow import show

    found = Encoded(3, "picture", 5, [], "torch", "It cannot.")
    assert show.encode(found).endswith("\n  Note: torch runs the network, slower than onnxruntime would: It cannot.")
    assert "Note" not in show.encode(Encoded(3, "picture", 5, [], "onnxruntime"))
