"""What a threshold would find: pictures that cannot belong, made from nothing but the run's own, judged like new ones."""

from __future__ import annotations

import copy

import numpy as np

from winnow.detect.detector import Detector
from winnow.detect.pictures import by_picture
from winnow.embeddings import spread
from winnow.pool.patches import scaled
from winnow.pool.pool import Pool
from winnow.results import Finds
from winnow.run.artifacts import load_encoder
from winnow.run.folder import RunFolder
from winnow.synthetic.defects import visible_damage
from winnow.synthetic.near_misses import disturb
from winnow.synthetic.scenes import generic_pictures

MOST = 100  # patches or small pictures of each kind
MOST_WHOLE = 20  # pictures whose places are encoded: each takes a frozen network longer
LARGEST = 192  # pixels, of the longer side of a drawn picture
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


def made_up(own: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return pictures that do not belong, by kind, each as many as the run's own (n, h, w, c) uint8 and of their size."""
    n, height, width, channels = own.shape
    rng = np.random.default_rng([seed, 5])
    return {
        "generic pictures": _generic(n, (height, width), channels, seed),
        "synthetic defects": visible_damage(own, rng)[0],
        "near-misses": disturb(own, rng)[0],
    }


def _generic(n: int, size: tuple[int, int], channels: int, seed: int) -> np.ndarray:
    """Return generic pictures (n, h, w, c) uint8; large ones are drawn smaller and enlarged, for each pixel costs."""
    times = -(-max(size) // LARGEST)
    drawn = generic_pictures(n, (-(-size[0] // times), -(-size[1] // times)), channels, seed)
    return np.stack([scaled(picture, size) for picture in drawn])


def finds(run: RunFolder, mode: str, detector: Detector) -> Finds | None:
    """Return the share of each kind of made-up picture that a mode's detector flags, at its threshold and at other rates.

    Made from held-out pictures (or patches), at most `MOST` or `MOST_WHOLE`; a patch counts as found when its picture would be
    flagged for it. None where there are fewer than two.
    """
    pool = Pool.open(run.folder("ingest"))
    rows = np.flatnonzero(np.isin(pool.column("id").astype(str), detector.ids.astype(str)) & pool.usable)
    if len(rows) < 2 or min(run.options.ingest.size) < 8:
        return None
    own = pool.pixels(rows[spread(len(rows), MOST_WHOLE if detector.scorer.reads_cells else MOST)])
    encoder = load_encoder(run, mode, detector.scorer.reads())
    scores = {
        kind: detector.score(encoder.encode(pixels, np.arange(len(pixels)), run.options.train.device))
        for kind, pixels in made_up(own, run.options.train.seed).items()
    }
    whole = by_picture(detector)
    promising = copy.copy(whole)
    promising.estimate = False
    rates: dict[float, float] = {}  # what can be promised to the threshold that promises it
    for rate in RATES:
        threshold = promising.with_threshold(rate).threshold
        rates.setdefault(threshold.achieved, threshold.value)
    return Finds(
        pictures=len(own),
        found={kind: float((values > whole.threshold.value).mean()) for kind, values in scores.items()},
        inspects=run.options.ingest.cuts,
        rates=list(rates),
        curves={kind: [float((values > cut).mean()) for cut in rates.values()] for kind, values in scores.items()},
    )
