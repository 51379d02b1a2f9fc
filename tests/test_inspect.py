"""Inspection of any product: tiles, embeddings of places, and a run from ten good pictures to boxes, maps and a file."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import winnow
from winnow import show
from winnow.check import check_model
from winnow.deploy.runtime import Deployed
from winnow.embeddings import Embeddings
from winnow.errors import OptionError, WinnowError
from winnow.inspect.locate import Picture, located
from winnow.models.dense import MOST_CHANNELS, Dense
from winnow.options import IngestOptions
from winnow.pool.in_memory import InMemory
from winnow.pool.parts import cut_up
from winnow.pool.patches import MOST_TILES, blend, scaled, tile_boxes
from winnow.pool.pool import Pool
from winnow.report.overlays import overlay
from winnow.results import Calibrated, Exported
from winnow.run.judge import wholes_of
from winnow.steps.export import _card, _wanted, about_file
from winnow.steps.predict_onnx import predict_onnx
from winnow.steps.report.coverage import close_up, drawn_small
from winnow.tables import read_table

from exported import same_maps
from videos import write

HEIGHT, WIDTH = 90, 120


def product(rng: np.random.Generator) -> np.ndarray:
    """Draw a grey part: a bright ring on a dark ground with a seam at one place, some grain, and another exposure each time."""
    down, right = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(down - HEIGHT / 2, right - WIDTH / 2)
    level = 60 + 90 * ((distance > 20) & (distance < 36)) - 30 * (np.abs(right - 100) < 3)
    level = (level + rng.normal(0, 4, level.shape)) * rng.uniform(0.8, 1.2)
    return np.clip(level, 0, 255).astype(np.uint8)


def scratched(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a part with a dark scratch on its ring or ground, and the mask of it."""
    pixels, mask = product(rng), np.zeros((HEIGHT, WIDTH), bool)
    y, x = rng.integers(10, HEIGHT - 22), rng.integers(10, WIDTH - 40)
    mask[y : y + 6, x : x + 26] = True
    pixels[mask] = 230 if pixels[mask].mean() < 128 else 10
    return pixels, mask


@pytest.fixture(scope="module")
def goods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `good` (20 to learn from), `new` (12 unseen), `bad` (10 scratched) with `masks`, and `odd` pictures."""
    folder, rng = tmp_path_factory.mktemp("goods"), np.random.default_rng(0)
    for name, count in (("good", 20), ("new", 12)):
        (folder / name).mkdir()
        for number in range(count):
            Image.fromarray(product(rng)).save(folder / name / f"{number:02d}.png")
    (folder / "bad").mkdir()
    (folder / "masks").mkdir()
    for number in range(10):
        pixels, mask = scratched(rng)
        Image.fromarray(pixels).save(folder / "bad" / f"{number:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02d}.png")
    (folder / "odd").mkdir()
    half, torn, smear = product(rng), product(rng), product(rng)
    half[:, WIDTH // 2 :] = 0
    torn[: HEIGHT // 3] = 255
    smear[:, :12] = smear[:, :12].mean()
    smear[30:60, :14] = 200
    odd = {"black": np.zeros_like(half), "white": np.full_like(half, 255), "half": half, "torn": torn, "smear": smear}
    for name, pixels in odd.items():
        Image.fromarray(pixels).save(folder / "odd" / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of MobileNetV2 weights drawn from a seed: where nothing is downloaded, a random network must do."""
    from torchvision.models import mobilenet_v2

    with torch.random.fork_rng():
        torch.manual_seed(3)
        file = tmp_path_factory.mktemp("weights") / "random.pth"
        torch.save(mobilenet_v2(weights=None).state_dict(), file)
    return file


@pytest.fixture(scope="module")
def run(goods: Path, weights: Path) -> winnow.Run:
    return winnow.Run(goods / "run", "inspect", weights=weights, size=(96, 96)).fit(goods / "good")


@pytest.fixture(scope="module")
def exported(run: winnow.Run, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run.export(tmp_path_factory.mktemp("exported") / "part.onnx")


def card_of(run: winnow.Run, written: Exported) -> str:
    """Return the model card of a run, without its file; how well a `written` file of its kind computes is told instead."""
    learnt = _wanted(run.folder, "")
    about = about_file(run.folder, learnt.classifier, learnt.detector)
    return _card(run.folder, about, written, learnt)


def test_a_picture_is_one_tile_and_a_strip_squares() -> None:
    assert tile_boxes((90, 120)).tolist() == [[0, 0, 120, 90]]
    assert tile_boxes((100, 400)).tolist() == [[0, 0, 400, 100]]
    strip = tile_boxes((256, 4096))
    assert len(strip) == 16 and set(strip[:, 2]) == set(strip[:, 3]) == {256}
    assert strip[0].tolist() == [0, 0, 256, 256] and strip[-1].tolist() == [4096 - 256, 0, 256, 256]
    thread = tile_boxes((5000, 1))  # not 5,000 squares of one pixel
    assert len(thread) == MOST_TILES and set(map(tuple, thread[:, [0, 2]].tolist())) == {(0, 1)}
    covered = np.zeros(5000, bool)
    for _, y, _, height in thread:
        covered[y : y + height] = True
    assert covered.all() and thread[-1, 1] + thread[-1, 3] == 5000
    upright = tile_boxes((1025, 256))
    covered = np.zeros(1025, int)
    for x, y, width, height in upright.tolist():
        assert x == 0 and width == 256
        covered[y : y + height] += 1
    assert len(upright) == 5 and covered.min() >= 1


def test_maps_and_pixels_are_scaled_to_their_boxes() -> None:
    ramp = np.linspace(0, 1, 8)[None].repeat(4, axis=0)
    whole = blend(ramp[None], np.array([[0, 0, 80, 40]]), (40, 80))
    assert whole.shape == (40, 80) and np.all(np.diff(whole[20]) >= 0)
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert scaled(pixels, (4, 4)) is pixels
    assert scaled(pixels, (8, 6)).shape == (8, 6, 3) and scaled(pixels[..., :1], (8, 6)).dtype == np.uint8


def test_the_boxes_of_a_pool_are_read_once_for_all_its_pictures() -> None:
    rng, read = np.random.default_rng(0), []

    class Pieces(InMemory):
        def column(self, name: str) -> np.ndarray:
            read.append(name)
            return super().column(name)

    options = IngestOptions(size=(8, 8), tiles=True)
    given = [
        (page, None, cut_up(f"p{page}", rng.integers(0, 256, (8, 40, 3)).astype(np.uint8), options, None, None))
        for page in (1, 2, 3)
    ]
    pool = Pieces("strips", given, options)
    scores = np.zeros(len(pool))
    scores[-1] = 1.0
    found = dict(located(pool, scores, np.full(3, 0.5), np.arange(3), None))
    assert [picture.page for picture in found.values()] == [1, 2, 3] and read == ["box"]
    assert [len(picture.defects) for picture in found.values()] == [0, 0, 1]


@pytest.mark.parametrize(
    ("backbone", "size", "cells"),
    [
        ("mobilenet_v2", (96, 64), (6, 4, 96)),
        ("tf_efficientnet_lite0", (96, 96), (6, 6, 112)),
        ("resnet18", (64, 96), (4, 6, MOST_CHANNELS)),
        ("vit_tiny_patch16_224", (96, 64), (6, 4, MOST_CHANNELS)),
        ("squeezenet1_1", (96, 96), (5, 5, MOST_CHANNELS)),
    ],
)
def test_places_are_16_pixels_apart_whatever_the_network(backbone: str, size: tuple[int, int], cells: tuple) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Dense(size, 1, backbone)
    check_model(model)
    found = model(torch.rand(2, 1, *size))
    assert tuple(found.cells.shape[1:]) == cells
    torch.testing.assert_close(found.vectors, found.cells.mean(dim=(1, 2)))


def test_another_exposure_is_no_defect() -> None:
    model, images = Dense((64, 64), 3), torch.rand(2, 3, 64, 64) * 0.3 + 0.3
    torch.testing.assert_close(model(images).cells, model(images * 0.8 + 0.05).cells, rtol=1e-3, atol=1e-4)


def test_cells_are_saved_sliced_and_refused(tmp_path: Path) -> None:
    cells = np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float32)
    embeddings = Embeddings.of(cells.mean(axis=(1, 2)), cells=cells)
    embeddings.save(tmp_path)
    assert Embeddings.load(tmp_path).cells is None
    again = Embeddings.load(tmp_path, cells=True)
    assert again.cells is not None
    np.testing.assert_array_equal(again.cells, cells)
    np.testing.assert_array_equal(again[[3, 1]].cells, cells[[3, 1]])
    with pytest.raises(WinnowError, match="'cells' has shape"):
        Embeddings.of(cells.mean(axis=(1, 2)), cells=cells[:4])
    damaged = bytearray((tmp_path / "cells.npy").read_bytes())
    damaged[-3] ^= 1
    (tmp_path / "cells.npy").write_bytes(damaged)
    with pytest.raises(WinnowError, match=r"cells\.npy"):
        Embeddings.load(tmp_path, cells=True)
    assert len(Embeddings.load(tmp_path)) == 5  # what is not read is not looked at


def test_steps_that_need_no_places_read_none(run: winnow.Run, goods: Path, tmp_path: Path, monkeypatch) -> None:
    copy = winnow.Run(shutil.copytree(run.folder.path, tmp_path / "run"))
    labels, asked = tmp_path / "labels.csv", []
    rows = [f'"{name}",{"ab"[number % 2]}' for number, name in enumerate(copy.embeddings.ids)]
    labels.write_text("\n".join(["id,label", *rows]), encoding="utf-8")
    load = Embeddings.load.__func__
    monkeypatch.setattr(
        Embeddings,
        "load",
        classmethod(lambda kind, *given, **named: asked.append(named) or load(kind, *given, **named)),
    )
    chosen = copy.select(6)
    copy.classify(labels=labels, folds=2)
    copy.report()
    assert chosen.chosen == 6 and asked and not any(named.get("cells") for named in asked)
    assert copy.embeddings.cells is not None


def test_a_picture_that_did_not_calibrate_is_scored_for_a_choice(run: winnow.Run, tmp_path: Path) -> None:
    copy = winnow.Run(shutil.copytree(run.folder.path, tmp_path / "run"))
    review = copy.folder.path / "review.csv"
    rows = review.read_text(encoding="utf-8").splitlines()
    place = rows[0].split(",").index("leave_out")
    marked = rows[1].split(",")
    marked[place] = "x"
    review.write_text("\n".join([rows[0], ",".join(marked), *rows[2:]]), encoding="utf-8")
    copy.calibrate()
    assert copy.detector.without_score(copy.embeddings).sum() == 1
    assert copy.select(6).chosen == 6


def test_every_good_picture_calibrates(run: winnow.Run) -> None:
    whole = run.calibrate().modes["full"].whole
    assert whole is not None and whole.calibrated_on == 20
    assert whole.false_alarm_rate == pytest.approx(
        2 / 21
    )  # the usual rate with few: not all of them below the threshold


def test_scratches_are_found_and_boxed(run: winnow.Run, goods: Path) -> None:
    found = run.evaluate(goods / "new", {"scratch": goods / "bad"}, masks=goods / "masks")
    assert found.anomalous["scratch"].detection_rate >= 0.9
    assert found.false_alarm_rate <= 0.25
    assert found.masks.pixel_auroc > 0.9


def test_damage_that_looks_blank_is_damage(run: winnow.Run, goods: Path) -> None:
    run.score(goods / "odd")
    rows = read_table(run.folder.path / "scores" / "scores.csv")
    assert {Path(row["source"]).stem: row["belongs"] for row in rows} == dict.fromkeys(
        ("black", "half", "smear", "torn", "white"), "no"
    )


def test_maps_have_the_picture_s_own_size_and_lie_on_the_damage(run: winnow.Run, goods: Path, tmp_path: Path) -> None:
    run.score(goods / "bad", heatmaps=tmp_path / "maps")
    hits = []
    for number in range(10):
        (file,) = (tmp_path / "maps").glob(f"*-{number:02d}.mask.png")
        mask, truth = (np.asarray(Image.open(path)) for path in (file, goods / "masks" / f"{number:02d}.png"))
        assert mask.shape == (HEIGHT, WIDTH)
        hits.append((mask.astype(bool) & truth.astype(bool)).any())
    assert sum(hits) >= 9


def test_a_strip_is_judged_by_its_squares(run: winnow.Run, goods: Path, tmp_path: Path) -> None:
    strip = np.tile(product(np.random.default_rng(9)), (1, 5))
    Image.fromarray(strip).save(tmp_path / "strip.png")
    run.score(tmp_path / "strip.png", to=tmp_path / "out")
    (row,) = read_table(tmp_path / "out" / "scores.csv")
    patches = read_table(tmp_path / "out" / "patches.csv")
    assert row["patches"] == "7" and len(patches) == 7
    assert float(row["score"]) == pytest.approx(max(float(patch["score"]) for patch in patches), rel=1e-4)


def test_the_exported_file_says_the_same(run: winnow.Run, exported: Exported, goods: Path, tmp_path: Path) -> None:
    files = sorted((goods / "new").iterdir())
    run.score(goods / "new", to=tmp_path / "out")
    scores = [float(row["score"]) for row in read_table(tmp_path / "out" / "scores.csv")]
    pixels = Pool.open(tmp_path / "out" / "pool").pixels(np.arange(len(files)))
    np.testing.assert_allclose(Deployed.open(exported.file)(pixels)["score"], scores, rtol=2e-3)


def test_the_exported_file_draws_the_same(run: winnow.Run, exported: Exported, goods: Path, tmp_path: Path) -> None:
    result = exported
    assert result.outputs[-1] == "anomaly_map" and max(result.parity.values()) < 2e-5
    lines = [line for line in result.card.read_text(encoding="utf-8").splitlines() if line.startswith("- ")]
    assert len(lines) == len(set(lines))  # what is said of a picture's threshold is not said again of a square's
    strip = np.tile(scratched(np.random.default_rng(9))[0], (1, 5))
    (tmp_path / "in").mkdir()
    Image.fromarray(strip).save(tmp_path / "in" / "strip.png")
    sources = [goods / "bad", goods / "new", tmp_path / "in"]
    scored = run.score(sources, to=tmp_path / "own", heatmaps=tmp_path / "own maps")
    predicted = predict_onnx(result.file, sources, to=tmp_path / "told", heatmaps=tmp_path / "told maps")
    assert " ".join(predicted.notes) == scored.note
    assert "are of another size or shape" in scored.note and "have more patches" in scored.note
    same_maps(tmp_path / "own maps", tmp_path / "told maps")
    own, told = (read_table(tmp_path / name / "defects.csv") for name in ("own", "told"))
    assert own and [list(row.values())[:-1] for row in own] == [list(row.values())[:-1] for row in told]
    scores = [[float(row["score"]) for row in rows] for rows in (own, told)]
    np.testing.assert_allclose(*scores, rtol=2e-3)


def test_tiles_go_with_neither_patches_nor_people(goods: Path, weights: Path, tmp_path: Path) -> None:
    run = winnow.Run(tmp_path / "run", "inspect", weights=weights, size=(96, 96), patches=True)
    with pytest.raises(OptionError, match="--patches and --tiles do not go together"):
        run.fit(goods / "good")


def test_without_weights_the_recipe_says_what_it_does(goods: Path, tmp_path: Path) -> None:
    run = winnow.Run(tmp_path / "run", "inspect", model="autoencoder")
    assert run.folder.recipe == "inspect-texture"


def test_pictures_of_another_size_are_named(run: winnow.Run, goods: Path, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    picture = Image.open(goods / "new" / "00.png")
    picture.resize((4 * WIDTH, 4 * HEIGHT)).save(tmp_path / "large" / "large.png")
    picture.resize((WIDTH, 3 * HEIGHT)).save(tmp_path / "large" / "narrow.png")
    picture.resize((WIDTH + 20, HEIGHT + 10)).save(tmp_path / "large" / "nearly.png")
    note = run.score(tmp_path / "large", to=tmp_path / "out").note
    assert "2 of 3 pictures are of another size or shape (480x360) than the run's own (120x90 to 120x90)" in note
    found = run.evaluate(goods / "new", {"large": tmp_path / "large"})
    assert any(text.startswith("large: 2 of 3 pictures are of another size") for text in found.notes)
    assert not any(text.startswith("belongs: ") for text in found.notes)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_pictures_promise_what_each_held_out_in_turn_allows(
    goods: Path, weights: Path, tmp_path: Path, count: int
) -> None:
    few = winnow.Run(tmp_path / "run", "inspect", weights=weights, size=(96, 96))
    few.fit(sorted((goods / "good").iterdir())[:count])
    whole = few.folder.result(Calibrated).modes["full"].whole
    assert whole is not None and whole.false_alarm_rate == pytest.approx(1 / (count + 1))
    assert whole.calibrated_on == count and f"can promise no less than {100 / (count + 1):.3g} %" in whole.note


def test_one_picture_finds_damage_and_promises_nothing(goods: Path, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    one = winnow.Run(tmp_path / "run", "inspect", weights=weights, size=(96, 96))
    one.fit(goods / "good" / "00.png")
    calibrated = one.folder.result(Calibrated)
    whole = calibrated.modes["full"].whole
    assert whole is not None and whole.false_alarm_rate == 1 and "the threshold is an estimate" in whole.note
    assert "no false-alarm rate can be promised" in show.calibrate(calibrated, "run")
    found = one.evaluate(goods / "new", {"bad": goods / "bad"}, masks=goods / "masks")
    assert found.false_alarm_rate_promised == 1 and found.anomalous["bad"].auroc > 0.9
    assert "none promised" in show.evaluate(found) and not any("than promised" in note for note in found.notes)
    page = one.report().read_text(encoding="utf-8")
    assert "nothing can be promised" in page and "the threshold is an estimate" in page
    exported = one.export()
    assert "no false-alarm rate can be promised" in exported.card.read_text(encoding="utf-8")
    assert Deployed.open(exported.file).false_alarm_rate == 1
    one.score(goods / "bad", to=tmp_path / "own")
    predict_onnx(exported.file, [goods / "bad"], to=tmp_path / "other")
    own, other = (read_table(path) for path in (tmp_path / "own/scores.csv", tmp_path / "other/predictions.csv"))
    assert [row["belongs"] for row in own] == [row["belongs"] for row in other]


def test_more_false_alarms_than_promised_are_remarked_on(run: winnow.Run, goods: Path) -> None:
    said = [
        any(text.startswith("More false alarms than promised, beyond chance") for text in found.notes)
        for found in (run.evaluate(goods / normal, {"odd": goods / "odd"}) for normal in ("new", "bad"))
    ]
    assert said == [False, True]


def test_an_estimated_rate_is_called_one_everywhere(
    goods: Path, weights: Path, exported: Exported, tmp_path: Path
) -> None:
    wanted = {"false_alarm_rate": 0.01, "estimate": True, "size": (96, 96)}
    run = winnow.Run(tmp_path / "run", "inspect", weights=weights, **wanted)
    run.fit(sorted((goods / "good").iterdir())[:8])
    calibrated = run.folder.result(Calibrated)
    whole = calibrated.modes["full"].whole
    assert whole is not None and whole.estimated and whole.false_alarm_rate == 0.01
    assert "1.00 % false alarms per picture, estimated, not promised, from 8" in show.calibrate(calibrated, "run")
    found = run.evaluate(goods / "new", {"bad": goods / "bad"})
    assert found.false_alarm_rate_estimated and "1.0 % estimated" in show.evaluate(found)
    assert "estimated, not promised" in run.report().read_text(encoding="utf-8")
    assert "estimated, not promised" in card_of(run, exported)


def fine(folder: Path) -> dict[str, np.ndarray]:
    """Write pictures finer than the run sees them, in several forms; return each as a person sees it, by its name."""
    rng, folder = np.random.default_rng(5), folder / "fine"
    folder.mkdir()
    grey = np.kron(product(rng), np.ones((3, 3), np.uint8))
    grey[::2, ::2] += 9  # too fine for 96 pixels
    colour = np.stack([grey, grey // 2, grey], axis=2)
    deep = grey.astype(np.uint16) * 257
    Image.fromarray(colour).save(folder / "colour.png")
    Image.fromarray(deep).save(folder / "deep.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(colour).save(folder / "turned.png", exif=turned)
    pages = [Image.fromarray(colour), Image.fromarray(colour[::-1].copy())]
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    strip = np.tile(colour[:100], (1, 3, 1))
    Image.fromarray(strip).save(folder / "strip.png")
    write(folder / "film.mkv", [colour, colour[::-1].copy()], codec="ffv1", form="bgr0", rate=1)
    triple = np.repeat(grey[..., None], 3, axis=2)
    return {
        "colour": colour,
        "deep": triple,
        "turned": np.rot90(colour, -1),
        "pages-page1": colour,
        "pages-page2": colour[::-1],
        "strip": strip,
        "film-0.000": colour,
        "film-1.000": colour[::-1],
    }


def is_drawn_on(maps: Path, name: str, pixels: np.ndarray, defects: list[dict[str, str]]) -> bool:
    """Return whether the overlay of this name is these very pixels under the map and the boxes."""
    (file,) = maps.glob(f"*-{name}.overlay.png")
    level = np.asarray(Image.open(file.with_name(file.name.replace("overlay", "map"))))
    boxes = [tuple(int(row[side]) for side in ("x", "y", "width", "height")) for row in defects]
    return level.shape == pixels.shape[:2] and file.read_bytes() == overlay(pixels, level / 255, boxes)


@pytest.mark.parametrize("by", ["run", "file"])
def test_overlays_show_the_picture_at_its_own_resolution(
    by: str, run: winnow.Run, exported: Exported, tmp_path: Path
) -> None:
    seen = fine(tmp_path)
    if by == "run":
        note = run.score(tmp_path / "fine", to=tmp_path / "out", heatmaps=tmp_path / "maps").note
    else:
        to = {"to": tmp_path / "out", "heatmaps": tmp_path / "maps"}
        note = " ".join(predict_onnx(exported.file, [tmp_path / "fine"], **to).notes)
    assert "enlarged" not in note
    rows = read_table(tmp_path / "out" / "defects.csv")
    defects: dict[str, list[dict[str, str]]] = {name: [] for name in seen}
    for row in rows:
        part = f"-{row['time']}" if row["time"] else f"-page{row['page']}" if row["page"] else ""
        defects[Path(row["source"]).stem + part].append(row)
    assert len(list((tmp_path / "maps").glob("*.overlay.png"))) == len(seen)
    assert [name for name in seen if not is_drawn_on(tmp_path / "maps", name, seen[name], defects[name])] == []


def test_a_grey_run_draws_on_grey(goods: Path, weights: Path, tmp_path: Path) -> None:
    grey = winnow.Run(tmp_path / "run", "inspect", weights=weights, size=(96, 96), grey=True).fit(goods / "good")
    seen = fine(tmp_path)["colour"]
    grey.score(tmp_path / "fine" / "colour.png", to=tmp_path / "out", heatmaps=tmp_path / "maps")
    shown = np.asarray(Image.fromarray(seen).convert("L"))
    assert is_drawn_on(tmp_path / "maps", "colour", shown, read_table(tmp_path / "out" / "defects.csv"))


def test_a_source_that_is_gone_or_another_is_drawn_enlarged(
    run: winnow.Run, goods: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [shutil.copy(goods / "bad" / f"{number:02d}.png", tmp_path) for number in range(3)]

    def later(*given, **named):
        Path(files[0]).unlink(missing_ok=True)
        shutil.copy(goods / "bad" / "05.png", files[1])
        return wholes_of(*given, **named)

    monkeypatch.setattr("winnow.steps.score.wholes_of", later)
    note = run.score(files, heatmaps=tmp_path / "maps").note
    assert re.search(r"2 of 3 pictures are drawn as the run saw them, enlarged, .* the first: .*00\.png", note)
    last, defects = (
        np.asarray(Image.open(files[2]).convert("RGB")),
        read_table(run.folder.path / "scores" / "defects.csv"),
    )
    assert is_drawn_on(tmp_path / "maps", "02", last, [row for row in defects if row["source"] == str(files[2])])
    for number in range(3):
        size = Image.open(tmp_path / "maps" / f"{number:05d}-{number:02d}.overlay.png").size
        assert size == (WIDTH, HEIGHT)
    assert "2 of 3 pictures are drawn as the run saw them" in Path(run.report()).read_text(encoding="utf-8")


def test_addresses_on_the_network_are_read_again_where_they_were_given(
    run: winnow.Run, goods: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.score(goods / "bad" / "00.png", to=tmp_path / "out")
    pool = Pool.open(tmp_path / "out" / "pool")
    pool.items = pool.items.set_column(1, "source", [["s3://mine/00.png"]])
    asked = []

    def read(address: str, *given) -> bytes:
        asked.append(address)
        return (goods / "bad" / "00.png").read_bytes()

    monkeypatch.setattr("winnow.pool.originals.storage.read", read)
    size = (HEIGHT, WIDTH)
    report, score = (wholes_of(run.folder, pool, named=named) for named in (False, True))
    assert report(0, size) is None and not asked and "on the network" in report.note
    assert score(0, size).shape == (*size, 3) and asked == ["s3://mine/00.png"] and not score.note


def test_large_pictures_are_smaller_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, mask = np.zeros((300, 600, 3), np.uint8), np.zeros((300, 600), bool)
    pixels[100:120, 200:260] = 255
    picture = Picture("a", "a.png", None, None, pixels, mask.astype(float), mask, [(200, 100, 60, 20, 1.0)])
    monkeypatch.setattr("winnow.steps.report.coverage.PIXELS", 20_000)
    shown, boxes = drawn_small(picture)
    drawn = shown.astype(int)
    assert drawn.shape == (100, 200, 3) and boxes == [(67, 33, 20, 7)]
    assert close_up(shown, boxes[0]).shape == (100, 140, 3)
    blue = np.argwhere((np.abs(drawn - (0x56, 0xB4, 0xE9)) < 3).all(axis=2))
    assert np.abs(blue.min(axis=0) - (31, 65)).max() <= 1 and np.abs(blue.max(axis=0) - (41, 88)).max() <= 1


def said(run: winnow.Run, sources: Path, new: Path, written: Exported) -> str:
    """Return what the terminal, the card and the report say of a run, but for the options and what is drawn."""
    lines = [show.result(step(), "RUN") for step in (lambda: run.ingest(sources), run.train, run.encode, run.calibrate)]
    lines += [show.score(run.score(new)), show.evaluate(run.evaluate(new, {"b": new}))]
    page = re.sub(r"data:image[^\"']*|<[^>]+>", " ", Path(run.report()).read_text(encoding="utf-8"))
    return re.sub(r"patches\s+no\s+default", "", "\n".join([*lines, page, card_of(run, written)]))


def test_runs_of_whole_pictures_speak_of_pictures_and_of_squares(
    goods: Path, weights: Path, exported: Exported, tmp_path: Path
) -> None:
    run = winnow.Run(tmp_path / "run", "inspect", weights=weights, size=(96, 96))
    text = said(run, goods / "good", goods / "bad", exported)
    assert "Ingested 20 pictures in 20 groups" in text and "Encoded 20 pictures into" in text
    assert "scorer 'padim': " in text and not re.search(r"\b[Pp]atch(es)?\b", text)
    (tmp_path / "strips").mkdir()
    rng = np.random.default_rng(3)
    for number in range(10):
        strip = np.concatenate([product(rng) for _ in range(4)], axis=1)
        Image.fromarray(strip).save(tmp_path / "strips" / f"{number}.png")
    strips = winnow.Run(tmp_path / "long", "inspect", weights=weights, size=(96, 96))
    text = said(strips, tmp_path / "strips", tmp_path / "strips", exported)
    assert "Ingested 10 pictures, cut into 60 squares, in 10 groups" in text and "Encoded 60 squares into" in text
    assert "for the worst square of a picture: " in text and "defects in 60 squares. Results" in text
    assert not re.search(r"\b[Pp]atch(es)?\b", text)


def test_the_unit_is_what_is_judged_by_itself() -> None:
    units = [
        IngestOptions(**{kind: True}).unit(pieces, 4) for kind in ("patches", "tiles", "grey") for pieces in (4, 9)
    ]
    assert units == ["patch", "patch", "picture", "square", "picture", "picture"]
