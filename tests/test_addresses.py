"""What only a run folder names is not opened, and what it named is the same file still: addresses, detectors and weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import winnow
from winnow.data import buckets
from winnow.errors import ModelError, OptionError, RunError, Unreadable
from winnow.pool.pool import Pool
from winnow.run.addresses import is_trusted, originals_of
from winnow.steps.export import about_file
from winnow.steps.predict_onnx import predict_onnx

from exported import write_exported
from small_runs import OPTIONS, small_run
from spoiling import flipped, rewrite, set_options
from tiny_detectors import write_fastestdet, write_persons

EVIL = "s3://evil/model.onnx"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have every way to S3 be noted, and end."""
    asked: list[str] = []

    def store(bucket: str) -> None:
        asked.append(bucket)
        raise Unreadable(f"{bucket} was asked for")

    monkeypatch.setattr(buckets, "store", store)
    return asked


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of persons, `people`, with its detector, and a plain one, `run`."""
    folder = tmp_path_factory.mktemp("addresses")
    small_run(folder)
    detector = write_persons(folder)
    run = winnow.Run(folder / "people", people=True, object_detector=str(detector), **OPTIONS)
    run.ingest(folder / "persons")
    run.train()
    run.encode()
    run.calibrate()
    said = about_file(run.folder, None, None)["object_detector"]
    options = run.folder.options.ingest
    write_exported(folder / "model.onnx", ingest=options, object_detector=said)
    return folder


@pytest.fixture
def run(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base / "run", tmp_path / "run"))


@pytest.fixture
def people(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base / "people", tmp_path / "people"))


def test_a_remote_object_detector_that_only_run_json_names_is_asked_for(
    base: Path, people: Path, tmp_path: Path, no_network: list[str]
):
    set_options(people, "ingest", object_detector=EVIL)
    calls = {
        "score": lambda run: run.score(base / "persons" / "a", to=tmp_path / "out"),
        "evaluate": lambda run: run.evaluate(base / "persons" / "a", {"b": base / "persons" / "b"}),
        "ingest": lambda run: run.ingest(base / "persons" / "b"),
    }
    for call in calls.values():
        with pytest.raises(OptionError, match=EVIL) as error:
            call(winnow.Run(people))
        assert f"--trust {EVIL}" in error.value.remedy
    assert not no_network
    for trust in (EVIL, "s3://evil", "s3://evil/"):
        with pytest.raises(OptionError, match="cannot be read"):
            calls["score"](winnow.Run(people, trust=[trust]))
    with pytest.raises(OptionError, match="cannot be read"):
        winnow.Run(people, object_detector=EVIL).ingest(base / "persons" / "b")
    assert no_network == ["s3://evil"] * 4


def test_remote_backgrounds_and_sources_that_only_run_json_names_are_asked_for(run: Path, no_network: list[str]):
    set_options(run, "train", background="s3://evil/pictures/")
    for step in ("train", "fit"):
        with pytest.raises(OptionError, match="its background"):
            winnow.Run(run).train() if step == "train" else winnow.Run(run).fit([run.parent])
    set_options(run, "train", background="generic")
    rewrite(run / "run.json", lambda content: {**content, "sources": ["s3://evil/pictures/"]})
    with pytest.raises(OptionError, match="one of its sources"):
        winnow.Run(run).fit([])
    assert not no_network


def test_originals_at_an_address_that_only_the_pool_names_are_not_opened(run: Path, no_network: list[str]):
    folder, pool = winnow.Run(run).folder, Pool.open(run / "pool")
    pool.items = pool.items.set_column(1, "source", [["s3://evil/a.png"] * len(pool)])
    with pytest.raises(Unreadable, match=r"evil/a\.png") as error:
        originals_of(folder, pool).pixels(0)
    assert "--trust s3://evil/a.png" in error.value.remedy and not no_network
    folder.trusted.add("s3://evil")
    with pytest.raises(Unreadable, match="asked for"):
        originals_of(folder, pool).pixels(0)


def test_pictures_to_do_again_at_an_address_that_only_the_pool_names_are_asked_for(
    base: Path, run: Path, no_network: list[str]
):
    def moved(part: dict) -> dict:
        return {**part, "sources": [{**source, "uri": f"s3://evil/{source['uri']}"} for source in part["sources"]]}

    rewrite(run / "pool" / "parts" / "00000.json", moved)
    (run / "pool" / "pixels-00000.npy").unlink()
    with pytest.raises(OptionError, match="one of its pictures"):
        winnow.Run(run).ingest(base / "bad")
    assert not no_network


def test_what_lies_below_a_trusted_address_is_trusted(run: Path):
    folder = winnow.Run(run, trust=["s3://mine/a/"]).folder
    trusted = [f"s3://{name}" for name in ("mine/a", "mine/a/b.png", "mine/ab", "mine", "other/a")]
    assert [is_trusted(folder, address) for address in trusted] == [True, True, False, False, False]
    assert is_trusted(folder, "/local/file")


@pytest.mark.parametrize("how", ["flipped", "another"])
def test_another_detector_under_the_same_name_is_told_of(
    how: str, base: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    detector = Path(shutil.copy(base / "yolox.onnx", tmp_path / "yolox.onnx"))
    set_options(people, "ingest", object_detector=str(detector))
    run = winnow.Run(people)
    assert run.score(base / "persons" / "a", to=tmp_path / "good").pictures  # the same file under another name
    predict_onnx(base / "model.onnx", [base / "persons" / "a"], to=tmp_path / "same", object_detector=str(detector))
    if how == "another":
        write_fastestdet(detector)
    else:
        content = bytearray(detector.read_bytes())
        content[content.index(b"tiny")] ^= 1  # the name of the graph: boxes are as they were
        detector.write_bytes(content)
    for call in (
        lambda: run.score(base / "persons" / "a", to=tmp_path / "bad"),
        lambda: predict_onnx(
            base / "model.onnx", [base / "persons" / "a"], to=tmp_path / "bad", object_detector=str(detector)
        ),
    ):
        with pytest.raises(OptionError, match=r"yolox\.onnx is not the one") as error:
            call()
        assert "sha256:" in error.value.remedy and not (tmp_path / "bad").exists()


def test_other_weights_under_the_same_name_are_told_of(base: Path, tmp_path: Path):
    import torch

    from winnow.models.pretrained import Pretrained

    weights = tmp_path / "weights.pth"
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(Pretrained((32, 32), 3, "squeezenet1_1").network.state_dict(), tmp_path / f"{seed}.pth")
    shutil.copy(tmp_path / "0.pth", weights)
    chosen = {"model": "pretrained", "backbone": "squeezenet1_1", "weights": str(weights), "size": (32, 32)}
    run = winnow.Run(tmp_path / "run", **chosen, device="cpu")
    run.ingest(base / "good")
    run.train()
    run.encode()
    assert run.folder.done("encode")
    weights.touch()  # another mark, the same content
    assert winnow.Run(tmp_path / "run").folder.done("encode")
    whole = weights.read_bytes()
    flipped(weights)
    assert not run.folder.fits("train")
    shutil.copy(tmp_path / "1.pth", weights)
    again = winnow.Run(tmp_path / "run")
    with pytest.raises(RunError, match="what 'train' wrote is older"):
        again.encode()
    weights.unlink()
    assert again.folder.done("encode")  # a run is moved without its weights
    weights.write_bytes(whole)
    assert winnow.Run(tmp_path / "run").folder.done("encode")
    shutil.copy(tmp_path / "1.pth", weights)
    again.train()
    assert again.folder.done("train") and not again.folder.fits("encode")


def test_a_detector_that_only_run_json_names_is_not_downloaded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from torchvision.models import WeightsEnum

    people = Path(shutil.copytree(base / "people", tmp_path / "people"))
    name, asked = "fasterrcnn_mobilenet_v3_large_320_fpn", []

    def fetched(self: WeightsEnum, *_: object, **__: object) -> None:
        asked.append(self.url)
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(WeightsEnum, "get_state_dict", fetched)
    set_options(people, "ingest", object_detector=name)
    for call in (
        lambda: winnow.Run(people).score(base / "persons" / "a", to=tmp_path / "out"),
        lambda: winnow.Run(people).ingest(base / "persons" / "b"),
    ):
        with pytest.raises(
            OptionError, match=f"names {name} as its object detector, whose weights would be downloaded"
        ):
            call()
    assert not asked
    with pytest.raises(ModelError, match="could not be downloaded"):
        winnow.Run(people, object_detector=name).ingest(base / "persons" / "b")
    assert len(asked) == 1
