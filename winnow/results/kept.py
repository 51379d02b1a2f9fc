"""Results as JSON, as records and files keep them."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")


def as_json(result: Any) -> dict[str, Any]:
    """Return a result as JSON values."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(result).items()}


def from_json(kind: type[Result], content: Any) -> Result:
    """Return the result that `as_json` wrote; pydantic's `ValidationError` when it is not such a one."""
    found: Result = _reader(kind).validate_python(content)  # type: ignore[arg-type]
    return found


@cache
def _reader(kind: type[Any]) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
