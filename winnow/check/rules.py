"""How a check says that a rule is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from winnow.errors import WinnowError


class ContractError(AssertionError):
    """A part breaks its contract; the message states the rule and what was seen."""


def require(kept: bool, sentence: str) -> None:
    """Raise a `ContractError` with the rule unless it is kept."""
    if not kept:
        raise ContractError(sentence)


def refuses(call: Callable[[], Any], sentence: str) -> None:
    """Raise a `ContractError` unless `call()` raises a `WinnowError`."""
    try:
        call()
    except WinnowError:
        return
    except Exception as error:
        raise ContractError(f"{sentence}, not {type(error).__name__} ({error}).") from error
    raise ContractError(f"{sentence}, but nothing was raised.")
