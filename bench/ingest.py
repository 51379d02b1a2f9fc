"""Reading speed: 1280x720 JPEG to 60x80 and a 10-minute 720p video at one frame a second, each compared with the usual ways.

    python bench/ingest.py [--quick]

Pictures: Winnow's decoder, Pillow's full decode, a torchvision DataLoader with two workers; one thread and two; on drawn photographs, on
frames of a real video (where the benchmark data is) and on drawn ones with heavy grain. Video: Winnow's, PyAV decoding and converting
every frame, and the ffmpeg program, with the peak memory of each process. Ratios are of one run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from common import DATA, arguments, finish, table

SIZE = (80, 60)
WAYS = {
    "winnow": "from winnow.data.video import frames\nfound = sum(1 for _ in frames(path, (80, 60), every=1.0))",
    "PyAV, every frame converted": "import av\nfile = av.open(path)\nfile.streams.video[0].thread_type = 'AUTO'\nfound = sum("
    "1 for f in file.decode(video=0) if f.reformat(60, 80, 'rgb24').to_ndarray() is not None)",
}


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    count = 40 if given.quick else 100
    sets = {
        "photographs, drawn": saved(given.to / "drawn", (_photograph(n) for n in range(count)), 75),
        "frames of a real video": saved(given.to / "real", real_frames(count), 75),
        "heavy grain, drawn": saved(given.to / "grain", (_grain(n) for n in range(count)), 88),
    }
    pictures = [row for name, paths in sets.items() if paths for row in picture_rows(name, paths)]
    table(pictures, f"JPEG files of 1280x720 to {SIZE[1]}x{SIZE[0]}")
    minutes = (1,) if given.quick else (1, 10)
    videos = [row for length in minutes for row in video_rows(film(given.to / f"film-{length}.mp4", length), length)]
    table(videos, "720p H.264 at 30 frames/s, one frame a second to 60x80")
    finish("ingest", started, pictures=pictures, videos=videos)


def picture_rows(files: str, paths: list[Path]) -> list[dict[str, object]]:
    """Return pictures/s of each way on the same files, and as a ratio to Pillow's full decode."""
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

    encoders: dict[str, Callable[[], object]] = {
        "Pillow, full decode, 1 thread": lambda: [full(path) for path in paths],
        "winnow, 1 thread": lambda: [ours(path) for path in paths],
        "torchvision DataLoader, 2 workers": lambda: data_loader(paths),
        "winnow, 2 threads": threads(ours),
    }
    seconds = {name: min(_timed(encoder) for _ in range(3)) for name, encoder in encoders.items()}
    base = seconds["Pillow, full decode, 1 thread"]
    away = np.mean([np.abs(ours(path).astype(float) - full(path)).mean() for path in paths[:50]])
    kilobytes = np.mean([path.stat().st_size for path in paths]) / 1000
    return [
        {
            "files": files,
            "KB each": round(kilobytes),
            "way": name,
            "pictures/s": len(paths) / value,
            "ratio": base / value,
            "grey levels from full decode": float(away) if "winnow" in name else "",
        }
        for name, value in seconds.items()
    ]


def data_loader(paths: list[Path]) -> None:
    """Run the usual torchvision pipeline."""
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
    """Return seconds and peak memory of each way, each in a process of its own."""
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
        words = ["ffmpeg", "-loglevel", "error", "-i", str(path), "-vf", "fps=1,scale=60:80"]
        begun = time.perf_counter()
        raw = subprocess.run(
            [*words, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True
        ).stdout
        seconds, found = time.perf_counter() - begun, len(raw) // (SIZE[0] * SIZE[1] * 3)
        rows.append({"minutes": minutes, "way": "ffmpeg program", "seconds": seconds, "frames": found})
    else:
        print("ffmpeg program left out: it is not on the path", file=sys.stderr)
    base = rows[0]["seconds"]
    return [{**row, "times winnow's": row["seconds"] / base} for row in rows]


def saved(folder: Path, images: Iterable[Image.Image], quality: int) -> list[Path]:
    """Save the images as JPEG files, 4:2:0 as most are."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, image in enumerate(images):
        paths.append(folder / f"{number:04d}.jpg")
        image.save(paths[-1], "JPEG", quality=quality)
    return paths


def real_frames(count: int) -> Iterator[Image.Image]:
    """Return frames of a real 1280x720 video; none where the data is missing."""
    path = DATA / "videos/people-walking.mp4"
    if not path.exists():
        print(f"frames of a real video left out: {path} is not here", file=sys.stderr)
        return
    with av.open(str(path)) as file:
        for number, frame in enumerate(file.decode(video=0)):
            if number % 3 == 0 and number < 3 * count:
                yield frame.to_image()


def _photograph(seed: int) -> Image.Image:
    """Draw noise with the spectrum of photographs under bars and discs with sharp edges.

    The exponent is chosen so that a file is about as large as a frame of the real video at the same quality.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(720)[:, None], np.fft.rfftfreq(1280)[None]).clip(min=1 / 1280)
    noise = rng.normal(size=(2, 3, *frequency.shape))
    planes = np.fft.irfft2(frequency**-1.6 * (noise[0] + 1j * noise[1]), s=(720, 1280))
    grey, *colours = planes / planes.std(axis=(1, 2), keepdims=True)
    values = 128 + 50 * grey[..., None] + 15 * np.stack([colours[0], colours[1], -colours[0]], axis=2)
    image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for number in range(15):
        (x, y), (wide, high) = rng.integers(0, (1280, 720)), rng.integers(20, 200, 2)
        shape = draw.ellipse if number % 2 else draw.rectangle
        shape((x, y, x + wide, y + high), fill=tuple(int(value) for value in rng.integers(0, 256, 3)))
    return image.filter(ImageFilter.GaussianBlur(0.8))


def _grain(seed: int) -> Image.Image:
    """Draw layers of noise down to two pixels: the entropy decoder's hard case."""
    rng = np.random.default_rng(seed)
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
    return Image.fromarray((layers + 128).clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))


def film(path: Path, minutes: int) -> Path:
    """Write a 720p H.264 video: a camera that wanders over a large photograph."""
    if path.exists():
        return path
    ground = _grain(0).resize((2560, 1440))
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
