"""Tracks: the boxes of one object over the frames of a video, linked by where it moves and how it looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GAP = 1.0  # seconds for which an object may be hidden and still be the same
LONGEST_STEP = 0.25  # seconds between frames above which boxes are too sparse in time to be linked (docs/benchmarks.md)

# Chosen on drawn matches and real films (docs/benchmarks.md): rather two tracks of one person than one of two, for a label counts
# for a whole track. Lengths are in heights of the object's box, so that near and far objects move alike.
JITTER = 0.05  # standard deviation of a box's centre round the object's
SPEED = 2.0  # standard deviation of the speed of an object just seen, a second
ACCELERATION = 1.5  # how much the speed changes in a second
LOOK, SIZE = 0.07, 0.25  # standard deviations of look and of log height of one object
HIDDEN = 12.0  # cost of each second for which an object was not seen
FARTHEST = 16.0  # squared standard deviations from where an object is expected beyond which it is another one
WORST = 16.0  # cost from which a box is no object seen before
FOLLOWED = 0.1  # share of its newest box in how an object looks
ROUNDED = 6  # decimals of a cost: what is equal but for rounding is decided by the order

HELD = ("number", "last", "centre", "speed", "size", "spread", "look")  # of each object, by a tracker
BANDS, SIDES, BINS = 3, 0.2, 8  # of a look: bands of height, what is left out on each side, bins of a channel


class Tracker:
    """Links the boxes of a video, given frame by frame in order of time.

    Each object's centre is followed by a Kalman filter of constant velocity; boxes and objects are assigned at the least sum of
    costs (Kuhn 1955), which are negative log likelihoods of position, look and size. An object that is not seen for
    longer than `gap` seconds is not looked for any more.
    """

    def __init__(self, gap: float = GAP) -> None:
        self.gap, self.count, self.time = gap, 0, 0.0
        self.number = np.empty(0, int)
        self.last = np.empty(0)
        self.centre, self.speed, self.size = np.empty((0, 2)), np.empty((0, 2)), np.empty((0, 2))
        self.spread = np.empty((0, 3))  # variance of position, covariance, variance of speed, of each coordinate
        self.look = np.empty((0, 0))

    def add(self, time: float, boxes: np.ndarray, looks: np.ndarray) -> np.ndarray:
        """Return the number of the track of each box (n, 4) of x, y, width, height, with looks (n, d) as `looks_of` returns."""
        from scipy.optimize import linear_sum_assignment

        before, self.time = self.time, time
        if not len(boxes):
            return np.empty(0, int)
        self._keep(time - self.last <= self.gap)
        centres, sizes = boxes[:, :2] + boxes[:, 2:] / 2, np.maximum(boxes[:, 2:], 1).astype(float)
        found = np.full(len(boxes), -1)
        if len(self.number):
            expected, spread = self._expected(time)
            cost = self._cost(before - self.last, expected, spread, centres, sizes, looks)
            rows, objects = linear_sum_assignment(np.minimum(cost, WORST))
            same = cost[rows, objects] < WORST
            rows, objects = rows[same], objects[same]
            found[rows] = self.number[objects]
            self._move(objects, time, expected[objects], spread[objects], centres[rows], sizes[rows], looks[rows])
        self._begin(np.flatnonzero(found < 0), found, time, centres, sizes, looks)
        return found

    def _keep(self, some: np.ndarray) -> None:
        for name in HELD:
            setattr(self, name, getattr(self, name)[some])

    def _expected(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return where the objects are expected (m, 2), and how surely (m, 3)."""
        after = (time - self.last)[:, None]
        place, both, speed = self.spread.T[:, :, None]
        spread = [
            place + 2 * after * both + after**2 * speed + ACCELERATION**2 * after**3 / 3,
            both + after * speed + ACCELERATION**2 * after**2 / 2,
            speed + ACCELERATION**2 * after,
        ]
        return self.centre + after * self.speed, np.hstack(spread)

    def _cost(
        self,
        hidden: np.ndarray,
        expected: np.ndarray,
        spread: np.ndarray,
        centres: np.ndarray,
        sizes: np.ndarray,
        looks: np.ndarray,
    ) -> np.ndarray:
        """Return the cost (n, m) of each box being each object, which was `hidden` (m,) seconds in the frames before."""
        variance = spread[:, 0] + JITTER**2
        apart = ((centres[:, None] - expected) ** 2).sum(axis=2) / (self.size[:, 1] ** 2 * variance)
        size = np.abs(np.log(sizes[:, 1, None] / self.size[:, 1])) / SIZE
        look = distances(looks, self.look) / LOOK
        cost = (apart + size**2 + look**2) / 2 + np.log(variance / JITTER**2) + hidden * HIDDEN
        return np.where(apart > FARTHEST, np.inf, cost.round(ROUNDED))

    def _move(
        self,
        objects: np.ndarray,
        time: float,
        expected: np.ndarray,
        spread: np.ndarray,
        centres: np.ndarray,
        sizes: np.ndarray,
        looks: np.ndarray,
    ) -> None:
        """Update the objects that were seen."""
        place, both, speed = spread.T
        gain = place / (place + JITTER**2)
        turn = both / (place + JITTER**2)
        off = centres - expected
        after = (time - self.last[objects])[:, None]
        self.speed[objects] += turn[:, None] * off
        self.centre[objects] = expected + gain[:, None] * off
        self.spread[objects] = np.column_stack([place * (1 - gain), both * (1 - gain), speed - turn * both])
        self.size[objects] += (sizes - self.size[objects]) * np.minimum(1, 0.2 + after)
        self.look[objects] += FOLLOWED * (looks - self.look[objects])
        self.last[objects] = time

    def _begin(
        self,
        rows: np.ndarray,
        found: np.ndarray,
        time: float,
        centres: np.ndarray,
        sizes: np.ndarray,
        looks: np.ndarray,
    ) -> None:
        """Begin a track for each of the `rows`, and put its number in `found`."""
        found[rows] = self.count + np.arange(len(rows))
        self.count += len(rows)
        new = {
            "number": found[rows],
            "last": np.full(len(rows), time),
            "centre": centres[rows],
            "speed": np.zeros((len(rows), 2)),
            "size": sizes[rows],
            "spread": np.tile([JITTER**2, 0, SPEED**2], (len(rows), 1)),
            "look": looks[rows],
        }
        for name, values in new.items():
            held = getattr(self, name)
            setattr(self, name, np.concatenate([held, values]) if len(held) else values)


def distances(looks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the Hellinger distance (n, m), from 0 to 1, of each two looks (n, d) and (m, d)."""
    alike = np.einsum("nd,md->nm", np.sqrt(looks), np.sqrt(others))  # not by BLAS, whose last bits depend on threads
    return np.sqrt(np.clip(1 - alike, 0, None))


def looks_of(crops: np.ndarray) -> np.ndarray:
    """Return how crops (n, h, w, c) uint8 look: histograms (n, d) of brightness and colour of their middle, in bands of height.

    A value counts for the two nearest bins, so that a little more light changes little. A look sums to 1.
    """
    n, height, width, channels = crops.shape
    side = int(width * SIDES)
    middle = crops[:, :, side : width - side].astype(np.float32) / 255
    if channels == 3:
        red, green, blue = np.moveaxis(middle, 3, 0)
        grey = (red + green + blue) / 3
        planes = [grey, *(np.clip(colour + 0.5, 0, 1) for colour in (red - green, (red + green) / 2 - blue))]
    else:
        planes = [middle[..., 0]]
    found = []
    for band in np.array_split(np.arange(height), min(BANDS, height)):
        for plane in planes:
            values = plane[:, band].reshape(n, -1) * (BINS - 1)
            low = np.minimum(values.astype(int), BINS - 2)
            upper = values - low
            counts = np.zeros((n, BINS))
            row = np.arange(n)[:, None] * BINS
            for bins, share in ((low, 1 - upper), (low + 1, upper)):
                counts += np.bincount((row + bins).ravel(), share.ravel(), minlength=n * BINS).reshape(n, BINS)
            found.append(counts / values.shape[1])
    return np.hstack(found) / len(found)


class Tracks:
    """The tracks of a video, which is given frame by frame; only the numbers are kept."""

    def __init__(self) -> None:
        self._tracker = Tracker()
        self._numbers: list[int] = []
        self._times: list[float] = []

    def add(self, time: float, boxes: np.ndarray, crops: Sequence[np.ndarray]) -> None:
        """Add a frame: its boxes (n, 4), none where it shows nobody, and what they show."""
        self._times.append(time)
        looks = looks_of(np.stack(crops)) if len(boxes) else np.empty((0, 0))
        self._numbers += self._tracker.add(time, boxes, looks).tolist()

    @property
    def step(self) -> float | None:
        """Return the median time between two frames, in seconds; None of fewer than two."""
        return round(float(np.median(np.diff(self._times))), 3) if len(self._times) > 1 else None

    @property
    def numbers(self) -> list[int]:
        """Return the track of each box, in the order given; none where frames are too far apart to tell."""
        return self._numbers if self.step is not None and self.step <= LONGEST_STEP else []
