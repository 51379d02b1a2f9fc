"""What a server does with pictures: read them in threads, have them seen together, and say what was found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np

from winnow.deploy.judge import damage, judged
from winnow.deploy.runtime import DIRECTIONS, Deployed
from winnow.deploy.serve.answers import picture_answer
from winnow.deploy.serve.batches import Batches
from winnow.deploy.serve.drifting import ServedDrift
from winnow.deploy.serve.limits import Limits
from winnow.deploy.serve.metrics import Metrics
from winnow.deploy.serve.served import Current, Served
from winnow.errors import OptionError, Unreadable
from winnow.inspect.wholes import Wholes
from winnow.pool.in_memory import InMemory, Refused, read_picture
from winnow.pool.originals import page_of
from winnow.scale.local import cores

Kind = Literal["map", "mask", "overlay"]
Result = TypeVar("Result")


class Service:
    """A file at work; made inside an event loop."""

    def __init__(self, current: Current, limits: Limits, metrics: Metrics, drift: ServedDrift | None = None) -> None:
        self.current, self.limits, self.metrics, self.drift = current, limits, metrics, drift
        self.leaving = False
        threads = cores(0)
        self.batches = Batches(limits.batch, limits.wait)
        self._readers = ThreadPoolExecutor(threads, "reader")
        self._read = asyncio.Semaphore(limits.batch + threads)  # pictures that are read and not judged yet

    @property
    def model(self) -> Deployed:
        """Return the file that is served now."""
        return self.current.served.model

    async def predict(self, data: bytes, name: str) -> dict[str, Any]:
        """Return what is said of a picture file; one that cannot be read has an `error`."""
        served = self.current.served
        try:
            async with self._read:
                pool, refused = await self._pool(served, data, name)
                names = served.model.drift_names if self.drift else served.model.verdict_names
                found = await self._found(served.model, pool, names)
        except Unreadable as error:
            self.metrics.add("unreadable_total")
            return {"name": name, "error": error.message}
        said = partial(self._said, name, served.model, pool, found, refused)
        # Damage is located in milliseconds to seconds; what is said of whole pictures takes less time than handing it on.
        answer = await self._in_thread(said) if served.options.cuts else said()
        self.metrics.add("anomalous_total", sum(row.get("belongs") is False for row in answer["rows"]))
        if self.drift:
            self.drift.add(served.model, pool, answer["rows"], found.get(DIRECTIONS))
        return answer

    async def draw(self, data: bytes, kind: Kind, page: int | None) -> bytes:
        """Return the anomaly map, the mask or the overlay of a picture as PNG, as `winnow predict --heatmaps` writes them.

        Raises `OptionError` of a file that draws none, `Unreadable` for what is no picture, or has no such page.
        """
        served = self.current.served
        model = served.model
        if not model.ingest.cuts or model.picture_threshold is None or (kind == "map" and model.map_level is None):
            raise OptionError(
                f"This model draws no {kind}.", "Export a run that looks for damage, in its mode full or fast."
            )
        async with self._read:
            pool, _ = await self._pool(served, data, "picture")
            found = await self._found(model, pool, ("score", "p_value"))
        return await self._in_thread(partial(_drawn, served, pool, found, data, kind, page))

    async def infer(self, model: Deployed, pixels: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Return outputs of the network itself for pictures (n, h, w, c) uint8."""
        async with self._read:
            return await self.batches(model, pixels, names)

    def count(self) -> None:
        """Bring the numbers of batches, of files and of the drift up to date."""
        if self.drift and self.drift.live:
            drift = self.drift.live.drift
            self.metrics.set("drift_capital_log10", drift.log10)
            self.metrics.set("drift_blocks", drift.blocks)
            self.metrics.set("drift_alarm", drift.alarmed)
        self.metrics.set("reloads_total", self.current.reloaded)
        self.metrics.set("reloads_refused_total", self.current.refused)
        while self.batches.sizes:
            size = self.batches.sizes.popleft()
            self.metrics.add("batches_total")
            self.metrics.add("batch_pictures_total", size)

    def close(self) -> None:
        """End the threads; what is under way in them ends by itself."""
        self.batches.close()
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def _pool(self, served: Served, data: bytes, name: str) -> tuple[InMemory, list[Refused]]:
        until = time.monotonic() + self.limits.seconds
        read = partial(
            read_picture, data, name, served.options, find=served.find, usual=served.usual,
            more=lambda pages: time.monotonic() < until,
        )  # fmt: skip
        with self.batches.on_its_way():
            return await self._in_thread(read)

    async def _found(self, model: Deployed, pool: InMemory, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        self.metrics.add("pictures_total", len(pool))
        if not len(pool):
            return model(pool.pixels(slice(None)))
        return await self.batches(model, pool.pixels(slice(None)), names)

    def _said(
        self, name: str, model: Deployed, pool: InMemory, found: dict[str, np.ndarray], refused: list[Refused]
    ) -> dict[str, Any]:
        return picture_answer(name, model, pool, judged(model, pool, found), refused)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)


def _drawn(
    served: Served, pool: InMemory, found: dict[str, np.ndarray], data: bytes, kind: Kind, page: int | None
) -> bytes:
    from winnow.report.overlays import map_png, mask_png, overlay

    def read(row: int) -> np.ndarray:
        return page_of(data, served.options, pool.column("page")[row])

    wholes = Wholes(read, pool.channels) if served.options.tiles else None
    places = damage(served.model, pool, judged(served.model, pool, found), all_of_them=True, wholes=wholes)
    assert places is not None
    for _, picture in places[1]:
        if picture.page in (page, None):
            anomaly_map = (
                np.zeros(picture.mask.shape) if picture.anomaly_map is None else picture.anomaly_map.clip(0, 1)
            )
            if kind == "overlay":
                return overlay(picture.pixels, anomaly_map, [defect[:4] for defect in picture.defects])
            return mask_png(picture.mask) if kind == "mask" else map_png(anomaly_map)
    raise Unreadable("it has no such page" if page else "it has several pages: say which")
