"""The numbers of /metrics, in the text format of Prometheus, summed over the workers of a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROUTES = ("predict", "map", "infer", "other")
STATUSES = (200, 400, 401, 403, 404, 405, 408, 413, 415, 421, 422, 500, 503)
BOUNDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))
PLAIN = {
    "pictures_total": ("counter", "Pictures, pages of files, patches and crops that were judged."),
    "anomalous_total": ("counter", "Rows of answers whose picture does not belong."),
    "unreadable_total": ("counter", "Files that could not be read as pictures."),
    "batches_total": ("counter", "Runs of the network."),
    "batch_pictures_total": ("counter", "Pictures in them."),
    "reloads_total": ("counter", "Replaced files that were taken in."),
    "reloads_refused_total": ("counter", "Replaced files that were refused: damaged, or not Winnow's."),
    "connections_evicted_total": ("counter", "Connections without a request that made room for others."),
    "workers": ("gauge", "Workers that answer."),
    "requests_under_way": ("gauge", "Requests that are being read or worked on."),
    "body_bytes": ("gauge", "Bytes of requests that are in memory."),
}
OF_EACH = {
    "drift_capital_log10": "Logarithm of the capital of the bets that the threshold does not hold any more; 2 is a hundred times.",
    "drift_blocks": "Pictures that were bet on, one of each block of time.",
    "drift_alarm": "1 once the threshold does not hold any more, as far as the bets can tell.",
}
"""Gauges of each worker by itself, because bets of several cannot be added."""
_SLOTS = {
    name: place
    for place, name in enumerate(
        [
            *PLAIN,
            *OF_EACH,
            *(f"requests_total {route} {status}" for route in ROUTES for status in (*STATUSES, 0)),
            *(f"seconds {route} {kind}" for route in ROUTES for kind in (*BOUNDS, "sum")),
        ]
    )
}


class Metrics:
    """Numbers of one of several workers; each counts in a row of its own, and any can tell the sum of all."""

    def __init__(self, file: Path | None = None, workers: int = 1, own: int = 0) -> None:
        """Count in memory, or in a file that all `workers` share, which is made where it is missing."""
        self._rows = np.zeros((workers, len(_SLOTS))) if file is None else _shared(file, workers)
        self._own = self._rows[own]
        for name in (*OF_EACH, *(name for name, (kind, _) in PLAIN.items() if kind == "gauge")):
            self._own[_SLOTS[name]] = 0  # a worker that died has left what it had

    def add(self, name: str, value: float = 1) -> None:
        """Count one of `PLAIN`."""
        self._own[_SLOTS[name]] += value

    def set(self, name: str, value: float) -> None:
        """Set one of `PLAIN` or `OF_EACH`."""
        self._own[_SLOTS[name]] = value

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._own[_SLOTS[f"requests_total {route} {status if status in STATUSES else 0}"]] += 1
        bound = next(bound for bound in BOUNDS if seconds <= bound)
        self._own[_SLOTS[f"seconds {route} {bound}"]] += 1
        self._own[_SLOTS[f"seconds {route} sum"]] += seconds

    def total(self, name: str) -> float:
        """Return one of `PLAIN`, summed over the workers."""
        return float(self._rows[:, _SLOTS[name]].sum())

    def text(self) -> str:
        """Return all numbers."""
        return "\n".join(self._lines(self._rows.sum(axis=0))) + "\n"

    def _lines(self, sums: np.ndarray) -> Iterator[str]:
        for name, (kind, what) in PLAIN.items():
            yield from (f"# HELP winnow_{name} {what}", f"# TYPE winnow_{name} {kind}")
            yield f"winnow_{name} {sums[_SLOTS[name]]:.17g}"
        for name, what in OF_EACH.items() if self._rows[:, _SLOTS["drift_blocks"]].any() else ():
            yield from (f"# HELP winnow_{name} {what}", f"# TYPE winnow_{name} gauge")
            for worker, value in enumerate(self._rows[:, _SLOTS[name]]):
                yield f'winnow_{name}{{worker="{worker}"}} {value:.17g}'
        yield from ("# HELP winnow_requests_total Answers.", "# TYPE winnow_requests_total counter")
        for route in ROUTES:
            for status in (*STATUSES, 0):
                if count := sums[_SLOTS[f"requests_total {route} {status}"]]:
                    yield f'winnow_requests_total{{route="{route}",status="{status or "other"}"}} {count:.17g}'
        yield from (
            "# HELP winnow_request_seconds Time from head to answer.",
            "# TYPE winnow_request_seconds histogram",
        )
        for route in ROUTES:
            total = 0.0
            for bound in BOUNDS:
                total += sums[_SLOTS[f"seconds {route} {bound}"]]
                yield f'winnow_request_seconds_bucket{{route="{route}",le="{"+Inf" if bound == BOUNDS[-1] else bound}"}} {total:.17g}'
            yield f'winnow_request_seconds_sum{{route="{route}"}} {sums[_SLOTS[f"seconds {route} sum"]]:.17g}'
            yield f'winnow_request_seconds_count{{route="{route}"}} {total:.17g}'


def _shared(file: Path, workers: int) -> np.ndarray:
    if not file.exists():
        np.zeros((workers, len(_SLOTS))).tofile(file)
    return np.memmap(file, np.float64, "r+", shape=(workers, len(_SLOTS)))
