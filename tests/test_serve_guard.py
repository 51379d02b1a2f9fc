"""Hostile requests to `winnow serve`: none is answered by a server's error but 503, none ends it, and others are served on."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_connections import half_open

from winnow.deploy.runtime import Deployed
from winnow.deploy.serve.batches import Batches
from winnow.deploy.serve.guard import Guard
from winnow.deploy.serve.limits import Limits
from winnow.deploy.serve.metrics import Metrics

from exported import write_exported
from serving import Serving, form

FEW = """import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (260, 260))
from winnow.cli import main
main(sys.argv[1:])"""


def png(size: tuple[int, int] = (40, 30)) -> bytes:
    body = io.BytesIO()
    Image.new("RGB", size, (10, 200, 30)).save(body, "PNG")
    return body.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_exported(tmp_path_factory.mktemp("guard") / "shop.onnx")


@pytest.fixture(scope="module")
def server(file: Path):
    with Serving(file, "--max-bytes", 1, "--max-seconds", 1, "--queue", 8, program=("-c", FEW)) as server:
        yield server


def post(
    path: str = "/v1/predict",
    body: bytes = b"",
    *,
    host: str = "127.0.0.1:{port}",
    more: str = "",
    length: object = None,
) -> bytes:
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {size}\r\n{more}\r\n"
    return head.encode() + body


def hostile() -> dict[str, tuple[bytes, tuple[int, ...]]]:
    """Requests and the statuses that each may get, 0 for none."""
    picture = png()
    body, kind = form({"a.png": picture})
    typed = f"Content-Type: {kind}\r\n"
    return {
        "another host": (post(body=picture, host="evil.example"), (421,)),
        "no host": (b"POST /v1/predict HTTP/1.0\r\nContent-Length: 0\r\n\r\n", (421,)),
        "another page": (post(body=picture, more="Origin: http://evil.example\r\n"), (403,)),
        "compressed": (post(body=picture, more="Content-Encoding: gzip\r\n"), (415,)),
        "declared too large": (post(body=picture, length=2_000_000), (413,)),
        "too large": (post(body=bytes(1_000_001)), (413,)),
        "too large in chunks": (
            post(length="0").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
            + b"".join(b"10000\r\n" + bytes(65536) + b"\r\n" for _ in range(20)) + b"0\r\n\r\n", (413,),
        ),
        "a length that is none": (post(body=picture, length="many"), (400,)),
        "a negative length": (post(body=picture, length=-1), (400,)),
        "shorter than said": (post(body=picture, length=len(picture) + 10), (408,)),
        "empty": (post(), (422,)),
        "text": (post(body=b"no picture"), (422,)),
        "a bomb": (post(body=bomb(60_000, 60_000)), (422,)),
        "a smaller bomb": (post(body=bomb(3000, 3000)), (422,)),
        "no pixels": (post(body=bomb(0, 0)), (422,)),
        "a picture cut short": (post(body=picture[: len(picture) // 2]), (422,)),
        "a form cut short": (post(body=body[:-20], more=typed), (400,)),
        "a form without its boundary": (post(body=body, more="Content-Type: multipart/form-data\r\n"), (400,)),
        "a form of another boundary": (post(body=body, more=typed.replace("xYzZy", "other")), (400,)),
        "a form of many parts": (post(body=form({str(n): b"" for n in range(100)})[0], more=typed), (400,)),
        "a form without files": (post(body=body.replace(b"filename", b"filenome"), more=typed), (400,)),
        "a type that is none": (post(body=body, more="Content-Type: multipart/;;;=\r\n"), (400,)),
        "another way": (b"GET /v1/predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n", (405,)),
        "nowhere": (post("/v1/nothing", picture), (404,)),
        "up": (post("/v1/../../etc/passwd", picture), (404,)),
        "a kind that is none": (post("/v1/map?kind=x", picture), (400,)),
        "a page that is none": (post("/v1/map?page=-1", picture), (400,)),
        "another model": (post("/v2/models/%2e%2e%2fx/infer", b"{}"), (404,)),
        "a tensor that is none": (post("/v2/models/shop/infer", b"\xff\xfe"), (400,)),
        "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400,)),
        "an endless head": (b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000, (400,)),
        "a proxy's": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", (421,)),
        "two lengths": (post(body=picture, more="Content-Length: 3\r\n"), (400,)),
        "a bad chunk": (post(length="0").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"zz\r\n", (400, 408)),
        "broken off": (post(body=picture, length=5000)[:80], (0,)),
    }  # fmt: skip


def test_hostile_requests_are_refused_and_others_served(server: Serving) -> None:
    for name, (request, statuses) in hostile().items():
        answer = server.raw(request.replace(b"{port}", str(server.port).encode()), patience=3)
        status = int(answer.split(b" ", 2)[1]) if answer else 0
        # Who is cut off in the middle of sending may find the connection closed before the answer.
        assert status in statuses or (not answer and name == "an endless head"), (name, answer[:200])
    assert server.predict(png())["rows"][0]["class"]
    metrics = server.request("GET", "/metrics")[2].decode()
    assert (
        'status="500"' not in metrics and "winnow_requests_under_way 0" in metrics and "winnow_body_bytes 0" in metrics
    )


def test_more_half_open_connections_than_descriptors_stop_nobody(server: Serving) -> None:
    with half_open(server.port, 600):
        for _ in range(5):
            assert server.predict(png())["rows"][0]["class"]


def test_slow_bodies_end_and_too_many_at_once_are_told_to_come_back(server: Serving) -> None:
    """Eight requests whose bodies do not come hold all places for a second."""
    slow = post(body=b"x", length=1000).replace(b"{port}", str(server.port).encode())
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(server.raw, slow, 4.0) for _ in range(8)]
        time.sleep(0.4)
        status, headers, body = server.request("POST", "/v1/predict", png())
        assert status == 503 and headers["retry-after"] == "1" and json.loads(body)["remedy"]
        assert server.request("GET", "/v2/health/live")[0] == 200
        assert all(b" 408 " in one.result(10) for one in waiting)
    assert server.predict(png())["rows"][0]["class"]


def test_nothing_was_said_of_all_this(server: Serving) -> None:
    """The last of this server: its terminal has no line of any of the requests above."""
    status, out, err = server.stop()
    assert status == 0 and not err and len(out.splitlines()) == 1


# ---- the guard alone


async def ask(guard: Guard, path: str = "/v1/predict", *pieces: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """One request to a guard, its body in pieces."""
    left, sent = list(pieces) or [b""], []

    async def receive() -> dict[str, object]:
        return (
            {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}
            if left
            else {"type": "http.disconnect"}
        )

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:1")]
    await guard({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_what_fails_is_said_once_a_minute_and_what_is_slow_is_ended() -> None:
    said: list[str] = []
    metrics = Metrics()

    async def fails(scope: object, receive: object, send: object) -> None:
        raise ZeroDivisionError("by nothing")

    async def sleeps(scope: object, receive: object, send: object) -> None:
        await asyncio.sleep(60)

    async def all_of_it() -> list[int]:
        failing = Guard(fails, Limits(), metrics, tell=said.append)
        statuses = [(await ask(failing))[0] for _ in range(5)]
        status, headers, _ = await ask(Guard(sleeps, Limits(seconds=0.05), metrics))
        assert headers[b"retry-after"] == b"1"
        held = Guard(sleeps, Limits(most_bytes=10, seconds=0.05), metrics)
        held.held = held.limits.held_bytes - 4
        return [
            *statuses,
            status,
            (await ask(held, "/v1/predict", b"12345"))[0],
            held.held - held.limits.held_bytes + 4,
        ]

    assert asyncio.run(all_of_it()) == [500] * 5 + [503, 503, 0]
    assert len(said) == 1 and "ZeroDivisionError: by nothing" in said[0]
    assert 'route="predict",status="500"} 5\n' in metrics.text()


# ---- batches


def test_pictures_of_several_requests_are_seen_at_once_and_one_never_waits(file: Path) -> None:
    model = Deployed.open(file, threads=1)
    names = ("score", "p_value")
    pictures = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8, 3), np.uint8)
    sizes = [(8, 8)] * 8 + [(9, 7)] * 4

    async def all_of_it() -> tuple[list[dict[str, np.ndarray]], list[int], float]:
        batches = Batches(4, wait=30.0)
        started = time.monotonic()
        await batches(model, pictures[0], names)  # alone: it must not wait for half a minute
        alone = time.monotonic() - started
        batches.sizes.clear()
        with batches.on_its_way():  # of which none will come
            cut = [one[:, : size[0] - 1, : size[1] - 1] for one, size in zip(pictures, sizes, strict=True)]
            some = [asyncio.create_task(batches(model, one, names)) for one in cut]
            found = await asyncio.gather(*some[:4])
        found += await asyncio.gather(*some[4:])
        sizes_seen = list(batches.sizes)
        batches.close()
        return found, sizes_seen, alone

    found, seen, alone = asyncio.run(all_of_it())
    assert alone < 10 and sum(seen) == 12 and max(seen) == 4
    for one, size, values in zip(pictures, sizes, found, strict=True):
        own = model(one[:, : size[0] - 1, : size[1] - 1])
        assert all(np.array_equal(values[name], own[name]) for name in names)


def test_a_picture_that_cannot_be_judged_spoils_no_other(file: Path) -> None:
    class Choosy:
        """A file that refuses white pictures."""

        def outputs(self, pictures: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
            from winnow.errors import DataError

            if (pictures == 255).all(axis=(1, 2, 3)).any():
                raise DataError("white")
            return {"score": pictures.mean(axis=(1, 2, 3))}

    async def all_of_it() -> list[object]:
        batches, model = Batches(16, 1.0), Choosy()
        white, black = np.full((1, 4, 4, 3), 255, np.uint8), np.zeros((1, 4, 4, 3), np.uint8)
        given = [batches(model, one, ("score",)) for one in (black, white, black)]  # type: ignore[arg-type]
        found = await asyncio.gather(*given, return_exceptions=True)
        batches.close()
        return found

    first, second, third = asyncio.run(all_of_it())
    assert first["score"] == third["score"] == 0 and str(second) == "white"
