"""What was learnt or judged before the labels, the model, the threshold or the pool changed is never taken for the run's own."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import winnow
from winnow.errors import RunError
from winnow.label.store import Event, LabelStore
from winnow.results import WeightSearch, WeightTrial
from winnow.run.artifacts import load_classifier
from winnow.run.current import key_of_search
from winnow.run.publish import write_result
from winnow.steps.evaluate import evaluate
from winnow.steps.report.classifier import stale_classifier
from winnow.steps.report.judged import last_evaluation, last_scores
from winnow.steps.report.selection import stale_selection
from winnow.steps.report.weight import last_search

from conftest import blocks, made_once, winnow_command, write_pictures
from small_runs import OPTIONS, judged_run, small_run


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A run that has chosen, classified, scored and evaluated, to be changed."""

    def make(folder: Path) -> None:
        run = judged_run(folder)
        run.score(folder / "bad")
        evaluate(run.folder, [folder / "good" / "clip0"], {"bad": [folder / "bad"]})

    shutil.copytree(made_once(tmp_path_factory, "stale", make), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def run(base: Path) -> winnow.Run:
    return winnow.Run(base / "run")


SHOWN = {
    "evaluate": 'id="evaluation',
    "select": "Chosen for labelling",
    "classify": "Confusion matrix",
    "score": "All that do not belong",
}
LEFT_OUT = {
    "evaluate": "The last winnow evaluate was by another model or threshold",
    "score": "The last winnow score was by another model or threshold",
    "select": "The last choice of pictures to label was made before",
    "classify": "The classifier was learnt from other options or embeddings",
}


def report(run: winnow.Run, tmp_path: Path) -> str:
    return run.report(tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_is_of_now_is_shown(run: winnow.Run, tmp_path: Path):
    page = report(run, tmp_path)
    assert all(words not in page for words in LEFT_OUT.values())
    assert all(SHOWN[name] in page for name in ("evaluate", "select", "classify"))
    assert "normal (false alarms)" in page


def test_another_threshold_leaves_out_what_the_old_one_judged(run: winnow.Run, base: Path, tmp_path: Path):
    run.calibrate(false_alarm_rate=0.2)
    page = report(run, tmp_path)
    assert all(words in page for words in LEFT_OUT.values()), page[:3000]
    assert all(words not in page for words in SHOWN.values()) and "normal (false alarms)" not in page
    evaluate(run.folder, [base / "good" / "clip0"], {"bad": [base / "bad"]})
    assert last_evaluation(run.folder)[0] is not None and last_scores(run.folder)[0] is None
    run.calibrate(false_alarm_rate=None)
    assert last_evaluation(run.folder)[0] is None and last_scores(run.folder)[0] is not None


def test_another_model_leaves_out_what_the_old_one_judged(run: winnow.Run, tmp_path: Path):
    run.set(iterations=6).train()
    run.encode()
    run.calibrate()
    page = report(run, tmp_path)
    assert all(words in page for words in LEFT_OUT.values())
    assert all(words not in page for words in SHOWN.values()) and "normal (false alarms)" not in page


def test_the_same_options_on_another_machine_may_give_another_model(run: winnow.Run, tmp_path: Path, monkeypatch):
    """As a training does where another device, or another version of torch, rounds otherwise."""
    import winnow.models.registry as registry

    real = registry.build
    run.train()  # the same to the bit: all is as it was
    assert run.folder.fits("encode") and last_evaluation(run.folder)[0] is not None
    other = lambda *given, seed: real(*given, seed=seed + 1)  # noqa: E731
    for place in ("winnow.models.registry.build", "winnow.steps.train.build"):
        monkeypatch.setattr(place, other, raising=False)
    run.train()
    with pytest.raises(RunError, match="what 'encode' wrote is older"):
        run.report(tmp_path / "page.html")
    run.encode()
    run.calibrate()
    assert last_evaluation(run.folder)[0] is None and last_scores(run.folder)[0] is None
    assert "made before" in stale_selection(run.folder) and "other options or embeddings" in stale_classifier(
        run.folder
    )


def test_another_mode_is_left_out_as_before(run: winnow.Run, base: Path):
    run.score(base / "bad", mode="encoder")
    assert "The last winnow score was by the mode encoder" in last_scores(run.folder)[1]


def test_a_search_for_the_weight_is_of_its_pictures_and_network(run: winnow.Run):
    trial = WeightTrial(0.0, dict.fromkeys(("error", "latent", "both"), 0.5), None, 1, None, 1.0)
    found = WeightSearch(0.0, "", None, None, "error", 1, 1, None, key_of_search(run.folder), [trial], trial, False)
    path = run.folder.path / "weight" / "weight.json"
    write_result(path, found)
    assert last_search(run.folder) == (found, "")
    run.set(latent=6)
    assert last_search(run.folder)[0] is None and "another network" in last_search(run.folder)[1]
    write_result(path, replace(found, fingerprint="that of other pictures"))
    assert last_search(run.folder)[0] is None


# ---- labels


def say(run: winnow.Run, item: int, kind: str, value: str = "") -> None:
    """What a person does on the page to a picture."""
    with LabelStore.open(run.folder.path / "labels.sqlite") as store:
        store.add_classes("me", ["a", "b"])
        store.add("me", [Event(str(uuid.uuid4()), str(run.embeddings.ids[item]), kind, value)])


def labelled(run: winnow.Run, many: int = 16) -> None:
    for item in range(many):
        say(run, item, "label", "ab"[item % 2])


def with_sources(base: Path) -> winnow.Run:
    """A run whose sources came with labels."""
    pictures = sorted((base / "good").rglob("*.png"))
    rows = [f"{path},{'ab'[number % 2]}" for number, path in enumerate(pictures)]
    (base / "list.csv").write_text("path,label\n" + "\n".join(rows))
    run = winnow.Run(base / "own", **OPTIONS)
    run.fit(base / "list.csv")
    run.classify(head="nearest_mean")
    return run


CHANGES: dict[str, Callable[[winnow.Run, Path], object]] = {
    "another label": lambda run, base: say(run, 0, "label", "b"),
    "one more": lambda run, base: say(run, 20, "label", "a"),
    "cleared": lambda run, base: say(run, 3, "clear"),
    "skipped": lambda run, base: say(run, 4, "skip"),
    "imported": lambda run, base: run.import_labels(imported(run, base)),
}


def imported(run: winnow.Run, base: Path) -> Path:
    (base / "more.csv").write_text(f"id,label\n{run.embeddings.ids[25]},b\n")
    return base / "more.csv"


def test_what_uses_the_classifier_asks_for_another(run: winnow.Run, base: Path, tmp_path: Path):
    labelled(run)
    run.classify(head="nearest_mean")
    say(run, 0, "label", "b")
    folder = run.folder.path
    for words in (("predict", base / "bad"), ("export",), ("round", "--more", 2)):
        done = winnow_command(*words, "--run", folder)
        assert done.returncode and "have changed since its classifier learnt" in done.stderr, (words, done.stderr)
        assert f"winnow classify --run {folder}" in done.stderr
    page = report(run, tmp_path)
    assert "The classifier was learnt from other labels" in page and SHOWN["classify"] not in page
    run.classify(head="nearest_mean")
    assert run.predict(base / "bad", to=tmp_path / "out").pictures == 6


def current(run: winnow.Run) -> bool:
    """Whether the classifier may be used."""
    try:
        load_classifier(run.folder)
    except RunError as error:
        return "have changed since its classifier learnt" not in str(error)
    return True


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> winnow.Run:
    """A run whose classifier learnt from labels of its store."""

    def make(folder: Path) -> None:
        run = small_run(folder)
        labelled(run)
        run.classify(head="nearest_mean")

    return winnow.Run(shutil.copytree(made_once(tmp_path_factory, "own", make) / "run", tmp_path / "run"))


@pytest.mark.parametrize("change", CHANGES)
def test_labels_of_the_store_change(own: winnow.Run, tmp_path: Path, change: str):
    assert current(own)
    say(own, 0, "label", "a")  # the same once more, and a note: nothing to learn
    say(own, 0, "note", "blurred")
    assert current(own)
    CHANGES[change](own, tmp_path)
    assert not current(own)


def test_a_person_labels_after_a_classifier_of_the_sources_labels(base: Path):
    run = with_sources(base)
    assert current(run)
    say(run, 0, "label", "b")
    assert not current(run)


def test_a_file_of_labels_changes_or_goes(run: winnow.Run, base: Path):
    labelled(run, 2)  # not what it learnt from
    assert current(run)
    text = (base / "labels.csv").read_text()
    with pytest.MonkeyPatch.context() as patched:  # files are named as they were found from there
        patched.chdir(base)
        run.classify(labels="labels.csv")
    assert current(run)
    (base / "labels.csv").write_text(text.replace(",a\n", ",b\n", 1))
    assert not current(run)
    (base / "labels.csv").write_text("")
    assert not current(run)
    (base / "labels.csv").unlink()
    assert current(run)


def test_resume_learns_from_labels_that_are_new(run: winnow.Run):
    from winnow.steps.classify import classify

    labelled(run)
    first = classify(run.folder)
    assert classify(run.folder, resume=True) == first
    say(run, 20, "label", "a")
    assert classify(run.folder, resume=True).labelled == first.labelled + 1


# ---- the pool


def test_another_pool_under_a_run_is_told_of(run: winnow.Run, base: Path, tmp_path: Path):
    labelled(run)
    write_pictures(base / "new", 2, 3, blocks, seed=7)
    other = winnow.Run(base / "other", **OPTIONS)
    other.ingest(base / "new")
    shutil.rmtree(base / "run" / "pool")
    shutil.copytree(base / "other" / "pool", base / "run" / "pool")
    commands = ["train", "encode", "calibrate", "select -n 5", "classify", f"predict {base}/bad", f"score {base}/bad", "export", "report",
                f"evaluate --normal {base}/good --anomalous b={base}/bad", "round --more 2", f"label --export {tmp_path}/x.csv",
                f"label --import {base}/labels.csv --classes a,b", "label --classes a,b --port 0"]  # fmt: skip
    for words in commands:
        done = winnow_command(*words.split(), "--run", base / "run")
        assert done.returncode and "the pool is not the one that 'ingest' finished" in done.stderr, (words, done.stderr)
    shutil.copy(base / "other" / "steps" / "ingest.json", base / "run" / "steps" / "ingest.json")
    for words in commands:
        if words.split()[0] not in ("train", "label"):
            done = winnow_command(*words.split(), "--run", base / "run")
            assert done.returncode and "is older than the options or inputs of now" in done.stderr, (words, done.stderr)


def test_the_keys_are_in_what_is_left(run: winnow.Run, base: Path):
    for name in ("scores/scores.json", "evaluation/evaluation.json"):
        assert len(json.loads((base / "run" / name).read_text())["key"]) == 32
