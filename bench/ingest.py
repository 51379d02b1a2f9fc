"""Reading speed: 1280x720 JPEG to 60x80 and a 10-minute 720p video at one frame a second, each beside the usual ways.

    python bench/ingest.py [--quick]

Pictures: Winnow's decoder, Pillow's full decode, a torchvision DataLoader with two workers; one thread and two. Video: Winnow's,
PyAV decoding and converting every frame, and the ffmpeg program, with the peak memory of each process. Ratios are of one run.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageFilter

from common import arguments, finish, table

SIZE = (80, 60)
WAYS = {
    "winnow": "from winnow.data.video import frames\nfound = sum(1 for _ in frames(path, (80, 60), every=1.0))",
    "PyAV, every frame converted": "import av\nfile = av.open(path)\nfile.streams.video[0].thread_type = 'AUTO'\nfound = sum("
    "1 for f in file.decode(video=0) if f.reformat(60, 80, 'rgb24').to_ndarray() is not None)",
}


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    pictures = photographs(given.to / "jpeg", 60 if given.quick else 300)
    rows = picture_rows(pictures)
    table(rows, f"{len(pictures)} JPEG files of 1280x720 to {SIZE[1]}x{SIZE[0]}")
    minutes = (1,) if given.quick else (1, 10)
    videos = [row for length in minutes for row in video_rows(film(given.to / f"film-{length}.mp4", length), length)]
    table(videos, "720p H.264 at 30 frames/s, one frame a second to 60x80")
    finish("ingest", started, pictures=rows, videos=videos)


def picture_rows(paths: list[Path]) -> list[dict[str, object]]:
    """Pictures/s of each way on the same files, and as a ratio to Pillow's full decode."""
    from concurrent.futures import ThreadPoolExecutor

    from winnow.data.images import decode

    def ours(path: Path) -> np.ndarray:
        return decode(path.read_bytes(), SIZE)

    def full(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR))

    def threads(function: Callable[[Path], np.ndarray]) -> Callable[[], object]:
        def run() -> object:
            with ThreadPoolExecutor(2) as pool:
                return list(pool.map(function, paths))

        return run

    ways: dict[str, Callable[[], object]] = {
        "Pillow, full decode, 1 thread": lambda: [full(path) for path in paths],
        "winnow, 1 thread": lambda: [ours(path) for path in paths],
        "torchvision DataLoader, 2 workers": lambda: data_loader(paths),
        "winnow, 2 threads": threads(ours),
    }
    seconds = {name: min(_timed(way) for _ in range(3)) for name, way in ways.items()}
    base = seconds["Pillow, full decode, 1 thread"]
    away = np.mean([np.abs(ours(path).astype(float) - full(path)).mean() for path in paths[:50]])
    return [
        {
            "way": name,
            "pictures/s": len(paths) / value,
            "ratio": base / value,
            "grey levels from full decode": float(away) if "winnow" in name else "",
        }
        for name, value in seconds.items()
    ]


def data_loader(paths: list[Path]) -> None:
    """The usual torchvision pipeline."""
    import torch
    from torchvision.io import decode_image
    from torchvision.transforms.functional import resize

    class Files(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, number: int) -> torch.Tensor:
            return resize(decode_image(str(paths[number])), list(SIZE), antialias=True)

    for _ in torch.utils.data.DataLoader(Files(), batch_size=64, num_workers=2):
        pass


def video_rows(path: Path, minutes: int) -> list[dict[str, object]]:
    """Seconds and peak memory of each way, each in a process of its own."""
    rows = []
    for name, code in WAYS.items():
        measure = (
            f"import json, re, time\npath = {str(path)!r}\nstart = time.perf_counter()\n{code}\n"
            "seconds = time.perf_counter() - start\n"
            # Not ru_maxrss: a child begins with that of the process it was forked from.
            "peak = int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024\n"
            "print(json.dumps([seconds, found, peak]))"
        )
        seconds, found, memory = json.loads(
            subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True, check=True).stdout
        )
        rows.append({"minutes": minutes, "way": name, "seconds": seconds, "frames": found, "peak MiB": memory})
    if shutil.which("ffmpeg"):
        begun = time.perf_counter()
        command = [
            "ffmpeg",
            "-loglevel",
            "error",
            "-i",
            str(path),
            "-vf",
            "fps=1,scale=60:80",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-",
        ]
        raw = subprocess.run(command, capture_output=True, check=True).stdout
        rows.append(
            {
                "minutes": minutes,
                "way": "ffmpeg program",
                "seconds": time.perf_counter() - begun,
                "frames": len(raw) // (SIZE[0] * SIZE[1] * 3),
            }
        )
    base = rows[0]["seconds"]
    return [{**row, "times winnow's": row["seconds"] / base} for row in rows]


def photographs(folder: Path, count: int) -> list[Path]:
    """JPEG files with the spectrum of photographs: blurred noise in layers."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            path.write_bytes(_photograph(np.random.default_rng(number)))
    return paths


def _photograph(rng: np.random.Generator) -> bytes:
    layers = np.zeros((720, 1280, 3))
    for scale in (2, 8, 32, 128):
        small = rng.normal(0, 12 * scale**0.4, (720 // scale + 1, 1280 // scale + 1, 3))
        layers += np.asarray(
            [
                np.asarray(
                    Image.fromarray(small[..., c].astype(np.float32)).resize((1280, 720), Image.Resampling.BICUBIC)
                )
                for c in range(3)
            ]
        ).transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray((layers + 128).clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7)).save(
        buffer, "JPEG", quality=88
    )
    return buffer.getvalue()


def film(path: Path, minutes: int) -> Path:
    """A 720p H.264 video: a camera that wanders over a large photograph."""
    if path.exists():
        return path
    ground = Image.open(io.BytesIO(_photograph(np.random.default_rng(0)))).resize((2560, 1440))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "26", "g": "60"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for number in range(minutes * 60 * 30):
            x, y = int(640 + 600 * np.sin(number / 97)), int(360 + 340 * np.sin(number / 71))
            frame = av.VideoFrame.from_image(ground.crop((x, y, x + 1280, y + 720)))
            frame.pts, frame.time_base = number, Fraction(1, 30)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def _timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
