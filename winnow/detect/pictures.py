"""From patches to pictures: a picture is as anomalous as its most anomalous patch."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from winnow.detect.detector import Detector
from winnow.detect.tail import tail_of
from winnow.detect.threshold import group_weights
from winnow.pool.patches import picture_of


def most_anomalous(pictures: Any, scores: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, for patches (n,) with their pictures' names and their scores, the pictures (m,) in order of first appearance,
    the highest score of each (m,), and the row of the picture each patch belongs to (n,)."""
    names, first, member = np.unique(np.asarray(pictures).astype(str), return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    member = place[member]
    highest = np.full(len(names), -np.inf)
    np.maximum.at(highest, member, np.asarray(scores, dtype=np.float64))
    return names[order].astype(object), highest, member


def keys_of(items: dict[str, np.ndarray]) -> np.ndarray:
    """Return a key of the picture of each patch (n,): source and id, because exact copies have the same id."""
    return np.array(
        [f"{source}\n{name}" for source, name in zip(items["source"], picture_of(items["id"]), strict=True)]
    )


def by_picture(detector: Detector) -> Detector:
    """Return the same fitted detector, calibrated on pictures: its threshold keeps the false-alarm rate per picture.

    Where pictures were not cut into patches only the order changes.
    """
    pictures, highest, member = most_anomalous(picture_of(detector.ids), detector.calibration)
    groups = np.empty(len(pictures), dtype=object)
    groups[member] = detector.groups  # patches of a picture share its group
    other = copy.copy(detector)
    other.calibration, other.ids, other.groups, other.weights = highest, pictures, groups, group_weights(groups)
    other.parts, other.patch_tail = np.bincount(member), tail_of(detector.calibration, detector.weights)
    return other
