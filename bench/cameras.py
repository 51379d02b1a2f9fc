"""Watch a camera by RTSP and a live stream by HLS, both real servers, killed and started again in the middle.

python bench/cameras.py [--away 10]

RTSP is served by GStreamer (apt: gstreamer1.0-rtsp gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-ugly), by the Python of the
system; HLS by ffmpeg, which writes a playlist and its pieces into a folder that `http.server` serves. Ten frames a second are drawn;
one a second is judged by the small file of the tests, so that what is measured is the watch.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import finish, table

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

RTSP = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(service=sys.argv[1]); server.set_address("127.0.0.1")
factory = GstRtspServer.RTSPMediaFactory(); factory.set_shared(True)
factory.set_launch("( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=10/1 "
                   "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96 )")
server.get_mount_points().add_factory("/live", factory); server.attach(None)
GLib.MainLoop().run()
"""


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def rtsp(port: int, folder: Path) -> list[subprocess.Popen[bytes]]:
    """Start an RTSP server."""
    program = folder / "rtsp.py"
    program.write_text(RTSP)
    return [subprocess.Popen(["/usr/bin/python3", str(program), str(port)], stderr=subprocess.DEVNULL)]


def hls(port: int, folder: Path) -> list[subprocess.Popen[bytes]]:
    """Start ffmpeg, which writes pieces of a second, and a server of its folder."""
    live = folder / "hls"
    shutil.rmtree(live, ignore_errors=True)
    live.mkdir()
    words = "ffmpeg -loglevel error -re -f lavfi -i testsrc=size=320x240:rate=10 -c:v libx264 -preset ultrafast -g 10"
    words += " -pix_fmt yuv420p -f hls -hls_time 1 -hls_list_size 5 -hls_flags delete_segments live.m3u8"
    server = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    quiet: dict[str, Any] = {"cwd": live, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return [subprocess.Popen(words.split(), **quiet), subprocess.Popen(server, **quiet)]


def until(true: Callable[[], object], seconds: float) -> float:
    """Wait until something is so; return how long that took, infinity where it did not come."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            return float("inf")
        time.sleep(0.05)
    return time.monotonic() - began


def tried(name: str, address: str, serve: Callable[[int, Path], list[Any]], port: int, away: float) -> dict[str, str]:
    """Watch a stream whose server is killed and comes again; return what was found."""
    from exported import write_exported

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        model, to = write_exported(folder / "model.onnx", classes=None, threshold=0.9, level=0.1), folder / "watched"

        def events(kind: str) -> list[dict[str, Any]]:
            found = [json.loads(line) for path in to.glob("events/*.jsonl") for line in path.read_text().splitlines()]
            return [one for one in found if one["event"] == kind]

        servers = serve(port, folder)
        time.sleep(3)
        words = ["watch", address, "--onnx", str(model), "--to", str(to), "--away", "5"]
        watch = subprocess.Popen([sys.executable, "-m", "winnow", *words], stdout=subprocess.DEVNULL)
        first = until(lambda: events("verdict"), 60)
        time.sleep(10)
        for one in servers:
            one.kill()
        told = until(lambda: events("away"), 60)
        time.sleep(away)
        servers = serve(port, folder)
        back = until(lambda: events("back"), 90)
        time.sleep(10)
        os.kill(watch.pid, signal.SIGTERM)
        status = watch.wait(30)
        for one in servers:
            one.kill()
        times = [one["time"] for one in events("verdict")]
        return {
            "stream": name,
            "first verdict, from the start of the process": f"{first:.1f} s",
            "away told, after the server was killed": f"{told:.1f} s",
            f"back told, after it was started again ({away:g} s later)": f"{back:.1f} s",
            "verdicts": str(len(times)),
            "times rise, none twice": "yes" if times == sorted(set(times)) else "no",
            "status": str(status),
        }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--away", type=float, default=10.0)
    given, started = parser.parse_args(), time.perf_counter()
    rows = []
    for name, path, serve in (
        ("RTSP", "rtsp://127.0.0.1:{}/live", rtsp),
        ("HLS", "http://127.0.0.1:{}/live.m3u8", hls),
    ):
        port = free_port()
        rows.append(tried(name, path.format(port), serve, port, given.away))
    table(rows, "Streams of real servers")
    finish("cameras", started, streams=rows)


if __name__ == "__main__":
    main()
