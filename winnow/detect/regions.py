"""A picture, its halves and its quarters: a detector of each, decided together at one false-alarm rate, and where what is foreign is.

An advert beside the match leaves half of the frame as it should be. A part of a picture has other scores than a whole one, so that each
part has a detector of its own, fitted and calibrated on that part of good pictures. A picture is as anomalous as the most anomalous of
them all by -log p (the smallest p-value; Tippett 1931), and the threshold is the conformal one of that maximum over held-out good
pictures: the promised rate is that of the picture with all its parts, which agree with one another and so cost less than by Bonferroni.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from winnow.detect.detector import Detector
from winnow.detect.parts import PARTS, foreign_of
from winnow.detect.scorers.fisher import LogP
from winnow.detect.threshold import group_weights


class Regions:
    """The detector of whole pictures and that of each of `PARTS`, by its name, all calibrated on the same held-out pictures."""

    def __init__(self, whole: Detector, parts: Mapping[str, Detector]) -> None:
        self.detectors = (whole, *(parts[name] for name in PARTS))
        self.tails = tuple(LogP(one.calibration, one.weights) for one in self.detectors)

    @cached_property
    def joint(self) -> Detector:
        """Return the detector of pictures with their parts: its calibration scores, threshold and p-values are those of `judge`."""
        held = [
            dict(zip(one.ids.astype(str), tail.of_own(one.calibration, one.weights), strict=True))
            for one, tail in zip(self.detectors, self.tails, strict=True)
        ]
        whole = self.detectors[0]
        rows = [row for row, name in enumerate(whole.ids.astype(str)) if all(name in scores for scores in held)]
        found = copy.copy(whole)
        found.ids, found.groups = whole.ids[rows], whole.groups[rows]
        found.calibration = np.array([max(scores[name] for scores in held) for name in found.ids.astype(str)])
        found.weights = group_weights(found.groups)
        return found

    def judge(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how anomalous pictures are with their parts (n,), and which of `QUARTERS` are foreign (n, 4) bool, from the scores
        (n, 1 + parts) of the whole and of each part by its detector."""
        log_p = np.column_stack([tail.of_new(column) for tail, column in zip(self.tails, scores.T, strict=True)])
        return log_p.max(axis=1), foreign_of(log_p[:, 1:], self.joint.threshold.value)

    def save(self, folder: Path) -> None:
        """Write the detector of each part into a folder below `folder`; that of whole pictures is the run's own."""
        for name, detector in zip(PARTS, self.detectors[1:], strict=True):
            detector.save(folder / _slug(name))

    @classmethod
    def load(cls, whole: Detector, folder: Path, *, own: Collection[type] = ()) -> Regions:
        """Read what `save` wrote, beside the detector of whole pictures; raises what `Detector.load` raises."""
        return cls(whole, {name: Detector.load(folder / _slug(name), own=own) for name in PARTS})


def _slug(name: str) -> str:
    return name.replace(" ", "-")
