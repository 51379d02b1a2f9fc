"""A real server of s3 (moto) on loopback for the tests: its address, empty buckets, and a door that is slow or shut."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import pytest

GONE = -1
_numbers = count()


@contextmanager
def serving(
    *hosts: str, speaking: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
) -> Iterator[list[str]]:
    """Serve s3 by moto at several addresses of this machine, and yield them. moto looks whether an object is there and writes it in
    two steps, where a store does it in one: writes go through one by one. What moto is, `speaking` may make another."""
    pytest.importorskip("obstore", reason="the extra 's3' is not installed")
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application, writing = moto.DomainDispatcherApplication(moto.create_backend_app), threading.Lock()
    application = speaking(application) if speaking else application

    def one_by_one(environ: dict[str, Any], start: Any) -> Any:
        with nullcontext() if environ["REQUEST_METHOD"] in ("GET", "HEAD") else writing:
            return application(environ, start)

    servers = [make_server(host, 0, one_by_one, threaded=True) for host in hosts]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield [f"http://{server.host}:{server.server_port}" for server in servers]
    finally:
        for server in servers:
            server.shutdown()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving("127.0.0.1") as addresses:
        yield addresses[0]


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of a new bucket, which this process and its children can use."""
    import boto3

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in settings(server).items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{next(_numbers)}"
    boto3.client("s3", endpoint_url=server).create_bucket(Bucket=name)
    return f"s3://{name}"


def settings(server: str) -> dict[str, str]:
    """Return the environment by which a server is used."""
    return {
        "AWS_ENDPOINT_URL": server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_REGION": "us-east-1",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


def keys(bucket: str) -> dict[str, bytes]:
    """Return every object of a bucket, by key."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(bucket.removeprefix("s3://"))
    found = [meta["path"] for chunk in obstore.list(store) for meta in chunk]
    return {key: bytes(obstore.get(store, key).bytes()) for key in found}


class Door:
    """A proxy before the server that knows how many requests are under way (`most` at once).

    It asks `before` each: a status to answer with instead, GONE for no answer at all, None to let it through. Headers `without`
    which it goes on are taken away.
    """

    def __init__(
        self,
        server: str,
        before: Callable[[str, str], int | None] = lambda method, path: None,
        without: tuple[str, ...] = (),
    ) -> None:
        self.server, self.before, self.without = server, before, ("connection", *without)
        self.now = self.most = 0
        self.lock = threading.Lock()
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                door._answer(self)

            do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            refused = self.before(handler.command, handler.path)
            if refused == GONE:
                handler.close_connection = True
                return
            status, headers, data = (refused, [], b"") if refused else self._passed_on(handler, body)
        finally:
            with self.lock:
                self.now -= 1
        handler.send_response(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                handler.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), "0")
        handler.send_header("Content-Length", length if handler.command == "HEAD" else str(len(data)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)

    def _passed_on(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in self.without}
        connection = HTTPConnection(self.server.removeprefix("http://"))
        try:
            connection.request(handler.command, handler.path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def slow(seconds: float) -> Callable[[str, str], None]:
    """Return what keeps each request waiting."""
    return lambda method, path: time.sleep(seconds)
