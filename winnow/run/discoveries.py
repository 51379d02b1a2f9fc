"""What is flagged of a batch of judged pictures, so that of the flagged ones on average no more than an asked share belongs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from winnow.detect.discoveries import flagged, note_of, q_values
from winnow.run.judge import Judged


@dataclass(frozen=True)
class Batch:
    """Further columns of a table of pictures, q_value and flagged, the `rate` asked for, how many are flagged, and a note; without a
    rate none of them."""

    rate: float | None = None
    columns: dict[str, list[str]] = field(default_factory=dict)
    flagged: int | None = None
    note: str = ""


def batch_of(judged: Judged, rate: float | None) -> Batch:
    """Return what is flagged of all that was judged at a rate of false discoveries; nothing without one."""
    if rate is None:
        return Batch()
    q = q_values(judged.p_values)
    chosen = flagged(q, rate)
    columns = {"q_value": [f"{value:.6g}" for value in q], "flagged": ["yes" if one else "no" for one in chosen]}
    frames = bool((~np.isnan(judged.items["time"].astype(float))).any())
    related = frames or any("#" in str(name) for name in judged.items["id"])
    return Batch(rate, columns, int(chosen.sum()), note_of(judged.detector, rate, len(q), related=related))
