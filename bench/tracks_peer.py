"""Tracks of the same boxes by other libraries, run by a Python that has them: see bench/tracks.py --peer.

python tracks_peer.py norfair|bytetrack|ocsort IN.npz OUT.npy
"""

from __future__ import annotations

import sys

import numpy as np


def main() -> None:
    name, given, to = sys.argv[1:]
    data = np.load(given)
    boxes = np.split(data["boxes"].astype(float), np.cumsum(data["counts"])[:-1])
    rate = round(1 / float(data["step"]))
    np.save(to, np.concatenate(list((norfair if name == "norfair" else roboflow)(name, boxes, rate))))


def norfair(name: str, boxes: list[np.ndarray], rate: int):
    """Yield the track of each box of each frame, -1 where it has none."""
    from norfair import Detection, Tracker

    tracker = Tracker(distance_function="iou", distance_threshold=0.7, hit_counter_max=rate, initialization_delay=0)
    for some in boxes:
        seen = [
            Detection(np.array([[x, y], [x + wide, y + high]]), data=place)
            for place, (x, y, wide, high) in enumerate(some)
        ]
        found = np.full(len(some), -1)
        for one in tracker.update(seen):
            if one.last_detection in seen:
                found[one.last_detection.data] = one.id
        yield found


def roboflow(name: str, boxes: list[np.ndarray], rate: int):
    """Yield the track of each box of each frame, -1 where it has none."""
    import supervision
    import trackers

    make = trackers.ByteTrackTracker if name == "bytetrack" else trackers.OCSORTTracker
    tracker = make(lost_track_buffer=rate, frame_rate=rate, minimum_consecutive_frames=1)
    for some in boxes:
        corners = np.hstack([some[:, :2], some[:, :2] + some[:, 2:]])
        seen = supervision.Detections(
            corners,
            confidence=np.full(len(some), 0.9),
            class_id=np.zeros(len(some), int),
            data={"place": np.arange(len(some))},
        )
        found = np.full(len(some), -1)
        linked = tracker.update(seen)
        found[linked.data["place"].astype(int)] = linked.tracker_id
        yield found


if __name__ == "__main__":
    main()
