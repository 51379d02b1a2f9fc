"""What s3:// stands on: one client a bucket and process, and the errors of its library as ours, which name the address."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

from winnow.errors import InputError, MissingExtra, RunError, Unreadable, WinnowError

S3 = "s3://"
# Without these a silent server would hold a worker for ever; AWS_TIMEOUT and the like still win.
_PATIENCE = {"connect_timeout": "10s", "read_timeout": "30s", "timeout": "300s"}


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of an address, the key without slashes at its ends; `InputError` where it names no bucket."""
    bucket, _, key = uri.removeprefix(S3).partition("/")
    if not bucket:
        raise InputError(f"{uri} names no bucket.", "Write s3://bucket/folder.")
    return bucket, key.strip("/")


def obstore() -> Any:
    """Return the library that speaks to s3, `MissingExtra` without it."""
    try:
        import obstore
    except ImportError:
        raise MissingExtra("An address on s3://", "s3") from None
    return obstore


def store(bucket: str) -> Any:
    """Return this process's client of a bucket."""
    # The environment belongs to the key so that correcting it in a running session has an effect.
    settings = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
    return _client(bucket, settings, os.getpid())


_maker = 0


@lru_cache(maxsize=64)
def _client(bucket: str, settings: tuple[tuple[str, str], ...], process: int) -> Any:
    global _maker
    from datetime import timedelta

    from obstore.store import S3Store

    # obstore's threads do not survive a fork, and a client would then wait for them for ever.
    if _maker not in (0, process):
        raise InputError(
            f"{S3}{bucket} was opened before this process was forked, so it cannot be read here.",
            "Start workers with 'spawn', or open s3:// in the workers only.",
        )
    _maker = process
    given = {name for name, _ in settings}
    patience: dict[str, Any] = {name: value for name, value in _PATIENCE.items() if f"AWS_{name.upper()}" not in given}
    retry: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
    return S3Store(bucket, retry_config=retry, **patience)


def objects(bucket: str, prefix: str) -> Iterator[Any]:
    """Yield what is known of every object below a prefix: path, size, e_tag, last_modified."""
    for chunk in obstore().list(store(bucket), prefix=prefix + "/" if prefix else None):
        yield from chunk


class named:
    """Turns the errors of obstore into ours, which name the address: `Unreadable` when only `one` file that was read is
    concerned, else `InputError`; `RunError` for what was `written`."""

    def __init__(self, uri: str, one: bool = False, *, written: bool = False) -> None:
        self.uri, self.one, self.written = uri, one, written

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> Literal[False]:
        if not isinstance(error, Exception) or isinstance(error, WinnowError):
            return False
        single, message, remedy = explain(self.uri, error, "written" if self.written else "read")
        raise (RunError if self.written else Unreadable if single and self.one else InputError)(
            message, remedy
        ) from error


def explain(uri: str, error: Exception, done: str = "read") -> tuple[bool, str, str]:
    """Return whether the error concerns this key alone, what cannot be `done` and why, and the remedy."""
    text = str(error).partition("\n\nDebug source")[0]
    code = re.search(r"<Code>(\w+)</Code>", text)
    said = f" ({code[1]})" if code else ""
    if "NoSuchBucket" in text:
        why, remedy = "there is no such bucket", "Check the bucket's name and AWS_ENDPOINT_URL."
        return False, f"{uri} cannot be {done}: {why}.", remedy
    if "404 Not Found" in text:
        return True, f"{uri} does not exist.", "Check the bucket, the key and its spelling."
    if "latest/api/token" in text or "latest/meta-data" in text:
        return (
            False,
            f"{uri} cannot be {done}: no credentials were found.",
            ("Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket."),
        )
    if "403 Forbidden" in text or "401 Unauthorized" in text:
        remedy = "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and permissions."
        return True, f"{uri} may not be {done}{said}.", remedy
    if "redirect" in text.lower() or " 301 " in text or "<Region>" in text:
        return False, f"{uri} lies in another region{said}.", "Set AWS_REGION to the bucket's region."
    if "builder error" in text:
        return (
            False,
            f"{uri} cannot be {done}: the address in AWS_ENDPOINT_URL is not https.",
            "Set AWS_ALLOW_HTTP=true for an http:// address, or correct AWS_ENDPOINT_URL.",
        )
    if isinstance(error, ValueError) or type(error).__name__ == "InvalidPathError":
        return True, f"{uri} holds a key that cannot be {done} (empty, '.' or '..' between slashes).", "Rename the key."
    if "error sending request" in text or "timed out" in text or "timeout" in text:
        return False, f"{uri} cannot be {done}: the server does not answer.", "Check AWS_ENDPOINT_URL and the network."
    first = text.splitlines()[0][:300] if text else type(error).__name__
    return False, f"{uri} cannot be {done}: {first}", "Check the AWS_* settings and the network."
