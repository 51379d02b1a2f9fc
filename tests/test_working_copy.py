"""A run in a bucket (moto on loopback) does what a run in a folder does: the same bytes, whole or as before, nobody's work lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import winnow
from winnow.data.remote import PROBE, Remote
from winnow.data.sources import expand
from winnow.errors import InputError, OptionError
from winnow.pool.pool import Pool
from winnow.run import copies, working_copy
from winnow.run.copies import NotPushed
from winnow.run.deliver import Outbox

from buckets import Door, keys
from small_runs import FLAGS, OPTIONS, command, content, listed, results, small_run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures `good` and `bad`, the run `run` of what is good, and `labels.csv`."""
    folder = tmp_path_factory.mktemp("base")
    small_run(folder)
    return folder


@pytest.fixture(autouse=True)
def another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have every test begin with an empty cache, and large files be small."""
    monkeypatch.setattr(copies, "LARGE", 1000)
    move(tmp_path / "cache", monkeypatch)
    yield
    working_copy.OPEN.clear()
    working_copy.NAMES.clear()


def move(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go on as on another machine, whose cache is another."""
    working_copy.OPEN.clear()
    working_copy.ADVISED.clear()
    working_copy._check_store.cache_clear()
    monkeypatch.setenv("WINNOW_CACHE", str(cache))
    return cache


def copy_of(address: str) -> Path:
    return working_copy.copy_of_address(address).folder


def manifest(bucket: str, name: str = "run") -> dict[str, dict[str, str]]:
    files: dict[str, dict[str, str]] = json.loads(keys(bucket)[f"{name}/winnow.json"])["files"]
    return files


def test_a_run_in_a_bucket_is_that_in_a_folder_to_the_byte(
    base: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    address = f"{bucket}/runs/match"
    monkeypatch.chdir(tmp_path)
    assert command("ingest", base / "good", "--run", address, "--size", *OPTIONS["size"]) == 0
    for step, flags in (
        ("train", FLAGS[FLAGS.index("--width") : FLAGS.index("--folds")] + FLAGS[FLAGS.index("--device") :]),
        ("encode", []),
        ("calibrate", []),
        ("select", ["-n", 4]),
        ("classify", ["--labels", base / "labels.csv", "--head", "nearest_mean", "--folds", 2]),
        ("report", []),
    ):
        move(tmp_path / step, monkeypatch)
        assert command(step, "--run", address, *flags) == 0
    move(tmp_path / "score", monkeypatch)
    assert command("score", base / "bad", "--run", address) == 0
    assert command("pull", address, tmp_path / "pulled") == 0
    local = winnow.Run(shutil.copytree(base / "run", tmp_path / "local"))
    local.select(4)
    local.classify(labels=base / "labels.csv", head="nearest_mean", folds=2)
    local.report()
    local.score(base / "bad")
    assert results(tmp_path / "pulled") == results(tmp_path / "local")
    assert content(tmp_path / "pulled") == content(tmp_path / "local")
    assert (tmp_path / "pulled" / "report.html").stat().st_size > 10_000
    assert not list(tmp_path.glob("s3:*"))
    captured = capsys.readouterr()
    assert str(tmp_path / "score") not in captured.out + captured.err
    named = {file["key"] for file in manifest(bucket, "runs/match").values()}
    assert {key.removeprefix("runs/match/") for key in keys(bucket)} == named | {"winnow.json"}


def put(base: Path, bucket: str, tmp_path: Path, name: str = "run") -> str:
    """Put the run into a bucket from a folder, and return its address."""
    folder = shutil.copytree(base / "run", tmp_path / f"made of {name}")
    assert command("push", folder, f"{bucket}/{name}") == 0
    return f"{bucket}/{name}"


def test_who_may_only_read_a_run_judges_by_it_and_writes_nothing_to_it(
    base: Path,
    bucket: str,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    address = put(base, bucket, tmp_path)
    before = keys(bucket)
    writes: list[str] = []

    def only_reading(method: str, path: str) -> int | None:
        if method in ("GET", "HEAD"):
            return None
        writes.append(path)
        return 403

    door = Door(server, only_reading)
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.address)
    move(tmp_path / "reader", monkeypatch)
    there = tmp_path / "there"
    assert command("score", base / "bad", "--run", address, "--to", there / "scores") == 0
    assert command("report", "--run", address, "--to", there / "report.html") == 0
    assert (there / "scores" / "scores.csv").exists() and (there / "report.html").exists() and not writes
    capsys.readouterr()
    for words in (("score", base / "bad"), ("calibrate",), ("ingest", base / "bad")):
        assert command(*words, "--run", address) == 1
        assert f"{address} may not be written" in (said := capsys.readouterr().err)
        assert ("another place with --to" in said) == (words[0] == "score")
    assert not (copy_of(address) / "scores").exists()
    assert keys(bucket) == before
    door.close()


def test_files_of_a_run_in_a_bucket_are_named_as_they_can_be_reached(
    base: Path, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Its objects have other names, so a copy is advised; a run that is not in the bucket yet has files on this disk alone."""
    address = put(base, bucket, tmp_path)
    capsys.readouterr()
    assert command("select", "--run", address, "-n", 3) == 0
    said = capsys.readouterr().out
    assert f"{address}/selection.csv" in said and said.count(f"Files of {address} have these names in a copy") == 1
    label = f"winnow pull {address} COPY; winnow label --run COPY --classes A,B; winnow push COPY {address}"
    assert f"  Label them: {label}\n" in said
    pictures = shutil.copytree(base / "good", tmp_path / "pictures")
    for number in range(20):
        (pictures / f"broken{number}.png").write_bytes(b"no picture")
    assert command("ingest", pictures, "--run", f"{bucket}/new", "--size", *OPTIONS["size"]) == 1
    listed = capsys.readouterr().err.partition("All are listed in ")[2].partition(":")[0]
    assert Path(listed).read_text().count("broken") == 20 and f"{bucket}/new" not in listed


def test_of_a_run_that_was_removed_it_is_said_what_can_become_of_what_is_here(
    base: Path, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    address = put(base, bucket, tmp_path)
    assert command("score", base / "bad", "--run", address, "--to", tmp_path / "scores") == 0
    folder = copy_of(address)
    assert command("pull", address, tmp_path / "pulled") == 0
    Remote(address).delete([name for name, _ in Remote(address).listing()])
    capsys.readouterr()
    assert command("score", base / "bad", "--run", address, "--to", tmp_path / "scores") == 1
    said = capsys.readouterr().err
    assert (
        f"no run at {address} any more" in said and "without large files such as" in said and "winnow push" not in said
    )
    assert f"remove {folder.parent}" in said
    assert command("push", tmp_path / "pulled", address) == 1
    said = capsys.readouterr().err
    remedy = said.partition("all of it: ")[2]
    shutil.rmtree(Path(remedy.partition("remove ")[2].partition(",")[0]))
    assert f"winnow push {tmp_path / 'pulled'}" in remedy and command("push", tmp_path / "pulled", address) == 0
    shutil.rmtree(folder.parent)
    assert command("score", base / "bad", "--run", address, "--to", tmp_path / "scores") == 0


def test_large_files_are_fetched_when_they_are_read_and_go_when_there_is_no_room(
    base: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    address, other = put(base, bucket, tmp_path), put(base, bucket, tmp_path, "other")
    arrays = {path for path in manifest(bucket) if path.endswith(".npy") and manifest(bucket)[path]["size"] >= 1000}  # type: ignore[operator]
    assert {"pool/pixels-00000.npy", "embeddings/vectors.npy"} & arrays

    def here(address: str) -> set[str]:
        return {path for path in arrays if (copy_of(address) / path).stat().st_mtime_ns}

    assert command("score", base / "bad", "--run", address, "--to", tmp_path / "scores") == 0
    assert here(address) == set()
    assert command("select", "--run", address, "-n", 3) == 0  # which draws a contact sheet
    assert "pool/pixels-00000.npy" in here(address)
    whole = (base / "run" / "pool" / "pixels-00000.npy").read_bytes()
    assert (copy_of(address) / "pool" / "pixels-00000.npy").read_bytes() == whole
    winnow.Run(other)
    working_copy.fetch(copy_of(other) / "pool" / "pixels-00000.npy")
    assert "pool/pixels-00000.npy" in here(address) & here(other)
    monkeypatch.setenv("WINNOW_CACHE_GB", f"{len(whole) / 1e9:.9f}")
    working_copy.fetch(copy_of(other) / "embeddings" / "vectors.npy")
    assert "pool/pixels-00000.npy" not in here(address) & here(other)
    for run in (winnow.Run(address), winnow.Run(other)):
        assert len(Pool.open(run.folder.folder("ingest")).pixels([0])) == 1
    assert "pool/pixels-00000.npy" in here(other)
    monkeypatch.setenv("WINNOW_CACHE_GB", "many")
    with pytest.raises(OptionError, match="WINNOW_CACHE_GB is 'many'"):
        working_copy.make_room(1)


def test_of_two_who_change_a_run_one_wins_and_the_other_loses_nothing(
    base: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    address = put(base, bucket, tmp_path)
    one, two = tmp_path / "one", tmp_path / "two"
    move(one, monkeypatch)
    first = winnow.Run(address)
    move(two, monkeypatch)
    second = winnow.Run(address)
    second.select(3)
    after = manifest(bucket)
    move(one, monkeypatch)
    working_copy.OPEN[first.folder.path] = working_copy.copy_of_address(address)
    with pytest.raises(NotPushed, match=rf"{address} was changed by another .*{first.folder.path} holds changes"):
        first.select(5)
    assert manifest(bucket) == after and len(listed(first.folder.path)) == 5
    working_copy.OPEN.clear()
    assert command("select", "--run", address, "-n", 6) == 1
    assert str(first.folder.path) in (said := capsys.readouterr().err) and f"push {first.folder.path} s3://" in said
    assert command("push", first.folder.path, f"{bucket}/mine") == 0
    assert command("pull", f"{bucket}/mine", tmp_path / "mine") == 0
    assert len(listed(tmp_path / "mine")) == 5 and content(tmp_path / "mine") == content(first.folder.path)
    shutil.rmtree(first.folder.path.parent)
    assert command("select", "--run", address, "-n", 6) == 0
    assert len(listed(copy_of(address))) == 6


def test_a_pool_on_another_disk_is_pushed_with_its_run(base: Path, bucket: str, tmp_path: Path):
    folder = shutil.copytree(base / "run", tmp_path / "linked")
    (folder / "pool").rename(tmp_path / "large disk")
    (folder / "pool").symlink_to(tmp_path / "large disk")
    assert command("push", folder, f"{bucket}/run") == 0
    assert command("pull", f"{bucket}/run", tmp_path / "pulled") == 0
    assert content(tmp_path / "pulled") == content(base / "run")


def test_what_could_not_be_pushed_is_pushed_by_the_next_command(
    base: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    address = put(base, bucket, tmp_path)
    before = manifest(bucket)
    run = winnow.Run(address)
    with monkeypatch.context() as patch:
        patch.setattr(copies.Copy, "push", lambda copy: os.abort())
        patch.setattr(os, "abort", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run.select(4)
    assert manifest(bucket) == before
    working_copy.OPEN.clear()
    capsys.readouterr()
    assert command("select", "--run", address, "-n", 4) == 0
    assert f"Pushed to {address} what an earlier call had left here." in capsys.readouterr().err
    assert "selection.csv" in manifest(bucket) and len(listed(copy_of(address))) == 4


def test_a_step_that_was_not_finished_is_not_pushed(base: Path, bucket: str, tmp_path: Path):
    address = put(base, bucket, tmp_path)
    before = manifest(bucket)
    run = winnow.Run(address)
    (run.folder.path / "pool" / "pool.json").unlink()  # as an ingest that was killed leaves it
    working_copy.ready(run.folder.path)
    assert manifest(bucket) == before
    with pytest.raises(NotPushed, match=r"is not whole \(pool/pool\.json\): the step 'ingest'"):
        working_copy.push(run.folder.path)
    assert manifest(bucket) == before
    run.ingest(base / "good")
    assert manifest(bucket)["pool/pool.json"]["sha256"] == before["pool/pool.json"]["sha256"]


def test_what_is_not_a_place_for_a_run_is_refused_before_any_work(
    base: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Remote(f"{bucket}/things").create("holiday.txt", b"sun")
    for words, told in (
        (("ingest", base / "good", "--run", bucket), f"{bucket} is a whole bucket"),
        (("ingest", base / "good", "--run", f"{bucket}/things"), f"{bucket}/things is not empty and not a run"),
        (("ingest", base / "good", "--run", "s3://nowhere/run"), "there is no such bucket"),
        (("train", "--run", f"{bucket}/none"), f"{bucket}/none is not a run folder"),
        (("pull", f"{bucket}/none", "here"), f"There is no run at {bucket}/none"),
        (("push", "none", f"{bucket}/none"), "none is not a run folder"),
        (("label", "--run", put(base, bucket, tmp_path)), "winnow pull"),
        (("label", "--run", f"{bucket}/run", "--export", f"{bucket}/x.csv"), f"{bucket}/x.csv is in a bucket"),
        (("label", "--run", f"{bucket}/run", "--import", f"{bucket}/x.csv"), f"{bucket}/x.csv is in a bucket"),
        (("select", "--run", f"{bucket}/run", "--also", f"{bucket}/x.csv"), f"{bucket}/x.csv is in a bucket"),
        (("score", base / "bad", "--run", f"{bucket}/run", "--to", f"{bucket}/things"), "was not written by Winnow"),
        (("score", base / "bad", "--run", f"{bucket}/run", "--to", f"{bucket}/run/x"), f"is in {bucket}/run, a run"),
        (("report", "--run", f"{bucket}/run", "--to", f"{bucket}/run/x.html"), f"is in {bucket}/run, a run"),
        (("run", "oneclass-from-scratch", base / "good", "--to", f"{bucket}/run"), f"{bucket}/run already holds a run"),
    ):
        before = keys(bucket)
        assert command(*words) in (1, 2), words
        assert told in (said := capsys.readouterr().err), said
        assert "Traceback" not in said and keys(bucket) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(("s3", "here", "none"))] == []


def test_what_another_machine_tries_a_bucket_by_is_not_in_the_way_of_results(bucket: str):
    there = Remote(f"{bucket}/scores")
    there.create(f"{PROBE}0123", b"1")
    there.create("shards/score/job.json", b"{}")
    Outbox(f"{bucket}/scores", "--to").check()
    there.create("holiday.txt", b"sun")
    with pytest.raises(OptionError, match="was not written by Winnow"):
        Outbox(f"{bucket}/scores", "--to").check()


def test_results_go_to_a_bucket_whole_and_replace_those_of_an_earlier_call(
    base: Path, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = winnow.Run(base / "run")
    Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    for sources in (base / "bad", tmp_path / "one.png"):
        assert command("score", sources, "--run", base / "run", "--to", f"{bucket}/out/scores") == 0
        assert f"Results: {bucket}/out/scores" in capsys.readouterr().out
        local = run.score(sources, to=tmp_path / "scores")
        there = {key.removeprefix("out/scores/"): data for key, data in keys(bucket).items()}
        assert there["scores.csv"] == (local.folder / "scores.csv").read_bytes()
        assert set(there) == {path.name for path in local.folder.iterdir() if path.is_file()}
    assert not list((tmp_path / "cache" / "results").glob("*"))
    words = ("--normal", base / "good", "--anomalous", f"bad={base / 'bad'}", "--to", f"{bucket}/out/evaluation")
    assert command("evaluate", "--run", base / "run", *words) == 0
    assert {"out/evaluation/evaluation.json", "out/evaluation/roc.png"} <= set(keys(bucket))
    assert command("report", "--run", base / "run", "--to", f"{bucket}/out/report.html") == 0
    assert keys(bucket)["out/report.html"].startswith(b"<!")
    assert command("report", "--run", base / "run", "--to", f"{bucket}/out/report.html") == 0
    Remote(f"{bucket}/out").create("notes.html", b"mine")
    assert command("report", "--run", base / "run", "--to", f"{bucket}/out/notes.html") == 1
    assert f"{bucket}/out/notes.html was not written by Winnow" in capsys.readouterr().err
    assert keys(bucket)["out/notes.html"] == b"mine"


def test_a_model_goes_to_a_bucket_with_its_card(base: Path, bucket: str, tmp_path: Path):
    found = winnow.Run(base / "run").export(f"{bucket}/models/shop.onnx")
    assert found.file == f"{bucket}/models/shop.onnx" and set(keys(bucket)) == {"models/shop.onnx", "models/shop.md"}
    (tmp_path / "shop.onnx").write_bytes(keys(bucket)["models/shop.onnx"])
    assert command("predict", base / "bad", "--onnx", tmp_path / "shop.onnx", "--to", f"{bucket}/out") == 0
    assert "out/predictions.json" in keys(bucket)


def test_a_run_among_pictures_in_a_bucket_is_not_read(base: Path, bucket: str, tmp_path: Path):
    put(base, bucket, tmp_path, "all/run")
    Remote(f"{bucket}/all").put_file("one.jpg", next((base / "good").rglob("*.png")))
    Remote(f"{bucket}/all").put_file("run/pool/two.v1-00000000.png", next((base / "good").rglob("*.png")))
    assert [source.uri for source in expand([f"{bucket}/all"]).sources] == [f"{bucket}/all/one.jpg"]
    with pytest.raises(InputError, match="is a run or results of Winnow"):
        expand([f"{bucket}/all/run"])
