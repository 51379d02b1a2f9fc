"""Two hosts that share nothing but a bucket: networks of their own, each with one wire to the server and none to the other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from test_shards import content
from tiny_runs import tiny_runs, winnow

from winnow.data.remote import Remote

from buckets import serving, settings

pytestmark = pytest.mark.slow
NAMES = ("one", "two")
REACH = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1)"


class Host:
    """A network of its own, in which `address` is the server's end of the wire; a home and a cache that nobody else has."""

    def __init__(self, number: int, home: Path) -> None:
        self.name, self.wire = f"winnow-{os.getpid()}-{number}", f"w{os.getpid()}-{number}"
        self.address, self.own = f"198.18.{number}.1", f"198.18.{number}.2"  # RFC 2544: addresses for tests of networks
        self.home, self.server = home, ""
        home.mkdir()

    def begin(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self.wire, "type", "veth", "peer", "name", "wire", "netns", self.name)
        ip("addr", "add", f"{self.address}/30", "dev", self.wire)
        ip("link", "set", self.wire, "up")
        ip("-n", self.name, "addr", "add", f"{self.own}/30", "dev", "wire")
        ip("-n", self.name, "link", "set", "wire", "up")
        ip("-n", self.name, "link", "set", "lo", "up")

    def end(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Start Python on this host."""
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"} | settings(
            self.server
        )
        command = ["ip", "netns", "exec", self.name, sys.executable, *map(str, words)]
        root = Path(__file__).parent.parent
        return subprocess.Popen(command, env=environment, cwd=root, stderr=subprocess.PIPE, text=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Host]]:
    """Two hosts and the server's machine, which is this process."""
    if shutil.which("ip") is None:
        pytest.skip("there is no ip (iproute2) here")
    made = [Host(number, tmp_path / name) for number, name in enumerate(NAMES)]
    with ExitStack() as stack:
        for host in made:
            stack.callback(host.end)
            try:
                host.begin()
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network of its own can be had here: {error.stderr.strip()}")
        for host, address in zip(made, stack.enter_context(serving(*(host.address for host in made))), strict=True):
            host.server = address
        for name, value in settings(made[0].server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
        yield made


def test_two_hosts_that_share_only_a_bucket_make_the_bytes_of_one(hosts: list[Host], tmp_path: Path):
    import boto3

    boto3.client("s3", endpoint_url=hosts[0].server).create_bucket(Bucket="shop")
    base = tiny_runs(tmp_path / "base")
    pictures = Remote("s3://shop/good")
    for path in (base / "good").rglob("*.png"):
        pictures.put_file(path.relative_to(base / "good").as_posix(), path)
    assert winnow("push", base / "plain", "s3://shop/plain") == 0
    port = hosts[0].server.rpartition(":")[2]
    assert hosts[0].start("-c", REACH, hosts[0].address, port).wait() == 0
    assert hosts[0].start("-c", REACH, hosts[1].own, port).wait() != 0  # no way from one host to the other

    def shared(*words: object, place: str) -> None:
        both = [host.start("-m", "winnow", *words, "--shard", f"{index}/2") for index, host in enumerate(hosts)]
        for process in both:
            said = process.communicate()[1]
            assert process.returncode == 0, said
        joined = hosts[1].start("-m", "winnow", "join", place)
        said = joined.communicate()[1]
        assert joined.returncode == 0, said

    ingest = ("ingest", "s3://shop/good", "--size", 32, 32)
    shared(*ingest, "--run", "s3://shop/pool", place="s3://shop/pool")
    shared("score", "s3://shop/good", "--run", "s3://shop/plain", "--to", "s3://shop/scores", place="s3://shop/scores")

    assert winnow(*ingest, "--run", tmp_path / "alone") == 0
    assert winnow("pull", "s3://shop/pool", tmp_path / "together") == 0
    assert content(tmp_path / "alone", "pool/") == content(tmp_path / "together", "pool/")
    assert winnow("score", "s3://shop/good", "--run", "s3://shop/plain", "--to", tmp_path / "scores") == 0
    assert Remote("s3://shop/scores").read("scores.csv")[0] == (tmp_path / "scores" / "scores.csv").read_bytes()
