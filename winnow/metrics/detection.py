"""Metrics of how well scores separate normal from anomalous pictures, with intervals that respect groups.

The *false-alarm rate* is the share of normal pictures that are flagged, the *detection rate* (recall) the share of
anomalous ones that are. Average precision takes the anomaly as the positive class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from winnow.errors import DataError, OptionError
from winnow.metrics.bootstrap import LEVEL, REPEATS, group_draws, interval
from winnow.results import AnomalousGroup, Interval

AT_ONCE = 1 << 15  # weights of pictures that are added up in one go: more leave a processor's cache
SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
FLOOR = 1e-9  # the share of a bin in which a sample has no score, in `cross_entropy`


def auroc(scores: Any, belongs: Any) -> float:
    """Return the chance that an anomalous picture scores higher than a normal one (ties count one half).

    `scores` (n,), higher = more anomalous; `belongs` (n,) bool. `DataError` unless both kinds are there, all finite. By the
    statistic of Mann and Whitney (1947), which needs no library that takes half a second to load.
    """
    scores, belongs = _checked(scores, belongs)
    normal, anomalous = np.sort(scores[belongs]), scores[~belongs]
    below, up_to = (int(np.searchsorted(normal, anomalous, side).sum()) for side in SIDES)
    return (below + up_to) / (2 * len(normal) * len(anomalous))


def separation(normal: Any, anomalous: Any) -> float:
    """Return the AUROC of anomalous scores (m,) against normal ones (n,), higher = more anomalous."""
    return auroc(np.r_[normal, anomalous], np.r_[np.ones(len(normal), bool), np.zeros(len(anomalous), bool)])


def average_precision(scores: Any, belongs: Any) -> float:
    """Return the mean precision over the recalls, the anomaly as positive class, from the highest score down."""
    from sklearn.metrics import average_precision_score

    scores, belongs = _checked(scores, belongs)
    return float(average_precision_score(~belongs, scores))


def rates(scores: Any, belongs: Any, threshold: Any) -> tuple[float, float]:
    """Return false-alarm rate and detection rate: the shares of normal and of anomalous pictures with scores > threshold."""
    scores, belongs = _checked(scores, belongs)
    flagged = scores > threshold
    return float(flagged[belongs].mean()), float(flagged[~belongs].mean())


def cross_entropy(p: Any, q: Any, bins: Any = 100) -> float:
    """Return H(p, q) = -sum over bins of p log q in nats: large where p has scores that q hardly ever has.

    `p` (n,) and `q` (m,) are two samples of a score. `bins` is a number of equal bins from the lowest to the highest
    score of both, or (k,) rising edges, so that several pairs can share one axis; scores beyond the edges are counted
    in the outermost bins. p and q are shares of their own sample; where q has none, its share is taken as `FLOOR`. So
    H(p, p) is the entropy of p, samples without a common bin give -log FLOOR = 20.7, and constant equal ones 0. Not
    symmetric; its value depends on the bins. Equation (3) and Table I of Soukup and Pinetz, Reliably Decoding
    Autoencoders' Latent Spaces; the bins and the floor are ours. `DataError` for an empty sample or a score that is not
    finite, `OptionError` for bins without meaning.
    """
    samples = [np.asarray(sample, dtype=np.float64).ravel() for sample in (p, q)]
    for sample in samples:
        if not len(sample) or not np.isfinite(sample).all():
            raise DataError(
                "A cross entropy needs two samples of finite scores.",
                "Leave out pictures that could not be scored, and groups without any.",
            )
    binned, count = _binned(np.concatenate(samples), bins)
    first, second = (np.bincount(part, minlength=count) for part in np.split(binned, [len(samples[0])]))
    share, other = first / first.sum(), np.maximum(second / second.sum(), FLOOR)
    return max(0.0, -float(share @ np.log(other)))


def _binned(scores: np.ndarray, bins: Any) -> tuple[np.ndarray, int]:
    """Return the bin of each score, and the number of bins."""
    if np.ndim(bins) == 0:
        if not 1 <= bins < 1e9 or int(bins) != bins:
            raise OptionError(f"{bins} is no number of bins.", "Give a whole number of at least 1, or rising edges.")
        scores = scores / (np.abs(scores).max() or 1.0)  # so that no difference overflows
        low, high = scores.min(), scores.max()
        shares = (scores - low) / (high - low) if high > low else np.zeros(len(scores))
        return np.minimum((shares * bins).astype(int), int(bins) - 1), int(bins)
    edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise OptionError("The edges of the bins do not rise.", "Give at least two, each above the one before.")
    return np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 2), len(edges) - 1


@dataclass(frozen=True)
class DetectionMetrics:
    """How so many normal `pictures` in `groups` are told from each anomalous group ("all": from all of them together).

    `false_alarm_rate` and its 95 % interval are None without a `threshold`, the interval also with one group.
    """

    threshold: float | None
    pictures: int
    groups: int
    false_alarm_rate: float | None
    false_alarm_rate_interval: Interval | None
    anomalous: dict[str, AnomalousGroup]


def evaluate(
    scores: Any,
    belongs: Any,
    anomaly_names: Any,
    threshold: Any,
    groups: Any = None,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> DetectionMetrics:
    """Measure normal pictures against each anomalous group and against all of them.

    `scores` (n,); `belongs` (n,) bool; `anomaly_names` (n,) strings that name the anomalous group (ignored where the picture belongs);
    `groups` (n,) videos or folders, the units of the bootstrap (default: each picture its own). `threshold` is one, or (n,) each
    picture's own. Intervals (95 %) are None with fewer than two groups on a side, rates without a `threshold`. The entry "all" holds
    all anomalous pictures together. Raises the errors of `auroc`.
    """
    scores, belongs = _checked(scores, belongs)
    groups = np.arange(len(scores)).astype(str) if groups is None else np.asarray(groups).astype(str)
    names = np.asarray(anomaly_names).astype(str)
    if not groups.shape == names.shape == scores.shape:
        raise DataError(
            f"There are {len(scores)} scores, {len(names)} names and {len(groups)} groups.",
            "Give one of each a picture.",
        )
    if "all" in names[~belongs]:
        raise DataError("An anomalous group is called 'all', which stands for all of them.", "Give it another name.")
    wanted = list(dict.fromkeys(names[~belongs].tolist()))
    rows = {**{name: belongs | (names == name) for name in wanted}, "all": np.ones(len(scores), dtype=bool)}
    parts: dict[str, AnomalousGroup] = {}
    alarms = None
    limits = None if threshold is None else np.broadcast_to(np.asarray(threshold, np.float64), scores.shape)
    for name, chosen in rows.items():  # "all" last: the interval of the false-alarm rate is that of it
        if name == "all" and len(wanted) == 1:
            parts[name] = parts[wanted[0]]
            continue
        parts[name], alarms = _against(
            scores[chosen], belongs[chosen], None if limits is None else limits[chosen], groups[chosen], repeats, seed
        )
    return DetectionMetrics(
        threshold=None if threshold is None or np.ndim(threshold) else float(threshold),
        pictures=int(belongs.sum()),
        groups=len(set(groups[belongs])),
        false_alarm_rate=None if threshold is None else rates(scores, belongs, threshold)[0],
        false_alarm_rate_interval=alarms,
        anomalous=parts,
    )


def _against(
    scores: np.ndarray, belongs: np.ndarray, threshold: np.ndarray | None, groups: np.ndarray, repeats: int, seed: int
) -> tuple[AnomalousGroup, Interval | None]:
    """Return how anomalous pictures are told from the normal ones, and the interval of the false-alarm rate."""
    intervals = bootstrap(scores, belongs, threshold, groups, repeats=repeats, seed=seed)
    alarms = intervals.pop("false_alarm_rate", None) if intervals else None
    group = AnomalousGroup(
        auroc=auroc(scores, belongs),
        average_precision=average_precision(scores, belongs),
        detection_rate=None if threshold is None else rates(scores, belongs, threshold)[1],
        pictures=int((~belongs).sum()),
        groups=len(set(groups[~belongs])),
        interval=intervals,
    )
    return group, alarms


def bootstrap(
    scores: Any,
    belongs: Any,
    threshold: Any,
    groups: Any,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Interval] | None:
    """Return percentile intervals of the metrics over groups drawn with replacement (`winnow.metrics.bootstrap`).

    Normal and anomalous pictures are drawn separately. Without a `threshold`, AUROC and average precision only. None when a
    side has fewer than two groups.
    """
    scores, belongs = _checked(scores, belongs)
    groups = np.asarray(groups).astype(str)
    rng = np.random.default_rng(seed)
    unit, drawn_units, start = np.empty(len(scores), int), [], 0
    for side in (belongs, ~belongs):
        units, member = np.unique(groups[side], return_inverse=True)
        if len(units) < 2:
            return None
        unit[side], start = start + member, start + len(units)
        # A byte holds how often one comes up: as often as there are units at most, and of more than 255 about once.
        drawn_units.append(np.concatenate([rows.astype(np.uint8) for rows in group_draws(len(units), repeats, rng)]))
    often = np.concatenate(drawn_units, axis=1)
    ordered = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[ordered]) != 0, True))
    flagged = None if threshold is None else (scores > threshold)[ordered]
    names = ("auroc", "average_precision", "false_alarm_rate", "detection_rate")[: 2 if flagged is None else 4]
    step = max(1, AT_ONCE // len(scores))
    blocks = (often[start : start + step, unit[ordered]].astype(np.float64) for start in range(0, repeats, step))
    drawn = np.concatenate([_weighted(block, belongs[ordered], flagged, last) for block in blocks])
    low, high = interval(drawn, level)
    return {name: (float(low[place]), float(high[place])) for place, name in enumerate(names)}


def _weighted(weights: np.ndarray, belongs: np.ndarray, flagged: np.ndarray | None, last: np.ndarray) -> np.ndarray:
    """Return (repeats, 2 or 4) AUROC, average precision and, of what is `flagged`, both rates, by the `weights` (repeats, n) of pictures
    from the highest score down.

    `last` (ties,) are the positions at which runs of equal scores end.
    """
    own, anomalous = weights * belongs, weights * ~belongs
    alarms, found = (np.cumsum(side, axis=1)[:, last] for side in (own, anomalous))
    new_alarms, new_found = (np.diff(side, axis=1, prepend=0) for side in (alarms, found))
    area = np.sum(new_alarms * (2 * found - new_found), axis=1) / (2 * alarms[:, -1] * found[:, -1])
    called = alarms + found
    precise = np.divide(found, called, out=np.zeros_like(called), where=called > 0)
    values = [area, np.sum(new_found * precise, axis=1) / found[:, -1]]
    if flagged is not None:
        values += [own[:, flagged].sum(axis=1) / alarms[:, -1], anomalous[:, flagged].sum(axis=1) / found[:, -1]]
    return np.stack(values, axis=1)


def _checked(scores: Any, belongs: Any) -> tuple[np.ndarray, np.ndarray]:
    scores, belongs = np.asarray(scores, dtype=np.float64), np.asarray(belongs)
    if scores.ndim != 1 or scores.shape != belongs.shape:
        raise DataError(
            f"Scores of shape {scores.shape} and 'belongs' of shape {belongs.shape} must be lists of one length."
        )
    belongs = belongs.astype(bool)
    if not np.isfinite(scores).all():
        raise DataError(
            f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite.",
            "Leave out pictures that could not be scored.",
        )
    if belongs.all() or not belongs.any():
        missing = "anomalous" if belongs.any() else "normal"
        raise DataError(
            f"There is no {missing} picture to measure with.",
            "Give pictures of both kinds (--normal, --anomalous NAME=DIR).",
        )
    return scores, belongs
