"""The runner on Ray: a cluster of two raylets on this machine, of which a worker and a raylet are lost at work."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from dying import die_once
from test_shards import content
from tiny_runs import tiny_runs, winnow

from winnow.check import check_runner
from winnow.errors import OptionError, RunError
from winnow.scale.cluster import run_ray
from winnow.scale.shards import Share

from lonely import alone

SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
os.environ |= SETTINGS  # Ray reads them when it is imported
pytest.importorskip("ray", reason="Ray is not installed: pip install 'winnow-vision[ray]'")
pytestmark = pytest.mark.slow
STORE = 80 << 20  # bytes of a raylet's store of objects, of which the runner uses none


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """A head without cores and two raylets of one core each, to which this process is connected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        import ray
        from ray.cluster_utils import Cluster

        made = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False},
        )
        made.raylets = [made.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
        ray.init(address=made.address, configure_logging=False, log_to_driver=False)
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_runs(tmp_path_factory.getbasetemp() / "tiny")


def test_ray_keeps_the_contract_of_a_runner(cluster: object):
    check_runner(run_ray)


def test_a_killed_worker_is_replaced_and_errors_keep_their_remedy(cluster: object, tmp_path: Path):
    assert list(run_ray(partial(die_once, str(tmp_path)), range(8), 2)) == list(range(8))
    with pytest.raises(OptionError) as error:
        list(run_ray(Share.read, ["1/2", "2/2"], 1))
    assert "I from 0 to N - 1" in error.value.remedy


RAYLETS: list[object] = []


def losing(function, items, workers: int) -> Iterator[int]:
    """Run on Ray, and lose a raylet after the second result."""
    for number, result in enumerate(run_ray(function, items, workers)):
        yield result
        if number == 1:
            cluster, raylet = RAYLETS
            cluster.remove_node(raylet, allow_graceful=False)


def test_a_run_by_ray_is_the_same_bytes_with_a_raylet_removed(
    cluster, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("winnow.pool.plan.PART_PICTURES", 4)
    run, here, there = base / "plain", tmp_path / "here", tmp_path / "there"
    assert winnow("ingest", base / "good", "--run", here, "--recipe", base / "tiny.toml") == 0
    assert winnow("ingest", base / "good", "--run", there, "--recipe", base / "tiny.toml", "--runner", "ray") == 0
    assert content(here, "pool/") == content(there, "pool/")

    monkeypatch.setattr("winnow.steps.encode.LEAST", 3)
    monkeypatch.setattr("winnow.steps.encode.MOST", 3)
    RAYLETS[:] = cluster, cluster.raylets.pop()
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(copy / "embeddings")
    assert winnow("encode", "--run", copy, "--runner", "on_ray:losing") == 0
    assert content(copy, "embeddings/") == content(run, "embeddings/") and len(cluster.raylets) == 1
    for name in ("one", "two"):
        by = ("--runner", "ray") if name == "two" else ()
        assert winnow("score", base / "good", "--run", run, "--to", tmp_path / name, *by) == 0
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_cluster_that_is_not_there_is_told_of(monkeypatch: pytest.MonkeyPatch):
    import ray

    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.util.client.worker.INITIAL_TIMEOUT_SEC", 0.1)
    with pytest.raises(RunError, match=r"no cluster of Ray at ray://127\.0\.0\.1:9"):
        list(run_ray(abs, [1], 1, address="ray://127.0.0.1:9"))


ALONE = """
import os, sys, time
from winnow.scale.cluster import run_ray
if __name__ == "__main__":
    assert list(run_ray(abs, range(-4, 0), 1)) == [4, 3, 2, 1]
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    time.sleep(3)
"""


def test_a_cluster_that_is_started_here_asks_nobody_anything(tmp_path: Path):
    """Connections it does open are those among its own processes, on loopback."""
    done, asked = alone(tmp_path, ALONE)
    assert done.returncode == 0, done.stderr
    assert asked["names"] == [] and asked["Ip.OutNoRoutes"] == 0
