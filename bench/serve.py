"""`winnow serve` under load: requests/s and latency against a bare loop and against LitServe, memory, what is lost, hostile requests.

    python bench/serve.py [--quick] [--to FOLDER] [--peer PYTHON] [--only load,memory,reload,stop,hostile]

The file is that of MobileNetV2 embeddings of player crops with Fisher's sum and a classifier (bench/export.py), the pictures are
crops as they are on disk. The bare loop reads, decodes and judges them in batches of 16 in one process, as a program without a server
would, with one and with all threads for the network. Clients are a process of their own, each with one connection that stays open; on
few cores they take their share of them. Rounds alternate, and the median counts. `--peer` is a Python that has LitServe
(pip install litserve) and Winnow: it serves the same file with the same decoding, batches of 16, 2 ms, one worker, pictures in
base64 in JSON, as its documentation has it. Memory is that of the server after 1,000 and after 10,000 requests. Lost is a request that
was sent on an open connection and not answered.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import finish, table

CLIENTS = (1, 4, 16, 64)
PARTS = ("load", "memory", "reload", "stop", "hostile")
PEER = Path(__file__).with_name("serve_litserve.py")


def main() -> None:
    """Print the tables and the closing line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pictures, rounds and requests")
    parser.add_argument("--to", type=Path, help="keep what is made here")
    parser.add_argument("--peer", help="a Python with LitServe")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument(
        "--client", nargs=3, help=argparse.SUPPRESS
    )  # port, connections, seconds: the process of the clients
    given = parser.parse_args()
    if given.client:
        client(*map(float, given.client))
        return
    started, figures = time.perf_counter(), dict[str, Any]()
    to = given.to or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    to.mkdir(parents=True, exist_ok=True)
    file, pictures = prepared(to, given.quick)
    parts = {"load": load, "memory": memory, "reload": reload, "stop": stop, "hostile": hostile}
    for name in given.only.split(","):
        figures[name] = parts[name](file, pictures, given)
        table(figures[name], name)
    finish("serve", started, **figures)


def prepared(to: Path, quick: bool) -> tuple[Path, list[bytes]]:
    """Return the exported file, made where it is missing, and pictures for it."""
    from export import crops
    from selection import rows_of

    file = to / "crops.onnx"
    if not file.exists():
        crops(to, quick).export(file)
    paths = [path for path, *_ in rows_of("player_crops", "pool")]
    return file, [Path(path).read_bytes() for path in paths[:: max(1, len(paths) // 256)]]


# ---- servers and clients


@contextmanager
def serving(command: Sequence[object], **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Yield the process of a server and its port, once it answers."""
    env = {**os.environ, **environment}
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=env,
        start_new_session=True,
    )
    assert process.stdout
    try:
        line = next((line for line in process.stdout if "127.0.0.1:" in line), "")
        port = int(re.findall(r"127\.0\.0\.1:(\d+)", line)[0])
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield process, port
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):  # LitServe does not end by itself, or leaves its children
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def winnow(file: Path, *words: object) -> list[object]:
    """Return the command that serves a file."""
    return [sys.executable, "-m", "winnow", "serve", file, "--port", 0, *words]


def request(body: bytes, path: str = "/v1/predict", kind: str = "image/jpeg") -> bytes:
    """Return a request on a connection that stays open."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{{port}}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def run_clients(port: int, connections: int, seconds: float, requests: Path) -> dict[str, Any]:
    """Return what the process of the clients has found: requests/s, latencies in ms and answers by status."""
    words = [sys.executable, __file__, "--client", port, connections, seconds]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True, stdin=requests.open("rb"))
    return dict(json.loads(done.stdout))


def client(port: float, connections: float, seconds: float) -> None:
    """Be the clients: requests come on standard input, each behind its length, and go out over so many connections for so long."""
    data, requests, place = sys.stdin.buffer.read(), [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "little")
        requests.append(data[place + 4 : place + 4 + size].replace(b"{port}", str(int(port)).encode(), 1))
        place += 4 + size
    times: list[float] = []
    statuses: Counter[str] = Counter()

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        own = requests[number:] + requests[:number]
        turn = 0
        while time.perf_counter() < end:
            begun = time.perf_counter()
            writer.write(own[turn % len(own)])
            turn += 1
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head, re.I)[1]))  # type: ignore[index]
            times.append(time.perf_counter() - begun)
            statuses[head.split()[1].decode()] += 1
        writer.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(one(number * 7 % len(requests)) for number in range(int(connections))))

    begun = time.perf_counter()
    end = begun + seconds
    asyncio.run(all_of_them())
    ordered = sorted(times)
    p50, p99 = (1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    print(
        json.dumps({"rate": len(times) / (time.perf_counter() - begun), "p50": p50, "p99": p99, "statuses": statuses})
    )


def written(path: Path, requests: Sequence[bytes]) -> Path:
    """Write requests for `client`."""
    path.write_bytes(b"".join(len(one).to_bytes(4, "little") + one for one in requests))
    return path


# ---- how fast


def load(file: Path, pictures: list[bytes], given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return requests/s, latencies and the share of the bare loop's speed for each number of clients."""
    from winnow.deploy.runtime import Deployed

    rounds, seconds = (2, 2.0) if given.quick else (5, 5.0)
    folder = Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    raw = written(folder / "raw", [request(picture) for picture in pictures])
    coded = [json.dumps({"image": base64.b64encode(picture).decode()}).encode() for picture in pictures]
    peers = written(folder / "json", [request(body, "/predict", "application/json") for body in coded])
    loops = {
        f"bare loop, {name}": Deployed.open(file, threads=threads)
        for name, threads in (("1 thread", 1), ("all threads", 0))
    }
    servers: dict[str, tuple[list[object], Path]] = {"winnow serve": (winnow(file), raw)}
    if given.peer:
        servers["LitServe"] = ([given.peer, PEER, file], peers)
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for name, model in loops.items():
            used = time.process_time()
            rate = bare(model, pictures, seconds)
            found.setdefault((name, 0), []).append(
                {"rate": rate, "cpu": 1000 * (time.process_time() - used) / (rate * seconds)}
            )
        for name, (command, requests) in servers.items():
            with serving(command) as (process, port):
                run_clients(port, 4, 0.5, requests)
                for clients in CLIENTS:
                    used = cpu_of(process.pid)
                    row = run_clients(port, clients, seconds, requests)
                    row["cpu"] = 1000 * (cpu_of(process.pid) - used) / sum(row["statuses"].values())
                    found.setdefault((name, clients), []).append(row)
    shutil.rmtree(folder)
    best = max(median(found[name, 0], "rate") for name in loops)
    return [
        {
            "": name,
            "clients": clients or "",
            "pictures/s": f"{median(rows, 'rate'):.0f}",
            "of the bare loop": median(rows, "rate") / best,
            "CPU, ms a picture": f"{median(rows, 'cpu'):.1f}",
            "p50, ms": f"{median(rows, 'p50'):.1f}" if clients else "",
            "p99, ms": f"{median(rows, 'p99'):.1f}" if clients else "",
            "lowest and highest": f"{min(row['rate'] for row in rows):.0f} to {max(row['rate'] for row in rows):.0f}",
            "not 200": sum(
                count for row in rows for status, count in row.get("statuses", {}).items() if status != "200"
            ),
        }
        for (name, clients), rows in found.items()
    ]


def cpu_of(group: int) -> float:
    """Return the seconds of a processor that a group of processes has used."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[2]) == group:
                total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def median(rows: Sequence[dict[str, Any]], name: str) -> float:
    """Return the median of a figure."""
    return float(statistics.median(row[name] for row in rows))


def bare(model: Any, pictures: list[bytes], seconds: float) -> float:
    """Return pictures/s of a loop that decodes and judges batches of 16."""
    import numpy as np

    from winnow.pool.in_memory import read_picture

    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        batch = [pictures[(count + place) % len(pictures)] for place in range(16)]
        model(np.concatenate([read_picture(data, "", model.ingest)[0].pixels(slice(None)) for data in batch]))
        count += len(batch)
    return count / (time.perf_counter() - begun)


# ---- what stays, and what is lost


def memory(file: Path, pictures: list[bytes], given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the server's memory after some requests and after ten times as many."""
    folder = Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    raw = written(folder / "raw", [request(picture) for picture in pictures])
    rows, done = [], 0
    with serving(winnow(file)) as (process, port):
        for wanted in (100, 1000) if given.quick else (1000, 2000, 5000, 10_000):
            while done < wanted:
                found = run_clients(port, 16, 1.0, raw)
                done += sum(found["statuses"].values())
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            rows.append({"requests": done, "resident, MB": int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1e3})
    shutil.rmtree(folder)
    return rows


async def asking(port: int, picture: bytes, until: asyncio.Event, keep: bool, found: Counter[str]) -> None:
    """Ask on until told to stop or nobody listens; count answers, and what was sent and not answered."""
    body = request(picture).replace(b"{port}", str(port).encode(), 1)
    writer = None
    while not until.is_set():
        if writer is None:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                found["nobody listens"] += 1
                return
        try:
            writer.write(body if keep else body.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head, re.I)[1]))  # type: ignore[index]
            found["answered" if head.split()[1] == b"200" else f"status {head.split()[1].decode()}"] += 1
        except (OSError, asyncio.IncompleteReadError):
            found["lost"] += 1
            head = b"connection: close"
        if b"connection: close" in head.lower():
            writer.close()
            writer = None


def under_load(port: int, picture: bytes, keep: bool, act: Any) -> Counter[str]:
    """Return what 16 clients found while something was done."""
    found: Counter[str] = Counter()

    async def all_of_it() -> None:
        until = asyncio.Event()
        clients = [asyncio.create_task(asking(port, picture, until, keep, found)) for _ in range(16)]
        await asyncio.sleep(1)
        await asyncio.to_thread(act)
        await asyncio.sleep(1)
        until.set()
        await asyncio.wait(clients, timeout=60)

    asyncio.run(all_of_it())
    return found


def reload(file: Path, pictures: list[bytes], given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what is lost while a file is replaced again and again."""
    times, rows = 2 if given.quick else 10, []
    copy = Path(tempfile.mkdtemp(prefix="winnow-bench-")) / "model.onnx"

    def replace() -> None:
        for _ in range(times):
            shutil.copy(file, copy.with_suffix(".new"))
            os.replace(copy.with_suffix(".new"), copy)
            time.sleep(2.5)

    for keep in (True, False):
        shutil.copy(file, copy)
        with serving(winnow(copy)) as (_, port):
            found = under_load(port, pictures[0], keep, replace)
        rows.append({"replaced": times, "connections": "kept" if keep else "one a request", **told(found)})
    return rows


def stop(file: Path, pictures: list[bytes], given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what is lost when the server is told to end, of several ends."""
    rows = []
    for workers in (1, 2):
        for keep in (True, False):
            total: Counter[str] = Counter()
            times = 2 if given.quick else 10
            for _ in range(times):
                with serving(winnow(file, "--workers", workers)) as (process, port):
                    total += under_load(
                        port, pictures[0], keep, lambda one=process: (one.send_signal(signal.SIGTERM), one.wait(60))
                    )
            rows.append(
                {"ends": times, "workers": workers, "connections": "kept" if keep else "one a request", **told(total)}
            )
    return rows


def told(found: Counter[str]) -> dict[str, int]:
    """Return the counts of a row."""
    others = sum(count for name, count in found.items() if name.startswith("status"))
    return {"answered": found["answered"], "other than 200": others, "lost": found["lost"]}


# ---- hostile requests


def hostile(file: Path, pictures: list[bytes], given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the statuses of a thousand requests that make no sense or mean harm, and whether the server goes on."""
    rng, statuses = random.Random(0), Counter[str]()
    count = 100 if given.quick else 1000
    with serving(winnow(file, "--max-seconds", 1, "--max-bytes", 1)) as (process, port):
        half_open = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        for line in half_open:
            line.sendall(b"POST /v1/predict HTTP/1.1\r\nHost:")
        for number in range(count):
            statuses[status_of(port, bad(rng, number, pictures[number % len(pictures)], port))] += 1
        alive = status_of(
            port,
            request(pictures[0])
            .replace(b"{port}", str(port).encode(), 1)
            .replace(b"\r\n", b"\r\nConnection: close\r\n", 1),
        )
        lives = process.poll() is None
        for line in half_open:
            line.close()
    return [
        {
            "requests": count,
            **dict(sorted(statuses.items())),
            "afterwards": alive,
            "the process": "lives" if lives else "ended",
        }
    ]


PATHS = (
    "/v1/predict",
    "/v1/map",
    "/v2/models/crops/infer",
    "/v2/models/crops",
    "/../../etc/passwd",
    "/%00",
    "/metrics",
    "/v1/model",
)
METHODS = ("POST", "POST", "POST", "GET", "PUT", "DELETE", "TRACE", "\x00\x01")
TEXTS = (b"{" * 50_000, b'{"inputs": [{"name": "pictures", "shape": [1e9]}]}', b"[" * 100_000, b"\xff" * 99, b"null")
HEADERS = (
    "",
    "",
    "Content-Encoding: gzip",
    "Transfer-Encoding: chunked",
    "Origin: null",
    "Content-Type: multipart/form-data",
    "Content-Type: multipart/form-data; boundary=x",
    "Expect: 100-continue",
    "Inference-Header-Content-Length: 9",
    "Authorization: Bearer \xff",
    "X: " + "y" * 70_000,
)


def bad(rng: random.Random, number: int, picture: bytes, port: int) -> bytes:
    """Return a hostile request."""
    host, body, kind = f"127.0.0.1:{port}", bytearray(picture), number % 8
    if kind == 0:  # damaged
        for _ in range(rng.randint(1, 200)):
            body[rng.randrange(len(body))] = rng.randrange(256)
    elif kind == 1:  # cut short
        body = body[: rng.randrange(len(body))]
    elif kind == 2:  # noise
        body = bytearray(rng.randbytes(rng.choice([0, 1, 10, 1000, 100_000])))
    elif kind == 3:
        body = bytearray(rng.choice(TEXTS))
    elif kind == 4:
        host = rng.choice(["evil.example", "", "127.0.0.1@evil.example", f"127.0.0.1:{port + 1}", "x" * 5000])
    elif kind == 5:
        body = bytearray(1_000_001)
    length: object = len(body) if kind != 6 else rng.choice([-1, "x", 10**30, len(body) + 1, 5])
    more = rng.choice(HEADERS)
    head = f"{rng.choice(METHODS)} {rng.choice(PATHS)} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n"
    return (head + (f"{more}\r\n" if more else "") + "\r\n").encode("latin-1") + bytes(body)


def status_of(port: int, sent: bytes) -> str:
    """Return the status of the answer to a request, or what became of it."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        answer = b""
        try:
            line.sendall(sent)
            while b"\r\n" not in answer and (part := line.recv(4096)):
                answer += part
        except TimeoutError:
            return "no answer in 5 s"
        except ConnectionError:
            return "closed while it was sent"
    parts = answer.split()
    return parts[1].decode() if len(parts) > 1 else "closed"


if __name__ == "__main__":
    main()
