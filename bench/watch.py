"""Watch ten hours of video at speed, be killed twenty times, lose a camera for a minute.

python bench/watch.py [--hours 10] [--kills 20] [--away 60]

The file that judges is that of the tests, which takes the bright for foreign, so that what is measured is the watch: its memory after
each hour of video, whether verdicts and segments are those of `winnow predict --onnx` and `winnow.detect.segments` on the same file,
and what a killed process loses.
"""

from __future__ import annotations

import argparse
import csv
import http.server
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
LEVEL, EVERY = 0.4, 1.0
FOUND: dict[str, object] = {}
"""What was found, for the last line."""


def write_film(path: Path, seconds: int, rate: int = 1) -> None:
    """Write a video that is bright in stretches of 1 to 300 s drawn by seed 0."""
    rng = random.Random(0)
    with av.open(str(path), "w", format="mpegts") as file:
        stream = file.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 160, 96, "yuv420p", 10
        left, bright = 0, True
        for number in range(seconds * rate):
            if not left:
                left, bright = rng.choice([1, 2, 3, 10, 60, 300]) * rate, not bright
            left -= 1
            frame = av.VideoFrame.from_ndarray(np.full((96, 160, 3), 220 if bright else 60, np.uint8), format="rgb24")
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def started(model: Path, source: object, to: Path) -> subprocess.Popen[bytes]:
    """Return a watch as a process of its own."""
    words = ["watch", source, "--onnx", model, "--to", to]
    return subprocess.Popen([sys.executable, "-m", "winnow", *map(str, words)], stdout=subprocess.DEVNULL)


def lines(to: Path) -> int:
    """Return how many events are written."""
    return sum(path.read_bytes().count(b"\n") for path in to.glob("events/*.jsonl"))


def events(to: Path, kind: str) -> list[dict[str, object]]:
    """Return the events of a kind, without what differs from one watch to the next."""
    read = [json.loads(line) for path in sorted(to.glob("events/*.jsonl")) for line in path.open()]
    assert [one["number"] for one in read] == list(range(1, len(read) + 1))
    return [{k: v for k, v in one.items() if k not in ("at", "number")} for one in read if one["event"] == kind]


def resident(process: int) -> float:
    """Return the resident memory of a process in MB."""
    with open(f"/proc/{process}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def watched(model: Path, film: Path, to: Path) -> float:
    """Watch a film to its end; print the memory after each hour of it, and return the seconds it took."""
    begun, process, hour, sizes = time.perf_counter(), started(model, film, to), 1, []
    while process.poll() is None:
        if lines(to) >= hour * 3600 / EVERY:
            sizes.append(resident(process.pid))
            hour += 1
        time.sleep(0.2)
    took = time.perf_counter() - begun
    FOUND[f"memory {to.name}"], FOUND[f"seconds {to.name}"] = sizes, took
    print(f"memory after each hour of video, MB: {' '.join(f'{size:.0f}' for size in sizes)}; {took:.0f} s in all")
    return took


def compare(model: Path, film: Path, to: Path, folder: Path) -> None:
    """Compare what a watch found with the same file judged at once."""
    from winnow.detect.segments import segments
    from winnow.steps.predict_onnx import predict_onnx

    predict_onnx(model, [film], to=folder / "predicted")
    with (folder / "predicted" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = events(to, "verdict")
    same = [(f"{one['time']:.3f}", one["belongs"]) for one in found] == [
        (row["time"], row["belongs"] == "yes") for row in rows
    ]
    times, scores, p_values = ([one[name] for one in found] for name in ("time", "score", "p_value"))
    whole = segments(times, scores, p_values, false_alarm_rate=LEVEL, smooth=3.0, min_length=2.0, hysteresis=2.0)
    told = events(to, "segment")
    equal = [(one["start"], one["belongs"]) for one in told] == [(round(one.start, 3), one.belongs) for one in whole]
    FOUND.update(verdicts=len(found), verdicts_equal=same, segments=len(told), segments_equal=equal)
    print(f"{len(found):,} verdicts, as predict's: {same}; {len(told):,} segments, as of the whole: {equal}")


def killed(model: Path, film: Path, to: Path, whole: Path, kills: int) -> None:
    """Kill a watch at moments drawn by seed 1, and compare what all of its processes found."""
    rng, total, died = random.Random(1), lines(whole), 0
    for at in [*sorted(rng.sample(range(total), kills)), total + 1]:
        process = started(model, film, to)
        while process.poll() is None:
            if lines(to) >= at:
                process.kill()
                died += process.wait() != 0
            time.sleep(0.002)
    same = all(events(to, kind) == events(whole, kind) for kind in ("verdict", "segment", "ended"))
    FOUND.update(killed=died, equal_after_kills=same)
    print(f"killed {died} times: events as of the undisturbed watch, none lost or doubled: {same}")


class Camera(http.server.ThreadingHTTPServer):
    """A camera over HTTP: a film without end, in real time."""

    daemon_threads, allow_reuse_address, data = True, True, b""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "video/mp2t")
            self.end_headers()
            data = self.server.data  # type: ignore[attr-defined]
            step = max(1, len(data) // 3000)
            for start in range(0, len(data), step):
                if self.server.gone:  # type: ignore[attr-defined]
                    return
                self.wfile.write(data[start : start + step])
                time.sleep(0.05)

        def log_message(self, *_: object) -> None:
            pass

    def __init__(self, data: bytes, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), self.Handler)
        self.data, self.gone = data, False
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def end(self) -> None:
        self.gone = True
        self.shutdown()
        self.server_close()


def camera_away(model: Path, folder: Path, seconds: float) -> None:
    """Take a camera away for so many seconds, and print what the watch says of it."""
    film, to = folder / "camera.ts", folder / "camera"
    write_film(film, 150, rate=10)
    camera = Camera(film.read_bytes())
    port = camera.server_address[1]
    process = started(model, f"http://127.0.0.1:{port}/live.ts", to)
    try:
        time.sleep(15)
        camera.end()
        gone = time.time()
        time.sleep(seconds)
        camera = Camera(film.read_bytes(), port)
        back = time.time()
        time.sleep(45)
    finally:
        process.terminate()
        process.wait()
        camera.end()
    times = [float(str(one["time"])) for one in events(to, "verdict")]
    (away,), (again,) = events(to, "away"), events(to, "back")
    FOUND.update(away_after=float(str(away["time"])) - gone, back_after=float(str(again["time"])) - back)
    print(
        f"a camera away for {back - gone:.0f} s: away told after {float(str(away['time'])) - gone:.1f} s, back after "
        f"{float(str(again['time'])) - back:.1f} s; {len(times)} verdicts, {sum(time > back for time in times)} of them after it was back"
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=10)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--away", type=float, default=60.0)
    given = parser.parse_args()
    from winnow.options import IngestOptions

    from exported import write_exported

    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ingest = IngestOptions(size=(24, 32), every=EVERY, workers=1)
        model = write_exported(folder / "model.onnx", classes=None, threshold=1 - LEVEL, ingest=ingest, level=LEVEL)
        film, short = folder / "film.ts", folder / "short.ts"
        write_film(film, given.hours * 3600)
        watched(model, film, folder / "whole")
        compare(model, film, folder / "whole", folder)
        write_film(short, 3600)
        watched(model, short, folder / "short")
        killed(model, short, folder / "killed", folder / "short", given.kills)
        camera_away(model, folder, given.away)
    print(json.dumps(FOUND))


if __name__ == "__main__":
    main()
