"""Buckets of other kinds than S3 on loopback for the tests: Azurite for az://, and moto behind a door that speaks as Google does."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Both are in Azurite's documentation: an account that every copy of it has.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def azurite(folder: Path) -> Iterator[dict[str, str]]:
    """Serve Azure's blobs by Azurite, and yield the environment by which it is used."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite-blob is not installed (npm install -g azurite)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([program, "--blobPort", str(port), "--location", str(folder), "--silent", "--skipApiVersionCheck",
                               "--disableTelemetry"])  # fmt: skip
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }
    finally:
        server.terminate()
        server.wait()


def new_container(settings: dict[str, str], name: str) -> None:
    """Create a container of Azurite, by the signature that its documentation describes (Shared Key)."""
    import base64
    import hashlib
    import hmac
    import urllib.request
    from email.utils import formatdate

    date = formatdate(usegmt=True)
    signed = (
        "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:2021-08-06\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    )
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(
        f"{settings['AZURE_STORAGE_ENDPOINT']}/{name}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": "2021-08-06",
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        },
    )
    urllib.request.urlopen(request).close()


def like_google(application: Callable[..., Any]) -> Callable[..., Any]:
    """Return a WSGI application of S3 as one that speaks as Google's XML API: conditions and answers name generations, not ETags.

    https://cloud.google.com/storage/docs/xml-api/reference-headers
    """
    etags: dict[str, str] = {}

    def served(environ: dict[str, Any], start: Any) -> Any:
        # The token is empty, and moto lets nobody write who has no name.
        environ["HTTP_AUTHORIZATION"] = (
            "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
        )
        wanted = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
        if wanted == "0":
            environ["HTTP_IF_NONE_MATCH"] = "*"
        elif wanted is not None:
            environ["HTTP_IF_MATCH"] = etags.get(wanted, '"none"')

        def answered(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            etag = next((value for name, value in headers if name.lower() == "etag"), None)
            if etag:
                generation = str(int(etag.strip('"')[:15], 16))
                etags[generation] = etag
                headers = [*headers, ("x-goog-generation", generation)]
            return start(status, headers, *rest)

        return application(environ, answered)

    return served


def of_google(address: str) -> dict[str, str]:
    """Return the environment by which a server that speaks as Google does is used, without its tokens."""
    key = {
        "gcs_base_url": address,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(key), "GOOGLE_ALLOW_HTTP": "true"}
