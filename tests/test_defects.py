"""Synthetic defects: seeded, marked where they really are, of every kind, grey and in colour."""

import numpy as np
import pytest

from winnow.errors import DataError, OptionError
from winnow.synthetic.defects import KINDS, damage, visible_damage


def cloth(n=24, height=48, width=48, channels=1, seed=0):
    """Return a weave with a little noise, uint8 (n, h, w, c)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    weave = 120 + 40 * np.sin(y * 1.3) * np.sin(x * 0.9)
    return np.clip(weave[None, ..., None] + rng.normal(0, 6, (n, height, width, channels)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", KINDS)
def test_each_kind_changes_pictures_and_marks_where(name, channels):
    pixels = cloth(channels=channels)
    before = pixels.copy()
    damaged, masks, kinds = damage(pixels, np.random.default_rng(1), [name])
    np.testing.assert_array_equal(pixels, before)
    assert damaged.dtype == np.uint8 and damaged.shape == pixels.shape
    assert masks.dtype == bool and masks.shape == pixels.shape[:3]
    assert (kinds == name).all()
    assert masks.any(axis=(1, 2)).mean() > 0.7
    assert 0 < masks.mean() < 0.5
    change = np.abs(damaged.astype(float) - pixels).mean(axis=3)
    assert change[masks].mean() > 10 * change[~masks].mean()


def test_the_mask_is_that_of_a_slow_loop():
    pixels = cloth(n=6, height=20, width=17)
    damaged, masks, _ = damage(pixels, np.random.default_rng(2))
    for picture, changed, mask in zip(pixels.astype(float), damaged.astype(float), masks, strict=True):
        change = np.pad(np.abs(changed - picture).mean(axis=2), 2, mode="edge")
        least = max(2.0, 0.15 * picture.std())
        for y in range(20):
            for x in range(17):
                mean = change[y : y + 5, x : x + 5].mean()
                if abs(mean - least) > 1e-3:
                    assert mask[y, x] == (mean >= least)


def test_a_defect_that_does_not_show_is_drawn_anew_and_the_others_stay():
    pixels = cloth(n=66)
    pixels[:, :, 12:] = 120  # smooth, so that most blurs change nothing
    first, marks, kinds = damage(pixels, np.random.default_rng(5))
    damaged, masks, same = visible_damage(pixels, np.random.default_rng(5))
    shown = marks.any(axis=(1, 2))
    assert 0.1 < (~shown).mean() < 0.9 and (kinds == same).all()
    np.testing.assert_array_equal(damaged[shown], first[shown])
    assert masks.any(axis=(1, 2)).mean() > 0.9
    changed = (damaged != pixels).any(axis=(1, 2, 3))
    assert changed[masks.any(axis=(1, 2))].all()
    flat = np.full((3, 16, 16, 1), 9, np.uint8)
    assert not visible_damage(flat, np.random.default_rng(0), ["blur"])[1].any()  # there is nothing to see


def test_the_seed_decides_all():
    one, same, other = (damage(cloth(), np.random.default_rng(seed)) for seed in (3, 3, 4))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one[0] != other[0]).any()
    assert set(damage(cloth(n=200), np.random.default_rng(0))[2]) == set(KINDS)


def test_flat_small_oblong_and_no_pictures():
    flat = np.full((22, 8, 31, 3), 200, np.uint8)
    damaged, masks, kinds = damage(flat, np.random.default_rng(0), ["brightness", "hole"])
    assert masks.any() and not masks[(damaged == flat).all(axis=(1, 2, 3))].any()
    for name in KINDS:
        assert damage(flat, np.random.default_rng(0), [name])[0].shape == flat.shape
    damaged, masks, kinds = damage(flat[:0], np.random.default_rng(0))
    assert damaged.shape == (0, 8, 31, 3) and masks.shape == (0, 8, 31) and kinds.shape == (0,)
    assert damage(cloth(n=1), np.random.default_rng(0), ["paste"])[1].any()  # from itself, elsewhere


def test_wrong_arrays_and_kinds_are_refused():
    for wrong in (cloth().astype(np.float32), cloth()[..., 0], np.zeros((2, 7, 64, 1), np.uint8)):
        with pytest.raises(DataError, match="8x8 or more"):
            damage(wrong, np.random.default_rng(0))
    with pytest.raises(OptionError, match=r"(?s)no kind of defect 'smears'.*smear"):
        damage(cloth(), np.random.default_rng(0), ["smears"])
