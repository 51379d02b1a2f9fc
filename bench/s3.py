"""Reading pictures from a bucket: read and decoded in the same threads, as before, against reading ahead in threads of their own.

    python bench/s3.py [--quick]

The server is moto on loopback in a process of its own, which keeps every answer back for 0, 10, 30 or 100 ms, as a distant bucket
does. Pictures are drawn JPEGs of 256x192, decoded to 96x96 by two threads. Ratios are of one run; median and range over the repetitions.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.connection import Connection

import numpy as np
from PIL import Image, ImageFilter

from winnow.data import storage
from winnow.data.ahead import Read, read_ahead
from winnow.data.images import decode
from winnow.data.remote import Remote
from winnow.scale.local import run_local

from common import arguments, finish, table

LIMIT = 1 << 26
SIZE = (96, 96)
WORKERS = 2


def serve(link: Connection) -> None:
    """Serve s3 with a delay that can be changed, and say where."""
    import logging
    import threading

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    delay = [0.0]
    application = DomainDispatcherApplication(create_backend_app)

    def delayed(environ, start):  # type: ignore[no-untyped-def]
        time.sleep(delay[0])
        return application(environ, start)

    server = make_server("127.0.0.1", 0, delayed, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    link.send(f"http://127.0.0.1:{server.server_port}")
    while (wanted := link.recv()) is not None:
        delay[0] = wanted
        link.send("set")


def bucket(name: str) -> Connection:
    """Start a server with an empty bucket that this process and its children can use; return the link that sets its delay."""
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True).start()
    os.environ |= {
        "AWS_ENDPOINT_URL": ours.recv(),
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    import boto3

    boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).create_bucket(Bucket=name)
    return ours


def picture(number: int) -> bytes:
    """Draw a JPEG."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 255, (24, 32, 3), np.uint8)
    file = io.BytesIO()
    image = Image.fromarray(pixels).resize((256, 192)).filter(ImageFilter.GaussianBlur(2))
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def together(uris: list[str]) -> int:
    """Read and decode in the same threads."""
    with closing(run_local(lambda uri: decode(storage.read(uri, LIMIT), SIZE), uris, WORKERS)) as found:
        return sum(len(pixels) > 0 for pixels in found)


def apart(uris: list[str]) -> int:
    """Read ahead in threads of their own, as ingest does."""

    def decoded(given: tuple[str, Read]) -> np.ndarray:
        return decode(given[1](), SIZE)

    with closing(read_ahead(uris, str, LIMIT)) as read, closing(run_local(decoded, read, WORKERS)) as found:
        return sum(len(pixels) > 0 for pixels in found)


def rate(way, uris: list[str]) -> float:  # type: ignore[no-untyped-def]
    """Return pictures/s."""
    started = time.perf_counter()
    assert way(uris) == len(uris)
    return len(uris) / (time.perf_counter() - started)


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    ours = bucket("bench")
    store = Remote("s3://bench")
    number = 200 if given.quick else 400
    names = [f"{one}.jpg" for one in range(number)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.create(name, picture(int(name[:-4]))), names))
    uris = [store.uri(name) for name in names]
    rows = []
    for milliseconds in (30,) if given.quick else (0, 10, 30, 100):
        ours.send(milliseconds / 1000)
        ours.recv()
        pairs = [(rate(together, uris), rate(apart, uris)) for _ in range(given.seeds)]
        ratios = sorted(new / old for old, new in pairs)
        old, new = (float(np.median(column)) for column in zip(*pairs, strict=True))
        rows.append(
            {
                "delay, ms": milliseconds,
                "same threads, pictures/s": round(old, 1),
                "read ahead, pictures/s": round(new, 1),
                "ratio": f"{np.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})",
            }
        )
    table(rows, f"{number} JPEGs of 256x192 from a bucket, {WORKERS} decoding threads")
    ours.send(None)
    finish("s3", started, reading=rows)


if __name__ == "__main__":
    main()
