"""Pictures of several requests seen by the network at once: who is alone never waits, of many none waits longer than allowed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from winnow.deploy.runtime import Deployed
from winnow.errors import WinnowError

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Job:
    """Pictures (n, h, w, c) uint8 of one request, the outputs that are wanted of them, and where these go."""

    model: Deployed
    pixels: np.ndarray
    names: tuple[str, ...]
    done: asyncio.Future[Outputs]

    @property
    def kind(self) -> tuple[int, tuple[int, ...], tuple[str, ...]]:
        """Return what jobs have in common that can be done together."""
        return id(self.model), self.pixels.shape[1:], self.names


class Batches:
    """Runs files on pictures, up to `most` of different requests at once, in one thread.

    While others are on their way (`coming`), pictures wait for them, `wait` seconds at most. `sizes` are the numbers of pictures of
    the latest batches, for whoever counts them to take out.
    """

    def __init__(self, most: int, wait: float) -> None:
        self.most, self.wait = most, wait
        self.coming = 0
        self.sizes: deque[int] = deque(maxlen=1024)
        self._waiting: deque[Job] = deque()
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "network")
        self._work = asyncio.get_running_loop().create_task(self._forever())

    @contextmanager
    def on_its_way(self) -> Iterator[None]:
        """Say for the block that pictures will come, unless the block ends in an error: they are being read."""
        self.coming += 1
        try:
            yield
        finally:
            self.coming -= 1
            self._changed.set()

    async def __call__(self, model: Deployed, pixels: np.ndarray, names: tuple[str, ...]) -> Outputs:
        """Return the outputs of those names for pictures (n, h, w, c) of one request, n >= 1; raises what the file raises on them."""
        job = Job(model, pixels, names, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._changed.set()
        return await job.done

    def close(self) -> None:
        """End the thread; what is under way in it ends by itself, and what waits is not done: whoever asked has gone."""
        self._work.cancel()
        self._thread.shutdown(wait=False)

    async def _forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting:
                self._changed.clear()
                await self._changed.wait()
            await self._others()
            batch = self._taken()
            if batch:
                self.sizes.append(sum(len(job.pixels) for job in batch))
                for job, found in zip(batch, await loop.run_in_executor(self._thread, self._run, batch), strict=True):
                    if not job.done.done():  # its request may have taken too long
                        job.done.set_exception(found) if isinstance(found, Exception) else job.done.set_result(found)

    async def _others(self) -> None:
        """Wait for others that are on their way, until there are enough."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.wait
        while self.coming and sum(len(job.pixels) for job in self._waiting) < self.most:
            left = until - loop.time()
            if left <= 0:
                return
            self._changed.clear()
            timer = loop.call_later(left, self._changed.set)
            await self._changed.wait()
            timer.cancel()

    def _taken(self) -> list[Job]:
        """Take the longest waiting job and those behind it that can be done with it."""
        batch: list[Job] = []
        count = 0
        while self._waiting and (not batch or (count < self.most and self._waiting[0].kind == batch[0].kind)):
            job = self._waiting.popleft()
            if not job.done.done():
                batch.append(job)
                count += len(job.pixels)
        return batch

    def _run(self, batch: list[Job]) -> list[Outputs | Exception]:
        """Return what each job has asked for; a picture that cannot be judged spoils no other's."""
        try:
            found = self._outputs(
                batch[0], np.concatenate([job.pixels for job in batch]) if len(batch) > 1 else batch[0].pixels
            )
        except WinnowError as error:
            return [error] if len(batch) == 1 else [self._run([job])[0] for job in batch]
        except Exception as error:  # told by who has asked
            return [error] * len(batch)
        ends = np.cumsum([len(job.pixels) for job in batch])
        return [
            {name: values[end - len(job.pixels) : end] for name, values in found.items()}
            for job, end in zip(batch, ends, strict=True)
        ]

    def _outputs(self, job: Job, pixels: np.ndarray) -> Outputs:
        parts = [
            job.model.outputs(pixels[start : start + self.most], job.names)
            for start in range(0, len(pixels), self.most)
        ]
        return (
            parts[0]
            if len(parts) == 1
            else {name: np.concatenate([part[name] for part in parts]) for name in job.names}
        )
