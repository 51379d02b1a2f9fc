"""Cut lists of real files, cut by ffmpeg's own reader of such lists: what is left is what belongs, whatever clock a file has."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

import winnow
from winnow.data.cuts import clock_of
from winnow.data.video import frames
from winnow.detect.segments import ffconcat
from winnow.errors import Unreadable
from winnow.results import Segment
from winnow.show import score as shown
from winnow.steps.evaluate import evaluate
from winnow.tables import read_table, write_table

from conftest import blocks, stripes, winnow_command
from videos import number_of, write

RATE, SECONDS = 10, 8
PARTS = [Segment(0, 2, True, 0), Segment(2, 5, False, 0), Segment(5, 7, True, 0), Segment(7, 8, False, 0)]


def remuxed(source: Path, to: Path, offset: float) -> Path:
    """Copy a video into another container, every time later by so many seconds."""
    with av.open(str(source)) as old, av.open(str(to), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                late = round(offset / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + late, packet.dts + late, stream
                new.mux(packet)
    return to


def cut(video: Path, parts: list[Segment], folder: Path) -> list[int]:
    """The numbers of the frames that a cut list of `parts` leaves, as ffmpeg shows them: later than all before."""
    last = max(frame.time for frame in frames(str(video), None, every=0.1))
    clock = clock_of(str(video), [part.start for part in parts if part.belongs], last, pixel_limit=200)
    (folder / "list").write_text(ffconcat(video, parts, start=clock.start, inpoints=clock.inpoints))
    left: dict[float, int] = {}
    with av.open(str(folder / "list"), format="concat", options={"safe": "0"}) as file:
        for frame in file.decode(video=0):
            if frame.time is not None and frame.time >= max(left, default=-1e9) + 1e-6:
                left[frame.time] = number_of(frame.to_ndarray(format="rgb24"))
    return list(left.values())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A video without reordered frames and one with two of them, each with a key frame a second."""
    folder = tmp_path_factory.mktemp("plain")
    return {
        count: write(folder / f"{count}.mp4", RATE * SECONDS, rate=RATE, gop=RATE, bframes=count) for count in (0, 2)
    }


@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize(
    ("name", "offset"),
    [("a.ts", 3600.0), ("a.ts", 0.0), ("a.mkv", 50.0), ("a.mp4", 7.0), ("a.flv", 5.0)],
)
def test_what_a_cut_list_leaves_is_what_belongs(
    plain: dict[int, Path], tmp_path: Path, name: str, offset: float, bframes: int
):
    video = remuxed(plain[bframes], tmp_path / name, offset)
    times = {number_of(frame.image): frame.time for frame in frames(str(video), None, every=0.1)}
    wanted = {n for n, time in times.items() if any(p.belongs and p.start - 0.01 <= time < p.end - 0.01 for p in PARTS)}
    left = set(cut(video, PARTS, tmp_path))
    # Frames that are stored out of their order: ffmpeg compares the times of storing with where a part ends.
    assert max(len(wanted - left), len(left - wanted)) <= 2 * bframes, (
        sorted(wanted - left),
        sorted(left - wanted),
    )
    assert len(wanted) == pytest.approx(40, abs=1)


def test_a_clock_that_begins_anew_has_no_cut_list(plain: dict[int, Path], tmp_path: Path):
    one = remuxed(plain[0], tmp_path / "one.ts", 10.0)
    (tmp_path / "two.ts").write_bytes(one.read_bytes() * 2)
    last = max(frame.time for frame in frames(str(tmp_path / "two.ts"), None, every=0.1))
    assert last > SECONDS + 4
    with pytest.raises(Unreadable, match="its clock begins anew"):
        clock_of(str(tmp_path / "two.ts"), [5.0], last, pixel_limit=200)
    assert clock_of(str(one), [0.0], SECONDS - 0.1, pixel_limit=200).start == pytest.approx(10.0, abs=0.2)


# ---- the same through `winnow score`, and names that a list, a table or a file system cannot hold


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> winnow.Run:
    folder, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    for number in range(4):
        write(folder / "in" / f"{number}.mp4", [stripes(rng) for _ in range(24)], rate=2, gop=1)
    options = {"size": (32, 32), "width": 8, "latent": 8, "iterations": 100, "every": 0.5, "false_alarm_rate": 0.05}
    return winnow.Run(folder / "run", "oneclass-from-scratch", **options).fit(folder / "in")


def film(path: Path, out: range, seconds: int = 16, seed: int = 5) -> Path:
    rng = np.random.default_rng(seed)
    return write(path, [(blocks if n // 2 in out else stripes)(rng) for n in range(2 * seconds)], rate=2, gop=1)


def test_a_recording_from_the_middle_of_the_day_is_cut_where_its_adverts_are(run: winnow.Run, tmp_path: Path):
    late = remuxed(film(tmp_path / "film.mp4", range(6, 11)), tmp_path / "late.ts", 3600.0)
    found = run.score(late, to=tmp_path / "out").videos[0]
    assert [part.belongs for part in found.segments] == [True, False, True]
    (cuts,) = (tmp_path / "out").glob("*.ffconcat")
    points = [float(line.split()[1]) for line in cuts.read_text().splitlines() if "point" in line]
    assert points == pytest.approx([3600 + found.segments[0].end, 3600 + found.segments[2].start, 3616], abs=1.6)
    with av.open(str(cuts), format="concat", options={"safe": "0"}) as file:
        kept = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    bad = sum(
        image.std(axis=(0, 1)).mean() > 60 and image[..., 2].mean() > 90 for image in kept
    )  # blocks of all colours
    assert len(kept) == pytest.approx(22, abs=2) and bad <= 2


def test_a_video_that_is_wholly_out_has_no_cut_list_and_says_so(run: winnow.Run, tmp_path: Path):
    scored = run.score(film(tmp_path / "film.mp4", range(16)), to=tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.ffconcat"))
    assert "No part of it belongs" in scored.videos[0].note and scored.videos[0].note in shown(scored)


NAMES = [
    "line\nbreak",
    "return\rhere",
    "=1+1",
    '@it\'s "quoted"',
    "$x_1$ {} %s #9",
    "ü" * 110,
    "a\u0301",
    "á",
    "B",
    "b",
    "\x1b[31mred",
    "tab\there",
]


def test_names_that_are_hard_to_write_down(run: winnow.Run, tmp_path: Path):
    """Among them one with a line break, and pairs that differ in case or in the form of an accent alone."""
    for number, name in enumerate(NAMES):
        film(tmp_path / "in" / f"{name}.mp4", range(2, 6), seconds=8, seed=number)
    found = run.score(tmp_path / "in", to=tmp_path / "out")
    assert len(found.videos) == len(NAMES)
    sources = {str(tmp_path / "in" / f"{name}.mp4") for name in NAMES}
    for table in ("scores.csv", "segments.csv"):
        assert {row["source"] for row in read_table(tmp_path / "out" / table)} == sources
    files = sorted(path.name for path in (tmp_path / "out").glob("video-*"))
    assert len(files) == len({name.casefold() for name in files}) == 2 * len(NAMES) - 2
    assert all(name.isprintable() for name in files)
    noted = {Path(video.source).stem: video.note for video in found.videos if video.note}
    assert set(noted) == {"line\nbreak", "return\rhere"} and all("line break" in note for note in noted.values())


def test_tables_hold_any_text(tmp_path: Path):
    texts = ["a\rb", "a\nb", "a\r\nb", 'a"b', "=1+1", "\r", "\n", "", "\u2028", "\x85", "\x1b", ",;\t"]
    write_table(tmp_path / "t.csv", ("text", "number"), [(text, number) for number, text in enumerate(texts)])
    assert [row["text"] for row in read_table(tmp_path / "t.csv")] == texts
    plain = b"text,number\na,1\n"
    write_table(tmp_path / "t.csv", ("text", "number"), [("a", 1)])
    assert (tmp_path / "t.csv").read_bytes() == plain


def test_groups_whose_names_are_alike_keep_their_pictures_apart(run: winnow.Run, tmp_path: Path):
    videos = {
        name: film(tmp_path / f"{place}.mp4", range(8), 4, place)
        for place, name in enumerate(["x-3", "x y", "x-y", "X-y", "ä" * 300])
    }
    evaluate(
        run.folder,
        [film(tmp_path / "good.mp4", range(0), 4)],
        {name: [path] for name, path in videos.items()},
        to=tmp_path / "out",
    )
    rows = read_table(tmp_path / "out" / "scores.csv")
    assert {name: {row["source"] for row in rows if row["group"] == name} for name in videos} == {
        name: {str(path)} for name, path in videos.items()
    }
    done = winnow_command(
        "evaluate",
        "--run",
        run.folder.path,
        "--normal",
        videos["x y"],
        "--anomalous",
        f"\udcff={videos['x y']}",
        "--to",
        tmp_path / "no",
    )
    assert done.returncode and "is not UTF-8" in done.stderr and not (tmp_path / "no").exists(), done.stderr


def test_no_segment_ends_after_its_video(run: winnow.Run, tmp_path: Path):
    rng = np.random.default_rng(3)
    for name in ("short.mp4", "short.mkv", "short.avi"):  # 2.3 s, of which every half second is judged
        video = write(tmp_path / name, [stripes(rng) for _ in range(23)], rate=10, gop=1)
        assert run.score(video, to=tmp_path / "out").videos[0].segments[-1].end == pytest.approx(2.3, abs=0.05)
