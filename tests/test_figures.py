"""Figures: valid PNG of the promised size, and what they show is what the numbers say."""

from __future__ import annotations

import io
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from winnow.errors import DataError
from winnow.report import figures, style
from winnow.report.bins import edges_of
from winnow.report.figures import (
    calibration,
    clock,
    histograms,
    loss_curves,
    picture_grid,
    reconstruction_grid,
    roc,
    timeline,
)
from winnow.report.style import ANOMALOUS, BELONGS, NARROW
from winnow.report.timeline import COLUMNS

RNG = np.random.default_rng(0)
LOG = [
    {"step": step, "train_loss": 100 / step, "validation_loss": 90 / step + 2 * (step > 30)}
    for step in range(10, 60, 10)
]
PICTURES = np.repeat(np.repeat(RNG.integers(0, 255, (7, 2, 2, 3), dtype=np.uint8), 6, axis=1), 5, axis=2)


def opened(png: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(png))
    picture.load()
    assert picture.format == "PNG"
    return picture


def drawn(function: Any, *args: Any, **options: Any) -> Figure:
    """Return the matplotlib figure behind a function that returns PNG bytes, its layout done."""
    figure: Figure = function.__wrapped__(*args, **options)
    figure.canvas.draw()
    return figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def marked(figure: Figure, name: str) -> list[Any]:
    return figure.findobj(lambda artist: artist.get_gid() == name)


EXAMPLES = {
    "loss_curves": lambda: loss_curves(LOG),
    "histograms": lambda: histograms({"a": [1, 2, 3], "b": [5, 6]}, 3.5),
    "roc": lambda: roc({"a": ([1, 2], [2, 3])}, 2),
    "timeline": lambda: timeline([0, 1, 2], [1, 5, 1], 3, [(0, 1, True), (1, 2, False)], truth=[(0, 2, True)]),
    "calibration": lambda: calibration([0.01, 0.1], [[0.0, 0.02], [0.1, 0.12]]),
    "picture_grid": lambda: picture_grid(PICTURES, ["a\nb"] * 7),
    "reconstruction_grid": lambda: reconstruction_grid(PICTURES, PICTURES / 255),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_png_of_the_pages_width(name: str) -> None:
    wide = opened(EXAMPLES[name]()).width / style.DOTS_PER_INCH
    assert wide == pytest.approx(style.HALF if name in ("roc", "calibration") else style.WIDTH, abs=0.01)


@pytest.mark.parametrize("name", EXAMPLES)
def test_same_numbers_same_bytes(name: str) -> None:
    assert EXAMPLES[name]() == EXAMPLES[name]()


def test_threads_do_not_disturb_one_another_and_nothing_global_changes() -> None:
    import matplotlib

    before, alone, together = dict(matplotlib.rcParams), EXAMPLES["timeline"](), []
    threads = [threading.Thread(target=lambda: together.append(EXAMPLES["timeline"]())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [alone] * 3
    assert dict(matplotlib.rcParams) == before


ODD = [
    "日本語の試合.mp4",
    "матч $x^2$ \\frac",
    "مباراة",
    "_underscore",
    "a\x00b\tc",
    "\udce9broken",
    "🏈" * 50,
    "क्षेत्र",
    "x" * 500,
    "",
]


@pytest.mark.parametrize("name", ODD)
def test_names_in_any_script_draw_without_warnings(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawn(histograms, {name: [1, 2, 3], name + "2": [4, 5]}, 3).axes
        assert drawn(roc, {name: ([1, 2], [3, 4])}, 2).axes
        assert drawn(timeline, [0, 1], [1, 2], 1.5, title=name).axes
        assert drawn(picture_grid, PICTURES[:1], [f"{name}\n{name}"]).axes


def test_a_name_that_looks_like_a_formula_or_a_hidden_label_stays_itself() -> None:
    assert any(text.startswith("_a$b$") for text in texts(drawn(roc, {"_a$b$": ([1, 2], [3, 4])})))
    assert "_a$b$" in texts(drawn(histograms, {"_a$b$": [1.0, 2.0]}))


def test_shorten_keeps_both_ends_and_counts_wide_characters_twice() -> None:
    assert style.shorten("short", 5) == "short"
    assert style.shorten("match-one-very-long.mp4", 11) == "mat…ong.mp4"
    assert style.shorten("足" * 10, 11) == "足…足足足"
    assert len(style.shorten("x" * 99, 2)) <= 2


def test_loss_curves_mark_the_best_and_skip_what_is_missing() -> None:
    log = [*LOG, {"step": 60}, {"note": "resumed"}, {"step": 70, "train_loss": float("nan"), "validation_loss": None}]
    figure = drawn(loss_curves, log)
    training, validation = figure.axes[0].get_lines()[:2]
    np.testing.assert_allclose(training.get_ydata(), [line["train_loss"] for line in LOG])
    np.testing.assert_allclose(validation.get_ydata(), [line["validation_loss"] for line in LOG])
    assert any("at step 30" in text for text in texts(figure))


def test_loss_curves_with_validation_alone_and_over_decades() -> None:
    figure = drawn(loss_curves, [{"step": step, "validation_loss": 1000.0 / step} for step in (1, 10, 100)])
    assert figure.axes[0].get_yscale() == "log"
    assert drawn(loss_curves, LOG).axes[0].get_yscale() == "linear"
    assert (
        drawn(loss_curves, [{"step": 1, "train_loss": -3.0}, {"step": 2, "train_loss": -900.0}]).axes[0].get_yscale()
        == "linear"
    )


@pytest.mark.parametrize("log", [[], [{"step": 1}], [{"step": 1, "train_loss": float("inf")}]])
def test_loss_curves_of_nothing(log: list[dict[str, Any]]) -> None:
    with pytest.raises(DataError, match="no losses"):
        loss_curves(log)


def counts(figure: Figure) -> list[np.ndarray]:
    """Return the bin heights of every panel's filled histogram."""
    from matplotlib.patches import StepPatch

    return [
        next(patch.get_data().values for patch in axes.patches if isinstance(patch, StepPatch) and patch.get_fill())
        for axes in figure.axes
    ]


def test_histograms_hold_every_picture_and_the_threshold_stands_in_each() -> None:
    groups = {
        "belongs": RNG.normal(10, 1, 500),
        "far": RNG.normal(20, 1, 100),
        "tail": np.r_[RNG.normal(10, 1, 99), 1e9],
    }
    figure = drawn(histograms, groups, 12.5)
    for heights in counts(figure):
        assert heights.sum() == pytest.approx(1)
    lines = marked(figure, "threshold")
    assert len(lines) == 3
    assert all(tuple(line.get_xdata()) == (12.5, 12.5) for line in lines)
    assert figure.axes[0].get_xlim()[1] < 100
    assert any("beyond the axis" in text for text in texts(figure))
    assert f"100 pictures, {(groups['far'] > 12.5).mean() * 100:.1f}\u00a0% above" in texts(figure)


def test_each_histogram_has_its_own_height_and_its_label_room() -> None:
    groups = {"belongs": np.repeat(np.arange(50.0), 4), "far": [60.0] * 9}
    for log in (False, True):
        for axes, heights in zip((figure := drawn(histograms, groups, log=log)).axes, counts(figure), strict=True):
            height = axes.transData.transform((0, max(heights)))[1] - axes.bbox.y0
            assert height / axes.bbox.height == pytest.approx(2 / 3, abs=0.01)
    narrow = drawn(histograms, groups, 30.0, width=NARROW)
    assert "9, 100.0\u00a0% above" in texts(narrow) and narrow.get_size_inches()[0] == NARROW


def test_normal_groups_are_blue_and_the_first_other_one_orange() -> None:
    figure = drawn(histograms, {"own": [1, 2], "new": [1, 3], "bad": [9, 9]}, normal=2)
    colours = [to_hex(axes.patches[0].get_facecolor()).upper() for axes in figure.axes]
    assert colours == [BELONGS, "#56B4E9", ANOMALOUS]


def test_histograms_agree_with_numpy_where_nothing_is_clipped() -> None:
    values = np.repeat(np.arange(50.0), 4)
    edges, logarithmic = edges_of([values], figures.BINS, ratio=100, reach=40)
    assert not logarithmic
    np.testing.assert_allclose(counts(drawn(histograms, {"a": values}))[0], np.histogram(values, edges)[0] / 200)


def test_threshold_is_seen_in_the_png() -> None:
    with_line = np.asarray(opened(histograms({"a": [1, 2, 3]}, 2.5)).convert("L"), dtype=int)
    dark = (with_line < 60).sum(axis=0)
    without = (np.asarray(opened(histograms({"a": [1, 2, 3]})).convert("L"), dtype=int) < 60).sum(axis=0)
    assert dark.max() > without.max() + 50


def test_threshold_far_off_is_still_inside_the_axis() -> None:
    for threshold in (-1000.0, 1000.0):
        low, high = drawn(histograms, {"a": RNG.normal(0, 1, 99)}, threshold).axes[0].get_xlim()
        assert low <= threshold <= high


def test_histograms_scale() -> None:
    belongs = RNG.uniform(1, 2, 200)
    assert drawn(histograms, {"a": belongs, "b": belongs * 1e4}).axes[0].get_xscale() == "log"
    assert drawn(histograms, {"a": belongs, "b": belongs + 3}).axes[0].get_xscale() == "linear"
    assert drawn(histograms, {"a": belongs}, log=True).axes[0].get_yscale() == "log"
    # a far group does not press what belongs into one bin where a logarithm cannot help
    mixed = drawn(histograms, {"a": belongs - 1.5, "b": belongs * 1e4})
    assert np.count_nonzero(counts(mixed)[0]) > 1


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [1e300, -1e300], [1, np.nan, np.inf], [5e-324, 1], np.arange(3)])
def test_histograms_of_unusual_scores(values: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for heights in (
            *counts(drawn(histograms, {"a": values}, 1.0)),
            counts(drawn(histograms, {"a": values, "b": []}))[0],
        ):
            assert heights.sum() == pytest.approx(1)


def test_many_groups_become_twelve_rows_that_lose_nobody() -> None:
    figure = drawn(histograms, {f"g{number}": [number, number + 1] for number in range(40)}, 3)
    assert len(figure.axes) == figures.ROWS
    assert {"29 other groups", "58 pictures, 100.0\u00a0% above"} <= set(texts(figure))


def test_empty_group_is_said_and_no_group_is_an_error() -> None:
    assert "no scores" in texts(drawn(histograms, {"a": [1, 2], "b": []}, 1))
    for groups in ({}, {"a": []}, {"a": [np.nan]}):
        with pytest.raises(DataError, match="no scores"):
            histograms(groups)
    with pytest.raises(DataError, match="not a number"):
        histograms({"a": ["x"]})
    with pytest.raises(DataError, match="shape"):
        histograms({"a": [[1, 2]]})


def slow_area(inside: np.ndarray, outside: np.ndarray) -> float:
    return float(np.mean([(one < other) + 0.5 * (one == other) for one in inside for other in outside]))


def test_roc_area_and_dot_are_those_of_the_definition() -> None:
    inside, outside = RNG.integers(0, 8, 60).astype(float), RNG.integers(3, 12, 50).astype(float)
    figure = drawn(roc, {"x": (inside, outside)}, 5.0)
    label = next(text for text in texts(figure) if text.startswith("x  "))
    assert label == f"x  {slow_area(inside, outside):.3f}"
    (dot,) = marked(figure, "threshold")
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == ((inside > 5).mean(), (outside > 5).mean())
    alarms, found = figure.axes[0].get_lines()[1].get_data()
    assert (alarms[0], found[0], alarms[-1], found[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(alarms) >= 0)
    assert np.all(np.diff(found) >= 0)
    assert not marked(drawn(roc, {"x": (inside, outside)}), "threshold")


def test_roc_refuses_an_empty_side() -> None:
    with pytest.raises(DataError, match="'x' needs"):
        roc({"x": ([1.0], [])})
    with pytest.raises(DataError, match="no groups"):
        roc({})


def test_timeline_shades_what_is_out_and_shows_threshold_and_truth() -> None:
    found, truth = [(0, 4, True), (4, 7, False), (7, 10, True)], [(0, 5, True), (5, 10, False)]
    figure = drawn(timeline, np.arange(10.0), np.arange(10.0), 6.5, found, truth=truth)
    (line,) = marked(figure, "threshold")
    assert tuple(line.get_ydata()) == (6.5, 6.5)
    (out,) = marked(figure, "out")
    (box,) = [path.get_extents() for path in out.get_paths()]
    assert (box.x0, box.x1) == (4, 7)
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["found", "true"]
    assert len(drawn(timeline, [0, 1], [1, 2], 1, found).axes[1].get_yticklabels()) == 1


def test_timeline_line_is_the_smoothed_score_with_gaps_where_there_is_none() -> None:
    scores, even = np.array([1.0, np.nan, 3.0, 9.0]), np.array([1.0, np.nan, 3.0, 3.0])
    dots, line = drawn(timeline, [0, 1, 2, 3], scores, 2, smoothed=even).axes[0].get_lines()[:2]
    np.testing.assert_array_equal(dots.get_ydata(), scores)
    np.testing.assert_array_equal(line.get_ydata(), even)


def test_long_timeline_keeps_its_peaks_and_few_points() -> None:
    scores = RNG.normal(0, 1, 100_000)
    scores[50_000] = 8.0
    scores[200:400] = np.nan
    figure = drawn(timeline, np.arange(100_000.0), scores, 2, [(n, n + 1, n % 2 == 0) for n in range(0, 100_000, 100)])
    axes = figure.axes[0]
    assert len(axes.get_lines()[0].get_xdata()) <= COLUMNS + 1
    shade = np.concatenate([path.vertices[:, 1] for path in axes.collections[0].get_paths()])
    assert shade.max() == 8.0
    assert shade.min() == np.nanmin(scores)


@pytest.mark.parametrize(
    ("times", "scores"),
    [
        ([0.0], [1.0]),
        ([5, 5, 5], [1, 2, 3]),
        ([0, 1], [np.nan, np.nan]),
        ([0, 1], [2, 2]),
        (np.zeros(5000), np.ones(5000)),
        ([0, 0.04], [1e-9, 1e9]),
        ([-1, 1e7], [-5, 5]),
    ],
)
def test_timeline_of_unusual_videos(times: Any, scores: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = drawn(timeline, times, scores, 2.0)
    low, high = figure.axes[1].get_xlim()
    assert low < times[0] <= times[-1] < high
    assert len(figure.axes[1].get_xticks()) < 15


def test_timeline_needs_a_score_a_frame() -> None:
    for scores, even in (([1.0], None), ([1.0, 2.0], [1.0])):
        with pytest.raises(DataError, match="2 frames"):
            timeline([0, 1], scores, 1, smoothed=even)
    with pytest.raises(DataError, match="0 frames"):
        timeline([], [], 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (5, "0:05"),
        (750, "12:30"),
        (3723, "1:02:03"),
        (2.5, "0:02.5"),
        (0.04, "0:00.04"),
        (59.999, "1:00"),
        (-61, "-1:01"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_calibration_shows_each_split_and_their_mean() -> None:
    figure = drawn(calibration, [0.01, 0.1], [[0.0, 0.02], [0.1, 0.2]])
    diagonal, splits, mean = figure.axes[0].get_lines()
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    np.testing.assert_array_equal(splits.get_ydata(), [0, 0.02, 0.1, 0.2])
    np.testing.assert_allclose(mean.get_ydata(), [0.01, 0.15])
    assert len(drawn(calibration, [0.01], [0.0]).axes[0].get_lines()) == 2
    with pytest.raises(DataError, match="no false-alarm rates"):
        calibration([], [])


def test_picture_grid_shows_each_picture_in_reading_order() -> None:
    plain = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (0, 60, 120, 180, 240)])
    picture = np.asarray(opened(picture_grid(plain, columns=3)))
    tile = int((style.WIDTH - 0.2) / 3 * style.DOTS_PER_INCH)
    step = tile + int(0.1 * style.DOTS_PER_INCH)
    centres = [
        (tile // 2 + row * step, tile // 2 + column * step) for row, column in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))
    ]
    assert [int(picture[y, x, 0]) for y, x in centres] == [0, 60, 120, 180, 240]
    assert picture[tile // 2 + step, tile // 2 + 2 * step, 3] == 0  # nothing, and transparent, after the last


def test_grey_float_and_flat_pictures_are_the_same_pictures() -> None:
    grey = RNG.integers(0, 255, (3, 6, 6), dtype=np.uint8)
    same = {
        picture_grid(images) for images in (grey, grey[..., None], np.repeat(grey[..., None], 3, axis=3), grey / 255)
    }
    assert len(same) == 1


def test_picture_grid_captions_and_verdicts() -> None:
    from matplotlib.colors import to_hex

    figure = drawn(picture_grid, PICTURES[:2], ["1.0\nfirst", "2.0\n" + "long" * 50], belongs=[True, False])
    assert {"1.0", "first", "2.0"} <= set(texts(figure))
    assert max(map(len, texts(figure))) < 50
    bars = [to_hex(patch.get_facecolor()).upper() for patch in figure.axes[0].patches if patch.get_height() < 0.1]
    assert bars == [style.BELONGS, style.ANOMALOUS]
    assert not [patch for patch in drawn(picture_grid, PICTURES[:2]).axes[0].patches if patch.get_height() < 0.1]


@pytest.mark.parametrize(
    "images",
    [
        np.empty((0, 4, 4, 3), np.uint8),
        np.zeros((2, 4, 4, 2), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((501, 1, 1), np.uint8),
    ],
)
def test_picture_grid_refuses_what_it_cannot_show(images: np.ndarray) -> None:
    with pytest.raises(DataError):
        picture_grid(images)


def test_captions_must_match() -> None:
    for call in (
        lambda: picture_grid(PICTURES, ["one"]),
        lambda: picture_grid(PICTURES, belongs=[True]),
        lambda: reconstruction_grid(PICTURES, PICTURES, ["one"]),
    ):
        with pytest.raises(DataError, match="7 pictures need"):
            call()


def test_reconstruction_error_is_bright_only_where_the_model_failed() -> None:
    originals = np.zeros((4, 8, 8, 3), np.uint8)
    rebuilt = originals.astype(np.float32)
    rebuilt[0, :, :4] = 1.0
    figure = drawn(reconstruction_grid, originals, rebuilt, ["a", "b", "c", "d"])
    anomaly_map = [image.get_array() for image in figure.axes[0].images][2]
    assert anomaly_map[:, :4].mean() > 150
    assert anomaly_map[:, 4:].mean() < 5
    assert {"original", "rebuilt", "error", "a"} <= set(texts(figure))
    with pytest.raises(DataError, match="differ in shape"):
        reconstruction_grid(originals, rebuilt[:, :4])


def test_identical_reconstructions_have_no_error_and_sets_wrap() -> None:
    many = np.repeat(PICTURES, 2, axis=0)
    figure = drawn(reconstruction_grid, many, many)
    assert max(image.get_array().max() for image in figure.axes[0].images[2::3]) < 5
    assert figure.get_figheight() == pytest.approx(2 * drawn(reconstruction_grid, many[:8], many[:8]).get_figheight())


@pytest.mark.parametrize("threshold", [float("inf"), float("-inf"), float("nan")])
def test_a_threshold_that_is_no_number_draws_no_line(threshold: float) -> None:
    scores = np.r_[RNG.normal(0, 1, 1000), 1e6]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not marked(drawn(histograms, {"a": scores, "b": scores}, threshold), "threshold")
        assert not marked(drawn(timeline, np.arange(1001.0), scores, threshold), "threshold")
        assert len(marked(drawn(roc, {"a": (scores, scores)}, threshold), "threshold")) == 1


def test_the_legend_of_made_up_pictures_hides_no_curve() -> None:
    kinds = ("generic pictures", "synthetic defects", "near-misses")
    figure = figures.found_curves.__wrapped__([0.01, 0.3], {kind: [0.0, 0.1] for kind in kinds})
    (axes,) = figure.axes
    figure.canvas.draw()
    legend, drawn = axes.get_legend().get_window_extent(), axes.get_window_extent()
    assert legend.y1 < drawn.y0 and legend.x0 >= 0 and legend.x1 <= figure.bbox.x1 and legend.y0 >= 0
