"""More half-open connections than a server has file descriptors do not stop it, and it does not flood the terminal."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from winnow.web.connections import Room, one_line
from winnow.web.listen import listen, turn_away

from labelling import Server, make_run

FEW = """import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (260, 260))
from winnow.cli import main
main(sys.argv[1:])"""


@contextlib.contextmanager
def half_open(port: int, count: int, said: bytes = b"GET / HTTP/1.1\r\nHost:") -> Iterator[list[socket.socket]]:
    """Hold connections open that each say the beginning of a request."""
    with contextlib.ExitStack() as stack:
        lines = []
        for _ in range(count):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            with contextlib.suppress(ConnectionError):  # of one that made room already
                line.sendall(said)
            lines.append(line)
        yield lines


def test_the_label_server_goes_on_with_more_half_open_connections_than_descriptors(tmp_path: Path) -> None:
    run = make_run(tmp_path, names=("plain.png",), groups=1)
    with Server(run, "--classes", "a,b", program=("-c", FEW)) as server:
        with half_open(server.port, 600):
            for _ in range(5):
                assert server.get("/api/state")["run"] == "run"
                time.sleep(0.1)
        _, _, err = server.stop()
    assert len(err.splitlines()) <= 3 and "Traceback" not in err


class Line:
    """Stands for a connection, where only its order counts."""

    def __init__(self) -> None:
        self.transport, self.aborted = self, False

    def abort(self) -> None:
        self.aborted = True


def test_who_waits_longest_makes_room_and_who_is_served_never_does() -> None:
    room = Room(3)
    first, second, third, fourth, fifth = (Line() for _ in range(5))
    for line in (first, second, third):
        room.enter(line)  # type: ignore[arg-type]
    room.begin(first)  # type: ignore[arg-type]
    room.enter(fourth)  # type: ignore[arg-type]
    assert [line.aborted for line in (first, second, third, fourth)] == [False, True, False, False]
    room.end(first)  # type: ignore[arg-type]
    room.enter(fifth)  # type: ignore[arg-type]
    assert third.aborted and not first.aborted and not fourth.aborted and room.evicted == 2
    full = Room(1)
    full.enter(first)  # type: ignore[arg-type]
    full.begin(first)  # type: ignore[arg-type]
    full.enter(late := Line())  # type: ignore[arg-type]
    assert late.aborted and not full.waiting


def test_what_an_event_loop_says_is_one_line_a_minute_for_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    handle = one_line(said.append)
    for _ in range(70_000):
        handle(
            None, {"message": "socket.accept() out of system resource", "exception": OSError(24, "Too many open files")}
        )
    handle(None, {"message": "something else"})
    assert len(said) == 2 and "Too many open files" in said[0]
    now += 61
    handle(None, {"message": "socket.accept() out of system resource", "exception": OSError(24, "Too many open files")})
    assert said[2].endswith("(and 69,999 more like it)")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no filter for it")
def test_a_socket_that_turns_away_keeps_those_that_wait_and_takes_in_no_more() -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as waiting:
            turn_away(listening)
            with pytest.raises(TimeoutError):
                socket.create_connection(("127.0.0.1", port), timeout=0.3)
            taken, _ = listening.accept()
            with taken:
                waiting.sendall(b"still here")
                assert taken.recv(10) == b"still here"
            listening.setblocking(False)
            with pytest.raises(BlockingIOError):
                listening.accept()
