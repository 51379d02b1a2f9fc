"""Events sent on: to an address by HTTP, to a command. Each reads the log from where it stopped, so that nothing is lost."""

from __future__ import annotations

import http.client
import json
import shlex
import shutil
import subprocess
import threading
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Callable

from winnow.errors import OptionError
from winnow.watch.book import Book
from winnow.watch.log import Event, Kind

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds until it is tried again
POST_SECONDS, COMMAND_SECONDS = 10.0, 60.0
AGAIN = (408, 425, 429)  # answers of the kind "your fault" that are no refusal
Tell = Callable[[str], None]


class Messenger(ABC):
    """Hands the events of a book on, one after the other, in a thread of its own. `name` is what its place in the log is kept under."""

    def __init__(self, name: str, book: Book, tell: Tell) -> None:
        self.name, self.book, self.tell = name, book, tell
        self.stop, self._done = threading.Event(), threading.Event()
        self.sent = self.refused = 0
        self.failed: BaseException | None = None
        book.begin_reading(name)

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def finish(self, seconds: float) -> None:
        """Hand on what is there, for so many seconds at most; the rest waits on the disk for the next call."""
        self.stop.set()
        self._done.wait(seconds)

    @abstractmethod
    def hand_on(self, event: Event) -> bool:
        """Hand an event on; return whether that is done with, or is to be tried again."""

    def _run(self) -> None:
        try:
            self._hand_on_all()
        except BaseException as error:  # told, and raised, by the thread that judges
            self.failed = error
        self._done.set()

    def _hand_on_all(self) -> None:
        pause, last = FIRST_PAUSE, False
        while True:
            last = self.stop.is_set()
            for event, place in self.book.events_for(self.name):
                while not self.hand_on(event):
                    if self.stop.is_set():
                        return
                    self.stop.wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                pause = FIRST_PAUSE
                self.book.done(self.name, place)
                if self.stop.is_set() and not last:
                    break
            else:
                if last:
                    return
                self.stop.wait(0.2)


class Post(Messenger):
    """Sends every event as JSON to an address, with its id as `Idempotency-Key`; one that is refused (400) is told of and left.

    That the address takes nothing is told of too.
    """

    def __init__(self, address: str, book: Book, tell: Tell) -> None:
        self.address, self.failures = checked_address(address), 0
        self._line: http.client.HTTPConnection | None = None
        super().__init__(f"post {address}", book, tell)

    def hand_on(self, event: Event) -> bool:
        body = json.dumps(event, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": event["id"], "User-Agent": "winnow"}
        where = urllib.parse.urlunsplit(("", "", self.address.path or "/", self.address.query, ""))
        try:
            self._line = self._line or self._connected()
            self._line.request("POST", where, body, headers)
            answer = self._line.getresponse()
            answer.read(1 << 20)
        except (OSError, http.client.HTTPException) as error:
            self._close()
            return self._taken(f"cannot be reached ({error or type(error).__name__})")
        if answer.will_close:
            self._close()
        if 400 <= answer.status < 500 and answer.status not in AGAIN:
            self.refused += 1
            self.tell(
                f"{self.address.netloc} refuses event {event['number']} ({answer.status}); it is in the log alone."
            )
            return self._taken()
        self.sent += answer.status < 300
        return self._taken("" if answer.status < 300 else f"answers {answer.status}")

    def _taken(self, why_not: str = "") -> bool:
        """Return whether the address took an event; tell that it takes none when one fails again, and that it takes events again."""
        if not why_not and self.failures > 1:
            self.tell(f"{self.address.netloc} takes events again.")
        self.failures = self.failures + 1 if why_not else 0
        if self.failures == 2:
            self.tell(f"{self.address.netloc} {why_not}: events wait in the log until it takes them.")
        return not why_not

    def _connected(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self.address.scheme == "https" else http.client.HTTPConnection
        return kind(self.address.hostname or "", self.address.port, timeout=POST_SECONDS)

    def _close(self) -> None:
        if self._line:
            self._line.close()
        self._line = None


class Command(Messenger):
    """Runs a command for every event of a kind, with the event as a line of JSON on its standard input; one that fails is told of."""

    def __init__(self, kind: Kind, command: str, book: Book, tell: Tell) -> None:
        self.kind, self.words = kind, checked_command(command)
        super().__init__(f"run {kind} {command}", book, tell)

    def hand_on(self, event: Event) -> bool:
        if not is_kind(event, self.kind):
            return True
        try:
            done = subprocess.run(
                self.words,
                input=json.dumps(event) + "\n",  # a line, as tee -a and logger take it
                text=True,
                timeout=COMMAND_SECONDS,
                stdout=subprocess.DEVNULL,
                check=False,
            )
            why = f"ended with status {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            why = f"did not end within {COMMAND_SECONDS:.0f} s"
        except OSError as error:
            why = f"cannot be run ({error.strerror})"
        if why:
            self.refused += 1
            self.tell(f"{self.words[0]} {why}, for event {event['number']}.")
        self.sent += 1
        return True


def is_kind(event: Event, kind: Kind) -> bool:
    """Return whether an event is of a kind; "foreign" is a verdict on what does not belong."""
    return event["event"] == kind or (
        kind == "foreign" and event.get("belongs") is False and event["event"] == "verdict"
    )


def checked_address(address: str) -> urllib.parse.SplitResult:
    """Return the parts of an address to post to; `OptionError` for one that is none."""
    found = urllib.parse.urlsplit(address)
    try:
        good = found.scheme in ("http", "https") and found.hostname and (found.port or 1) > 0
    except ValueError:
        good = False
    if not good or found.username:
        raise OptionError(
            f"--post {address} is no address to post to.",
            "Give http://HOST/PATH or https://HOST/PATH, without a password.",
        )
    return found


def checked_command(command: str) -> list[str]:
    """Return the words of a command; `OptionError` where there is no such program."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise OptionError(f"--run-on: {command!r} is no command ({error}).", "Close its quotes.") from None
    if not words or shutil.which(words[0]) is None:
        raise OptionError(f"--run-on: there is no program {words[0] if words else command!r}.", "Give its path.")
    return words
