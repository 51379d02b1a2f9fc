"""The runner on Ray: a task a shard, on the user's cluster or one that is started here for the call.

Tasks of Ray Core, not Ray Data: a shard reads and writes its own files, so that nothing travels through Ray but numbers, and
retries, placement and scaling are Ray's (docs/scale.md says what was measured of others).
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from winnow.errors import MissingExtra, RunError, in_one_line
from winnow.scale.local import use_at_most

Item = TypeVar("Item")
Result = TypeVar("Result")

PROXY = "http_proxy"
RETRIES = 5  # of a task whose worker or machine was lost; an error of the task itself is raised at once


def run_ray(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, address: str = ""
) -> Generator[Result, None, None]:
    """Yield function(item) of every item, in the order of the items, each computed by a task of Ray with one core.

    On the cluster that this process is connected to, that of the `address` (ray://HOST:PORT) or of Ray's own variable
    RAY_ADDRESS; else `workers` cores of this machine, for this call. All machines need Winnow and the same folders. Raises
    `MissingExtra` without Ray, `RunError` when there is no cluster or its machines are lost again and again.
    """
    ray = _import_ray(alone=not (address or os.environ.get("RAY_ADDRESS")))
    begun = not ray.is_initialized()
    if begun:
        _connect(ray, address, workers)
    try:
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(_call)
        queue = iter(items)
        slots = 2 * max(workers, int(ray.cluster_resources().get("CPU", 1)))
        waiting: list[tuple[Item, Any]] = []
        while True:
            waiting += [(item, task.remote(function, item)) for item in islice(queue, slots - len(waiting))]
            if not waiting:
                return
            item, future = waiting.pop(0)
            yield _result(ray, item, future)
    finally:
        for _, future in waiting:
            ray.cancel(future, force=True)
        if begun:
            ray.shutdown()


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    """Compute one item in a task, which has one core."""
    use_at_most(1)
    return function(item)


def _result(ray: Any, item: Any, future: Any) -> Any:
    try:
        return ray.get(future)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except ray.exceptions.RayError as error:
        raise RunError(
            f"Ray lost item {item} again and again ({in_one_line(error)}).",
            "Look for what kills its workers, most often too little memory; what is finished stays.",
        ) from error


def _import_ray(alone: bool) -> Any:
    # Ray reports home unless told not to before its import; what the user has set stays.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if (
        alone and "ray" not in sys.modules
    ):  # a cluster without a token runs whatever anyone sends it; read at the import
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
    except ModuleNotFoundError:
        raise MissingExtra("The runner 'ray'", "ray", "ray") from None
    return ray


def _connect(ray: Any, address: str, workers: int) -> None:
    quiet: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
    try:
        if address or os.environ.get("RAY_ADDRESS"):
            ray.init(address=address or None, **quiet)
        else:
            with _asking_nobody() as for_workers:
                ray.init(
                    address="local",
                    num_cpus=workers,
                    include_dashboard=False,
                    _node_ip_address="127.0.0.1",
                    runtime_env=for_workers,
                    **quiet,
                )
    except (ConnectionError, RuntimeError, OSError) as error:
        where = address or os.environ.get("RAY_ADDRESS") or "this machine"
        raise RunError(
            f"There is no cluster of Ray at {where} ({in_one_line(error)}).",
            "Start one (ray start --head), or check the address and RAY_AUTH_TOKEN.",
        ) from error


@contextmanager
def _asking_nobody() -> Iterator[dict[str, Any]]:
    """Keep the head of a cluster from asking which cloud it is in (metadata.google.internal, 169.254.169.254), which it does even
    where it is to report nothing: its requests go to a closed port; yield the environment of workers, which have the user's proxy.
    """
    held = os.environ.get(PROXY)
    os.environ[PROXY] = "http://127.0.0.1:9"
    try:
        yield {"env_vars": {PROXY: held or ""}}
    finally:
        del os.environ[PROXY]
        if held is not None:
            os.environ[PROXY] = held
