"""The check of a runner: what applies a function to items, on one worker or many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from winnow.check.rules import ContractError, require

Runner = Callable[[Callable[[Any], Any], Iterable[Any], int], Iterable[Any]]
WORKERS = (1, 2, 5)


def check_runner(run: Runner) -> None:
    """Check the contract of a runner, `run(function, items, workers)`: results in the order of the items, and errors raised.

    One worker, two and five must return the same; later items take less time here, so that they end first.
    """
    name = getattr(run, "__name__", type(run).__name__)
    for workers in WORKERS:
        where = f"with {workers} {'worker' if workers == 1 else 'workers'}"
        found = list(run(_slow_square, iter(range(12)), workers))
        require(
            found == [number * number for number in range(12)],
            f"{name} must return the results of all items in the order of the items {where}, not {found}.",
        )
        require(list(run(_slow_square, (), workers)) == [], f"{name} must return nothing for no items {where}.")
        _check_error(run, name, where, workers)


def _check_error(run: Runner, name: str, where: str, workers: int) -> None:
    try:
        list(run(_fail_at_four, range(12), workers))
    except ValueError as error:
        require(str(error) == "item 4", f"{name} must raise the error of the first item that fails {where}.")
    except Exception as error:
        raise ContractError(
            f"{name} must raise the function's own error {where}, not {type(error).__name__} ({error})."
        ) from error
    else:
        raise ContractError(f"{name} must raise the function's own error {where}, but nothing was raised.")


def _slow_square(number: int) -> int:
    time.sleep(0.002 * (12 - number) if number % 2 else 0)
    return number * number


def _fail_at_four(number: int) -> int:
    if number in (4, 5):
        time.sleep(0.002 if number == 4 else 0)
        raise ValueError(f"item {number}")
    return number
