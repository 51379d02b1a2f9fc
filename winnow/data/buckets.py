"""What s3://, gs:// and az:// stand on: one client a bucket and process, and the errors of its library as ours, which name the address."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from winnow.errors import InputError, MissingExtra, RunError, Unreadable, WinnowError

# Without these a silent server would hold a worker for ever; AWS_TIMEOUT and the like still win.
_PATIENCE = {"connect_timeout": "10s", "read_timeout": "30s", "timeout": "300s"}


@dataclass(frozen=True, slots=True)
class Service:
    """A kind of object store: obstore's class for it, how the names of its settings begin, and which of them errors advise.

    `version` says what names the state of an object in a conditional write: its ETag, or the generation of Google's.
    """

    store: str
    settings: str
    endpoint: str
    plain_http: str
    credentials: str
    no_credentials: str
    version: Literal["e_tag", "version"] = "e_tag"


SERVICES = {
    "s3://": Service(
        "S3Store",
        "AWS_",
        "AWS_ENDPOINT_URL",
        "AWS_ALLOW_HTTP",
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket.",
    ),
    "gs://": Service(
        "GCSStore",
        "GOOGLE_",
        "GOOGLE_BASE_URL",
        "GOOGLE_ALLOW_HTTP",
        "GOOGLE_SERVICE_ACCOUNT",
        "Set GOOGLE_SERVICE_ACCOUNT to the file of a service account's key, or GOOGLE_SKIP_SIGNATURE=true for a public bucket.",
        version="version",
    ),
    "az://": Service(
        "AzureStore",
        "AZURE_",
        "AZURE_STORAGE_ENDPOINT",
        "AZURE_ALLOW_HTTP",
        "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
        "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY.",
    ),
}
"""By the scheme of an address. A container of Azure is what we call a bucket."""


def is_address(text: str) -> bool:
    """Return whether a text is the address of something in a bucket."""
    return text.startswith(tuple(SERVICES))


def service(uri: str) -> Service:
    """Return the kind of object store that an address is of."""
    return SERVICES[uri[: uri.index("//") + 2]]


def split(uri: str) -> tuple[str, str]:
    """Return the bucket of an address, as s3://bucket, and its key, without slashes at its ends; `InputError` where it names none."""
    scheme, _, rest = uri.partition("//")
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise InputError(f"{uri} names no bucket.", f"Write {scheme}//bucket/folder.")
    return f"{scheme}//{bucket}", key.strip("/")


def obstore() -> Any:
    """Return the library that speaks to object stores, `MissingExtra` without it."""
    try:
        import obstore
    except ImportError:
        raise MissingExtra("An address in a bucket", "s3") from None
    return obstore


def store(bucket: str) -> Any:
    """Return this process's client of a bucket, s3://bucket."""
    # The environment belongs to the key so that correcting it in a running session has an effect.
    prefix = service(bucket).settings
    settings = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(prefix)))
    return _client(bucket, settings, os.getpid())


_maker = 0


@lru_cache(maxsize=64)
def _client(bucket: str, settings: tuple[tuple[str, str], ...], process: int) -> Any:
    global _maker
    from datetime import timedelta

    from obstore import store as stores

    # obstore's threads do not survive a fork, and a client would then wait for them for ever.
    if _maker not in (0, process):
        raise InputError(
            f"{bucket} was opened before this process was forked, so it cannot be read here.",
            "Start workers with 'spawn', or open buckets in the workers only.",
        )
    _maker = process
    kind, given = service(bucket), {name for name, _ in settings}
    patience: dict[str, Any] = {
        name: value for name, value in _PATIENCE.items() if f"{kind.settings}{name.upper()}" not in given
    }
    retry: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
    name = bucket.partition("//")[2]
    return getattr(stores, kind.store)(name, retry_config=retry, **patience)


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


_NO_CREDENTIALS = (
    "latest/api/token",  # S3 asks the machine that it may run on
    "latest/meta-data",
    "computeMetadata",  # Google's likewise
    "metadata/identity",  # Azure's likewise
    "Account must be specified",
)


def explain(uri: str, error: Exception, done: str = "read") -> tuple[bool, str, str]:
    """Return whether the error concerns this key alone, what cannot be `done` and why, and the remedy."""
    kind = service(uri)
    text = str(error).partition("\n\nDebug source")[0]
    code = re.search(r"<Code>(\w+)</Code>", text)
    said = f" ({code[1]})" if code else ""
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        why, remedy = "there is no such bucket", f"Check the bucket's name and {kind.endpoint}."
        return False, f"{uri} cannot be {done}: {why}.", remedy
    if "404 Not Found" in text:
        return True, f"{uri} does not exist.", "Check the bucket, the key and its spelling."
    if any(part in text for part in _NO_CREDENTIALS):
        return False, f"{uri} cannot be {done}: no credentials were found.", kind.no_credentials
    if "403 Forbidden" in text or "401 Unauthorized" in text:
        remedy = f"Check {kind.credentials} and permissions."
        return True, f"{uri} may not be {done}{said}.", remedy
    if "redirect" in text.lower() or " 301 " in text or "<Region>" in text:
        return False, f"{uri} lies in another region{said}.", "Set AWS_REGION to the bucket's region."
    if "builder error" in text:
        return (
            False,
            f"{uri} cannot be {done}: the address in {kind.endpoint} is not https.",
            f"Set {kind.plain_http}=true for an http:// address, or correct {kind.endpoint}.",
        )
    if isinstance(error, ValueError) or type(error).__name__ == "InvalidPathError":
        return True, f"{uri} holds a key that cannot be {done} (empty, '.' or '..' between slashes).", "Rename the key."
    if "error sending request" in text or "timed out" in text or "timeout" in text:
        return False, f"{uri} cannot be {done}: the server does not answer.", f"Check {kind.endpoint} and the network."
    first = text.splitlines()[0][:300] if text else type(error).__name__
    return False, f"{uri} cannot be {done}: {first}", f"Check the {kind.settings}* settings and the network."
