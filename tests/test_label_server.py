"""The label server as the page meets it, and P7: whoever is not our page, with our token, reads and changes nothing."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from winnow.errors import Damaged
from winnow.label import door as label_door
from winnow.label.store import LabelStore
from winnow.pool.pool import Pool
from winnow.run.folder import RunFolder
from winnow.run.labels import catalogue_of

from conftest import winnow_command
from labelling import NAMES, Server, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("label"))


@pytest.fixture(scope="module")
def lanes(run: Path) -> dict[str, list[str]]:
    """Write what a selection would: three chosen, two outliers."""
    ids = Pool.open(run / "pool").column("id").tolist()
    chosen, outliers = [ids[7], ids[2], ids[4]], [ids[1], ids[9]]
    for name, columns, rows in (
        (
            "selection.csv",
            ("rank", "id", "why"),
            [(rank, item, f"stands for, {rank}") for rank, item in enumerate(chosen, 1)],
        ),
        ("outliers.csv", ("id", "p_value", "why"), [(outliers[0], "0.001", "blurred"), (outliers[1], "nan", "dark")]),
    ):
        with (run / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
    return {"ids": ids, "chosen": chosen, "outliers": outliers}


@pytest.fixture(scope="module")
def server(run: Path, lanes: dict[str, list[str]]):
    with Server(run, "--classes", "staff, customer", "--who", "eve") as server:
        yield server


def event(number: str, item: str, kind: str = "label", value: str = "staff") -> dict[str, str]:
    return {"uuid": number, "item": item, "kind": kind, "value": value, "at": "2026-01-01T00:00:00Z"}


# ---- what the page asks for


def test_the_page_gets_its_queue_item_by_item(server: Server, lanes: dict[str, list[str]]):
    state = server.get("/api/state")
    assert [(entry["name"], entry["key"]) for entry in state["classes"]] == [("staff", "1"), ("customer", "2")]
    assert {lane["name"]: lane["total"] for lane in state["lanes"]} == {"chosen": 3, "outliers": 2, "all": 15}
    assert state["run"] == "run" and state["who"] == "eve" and len(state["groups"]) == 3 and state["timed"] is False

    seen, after = [], -1
    while True:
        page = server.get(f"/api/items?lane=chosen&show=all&label=&group=&text=&after={after}&limit=1")
        assert page["total"] == 3
        seen += page["items"]
        after = seen[-1]["place"]
        if page["end"]:
            break
    assert [item["id"] for item in seen] == lanes["chosen"]
    assert [item["rank"] for item in seen] == [1, 2, 3] and seen[1]["why"] == "stands for, 2"
    outliers = server.get("/api/items?lane=outliers")["items"]
    assert [(item["id"], item["score"], item["why"]) for item in outliers] == [
        (lanes["outliers"][0], 0.001, "blurred"), (lanes["outliers"][1], None, "dark")]  # fmt: skip
    assert [item["place"] for item in server.get("/api/items?show=all&limit=200")["items"]] == list(range(15))


def test_names_come_back_as_they_are(server: Server):
    items = server.get("/api/items?show=all&limit=200")["items"]
    assert {item["name"] for item in items} == set(NAMES)
    found = (
        server.get("/api/items?show=all&text=GR%C3%9CSSE")["items"]
        + server.get("/api/items?show=all&text=Gr%C3%BC%C3%9F")["items"]
    )
    assert {item["name"] for item in found} == {NAMES[2]} and len(found) == 3
    group = items[-1]["group"]
    assert [
        item["group"] for item in server.get(f"/api/items?show=all&group={group.replace(' ', '%20')}")["items"]
    ] == [group] * 5
    one = server.get("/api/items/6")
    assert one["before"] == [5] and one["after"] == [7, 8, 9]


def test_one_act_on_several_items_and_classes_renamed_and_taken_back(server: Server, lanes: dict[str, list[str]]):
    several = lanes["ids"][10:13]
    answer = server.post("/api/events", {"events": [event("act-1", "\n".join(several), value="customer")]})
    assert answer["saved"] == ["act-1"] and [item["id"] for item in answer["items"]] == several
    assert {item["label"] for item in answer["items"]} == {"customer"}
    before = server.get("/api/state")
    change = {"uuid": "rename-1", "name": "customer", "to": "guest, paying", "who": "ann"}
    for _ in range(2):  # an answer that was lost
        names = [entry["name"] for entry in server.post("/api/classes/change", change)]
        assert names == ["staff", "guest, paying"]
    changes = server.get(f"/api/events?since={before['seq']}")
    assert changes["changes"] == before["changes"] + 1
    found = server.get("/api/items?show=all&label=guest,%20paying")["items"]
    assert [item["id"] for item in found] == several
    assert server.post("/api/events", {"events": [event("late-1", several[0], value="customer")]})["saved"] == [
        "late-1"
    ]
    server.post("/api/classes/change", {"uuid": "merge-1", "name": "guest, paying", "to": "staff"})
    assert server.get("/api/state")["classes"][0]["count"] == 3
    server.post("/api/classes/change", {"uuid": "delete-1", "name": "staff", "to": ""})
    assert server.get("/api/state")["classes"] == [] and server.get("/api/items?show=labelled")["items"] == []
    assert server.request("POST", "/api/classes/change", {"uuid": "no-1", "name": "staff", "to": "x"})[0] == 400
    for number, change in enumerate(("delete-1", "merge-1", "rename-1")):
        server.post("/api/classes/undo", {"uuid": f"back-{number}", "change": change})
    assert [(entry["name"], entry["count"]) for entry in server.get("/api/state")["classes"]] == [
        ("staff", 0),
        ("customer", 3),
    ]
    for number, uuid in enumerate(("late-1", "act-1")):
        items = several[0] if uuid == "late-1" else "\n".join(several)
        assert server.post("/api/events", {"events": [event(f"un-{number}", items, "undo", uuid)]})["saved"]


def test_labels_filters_undo_and_another_tab(server: Server, lanes: dict[str, list[str]]):
    a, b, c = lanes["chosen"]
    since = server.get("/api/state")["seq"]
    events = [event("t-1", a), event("t-2", b, "skip", ""), event("t-3", "nobody"), event("t-4", c, value="boss")]
    answer = server.post("/api/events", {"who": "ann", "events": [*events, event("t-5", c, "note", "<b>")]})
    assert answer["saved"] == ["t-1", "t-2", "t-5"] and [entry["uuid"] for entry in answer["refused"]] == ["t-3", "t-4"]
    assert {item["id"]: (item["label"], item["skipped"], item["note"], item["by"]) for item in answer["items"]} == {
        a: ("staff", False, "", "ann"), b: (None, True, "", "ann"), c: (None, False, "<b>", "")}  # fmt: skip
    for show, expected in (("open", [c]), ("labelled", [a]), ("skipped", [b]), ("all", [a, b, c])):
        assert [item["id"] for item in server.get(f"/api/items?lane=chosen&show={show}")["items"]] == expected
    assert [item["id"] for item in server.get("/api/items?show=all&label=staff")["items"]] == [a]
    other_tab = server.get(f"/api/events?since={since}")
    assert {item["id"] for item in other_tab["items"]} == {a, b, c} and other_tab["classes"][0]["count"] == 1
    assert server.post("/api/events", {"who": "ann", "events": [event("t-1", a)]})["saved"] == ["t-1"]
    assert server.get("/api/state")["seq"] == other_tab["seq"]
    server.post("/api/events", {"events": [event("t-6", a, "undo", "t-1"), event("t-7", b, "clear", "")]})
    lane = server.get("/api/state")["lanes"][0]
    assert (lane["labelled"], lane["skipped"]) == (0, 0)
    assert (
        server.get(f"/api/items/{answer['items'][1]['row']}")["by"] == "eve"
    )  # who started it, where the page names nobody


def test_a_new_class_and_an_import_beside_the_server_are_seen(
    server: Server, run: Path, lanes: dict[str, list[str]], tmp_path: Path
):
    names = [entry["name"] for entry in server.post("/api/classes", {"name": "café"})]
    assert names == ["staff", "customer", "café"]
    seq = server.get("/api/state")["seq"]
    (tmp_path / "labels.csv").write_text(f"id,label\n{lanes['ids'][0]},café\n", encoding="utf-8")
    done = winnow_command("label", "--run", run, "--import", tmp_path / "labels.csv")
    assert done.returncode == 0 and "1 new" in done.stdout, done.stderr
    changed = server.get(f"/api/events?since={seq}")["items"]
    assert [(item["row"], item["label"], item["by"]) for item in changed] == [(0, "café", "import labels.csv")]


def test_pictures_small_and_large(server: Server, run: Path):
    for size, longest in (("small", 48), ("large", 48)):
        status, headers, body = server.request("GET", f"/api/pictures/3?size={size}")
        assert status == 200 and headers["content-type"] == "image/jpeg"
        assert headers["cache-control"] == "no-store"  # the same address is another picture in another run
        assert max(Image.open(io.BytesIO(body)).size) <= longest
    assert server.request("GET", "/api/pictures/99")[0] == 404
    assert server.request("GET", "/api/pictures/3?size=huge")[0] == 400


# ---- security


def test_every_answer_carries_the_headers(server: Server):
    for method, path in (
        ("GET", "/"),
        ("GET", "/api/state"),
        ("GET", "/nothing"),
        ("POST", "/api/state"),
        ("GET", "/api/items/99"),
    ):
        for headers in ({}, {"host": "evil.example"}, {"authorization": ""}):
            status, answered, _ = server.request(method, path, {} if method == "POST" else None, **headers)
            assert status < 500
            assert answered["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
            assert "unsafe" not in answered["content-security-policy"]
            assert answered["x-content-type-options"] == "nosniff" and answered["x-frame-options"] == "DENY"
            assert answered["referrer-policy"] == "no-referrer" and answered["cache-control"] == "no-store"
            assert answered["cross-origin-resource-policy"] == answered["cross-origin-opener-policy"] == "same-origin"
            assert not {name for name in answered if name.startswith("access-control")} | (
                {"set-cookie", "server"} & set(answered)
            )


def secrets_of(run: Path, server: Server) -> tuple[bytes, ...]:
    """Return what no stranger may learn: the token, names of pictures, of classes, bytes of a picture or of a file."""
    return server.token.encode(), b"clip 0", b"customer", b"JFIF", b"root:", b"SQLite", b"import "


DATA = "/api/items?show=all&limit=200"
LABEL = '{"who": "mallory", "events": [{"uuid": "m-1", "item": "%s", "kind": "label", "value": "staff"}]}'


def ask(
    target: str = DATA,
    method: str = "GET",
    version: str = "HTTP/1.1",
    more: str = "",
    body: str = "",
    **headers: str | None,
) -> str:
    """A request that is in order but for what is given; None leaves a header out, `more` is added to them."""
    ours: dict[str, str | None] = {"host": "127.0.0.1:{port}", "authorization": "Bearer {token}", "connection": "close"}
    ours |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in ours.items() if value is not None] + ([more] if more else [])
    return "\r\n".join([f"{method} {target} {version}", *lines, "", body])


def stranger(target: str) -> str:
    return ask(target, authorization=None)


def send(method: str = "POST", **headers: str | None) -> str:
    given = {"content_type": "application/json", "content_length": "{length}"} | headers
    return ask("/api/events", method, body="{body}", **given)


HOSTILE = {
    # who asks
    "no token": stranger(DATA),
    "wrong token": ask(authorization="Bearer " + "x" * 43),
    "token cut short": ask(authorization="Bearer {half}"),
    "token of another scheme": ask(authorization="Basic {token}"),
    "token in the address": stranger(DATA + "&token={token}"),
    "token in a cookie": ask(authorization=None, cookie="token={token}"),
    "two tokens": ask(more="Authorization: Bearer x"),
    "token that is not ASCII": ask(authorization="Bearer " + "\u00e9" * 43),
    # the address it was asked by
    "re-bound name": ask(host="evil.example:{port}"),
    "name that begins like ours": ask(host="127.0.0.1.evil.example:{port}"),
    "name with us as the user": ask(host="127.0.0.1:{port}@evil.example"),
    "host without port": ask(host="127.0.0.1"),
    "host of another port": ask(host="127.0.0.1:80"),
    "any address": ask(host="0.0.0.0:{port}"),
    "other form of the address": ask(host="2130706433:{port}"),
    "empty host": ask(host=""),
    "no host": ask(host=None),
    "no host, HTTP/1.0": ask(host=None, version="HTTP/1.0"),
    "two hosts": ask(more="Host: evil.example"),
    "forwarded host": ask(host="evil.example", x_forwarded_host="127.0.0.1:{port}"),
    "whole address of another": ask("http://evil.example" + DATA),
    "whole address of ours, without token": stranger("http://127.0.0.1:{port}" + DATA),
    "HTTP/0.9": "GET /api/state\r\n\r\n",
    # where from
    "other origin": ask(origin="http://evil.example"),
    "origin null": ask(origin="null"),
    "origin of another port": ask(origin="http://127.0.0.1:1"),
    "origin https": ask(origin="https://127.0.0.1:{port}"),
    "preflight": ask("/api/events", "OPTIONS", origin="http://evil.example", access_control_request_method="POST"),
    # paths
    "dots": stranger("/../../../../etc/passwd"),
    "encoded dots": stranger("/%2e%2e/%2e%2e/%2e%2e/etc/passwd"),
    "encoded slashes": stranger("/..%2f..%2f..%2f..%2fetc%2fpasswd"),
    "doubly encoded": stranger("/%252e%252e%252fetc%252fpasswd"),
    "backslashes": stranger("/..%5c..%5cdoor.py"),
    "a module beside the page": stranger("/..%2fstore.py"),
    "whole path": stranger("//etc/passwd"),
    "nul in the path": stranger("/index.html%00.js"),
    "bytes that are not UTF-8": stranger("/%ff%fe"),
    "api in capitals": stranger("/API/state"),
    "api behind two slashes": stranger("//api/state"),
    "api behind dots": stranger("/x/../api/state"),
    "api, a letter encoded": stranger("/%61pi/state"),
    "api with a slash at the end": stranger("/api/state/"),
    "documentation": stranger("/docs"),
    "schema": stranger("/openapi.json"),
    "the token's file": stranger("/labels.token"),
    "picture of no number": ask("/api/pictures/..%2f..%2fetc%2fpasswd"),
    "negative row": ask("/api/pictures/-1"),
    "row beyond any number": ask("/api/items/" + "9" * 5000),
    "endless search": ask("/api/items?text=" + "a" * 60000),
    "lane with a quote": ask("/api/items?lane=all'--"),
    "limit without limit": ask("/api/items?limit=1000000"),
    "since before the beginning": ask("/api/events?since=-1"),
    # what is sent
    "form": send(content_type="application/x-www-form-urlencoded"),
    "plain text": send(content_type="text/plain"),
    "no type": send(content_type=None),
    "two types": send(more="Content-Type: text/plain"),
    "no token, JSON": send(authorization=None),
    "other origin, JSON": send(origin="http://evil.example"),
    "length that is no number": send(content_length="many"),
    "two lengths": send(more="Content-Length: 3"),
    "length and chunks": send(transfer_encoding="chunked"),
    "wrong method": send("PUT"),
    "method over a header": ask("/api/events", x_http_method_override="DELETE"),
    "unknown method": ask("/api/state", "BREW"),
    "trace": ask("/api/state", "TRACE"),
    "tunnel": ask("evil.example:443", "CONNECT", host="evil.example:443"),
    "websocket": ask(authorization=None, connection="Upgrade", upgrade="websocket", sec_websocket_version="13",
                     sec_websocket_key="AAAAAAAAAAAAAAAAAAAAAA=="),
    "HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "header without an end": "GET / HTTP/1.1\r\nX: " + "a" * 200_000,
    "header smuggled by a line": stranger("/api/state%0d%0aAuthorization:%20Bearer%20{token}"),
    "not HTTP": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}  # fmt: skip


UNANSWERED = {"length and chunks", "header without an end"}  # it waits for the chunk; it closes while we still send


def said(server: Server, request: str, item: str) -> bytes:
    """What the server answers to a request with its blanks filled in."""
    body = LABEL % item
    for word, value in {
        "port": server.port,
        "token": server.token,
        "half": server.token[:20],
        "body": body,
        "length": len(body),
    }.items():
        request = request.replace("{" + word + "}", str(value))
    return server.raw(request.encode("latin-1"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_gets_nothing(server: Server, run: Path, lanes: dict[str, list[str]], name: str):
    before = read_log(run)
    answer = said(server, HOSTILE[name], lanes["ids"][0])
    if answer or name not in UNANSWERED:
        status = int(answer.split()[1])
        assert 400 <= status < 500, answer[:300]
        assert not any(secret in answer for secret in secrets_of(run, server)), answer
        assert b"Traceback" not in answer and b"access-control" not in answer.lower()
    assert read_log(run) == before
    assert server.get("/api/state")["run"] == "run"  # and it goes on


def test_the_same_requests_in_order_are_answered(server: Server, run: Path, lanes: dict[str, list[str]]):
    assert b" 200 OK" in said(server, ask(), lanes["ids"][0]) and len(HOSTILE) >= 40
    before = read_log(run)
    assert b'"saved":["m-1"]' in said(
        server, send(origin="http://localhost:{port}", host="localhost:{port}"), lanes["ids"][0]
    )
    assert read_log(run) == before + 1


def read_log(run: Path) -> int:
    with LabelStore.open(run / "labels.sqlite") as store:
        return store.seq


BODIES = {
    "nothing": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"who": "\xff", "events": []}',
    "a list": b"[]",
    "null": b"null",
    "no events": b'{"who": "m", "events": []}',
    "too many": json.dumps({"events": [event("m-1", "x")] * 201}).encode(),
    "numbers for text": b'{"events": [{"uuid": 1, "item": 2, "kind": "skip"}]}',
    "object for text": b'{"events": [{"uuid": {"$ne": ""}, "item": "x", "kind": "skip"}]}',
    "unknown kind": json.dumps({"events": [event("m-1", "x", "class", "boss")]}).encode(),
    "lone surrogate": b'{"who": "\\ud800", "events": [{"uuid": "m-1", "item": "x", "kind": "skip"}]}',
    "uuid that is no text": b'{"events": [{"uuid": "\\ud800", "item": "x", "kind": "skip"}]}',
    "nameless": json.dumps({"who": "\0", "events": [event("m-1", "x")]}).encode(),
    "endless name": json.dumps({"who": "m" * 5000, "events": [event("m-1", "x")]}).encode(),
    "not a number": b'{"who": NaN, "events": Infinity}',
    "huge number": b'{"events": ' + b"9" * 10_000 + b"}",
    "deep": b'{"events": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "too large": b'{"who": "' + b"m" * (1 << 20) + b'"}',
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_without_sense_is_refused(server: Server, run: Path, name: str):
    before = read_log(run)
    for path in ("/api/events", "/api/classes"):
        status, _, answer = server.request("POST", path, BODIES[name])
        assert status == (413 if name == "too large" else 400), answer
        assert set(json.loads(answer)) == {"error", "remedy"}
    assert read_log(run) == before


def test_chunks_beyond_the_limit_are_refused(server: Server, run: Path):
    before = read_log(run)
    head = f"POST /api/events HTTP/1.1\r\nHost: localhost:{server.port}\r\nAuthorization: Bearer {server.token}\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall(head.encode())
        with contextlib.suppress(ConnectionError):  # closed while we still send
            for _ in range(17):
                line.sendall(chunk)
            assert b" 413 " in line.recv(1000)
    assert read_log(run) == before


@pytest.mark.parametrize("value", ["x\ud800", "x\0", "n" * 3000])
def test_a_note_that_is_not_text_does_not_stop_the_others(server: Server, lanes: dict[str, list[str]], value: str):
    item = lanes["ids"][5]
    body = {
        "events": [
            event(f"note-{ord(value[-1])}", item, "note", value),
            event(f"after-{ord(value[-1])}", item, "note", "fine"),
        ]
    }
    answer = server.post("/api/events", body)
    assert [entry["uuid"] for entry in answer["refused"]] == [f"note-{ord(value[-1])}"]
    assert server.get("/api/items/5")["note"] == "fine"


# ---- the process


def test_every_start_has_a_token_of_its_own_and_writes_it_nowhere(run: Path, server: Server):
    assert len(server.token) == 43
    with Server(run, port=server.port) as second:  # the port is taken: the next free one, said aloud
        assert second.port != server.port and second.token != server.token
        assert second.said[0] == f"Port {server.port} is taken; using {second.port}."
        second.post("/api/classes", {"name": "of the second"})
        assert "of the second" in [entry["name"] for entry in server.get("/api/state")["classes"]]
        assert (
            second.get("/api/state")["home"] == server.get("/api/state")["home"]
        )  # one run: what waits is sent to either
        assert second.request("GET", "/api/state", authorization=f"Bearer {server.token}")[0] == 401
        status, out, err = second.stop(signal.SIGINT)
    assert status == 0 and "Stopped" in out and not err
    for token in (server.token.encode(), second.token.encode()):
        assert not any(token in path.read_bytes() for path in run.rglob("*") if path.is_file())


BROWSER = '#!/bin/sh\necho "$@" > {}\n'
OF_ANOTHER_USER = """
import os, socket, sys
port, body = int(sys.argv[1]), b'{"code": "%s"}' % sys.argv[2].encode()
socket.create_connection(("127.0.0.1", port)).close()  # loads what it needs, which this user may read and the next may not
os.setuid(65534)
line = socket.create_connection(("127.0.0.1", port))
line.sendall(b"POST /api/enter HTTP/1.1\\r\\nHost: 127.0.0.1:%d\\r\\nContent-Type: application/json\\r\\n"
             b"Content-Length: %d\\r\\n\\r\\n" % (port, len(body)) + body)
print(line.recv(1000).split()[1].decode())
"""


def test_open_gives_the_browser_an_address_that_is_good_for_once(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    command, seen = tmp_path / "browser", tmp_path / "seen"
    command.write_text(BROWSER.format(seen))
    command.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{command} %s")
    with Server(run, "--open") as server:
        for _ in range(100):
            if seen.exists() and seen.read_text():
                break
            time.sleep(0.1)
        address, _, code = seen.read_text().strip().partition("#once=")
        assert address == f"http://127.0.0.1:{server.port}/" and len(code) == 43 and code != server.token

        def enter(code: str, **headers: str) -> tuple[int, bytes]:
            status, _, body = server.request("POST", "/api/enter", {"code": code}, authorization="", **headers)
            return status, body

        assert server.request("GET", "/api/state", authorization=f"Bearer {code}")[0] == 401
        assert enter("x" * 43)[0] == enter("")[0] == enter("\u00fc")[0] == 403
        assert enter(code, origin="http://elsewhere.example")[0] == 403
        assert enter(code, host=f"elsewhere.example:{server.port}")[0] == 421
        assert enter(code, content_type="text/plain")[0] == 415
        if os.geteuid() == 0:
            stranger = [sys.executable, "-S", "-c", OF_ANOTHER_USER, str(server.port), code]
            assert subprocess.run(stranger, capture_output=True, text=True, check=True).stdout == "403\n"
        assert enter(code) == (200, json.dumps({"token": server.token}, separators=(",", ":")).encode())
        assert enter(code)[0] == 403


def test_without_open_there_is_no_one_time_address(server: Server):
    for code in ("", "x" * 43, server.token):
        status, _, body = server.request("POST", "/api/enter", {"code": code}, authorization="")
        assert status == 403 and server.token.encode() not in body


def test_a_one_time_address_grows_old(monkeypatch: pytest.MonkeyPatch):
    door = label_door.Door("token")
    monkeypatch.setattr(label_door, "is_own_connection", lambda *ports: True)
    now = time.monotonic()
    monkeypatch.setattr(label_door.time, "monotonic", lambda: now + label_door.OPEN + 1)
    assert door.enter(door.code, 1, 2) is None


def test_it_listens_on_this_machine_alone(server: Server):
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [line[1] for line in lines if line[3] == "0A" and int(line[1].split(":")[1], 16) == server.port]
    assert listening == [f"0100007F:{server.port:04X}"]


def test_errors_of_the_command(run: Path, tmp_path: Path):
    bare = make_run(tmp_path)
    for words, said in (
        ((), "no classes"),
        (("--classes", "a\tb"), "control character"),
        (("--classes", "a", "--who", "n" * 200), "100 characters"),
        (("--classes", "a", "--port", "70000"), "65535"),
        (("--export", tmp_path / "out.csv"), "no labels to export"),
    ):
        done = winnow_command("label", "--run", bare, *words)
        assert done.returncode in (1, 2) and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert "not a run folder" in winnow_command("label", "--run", tmp_path / "none").stderr
    for text in ("id\nx\n", "id,why,p_value\nx,,small\n", 'id,why,p_value\n"x', "id,why,p_value\nx\n"):
        (bare / "outliers.csv").write_text(text)
        with pytest.raises(Damaged, match=r"outliers\.csv"):
            catalogue_of(RunFolder.open(bare), Pool.open(bare / "pool"))
    assert [path.name for path in (bare / "steps").iterdir()] == ["ingest.json"]


def test_nothing_is_acknowledged_before_it_is_written(run: Path, server: Server, lanes: dict[str, list[str]]):
    holder = sqlite3.connect(run / "labels.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")  # as an import does
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(server.post, "/api/events", {"events": [event("w-1", lanes["ids"][8])]})
        time.sleep(1)
        assert not waiting.done()
        holder.execute("ROLLBACK")
        assert waiting.result(30)["saved"] == ["w-1"]
    holder.close()


def test_a_class_that_was_renamed_or_deleted_does_not_come_back_with_the_same_command(tmp_path: Path):
    run = make_run(tmp_path, ("a.png",), groups=2)
    with LabelStore.open(run / "labels.sqlite") as store:
        store.add_classes("ann", ["staff", "guest", "nobody"])
        store.change_class("ann", "r", "staff", "employee")
        store.change_class("ann", "d", "guest", "")
    with Server(run, "--classes", "staff,guest,nobody,new") as server:
        assert [entry["name"] for entry in server.get("/api/state")["classes"]] == ["employee", "nobody", "new"]
        told = "\n".join(server.said)
        assert "The class 'staff' is called 'employee' now and is not added again" in told
        assert "The class 'guest' was deleted and is not added again" in told
    with LabelStore.open(run / "labels.sqlite") as store:
        for number, name in enumerate(store.classes):
            store.change_class("ann", f"d{number}", name, "")
    with Server(run, "--classes", "staff") as server:  # where there is none left there is nothing else to begin with
        assert [entry["name"] for entry in server.get("/api/state")["classes"]] == ["staff"]
