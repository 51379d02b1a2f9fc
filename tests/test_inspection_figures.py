"""Figures of an inspection: what they show is what the numbers say, pictures keep every pixel that nothing lies over."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import StepPatch
from scipy.ndimage import binary_dilation
from scipy.stats import norm
from test_figures import drawn, marked, opened, texts

from winnow.errors import DataError
from winnow.report import inspection, overlays, style
from winnow.report.heat import HEAT
from winnow.report.inspection import (
    agreement,
    defect_sheet,
    loss_distributions,
    map_png,
    mask_png,
    overlay,
    weight_curve,
)

RNG = np.random.default_rng(0)
GOOD, HELD, BAD = RNG.normal(10, 1, 900), RNG.normal(10.5, 1, 300), RNG.normal(15, 3, 100)
PATCHES = RNG.integers(0, 255, (6, 8, 8), dtype=np.uint8)
EXAMPLES = {
    "loss_distributions": lambda: loss_distributions({"training": GOOD, "validation": HELD, "defects": BAD}),
    "weight_curve": lambda: weight_curve([0, 1e-5, 1e-4], {"AUROC": [0.8, 0.9, 0.85]}, 1e-5),
    "agreement": lambda: agreement(GOOD, GOOD + 1, 11, 12),
    "defect_sheet": lambda: defect_sheet(PATCHES, 255 - PATCHES, PATCHES > 128, ["hole", "blur"] * 3),
    "overlay": lambda: overlay(PATCHES[0], PATCHES[1] / 255, [(1, 1, 3, 3)], PATCHES[2] > 200),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_png_of_the_promised_width_and_the_same_bytes_again(name: str) -> None:
    wide = {"agreement": style.HALF, "overlay": 8 / style.DOTS_PER_INCH}.get(name, style.WIDTH)
    assert opened(EXAMPLES[name]()).width == pytest.approx(wide * style.DOTS_PER_INCH, abs=2)
    assert EXAMPLES[name]() == EXAMPLES[name]()


def bars(figure: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return heights and edges of each filled histogram."""
    steps = [patch.get_data() for patch in figure.axes[0].patches if isinstance(patch, StepPatch)]
    return [(data.values, data.edges) for data in steps]


def test_distributions_hold_every_patch_on_the_same_bins() -> None:
    figure = drawn(loss_distributions, {"training": GOOD, "validation": HELD, "defects": BAD}, label="latent loss")
    for (heights, edges), values in zip(bars(figure), (GOOD, HELD, BAD), strict=True):
        inside = (values > edges[0]) & (values < edges[-1])
        assert heights.sum() == pytest.approx(1)
        np.testing.assert_allclose(heights[1:-1], np.histogram(values[inside], edges)[0][1:-1] / len(values))
    assert {"Distribution of the latent loss"} <= set(texts(figure))
    assert any(text.startswith(f"defects   100 patches, mean {BAD.mean():.4g}") for text in texts(figure))


@pytest.mark.parametrize("far", [1.0, 1e4])
def test_the_line_is_the_gaussian_of_the_samples_mean_and_deviation(far: float) -> None:
    figure = drawn(loss_distributions, {"training": GOOD, "defects": BAD * far})
    assert figure.axes[0].get_xscale() == ("linear" if far == 1 else "log")
    for line, (_, edges), values in zip(marked(figure, "gaussian"), bars(figure), (GOOD, BAD * far), strict=True):
        shares = np.diff(norm(values.mean(), values.std()).cdf(edges))
        np.testing.assert_allclose(line.get_ydata(), shares, atol=1e-12)
        middle = line.get_xdata()
        assert ((middle > edges[:-1]) & (middle < edges[1:])).all()


def test_defects_far_away_do_not_press_the_good_into_one_bin() -> None:
    for good, bad in ((GOOD, BAD * 1e6), (GOOD - 10, BAD * 1e6)):
        figure = drawn(loss_distributions, {"training": good, "defects": bad})
        assert np.count_nonzero(bars(figure)[0][0]) > 3
    assert any("100 beyond the axis" in text for text in texts(figure))


def test_a_constant_sample_has_no_gaussian_and_does_not_press_the_others_flat() -> None:
    figure = drawn(loss_distributions, {"training": [10.0] * 50, "validation": HELD, "defects": []})
    assert len(marked(figure, "gaussian")) == 1
    assert bars(figure)[0][0].max() == 1
    assert figure.axes[0].get_ylim()[1] < 0.5
    assert "defects   no losses" in texts(figure)


ODD = [[3.0], [0.0, 0.0], [1e300, -1e300], [1, np.nan, np.inf], [5e-324, 1], [-5e-324, 5e-324], np.arange(3)]


@pytest.mark.parametrize("values", ODD)
def test_unusual_losses_and_names(values: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for samples in ({"a": values}, {"_$x^": values, "織物": GOOD}, {"a": GOOD, "b": values}):
            assert all(heights.sum() == pytest.approx(1) for heights, _ in bars(drawn(loss_distributions, samples)))


def test_distributions_of_nothing() -> None:
    for samples in ({}, {"training": []}, {"training": [np.nan]}):
        with pytest.raises(DataError, match="no losses"):
            loss_distributions(samples)


@pytest.mark.parametrize("count", [50, 800, 5000])
def test_agreement_counts_each_quarter(count: int) -> None:
    first, second = RNG.normal(size=(2, count)).round(1)
    figure = drawn(agreement, first, second, 0.5, 1.0, ("latent", "fast"))
    for text, picked in {
        "both accept": (first <= 0.5) & (second <= 1),
        "both refuse": (first > 0.5) & (second > 1),
        "only latent refuses": (first > 0.5) & (second <= 1),
        "only fast refuses": (first <= 0.5) & (second > 1),
    }.items():
        assert f"{text}\n{style.percent(picked.mean())}" in texts(figure)
    same = style.percent(((first > 0.5) == (second > 1)).mean())
    assert f"agree on {same} of {count:,}" in texts(figure)
    across, up = marked(figure, "threshold")
    assert tuple(across.get_xdata()) == (0.5, 0.5)
    assert tuple(up.get_ydata()) == (1, 1)
    assert {"latent", "fast"} <= set(texts(figure))


def test_every_picture_is_in_the_cloud() -> None:
    first, second = np.exp(RNG.normal(size=(2, inspection.DOTS + 1)) * [[3], [0.2]])
    (cloud,) = marked(drawn(agreement, first, second, 2, 2), "cloud")
    assert cloud.get_array().sum() == len(first)
    (dots,) = marked(drawn(agreement, first[1:], second[1:], 2, 2), "cloud")
    np.testing.assert_array_equal(dots.get_xdata(), first[1:])
    axes = drawn(agreement, first, second, 2, 2).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")


def test_agreement_leaves_out_what_is_not_finite_and_refuses_what_cannot_be_compared() -> None:
    assert "agree on 50.0\u00a0% of 2" in texts(drawn(agreement, [0, 2, np.nan, 1], [0, 0, 1, np.inf], 1, 1))
    for threshold in (np.nan, np.inf):
        assert len(marked(drawn(agreement, [1.0], [1.0], threshold, 1), "threshold")) == 1
    with pytest.raises(DataError, match="2 scores of one mode and 1"):
        agreement([1, 2], [1], 1, 1)
    with pytest.raises(DataError, match="no scores to compare"):
        agreement([np.nan], [1], 1, 1)


def test_weight_curve_shows_means_ranges_and_the_chosen() -> None:
    weights, tried = [1e-3, 0, 1e-5, 1e-4], np.array([[0.7, 0.9], [0.5, 0.6], [0.8, 0.8], [0.9, 1.0]])
    figure = drawn(weight_curve, weights, {"AUROC": tried, "synthetic": tried[:, 0]}, 1e-4)
    axes = figure.axes[0]
    zero, rest = axes.get_lines()[:2]
    np.testing.assert_allclose([*zero.get_ydata(), *rest.get_ydata()], [0.55, 0.8, 0.95, 0.8])
    np.testing.assert_allclose(rest.get_xdata(), [-5, -4, -3])
    assert zero.get_xdata() == [-6]
    bars, lone = (np.array(part.get_segments())[:, :, 1] for part in marked(figure, "range"))
    np.testing.assert_allclose(bars, [[0.5, 0.6], [0.8, 0.8], [0.9, 1.0], [0.7, 0.9]])
    assert np.ptp(lone, axis=1).max() == 0
    (line,) = marked(figure, "chosen")
    assert tuple(line.get_xdata()) == (-4, -4)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1e-5", "1e-4", "1e-3"]
    assert "chosen: 1e-4" in texts(figure)
    assert not marked(drawn(weight_curve, weights, {"AUROC": tried}), "chosen")


def test_many_weights_are_labelled_by_decades() -> None:
    weights = [0, *np.geomspace(1e-6, 1, 25)]
    labels = [text.get_text() for text in drawn(weight_curve, weights, {"a": weights}, 0).axes[0].get_xticklabels()]
    assert labels == ["0", "1e-6", "1e-5", "1e-4", "1e-3", "0.01", "0.1", "1"]


@pytest.mark.parametrize("weights", [[0], [1e-5], [0, 0], [1e-3, 2e-3], [0, 1e6]])
def test_few_weights(weights: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curve = np.linspace(0.5, 1, len(weights))
        assert drawn(weight_curve, weights, {"a": curve, "b": curve * np.nan}, weights[0]).axes


def test_weight_curve_refuses_what_does_not_fit() -> None:
    for weights, curves, chosen, message in (
        ([], {"a": []}, None, "no weights"),
        ([1.0], {}, None, "no weights"),
        ([1.0], {"a": [np.nan]}, None, "no weights"),
        ([-1.0], {"a": [1]}, None, "negative"),
        ([1.0, 2.0], {"a": [1]}, None, r"'a' has shape \(1,\) for 2 weights"),
        ([1.0, 2.0], {"a": [1, 2]}, 3.0, "3 is not among"),
    ):
        with pytest.raises(DataError, match=message):
            weight_curve(weights, curves, chosen)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(opened(png))


@pytest.mark.parametrize("shape", [(40, 90), (40, 90, 3), (40, 90, 1)])
def test_overlay_keeps_the_picture_where_the_anomaly_map_is_zero(shape: tuple[int, ...]) -> None:
    picture = RNG.integers(0, 255, shape, dtype=np.uint8)
    anomaly_map = np.zeros((40, 90))
    anomaly_map[10:20, 30:50] = 1.0
    anomaly_map[25:30, 30:50] = overlays.CLEAR - 0.001
    shown, before = pixels(overlay(picture, anomaly_map)), np.broadcast_to(picture.reshape(40, 90, -1), (40, 90, 3))
    cold = anomaly_map < 1
    np.testing.assert_array_equal(shown[cold], before[cold])
    assert (shown[~cold] != before[~cold]).any(axis=1).all()
    # a share of the picture is still seen through the highest value
    expected = 0.75 * HEAT[255] + 0.25 * before[~cold]
    np.testing.assert_allclose(shown[~cold], expected, atol=1.5)


def test_higher_is_more_opaque() -> None:
    anomaly_map = np.repeat(np.linspace(0, 1, 50)[None], 9, axis=0)
    black, white = (pixels(overlay(np.full((9, 50), level, np.uint8), anomaly_map)).astype(int) for level in (0, 255))
    seen = (white - black)[4, :, 0]
    assert seen[0] == 255
    assert (np.diff(seen) <= 1).all()
    assert seen[-1] == pytest.approx(0.25 * 255, abs=2)


def test_outlines_lie_around_boxes_and_masks() -> None:
    picture, mask = np.full((60, 80), 100, np.uint8), np.zeros((60, 80), bool)
    mask[40:50, 10:30] = mask[45:55, 25:40] = True
    shown = pixels(overlay(picture, mask * 0.0, [(50, 8, 12, 9)], mask))
    np.testing.assert_array_equal(shown[8:17, 50:62], np.full((9, 12, 3), 100))
    blue = (shown == [0x56, 0xB4, 0xE9]).all(axis=2)
    ring = np.zeros((60, 80), bool)
    ring[6:19, 48:64] = True
    ring[7:18, 49:63] = False
    np.testing.assert_array_equal(blue, ring)
    green = (shown == [0x00, 0xD6, 0x8F]).all(axis=2)
    np.testing.assert_array_equal(green, binary_dilation(mask, np.ones((3, 3))) & ~mask)


def test_a_box_at_the_edge_is_closed_and_one_outside_is_not_drawn() -> None:
    picture, anomaly_map = np.full((60, 80), 100, np.uint8), np.zeros((60, 80))
    blue = (pixels(overlay(picture, anomaly_map, [(0, 0, 80, 60)])) == [0x56, 0xB4, 0xE9]).all(axis=2)
    assert blue[0].all()
    assert blue[-1].all()
    assert blue[:, 0].all()
    assert blue[:, -1].all()
    assert overlay(picture, anomaly_map, [(100, 10, 5, 5), (-30, 0, 5, 5)]) == overlay(picture, anomaly_map)


def test_an_anomaly_map_can_be_read_back_from_its_png() -> None:
    anomaly_map = np.array([[0.0, 0.25, 1.0], [np.nan, 7.0, -3.0], [0.5, np.inf, -np.inf]])
    image = opened(map_png(anomaly_map))
    assert image.mode == "P"
    np.testing.assert_allclose(np.asarray(image) / 255, [[0, 0.25, 1], [0, 1, 0], [0.5, 1, 0]], atol=0.5 / 255)
    brightness = np.asarray(opened(map_png(np.linspace(0, 1, 256)[None])).convert("L"), dtype=int)[0]
    assert (np.diff(brightness) >= -1).all()
    assert brightness[-1] - brightness[0] > 200


@pytest.mark.parametrize("kind", [bool, np.uint8, float])
def test_mask_png_is_one_bit_and_the_mask(kind: Any) -> None:
    mask = RNG.random((13, 21)) > 0.5
    image = opened(mask_png(mask.astype(kind)))
    assert image.mode == "1"
    np.testing.assert_array_equal(np.asarray(image), mask)


def test_pictures_that_do_not_fit_are_refused() -> None:
    picture, anomaly_map = np.zeros((4, 6), np.uint8), np.zeros((4, 6))
    for call, message in (
        (lambda: overlay(picture / 255, anomaly_map), "float64 of shape"),
        (lambda: overlay(np.zeros((4, 6, 2), np.uint8), anomaly_map), "uint8 of shape"),
        (lambda: overlay(picture, anomaly_map[:3]), r"An anomaly map has shape \(3, 6\)"),
        (lambda: overlay(picture, anomaly_map, mask=anomaly_map[:, :2]), r"A mask has shape \(4, 2\)"),
        (lambda: map_png(anomaly_map[0]), "An anomaly map has shape"),
        (lambda: mask_png(np.zeros((0, 3))), "A mask has shape"),
    ):
        with pytest.raises(DataError, match=message):
            call()


def test_defect_sheet_has_a_column_a_kind_and_a_row_a_part() -> None:
    clean = np.stack([np.full((8, 8), 10 * number, np.uint8) for number in range(5)])
    masks = np.zeros((5, 8, 8), bool)
    masks[:, :4] = True
    figure = drawn(defect_sheet, clean, clean + 100, masks, ["hole", "blur", "hole", "smear", "hole"])
    images = {
        (round(image.get_extent()[0], 2), round(image.get_extent()[3], 2)): int(image.get_array()[-1, 0, 0])
        for image in figure.axes[0].images
    }
    columns, rows = sorted({left for left, _ in images}), sorted({top for _, top in images})
    first = [images[column, rows[0]] for column in columns]
    assert first == [0, 10, 30]
    assert [images[columns[0], row] for row in rows] == [0, 100, 0, 20, 120, 0, 40, 140, 0]
    assert [text for text in texts(figure) if text in ("hole", "blur", "smear")] == ["hole", "blur", "smear"]
    assert texts(figure).count("mask") == 3
    assert np.asarray(figure.axes[0].images[2].get_array())[0, 0].tolist() == [255, 255, 255]


def test_defect_sheet_wraps_many_kinds_and_cuts_many_examples() -> None:
    patches = np.repeat(PATCHES, 4, axis=0)
    many = drawn(defect_sheet, patches, patches, patches > 9, [f"kind {number // 2}" for number in range(24)])
    assert len(many.axes[0].images) == 72
    few = drawn(defect_sheet, patches, patches, patches > 9, ["hole"] * 24)
    assert len(few.axes[0].images) == 12


def test_defect_sheet_refuses_what_does_not_fit() -> None:
    masks, kinds = PATCHES > 9, ["hole"] * 6
    for arguments in (
        (PATCHES, PATCHES[:5], masks, kinds),
        (PATCHES, PATCHES, masks[:, :4], kinds),
        (PATCHES, PATCHES, masks, kinds[:2]),
    ):
        with pytest.raises(DataError, match="differ"):
            defect_sheet(*arguments)
