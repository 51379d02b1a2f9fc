"""Step 3: an embedding and losses of every picture of the pool; the last step that needs torch for what follows.

Pictures are encoded in blocks, each a shard: a killed call goes on where it stopped, and processes or machines share them.
Where the networks, and all else that the numbers depend on, are those of the embeddings that are there, only new pictures are
encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from winnow.embeddings import Embeddings, save_joined
from winnow.errors import RunError
from winnow.files import read_json, replacing, sha256
from winnow.models.registry import MODELS
from winnow.pool.pool import Pool
from winnow.progress import Advance, silent
from winnow.results import Encoded, Trained
from winnow.results.words import plural
from winnow.run.artifacts import ModeEncoder, load_auxiliary, load_encoder, load_network, modes, of_decision
from winnow.run.folder import RunFolder
from winnow.run.records import versions
from winnow.run.split import split_of
from winnow.run.where import place_of
from winnow.scale.runners import make_all
from winnow.scale.shards import Shards, key_of

VALUES = 1 << 27  # of the pixels of a block: what a network makes of them is in memory until the block is written
LEAST, MOST = 64, 4096  # pictures of a block
ORIGINS = "origins.parquet"
DECIDES = ("torch", "timm", "torchvision", "onnxruntime")  # libraries whose other version may give other numbers


def encode(run: RunFolder, *, resume: bool = False, runner: str = "local", workers: int = 0) -> Encoded:
    """Encode the usable pictures of the pool (exact copies and those given as 'test' stay out), by so many workers of a runner."""
    run.require("train")
    if resume and run.done("encode"):
        return run.result(Encoded)
    work = EncodeWork(run)
    unit = run.options.ingest.unit(len(work.pool), len(work.pool.pictures))
    with run.working("encode") as step:
        work.open_networks(step.folder)
        work.shards.only()
        shards = make_all(work, runner, workers, plural(unit))
        for mode in work.modes:
            parts = [of_decision(shards.at_hand(number), mode) for number in range(len(work.sizes))]
            made = [read_json(part / "embeddings.json")["made"] for part in parts]
            embeddings = [Embeddings.load(part, cells=True) for part in parts]
            alike = all(one == made[0] for one in made)
            save_joined(embeddings, of_decision(step.folder, mode), made=made[0] if alike else None)
        work.save_origins(step.folder)
        step.finish(
            Encoded(
                pictures=sum(work.sizes),
                unit=unit,
                dimensions=int(embeddings[0].vectors.shape[1]),
                losses=sorted(embeddings[0].losses),
                engine=work.engine,
                why=work.why,
                note=_unlike(made),
            )
        )
    work.shards.remove()
    return run.result(Encoded)


class EncodeWork:
    """The encoding of a run's pool in shards: blocks of its rows, as many as `VALUES` allows.

    A shard is a folder of embeddings, with those of the fast network below it where the run has one.
    """

    step = "encode"

    def __init__(self, run: RunFolder, block: int = 0) -> None:
        self.run = run
        self.pool = pool = Pool.open(run.folder("ingest"))
        split = split_of(run, pool).split
        self.rows = rows = np.flatnonzero(split != "test")
        self.known: dict[str, Any] = {
            "ids": pool.column("id")[rows],
            "groups": pool.column("joined")[rows],
            "twins": pool.column("twin")[rows],
            "seen": np.isin(split[rows], ("train", "validate"))
            & (run.result(Trained).training is not None or (pool.column("split") == "calibrate").any()),
        }
        self.modes = tuple(mode for mode in modes(run) if mode != "encoder")
        self.block = block or int(np.clip(VALUES // (pool.size[0] * pool.size[1] * pool.channels), LEAST, MOST))
        self.sizes: Sequence[int] = [
            len(rows[start : start + self.block]) for start in range(0, max(len(rows), 1), self.block)
        ]
        self.shards = Shards(place_of(run), self.step, key_of([run.key("encode"), self.block]))

    def open_networks(self, folder: Path) -> None:
        """Load the networks; that of onnxruntime, where it runs the first of them, is written into `folder`."""
        from winnow.learn.exported import FILE, Exported, fastest

        device = self.run.options.train.device
        network, self.why = fastest(load_network(self.run), self.pool, self.rows, device, folder / FILE)
        self.engine = "onnxruntime" if isinstance(network, Exported) else "torch"
        full = ModeEncoder(network, load_auxiliary(self.run), decode=True, maps=False)
        self.encoders = {mode: full if mode == "full" else load_encoder(self.run, mode) for mode in self.modes}

    @property
    def opened(self) -> tuple[str, dict[str, Any]]:
        """Return how another process opens the same work."""
        given = {"trust": sorted(self.run.trusted), "given": self.run.given, "block": self.block}
        return "winnow.steps.encode:open_work", {"run": self.shards.place.name, **given}

    def make(self, number: int, folder: Path, advance: Advance) -> None:
        """Write the embeddings of a block of rows into a folder."""
        from winnow.learn.encode import encode as encode_rows

        block = slice(number * self.block, (number + 1) * self.block)
        rows, known = self.rows[block], {name: values[block] for name, values in self.known.items()}
        for mode, encoder in self.encoders.items():
            earlier = self.earlier.get(mode)
            places = self.known_places[block] if earlier is not None else np.full(len(rows), -1)
            new = places < 0
            found = encode_rows(
                encoder.model, self.pool, rows[new], auxiliary=encoder.auxiliary, decode=encoder.decode,
                device=self.run.options.train.device, ids=known["ids"][new], quiet=True,
                advance=advance if mode == "full" else silent,
            )  # fmt: skip
            if earlier is not None and not new.all():
                found = _merged(found, earlier[places[~new]], new)
                advance(int((~new).sum()))
            replace(found, **known).save(of_decision(folder, mode), made=self.made)

    @cached_property
    def made(self) -> dict[str, Any]:
        """Return all that an embedding depends on beside the picture: the networks, and what computes them here."""
        import torch

        from winnow.learn.device import choose_device

        models = sorted(self.run.folder("train").rglob("model.json"))  # each vouches for its weights by their SHA-256
        here = versions()
        return {
            "networks": {path.parent.relative_to(self.run.path).as_posix(): sha256(path) for path in models},
            "size": [*self.pool.size, self.pool.channels],
            "engine": self.engine,
            "device": choose_device(self.run.options.train.device).type,
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "versions": {name: here[name] for name in DECIDES},
        }

    @cached_property
    def earlier(self) -> dict[str, Embeddings]:
        """Return, by mode, the run's finished embeddings, where they were made by what makes them now.

        Those of a network of the user's own, whose code may have changed, are made anew.
        """
        found = {}
        for mode in self.modes if self.run.options.model.model in MODELS else ():
            folder = of_decision(self.run.folder("encode"), mode)
            with suppress(RunError):  # none, or damaged: made anew
                if read_json(folder / "embeddings.json").get("made") == self.made:
                    found[mode] = Embeddings.load(folder, cells=True)
        return found

    @cached_property
    def known_places(self) -> np.ndarray:
        """Return the row in the earlier embeddings of each of `rows` (n,) by its pixels, -1 of one that they do not have."""
        import pyarrow.parquet as pq

        try:
            held = pq.read_table(self.run.verified("encode", self.run.folder("encode") / ORIGINS)).to_pydict()
        except (RunError, OSError):  # damaged or gone
            return np.full(len(self.rows), -1)
        places = {origin: row for row, origin in enumerate(zip(held["pixels"], held["place"], strict=True))}
        return np.array([places.get(origin, -1) for origin in zip(*self.pool.origins(self.rows), strict=True)], int)

    def save_origins(self, folder: Path) -> None:
        """Write where the pixels of each row are, by which the next call knows them again."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        pixels, place = self.pool.origins(self.rows)
        with replacing(folder / ORIGINS) as temporary:
            pq.write_table(pa.table({"pixels": pa.array(pixels, pa.string()), "place": place}), temporary)


def open_work(run: str, trust: Sequence[str], given: dict[str, dict[str, Any]], block: int) -> EncodeWork:
    """Return the same work in another process, its networks loaded."""
    folder = RunFolder.open(run, trust)
    folder.update(given)
    return with_networks(EncodeWork(folder, block))


def with_networks(work: EncodeWork) -> EncodeWork:
    """Load the networks of a work whose step is not at work here."""
    with TemporaryDirectory(prefix="winnow-") as temporary:
        work.open_networks(Path(temporary))
    return work


def _merged(new: Embeddings, held: Embeddings, is_new: np.ndarray) -> Embeddings:
    """Return the embeddings of rows of which some are new (n,) and the others are held, in the order of the rows."""
    order = np.empty(len(is_new), int)
    order[np.flatnonzero(is_new)], order[np.flatnonzero(~is_new)] = (
        np.arange(len(new)),
        np.arange(len(new), len(is_new)),
    )

    def joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.concatenate([one, other])[order]

    return replace(
        new,
        vectors=joined(new.vectors, held.vectors),
        losses={name: joined(values, held.losses[name]) for name, values in new.losses.items()},
        cells=None if new.cells is None or held.cells is None else joined(new.cells, held.cells),
    )


def _unlike(made: Sequence[dict[str, Any]]) -> str:
    """Return a sentence where shards were not all made by the same, "" where they were."""
    for name in made[0]:
        values = sorted({str(one[name]) for one in made})
        if len(values) > 1:
            return (
                f"the shards were made by unlike machines ({name}: {'; '.join(values)}): their numbers are the same to about 2e-6, not "
                "to the byte."
            )
    return ""
