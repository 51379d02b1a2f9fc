"""P1: no acknowledged label is lost. Servers are killed at random while people label through them."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from winnow.label.store import LabelStore

from labelling import Server, make_run

pytestmark = pytest.mark.slow

KILLS, AT_ONCE = 40, 2
CLASSES = ("staff", "customer", "other")


class Person(threading.Thread):
    """Labels at a server until it is gone, one answer after the other; `sent` and `saved` are batches of events."""

    def __init__(self, server: Server, name: str, items: list[str], rng: random.Random) -> None:
        super().__init__()
        self.server, self.who, self.items, self.rng = server, name, items, rng
        self.sent: list[dict[str, str]] = []
        self.saved: list[dict[str, str]] = []

    def run(self) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        headers = {"authorization": f"Bearer {self.server.token}", "content-type": "application/json"}
        try:
            while True:
                batch = [self.event(number) for number in range(self.rng.choice((1, 1, 1, 5, 40)))]
                self.sent += batch
                line.request("POST", "/api/events", json.dumps({"who": self.who, "events": batch}), headers)
                answer = line.getresponse()
                body = json.loads(answer.read())
                assert answer.status == 200 and len(body["saved"]) == len(batch), body
                self.saved += batch
        except (OSError, http.client.HTTPException):
            pass  # killed
        finally:
            line.close()

    def event(self, number: int) -> dict[str, str]:
        name = f"{self.who}-{len(self.sent)}-{number}"
        return {"uuid": name, "item": self.rng.choice(self.items), "kind": "label", "value": self.rng.choice(CLASSES)}


def test_no_acknowledged_label_is_lost_in_forty_kills(tmp_path: Path):
    run = make_run(tmp_path, groups=6)
    rng = random.Random(0)
    sent: dict[str, dict[str, str]] = {}
    saved: dict[str, dict[str, str]] = {}
    items = None
    for turn in range(KILLS // AT_ONCE):  # two servers of the same run, each killed at its own moment
        servers = [Server(run, "--classes", ",".join(CLASSES)) for _ in range(AT_ONCE)]
        items = items or [item["id"] for item in servers[0].get("/api/items?show=all&limit=200")["items"]]
        people = [Person(server, f"p{turn}-{number}", items, rng) for number, server in enumerate(servers)]
        for person in people:
            person.start()
        for server in servers:
            time.sleep(rng.uniform(0.01, 0.25))
            server.process.send_signal(signal.SIGKILL)
        for server, person in zip(servers, people, strict=True):
            person.join(30)
            assert server.stop()[0] == -signal.SIGKILL
            sent |= {event["uuid"]: event for event in person.sent}
            saved |= {event["uuid"]: event for event in person.saved}
    assert len(saved) > 10 * KILLS

    with LabelStore.open(run / "labels.sqlite") as store:
        log = store._connection.execute(
            "SELECT uuid, item, kind, value FROM events WHERE kind != 'class' ORDER BY seq"
        ).fetchall()
        labels = {item: label for item, (label, _, _) in store.labels().items()}
    there = {uuid: (item, kind, value) for uuid, item, kind, value in log}
    assert len(there) == len(log)
    assert not saved.keys() - there.keys()
    assert there.keys() <= sent.keys()  # and nothing is there that nobody said
    assert all(there[uuid] == (sent[uuid]["item"], "label", sent[uuid]["value"]) for uuid in there)
    assert labels == {item: value for _, item, _, value in log}


def test_an_act_on_a_whole_group_is_whole_or_absent_after_a_kill(tmp_path: Path):
    """Acts of hundreds of items, so that a kill falls within the writing of one; each tells by its class which it is."""
    run = make_run(tmp_path, tuple(f"{number:03}.png" for number in range(150)), groups=2)
    rng, saved, sent, items = random.Random(1), set(), {}, []
    for turn in range(15):
        with Server(run, "--classes", ",".join(CLASSES)) as server:
            if not items:
                items = [item["id"] for item in server.get("/api/items?show=all&limit=200")["items"]]
            line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            headers = {"authorization": f"Bearer {server.token}", "content-type": "application/json"}
            threading.Timer(rng.uniform(0.005, 0.15), server.process.send_signal, (signal.SIGKILL,)).start()
            try:
                for number in range(10_000):
                    act = {
                        "uuid": f"{turn}-{number}",
                        "item": "\n".join(items),
                        "kind": "label",
                        "value": rng.choice(CLASSES),
                    }
                    sent[act["uuid"]] = act
                    line.request("POST", "/api/events", json.dumps({"events": [act]}), headers)
                    saved |= set(json.loads(line.getresponse().read())["saved"])
            except (OSError, http.client.HTTPException):
                pass  # killed
            line.close()
            server.process.wait(20)
        with LabelStore.open(run / "labels.sqlite") as store:
            last = store._connection.execute("SELECT uuid FROM events ORDER BY seq DESC").fetchone()[0]
            assert {label for label, _, _ in store.labels().values()} <= {sent.get(last, {}).get("value")}
            assert len(store.labels()) in (0, len(items))
            there = {uuid for (uuid,) in store._connection.execute("SELECT uuid FROM events WHERE kind = 'label'")}
            assert saved <= there <= sent.keys()
    assert len(sent) > 15 and saved and len(items) == 200
