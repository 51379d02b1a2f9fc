"""Runners: who makes the shards. This process, several of them, or a cluster of Ray; retries and placement are theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from itertools import islice
from typing import Any, TypeVar

from winnow.errors import RunError
from winnow.plugins import check_call, find, load
from winnow.progress import progress
from winnow.scale.local import cores, run_local, use_at_most
from winnow.scale.shards import Shards, Work, make_shard

Item = TypeVar("Item")
Result = TypeVar("Result")
Runner = Callable[[Callable[[Item], Result], Iterable[Item], int], Iterable[Result]]

CONTRACT = "It must yield function(item) of every item, in their order: winnow.check.check_runner says whether it does."
RAY = "ray://"
LOST = 3  # processes that may be killed before it is an error: by then it is the work that kills them
RUNNERS: dict[str, Any] = {
    "local": run_local,
    "processes": "winnow.scale.runners:run_processes",
    "ray": "winnow.scale.cluster:run_ray",
}


def make_all(work: Work, runner: str, workers: int, unit: str, numbers: Iterable[int] | None = None) -> Shards:
    """Make the shards that are not there, by default of all `numbers`, by a runner's `workers` (0: one a core), and return them;
    `unit` names the items.

    Raises the error of the first shard that fails; the others that are finished stay. With the runner `local` this process
    makes one after another, and what a step does with its threads is its own.
    """
    run = runner_of(runner)
    wanted = set(range(len(work.sizes)) if numbers is None else numbers)
    todo = sorted(wanted - work.shards.finished())
    with progress(work.step, sum(work.sizes[number] for number in todo), unit) as advance:
        if run is run_local:
            for number in todo:
                make_shard(work, number, advance)
        else:
            opened, arguments = work.opened
            make = partial(_make, opened, json.dumps(arguments, sort_keys=True, default=str))
            made = run(make, todo, cores(workers))
            if not isinstance(made, Iterable):
                raise RunError(f"The runner '{runner}' returned no results, but {made!r}.", CONTRACT)
            for _, number in zip(made, todo, strict=False):
                advance(work.sizes[number])
            if missing := wanted - work.shards.finished():
                raise RunError(f"The runner '{runner}' left {len(missing)} of {len(todo)} shards unmade.", CONTRACT)
    return work.shards


def runner_of(name: str) -> Runner[Any, Any]:
    """Return the runner of a name, of 'ray://HOST:PORT', or one's own, 'module:name'; `OptionError` when there is none."""
    if name.startswith(RAY):
        return partial(find("runner", "ray", RUNNERS), address=name)
    run: Runner[Any, Any] = find("runner", name, RUNNERS)
    check_call("runner", name, run, "run(function, items, workers) that yields function(item)", len, (), 1)
    return run


def _make(opened: str, arguments: str, number: int) -> int:
    """Make a shard in a process of its own, which opens the work once."""
    return make_shard(_work(opened, arguments), number)


@cache
def _work(opened: str, arguments: str) -> Work:
    work: Work = load(opened, "work")(**json.loads(arguments))
    return work


def run_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result, None, None]:
    """Yield function(item) of every item, in the order of the items, each computed by one of so many new processes.

    For work that holds the interpreter, where threads wait for one another. A process shares the cores with the others. One
    that is killed (out of memory, say) is replaced and its items are done again; `RunError` when that does not help.
    """
    queue, lost = iter(items), 0
    waiting: list[Item] = []
    futures: list[Future[Result]] = []
    pool = _pool(workers)
    try:
        while True:
            waiting += islice(queue, 2 * workers - len(waiting))
            if not waiting:
                return
            try:
                futures += [pool.submit(function, item) for item in waiting[len(futures) :]]
                result = futures[0].result()
            except BrokenProcessPool as error:
                lost += 1
                if lost > LOST:
                    raise RunError(
                        f"Processes were killed again and again, {lost} of them by now, the last at item {waiting[0]}.",
                        "Look for what kills them, most often too little memory: give fewer --workers.",
                    ) from error
                _end(pool)
                pool, futures = _pool(workers), []
                continue
            del waiting[0], futures[0]
            yield result
    finally:
        _end(pool)


def _pool(workers: int) -> ProcessPoolExecutor:
    import multiprocessing

    # Started anew, not forked: a fork of a process with threads of torch or Arrow may hang.
    threads = max(1, cores() // workers)
    return ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(threads,)
    )


def _end(pool: ProcessPoolExecutor) -> None:
    """End the processes at once: what they have returned is here, and a shard that one is at is absent until it is whole.

    Left to end by themselves they may wait for ever for a lock that one took with it that was killed.
    """
    processes = list((pool._processes or {}).values())  # Python 3.14 has kill_workers
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()


def _begin(threads: int) -> None:
    """Give a new process its share of the cores."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is told to all; the first process ends the others
    use_at_most(threads)
