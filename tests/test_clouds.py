"""Google's and Azure's buckets: what docs/s3.md says of S3, by the same code."""

from __future__ import annotations

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from winnow.data import storage
from winnow.data.remote import Remote
from winnow.errors import InputError, OptionError, RunError
from winnow.run.deliver import delivered
from winnow.run.working_copy import on_this_disk

from buckets import serving
from clouds import azurite, like_google, new_container, of_google
from small_runs import command, content, small_run

SETTINGS = ("AWS_", "GOOGLE_", "AZURE_")


@pytest.fixture(scope="module", params=["gs", "az"])
def bucket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Yield the address of a bucket, which this process and its children can use."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(SETTINGS)]:
            patch.delenv(name)
        if request.param == "gs":
            with serving("127.0.0.1", speaking=like_google) as (address,):
                import boto3

                client = boto3.client("s3", endpoint_url=address, region_name="us-east-1",
                                      aws_access_key_id="key", aws_secret_access_key="secret")  # fmt: skip
                client.create_bucket(Bucket="clouds")
                for name, value in of_google(address).items():
                    patch.setenv(name, value)
                yield "gs://clouds"
        else:
            with azurite(tmp_path_factory.mktemp("azurite")) as settings:
                new_container(settings, "clouds")
                for name, value in settings.items():
                    patch.setenv(name, value)
                yield "az://clouds"


def test_a_name_is_created_once_and_replaced_only_by_who_has_read_it(bucket: str):
    remote = Remote(f"{bucket}/conditions")
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: remote.create("one", str(number).encode()), range(16)))
    assert won.count(True) == 1
    data, version = remote.read("one")
    assert data == str(won.index(True)).encode()
    assert remote.replace("one", b"second", version) and not remote.replace("one", b"third", version)
    assert remote.read("one")[0] == b"second"
    assert remote.honours_conditions()
    assert [name for name, _ in remote.listing()] == ["one"]


def test_what_is_not_there_is_none_and_removing_it_removes_the_others(bucket: str):
    remote = Remote(f"{bucket}/gone")
    remote.put("a", b"1")
    remote.put("c", b"1")
    assert remote.read("b") is None
    remote.delete(["a", "b", "c"])
    assert remote.listing() == []


def test_large_files_go_up_in_parts_and_are_read_by_pieces(bucket: str, tmp_path: Path):
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (12 << 12))
    Remote(f"{bucket}/large").put_file("file", path)
    with storage.open_binary(f"{bucket}/large/file") as file:
        file.seek(5_000_001)
        assert file.read(1000) == path.read_bytes()[5_000_001:5_001_001]
    assert (
        Remote(f"{bucket}/large").get("file", tmp_path / "back")
        and (tmp_path / "back").read_bytes() == path.read_bytes()
    )


def test_a_run_of_pictures_in_a_bucket_is_the_run_of_the_folder(bucket: str, tmp_path: Path):
    here = small_run(tmp_path)
    there = f"{bucket}/runs/there"
    assert command("push", here.folder.path, there) == 0
    for path in sorted((tmp_path / "bad").rglob("*.png")):
        Remote(f"{bucket}/pictures").put_file(path.relative_to(tmp_path / "bad").as_posix(), path)
    assert command("score", f"{bucket}/pictures", "--run", there, "--to", f"{bucket}/results") == 0
    assert command("score", tmp_path / "bad", "--run", here.folder.path, "--to", tmp_path / "results") == 0
    Remote(f"{bucket}/results").get("scores.csv", tmp_path / "scores.csv")
    assert scores_in(tmp_path / "scores.csv") == scores_in(tmp_path / "results" / "scores.csv")
    assert command("select", "-n", 4, "--run", there) == 0
    assert command("select", "-n", 4, "--run", here.folder.path) == 0
    assert command("pull", there, tmp_path / "pulled") == 0
    assert content(tmp_path / "pulled") == content(here.folder.path)


def scores_in(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        scores = [row["score"] for row in csv.DictReader(file)]
    assert len(scores) == 6
    return scores


def test_errors_name_the_address_and_the_settings_of_its_own_service(bucket: str, monkeypatch: pytest.MonkeyPatch):
    scheme = bucket[:5]
    settings = {"gs://": "GOOGLE_", "az://": "AZURE_"}[scheme]
    with pytest.raises(InputError, match=f"{scheme}nowhere/x/y cannot be read: there is no such bucket") as raised:
        Remote(f"{scheme}nowhere/x").read("y")
    assert settings in raised.value.remedy
    with pytest.raises(RunError, match="there is no such bucket"):
        Remote(f"{scheme}nowhere/x").create("y", b"")
    with pytest.raises(InputError, match=f"{scheme} names no bucket"):
        Remote(scheme)
    with pytest.raises(InputError, match="does not exist"):
        storage.stat(f"{bucket}/none.jpg")
    for name in [name for name in os.environ if name.startswith(settings)]:
        monkeypatch.delenv(name)
    with pytest.raises(InputError, match=bucket) as raised:
        storage.is_folder(f"{bucket}/pictures")
    assert settings in raised.value.remedy


def test_an_address_in_the_place_of_a_file_of_this_disk_is_told_of_as_it_was_written(bucket: str):
    with pytest.raises(OptionError, match=f"{bucket}/list.csv is in a bucket"):
        on_this_disk(Path(f"{bucket}/list.csv"))
    with pytest.raises(OptionError, match="is not the name of a file") as raised, delivered(bucket, "--to"):
        pass
    assert raised.value.remedy == f"Write --to {bucket[:5]}BUCKET/FOLDER/NAME"
