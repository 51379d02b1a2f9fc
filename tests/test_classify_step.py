"""classify, predict and round on a small run: labels from everywhere, tables, the report, kills, and input that is wrong."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import winnow
from winnow.embeddings import Embeddings
from winnow.errors import DataError, InputError, OptionError, RunError
from winnow.label.store import Event
from winnow.pool.pool import Pool
from winnow.report.classification import confusion_matrix, label_curve, reliability_curve
from winnow.run.choice import TOO_FEW
from winnow.run.labels import catalogue_of, open_store
from winnow.run.recipe import load_recipe
from winnow.select.uncertain import uncertainty
from winnow.show import classify as told
from winnow.steps import select as select_step
from winnow.steps.classify import _more_labels
from winnow.steps.report.classifier import classifier_sections
from winnow.steps.report.pictures import OwnPictures

from conftest import blocks, stripes, winnow_command
from spoiling import set_options

pytestmark = pytest.mark.slow


def clips(folder: Path, groups: int, each: int, seed: int = 0) -> Path:
    """Folders of pictures of two kinds, told by their names."""
    rng = np.random.default_rng(seed)
    for group in range(groups):
        (folder / f"clip ä{group}").mkdir(parents=True, exist_ok=True)
        for number in range(each):
            for kind, draw in (("stripes", stripes), ("blocks", blocks)):
                Image.fromarray(draw(rng)).save(folder / f"clip ä{group}" / f"{number} {kind}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded random SqueezeNet: its embeddings tell stripes from blocks without any training."""
    import torch
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    save_file(squeezenet1_1(weights=None).state_dict(), path)
    return path


def encoded(folder: Path, source: Path, weights: Path) -> winnow.Run:
    run = winnow.Run(folder, "oneclass", size=(32, 32), backbone="squeezenet1_1", weights=weights)
    run.ingest(source)
    run.train()
    run.encode()
    run.calibrate()
    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """A run of six clips of ten pictures of each kind."""
    folder = tmp_path_factory.mktemp("shop")
    encoded(folder / "run", clips(folder / "in", 6, 10), weights)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> winnow.Run:
    return winnow.Run(shutil.copytree(made / "run", tmp_path / "run"))


@pytest.fixture(autouse=True)
def small_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select_step, "MAPPED", 10)


def kind_of(source: str) -> str:
    return Path(source).stem.split()[-1]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sources_of(run: winnow.Run) -> list[str]:
    return [str(source) for source in pool_of(run).column("source")]


def pool_of(run: winnow.Run) -> Pool:
    return Pool.open(run.folder.folder("ingest"))


def labels_file(path: Path, run: winnow.Run, every: int = 5, wrong: int = 0) -> Path:
    """A CSV of the true label of every fifth picture, the first few of them wrong."""
    rows = [(source, kind_of(source)) for source in sources_of(run)][::every]
    other = {"stripes": "blocks", "blocks": "stripes"}
    rows = [(source, other[kind] if place < wrong else kind) for place, (source, kind) in enumerate(rows)]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("source", "label"), *rows])
    return path


def test_labels_of_a_file_make_a_classifier_and_its_tables(run: winnow.Run, tmp_path: Path):
    result = run.classify(labels=labels_file(tmp_path / "labels.csv", run))
    assert result.origin == f"{tmp_path / 'labels.csv'}: 24 by path"  # said in the first line printed
    assert result.labelled == 24 and result.by == "'logistic' on the embeddings" and result.macro_f1 > 0.9
    assert result.folds == 5 and result.groups == 6
    assert "5 folds of 6 groups." in told(result, "run")
    assert "5 folds cut from 1 group." in told(replace(result, groups=1), "run")
    assert len(result.notes) <= 1 and all("near-identical" in note for note in result.notes)  # stripes are much alike
    folder = run.folder.path / "classifier"
    written = ["audit.csv", "classifier.json", "classifier.npz", "labelled.csv", "pseudo.csv"]
    assert sorted(path.name for path in folder.iterdir()) == written
    rows = table(folder / "labelled.csv")
    assert len(rows) == 24 and all(kind_of(row["source"]) == row["label"] for row in rows)
    confusion = np.zeros((2, 2), int)
    names = ["blocks", "stripes"]
    for row in rows:
        confusion[names.index(row["label"]), names.index(row["class"])] += 1
        assert float(row["probability"]) == pytest.approx(max(float(row[f"p_{name}"]) for name in names), abs=1e-4)
    assert confusion.tolist() == result.confusion
    assert len({(row["group"], row["fold"]) for row in rows}) == 6
    assert (
        json.loads((folder / "classifier.json").read_text(encoding="utf-8"))["measured"]["macro_f1"] == result.macro_f1
    )
    says = told(result, run.folder.path)
    assert "macro F1" in says and "stripes" in says and "more labels" in says
    assert result.choice.method == "herding" and result.choice.says in says and "drawn at random" in says


def test_too_few_labels_for_halves_are_told(run: winnow.Run, tmp_path: Path):
    result = run.classify(labels=labels_file(tmp_path / "labels.csv", run, every=15))
    assert result.choice is None and TOO_FEW in result.notes and TOO_FEW in told(result, run.folder.path)


def test_the_saved_classifier_has_learnt_from_every_label(run: winnow.Run, tmp_path: Path):
    """What measures it afterwards, such as the learning curve, learns from fewer."""
    run.classify(labels=labels_file(tmp_path / "labels.csv", run))
    embeddings = Embeddings.load(run.folder.folder("encode"))
    rows = [row for row, source in enumerate(sources_of(run)) if row % 5 == 0]
    ids = [str(pool_of(run).column("id")[row]) for row in rows]
    kinds = dict(zip(ids, [kind_of(sources_of(run)[row]) for row in rows], strict=True))
    labels = np.array([kinds.get(str(item), "") for item in embeddings.ids], object)
    plain = winnow.Classifier().fit(np.asarray(embeddings.vectors), labels, embeddings.groups)
    saved = winnow.Classifier.load(run.folder.path / "classifier")
    assert np.array_equal(saved.predict_proba(embeddings.vectors), plain.predict_proba(embeddings.vectors))


def test_labels_of_the_store_and_of_the_sources(run: winnow.Run, weights: Path, tmp_path: Path):
    pool = pool_of(run)
    with open_store(run.folder) as store:
        store.add_classes("ann", ["stripes", "blocks"])
        catalogue = catalogue_of(run.folder, pool)
        items = list(zip(pool.column("id"), pool.column("source"), strict=True))[:40]
        store.add(
            "ann",
            [Event(f"e{place}", item, "label", kind_of(source)) for place, (item, source) in enumerate(items)],
            catalogue,
        )
        store.add("ann", [Event("gone", "of before", "label", "stripes")])
    result = run.classify()
    assert (result.origin, result.labelled) == ("the run's labels", 40) and result.curve.in_order
    assert "1 label is of items that are no longer in the pool" in result.notes[0]

    listed = tmp_path / "list.csv"
    rows = [(source, "clip" + str(place % 4), kind_of(source)) for place, source in enumerate(sources_of(run))]
    with listed.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "group", "label"), *rows])
    other = encoded(tmp_path / "listed", listed, weights)
    result = other.classify()
    assert result.origin.startswith("the labels that the sources") and result.labelled == 120 and result.groups == 4


def test_the_recipe_transfer_takes_folders_as_classes(made: Path, tmp_path: Path):
    """VGG16 with seeded random weights: the first fully connected layer's 4096 values, then a classifier."""
    import torch
    from safetensors.torch import save_file
    from torchvision.models import vgg16

    torch.manual_seed(0)
    weights = vgg16(weights=None, init_weights=False).half().state_dict()  # a quarter of a gigabyte
    save_file(weights, tmp_path / "vgg16.safetensors")
    for path in sorted((made / "in").rglob("*.png"))[::7]:
        (tmp_path / "in" / kind_of(str(path))).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "in" / kind_of(str(path)) / f"{path.parent.name} {path.name}")
    words = ("--size", "64", "64", "--weights", tmp_path / "vgg16.safetensors")
    done = winnow_command("run", "classify-vgg16", tmp_path / "in", "--to", tmp_path / "run", *words)
    assert done.returncode == 0, done.stderr
    assert "into 4,096 dimensions" in done.stdout and "the names of the pictures' folders" in done.stdout
    assert "Each class has a group of its own" in done.stdout
    assert {path.stem for path in (tmp_path / "run" / "steps").iterdir()} == {
        "ingest",
        "train",
        "encode",
        "calibrate",
        "classify",
    }
    assert "Learning curve" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert winnow.Run(tmp_path / "run").folder.options.ingest.size == (64, 64)
    assert load_recipe("classify-vgg16").options.model.layer == "classifier.1"


def test_without_the_option_folders_are_no_classes(run: winnow.Run):
    with pytest.raises(DataError, match="has no labels") as caught:
        run.classify()
    assert "--folders" in caught.value.remedy
    assert run.classify(folders=True).origin == "the names of the pictures' folders"


def test_predictions_of_new_pictures(run: winnow.Run, made: Path, tmp_path: Path):
    run.classify(labels=labels_file(tmp_path / "labels.csv", run))
    clips(tmp_path / "new", 2, 8, seed=7)
    Image.new("RGB", (48, 48), (0, 255, 0)).save(tmp_path / "new" / "green.png")
    (tmp_path / "new" / "broken.png").write_bytes(b"\x89PNG")
    result = run.predict(tmp_path / "new", to=tmp_path / "out")
    rows = table(tmp_path / "out" / "predictions.csv")
    assert list(rows[0]) == [
        "id",
        "source",
        "time",
        "class",
        "probability",
        "p_blocks",
        "p_stripes",
        "p_value",
        "belongs",
    ]
    assert len(rows) == result.pictures == 33 and result.refused == 1
    known = [row for row in rows if "green" not in row["source"]]
    assert np.mean([row["class"] == kind_of(row["source"]) for row in known]) > 0.85
    for row in rows:
        assert float(row["p_blocks"]) + float(row["p_stripes"]) == pytest.approx(1, abs=2e-4)
    scored = run.score(tmp_path / "new", to=tmp_path / "scored")
    assert [row["belongs"] for row in rows] == [row["belongs"] for row in table(tmp_path / "scored" / "scores.csv")]
    assert result.anomalous == len(rows) - scored.belong
    assert run.predict(made / "in").folder == run.folder.path / "predictions"
    vectors = run.embeddings.vectors
    said = {row["id"]: row["class"] for row in table(run.folder.path / "predictions" / "predictions.csv")}
    assert [said[name] for name in run.embeddings.ids] == run.classifier.predict(vectors).tolist()


def test_a_class_called_value_has_a_column_of_its_own(run: winnow.Run, made: Path, tmp_path: Path):
    names = {"stripes": "value", "blocks": "value_"}
    with (tmp_path / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("source", "label"), *((source, names[kind_of(source)]) for source in sources_of(run)[::5])]
        )
    run.classify(labels=tmp_path / "labels.csv")
    run.predict(made / "in", to=tmp_path / "out")
    rows = table(tmp_path / "out" / "predictions.csv")
    header = (tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert header[3:] == ["class", "probability", "p_value__", "p_value_", "p_value", "belongs"]
    for row in rows:
        assert float(row["p_value__"]) + float(row["p_value_"]) == pytest.approx(1, abs=2e-4)
        assert row["class"] == ("value" if float(row["p_value__"]) > float(row["p_value_"]) else "value_")


def test_a_round_adds_what_is_uncertain(run: winnow.Run, tmp_path: Path):
    with pytest.raises(RunError, match="'classify' is not done"):
        run.round(5)
    labels = labels_file(tmp_path / "labels.csv", run, wrong=4)
    run.select(8)
    before = table(run.folder.path / "selection.csv")
    run.classify(labels=labels)
    result = run.round(12, also=labels)
    rows = table(run.folder.path / "selection.csv")
    assert rows[:8] == before and len(rows) == result.chosen == 20 and result.kept == 8
    assert {row["method"] for row in rows[8:]} == {"round"} and [row["rank"] for row in rows] == [
        str(rank) for rank in range(1, 21)
    ]
    labelled = {row["id"] for row in table(run.folder.path / "classifier" / "labelled.csv")}
    assert len({row["id"] for row in rows}) == 20 and not {row["id"] for row in rows[8:]} & labelled
    entropy = dict(
        zip(run.embeddings.ids, uncertainty(run.classifier.predict_proba(run.embeddings.vectors)), strict=True)
    )
    assert np.mean([entropy[row["id"]] for row in rows[8:]]) > np.mean(list(entropy.values()))
    again = run.select(24)  # the list goes on with its own method
    assert (
        again.kept == 20 and [row["method"] for row in table(run.folder.path / "selection.csv")][20:] == ["herding"] * 4
    )
    with pytest.raises(OptionError, match="0 is no number"):
        run.round(0)
    left = 120 - len({row["id"] for row in table(run.folder.path / "selection.csv")} | labelled)
    more = run.round(1000, also=labels)
    assert more.chosen == 24 + left
    assert f"1,000 more pictures were asked for, and {left} are all that can be chosen." in more.notes
    assert "3 more pictures were asked for, and none can be chosen." in run.round(3, also=labels).notes


@pytest.mark.parametrize(
    ("gain", "error", "a_class", "pays"),
    [
        (0.3, 0.01, 7.5, None),  # of fifteen labels of two classes: a curve of few points does not speak
        (0.0, 0.0, 7.5, None),
        (0.05, 0.02, 12, True),
        (0.0, 0.01, 30, None),
        (-0.02, 0.01, 125, False),
        (0.05, 0.03, 12, None),  # a rise within two standard errors is no evidence
        (0.005, 0.002, 250, True),
        (0.005, 0.004, 250, False),
        (0.005, 0.02, 250, None),
    ],
)
def test_the_learning_curve_speaks_of_what_it_can_tell(gain: float, error: float, a_class: float, pays: bool | None):
    found, says = _more_labels(gain, error, a_class)
    assert found is pays
    assert ("would pay little" in says) == (pays is False) and (says == "more labels would pay") == (pays is True)


def test_uncertainty_is_the_entropy():
    assert uncertainty(np.array([[0.5, 0.5], [1, 0], [0.9, 0.1]])) == pytest.approx([1, 0, 0.469], abs=1e-3)


def test_pseudo_labels_are_listed_audited_and_measured(
    run: winnow.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """On embeddings that separate by themselves F1 cannot rise, so the stop rule is told that it did."""
    monkeypatch.setattr("winnow.classify.classifier.rise", lambda before, after, seed: (0.1, 0.01))
    labels = labels_file(tmp_path / "labels.csv", run)
    result = run.classify(labels=labels, pseudo=40, rounds=2)
    rows = table(run.folder.path / "classifier" / "pseudo.csv")
    assert len(rows) == sum(result.pseudo.added.values()) == 40
    assert not {row["id"] for row in rows} & {
        row["id"] for row in table(run.folder.path / "classifier" / "labelled.csv")
    }
    drawn = table(run.folder.path / "classifier" / "audit.csv")
    assert len(drawn) == 40 == result.pseudo.audit and result.pseudo.known is None
    with (tmp_path / "checked.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("id", "label"), *((row["id"], kind_of(row["source"])) for row in drawn[:30])])
    result = run.classify(labels=[labels, tmp_path / "checked.csv"])
    assert result.labelled == 54 and result.pseudo.audited.of == 30
    assert result.pseudo.audited.right == sum(kind_of(row["source"]) == row["class"] for row in drawn[:30])
    assert "of 30 pseudo-labels that were checked" in told(result, "r").lower()


def test_a_pseudo_label_is_right_whatever_its_class_is_called_now(
    run: winnow.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("winnow.classify.classifier.rise", lambda before, after, seed: (0.1, 0.01))
    run.import_labels(labels_file(tmp_path / "labels.csv", run), classes=["stripes", "blocks"])
    run.classify(pseudo=20, rounds=1)
    drawn = table(run.folder.path / "classifier" / "audit.csv")
    rows = [("id", "label"), *((row["id"], kind_of(row["source"])) for row in drawn)]
    with (tmp_path / "checked.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    run.import_labels(tmp_path / "checked.csv")
    with open_store(run.folder) as store:
        store.change_class("ann", "renamed", "stripes", "lines")
    found = run.classify().pseudo.audited
    assert found.of == len(drawn) > 10 and found.right == sum(kind_of(row["source"]) == row["class"] for row in drawn)


def test_the_report_has_a_classifier(run: winnow.Run, tmp_path: Path):
    pool = pool_of(run)
    pictures = OwnPictures(run.folder, pool)
    assert classifier_sections(run.folder, pool, pictures) == []
    run.classify(labels=labels_file(tmp_path / "labels.csv", run, wrong=3))
    (section,) = classifier_sections(run.folder, pool, pictures)
    assert [figure.title for figure in section.figures] == [
        "Confusion matrix",
        "Reliability curve",
        "Learning curve",
    ]
    assert [gallery.title for gallery in section.galleries] == [
        "Most confidently wrong of the labelled pictures",
        "Most doubtful of the labelled pictures",
    ]
    assert "right" in section.figures[0].alt and all(gallery.cards for gallery in section.galleries)
    html = run.report().read_text(encoding="utf-8")
    assert "drawn at random" in section.text[2]
    assert "Most confidently wrong" in html and "intervals by bootstrap over groups" in html
    run.set(head="nearest_mean")  # what was measured is of other options now
    assert classifier_sections(run.folder, pool, pictures) == []


def test_figures_refuse_nothing():
    for draw in (
        lambda: confusion_matrix([[1]], ["a", "b"]),
        lambda: reliability_curve([], 0),
        lambda: label_curve([]),
    ):
        with pytest.raises(DataError):
            draw()
    assert confusion_matrix(np.eye(60, dtype=int), [f"班级 {number}" for number in range(60)])[:4] == b"\x89PNG"


def bad_labels(run: winnow.Run) -> dict[str, tuple[list[tuple[str, str]], type, str]]:
    first = [(source, kind_of(source)) for source in sources_of(run)][:10]
    same = [row for row in first if row[1] == "stripes"]
    return {
        "unknown": ([("nowhere.png", "stripes")], InputError, "names no item of"),
        "contradicting": ([*first, (first[0][0], "else")], InputError, "One item has two labels"),
        "one class": (same, DataError, "All 5 labels are of one class, 'stripes'"),
        "one label": ([*first, (sources_of(run)[20], "rare")], DataError, "'rare' has one label"),
    }


@pytest.mark.parametrize("name", ["unknown", "contradicting", "one class", "one label"])
def test_labels_that_are_wrong_are_told(name: str, run: winnow.Run, tmp_path: Path):
    rows, kind, says = bad_labels(run)[name]
    with (tmp_path / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("source", "label"), *rows])
    with pytest.raises(kind, match=says):
        run.classify(labels=tmp_path / "labels.csv")
    assert not (run.folder.path / "classifier").exists() and run.folder.record("classify") is None


def test_some_unknown_labels_are_noted(run: winnow.Run, tmp_path: Path):
    labels = labels_file(tmp_path / "labels.csv", run)
    labels.write_text(labels.read_text(encoding="utf-8") + "gone.png,stripes\n", encoding="utf-8")
    assert "1 label is of items that the run does not have" in run.classify(labels=labels).notes[0]
    with pytest.raises(InputError, match="There is no"):
        run.classify(labels=tmp_path / "absent.csv")
    for name, data in {"empty.csv": b"", "half.csv": b"source,la", "binary.csv": b"\xff\xfe\x00\x01"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError):
            run.classify(labels=tmp_path / name)


def test_copies_with_two_labels_are_told(made: Path, weights: Path, tmp_path: Path):
    pictures = sorted((made / "in").rglob("*.png"))
    for kind, first in (("staff", 0), ("customer", 5)):
        (tmp_path / "in" / kind).mkdir(parents=True)
        for path in pictures[first : first + 5]:
            shutil.copy(path, tmp_path / "in" / kind / path.name)
    shutil.copy(pictures[0], tmp_path / "in" / "customer" / "again.png")
    with pytest.raises(InputError, match="One picture has two labels"):
        encoded(tmp_path / "run", tmp_path / "in", weights).classify(folders=True)


def test_a_classifier_of_other_embeddings_is_refused(run: winnow.Run, made: Path, tmp_path: Path):
    run.classify(labels=labels_file(tmp_path / "labels.csv", run))
    clips(tmp_path / "more", 1, 3, seed=9)
    run.ingest([made / "in", tmp_path / "more"])
    with pytest.raises(RunError, match="older than"):
        run.predict(tmp_path / "more")
    run.train()
    run.encode()
    run.calibrate()
    with pytest.raises(RunError, match="'classify' wrote is older"):
        run.predict(tmp_path / "more")


def test_a_method_named_in_the_run_folder_alone_is_not_imported(
    run: winnow.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "hostile.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    set_options(run.folder.path, "select", method="hostile:choose")
    again = winnow.Run(run.folder.path)
    result = again.classify(labels=labels_file(tmp_path / "labels.csv", run))
    assert result.choice.method == "herding" and "hostile" not in sys.modules
    with pytest.raises(SystemExit, match="imported"):
        winnow.Run(run.folder.path, trust=["hostile:choose"]).classify(labels=tmp_path / "labels.csv")


def test_the_commands(run: winnow.Run, made: Path, tmp_path: Path):
    folder, labels = run.folder.path, labels_file(tmp_path / "labels.csv", run)
    done = winnow_command("classify", "--run", folder, "--labels", labels, "--head", "knn", "--folds", "3")
    assert done.returncode == 0, done.stderr
    assert "by 'knn'" in done.stdout and "Report:" in done.stdout and (folder / "report.html").exists()
    done = winnow_command("predict", made / "in" / "clip ä0", "--run", folder, "--to", tmp_path / "out")
    assert done.returncode == 0 and "20 pictures: " in done.stdout, done.stderr
    done = winnow_command("round", "--run", folder, "--more", "3", "--also", labels)
    assert done.returncode == 0 and "Chose 3 of 120 pictures" in done.stdout, done.stderr
    for words in (
        ["classify", "--run", folder, "--head", "forest"],
        ["round", "--run", folder],
        ["round", "--run", folder, "--more", "0"],
    ):
        assert winnow_command(*words).returncode == 2
    assert winnow_command("predict", made / "in", "--run", tmp_path).returncode == 1
