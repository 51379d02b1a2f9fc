"""A live stream by HLS: its playlist and pieces are written by ffmpeg while they are watched."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from winnow.deploy.serve.served import Current, Served
from winnow.options import IngestOptions
from winnow.watch.book import Book
from winnow.watch.view import View
from winnow.watch.watcher import Watcher

from exported import write_exported

FFMPEG = shutil.which("ffmpeg")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not on the PATH")
def test_a_live_stream_by_hls(tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    model = write_exported(
        tmp_path / "model.onnx", classes=None, threshold=0.9, ingest=IngestOptions(size=(24, 32), every=0.5, workers=1)
    )
    words = (
        f"{FFMPEG} -loglevel error -re -f lavfi -i testsrc=size=160x120:rate=10 -t 30 -c:v libx264 -preset ultrafast"
    )
    words += " -g 10 -pix_fmt yuv420p -f hls -hls_time 1 -hls_list_size 5 -hls_flags delete_segments live.m3u8"
    writer = subprocess.Popen(words.split(), cwd=live)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=live))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        until = time.monotonic() + 30
        while not (live / "live.m3u8").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        current = Current(model, partial(Served.open, threads=1, most_pixels=50.0), print)
        with contextlib.closing(Book(tmp_path / "watched")) as book:
            address = f"http://127.0.0.1:{server.server_address[1]}/live.m3u8"
            watcher = Watcher([address], current, book, View(lambda line: None), poll=1.0, away=5.0)
            thread = threading.Thread(target=watcher.run, args=(20.0,))
            thread.start()
            while book.number < 4 and thread.is_alive() and time.monotonic() < until:
                time.sleep(0.05)
            watcher.stop.set()
            thread.join(20)
        assert not thread.is_alive()
    finally:
        writer.kill()
        writer.wait()
        server.shutdown()
        server.server_close()
    lines = [
        json.loads(line) for path in (tmp_path / "watched").glob("events/*") for line in path.read_text().splitlines()
    ]
    times = [one["time"] for one in lines if one["event"] == "verdict"]
    assert len(times) >= 4 and times == sorted(set(times)) and abs(times[-1] - time.time()) < 60
