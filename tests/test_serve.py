"""`winnow serve`: what it answers is what `winnow predict --onnx` writes, by its own and by the open protocol."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from winnow.deploy.runtime import Deployed
from winnow.deploy.serve.served import Current
from winnow.options import IngestOptions
from winnow.steps.predict_onnx import predict_onnx

from conftest import winnow_command
from exported import COLOURS, write_exported
from serving import Serving, form

TOKEN = "a-token-of-some-length"


def draw(folder: Path) -> None:
    """Draw pictures of several kinds, and what is none."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(5):
        pixels = rng.integers(0, 256, (60, 90 + number, 3), np.uint8) // (1 + number)
        pixels[20:40, 30:60] = (250, 250, 40)
        Image.fromarray(pixels).save(folder / f"plain {number}.png")
    noise = Image.fromarray(rng.integers(0, 256, (240, 320, 3), np.uint8))
    exif = noise.getexif()
    exif[274] = 6
    noise.save(folder / "turned.jpg", exif=exif)
    Image.fromarray(rng.integers(0, 65536, (50, 70)).astype(np.uint16)).save(folder / "deep.png")
    pages = [Image.fromarray(rng.integers(0, 256, (50, 70, 3), np.uint8) // (page + 1)) for page in range(3)]
    pages[0].save(folder / "pages.tiff", save_all=True, append_images=pages[1:])
    Image.new("RGBA", (64, 64), (0, 0, 0, 128)).save(folder / "clear.webp", lossless=True)
    (folder / "broken.png").write_bytes((folder / "plain 0.png").read_bytes()[:900])
    (folder / "none.jpg").write_bytes(b"this is no picture")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    draw(folder / "in")
    write_exported(folder / "shop.onnx")
    patches = IngestOptions(size=(16, 16), patches=True, blank=0, workers=1)
    write_exported(folder / "part.onnx", classes=None, ingest=patches, levels=(0.3, 0.6), picture_threshold=0.6)
    return folder


@pytest.fixture(scope="module")
def shop(here: Path):
    with Serving(here / "shop.onnx", "--max-seconds", 5) as server:
        yield server


@pytest.fixture(scope="module")
def part(here: Path):
    with Serving(here / "part.onnx", "--token", TOKEN, "--workers", 2) as server:
        yield server


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same_rows(answers: dict[str, dict], rows: list[dict[str, str]]) -> None:
    """Check that the answers' rows are those of a table, of every file."""
    seen = 0
    for name, answer in answers.items():
        wanted = [row for row in rows if Path(row["source"]).name == name]
        for row, told in zip(wanted, answer.get("rows", ()), strict=True):
            seen += 1
            assert told["id"] == row["id"] and str(told["page"] or "") == row["page"]
            assert {True: "yes", False: "no"}[told["belongs"]] == row["belongs"]
            assert told["p_value"] == pytest.approx(float(row["p_value"]), rel=1e-5)
            if "class" in row:
                assert told["class"] == row["class"] and told["probability"] == pytest.approx(
                    float(row["probability"]), abs=6e-5
                )
                assert list(told["probabilities"]) == COLOURS
    assert seen == len(rows) > 0


def test_it_says_what_predict_says_of_the_same_bytes(here: Path, shop: Serving) -> None:
    predict_onnx(here / "shop.onnx", [here / "in"], to=here / "shop")
    files = {path.name: path.read_bytes() for path in sorted((here / "in").iterdir())}
    body, kind = form(files)
    status, _, found = shop.request("POST", "/v1/predict", body, content_type=kind)
    answer = json.loads(found)
    assert status == 200 and [one["name"] for one in answer["pictures"]] == list(files)
    answers = {one["name"]: one for one in answer["pictures"]}
    same_rows(answers, table(here / "shop" / "predictions.csv"))
    assert answer["model"] == {"name": "shop", "sha256": Deployed.open(here / "shop.onnx").sha256}
    reasons = {Path(row["source"]).name: row["reason"] for row in table(here / "shop" / "quarantine.csv")}
    assert {name: one["error"] for name, one in answers.items() if "error" in one} == reasons and len(reasons) == 2
    alone = shop.predict(files["turned.jpg"])
    assert {**alone, "name": "turned.jpg"} == answers["turned.jpg"]
    assert shop.request("POST", "/v1/predict", files["none.jpg"])[0] == 422


def test_damage_is_that_of_predict_and_drawn(here: Path, part: Serving) -> None:
    predict_onnx(here / "part.onnx", [here / "in"], to=here / "part", heatmaps=here / "maps")
    ours = {"authorization": f"Bearer {TOKEN}"}
    body, kind = form({path.name: path.read_bytes() for path in sorted((here / "in").iterdir())})
    answers = {
        one["name"]: one
        for one in json.loads(part.request("POST", "/v1/predict", body, content_type=kind, **ours)[2])["pictures"]
    }
    same_rows(answers, table(here / "part" / "predictions.csv"))
    told = [
        [name, str(defect["page"] or ""), *(str(defect[side]) for side in ("x", "y", "width", "height"))]
        for name, one in answers.items()
        for defect in one.get("defects") or ()
    ]
    assert sorted(told) == sorted(
        [Path(row["source"]).name, *(row[column] for column in ("page", "x", "y", "width", "height"))]
        for row in table(here / "part" / "defects.csv")
    ) and told  # fmt: skip
    for kind in ("map", "mask", "overlay"):
        data = (here / "in" / "plain 0.png").read_bytes()
        status, headers, png = part.request("POST", f"/v1/map?kind={kind}", data, **ours)
        (drawn,) = (here / "maps").glob(f"*plain 0.{kind}.png")
        assert status == 200 and headers["content-type"] == "image/png" and png == drawn.read_bytes()
    pages = (here / "in" / "pages.tiff").read_bytes()
    assert part.request("POST", "/v1/map", pages, **ours)[0] == 422
    assert part.request("POST", "/v1/map?page=2", pages, **ours)[0] == 200


def test_a_model_that_draws_nothing_says_so(here: Path, shop: Serving) -> None:
    status, _, body = shop.request("POST", "/v1/map", (here / "in" / "plain 0.png").read_bytes())
    assert status == 400 and "draws no map" in json.loads(body)["error"]


def test_without_the_token_only_life_is_told(here: Path, part: Serving) -> None:
    picture = (here / "in" / "plain 0.png").read_bytes()
    for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": f"Basic {TOKEN}"}):
        for method, path in (
            ("POST", "/v1/predict"),
            ("GET", "/metrics"),
            ("GET", "/docs"),
            ("GET", "/v2/models/part"),
        ):
            status, told, _ = part.request(method, path, picture if method == "POST" else None, **headers)
            assert status == 401 and told["www-authenticate"] == "Bearer"
    assert part.get("/v2/health/live") == {"live": True} and part.get("/v2/health/ready") == {"ready": True}


def test_the_open_protocol_by_a_client_of_it(here: Path, shop: Serving) -> None:
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(f"127.0.0.1:{shop.port}")
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("shop")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    about = client.get_model_metadata("shop")
    assert about["inputs"] == [{"name": "pictures", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
    assert [one["name"] for one in about["outputs"]] == ["probabilities", "score", "p_value"]
    pixels = np.random.default_rng(1).integers(0, 256, (3, 30, 40, 3), np.uint8)
    own = Deployed.open(here / "shop.onnx")(pixels)
    for binary_in in (True, False):
        for binary_out in (True, False):
            given = triton.InferInput("pictures", list(pixels.shape), "UINT8")
            given.set_data_from_numpy(pixels, binary_data=binary_in)
            wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in own]
            found = client.infer("shop", [given], outputs=wanted, request_id="7")
            assert found.get_response()["id"] == "7"
            for name, values in own.items():
                np.testing.assert_allclose(found.as_numpy(name), values, rtol=1e-6)
    assert set(own) == {
        one["name"] for one in client.infer("shop", [given], model_version="1").get_response()["outputs"]
    }
    client.close()


def asked(data: str = "[1, 2, 3]", more: str = "", **changed: object) -> bytes:
    """A request of one pixel, with `data` and `more` as they are and some of its input's fields changed."""
    fields = {"name": "pictures", "datatype": "UINT8", "shape": [1, 1, 1, 3], **changed}
    return f'{{"inputs": [{json.dumps(fields)[:-1]}, "data": {data}}}]{more}}}'.encode()


BINARY = {"parameters": {"binary_data_size": 3}}
BAD = {
    "no JSON": b"{",
    "a list": b"[]",
    "nothing": b"{}",
    "two inputs": b'{"inputs": [{}, {}]}',
    "another name": asked(name="x"),
    "another type": asked(datatype="FP32"),
    "no channels": asked(shape=[1, 1, 3]),
    "grey": asked(shape=[1, 1, 3, 1]),
    "none": asked("[]", shape=[0, 1, 1, 3]),
    "negative": asked(shape=[-1, -1, 1, 3]),
    "endless": asked(shape=[100_000, 100_000, 1, 3]),
    "too few": asked("[1, 2]"),
    "ragged": asked("[[1], 2, 3]"),
    "beyond a byte": asked("[1, 2, 256]"),
    "beyond any number": asked(f"[1, 2, {'9' * 5000}]"),
    "fractions": asked("[1, 2, 0.5]"),
    "texts": asked('["a", "b", "c"]'),
    "deep": asked("[" * 100_000),
    "outputs that are none": asked(more=', "outputs": [{"name": "x"}]'),
    "outputs of no kind": asked(more=', "outputs": 7'),
    "an id that is none": asked(more=', "id": {}'),
    "bytes that are not there": asked(**BINARY),
}


def test_what_makes_no_sense_by_the_open_protocol_is_said(shop: Serving) -> None:
    for name, body in BAD.items():
        status, _, answer = shop.request("POST", "/v2/models/shop/infer", body)
        assert status == 400 and json.loads(answer)["error"], (name, status, answer)
    head = asked(**BINARY)
    for length, tail, wanted in (
        (len(head), b"abc", 200),
        (len(head), b"ab", 400),
        (len(head), b"abcd", 400),
        (10**6, b"abc", 400),
        ("x", b"abc", 400),
        (-1, b"abc", 400),
    ):
        given = {"inference_header_content_length": str(length)}
        assert shop.request("POST", "/v2/models/shop/infer", head + tail, **given)[0] == wanted, length
    assert shop.request("POST", "/v2/models/other/infer", head)[0] == 404


def test_numbers_are_those_of_all_workers(here: Path, part: Serving) -> None:
    ours = {"authorization": f"Bearer {TOKEN}"}

    def count() -> float:
        text = part.request("GET", "/metrics", **ours)[2].decode()
        return sum(float(value) for value in re.findall(r'requests_total\{route="predict",status="200"\} (\d+)', text))

    before, picture = count(), (here / "in" / "plain 0.png").read_bytes()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: part.request("POST", "/v1/predict", picture, **ours)[0], range(24)))
    until = time.monotonic() + 5
    while count() < before + 24 and time.monotonic() < until:  # an answer is counted when it is sent
        time.sleep(0.05)
    assert found == [200] * 24 and count() == before + 24


def test_a_worker_that_dies_is_replaced(here: Path, part: Serving) -> None:
    ours = {"authorization": f"Bearer {TOKEN}"}
    children = Path(f"/proc/{part.process.pid}/task/{part.process.pid}/children")
    if not children.exists():
        pytest.skip("the system does not tell the children of a process")
    first = children.read_text().split()
    assert len(first) == 2
    os.kill(int(first[0]), signal.SIGKILL)
    until = time.monotonic() + 30
    while children.read_text().split() == first or len(children.read_text().split()) < 2:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert part.request("GET", "/v2/models/part", **ours)[0] == 200


def test_the_page_of_what_can_be_asked_loads_nothing(shop: Serving) -> None:
    status, headers, body = shop.request("GET", "/docs")
    assert status == 200 and "default-src 'none'" in headers["content-security-policy"]
    assert re.findall(rb"(?:src|href)\s*=\s*'([^']*)'", body) == [b"/openapi.json"] and b"<script" not in body
    document = shop.get("/openapi.json")
    assert {"/v1/predict", "/v1/map", "/v2/models/shop/infer"} <= set(document["paths"])
    assert all(path.encode() in body for path in document["paths"])


def test_another_host_needs_a_token_and_a_token_needs_length(here: Path) -> None:
    for words, said in (
        (("--host", "0.0.0.0"), "there is no token"),
        (("--token", "short"), "at least 16"),
        (("--host", "203.0.113.7", "--token", TOKEN), "no address of this machine"),
        (("--run", here), "both was given"),
        (("--mode", "fast"), "nothing to do with FILE.onnx"),
        (("--object-detector", "x.onnx"), "looks at whole pictures"),
        (("--name", "a/b"), "cannot be the model's name"),
    ):
        done = winnow_command("serve", here / "shop.onnx", "--port", 0, *words)
        assert done.returncode == 1 and said in done.stderr, done.stderr
    assert "none was given" in winnow_command("serve").stderr


# ---- the file is replaced, the server ends


def ask_on(server: Serving, picture: bytes, until: threading.Event) -> list[str]:
    """Ask again and again, each time anew, and return the model's sum of each answer; what is refused before it is taken is ""."""
    found = []
    while not until.is_set():
        try:
            status, _, body = server.request("POST", "/v1/predict", picture)
        except ConnectionRefusedError:
            found.append("")
            break
        assert status == 200, body
        found.append(json.loads(body)["model"]["sha256"])
    return found


def test_a_replaced_file_is_taken_in_without_a_lost_request_and_a_damaged_one_is_not(
    here: Path, tmp_path: Path
) -> None:
    file = Path(shutil.copy(here / "shop.onnx", tmp_path / "model.onnx"))
    write_exported(tmp_path / "new.onnx", threshold=0.3)
    old, new = (Deployed.open(path).sha256 for path in (file, tmp_path / "new.onnx"))
    picture, until = (here / "in" / "plain 1.png").read_bytes(), threading.Event()
    with Serving(file) as server, ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask_on, server, picture, until) for _ in range(4)]
        damaged = bytearray(file.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        (tmp_path / "bad.onnx").write_bytes(damaged)
        os.replace(tmp_path / "bad.onnx", file)
        line = server.process.stderr.readline()
        assert "is refused" in line and "is damaged" in line and server.get("/v1/model")["sha256"] == old
        os.replace(tmp_path / "new.onnx", file)
        assert "the new file is served" in server.process.stderr.readline()
        assert server.get("/v1/model")["sha256"] == new
        time.sleep(0.3)
        until.set()
        answers = [sum_ for one in asking for sum_ in one.result(30)]
        assert set(answers) == {old, new}
        metrics = server.request("GET", "/metrics")[2]
        assert b"winnow_reloads_total 1\n" in metrics and b"winnow_reloads_refused_total 1\n" in metrics


def test_what_was_accepted_is_answered_before_it_ends(here: Path) -> None:
    picture, never = (here / "in" / "turned.jpg").read_bytes(), threading.Event()
    with Serving(here / "shop.onnx") as server, ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask_on, server, picture, never) for _ in range(6)]
        time.sleep(1)
        status, out, err = server.stop(signal.SIGTERM)
        answers = [one.result(30) for one in asking]  # raises where a connection broke
    assert status == 0 and "what was accepted is answered" in out and not err
    assert all(len(one) > 1 and one[-1] == "" for one in answers)


def test_several_workers_are_told_of_when_they_answer_and_end_as_one_does(here: Path) -> None:
    picture, never = (here / "in" / "turned.jpg").read_bytes(), threading.Event()
    with Serving(here / "shop.onnx", "--workers", 2) as server, ThreadPoolExecutor(4) as pool:
        assert b"winnow_workers 2\n" in server.request("GET", "/metrics")[2]
        asking = [pool.submit(ask_on, server, picture, never) for _ in range(4)]
        time.sleep(0.3)
        status, _, err = server.stop(signal.SIGTERM)
        answers = [one.result(30) for one in asking]
    assert status == 0 and not err
    assert all(len(one) > 1 and one[-1] == "" for one in answers)


def test_a_file_that_cannot_be_looked_at_any_more_is_served_on(tmp_path: Path) -> None:
    """The address of the file then leads through what is no folder, which is another error than that there is none."""
    here = tmp_path / "models"
    here.mkdir()
    (here / "model.onnx").write_bytes(b"old")
    said: list[str] = []
    current: Any = Current(here / "model.onnx", lambda path: path.read_bytes(), said.append)  # type: ignore[arg-type, return-value]
    here.rename(tmp_path / "moved")
    here.write_text("")
    current.look()
    assert current.served == b"old" and current.reloaded == current.refused == 0 and not said
    here.unlink()
    here.mkdir()
    (here / "model.onnx").write_bytes(b"newer")
    current.look()
    assert current.served == b"newer" and current.reloaded == 1


def test_a_damaged_file_is_refused_as_by_predict(here: Path, tmp_path: Path) -> None:
    content = bytearray((here / "shop.onnx").read_bytes())
    content[100] ^= 1
    (tmp_path / "bad.onnx").write_bytes(content)
    for file in (tmp_path / "bad.onnx", tmp_path / "missing.onnx"):
        served = winnow_command("serve", file, "--port", 0)
        predicted = winnow_command("predict", here / "in", "--onnx", file, "--to", tmp_path / "to")
        assert served.returncode == predicted.returncode == 1 and served.stderr == predicted.stderr


@pytest.mark.slow
def test_the_openapi_document_says_what_is_answered(shop: Serving, tmp_path: Path) -> None:
    """By schemathesis; that bytes are a picture is more than a schema can say."""
    pytest.importorskip("schemathesis")
    words = ("--max-examples", "5", "--seed", "1", "--exclude-checks", "positive_data_acceptance", "--no-color")
    code = "import sys; from schemathesis.cli import schemathesis; schemathesis(sys.argv[1:])"
    address = f"http://127.0.0.1:{shop.port}/openapi.json"
    command = [sys.executable, "-c", code, "run", address, *words]
    # Schemathesis keeps a cache in the current folder.
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"Tested: +12", done.stdout)
