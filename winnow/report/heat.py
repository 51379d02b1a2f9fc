"""The colours of anomaly maps, from black over red to pale yellow, by numpy alone: a line has no matplotlib."""

from __future__ import annotations

import numpy as np

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
COLOURS = ((0, 0, 0), (90, 10, 80), (200, 45, 45), (250, 150, 20), (255, 250, 170))  # ever brighter, in grey too

HEAT = np.stack(
    [np.interp(np.linspace(0, 1, 256), LEVELS, channel).round() for channel in zip(*COLOURS, strict=True)], axis=1
).astype(np.uint8)
"""Red, green and blue (256, 3) of each of 256 levels."""
