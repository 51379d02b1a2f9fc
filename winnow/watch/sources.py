"""What is watched: a folder that fills, a video that is written, a camera. Each in a thread of its own, which hands on moments."""

from __future__ import annotations

import os
import posixpath
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from winnow.data import images, storage
from winnow.data.camera import camera_frames, is_camera, shown
from winnow.data.formats import IMAGE_SUFFIXES
from winnow.data.growing import Growing
from winnow.data.swscale import Painter
from winnow.data.video import VIDEO_SUFFIXES, Frame
from winnow.errors import InputError, Unreadable
from winnow.objects.crops import Finder
from winnow.options import IngestOptions
from winnow.pool.films import frames_while_written
from winnow.pool.in_memory import InMemory, read_picture
from winnow.pool.originals import page_of
from winnow.pool.parts import cut_up, in_colour, whole_size
from winnow.watch.book import Book
from winnow.watch.moments import Inbox, Moment

if TYPE_CHECKING:
    from av import VideoFrame

STILL_SECONDS = 10.0  # for which a file must not change until it is taken for whole, or for damaged
AHEAD_SECONDS = 30.0  # that a stream may run ahead of the clock, or behind it
JUMP_SECONDS = 10.0  # between two frames of a stream, from which on its clock is taken for another
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds until a camera is opened again


@dataclass(frozen=True)
class Reading:
    """How pictures are read: `options` of the run, what finds persons, what is blank in good ones, seconds between two looks into a
    folder (`poll`), seconds without a picture after which a camera is `away`, and whether pictures are `kept` at their own size."""

    options: IngestOptions
    find: Finder | None
    usual: float | None
    poll: float = 1.0
    away: float = 15.0
    kept: bool = False


class Source(ABC):
    """Something that is watched until `stop` is set; `ended` once nothing more can come."""

    def __init__(self, address: str, reading: Reading, inbox: Inbox, book: Book, stop: threading.Event) -> None:
        self.address, self.name = address, shown(address)
        self.reading, self.inbox, self.book, self.stop = reading, inbox, book, stop
        self.mark = ""
        self.failed: BaseException | None = None
        self.ended = threading.Event()

    def start(self) -> None:
        """Begin to watch, in a thread of its own."""
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    @abstractmethod
    def watch(self) -> None:
        """Hand on what comes."""

    def _run(self) -> None:
        try:
            self.watch()
        except BaseException as error:  # told, and raised, by the thread that judges
            self.failed = error
        self.ended.set()

    def _frame(self, frame: Frame) -> Moment:
        """Return the moment of a frame."""
        how = self.reading
        name = f"{self.name}@{frame.time:.3f}"
        try:
            found = cut_up(name, frame.image, how.options, how.find, how.usual)
        except Unreadable as error:
            return Moment(self.name, "refused", time=frame.time, said={"reason": error.message})
        whole = frame.image if frame.whole is None else frame.whole
        pool = InMemory(self.name, [(None, frame.time, found)], how.options)
        return Moment(self.name, mark=self.mark, time=frame.time, pool=pool, picture=lambda: whole)


class Folder(Source):
    """The pictures of a folder, and the videos in it that are finished; the folder is looked at again and again.

    What is there in two looks and has not changed is read. One that cannot be read may be half written: it is read again when it
    has changed, and refused when it has not for STILL_SECONDS.
    """

    def watch(self) -> None:
        self._given: dict[str, str] = {}
        self._why = ""
        before: dict[str, tuple[str, float]] = {}
        while not self.stop.is_set():
            away, self._why = bool(self._why), ""
            try:
                before = self._look(before)
            except InputError as error:
                self._why = error.message
            if away != bool(self._why):
                event, said = ("back", {}) if away else ("away", {"reason": self._why})
                self.inbox.put(Moment(self.name, event, time=time.time(), said=said), self.stop)
            self.stop.wait(self.reading.poll)

    def _refuse(self, uri: str, reason: str) -> None:
        """Note that the folder itself cannot be read, as of a share that is not there for a while; of what is in it nothing is said."""
        if uri == self.address:
            self._why = reason

    def _look(self, before: dict[str, tuple[str, float]]) -> dict[str, tuple[str, float]]:
        """Read what has come; return the marks of what is not done, and since when they are so."""
        waiting: dict[str, tuple[str, float]] = {}
        for entry in storage.listing(self.address, self._refuse):
            suffix = posixpath.splitext(entry.uri)[1].lower()
            mark = entry.mark.rstrip(storage.UNSURE)
            if self.stop.is_set() or suffix not in IMAGE_SUFFIXES | VIDEO_SUFFIXES or not storage.is_text(entry.uri):
                continue
            if self.book.has_seen(entry.uri, mark):
                self._given.pop(entry.uri, None)
                continue
            if self._given.get(entry.uri) == mark:  # it waits to be judged
                continue
            known, since = before.get(entry.uri, ("", 0.0))
            if known != mark:
                waiting[entry.uri] = mark, time.monotonic()
            elif self._read(entry.uri, mark, time.monotonic() - since, suffix in VIDEO_SUFFIXES):
                self._given[entry.uri] = mark
            else:
                waiting[entry.uri] = mark, since
        return waiting

    def _read(self, uri: str, mark: str, still: float, film: bool) -> bool:
        """Hand on a file, or why it is refused; return whether it is done."""
        if film:
            if still >= STILL_SECONDS:
                Film(uri, self.reading, self.inbox, self.book, self.stop, mark).watch()
            return still >= STILL_SECONDS
        how = self.reading
        try:
            data = storage.read(uri, images.largest_file(how.options.pixel_limit))
            pool, refused = read_picture(data, uri, how.options, find=how.find, usual=how.usual)
        except Unreadable as error:
            if still < STILL_SECONDS:
                return False
            self.inbox.put(Moment(uri, "refused", mark, said={"reason": error.message}), self.stop)
            return True
        page = int(pool.column("page")[0]) if len(pool) and pool.column("page")[0] is not None else None
        picture = partial(page_of, data, how.options, page)
        self.inbox.put(Moment(uri, mark=mark, pool=pool, refused=refused, picture=picture), self.stop)
        return True


class Film(Source):
    """A video file, read while it is written; it has ended when it has not grown for STILL_SECONDS."""

    def __init__(
        self, address: str, reading: Reading, inbox: Inbox, book: Book, stop: threading.Event, mark: str = ""
    ) -> None:
        super().__init__(address, reading, inbox, book, stop)
        self.mark = mark

    def watch(self) -> None:
        how, kept = self.reading, self.book.kept(f"source {self.name}")
        if kept and kept["mark"] != self.mark:  # another file of this name
            kept = None
        after = None if kept is None else kept["time"]
        still = 0.0 if self.mark else STILL_SECONDS
        until = time.monotonic() + STILL_SECONDS
        while not self.stop.is_set() and not (kept and kept.get("ended")):
            size = os.path.getsize(self.address)
            try:
                growing = partial(Growing, self.address, still, self.stop)
                for frame in frames_while_written(
                    self.address, how.options, how.find, after=after, growing=growing, whole=how.kept
                ):
                    self.inbox.put(self._frame(frame), self.stop)
                    if self.stop.is_set():
                        return
                if not self.stop.is_set():
                    self.inbox.put(Moment(self.name, "ended", self.mark), self.stop)
                return
            except Unreadable as error:  # its index may still be to come
                until = time.monotonic() + STILL_SECONDS if os.path.getsize(self.address) != size else until
                if self.mark or time.monotonic() > until:
                    said = {"reason": error.message}
                    self.inbox.put(Moment(self.name, "refused", self.mark, said=said), self.stop)
                    return
                self.stop.wait(1.0)


class Camera(Source):
    """A camera or stream: opened anew, after a pause that grows, whenever it ends or nothing comes of it; the newest frame wins."""

    def __init__(self, address: str, reading: Reading, inbox: Inbox, book: Book, stop: threading.Event) -> None:
        super().__init__(address, reading, inbox, book, stop)
        self.opened = threading.Event()
        self.why = "nothing came of it"
        kept = book.kept(f"source {self.name}")
        self._last = 0.0 if kept is None else float(kept["time"])

    def watch(self) -> None:
        pause, away = FIRST_PAUSE, False
        while not self.stop.is_set():
            reader = _Reader(self)
            threading.Thread(target=reader.run, name=f"{self.name} reader", daemon=True).start()
            while not reader.done.wait(0.2) and not self.stop.is_set():
                if reader.frames and away:
                    self.inbox.put(Moment(self.name, "back", time=time.time()), self.stop)
                    away = False
                if time.monotonic() - reader.heard > self.reading.away:
                    reader.why = f"nothing came of it for {self.reading.away:g} s"
                    break
            reader.left.set()
            self.why = reader.why
            if reader.frames:
                pause = FIRST_PAUSE
            if self.opened.is_set() and not away and not self.stop.is_set():
                said = {"reason": reader.why}
                self.inbox.put(Moment(self.name, "away", time=time.time(), said=said), self.stop)
                away = True
            self.stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def take(self, frame: Frame) -> None:
        """Hand on a frame of a reader."""
        self._last = frame.time
        self.opened.set()
        self.inbox.put_newest(self._frame(frame))

    def time_after(self, at: float) -> float:
        """Return a time in seconds since 1970 that is later than that of the last frame."""
        return round(max(at, self._last + 0.001), 3)


class _Reader:
    """One opening of a camera. It may hang inside FFmpeg: then it is `left`, and ends when that lets it go."""

    def __init__(self, camera: Camera) -> None:
        self.camera, self.done, self.left = camera, threading.Event(), threading.Event()
        self.heard, self.frames, self.why = time.monotonic(), 0, "it ended"

    def run(self) -> None:
        how, address = self.camera.reading, self.camera.address
        try:
            limit = how.options.pixel_limit
            for frame, clock in camera_frames(address, seconds=how.away, pixel_limit=limit, alive=self._alive):
                self._take(frame, clock)
                if self.left.is_set() or self.camera.stop.is_set():
                    return
        except Unreadable as error:
            self.why = error.message
        except Exception as error:  # of FFmpeg, of which no camera may end a watch
            self.why = str(error)
        finally:
            self.done.set()

    def _alive(self) -> None:
        self.heard = time.monotonic()

    def _take(self, frame: VideoFrame, clock: float) -> None:
        """Hand on a frame where one is due."""
        if not self.frames:
            options, find = self.camera.reading.options, self.camera.reading.find
            grey = options.grey and not in_colour(options, find, None)
            self.paint = Painter(whole_size(options), grey, options.pixel_limit)
            self.upright = Painter(None, False, options.pixel_limit)
            self.due, self.clock = -1, clock
            self.base = time.time() - clock
        self.frames += 1
        now = time.time()
        if not 0 <= clock - self.clock < JUMP_SECONDS or self.base + clock < now - AHEAD_SECONDS:
            self.base = now - clock
        self.clock = clock
        while self.base + clock > time.time() + AHEAD_SECONDS and not self.left.wait(0.1):
            self._alive()
        at = self.base + clock
        slot = int(at / self.camera.reading.options.every)
        if slot <= self.due:
            return
        self.due = slot
        whole = self.upright(frame) if self.camera.reading.kept else None
        self.camera.take(Frame(self.camera.time_after(at), self.paint(frame), whole))


def source_of(address: str) -> tuple[type[Source], str]:
    """Return how an address is watched, and the address as it is found from anywhere; `InputError` for one that cannot be."""
    if is_camera(address):
        if address.startswith("/dev/") and not os.path.exists(address):
            raise InputError(f"There is no device {address}.", "ls /dev/video* lists those of this machine.")
        return Camera, address
    if not storage.is_remote(address):
        address = os.path.abspath(os.path.expanduser(address))
    if storage.is_folder(address):
        return Folder, address
    if posixpath.splitext(address)[1].lower() in VIDEO_SUFFIXES and not storage.is_remote(address):
        storage.stat(address)
        return Film, address
    if not storage.is_remote(address) and not os.path.exists(address):
        raise InputError(
            f"{address} does not exist.", "Give a folder, a video, rtsp:// or http:// of a camera, or /dev/video0."
        )
    raise InputError(
        f"{address} cannot be watched.",
        "Give a folder, a video of this machine, rtsp:// or http:// of a camera, or /dev/video0.",
    )
