"""The labels of two copies of a run made one: all events of both, in a sensible order, whatever is killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import winnow
from winnow.errors import Damaged, RunError
from winnow.label import merge
from winnow.label.event_log import read_lines
from winnow.label.events import Event
from winnow.label.merge import take
from winnow.label.store import LabelStore
from winnow.run import working_copy

from small_runs import command, small_run


def label(path: Path, who: str, item: str, value: str, number: int = 0) -> str:
    with LabelStore.open(path) as store:
        uuid = f"{who}-{item}-{value}-{number}"
        assert store.add(who, [Event(uuid, item, "label", value)]).saved
    return uuid


def begun(folder: Path) -> Path:
    folder.mkdir()
    with LabelStore.open(folder / "labels.sqlite") as store:
        store.add_classes("eva", ["a", "b"])
    return folder / "labels.sqlite"


def log_of(path: Path) -> bytes:
    return Path(f"{path}-log").read_bytes()


def states(path: Path) -> dict[str, str | None]:
    with LabelStore.read(path) as store:
        return {item: state.label for item, state in store.states().items()}


def two(tmp_path: Path) -> tuple[Path, Path]:
    """Return two stores that share a beginning."""
    ours = begun(tmp_path / "ours")
    label(ours, "eva", "1", "a")
    theirs = shutil.copytree(tmp_path / "ours", tmp_path / "theirs") / "labels.sqlite"
    return ours, theirs


def test_events_of_both_are_kept_and_the_last_by_time_counts(tmp_path: Path):
    ours, theirs = two(tmp_path)
    label(ours, "eva", "1", "b")
    label(theirs, "tom", "2", "b")
    label(theirs, "tom", "1", "a", 1)
    label(ours, "eva", "3", "a")
    assert take(ours, log_of(theirs), "theirs")
    assert states(ours) == {"1": "a", "2": "b", "3": "a"}
    lines = read_lines(log_of(ours))
    assert lines.whole and not lines.torn and lines.number == 7
    with LabelStore.open(ours) as store:  # which compares both copies, and warns of nothing
        assert store.labels()["1"][1] == "tom" and store.seq == 7
    assert not take(ours, log_of(theirs), "theirs")
    assert take(theirs, log_of(ours), "ours") and states(theirs) == states(ours)
    assert log_of(theirs) == log_of(ours)


def test_what_was_undone_and_classes_that_both_made_stay_so(tmp_path: Path):
    ours, theirs = two(tmp_path)
    with LabelStore.open(ours) as store:
        store.add_classes("eva", ["c"])
    with LabelStore.open(theirs) as store:
        store.add_classes("tom", ["c", "d"])
        uuid = label(theirs, "tom", "2", "d")
        assert store.add("tom", [Event("undo-2", "2", "undo", uuid)]).saved
    assert take(ours, log_of(theirs), "theirs")
    assert states(ours) == {"1": "a", "2": None}
    with LabelStore.read(ours) as store:
        assert store.classes == ["a", "b", "c", "d"]


def test_a_store_is_made_of_a_log_where_there_is_none(tmp_path: Path):
    ours, _ = two(tmp_path)
    (tmp_path / "new").mkdir()
    assert take(tmp_path / "new" / "labels.sqlite", log_of(ours), "ours")
    assert states(tmp_path / "new" / "labels.sqlite") == {"1": "a"}
    assert log_of(tmp_path / "new" / "labels.sqlite") == log_of(ours)


def test_a_damaged_log_and_a_store_that_is_open_change_nothing(tmp_path: Path):
    ours, theirs = two(tmp_path)
    label(theirs, "tom", "2", "b")
    before = log_of(ours)
    for damaged in (log_of(theirs)[:-3], log_of(theirs).replace(b'"tom"', b'"tim"')):
        with pytest.raises(Damaged, match="theirs is damaged"):
            take(ours, damaged, "theirs")
    with LabelStore.open(ours):  # as the page does
        assert not take(ours, before, "itself")
    with LabelStore.open(ours), pytest.raises(RunError, match="open on a page"):
        take(ours, log_of(theirs), "theirs")
    assert log_of(ours) == before


@pytest.mark.filterwarnings("ignore::winnow.errors.LossWarning")
def test_killed_anywhere_it_holds_all_that_it_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ours, theirs = two(tmp_path)
    label(ours, "eva", "3", "b")
    label(theirs, "tom", "2", "b")
    whole = 0
    for at in range(1, 100):
        copy = shutil.copytree(tmp_path / "ours", tmp_path / "copy") / "labels.sqlite"
        count = [0]

        def stop(name: str, count: list[int] = count, at: int = at) -> None:
            count[0] += 1
            if count[0] == at:
                raise KeyboardInterrupt(name)

        with monkeypatch.context() as patch:
            plain = Path.unlink
            patch.setattr(
                Path, "unlink", lambda path, missing_ok=False, plain=plain: (stop("u"), plain(path, missing_ok))
            )
            for name in ("replacing", "rebuild"):
                kept = getattr(merge, name)
                patch.setattr(merge, name, lambda *given, kept=kept: (stop("r"), kept(*given))[1])
            try:
                take(copy, log_of(theirs), "theirs")
                whole += 1
            except KeyboardInterrupt:
                pass
        assert states(copy) in ({"1": "a", "3": "b"}, {"1": "a", "2": "b", "3": "b"})
        take(copy, log_of(theirs), "theirs")
        assert states(copy) == {"1": "a", "2": "b", "3": "b"}
        shutil.rmtree(tmp_path / "copy")
        if whole:
            break
    assert at > 4


def test_labels_of_two_copies_and_of_the_bucket_come_together(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    run, address = small_run(tmp_path), f"{bucket}/run"
    ids = run.embeddings.ids.tolist()
    assert command("push", tmp_path / "run", address) == 0
    for name in ("one", "two"):
        assert command("pull", address, tmp_path / name) == 0
        (tmp_path / f"{name}.csv").write_text(f"id,label\n{ids[name == 'two']},{name}\n")
        words = ("--import", tmp_path / f"{name}.csv", "--classes", name)
        assert command("label", "--run", tmp_path / name, *words) == 0
    assert command("push", tmp_path / "one", address) == 0
    assert command("push", tmp_path / "two", address) == 0
    (tmp_path / "three.csv").write_text(f"id,label\n{ids[2]},one\n")
    assert command("label", "--run", address, "--import", tmp_path / "three.csv") == 0
    expected = {ids[0]: "one", ids[1]: "two", ids[2]: "one"}
    assert {item: label for item, (label, *_) in winnow.Run(address).labels().items()} == expected
    assert command("pull", address, tmp_path / "one") == 0
    assert {item: label for item, (label, *_) in winnow.Run(tmp_path / "one").labels().items()} == expected
    for path in (tmp_path / "two").glob("labels.sqlite*"):
        path.unlink()
    assert command("push", tmp_path / "two", address) == 0  # takes none away
    working_copy.OPEN.clear()
    assert {item: label for item, (label, *_) in winnow.Run(address).labels().items()} == expected
