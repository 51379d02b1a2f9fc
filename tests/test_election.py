"""The choice of a scorer by damaged copies of the good pictures: aligned products, products that lie anywhere, too few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import winnow
from winnow.detect.election import elect
from winnow.detect.registry import candidates, make_scorer
from winnow.embeddings import Embeddings
from winnow.errors import OptionError
from winnow.metrics.detection import separation
from winnow.results import Calibrated

BOTH = ["padim", "patchcore"]
SIDE = 8


def pictures(rng: np.random.Generator, n: int, anywhere: bool) -> np.ndarray:
    """Draw cells (n, 8, 8, 4): a product of 3x3 places, each unlike the others, at one place or anywhere on an even ground."""
    cells = rng.normal(0, 0.3, (n, SIDE, SIDE, 4))
    part = np.random.default_rng(0).normal(0, 3, (3, 3, 4))
    for each in cells:
        y, x = rng.integers(SIDE - 2, size=2) if anywhere else (2, 3)
        each[y : y + 3, x : x + 3] += part
    return cells


def damaged(rng: np.random.Generator, cells: np.ndarray, strength: float = 4.0) -> np.ndarray:
    """Return copies of cells in which a place shows something that is on the product, but does not belong there."""
    found = cells.copy()
    for each in found:
        y, x = rng.integers(SIDE, size=2)
        each[y, x] += rng.choice([-1, 1]) * strength * np.array([1, -1, 1, -1])
    return found


def named(cells: np.ndarray, ids: np.ndarray, groups: np.ndarray | None = None) -> Embeddings:
    return Embeddings.of(cells.mean(axis=(1, 2)), cells=cells, ids=ids, groups=ids if groups is None else groups)


@pytest.mark.parametrize(("anywhere", "expected"), [(False, "padim"), (True, "patchcore")])
def test_the_scorer_that_finds_damage_on_the_own_pictures_is_the_better_on_new_ones(
    anywhere: bool, expected: str
) -> None:
    rng, ids = np.random.default_rng(1), np.arange(24).astype(str)
    good = named(pictures(rng, 24, anywhere), ids)
    copies = np.repeat(np.arange(24), 4)
    found = elect(BOTH, good, named(damaged(rng, good.cells[copies]), ids[copies]))
    new = pictures(rng, 60, anywhere)
    bad = damaged(rng, new)
    fitted = {name: make_scorer(name).fit(good) for name in BOTH}
    names = np.arange(60).astype(str)
    real = {
        name: separation(one.score(named(new, names)), one.score(named(bad, names))) for name, one in fitted.items()
    }
    assert max(real, key=real.get) == expected == max(found, key=found.get)
    assert found[expected] == pytest.approx(real[expected], abs=0.1)


def test_a_picture_is_never_judged_by_itself_or_its_group() -> None:
    """Twins in one group: were one scored by a memory with the other, its score would be nothing and every copy be told."""
    rng = np.random.default_rng(2)
    base = pictures(rng, 12, True)
    twice = np.repeat(base, 2, axis=0)
    ids, groups = np.arange(24).astype(str), np.repeat(np.arange(12), 2).astype(str)
    copies = damaged(rng, twice, 0.4)
    known, leaking = (elect(BOTH, named(twice, ids, given), named(copies, ids)) for given in (groups, None))
    assert leaking["patchcore"] > known["patchcore"] + 0.1


def test_too_few_pictures_decide_nothing_and_copies_of_others_are_left_out() -> None:
    rng, ids = np.random.default_rng(3), np.arange(8).astype(str)
    cells = pictures(rng, 8, False)
    assert elect(BOTH, named(cells[:7], ids[:7]), named(cells[:7], ids[:7])) == {}
    copies = damaged(rng, cells)
    strangers = named(np.concatenate([copies, 50 + copies]), np.concatenate([ids, np.char.add("x", ids)]))
    assert elect(BOTH, named(cells, ids), strangers) != {}
    assert elect(BOTH, named(cells, ids), strangers) == elect(BOTH, named(cells, ids), named(copies, ids))


def test_a_choice_is_written_as_its_scorers() -> None:
    text = "best(padim(top=0.01), patchcore(memory=500, top=0.02))"
    assert candidates(text) == ["padim(top=0.01)", "patchcore(memory=500, top=0.02)"]
    assert candidates("fisher(error, knn)") == ["fisher(error, knn)"]
    with pytest.raises(OptionError, match="decided by the good pictures") as caught:
        make_scorer(text)
    assert "padim(top=0.01)" in caught.value.remedy
    for wrong in ("best", "best(padim)", "best(padim, knn, k=3)"):
        with pytest.raises(OptionError, match="leaves no choice"):
            candidates(wrong)


def test_a_run_says_which_scorer_decides_and_why(tmp_path: Path) -> None:
    from torchvision.models import mobilenet_v2

    rng = np.random.default_rng(0)
    down, right = np.mgrid[:64, :64]
    (tmp_path / "good").mkdir()
    for number in range(12):
        level = 90 + 60 * (np.hypot(down - 32, right - 32) < 20) + rng.normal(0, 4, (64, 64))
        Image.fromarray(np.clip(level, 0, 255).astype(np.uint8)).save(tmp_path / "good" / f"{number}.png")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        torch.save(mobilenet_v2(weights=None).state_dict(), tmp_path / "random.pth")
    run = winnow.Run(tmp_path / "run", "inspect", weights=tmp_path / "random.pth", size=(64, 64)).fit(tmp_path / "good")
    known = run.folder.result(Calibrated)
    assert list(known.own.elected) == BOTH
    assert known.own.scorer == max(known.own.elected, key=known.own.elected.get)
    assert "decides: of damaged copies" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    other = run.calibrate(scorer="patchcore") if known.own.scorer == "padim" else run.calibrate(scorer="padim")
    assert not other.own.elected and other.own.scorer != known.own.scorer
    assert other.own.promise.threshold != known.own.promise.threshold
    with pytest.raises(OptionError, match="looks for no damage"):
        winnow.Run(tmp_path / "oneclass", "oneclass-from-scratch", scorer="best(error, knn)").fit(tmp_path / "good")


def test_scorers_that_read_losses_of_models_beside_the_network_may_be_chosen_between(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "good").mkdir()
    for number in range(8):
        Image.fromarray(rng.integers(90, 160, (64, 128), dtype=np.uint8)).save(tmp_path / "good" / f"{number}.png")
    text = "best(error(pool=texture), error(pool=top_windows))"
    few = {"iterations": 20, "check_every": 10, "fast": 0, "border": 0, "mode": "full", "size": (32, 32)}
    run = winnow.Run(tmp_path / "run", "inspect-texture", scorer=text, **few).fit(tmp_path / "good")
    known = run.folder.result(Calibrated).own.elected
    assert set(known) == {"error(pool=texture)", "error(pool=top_windows)"}
