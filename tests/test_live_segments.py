"""Segments told while frames come are those of the whole video, told in time and from little memory."""

from __future__ import annotations

import json

import numpy as np
import pytest

from winnow.detect.live import LiveSegments
from winnow.detect.segments import segments
from winnow.errors import OptionError


@pytest.mark.parametrize("seed", range(200))
def test_as_on_the_whole_video(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 120))
    times = np.cumsum(rng.choice([0.25, 0.5, 1.0, 1.0, 3.0] if seed % 2 else [0.5], n))
    p = rng.choice([0.001, 0.02, 0.05, 0.1, 0.3, 0.9], n)
    scores, regions = rng.normal(size=n), np.where(p < 0.1, rng.choice(["left half", "top half"], n), "")
    level, hysteresis = float(rng.choice([0.02, 0.05, 0.3])), float(rng.choice([1.0, 2.0, 5.0]))
    smooth, min_length = float(rng.choice([0.0, 1.0, 3.0])), float(rng.choice([0.0, 1.0, 2.0, 4.0]))
    end = [None, float(times[-1] + 0.1), float(times[-1] - 1)][seed % 3]
    options = {"smooth": smooth, "min_length": min_length, "hysteresis": hysteresis}
    live, found = LiveSegments(level, **options), []
    for number, frame in enumerate(zip(times.tolist(), scores.tolist(), p.tolist(), regions.tolist(), strict=True)):
        found += live.add(*frame)
        if number % 7 == 3:  # another process goes on
            kept = json.loads(json.dumps(live.as_json()))
            live = LiveSegments(level, **options)
            live.remember(kept)
    found += live.finish(end)
    whole = segments(times, scores, p, false_alarm_rate=level, **options, end=end)
    assert [(one.start, one.end, one.belongs) for one in found] == [
        (one.start, pytest.approx(one.end, abs=1e-4), one.belongs) for one in whole
    ]
    assert [one.score for one in found] == pytest.approx([one.score for one in whole])
    for one in found:
        named = [str(name) for time, name in zip(times, regions, strict=True) if name and one.start <= time < one.end]
        assert one.region == ("" if one.belongs or not named else min(set(named), key=lambda n: (-named.count(n), n)))


def test_what_an_earlier_version_kept_is_gone_on_from() -> None:
    live = LiveSegments(0.05, smooth=0.0, min_length=2.0, hysteresis=1.0)
    for second in range(5):
        live.add(float(second), 1.0, 0.5)
    kept = live.as_json()
    kept["frames"] = [frame[:3] for frame in kept["frames"]]  # without regions
    for stretch in kept["stretches"]:
        del stretch["regions"]
    live.remember(json.loads(json.dumps(kept)))
    assert [(one.start, one.end, one.region) for one in live.finish()] == [(0.0, 5.0, "")]


def test_a_segment_is_told_as_soon_as_it_is_sure():
    live = LiveSegments(0.05, smooth=3.0, min_length=2.0, hysteresis=2.0)
    told, states = {}, []
    for second in range(60):
        anomalous = 20 <= second < 40 or second == 50  # a flash is smoothed away
        for one in live.add(float(second), 0.0, 0.01 if anomalous else 0.5):
            told[one.start, one.end, one.belongs] = second
        states.append(live.state)
    assert told == {(0.0, 20.0, True): 23, (20.0, 40.0, False): 43}
    assert states[0] == "unsure" and states[19] == "in" and states[30] == "out" and set(states[43:]) == {"in"}
    assert "unsure" in states[20:25]
    assert [(one.start, one.end) for one in live.finish()] == [(40.0, 60.0)]


def test_memory_does_not_grow_however_the_states_flicker():
    rng = np.random.default_rng(0)
    live = LiveSegments(0.05, smooth=0.0, min_length=2.0, hysteresis=1.0)
    sizes = []
    for frame in range(3_000):
        live.add(frame / 25 + float(rng.random()) / 100, 0.0, float(rng.random() > 0.5))
        sizes.append(len(live.memory.stretches) + len(live.memory.frames))
    assert max(sizes) < 60


def test_options_out_of_range_are_refused():
    with pytest.raises(OptionError, match="smooth"):
        LiveSegments(0.05, smooth=-1.0, min_length=2.0, hysteresis=2.0)
